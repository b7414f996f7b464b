"""What lessons 7 and 8 show: whether the event loop turns, and what one player can cost the others."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from typing import Any, Iterable, Iterator, Mapping, Sequence

import ipywidgets as widgets
from markupsafe import Markup

import guessgame
from guessgame import Client, GameServer, Message, Player, ServerGone

from . import LINE, Action, Live, Part, paint_message

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


# --------------------------------------------------------------------------------------------------
# Nonsense, and the answers
# --------------------------------------------------------------------------------------------------

STATE = Markup("<big>{}</big>")
WIDE = {"flex": "1 1 0", "min_width": "0", "margin": "0"}


class Answers(Part):
    """A button for each message; the answer stays beside it. Above them stands whether the player is still here."""

    def __init__(self, player: Player, messages: Iterable[str | bytes]) -> None:
        super().__init__("answers")
        self.player = player
        self.state = widgets.HTML()
        self.buttons: dict[str, widgets.Button] = {}
        self.answers: dict[str, widgets.HTML] = {}
        rows = [self._make_row(message) for message in messages]
        self.show(self.state, *rows)
        self._look()

    def _make_row(self, message: str | bytes) -> widgets.Box:
        title = str(message) or "(nothing)"
        answer = widgets.HTML(layout=WIDE)

        async def ask(_: Any) -> None:
            answer.value = await self._ask(message)
            self._look()

        button = self.button(title, ask, layout={"width": "170px"})
        self.buttons[title] = button
        self.answers[title] = answer
        row = widgets.Box([button, answer], layout={"min_height": "40px"})
        return row.add_class("gg-answer-row")

    async def _ask(self, message: str | bytes) -> Markup:
        if self.player.gone:
            await self.player.join()
        try:
            reply: Message = await self.player.ask(message)
        except ServerGone as gone:
            return Markup("<p>{}</p>").format(gone)
        return paint_message(reply)

    def _look(self) -> None:
        state = "● Ada is connected."
        if self.player.gone:
            state = "✕ Ada is gone. The next button lets her join again."
        self.state.value = STATE.format(state)


# --------------------------------------------------------------------------------------------------
# Three who cost the others something
# --------------------------------------------------------------------------------------------------

KIB = 1024
RATE = 16 * KIB  # bytes a second, where a server does not say otherwise
BACKLOG = 64 * KIB  # bytes
UNLIMITED = 1_000_000_000
ENOUGH = 20_000 * KIB  # bytes: more would be felt by the learner's own computer
FLOOD_SECONDS = 20  # then the flood gives up by itself
PINGS = 500  # so many are sent at once
NEWS = "x" * 16_000

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = bytes(4)  # four zeros change nothing
PING = b"\x89\x80" + MASK  # a frame without content
GOODBYE = b"\x88\x82" + MASK + b"\x03\xe8"  # close code 1000
REASONS = {
    "said goodbye": "said goodbye",
    "close code 1006": "hung up without a goodbye",
    "did not read": "did not read, and was cut off",
    "was silent": "was silent, and was cut off",
    "the server has stopped": "was sent home: the server stopped",
}


async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a plain connection that holds little on the way: so one sees sooner who has to wait."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(line, ("127.0.0.1", port))
    except BaseException:
        line.close()
        raise
    return await asyncio.open_connection(sock=line)


async def swallow(reader: asyncio.StreamReader) -> None:
    """Read everything, and forget it, until the line ends."""
    try:
        while await reader.read(65_536):
            pass
    except OSError:
        pass  # it ended without a goodbye


class Stranger:
    """Somebody without manners, on one line or several. A subclass says what it does.

    It knows just enough of WebSocket to be let in. `sent` counts what it has sent, `clients` are what the server
    calls it.
    """

    name = ""
    lines = 1

    def __init__(self, server: GameServer) -> None:
        self.server = server
        self.sent = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.clients: list[Client] = []
        self.is_leaving = False

    async def come(self) -> None:
        """Come in, and stay until the server cuts us off, or we are sent away."""
        self.hang_up()
        self.clients = []
        self.sent = 0
        self.is_leaving = False
        visits = [await self._come_in() for _ in range(self.lines)]
        await asyncio.gather(*visits)

    async def _come_in(self) -> Any:
        """Open one line; return what will be done on it."""
        reader, writer = await dial(self.server.port)
        self.writers.append(writer)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        client = await self._find(writer)
        self.clients.append(client)
        return self._visit(client, reader, writer)

    async def _visit(
        self,
        client: Client,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Behave on one line until it has ended."""
        try:
            await self.behave(client, reader, writer)
        finally:
            writer.transport.abort()

    async def _find(self, writer: asyncio.StreamWriter) -> Client:
        """Find out what the server calls us on this line."""
        our_end = writer.get_extra_info("sockname")
        for _ in range(200):
            connections = self.server.connections.items()
            for client, connection in connections:
                if connection.remote_address == our_end:
                    return client
            await asyncio.sleep(0.01)
        raise ServerGone("The server lets nobody else in.")

    async def behave(
        self,
        client: Client,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Do on one line what this stranger does: here, nothing at all."""
        await swallow(reader)

    def say_goodbye(self) -> None:
        """Leave as one should."""
        self.is_leaving = True
        for writer in self.writers:
            transport: Any = writer.transport
            if not transport.is_closing():
                transport.resume_reading()
                transport.write(GOODBYE)

    def hang_up(self) -> None:
        """Leave without a word."""
        self.is_leaving = True
        while self.writers:
            writer = self.writers.pop()
            writer.transport.abort()

    # What can be known about it

    @property
    def here(self) -> list[Client]:
        """Those of our lines that are on the server's list."""
        return [client for client in self.clients if not client.left]

    @property
    def reason(self) -> str:
        """Say why we are gone."""
        if self.here or not self.clients:
            return ""
        left = self.clients[0].left
        return REASONS.get(left, left)

    @property
    def silence(self) -> float:
        """Seconds since the server has heard from us."""
        now = asyncio.get_running_loop().time()
        heard = [self.server.connections[client].due for client in self.here]
        return max(0.0, now - max(heard, default=now))

    @property
    def waits_here(self) -> int:
        """Bytes that wait to be sent, in our own computer."""
        sizes = [writer.transport.get_write_buffer_size() for writer in self.writers]
        return sum(sizes)

    @property
    def waits_there(self) -> int:
        """Bytes that wait for us, at the server."""
        transports = [self.server.connections[client].transport for client in self.here]
        return sum(transport.get_write_buffer_size() for transport in transports)


class Flood(Stranger):
    """Eight lines that send pings, as fast as they can. Each has to be answered."""

    name = "Flood"
    lines = 8

    async def behave(
        self,
        client: Client,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send and send. `drain` waits until our computer has got rid of it."""
        hearing = asyncio.ensure_future(swallow(reader))
        writer.transport.set_write_buffer_limits(high=0)
        end = time.monotonic() + FLOOD_SECONDS
        try:
            while not self.is_leaving and not client.left:
                writer.write(PING * PINGS)
                await writer.drain()
                self.sent += PINGS
                await asyncio.sleep(0)
                if time.monotonic() > end:
                    self.say_goodbye()
            await hearing
        except OSError:
            pass  # the server has cut us off
        finally:
            hearing.cancel()


class Sleeper(Stranger):
    """One who never reads, though the server has a lot to tell him."""

    name = "Sleeper"

    async def behave(
        self,
        client: Client,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Let the server tell us something long, again and again."""
        transport: Any = writer.transport
        transport.pause_reading()
        while not self.is_leaving and not client.left:
            waiting = self.waits_there
            if waiting < ENOUGH:
                self.server.send([client], NEWS)
            # While the pile is below the limit, it grows slowly enough to be watched.
            is_watched = 0 < waiting < BACKLOG
            await asyncio.sleep(0.4 if is_watched else 0.02)
        transport.resume_reading()
        await swallow(reader)


class Silent(Stranger):
    """One whose cable was pulled: nothing comes any more, not even the end."""

    name = "Silent"

    def say_goodbye(self) -> None:
        """Do nothing: no goodbye comes through a cable that was pulled."""


# --------------------------------------------------------------------------------------------------
# How that looks
# --------------------------------------------------------------------------------------------------

BEATS = 70  # round trips that are shown
FULL = 200  # milliseconds: a bar of full height
LATE = 50  # milliseconds that are felt
BEAT_EVERY = 0.15  # seconds
MINE = (
    Flood.lines * PINGS * len(PING)
)  # bytes: a full gauge of what waits in one's own computer

ROUND_TRIP = Markup('<i class="{late}" style="height:{height:.1f}%"></i>')
WAITS = Markup(
    '<div class="gg-waits"><small>{full} ms</small><div>{trips}</div></div>'
    '<p class="gg-waited">{verdict}</p>'
)
STORM_HEAD = Markup(
    "<div><small></small><small>sends</small><small>waits in its own computer</small>"
    "<small>last heard from<br>limit: {silence:g} s ago</small>"
    "<small>waits at the server<br>limit: {backlog}</small></div>"
)
GAUGE = Markup(
    '<div class="gg-gauge"><div><i style="width:{percent:.0f}%"></i></div>'
    "<span>{value}</span></div>"
)
HERE = Markup("<div><b>{name}</b><span>{sends}</span>{mine}{silence}{waiting}</div>")
GONE = Markup('<div class="gg-gone-row"><b>{name}</b><span>✕ {reason}</span></div>')
ABSENT = Markup(
    '<div class="gg-absent"><b>{name}</b><span>is not here yet</span></div>'
)
STORM = Markup('{waits}<div class="gg-storm">{rows}</div>')


def kib(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / KIB:,.0f} KiB"


def gauge(part: float, value: str) -> Markup:
    """Paint a value as a bar in a frame; a full frame is the limit."""
    return GAUGE.format(percent=100 * min(1, part), value=value)


def paint_waits(waits: Sequence[float], waiting: float = 0) -> Markup:
    """Paint round trips in ms, the newest on the right; `waiting` is how long the next one has taken so far."""
    shown = [*waits]
    if waiting > LATE:
        shown.append(waiting)
    trips = []
    for wait in shown[-BEATS:]:
        late = "gg-late" if wait > LATE else ""
        height = 100 * min(1, wait / FULL)
        trips.append(ROUND_TRIP.format(late=late, height=height))
    newest = shown[-1] if shown else 0
    mark = "✕" if newest > LATE else "●"
    verdict = f"{mark} Ada has waited {newest:,.1f} ms for her last reply."
    return WAITS.format(full=FULL, trips=Markup().join(trips), verdict=verdict)


def paint_stranger(stranger: Stranger, speed: float) -> Markup:
    """Paint what is known about a stranger as a row."""
    if not stranger.clients:
        return ABSENT.format(name=stranger.name)
    if stranger.reason:
        return GONE.format(name=stranger.name, reason=stranger.reason)
    silence = stranger.silence
    waiting = stranger.waits_there
    mine = stranger.waits_here
    sends = "nothing"
    if speed:
        sends = f"{speed:,.0f} pings/s"
    return HERE.format(
        name=stranger.name,
        sends=sends,
        mine=gauge(mine / MINE, kib(mine)),
        silence=gauge(silence / guessgame.SILENCE, f"{silence:.0f} s"),
        waiting=gauge(waiting / BACKLOG, kib(waiting)),
    )


class Speed:
    """How much came in a second, over the last looks."""

    def __init__(self) -> None:
        self.looks: deque[tuple[float, int]] = deque(maxlen=16)

    def look(self, now: float, count: int) -> float:
        """Take note of a count; return by how much it grows in a second."""
        self.looks.append((now, count))
        began, before = self.looks[0]
        if now == began:
            return 0.0
        return max(0.0, (count - before) / (now - began))


class Storm(Live):
    """Show how long Ada waits while strangers come, and switch off what protects her.

    Ada guesses by herself, again and again. The bars are her round trips.
    """

    def __init__(self, server: GameServer, ada: Player) -> None:
        self.server = server
        self.ada = ada
        self.waits: deque[float] = deque(maxlen=BEATS)
        self.asked = 0.0  # when she asked what is not answered yet
        self.strangers = [Flood(server), Sleeper(server), Silent(server)]
        self.speeds = [Speed() for _ in self.strangers]
        # asyncio warns of each pong to somebody who has just hung up: there may be thousands.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        super().__init__(self._paint, "storm")
        buttons = [self._let_in(stranger) for stranger in self.strangers]
        goodbye = self._make_button("They say goodbye", self._say_goodbye)
        hang_up = self._make_button("They hang up", self._hang_up)
        self.switches = self._make_switches()
        self.show(
            self.picture,
            widgets.Box([*buttons, goodbye, hang_up], layout=LINE),
            widgets.Box(list(self.switches.values()), layout=LINE),
        )
        self.run(self._keep_guessing())

    def _make_button(self, title: str, action: Action) -> widgets.Button:
        return self.button(title, action, layout={"width": "auto"})

    def _let_in(self, stranger: Stranger) -> widgets.Button:
        async def come(_: Any) -> None:
            await stranger.come()

        return self._make_button(f"{stranger.name} comes", come)

    def _make_switches(self) -> dict[str, widgets.Checkbox]:
        actions = {
            "Read 16 KiB a second": self._set_rate,
            "Keep 64 KiB": self._set_backlog,
            "Look for the silent": self._set_look,
        }
        switches = {}
        for title, action in actions.items():
            switch = widgets.Checkbox(True, description=title, indent=False)
            switch.layout = {"width": "auto"}
            switches[title] = self.watched(switch, action)
        return switches

    async def _set_rate(self, change: Any) -> None:
        self.server.rate = RATE if change.new else UNLIMITED

    async def _set_backlog(self, change: Any) -> None:
        self.server.max_backlog = BACKLOG if change.new else UNLIMITED

    async def _set_look(self, change: Any) -> None:
        # The server looks at this when somebody comes.
        self.server.options["ping_interval"] = 20 if change.new else None

    async def _say_goodbye(self, _: Any) -> None:
        for stranger in self.strangers:
            stranger.say_goodbye()

    async def _hang_up(self, _: Any) -> None:
        for stranger in self.strangers:
            stranger.hang_up()

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Send all strangers away, and cancel what still runs."""
        for stranger in self.strangers:
            stranger.hang_up()
        return super().cancel()

    async def _keep_guessing(self) -> None:
        """Let Ada guess, and measure for how long she waits."""
        while True:
            try:
                if self.ada.gone:
                    await self.ada.join()
                self.asked = time.perf_counter()
                await self.ada.guess(1)
                wait = time.perf_counter() - self.asked
                self.waits.append(wait * 1000)
            except ServerGone:
                await asyncio.sleep(1)  # it may come back
            self.asked = 0.0
            await asyncio.sleep(BEAT_EVERY)

    def _paint(self) -> Markup:
        now = time.perf_counter()
        waiting = (now - self.asked) * 1000 if self.asked else 0.0
        head = STORM_HEAD.format(
            silence=guessgame.SILENCE,
            backlog=kib(BACKLOG),
        )
        rows = [head]
        for stranger, speed in zip(self.strangers, self.speeds):
            pings = speed.look(now, stranger.sent)
            rows.append(paint_stranger(stranger, pings))
        waits = paint_waits(self.waits, waiting)
        return STORM.format(waits=waits, rows=Markup().join(rows))
