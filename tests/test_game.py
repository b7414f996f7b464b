"""The game without a network: rounds, names, and all that a `Game` decides, on a clock that only a test moves."""

from __future__ import annotations

import json
import logging
import re
import secrets
import unicodedata
from typing import Any, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guessgame
from conftest import NEW_GAME, SECRET, WELCOME, error
from guessgame import SENTENCES, SOMEBODY_WON, Client, Game, Round, check_name, draw_secret, encode, fold, recognise

# Messages


def test_every_sentence_has_an_english_meaning_with_the_same_gaps() -> None:
    assert set(SENTENCES) == {value for value in vars(guessgame).values() if isinstance(value, guessgame.Sentence)}
    for sentence in SENTENCES:
        gaps = dict.fromkeys(re.findall(r"{(\w+)}", sentence.russian), "5")
        assert set(re.findall(r"{(\w+)}", sentence.english)) == set(gaps)
        text = sentence.russian.format(**gaps) if gaps else sentence.russian
        assert recognise(text) == (sentence, gaps), "no sentence is mistaken for another"
        meaning = guessgame.explain({"error": text})
        assert meaning == guessgame.explain(text)
        assert meaning.replace("“!”", "").isascii()
        assert "{" not in meaning


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (WELCOME, "Welcome! Guess a number from 1 to 100."),
        ("Добро пожаловать! Угадайте число от -5 до -3.", "Welcome! Guess a number from -5 to -3."),
        ("Игрок #3 угадал число 67!", "Player #3 guessed the number 67!"),
        ("Игрок Игрок угадал число 5! угадал число 67!", "Player Игрок угадал число 5! guessed the number 67!"),
        ("Игрок {0} угадал число 67!", "Player {0} guessed the number 67!"),
        (
            {"error": 'Догадка — целое число от 1 до 9: отправьте, например, {"guess": 1}.'},
            "A guess is a whole number from 1 to 9.",
        ),
        ({"error": "Слишком рано: отправьте следующую догадку через 3 с."}, "Too soon: send your next guess in 3 s."),
        *((message, "") for message in ("Привет!", "", {}, {"error": "нет"}, {"error": None}, {"countdown": 3})),
    ],
)
def test_a_sentence_or_an_error_is_explained_in_english(message: Any, meaning: str) -> None:
    assert guessgame.explain(message) == meaning


def test_a_long_text_is_recognised_at_once() -> None:
    for beginning in ("Догадка — целое число от 1 до 9: ", "Слишком рано: ", "Игрок ", "Добро пожаловать! "):
        for gap in (" до 1", " угадал число 1", " через 1", "1", "x"):
            assert recognise(beginning + gap * 20_000) in [(None, {}), (guessgame.BAD_GUESS, {"low": "1", "high": "9"})]


# Rounds


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
            hint = "Меньше" if number < game.secret else "Больше" if number > game.secret else "Вы угадали!"
            assert game.guess(number).russian == hint
            assert game.over == (number == game.secret)


@given(rounds(), st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers()))
def test_only_a_whole_number_in_the_range_is_a_guess(game: Round, nonsense: object) -> None:
    for number in (nonsense, game.low - 1, game.high + 1, 10**900):
        with pytest.raises(ValueError, match=r"^Догадка — целое число от -?\d+ до -?\d+: отправьте"):
            game.guess(number)
    assert not game.over


def test_a_secret_is_drawn_from_the_whole_range_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for randbelow, secret in ((lambda limit: 0, 3), (lambda limit: limit - 1, 7)):
        monkeypatch.setattr(secrets, "randbelow", randbelow)
        assert draw_secret(3, 7) == secret


# Names

