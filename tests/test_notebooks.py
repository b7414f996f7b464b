"""The notebooks: all their cells and buttons in a real kernel."""

from __future__ import annotations

import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Collection, Iterator

import pytest

from conftest import PATIENCE, PROJECT
from kernels import FRESH_ROUND, NOTEBOOKS, Kernel, code_cells, kernel

DEMO = PROJECT / "notebooks" / "01_watch_bots_play.ipynb"
PAGE_LESSON = PROJECT / "notebooks" / "09_a_page_is_a_client.ipynb"

# The kernel has tasks of its own, which come and go. The code of a cell is in a "file" named ipykernel_...
OUR_FILES = ("guessgame", "websockets", "ipykernel_", str(NOTEBOOKS[0].parent / "kit"))
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
    assert "code code code code" not in " ".join(cell["cell_type"] for cell in cells), "three in a row at the most"
    for cell in cells:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert "".join(cell["source"]).count("\n") < 15


@every_notebook
def test_a_lesson_contains_no_plumbing(notebook: Path) -> None:
    cells = "\n".join(code_cells(notebook))
    for plumbing in (r"globals\(\)", r"finished", r"lambda (\w+)=\1:", r"gg-"):
        assert not re.search(plumbing, cells)
    assert re.fullmatch(r"end_of_lesson\(\w*\)", code_cells(notebook)[-1])


@every_notebook
def test_all_cells_run_twice_in_one_kernel_and_once_more_in_disorder(notebook: Path, jupyter: Kernel) -> None:
    for _ in range(2):
        for outputs in jupyter.run_all(notebook):
            errors = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
            assert errors == ""
    for source in reversed(code_cells(notebook)[:-1]):
        jupyter.run(source)


def run_with_rests(notebook: Path, rests: Collection[int], seconds: float, folder: Path) -> None:
    """Run all cells as somebody does who rests before some of them; a server that pings does so every 20 seconds."""
    folder.mkdir()
    with kernel(folder) as jupyter:
        for number, source in enumerate(code_cells(notebook)):
            if number in rests:
                time.sleep(seconds)
            outputs = jupyter.run(source)
            errors = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
            assert errors == "", f"{notebook.name}, with rests before cells {rests}"
            if source.startswith("await read_frame"):
                assert jupyter.value("'first byte' in _.children[1].value")


@pytest.mark.timeout(PATIENCE * 5)
def test_whoever_rests_before_some_cell_finds_all_as_it_was(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(NOTEBOOKS) + 1) as readers:
        reading = []
        for notebook in NOTEBOOKS:
            cells = range(1, len(code_cells(notebook)))
            reading.append(
                readers.submit(run_with_rests, notebook, random.sample(cells, 1), 45, tmp_path / notebook.stem)
            )
        frames = PROJECT / "notebooks" / "02_hello_websocket.ipynb"
        by_hand = [number for number, source in enumerate(code_cells(frames)) if source.startswith("await read_frame")]
        reading.append(readers.submit(run_with_rests, frames, by_hand, 25, tmp_path / "frames"))
        for each in reading:
            each.result()


def press_every_button(jupyter: Kernel) -> None:
    """Press each button of each panel, and wait for what it brings."""
    jupyter.run("import kit; from markupsafe import escape")
    jupyter.run("panels = [part for part in kit.lesson.parts if isinstance(part, kit.Panel)]")
    for number, labels in enumerate(jupyter.value("[list(panel.buttons) for panel in panels]")):
        for label in labels:
            jupyter.click(f"panels[{number}].buttons[{label!r}]")
            if jupyter.value(f"panels[{number}].results.maxlen"):
                jupyter.wait_for(f"escape({label[:35]!r}) in ([*panels[{number}].results] or [''])[0]")
            jupyter.wait_for(f"not panels[{number}].tasks")
    assert jupyter.value("[panel.note.value for panel in panels if panel.note.value]") == []


