"""Lesson 6: how good a strategy is, and the tournament."""

from __future__ import annotations

import sys
from typing import Any, no_type_check

import pytest

from conftest import eventually, texts
from guessgame import GameServer, bisection, counting, lucky
from kit import end_lesson, start_lesson
from kit.arena import Endless, Strategy, Tournament, ask, check, measure, show


def at_a_third(low: int, high: int) -> int:
    return low + (high - low) // 3


def below(low: int, high: int) -> int:
    return low - 1


def endless(low: int, high: int) -> int:
    while True:
        pass


def endless_after_a_while(low: int, high: int) -> int:
    while high - low < 20:
        low -= 0
    return (low + high) // 2


def deep(low: int, high: int) -> int:
    return deep(low, high)


def unwritten(low: int, high: int) -> int:
    raise NotImplementedError


@no_type_check
def half(low, high):
    return low / 2


@no_type_check
def silent(low, high):
    pass


@no_type_check
def swapped(low):
    return low


def test_bisection_needs_what_mathematics_says() -> None:
    counts = measure(bisection)
    assert (sum(counts), max(counts)) == (580, 7)
    counts = measure(counting)
    assert (sum(counts), max(counts)) == (5050, 100)
    assert len(measure(lucky)) == 100


@pytest.mark.parametrize(
    ("strategy", "printed"),
    [
        (at_a_third, "6.28 guesses on average, 11 at worst: well done!"),
        (bisection, "5.80 guesses on average, 7 at worst: not yet: it should be 6.28 on average, 11 at worst"),
        (unwritten, "not yet"),
        (below, "not yet: for 1 to 100 it returns 0"),
        (half, "not yet: for 1 to 100 it returns 0.5 (use `//`, not `/`)"),
        (silent, "not yet: for 1 to 100 it returns None (is there a `return`?)"),
        (
            endless,
            "not yet: for 1 to 100 it does not come to an end: is there a loop that goes round forever?",
        ),
        (
            endless_after_a_while,
            "not yet: for 1 to 11 it does not come to an end: is there a loop that goes round forever?",
        ),
    ],
)
def test_a_check_prints_what_to_do(strategy: Strategy, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.gettrace()
    check(strategy, 6.28, 11, first=34)
    assert capsys.readouterr().out == f"{printed}\n"
    assert sys.gettrace() is before


@pytest.mark.parametrize(("strategy", "error"), [(deep, "RecursionError"), (swapped, "TypeError")])
def test_a_strategy_that_fails_is_told_how(strategy: Strategy, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(strategy)
    assert capsys.readouterr().out.startswith(f"not yet: it fails with {error}: ")


def test_the_first_guess_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    check(lambda low, high: (low + high + 1) // 2, 5.8, 7, first=50)
    assert capsys.readouterr().out.endswith("not yet: for 1 to 100, its first guess should be 50\n")


def test_who_never_ends_is_stopped() -> None:
    with pytest.raises(Endless, match="for 3 to 5"):
        ask(endless, 3, 5)


def test_the_bars_show_what_each_guess_finds() -> None:
    assert texts(show(bisection).children[1].value)[:3] == ["guess 1", "1 found", "guess 2"]
    assert texts(show(unwritten).children[1].value) == ["not yet"]


@pytest.fixture
async def arena_server() -> Any:
    yield await start_lesson(pause=None, rate=1_000_000)
    await end_lesson()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.arena.SLOW", 0.02)
    monkeypatch.setattr("kit.arena.ROUNDS", 60)


async def test_a_race_is_seen_guess_by_guess_and_who_has_not_written_a_bot_stays_at_home(
    arena_server: GameServer,
) -> None:
    arena = Tournament(arena_server, lambda: {"my_bot": unwritten, "<b>": at_a_third})
    seen: list[str] = []
    arena.picture.observe(lambda change: seen.append(change.new), "value")
    arena.slow_button.click()
    arena.slow_button.click()
    await eventually(lambda: seen and " wins." in seen[-1])
    shown = "".join(seen)
    assert "guessed 50" in shown
    assert "&lt;b&gt;" in shown
    assert "found it!" in seen[-1]
    assert "my_bot stays at home: not yet." in seen[-1]
    await eventually(lambda: not arena_server.clients)
    assert not arena.slow_button.disabled
    assert sum(racer.wins for racer in arena.racers) == 1


async def test_lots_are_drawn_for_each_round_and_results_are_kept(arena_server: GameServer) -> None:
    arena = Tournament(arena_server, lambda: {"copy": bisection})
    first = []
    for number in (1, 2):
        arena.fast_button.click()
        await eventually(lambda: len(arena.history) == number)  # noqa: B023
        first.append(arena.order[0].name)
        assert sum(racer.wins for racer in arena.racers) == 60
        wins = {racer.name: racer.wins for racer in arena.racers}
        assert min(wins["copy"], wins["bisection"]) > 3, "neither always goes first"
        await eventually(lambda: not arena.fast_button.disabled)
    assert "60 of 60 rounds" in texts(arena.picture.value)
    for told in arena.history:
        assert told in arena.picture.value


async def test_a_bot_that_goes_wrong_in_the_tournament_is_named_and_it_can_be_played_again(
    arena_server: GameServer,
) -> None:
    asked: list[int] = []

    def tricky(low: int, high: int) -> int:
        asked.append(low)
        return (low + high) // 2 if len(asked) < 600 else 0

    arena = Tournament(arena_server, lambda: {"my_bot": tricky})
    arena.fast_button.click()
    await eventually(lambda: "it returns 0" in arena.note.value)
    await eventually(lambda: not arena.fast_button.disabled and not arena_server.clients)


async def test_the_end_of_the_lesson_ends_a_tournament(arena_server: GameServer) -> None:
    arena = Tournament(arena_server, dict)
    arena.fast_button.click()
    await eventually(lambda: arena.played > 2)
    await end_lesson()
    assert not arena.tasks
    assert arena.fast_button.disabled
    assert all(racer.player.gone for racer in arena.racers)
