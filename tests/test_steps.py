"""Lesson 4: the checks of the learner's own server, against right servers and many wrong ones."""

from __future__ import annotations

import asyncio
import json
import linecache
import re
import threading
from typing import Any, NamedTuple

import pytest

from conftest import PATIENCE, PROJECT
from kit import steps
from kit.steps import Verdict, rehearse

LESSON = PROJECT / "notebooks" / "04_write_the_server.ipynb"
CELLS = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
PROSE = "\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
[WORDS] = ["".join(cell["source"]) for cell in CELLS if "WELCOME = " in "".join(cell["source"]) and "outputs" in cell]


def folded(title: str) -> list[str]:
    """Return the code in the folds of the lesson that have a title."""
    folds = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", PROSE, re.DOTALL)
    found = [re.findall(r"```python\n(.*?)```", fold, re.DOTALL) for summary, fold in folds if summary == title]
    return [code for [code] in found]


def solutions() -> list[str]:
    """Return the handler of each step, as the folds of the lesson have it or say how to make it."""
    first, second, third, news, new_round = folded("Solution")
    you_won = "                await connection.send(json.dumps(YOU_WON))\n"
    assert third.count(you_won) == 1
    fifth = third.replace(you_won, new_round).replace("connection):\n", "connection):\n    global secret\n", 1)
    return [first, second, third, third.replace(you_won, you_won + news), fifth]


SOLUTIONS = solutions()
[SERVER] = folded("The whole server")


def run_cell(source: str) -> dict[str, Any]:
    """Run what a learner has written, as a cell whose lines Python can show; return the names in it."""
    cells = {"__name__": "__main__"}
    # Not 1 or 100: every guess is then too high, or too low, and half of a handler is never tried.
    exec(f"{WORDS}\nimport asyncio, time\nsecret = random.randint(2, 99)\nplayers = set()", cells)
    name = f"<cell {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), cells)
    return cells


async def check(step: int, source: str) -> Verdict:
    """Check a learner's cell; whatever is in it, nothing may be left behind."""
    tasks, threads = asyncio.all_tasks(), threading.enumerate()
    cells = run_cell(source)
    verdict = await rehearse(step, cells["handler"], cells["players"])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert threading.enumerate() == threads
    return verdict


def change(source: str, *changes: str) -> str:
    """Change a source: the first text becomes the second, the third the fourth."""
    for old, new in zip(changes[::2], changes[1::2]):
        assert old in source
        source = source.replace(old, new)
    return source


@pytest.fixture(autouse=True)
def no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those who say nothing at all are not waited for."""
    monkeypatch.setattr(steps, "PATIENCE", PATIENCE)


# Right servers


@pytest.mark.parametrize("step", range(1, 6))
async def test_the_solution_of_each_step_passes_its_check_and_so_does_that_of_any_later_one(step: int) -> None:
    for source in SOLUTIONS[step - 1 :]:
        verdict = await check(step, source)
        assert verdict.is_right, verdict.sentence


@pytest.mark.parametrize("step", range(1, 6))
async def test_the_whole_server_passes_all_checks(step: int) -> None:
    verdict = await check(step, change(SERVER, "asyncio.run(main())", ""))
    assert verdict.is_right, verdict.sentence


@pytest.mark.parametrize("step", range(2, 6))
@pytest.mark.parametrize("secret", [1, 2, 50, 99, 100])
async def test_a_check_does_not_depend_on_the_secret(step: int, secret: int) -> None:
    numbers = "random.randint = iter([*range(secret + 1, 101), *range(1, 101)] * 9).__next__"
    source = f"import types\nrandom = types.SimpleNamespace()\nsecret = {secret}\n{numbers}\n" + SOLUTIONS[step - 1]
    verdict = await check(step, source.replace("random.randint(1, 100)", "random.randint()"))
    assert verdict.is_right, verdict.sentence


async def test_a_loop_of_sends_is_right_too_if_it_copes_with_those_who_leave_meanwhile() -> None:
    patient = """
                for player in list(players - {connection}):
                    try:
                        await player.send(json.dumps(news))
                    except Exception:
                        pass
"""
    verdict = await check(4, change(SOLUTIONS[3], "                broadcast(others, json.dumps(news))\n", patient))
    assert verdict.is_right, verdict.sentence
    assert "(vanishes without a goodbye)" in [event.heard for event in verdict.talk.events]


# Wrong servers that learners really write


class Wrong(NamedTuple):
    """A wrong server: its step, what is changed in the solution, and what helps."""

    step: int
    changes: tuple[str, ...]
    help: str
    is_silent: bool = False


LOOP = "async for message in connection:"
GUESS = 'guess = int(json.loads(message)["guess"])'
TRY = f"""        try:
            {GUESS}
        except (KeyError, TypeError, ValueError):
            continue