@every_notebook
def test_every_button_answers_and_the_last_one_leaves_no_server_no_task_and_no_thread(
    notebook: Path, jupyter: Kernel
) -> None:
    jupyter.run("import threading; threads_before = set(threading.enumerate())")
    jupyter.run_all(notebook)
    press_every_button(jupyter)
    jupyter.run("parts, old = [*kit.lesson.parts], server")
    assert jupyter.value("(parts[-1].name, old.running)") == ("the end", True)
    jupyter.click("parts[-1].controls[0]")
    jupyter.wait_for("not old.running and not old.clients")
    jupyter.wait_for(f"{OUR_TASKS} == []")
    assert jupyter.value("[part.tasks for part in parts if part.tasks]") == []
    assert jupyter.value("[control for part in parts for control in part.controls if not control.disabled]") == []
    told = "This lesson has ended"
    assert jupyter.value(f"[part.name for part in parts if ({told!r} in part.note.value) != bool(part.controls)]") == []
    assert jupyter.value("[thread.name for thread in set(threading.enumerate()) - threads_before]") == []
    jupyter.run_all(notebook)
    assert jupyter.value("server.running")


def test_bots_play_by_themselves_as_soon_as_the_cells_have_run(jupyter: Kernel) -> None:
    outputs = jupyter.run_all(DEMO)
    assert "application/vnd.jupyter.widget-view+json" in outputs[1][-1]["data"], "the board is shown"
    jupyter.run("board.delay_slider.value = 0")
    jupyter.wait_for("server.game.rounds_begun > 1")


