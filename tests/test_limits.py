"""Players who are slow, greedy, broken or gone: the others do not notice, and the server does not grow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import re
import socket
import ssl
import time
import tracemalloc
from typing import Any, AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import guessgame
from conftest import (
    NEW_GAME,
    PATIENCE,
    SECRET,
    UPGRADE,
    eventually,
    game,
    join_deaf,
    pass_time,
    say,
    standing_clock,
    wire,
    wires,
)
from guessgame import Client, GameServer, PlayerConnection

HANDSHAKE = f"{UPGRADE % '/'}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()


def frame(opcode: int, content: bytes, head: int = 0x80) -> bytes:
    """Make a frame whose mask is zero, which changes nothing."""
    return bytes([head | opcode, 0x80 | len(content)]) + bytes(4) + content


BEGINNING, MORE_TO_COME = frame(1, b"", head=0), frame(0, b"", head=0)  # of one message, in pieces without content


def backlogs(server: GameServer) -> list[int]:
    """Return how many bytes wait for each player."""
    return [connection.transport.get_write_buffer_size() for connection in server.connections.values()]


def knock(server: GameServer, data: bytes = b"") -> socket.socket:
    """Connect to a server without shaking hands, or with half a handshake."""
    visitor = socket.create_connection(("127.0.0.1", server.port))
    visitor.sendall(data)
    visitor.setblocking(False)
    return visitor


async def pass_seconds(count: int) -> None:
    """Let time pass, one second after the other."""
    for _ in range(count):
        await pass_time(1)


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
        while len(server.clients) < everybody:
            await asyncio.sleep(0)
        for connection in server.connections.values():
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while min(backlogs(server)) < backlog:
            server.game.broadcast("x" * 2000)
            await asyncio.sleep(0)
        yield deaf


@contextlib.asynccontextmanager
async def flooders(server: GameServer, count: int, flood: bytes) -> AsyncIterator[list[bytearray]]:
    """Let in players who send as fast as they can; yield what each of them hears."""
    loop = asyncio.get_running_loop()

    async def read(flooder: socket.socket, heard: bytearray) -> None:
        while data := await loop.sock_recv(flooder, 65536):
            heard += data

    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(await join_deaf(server.port)) for _ in range(count)]
        while len(server.clients) <= count:
            await asyncio.sleep(0)
        heard = [bytearray() for _ in players]
        tasks = [loop.create_task(loop.sock_sendall(player, flood)) for player in players]
        tasks += [loop.create_task(read(*player)) for player in zip(players, heard)]
        yield heard
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


# Those who talk nonsense

TOO_MUCH = {
    "more bytes than max_size": (b"\x81\xfe\x04\x01" + bytes(4 + 1025), 1009),
    "the same in pieces": (BEGINNING + frame(0, b"x" * 125, head=0) * 9, 1009),
    "text that is no UTF-8": (frame(1, b"\xff\xff"), 1007),
    "a frame of an unknown kind": (frame(3, b""), 1002),
    "a frame without a mask": (b"\x81\x00", 1002),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_what_is_no_message_at_all_ends_its_own_connection(server: GameServer, what: str) -> None:
    data, code = TOO_MUCH[what]
    async with wires(server.url, 2) as [player, other]:
        player.connection.transport.write(data)
        assert await player.hear_goodbye() == code
        await eventually(lambda: list(server.clients) == [2])
        assert await other.ask({"guess": 50}) == "Больше"


# Who may come in


async def test_one_player_too_many_is_refused_until_another_leaves() -> None:
    async with game(max_players=5) as server:
        async with contextlib.AsyncExitStack() as stack:
            joining = [stack.enter_async_context(wire(server.url)) for _ in range(20)]
            results = await asyncio.gather(*joining, return_exceptions=True)
            refused = [result for result in results if isinstance(result, InvalidStatus)]
            assert [refusal.response.status_code for refusal in refused] == [503] * 15
            assert len(server.clients) == 5
        await eventually(lambda: not server.clients)
        assert await status_of_handshake(server.url) == 101


HERE = "https://game.example"


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [(None, HERE, 101), ([HERE], HERE, 101), ([HERE], "https://evil.example", 403), ([], HERE, 403)],
)
async def test_programs_and_the_pages_of_the_listed_origins_come_in(origins: Any, origin: str, status: int) -> None:
    async with game(origins=origins) as server, wire(server.url):
        assert await status_of_handshake(server.url, origin=origin) == status


@standing_clock
async def test_half_a_handshake_is_dropped_after_a_few_seconds() -> None:
    async with game(max_players=1) as server:
        visitors = [asyncio.ensure_future(say(server.port, data)) for data in (b"", HANDSHAKE[:-2])]
        await pass_time(4)
        assert not any(visitor.done() for visitor in visitors)
        async with wire(server.url) as player:  # neither takes a seat
            await pass_time(2)
            assert await asyncio.gather(*visitors) == [b"", b""]
            assert await player.ask({"guess": 50}) == "Больше"


# Those who send too much

FLOODS = {
    "guesses": (frame(1, b'{"guess": 1}'), "Меньше".encode()),
    "requests for the scores": (frame(1, b'{"scores": true}'), b'"you"'),
    "pings": (frame(9, b""), b"\x8a\x00"),
    "messages in pieces": (BEGINNING + MORE_TO_COME * 300 + frame(0, b'{"guess": 1}'), "Меньше".encode()),
}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("what", FLOODS)
@standing_clock
async def test_a_flood_is_read_and_answered_at_the_rate_but_others_at_once(
    what: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, reply = FLOODS[what]
    amount = 40_000 // len(request)
    at_once = heard_meanwhile = 0
    read: dict[PlayerConnection, int] = {}
    notes = []

    class Watched(PlayerConnection):
        def data_received(self, data: bytes) -> None:
            nonlocal at_once
            at_once = max(at_once, len(data))
            read[self] = read.get(self, 0) + len(data)
            super().data_received(data)

    monkeypatch.setattr(guessgame, "PlayerConnection", Watched)
    async with game() as server, wire(server.url) as other, flooders(server, count, request * amount) as heard:
        [_, *flooding] = server.connections.values()

        async def fill_up() -> None:
            """Wait until each flooder has sent all that the server wants to read now: the network takes real time."""
            deadline = time.monotonic() + PATIENCE
            while any(each.transport.is_reading() and read[each] < len(request) * amount for each in flooding):
                assert time.monotonic() < deadline, "the network has stopped"
                await asyncio.sleep(0)

        for step in range(200):
            await fill_up()
            before = sum(data.count(reply) for data in heard)
            assert await other.ask({"guess": 1}) == "Меньше"
            heard_meanwhile = max(heard_meanwhile, sum(data.count(reply) for data in heard) - before)
            await pass_time(0.02)
            for connection, data in zip(flooding, heard):
                notes.append((step * 0.02, read[connection], data.count(reply)))
    assert at_once < 2**14, "the system would hand over ten times as much"
    for seconds, bytes_read, answered in notes:
        assert bytes_read < 16_384 * (seconds + 0.25) + 2**14
        assert answered >= min(amount, 16_384 * (seconds - 1.5) // len(request)), "late, but soon enough"
    assert [data.count(reply) for data in heard] == [amount] * count, "none is refused"
    if what != "pings":
        assert heard_meanwhile < 20 * count, "between two messages of one player the others have their turn"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many bytes the server takes in with each read, whoever sent them."""
    sizes: list[int] = []

    class Watched(PlayerConnection):
        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            super().data_received(data)

    monkeypatch.setattr(guessgame, "PlayerConnection", Watched)
    return sizes


