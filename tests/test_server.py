"""The server, over real sockets: what the design's section on the wire protocol promises, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import selectors
import socket
import struct
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

import guessgame
from conftest import PATIENCE, SECRET, WELCOME, connect_deaf, eventually, wire
from guessgame import GameServer

NEW_GAME = "Новая игра началась!"


def error(reply: Any) -> str:
    """Return the sentence of an error, which says what to send instead."""
    assert list(reply) == ["error"]
    assert reply["error"].endswith((".", "!"))
    return str(reply["error"])


# The protocol


async def test_a_newcomer_is_welcomed_and_hears_nothing_else(server: GameServer) -> None:
    async with wire(server.url, welcomed=False) as newcomer, wire(server.url):
        assert await newcomer.hear() == WELCOME
        assert await newcomer.ask({"guess": 1}) == "Меньше"


async def test_the_welcome_names_the_range() -> None:
    async with GameServer(port=0, low=-5, high=7) as server, wire(server.url, welcomed=False) as player:
        assert await player.hear() == "Добро пожаловать! Угадайте число от -5 до 7."
        advice = error(await player.ask({"guess": 8}))
        assert advice == 'Догадка — целое число от -5 до 7: отправьте, например, {"guess": 1}.'


async def test_a_hint_speaks_of_the_players_number_and_goes_to_nobody_else(server: GameServer) -> None:
    async with wire(server.url) as player, wire(server.url) as other:
        assert await player.ask({"guess": SECRET - 1}) == "Меньше"
        assert await player.ask({"guess": SECRET + 1}) == "Больше"
        assert await player.ask({"guess": 1}) == "Меньше"
        assert await player.ask({"guess": 100}) == "Больше"
        assert await other.ask({"guess": 50}) == "Больше"


async def test_a_win_is_told_to_everybody_in_the_promised_order() -> None:
    async with GameServer(port=0, pause=1, draw=lambda low, high: SECRET) as server:
        async with wire(server.url) as winner, wire(server.url) as other:
            await winner.send({"guess": SECRET})
            after = [{"client_id": 1, "wins": 1}, {"countdown": 1}, NEW_GAME]
            assert await winner.hear_all(4) == ["Вы угадали!", *after]
            assert await other.hear_all(4) == ["Игрок #1 угадал число 42!", *after]
            assert await other.ask({"guess": 50}) == "Больше"


async def test_a_named_winner_is_called_by_name(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=%D0%90%D0%BD%D1%8F") as winner, wire(server.url) as other:
        assert await winner.hear() == {"client_id": 1, "name": "Аня", "wins": 0}
        assert await winner.ask({"guess": SECRET}) == "Вы угадали!"
        assert await winner.hear() == {"client_id": 1, "name": "Аня", "wins": 1}
        assert await other.hear_all(2) == ["Игрок Аня угадал число 42!", {"client_id": 1, "name": "Аня", "wins": 1}]


async def test_wins_are_counted_for_each_client(server: GameServer) -> None:
    async with wire(server.url) as first, wire(server.url) as second:
        for winner, other, score in (
            (first, second, {"client_id": 1, "wins": 1}),
            (second, first, {"client_id": 2, "wins": 1}),
            (first, second, {"client_id": 1, "wins": 2}),
        ):
            await winner.send({"guess": SECRET})
            assert await winner.hear_all(3) == ["Вы угадали!", score, NEW_GAME]
            assert (await other.hear_all(3))[1:] == [score, NEW_GAME]


async def test_cyrillic_travels_unescaped_in_text_frames(server: GameServer) -> None:
    async with wire(server.url, welcomed=False) as player:
        assert await player.connection.recv() == f'"{WELCOME}"'
        await player.send({"name": "Аня"})
        assert '"Аня"' in str(await player.connection.recv())


async def test_sixty_right_guesses_at_once_make_one_winner() -> None:
    async with GameServer(port=0, pause=0.5, draw=lambda low, high: SECRET) as server:
        players = []
        for _ in range(60):
            context = wire(server.url)
            players.append((context, await context.__aenter__()))
        await asyncio.gather(*(player.send({"guess": SECRET}) for _, player in players))
        heard = await asyncio.gather(*(player.hear_until(NEW_GAME) for _, player in players))
        assert sum("Вы угадали!" in messages for messages in heard) == 1
        announcements = [m for messages in heard for m in messages if str(m).startswith("Игрок #")]
        assert len(announcements) == 59
        assert len(set(announcements)) == 1
        assert [messages.count(NEW_GAME) for messages in heard] == [1] * 60
        assert sum("error" in m for messages in heard for m in messages) == 59, "the others were too late, and are told"
        for context, _ in players:
            await context.__aexit__(None, None, None)


async def test_a_guess_in_the_pause_is_an_error_and_changes_nothing() -> None:
    async with GameServer(port=0, pause=0.5, draw=lambda low, high: SECRET) as server:
        async with wire(server.url) as player, wire(server.url) as late:
            assert (await player.ask({"guess": SECRET}), await player.hear()) == (
                "Вы угадали!",
                {"client_id": 1, "wins": 1},
            )
            await late.hear_all(2)
            assert NEW_GAME in error(await late.ask({"guess": SECRET}))
            assert await late.hear() == NEW_GAME
            assert await late.ask({"guess": SECRET}) == "Вы угадали!"


async def test_a_client_that_knows_only_the_specification_works(server: GameServer) -> None:
    """Send a guess, receive one reply: nothing else may come in between."""
    async with wire(server.url) as player, wire(f"{server.url}/?name=Bob") as other:
        low, high, reply = 1, 100, None
        while reply != "Вы угадали!":
            await other.send({"name": f"Bob {low}"})
            number = (low + high) // 2
            reply = await player.ask({"guess": number})
            assert reply in ("Меньше", "Больше", "Вы угадали!")
            low, high = (number + 1, high) if reply == "Меньше" else (low, number - 1)
        assert number == SECRET


MALFORMED = [
    "",
    " ",
    "guess",
    "42",
    '"Больше"',
    "null",
    "[]",
    '[{"guess": 42}]',
    "{}",
    '{"Guess": 42}',
    '{"guess": }',
    "{'guess': 42}",
    '{"guess": 42',
    '{"guess": 42}{"guess": 43}',
    '\ufeff{"guess": 42}',
    "\0",
    '{"guess": "\0"}',
    "[" * 1000,
    '{"guess":' * 100,
    *(
        '{"guess": %s}' % guess
        for guess in (
            "true", "false", "null", "42.0", "4.2e1", "1e400", "NaN", "Infinity", "-Infinity", '"42"', "0", "-0", "-42",
            "101", "1" + "0" * 900, "-" + "9" * 900, "[42]", '{"guess": 42}', '"\\ud800"', "[" * 400 + "]" * 400,
            '42, "guess": 0',
        )
    ),
    *('{"name": %s}' % name for name in ("null", "42", "true", '""', '" "', '"#3"', '"\\u0000"', '"\\ud800"')),
    '{"name": "%s"}' % ("x" * 33),
    b"",
    b'{"guess": 42}',
    b"\xff\xfe\x00",
]  # fmt: skip


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message)[:40])
async def test_a_malformed_message_costs_a_sentence_and_nothing_else(server: GameServer, message: str | bytes) -> None:
    async with wire(server.url) as player, wire(server.url) as other:
        await player.connection.send(message)
        assert "отправьте" in error(await player.hear())
        assert await player.ask({"guess": 50}) == "Больше"
        assert await other.ask({"guess": 1}) == "Меньше"


async def test_unknown_keys_are_ignored_and_the_last_of_two_equal_ones_counts(server: GameServer) -> None:
    async with wire(server.url) as player:
        assert await player.ask({"guess": 50, "colour": "red", "nested": {"guess": 1}}) == "Больше"
        await player.connection.send('{"guess": 1, "guess": 50}')
        assert await player.hear() == "Больше"


async def test_a_fragmented_message_is_one_message(server: GameServer) -> None:
    async with wire(server.url) as player:
        await player.connection.send(['{"gue', 'ss": ', "50}"])
        assert await player.hear() == "Больше"


# Names


async def test_a_name_may_come_at_any_time_together_with_a_guess_and_change(server: GameServer) -> None:
    async with wire(server.url) as player:
        assert await player.ask({"name": " Аня "}) == {"client_id": 1, "name": "Аня", "wins": 0}
        assert await player.ask({"name": "АНЯ"}) == {"client_id": 1, "name": "АНЯ", "wins": 0}
        await player.send({"guess": 50, "name": "Боб"})
        assert await player.hear_all(2) == [{"client_id": 1, "name": "Боб", "wins": 0}, "Больше"]


@pytest.mark.parametrize("name", ["аня", "АНЯ", "  Аня "])
async def test_a_refused_name_leaves_the_player_as_they_were(server: GameServer, name: str) -> None:
    async with wire(f"{server.url}/?name=Аня") as anna, wire(server.url) as other:
        await anna.hear()
        assert "занято" in error(await other.ask({"name": name}))
        await other.ask({"name": "Боб"})
        assert "занято" in error(await other.ask({"name": name}))
        error(await anna.ask({"name": "#7"}))
        assert [client.label for client in server.clients.values()] == ["Аня", "Боб"]
        await anna.ask({"name": "Вера"})
        assert await other.ask({"name": name}) == {"client_id": 2, "name": name.strip(), "wins": 0}


@pytest.mark.parametrize(
    "query", ["?name=", "?name=%23", "?name=%231", "?name=%00", "?name=a%0Ab", "?name=" + "x" * 33]
)
async def test_a_strange_name_in_the_url_harms_nobody(server: GameServer, query: str) -> None:
    async with wire(f"{server.url}/{query}") as player:
        reply = await player.hear()
        assert reply == {"client_id": 1, "name": "#", "wins": 0} if query == "?name=%23" else error(reply)
        assert await player.ask({"guess": 50}) == "Больше"


@pytest.mark.parametrize("path", ["", "/", "/any/path", "/?guess=42", "/?name", "/?%", "/?;&=&&", "//[?colour=red"])
async def test_any_other_url_is_as_good_as_none(server: GameServer, path: str) -> None:
    async with wire(server.url + path) as player:
        reply = await player.ask({"guess": 50})
        assert (reply != "Больше") == (path == "/?name"), "an empty name is a bad name"


async def test_a_name_is_free_again_when_its_owner_has_left(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=Аня") as player:
        await player.hear()
    await eventually(lambda: not server.clients)
    async with wire(f"{server.url}/?name=Аня") as player:
        assert await player.hear() == {"client_id": 2, "name": "Аня", "wins": 0}


# Clients


async def test_ids_count_up_and_are_never_used_twice(server: GameServer) -> None:
    for number in range(1, 4):
        async with wire(server.url), wire(server.url):
            assert list(server.clients) == [2 * number - 1, 2 * number]
        await eventually(lambda: not server.clients)


async def test_a_message_can_be_sent_to_one_client_and_to_all(server: GameServer) -> None:
    async with wire(server.url) as first, wire(server.url) as second:
        await server.send(2, {"hello": "second"})
        server.broadcast("Привет!")
        assert await first.hear() == "Привет!"
        assert await second.hear_all(2) == [{"hello": "second"}, "Привет!"]
        with pytest.raises(KeyError, match=r"nobody with the id 7 is here: the ids are \[1, 2\]"):
            await server.send(7, "Привет!")


async def test_whoever_leaves_is_gone_from_the_list(server: GameServer) -> None:
    async with wire(server.url), wire(server.url) as rude, wire(server.url):
        rude.connection.transport.abort()
        await eventually(lambda: list(server.clients) == [1, 3])
    await eventually(lambda: not server.clients)


async def test_a_guess_sent_with_the_goodbye_still_counts_and_a_new_round_begins_without_anybody(
    server: GameServer,
) -> None:
    async with wire(server.url) as player:
        await player.send({"guess": SECRET})
    await eventually(lambda: server.rounds_played == 1 and not server.clients and not server.round.over)
    async with wire(server.url) as player:
        assert await player.ask({"guess": SECRET}) == "Вы угадали!"


async def test_two_hundred_rounds_without_a_pause_while_others_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    async with GameServer(port=0, pause=0, draw=lambda low, high: SECRET) as server:

        async def come_and_go(rudely: bool) -> None:
            while server.rounds_played < 200:
                async with wire(server.url) as guest:
                    await guest.send({"guess": 1})
                    await guest.hear()
                    if rudely:
                        linger = struct.pack("ii", 1, 0)  # close with a reset
                        guest.connection.transport.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, linger
                        )
                        guest.connection.transport.abort()

        guests = [asyncio.ensure_future(come_and_go(rudely)) for rudely in (True, False, True, False)]
        async with wire(server.url) as player, wire(server.url) as witness:
            for number in range(1, 201):
                await player.send({"guess": SECRET})
                assert await player.hear_all(3) == ["Вы угадали!", {"client_id": 1, "wins": number}, NEW_GAME]
            heard = await witness.hear_all(600)
            assert heard.count(NEW_GAME) == heard.count("Игрок #1 угадал число 42!") == 200
            await asyncio.gather(*guests)
        await eventually(lambda: not server.clients)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# The pause


class VirtualTime(selectors.DefaultSelector):
    """Let an event loop believe that it has slept."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0
        return super().select(0)


