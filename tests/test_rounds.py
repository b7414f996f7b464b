"""Lesson 5: the diagram of a round, and the race, line by line."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any, Iterator, no_type_check

import pytest

from conftest import SECRET, eventually, texts
from guessgame import Game, GameServer, Knowledge, Player
from kit import end_lesson
from kit.rounds import (
    GUESSING,
    NEW_NUMBER,
    PAUSE,
    SEEN,
    Diagram,
    Lane,
    Race,
    Story,
    check_judge,
    find_facts,
    find_next_choices,
    race_often,
    with_stops,
)
from kit.rounds import solution as solution_of_the_race

# The diagram: what is known, then how it looks


def test_a_story_tells_in_which_state_the_game_is_from_what_a_player_hears() -> None:
    game = Game(lambda clients, message: None)
    player = Knowledge(name="Ada", last_guess=42)
    story = Story(game, player)
    assert story.now() == (GUESSING, "Round 1. Guess!", "")
    for boring in ("Меньше", {"error": "…"}, {"client_id": 1, "wins": 1}):
        assert story.hear(boring) == []
    ada_won = "Ada found 42. The next game starts after the pause."
    assert story.hear("Вы угадали!") == [(PAUSE, ada_won, "")]
    assert story.hear({"countdown": 5}) == [(PAUSE, ada_won, "5")]
    [won] = story.hear("Игрок <b> угадал число 7!")
    assert won == (PAUSE, "<b> found 7. The next game starts after the pause.", "")
    game.new_round()
    new, guess = story.hear("Новая игра началась!")
    assert (new.state, guess) == (NEW_NUMBER, (GUESSING, "Round 2. Guess!", ""))
    game.round.over = True
    assert Story(game, player).now() == (PAUSE, "The round is over.", "")


def lit_state(diagram: Diagram) -> str:
    """Return which state is lit, and check that it is only one."""
    [found] = re.findall(r'gg-lit[^>]*"><b><i>●</i> (.*?)</b>', diagram.picture.value)
    return str(found)


async def test_each_state_is_seen_for_a_moment_even_without_a_pause(server: GameServer) -> None:
    server.pause = 0
    async with Player(server.url, "Ada") as ada:
        diagram = Diagram(server, ada)
        assert lit_state(diagram) == "guessing"
        seen = []
        diagram.picture.observe(lambda _: seen.append((lit_state(diagram), diagram.loop.time())), "value")
        for _ in range(2):
            await ada.guess(SECRET)
            await ada.wait_until(lambda: not ada.round_over)
        await eventually(lambda: len(seen) == 6)
        assert [state for state, _ in seen] == ["pause", "new number", "guessing"] * 2
        for (_, earlier), (_, later) in zip(seen, seen[1:]):
            assert later - earlier > SEEN - 0.05
        assert "Round 3. Guess!" in texts(diagram.picture.value)
    await diagram.stop()


async def test_the_diagram_begins_where_the_game_is_and_shows_who_won_and_the_countdown(server: GameServer) -> None:
    server.pause = 60
    async with Player(server.url, "Ada") as ada, Player(server.url, "<b>") as bob:
        diagram = Diagram(server, ada)
        await bob.guess(SECRET)
        await eventually(lambda: "60" in texts(diagram.picture.value))
        assert "&lt;b&gt; found 42. The next game starts after the pause." in texts(diagram.picture.value)
        late = Diagram(server, ada)
        assert lit_state(late) == "pause"
        await eventually(lambda: not diagram.tasks)  # one diagram at a time
    await late.stop()


async def test_a_diagram_is_never_far_behind(server: GameServer) -> None:
    async with Player(server.url, "Ada") as ada:
        diagram = Diagram(server, ada)
        for _ in range(200):
            diagram.hear("Вы угадали!")
            diagram.hear("Новая игра началась!")
        await eventually(diagram.coming.empty)
    await diagram.stop()


# The race


class Play:
    """A game as the lesson has it, with a lock for those who want one, and a database that may be slow."""

    def __init__(self) -> None:
        self.over = False
        self.saved = 0
        self.lock = asyncio.Lock()
        self._database: asyncio.Future[None] = asyncio.Future()

    async def save_the_score(self) -> None:
        await asyncio.sleep(0)
        self.saved += 1

    async def save_slowly(self) -> None:
        await self._database


class Quick(Play):
    """One whose score is saved without waiting."""

    async def save_the_score(self) -> None:
        self.saved += 1


async def buggy(game: Play, number: int) -> str:
    if game.over:
        return "too late"
    await game.save_the_score()
    game.over = True
    return "won"


async def saves_twice(game: Play, number: int) -> str:
    await game.save_the_score()
    if game.over: return "too late"  # fmt: skip  # noqa: E701
    game.over = True
    return "won"


async def locked(game: Play, number: int) -> str:
    async with game.lock:
        try:
            return await buggy(game, number)
        finally:
            pass


async def slow(game: Play, number: int) -> str:
    try:
        await game.save_slowly()
    except OSError as error:
        return f"lost: {error}"
    finally:
        await asyncio.sleep(0)
    return "saved"


async def broken(game: Play, number: int) -> str:
    raise ValueError("<i>no</i>")


@no_type_check
async def empty(game, number):
    """Do nothing."""


def said_in(race: Race) -> str:
    """Return the last thing that was said."""
    return html.unescape(texts(race.news.value)[0])


async def press(race: Race, name: str) -> str:
    """Press a player's button, once both stand before their first line; return what is said."""
    before = await eventually(lambda: race.news.value)
    race.step_buttons[name].click()
    await eventually(lambda: race.news.value != before)
    return said_in(race)


