"""Players who are slow, greedy, broken or gone: the others do not notice, and the server does not grow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import random
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import pytest
from test_command_line import serving
from websockets.exceptions import ConnectionClosed

from conftest import PATIENCE, PROJECT, SECRET, WELCOME, connect_deaf, eventually, wire
from guessgame import Bot, GameConnection, GameServer, Round

NEW_GAME = "Новая игра началась!"
MIB = 2**20


def have_little_room(server: GameServer) -> None:
    """Let the operating system keep little of what the server sends, as over a slow line."""
    for connection in server.connections:
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection without a goodbye."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


# Those who do not read


async def test_fifty_who_never_read_cost_little_memory_and_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Each win is announced with a number of 900 digits: 300 of them are far more than the server may keep."""
    secret = 10**900
    options: dict[str, Any] = {"pause": 0, "high": secret, "draw": lambda low, high: secret}
    async with GameServer(port=0, **options) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            stack.enter_context(await connect_deaf(server.port))
        await eventually(lambda: len(server.clients) == 50)
        have_little_room(server)
        player = await stack.enter_async_context(wire(server.url, welcomed=False))
        witness = await stack.enter_async_context(wire(server.url, welcomed=False))
        await asyncio.gather(player.hear(), witness.hear())
        tracemalloc.start()
        for wins in range(1, 301):
            score = {"client_id": 51, "wins": wins}
            await player.send({"guess": secret})
            assert await player.hear_all(3) == ["Вы угадали!", score, NEW_GAME]
            assert await witness.hear_all(3) == [f"Игрок #51 угадал число {secret}!", score, NEW_GAME]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert list(server.clients) == [51, 52]

        for _ in range(50):  # and now some who still have their chance
            stack.enter_context(await connect_deaf(server.port))
        await eventually(lambda: len(server.clients) == 52)
        have_little_room(server)
        while min(c.connection.transport.get_write_buffer_size() for c in list(server.clients.values())[2:]) < 40_000:
            server.broadcast("x" * 2000)
            await asyncio.gather(player.hear(), witness.hear())
        began = time.monotonic()
        await asyncio.wait_for(server.stop(), PATIENCE)
        stopped = time.monotonic() - began
    with capsys.disabled():
        print(f"\n  50 who never read, 300 rounds: {peak / MIB:.1f} MiB at most; stop() took {stopped:.2f} s")
    assert peak < 50 * 1.5 * server.max_backlog, "without the limit it would be 16 MiB and more"


