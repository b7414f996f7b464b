"""The kit of the lessons: clicks, tasks, servers, pictures and panels, without a browser."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import SECRET, eventually, texts
from guessgame import GameServer, Player
from kit import Live, Panel, Part, bars, each, end_lesson, join, join_card, open_line, start_another, start_lesson


async def test_a_lesson_started_again_ends_what_the_earlier_run_has_started() -> None:
    old = await start_lesson(secret=SECRET, pause=0)
    player = await join(old.url, "Ada", "Ada")
    assert await player.guess(SECRET) == "Вы угадали!"
    reader, _ = await open_line(old.port)
    new = await start_lesson()
    assert (old.running, new.running) == (False, True)
    assert player.gone
    assert await reader.read() == b"", "the plain line is closed, too"
    await end_lesson()
    assert not new.running


async def test_a_player_who_joins_again_replaces_the_earlier_one() -> None:
    server = await start_lesson()
    first = await join(server.url, "a", "Ada")
    second = await join(server.url, "a", "Ada")
    assert first.gone
    assert second.name == "Ada"
    assert (await join(server.url, "watcher")).name is None
    await end_lesson()


async def test_a_second_server_replaces_only_an_earlier_second_one() -> None:
    first = await start_lesson()
    second, third = await start_another(origins=["https://example.org"]), await start_another()
    assert [server.running for server in (first, second, third)] == [True, False, True]
    await end_lesson()
    assert [server.running for server in (first, second, third)] == [False] * 3


async def test_a_part_ends_an_earlier_one_of_its_name() -> None:
    first, other = Part("bots"), Part("others")
    tasks = [part.run(asyncio.sleep(3600)) for part in (first, other)]
    Part("bots")
    await asyncio.wait({tasks[0]})
    assert [task.done() for task in tasks] == [True, False]
    await end_lesson()


# Clicks and tasks


async def test_a_click_in_another_thread_acts_in_the_servers() -> None:
    seen: list[int] = []

    async def action(_: Any) -> None:
        seen.append(threading.get_ident())

    await asyncio.get_running_loop().run_in_executor(None, Part().callback(action), None)
    await eventually(lambda: seen == [threading.get_ident()])


async def test_a_task_that_fails_is_shown_and_one_that_is_stopped_is_no_error() -> None:
    async def fail() -> None:
        raise ValueError("<i>no</i>")

    part = Part()
    task = part.run(asyncio.sleep(3600))
    await part.stop()
    assert task.cancelled()
    assert part.note.value == ""
    part.run(fail())
    await eventually(lambda: texts(part.note.value) == ["ValueError: &lt;i&gt;no&lt;/i&gt;"])


# Pictures and panels


async def test_a_picture_keeps_itself_up_to_date_and_says_why_it_cannot() -> None:
    values = [2, 1, 0]
    live = Live(lambda: str(6 // values.pop(0)))
    seen: list[str] = []
    live.picture.observe(lambda change: seen.append(change["new"]), "value")
    await eventually(lambda: "ZeroDivisionError: " in live.note.value)
    assert seen == ["3", "6"]
    await live.stop()


def test_bars_are_as_long_as_their_numbers() -> None:
    painted = bars({"Ada": 200, "Bob": 50.0, "<b>": 0}, "messages")
    assert re.findall(r"width:([0-9.]+)%", painted) == ["100.0", "25.0", "0.0"]
    assert texts(painted) == ["Ada", "200 messages", "Bob", "50 messages", "&lt;b&gt;", "0 messages"]
    assert "width:25.0%" in bars({"two": 2}, full=8)
    assert texts(bars({})) == []


async def test_a_panel_shows_what_each_button_has_brought_the_newest_on_top(server: GameServer) -> None:
    async def fail() -> None:
        raise ValueError("<i>no</i>")

    async def count() -> int:
        return 3

    async with Player(server.url) as player:
        panel = Panel({"Guess 50": lambda: player.guess(50), "Fail": fail, "Count": count}, lines=2)
        for label, shown in (
            ("Guess 50", ["&#34;Больше&#34;", "More: YOUR number is the bigger one, so go down."]),
            ("Fail", ["ValueError: &lt;i&gt;no&lt;/i&gt;"]),
            ("Count", ["3"]),
        ):
            panel.buttons[label].click()
            await eventually(lambda: texts(panel.picture.value)[: len(shown) + 1] == [label, *shown])  # noqa: B023
        assert "Guess 50" not in panel.picture.value, "only two lines are kept"
        await server.stop()
        panel.buttons["Guess 50"].click()
        await eventually(lambda: "Run the cells again, from the top." in panel.picture.value)


async def test_buttons_can_come_from_a_list() -> None:
    async def say(item: Any) -> str:
        return f"said {item}"

    def shout() -> None:
        pass

    buttons = each(say, ["hello", "", b"raw", shout])
    assert list(buttons) == ["hello", "(nothing)", "b'raw'", "shout"]
    assert await buttons["(nothing)"]() == "said "


def test_the_address_for_a_class_has_a_code_only_with_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert texts(join_card("http://192.168.1.20:8765/<").children[1].value) == ["http://192.168.1.20:8765/&lt;"]
    for page in ("http://192.168.1.20:8765/", "https://game.example/class/"):
        assert f'<a href="{page}" target="_blank"' in join_card(page).children[1].value
    code = SimpleNamespace(svg_inline=lambda **options: "<svg></svg>")
    monkeypatch.setitem(sys.modules, "segno", SimpleNamespace(make=lambda content, error: code))
    assert "<svg></svg>" in join_card("http://192.168.1.20:8765/").children[1].value
