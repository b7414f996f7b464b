"""The lesson on several servers as a learner meets it: JupyterLab in a browser, with a real Redis."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from conftest import need
from jupyterlab import (
    chromium,
    connect_to_kernel,
    jupyterlab,
    open_notebook,
    run_all_cells,
    shut_down_kernel,
    wait_for_kernel,
    wait_for_text,
)
from kernels import Kernel

NAME = "11_more_than_one_server"
NEWS = "Игрок Ada угадал число 42!"

pytestmark = pytest.mark.timeout(300)


def part(page: Page, number: int) -> Locator:
    """Return one of the three pictures with four desks."""
    return page.locator(".gg:has(.gg-places)").nth(number)


def press(where: Locator, label: str) -> None:
    where.locator("button", has_text=label).first.click()


def guess(where: Locator, number: int) -> None:
    """Let Ada guess."""
    box = where.locator("input[type=number]").first
    box.fill(str(number))
    box.press("Tab")
    press(where, "Guess!")


def wait_for_columns(page: Page, number: int, text: str, count: int) -> None:
    """Wait until a text stands in so many columns of a picture."""
    script = """([number, text, count]) => {
        const part = [...document.querySelectorAll(".gg:has(.gg-places)")][number];
        const columns = [...part.querySelectorAll(".gg-inbox")];
        return columns.filter(column => column.textContent.includes(text)).length === count;
    }"""
    page.wait_for_function(script, arg=[number, text, count])


def test_the_lesson_shows_who_hears_what_and_what_a_death_costs(tmp_path: Path) -> None:
    need("redis-server")
    pytest.importorskip("redis", reason="the lesson on doors says how to get it")
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(chromium())
        address = stack.enter_context(jupyterlab(tmp_path))
        stack.callback(shut_down_kernel, address, NAME)
        page = open_notebook(browser, address, NAME, 1280, 720)
        stack.callback(page.close)
        wait_for_kernel(page, address, NAME)
        run_all_cells(page)
        client = connect_to_kernel(address, tmp_path, NAME)
        stack.callback(client.stop_channels)
        kernel = Kernel(client)
        wait_for_text(page, ".gg", "started for this lesson")
        for number in range(3):
            width = part(page, number).evaluate("element => element.scrollWidth - element.clientWidth")
            assert width <= 0, "nothing sticks out"

        secret = kernel.value("server.game.round.secret")
        guess(part(page, 0), secret)
        wait_for_columns(page, 0, f"Игрок Ada угадал число {secret}!", 1)
        wait_for_columns(page, 0, "Новая игра началась!", 2)

        part(page, 1).locator("input[type=checkbox]").click()
        guess(part(page, 1), 42)
        lit = part(page, 1).locator(".gg-place.gg-lit", has_text=NEWS)
        while not lit.count():
            press(part(page, 1), "Next step")
            page.wait_for_timeout(300)
        assert lit.all_text_contents()[0].startswith("Redis")
        part(page, 1).locator("input[type=checkbox]").click()
        wait_for_columns(page, 1, NEWS, 4)

        house = part(page, 2)
        guess(house, 42)
        wait_for_columns(page, 2, NEWS, 3)
        for title in ("Door 1", "Redis"):
            press(house, f"Kill {title}")
            house.locator("button", has_text=f"Revive {title}").wait_for()
            wait_for_text(page, ".gg-place", "✝ dead")
            press(house, f"Revive {title}")
            house.locator(".widget-html", has_text="Ada #1 ★ 1").wait_for()
        assert page.locator(".gg-trouble").all_text_contents() == []
