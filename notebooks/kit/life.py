"""Lessons 5 and 6: who is still there, and whether the event loop still turns."""

from __future__ import annotations

import time
from math import inf
from typing import Any, Collection, Iterable, Iterator, Mapping, Sequence

from markupsafe import Markup

from guessgame import SILENCE, Client, GameServer

from . import Live, label

# --------------------------------------------------------------------------------------------------
# Who is here, and who has gone
# --------------------------------------------------------------------------------------------------

ROWS = 7  # who has gone makes room for who is here
PING_INTERVAL = 20.0  # seconds, where a server does not say otherwise
REASONS = {
    "said goodbye": "left with a goodbye",
    "close code 1006": "gone, without a goodbye",
    "close code 1009": "too big a message (close code 1009)",
    "close code 1011": "is silent and is cut off",
    "did not read": "does not read and is cut off",
    "the server has stopped": "sent home: the server stopped (close code 1001)",
    "removed by the teacher": "sent away by the teacher (close code 1008)",
}


class Register:
    """Remember who was here, as long as there is room."""

    def __init__(self) -> None:
        self.seen: list[Client] = []

    def look(self, here: Collection[Client]) -> list[Client]:
        """Take note of who is here; return them and the last who have gone.

        The newest come first: so whoever joins or leaves is in sight, and the others keep their places.
        """
        gone = [client for client in self.seen if client.left]
        self.seen = [*gone[-ROWS:], *here]
        room = max(2, ROWS - max(1, len(here)))
        return sorted([*gone[-room:], *here], key=lambda client: -client.id)


def find_patience(options: Mapping[str, Any]) -> tuple[float, float]:
    """Return the seconds of silence after which a server asks, and gives somebody up."""
    interval = options.get("ping_interval", PING_INTERVAL) or inf
    timeout = options.get("ping_timeout")
    return interval, SILENCE if timeout is None else interval + timeout


HEAD = Markup(
    "<div><small>{here} here</small><small>state</small>"
    "<small>last heard from (limit: {patience:g} s)</small>"
    "<small>waiting to be read (limit: {most})</small></div>"
)
NOBODY = Markup('<div class="gg-nobody">{}</div>')
NAME = Markup("<div><b>{}</b> <small>{}</small></div>")
HERE = Markup("<div>{name}<span>{state}</span>{silence}{waiting}</div>")
GONE = Markup('<div class="gg-gone-row">{name}<span>✕ {reason}</span></div>')
GAUGE = Markup(
    '<div class="gg-gauge"><div><i style="width:{percent:.0f}%"></i></div>'
    "<span>{value}</span></div>"
)
LIFE = Markup('<div class="gg-life">{}</div>')


def kib(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1024:.0f} KiB"


def gauge(part: float, value: str) -> Markup:
    """Paint a value as a bar in a frame; a full frame is the limit."""
    return GAUGE.format(percent=100 * min(1, part), value=value)


class Attendance(Live):
    """Show who is here, when each was last heard, and what waits for them.

    Those who have gone are crossed out, with the reason. All of it is what the server knows itself.
    """

    def __init__(self, server: GameServer) -> None:
        self.server = server
        self.register = Register()
        self.interval, self.patience = find_patience(server.options)
        super().__init__(self._paint, "attendance")

    def _paint(self) -> str:
        here = self.server.clients.values()
        head = HEAD.format(
            here=len(here),
            patience=self.patience,
            most=kib(self.server.max_backlog),
        )
        rows = [head]
        if not here:
            is_running = self.server.running
            text = "Nobody is here." if is_running else "The server is stopped."
            rows.append(NOBODY.format(text))
        rows += map(self._paint_client, self.register.look(here))
        return LIFE.format(Markup().join(rows))

    def _paint_client(self, client: Client) -> Markup:
        number = f"#{client.id}" if client.name else ""
        name = NAME.format(label(client), number)
        if client.left:
            reason = REASONS.get(client.left, client.left)
            return GONE.format(name=name, reason=reason)
        connection = self.server.connections[client]
        silence = self.loop.time() - connection.due
        waiting = connection.transport.get_write_buffer_size()
        state = "● here"
        if silence > 1.2 * self.interval:  # a reply takes a moment
            state = "? no answer"
        if waiting:
            state = "▮ does not read"
        return HERE.format(
            name=name,
            state=state,
            silence=gauge(silence / self.patience, f"{silence:.1f} s"),
            waiting=gauge(waiting / self.server.max_backlog, kib(waiting)),
        )


