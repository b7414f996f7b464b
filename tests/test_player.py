"""The client and the bots, against a real server, and against servers that are not what they seem."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import unittest.mock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

import guessgame
from conftest import SECRET, WELCOME, eventually, game, pass_time, standing_clock, strange_server
from guessgame import LESS, MORE, NEW_GAME, STRATEGIES, YOU_WON, Bot, GameServer, Player, ServerGone

HEAR = ServerConnection.recv  # in the script of a server: wait for a message

# What a player learns


async def test_a_player_learns_from_every_reply(server: GameServer) -> None:
    async with Player(server.url, "Аня") as player:
        assert (player.name, player.client_id, player.range) == ("Аня", 1, (1, 100))
        assert await player.guess(50) == MORE
        assert await player.guess(20) == LESS
        assert (player.low, player.high, player.guesses) == (21, 49, 2)
        assert await player.guess(10) == LESS
        assert (player.low, player.high) == (21, 49), "what is known already is not forgotten"
        assert (player.last_guess, player.last_verdict) == (10, LESS)
        assert await player.guess(SECRET) == YOU_WON
        assert (player.low, player.high, player.wins, player.rounds) == (SECRET, SECRET, 1, 1)
        await player.wait_until(lambda: not player.round_over)
        assert (player.low, player.high, player.last_guess) == (1, 100, None)
        score = {"client_id": 1, "name": "Аня", "wins": 1}
        assert list(player.received) == [WELCOME, {**score, "wins": 0}, MORE, LESS, LESS, YOU_WON, score, NEW_GAME]


async def test_the_range_is_what_the_welcome_says() -> None:
    async with GameServer(port=0, low=-5, high=7, draw=lambda low, high: -3) as server, Player(server.url) as player:
        assert player.range == (player.low, player.high) == (-5, 7)
        assert await player.guess(-4) == LESS


async def test_a_player_learns_their_id_with_the_first_win(server: GameServer) -> None:
    async with Player(server.url) as first, Player(server.url) as player:
        await first.guess(SECRET)
        await player.wait_until(lambda: player.rounds == 1 and not player.round_over)
        assert player.client_id is None
        await player.guess(SECRET)
        await player.wait_until(lambda: player.client_id == 2)
        assert (player.wins, player.rounds) == (1, 2)


async def test_the_hook_is_handed_each_message_even_if_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []

    def hook(message: Any) -> None:
        heard.append(message)
        raise RuntimeError("a bug in the hook")

    async with game() as server, Player(server.url, on_message=hook) as player:
        assert await player.guess(1) == LESS
    assert heard == [WELCOME, LESS]
    assert "a bug in the hook" in caplog.text
    caplog.clear()


async def test_what_is_received_is_kept_but_not_for_ever(server: GameServer) -> None:
    async with Player(server.url, history=3) as player:
        for number in (1, 100, 2, 99):
            await player.guess(number)
        assert list(player.received) == [MORE, LESS, MORE]


# Which reply belongs to which request


async def test_every_request_gets_its_own_reply_whatever_arrives_in_between(server: GameServer) -> None:
    server.pause = 0
    async with Player(server.url, history=100_000) as player, Player(server.url, "Bob") as other:
        stop = asyncio.Event()

        async def win_again_and_again() -> None:
            while not stop.is_set():
                await other.guess(SECRET)
                server.broadcast({"client_id": 99, "name": "Zed", "wins": 7})
                await asyncio.sleep(0)

        noise = asyncio.ensure_future(win_again_and_again())
        replies = []
        for number in (1, 100) * 50:
            reply: Any = {"error": ""}
            while isinstance(reply, dict):
                reply = await player.guess(number)
            replies.append(reply)
        names = [await player.rename(f"name {number}") for number in range(20)]
        await eventually(lambda: other.wins > 1)
        stop.set()
        await noise
    assert replies == [LESS, MORE] * 50
    assert names == [{"client_id": 1, "name": f"name {number}", "wins": 0} for number in range(20)]


@standing_clock
async def test_a_cancelled_guess_does_not_mix_up_the_replies() -> None:
    async with game(rate=1) as server, Player(server.url) as player:
        assert await player.guess(98) == MORE
        impatient = asyncio.ensure_future(player.guess(99))
        await pass_time()  # sent, but the reply is due in a second
        impatient.cancel()
        server.rate = 1e12
        guesses = asyncio.gather(*(player.guess(number) for number in (1, 100, 2, 99)))
        await pass_time(1)
        assert await guesses == [LESS, MORE, LESS, MORE]


async def test_a_cancelled_guess_makes_no_complaint_when_its_player_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async with game(rate=1) as server:
        async with Player(server.url) as player:
            await player.guess(1)
            impatient = asyncio.ensure_future(player.guess(2))
            await asyncio.sleep(0.05)  # sent, and due in a second
            impatient.cancel()
        gc.collect()
        await asyncio.sleep(0)
    assert "never retrieved" not in caplog.text


async def test_a_refused_request_is_answered_with_the_servers_sentence(server: GameServer) -> None:
    async with Player(server.url, "Аня"), Player(server.url, "аня") as player:
        assert player.name is None
        for request in ({"guess": 101}, {"guess": "5"}, "nonsense", b"bytes", {"name": ""}, '{"name": 5}'):
            reply = await player.ask(request)
            assert isinstance(reply, dict)
            assert "отправьте" in reply["error"]
        assert await player.ask('{"guess": 50}') == MORE
        assert await player.ask('{"name": "Боб"}') == {"client_id": 2, "name": "Боб", "wins": 0}
        assert (player.low, player.high, player.guesses, str(player.name)) == (1, 49, 1, "Боб")


async def test_text_that_cannot_be_sent_is_refused_before_it_is(server: GameServer) -> None:
    async with Player(server.url) as player:
        with pytest.raises(ValueError, match="surrogates"):
            await player.rename("\ud800")
        assert await player.guess(50) == MORE


async def test_a_strangers_score_is_no_reply_to_a_name() -> None:
    score, taken = {"client_id": 7, "name": "Аня", "wins": 1}, {"error": guessgame.NAME_TAKEN}
    async with strange_server(WELCOME, HEAR, "Игрок Аня угадал число 42!", score, taken) as url, Player(url) as player:
        assert await player.rename("Аня") == taken
        assert (player.name, player.client_id) == (None, None)


async def test_a_strangers_score_is_no_reply_to_a_guess() -> None:
    score = {"client_id": 7, "name": "None", "wins": 0}
    async with strange_server(WELCOME, HEAR, score, LESS) as url, Player(url) as player:
        assert await player.guess(1) == LESS
        assert player.client_id is None


# Joining and leaving


@pytest.mark.parametrize("reason", ["1001", "no close frame"])
async def test_a_server_that_leaves_is_a_clear_exception_wherever_you_wait(server: GameServer, reason: str) -> None:
    server.rate = 1
    async with Player(server.url) as player:
        await player.guess(50)
        attempts = [player.guess(50), player.rename("Аня"), player.wait_until(lambda: False)]
        waiting = [asyncio.ensure_future(attempt) for attempt in attempts]
        closing = asyncio.ensure_future(player.wait_closed())
        await asyncio.sleep(0)
        if reason == "1001":
            await server.stop()
        else:
            server.clients[1].connection.transport.abort()
        await closing
        for attempt in (*waiting, player.guess(50), player.rename("Аня"), player.wait_until(lambda: False)):
            with pytest.raises(ServerGone, match=f"^The connection to ws://.* has ended: .*{reason}"):
                await attempt


async def test_leaving_is_possible_at_any_moment_but_joining_only_once(server: GameServer) -> None:
    player = Player(server.url)
    await player.leave()
    with pytest.raises(ServerGone, match="join first"):
        await player.guess(50)
    await player.join()
    with pytest.raises(RuntimeError, match="leave first"):
        await player.join()
    assert await player.guess(50) == MORE
    await player.leave()
    await player.leave()


BAD_WELCOMES = ["hello", b"hello", b"[1]", b"[" * 99_999, "Добро пожаловать! Угадайте число от 90 до 5.", None]


@pytest.mark.parametrize("said", BAD_WELCOMES, ids=lambda said: str(said)[:9])
async def test_another_kind_of_server_is_told_from_ours(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "WELCOME_TIMEOUT", 0.2)
    before = asyncio.all_tasks()
    async with strange_server(*([said, WELCOME] if said else [])) as url:
        with pytest.raises(ServerGone):
            await Player(url).join()
    await eventually(lambda: asyncio.all_tasks() == before)


BAD_SHAPES = [
    {"client_id": 1}, {"wins": 1}, {"client_id": "1", "wins": 1}, {"client_id": 1, "wins": True}, {"error": 5},
    {"error": None}, {"countdown": "soon"}, {"client_id": 1, "name": ["Аня"], "wins": 1}, ["Меньше"], 5, None,
    {"x": [{}]}, {"x": {}}, "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("said", BAD_SHAPES, ids=lambda said: str(said)[:50])
async def test_a_message_of_another_shape_or_size_ends_the_connection(said: Any) -> None:
    async with strange_server(WELCOME, HEAR, said, LESS) as url, Player(url) as player:
        with pytest.raises(ServerGone, match="not part of this game|too big|1009"):
            await player.guess(50)
        assert list(player.received) == [WELCOME]


async def test_a_full_server_is_told_from_one_that_is_not_there() -> None:
    async with game(max_players=1) as server, Player(server.url):
        with pytest.raises(ServerGone, match="it is full"):
            await Player(server.url).join()
        url = server.url
    with pytest.raises(ServerGone, match=r"No server answers at ws://.*start a server with: python guessgame.py serve"):
        await Player(url).join()


async def test_an_error_without_words_is_told_by_its_name() -> None:
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServerGone, match=r"No server answers at wss://.* \(.+\): check the address"):
            await Player(f"wss://127.0.0.1:{port}").join()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "localhost:8765", "", "ws://127.0.0.1:99999"])
async def test_a_wrong_address_is_refused_with_an_example_of_a_right_one(url: str) -> None:
    with pytest.raises(ValueError, match="give one like ws://127.0.0.1:8765"):
        await Player(url).join()


@pytest.mark.parametrize("proxy", ["http_proxy", "https_proxy", "all_proxy"])
async def test_a_proxy_is_not_used(server: GameServer, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    async with Player(server.url) as player:
        assert await player.guess(50) == MORE


async def test_a_cancelled_join_leaves_everything_as_it_was() -> None:
    async with strange_server() as url:
        player = Player(url, "Аня")
        joining = asyncio.ensure_future(player.join())
        await eventually(lambda: player.gone is None)
        joining.cancel()
        await eventually(lambda: joining.done() and player.gone)
        await player.connection.wait_closed()
        assert player.name == "Аня"


async def test_leaving_does_not_wait_for_a_server_that_does_not_read() -> None:
    async def stop_reading(connection: ServerConnection) -> None:
        connection.transport.pause_reading()

    async with strange_server(WELCOME, stop_reading) as url:
        player = Player(url)
        await player.join()
        player.connection.close_timeout = 3600
        asking = asyncio.ensure_future(player.ask("x" * 20_000_000))
        await eventually(lambda: player.connection.transport.get_write_buffer_size())
        await player.leave()
        with pytest.raises(ServerGone):
            await asking


# Bots and their strategies


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.sampled_from(sorted(STRATEGIES)))
def test_every_strategy_stays_in_its_interval(low: int, size: int, name: str) -> None:
    assert low <= STRATEGIES[name](low, low + size) <= low + size


def count_guesses(strategy: guessgame.Strategy, secret: int) -> int:
    low, high, guesses = 1, 100, [0]
    while guesses[-1] != secret:
        guesses.append(strategy(low, high))
        low, high = (guesses[-1] + 1, high) if guesses[-1] < secret else (low, guesses[-1] - 1)
    return len(guesses) - 1


def test_bisection_needs_5_8_guesses_on_average_and_7_at_most_but_counting_up_to_100() -> None:
    counts = [count_guesses(guessgame.bisection, secret) for secret in range(1, 101)]
    assert (sum(counts) / 100, max(counts)) == (5.8, 7)
    assert [count_guesses(guessgame.counting, secret) for secret in (1, 50, 100)] == [1, 50, 100]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
async def test_a_bot_plays_as_many_rounds_as_it_is_asked_to(server: GameServer, name: str) -> None:
    server.pause = 0
    async with Bot(server.url, STRATEGIES[name], delay=0) as bot:
        for rounds, wins in ((3, 3), (1, 4)):
            await bot.play(rounds)
            assert bot.wins == bot.rounds == wins


async def test_rounds_won_by_others_count_too(server: GameServer) -> None:
    async with Bot(server.url, delay=3600) as slow, Bot(server.url, delay=0) as fast:
        watching = asyncio.ensure_future(slow.play(rounds=2))
        await fast.play(rounds=2)
        slow.delay = 0
        await watching
        assert (slow.rounds, slow.wins, fast.wins) == (2, 0, 2)


async def test_a_bot_is_not_confused_by_a_round_that_ends_as_another_begins() -> None:
    """Without a pause, "the round is over" and "a new game" may arrive before the bot gets its turn."""
    over = {"error": guessgame.ROUND_IS_OVER}
    async with strange_server(WELCOME, HEAR, over, NEW_GAME, HEAR, YOU_WON) as url, Bot(url, delay=0) as bot:
        await bot.play(rounds=1)
        assert (bot.wins, bot.guesses) == (1, 1)


async def test_a_new_delay_is_felt_at_once(server: GameServer) -> None:
    async with Bot(server.url, delay=3600) as bot:
        playing = asyncio.ensure_future(bot.play(rounds=1))
        await asyncio.sleep(0.1)
        assert bot.guesses == 0
        bot.delay = 0
        await playing
        assert bot.wins == 1


async def test_a_bot_survives_a_restart_of_the_server(server: GameServer) -> None:
    async with Bot(server.url, name="Аня", delay=0) as bot:
        playing = asyncio.ensure_future(bot.play())
        await eventually(lambda: bot.guesses > 2)
        await server.stop()
        await playing
        await server.start()
        await bot.join()
        assert (bot.client_id, bot.name, bot.low, bot.high) == (2, "Аня", 1, 100)
        await bot.play(rounds=1)


@pytest.mark.parametrize("nonsense", ["42", 42.0, None, 101])
async def test_a_strategy_that_returns_nonsense_or_fails_is_heard_of(server: GameServer, nonsense: Any) -> None:
    async with Bot(server.url, lambda low, high: nonsense, delay=0) as bot:
        with pytest.raises(ValueError, match="^the server refuses the guess of <lambda>: Догадка"):
            await bot.play()
        assert (bot.low, bot.high, bot.guesses) == (1, 100, 0)
        bot.strategy = lambda low, high: 1 // 0
        with pytest.raises(ZeroDivisionError):
            await bot.play()


@pytest.mark.parametrize(("forgets", "interval"), [(False, (1, 49)), (True, (1, 100))])
async def test_only_a_strategy_that_forgets_the_hints_gets_the_whole_range(forgets: bool, interval: Any) -> None:
    strategy = unittest.mock.Mock(return_value=50, forgets_hints=forgets)
    async with game() as server, Bot(server.url, strategy) as bot:
        await bot.step()
        await bot.step()
        assert strategy.call_args_list == [((1, 100),), (interval,)]
    assert [name for name in STRATEGIES if hasattr(STRATEGIES[name], "forgets_hints")] == ["forgetful"]


async def test_twenty_busy_bots_can_go_on_after_being_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with game(pause=0) as server, contextlib.AsyncExitStack() as stack:
        strategies = list(STRATEGIES.values()) * 5
        bots = [await stack.enter_async_context(Bot(server.url, strategy, delay=0)) for strategy in strategies]
        playing = asyncio.gather(*(bot.play() for bot in bots))
        await eventually(lambda: server.rounds_played >= 50)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        for number, bot in enumerate(bots):
            await bot.rename(f"Bob {number}")  # the reply to a guess that was on its way comes before this one
            guesses = bot.guesses
            await bot.step()
            assert bot.guesses == guesses + 1
        await asyncio.gather(*(bot.play(rounds=5) for bot in bots))
    assert not caplog.records
