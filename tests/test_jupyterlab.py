"""The demo as a learner meets it: JupyterLab in a browser, Run All Cells, and then the controls of the board."""

from __future__ import annotations

import dataclasses
from typing import Iterator

import pytest
from playwright.sync_api import Browser, Page

from jupyterlab import chromium, connect_to_kernel, jupyterlab, open_notebook, run_all_cells, wait_for_text
from kernels import Kernel


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclasses.dataclass
class Learner:
    """Somebody who looks at the demo, and can reach behind the page: luck must not decide what is to be seen."""

    page: Page
    kernel: Kernel


@pytest.fixture(scope="module")
def learner(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    """The demo notebook, after Run All Cells."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    with jupyterlab(folder) as lab:
        page = open_notebook(browser, lab, "01_watch_bots_play")
        run_all_cells(page)
        client = connect_to_kernel(lab, folder)
        yield Learner(page, Kernel(client))
        client.stop_channels()


@pytest.fixture
def page(learner: Learner) -> Page:
    return learner.page


def button(page: Page, label: str) -> None:
    page.locator(".gg button", has_text=label).click()


def rows(page: Page) -> list[str]:
    return page.locator(".gg-row:not(.gg-axis)").all_text_contents()


def press_until(page: Page, slider: str, key: str, value: str) -> None:
    """Move a slider with the keyboard until its readout shows the value."""
    box = page.locator(".gg .widget-slider", has_text=slider)
    box.locator(".noUi-handle").focus()
    for _ in range(200):
        if box.locator(".widget-readout").text_content() == value:
            return
        page.keyboard.press(key)
    raise AssertionError(f"{slider} never came to {value}")


def test_bots_play_as_soon_as_the_cells_have_run(page: Page) -> None:
    assert [row[:3] for row in rows(page)] == ["You", "Ada", "Bob", "Cle", "Dan", "Eve"]
    wait_for_text(page, ".gg-reply", "Меньше")
    wait_for_text(page, ".gg-reply", "go up")


def test_a_round_is_won_counted_down_and_begun_anew(page: Page) -> None:
    press_until(page, "Seconds between rounds", "ArrowLeft", "2.0")
    press_until(page, "Seconds between guesses", "ArrowLeft", "0.3")
    wait_for_text(page, ".gg-head", "★")
    wait_for_text(page, ".gg-count", "2…")
    wait_for_text(page, ".gg-count", "1…")
    wait_for_text(page, ".gg-head", "who finds the number")
    wait_for_text(page, ".gg-news", "Новая игра началась!")


def test_pause_one_guess_and_playing_along(page: Page, learner: Learner) -> None:
    button(page, "Pause the bots")
    wait_for_text(page, ".gg button", "Start the bots")
    learner.kernel.run(  # a fresh round, in which nobody can have found 77 yet
        "server.draw = lambda low, high: 77\n"
        "await board.you.wait_until(lambda: not board.you.round_over)\n"
        "await board.you.guess(server.round.secret)\n"
        "await board.you.wait_until(lambda: not board.you.round_over)"
    )
    wait_for_text(page, ".gg-head", "who finds the number")
    assert page.locator(".gg-turn .gg-name").text_content() == "Adabisection"
    button(page, "One guess")
    wait_for_text(page, ".gg-row", "51–10050 Меньше ▲ go up")
    assert page.locator(".gg-turn .gg-name").text_content() == "Boblucky"
    press_until(page, "Your guess", "ArrowRight", "80")
    button(page, "Guess!")
    wait_for_text(page, ".gg-answer", "YOUR number is bigger than the secret one")
    wait_for_text(page, ".gg-row", "1–7980 Больше ▼ go down")


def test_a_bot_is_added_and_removed(page: Page) -> None:
    count = len(rows(page))
    page.locator(".gg select").select_option("counting")
    button(page, "Add a bot")
    wait_for_text(page, ".gg-name", "Fay")
    assert len(rows(page)) == count + 1
    button(page, "Remove a bot")
    page.wait_for_function("count => document.querySelectorAll('.gg-row:not(.gg-axis)').length === count", arg=count)


def test_the_secret_number_can_be_shown(page: Page) -> None:
    assert page.locator(".gg-secret").count() == 0
    page.locator(".gg input[type=checkbox]").check()
    page.wait_for_selector(".gg-secret", state="attached")


def test_nothing_is_cut_off_or_wider_than_the_board(page: Page) -> None:
    for width in (1400, 1000, 700):
        page.set_viewport_size({"width": width, "height": 1100})
        page.wait_for_timeout(300)
        too_wide = page.evaluate(
            """() => [...document.querySelectorAll(".gg, .gg-head, .gg-row, .gg-name, .gg .widget-label, .gg button")]
                .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => `${e.className}: ${e.textContent}`)"""
        )
        assert too_wide == []


def test_no_control_ran_into_an_error(page: Page) -> None:
    assert "".join(page.locator(".gg-trouble").all_text_contents()) == ""
    assert page.locator('[data-mime-type$="jupyter.error"]').count() == 0