@pytest.mark.parametrize(
    ("pause", "announced"),
    [
        (5, [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, NEW_GAME)]),
        (2.5, [(0.5, 2), (1.5, 1), (2.5, NEW_GAME)]),
        (1, [(0, 1), (1, NEW_GAME)]),
        (0.2, [(0.2, NEW_GAME)]),
        (0, [(0, NEW_GAME)]),
    ],
)
@pytest.mark.parametrize("hiccup", [0, 0.3])
def test_the_countdown_tells_whole_seconds_and_does_not_drift(
    pause: float, announced: list[Any], hiccup: float
) -> None:
    selector, heard = VirtualTime(), []
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]

    class Listener(GameServer):
        def broadcast(self, message: Any) -> None:
            heard.append((selector.now, message["countdown"] if isinstance(message, dict) else message))
            selector.now += hiccup  # the machine is busy for a moment

    try:
        loop.run_until_complete(Listener(pause=pause)._pause_and_begin_anew())
    finally:
        loop.close()
    assert [(round(when, 3), what) for when, what in heard] == announced


async def test_the_pause_can_be_changed_for_the_next_one(server: GameServer) -> None:
    async with wire(server.url) as player:
        server.pause = 1
        await player.send({"guess": SECRET})
        assert {"countdown": 1} in await player.hear_until(NEW_GAME)
        server.pause = 0
        await player.send({"guess": SECRET})
        assert {"countdown": 1} not in await player.hear_until(NEW_GAME)


