"""Clients which others have written, used as the README says: join with a name, guess, win, hear of another's win."""

from __future__ import annotations

import asyncio
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import aiohttp
import pexpect
import pytest
from playwright.async_api import async_playwright

from conftest import PATIENCE, PROJECT, SECRET, WELCOME, wire
from guessgame import GameServer
from jupyterlab import SWITCHES, find_browser

README = (PROJECT / "README.md").read_text(encoding="utf-8")
NAMED = '"client_id": 1, "name": "Anna", "wins": 0'
SCORE = '"client_id": 1, "name": "Anna", "wins": 1'


def from_readme(pattern: str, server: GameServer) -> str:
    """Find what the README tells to type, with the port of the server at hand."""
    found = re.search(pattern, README, re.DOTALL)
    assert found, f"the README does not say anything like {pattern}"
    return found.group(1).replace("8765", str(server.port))


def need(program: str) -> str:
    """Return the path of a program; without it, skip the test, but fail in CI."""
    path = shutil.which(program)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    return str(path)


async def in_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Wait for something that blocks, while the server goes on serving."""
    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *arguments, **options))


async def play_in_terminal(server: GameServer, command: str, args: list[str], **options: Any) -> None:
    """Type guesses into a program which shows what it receives."""
    plain = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    program = await in_thread(
        pexpect.spawn, command, args, env=plain, encoding="utf-8", timeout=PATIENCE * 2, **options
    )

    async def expect(*texts: str) -> None:
        for text in texts:  # some print the JSON, some what it means in their language: the words are the same
            await in_thread(program.expect, r"\W+".join(re.findall(r"\w+", text)))

    try:
        await expect(WELCOME, NAMED)
        for line, replies in (
            ('{"guess": 50}', ["Больше"]),
            ("nonsense", ["Это не JSON"]),
            (f'{{"guess": {SECRET}}}', ["Вы угадали!", SCORE, "Новая игра началась!"]),
        ):
            program.sendline(line)
            await expect(*replies)
        async with wire(server.url) as other:
            await other.send({"guess": SECRET})
            await expect(f"Игрок #2 угадал число {SECRET}!", '"client_id": 2, "wins": 1')
    finally:
        program.close(force=True)


async def test_wscat(server: GameServer) -> None:
    need("npx")
    command = from_readme(r"```sh\n(npx --yes wscat [^\n]+)\n```", server)
    await play_in_terminal(server, "/bin/sh", ["-c", command])


async def test_the_command_line_of_websockets(server: GameServer) -> None:
    command = from_readme(r"```sh\n(python -m websockets [^\n]+)\n```", server)
    arguments = [*command.split()[1:-1], f"{command.split()[-1]}/?name=Anna"]
    await play_in_terminal(server, sys.executable, arguments)


async def test_ws_of_node_js(server: GameServer, tmp_path: Path) -> None:
    npm, node = need("npm"), need("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "ws"]
    await in_thread(subprocess.run, install, check=True, capture_output=True, timeout=PATIENCE * 4)
    (tmp_path / "play.cjs").write_text(from_readme(r"```js\n(const WebSocket.*?)```", server), encoding="utf-8")
    await play_in_terminal(server, node, ["play.cjs"], cwd=str(tmp_path))


async def test_aiohttp(server: GameServer) -> None:
    url = from_readme(r'session\.ws_connect\("(.*?)"\)', server)
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert await socket.receive_json() == WELCOME
        assert await socket.receive_json() == {"client_id": 1, "name": "Anna", "wins": 0}
        await socket.send_json({"guess": 50})
        assert await socket.receive_json() == "Больше"
        await socket.send_json({"guess": SECRET})
        heard = [await socket.receive_json() for _ in range(3)]
        assert heard == ["Вы угадали!", {"client_id": 1, "name": "Anna", "wins": 1}, "Новая игра началась!"]
        async with wire(server.url) as other:
            await other.send({"guess": SECRET})
            assert await socket.receive_json() == f"Игрок #2 угадал число {SECRET}!"


async def test_a_page_in_chromium(server: GameServer, tmp_path: Path) -> None:
    script = from_readme(r"```js\n(socket = new WebSocket.*?)```", server)
    guess_again = from_readme(r"for each further guess `(socket\.send\(.*?)`", server)
    assert "75" in guess_again
    (tmp_path / "index.html").write_text("<p>a page of this machine")
    serve_files = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve_files) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=find_browser(), args=SWITCHES)
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{pages.server_port}/")
                heard: asyncio.Queue[Any] = asyncio.Queue()
                await page.expose_function("log", heard.put_nowait)

                async def hear() -> Any:
                    return await asyncio.wait_for(heard.get(), PATIENCE)

                await page.evaluate(f"() => {{ {script.replace('console.log', 'log')} }}")
                assert await hear() == WELCOME
                assert await hear() == {"client_id": 1, "name": "Аня", "wins": 0}
                assert await hear() == "Больше"
                await page.evaluate(guess_again.replace("75", str(SECRET)))
                assert await hear() == "Вы угадали!"
                assert await hear() == {"client_id": 1, "name": "Аня", "wins": 1}
                assert await hear() == "Новая игра началась!"
                async with wire(server.url) as other:
                    await other.send({"guess": SECRET})
                    assert await hear() == f"Игрок #2 угадал число {SECRET}!"
                await browser.close()
        finally:
            await in_thread(pages.shutdown)


async def test_our_own_client_in_a_few_lines(server: GameServer, tmp_path: Path) -> None:
    script = from_readme(r"```python\n(import asyncio\nfrom guessgame.*?)```", server)
    (tmp_path / "play.py").write_text(script, encoding="utf-8")
    found = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "play.py"]
    ended = await in_thread(
        subprocess.run, command, cwd=tmp_path, env=found, capture_output=True, timeout=PATIENCE, check=True
    )
    printed = ended.stdout.decode().splitlines()
    assert printed[0] == "50 Больше"
    assert printed[-1] == f"{SECRET} Вы угадали!"