def who_may(race: Race) -> list[str]:
    """Return whose buttons can be pressed."""
    return [name for name, button in race.step_buttons.items() if not button.disabled]


async def watch(race: Race, last: str = "Ada") -> list[str]:
    """Take turns whenever that is possible, and press until both have come to an end; return what was said."""
    said = []
    while who_may(race):
        others = [name for name in who_may(race) if name != last]
        last = (others or who_may(race))[0]
        said.append(await press(race, last))
    return said


@pytest.fixture(autouse=True)
async def nothing_goes_on() -> Any:
    """After each test, however it ends, all its races have ended."""
    yield
    await end_lesson()
    assert asyncio.all_tasks() == {asyncio.current_task()}


BOTH_WAIT = ["Ada has to wait at the await.", "Bob has to wait at the await."]


async def test_who_presses_finds_an_order_in_which_the_bug_makes_two_winners() -> None:
    race = Race(Play, {"with the bug": buggy})
    await eventually(lambda: race.news.value)
    assert said_in(race).endswith("You say who goes on.")
    assert who_may(race) == ["Ada", "Bob"]
    said = []
    for name in ("Ada", "Bob"):
        said.append(await press(race, name))
        assert who_may(race) == [name], "nobody else gets the turn before an await"
        said.append(await press(race, name))
        assert "Ada" in who_may(race)
    assert said[::2] == [f"{name} asks: game.over? The answer is no." for name in ("Ada", "Bob")]
    assert said[1::2] == BOTH_WAIT
    assert race.game.saved == 0, "nobody goes on before it's their turn"
    said = await watch(race, "Bob")
    assert said == [
        "Ada's await is over, so Ada goes on.",
        "Ada did: game.over = True",
        "Ada is done: “won”.",
        "Bob's await is over, so Bob goes on.",
        "Bob did: game.over = True",
        "Bob is done: “won”. 2 winners: that's wrong!",
    ]
    assert race.game.saved == 2
    race.again_button.click()
    await eventually(lambda: race.game.saved == 0)


async def test_another_order_has_one_winner_and_earlier_races_are_remembered() -> None:
    race = Race(Play, {"with the bug": buggy})
    for name in ("Bob",) * 5 + ("Ada",) * 2:
        await press(race, name)
    assert said_in(race) == "Ada is done: “too late”. One winner, Bob: that's right."
    race.again_button.click()
    await eventually(lambda: "Bob → Ada: One winner, Bob: that's right." in html.unescape(race.news.value))
    race.presses.put_nowait("Ada")
    race.presses.put_nowait("Bob")  # a click that came too early
    await eventually(lambda: "Ada asks" in said_in(race))
    assert await press(race, "Ada") == BOTH_WAIT[0]


