"""Every notebook, in a real kernel: all cells run, twice, and every control of the board does its work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Iterator

import pytest

from conftest import PATIENCE, PROJECT
from kernels import NOTEBOOKS, Kernel, code_cells, kernel

DEMO = PROJECT / "notebooks" / "01_watch_bots_play.ipynb"

# The kernel has tasks of its own, which come and go. The code of a cell is in a "file" named ipykernel_...
OUR_FILES = ("guessgame", "gameboard", "broadcasting", "websockets", "ipykernel_")
OUR_TASKS = f"""[
    repr(task) for task in __import__("asyncio").all_tasks()
    if any(name in task.get_coro().cr_code.co_filename for name in {OUR_FILES})
]"""

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path) as running:
        yield running


def test_a_kernel_reads_all_requests_though_they_come_while_it_replies(jupyter: Kernel) -> None:
    for _ in range(300):
        waiting = {jupyter.client.kernel_info() for _ in range(3)}
        while waiting:
            waiting.discard(jupyter.client.get_shell_msg(timeout=PATIENCE)["parent_header"]["msg_id"])


@every_notebook
def test_a_notebook_is_stored_without_outputs_in_small_cells(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown", "prose first"
    in_a_row = 0
    for cell in cells:
        in_a_row = in_a_row + 1 if cell["cell_type"] == "code" else 0
        assert in_a_row <= 3
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            assert "".join(cell["source"]).count("\n") < 15


@every_notebook
def test_all_cells_run_twice_in_one_kernel_and_once_more_in_disorder(notebook: Path, jupyter: Kernel) -> None:
    for _ in range(2):
        for outputs in jupyter.run_all(notebook):
            # One lesson shows this line of the server's log.
            errors = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
            assert re.sub(r"#\d+.* does not read and is cut off: .*\n", "", errors) == "", "one lesson shows this line"
    for source in reversed(code_cells(notebook)[:-1]):
        jupyter.run(source)


def press_every_button(jupyter: Kernel) -> None:
    """Press each button of each panel, and wait for what it brings."""
    jupyter.run("import gc, html, gameboard; panels = [o for o in gc.get_objects() if type(o) is gameboard.Panel]")
    for number, labels in enumerate(jupyter.value("[list(panel.buttons) for panel in panels]")):
        for label in labels:
            jupyter.click(f"panels[{number}].buttons[{label!r}]")
            if jupyter.value(f"panels[{number}].results.maxlen"):
                jupyter.wait_for(f"html.escape({label!r}) in ([*panels[{number}].results] or [''])[0]")
            jupyter.wait_for(f"not panels[{number}].actions.tasks")
    assert jupyter.value("[panel.actions.trouble.value for panel in panels if panel.actions.trouble.value]") == []


@every_notebook
def test_every_button_answers_and_cleaning_up_leaves_no_server_no_task_and_no_thread(
    notebook: Path, jupyter: Kernel
) -> None:
    jupyter.run("import threading; threads_before = set(threading.enumerate())")
    jupyter.run_all(notebook)
    press_every_button(jupyter)
    assert jupyter.value("len(__import__('gameboard').Actions.in_use)") > 0, "there is something to clean up"
    clean_up = code_cells(notebook)[-1]
    assert "finished = False" in clean_up
    for _ in range(2):
        jupyter.run(clean_up.replace("finished = False", "finished = True"))
    jupyter.wait_for(f"{OUR_TASKS} == []")
    assert jupyter.value("[actions.tasks for actions in __import__('gameboard').Actions.in_use]") == []
    assert jupyter.value("[thread.name for thread in set(threading.enumerate()) - threads_before]") == []
    assert jupyter.value("dict(server.clients)") == {}


def test_running_the_cells_again_stops_the_old_server(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    jupyter.run("old_server, old_board = server, board")
    jupyter.run_all(DEMO)
    assert jupyter.value("dict(old_server.clients)") == {}
    assert jupyter.value("[bot.gone is None for bot in old_board.bots]") == [False] * 5
    assert jupyter.value("len(server.clients)") == 6


def test_bots_play_by_themselves_as_soon_as_the_cells_have_run(jupyter: Kernel) -> None:
    outputs = jupyter.run_all(DEMO)
    assert "application/vnd.jupyter.widget-view+json" in outputs[1][-1]["data"], "the board is shown"
    jupyter.run("board.delay_slider.value = 0")
    jupyter.wait_for("server.rounds_played > 0")


def test_every_control_of_the_board_works_by_comm_messages(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    jupyter.run("server.draw = lambda low, high: 42")
    jupyter.click("board.start_button")
    jupyter.wait_for("not board.running")
    jupyter.set("board.delay_slider", 0)
    jupyter.wait_for("[bot.delay for bot in board.bots] == [0] * 5")
    jupyter.set("board.pause_slider", 0.5)
    jupyter.wait_for("server.pause == 0.5")

    guesses = jupyter.value("sum(bot.guesses for bot in board.bots)")
    jupyter.run("await board.you.wait_until(lambda: not board.you.round_over)")
    jupyter.click("board.step_button")
    jupyter.wait_for(f"sum(bot.guesses for bot in board.bots) == {guesses + 1}")

    jupyter.set("board.strategy", 1, trait="index")
    jupyter.click("board.add_button")
    jupyter.wait_for("len(board.bots) == 6 and board.bots[-1].strategy is lucky")
    jupyter.click("board.remove_button")
    jupyter.wait_for("len(board.bots) == 5")

    jupyter.run("secret = server.round.secret")
    jupyter.set("board.number", 1)
    jupyter.click("board.guess_button")
    jupyter.wait_for("board.you.last_guess == 1 or board.you.wins == 1")
    jupyter.set("board.secret", True)
    jupyter.wait_for("'gg-secret' in board.rows.value")

    for value in range(60):  # a key held down
        jupyter.set("board.number", value % 100 + 1)
    jupyter.wait_for("board.number.value == 60")

    jupyter.click("board.start_button")
    jupyter.wait_for("server.rounds_played > 3")
    assert jupyter.value("board.actions.trouble.value") == ""


def test_the_command_line_runs_in_a_notebook(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    for source in (
        "%run ../guessgame.py bots {server.url} -n 2 --delay 0 --rounds 2",
        "import guessgame; guessgame.main(['bots', server.url, '-n', '2', '--delay', '0', '--rounds', '2'])",
    ):
        jupyter.run("server.pause = 0")
        outputs = jupyter.run(source)
        printed = "".join(output["text"] for output in outputs if output["kind"] == "stream")
        assert "Round 2:" in printed
        assert re.search(r"^bot +wins +guesses$", printed, re.MULTILINE)
        jupyter.click("board.start_button")  # the notebook still reacts
        jupyter.wait_for("board.running in (True, False)")
