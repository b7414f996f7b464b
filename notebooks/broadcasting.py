"""What lesson 3 needs beside the shared widgets: players side by side, and a hall in which one listener never reads."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import html
from typing import Any, Callable, Coroutine, Sequence

import ipywidgets as widgets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gameboard import LINE, PAINTS_PER_SECOND, Part
from guessgame import (
    CONNECT_OPTIONS,
    LESS,
    MORE,
    WELCOME,
    YOU_WON,
    GameServer,
    Message,
    Player,
    encode,
    explain,
)

# What a lesson says of a message: who else has received the same one?
REPLIES = (LESS, MORE, YOU_WON)


def is_reply(message: Message) -> bool:
    """Tell a reply, which one player receives, from an announcement, which everybody does."""
    if isinstance(message, str):
        return message in REPLIES
    # A score is announced after a win; without any it confirms a name.
    return "error" in message or message.get("wins") == 0


@dataclasses.dataclass(eq=False)
class Arrival:
    """A message, when it arrived, and at whom."""

    message: Message
    when: float
    receivers: list[str]
    shown: float = 0.0


class Desks(Part):
    """Seat players side by side, each with a guess to send and a column of all that arrived, in the order of time.

        desks = await Desks(server, ["Ada", "Bob", "Cleo", "Dan"]).start()
        desks

    What has just arrived is lit. In slow motion nothing is shown before "Next step" is pressed: each step is one
    message, in all the columns which received it.
    """

    def __init__(self, server: GameServer, names: Sequence[str], lines: int = 8) -> None:
        super().__init__("desks")
        self.welcome = WELCOME.format(low=server.low, high=server.high)
        self.clock = self.loop.time
        self.began = self.clock()
        self.arrivals: collections.deque[Arrival] = collections.deque(maxlen=100)
        self.players = {
            name: Player(server.url, name, on_message=functools.partial(self._hear, name)) for name in names
        }
        self.shown: dict[str, collections.deque[Arrival]] = {name: collections.deque(maxlen=lines) for name in names}
        self.held: dict[str, collections.deque[Arrival]] = {name: collections.deque() for name in names}
        self.columns = {name: widgets.HTML(layout={"width": "auto", "margin": "0"}) for name in names}
        self.numbers = {
            name: self.watched(
                widgets.BoundedIntText(
                    value=50,
                    min=server.low,
                    max=server.high,
                    description=name,
                    layout={"width": "140px"},
                    style={"description_width": "54px"},
                )
            )
            for name in names
        }
        self.buttons = {
            name: self.button(
                "Guess!",
                functools.partial(self._guess, name),
                tooltip=f"{name} guesses",
                layout={"width": "80px"},
            )
            for name in names
        }
        self.slow = self.watched(
            widgets.Checkbox(False, description="Slow motion", indent=False, layout={"width": "130px"}),
            self._let_go,
        )
        self.next_button = self.button("Next step", self._next, icon="step-forward")
        self.step = widgets.HTML()
        self._say("")
        seats = [
            widgets.VBox(
                [widgets.HBox([self.numbers[name], self.buttons[name]]), self.columns[name]],
                layout={"flex": "1 1 170px", "min_width": "170px"},
            )
            for name in names
        ]
        self.show(
            widgets.Box([self.slow, self.next_button], layout=LINE),
            self.step,
            widgets.Box(seats, layout={"flex_flow": "row wrap", "grid_gap": "8px"}),
        )

    async def start(self) -> Desks:
        """Let everybody join, begin to show what they receive, and return the desks."""
        for other in self.in_use:
            if isinstance(other, Desks) and other is not self:
                await other.stop()
        for player in self.players.values():
            await player.join()
        self.run(self._keep_painting())
        return self

    async def stop(self) -> None:
        """Let everybody leave. Safe to call twice."""
        await super().stop()
        for player in self.players.values():
            await player.leave()

    def _hear(self, name: str, message: Message) -> None:
        """Note who has received what: an announcement arrives at several players within moments."""
        now = self.clock()
        personal = is_reply(message) or message == self.welcome
        for arrival in self.arrivals:
            same = arrival.message == message and now - arrival.when < 0.5
            if same and not personal and name not in arrival.receivers:
                arrival.receivers.append(name)
                break
        else:
            arrival = Arrival(message, now, [name])
            self.arrivals.append(arrival)
        self.held[name].append(arrival)
        if not self.slow.value:
            self._show(name)

    def _show(self, name: str) -> None:
        arrival = self.held[name].popleft()
        arrival.shown = self.clock()
        self.shown[name].append(arrival)

    async def _guess(self, name: str, _: Any) -> None:
        await self.players[name].guess(self.numbers[name].value)

    async def _let_go(self, _: Any) -> None:
        """Show all that is held back, when slow motion is switched off."""
        while not self.slow.value and any(self.held.values()):
            await self._next(None)
        self._say("")

    async def _next(self, _: Any) -> None:
        """Show one message, in all the columns which have received it, in the order in which it was sent."""
        heads = {name: held[0] for name, held in self.held.items() if held}
        ready = [arrival for arrival in heads.values() if all(heads.get(name) is arrival for name in arrival.receivers)]
        if not ready:
            tick = "" if self.slow.value else "tick <b>Slow motion</b>, then "
            self._say(f"Nothing is on its way: {tick}press a <b>Guess!</b> button.")
            return
        arrival = min(ready, key=lambda arrival: arrival.when)
        for name in arrival.receivers:
            self._show(name)
        self._say(f"{html.escape(self._for_whom(arrival))}: <b>{html.escape(encode(arrival.message))}</b>")

    def _say(self, markup: str) -> None:
        self.step.value = f'<div class="gg-step">{markup}</div>'

    async def _keep_painting(self) -> None:
        while True:
            for name in self.columns:
                self.columns[name].value = self._paint_column(name)
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def _for_whom(self, arrival: Arrival) -> str:
        names = arrival.receivers
        if is_reply(arrival.message):
            return f"a reply to {names[0]}"
        if len(names) == 1:
            return f"to {names[0]} alone"
        return "to everybody" if len(names) == len(self.players) else f"to {', '.join(names)}"

    def _paint_column(self, name: str) -> str:
        lit = self.clock() - 1.5
        cards = "".join(
            f'<div class="gg-card{" gg-reply-card" * is_reply(arrival.message)}{" gg-lit" * (arrival.shown > lit)}">'
            f"<small>{arrival.when - self.began:.1f} s, {html.escape(self._for_whom(arrival))}</small>"
            f"<br>{html.escape(encode(arrival.message))}<br><small>{html.escape(explain(arrival.message))}</small></div>"
            for arrival in reversed(self.shown[name])
        )
        return f'<div class="gg-column">{cards}</div>'


Broadcast = Callable[[Sequence[ServerConnection], str], Coroutine[Any, Any, None]]


async def try_out(send_to_all: Broadcast, messages: int = 200) -> tuple[dict[str, float], float]:
    """Broadcast to four listeners, of whom Bob never reads; give up after a second.

    Returns how many messages each of them has read, and how many MB are waiting on the server for Bob.
    """
    heard: dict[str, float] = {}
    connections: list[ServerConnection] = []

    async def welcome(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.wait_closed()

    async def listen(url: str, name: str) -> None:
        async with connect(url, compression=None, max_queue=1, close_timeout=0, **CONNECT_OPTIONS) as connection:
            heard[name] = 0
            if name == "Bob":
                await asyncio.sleep(3600)
            async for _ in connection:
                heard[name] += 1

    async def send_all() -> None:
        for _ in range(messages):
            await send_to_all(connections, "x" * 50_000)
            await asyncio.sleep(0)  # let the listeners read

    async with serve(welcome, "127.0.0.1", 0, compression=None, close_timeout=0) as hall:
        url = f"ws://127.0.0.1:{next(iter(hall.sockets)).getsockname()[1]}"
        tasks = set()
        for name in ("Ada", "Bob", "Cleo", "Dan"):
            tasks.add(asyncio.ensure_future(listen(url, name)))
            while len(connections) < len(tasks):
                await asyncio.sleep(0.01)
        sending = asyncio.ensure_future(send_all())
        await asyncio.wait({sending}, timeout=1)
        result = dict(heard), connections[1].transport.get_write_buffer_size() / 1e6
        for task in [sending, *tasks]:
            task.cancel()
        for connection in connections:
            connection.transport.abort()
        await asyncio.wait([sending, *tasks])
    return result
