"""What lesson 3 needs to compare ways to broadcast: a hall with four listeners, one of whom never reads."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine, Sequence

import ipywidgets as widgets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from broadcasting import SLEEPER, Desks, set_buffers
from gamekit import PAINTS_PER_SECOND, Part, bars
from guessgame import CONNECT_OPTIONS

BUFFER = 150_000  # bytes that the operating system stores for one end of a connection, about
PACE = 0.012  # seconds between two messages
Broadcast = Callable[[Sequence[ServerConnection], str], Coroutine[Any, Any, None]]


class Hall(Part):
    """Try out a way to send to all: four listeners, of whom Bob never reads, hear messages of 10 kB.

        Hall(in_a_loop)

    The bars grow while the messages arrive. It gives up when one message has been on its way for `patience` seconds.
    """

    style = Desks.style

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
        self.show(self.start_button, self.picture)
        self.paint("Press the button, and watch the bars.")

    async def _start(self, _: Any) -> None:
        """Open the hall, seat the listeners, send, and close it again."""
        await self.stop()
        self.heard = dict.fromkeys(self.heard, 0.0)
        connections: list[ServerConnection] = []

        async def welcome(connection: ServerConnection) -> None:
            set_buffers(connection.transport, BUFFER)
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
            set_buffers(connection.transport, BUFFER)
            if name == SLEEPER:
                await asyncio.sleep(3600)
            async for _ in connection:
                self.heard[name] += 1

    async def _send_all(self, connections: Sequence[ServerConnection]) -> None:
        """Send the messages, one after the other, and paint a few times a second how far they have got."""
        began = painted = sent = self.clock()
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
                self.paint(f"Given up: message {number} didn't get through within {self.patience:g} seconds.", "■")
                return
            sending.result()  # raises what went wrong, if anything did
            await asyncio.sleep(PACE)
        readers = [name for name in self.heard if name != SLEEPER]
        while self.clock() < sent + self.patience and any(self.heard[name] < self.messages for name in readers):
            await asyncio.sleep(0.01)  # the last ones are still on their way
        self.paint(f"All {self.messages} messages were sent in {self.clock() - began:.1f} seconds.", "✓")

    def _tell(self, number: int, seconds: float, waited: float) -> str:
        if waited < 0.3:
            return f"{seconds:.1f} s: message {number} is on its way."
        return f"{seconds:.1f} s: message {number} <b>has been on its way for {waited:.1f} s</b>."

    def paint(self, sentence: str, mark: str = "") -> None:
        """Bring what is shown up to date."""
        below = f"Waiting for {SLEEPER}, in the memory of the server: <b>{self.pile / 1000:,.0f} kB</b>"
        heard = {name + ", asleep" * (name == SLEEPER): value for name, value in self.heard.items()}
        told = f'<div class="gg-clock">{mark} {sentence}</div>'
        self.picture.value = f"{told}{bars(heard, f'of {self.messages}', self.messages)}<p>{below}</p>"
