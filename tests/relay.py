"""A network between players and a server, which a test can slow down, freeze, empty, cut and heal."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Callable


class Relay:
    """Carry bytes to a server on this machine: `async with Relay(server.port) as relay: connect(relay.url)`.

    delay     seconds that each piece is on its way
    change    a function: what becomes of the bytes that go to the server

    `heal()` lets new connections through. It does not bring to life those that have lost something.
    """

    def __init__(
        self,
        target: int,
        delay: float = 0.0,
        change: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.target = target
        self.delay = delay
        self.change = change
        self.port = 0
        self.weather = "fine"
        self.opened = 0  # connections, in all
        self.thaw = asyncio.Event()
        self.tasks: set[Any] = set()
        self.writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Relay:
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.server.close()
        self.cut()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def swallow(self) -> None:
        """From now on, all that is sent gets lost, and nobody is told."""
        self.weather = "swallowing"

    def freeze(self) -> None:
        """From now on, all that is sent stays on its way until `melt()`."""
        self.thaw = asyncio.Event()
        self.weather = "frozen"

    def cut(self) -> None:
        """End all connections at once, and refuse new ones."""
        self.weather = "cut"
        for writer in self.writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Let new connections through; what is frozen stays so."""
        self.weather = "fine"

    def melt(self) -> None:
        """Let what was frozen go on its way."""
        self.heal()
        self.thaw.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the bytes of one connection, both ways, until it ends."""
        self.opened += 1
        if self.weather == "cut":
            writer.transport.abort()
            return
        link = Link(self)
        task = asyncio.ensure_future(link.carry(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        await asyncio.wait({task})


class Link:
    """One connection through the relay."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.is_dead = False
        self.frozen: asyncio.Event | None = None

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect to the server, and carry both ways."""
        relay = self.relay
        relay.writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self.travel()
            if self.is_dead:
                await self.lose(reader)
                return
            back, there = await asyncio.open_connection("127.0.0.1", relay.target)
            relay.writers.add(there)
            await asyncio.gather(self.pump(reader, there, relay.change), self.pump(back, writer, bytes))
        except OSError:
            pass  # one of them is gone: so is the other
        finally:
            for end in filter(None, [writer, there]):
                end.close()
                relay.writers.discard(end)

    async def travel(self) -> None:
        """Wait as long as the network takes; find out if it loses everything."""
        relay = self.relay
        if relay.weather == "swallowing":
            self.is_dead = True
        if relay.weather == "frozen":
            self.frozen = relay.thaw
        if self.frozen is not None:
            await self.frozen.wait()
            self.frozen = None
        if relay.delay:
            await asyncio.sleep(relay.delay)

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
    ) -> None:
        """Carry one way until the sender has nothing more to say."""
        data = b"the beginning"
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            await self.travel()
            if self.is_dead:
                await self.lose(reader)
                return
            writer.write(change(data))
        writer.close()

    async def lose(self, reader: asyncio.StreamReader) -> None:
        """Read on for ever; the other end hears nothing, not even that this one is gone."""
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
        await asyncio.Event().wait()