async def test_the_marker_stands_at_the_line_that_comes_next() -> None:
    race = Race(Play, {"with the bug": buggy})

    def where() -> Iterator[str]:
        for line in re.findall('<p class="gg-here.*?</p>', race.picture.value):
            yield " ".join(texts(line))

    await eventually(lambda: list(where()) == ["▶ if game.over:", "▶ if game.over:"])
    await press(race, "Ada")
    assert list(where()) == ["▶ await game.save_the_score()", "▷ if game.over:"]
    assert texts(race.picture.value).count("no") == 1
    await press(race, "Ada")
    assert list(where()) == ["‖ await game.save_the_score()", "▶ if game.over:"]
    assert list(find_facts(race.game)) == ["lock", "over", "saved"], "neither methods nor private values"
    shown = texts(race.facts.value)
    assert shown[shown.index("game.saved =") + 1] == "0"


async def test_an_await_that_need_not_wait_does_not_give_up_the_turn() -> None:
    race = Race(Quick, {"quick": buggy})
    await press(race, "Ada")
    assert await press(race, "Ada") == "await game.save_the_score() need not wait, so Ada keeps the turn."
    assert who_may(race) == ["Ada"]
    said = await watch(race)
    assert said[-1] == "Bob is done: “too late”. One winner, Ada: that's right."


async def test_a_race_with_the_solution_has_one_winner_and_the_version_can_be_changed() -> None:
    race = Race(Play, {"yours": buggy, "the solution": solution_of_the_race, "with a lock": locked})
    race.choice.value = "the solution"
    await eventually(lambda: "Check and change at once." in race.picture.value)
    said = await watch(race, "Bob")
    assert "Bob asks: game.over? The answer is yes." in said
    assert said[-1] == "Ada is done: “won”. One winner, Ada: that's right."
    assert race.game.saved == 1
    race.choice.value = "with a lock"
    await eventually(lambda: "async with game.lock" in race.picture.value)
    for name in ("Ada", "Ada", "Ada"):
        await press(race, name)
    assert await press(race, "Bob") == BOTH_WAIT[1], "Ada saves the score, Bob waits for the lock"
    assert await press(race, "Bob") == "Bob's await is not over yet. Press again."
    while "Ada" in who_may(race):
        await press(race, "Ada")
    said = await watch(race)
    assert said[-1] == "Bob is done: “too late”. One winner, Ada: that's right."


async def test_one_winner_whose_score_is_saved_twice_is_no_success() -> None:
    race = Race(Play, {"yours": saves_twice})
    said = await watch(race, "Bob")
    assert "Ada asks: game.over? The answer is no." in said
    assert said[-1].endswith("One winner, Ada, but saved 2 times: that's wrong!")


async def test_who_really_waits_cannot_go_on_until_it_has_come_and_a_failure_is_theirs() -> None:
    race = Race(Play, {"slow": slow})
    said = [await press(race, name) for name in ("Ada", "Ada", "Bob", "Bob", "Ada")]
    assert said[1:4:2] == BOTH_WAIT
    assert said[4] == "Ada's await is not over yet. Press again."
    race.game._database.set_exception(OSError("the disk is full"))
    await eventually(lambda: all(lane.can_go_on for lane in race.contest.lanes))
    assert await press(race, "Ada") == "Ada's await is over, so Ada goes on."
    said = await watch(race)
    assert BOTH_WAIT[1] in said, "in a finally"
    assert "“lost: the disk is full”. 0 winners: that's wrong!" in said[-1]


async def test_a_race_that_is_left_in_the_middle_closes_what_it_runs() -> None:
    first = Race(Play, {"slow": slow})
    for name in ("Ada", "Ada", "Bob", "Bob"):
        await press(first, name)
    second = Race(Play, {"slow": slow})  # the same cell, run again
    await eventually(lambda: not first.tasks)
    await eventually(lambda: second.news.value)
    await second.end()
    assert not second.tasks


async def test_a_function_that_fails_does_nothing_or_is_no_coroutine() -> None:
    race = Race(Play, {"broken": broken, "empty": empty})
    await eventually(lambda: race.news.value)
    await watch(race)
    assert "ValueError: &lt;i&gt;no&lt;/i&gt;" in race.picture.value
    race.choice.value = "empty"
    await eventually(lambda: "Do nothing." in race.picture.value)
    assert who_may(race) == []
    assert said_in(race).endswith("0 winners: that's wrong!")
    wrong = Race(Play, {"wrong": Play})  # type: ignore[dict-item]
    await eventually(lambda: "ValueError: Play has to begin with: async def" in wrong.note.value)


