"""Run notebooks in a real Jupyter kernel, and drive their widgets as a browser does: with comm messages."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Iterator

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from conftest import PATIENCE, PROJECT

# A round in which nobody has guessed yet, as all have heard, and whose number no first guess of a bisection can hit.
FRESH_ROUND = """
server.game.draw = lambda low, high: 77
server.new_round()
for player in [board.you, *board.bots]:
    await player.ask({"scores": True})
"""

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def ipython_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which kernels have nobody's settings."""
    return {**os.environ, "IPYTHONDIR": str(folder / "ipython")}


def without_a_class(source: str) -> str:
    """Let a notebook look for its class where no server ever is, whatever runs on this machine's port 8765."""
    return re.sub(r'(page = \\"http://127\.0\.0\.1):8765/', r"\1:1/", source)


def code_cells(notebook: Path) -> list[str]:
    """Return the sources of a notebook's code cells."""
    cells = json.loads(without_a_class(notebook.read_text(encoding="utf-8")))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


class Kernel:
    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def run(self, source: str) -> list[dict[str, Any]]:
        """Run a cell and return its outputs; an error in the cell is an AssertionError."""
        outputs: list[dict[str, Any]] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                outputs.append({"kind": message["msg_type"], **message["content"]})

        reply = self.client.execute_interactive(source, timeout=PATIENCE, output_hook=keep)["content"]
        assert reply["status"] == "ok", f"{reply.get('ename')}: {reply.get('evalue')}\n{source}"
        return outputs

    def run_all(self, notebook: Path) -> list[list[dict[str, Any]]]:
        """Run all cells of a notebook, and return the outputs of each."""
        return [self.run(source) for source in code_cells(notebook)]

    def value(self, expression: str) -> Any:
        """Return the value of an expression, such as a widget shows it, while the notebook goes on."""
        reply = self.client.execute_interactive(
            "", silent=True, store_history=False, user_expressions={"value": expression}, timeout=PATIENCE
        )
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", f"{expression}: {value}"
        return ast.literal_eval(value["data"]["text/plain"])

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true in the kernel; between the questions it has time for the clicks."""
        deadline = time.monotonic() + PATIENCE
        while not self.value(f"bool({expression})"):
            assert time.monotonic() < deadline, f"this never became true: {expression}"
            time.sleep(0.05)

    def click(self, widget: str) -> None:
        """Press a button, as a browser does."""
        self._send(widget, {"method": "custom", "content": {"event": "click"}})

    def set(self, widget: str, value: Any, trait: str = "value") -> None:
        """Move a slider, tick a box, choose from a list (trait "index"), as a browser does."""
        self._send(widget, {"method": "update", "state": {trait: value}, "buffer_paths": []})

    def _send(self, widget: str, data: dict[str, Any]) -> None:
        content = {"comm_id": self.value(f"{widget}.model_id"), "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))


@contextlib.contextmanager
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """Start a kernel as JupyterLab does for a notebook: in the notebook's folder, with nobody's settings."""
    environment = {**ipython_environment(tmp_path), "PYTHONWARNINGS": "default"}
    manager, client = start_new_kernel(
        startup_timeout=PATIENCE * 2, kernel_name="python3", cwd=str(PROJECT / "notebooks"), env=environment
    )
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
