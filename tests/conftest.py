"""What several test files share: clients that know only JSON, a clock that stands still, programs, browsers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import shutil
import signal
import socket
import struct
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Coroutine, Iterator

import hypothesis
import pyte
import pytest
from playwright.async_api import Browser, async_playwright

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "notebooks")]

from websockets.asyncio.client import ClientConnection, connect  # noqa: E402
from websockets.asyncio.server import ServerConnection, broadcast, serve  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

from guessgame import CONNECT_OPTIONS, GameServer, encode  # noqa: E402

# The same examples in each run, however slow the machine.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

WELCOME = "Добро пожаловать! Угадайте число от 1 до 100."
NEW_GAME = "Новая игра началась!"
SECRET = 42
PATIENCE = 60  # seconds; only a hang is longer
PROGRAM = [sys.executable, str(PROJECT / "guessgame.py")]
UPGRADE = "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"


def game(**options: Any) -> GameServer:
    """Make a server, not started yet, on which every secret is 42."""
    return GameServer(port=0, draw=lambda low, high: SECRET, **options)


@pytest.fixture
async def server() -> AsyncIterator[GameServer]:
    """A server on which every secret is 42 and a pause is over at once."""
    async with game(pause=0.05) as server:
        yield server


@pytest.fixture(autouse=True)
def no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test may leave a traceback or an error in the log; one that wants it there clears the log."""
    yield
    assert not [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]


async def eventually(condition: Callable[[], Any], patience: int = PATIENCE) -> Any:
    """Wait until something is true, and return it."""
    for _ in range(patience * 100):
        value = condition()
        if value:
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("this never became true")


def error(reply: Any) -> str:
    """Return the sentence of an error, which says what to send instead."""
    assert list(reply) == ["error"]
    assert "отправьте" in reply["error"].lower()
    assert reply["error"].endswith(".")
    return str(reply["error"])


def texts(markup: str) -> list[str]:
    """Return what a person reads in a piece of HTML."""
    return [text.strip() for text in re.split(r"<[^>]*>", markup) if text.strip()]


# Clients, and servers that are not what they seem


class Wire:
    """A client that speaks JSON and knows nothing of the game."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self) -> Any:
        data = await asyncio.wait_for(self.connection.recv(), PATIENCE)
        assert isinstance(data, str), "every message is a text frame"
        return json.loads(data)

    async def hear_all(self, count: int) -> list[Any]:
        return [await self.hear() for _ in range(count)]

    async def hear_until(self, last: Any) -> list[Any]:
        heard = [await self.hear()]
        while heard[-1] != last:
            heard.append(await self.hear())
        return heard

    async def hear_so_far(self, server: GameServer) -> list[Any]:
        """Hear what the server has sent up to now."""
        server.game.broadcast("that is all so far")
        return (await self.hear_until("that is all so far"))[:-1]

    async def hear_goodbye(self) -> int:
        """Hear whatever still comes; return the code with which the server closes, 1006 if it does not say goodbye."""
        while True:
            try:
                await self.hear()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.hear()

    async def hang_up(self) -> None:
        """Leave without a goodbye, in a way the other side notices at once."""
        leaving = self.connection.transport.get_extra_info("socket")
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()
        await self.connection.wait_closed()


@contextlib.asynccontextmanager
async def wire(url: str, welcomed: bool = True, **options: Any) -> AsyncIterator[Wire]:
    """Connect a client; unless told otherwise, it has heard the welcome already."""
    async with connect(url, **{**CONNECT_OPTIONS, **options}) as connection:
        client = Wire(connection)
        if welcomed:
            assert await client.hear() == WELCOME
        yield client


@contextlib.asynccontextmanager
async def wires(url: str, count: int) -> AsyncIterator[list[Wire]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(wire(url)) for _ in range(count)]


async def bisect(player: Wire) -> int:
    """Play a round as the specification has it, one reply to each guess; return the number that won."""
    low, high, reply = 1, 100, None
    while reply != "Вы угадали!":
        number = (low + high) // 2
        reply = await player.ask({"guess": number})
        assert reply in ("Меньше", "Больше", "Вы угадали!")
        low, high = (number + 1, high) if reply == "Меньше" else (low, number - 1)
    return number


async def say(port: int, data: bytes) -> bytes:
    """Send bytes to a server on this machine; return what it answers before it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    return answer