# All the races that there can be


@no_type_check
async def always_wins(game, number):
    return "won"


@no_type_check
async def endless(game, number):
    while True:
        number += 1


@no_type_check
async def deaf(game, number):
    await game.save_slowly()


@no_type_check
async def checks_again(game, number):
    if game.over:
        return "too late"
    if number != 42:
        return "wrong"
    await game.save_the_score()
    if game.over:
        return "too late"
    game.over = True
    return "won"


@no_type_check
async def with_a_lock(game, number):
    async with game.lock:
        if number != 42:
            return "wrong"
        if game.over:
            return "too late"
        await game.save_the_score()
        game.over = True
        return "won"


@no_type_check
async def with_the_bug(game, number):
    if game.over:
        return "too late"
    if number != 42:
        return "wrong"
    await game.save_the_score()
    game.over = True
    return "won"


@no_type_check
async def ends_at_any_guess(game, number):
    if game.over:
        return "too late"
    game.over = True
    if number != 42:
        return "wrong"
    await game.save_the_score()
    return "won"


@pytest.mark.parametrize(
    ("function", "verdict"),
    [
        (solution_of_the_race, "well done! In every order there is one winner, and one score is saved."),
        (with_a_lock, "well done! In every order there is one winner, and one score is saved."),
        (with_the_bug, "not yet: winners: 2, scores saved: 2, in this order: Ada → Bob → Ada → Bob."),
        (checks_again, "not yet: winners: 1, scores saved: 2, in this order: Ada → Bob → Ada → Bob."),
        (always_wins, "not yet: for the guess 7 it returns “won” instead of “wrong”."),
        (ends_at_any_guess, "not yet: after a wrong guess, the game is over: only a right one may end it."),
        (empty, "not yet: for the guess 7 it returns “None” instead of “wrong”."),
        (broken, "not yet: for the guess 7 it returns “ValueError: <i>no</i>” instead of “wrong”."),
        (endless, "not yet: it does not come to an end."),
        (deaf, "not yet: everybody waits, and nothing happens."),
        (Play, "not yet: Play has to begin with: async def."),
    ],
)
async def test_all_orders_are_tried_and_one_that_goes_wrong_is_named(
    function: Any, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await check_judge(Play, function)
    printed = capsys.readouterr().out.strip()
    if "winners" in verdict:  # the first order that goes wrong may be any
        assert re.sub(r"order: .*", "", printed) == re.sub(r"order: .*", "", verdict)
    else:
        assert printed == verdict


def test_choices_are_counted_up_the_last_one_first() -> None:
    assert find_next_choices([(0, 2), (0, 2)]) == [0, 1]
    assert find_next_choices([(0, 2), (1, 2)]) == [1]
    assert find_next_choices([(1, 2), (1, 2)]) is None


async def test_over_the_network_one_of_two_right_guesses_wins() -> None:
    assert await race_often(6) == {"Ada alone": 3, "Bob alone": 3, "both": 0}


@no_type_check
async def all_kinds(game, number):
    """Say what it does."""
    for _ in range(2):
        while game.over:
            break
    try:
        raise OSError
    except OSError:
        number += 1
    else:
        pass
    finally:
        number += 1

    def inner():
        return number

    return inner()


def test_each_statement_has_its_stop_but_not_the_docstring_a_definition_or_a_finally() -> None:
    lines, function = with_stops(all_kinds)
    game = Game(lambda clients, message: None)
    passed = [lines[line - 1].strip() for line in function(game.round, 42).__await__()]
    first = ["for _ in range(2):", "while game.over:", "while game.over:", "try:", "raise OSError"]
    assert passed == [*first, "number += 1", "def inner():", "return inner()"]


@pytest.mark.parametrize(("next_line", "answer"), [(2, "yes"), (3, "no")])
def test_a_question_that_has_to_wait_for_its_answer_shows_it_too(next_line: int, answer: str) -> None:
    lane = Lane("Ada", ["if await game.get_over():", "    return", "await game.set_over()"])
    lane.wait()
    assert lane.stop_before(next_line) == "Ada's await is over, so Ada goes on."
    assert lane.answers == {1: answer}
