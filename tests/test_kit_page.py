"""Lesson 9: lines of the page's script, the page beside a server, and who may knock at its door."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

import pytest
from playwright.async_api import Browser

from conftest import eventually, game
from guessgame import GameServer
from kit.page import check, knock, knock_at_all, knock_from_here, lines_of_page, page_beside


def lines(function: str, *marks: str) -> list[str]:
    """Return what is shown of a function of the page's script, as a person reads it."""
    _, shown = lines_of_page(function, *marks).children
    text = re.sub("<[^>]*>", "", shown.value)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_of_a_function_the_beginning_and_the_marked_lines_are_shown() -> None:
    shown = lines("connect", "new WebSocket", "onmessage", "onclose")
    assert shown[0] == "  function connect() {"
    assert shown[1] == "    …"
    assert [line[0] for line in shown[2:5]] == ["▸"] * 3
    assert "new WebSocket(" in shown[2]
    assert shown[5:] == ["    …", "  }"]


def test_lines_are_shown_as_text_and_a_function_may_be_asynchronous() -> None:
    assert "=&gt;" in "".join(lines("connect", "onmessage"))
    assert lines("comeBack", "Math.random")[0] == "  async function comeBack(code) {"
    with pytest.raises(ValueError, match="no function hear_nothing"):
        lines_of_page("hear_nothing")


async def test_the_page_stands_beside_the_parts(server: GameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, _ = page_beside(server).children
    assert f'src="{server.pages[0]}"' in frame.value
    monkeypatch.setattr(GameServer, "pages", [])
    frame, _ = page_beside(server).children
    assert f'src="http://127.0.0.1:{server.port}/"' in frame.value


async def test_a_program_is_let_in_as_whoever_it_says_it_is(server: GameServer) -> None:
    async with game(origins=["http://good.example"]) as guarded:
        doors = {"open": server.url, "guarded": guarded.url}
        assert await knock_at_all(doors, None) == "open: ✓ welcome! · guarded: ✓ welcome!"
        assert await knock_at_all(doors, "http://good.example") == "open: ✓ welcome! · guarded: ✓ welcome!"
        assert await knock_at_all(doors, "http://cats.example") == "open: ✓ welcome! · guarded: ✕ HTTP 403"
    assert await knock(guarded.url, None) == "✕ nobody is there"


async def test_a_foreign_page_knocks_by_itself(server: GameServer, browser: Browser, tmp_path: Path) -> None:
    async with game(origins=server.pages) as guarded:
        shown = knock_from_here({"open": server.url, "<guarded>": guarded.url, "wrong": "no-address:"})
        foreign = tmp_path / "foreign.html"
        foreign.write_text(f"<meta charset=utf-8>{shown.data}", encoding="utf-8")
        page = await browser.new_page()
        await page.goto(foreign.as_uri())
        assert await page.text_content(".gg-origin") == "file://"
        for door in ("open", "<guarded>", "wrong"):
            await page.click(f"text=Knock at the {door}")
        await page.wait_for_selector('text=open: ✓ "Добро пожаловать!')
        await page.wait_for_selector("text=<guarded>: ✕ not let in, and not told why (close code 1006)")
        await page.wait_for_selector("text=wrong: ✕ the browser forbids it")
        await eventually(lambda: not server.clients)
        await page.close()


def unwritten(number: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (unwritten, "not yet: write your own lines"),
        (lambda number: number * 2, "well done!"),
        (lambda number: number + 1, "not yet: double(2) returns 3, and should return 4"),
        (lambda number: None, "not yet: double(1) returns None. Is there a return?"),
        (lambda number: number // 0, "not yet: double(1) fails with ZeroDivisionError: "),
    ],
)
def test_an_exercise_is_judged_in_sentences(
    body: Callable[[int], object], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def double(number: int) -> object:
        return body(number)

    check(double, (1, 2), (2, 4))
    assert capsys.readouterr().out.startswith(verdict)