def test_every_control_of_the_board_works_by_comm_messages(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    jupyter.click("board.start_button")
    jupyter.wait_for("not board.running")
    jupyter.set("board.delay_slider", 0)
    jupyter.wait_for("[bot.delay for bot in board.bots] == [0] * 5")
    jupyter.set("board.pause_slider", 0.5)
    jupyter.wait_for("server.pause == 0.5")
    jupyter.run(FRESH_ROUND)
    jupyter.click("board.step_button")
    jupyter.wait_for("board.bots[0].last_guess == 50")
    jupyter.set("board.strategy", 1, trait="index")
    jupyter.click("board.add_button")
    jupyter.wait_for("len(board.bots) == 6 and board.bots[-1].strategy is lucky")
    jupyter.set("board.number", "1")
    jupyter.wait_for("board.you.last_guess == 1 and board.number.value == ''")
    for value in range(60):  # a key held down
        jupyter.set("board.delay_slider", value / 20)
    jupyter.wait_for("board.delay_slider.value == 2.95")
    jupyter.set("board.delay_slider", 0)
    jupyter.click("board.start_button")
    jupyter.wait_for("server.game.rounds_begun > 4")
    assert jupyter.value("board.note.value") == ""


@pytest.mark.parametrize("nesting", ["nest_asyncio", "nest_asyncio2"])
def test_the_command_line_runs_in_a_notebook_once_loops_may_nest(nesting: str, jupyter: Kernel) -> None:
    pytest.importorskip(nesting, reason="newer kernels bring it along")
    jupyter.run("from kit import Panel, start_lesson; server = await start_lesson(pause=0)")
    jupyter.run("async def work(): return 'done'")
    jupyter.run("panel = Panel({'Work': work})")
    jupyter.run(f"import {nesting}; {nesting}.apply()")
    for _ in range(2):
        outputs = jupyter.run("%run ../guessgame.py bots {server.url} -n 3 --rounds 2 --delay 0.01")
        printed = "".join(output["text"] for output in outputs if output["kind"] == "stream")
        scores = printed.partition("wins  guesses\n")[2].split("\n")
        assert sum(int(score.split()[1]) for score in scores if score) >= 2
        jupyter.run("panel.results.clear()")
        jupyter.click("panel.buttons['Work']")  # the notebook still reacts
        jupyter.wait_for("'done' in ([*panel.results] or [''])[0]")


def test_the_doors_of_the_page_lesson_let_in_and_refuse(jupyter: Kernel) -> None:
    jupyter.run_all(PAGE_LESSON)
    jupyter.run("import kit; [panel] = [p for p in kit.lesson.parts if 'No origin' in getattr(p, 'buttons', ())]")
    for label, guarded in (
        ("No origin", "✓ welcome!"),
        ("As the page", "✓ welcome!"),
        ("As cats.example", "✕ HTTP 403"),
    ):
        jupyter.click(f"panel.buttons[{label!r}]")
        answer = f"open server: ✓ welcome! · guarded server: {guarded}"
        jupyter.wait_for(f"{answer!r} in ([*panel.results] or [''])[0] and {label!r} in panel.results[0]")


def test_the_exercise_of_the_race_accepts_the_solution_and_not_what_stands_there(jupyter: Kernel) -> None:
    outputs = jupyter.run_all(PROJECT / "notebooks" / "05_rounds_and_resets.ipynb")
    printed = [output["text"] for cell in outputs for output in cell if output.get("name") == "stdout"]
    assert len(printed) == 1
    assert printed[0].startswith("not yet: winners: 2, scores saved: 2, in this order: ")
    solved = jupyter.run("from kit.rounds import solution; await check_judge(Game, solution)")
    assert solved[0]["text"].startswith("well done!")
    assert jupyter.value("results['both']") == 0


def test_a_bot_of_your_own_has_its_chance_in_the_tournament(jupyter: Kernel) -> None:
    notebook = PROJECT / "notebooks" / "06_write_your_own_bot.ipynb"
    jupyter.run_all(notebook)
    [exercise] = [source for source in code_cells(notebook) if source.startswith("def my_bot")]

    def write(body: str) -> str:
        outputs = jupyter.run(exercise.replace("raise NotImplementedError", body))
        return "".join(output["text"] for output in outputs)

    assert write("return Low").startswith("not yet: it fails with NameError")
    assert write("return low / 2").startswith("not yet: for 1 to 100 it returns 0.5 (use `//`, not `/`)")
    assert write("while True: pass").startswith("not yet: for 1 to 100 it does not come to an end")
    jupyter.run("import kit; [arena] = [part for part in kit.lesson.parts if part.name == 'tournament']")
    assert write("return (low + high) // 2") == "5.80 guesses on average, 7 at worst: well done!\n"
    jupyter.click("arena.fast_button")
    jupyter.wait_for("arena.history")
    wins = jupyter.value("{racer.name: racer.wins for racer in arena.racers}")
    assert sum(wins.values()) == 400
    total = wins["my_bot"] + wins["bisection"]
    assert abs(wins["my_bot"] - total / 2) < 70, "of two that ask for the same numbers, the lot decides each round"


WRONG = {
    "url_of_page": [
        'return f"ws://{host}:{port}/?name={name}"',
        "return f\"ws://{host}:{port}/?name={quote(name or '')}\"",
        "return f\"ws://{host}:{port}/{'?name=' + quote(name) if name else ''}\"",
        "return f\"http://{host}:{port}/{'?name=' + quote(name, safe='') if name else ''}\"",
    ],
    "waiting_time": [
        "return min(30, 2**failures)",
        "return 2**failures * (0.5 + luck)",
        "return min(30, 2**failures * (0.5 + luck))",
        "return min(30, 2**failures) * luck",
        "return min(30, 2 * failures) * (0.5 + luck)",
    ],
}


def test_the_exercises_of_the_page_lesson_accept_their_solutions_and_nothing_wrong(jupyter: Kernel) -> None:
    jupyter.run_all(PAGE_LESSON)
    cells = json.loads(PAGE_LESSON.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    solutions = re.findall(r"<summary>Solution</summary>\n\n```python\n(.*?)```", prose, re.DOTALL)
    exercises = [source for source in code_cells(PAGE_LESSON) if "raise NotImplementedError" in source]
    assert len(solutions) == len(exercises) == len(WRONG)
    for (name, attempts), exercise, solution in zip(WRONG.items(), exercises, solutions):
        signature, check = exercise.split("    raise NotImplementedError\n")
        assert name in signature

        def verdict(definition: str) -> str:
            outputs = jupyter.run(definition + check)  # noqa: B023
            return "".join(str(output["text"]) for output in outputs).strip()  # a slow kernel prints in two pieces

        assert verdict(signature + "    raise NotImplementedError\n") == "not yet: write your own lines"
        assert verdict(solution) == "well done!"
        for attempt in attempts:
            assert verdict(f"{signature}    {attempt}\n").startswith("not yet: "), attempt