async def test_what_a_flooder_sends_waits_on_their_side_and_not_in_the_server(reads: list[int]) -> None:
    request, reply = FLOODS["guesses"]
    most = 0
    async with game(rate=50_000) as server, wire(server.url), flooders(server, 1, request * 20_000) as [heard]:
        while sum(reads) < 200_000:
            await asyncio.sleep(0.01)
            most = max(most, sum(reads) - heard.count(reply) * len(request))
    assert most < 2**15, "no more than one read has not been answered"


@standing_clock
async def test_a_server_that_is_behind_reads_on_when_all_that_came_is_answered(reads: list[int]) -> None:
    request, reply = FLOODS["guesses"]
    async with game() as server, wire(server.url), flooders(server, 1, request * 10_000) as [heard]:
        for _ in range(30):
            await pass_time(1)  # while so much time passes, it has but forty turns
        assert sum(reads) - heard.count(reply) * len(request) < 2**15


@standing_clock
async def test_the_rate_is_in_bytes_and_may_change_while_the_server_runs() -> None:
    async with game(rate=1e9) as server, wires(server.url, 2) as [eager, other]:
        server.rate = 4 * 19
        heard = 0
        for quarter in range(10):
            await eager.send({"guess": 50})  # 19 bytes
            await eager.send({"guess": 50})
            heard += len(await eager.hear_so_far(server))
            assert heard <= quarter + 4
            assert await other.hear() == "that is all so far"
            assert await other.ask({"guess": 1}) == "Меньше"
            await pass_time(0.25)
        server.rate = 1e9
        await pass_seconds(5)
        assert await eager.hear_all(20 - heard) == ["Больше"] * (20 - heard), "late, but none is refused"
        for _ in range(20):
            assert await eager.ask({"guess": 50}) == "Больше"