"""
LESS = "await connection.send(json.dumps(LESS))"
YOU_WON = "await connection.send(json.dumps(YOU_WON))"
NEWS = "broadcast(others, json.dumps(news))"
IN_A_LOOP = "for player in {}:\n                    await player.send(json.dumps(news))"
SUPPRESS = """for player in players:
                    try:
                        if player is not connection:
                            await player.send(json.dumps(news))
                    except Exception:
                        pass"""
NEW_SECRET = "secret = random.randint(1, 100)"
NEW_GAME = "broadcast(players, json.dumps(NEW_GAME))"

WRONG = {
    "nothing yet": Wrong(1, (f"{'await connection.send(json.dumps(WELCOME))'}", "pass"), "What shall your handler send?"),
    "no await": Wrong(
        1, ("await connection", "connection"), "line 2 of your cell: send(…) without await in front of it does nothing."
    ),
    "json.dumps forgotten": Wrong(1, ("json.dumps(WELCOME)", "WELCOME"), "and that isn't JSON: a sentence in JSON has"),
    "a repr": Wrong(1, ("json.dumps(WELCOME)", "repr(WELCOME)"), "Send json.dumps(…) of it."),
    "an object": Wrong(1, ("json.dumps(WELCOME)", '{"text": WELCOME}'), "What is sent has to be a text: json.dumps(…)"),
    "another sentence": Wrong(1, ("WELCOME", "YOU_WON"), 'the first thing that Ada hears is "Вы угадали!". Begin with'),
    "print instead of send": Wrong(1, ("await connection.send(", "print("), "print shows its text here, in the notebook."),
    "no parameter": Wrong(1, ("(connection):", "():"), "the library calls your handler with one thing, the connection:"),
    "two parameters": Wrong(1, ("(connection):", "(connection, path):"), "and nothing else in the brackets."),
    "no async": Wrong(
        1, ("async ", "", "await connection.send", "connection.send"), "it begins with async def handler(connection):"
    ),
    "waits for a message first": Wrong(
        1, ("    await", "    await connection.recv()\n    await"), "Send the welcome before you wait for anything.", True
    ),
    "an unknown name": Wrong(1, ("WELCOME", "WELCOM"), "NameError: name 'WELCOM' is not defined. Have you run the cell"),
    "no loop": Wrong(
        2, (f"    {LOOP}", "    for message in [await connection.recv()]:"), "your handler for Ada has come to its end"
    ),
    "return after the first message": Wrong(2, (LESS, f"{LESS}\n            return"), "no return and no break inside."),
    "for without async": Wrong(2, (LOOP, "for message in connection:"), "'ServerConnection' object is not iterable. The loop over"),
    "json.loads forgotten": Wrong(2, (TRY, '        guess = message["guess"]\n'), "json.loads(message) makes a dictionary"),
    "json.loads forgotten, and skipped": Wrong(
        2, ('json.loads(message)["guess"]', 'message["guess"]'), "A message arrives as text: json.loads(message)", True
    ),
    "another key": Wrong(2, ('"guess"', '"gues"'), "nothing came within 1 seconds. Does your handler skip it,", True),
    "the hint is the wrong way round": Wrong(
        2, ("guess < secret", "secret < guess", "guess > secret", "secret > guess"), "It's the other way round: LESS says"
    ),
    "a secret in the handler": Wrong(
        2, (f"    {LOOP}", f"    secret = next(draws)\n    {LOOP}", "async def", "draws = iter([40, 60])\n\n\nasync def"),
        "Draw it once, above the handler",
    ),
    "a secret in the handler, near to another": Wrong(
        2, (f"    {LOOP}", f"    secret = next(draws)\n    {LOOP}", "async def", "draws = iter([50, 51])\n\n\nasync def"),
        "Does each client have a secret of its own?",
    ),
    "one connection for all": Wrong(
        2,
        (f"    {LOOP}", f"    global line\n    line = connection\n    {LOOP}", "await connection.send(json.dumps(LESS", "await line.send(json.dumps(LESS"),
        "Ada has asked, and Bob hears the reply. Is there one variable for all clients?",
        True,
    ),
    "one guess for all": Wrong(
        2, (GUESS, f"{GUESS}\n            await asyncio.sleep(0.1)", "connection):\n", "connection):\n    global guess\n"),
        "both at the same moment, and",
    ),
    "time.sleep": Wrong(2, (LESS, f"time.sleep(0.8)\n            {LESS}"), "time.sleep(0.8): for "),
    "no try": Wrong(2, (TRY, f"        {GUESS}\n"), "KeyError: 'guess'. The message was {\"name\": \"Ada\"}: skip what is no"),
    "not an int": Wrong(
        2, (GUESS, 'guess = json.loads(message)["guess"]'), 'The message was {"guess": "ten"}: skip what is no guess'
    ),
    "no number": Wrong(2, ("ValueError", "OSError"), 'The message was {"guess": "ten"}: skip what'),
    "not JSON": Wrong(2, (GUESS, 'guess = json.loads(message).get("guess", 7)'), "and gets a hint all the same."),
    "not JSON, and a small secret": Wrong(
        2, (GUESS, 'guess = json.loads(message).get("guess", 7)', "async def", "secret = 5\n\n\nasync def"),
        "and gets a hint all the same.",
    ),
    "pass instead of continue": Wrong(2, ("continue", "pass"), "and gets a hint all the same. Skip such a message, with continue."),
    "a reply that is no hint": Wrong(2, ("json.dumps(LESS)", 'json.dumps("less")'), 'heard "less", which is none of', True),
    "players.add forgotten": Wrong(3, ("    players.add(connection)\n", ""), "After the welcome comes players.add(connection)."),
    "a set in the handler": Wrong(
        3, ("    players.add(connection)\n", "    players = set()\n    players.add(connection)\n"), "belongs above the handler."
    ),
    "append": Wrong(3, ("players.add", "players.append"), "A set has add, and a list has append."),
    "players.discard forgotten": Wrong(3, ("players.discard(connection)", "pass"), "Bob has left, and he is still in your"),
    "no finally": Wrong(
        3,
        ("    try:\n        async", "    if True:\n        async", "    finally:\n        players", "    if True:\n        players"),
        "Cleo has vanished without a goodbye, and she is still in your set.",
    ),
    "nobody is told": Wrong(4, (NEWS, "pass"), "Ada has won, and Bob hears nothing of it. Is Bob in your set"),
    "await broadcast": Wrong(4, (NEWS, f"await {NEWS}"), "broadcast is an ordinary function: leave out the await."),
    "broadcast to one": Wrong(4, ("broadcast(others", "broadcast(connection"), "broadcast takes all the connections at once"),
    "broadcast without json": Wrong(4, ("json.dumps(news)", "news"), "and that isn't JSON"),
    "the winner hears the news": Wrong(4, ("players - {connection}", "players"), "hears the news about herself, too."),
    "the winner is told twice": Wrong(4, (YOU_WON, f"{YOU_WON}\n                {YOU_WON}"), "Ada has won once, and is told so"),
    "the winner is not told": Wrong(4, (YOU_WON, "pass"), "Ada has guessed right and isn't told, though the news is out.", True),
    "the others are told that they have won": Wrong(4, ("json.dumps(news)", "json.dumps(YOU_WON)"), "hears YOU_WON. Send that"),
    "the others are told twice": Wrong(4, (NEWS, f"{NEWS}\n                {NEWS}"), "hears of it 2 times."),
    "another number is told": Wrong(4, ("format(number, guess)", "format(guess, number)"), "hears of the number 1, but it was"),
    "a loop over the set": Wrong(
        4, (NEWS, IN_A_LOOP.format("players")), "broadcast(…)"  # which error comes first depends on the order in the set
    ),
    "a loop over a copy": Wrong(
        4, (NEWS, IN_A_LOOP.format("list(others)")), "Cleo left while the others were being told, and a send to nobody fails."
    ),
    "a list that changes under the loop": Wrong(
        4,
        ("async def", "players = []\n\n\nasync def", "players.add", "players.append", "players.discard", "players.remove",
         "others = players - {connection}", "", NEWS, SUPPRESS),
        "Cleo left while the others were being told, and Bob was skipped",
    ),
    "no new round": Wrong(5, (NEW_SECRET, "pass", NEW_GAME, "pass"), "hears of no new game within", True),
    "a new round that nobody is told": Wrong(5, (NEW_GAME, "pass"), "hears of no new game within 1 seconds.", True),
    "a new round that only the others are told": Wrong(
        5, ("broadcast(players, json.dumps(NEW_GAME", "broadcast(others, json.dumps(NEW_GAME"), "the winner, too.", True
    ),
    "the secret is not redrawn": Wrong(5, (NEW_SECRET, "pass"), "wins again. Draw a new number"),
    "global forgotten": Wrong(5, ("    global secret\n", ""), "As its first line, write global secret."),
    "the new game comes first": Wrong(
        5, (YOU_WON, f"{NEW_GAME}\n                {YOU_WON}"), "hears of the new game before she hears that she has won."
    ),
    "everybody is forgotten": Wrong(
        5, ("    global secret\n", "    global secret, players\n", NEW_GAME, f"{NEW_GAME}\n                players = set()"),
        "hears of no new game within 1 seconds.", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_wrong_server_gets_the_sentence_that_helps(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    if wrong.is_silent:
        monkeypatch.setattr(steps, "PATIENCE", 1.0)
    source = change(SOLUTIONS[wrong.step - 1], *wrong.changes)
    verdict = await check(wrong.step, source)
    assert not verdict.is_right
    assert wrong.help in verdict.sentence
