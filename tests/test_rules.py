"""The rules, without a network: rounds, names, the words, the strategies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guessgame
from guessgame import LESS, MORE, STRATEGIES, YOU_WON, Round, check_name, draw_secret, parse_request, recognise

RANGES = st.tuples(st.integers(-1000, 1000), st.integers(0, 1000)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    low, high = draw(RANGES)
    return Round(draw(st.integers(low, high)), low, high)


@given(rounds(), st.data())
def test_a_verdict_speaks_of_the_players_number(game: Round, data: st.DataObject) -> None:
    number = data.draw(st.integers(game.low, game.high))
    verdict = game.guess(number)
    assert verdict == (LESS if number < game.secret else MORE if number > game.secret else YOU_WON)


@given(rounds(), st.lists(st.integers(-1100, 2100), max_size=50))
def test_a_round_has_one_winner_and_ends_with_the_right_guess(game: Round, numbers: list[int]) -> None:
    verdicts = []
    for number in [*numbers, game.secret, *numbers, game.secret]:
        was_over = game.over
        try:
            verdicts.append(game.guess(number))
        except ValueError:
            assert was_over or not game.low <= number <= game.high
        else:
            assert not was_over
            assert game.over == (number == game.secret)
    assert verdicts.count(YOU_WON) == 1
    assert verdicts[-1] == YOU_WON


@given(rounds(), st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.lists(st.integers())))
def test_only_a_whole_number_is_a_guess(game: Round, number: object) -> None:
    with pytest.raises(ValueError, match=r"^Догадка — целое число от -?\d+ до -?\d+: отправьте"):
        game.guess(number)


@given(rounds())
def test_the_numbers_just_outside_the_range_are_refused(game: Round) -> None:
    for number in (game.low - 1, game.high + 1, 10**900):
        with pytest.raises(ValueError, match=r"^Догадка"):
            game.guess(number)
    assert not game.over


def test_a_secret_outside_the_range_is_refused() -> None:
    for secret in (0, 101):
        with pytest.raises(ValueError, match="not within 1..100"):
            Round(secret)


def test_every_number_of_the_range_can_be_drawn_and_no_other() -> None:
    assert {draw_secret(3, 7) for _ in range(1000)} == {3, 4, 5, 6, 7}
    assert {draw_secret(3, 6) for _ in range(1000)} == {3, 4, 5, 6}


@given(st.text())
def test_a_name_that_passes_can_be_shown(name: str) -> None:
    try:
        accepted = check_name(name)
    except ValueError:
        return
    assert accepted == name.strip()
    assert 1 <= len(accepted) <= 32
    assert accepted.isprintable()


@pytest.mark.parametrize("name", ["Аня", "a", "x" * 32, "  Аня  ", "Анна Мария", "#", "3", "#3a", "日本", "🙂"])
def test_a_good_name_is_kept_without_the_spaces_around_it(name: str) -> None:
    assert check_name(name) == name.strip()


@pytest.mark.parametrize(
    "name",
    ["", "   ", "x" * 33, "#3", "#34", "# 3", "＃3", "a\nb", "a\0", "\x1b[31m", "a\u202eb", "\ud800", 5, None, ["a"]],
)
def test_a_bad_name_is_refused_with_a_sentence(name: object) -> None:
    with pytest.raises(ValueError, match="^Имя — от 1 до 32"):
        check_name(name)


@given(st.text())
def test_any_text_is_a_request_or_refused_with_a_sentence(text: str) -> None:
    try:
        request = parse_request(text)
    except ValueError as error:
        assert "отправьте" in str(error)
    else:
        assert {"guess", "name"} & set(request)


def test_an_announcement_is_understood_whatever_the_name() -> None:
    template, values = recognise("Игрок Игрок X угадал число 5! угадал число 67!") or ("", {})
    assert template == guessgame.SOMEBODY_WON
    assert values == {"player": "Игрок X угадал число 5!", "number": "67"}


def test_every_sentence_has_an_english_meaning_with_the_same_gaps() -> None:
    sentences = {
        text
        for name, text in vars(guessgame).items()
        if name.isupper() and isinstance(text, str) and not text.isascii()
    }
    assert sentences - set(guessgame.ENGLISH) == {guessgame.SERVER_IS_FULL}  # the body of an HTTP answer
    for template, meaning in guessgame.ENGLISH.items():
        recognised, found = recognise(template) or ("", {})
        assert recognised == template
        assert set(found) >= set(re.findall(r"{(\w+)}", meaning)), "the meaning fills in nothing else"


@given(RANGES, st.sampled_from(sorted(STRATEGIES)))
def test_every_strategy_stays_in_its_interval(interval: tuple[int, int], name: str) -> None:
    low, high = interval
    assert low <= STRATEGIES[name](low, high) <= high


def count_guesses(strategy: guessgame.Strategy, secret: int) -> int:
    game, low, high = Round(secret), 1, 100
    for count in range(1, 101):
        number = strategy(low, high)
        verdict = game.guess(number)
        if verdict == YOU_WON:
            return count
        low, high = (number + 1, high) if verdict == LESS else (low, number - 1)
    raise AssertionError("a hundred guesses were not enough")


def test_bisection_needs_5_8_guesses_on_average_and_never_more_than_7() -> None:
    counts = [count_guesses(guessgame.bisection, secret) for secret in range(1, 101)]
    assert sum(counts) / 100 == 5.8
    assert max(counts) == 7


def test_counting_needs_as_many_guesses_as_the_number_says() -> None:
    assert [count_guesses(guessgame.counting, secret) for secret in (1, 50, 100)] == [1, 50, 100]