@standing_clock
async def test_whoever_sends_too_much_is_not_called_silent() -> None:
    async with game(rate=100) as server, wire(server.url, ping_interval=None) as eager:
        for _ in range(400):
            await eager.send({"guess": 50})
        await pass_seconds(100)
        heard = await eager.hear_so_far(server)
        await eager.hang_up()
        await pass_seconds(1)
    assert heard == ["Больше"] * 400


@standing_clock
async def test_a_name_whose_turn_comes_when_its_player_has_left_is_free() -> None:
    async with game(rate=1e9) as server, wires(server.url, 2) as [player, other]:
        server.rate = 100
        await player.send({"guess": 50, "padding": "x" * 200})
        await player.send({"name": "Аня"})
        await player.hang_up()
        server.rate = 1e9
        await pass_seconds(5)
        assert list(server.clients) == [2]
        assert await other.ask({"name": "Аня"}) == {"client_id": 2, "name": "Аня", "wins": 0, "you": True}


# Those who do not read


async def test_fifty_who_never_read_hold_nobody_up_and_are_cut_off() -> None:
    async with game() as server, wire(server.url) as player, deaf_players(server, 50):
        [_, *deaf] = server.clients.values()
        for number in range(300):
            server.game.broadcast({"number": number, "padding": "x" * 2000})
            assert (await player.hear())["number"] == number
            assert max(backlogs(server)) <= server.max_backlog
        assert list(server.clients) == [1]
        assert {client.left for client in deaf} == {"did not read"}
        await eventually(lambda: len(server.connections) == 1)


@pytest.mark.parametrize("asking", [frame(1, b'{"guess": 1}'), frame(9, b"x" * 100)], ids=["guesses", "pings"])
async def test_whoever_floods_and_does_not_read_the_replies_is_cut_off(asking: bytes) -> None:
    most = 0
    async with game(rate=1e9) as server, deaf_players(server) as [deaf]:
        [client] = server.clients.values()
        with contextlib.suppress(ConnectionError):
            while server.clients:
                await asyncio.get_running_loop().sock_sendall(deaf, asking * 10)
                most = max([most, *backlogs(server)])
                assert most < 2 * server.max_backlog
        await eventually(lambda: not server.connections)
    assert client.left in ("did not read", "close code 1006")
    assert most <= server.max_backlog


