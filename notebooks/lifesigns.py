"""What lessons 5 and 6 need besides the shared widgets: who is still alive, and whether the event loop is."""

from __future__ import annotations

import html
import logging
import re
import time
from typing import Any, Iterable, Sequence

from gamekit import Live, style_sheet
from guessgame import Client, GameServer

ROWS = 7  # of Attendance; who has gone makes room for who is here
WINDOW = 6.0  # seconds that a Heartbeat shows
STANDSTILL = 0.6  # seconds without a beat that are worth a word
REASONS = {
    1000: "left with a goodbye (close code 1000)",
    1001: "sent home: the server stopped (close code 1001)",
    1009: "too big a message (close code 1009)",
    None: "gone, without a goodbye",
}


class Attendance(Live):
    """Show who is here, when each was last heard, and what waits for them; and who has gone, and why.

    All of it is the server's own knowledge: its list, its counters, its log.
    """

    style = style_sheet(__file__)

    def __init__(self, server: GameServer) -> None:
        self.server = server
        self._seen: dict[int, Client] = {}
        self._gone: list[Client] = []
        self._counted: dict[int, tuple[float, float]] = {}  # the server's count of silence, and since when it is that
        self._logged: dict[str, str] = {}
        self._interval, self._timeout = server.ping_interval or 0.0, server.ping_timeout or 0.0
        self._step = min(self._interval, self._timeout) / 2  # so often the server looks who is silent
        self._ear = logging.Handler(logging.WARNING)
        self._ear.emit = self._note  # type: ignore[method-assign]
        logging.getLogger("guessgame").addHandler(self._ear)
        super().__init__(self._paint)

    def _note(self, record: logging.LogRecord) -> None:
        who, *_ = record.args if isinstance(record.args, tuple) else ("",)
        told = record.getMessage().replace(f"{who} ", "", 1)
        self._logged[str(who)] = re.sub(r"(\d+) bytes", lambda count: kib(int(count[1])), told)

    async def stop(self) -> None:
        """Stop painting, and leave the log alone again."""
        logging.getLogger("guessgame").removeHandler(self._ear)
        await super().stop()

    def _silence(self, client: Client) -> float:
        """Return how long nothing was heard of a player, at least: the server counts in steps, this fills them in."""
        count, now = max(0.0, client.connection.silence), time.monotonic()
        if self._counted.get(client.id, (None, 0))[0] != count:
            self._counted[client.id] = count, now
        return max(0.0, count - self._step + min(self._step, now - self._counted[client.id][1])) if count else 0.0

    def _reason(self, client: Client) -> str:
        reason = REASONS.get(client.connection.protocol.close_code, REASONS[None])
        return self._logged.get(str(client), reason)

    def _paint(self) -> str:
        here = dict(self.server.clients)
        self._gone += [client for client in self._seen.values() if client.id not in here]
        self._seen = here
        gone = self._gone[-max(2, ROWS - max(1, len(here))) :]
        self._gone = self._gone[-ROWS:]
        patience, most = self._interval + self._timeout, self.server.max_backlog
        rows = [
            f"<div><small>{len(here)} here</small><small>state</small>"
            f"<small>last heard from (limit: {patience:g} s)</small>"
            f"<small>waiting to be read (limit: {most // 1024} KiB)</small></div>"
        ]
        if not here:
            nobody = "Nobody is here." if self.server.running else "The server is stopped."
            rows.append(f'<div class="gg-nobody">{nobody}</div>')
        # The newest on top: whoever joins or leaves is in sight, and the others keep their places.
        for client in sorted([*gone, *here.values()], key=lambda client: -client.id):
            number = f" <small>#{client.id}</small>" if client.name else ""
            name = f"<div><b>{html.escape(client.label)}</b>{number}</div>"
            if client.id not in here:
                rows.append(f'<div class="gg-gone-row">{name}<span>✕ {html.escape(self._reason(client))}</span></div>')
                continue
            silence, waiting = self._silence(client), client.connection.transport.get_write_buffer_size()
            asked = silence > self._interval + self._step / 4
            state = "▮ does not read" if waiting else "? no answer" if asked else "● here"
            silent, unread = gauge(silence / (patience or 1), f"{silence:.1f} s"), gauge(waiting / most, kib(waiting))
            rows.append(f"<div>{name}<span>{state}</span>{silent}{unread}</div>")
        return f'<div class="gg-life">{"".join(rows)}</div>'


def kib(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1024:.0f} KiB"


def gauge(part: float, value: str) -> str:
    """Paint a value as a bar in a frame; a full frame is the limit."""
    return f'<div class="gg-gauge"><div><i style="width:{100 * min(1, part):.0f}%"></i></div><span>{value}</span></div>'


class Heartbeat(Live):
    """Show when things happened, as a strip of the last seconds: where nothing happened, it says for how long.

    Like the screen beside a hospital bed it is written from left to right, and then over again.
    Each lane is a list of moments, by `time.perf_counter()`.
    """

    style = style_sheet(__file__)

    def __init__(self, lanes: dict[str, Sequence[float]]) -> None:
        self.lanes = lanes
        self._began = time.perf_counter()
        super().__init__(self._paint)

    def _place(self, moment: float) -> float:
        return (moment - self._began) % WINDOW / WINDOW * 100

    def _paint(self) -> str:
        now = time.perf_counter()
        longest, lanes = 0.0, []
        for label, moments in self.lanes.items():
            beats = [moment for moment in moments[-200:] if moment > now - WINDOW * 0.96]
            marks = [f'<i style="left:{self._place(beat):.2f}%"></i>' for beat in beats]
            for begin, end in zip(beats, beats[1:]):
                if end - begin > STANDSTILL:
                    longest = max(longest, end - begin)
                    marks.extend(self._paint_standstill(begin, end))
            cursor = f'<u style="left:{self._place(now):.2f}%"></u>'
            lanes.append(f"<div><b>{html.escape(label)}</b><div>{''.join(marks)}{cursor}</div></div>")
        verdict = f"✕ The loop stood still for {longest:.1f} seconds." if longest else "● The loop takes turns."
        return f'<div class="gg-heart">{"".join(lanes)}<p>{verdict}</p></div>'

    def _paint_standstill(self, begin: float, end: float) -> Iterable[str]:
        left, width = self._place(begin), (end - begin) / WINDOW * 100
        pieces = [(left, min(width, 100 - left)), (0, max(0, left + width - 100))]  # it may go on at the left end
        widest = max(pieces, key=lambda piece: piece[1])
        for left, width in pieces:
            label = f"{end - begin:.1f} s" if (left, width) == widest else ""
            if width:
                yield f'<s style="left:{left:.2f}%;width:{width:.2f}%">{label}</s>'


def lamps(names: Iterable[str], lit: str) -> str:
    """Paint names as boxes in a row; the lit one is framed and marked."""
    boxes: list[Any] = []
    for name in names:
        mark = ' gg-lit">● ' if name == lit else '">'
        boxes.append(f'<div class="gg-state{mark}{html.escape(name)}</div>')
    return f'<div class="gg-states">{"".join(boxes)}</div>'