async def join_deaf(port: int, path: str = "/") -> socket.socket:
    """Shake hands with a server on this machine, then never read again."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", port))
    await loop.sock_sendall(deaf, f"{UPGRADE % path}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    assert await loop.sock_recv(deaf, 12) == b"HTTP/1.1 101"
    return deaf


@contextlib.asynccontextmanager
async def strange_server(*script: Any, close_timeout: float = 0.1) -> AsyncIterator[str]:
    """Run a server that sends what a script says (bytes as they are), or awaits what it calls; yield its address."""

    async def play(connection: ServerConnection) -> None:
        for line in script:
            if callable(line):
                await line(connection)
            else:
                text = line.decode() if isinstance(line, bytes) else encode(line)
                broadcast([connection], text)  # does not wait: so lines in a row arrive together
        await connection.wait_closed()

    async with serve(play, "127.0.0.1", 0, close_timeout=close_timeout) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# Time


class StandingClock(asyncio.SelectorEventLoop):
    """An event loop on which everything happens, but no time passes unless a test says so."""

    now = 1000.0  # a computer's clock does not begin with its programs, either

    def time(self) -> float:
        return self.now


async def pass_time(seconds: float = 0) -> None:
    """On a standing clock: let all that is under way happen, then time pass, then all that is due by then happen."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StandingClock)
    for passing in (0, seconds):
        loop.now += passing
        for _ in range(20):
            await asyncio.sleep(0)


def standing_clock(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a standing clock: only `pass_time()` lets time pass."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        with contextlib.closing(StandingClock()) as loop:
            try:
                loop.run_until_complete(test(**fixtures))
            finally:
                for task in asyncio.all_tasks(loop):  # only after a failed test
                    task.cancel()
                for _ in range(10):
                    loop.run_until_complete(pass_time(10))

    return run


# Programs


@contextlib.asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[Any]:
    """Run a program, which ends with the test at the latest; yield its asyncio.subprocess.Process."""
    options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, **options}
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ended(process: Any, typed: str | None = None) -> tuple[int, str, str]:
    """Type all the input of a program and wait for its end; return its status, its output and its errors."""
    if typed is not None:
        process.stdin.write(typed.encode())
        process.stdin.close()
    printed = asyncio.gather(process.stdout.read(), process.stderr.read())
    output, errors = await asyncio.wait_for(printed, PATIENCE)
    return await process.wait(), output.decode(), errors.decode()


class Terminal:
    """A person's terminal: what is typed goes into a program, what the program prints is shown."""

    def __init__(self, process: Any, descriptor: int, columns: int) -> None:
        self.process, self.descriptor = process, descriptor
        self.screen = pyte.Screen(columns, 12)
        self._stream = pyte.ByteStream(self.screen)
        self._printed, self._expected = b"", 0

    def read(self) -> None:
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self.descriptor)
        else:
            self._printed += data
            self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    async def wait_for_last_line(self, text: str) -> None:
        await eventually(lambda: self.lines and self.lines[-1] == text)

    async def expect(self, text: str) -> None:
        """Wait until a text is printed, after the one expected before; anything may stand between its words."""
        words = re.compile(r"\W+".join(re.findall(r"\w+", text)))
        match = await eventually(lambda: words.search(self._printed.decode(errors="replace"), self._expected), 60)
        self._expected = match.end()


# Makes a terminal the one whose Ctrl-C the program hears. (The test itself may have threads, so it must not fork.)
IN_TERMINAL = "import fcntl, os, sys; fcntl.ioctl(0, int(sys.argv[1]), 0); os.execvp(sys.argv[2], sys.argv[2:])"


@contextlib.asynccontextmanager
async def terminal(*command: str, columns: int = 100, kind: str = "xterm", **options: Any) -> AsyncIterator[Terminal]:
    termios = pytest.importorskip("termios", reason="a pseudo-terminal is a thing of Unix")
    from fcntl import ioctl

    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 12, columns, 0, 0))
    environment = {**os.environ, "COLUMNS": "", "NO_COLOR": "1", "TERM": kind}
    options.update(stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)
    async with started(sys.executable, "-c", IN_TERMINAL, str(termios.TIOCSCTTY), *command, **options) as process:
        os.close(theirs)
        terminal = Terminal(process, ours, columns)
        asyncio.get_running_loop().add_reader(ours, terminal.read)
        try:
            yield terminal
        finally:
            asyncio.get_running_loop().remove_reader(ours)
            os.close(ours)
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)


# Browsers

SWITCHES = ["--no-sandbox", "--no-first-run", "--disable-background-networking"]
SWITCHES += [f"--disable-{feature}" for feature in ("gpu", "quic", "component-update", "sync", "dev-shm-usage")]


def need(*programs: str) -> str:
    """Return the path of the first program that is installed; if none is, skip the test, or fail in CI."""
    for program in programs:
        path = shutil.which(program)
        if path:
            return path
    reason = f"install one of: {', '.join(programs)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def find_browser() -> str:
    return need("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium, for tests that do not need JupyterLab."""
    path = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        await browser.close()


async def npm_install(package: str, folder: Path) -> Path:
    """Install a JavaScript package in a folder; return where it is."""
    async with started(need("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(folder), package) as install:
        status, _, errors = await ended(install)
    assert status == 0, errors
    return folder / "node_modules" / package