async def test_a_guess_that_comes_as_its_player_is_cut_off_does_no_harm() -> None:
    async with game() as server, deaf_players(server, backlog=40_000) as [deaf]:
        server.max_backlog = 1
        [client] = server.clients.values()
        await asyncio.get_running_loop().sock_sendall(deaf, frame(1, b'{"guess": 50}') * 2)
        await eventually(lambda: not server.connections)
    assert client.left == "did not read"


@pytest.mark.parametrize("goodbye", [frame(8, b"\x03\xe8"), b"\x81\x00", b"\x81\xff" + b"\x7f" * 8, b""])
@standing_clock
async def test_whoever_says_goodbye_or_breaks_the_rules_and_stays_is_gone_in_the_end(goodbye: bytes) -> None:
    async with game() as server, deaf_players(server, backlog=10_000) as [visitor]:
        visitor.sendall(goodbye)
        if not goodbye:
            visitor.shutdown(socket.SHUT_WR)  # the server's goodbye waits behind all that was not read
        await pass_seconds(100)
        assert not server.connections


async def test_stop_does_not_wait_for_those_who_do_not_answer() -> None:
    async with game() as server, wire(server.url) as player:
        with knock(server), knock(server, HANDSHAKE[:-2]):
            async with deaf_players(server, 10):
                while max(backlogs(server)) < 40_000:
                    server.game.broadcast("x" * 2000)
                    await player.hear()
                began = time.monotonic()
                transports = [connection.transport for connection in server.connections.values()]
                await server.stop()
                assert time.monotonic() - began < 5, "the library alone would wait longer"
                assert all(transport.is_closing() for transport in transports), "and hold on to them for half a minute"
                assert await player.hear_goodbye() == 1001
                await eventually(lambda: not server.connections)
        await server.server.wait_closed()  # the half handshakes are over now


# Those who are silent, or over whom we stumble


async def test_a_newcomer_over_whom_the_game_stumbles_keeps_no_seat(caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(GameServer):
        def overhear(self, clients: list[Client], message: object, is_heard: bool) -> None:
            raise OSError("the disk is full")

    async with Clumsy(port=0, max_players=1) as server:
        for _ in range(3):
            with pytest.raises(ConnectionClosed):  # and not HTTP 503
                await status_of_handshake(server.url)
            await eventually(lambda: not server.connections)
    assert "the game stumbled over what #1 '' said" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("options", [{}, {"ping_interval": 20, "ping_timeout": 20}])
@standing_clock
async def test_whoever_is_silent_for_too_long_counts_as_gone(options: Any) -> None:
    async with game(**options) as server, wire(server.url) as player:
        with await join_deaf(server.port, "/?name=Anna"):
            await pass_time()
            _, silent = server.clients.values()
            await pass_seconds(29)
            assert len(server.clients) == 2, "half a minute is not too long"
            await pass_seconds(11)  # but 40 seconds are
            assert list(server.clients) == [1]
            assert silent.left == "was silent" or options
            assert await player.ask({"name": "Anna"}) == {"client_id": 1, "name": "Anna", "wins": 0, "you": True}


@standing_clock
async def test_nobody_is_called_silent_because_the_server_itself_was_asleep() -> None:
    async with game() as server, wire(server.url, ping_interval=None) as player:
        await pass_time(3600)
        assert await player.ask({"guess": 50}) == "Больше"


# Those who are broken


async def test_strange_visitors_disturb_no_game(server: GameServer) -> None:
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    noise = [bytes(random.Random(size).getrandbits(8) for _ in range(size)) for size in (1, 100, 20_000)]
    requests = [
        b"GET / HT", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"\x1b" * 9000), UPGRADE.encode() % b"/" + b"X: %s\r\n" % (b"x" * 9000),
        UPGRADE.encode() % b"/" + b"Sec-WebSocket-Key: no\r\n\r\n", HANDSHAKE * 2,
    ]  # fmt: skip
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        async with wire(server.url) as player:
            for data in [b"", hello.read(), *noise, *requests] * 5:
                for visitor in (await join_deaf(server.port), knock(server)):
                    stack.enter_context(visitor)
                    with contextlib.suppress(ConnectionError):
                        await loop.sock_sendall(visitor, data)
                assert await player.ask({"guess": 50}) == "Больше"
                with contextlib.suppress(OSError):
                    visitor.shutdown(socket.SHUT_WR)  # the other one waits in silence
    await eventually(lambda: not server.connections)


