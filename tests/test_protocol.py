"""What only sockets can show of the game: who hears what, in which order and when, while players come and go."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import math
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from conftest import (
    NEW_GAME,
    SECRET,
    WELCOME,
    Wire,
    bisect,
    error,
    eventually,
    game,
    pass_time,
    standing_clock,
    wire,
    wires,
)
from guessgame import ROUND_IS_OVER, Client, GameServer
from test_game import KEYS, MALFORMED, score, you

# Messages


async def test_messages_are_text_frames_with_cyrillic_unescaped(server: GameServer) -> None:
    async with wire(server.url, welcomed=False) as player:
        assert await player.connection.recv() == f'"{WELCOME}"'
        await player.send({"name": "Аня"})
        assert await player.connection.recv() == '{"client_id": 1, "name": "Аня", "wins": 0, "you": true}'


async def test_a_client_that_knows_only_the_specification_can_play(server: GameServer) -> None:
    async with wires(server.url, 2) as [player, other]:
        await other.send({"name": "Bob", "key": KEYS[0], "guess": 1, "scores": True})
        assert await bisect(player) == SECRET


async def test_malformed_messages_are_answered_with_sentences_and_do_no_harm(server: GameServer) -> None:
    async with wires(server.url, 2) as [player, other]:
        message: Any
        for message in MALFORMED:
            await player.connection.send(message)
            error(await player.hear())
        assert await player.ask({"guess": 50}) == "Больше"
        assert await other.ask({"guess": 1}) == "Меньше"


async def test_unknown_keys_equal_keys_and_fragments_are_understood(server: GameServer) -> None:
    async with wire(server.url) as player:
        for message in (['{"guess": 50, "x": {"guess": 1}}'], ['{"guess": 1, "guess": 50}'], ['{"gue', 'ss": ', "50}"]):
            await player.connection.send(message)
            assert await player.hear() == "Больше"


@pytest.mark.parametrize("name", ["", "Аня"])
async def test_a_win_is_told_to_everybody_in_this_order(name: str) -> None:
    async with game(pause=1) as server, wire(server.url) as winner, wire(server.url) as other:
        if name:
            assert await winner.ask({"name": name}) == you(1, name)
        await winner.send({"guess": SECRET})
        after = [score(1, name, 1), {"countdown": 1}, NEW_GAME]
        assert await winner.hear_all(4) == ["Вы угадали!", *after]
        assert await other.hear_all(4) == [f"Игрок {name or '#1'} угадал число 42!", *after]
        assert await other.ask({"guess": 50}) == "Больше"


async def test_sixty_right_guesses_at_once_make_one_winner() -> None:
    async with game(pause=60) as server, wires(server.url, 60) as players:
        await asyncio.gather(*(player.send({"guess": SECRET}) for player in players))
        heard = [await player.hear_all(3) for player in players]
        heard += [[await player.hear()] for player, messages in zip(players, heard) if "Вы угадали!" not in messages]
        told = collections.Counter(str(message) for messages in heard for message in messages)
        assert sorted(told.values()) == [1, 59, 59, 60, 60], "won; somebody won, you are too late; the score, countdown"
        assert told[str({"error": ROUND_IS_OVER.russian})] == 59
        assert len(server.history) == 1


# Wishes in the address


@pytest.mark.parametrize(
    ("query", "reply"),
    [
        ("/?name=%D0%90%D0%BD%D1%8F", you(1, "Аня")),
        ("?x=1&name=+Anna+B.+&guess=42", you(1, "Anna B.")),
        (f"/any/path/?key={KEYS[0]}", you(1)),
        ("?name=Anna&key=%22%26%3D%2B%23%2512", you(1, "Anna")),
    ],
)
async def test_a_name_and_a_key_may_be_given_in_the_url(server: GameServer, query: str, reply: Any) -> None:
    async with wire(server.url + query) as player:
        assert await player.hear() == reply
        key = '"&=+#%12' if "%22" in query else KEYS[0] if "key" in query else ""
        assert server.clients[1].key == key
        assert await player.ask({"guess": 50}) == "Больше"


@pytest.mark.parametrize("query", ["name", "name=", "name=%231", "name=%00", "name=a%0Ab", "name=Anna&key=", "key=%ff"])
async def test_bad_wishes_in_the_url_are_answered_with_a_sentence_and_do_no_harm(
    server: GameServer, query: str
) -> None:
    async with wire(f"{server.url}/?{query}") as player:
        error(await player.hear())
        assert await player.ask({"guess": 50}) == "Больше"


@pytest.mark.parametrize("path", ["", "/", "/any/path", "/?guess=42", "/?%", "/?;&=&&", "//[?colour=red", "/?Name=x"])
async def test_every_url_without_wishes_works(server: GameServer, path: str) -> None:
    async with wire(server.url + path) as player:
        assert await player.ask({"guess": 50}) == "Больше"


# Coming and going


async def test_who_comes_back_is_welcomed_and_then_who_they_were(server: GameServer) -> None:
    url = f"{server.url}/?name=Anna&key={KEYS[0]}"
    async with wire(url) as earlier:
        assert await earlier.hear() == you(1, "Anna")
        async with wire(url, welcomed=False) as later:
            assert await later.hear_all(2) == [WELCOME, you(1, "Anna")]
            assert await earlier.hear_goodbye() == 4001
            await later.send({"guess": SECRET})
            assert (await later.hear_until(NEW_GAME))[:2] == ["Вы угадали!", score(1, "Anna", 1)]
    await eventually(lambda: not server.clients)
    async with wire(url) as again:
        assert await again.hear() == you(1, "Anna", 1)


async def test_a_removed_player_is_disconnected_and_does_not_come_back(server: GameServer) -> None:
    url = f"{server.url}/?name=Anna&key={KEYS[0]}"
    async with wire(url) as player, wire(server.url) as other:
        await player.hear()
        server.remove(1)
        assert list(server.clients) == [2], "at once"
        assert await player.hear_goodbye() == 1008
        async with wire(url) as again:
            assert error(await again.hear()).startswith("Учитель запретил")
        await eventually(lambda: list(server.clients) == [2])
        server.clear_scores()
        assert (await other.hear())["scores"] == [score(2)]


@pytest.mark.parametrize("politely", [True, False])
async def test_who_leaves_is_gone_and_the_next_round_begins_even_if_nobody_is_left(
    server: GameServer, politely: bool
) -> None:
    async with wire(server.url) as player:
        await player.send({"guess": SECRET})
        if not politely:
            await eventually(lambda: server.history)
            await player.hang_up()
    await eventually(lambda: len(server.history) == 1 and not server.clients and not server.game.round.over)
    assert not server.connections


async def test_two_hundred_rounds_go_by_while_others_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    async with game(pause=0) as server:

        async def come_and_go(rudely: bool) -> None:
            while len(server.history) < 200:
                with contextlib.suppress(ConnectionClosed, OSError):  # another one has come with the same key
                    async with wire(f"{server.url}/?key={KEYS[0]}" if rudely else server.url) as guest:
                        await guest.ask({"guess": 0})
                        if rudely:
                            await guest.hang_up()

        guests = [asyncio.ensure_future(come_and_go(rudely)) for rudely in (True, False, True, False)]
        async with wires(server.url, 2) as [player, witness]:
            for number in range(1, 201):
                await player.send({"guess": SECRET})
                assert await player.hear_all(3) == ["Вы угадали!", score(1, wins=number), NEW_GAME]
            heard = await witness.hear_all(600)
            assert heard.count(NEW_GAME) == heard.count("Игрок #1 угадал число 42!") == 200
            await asyncio.gather(*guests)
        await eventually(lambda: not server.clients)
    assert not caplog.records


async def test_all_that_is_said_and_told_can_be_overheard() -> None:
    class Overheard(GameServer):
        def overhear(self, clients: list[Client], message: object, is_heard: bool) -> None:
            overheard.append(([client.id for client in clients], message, is_heard))

    overheard: list[Any] = []
    async with Overheard(port=0, draw=lambda low, high: SECRET) as server, wires(server.url, 2) as [player, other]:
        await player.connection.send(b"\0")
        await player.hear()
        await player.send({"guess": SECRET})
        await other.hear_all(3)
        server.remove(2)
    assert [(message, is_heard) for _, message, is_heard in overheard[:2]] == [(WELCOME, False)] * 2
    [(_, refused, _)] = [overheard.pop(3)]
    error(refused)
    assert overheard[2:-1] == [
        ([1], b"\0", True),
        ([1], '{"guess": 42}', True),
        ([1], "Вы угадали!", False),
        ([2], "Игрок #1 угадал число 42!", False),
        ([1, 2], score(1, wins=1), False),
        ([1, 2], {"countdown": 5}, False),
    ]
    assert overheard[-1][::2] == ([2], False)
    assert overheard[-1][1]["close"] == 1008


# The pause


@pytest.mark.parametrize("step", [0.25, 0.75])  # seconds: how often a busy machine has time for the game
@pytest.mark.parametrize(
    ("pause", "announced"),
    [
        (5, [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, NEW_GAME)]),
        (2.5, [(0.5, 2), (1.5, 1), (2.5, NEW_GAME)]),
        (1, [(0, 1), (1, NEW_GAME)]),
        (0.25, [(0.25, NEW_GAME)]),
        (0, [(0, NEW_GAME)]),
    ],
)
@standing_clock
async def test_the_countdown_does_not_drift_from_the_seconds(pause: float, announced: list[Any], step: float) -> None:
    clock, heard = asyncio.get_running_loop().time, []
    start = clock()
    async with game(pause=pause) as server, wire(server.url) as player:
        await player.send({"guess": SECRET})
        await player.hear_all(2)
        while clock() - start <= pause + step:
            await pass_time()
            for message in await player.hear_so_far(server):
                heard.append((clock() - start, message["countdown"] if isinstance(message, dict) else message))
            await pass_time(step)
    assert heard == [(math.ceil(due / step) * step, message) for due, message in announced]


@standing_clock
async def test_the_pause_may_be_changed_or_ended_at_any_time() -> None:
    async with game(pause=5) as server, wire(server.url) as player:
        wins = 0

        async def win() -> None:
            nonlocal wins
            wins += 1
            await player.send({"guess": SECRET})
            assert await player.hear_all(2) == ["Вы угадали!", score(1, wins=wins)]

        async def hear_for(seconds: int) -> list[Any]:
            for _ in range(seconds):
                await pass_time(1)
            return [*map(str, await player.hear_so_far(server))]

        def countdown(*seconds: int) -> list[str]:
            return [str({"countdown": each}) for each in seconds]

        await win()
        assert await hear_for(1) == countdown(5, 4)
        server.pause = 2  # begins anew
        assert await hear_for(3) == [*countdown(2, 1), NEW_GAME]
        server.pause = 3  # for the next one
        assert await hear_for(9) == []
        await win()
        assert await hear_for(1) == countdown(3, 2)
        server.pause = None
        assert await hear_for(99) == []
        server.new_round()
        assert await hear_for(99) == [NEW_GAME]
        await win()
        assert await hear_for(99) == []
        server.pause = 1
        assert await hear_for(9) == [*countdown(1), NEW_GAME]
        server.pause = 9
        await win()
        assert await hear_for(1) == countdown(9, 8)
        server.new_round()
        assert await hear_for(99) == [NEW_GAME]
        server.new_round()  # in the middle of a round
        assert await hear_for(99) == [NEW_GAME]


async def test_the_cooldown_may_be_changed_while_the_server_runs() -> None:
    async with game(cooldown=60) as server, wire(server.url) as player:
        assert await player.ask({"guess": 1}) == "Меньше"
        assert error(await player.ask({"guess": 1})).startswith("Слишком рано")
        server.cooldown = 0
        assert await player.ask({"guess": 1}) == "Меньше"


# Starting and stopping


async def check_goodbye(server: GameServer, *players: Wire) -> None:
    """Stop the server; everybody hears why, and nothing is left behind."""
    await server.stop()
    for player in players:
        assert await player.hear_goodbye() == 1001
    assert not server.clients
    assert not server.connections
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_server_can_be_stopped_at_every_point_of_a_round(caplog: pytest.LogCaptureFixture) -> None:
    server = game(pause=0)
    for turns in range(60):  # of the event loop, between the win and the stop
        await server.start()
        async with wires(server.url, 2) as players:
            for player in players:
                await player.send({"guess": SECRET})
            for _ in range(turns):
                await asyncio.sleep(0)
            await check_goodbye(server, *players)
    assert not caplog.records


@pytest.mark.parametrize("seconds", [0, 0.5, 1, 1.5, 2])
@standing_clock
async def test_a_server_stopped_in_the_pause_starts_with_a_new_round(seconds: float) -> None:
    server = game(pause=2)
    for client_id in (1, 2):
        await server.start()
        async with wire(server.url) as player:
            await player.send({"guess": SECRET})
            assert await player.hear_all(2) == ["Вы угадали!", score(client_id, wins=1)]
            await pass_time(seconds)
            await check_goodbye(server, player)


async def test_a_server_keeps_its_address_but_not_those_who_have_left(server: GameServer) -> None:
    url = f"{server.url}/?name=Anna&key={KEYS[0]}"
    async with wire(url) as player:
        await player.send({"guess": SECRET})
        await player.hear_until(NEW_GAME)
    await server.stop()
    await server.start()
    with pytest.raises(OSError, match="cannot listen on .*; end the other program, or choose another port"):
        await server.start()
    async with wire(url) as player:
        assert await player.hear() == you(2, "Anna")


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_that_cannot_be_is_refused_with_a_sentence(port: int) -> None:
    with pytest.raises(OSError, match=f"cannot listen on .*{port}.*choose another port"):
        await GameServer(port=port).start()


async def test_a_server_can_be_stopped_before_it_starts_twice_at_once_and_again() -> None:
    for moments in range(16):
        server = game()
        await server.stop()
        await server.start()
        async with wire(server.url):
            stopping = asyncio.ensure_future(server.stop())
            for _ in range(moments):
                await asyncio.sleep(0)
            await asyncio.gather(stopping, server.stop())
        assert not server.running
        await server.stop()


SENSELESS: list[dict[str, Any]] = [
    {"low": 5, "high": 3},
    *({"pause": pause} for pause in (-1, math.nan, math.inf)),
    *({"cooldown": cooldown} for cooldown in (-1, math.nan, math.inf)),
    *({name: number} for name in ("max_players", "rate", "max_backlog") for number in (0, math.nan, math.inf)),
]


@pytest.mark.parametrize("options", SENSELESS, ids=str)
def test_an_option_that_makes_no_sense_is_refused_with_a_sentence(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot be .*: give \d+ or more"):
        GameServer(**options)


async def test_a_round_for_which_no_number_can_be_drawn_begins_later(caplog: pytest.LogCaptureFixture) -> None:
    def fail(low: int, high: int) -> int:
        raise ZeroDivisionError("a bug in draw")

    def is_logged() -> bool:
        gc.collect()  # asyncio tells of a failed task when nothing refers to it any more
        return "a bug in draw" in caplog.text

    async with game(pause=0.01) as server, wire(server.url) as player:
        server.game.draw, draw = fail, server.game.draw
        await player.send({"guess": SECRET})
        await player.hear_all(2)
        await eventually(is_logged)
        server.game.draw = draw
        assert error(await player.ask({"guess": SECRET})) == ROUND_IS_OVER.russian
        await player.hear_until(NEW_GAME)
        assert await player.ask({"guess": SECRET}) == "Вы угадали!"
    caplog.clear()


async def test_a_number_that_makes_no_sense_is_refused_and_changes_nothing(server: GameServer) -> None:
    with pytest.raises(ValueError, match="cooldown cannot be inf"):
        server.cooldown = math.inf
    assert server.cooldown == 0
    with pytest.raises(ValueError, match="pause cannot be -1"):
        server.pause = -1
    assert server.pause == 0.05
