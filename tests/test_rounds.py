"""Lesson 4: the diagram of a round, and the race, line by line."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any, Iterator, no_type_check

import pytest

from conftest import SECRET, eventually, texts
from guessgame import Game, GameServer, Knowledge, Player
from kit import end_lesson
from kit.rounds import GUESSING, NEW_NUMBER, PAUSE, SEEN, Diagram, Race, Story, find_facts, with_stops
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
    return html.unescape(texts(race.picture.value)[0])


async def press(race: Race) -> str:
    """Press "Next step", once both stand before their first line; return what is said."""
    before = await eventually(lambda: race.picture.value)
    race.next_button.click()
    await eventually(lambda: race.picture.value != before)
    return said_in(race)


async def watch(race: Race) -> list[str]:
    """Press until both have come to an end; return what was said."""
    said = []
    while not race.next_button.disabled:
        said.append(await press(race))
    return said


@pytest.fixture(autouse=True)
async def nothing_goes_on() -> Any:
    """After each test, however it ends, all its races have ended."""
    yield
    await end_lesson()
    assert asyncio.all_tasks() == {asyncio.current_task()}


BOTH_WAIT = [
    "Ada has to wait at the await. Meanwhile, it's Bob's turn.",
    "Bob has to wait at the await. Meanwhile, it's Ada's turn.",
]


async def test_a_race_with_the_bug_has_both_in_the_await_before_either_has_won() -> None:
    race = Race(Play, {"with the bug": buggy})
    await eventually(lambda: race.picture.value)
    assert said_in(race).endswith("Ada's guess came first, so it's her turn.")
    said = [await press(race) for _ in range(4)]
    assert said[::2] == [f"{name} asks: game.over? The answer is no." for name in ("Ada", "Bob")]
    assert said[1::2] == BOTH_WAIT
    assert race.game.saved == 0, "nobody goes on before it's their turn"
    said = await watch(race)
    assert said == [
        "Ada's await is over, so Ada goes on.",
        "Ada did: game.over = True",
        "Ada is done: “won”. Now it's Bob's turn.",
        "Bob's await is over, so Bob goes on.",
        "Bob did: game.over = True",
        "Bob is done: “won”. 2 winners: that's wrong!",
    ]
    assert race.game.saved == 2
    race.again_button.click()
    await eventually(lambda: race.game.saved == 0)


async def test_the_marker_stands_at_the_line_that_comes_next_and_says_why() -> None:
    race = Race(Play, {"with the bug": buggy})

    def where() -> Iterator[str]:
        for line in re.findall('<p class="gg-here.*?</p>', race.picture.value):
            yield " ".join(texts(line))

    await eventually(lambda: list(where()) == ["▶ if game.over:", "▷ if game.over:"])
    await press(race)
    assert list(where()) == ["▶ await game.save_the_score()", "▷ if game.over:"]
    assert texts(race.picture.value).count("no") == 1
    await press(race)
    assert list(where()) == ["‖ await game.save_the_score()", "▶ if game.over:"]
    assert list(find_facts(race.game)) == ["lock", "over", "saved"], "neither methods nor private values"
    shown = texts(race.picture.value)
    assert shown[shown.index("game.saved =") + 1] == "0"


async def test_a_race_with_the_solution_has_one_winner_and_the_version_can_be_changed() -> None:
    race = Race(Play, {"yours": buggy, "the solution": solution_of_the_race, "with a lock": locked})
    race.choice.value = "the solution"
    await eventually(lambda: "Check and change at once." in race.picture.value)
    said = await watch(race)
    assert "Bob asks: game.over? The answer is yes." in said
    assert said[-1] == "Ada is done: “won”. One winner, Ada: that's right."
    assert race.game.saved == 1
    race.choice.value = "with a lock"
    await eventually(lambda: "async with game.lock" in race.picture.value)
    said = await watch(race)
    assert said[2:4] == BOTH_WAIT, "Ada saves the score, Bob waits for the lock"
    assert said[-1] == "Bob is done: “too late”. One winner, Ada: that's right."


async def test_one_winner_whose_score_is_saved_twice_is_no_success() -> None:
    race = Race(Play, {"yours": saves_twice})
    said = await watch(race)
    assert "Ada asks: game.over? The answer is no." in said
    assert said[-1].endswith("One winner, Ada, but saved 2 times: that's wrong!")


async def test_who_really_waits_cannot_go_on_until_it_has_come_and_a_failure_is_theirs() -> None:
    race = Race(Play, {"slow": slow})
    said = [await press(race) for _ in range(5)]
    assert said[1:4:2] == BOTH_WAIT
    assert said[4] == "Both are waiting for something. Press again."
    race.game._database.set_exception(OSError("the disk is full"))
    await eventually(lambda: all(lane.can_go_on for lane in race.contest.lanes))
    assert await press(race) == "Ada's await is over, so Ada goes on."
    said = await watch(race)
    assert "Bob has to wait at the await. Meanwhile, it's Ada's turn." in said, "in a finally"
    assert said[-1] == "Bob is done: “lost: the disk is full”. 0 winners: that's wrong!"


async def test_a_race_that_is_left_in_the_middle_closes_what_it_runs() -> None:
    first = Race(Play, {"slow": slow})
    for _ in range(4):
        await press(first)
    second = Race(Play, {"slow": slow})  # the same cell, run again
    await eventually(lambda: not first.tasks)
    await eventually(lambda: second.picture.value)
    await second.end()
    assert not second.tasks


async def test_a_function_that_fails_does_nothing_or_is_no_coroutine() -> None:
    race = Race(Play, {"broken": broken, "empty": empty})
    await watch(race)
    assert "ValueError: &lt;i&gt;no&lt;/i&gt;" in race.picture.value
    race.choice.value = "empty"
    await eventually(lambda: "Do nothing." in race.picture.value)
    assert race.next_button.disabled
    assert said_in(race).endswith("0 winners: that's wrong!")
    wrong = Race(Play, {"wrong": Play})  # type: ignore[dict-item]
    await eventually(lambda: "ValueError: Play has to begin with: async def" in wrong.note.value)


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
