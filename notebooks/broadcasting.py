"""What lesson 3 needs beside the shared widgets: a server above four desks, and what flies between them."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import html
import itertools
import socket
import textwrap
from typing import Any, Deque, Dict, Iterator, Sequence

import ipywidgets as widgets

from gamekit import LINE, PAINTS_PER_SECOND, Part, style_sheet
from guessgame import LESS, MORE, WELCOME, YOU_WON, GameServer, Message, Player, encode, explain, recognise

BEAT = 0.6  # seconds from one flight to the next one; the style sheet lets each take as long
SLEEPER = "Bob"
# What the operating system stores for a sleeper, about. By itself it stores megabytes, and a nap would change nothing.
AT_SERVER, AT_DESK = 4096, 32_768  # bytes

# --------------------------------------------------------------------------------------------------
# Messages
# --------------------------------------------------------------------------------------------------


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
    """Write a message as it travels; of one that is longer than this, only the beginning."""
    words = encode(message)
    if len(words) > width:
        words = textwrap.shorten(words, 24, placeholder="…")
    return html.escape(words)


@dataclasses.dataclass(eq=False)
class Flight:
    """One message: a guess on its way up from a desk, or what comes down to one or more desks."""

    kind: str
    message: Message
    when: float
    names: list[str]

    def is_part_of(self, other: Flight) -> bool:
        """Tell whether both are the same announcement, as two players have received it."""
        same = self.kind == other.kind == "announcement" and self.message == other.message
        return self is other or (same and recognise(self.message)[0] != WELCOME)

    @property
    def arrow(self) -> str:
        """Draw where it goes: up, down to one, or down to many."""
        return "↑" if self.kind == "guess" else "↓" if len(self.names) == 1 else "⇊"

    def about(self, everybody: int) -> str:
        """Say who sends it, or who gets it."""
        if self.kind == "guess":
            return f"{self.names[0]} asks"
        if self.kind == "reply":
            return f"a reply to {self.names[0]}"
        names = ", ".join(self.names)
        if series(self.message) == "news":
            return f"read by {names}"  # it was sent to the sleeper, too
        return "to everybody" if len(self.names) == everybody else f"to {names}"


Held = Dict[str, Deque[Flight]]


def in_order(held: Held) -> Iterator[Flight]:
    """Take, from what each player has sent and received, one message after the other, in the order of time.

    Everybody receives the announcements in the same order. So one is next when it comes first for all who have it.
    """
    while any(held.values()):
        heads = [flights[0] for flights in held.values() if flights]
        heads.sort(key=lambda head: (head.kind == "announcement", head.when))
        for head in heads:
            names = [name for name, flights in held.items() if any(map(head.is_part_of, flights))]
            if all(head.is_part_of(held[name][0]) for name in names):
                break
        else:
            head, names = heads[0], heads[0].names  # a text that was sent to one, and later to everybody
        for name in names:
            held[name].popleft()
        yield Flight(head.kind, head.message, head.when, names)


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

    style = style_sheet(__file__)

    def __init__(self, server: GameServer, names: Sequence[str], lines: int = 12) -> None:
        super().__init__("desks")
        self.server, self.clock = server, self.loop.time
        self.began, self.next_flight = self.clock(), 0.0
        self.held: Held = {name: collections.deque(maxlen=200) for name in names}
        self.last = Flight("", "", 0, [])
        self.asleep, self.pile, self.talking = False, 0, self.run(asyncio.sleep(0))
        self.players = {
            name: Player(server.url, name, on_message=functools.partial(self._hear, name)) for name in names
        }
        self.cards: Held = {name: collections.deque(maxlen=lines) for name in names}
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
        bar = widgets.HTML('<div class="gg-pile"><i></i></div>', layout={"flex": "0 0 45%"})
        self.show(
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
        await self._change_pace(None)
        self.run(self._keep_painting())
        return self

    async def stop(self) -> None:
        """Let everybody leave. Safe to call twice."""
        await super().stop()
        for player in self.players.values():
            await player.leave()

    def _hear(self, name: str, message: Message) -> None:
        kind = "reply" if is_reply(message) else "announcement"
        self.held[name].append(Flight(kind, message, self.clock(), [name]))

    # Controls

    async def _guess(self, name: str, _: Any) -> None:
        player, number = self.players[name], self.numbers[name].value
        if player.gone is None:
            self.held[name].append(Flight("guess", {"guess": number}, self.clock(), [name]))
        await player.guess(number)

    async def _change_pace(self, _: Any) -> None:
        """Show what is still waiting. So slow motion begins with what comes next."""
        for flight in in_order(self.held):
            self._show(flight)

    async def _next(self, _: Any) -> None:
        for flight in itertools.islice(in_order(self.held), 1):
            self._show(flight)

    async def _nap(self, _: Any) -> None:
        """Let Bob fall asleep, or wake him up."""
        self.asleep = not self.asleep
        self.nap_button.description = "Wake Bob up" if self.asleep else "Bob falls asleep"
        self.buttons[SLEEPER].disabled = self.asleep
        self.talking.cancel()
        if self.asleep:
            self.slow.value = False
            self.talking = self.run(self._tell_news())
        else:
            await self._wake_up()

    async def _tell_news(self) -> None:
        """Stop reading; then announce something big, again and again, until the sleeper is cut off."""
        transport, at_server = self.players[SLEEPER].connection.transport, self._line()
        transport.pause_reading()
        set_buffers(transport, AT_DESK)
        if at_server:
            set_buffers(at_server, AT_SERVER)
        for number in itertools.count(1):
            if not self._line():
                break
            self.server.broadcast(f"News {number}, 16 kB: " + "bla " * 4000)
            self._weigh()
            await asyncio.sleep(BEAT)

    async def _wake_up(self) -> None:
        """Read again. If Bob was cut off, he finds out, and joins again."""
        bob, was_cut_off = self.players[SLEEPER], not self._line()
        self.pile = 0
        bob.connection.transport.resume_reading()
        if was_cut_off:
            await bob.wait_closed()
            await bob.join()

    def _line(self) -> Any:
        """Return the server's end of the sleeper's connection, or None when they have been cut off."""
        client = self.server.clients.get(self.players[SLEEPER].client_id or 0)
        transport = client.connection.transport if client else None
        return None if transport is None or transport.is_closing() else transport

    def _weigh(self) -> None:
        """See how many bytes are waiting on the server for the sleeper. It is remembered when they are cut off."""
        transport = self._line()
        if transport:
            self.pile = transport.get_write_buffer_size()

    # Painting

    def _show(self, flight: Flight) -> None:
        """Let a message fly, and show it in the column of each desk; in a series it replaces the one before."""
        self.last, self.next_flight = flight, self.clock() + BEAT
        kind = series(flight.message)
        for name in flight.names:
            for card in [card for card in self.cards[name] if kind and series(card.message) == kind]:
                self.cards[name].remove(card)
            self.cards[name].appendleft(flight)

    async def _keep_painting(self) -> None:
        while True:
            # An announcement may take a moment until all have received it.
            arrived = [flights[0].when + 0.1 for flights in self.held.values() if flights]
            if arrived and not self.slow.value and self.clock() >= max(self.next_flight, *arrived):
                self._show(next(in_order(self.held)))
            self._weigh()
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        self.next_button.disabled = not (self.slow.value and any(self.held.values()))
        told = self._tell() if self.last.kind else ""
        self.step.value = f'<div class="gg-told"><p>{told}</p><p>{self._advise()}</p></div>'
        flights = "".join(map(self._paint_flight, self.players))
        self.sky.value = f'<div class="gg-sky" data-when="{self.last.when}">{flights}</div>'
        for name in self.players:
            self.columns[name].value = f'<div class="gg-inbox">{self._paint_cards(name)}</div>'
            self.titles[name].value = f"<b>{html.escape(name)}</b>{self._state(name)}"
        self._paint_backlog()

    def _tell(self) -> str:
        return f"{html.escape(self.last.about(len(self.players)))}: <b>{in_short(self.last.message, 50)}</b>"

    def _advise(self) -> str:
        if self.asleep and not self.slow.value:
            advice = "watch what piles up for him." if self._line() else "press <b>Wake Bob up</b>."
            return f"{SLEEPER} reads nothing: {advice}"
        if not self.slow.value:
            return "Press a <b>Guess!</b> button, and watch who gets what."
        count = len(list(in_order({name: flights.copy() for name, flights in self.held.items()})))
        if not count:
            return "Nothing is on its way: press a <b>Guess!</b> button."
        return f"{count} message{' is' if count == 1 else 's are'} waiting: press <b>Next step</b>."

    def _state(self, name: str) -> str:
        if not self.asleep or name != SLEEPER:
            return ""
        return " · asleep" if self._line() else " · cut off"

    def _paint_flight(self, name: str) -> str:
        last, pill = self.last, ""
        if name in last.names:
            pill = f'<span class="gg-{last.kind}-flies">{last.arrow} {in_short(last.message, 50)}</span>'
        return f"<div>{pill}</div>"

    def _paint_cards(self, name: str) -> str:
        return "".join(
            f'<div class="gg-{card.kind}-card{" gg-new" * (card is self.last)}">'
            f"<small>{card.arrow} {html.escape(card.about(len(self.players)))}, "
            f"{max(0, card.when - self.began):.1f}&nbsp;s</small>"
            f"<br>{in_short(card.message, 300)}"
            f"<br><small>{html.escape(explain(card.message))}</small></div>"
            for card in self.cards[name]
        )

    def _paint_backlog(self) -> None:
        waiting, limit = self.pile / 1024, self.server.max_backlog / 1024
        self.backlog.value = "nothing is waiting"
        if self.asleep:
            self.backlog.value = f"waiting for {SLEEPER}: {waiting:.0f} of {limit:.0f} KiB"
        if self.asleep and not self._line():
            self.backlog.value = f"<b>✂ {SLEEPER} is cut off: {waiting:.0f} of {limit:.0f} KiB</b>"
        self.bar.value = f"<style>.gg-pile i {{ --gg-full: {min(100, 100 * waiting / limit):.0f}% }}</style>"


def set_buffers(transport: Any, size: int) -> None:
    """Tell the operating system how many bytes it may store for one end of a connection, about."""
    line = transport.get_extra_info("socket")
    for kind in socket.SO_SNDBUF, socket.SO_RCVBUF:
        line.setsockopt(socket.SOL_SOCKET, kind, size)
