"""What lesson 3 needs beside the shared widgets: a server above four desks, and a hall with one sleeper."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import html
import itertools
import socket
import textwrap
from pathlib import Path
from typing import Any, Callable, Coroutine, Sequence

import ipywidgets as widgets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gameboard import LINE, PAINTS_PER_SECOND, Part, bars
from guessgame import CONNECT_OPTIONS, LESS, MORE, WELCOME, YOU_WON, GameServer, Message, Player, encode, explain

STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"
BEAT = 0.6  # seconds from one flight to the next one; the style sheet lets each take as long
SLEEPER = "Bob"
# What the operating system may store for a connection. By itself it stores megabytes, and a nap would change nothing.
DESK_BUFFER, HALL_BUFFER = 4096, 150_000  # bytes
PACE = 0.012  # seconds between two messages in the hall

# --------------------------------------------------------------------------------------------------
# Messages
# --------------------------------------------------------------------------------------------------

ARROWS = {"guess": "↑", "reply": "↓", "announcement": "⇊"}


def is_reply(message: Message) -> bool:
    """Tell a reply, which goes to one player, from an announcement, which goes to many."""
    if isinstance(message, str):
        return message in (LESS, MORE, YOU_WON)
    # A score is announced after a win. Without any wins it confirms a name.
    return "error" in message or message.get("wins") == 0


def series(message: Message) -> str:
    """Name the series that a message belongs to: of these, a column shows only the latest."""
    if isinstance(message, dict):
        return "countdown" if "countdown" in message else ""
    return "news" if message.startswith("News ") else ""


def in_short(message: Message, width: int) -> str:
    """Write a message as it travels, but no longer than this, and make it harmless."""
    words = encode(message)
    if len(words) <= width:
        return html.escape(words)
    return f"{html.escape(textwrap.shorten(words, width, placeholder='…'))} ({len(words.encode()):,} bytes)"


@dataclasses.dataclass(eq=False)
class Flight:
    """One message: a guess on its way up from a desk, or what comes down to one or more desks."""

    kind: str
    message: Message
    when: float
    names: list[str]
    landed: int = 0  # how many of these have been shown

    def about(self, everybody: int) -> str:
        """Say who sends it, or who gets it."""
        if self.kind == "guess":
            return f"{self.names[0]} asks"
        if self.kind == "reply":
            return f"a reply to {self.names[0]}"
        if len(self.names) == 1:
            return f"to {self.names[0]} alone"
        return "to everybody" if len(self.names) == everybody else f"to {', '.join(self.names)}"


# --------------------------------------------------------------------------------------------------
# A server above four desks
# --------------------------------------------------------------------------------------------------


class Desks(Part):
    """Seat players side by side below their server, and let each message fly.

        desks = await Desks(server, ["Ada", "Bob", "Cleo", "Dan"]).start()
        desks

    Each desk has a guess to send, and a column of all that was sent and received, the newest on top. What belongs to
    the last flight is lit. In slow motion, "Next step" starts one flight. Bob can fall asleep: then he reads nothing.
    """

    def __init__(self, server: GameServer, names: Sequence[str], lines: int = 12) -> None:
        super().__init__("desks")
        self.server, self.welcome = server, WELCOME.format(low=server.low, high=server.high)
        self.clock = self.loop.time
        self.began, self.next_flight = self.clock(), 0.0
        self.flights: collections.deque[Flight] = collections.deque(maxlen=100)
        self.waiting: collections.deque[Flight] = collections.deque()
        self.last, self.lit = Flight("", "", 0, []), [""]
        self.asleep, self.pile, self.talking = False, 0, self.run(asyncio.sleep(0))
        self.players = {
            name: Player(server.url, name, on_message=functools.partial(self._hear, name)) for name in names
        }
        self.cards: dict[str, collections.deque[Flight]] = {name: collections.deque(maxlen=lines) for name in names}
        self.columns, self.titles = ({name: widgets.HTML() for name in names} for _ in range(2))
        self.step, self.backlog, self.bar, self.sky = (widgets.HTML() for _ in range(4))
        self._make_controls()
        self._arrange()
        self.paint()

    def _make_controls(self) -> None:
        self.slow = self.watched(
            widgets.Checkbox(False, description="Slow motion", indent=False, layout={"width": "130px"}),
            self._change_pace,
        )
        self.next_button = self.button(
            "Next step", self._next, icon="step-forward", disabled=True, layout={"width": "120px"}
        )
        self.nap_button = self.button("Bob falls asleep", self._nap, layout={"width": "150px"})
        self.numbers, self.buttons = {}, {}
        for name in self.players:
            number = widgets.BoundedIntText(50, min=self.server.low, max=self.server.high)
            number.layout = {"flex": "1 1 48px", "width": "auto", "min_width": "48px", "margin": "0 4px 0 0"}
            self.numbers[name] = self.watched(number)
            self.buttons[name] = self.button(
                "Guess!",
                functools.partial(self._guess, name),
                tooltip=f"{name} guesses",
                layout={"flex": "0 0 74px", "width": "74px", "margin": "0"},
            )

    def _arrange(self) -> None:
        columns = f"repeat({len(self.players)}, minmax(0, 1fr))"
        desks = [
            widgets.VBox(
                [self.titles[name], widgets.HBox([self.numbers[name], self.buttons[name]]), self.columns[name]],
                layout={"margin": "0"},
            )
            for name in self.players
        ]
        bar = widgets.HTML('<div class="gg-pile"><i></i></div>', layout={"flex": "1 1 100px"})
        self.show(
            widgets.HTML(STYLE),
            widgets.Box([self.slow, self.next_button, self.nap_button], layout=LINE),
            self.step,
            widgets.HBox([widgets.HTML("<b>Server</b>"), bar, self.backlog, self.bar]).add_class("gg-server"),
            self.sky,
            widgets.GridBox(desks, layout={"grid_template_columns": columns, "grid_gap": "8px"}),
        )

    async def start(self) -> Desks:
        """Let everybody join, begin to show what they receive, and return the desks."""
        for other in self.in_use:
            if isinstance(other, Desks) and other is not self:
                await other.stop()
        for player in self.players.values():
            await player.join()
        self._show_all()
        self.run(self._keep_painting())
        return self

    async def stop(self) -> None:
        """Let everybody leave. Safe to call twice."""
        await super().stop()
        for player in self.players.values():
            await player.leave()

    # Noting what travels, in the order of time

    def _hear(self, name: str, message: Message) -> None:
        """Note what a player has received; an announcement that others have already is the same flight."""
        flight = None
        if is_reply(message):
            self._note(Flight("reply", message, self.clock(), [name]))
            return
        if message != self.welcome:
            flight = self._find(name, message)
        if flight is None:
            self._note(Flight("announcement", message, self.clock(), [name]))
        else:
            flight.names.append(name)
            if flight not in self.waiting:
                self.waiting.append(flight)

    def _find(self, name: str, message: Message) -> Flight | None:
        """Look for an announcement among all that came after what this player has: the order is the same for all."""

        def is_news(flight: Flight) -> bool:
            return name not in flight.names or flight.kind == "guess"

        found = None
        for flight in itertools.takewhile(is_news, reversed(self.flights)):
            if flight.kind == "announcement" and flight.message == message:
                found = flight
        return found

    def _note(self, flight: Flight) -> None:
        self.flights.append(flight)
        places = [place for place, other in enumerate(self.waiting, 1) if flight.names[0] in other.names]
        if flight.kind == "reply" and places:  # right after the guess, even if others have heard of it by now
            self.waiting.insert(places[-1], flight)
        else:
            self.waiting.append(flight)

    # Controls

    async def _guess(self, name: str, _: Any) -> None:
        player, number = self.players[name], self.numbers[name].value
        if player.gone is None:
            self._note(Flight("guess", {"guess": number}, self.clock(), [name]))
        await player.guess(number)

    async def _change_pace(self, _: Any) -> None:
        """Show what is still waiting. So slow motion begins with what comes next."""
        self.next_button.disabled = not self.slow.value
        self._show_all()

    async def _next(self, _: Any) -> None:
        if self.waiting:
            self._show(self.waiting.popleft())

    async def _nap(self, _: Any) -> None:
        """Let Bob fall asleep, or wake him up; if he was cut off he joins again."""
        bob = self.players[SLEEPER]
        self.asleep = not self.asleep
        self.nap_button.description = "Wake Bob up" if self.asleep else "Bob falls asleep"
        self.buttons[SLEEPER].disabled = self.asleep
        self.talking.cancel()
        if self.asleep:
            self.slow.value = False
            set_buffers(bob.connection.transport, DESK_BUFFER)
            bob.connection.transport.pause_reading()
            self.talking = self.run(self._tell_news())
        else:
            was_here = bob.client_id in self.server.clients
            bob.connection.transport.resume_reading()
            if not was_here:
                await bob.wait_closed()
                await bob.join()

    async def _tell_news(self) -> None:
        """Announce something big, again and again, until the sleeper is gone."""
        client = self.server.clients.get(self.players[SLEEPER].client_id or 0)
        if client:
            set_buffers(client.connection.transport, DESK_BUFFER)
        for number in itertools.count(1):
            if self._has_gone():
                break
            self.server.broadcast(f"News {number}: " + "bla " * 2000)
            self._weigh()
            await asyncio.sleep(BEAT)

    def _has_gone(self) -> bool:
        return self.asleep and self.players[SLEEPER].client_id not in self.server.clients

    def _weigh(self) -> None:
        """See how many bytes are waiting on the server for the sleeper; remember it when they are cut off."""
        client = self.server.clients.get(self.players[SLEEPER].client_id or 0)
        if client and not client.connection.transport.is_closing():
            self.pile = client.connection.transport.get_write_buffer_size()

    # Painting

    def _show(self, flight: Flight) -> None:
        """Let a flight start, and show its message in the columns of all who have not got it yet."""
        self.last, self.lit = flight, flight.names[flight.landed :]
        flight.landed = len(flight.names)
        self.next_flight = self.clock() + BEAT
        for name in self.lit:
            kind, cards = series(flight.message), self.cards[name]
            for card in [card for card in cards if kind and series(card.message) == kind]:
                cards.remove(card)
            cards.appendleft(flight)

    def _show_all(self) -> None:
        while self.waiting:
            self._show(self.waiting.popleft())

    async def _keep_painting(self) -> None:
        while True:
            if self.waiting and not self.slow.value and self.clock() >= self.next_flight:
                self._show(self.waiting.popleft())
            self._weigh()
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        about = f"{html.escape(self.last.about(len(self.players)))}: " if self.last.kind else ""
        words = in_short(self.last.message, 60) if self.last.kind else ""
        self.step.value = f'<div class="gg-told"><p>{about}<b>{words}</b></p><p>{self._advise()}</p></div>'
        self.sky.value = f'<div class="gg-sky">{"".join(map(self._paint_flight, self.players))}</div>'
        for name in self.players:
            self.columns[name].value = f'<div class="gg-inbox">{self._paint_cards(name)}</div>'
            state = (" · cut off" if self._has_gone() else " · asleep") if self.asleep and name == SLEEPER else ""
            self.titles[name].value = f"<b>{html.escape(name)}</b>{state}"
        self._paint_backlog()

    def _advise(self) -> str:
        if not self.slow.value:
            return "Press a <b>Guess!</b> button, and watch who gets what."
        if not self.waiting:
            return "Nothing is on its way: press a <b>Guess!</b> button."
        count = len(self.waiting)
        return f"{count} message{' is' if count == 1 else 's are'} waiting: press <b>Next step</b>."

    def _paint_flight(self, name: str) -> str:
        kind = self.last.kind
        pill = f'<span class="gg-{kind}-flies">{ARROWS[kind]} {in_short(self.last.message, 48)}</span>' if kind else ""
        return f"<div>{pill if name in self.lit else ''}</div>"

    def _paint_cards(self, name: str) -> str:
        return "".join(
            f'<div class="gg-{card.kind}-card{" gg-new" * (card is self.last and name in self.lit)}">'
            f"<small>{ARROWS[card.kind]} {html.escape(card.about(len(self.players)))}, "
            f"{max(0, card.when - self.began):.1f} s</small>"
            f"<br>{in_short(card.message, 300 if explain(card.message) else 40)}"
            f"<br><small>{html.escape(explain(card.message))}</small></div>"
            for card in self.cards[name]
        )

    def _paint_backlog(self) -> None:
        full = self.server.max_backlog
        text = f"waiting for {SLEEPER}: {self.pile / 1024:.0f} of {full / 1024:.0f} KiB"
        if self._has_gone():
            text = f"<b>✂ {SLEEPER} is cut off: {self.pile / 1024:.0f} KiB were waiting for him</b>"
        self.backlog.value = text
        width = min(100, 100 * self.pile / full)
        self.bar.value = f"<style>.gg-pile i {{ --gg-full: {width:.0f}% }}</style>"


def set_buffers(transport: Any, size: int) -> None:
    """Tell the operating system how many bytes it may store for one end of a connection, about."""
    line = transport.get_extra_info("socket")
    for kind in socket.SO_SNDBUF, socket.SO_RCVBUF:
        line.setsockopt(socket.SOL_SOCKET, kind, size)


# --------------------------------------------------------------------------------------------------
# A hall with four listeners, one of whom never reads
# --------------------------------------------------------------------------------------------------

Broadcast = Callable[[Sequence[ServerConnection], str], Coroutine[Any, Any, None]]


class Hall(Part):
    """Try out a way to send to all: four listeners, of whom Bob never reads, hear messages of 10 kB.

        Hall(in_a_loop)

    The bars grow while the messages arrive. It gives up when one message has been on its way for `patience` seconds.
    """

    def __init__(self, send_to_all: Broadcast, messages: int = 200, patience: float = 2.0) -> None:
        super().__init__(f"hall for {send_to_all.__name__}")
        self.send_to_all, self.messages, self.patience = send_to_all, messages, patience
        self.clock = self.loop.time
        self.heard = dict.fromkeys(("Ada", SLEEPER, "Cleo", "Dan"), 0.0)
        self.pile = 0
        self.picture = widgets.HTML()
        self.start_button = self.button(
            f"Send {messages} messages", self._start, icon="play", layout={"width": "200px"}
        )
        self.show(widgets.HTML(STYLE), self.start_button, self.picture)
        self.paint("Press the button, and watch the bars.")

    async def _start(self, _: Any) -> None:
        """Open the hall, seat the listeners, send, and close it again."""
        await self.stop()
        self.heard = dict.fromkeys(self.heard, 0.0)
        connections: list[ServerConnection] = []

        async def welcome(connection: ServerConnection) -> None:
            set_buffers(connection.transport, HALL_BUFFER)
            connections.append(connection)
            await connection.wait_closed()

        async with serve(welcome, "127.0.0.1", 0, compression=None, close_timeout=0) as hall:
            url = f"ws://127.0.0.1:{next(iter(hall.sockets)).getsockname()[1]}"
            try:
                for count, name in enumerate(self.heard, 1):
                    self.run(self._listen(url, name))
                    while len(connections) < count:
                        await asyncio.sleep(0.01)
                await self._send_all(connections)
            finally:
                others = self.cancel()
                for connection in connections:
                    connection.transport.abort()
                if others:
                    await asyncio.wait(others)

    async def _listen(self, url: str, name: str) -> None:
        async with connect(url, compression=None, max_queue=1, close_timeout=0, **CONNECT_OPTIONS) as connection:
            set_buffers(connection.transport, HALL_BUFFER)
            if name == SLEEPER:
                await asyncio.sleep(3600)
            async for _ in connection:
                self.heard[name] += 1

    async def _send_all(self, connections: Sequence[ServerConnection]) -> None:
        """Send the messages, one after the other, and paint a few times a second how far they have got."""
        began = painted = self.clock()
        for number in range(1, self.messages + 1):
            sent = self.clock()
            sending = self.run(self.send_to_all(connections, "x" * 10_000))
            while not sending.done() and self.clock() < sent + self.patience:
                await asyncio.wait({sending}, timeout=1 / PAINTS_PER_SECOND)
                self.pile = connections[1].transport.get_write_buffer_size()
                if self.clock() >= painted + 1 / PAINTS_PER_SECOND:
                    painted = self.clock()
                    self.paint(self._tell(number, painted - began, painted - sent))
            if not sending.done():
                self.paint(f"Given up: message {number} did not get through in {self.patience:g} seconds.", "⏹")
                return
            await asyncio.sleep(PACE)
        self.paint(f"All {self.messages} messages are sent, in {self.clock() - began:.1f} seconds.", "✓")

    def _tell(self, number: int, seconds: float, waited: float) -> str:
        if waited < 0.3:
            return f"{seconds:.1f} s: message {number} is on its way."
        return f"{seconds:.1f} s: message {number} <b>has been on its way for {waited:.1f} s</b>."

    def paint(self, sentence: str, mark: str = "") -> None:
        """Bring what is shown up to date."""
        below = f"Waiting for {SLEEPER}, in the memory of the server: <b>{self.pile / 1000:,.0f} kB</b>"
        told = f'<div class="gg-clock">{mark} {sentence}</div>'
        self.picture.value = f"{told}{bars(self.heard, f'of {self.messages}', self.messages)}<p>{below}</p>"
