"""Lesson 7: slow work beside a game, and who has to wait for it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from conftest import eventually, texts
from guessgame import GameServer
from kit import end_lesson, join, start_lesson
from kit.turns import Freezer, tell_wait


def test_it_is_told_who_had_to_wait_and_a_forgotten_await_is_no_freeze() -> None:
    assert tell_wait(3.04, 1) == "It took 3.0 s. The loop stood still, and everybody had to wait."
    assert tell_wait(3.0, 28) == "It took 3.0 s. Meanwhile the loop turned 28 times: nobody had to wait."
    assert "Perhaps an await is missing." in tell_wait(0.0001, 0)


async def polite() -> None:
    await asyncio.sleep(1)


async def rude() -> None:
    time.sleep(1)  # noqa: ASYNC251


async def in_a_thread() -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 1)


async def forgetful() -> None:
    asyncio.sleep(1).close()


async def broken() -> None:
    raise ValueError("<b>")


@pytest.fixture
async def game(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("kit.turns.LEAD", 0)
    server = await start_lesson(ping_interval=None)
    yield server
    await end_lesson()


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (polite, "nobody had to wait"),
        (rude, "everybody had to wait"),
        (in_a_thread, "nobody had to wait"),
        (forgetful, "Perhaps an await is missing"),
        (broken, "ValueError: &lt;b&gt;"),
    ],
)
async def test_each_kind_of_work_is_done_beside_the_game(work: Any, told: str, game: GameServer) -> None:
    ada = await join(game.url, "Ada", "Ada")
    freezer = Freezer(game, ada, {"work": work})
    await eventually(lambda: freezer.replies)
    freezer.buttons["work"].click()
    await eventually(lambda: freezer.results)
    assert told in freezer.told.value
    await eventually(lambda: not freezer.buttons["work"].disabled)
    assert freezer.note.value == ""


async def test_a_learner_has_a_moment_to_type_a_guess_and_the_end_ends_all(
    game: GameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.turns.LEAD", 1)
    ada = await join(game.url, "Ada", "Ada")
    freezer = Freezer(game, ada, {"polite": polite})
    said: list[str] = []
    freezer.said.observe(lambda change: said.append(texts(change.new)[0]), "value")
    freezer.buttons["polite"].click()
    await eventually(lambda: said[1:] == ["Now! Send your guess."])
    assert said[0] == "“polite” begins in 1 s. Type a guess on the page."
    assert freezer.buttons["polite"].disabled
    await end_lesson()
    assert not freezer.tasks
    assert freezer.buttons["polite"].disabled


async def test_on_a_hub_without_a_proxy_it_is_told_why_there_is_no_page(
    game: GameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.turns.find_page", lambda server: "")
    ada = await join(game.url, "Ada", "Ada")
    page = Freezer(game, ada, {}).children[1].children[0]
    assert "jupyter-server-proxy" in page.value