async def test_a_newcomer_in_the_pause_is_welcomed_and_hears_the_new_game() -> None:
    async with GameServer(port=0, pause=0.5, draw=lambda low, high: SECRET) as server, wire(server.url) as winner:
        assert await winner.ask({"guess": SECRET}) == "Вы угадали!"
        async with wire(server.url) as newcomer:
            assert await newcomer.hear() == NEW_GAME


async def test_a_draw_that_fails_is_logged_and_another_number_drawn(caplog: pytest.LogCaptureFixture) -> None:
    secrets = iter([SECRET])
    async with GameServer(port=0, pause=0, draw=lambda low, high: next(secrets)) as server, wire(server.url) as player:
        await player.send({"guess": SECRET})
        assert (await player.hear_until(NEW_GAME))[0] == "Вы угадали!"
        assert "draw() failed" in caplog.text
        assert await player.ask({"guess": server.round.secret}) == "Вы угадали!"


# Starting and stopping


async def test_stop_says_goodbye_with_1001_and_leaves_nothing_behind(server: GameServer) -> None:
    before = asyncio.all_tasks()
    async with GameServer(port=0, pause=60, draw=lambda low, high: SECRET) as other:
        async with wire(other.url) as player:
            assert await player.ask({"guess": SECRET}) == "Вы угадали!"  # stopped in the middle of the pause
            await other.stop()
            with pytest.raises(ConnectionClosed) as closed:
                await player.hear_until("never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert not other.clients
        await other.stop()
        with pytest.raises(RuntimeError, match="not running"):
            other.url  # noqa: B018
    assert asyncio.all_tasks() == before


async def test_a_stopped_server_starts_again_at_the_same_address_with_new_ids() -> None:
    server = GameServer(port=0, pause=0)
    await server.stop()  # never started: nothing to do
    await server.start()
    url = server.url
    async with wire(url):
        pass
    await server.stop()
    await server.start()
    assert server.url == url
    async with wire(url):
        assert list(server.clients) == [2]
    with pytest.raises(RuntimeError, match="running already"):
        await server.start()
    await server.stop()


async def test_two_starts_at_once_make_one_server() -> None:
    server = GameServer(port=0)
    results = await asyncio.gather(server.start(), server.start(), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), RuntimeError]
    await server.stop()


