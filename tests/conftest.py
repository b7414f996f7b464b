"""What several test files share: the project on the path, and clients which know nothing but JSON over WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any, AsyncIterator

import hypothesis
import pytest

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "notebooks")]

from websockets.asyncio.client import ClientConnection, connect  # noqa: E402

from guessgame import CONNECT_OPTIONS, GameServer  # noqa: E402

# The same examples in each run, however slow the machine.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

WELCOME = "Добро пожаловать! Угадайте число от 1 до 100."
SECRET = 42
PATIENCE = 30  # seconds; only a hang is longer


class Wire:
    """A client which sends and receives JSON, and knows nothing of the game."""

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

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.hear()


@contextlib.asynccontextmanager
async def wire(url: str, welcomed: bool = True, **options: Any) -> AsyncIterator[Wire]:
    """Connect a client; unless told otherwise, it has heard the welcome already."""
    async with connect(url, **{**CONNECT_OPTIONS, **options}) as connection:
        client = Wire(connection)
        if welcomed:
            assert await client.hear() == WELCOME
        yield client


async def eventually(condition: Any) -> None:
    """Wait until something is true."""
    for _ in range(PATIENCE * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("this never became true")


async def connect_deaf(port: int, path: str = "/") -> socket.socket:
    """Shake hands with a server on this machine, then never read again."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", port))
    request = (
        f"GET {path} HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(deaf, request.encode())
    assert await loop.sock_recv(deaf, 12) == b"HTTP/1.1 101"
    return deaf


@pytest.fixture
async def server() -> AsyncIterator[GameServer]:
    """A server on which every secret is 42 and a pause is over at once."""
    async with GameServer(port=0, pause=0.05, draw=lambda low, high: SECRET) as server:
        yield server