async def test_a_line_that_carries_one_byte_at_a_time_is_slow_but_works(server: GameServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with wire(server.url) as other:
        for byte in HANDSHAKE + frame(1, b'{"guess": 42}'):
            assert await other.ask({"guess": 50}) == "Больше"
            writer.write(bytes([byte]))
        heard = await reader.readuntil("Вы угадали!".encode())
        assert "Добро пожаловать!".encode() in heard
        assert await other.hear() == "Игрок #2 угадал число 42!"
    writer.transport.abort()


# The log and the memory


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log tells, with PORT for the ports of the visitors."""
    told = [line for line in caplog.text.splitlines() if not line.startswith("asyncio")]
    return [re.sub(r"\b\d{4,5}\b", "PORT", line) for line in told]


async def test_the_log_tells_who_comes_wins_and_goes_but_no_secret_and_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    async with game(pause=0, max_players=1) as server:
        async with wire(f"{server.url}/?name=Аня&key=k7Qz2mXw") as player:
            await player.hear()
            assert await status_of_handshake(server.url) == 503
            assert await player.ask({"guess": 41}) == "Меньше"
            await player.send({"guess": SECRET})
            await player.hear_until(NEW_GAME)
        await eventually(lambda: not server.clients)
        async with wire(server.url) as player:
            await player.send({"key": "k7Qz2mXw"})
            await player.send({"key": "k7Qz2mXw", "name": ["k7Qz2mXw"]})
            await player.hear_all(2)
        await eventually(lambda: not server.clients)
    assert lines(caplog) == [
        "guessgame: #1 '' joined",
        "guessgame: refused ('127.0.0.1', PORT): HTTP 503, Все места заняты: подключитесь позже.",
        "guessgame: #1 'Аня' guessed 42",
        "guessgame: #1 'Аня' is gone: said goodbye",
        "guessgame: #2 '' joined",
        "guessgame: #2 '' is gone: is #1 'Аня' again",
        "guessgame: #1 'Аня' is gone: said goodbye",
    ]


async def test_a_name_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    names = ["A' joined", "A\n2030-01-01 INFO #7 'B' guessed 5", "A\u2028B", "A\rB", "\x1b[2JA", "A\u202eB", '"', "'\""]
    async with game(pause=0) as server, wire(server.url) as player:
        for name in names:
            await player.ask({"name": name})
            await player.send({"guess": SECRET})
            await player.hear_until(NEW_GAME)
    assert """guessgame: #1 "A' joined" guessed 42""" in lines(caplog)
    event = r"""guessgame: #1 ('[^']*'|"[^"]*"|'[^']*\\'[^']*') (joined|guessed 42|is gone: [\w ]+)"""
    for line in lines(caplog):
        assert line.isprintable()
        assert re.fullmatch(event, line)


@standing_clock
async def test_whoever_has_left_leaves_no_memory_behind() -> None:
    async with game(pause=0) as server:

        async def use_after_rounds(rounds: int) -> int:
            """Play rounds, each with a player of its own; return how many bytes are in use."""
            for number in range(rounds):
                async with wire(f"{server.url}/?name={number}") as player:
                    await player.send({"guess": SECRET})
                    await player.hear_until(NEW_GAME)
            await pass_seconds(100)  # timers hold memory, too
            server.history.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await use_after_rounds(100)
        tracemalloc.start()
        before = await use_after_rounds(100)
        assert await use_after_rounds(400) - before < 100 * 1024
        tracemalloc.stop()
