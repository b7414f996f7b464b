"""Players who are slow, greedy, broken or gone: the others do not notice, and the server does not grow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import random
import re
import socket
import ssl
import time
import tracemalloc
from typing import Any, AsyncIterator

import pytest
from websockets.exceptions import InvalidStatus

import guessgame
from conftest import NEW_GAME, SECRET, UPGRADE, eventually, game, join_deaf, pass_time, say, standing_clock, wire, wires
from guessgame import Bot, GameServer, Round


def frame(opcode: int, content: bytes) -> bytes:
    """Make a frame whose mask is zero, which changes nothing."""
    return bytes([0x80 | opcode, 0x80 | len(content)]) + bytes(4) + content


def backlogs(server: GameServer) -> list[int]:
    """Return how many bytes wait for each player."""
    return [client.connection.transport.get_write_buffer_size() for client in server.clients.values()]


def knock(server: GameServer) -> socket.socket:
    """Connect to a server without even shaking hands."""
    return socket.create_connection(("127.0.0.1", server.port))


async def status_of_handshake(url: str, **options: Any) -> int:
    """Connect, and leave at once if let in; return the HTTP status."""
    try:
        async with wire(url, **options):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


@contextlib.asynccontextmanager
async def deaf_players(server: GameServer, count: int = 1, backlog: int = 0) -> AsyncIterator[list[socket.socket]]:
    """Let in players who never read, on lines so narrow that what they don't read has to wait in the server."""
    everybody = len(server.clients) + count
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(await join_deaf(server.port)) for _ in range(count)]
        await eventually(lambda: len(server.clients) == everybody)
        for connection in server.connections:
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while min(backlogs(server)) < backlog:
            server.broadcast("x" * 2000)
            await asyncio.sleep(0)
        yield deaf


# Who may come in


@pytest.mark.parametrize(("limit", "status"), [("max_players", 503), ("per_address", 429)])
async def test_one_player_too_many_is_refused_until_another_leaves(limit: str, status: int) -> None:
    async with game(**{limit: 5}) as server:
        async with contextlib.AsyncExitStack() as stack:
            joining = [stack.enter_async_context(wire(server.url)) for _ in range(20)]
            results = await asyncio.gather(*joining, return_exceptions=True)
            refused = [result for result in results if isinstance(result, InvalidStatus)]
            assert [refusal.response.status_code for refusal in refused] == [status] * 15
            assert len(server.clients) == 5
        await eventually(lambda: not server.clients)
        assert await status_of_handshake(server.url) == 101


async def test_a_handshake_sent_twice_at_once_is_refused_without_an_error(server: GameServer) -> None:
    server.max_players = 1
    handshake = f"{UPGRADE % '/'}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    async with wire(server.url):
        await say(server.port, handshake * 2)
        await eventually(lambda: len(server.connections) == 1)


HERE = "https://game.example"


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ([HERE], HERE, 101),
        ([HERE], "https://evil.example", 403),
        ([], HERE, 403),
        *((["null", written], HERE, 101) for written in ("https://Game.Example/", "HTTPS://GAME.EXAMPLE")),
    ],
)
async def test_programs_and_the_pages_of_the_listed_origins_come_in(
    origins: list[str], origin: str, status: int
) -> None:
    async with game(origins=origins) as server, wire(server.url):
        assert await status_of_handshake(server.url, origin=origin) == status


async def test_when_too_many_only_connect_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guessgame, "HANDSHAKES", 5)
    loop = asyncio.get_running_loop()
    async with game(max_players=10) as server, contextlib.AsyncExitStack() as stack:
        silent = [stack.enter_context(knock(server)) for _ in range(30)]
        await eventually(lambda: len(server.connections) == 15)
        players = await stack.enter_async_context(wires(server.url, 10))
        for visitor in silent[:25]:
            visitor.setblocking(False)
            with contextlib.suppress(ConnectionError):
                assert await loop.sock_recv(visitor, 1) == b""
        assert len(server.connections) == 15, "the newest five are still there"
        for _ in range(30):
            stack.enter_context(knock(server))
        for player in players:
            assert await player.ask({"guess": 50}) == "Больше", "players stay"
    assert 1 <= caplog.text.count("too many others are shaking hands") <= 10, "once a second"


