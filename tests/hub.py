"""The lessons on a real JupyterHub: `python tests/hub.py`. Run by hand; it takes about a minute.

It needs, beside tests/requirements.txt, the packages jupyterhub and jupyter-server-proxy, best in an environment of
their own, and npm, with which it installs the hub's proxy in a folder that it removes in the end.

Ada and Bob have accounts on a hub that runs on one machine. Ada opens a notebook: she plays in its frame, and behind
its link. Bob opens the address on her join card, and plays on her server through his own.

With `--apart` the hub has a network of its own, so that the browser's 127.0.0.1 is another machine than the hub's.
That needs Linux, root, and the program `ip`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator, NamedTuple

from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

from conftest import PROJECT, need
from jupyterlab import SECONDS, chromium, run_all_cells

PATIENCE = 60  # seconds: a hub starts a whole Jupyter for each user
PACKAGES = ("jupyterhub", "jupyter_server_proxy")
CELLS = (
    "from kit import page_frame, page_links, together\nfrom kit.classroom import JoinCard, find_class, start_class",
    'server = await start_class("127.0.0.1", 0, draw=lambda low, high: 42, pause=3600)',
    "page_links(server)",
    "page_frame(server, 500, 560)",
    "JoinCard(server)",
)
CONFIGURATION = """
c = get_config()
c.JupyterHub.bind_url = {address!r}
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = "{folder}/project"
c.Spawner.default_url = "/lab"
c.Spawner.environment = {{"JUPYTERLAB_SETTINGS_DIR": "{folder}/settings"}}
"""


def write_notebook(path: Path) -> None:
    """Write a notebook that starts a class, and shows all its addresses."""
    empty: dict[str, object] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**empty, "id": f"cell-{number}", "source": source} for number, source in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))


def prepare(folder: Path) -> str:
    """Copy the project, and install the hub's proxy; return the proxy's program."""
    project = folder / "project"
    shutil.copytree(PROJECT / "notebooks", project / "notebooks")
    shutil.copy(PROJECT / "guessgame.py", project)
    write_notebook(project / "notebooks" / "where.ipynb")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    command = [need("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(folder), "configurable-http-proxy"]
    subprocess.run(command, check=True, capture_output=True)
    return str(folder / "node_modules" / ".bin" / "configurable-http-proxy")


def answers(url: str) -> bool:
    """Whether something answers at an address, whatever proxy the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=5):
        return True
    return False


class Machine(NamedTuple):
    """Where the hub runs: how the browser calls it, and how to start a program there."""

    address: str
    prefix: list[str]


@contextlib.contextmanager
def another_machine() -> Iterator[Machine]:
    """Make a network namespace, and a cable from here to there."""
    name = "guess-hub"
    there = f"ip -n {name}"
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add guess-here type veth peer name guess-there netns {name}",
            "ip address add 10.77.0.1/24 dev guess-here",
            "ip link set guess-here up",
            f"{there} address add 10.77.0.2/24 dev guess-there",
            f"{there} link set guess-there up",
            f"{there} link set lo up",
        ):
            subprocess.run(command.split(), check=True)
        yield Machine("10.77.0.2", ["ip", "netns", "exec", name])
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)  # and the cable


def this_machine() -> contextlib.AbstractContextManager[Machine]:
    return contextlib.nullcontext(Machine("127.0.0.1", []))


@contextlib.contextmanager
def hub(folder: Path, proxy: str, machine: Machine, is_named: bool) -> Iterator[str]:
    """Run a hub; yield its address, which it may know itself."""
    port, hub_port, api_port = random.sample(range(10_000, 30_000), 3)
    address = f"http://{machine.address}:{port}/"
    values = {"proxy": proxy, "folder": folder, "address": address, "python": sys.executable}
    text = CONFIGURATION.format(hub_port=hub_port, api_port=api_port, **values)
    if is_named:
        text += f"c.JupyterHub.public_url = {address!r}\n"
    configuration = folder / "jupyterhub_config.py"
    configuration.write_text(text)
    command = [*machine.prefix, sys.executable, "-m", "jupyterhub", "--config", str(configuration)]
    with (folder / "hub.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"{address}hub/login"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "hub.log").read_text())
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()  # the hub then ends the servers of its users, and its proxy
        process.wait(PATIENCE)


def log_in(browser: Browser, address: str, name: str) -> BrowserContext:
    """Let a user log in, and wait until their Jupyter runs."""
    context = browser.new_context(viewport={"width": 1400, "height": 1100})
    context.set_default_timeout(PATIENCE * SECONDS)
    page = context.new_page()
    page.goto(f"{address}hub/login?next=%2Fhub%2Fspawn")
    page.locator("#username_input").fill(name)
    page.locator("#password_input").fill("any")
    page.locator("#login_submit").click()
    page.wait_for_url(f"**/user/{name}/**")
    page.close()
    return context


def play(page: Page | FrameLocator, number: int, reply: str) -> None:
    """Guess, and wait for the reply."""
    page.locator("#guess").fill(str(number))
    page.locator("#send").click()
    page.locator("#words", has_text=reply).wait_for()


def report(text: str) -> None:
    print(f"ok  {text}", flush=True)


def visit(browser: Browser, address: str, is_named: bool) -> None:
    """Let Ada show the class's addresses, and both play at all of them."""
    ada = log_in(browser, address, "ada")
    notebook = ada.new_page()
    notebook.goto(f"{address}user/ada/lab/tree/notebooks/where.ipynb?reset", wait_until="domcontentloaded")
    notebook.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    notebook.wait_for_timeout(2000)
    run_all_cells(notebook)

    play(notebook.frame_locator("iframe"), 50, "Больше")
    report("Ada plays in the frame of her notebook")
    with ada.expect_page() as opening:
        notebook.locator(".gg p a").first.click()
    page = opening.value
    assert page.url.startswith(f"{address}user/ada/proxy/"), page.url
    play(page, 30, "Меньше")
    report(f"Ada plays at the link, {page.url}")
    with ada.expect_page() as opening:
        notebook.locator('a[href$="#watch"]').click()
    hall = opening.value
    hall.locator("#title", has_text="Players here: 2").wait_for()
    report(f"the projector shows the class, and as its address {hall.locator('#address').text_content()}")

    shown = str(notebook.locator(".gg-join b").text_content())
    assert shown.startswith(address if is_named else "…/"), shown
    bob = log_in(browser, address, "bob").new_page()
    bob.goto(shown.replace("…/", address))
    assert f"{address}user/bob/proxy/" in bob.url, bob.url
    play(bob, 42, "Вы угадали!")
    page.locator("#words", has_text="угадал число 42!").wait_for()
    report(f"Bob plays on Ada's server from the card's {shown}, and so at {bob.url}")
    answer = bob.goto(page.url)
    assert answer is not None
    report(f"at Ada's own link, Bob gets HTTP {answer.status}")


def main() -> int:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"install {' and '.join(missing)} first", file=sys.stderr)
        return 2
    os.environ.setdefault("CI", "true")  # what is missing is an error
    choose = another_machine if "--apart" in sys.argv else this_machine
    with tempfile.TemporaryDirectory() as name, chromium() as browser, choose() as machine:
        folder = Path(name)
        proxy = prepare(folder)
        for is_named in (False, True):
            print("A hub that knows its public address" if is_named else "A hub as it comes")
            with hub(folder, proxy, machine, is_named) as address:
                visit(browser, address, is_named)
    return 0


if __name__ == "__main__":
    sys.exit(main())