# --------------------------------------------------------------------------------------------------
# Whether the event loop turns
# --------------------------------------------------------------------------------------------------

WINDOW = 6.0  # seconds that a Heartbeat shows
STANDSTILL = 0.6  # seconds without a beat that are worth a word

BEAT = Markup('<i style="left:{:.2f}%"></i>')
CURSOR = Markup('<u style="left:{:.2f}%"></u>')
GAP = Markup('<s style="left:{left:.2f}%;width:{width:.2f}%">{text}</s>')
TRACK = Markup("<div><b>{name}</b><div>{marks}</div></div>")
HEART = Markup('<div class="gg-heart">{tracks}<p>{verdict}</p></div>')


def place(moment: float) -> float:
    """Return where on the strip a moment is, in percent."""
    return moment % WINDOW / WINDOW * 100


def find_gaps(beats: Sequence[float]) -> list[tuple[float, float]]:
    """Return the times in which there was no beat for long, each as (begin, end)."""
    pairs = zip(beats, beats[1:])
    return [(begin, end) for begin, end in pairs if end - begin > STANDSTILL]


def paint_gap(begin: float, end: float) -> Iterator[Markup]:
    """Paint a gap; it may go on at the left end. It says how long it was, once."""
    left = place(begin)
    width = (end - begin) / WINDOW * 100
    first = min(width, 100 - left)
    rest = width - first
    text = f"{end - begin:.1f} s"
    yield GAP.format(left=left, width=first, text=text if first >= rest else "")
    if rest:
        yield GAP.format(left=0, width=rest, text=text if rest > first else "")


def paint_strip(tracks: Mapping[str, Sequence[float]], now: float) -> Markup:
    """Paint the last seconds of all tracks, and say for how long there was no beat."""
    painted = []
    longest = 0.0
    for name, moments in tracks.items():
        beats = [beat for beat in moments[-200:] if beat > now - WINDOW * 0.96]
        marks = [BEAT.format(place(beat)) for beat in beats]
        for begin, end in find_gaps(beats):
            longest = max(longest, end - begin)
            marks += paint_gap(begin, end)
        marks.append(CURSOR.format(place(now)))
        painted.append(TRACK.format(name=name, marks=Markup().join(marks)))
    verdict = "● The loop takes turns."
    if longest:
        verdict = f"✕ The loop stood still for {longest:.1f} seconds."
    return HEART.format(tracks=Markup().join(painted), verdict=verdict)


class Heartbeat(Live):
    """Show when things happened, as a strip of the last seconds.

    Like the screen beside a hospital bed it is written from left to right, and then over again. Each
    track is a list of moments, by `time.perf_counter()`.
    """

    def __init__(self, tracks: Mapping[str, Sequence[float]]) -> None:
        self.tracks = tracks
        super().__init__(self._paint, "heartbeat")

    def _paint(self) -> str:
        return paint_strip(self.tracks, time.perf_counter())


LAMP = Markup('<div class="gg-state {lit}">{mark}{name}</div>')
LAMPS = Markup('<div class="gg-states">{}</div>')


def lamps(names: Iterable[str], lit: str) -> Markup:
    """Paint names as boxes in a row; the lit one is framed and marked."""
    boxes = [
        LAMP.format(lit="gg-lit", mark="● ", name=name)
        if name == lit
        else LAMP.format(lit="", mark="", name=name)
        for name in names
    ]
    return LAMPS.format(Markup().join(boxes))