async def test_a_handshake_may_be_only_so_long(server: GameServer, caplog: pytest.LogCaptureFixture) -> None:
    headers = "".join(f"X-{number}: {'x' * 1000}\r\n" for number in range(100))
    assert b"HTTP/1.1 101" not in await say(server.port, (UPGRADE % "/" + headers).encode())
    await eventually(lambda: not server.connections)
    assert "the handshake is too long" in caplog.text


async def test_a_handshake_is_forgotten_when_it_is_over(server: GameServer) -> None:
    async def memory_of_twenty(path: str) -> int:
        gc.collect()
        tracemalloc.start()
        for _ in range(20):
            stack.enter_context(await join_deaf(server.port, path))
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used

    with contextlib.ExitStack() as stack:
        await memory_of_twenty("/")  # things that are made only once
        short = await memory_of_twenty("/")
        assert await memory_of_twenty("/?" + "x" * 7000) - short < 20 * 3500


@pytest.mark.parametrize("nonsense", ["GET /%s HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nX: %s\r\n\r\n", "%s\r\n\r\n"])
async def test_a_handshake_that_cannot_be_read_is_noted_once_a_second(
    server: GameServer, nonsense: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.time()
    for _ in range(20):
        await say(server.port, (nonsense % ("\x1b" * 9000)).encode())
    await eventually(lambda: not server.connections)
    lines = [record.getMessage() for record in caplog.records if record.name == "guessgame"]
    refusals = [line for line in lines if line.startswith("refused a connection from ('127.0.0.1', ")]
    assert 1 <= len(refusals) <= time.time() - began + 2
    assert max(map(len, refusals)) < 250
    assert "\x1b" not in "".join(refusals)


# Those who send too much


@pytest.mark.parametrize(("rate", "at_once"), [(50, 5), (1, 1)])
@standing_clock
async def test_messages_above_the_rate_are_answered_later(rate: int, at_once: int) -> None:
    async with game(rate=rate) as server, wires(server.url, 2) as [flooder, other]:
        for _ in range(at_once + 3):
            await flooder.send({"guess": 50})
        assert await flooder.hear_all(at_once) == ["Больше"] * at_once
        for _ in range(3):
            await pass_time()
            assert await flooder.hear_so_far(server) == []
            await pass_time(1 / rate)
            assert await flooder.hear() == "Больше"
            assert await other.hear() == "that is all so far"
            assert await other.ask({"guess": 1}) == "Меньше"


@standing_clock
async def test_whoever_waits_for_their_turn_is_here_until_they_leave() -> None:
    async with game(rate=1, ping_interval=0.25, ping_timeout=0.25) as server, wire(server.url) as player:
        for _ in range(40):  # so many that the answers to the pings, which come after them, are not read
            await player.send({"guess": 50})
        for _ in range(24):
            await pass_time(0.125)
        assert await player.hear_all(4) == ["Больше"] * 4
        assert list(server.clients) == [1]
        await player.hang_up()
        await pass_time(1)
        await pass_time(1)
        assert not server.clients


@standing_clock
async def test_a_name_whose_turn_comes_when_its_player_has_left_is_free() -> None:
    async with game(rate=1) as server, wires(server.url, 2) as [player, other]:
        assert await player.ask({"guess": 50}) == "Больше"
        await player.send({"name": "Аня"})
        await player.hang_up()
        await pass_time()
        assert list(server.clients) == [2]
        await pass_time(1)
        assert await other.ask({"name": "Аня"}) == {"client_id": 2, "name": "Аня", "wins": 0}


@pytest.mark.parametrize("opcode", [9, 10])
@standing_clock
async def test_pings_and_pongs_count_against_the_rate_like_messages(opcode: int) -> None:
    async with game(rate=1) as server, wires(server.url, 2) as [flooder, other]:
        assert await flooder.ask({"guess": 50}) == "Больше"
        flooder.connection.transport.write(frame(opcode, b"") * 3)
        await flooder.send({"guess": 50})
        for _ in range(3):
            assert await other.ask({"guess": 1}) == "Меньше"
            await pass_time(1)
        assert await flooder.hear_so_far(server) == []
        await pass_time(1)
        assert await flooder.hear() == "Больше"
        await pass_time(1)
        assert await flooder.ask({"guess": 1}) == "Меньше", "then all is as before"


@standing_clock
async def test_whoever_floods_with_pings_is_not_read_until_they_are_due() -> None:
    loop, pongs = asyncio.get_running_loop(), 0

    async def read() -> None:
        nonlocal pongs
        while True:
            pongs += len(await loop.sock_recv(flooder, 65536)) // 2

    async with game() as server, wire(server.url) as other:
        with await join_deaf(server.port) as flooder:
            sending = loop.sock_sendall(flooder, frame(9, b"") * 100_000)
            tasks = [loop.create_task(sending), loop.create_task(read())]
            for seconds in range(1, 4):
                before = pongs
                for _ in range(100):
                    assert await other.ask({"guess": 1}) == "Меньше"
                assert pongs - before < 6000, "one read takes in a few hundred; without the rest all would be answered"
                await pass_time(2)
                assert pongs > before or seconds == 1
            for task in tasks:
                task.cancel()
        stopping = asyncio.ensure_future(server.stop())
        await pass_time(2)  # the flooder's goodbye isn't read, either
        await stopping


async def test_new_connections_are_taken_in_a_few_at_a_time(server: GameServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(knock(server))
        while len(server.connections) < 200:
            before = len(server.connections)
            await asyncio.sleep(0)
            assert len(server.connections) - before <= 4, "everybody else gets a turn in between"


@pytest.mark.parametrize("reads", [True, False])
async def test_a_flood_of_guesses_lets_others_have_their_turn(reads: bool) -> None:
    """Count how many guesses of the flood are judged while another player waits for a reply."""
    judged, flood = 0, 20_000

    class Counted(Round):
        def guess(self, number: object) -> str:
            nonlocal judged
            judged += 1
            return super().guess(number)

    async with game(rate=1e6) as server, wires(server.url, 2) as [flooder, other]:
        server.round = Counted(SECRET)
        flooder.connection.transport.write(frame(1, b'{"guess": 1}') * flood)
        answers = asyncio.ensure_future(flooder.hear_all(flood if reads else 0))
        await eventually(lambda: judged > 1000)
        for _ in range(100):
            before = judged
            assert await other.ask({"guess": 1}) == "Меньше"
            assert judged - before < 100, "without turns it would be thousands"
        assert set(await answers) <= {"Меньше"}, "late, but none is refused"
        await flooder.hang_up()


async def test_only_a_little_of_a_flood_is_taken_in_at_once(server: GameServer) -> None:
    async with wire(server.url):
        [connection] = server.connections
        waiting_room = connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert waiting_room < 2**14, "the system would choose ten times as much"


# Those who do not read


async def test_fifty_who_never_read_hold_nobody_up_and_take_little_memory(caplog: pytest.LogCaptureFixture) -> None:
    async with game() as server, wire(server.url) as player, deaf_players(server, 50):
        tracemalloc.start()
        for number in range(300):
            server.broadcast({"number": number, "padding": "x" * 2000})
            assert (await player.hear())["number"] == number
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert list(server.clients) == [1]
        assert caplog.text.count("does not read and is cut off") == 50
        assert peak < 50 * 1.5 * server.max_backlog, "without the limit it would be 30 MB"


async def test_whoever_does_not_read_the_replies_is_not_read_either_and_may_break_off() -> None:
    loop = asyncio.get_running_loop()
    async with game(rate=1e6, max_backlog=33_000) as server, deaf_players(server) as [deaf], wire(server.url) as other:
        sending = loop.create_task(loop.sock_sendall(deaf, frame(1, b'{"guess": 1}') * 50_000))
        await eventually(lambda: backlogs(server)[0] > 2**15)  # as much as the library lets wait
        for _ in range(100):
            assert await other.ask({"guess": 1}) == "Меньше"
        assert list(server.clients) == [1, 2]
        sending.cancel()
        deaf.close()  # with so much unread, that is a reset
        await eventually(lambda: list(server.clients) == [2])


async def test_pings_whose_answers_nobody_reads_are_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    async with game() as server, deaf_players(server) as [deaf]:
        pings = frame(9, b"x" * 125) * 100
        with contextlib.suppress(ConnectionError):
            while server.clients:
                await asyncio.get_running_loop().sock_sendall(deaf, pings)
                assert max(backlogs(server), default=0) < 2 * server.max_backlog
        await eventually(lambda: not server.clients)
        assert "does not read and is cut off" in caplog.text


async def test_a_guess_that_comes_as_its_player_is_cut_off_does_no_harm() -> None:
    async with game() as server, deaf_players(server, backlog=40_000) as [deaf]:
        server.max_backlog = 1
        await asyncio.get_running_loop().sock_sendall(deaf, frame(1, b'{"guess": 50}'))
        await eventually(lambda: not server.connections)


async def test_hanging_up_before_the_answers_leaves_no_line_in_the_log(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    for kind in (frame(9, b""), frame(1, b'{"guess": 1}')):
        with await join_deaf(server.port) as visitor:
            heard = b""
            while not heard.endswith(b'."'):  # the welcome
                heard += await loop.sock_recv(visitor, 4096)
            await loop.sock_sendall(visitor, kind * 200)
        await eventually(lambda: not server.connections)
    assert "socket.send()" not in caplog.text


BEGINNING, MORE_TO_COME = b"\x01\x80" + bytes(4), b"\x00\x80" + bytes(4)  # of one message, in frames without content
TOO_MUCH = {
    "more bytes than max_size": (b"\x81\xfe\x04\x01" + bytes(4 + 1025), 1009),
    "more pieces than max_size": (BEGINNING + MORE_TO_COME * 1100, 1006),
    "text that is no UTF-8": (frame(1, b"\xff\xff"), 1007),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_a_message_above_a_limit_ends_its_own_connection(server: GameServer, what: str) -> None:
    data, code = TOO_MUCH[what]
    async with wires(server.url, 2) as [player, other]:
        assert await player.ask({"guess": 50, "padding": "x" * 990}) == "Больше"
        player.connection.transport.write(BEGINNING + MORE_TO_COME * 900 + frame(0, b'{"guess": 50}'))
        assert await player.hear() == "Больше"
        player.connection.transport.write(data)
        assert await player.hear_goodbye() == code
        assert await other.ask({"guess": 50}) == "Больше"


async def test_stop_does_not_wait_for_those_who_do_not_answer(server: GameServer) -> None:
    with knock(server):
        async with deaf_players(server, 10, backlog=40_000):
            await asyncio.wait_for(server.stop(), 10)  # seconds; the library alone would wait longer
            assert not server.connections


async def test_stop_also_ends_those_who_come_in_at_that_moment() -> None:
    for turns in range(0, 10, 2):
        async with game() as server:
            with contextlib.ExitStack() as stack:
                for _ in range(30):
                    visitor = stack.enter_context(socket.socket())
                    visitor.setblocking(False)
                    visitor.connect_ex(("127.0.0.1", server.port))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await server.stop()
                assert not server.connections
        gc.collect()  # a connection that is still open raises a warning here


@pytest.mark.parametrize("goodbye", [frame(8, b"\x03\xe8"), b"\x81\x00", b"\x81\xff" + b"\x7f" * 8])
async def test_whoever_says_goodbye_or_breaks_the_rules_and_stays_is_gone(goodbye: bytes) -> None:
    async with game(ping_interval=None) as server, deaf_players(server) as [visitor]:
        visitor.sendall(goodbye)
        await eventually(lambda: not server.clients)
        await eventually(lambda: not server.connections)


async def test_whoever_hangs_up_halfway_without_reading_is_gone() -> None:
    async with game(ping_interval=None) as server, deaf_players(server, backlog=10_000) as [deaf]:
        deaf.shutdown(socket.SHUT_WR)  # the server's goodbye waits behind all that was not read
        await eventually(lambda: not server.clients)


# Those who are silent


@standing_clock
async def test_whoever_is_silent_for_too_long_counts_as_gone(caplog: pytest.LogCaptureFixture) -> None:
    async with game(ping_interval=1, ping_timeout=1) as server, wire(server.url) as player:
        with knock(server), await join_deaf(server.port, "/?name=Anna"):
            for seconds in (0.5, 1, 1.5, 2):
                await pass_time(0.5)
                assert len(server.connections) == 3, f"{seconds} s are not too long"
            await pass_time(0.5)
            assert len(server.connections) == len(server.clients) == 1
            assert "#2 'Anna' is silent and is cut off" in caplog.text
            assert await player.ask({"name": "Anna"}) == {"client_id": 1, "name": "Anna", "wins": 0}


@standing_clock
async def test_nobody_is_called_silent_because_the_server_itself_was_asleep() -> None:
    async with game() as server, wire(server.url) as player:
        await pass_time(3600)
        assert await player.ask({"guess": 50}) == "Больше"


@pytest.mark.parametrize("direction", [1, -1])
async def test_a_clock_that_jumps_changes_nothing(direction: int, monkeypatch: pytest.MonkeyPatch) -> None:
    days, began = itertools.count(20_000, direction), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: next(days) * 86_400.0)
    async with game(pause=1, ping_interval=0.2) as server:
        async with Bot(server.url, delay=0.01) as bot, wire(server.url) as witness:
            await bot.play(rounds=1)
            assert (await witness.hear_all(4))[2:] == [{"countdown": 1}, NEW_GAME]
            assert time.monotonic() - began >= 1
            assert len(server.clients) == 2


# Those who are broken


async def test_strange_visitors_disturb_no_game(server: GameServer) -> None:
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    noise = [bytes(random.Random(size).getrandbits(8) for _ in range(size)) for size in (1, 100, 20_000)]
    requests = [
        "GET / HT",
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        f"{UPGRADE % '/'}Sec-WebSocket-Key: no\r\n\r\n",
    ]
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        async with wire(server.url) as player:
            for data in [b"", hello.read(), *noise, *map(str.encode, requests)] * 5:
                for visitor in (await join_deaf(server.port), knock(server)):
                    stack.enter_context(visitor).setblocking(False)
                    with contextlib.suppress(ConnectionError):
                        await loop.sock_sendall(visitor, data)
                assert await player.ask({"guess": 50}) == "Больше"
                with contextlib.suppress(OSError):
                    visitor.shutdown(socket.SHUT_WR)  # the other one waits in silence
    await eventually(lambda: not server.connections)


async def test_a_line_that_carries_one_byte_at_a_time_is_slow_but_works(server: GameServer) -> None:
    request = f"{UPGRADE % '/?name=Ada'}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with wire(server.url) as other:
        for byte in request + frame(1, b'{"guess": 42}'):
            assert await other.ask({"guess": 50}) == "Больше"
            writer.write(bytes([byte]))
        heard = (await reader.readuntil("Вы угадали!".encode())).decode(errors="replace")
        assert heard.index("Добро пожаловать!") < heard.index('"name": "Ada"')
        assert await other.hear() == "Игрок Ada угадал число 42!"
    writer.transport.abort()


# The log and the memory


async def test_the_log_tells_who_comes_wins_and_goes_but_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guessgame")
    async with game(pause=0, max_players=1) as server:
        async with wire(f"{server.url}/?name=Аня") as player:
            await player.hear()
            assert await status_of_handshake(server.url) == 503
            assert await player.ask({"guess": 41}) == "Меньше"
            await player.send({"guess": SECRET})
            await player.hear_until(NEW_GAME)
    lines = [record.getMessage() for record in caplog.records if record.name == "guessgame"]
    assert [re.sub(r"\b\d{4,5}\b", "PORT", line) for line in lines] == [
        "the first round begins: guess a number from 1 to 100",
        "#1 joined, 1 here",
        "#1 'Аня' has this name now",
        "refused a connection from ('127.0.0.1', PORT): HTTP 503",
        "#1 'Аня' guessed 42, wins so far: 1",
        "a new round begins, 1 here",
        "#1 'Аня' left, 0 here",
        "stopped",
    ]


def test_what_the_log_leaves_out_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guessgame")
    for second, times in ((1, 250), (2, 3), (3, 1)):
        for number in range(times):
            values = {"msg": "#%d joined", "args": (number,), "levelno": logging.INFO, "created": second + 0.5}
            guessgame.log.handle(logging.makeLogRecord(values))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:100] == [f"#{number} joined" for number in range(100)]
    assert lines[100:] == ["#0 joined (and 150 times more)", "#1 joined", "#2 joined", "#0 joined"]


@standing_clock
async def test_whoever_has_left_leaves_no_memory_behind() -> None:
    async with game(pause=0) as server:

        async def use_after_rounds(rounds: int) -> int:
            """Play rounds, each with a player of its own; return how many bytes are in use."""
            for number in range(rounds):
                async with wire(f"{server.url}/?name={number}") as player:
                    await player.send({"guess": SECRET})
                    await player.hear_until(NEW_GAME)
            await pass_time(10)  # timers hold memory, too
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await use_after_rounds(100)
        tracemalloc.start()
        before = await use_after_rounds(100)
        assert await use_after_rounds(400) - before < 100 * 1024
        tracemalloc.stop()