async def test_the_address_is_known_until_the_server_has_stopped(server: GameServer) -> None:
    url = server.url
    with await connect_deaf(server.port):
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.1)
        assert server.running
        assert server.url == url
        await stopping
    assert not server.running


async def test_two_stops_at_once_both_wait_for_the_end() -> None:
    server = GameServer(port=0)
    await server.start()
    async with wire(server.url):
        await asyncio.gather(server.stop(), server.stop())
        assert not server.clients


async def test_a_port_in_use_is_an_os_error(server: GameServer) -> None:
    with pytest.raises(OSError, match="in use"):
        await GameServer(port=server.port).start()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 5, "high": 3}, "low must not be above high"),
        *(({"pause": pause}, "from 0 to 86400") for pause in (-1, 1e9, float("nan"), float("inf"))),
        *(({name: 0}, "give 1 or more") for name in ("max_size", "max_players", "rate", "max_backlog")),
        *(({name: value}, "more than 0") for name in ("ping_interval", "ping_timeout") for value in (0, 86_401)),
        ({"origins": "https://game.example"}, "is a list"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GameServer(**options)


async def test_the_url_is_one_that_players_on_this_machine_can_use() -> None:
    async with GameServer("0.0.0.0", 0) as server:
        assert server.url == f"ws://127.0.0.1:{server.port}"
        async with wire(server.url):
            pass


# Limits


async def test_a_message_above_the_limit_ends_its_connection_with_1009(server: GameServer) -> None:
    async with wire(server.url) as player, wire(server.url) as other:
        assert await player.ask({"guess": 50, "padding": "x" * 990}) == "Больше"
        await player.send({"guess": 50, "padding": "x" * 1024})
        with pytest.raises(ConnectionClosedError) as closed:
            await player.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert await other.ask({"guess": 50}) == "Больше"


async def test_one_player_too_many_gets_503_until_another_leaves() -> None:
    async with GameServer(port=0, max_players=5) as server:

        async def try_to_join() -> int:
            try:
                async with wire(server.url) as player:
                    await stay.wait()
                    await player.ask({"guess": 101})
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

        stay = asyncio.Event()
        attempts = [asyncio.ensure_future(try_to_join()) for _ in range(20)]
        await eventually(lambda: sum(attempt.done() for attempt in attempts) == 15)
        stay.set()
        assert sorted(await asyncio.gather(*attempts)) == [101] * 5 + [503] * 15
        await eventually(lambda: not server.clients)
        async with wire(server.url):
            pass


async def test_a_page_of_another_origin_is_refused_and_programs_are_let_in() -> None:
    async with GameServer(port=0, origins=["https://game.example"]) as server:
        async with wire(server.url), wire(server.url, origin="https://game.example"):
            pass
        with pytest.raises(InvalidStatus) as refused:
            async with wire(server.url, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


async def test_a_player_who_never_reads_is_cut_off_and_delays_nobody(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire(server.url) as player:
        with await connect_deaf(server.port):
            for number in range(10_000):
                server.broadcast({"number": number, "padding": "x" * 2000})
                assert (await player.hear())["number"] == number
                if len(server.clients) == 1:
                    break
                waiting = server.clients[2].connection.transport.get_write_buffer_size()
                assert waiting < server.max_backlog + 5000, "the server's memory must not grow"
            assert list(server.clients) == [1]
            assert "#2 does not read and is cut off" in caplog.text
        assert await player.ask({"guess": 50}) == "Больше"


async def test_stop_does_not_wait_for_those_who_do_not_answer() -> None:
    server = GameServer(port=0)
    await server.start()
    half_open = socket.create_connection(("127.0.0.1", server.port))
    with await connect_deaf(server.port), await connect_deaf(server.port), half_open:
        while server.clients[1].connection.transport.get_write_buffer_size() < 40_000:
            server.broadcast("x" * 2000)
            await asyncio.sleep(0)
        # The library alone would wait for ever; a busy machine may need longer than the two seconds promised.
        await asyncio.wait_for(server.stop(), PATIENCE)
    assert not server.clients


async def test_a_player_who_floods_is_answered_late_but_answered_and_others_at_once(server: GameServer) -> None:
    count = 2000
    server.rate = 200.0
    async with wire(server.url) as flooder, wire(server.url) as other:
        flood = [asyncio.ensure_future(flooder.send({"guess": 50})) for _ in range(count)]
        answers = asyncio.ensure_future(flooder.hear_all(count))
        for _ in range(20):
            assert await other.ask({"guess": 1}) == "Меньше"
        assert not answers.done(), "twenty replies to another player came first"
        server.rate = 1e6
        await asyncio.gather(*flood)
        assert await answers == ["Больше"] * count


async def test_silence_is_noticed_by_keepalive_pings() -> None:
    async with GameServer(port=0, ping_interval=0.05, ping_timeout=0.05) as server:
        with await connect_deaf(server.port):
            await eventually(lambda: not server.clients)


async def test_a_player_above_the_rate_waits_but_not_for_the_first_message_and_is_not_called_silent() -> None:
    options: dict[str, Any] = {"rate": 1, "ping_interval": 0.2, "ping_timeout": 0.2}
    async with GameServer(port=0, draw=lambda low, high: SECRET, **options) as server, wire(server.url) as player:
        began = asyncio.get_running_loop().time()
        for _ in range(40):
            await player.send({"guess": 50})
        assert await player.hear_all(3) == ["Больше"] * 3
        assert asyncio.get_running_loop().time() - began >= 1.9, "one at once, then one a second"
        assert list(server.clients) == [1]
        player.connection.transport.abort()
        await eventually(lambda: not server.clients)
        assert asyncio.get_running_loop().time() - began < 20, "gone at once, not after 37 more messages"


async def send_raw(port: int, *frames: bytes) -> socket.socket:
    deaf = await connect_deaf(port)
    for frame in frames:
        await asyncio.get_running_loop().sock_sendall(deaf, frame)
    return deaf


def masked_frame(first: int, content: bytes) -> bytes:
    """Make a frame whose mask is zero, which changes nothing."""
    return bytes([first, 0x80 | len(content)]) + bytes(4) + content


async def test_pings_whose_answers_nobody_reads_are_counted_too(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    with await connect_deaf(server.port) as deaf:
        pings, loop = masked_frame(0x89, b"x" * 125) * 100, asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            for _ in range(5000):
                await asyncio.wait_for(loop.sock_sendall(deaf, pings), PATIENCE)
                assert all(
                    client.connection.transport.get_write_buffer_size() < 2 * server.max_backlog
                    for client in server.clients.values()
                )
                if not server.clients:
                    break
        await eventually(lambda: not server.clients)
        assert "does not read and is cut off" in caplog.text


async def test_a_player_who_hangs_up_halfway_without_reading_is_gone() -> None:
    async with GameServer(port=0, ping_interval=None) as server:
        with await connect_deaf(server.port) as half:
            await eventually(lambda: server.clients)
            transport = server.clients[1].connection.transport
            while transport.get_write_buffer_size() < 10_000:  # the goodbye, too, waits behind all this
                server.broadcast("x" * 2000)
                await asyncio.sleep(0)
            half.shutdown(socket.SHUT_WR)
            await eventually(lambda: not server.clients)


async def test_text_which_is_no_utf_8_ends_its_connection_with_1007(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    with await send_raw(server.port, masked_frame(0x81, b"\xff\xff")) as strange:
        data = b""
        while b"\x88" not in data or b"\x03\xef" not in data.rpartition(b"\x88")[2]:
            received = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(strange, 4096), PATIENCE)
            assert received, "the goodbye has to come before the end"
            data += received
    assert "Traceback" not in caplog.text


async def test_too_many_who_only_connect_do_not_keep_players_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "HANDSHAKES", 5)
    async with GameServer(port=0, max_players=10) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        await eventually(lambda: len(server.connections) == 15)
        for connection in list(server.connections)[:5]:
            connection.transport.abort()
        await eventually(lambda: len(server.connections) == 10)
        async with wire(server.url):
            pass


async def test_nobody_is_called_silent_because_the_server_itself_was_asleep() -> None:
    async with GameServer(port=0, ping_interval=0.1, ping_timeout=0.1) as server, wire(server.url) as player:
        time.sleep(1)  # noqa: ASYNC251  # a machine which wakes up
        await asyncio.sleep(0.1)
        assert await player.ask({"guess": 50}) in ("Меньше", "Больше", "Вы угадали!")
        assert list(server.clients) == [1]


# The log


def log_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, with the ports, which differ from run to run, made equal."""
    return [
        re.sub(r"\b\d{4,5}\b", "PORT", record.getMessage()) for record in caplog.records if record.name == "guessgame"
    ]


async def test_the_log_tells_who_comes_wins_and_goes_but_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guessgame")
    async with GameServer(port=0, pause=0, draw=lambda low, high: SECRET, max_players=1) as server:
        async with wire(f"{server.url}/?name=Аня") as player:
            await player.hear()
            with pytest.raises(InvalidStatus):
                async with wire(server.url):
                    pass
            assert await player.ask({"guess": 41}) == "Меньше"
            assert not any(str(SECRET) in line for line in log_lines(caplog))
            await player.send({"guess": SECRET})
            await player.hear_until(NEW_GAME)
    assert log_lines(caplog) == [
        "the first round begins: guess a number from 1 to 100",
        "#1 joined, 1 here",
        "#1 'Аня' has this name now",
        "refused a connection from ('127.0.0.1', PORT): HTTP 503",
        "#1 'Аня' guessed 42, wins so far: 1",
        "a new round begins, 1 here",
        "#1 'Аня' left, 0 here",
        "stopped",
    ]


async def test_nonsense_at_the_door_leaves_no_traceback(server: GameServer, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (
        b"",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"hello\r\n\r\n",
        bytes(range(256)) * 40,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(nonsense)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    async with wire(server.url) as player:
        assert await player.ask({"guess": 50}) == "Больше"
    assert "Traceback" not in caplog.text
