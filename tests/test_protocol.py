"""The game: its rules without a network, and then, over real sockets, who tells whom what, and when."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import math
import re
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guessgame
from conftest import NEW_GAME, SECRET, WELCOME, Wire, bisect, eventually, game, pass_time, standing_clock, wire, wires
from guessgame import LESS, MORE, SENTENCES, YOU_WON, GameServer, Round, check_name, draw_secret, explain, recognise

# The rules, without a network


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    low = draw(st.integers(-1000, 1000))
    high = low + draw(st.integers(0, 1000))
    return Round(draw(st.integers(low, high)), low, high)


@given(rounds(), st.lists(st.integers(-1100, 2100), max_size=50))
def test_a_round_judges_every_number_until_the_first_right_one(game: Round, numbers: list[int]) -> None:
    for number in [*numbers, game.secret, *numbers, game.secret]:
        if game.over or not game.low <= number <= game.high:
            with pytest.raises(ValueError, match="отправьте"):
                game.guess(number)
        else:
            assert game.guess(number) == (LESS if number < game.secret else MORE if number > game.secret else YOU_WON)
            assert game.over == (number == game.secret)


@given(rounds(), st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers()))
def test_only_a_whole_number_in_the_range_is_a_guess(game: Round, nonsense: object) -> None:
    for number in (nonsense, game.low - 1, game.high + 1, 10**900):
        with pytest.raises(ValueError, match=r"^Догадка — целое число от -?\d+ до -?\d+: отправьте"):
            game.guess(number)
    assert not game.over


@pytest.mark.parametrize("secret", [0, 101, 50.5, "50", None])
def test_a_secret_that_nobody_could_find_is_refused(secret: Any) -> None:
    with pytest.raises(ValueError, match="not a whole number from 1 to 100"):
        Round(secret)


def test_a_secret_is_drawn_from_the_whole_range_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for randbelow, secret in ((lambda limit: 0, 3), (lambda limit: limit - 1, 7)):
        monkeypatch.setattr(secrets, "randbelow", randbelow)
        assert draw_secret(3, 7) == secret


@given(st.text())
def test_a_name_that_passes_can_be_shown(name: str) -> None:
    with contextlib.suppress(ValueError):
        accepted = check_name(name)
        assert accepted == name.strip()
        assert 1 <= len(accepted) <= 32
        assert accepted.replace("\u200d", "").isprintable()


GOOD_NAMES = [
    "Аня", "a", "x" * 32, "  Аня  ", "Анна Мария", "3", "#3a", "#Аня", "日本", "🙂", "❤️", "👨‍👩‍👧", "👍🏽", "🇩🇪", "1️⃣",
    "Nguyễn", "Nguye\u0302\u0303n", "दीपिका", "O'Neil", "<b>", "Bot #3", "R2-D2", "J. S.", "C++", "शक्ति",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_is_kept_without_the_spaces_around_it(name: str) -> None:
    assert check_name(name) == name.strip()


BAD_NAMES = [
    "", "   ", "x" * 33, "a\nb", "a\0", "\x1b[31m", "a\u202eb", "\ud800", 5, None, ["a"], "Ан\u200dя",
    "#3", "#34", "# 3", "＃3", "№3", "♯3", "#З", "(#3)", "#\u115f3", "#\u200d3", "#³", "#③", "#lO", "[# 12 ]", "№ 7",
    "\u3164", "\u115f", "\uffa0", "\u2800", "\u034f", "\ufe0f", "\u3164\u2800", "\u0301", "...", "#", "-", "??",
    "\U0001d159", "a" + "\u0301" * 3, "a" + "\u0301" * 31,
    "Аня!", "Аня！", "Аня‼", "Аняǃ", "Аня❗", "Аня угадал число 5! Игрок Боря", "Аня угадал число 5", "Аня УГАДАЛ",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_with_a_sentence(name: object) -> None:
    with pytest.raises(ValueError, match="^Имя — от 1 до 32"):
        check_name(name)


LOOK_ALIKES = [
    ("Аня", "Aня"), ("Аня", "аНЯ"), ("Аня", "А\u200dня"), ("Аня", "Аня\u3164"), ("Аня", "Аня\u2800"),
    ("Аня", "Аня\u034f"), ("Аня", "Аня\ufe0f"), ("Аня", "\u115fАня"), ("Аня", "Ан\uffa0я"), ("Anna", "Ａｎｎａ"),
    ("COP", "СОР"), ("NIKO", "ΝΙΚΟ"), ("Τом", "Tom"), ("Зоя", "3оя"), ("é", "e\u0301"),
    ("Аня", "Аня\U000e0100"), ("❤", "❤️"), ("Йорк", "И\u0306орк"),
]  # fmt: skip


@pytest.mark.parametrize("names", LOOK_ALIKES)
async def test_a_name_that_looks_like_another_is_taken(server: GameServer, names: tuple[str, str]) -> None:
    async with wire(server.url) as player, wire(server.url) as other:
        assert await player.ask({"name": names[0]}) == {"client_id": 1, "name": names[0], "wins": 0}
        error(await other.ask({"name": names[1]}))
        assert await other.ask({"name": "Боря"}) == {"client_id": 2, "name": "Боря", "wins": 0}


def test_a_long_text_is_recognised_at_once() -> None:
    for gap in (" до ", "число", " ", "x"):
        text = "Догадка — целое число от " + gap * 5000 + ": отправьте, например, " * 1400 + "x"
        assert recognise(text) == ("", {}), "it used to take minutes"


def test_a_long_name_is_refused_before_it_costs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(guessgame, "skeleton")
    with pytest.raises(ValueError, match="^Имя — от 1 до 32"):
        check_name("ﷺ" * 335)


@given(st.text())
def test_any_text_is_a_request_or_refused_with_a_sentence(text: str) -> None:
    try:
        request = guessgame.parse_request(text)
    except ValueError as error:
        assert "отправьте" in str(error)
    else:
        assert {"guess", "name"} & set(request)


def test_every_sentence_has_an_english_meaning_with_the_same_gaps() -> None:
    constants = {text for name, text in vars(guessgame).items() if name.isupper() and isinstance(text, str)}
    assert {text for text in constants if not text.isascii()} == set(SENTENCES)
    for russian, (_, english) in SENTENCES.items():
        recognised, values = recognise(russian)
        assert recognised == russian, "no sentence is mistaken for another"
        assert set(re.findall(r"{(\w+)}", english)) == set(values)
        assert english.isascii() or "Аня" in english


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ({"countdown": 3}, "The new game begins in 3 s."),
        ({"client_id": 3, "wins": 1}, "The score of #3: 1."),
        ({"client_id": 3, "name": "Аня", "wins": 0}, "The score of Аня: 0."),
        ({"error": guessgame.SERVER_IS_FULL}, "All seats are taken: connect later."),
        ("Игрок #3 угадал число 67!", "Player #3 guessed the number 67!"),
        ("Игрок Игрок угадал число 5! угадал число 67!", "Player Игрок угадал число 5! guessed the number 67!"),
        ("Привет!", ""),
    ],
)
def test_a_message_is_explained_in_english(message: Any, meaning: str) -> None:
    assert explain(message) == meaning


# Messages


def error(reply: Any) -> str:
    """Return the sentence of an error, which says what to send instead."""
    assert list(reply) == ["error"]
    assert reply["error"].endswith((".", "!"))
    return str(reply["error"])


async def test_players_are_told_the_range_of_the_server() -> None:
    async with GameServer(port=0, low=-5, high=7) as server, wire(server.url, welcomed=False) as player:
        assert await player.hear() == "Добро пожаловать! Угадайте число от -5 до 7."
        advice = error(await player.ask({"guess": 8}))
        assert advice == 'Догадка — целое число от -5 до 7: отправьте, например, {"guess": 1}.'


@pytest.mark.parametrize("name", [{}, {"name": "Аня"}])
async def test_a_win_is_told_to_everybody_in_this_order(name: dict[str, str]) -> None:
    async with game(pause=1) as server, wire(server.url) as winner, wire(server.url) as other:
        if name:
            assert await winner.ask(name) == {"client_id": 1, "name": "Аня", "wins": 0}
        await winner.send({"guess": SECRET})
        after = [{"client_id": 1, **name, "wins": 1}, {"countdown": 1}, NEW_GAME]
        assert await winner.hear_all(4) == ["Вы угадали!", *after]
        assert await other.hear_all(4) == [f"Игрок {name.get('name', '#1')} угадал число 42!", *after]
        assert await other.ask({"guess": 50}) == "Больше"


async def test_cyrillic_travels_unescaped(server: GameServer) -> None:
    async with wire(server.url, welcomed=False) as player:
        assert await player.connection.recv() == f'"{WELCOME}"'


async def test_sixty_right_guesses_at_once_make_one_winner() -> None:
    async with game(pause=60) as server, wires(server.url, 60) as players:
        await asyncio.gather(*(player.send({"guess": SECRET}) for player in players))
        heard = [await player.hear_all(3) for player in players]
        heard += [[await player.hear()] for player, messages in zip(players, heard) if "Вы угадали!" not in messages]
        told = collections.Counter(str(message) for messages in heard for message in messages)
        assert told[str({"error": guessgame.ROUND_IS_OVER})] == 59
        assert sorted(told.values()) == [1, 59, 59, 60, 60], "won; somebody won, you are too late; the score, countdown"


async def test_a_client_that_knows_only_the_specification_can_play(server: GameServer) -> None:
    async with wires(server.url, 2) as [player, other]:
        await other.send({"name": "Bob"})
        assert await bisect(player) == SECRET


BAD_GUESSES = [
    "true", "false", "null", "42.0", "4.2e1", "1e400", "NaN", "Infinity", "-Infinity", '"42"', "0", "-0", "-42", "101",
    "1" + "0" * 900, "-" + "9" * 900, "[42]", '{"guess": 42}', '"\\ud800"', "[" * 400 + "]" * 400, '42, "guess": 0',
]  # fmt: skip
MALFORMED = [
    "", " ", "guess", "42", '"Больше"', "null", "[]", '[{"guess": 42}]', "{}", '{"Guess": 42}', '{"guess": }',
    "{'guess': 42}", '{"guess": 42', '{"guess": 42}{"guess": 43}', '\ufeff{"guess": 42}', "\0", '{"guess": "\0"}',
    "[" * 1000, '{"guess":' * 100, '{"name": "%s"}' % ("x" * 33), b"", b'{"guess": 42}', b"\xff\xfe\x00",
    *('{"guess": %s}' % guess for guess in BAD_GUESSES),
    *('{"name": %s}' % name for name in ("null", "42", "true", '""', '" "', '"#3"', '"\\u0000"', '"\\ud800"')),
]  # fmt: skip


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message)[:40])
async def test_a_malformed_message_is_answered_with_a_sentence_and_does_no_harm(
    server: GameServer, message: str | bytes
) -> None:
    async with wires(server.url, 2) as [player, other]:
        await player.connection.send(message)
        assert "отправьте" in error(await player.hear())
        assert await player.ask({"guess": 50}) == "Больше"
        assert await other.ask({"guess": 1}) == "Меньше"


async def test_unknown_keys_equal_keys_and_fragments_are_understood(server: GameServer) -> None:
    async with wire(server.url) as player:
        for message in ('{"guess": 50, "x": {"guess": 1}}', '{"guess": 1, "guess": 50}', ['{"gue', 'ss": ', "50}"]):
            await player.connection.send(message)
            assert await player.hear() == "Больше"


# Names


async def test_a_name_may_come_together_with_a_guess(server: GameServer) -> None:
    async with wire(server.url) as player:
        await player.send({"guess": 50, "name": "Боб"})
        assert await player.hear_all(2) == [{"client_id": 1, "name": "Боб", "wins": 0}, "Больше"]


async def test_of_several_names_in_the_url_the_first_counts(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=Anna&x=1&name=Bob") as player:
        assert await player.hear() == {"client_id": 1, "name": "Anna", "wins": 0}


@pytest.mark.parametrize("name", ["", "=", "=%231", "=%00", "=a%0Ab", "=" + "x" * 33])
async def test_a_bad_name_in_the_url_is_answered_with_a_sentence_and_does_no_harm(
    server: GameServer, name: str
) -> None:
    async with wire(f"{server.url}/?name{name}") as player:
        assert error(await player.hear()).startswith("Имя")
        assert await player.ask({"guess": 50}) == "Больше"


@pytest.mark.parametrize("path", ["", "/", "/any/path", "/?guess=42", "/?%", "/?;&=&&", "//[?colour=red"])
async def test_every_url_without_a_name_works(server: GameServer, path: str) -> None:
    async with wire(server.url + path) as player:
        assert await player.ask({"guess": 50}) == "Больше"


async def test_the_server_can_send_to_one_client_or_to_all(server: GameServer) -> None:
    async with wires(server.url, 2) as [first, second]:
        await server.send(2, {"hello": "second"})
        server.broadcast("Привет!")
        assert await first.hear() == "Привет!"
        assert await second.hear_all(2) == [{"hello": "second"}, "Привет!"]
        with pytest.raises(KeyError, match=r"nobody with the id 7 is here: the ids are \[1, 2\]"):
            await server.send(7, "Привет!")


async def test_what_json_cannot_say_is_not_sent(server: GameServer) -> None:
    with pytest.raises(ValueError, match="JSON"):
        server.broadcast({"number": math.nan})


async def test_a_winner_may_leave_before_the_verdict(server: GameServer) -> None:
    async with wire(server.url) as player:
        await player.send({"guess": SECRET})
    await eventually(lambda: server.rounds_played == 1 and not server.clients and not server.round.over)


async def test_two_hundred_rounds_go_by_while_others_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    async with game(pause=0) as server:

        async def come_and_go(rudely: bool) -> None:
            while server.rounds_played < 200:
                async with wire(server.url) as guest:
                    await guest.ask({"guess": 1})
                    if rudely:
                        await guest.hang_up()

        guests = [asyncio.ensure_future(come_and_go(rudely)) for rudely in (True, False, True, False)]
        async with wires(server.url, 2) as [player, witness]:
            for number in range(1, 201):
                await player.send({"guess": SECRET})
                assert await player.hear_all(3) == ["Вы угадали!", {"client_id": 1, "wins": number}, NEW_GAME]
            heard = await witness.hear_all(600)
            assert heard.count(NEW_GAME) == heard.count("Игрок #1 угадал число 42!") == 200
            await asyncio.gather(*guests)
        await eventually(lambda: not server.clients)
    assert not caplog.records


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
    async with game(pause=pause) as server, wire(server.url) as player:
        await player.send({"guess": SECRET})
        await player.hear_all(2)
        while clock() <= pause + step:
            await pass_time()
            for message in await player.hear_so_far(server):
                heard.append((clock(), message["countdown"] if isinstance(message, dict) else message))
            await pass_time(step)
    assert heard == [(math.ceil(due / step) * step, message) for due, message in announced]


async def test_the_pause_can_be_changed_for_the_next_one(server: GameServer) -> None:
    async with wire(server.url) as player:
        for pause in (1, 0):
            server.pause = pause
            await player.send({"guess": SECRET})
            assert ({"countdown": 1} in await player.hear_until(NEW_GAME)) == (pause == 1)


async def test_when_a_draw_fails_another_number_is_drawn(caplog: pytest.LogCaptureFixture) -> None:
    numbers = iter([SECRET])
    async with GameServer(port=0, pause=0, draw=lambda low, high: next(numbers)) as server, wire(server.url) as player:
        await player.send({"guess": SECRET})
        await player.hear_until(NEW_GAME)
        assert await player.ask({"guess": server.round.secret}) == "Вы угадали!"
    assert "draw() failed" in caplog.text
    caplog.clear()


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
            assert await player.hear_all(2) == ["Вы угадали!", {"client_id": client_id, "wins": 1}]
            await pass_time(seconds)
            await check_goodbye(server, player)


async def test_two_starts_make_one_server() -> None:
    server = GameServer(port=0)
    results = await asyncio.gather(server.start(), server.start(), return_exceptions=True)
    assert str(results) == "[None, RuntimeError('the server is running already: stop it first')]"
    await server.stop()


async def test_a_server_keeps_its_address(server: GameServer) -> None:
    url = server.url
    stopping = asyncio.ensure_future(server.stop())
    await asyncio.sleep(0)
    assert (server.running, server.url) == (True, url)
    await stopping
    assert not server.running
    with pytest.raises(RuntimeError, match="not running"):
        server.url  # noqa: B018
    await server.start()
    async with wire(url):
        assert server.url == url


async def test_a_start_that_is_cancelled_leaves_no_port_open() -> None:
    for moments in range(20):
        server = GameServer(port=0)
        starting = asyncio.ensure_future(server.start())
        for _ in range(moments):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
            await server.stop()
        assert not server.running
        with pytest.raises(OSError, match="Connect call failed"):  # port 0, if it was cancelled before it had one
            await asyncio.open_connection("127.0.0.1", server.port)
    gc.collect()  # an open socket that nobody knows of would raise a warning here


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 5, "high": 3}, "low must not be above high"),
        ({"origins": "https://game.example"}, "is a list"),
        *(({"origins": [origin]}, "give one like") for origin in ("game.example", "https://game.example/page", "")),
        *(({"port": port}, "a number from 0 to 65535") for port in (-1, 65536)),
        *(({"pause": pause}, "a number from 0 to 86400") for pause in (-1, 1e9, math.nan, math.inf)),
        *(({name: 0}, "give 1 or more") for name in ("max_size", "max_players", "rate", "max_backlog")),
        ({"per_address": -1}, "give 0 or more"),
        *(({name: bad}, "from 0 to 86400") for name in ("ping_interval", "ping_timeout") for bad in (-1, 86_401)),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GameServer(**options)


def test_an_option_may_be_as_small_or_as_big_as_the_sentences_say() -> None:
    most = {"port": 65535, **dict.fromkeys(("pause", "ping_interval", "ping_timeout"), 86_400)}
    ones = dict.fromkeys(("max_size", "max_players", "rate", "max_backlog"), 1)
    for options in ({"port": 0, "pause": 0, "per_address": 0, **ones}, most):
        server = GameServer(**options)  # type: ignore[arg-type]
        assert options == {name: getattr(server, name) for name in options}
