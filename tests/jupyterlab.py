"""Open notebooks in a real JupyterLab, in a real Chromium."""

from __future__ import annotations

import contextlib
import json
import queue
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Iterator

from jupyter_client.blocking.client import BlockingKernelClient
from playwright.sync_api import Browser, Page, sync_playwright

from conftest import PATIENCE, PROJECT, SWITCHES, find_browser
from kernels import ipython_environment, without_a_class

SECONDS = 1000  # Playwright counts milliseconds
README = (PROJECT / "README.md").read_text(encoding="utf-8")


@contextlib.contextmanager
def jupyterlab(folder: Path, **settings: dict[str, Any]) -> Iterator[str]:
    """Run JupyterLab on a copy of the project, with settings of its own; yield its address."""
    project = folder / "project"
    shutil.copytree(PROJECT / "notebooks", project / "notebooks")
    shutil.copy(PROJECT / "guessgame.py", project)
    for notebook in (project / "notebooks").glob("*.ipynb"):
        notebook.write_text(without_a_class(notebook.read_text(encoding="utf-8")), encoding="utf-8")
    # In windowed mode the cells out of sight are not in the page.
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        **settings,
    }
    for name, values in settings.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    environment = {
        **ipython_environment(folder),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    options = {
        "--ip": "127.0.0.1",
        # Older versions, asked for port 0, do not tell which one they took. The system hands out ports above these.
        "--port": str(random.randrange(10_000, 30_000)),
        "--ServerApp.root_dir": str(project),
        "--IdentityProvider.token": "",
        "--ServerApp.disable_check_xsrf": "True",  # the tests end kernels, without a browser's cookies
        "--LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    # Started as the README says, so that its command works for whoever runs the tests, root too.
    [flags] = re.findall(r"/jupyter lab (.*) --notebook-dir=. notebooks/", README)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *flags.split()]
    with (folder / "jupyterlab.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *(f"{option}={value}" for option, value in options.items())],
            cwd=folder,  # not beside this module, whose name is JupyterLab's, too
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield wait_for_address(process, folder)
    finally:
        process.terminate()  # JupyterLab then ends its kernels
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for_address(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait until JupyterLab answers, and return where."""
    deadline = time.monotonic() + PATIENCE * 2
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            information = json.loads((folder / "runtime" / f"jpserver-{process.pid}.json").read_text())
            get(information["url"] + "api/status")
            return str(information["url"])
        time.sleep(0.1)
    raise RuntimeError("JupyterLab does not start:\n" + (folder / "jupyterlab.log").read_text())


def get(url: str, method: str = "GET") -> Any:
    """Ask JupyterLab's REST interface, whatever proxy the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method=method), timeout=PATIENCE) as response:
        return json.loads(response.read() or "null")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    path = find_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def open_notebook(browser: Browser, lab: str, name: str, width: int = 1400, height: int = 1100) -> Page:
    """Open a notebook; its kernel may not be ready yet."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE * SECONDS)
    page.goto(f"{lab}lab/tree/notebooks/{name}.ipynb?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    return page


def find_kernels(lab: str, name: str) -> list[tuple[str, Any]]:
    """Return the session of a notebook and what JupyterLab knows of its kernel, if it has one."""
    path = f"notebooks/{name}.ipynb"
    return [(session["id"], session["kernel"]) for session in get(lab + "api/sessions") if session["path"] == path]


def wait_for_kernel(page: Page, lab: str, name: str) -> None:
    """Wait until the kernel of a notebook is ready; the page calls it idle before there is one."""
    deadline = time.monotonic() + PATIENCE
    while not any(
        kernel["execution_state"] == "idle" and kernel["connections"] > 0 for _, kernel in find_kernels(lab, name)
    ):
        assert time.monotonic() < deadline, "the kernel does not start"
        page.wait_for_timeout(100)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')


def connect_to_kernel(lab: str, folder: Path, name: str) -> BlockingKernelClient:
    """Connect to the kernel of a notebook, beside its page."""
    [(_, kernel)] = find_kernels(lab, name)
    client = BlockingKernelClient(connection_file=str(folder / "runtime" / f"kernel-{kernel['id']}.json"))
    client.load_connection_file()
    client.start_channels()
    # Not wait_for_ready(), which waits for a silence: a picture that is painted again and again leaves none.
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_iopub_msg(timeout=1)
            return client
    raise RuntimeError("the kernel does not answer")


def shut_down_kernel(lab: str, name: str) -> None:
    """End the kernel of a notebook, if it has one."""
    for session, _ in find_kernels(lab, name):
        get(f"{lab}api/sessions/{session}", method="DELETE")


def run_all_cells(page: Page) -> None:
    """Choose Run, then Run All Cells, and wait until each cell has a new number, or one has failed."""
    numbers = r"""[...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
        .map(prompt => Number(/^\[(\d+)\]/.exec(prompt.textContent.trim())?.[1]))"""
    last = page.evaluate(f"Math.max(0, ...{numbers}.filter(number => number))")
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    page.wait_for_function(
        f"""last => {{
            if (document.querySelector('[data-mime-type$="jupyter.error"]')) return true;
            const numbers = {numbers};
            return numbers.length && numbers.every(number => number > last);
        }}""",
        arg=last,
    )
    assert page.locator('[data-mime-type$="jupyter.error"]').all_text_contents() == []


def wait_for_text(page: Page, selector: str, text: str) -> None:
    """Wait until some element shows a text."""
    page.wait_for_function(
        "([selector, text]) => [...document.querySelectorAll(selector)].some(e => e.textContent.includes(text))",
        arg=[selector, text],
    )