GOOD_NAMES = [
    "Аня", "a", "x" * 32, "  Аня  ", "Анна Мария", "3", "#3a", "#Аня", "日本", "🙂", "❤️", "👍🏽", "🇩🇪", "1️⃣", "$",
    "Nguyễn", "Nguye\u0302\u0303n", "दीपिका", "शक्ति", "O'Neil", "<b>", "Bot #3", "R2-D2", "J. S.", "C++",
]  # fmt: skip
BAD_NAMES = [
    "", "   ", "x" * 33, "a\nb", "a\0", "\x1b[31m", "a\u202eb", "\ud800", "Ан\u200dя", "a\u00a0b", 5, None, True, ["a"],
    "#3", "#34", " # 3", "##3", "＃3", "﹟3", "№3", "№ 7", "(#3)", "[# 12 ]", "#-3", "#\u200d3", "#³", "#③", "#٣",
    "\u115f#3", "\u3164", "\u115f", "\uffa0", "\u2800", "\u034f", "\ufe0f", "\u3164\u2800", "\u2800.", "\u0301", "...",
    "#", "-", "??", "a\u0488\u0488\u0488", "x" + "\u0301" * 3, "a" + "\u0301" * 31, "🙂\ufe0f\ufe0f\ufe0f",
    "Аня!", "Аня！", "Аня‼", "Аня угадал число 5! Игрок Боря",
]  # fmt: skip
SAME_NAMES = [
    ("Аня", "аНЯ"), ("Аня", "  Аня "), ("Anna", "Ａｎｎａ"), ("é", "e\u0301"), ("Йорк", "И\u0306орк"), ("ﬁ", "FI"),
    ("Straße", "STRASSE"), ("①", "1"), ("ﾊ", "ハ"), ("Аня", "Аня\u2800"),
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_loses_only_the_spaces_around_it(name: str) -> None:
    assert check_name(name) == name.strip()


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_bad_name_is_refused_with_a_sentence(name: object) -> None:
    with pytest.raises(ValueError, match="^Имя.*тправьте"):
        check_name(name)


@given(st.text() | st.text("#№3!Aя \u0301\u2800", max_size=6))
def test_a_name_that_passes_can_be_shown_and_forges_nothing(name: str) -> None:
    try:
        accepted = check_name(name)
    except ValueError:
        return
    assert accepted == name.strip()
    assert 1 <= len(accepted) <= 32
    assert accepted.isprintable()
    assert any(unicodedata.category(letter)[0] in "LNS" for letter in accepted)
    assert "!" not in fold(accepted)
    assert not re.fullmatch(r"\s*[#№]\s*\d+\s*", accepted)
    sentence, gaps = recognise(SOMEBODY_WON.russian.format(player=accepted, number=67))
    assert (sentence, gaps) == (SOMEBODY_WON, {"player": accepted, "number": "67"})


# A game

KEYS = ["k7Qz2mXw", "!~" * 32, "\\\"'<&>{}%"]  # 8 characters; 64; what might need escaping
BAD_KEYS = [
    "", "1234567", "x" * 65, "with space", "12345678\n", "tab\t5678", "ключключ", "\x7f" * 8, "１２３４５６７８",
    12345678, None, True, ["12345678"],
]  # fmt: skip


class Table:
    """A game in which each secret is 42, all that it tells each player until they hear it, and the time."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.told: dict[Client, list[Any]] = {}
        self.game = Game(self.tell, **{"draw": lambda low, high: SECRET, "clock": lambda: self.now, **options})

    def tell(self, clients: Iterable[Client], message: guessgame.Message) -> None:
        for client in clients:
            assert not client.left
            self.told[client].append(json.loads(encode(message)))

    def join(self, **wishes: str) -> Client:
        """Let somebody join and wish for a name or a key; they have heard the replies already."""
        client = Client()
        self.told[client] = []
        self.game.join(client)
        if wishes:
            self.game.answer(client, json.dumps(wishes))
        self.hear(client)
        return client

    def ask(self, client: Client, request: Any) -> list[Any]:
        """Let a player ask; return what they have heard up to the reply."""
        self.game.answer(client, request if isinstance(request, (str, bytes)) else json.dumps(request))
        return self.hear(client)

    def refuse(self, client: Client, request: Any) -> str:
        """Let a player ask for what they cannot have; return the sentence that says why."""
        [reply] = self.ask(client, request)
        return error(reply)

    def leave(self, client: Client) -> None:
        self.game.leave(client, "said goodbye")

    def hear(self, client: Client) -> list[Any]:
        heard, self.told[client] = self.told[client], []
        return heard

    def hear_all(self) -> list[list[Any]]:
        """Return what each connection has been told, in the order in which they came."""
        return [self.hear(client) for client in self.told]

    def win(self, client: Client) -> None:
        """Let a player win, everybody hear about it, and a new round begin."""
        assert self.ask(client, {"guess": SECRET})[0] == "Вы угадали!"
        self.game.new_round()
        self.hear_all()

    def ranking(self) -> list[tuple[int, str, int]]:
        return [(each["client_id"], each.get("name", ""), each["wins"]) for each in self.game.scores()["scores"]]


def score(client_id: int, name: str = "", wins: int = 0) -> dict[str, Any]:
    return {"client_id": client_id, **({"name": name} if name else {}), "wins": wins}


def you(client_id: int, name: str = "", wins: int = 0) -> dict[str, Any]:
    return {**score(client_id, name, wins), "you": True}


def test_a_newcomer_is_welcomed_with_the_range_and_gets_an_id_that_nobody_had_before() -> None:
    table = Table(low=-5, high=7)
    told = []
    table.game.send = lambda clients, message: told.append((list(clients), message))
    for client_id in (1, 2, 3):
        client = Client()
        table.game.join(client)
        assert client.id == client_id
        assert table.game.clients == {client_id: client}
        assert told.pop() == ([client], "Добро пожаловать! Угадайте число от -5 до 7.")
        table.leave(client)
    assert not told


def test_a_range_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="high cannot be 4: give 5 or more"):
        Table(low=5, high=4)
    assert Table(low=5, high=5, draw=draw_secret).game.round.secret == 5


def test_each_thing_that_a_message_asks_for_gets_a_reply_in_the_same_order() -> None:
    table = Table()
    player = table.join()
    scores = {"scores": [score(1, "Аня")], "players": 1, "over": False, "you": 1}
    things = {"scores": True, "x": {"guess": 1}, "guess": 50, "key": KEYS[0], "name": "Аня"}
    assert table.ask(player, things) == [you(1, "Аня"), "Больше", scores]
    replies = table.ask(player, {"scores": 1, "guess": 0, "key": "", "name": "#1"})
    assert [error(reply).split()[0] for reply in replies] == ["Ключ", "Догадка", "Непонятный"]
    assert table.ask(player, {"scores": False, "guess": 1, "name": "Аня"})[:2] == [you(1, "Аня"), "Меньше"]


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
    *('{"scores": %s}' % what for what in ("false", "null", "1", '"true"', "[]")),
]  # fmt: skip


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message)[:40])
def test_nonsense_is_answered_with_one_sentence_and_changes_nothing(message: str | bytes) -> None:
    table = Table()
    player, other = table.join(name="Аня", key=KEYS[0]), table.join()
    before = vars(player).copy()
    table.refuse(player, message)
    assert vars(player) == before
    assert table.hear(other) == []
    assert not table.game.history


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([SECRET, "Аня", *KEYS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
requests = st.dictionaries(st.sampled_from(["guess", "name", "key", "scores", "x"]), values, max_size=5)


@given(st.text() | st.binary() | requests)
def test_whatever_is_asked_each_thing_gets_one_reply(request: Any) -> None:
    table = Table()
    replies = table.ask(table.join(), request)
    asked = set(request) - {"x"} if isinstance(request, dict) else set()
    expected = len(asked) - (asked >= {"name", "key"}) or 1
    announced = [reply for reply in replies if isinstance(reply, dict) and "wins" in reply and "you" not in reply]
    assert len(replies) - len(announced) == expected
    for reply in replies:
        if isinstance(reply, str):
            assert reply in ("Меньше", "Больше", "Вы угадали!")
        elif "error" in reply:
            error(reply)


@pytest.mark.parametrize("name", ["", "Аня"])
def test_a_win_is_told_to_everybody_and_nothing_else_is(name: str) -> None:
    table = Table()
    winner, other = table.join(), table.join()
    if name:
        table.ask(winner, {"name": name})
    for quiet in ({"guess": 1}, {"guess": 99}, {"scores": True}, {"key": KEYS[0]}, "nonsense"):
        table.ask(winner, quiet)
    third = table.join()
    table.leave(third)
    assert table.hear(other) == []
    news = score(1, name, 1)
    assert table.ask(winner, {"guess": SECRET}) == ["Вы угадали!", news]
    assert table.hear(other) == [f"Игрок {name or '#1'} угадал число 42!", news]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=40), st.integers(1, 6))
def test_a_round_has_one_winner_and_whoever_guesses_later_is_told_so(guesses: list[Any], secret: int) -> None:
    table = Table(high=6, draw=lambda low, high: secret)
    players = [table.join() for _ in range(4)]
    wins = [0, 0, 0, 0]
    for index, number in guesses:
        table.hear_all()
        reply, *news = table.ask(players[index], {"guess": number})
        if any(wins):
            assert error(reply).startswith("Раунд окончен")
        elif number == secret:
            assert (reply, news) == ("Вы угадали!", [score(index + 1, wins=1)])
            wins[index] = 1
        else:
            assert (reply, news) == ("Меньше" if number < secret else "Больше", [])
    assert [player.wins for player in players] == wins
    assert table.game.round.over == any(wins)


# Names in a game


@pytest.mark.parametrize("names", SAME_NAMES)
def test_a_name_is_taken_while_its_owner_is_here_or_may_come_back(names: tuple[str, str]) -> None:
    table = Table()
    owner, other = table.join(key=KEYS[0]), table.join()
    assert table.ask(owner, {"name": names[0]}) == [you(1, names[0].strip())]
    for _ in range(2):
        assert table.refuse(other, {"name": names[1]}).startswith("Такое имя уже занято")
        if not owner.left:
            table.win(owner)
            table.leave(owner)
    table.game.clear_scores()
    table.hear(other)
    assert table.ask(other, {"name": names[1]}) == [you(2, names[1].strip())]


def test_a_name_is_free_when_its_owner_takes_another_or_leaves_for_good() -> None:
    table = Table()
    owner, other = table.join(name="Аня"), table.join()
    for name in ("Аня", "АНЯ", "Ася"):
        assert table.ask(owner, {"name": name}) == [you(1, name)]
    assert table.ask(other, {"name": "аня"}) == [you(2, "аня")]
    table.leave(owner)
    assert table.ask(other, {"name": "Ася"}) == [you(2, "Ася")]


@pytest.mark.parametrize("name", ["Боря", "#3", "", None, "x" * 33])
def test_a_refused_name_leaves_the_player_as_they_were(name: Any) -> None:
    table = Table()
    player = table.join(name="Аня")
    table.join(name="Боря")
    table.refuse(player, {"name": name})
    assert table.ranking() == [(1, "Аня", 0), (2, "Боря", 0)]


# Coming back


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_bad_key_is_refused_with_a_sentence_and_changes_nothing(key: Any) -> None:
    table = Table()
    player = table.join(name="Аня", key=KEYS[0])
    assert table.refuse(player, {"name": "Боря", "key": key}).startswith("Ключ — от 8 до 64")
    assert (player.name, player.key) == ("Аня", KEYS[0])


@pytest.mark.parametrize("key", KEYS)
def test_who_gives_a_key_again_is_that_player_and_the_earlier_connection_ends(key: str) -> None:
    table = Table()
    earlier = table.join(name="Аня", key=key)
    table.win(earlier)
    later = table.join(name="Боря")
    assert table.ask(later, {"key": key}) == [you(1, "Аня", 1)]
    assert [message["close"] for message in table.hear(earlier)] == [4001]
    assert table.game.clients == {1: later}
    assert table.ask(later, {"guess": 1}) == ["Меньше"]
    for last_words in ({"guess": SECRET}, {"name": "Ася"}, "nonsense"):
        assert table.ask(earlier, last_words) == []
    table.leave(earlier)
    assert table.ranking() == [(1, "Аня", 1)]
    assert table.ask(table.join(), {"name": "Боря"}) == [you(3, "Боря")], "who they were before is forgotten"


@pytest.mark.parametrize("stands", [True, False], ids=["earlier connection stands", "has left"])
@pytest.mark.parametrize(
    ("wish", "name"),
    [({"name": "Ася"}, "Ася"), ({"name": "Вера"}, "Вера"), *(({"name": bad}, "Аня") for bad in ("боря", "#1", "", 5))],
)
def test_who_comes_back_gets_the_name_they_want_or_the_one_they_had(
    wish: dict[str, Any], name: str, stands: bool
) -> None:
    table = Table()
    earlier = table.join(name="Аня", key=KEYS[0])
    table.win(earlier)
    table.join(name="Боря")
    later = table.join(name="Вера")
    if not stands:
        table.leave(earlier)
    assert table.ask(later, {**wish, "key": KEYS[0]}) == [you(1, name, 1)]
    assert table.ranking() == [(1, name, 1), (2, "Боря", 0)]


@pytest.mark.parametrize("wins", [0, 1])
@pytest.mark.parametrize("key", ["", KEYS[0]])
def test_only_who_has_a_key_and_a_win_is_kept_after_leaving(key: str, wins: int) -> None:
    table = Table()
    player = table.join(**({"name": "Аня", "key": key} if key else {"name": "Аня"}))
    for _ in range(wins):
        table.win(player)
    table.leave(player)
    assert table.game.clients == {}
    assert table.ranking() == [(1, "Аня", 1)] * bool(key and wins)
    back = table.ask(table.join(), {"key": KEYS[0]})
    assert back == [you(1, "Аня", 1) if key and wins else you(2)]


def test_a_key_given_by_one_after_another_moves_the_player_on_each_time() -> None:
    table = Table()
    connections = [table.join(name="Аня", key=KEYS[0])]
    table.win(connections[0])
    for _ in range(3):
        connections.append(table.join(key=KEYS[0]))
    closed = [[message["close"] for message in heard] for heard in table.hear_all()]
    assert closed == [[4001], [4001], [4001], []]
    assert table.game.clients == {1: connections[3]}
    assert table.ranking() == [(1, "Аня", 1)]
    for earlier in connections[:3]:
        table.leave(earlier)
    assert table.ask(connections[3], {"key": KEYS[0]}) == [you(1, "Аня", 1)], "one's own key changes nothing"


def test_two_players_with_keys_can_change_places_to_and_fro() -> None:
    table = Table()
    for name, key in (("Аня", KEYS[0]), ("Боря", KEYS[1])):
        connection = table.join(name=name, key=key)
        table.win(connection)
    first = table.game.clients[1]
    for _ in range(2):
        assert table.ask(connection, {"key": KEYS[0]}) == [you(1, "Аня", 1)]
        assert (list(table.game.clients), list(table.game.kept)) == ([1], [2]), "Боря may still come back"
        assert table.ask(connection, {"key": KEYS[1]}) == [you(2, "Боря", 1)]
        assert (list(table.game.clients), list(table.game.kept)) == ([2], [1])
    assert [message["close"] for message in table.hear(first)] == [4001], "and was told so only once"
    assert table.ranking() == [(1, "Аня", 1), (2, "Боря", 1)]


def test_a_key_may_be_changed_and_the_former_one_is_nobodys() -> None:
    table = Table()
    player = table.join(name="Аня", key=KEYS[0])
    table.win(player)
    assert table.ask(player, {"key": KEYS[1]}) == [you(1, "Аня", 1)]
    assert table.ask(table.join(), {"key": KEYS[0]}) == [you(2)]
    assert table.ask(table.join(), {"key": KEYS[1]}) == [you(1, "Аня", 1)]


def test_a_key_never_reaches_the_log_or_another_player(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    table = Table()
    witness = table.join()
    keys = [*KEYS, *(key for key in BAD_KEYS if isinstance(key, str) and len(key) > 1)]
    for key in keys:
        for _ in range(2):
            player = table.join(name=f"К{len(table.told)}", key=key)
            table.ask(player, {"guess": SECRET})
            table.ask(player, {"scores": True})
            assert key not in repr(player)
            table.game.new_round()
        table.game.remove(player.id)
    told = json.dumps([table.hear_all(), table.ask(witness, {"scores": True})], ensure_ascii=False)
    for key in keys:
        assert key not in caplog.text
        assert encode(key)[1:-1] not in told
    assert "again" in caplog.text


# Leaving


def test_who_has_left_is_gone_from_the_list_and_gets_no_answers() -> None:
    table = Table()
    player, other = table.join(name="Аня"), table.join()
    table.game.leave(player, "did not read")
    table.game.leave(player, "a second time")
    assert player.left == "did not read"
    for request in ({"guess": SECRET}, {"name": "Ася", "key": KEYS[0]}, {"scores": True}, "nonsense", b""):
        assert table.ask(player, request) == []
    assert table.hear(other) == []
    assert table.ranking() == [(2, "", 0)]
    assert not table.game.round.over


# What the teacher does


def test_cleared_scores_are_told_to_everybody_and_who_is_not_here_is_forgotten() -> None:
    table = Table()
    players = [table.join(name=name, key=key) for name, key in zip("АБВ", KEYS)]
    table.win(players[0])
    table.win(players[1])
    table.leave(players[0])
    table.game.clear_scores()
    scores = {"scores": [score(2, "Б"), score(3, "В")], "players": 2, "over": False}
    assert table.hear_all() == [[], [scores], [scores]]
    assert table.ask(table.join(), {"name": "А", "key": KEYS[0]}) == [you(4, "А")]
    assert table.ask(table.join(), {"key": KEYS[1]}) == [you(2, "Б")], "who is here keeps key and name"


@pytest.mark.parametrize("is_here", [True, False], ids=["here", "kept"])
def test_a_removed_player_is_sent_away_and_their_name_and_key_are_barred(is_here: bool) -> None:
    table = Table()
    player, other = table.join(name="Straße", key=KEYS[0]), table.join()
    table.win(player)
    if not is_here:
        table.leave(player)
    table.game.remove(1)
    told = table.hear(player)
    assert [message["close"] for message in told] == [1008] * is_here
    assert table.hear(other) == []
    assert table.ranking() == [(2, "", 0)]
    assert table.ask(player, {"guess": SECRET}) == []
    table.game.clear_scores()
    newcomer = table.join()
    for request in ({"name": "STRASSE"}, {"key": KEYS[0]}, {"name": "Аня", "key": KEYS[0]}):
        assert table.refuse(newcomer, request).startswith("Учитель запретил")
    assert table.ranking()[1] == (3, "", 0)
    with pytest.raises(KeyError):
        table.game.remove(1)


def test_removing_a_player_without_name_and_key_bars_nobody_else() -> None:
    table = Table()
    table.join()
    player = table.join()
    table.game.remove(1)
    assert table.ask(player, {"name": "Аня", "key": KEYS[0]}) == [you(2, "Аня")]


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("players", [0, 2])
def test_a_new_round_begins_whatever_the_state_of_the_game(players: int, is_over: bool) -> None:
    table = Table(low=-7, high=7, draw=lambda low, high: low)
    guests = [table.join() for _ in range(players or 1)]
    if is_over:
        table.ask(guests[0], {"guess": -7})
    if not players:
        table.leave(guests[0])
    table.hear_all()
    for _ in range(2):
        table.game.draw = lambda low, high: high
        table.game.new_round()
        assert table.hear_all() == [[NEW_GAME] * bool(players)] * len(guests)
        assert (table.game.round.over, table.game.round.secret) == (False, 7)
    assert table.ask(table.join(), {"guess": 7})[0] == "Вы угадали!"


# The cooldown


def soon(seconds: int) -> dict[str, str]:
    return {"error": f"Слишком рано: отправьте следующую догадку через {seconds} с."}


def test_a_guess_that_comes_too_soon_is_not_judged_and_told_when_to_come_again() -> None:
    table = Table(cooldown=2.5)
    player, other = table.join(), table.join()
    assert table.ask(player, {"guess": 1}) == ["Меньше"]
    for seconds in (3, 2, 2, 1, 1):  # after 0, 0.5, 1, 1.5, 2 seconds
        assert table.ask(player, {"guess": SECRET}) == [soon(seconds)]
        table.now += 0.5
    assert len(table.game.history) == 1
    assert table.ask(player, {"guess": 99}) == ["Больше"], "those who were too soon did not make the wait longer"
    assert table.ask(player, {"name": "Аня", "guess": SECRET}) == [you(1, "Аня"), soon(3)]
    table.game.cooldown = 0.5
    assert table.ask(player, {"guess": 1}) == [soon(1)]
    table.game.cooldown = 0
    assert table.ask(player, {"guess": 1}) == ["Меньше"]
    assert table.ask(other, {"guess": SECRET})[0] == "Вы угадали!", "nobody waits for somebody else"


def test_the_cooldown_counts_from_the_last_guess_that_was_judged() -> None:
    table = Table(cooldown=5)
    player = table.join()
    for nonsense in ({"guess": 0}, {"guess": "1"}, {"guess": 101}):
        assert table.refuse(player, nonsense).startswith("Догадка")
    assert table.ask(player, {"guess": SECRET})[0] == "Вы угадали!"
    table.now += 5
    assert table.refuse(player, {"guess": 1}).startswith("Раунд окончен")
    table.game.new_round()
    assert table.ask(player, {"guess": 1}) == [NEW_GAME, "Меньше"]
    table.game.new_round()
    assert table.ask(player, {"guess": 1}) == [NEW_GAME, soon(5)]


@pytest.mark.parametrize("stands", [True, False], ids=["earlier connection stands", "has left"])
def test_the_cooldown_survives_coming_back(stands: bool) -> None:
    table = Table(cooldown=5)
    earlier = table.join(key=KEYS[0])
    table.win(earlier)
    if not stands:
        table.leave(earlier)
    later = table.join()
    assert table.ask(later, {"key": KEYS[0], "guess": SECRET}) == [you(1, wins=1), soon(5)]


# The scores, and what has happened


def test_the_scores_are_in_order_of_wins_then_ids_and_count_who_is_here() -> None:
    table = Table()
    players = [table.join(name=name, key=f"key-of-{name}") for name in "abcd"]
    for index in (1, 3, 3, 2):
        table.win(players[index])
    table.leave(players[3])
    table.ask(players[0], {"guess": SECRET})
    ranking = [score(4, "d", 2), score(1, "a", 1), score(2, "b", 1), score(3, "c", 1)]
    assert table.ask(players[2], {"scores": True})[-1] == {"scores": ranking, "players": 3, "over": True, "you": 3}
    assert table.game.scores() == {"scores": ranking, "players": 3, "over": True}


def test_no_more_than_the_fifty_best_scores_are_told() -> None:
    table = Table()
    players = [table.join() for _ in range(60)]
    for player in players[52:]:
        table.win(player)
    [scores] = table.ask(players[0], {"scores": True})
    assert [each["client_id"] for each in scores["scores"]] == [*range(53, 61), *range(1, 43)]
    assert (scores["players"], scores["you"]) == (60, 1)


def test_each_guess_that_was_judged_is_in_the_history() -> None:
    table = Table()
    player, other = table.join(name="Аня"), table.join()
    table.now += 1.5
    table.ask(player, {"guess": 1})
    table.ask(other, {"guess": 0})
    table.ask(other, {"guess": SECRET})
    table.ask(player, {"guess": 2})
    table.now += 5
    table.game.new_round()
    table.now += 0.25
    table.ask(player, {"name": "Ася", "guess": 99})
    assert list(table.game.history) == [
        (1, 1.5, 1, "Аня", 1, "Меньше"),
        (1, 1.5, 2, "", SECRET, "Вы угадали!"),
        (2, 0.25, 1, "Ася", 99, "Больше"),
    ]


def test_the_history_has_an_end() -> None:
    table = Table()
    player = table.join()
    for number in (1, *[2] * 9_999, 3):
        table.ask(player, {"guess": number})
    numbers = [number for *_, number, _ in table.game.history]
    assert numbers == [*[2] * 9_999, 3]


# All together

actions = st.tuples(
    st.sampled_from(["join", "join", "name", "key", "key", "guess", "leave", "new_round", "remove", "clear_scores"]),
    st.integers(0, 9),
    st.integers(0, 3),
)


@given(st.lists(actions, max_size=60))
def test_whatever_happens_ids_names_and_keys_belong_to_one_player(actions: list[tuple[str, int, int]]) -> None:
    table = Table()
    game, connections, joined, won = table.game, [table.join()], 1, 0
    for action, who, what in actions:
        connection = connections[who % len(connections)]
        if action == "join":
            connections.append(table.join())
            joined += 1
        elif action == "name":
            table.ask(connection, {"name": ("Аня", "аня", "Боря", "Вера")[what]})
        elif action == "key":
            table.ask(connection, {"key": f"key-number-{what}"})
        elif action == "guess":
            won += not game.round.over and not connection.left
            table.ask(connection, {"guess": SECRET})
        elif action == "leave":
            table.leave(connection)
        elif action == "remove" and who in {*game.clients, *game.kept}:
            game.remove(who)
        elif action in ("new_round", "clear_scores"):
            getattr(game, action)()
        everybody = [*game.clients.values(), *game.kept.values()]
        assert [*game.clients, *game.kept] == [client.id for client in everybody]
        for what_is_unique in (
            [client.id for client in everybody],
            [fold(client.name) for client in everybody if client.name],
            [client.key for client in everybody if client.key],
        ):
            assert len(set(what_is_unique)) == len(what_is_unique)
        assert {client for client in connections if not client.left} == set(game.clients.values())
        assert all(client.left and client.key and client.wins for client in game.kept.values())
        assert game.joined == joined
        assert sum(client.wins for client in everybody) <= won
        assert sum(reply == "Вы угадали!" for *_, reply in game.history) == won
