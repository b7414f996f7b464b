"""The client and the bots: what a player knows; real servers, and such as are not what they seem."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

import guessgame
from conftest import SECRET, WELCOME, error, eventually, game, pass_time, standing_clock, strange_server
from guessgame import STRATEGIES, Bot, Client, Game, GameServer, Knowledge, Player, ServerGone

HEAR = ServerConnection.recv  # in the script of a server: wait for a message
LESS, MORE, YOU_WON, NEW_GAME = "Меньше", "Больше", "Вы угадали!", "Новая игра началась!"
SOMEBODY_WON = "Игрок #3 угадал число 67!"
SCORES = {"scores": [{"client_id": 3, "wins": 0}], "players": 1, "over": False}


# What a player knows


def newcomer(*heard: Any) -> Knowledge:
    """Return what somebody knows who has heard the welcome, and maybe more."""
    player = Knowledge()
    for message in (WELCOME, *heard):
        player.hear(message)
    return player


def ask(player: Knowledge, number: object, *heard: Any) -> None:
    """Let a player guess, and hear some messages after that."""
    player.ask_for({"guess": number})
    for message in heard:
        player.hear(message)


WHAT = ["hear", "hear", "judge", "other wins", "new round", "clear", "scores", "name"]


@given(st.lists(st.integers(0, 101) | st.sampled_from(WHAT), max_size=60), st.randoms(use_true_random=False))
def test_the_interval_always_holds_the_secret_whatever_happens_when(steps: list[Any], chance: Any) -> None:
    player, me, other = Knowledge(), Client(), Client()
    to_the_server: list[dict[str, Any]] = []
    to_the_player: list[tuple[Any, int]] = []

    def send(clients: Any, message: Any) -> None:
        if me in clients:
            to_the_player.append((message, table.round.secret))

    def hear() -> None:
        message, secret = to_the_player.pop(0)
        player.hear(message)
        assert player.low <= secret <= player.high

    table = Game(send, draw=chance.randint)
    table.join(me)
    table.join(other)
    for step in [*steps, "judge"]:
        if step == "hear" and to_the_player:
            hear()
        elif step == "judge" and to_the_server:
            table.answer(me, guessgame.encode(to_the_server.pop()))
        elif step == "other wins":
            table.answer(other, guessgame.encode({"guess": table.round.secret}))
        elif step == "new round":
            table.new_round()
        elif step == "clear":
            table.clear_scores()
        elif step not in WHAT[:3] and player.is_answered():
            to_the_server.append({"guess": step} if isinstance(step, int) else {step: True})
            player.ask_for(to_the_server[0])
            assert not player.is_answered()
    while to_the_player:
        hear()
    assert player.is_answered()
    assert player.round_over == table.round.over
    assert player.guesses == sum(guess[2] == me.id for guess in table.history)
    assert player.wins == me.wins or "clear" in steps


def test_a_player_learns_from_hints_until_the_next_round() -> None:
    player = Knowledge()
    player.hear("Добро пожаловать! Угадайте число от -5 до 70.")
    assert player.range == (player.low, player.high) == (-5, 70)
    ask(player, 50, MORE)
    ask(player, 20, LESS)
    assert (player.low, player.high, player.guesses) == (21, 49, 2)
    ask(player, 10, LESS)
    assert (player.low, player.high) == (21, 49), "what is known already is not forgotten"
    assert (player.last_guess, player.last_verdict) == (10, guessgame.LESS)
    ask(player, 42, YOU_WON, {"client_id": 1, "wins": 1}, {"countdown": 5})
    assert (player.low, player.high, player.wins, player.rounds, player.round_over) == (42, 42, 1, 1, True)
    player.hear(NEW_GAME)
    assert (player.low, player.high, player.last_guess, player.last_verdict) == (-5, 70, None, None)
    player.hear(SOMEBODY_WON)
    assert (player.wins, player.rounds, player.round_over, player.guesses) == (1, 2, True, 4)


def test_a_late_reply_belongs_to_the_round_in_which_it_was_asked() -> None:
    player = newcomer()
    ask(player, 50, SOMEBODY_WON, NEW_GAME, MORE)
    assert (player.low, player.high, player.last_guess, player.guesses) == (1, 100, None, 1)
    ask(player, 50, LESS)
    assert (player.low, player.high) == (51, 100)


@pytest.mark.parametrize("refusal", [guessgame.BAD_GUESS, guessgame.TOO_SOON, guessgame.ROUND_IS_OVER])
def test_a_refused_guess_teaches_nothing_of_the_secret(refusal: guessgame.Sentence) -> None:
    player = newcomer()
    ask(player, 50, {"error": refusal.russian.format(low=1, high=100, seconds=3)})
    assert player.is_answered()
    assert (player.low, player.high, player.last_guess, player.guesses) == (1, 100, None, 0)
    assert player.round_over == (refusal is guessgame.ROUND_IS_OVER)


REQUESTS: list[dict[str, Any]] = [
    {"guess": 1}, {"guess": 0}, {"name": "Аня"}, {"key": "k7Qz2mXw"}, {"name": "Аня", "key": "k7Qz2mXw"}, {}, {"x": 1},
    {"name": "Аня", "guess": 1, "scores": True}, {"key": "k7Qz2mXw", "guess": 1}, {"key": "", "scores": True},
]  # fmt: skip


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_a_player_waits_for_as_many_replies_as_the_game_gives(asked: dict[str, Any]) -> None:
    player, client, told = newcomer(), Client(), []
    table = Game(lambda clients, message: told.append(message))
    table.join(client)
    table.answer(client, guessgame.encode(asked))
    player.ask_for(asked)
    for message in told[1:]:
        assert not player.is_answered()
        player.hear(message)
    assert player.is_answered()


ANNOUNCEMENTS: list[Any] = [SOMEBODY_WON, NEW_GAME, {"countdown": 1}, SCORES, {"client_id": 3, "wins": 1}]
ME = {"client_id": 3, "name": "Аня", "wins": 2, "you": True}


def test_only_what_is_no_announcement_is_a_reply() -> None:
    player = newcomer()
    for reply in (LESS, MORE, YOU_WON, {"error": "нет"}, ME, {**SCORES, "you": 3}, "Что-то новое", {"error": None}):
        player.ask_for({"name": "Аня"})
        for announcement in ANNOUNCEMENTS:
            player.hear(announcement)
            assert not player.is_answered()
        player.hear(reply)
        assert player.is_answered()
        assert player.reply == reply


def test_a_player_is_who_the_server_says_they_are_and_nobody_else() -> None:
    player = newcomer(*ANNOUNCEMENTS)
    assert (player.client_id, player.name, player.wins) == (None, None, 0)
    player.hear(ME)
    assert (player.client_id, player.name, player.wins) == (3, "Аня", 2)
    player.hear({"client_id": 4, "name": "Боря", "wins": 7})
    player.hear({**SCORES, "you": 3})
    assert (player.client_id, player.name, player.wins) == (3, "Аня", 2)


# On a real server


async def test_the_hook_is_handed_each_message_even_if_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []

    def hook(message: Any) -> None:
        heard.append(message)
        raise RuntimeError("a bug in the hook")

    async with game(pause=0) as server, Player(server.url, "Аня", on_message=hook) as player:
        assert await player.guess(1) == LESS
        assert await player.guess(SECRET) == YOU_WON
        await player.wait_until(lambda: not player.round_over)
        assert (player.client_id, player.name, player.low, player.wins) == (1, "Аня", 1, 1)
    score = {"client_id": 1, "name": "Аня", "wins": 0}
    assert heard == [WELCOME, {**score, "you": True}, LESS, YOU_WON, {**score, "wins": 1}, NEW_GAME]
    assert "a bug in the hook" in caplog.text
    caplog.clear()


async def test_every_request_gets_its_own_reply_whatever_arrives_in_between(server: GameServer) -> None:
    server.pause = 0
    async with Player(server.url) as player, Player(server.url, "Bob") as other:
        stop = asyncio.Event()

        async def win_again_and_again() -> None:
            while not stop.is_set():
                await other.guess(SECRET)
                for announcement in ANNOUNCEMENTS[2:]:
                    server.game.broadcast(announcement)
                await asyncio.sleep(0)

        noise = asyncio.ensure_future(win_again_and_again())
        replies = []
        for number in (1, 100) * 50:
            reply: Any = {"error": ""}
            while isinstance(reply, dict):
                reply = await player.guess(number)
            replies.append(reply)
        names = [await player.ask({"name": f"name {number}"}) for number in range(20)]
        at_once = await asyncio.gather(*(player.ask({"name": f"name {number}"}) for number in range(20)))
        await eventually(lambda: other.rounds > 1)
        stop.set()
        await noise
    assert replies == [LESS, MORE] * 50
    assert names == at_once == [{"client_id": 1, "name": f"name {n}", "wins": 0, "you": True} for n in range(20)]


async def test_every_request_is_sent_as_it_is_and_its_last_reply_returned(server: GameServer) -> None:
    async with Player(server.url, "Аня"), Player(server.url, "аня") as player:
        assert player.name is None
        for request in ({"guess": 101}, {"guess": "5"}, {"guess": True}, "nonsense", "", b"bytes", {"name": ""}, "{}"):
            assert error(await player.ask(request))
        for unsendable in ({"name": "\ud800"}, '"\ud800"'):
            with pytest.raises(ValueError, match="surrogates"):
                await player.ask(unsendable)
        assert await player.ask('{"guess": 50}') == MORE
        assert "scores" in await player.ask({"name": "Боб", "guess": 1, "scores": True})
        assert (player.low, player.high, player.guesses, str(player.name)) == (2, 49, 2, "Боб")


async def test_a_cancelled_guess_does_not_mix_up_the_replies(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await cancelled.wait()

    async with strange_server(WELCOME, HEAR, wait, MORE, HEAR, LESS, HEAR) as url, Player(url) as player:
        impatient = asyncio.ensure_future(player.guess(99))
        await eventually(lambda: player.waiting)
        impatient.cancel()
        next_one = asyncio.ensure_future(player.guess(1))
        await asyncio.sleep(0)
        cancelled.set()
        assert await next_one == LESS
        assert (player.low, player.high, player.guesses) == (2, 98, 2)
        impatient = asyncio.ensure_future(player.guess(50))
        await eventually(lambda: player.waiting)
        impatient.cancel()
    gc.collect()
    await asyncio.sleep(0)
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("still_here", [True, False])
async def test_with_a_key_a_player_comes_back_as_who_they_were(server: GameServer, still_here: bool) -> None:
    server.pause = None
    async with Player(server.url, "Аня", key="k7Qz2mXw") as player:
        await player.guess(SECRET)
        if not still_here:
            await player.leave()
        async with Player(server.url, key="k7Qz2mXw") as same:
            assert (same.client_id, same.name, same.wins) == (1, "Аня", 1)
            if still_here:
                with pytest.raises(ServerGone, match="4001"):
                    await player.wait_until(lambda: False)
            assert list(server.clients) == [1]


# Joining and leaving


@pytest.mark.parametrize("reason", ["1001", "no close frame"])
async def test_a_server_that_leaves_is_a_clear_exception_wherever_you_wait(reason: str) -> None:
    async def leave(connection: ServerConnection) -> None:
        if reason == "1001":
            await connection.close(1001)
        else:
            connection.transport.abort()

    async with strange_server(WELCOME, HEAR, leave) as url, Player(url) as player:
        attempts: list[Callable[[], Any]] = [lambda: player.guess(50), lambda: player.wait_until(lambda: False)]
        waiting = [asyncio.ensure_future(attempt()) for attempt in attempts * 2]
        await player.reader
        for attempt in (*waiting, *(attempt() for attempt in attempts)):
            with pytest.raises(ServerGone, match=f"^The connection to {url} has ended: .*{reason}"):
                await attempt


async def test_leaving_is_possible_at_any_moment_and_joining_again(server: GameServer) -> None:
    player = Player(server.url)
    await player.leave()
    with pytest.raises(ServerGone, match="join first"):
        await player.guess(50)
    for client_id in (1, 2):
        await player.join()
        assert (player.low, player.high, player.gone) == (1, 100, None)
        assert await player.guess(50) == MORE
        assert list(server.clients) == [client_id]
        await player.leave()
        await player.leave()
        assert player.gone
        await eventually(lambda: not server.clients)


STRANGE = ["hello", LESS, {"error": LESS}, {"countdown": 5}, ME, 5, None, b"hello", b"[1]", b"[" * 99_999, b""]
BROKEN = [b"hello", b"[" * 99_999, {"wins": 1, "you": True}, {**ME, "client_id": None}, {**ME, "wins": "x"}]


@pytest.mark.parametrize(
    "script", [*((said, WELCOME) for said in STRANGE), *((WELCOME, HEAR, said, LESS) for said in BROKEN)]
)
async def test_what_is_not_part_of_this_game_ends_the_connection(script: list[Any]) -> None:
    before = asyncio.all_tasks()
    async with strange_server(*script) as url:
        with pytest.raises(ServerGone, match="not part of this game"):
            async with Player(url) as player:
                await player.guess(50)
    await eventually(lambda: asyncio.all_tasks() == before)


@standing_clock
async def test_nobody_waits_longer_than_ten_seconds_for_a_server_that_says_nothing() -> None:
    async with strange_server() as silent, strange_server(WELCOME) as deaf, Player(deaf) as player:
        attempts = Player(silent).join(), player.guess(1), player.guess(2)
        waiting = [asyncio.ensure_future(attempt) for attempt in attempts]
        await pass_time(9)
        assert not any(attempt.done() for attempt in waiting)
        await pass_time(2)
        await pass_time()
        for attempt in waiting:
            with pytest.raises(ServerGone, match="has ended"):
                await attempt


async def test_a_full_server_is_told_from_one_that_is_not_there() -> None:
    async with game(max_players=1) as server, Player(server.url):
        with pytest.raises(ServerGone, match="503"):
            await Player(server.url).join()
    with pytest.raises(
        ServerGone, match=r"^No server of this game lets you in at ws:.*: check the address .*guessgame.py"
    ):
        await Player(server.url).join()


async def test_an_error_without_words_is_told_by_its_name() -> None:
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServerGone, match=r"lets you in at wss:.* \(.+\): check the address"):
            await Player(f"wss://127.0.0.1:{port}").join()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "localhost:8765", "", "ws://", "ws://127.0.0.1:99999"])
async def test_a_wrong_address_is_a_server_that_is_not_there(url: str) -> None:
    with pytest.raises(ServerGone, match="check the address"):
        await Player(url).join()


@pytest.mark.parametrize("proxy", ["http_proxy", "https_proxy", "all_proxy"])
async def test_a_proxy_is_not_used(server: GameServer, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    async with Player(server.url) as player:
        assert await player.guess(50) == MORE


async def test_a_cancelled_join_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with strange_server() as url:
        player = Player(url, "Аня")
        joining = asyncio.ensure_future(player.join())
        await eventually(lambda: player.gone is None)
        joining.cancel()
        await eventually(lambda: joining.done() and player.gone)
        await player.connection.wait_closed()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_leaving_does_not_wait_for_a_server_that_does_not_read() -> None:
    async def stop_reading(connection: ServerConnection) -> None:
        connection.transport.pause_reading()

    async with strange_server(WELCOME, stop_reading) as url:
        player = Player(url)
        await player.join()
        player.connection.close_timeout = 3600
        asking = asyncio.ensure_future(player.ask(os.urandom(20_000_000)))
        await eventually(lambda: player.connection.transport.get_write_buffer_size())
        await player.leave()
        with pytest.raises(ServerGone):
            await asking


# Bots and their strategies


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.sampled_from(sorted(STRATEGIES)))
def test_every_strategy_stays_in_its_interval(low: int, size: int, name: str) -> None:
    assert low <= STRATEGIES[name](low, low + size) <= low + size


def count_guesses(strategy: guessgame.Choose, secret: int) -> int:
    player = newcomer()
    while player.last_verdict is not guessgame.YOU_WON:
        number = strategy(player.low, player.high)
        ask(player, number, guessgame.Round(secret).guess(number).russian)
    return player.guesses


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
    async with Bot(server.url, lambda low, high: 1, delay=0) as wrong, Bot(server.url, delay=0) as fast:
        await asyncio.gather(wrong.play(rounds=2), fast.play(rounds=2))
        assert (wrong.rounds, wrong.wins, fast.wins) == (2, 0, 2)


async def test_a_bot_is_not_confused_by_a_round_that_ends_as_another_begins() -> None:
    """Without a pause, "the round is over" and "a new game" may arrive before the bot gets its turn."""
    over = {"error": guessgame.ROUND_IS_OVER.russian}
    async with strange_server(WELCOME, HEAR, over, NEW_GAME, HEAR, YOU_WON) as url, Bot(url, delay=0) as bot:
        await bot.play(rounds=1)
        assert (bot.wins, bot.guesses) == (1, 1)


@pytest.mark.parametrize(("delay", "cooldown", "least", "most"), [(0, 2.5, 15, 24), (10, 0, 35, 112)])
@standing_clock
async def test_a_bot_waits_as_long_as_it_is_told_or_as_the_server_wants_it_to(
    delay: float, cooldown: float, least: float, most: float
) -> None:
    clock = asyncio.get_running_loop().time
    async with game(cooldown=cooldown) as server, Bot(server.url, delay=delay) as bot:
        server.game.clock = clock
        began, playing = clock(), asyncio.ensure_future(bot.play(rounds=1))
        while not playing.done():
            await pass_time(0.5)
        await playing
        assert (bot.wins, bot.guesses) == (1, 7)
        assert least <= clock() - began <= most


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
        with pytest.raises(ValueError, match="^the server refuses what the bot says: Догадка"):
            await bot.play()
        assert (bot.low, bot.high, bot.guesses) == (1, 100, 0)
        bot.strategy = lambda low, high: 1 // 0
        with pytest.raises(ZeroDivisionError):
            await bot.play()


async def test_twenty_busy_bots_can_go_on_after_being_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with game(pause=0) as server, contextlib.AsyncExitStack() as stack:
        strategies = [*STRATEGIES.values(), guessgame.lucky] * 5
        bots = [await stack.enter_async_context(Bot(server.url, strategy, delay=0)) for strategy in strategies]
        playing = asyncio.gather(*(bot.play() for bot in bots))
        await eventually(lambda: server.game.rounds_begun >= 50)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        for number, bot in enumerate(bots):
            assert f"Bob {number}" in str(await bot.ask({"name": f"Bob {number}"})), "not the reply to its last guess"
        await asyncio.gather(*(bot.play(rounds=5) for bot in bots))
    assert not caplog.records
