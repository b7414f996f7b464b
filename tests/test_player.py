"""The client and the bots, against a real server, and against servers which are not what they seem."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve

import guessgame
from conftest import PATIENCE, SECRET, WELCOME, eventually, wire
from guessgame import LESS, MORE, NEW_GAME, STRATEGIES, YOU_WON, Bot, GameServer, Player, ServerGone, encode


async def test_a_player_is_welcomed_named_and_learns_from_every_reply(server: GameServer) -> None:
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
        assert list(player.received) == [
            WELCOME, {**score, "wins": 0}, MORE, LESS, LESS, YOU_WON, score, NEW_GAME,
        ]  # fmt: skip


async def test_the_range_is_what_the_welcome_says() -> None:
    async with GameServer(port=0, low=-5, high=7, draw=lambda low, high: -3) as server, Player(server.url) as player:
        assert player.range == (player.low, player.high) == (-5, 7)
        assert await player.guess(-4) == LESS


async def test_every_guess_gets_its_own_reply_whatever_arrives_in_between(server: GameServer) -> None:
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
        stop.set()
        await noise
    assert replies == [LESS, MORE] * 50
    assert names == [{"client_id": 1, "name": f"name {number}", "wins": 0} for number in range(20)]
    assert sum("Игрок Bob" in str(message) for message in player.received) > 1


async def test_guesses_may_be_sent_at_once_and_a_cancelled_one_confuses_nobody(server: GameServer) -> None:
    async with Player(server.url) as player:
        impatient = asyncio.ensure_future(player.guess(99))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await asyncio.gather(*(player.guess(number) for number in (1, 100, 2, 99))) == [LESS, MORE, LESS, MORE]


async def test_a_refused_request_is_answered_with_the_servers_sentence(server: GameServer) -> None:
    async with Player(server.url, "Аня"), Player(server.url, "аня") as player:
        assert player.name is None
        for request in ({"guess": 101}, {"guess": "5"}, "nonsense", b"bytes", {"name": ""}, '{"name": 5}'):
            reply = await player.ask(request)
            assert isinstance(reply, dict)
            assert "отправьте" in reply["error"]
        assert await player.ask('{"guess": 50}') == MORE
        assert await player.ask('{"name": "Боб"}') == {"client_id": 2, "name": "Боб", "wins": 0}
        assert (player.low, player.high, player.guesses) == (1, 49, 1)
        assert str(player.name) == "Боб"


async def test_a_player_learns_their_id_with_the_first_win(server: GameServer) -> None:
    async with Player(server.url) as first, Player(server.url) as player:
        await first.guess(SECRET)
        await player.wait_until(lambda: player.rounds == 1 and not player.round_over)
        assert player.client_id is None
        await player.guess(SECRET)
        await player.wait_until(lambda: player.client_id == 2)
        assert (player.wins, player.rounds) == (1, 2)


async def test_each_message_is_handed_to_the_hook_in_order_and_its_errors_are_logged(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def hook(message: Any) -> None:
        heard.append(message)
        raise RuntimeError("a bug in the hook")

    async with Player(server.url, on_message=hook) as player:
        assert await player.guess(1) == LESS
    assert heard == [WELCOME, LESS]
    assert "a bug in the hook" in caplog.text


async def test_what_is_received_is_kept_but_not_for_ever(server: GameServer) -> None:
    async with Player(server.url, history=3) as player:
        for number in (1, 100, 2, 99):
            await player.guess(number)
        assert list(player.received) == [MORE, LESS, MORE]


async def test_a_server_that_leaves_is_a_clear_exception_wherever_one_waits(server: GameServer) -> None:
    async with Player(server.url) as player:
        waiting = asyncio.ensure_future(player.wait_until(lambda: False))
        closing = asyncio.ensure_future(player.wait_closed())
        await asyncio.sleep(0)
        await server.stop()
        await closing
        for attempt in (waiting, player.guess(50), player.rename("Аня"), player.wait_until(lambda: False)):
            with pytest.raises(ServerGone, match=r"^The connection to ws://.* has ended: .*1001"):
                await attempt
    await player.leave()


async def test_a_guess_on_its_way_when_the_server_vanishes_is_a_clear_exception() -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.send(f'"{WELCOME}"')
        await connection.recv()
        connection.transport.abort()

    async with serve(vanish, "127.0.0.1", 0) as strange:
        async with Player(f"ws://127.0.0.1:{strange.sockets[0].getsockname()[1]}") as player:
            with pytest.raises(ServerGone):
                await player.guess(50)


async def test_a_player_can_join_again_when_the_server_is_back(server: GameServer) -> None:
    player = Player(server.url, "Аня")
    async with player:
        await player.guess(50)
        await server.stop()
        await server.start()
        await player.join()
        assert (player.client_id, player.name, player.low, player.high) == (2, "Аня", 1, 100)
        assert await player.guess(50) == MORE


@pytest.mark.parametrize("frames", [['"hello"'], ["[1]"], ["hello"], ["[" * 100_000], []], ids=lambda f: str(f)[:20])
async def test_another_kind_of_server_is_told_from_ours(frames: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "WELCOME_TIMEOUT", 0.2)

    async def strange(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    before = asyncio.all_tasks()
    async with serve(strange, "127.0.0.1", 0) as server:
        with pytest.raises(ServerGone):
            await Player(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}").join()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_nobody_there_a_full_server_and_a_wrong_address_are_told_apart() -> None:
    async with GameServer(port=0, max_players=1) as server, Player(server.url):
        with pytest.raises(ServerGone, match="it is full"):
            await Player(server.url).join()
        url = server.url
    with pytest.raises(
        ServerGone, match=r"No server answers at ws://127.*start a server with: python guessgame.py serve"
    ):
        await Player(url).join()
    for wrong in ("http://127.0.0.1:8765", "localhost:8765", "", "ws://127.0.0.1:99999"):
        with pytest.raises(ValueError, match="give one like ws://127.0.0.1:8765"):
            await Player(wrong).join()


async def test_leaving_before_joining_or_twice_is_nothing_special(server: GameServer) -> None:
    player = Player(server.url)
    await player.leave()
    with pytest.raises(ServerGone, match="join first"):
        await player.guess(50)
    await player.join()
    await player.leave()
    await player.leave()


@pytest.mark.parametrize("proxy", ["http_proxy", "https_proxy", "all_proxy"])
async def test_a_proxy_of_the_environment_is_not_asked(
    server: GameServer, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    async with Player(server.url) as player:
        assert await player.guess(50) == MORE


async def test_a_strangers_score_is_not_taken_for_the_reply_to_a_name(server: GameServer) -> None:
    async with Player(server.url, "Аня") as anna, Player(server.url) as player:
        server.pause = 60
        answers = await asyncio.gather(anna.guess(SECRET), player.rename("Аня"))
        assert answers[0] == YOU_WON
        assert list(answers[1]) == ["error"]
        assert (player.name, player.client_id) == (None, None)


async def test_a_cancelled_join_leaves_no_connection_and_keeps_the_name() -> None:
    async def mute(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(mute, "127.0.0.1", 0) as strange:
        player = Player(f"ws://127.0.0.1:{strange.sockets[0].getsockname()[1]}", "Аня")
        joining = asyncio.ensure_future(player.join())
        await eventually(lambda: strange.connections)
        joining.cancel()
        await asyncio.wait({joining})
        await eventually(lambda: not strange.connections and player.gone)
        assert player.name == "Аня"


async def test_joining_twice_is_refused(server: GameServer) -> None:
    async with Player(server.url) as player:
        with pytest.raises(RuntimeError, match="leave first"):
            await player.join()
    assert list(server.clients) in ([1], [])


async def test_leaving_does_not_wait_for_a_server_which_does_not_read() -> None:
    async def deaf(connection: ServerConnection) -> None:
        await connection.send(f'"{WELCOME}"')
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with serve(deaf, "127.0.0.1", 0, close_timeout=0.1) as strange:
        player = Player(f"ws://127.0.0.1:{strange.sockets[0].getsockname()[1]}")
        await player.join()
        asking = asyncio.ensure_future(player.ask("x" * 20_000_000))
        await asyncio.sleep(0.1)
        await asyncio.wait_for(player.leave(), PATIENCE)
        with pytest.raises(ServerGone):
            await asking


async def test_text_that_cannot_be_sent_is_refused_before_it_is(server: GameServer) -> None:
    async with Player(server.url) as player:
        with pytest.raises(ValueError, match="surrogates"):
            await player.rename("\ud800")
        assert await player.guess(50) == MORE


# Bots


@pytest.mark.parametrize("name", sorted(STRATEGIES))
async def test_a_bot_plays_as_many_rounds_as_it_is_asked_to(server: GameServer, name: str) -> None:
    server.pause = 0
    async with Bot(server.url, STRATEGIES[name], delay=0) as bot:
        await asyncio.wait_for(bot.play(rounds=3), PATIENCE)
        assert (bot.wins, bot.rounds) == (3, 3)
        await asyncio.wait_for(bot.play(rounds=1), PATIENCE)
        assert bot.wins == 4


async def test_rounds_won_by_others_count_too(server: GameServer) -> None:
    async with Bot(server.url, delay=60) as slow, Bot(server.url, delay=0) as fast:
        watching = asyncio.ensure_future(slow.play(rounds=2))
        await asyncio.wait_for(fast.play(rounds=2), PATIENCE)
        slow.delay = 0
        await asyncio.wait_for(watching, PATIENCE)
        assert (slow.rounds, fast.wins) == (2, 2)


async def test_bots_survive_being_told_that_the_round_is_over() -> None:
    async with GameServer(port=0, pause=0.3, draw=lambda low, high: SECRET) as server:
        async with Player(server.url) as player, wire(server.url):
            await player.guess(SECRET)
            async with Bot(server.url, delay=0) as bot:  # does not know yet that there is a pause
                await asyncio.wait_for(bot.play(rounds=1), PATIENCE)
                assert bot.wins == 1
                assert [str(m) for m in bot.received if "error" in m] == [str({"error": guessgame.ROUND_IS_OVER})]


async def test_a_new_delay_is_felt_at_once_by_a_bot_which_plays(server: GameServer) -> None:
    async with Bot(server.url, delay=3600) as bot:
        playing = asyncio.ensure_future(bot.play(rounds=1))
        await asyncio.sleep(0.1)
        assert bot.guesses == 0
        bot.delay = 0
        await asyncio.wait_for(playing, PATIENCE)
        assert bot.wins == 1


async def test_a_bot_can_be_paused_by_cancelling_it_stepped_and_continued(server: GameServer) -> None:
    async with Bot(server.url, delay=0.01) as bot:
        playing = asyncio.ensure_future(bot.play())
        await eventually(lambda: bot.guesses > 2)
        playing.cancel()
        await asyncio.wait({playing})
        assert playing.cancelled()
        await bot.rename("Bob")  # the reply to a guess which was on its way comes before this one
        await bot.wait_until(lambda: not bot.round_over)
        guesses = bot.guesses
        await bot.step()
        assert bot.guesses == guesses + 1
        await asyncio.wait_for(bot.play(rounds=1), PATIENCE)


async def test_a_bot_ends_cleanly_when_the_server_goes_and_plays_on_when_it_is_back(server: GameServer) -> None:
    async with Bot(server.url, delay=0) as bot:
        playing = asyncio.ensure_future(bot.play())
        await eventually(lambda: bot.guesses > 2)
        await server.stop()
        await asyncio.wait_for(playing, PATIENCE)
        await server.start()
        await bot.join()
        await asyncio.wait_for(bot.play(rounds=1), PATIENCE)


async def test_a_strategy_that_fails_or_returns_nonsense_is_heard_of(server: GameServer) -> None:
    async with Bot(server.url, delay=0) as bot:
        for nonsense in ("42", 42.0, None, 101):
            bot.strategy = lambda low, high, nonsense=nonsense: nonsense  # type: ignore[misc]
            with pytest.raises(ValueError, match="guesses what the server refuses: Догадка"):
                await asyncio.wait_for(bot.play(), PATIENCE)
        assert (bot.low, bot.high, bot.guesses) == (1, 100, 0)
        bot.strategy = lambda low, high: 1 // 0
        with pytest.raises(ZeroDivisionError):
            await bot.play()


async def test_the_forgetful_bot_hears_the_hints_but_guesses_anywhere(server: GameServer) -> None:
    async with Bot(server.url, guessgame.forgetful, delay=0) as bot:
        guesses = []
        for _ in range(60):
            await bot.step()
            await bot.wait_until(lambda: not bot.round_over)
            guesses.append(bot.last_guess)
        assert min(guess for guess in guesses if guess) < 30
        assert max(guess for guess in guesses if guess) > 60


async def test_twenty_busy_bots_all_stop_when_they_are_cancelled() -> None:
    async with GameServer(port=0, pause=0) as server, contextlib.AsyncExitStack() as stack:
        bots = [await stack.enter_async_context(Bot(server.url, guessgame.lucky, delay=0)) for _ in range(20)]
        playing = [asyncio.ensure_future(bot.play()) for bot in bots]
        await eventually(lambda: server.rounds_played > 5)
        for task in playing:
            task.cancel()
        done, pending = await asyncio.wait(playing, timeout=PATIENCE)
        assert not pending
        assert all(task.cancelled() for task in done)


async def test_bots_play_many_rounds_with_nobody_lost_and_nothing_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with GameServer(port=0, pause=0) as server, contextlib.AsyncExitStack() as stack:
        bots = [await stack.enter_async_context(Bot(server.url, s, delay=0)) for s in STRATEGIES.values()]
        await asyncio.wait_for(asyncio.gather(*(bot.play(rounds=50) for bot in bots)), PATIENCE * 2)
        assert sum(bot.wins for bot in bots) >= 50
        assert len({bot.client_id for bot in bots if bot.wins}) == sum(1 for bot in bots if bot.wins)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_bot_survives_that_the_round_ends_and_another_begins_in_the_same_moment() -> None:
    """Without a pause, "the round is over" and "a new game" may arrive before the bot gets its turn."""

    async def quick(connection: ServerConnection) -> None:
        await connection.send(encode(WELCOME))
        await connection.recv()
        # In one write, so that the client reads both at once.
        broadcast([connection], encode({"error": guessgame.ROUND_IS_OVER}))
        broadcast([connection], encode(NEW_GAME))
        await connection.recv()
        await connection.send(encode(YOU_WON))
        await connection.wait_closed()

    async with serve(quick, "127.0.0.1", 0) as strange:
        async with Bot(f"ws://127.0.0.1:{strange.sockets[0].getsockname()[1]}", delay=0) as bot:
            await bot.play(rounds=1)
            assert (bot.wins, bot.guesses) == (1, 1)
