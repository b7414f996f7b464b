"""The demo as a learner meets it: JupyterLab in a browser, Run All Cells, and then the controls of the board."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from conftest import PATIENCE, PROJECT
from jupyterlab import (
    SECONDS,
    chromium,
    connect_to_kernel,
    jupyterlab,
    open_notebook,
    run_all_cells,
    shut_down_kernel,
    wait_for_kernel,
    wait_for_text,
)
from kernels import FRESH_ROUND, Kernel
from kit.steps import Talk

# Each of these starts a kernel; on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclasses.dataclass
class Learner:
    """Somebody who looks at a notebook, and can reach behind the page: luck must not decide what is to be seen."""

    page: Page
    kernel: Kernel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("jupyterlab")
    with jupyterlab(folder) as address:
        yield address, folder


@contextlib.contextmanager
def lesson(browser: Browser, lab: tuple[str, Path], name: str, *size: int) -> Iterator[Learner]:
    """Open a notebook, in a window of some size, and choose Run All Cells."""
    address, folder = lab
    with contextlib.ExitStack() as stack:  # whatever fails here, the next test finds neither this page nor this kernel
        stack.callback(shut_down_kernel, address, name)
        page = stack.enter_context(contextlib.closing(open_notebook(browser, address, name, *size)))
        wait_for_kernel(page, address, name)
        run_all_cells(page)
        client = connect_to_kernel(address, folder, name)
        stack.callback(client.stop_channels)
        yield Learner(page, Kernel(client))
        assert page.locator('[data-mime-type$="jupyter.error"]').count() == 0


@pytest.fixture(scope="module")
def learner(browser: Browser, lab: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[Learner]:
    """One who has the same lesson open for several tests; the first, if they name no other."""
    with lesson(browser, lab, getattr(request, "param", "01_watch_bots_play"), 1280, 720) as learner:
        yield learner


def in_lesson(*names: str) -> pytest.MarkDecorator:
    """Say in which lesson a test looks; pytest runs those of one lesson one after the other."""
    return pytest.mark.parametrize("learner", names, indirect=True)


@pytest.fixture
def page(learner: Learner) -> Page:
    return learner.page


def button(page: Page, label: str) -> None:
    page.locator(".gg button", has_text=label).click()


def rows(page: Page) -> list[str]:
    return page.locator(".gg-rows .gg-row:not(.gg-axis)").all_text_contents()


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    """Return where elements are on the screen; those that are folded away are nowhere."""
    script = "elements => elements.map(e => e.getBoundingClientRect().toJSON()).filter(box => box.width)"
    found: list[dict[str, float]] = page.locator(selector).evaluate_all(script)
    return found


def wait_until_the_board_is_in_view(page: Page) -> None:
    """Wait for that, and until its box for a guess has the keyboard: from now on nothing takes it away."""
    page.wait_for_function("document.activeElement.placeholder === '50'")
    page.wait_for_function(
        """() => {
            const board = document.querySelector(".gg-board").getBoundingClientRect();
            const seen = document.querySelector(".jp-WindowedPanel-outer").getBoundingClientRect();
            return board.top >= seen.top && board.bottom <= seen.bottom;
        }"""
    )


def press(page: Page, label: str) -> None:
    page.locator("button.widget-button", has_text=re.compile(f"^{re.escape(label)}$")).first.click()


def results(page: Page, number: int = 0) -> str:
    """Return what one of the panels of a lesson shows."""
    return str(page.locator(".gg-results").nth(number).text_content())


def remember_what_is_shown(page: Page) -> None:
    """Keep the text of everything that is shown from now on, however short a time it is seen."""
    page.evaluate(
        """() => {
            window.shown = [];
            const keep = node => shown.push(node.innerHTML === undefined ? "" : node.textContent);
            new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(keep)))
                .observe(document.body, {childList: true, subtree: true});
        }"""
    )


def press_until(page: Page, slider: str, key: str, value: str) -> None:
    """Move a slider with the keyboard until its readout shows the value."""
    box = page.locator(".gg .widget-slider", has_text=slider)
    box.locator(".noUi-handle").click()  # this waits until it is in sight
    readout = box.locator(".widget-readout")
    for _ in range(200):
        shown = str(readout.text_content())
        if shown == value:
            return
        page.keyboard.press(key)
        expect(readout).not_to_have_text(shown, timeout=PATIENCE * SECONDS)  # a slow page shows it later
    raise AssertionError(f"{slider} never came to {value}")


def test_after_run_all_cells_the_whole_board_is_in_view(page: Page) -> None:
    wait_until_the_board_is_in_view(page)
    [board] = boxes(page, ".gg-board")
    assert all(line["width"] > board["width"] / 2 for line in boxes(page, ".gg-rows .gg-line"))
    [last] = boxes(page, ".gg-rows .gg-seat5")
    assert all(control["top"] >= last["bottom"] for control in boxes(page, ".gg-board :is(button, input)"))


def test_bots_play_as_soon_as_the_cells_have_run(page: Page) -> None:
    assert [row[:3] for row in rows(page)] == ["You", "Ada", "Bob", "Cle", "Dan", "Eve"]
    wait_for_text(page, ".gg-reply", "Меньше ▶go right")


def test_a_round_is_won_counted_down_and_begun_anew(page: Page) -> None:
    button(page, "More")
    press_until(page, "Seconds between rounds", "ArrowLeft", "2.0")
    button(page, "More")
    press_until(page, "Seconds between guesses", "ArrowLeft", "0.3")
    wait_for_text(page, ".gg-head", "★")
    wait_for_text(page, ".gg-count", "2…")
    wait_for_text(page, ".gg-count", "1…")
    wait_for_text(page, ".gg-head", "who finds the number")
    wait_for_text(page, ".gg-news", "Новая игра началась!")


def test_bars_and_marks_glide_and_nothing_moves_the_controls_during_play(page: Page) -> None:
    page.evaluate("document.querySelector('.gg-rows').isTheSame = true")
    page.evaluate("window.glides = 0; document.addEventListener('transitionrun', () => window.glides++, true)")
    before = boxes(page, ".gg-board :is(button, input, .widget-slider)")
    page.wait_for_function("() => window.glides > 20")
    wait_for_text(page, ".gg-head", "★")
    assert boxes(page, ".gg-board :is(button, input, .widget-slider)") == before
    assert page.evaluate("document.querySelector('.gg-rows').isTheSame"), "the elements live on"


def test_a_win_lights_up_one_row_and_all_the_bars_jump_onto_the_number(page: Page, learner: Learner) -> None:
    button(page, "Pause the bots")
    wait_for_text(page, ".gg button", "Start the bots")
    learner.kernel.run(FRESH_ROUND)
    learner.kernel.run("server.pause = 4; _ = await board.bots[1].guess(77)")
    wait_for_text(page, ".gg-head", "Bob found 77!")
    wait_for_text(page, ".gg-head", "Игрок Bob угадал число 77!")
    wait_for_text(page, ".gg-replies .gg-seat2", "★ found it!")
    page.wait_for_function("() => !document.getAnimations().some(a => a.transitionProperty === 'left')")
    [found] = boxes(page, ".gg-axis i")
    middle = pytest.approx(found["left"] + found["width"] / 2, abs=2)
    assert [bar["left"] + bar["width"] / 2 for bar in boxes(page, ".gg-row:not(.gg-axis) i")] == [middle] * 6
    colour = "rows => rows.map(row => getComputedStyle(row).backgroundColor !== 'rgba(0, 0, 0, 0)')"
    page.wait_for_function("() => !document.getAnimations().some(a => a.animationName === 'gg-told')")
    assert page.locator(".gg-rows .gg-row:not(.gg-axis)").evaluate_all(colour) == [False, False, True, *[False] * 3]
    wait_for_text(page, ".gg-head", "who finds the number")
    learner.kernel.run("server.pause = 2; _ = await board.you.guess(77)")
    page.wait_for_selector(".gg-yours", state="attached")


def test_a_win_freezes_for_a_second_while_lines_grow_to_every_row(page: Page, learner: Learner) -> None:
    learner.kernel.run(FRESH_ROUND)
    wait_for_text(page, ".gg-head", "who finds the number")
    wait_for_text(page, ".gg-count", "6 players")
    page.wait_for_function("() => !document.getAnimations().some(a => a.transitionProperty === 'left')")
    # What is seen while the lines grow: how many there are, and how many bars have moved.
    page.evaluate(
        """() => {
            window.rays = [];
            const wide = () => [...document.querySelectorAll(".gg-seat3 i, .gg-seat4 i")].map(e => e.offsetWidth);
            const before = wide().join();
            document.addEventListener("animationend", event => {
                if (event.animationName !== "gg-grow") return;
                window.rays.push(document.querySelectorAll(".gg-fan line").length, wide().join() === before);
            }, true);
        }"""
    )
    learner.kernel.run("server.pause = 4; _ = await board.bots[3].guess(77)")
    page.wait_for_function("() => window.rays.length")
    assert page.evaluate("window.rays") == [6, True]
    wait_for_text(page, ".gg-board", "1 of ")
    learner.kernel.run("server.pause = 2")


def wait_for_turn(page: Page, row: int) -> None:
    """Wait until a row is marked as the next one."""
    marks = """[...document.querySelectorAll(".gg-name")].map(e => getComputedStyle(e, "::before").content)"""
    page.wait_for_function(f"row => {marks}.findIndex(mark => mark.includes('▸')) === row", arg=row)


def wait_until_the_next_guess_can_be_typed(page: Page) -> None:
    """Wait until a guess was answered: then its box is empty, and has the keyboard again."""
    page.wait_for_function("() => document.activeElement.placeholder === '50' && !document.activeElement.value")


def test_pause_one_guess_and_playing_along(page: Page, learner: Learner) -> None:
    learner.kernel.run(FRESH_ROUND)
    wait_for_text(page, ".gg-head", "who finds the number")
    wait_for_turn(page, 1)
    button(page, "One guess")
    wait_for_text(page, ".gg-reply", "50 Меньше ▶go right: 51–100")
    wait_for_turn(page, 2)
    page.locator(".gg input[placeholder='50']").click()
    page.keyboard.type("80")
    page.keyboard.press("Enter")
    wait_for_text(page, ".gg-answer", "YOUR number is the bigger one")
    wait_for_text(page, ".gg-reply", "80 Больше ◀go left: 1–79")
    wait_until_the_next_guess_can_be_typed(page)
    page.keyboard.type("60")
    button(page, "Guess!")
    wait_until_the_next_guess_can_be_typed(page)
    wait_for_text(page, ".gg-reply", "60 Меньше ▶go right: 61–79")


def test_in_a_crowd_the_winners_row_comes_into_view(page: Page, learner: Learner) -> None:
    learner.kernel.run(FRESH_ROUND)
    button(page, "More")
    page.locator(".gg select", has_text="counting").select_option("counting")
    for _ in range(6):
        button(page, "Add a bot")
    wait_for_text(page, ".gg-rows .gg-seat11", "counting")
    [field] = boxes(page, ".gg-players")
    assert boxes(page, ".gg-rows .gg-seat11")[0]["top"] > field["bottom"], "a crowd has to be scrolled through"
    learner.kernel.run("server.pause = 4; _ = await board.bots[10].guess(77)")
    page.wait_for_function(
        """() => [...document.querySelectorAll(".gg-seat11")].every(row => {
            const [box, field] = [row, row.closest(".gg-players")].map(e => e.getBoundingClientRect());
            return box.top >= field.top && box.bottom <= field.bottom
                && row.contains(document.elementFromPoint(box.left + 30, box.top + 20));
        })"""
    )
    for _ in range(6):
        button(page, "Remove a bot")
    page.wait_for_function("() => document.querySelectorAll('.gg-name').length === 6")
    learner.kernel.run("server.pause = 2")


def test_the_secret_number_can_be_shown(page: Page) -> None:
    dots = "is => (getComputedStyle(document.querySelector('.gg-seat0 .gg-line'), '::after').content !== 'none') === is"
    page.wait_for_function(dots, arg=False)
    page.locator(".gg input[type=checkbox]").check()
    page.wait_for_function(dots, arg=True)
    button(page, "More")


def test_the_board_fills_the_screen_and_comes_back(page: Page) -> None:
    [small] = boxes(page, ".gg-board")
    button(page, "Full screen")
    page.wait_for_function("() => document.querySelector('.gg-board').getBoundingClientRect().width === innerWidth")
    corners = "[[9, 9], [9, 700], [1270, 9], [1270, 700], [600, 400]]"
    topmost = f"{corners}.every(point => document.elementFromPoint(...point).closest('.gg-board'))"
    assert page.evaluate(topmost)
    button(page, "Exit full screen")
    page.wait_for_function(
        "width => document.querySelector('.gg-board').getBoundingClientRect().width === width", arg=small["width"]
    )


def test_nothing_is_cut_off_or_wider_than_the_board(page: Page) -> None:
    button(page, "More")
    for width in (1400, 1280, 1000):
        page.set_viewport_size({"width": width, "height": 1100})
        page.wait_for_timeout(300)
        too_wide = page.evaluate(
            """() => [...document.querySelectorAll(
                ".gg, .gg-head, .gg-replies .gg-row, .gg-name, .gg-reply, .gg-wins, .gg button, .gg .widget-label"
            )].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => `${e.className}: ${e.textContent}`)"""
        )
        assert too_wide == []
        assert page.locator(".gg-axis").all_text_contents() == ["player1255075100", "last guess, replywins"]
    button(page, "More")
    page.set_viewport_size({"width": 1280, "height": 720})


def test_at_1000_pixels_too_the_board_is_whole_in_view(page: Page) -> None:
    page.set_viewport_size({"width": 1000, "height": 720})
    run_all_cells(page)
    wait_until_the_board_is_in_view(page)
    [board] = boxes(page, ".gg-board")
    assert all(line["width"] > board["width"] / 2 for line in boxes(page, ".gg-rows .gg-line"))
    page.set_viewport_size({"width": 1280, "height": 720})
    button(page, "Pause the bots")
    wait_for_text(page, ".gg button", "Start the bots")


def test_two_notebooks_do_not_disturb_each_other(browser: Browser, lab: tuple[str, Path], learner: Learner) -> None:
    if learner.kernel.value("board.running"):  # or else a bot would win, sooner or later
        button(learner.page, "Pause the bots")
        learner.kernel.wait_for("not board.running")
    learner.kernel.run(FRESH_ROUND)
    begun = learner.kernel.value("server.game.rounds_begun")
    with lesson(browser, lab, "05_rounds_and_resets") as other:
        press(other.page, "Ada is right")
        wait_for_text(other.page, ".gg-lit", "● pause")
        assert other.kernel.value("(server.game.rounds_begun, server.game.round.over)") == (1, True)
        assert other.kernel.value("server.url") != learner.kernel.value("server.url")
    learner.page.locator(".gg input[placeholder='50']").fill("1")
    button(learner.page, "Guess!")
    wait_until_the_next_guess_can_be_typed(learner.page)
    assert learner.kernel.value("server.game.rounds_begun") == begun


def test_thirty_quick_presses_of_a_key_end_at_the_last_value(learner: Learner) -> None:
    page = learner.page
    press_until(page, "Seconds between guesses", "ArrowLeft", "0.0")
    page.locator(".gg .widget-slider", has_text="Seconds between guesses").locator(".noUi-handle").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    learner.kernel.wait_for("board.delay_slider.value == 3")


def test_a_slider_moved_in_another_thread_acts_in_the_servers(learner: Learner) -> None:
    learner.kernel.run(
        "import threading\n"
        "arrived, acted, here = [], [], threading.get_ident()\n"
        "async def act(change): acted.append(threading.get_ident() == here)\n"
        "board.delay_slider.observe(lambda change: arrived.append(threading.get_ident() == here), 'value')\n"
        "_ = board.watched(board.delay_slider, act)"
    )
    press_until(learner.page, "Seconds between guesses", "ArrowLeft", "1.5")
    learner.kernel.wait_for("board.delay_slider.value == 1.5 and len(acted) == len(arrived)")
    assert learner.kernel.value("set(acted)") == {True}
    if not version("ipykernel").startswith("6."):
        assert False in learner.kernel.value("arrived"), "these kernels move sliders in another thread"


def test_no_control_ran_into_an_error(page: Page) -> None:
    assert "".join(page.locator(".gg-trouble").all_text_contents()) == ""
    assert page.locator('[data-mime-type$="jupyter.error"]').count() == 0


# The lessons


def cut_off(page: Page, selector: str) -> list[str]:
    """Return those elements whose content is wider or higher than they are."""
    found = page.evaluate(
        """selector => [...document.querySelectorAll(selector)]
            .filter(e => e.clientWidth && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))
            .map(e => `${e.className}: ${e.textContent}`)""",
        selector,
    )
    return [str(text) for text in found]


@in_lesson("02_hello_websocket")
def test_the_bytes_of_the_frames_are_those_that_travel(page: Page) -> None:
    press(page, "Send the guess")
    wait_for_text(page, ".gg-frames .gg-by-server", "Больше")
    sent = page.locator(".gg-frames .gg-by-client").first
    reply = page.locator(".gg-frames .gg-by-server").first
    first, length, mask = (sent.locator(".gg-field b").nth(number).text_content() for number in range(3))
    assert (first, length) == ("81", "8d")
    travelled = bytes.fromhex(str(sent.locator(".gg-content code").text_content()))
    clear = bytes(byte ^ bytes.fromhex(str(mask))[index % 4] for index, byte in enumerate(travelled))
    assert json.loads(clear) == {"guess": 50}
    assert sent.locator(".gg-content b").text_content() == clear.decode()
    assert [reply.locator(".gg-field b").nth(number).text_content() for number in range(2)] == ["81", "0e"]
    assert bytes.fromhex(str(reply.locator(".gg-content code").text_content())) == '"Больше"'.encode()
    assert page.locator(".gg-by-server .gg-mask").count() == 0
    assert page.locator(".gg-by-client .gg-mask").count() == page.locator(".gg-by-client").count() > 0
    left, right = sent.bounding_box(), reply.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] < right["x"], "who speaks is told by the side, too"
    assert left["x"] + left["width"] < right["x"] + right["width"]
    assert left["y"] < right["y"], "a conversation reads downwards"
    assert sent.locator("em").text_content() == "client → server"
    assert reply.locator("em").text_content() == "server → client"


@in_lesson("02_hello_websocket")
def test_hello_websocket_shows_what_comes_back_frame_by_frame(page: Page, learner: Learner) -> None:
    wait_for_text(page, ".jp-OutputArea-output", "101 Switching Protocols")
    wait_for_text(page, ".jp-OutputArea-output .gg-by-server", "YOUR number is the bigger one")
    bytes_that_travelled = page.locator(".gg:has(.gg-bits) button")
    for number in range(13):
        bytes_that_travelled.nth(number).click()
    wait_for_text(page, ".gg-bits big", "}")
    assert "".join(bytes_that_travelled.all_text_contents()) == '{"guess":␣50}'
    press(page, "Send the guess")
    wait_for_text(page, ".gg-frames .gg-by-server", "YOUR number is the bigger one")
    page.locator(".widget-slider .noUi-handle").focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    learner.kernel.wait_for("slider.value == 42")
    press(page, "Send the guess")
    wait_for_text(page, ".gg-frames .gg-by-server", "You guessed it!")
    wait_for_text(page, ".gg-by-client", '{"guess": 42}')
    wait_for_text(page, ".gg-frames .gg-by-server", '{"countdown": 8}')
    press(page, "Send a new name")
    wait_for_text(page, ".gg-frames .gg-by-server", "The score of You, who said 42: 1.")
    press(page, "Send nonsense")
    wait_for_text(page, ".gg-frames .gg-by-server", "This is not a JSON object")
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        assert cut_off(page, ".gg-frame, .gg-field, .gg-field b, .gg-field code, .gg-field span") == []
        assert cut_off(page, ".gg-bits, .gg:has(.gg-bits) button") == []
    page.wait_for_function(  # the newest is in sight, at the bottom
        """() => {
            const frames = document.querySelector(".gg-frames");
            const newest = frames?.querySelector(".gg-frame");
            return newest && newest.getBoundingClientRect().bottom <= frames.getBoundingClientRect().bottom;
        }"""
    )


def run_cell(page: Page) -> None:
    """Press Shift+Enter, and wait until the cell has run, and the notebook has come to rest."""
    page.keyboard.press("Shift+Enter")
    page.wait_for_timeout(300)
    running = "[...document.querySelectorAll('.jp-InputPrompt')].some(e => e.textContent.includes('*'))"
    page.wait_for_function(f"() => !{running}")
    before, top = None, -1.0
    while before != top:
        before, top = top, page.evaluate("document.querySelector('.jp-Cell').getBoundingClientRect().top")
        page.wait_for_timeout(300)


@pytest.mark.skipif(version("jupyterlab") < "4.4", reason="the oldest JupyterLab puts the next cell at the top")
@in_lesson("02_hello_websocket", "03_broadcasting", "05_rounds_and_resets")
def test_after_shift_and_enter_what_is_to_be_pressed_is_in_view(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    page.locator(".jp-Cell").first.click(position={"x": 300, "y": 30})
    cells = page.locator(".jp-Notebook .jp-Cell")
    for number in range(cells.count() - 1):
        run_cell(page)
        button = cells.nth(number).locator(".jp-OutputArea .gg button:not([disabled])")
        if button.count():
            box = button.last.bounding_box()
            seen = page.locator(".jp-WindowedPanel-outer").bounding_box()
            assert box is not None
            assert seen is not None
            assert seen["y"] <= box["y"], button.last.text_content()
            assert box["y"] + box["height"] <= seen["y"] + seen["height"], button.last.text_content()
    assert page.locator(".gg-trouble").all_text_contents() == []


@pytest.fixture
def desks(learner: Learner) -> Learner:
    """Lesson 3, when all that came before has been shown."""
    learner.kernel.wait_for("not desks.story.waiting")
    wait_for_text(learner.page, ".gg-told", ": ")
    return learner


# Notes what flies, however short it can be seen: for each message the desks, the kind, and the words.
NOTE_FLIGHTS = """() => {
    window.flights = [];
    new MutationObserver(() => {
        const pills = [...document.querySelectorAll(".gg-sky > div")].flatMap((desk, number) =>
            [...desk.children].map(pill => [number, pill.className, pill.textContent]));
        const seen = JSON.stringify(pills);
        if (pills.length && seen !== JSON.stringify(window.flights.at(-1))) window.flights.push(pills);
    }).observe(document.body, {childList: true, subtree: true});
}"""

# The controls above and at the desks: where they are, however the notebook is scrolled.
PLACES = """() => {
    const part = document.querySelector(".gg-told").closest(".gg"), top = part.getBoundingClientRect().top;
    return [...part.querySelectorAll("button, input, .gg-server")].map(e => {
        const box = e.getBoundingClientRect();
        return [box.left, box.top - top, box.width, box.height].map(Math.round);
    });
}"""

CUT_OFF = """() => [
        ".gg button", ".gg-told p", ".gg-server", ".gg-server .widget-html",
        ".gg-sky > div", ".gg-sky span", ".gg-inbox", ".gg-inbox > div"
    ].flatMap(selector => [...document.querySelectorAll(selector)])
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => `${e.className}: ${e.textContent}`)"""


def places_at_rest(page: Page) -> Any:
    """Return where the controls are, once a change of the window has come to rest."""
    before, places = None, page.evaluate(PLACES)
    while before != places:
        page.wait_for_timeout(500)
        before, places = places, page.evaluate(PLACES)
    return places


def announced(words: str, *desks: int) -> list[list[object]]:
    return [[desk, "gg-announcement-flies", f"⇊ {words}"] for desk in desks]


@in_lesson("03_broadcasting")
def test_a_guess_and_its_reply_fly_at_one_desk_and_an_announcement_to_the_others(desks: Learner) -> None:
    page = desks.page
    page.evaluate(NOTE_FLIGHTS)
    page.locator("button[title='Bob guesses']").click()
    wait_for_text(page, ".gg-new", "Больше")
    columns = page.locator(".gg-inbox")
    lit = [columns.nth(number).locator(".gg-new").all_text_contents() for number in range(4)]
    assert [len(cards) for cards in lit] == [0, 1, 0, 0]
    assert "↓ a reply to Bob" in lit[1][0]
    desks.kernel.run("desks.numbers['Bob'].value = 42")
    page.locator("button[title='Bob guesses']").click()
    wait_for_text(page, ".gg-inbox", "Новая игра началась!")
    flights = page.evaluate("window.flights")
    assert flights[-9:-7] == [[[1, "gg-reply-flies", '↓ "Больше"']], [[1, "gg-request-flies", '↑ {"guess": 42}']]]
    assert flights[-7:] == [
        [[1, "gg-reply-flies", '↓ "Вы угадали!"']],
        announced('"Игрок Bob угадал число 42!"', 0, 2, 3),
        announced('{"client_id": 2, "name": "Bob", "wins": 1}', 0, 1, 2, 3),
        *(announced(f'{{"countdown": {seconds}}}', 0, 1, 2, 3) for seconds in (3, 2, 1)),
        announced('"Новая игра началась!"', 0, 1, 2, 3),
    ]
    shown = [str(columns.nth(number).text_content()) for number in range(4)]
    assert ["Вы угадали!" in text for text in shown] == [False, True, False, False]
    assert ["Игрок Bob угадал число 42!" in text for text in shown] == [True, False, True, True]
    assert all("to Ada, Cleo, Dan" in shown[number] for number in (0, 2, 3))
    assert [text.count('{"countdown"') for text in shown] == [1] * 4, "one box that counts"


@in_lesson("03_broadcasting")
def test_a_win_can_be_watched_message_by_message(desks: Learner) -> None:
    page = desks.page
    page.locator(".gg input[type=checkbox]").check()
    desks.kernel.run("desks.numbers['Dan'].value = 42")
    desks.kernel.wait_for("desks.slow.value")
    page.locator("button[title='Dan guesses']").click()
    wait_for_text(page, ".gg-told", "8 messages are still to be shown: press Next step.")
    places = page.evaluate(PLACES)
    assert len(places) == 4 * 2 + 3 + 1
    for left, (kind, where, step) in enumerate(
        [
            ("announcement", [0, 1, 2, 3], 'to everybody: {"countdown": 3}'),
            ("announcement", [0, 1, 2, 3], 'to everybody: {"client_id": 4, "name": "Dan", "wins": 1}'),
            ("announcement", [0, 1, 2], 'to Ada, Bob, Cleo: "Игрок Dan угадал число 42!"'),
            ("reply", [3], 'a reply to Dan: "Вы угадали!"'),
            ("request", [3], 'Dan asks: {"guess": 42}'),
        ][::-1]
    ):
        press(page, "Next step")
        wait_for_text(page, ".gg-told", f"{step}{7 - left} messages are still to be shown")
        cells = page.locator(".gg-sky > div")
        page.wait_for_function("count => document.querySelectorAll('.gg-sky span').length === count", arg=len(where))
        assert [number for number in range(4) if cells.nth(number).locator(f".gg-{kind}-flies").count()] == where
        page.wait_for_function("() => !document.getAnimations().some(a => /gg-/.test(a.animationName))")
        rests_above = page.evaluate(
            """() => {
                const box = e => document.querySelector(e).getBoundingClientRect();
                const [sky, pill] = [box(".gg-sky"), box(".gg-sky span")];
                return pill.top - sky.top < sky.bottom - pill.bottom;
            }"""
        )
        assert rests_above == (kind == "request"), "a guess ends at the server, the others at a desk"
        assert page.evaluate(PLACES) == places
    page.locator(".gg input[type=checkbox]").uncheck()
    desks.kernel.wait_for("not desks.slow.value and not desks.story.waiting")
    wait_for_text(page, ".gg-inbox", "Новая игра началась!")
    assert page.evaluate(PLACES) == places


@in_lesson("03_broadcasting")
def test_bob_asleep_lets_the_backlog_grow_until_he_is_cut_off(desks: Learner) -> None:
    page = desks.page
    tops = "() => new Set([...document.querySelectorAll('.gg-inbox')].map(e => e.getBoundingClientRect().top)).size"
    places = {}
    for width in (1000, 1280):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_function("width => innerWidth === width", arg=width)
        places[width] = places_at_rest(page)
    press(page, "Bob falls asleep")
    wait_for_text(page, ".gg-server", "of 64 KiB")
    page.wait_for_function("() => document.querySelector('.gg-pile .progress-bar').offsetWidth > 0")
    wait_for_text(page, ".gg-server", "✂ cut off: ")
    wait_for_text(page, ".gg", "Bob · cut off")
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_function("width => innerWidth === width", arg=width)
        assert [place[1:] for place in places_at_rest(page)] == [place[1:] for place in places[width]]
        page.wait_for_function(f"() => ({CUT_OFF})().length === 0")  # a frame may catch words between two widths
        page.wait_for_function(f"() => ({tops})() === 1")  # side by side
    press(page, "Wake Bob up")
    desks.kernel.wait_for("[client.name for client in server.clients.values()][-1] == 'Bob'")
    desks.kernel.wait_for("not desks.story.waiting")
    page.wait_for_function(f"() => ({CUT_OFF})().length === 0")


@in_lesson("03_broadcasting")
def test_three_halls_race_past_bob_and_everybody_stops_with_him_unless_nobody_waits(desks: Learner) -> None:
    page = desks.page
    halls = page.locator(".gg-hall-of-one")
    assert halls.locator("h4").all_text_contents() == ["in_a_loop", "all_at_once", "without_waiting"]
    assert set(halls.locator(".gg-heard b").all_text_contents()) == {"0"}, "no answer is in sight"
    tops = {box["top"] for box in boxes(page, ".gg-hall-of-one")}
    assert len(tops) == 1, "they stand side by side"
    press(page, "Send 200 messages")
    wait_for_text(page, ".gg-outcome", "has been on its way for")
    wait_for_text(page, ".gg-outcome", "All 200 were sent")
    for number in range(2):
        halls.nth(number).locator("text=Given up: message").wait_for()
    for number in range(3):
        counts = [int(count) for count in halls.nth(number).locator(".gg-heard b").all_text_contents()]
        assert counts[1] == 0
        assert (min(counts[0], *counts[2:]) == 200) == (number == 2)
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        assert page.evaluate(CUT_OFF) == []
        assert cut_off(page, ".gg-hall-of-one, .gg-hall-of-one h4, .gg-outcome, .gg-heard, .gg-heard span") == []


@in_lesson("05_rounds_and_resets")
def test_each_state_is_seen_without_a_pause_and_the_boxes_keep_their_place(page: Page, learner: Learner) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    learner.kernel.run("server.pause = 0")
    wait_for_text(page, ".gg-lit", "● guessing")
    page.locator(".gg-circle").evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
    # After each change of the page: which box is lit, and where everything is.
    page.evaluate(
        """() => {
            window.seen = [], window.places = new Set();
            const look = () => {
                const state = document.querySelector(".gg-lit b")?.textContent;
                if (state && state !== window.seen.at(-1)) window.seen.push(state);
                const boxes = [...document.querySelectorAll(".gg-box, .gg-way, .gg-now")];
                if (boxes.length) window.places.add(boxes.map(
                    e => `${e.offsetLeft} ${e.offsetTop} ${e.offsetWidth} ${e.offsetHeight}`).join());
            };
            new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
            look();
        }"""
    )
    press(page, "Bob is right")
    page.wait_for_function("() => window.seen.length >= 4")
    assert page.evaluate("window.seen") == ["● guessing", "● pause", "● new number", "● guessing"]
    learner.kernel.run("server.pause = 10")
    press(page, "Ada is right")
    wait_for_text(page, ".gg-lit strong", "10")
    assert len(page.evaluate("[...window.places]")) == 1
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        assert cut_off(page, ".gg-box, .gg-box b, .gg-box span, .gg-way span, .gg-now, .gg button") == []


@in_lesson("05_rounds_and_resets")
def test_the_learner_is_the_scheduler_of_a_race_and_sees_it_line_by_line(page: Page) -> None:
    races = [page.locator(".gg", has=page.locator(".gg-race")).nth(number) for number in range(3)]

    def step(race: Locator, name: str, said: str) -> None:
        race.locator("button", has_text=f"{name}'s step").click()
        race.locator(".gg-said", has_text=said).wait_for()

    def where(race: Locator) -> list[str]:
        return race.locator(".gg-here").all_text_contents()

    bug, repaired, quick = races
    assert where(bug) == ["▶    if game.over:", "▶    if game.over:"]
    for name in ("Ada", "Bob"):
        step(bug, name, f"{name} asks: game.over? The answer is no.")
        other = "Bob" if name == "Ada" else "Ada"
        expect(bug.locator("button", has_text=f"{other}'s step")).to_be_disabled()
        step(bug, name, f"{name} asks: number != 42? The answer is no.")
        step(bug, name, f"{name} has to wait at the await.")
    assert where(bug) == ["‖    await game.save_the_score()", "‖    await game.save_the_score()"]
    assert bug.locator(".gg-facts").text_content() == "game.over = Falsegame.saved = 0"
    for name in ("Ada", "Bob"):
        step(bug, name, f"{name}'s await is over")
        step(bug, name, f"{name} did: game.over = True")
        step(bug, name, f"{name} is done")
    assert "2 winners: that's wrong!" in str(bug.locator(".gg-said").text_content())
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        assert cut_off(page, ".gg-lane, .gg-lane p, .gg-lane h4, .gg-facts, .gg-said") == []
        height = bug.evaluate("element => element.offsetHeight")
        assert height < 560, "the buttons and both columns are in sight together"
    bug.locator("button", has_text="From the start").click()
    bug.locator("small", has_text="Ada → Bob → Ada → Bob: 2 winners: that's wrong!").wait_for()
    repaired.locator(".gg-lane", has_text="async def my_judge").first.wait_for()
    for _ in range(2):
        step(quick, "Ada", "The answer is no.")
    step(quick, "Ada", "await game.save_the_score() need not wait, so Ada keeps the turn.")
    expect(quick.locator("button", has_text="Bob's step")).to_be_disabled()


def test_each_client_of_the_learners_server_has_a_column(browser: Browser) -> None:
    talk = Talk()
    talk.names = ["Ada", "Bob"]
    for name in talk.names:
        talk.note_sent(name, '{"guess": 50}')
    style = (PROJECT / "notebooks" / "kit" / "style.css").read_text(encoding="utf-8")
    with contextlib.closing(browser.new_page()) as page:
        page.set_content(f"<style>{style}</style><div class='gg'>{talk.paint()}</div>")
        [ada, bob] = [place.bounding_box() for place in page.locator("p").all()]
    assert ada
    assert bob
    assert ada["x"] + ada["width"] < bob["x"]
    assert ada["y"] + ada["height"] <= bob["y"], "what comes later stands lower"


@in_lesson("05_rounds_and_resets")
def test_the_states_of_a_game_light_up(page: Page, learner: Learner) -> None:
    wait_for_text(page, ".gg-lit", "● guessing")
    page.locator(".widget-slider .noUi-handle").first.focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    learner.kernel.wait_for("server.pause == 2")
    press(page, "Ada is right")
    wait_for_text(page, ".gg-lit", "● pause")
    press(page, "Bob is right")
    wait_for_text(page, ".gg-results", "The round is over: wait for the new game")
    wait_for_text(page, ".gg-lit", "● new number")
    wait_for_text(page, ".gg-lit", "● guessing")
    learner.kernel.run("server.pause = 60")
    press(page, "Both at once")
    wait_for_text(page, ".gg-results", "winners: ['Ada']")
    press(page, "Both at once")
    wait_for_text(page, ".gg-results", "winners: []")
    wait_for_text(page, ".jp-OutputArea-output", "winners: 2, scores saved: 2")


@in_lesson("08_when_things_go_wrong")
def test_what_goes_wrong_is_answered_and_survived(page: Page, learner: Learner) -> None:
    learner.kernel.run("import kit.life; kit.life.LATE = 5")  # however fast this machine is
    for message, meaning in (
        ("hello", "not a JSON object"),
        ('{"guess": 42.0}', "whole number"),
        ("{}", "asks for nothing"),
    ):
        press(page, message)
        wait_for_text(page, ".gg-answer-row", meaning)
    wait_for_text(page, ".widget-html-content", "● Ada is connected.")
    wait_for_text(page, ".gg-waited", "● Ada has waited")
    press(page, "Silent comes")
    press(page, "Sleeper comes")
    wait_for_text(page, ".gg-storm", "Sleeper✕ did not read, and was cut off")
    press(page, "Flood comes")
    wait_for_text(page, ".gg-storm", "pings/s")
    switch = page.locator(".gg .widget-checkbox", has_text="Read 16 KiB a second").first.locator("input")
    switch.click()
    page.wait_for_selector(".gg-waits .gg-late", state="attached")
    wait_for_text(page, ".gg-waited", "✕ Ada has waited")
    switch.click()
    wait_for_text(page, ".gg-waited", "● Ada has waited")
    wait_for_text(page, ".gg-storm", "Flood✕ said goodbye")
    wait_for_text(page, ".gg-storm", "Silent✕ was silent, and was cut off")


@in_lesson("07_event_loop")
def test_a_learner_freezes_the_game_in_the_middle_of_a_guess(page: Page, learner: Learner) -> None:
    wait_for_text(page, ".jp-OutputArea-output", "RuntimeError: asyncio.run() cannot be called")
    wait_for_text(page, ".jp-OutputArea-output", "wins  guesses")
    page.wait_for_selector(".gg-heart i", state="attached")
    learner.kernel.run("server.game.draw = lambda low, high: 77")
    learner.kernel.run("server.new_round()")
    guess = page.frame_locator('iframe[title="The game"]').locator("input[type=number]")
    for label, verdict in (
        ("rude", "The loop stood still"),
        ("dressed_up", "The loop stood still"),
        ("polite", "nobody had to wait"),
    ):
        remember_what_is_shown(page)
        press(page, label)
        guess.fill("50")
        page.wait_for_function("() => shown.some(text => text.includes('Now! Send your guess.'))")
        page.wait_for_timeout(400)
        guess.press("Enter")
        began = time.monotonic()
        assert learner.kernel.value("server.running")
        is_frozen = time.monotonic() - began > 1
        assert is_frozen == (label != "polite"), "the kernel answers nobody"
        learner.kernel.wait_for("any(50 in entry for entry in server.history)")
        learner.kernel.run("server.history.clear()")
        wait_for_text(page, ".gg p", f"{label}: It took 3.")
        assert verdict in " ".join(page.locator(".gg p", has_text=f"{label}: It took").all_text_contents())
    height = page.locator(".gg", has=page.locator("iframe")).first.evaluate("element => element.offsetHeight")
    assert height < 620, "the page and the buttons are in sight together"


@in_lesson("07_event_loop")
def test_a_click_tells_where_it_arrives_and_what_goes_wrong(page: Page) -> None:
    press(page, "Where am I?")
    wait_for_text(page, ".widget-html-content", "thread")
    press(page, "Add")
    wait_for_text(page, ".gg-results", "1 + 1 = 2")
    press(page, "Go wrong")
    wait_for_text(page, ".gg-results", "ValueError: you see me, don't you?")


@in_lesson("06_write_your_own_bot")
def test_an_untouched_exercise_says_not_yet_and_a_race_and_a_tournament_can_be_watched(page: Page) -> None:
    outputs = page.locator(".jp-OutputArea-output").all_text_contents()
    assert sum("not yet" in output for output in outputs) == 5
    found = [re.sub(r"\s+", " ", bar) for bar in page.locator(".gg-bar", has_text="guess").all_text_contents()]
    assert [bar.replace(" found", "") for bar in found] == [
        f"guess {number}{count}" for number, count in enumerate((1, 2, 4, 8, 16, 32, 37), 1)
    ]
    press(page, "One round, slowly")
    wait_for_text(page, ".gg-bar", "1. ")
    wait_for_text(page, ".gg-bar b", "guessed ")
    expect(page.locator("button", has_text="Play 400 rounds")).to_be_disabled()
    wait_for_text(page, ".gg p", " wins. my_bot stays at home: not yet.")
    press(page, "Play 400 rounds")
    wait_for_text(page, "big", "400 of 400 rounds")
    wait_for_text(page, ".gg-bar", "bisection")
    press(page, "Play 400 rounds")
    page.wait_for_function(
        """() => [...document.querySelectorAll(".gg small")].filter(
            e => /^bisection \\d+,/.test(e.textContent)).length === 2"""
    )


@in_lesson("09_a_page_is_a_client")
def test_a_page_and_a_program_play_side_by_side(page: Page, learner: Learner) -> None:
    kernel = learner.kernel
    frame = page.frame_locator("iframe")
    frame.locator("#guess").fill("75")
    frame.locator("#send").click()
    wait_for_text(page, ".gg-overheard", "page #2 → server")
    wait_for_text(page, ".gg-overheard", '{"guess":75}')
    frame.locator("#words", has_text="Меньше").wait_for()
    press(page, "Ada guesses")
    kernel.wait_for("ada.last_guess == 75")
    last_two = "[line.words for line in server.minutes.lines if {!r} in line.who and 'scores' not in line.words][-2:]"
    for player in ("page #2", "Python Ada"):
        guess, reply = kernel.value(last_two.format(player))
        assert (json.loads(guess), reply) == ({"guess": 75}, '"Меньше"')
    press(page, "Ada is <b>Boss</b>")
    press(page, "Ada peeks")
    frame.locator("#words", has_text="Игрок <b>Boss</b> угадал число 77!").wait_for()
    wait_for_text(page, ".gg-overheard p:not(.gg-python)", "server → Python <b>Boss</b>, page #2")
    wait_for_text(page, ".gg-overheard .gg-python", "Python Ada → server")
    wait_for_text(page, ".gg-script mark", "new WebSocket(")


@in_lesson("09_a_page_is_a_client")
def test_presses_in_a_row_are_fewer_guesses_on_a_slow_line(page: Page, learner: Learner) -> None:
    kernel = learner.kernel
    frame = page.frame_locator("iframe")
    kernel.run("server.new_round()")
    frame.locator("#guess").fill("7")
    press(page, "Slow line")
    kernel.wait_for("server.rate == 12")
    for _ in range(20):
        frame.locator("#send").click()
        page.wait_for_timeout(50)
    wait_for_text(page, ".gg-results", "is fast again")
    guesses = kernel.value("[line.words for line in server.minutes.lines].count('{\"guess\":7}')")
    assert 1 <= guesses < 10


@in_lesson("09_a_page_is_a_client")
def test_the_page_of_the_notebook_is_a_foreign_page(page: Page) -> None:
    page.locator(".gg-knocking button", has_text="open server").click()
    wait_for_text(page, ".gg-knocked", 'open server: ✓ "Добро пожаловать!')
    page.locator(".gg-knocking button", has_text="guarded server").click()
    wait_for_text(page, ".gg-knocked", "guarded server: ✕ not let in")
    press(page, "As cats.example")
    wait_for_text(page, ".gg-results", "open server: ✓ welcome! · guarded server: ✕ HTTP 403")


@in_lesson("10_a_whole_class")
def test_a_class_is_steered_from_the_desk_and_seen_from_above(page: Page, learner: Learner) -> None:
    kernel = learner.kernel
    wait_for_text(page, ".gg-card", kernel.value("server.pages[0]"))
    wait_for_text(page, ".gg-list", "Ada")
    press(page, "Invite ten classmates")
    wait_for_text(page, ".gg-now", "12 here")
    page.locator(".gg-desk select").first.select_option("when I say so")
    kernel.wait_for("server.pause is None")
    page.get_by_label("What if the hints went to everybody?").check()
    kernel.wait_for("server.game.shares")
    kernel.run("await you.guess(server.game.round.secret)")
    wait_for_text(page, ".gg-above h1", "Won by Ada")
    wait_for_text(page, ".gg-now", "you say when to go on")
    press(page, "New round now")
    wait_for_text(page, ".gg-now", "they are guessing")
    press(page, "Save what happened")
    with page.expect_download() as download:
        page.locator(".gg-said-here a").click()
    assert "Вы угадали!" in Path(download.value.path()).read_text(encoding="utf-8-sig")
    page.get_by_title("Full screen", exact=True).click()
    page.wait_for_function("document.fullscreenElement?.matches('.gg-picture')")
    page.get_by_title("Full screen", exact=True).click()  # a browser without a head does not mind Escape
    page.wait_for_function("!document.fullscreenElement")


@in_lesson(
    "08_when_things_go_wrong", "07_event_loop", "06_write_your_own_bot", "09_a_page_is_a_client", "10_a_whole_class"
)
def test_no_text_is_cut_and_a_picture_is_seen_while_its_buttons_are_pressed(page: Page) -> None:
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        cut = page.evaluate(
            """() => {
                const controls = ".gg button, .gg .widget-label";
                const pictures = ".gg-bar span, .gg-bar b, .gg-heart b, .gg-storm span";
                return [...document.querySelectorAll(`${controls}, ${pictures}`)]
                    .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
                    .map(e => `${e.className}: ${e.textContent}`);
            }"""
        )
        assert cut == [], width
    page.set_viewport_size({"width": 1280, "height": 720})
    page.wait_for_timeout(300)
    too_high = page.evaluate(
        """() => {
            const room = document.querySelector(".jp-NotebookPanel-notebook").clientHeight;
            return [...document.querySelectorAll(".jp-OutputArea-output:has(.gg button)")]
                .map(e => [e.offsetHeight, e.textContent, room]).filter(([height]) => height > room);
        }"""
    )
    assert too_high == []


def test_the_board_works_with_comms_over_subshells_switched_off(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("subshells")
    # Older versions do not know this setting, and have no subshells.
    settings = {"apputils-extension/kernels-settings": {"commsOverSubshells": "disabled"}}
    with jupyterlab(folder, **settings) as address:
        with lesson(browser, (address, folder), "01_watch_bots_play") as learner:
            wait_until_the_board_is_in_view(learner.page)
            button(learner.page, "Pause the bots")
            wait_for_text(learner.page, ".gg button", "Start the bots")
            press_until(learner.page, "Seconds between guesses", "ArrowLeft", "0.5")
            learner.kernel.wait_for("[bot.delay for bot in board.bots] == [0.5] * 5")
            button(learner.page, "More")
            button(learner.page, "Add a bot")
            wait_for_text(learner.page, ".gg-name", "Fay")


@in_lesson("05_rounds_and_resets")
def test_a_kernel_restarted_in_the_middle_of_a_game_plays_again(
    page: Page, learner: Learner, lab: tuple[str, Path]
) -> None:
    address, folder = lab
    name = "05_rounds_and_resets"
    learner.kernel.run("server.pause = 60")
    press(page, "Ada is right")
    wait_for_text(page, ".gg-lit", "● pause")
    old = learner.kernel.value("server.url")
    page.locator('.lm-MenuBar-itemLabel:text-is("Kernel")').click()
    page.locator('.lm-Menu-item[data-command="kernelmenu:restart-and-clear"]').click()
    page.locator(".jp-Dialog button.jp-mod-warn").click()
    page.wait_for_function("() => !document.querySelector('.jp-OutputArea-child')")
    wait_for_kernel(page, address, name)
    run_all_cells(page)
    wait_for_text(page, ".gg-lit", "● guessing")
    client = connect_to_kernel(address, folder, name)  # the old one may have missed that the kernel is another now
    assert Kernel(client).value("server.url") != old
    client.stop_channels()