@pytest.mark.parametrize("reads", [True, False])
async def test_a_flood_of_guesses_lets_others_have_their_turn(
    reads: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What counts is how many guesses of the flood are judged while another player waits for a reply."""
    judged, largest_read, waits = 0, 0, []

    class Counted(Round):
        def guess(self, number: object) -> str:
            nonlocal judged
            judged += 1
            return super().guess(number)

    receive = GameConnection.data_received

    def data_received(self: GameConnection, data: bytes) -> None:
        nonlocal largest_read
        largest_read = max(largest_read, len(data))
        receive(self, data)

    monkeypatch.setattr(GameConnection, "data_received", data_received)
    async with GameServer(port=0, rate=1e6) as server, wire(server.url) as other:
        server.round = Counted(SECRET)
        flooder = await connect_deaf(server.port)
        reader, writer = await asyncio.open_connection(sock=flooder)
        guess = b'{"guess": 1}'
        frames = (bytes([0x81, 0x80 | len(guess)]) + bytes(4) + guess) * 1000

        async def flood() -> None:
            for _ in range(100):
                writer.write(frames)
                await writer.drain()

        async def read() -> int:
            replies = 0
            while reads and replies < 100_000:
                replies += (await reader.read(2**16)).count("Меньше".encode())
            return replies

        flooding, reading = asyncio.ensure_future(flood()), asyncio.ensure_future(read())
        await eventually(lambda: judged > 1000)
        for _ in range(100):
            before, began = judged, time.perf_counter()
            assert await other.ask({"guess": 1}) == "Меньше"
            waits.append((judged - before, time.perf_counter() - began))
        if reads:
            assert await asyncio.wait_for(reading, PATIENCE * 2) == 100_000, "late, but none is refused"
        flooding.cancel()
        reading.cancel()
        await asyncio.wait({flooding, reading})
        await hang_up(writer)
    counts, times = zip(*waits)
    median, worst = statistics.median(times) * 1000, max(times) * 1000
    with capsys.disabled():
        print(f"\n  in a flood, another player's reply takes {median:.2f} ms (median), {worst:.2f} ms (worst)")
    assert max(counts) < 100, "without turns it would be thousands"
    assert largest_read < 2**16, "without small receive buffers it would be 256 KiB"


# Those who are broken


async def test_strange_visitors_disturb_no_game_and_leave_no_traceback(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    noise = random.Random(1)
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    handshake = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    )
    strange = [b"", b"GET / HT", hello.read(), handshake + b"\r\n", handshake + b"Sec-WebSocket-Key: short\r\n\r\n"]
    strange += [bytes(noise.getrandbits(8) for _ in range(size)) for size in (1, 100, 20_000)]
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        async with wire(server.url) as player:
            visitors = []
            for data in strange * 5:
                for visitor in (socket.create_connection(("127.0.0.1", server.port)), await connect_deaf(server.port)):
                    visitor.setblocking(False)
                    visitors.append(stack.enter_context(visitor))
                    with contextlib.suppress(ConnectionError):
                        await loop.sock_sendall(visitor, data)
                assert await player.ask({"guess": 50}) == "Больше"
            for visitor in visitors[::2]:  # the others wait in silence
                with contextlib.suppress(OSError):
                    visitor.shutdown(socket.SHUT_WR)
            for _ in range(20):
                assert await player.ask({"guess": 50}) == "Больше"
    await eventually(lambda: not server.connections)
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_line_which_lets_through_one_byte_at_a_time_is_slow_and_nothing_else(server: GameServer) -> None:
    request = (
        f"GET /?name=Ada HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    guess = b'{"guess": 42}'
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with wire(server.url) as other:
        data = request.encode() + bytes([0x81, 0x80 | len(guess)]) + bytes(4) + guess
        for position in range(len(data)):
            assert await other.ask({"guess": 50}) == "Больше"
            writer.write(data[position : position + 1])
        heard = b""
        while "Вы угадали!".encode() not in heard:
            heard += await asyncio.wait_for(reader.read(1000), PATIENCE)
        assert heard.index(WELCOME.encode()) < heard.index(b'"name": "Ada"')
        assert (await other.hear_all(2))[0] == "Игрок Ada угадал число 42!"
    await hang_up(writer)


# Those who are gone


async def test_a_killed_player_is_gone_and_the_name_is_free(server: GameServer) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, str(PROJECT / "guessgame.py"), "play", server.url, "--name", "Аня"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        await eventually(lambda: [client.name for client in server.clients.values()] == ["Аня"])
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        await eventually(lambda: not server.clients)
    async with wire(f"{server.url}/?name=Аня") as player:
        assert await player.hear() == {"client_id": 2, "name": "Аня", "wins": 0}


async def test_a_player_whose_cable_is_pulled_is_gone_and_the_name_is_free(caplog: pytest.LogCaptureFixture) -> None:
    async with GameServer(port=0, ping_interval=0.05, ping_timeout=0.05) as server:
        with await connect_deaf(server.port, "/?name=Anna"):
            await eventually(lambda: 1 in server.clients)
            await eventually(lambda: not server.clients)
            assert "#1 'Anna' is silent and is cut off" in caplog.text
            async with wire(f"{server.url}/?name=Anna") as player:
                assert await player.hear() == {"client_id": 2, "name": "Anna", "wins": 0}


# The server itself


async def test_the_server_can_be_stopped_and_started_at_every_point_of_a_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = asyncio.all_tasks()
    server = GameServer(port=0, pause=0, draw=lambda low, high: SECRET)
    for turns in range(60):  # how many turns of the event loop the win has before the stop
        await server.start()
        async with wire(server.url) as player, wire(server.url) as other:
            await player.send({"guess": SECRET})
            await other.send({"guess": SECRET})
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.stop()
            heard = []
            for client in (player, other):
                with pytest.raises(ConnectionClosed) as closed:
                    heard.append(await client.hear_until("the end"))
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
        assert not server.clients
        assert not server.connections
        assert asyncio.all_tasks() == before
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("last", ["Вы угадали!", {"countdown": 2}, {"countdown": 1}, NEW_GAME])
async def test_a_server_which_is_stopped_in_the_pause_starts_with_a_new_round(last: Any) -> None:
    server = GameServer(port=0, pause=2, draw=lambda low, high: SECRET)
    await server.start()
    async with wire(server.url) as player:
        await player.send({"guess": SECRET})
        await player.hear_until(last)
        await server.stop()
    await server.start()
    async with wire(server.url) as player:
        assert await player.ask({"guess": SECRET}) == "Вы угадали!"
        assert await player.hear() == {"client_id": 2, "wins": 1}
    await server.stop()


async def test_sigterm_in_the_middle_of_many_broadcasts_sends_everybody_home() -> None:
    with serving("--low", "7", "--high", "7", "--pause", "0") as (process, url):
        async with contextlib.AsyncExitStack() as stack:
            bots = [await stack.enter_async_context(Bot(url, delay=0)) for _ in range(20)]
            for _ in range(5):
                stack.enter_context(await connect_deaf(int(url.rpartition(":")[2])))
            playing = [asyncio.ensure_future(bot.play()) for bot in bots]
            await eventually(lambda: bots[0].rounds > 20)
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(asyncio.gather(*playing), PATIENCE)
            _output, log = process.communicate(timeout=PATIENCE)
    assert ["(close code 1001)" in str(bot.gone) for bot in bots] == [True] * 20
    assert process.returncode == 0
    assert "Traceback" not in log


@pytest.mark.parametrize("direction", [1, -1])
async def test_a_clock_which_jumps_changes_nothing(direction: int, monkeypatch: pytest.MonkeyPatch) -> None:
    days = itertools.count(20_000, direction)
    monkeypatch.setattr(time, "time", lambda: next(days) * 86_400.0)
    began = time.monotonic()
    async with GameServer(port=0, pause=1, draw=lambda low, high: SECRET, ping_interval=0.2) as server:
        async with Bot(server.url, delay=0.01) as bot, wire(server.url) as witness:
            await bot.play(rounds=1)
            after = [{"countdown": 1}, NEW_GAME]
            assert (await witness.hear_all(4))[2:] == after
            assert time.monotonic() - began >= 1
            assert len(server.clients) == 2


async def test_who_has_left_and_what_was_played_leaves_nothing_behind() -> None:
    async with GameServer(port=0, pause=0, draw=lambda low, high: SECRET) as server:

        async def play(rounds: int) -> None:
            """Play rounds, each with a player of its own."""
            for number in range(rounds):
                async with wire(f"{server.url}/?name={number}") as player:
                    await player.send({"guess": SECRET})
                    await player.hear_until(NEW_GAME)

        def memory() -> int:
            """Return how many bytes are in use."""
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await play(100)
        tracemalloc.start()
        await play(100)
        before = memory()
        await play(400)
        await eventually(lambda: memory() - before < 100 * 1024)
        tracemalloc.stop()
