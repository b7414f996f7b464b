"""Other people's clients, used as the READMEs say: join with a name, guess, win, hear of somebody else's win."""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser

from conftest import NEW_GAME, PROJECT, SECRET, WELCOME, bisect, ended, need, npm_install, started, terminal, wire
from guessgame import GameServer

README = "".join((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "tests/README.md"))
JOINED = {"client_id": 1, "name": "Anna", "wins": 0, "you": True}
WON = {"client_id": 1, "name": "Anna", "wins": 1}


def from_readme(pattern: str, server: GameServer) -> str:
    """Find what the README says to type, with the port of this server."""
    found = re.search(pattern, README, re.DOTALL)
    assert found, f"the README does not say anything like {pattern}"
    return found.group(1).replace("8765", str(server.port))


async def play_in_terminal(server: GameServer, *command: str, **options: Any) -> None:
    """Type guesses into a program that shows what it receives: the JSON, or what it means in another language."""
    async with terminal(*command, columns=1000, kind="dumb", **options) as program:
        for typed, replies in (
            ("", [WELCOME, JOINED]),
            ('{"guess": 50}', ["Больше"]),
            ("nonsense", ["Это не объект JSON"]),
            (f'{{"guess": {SECRET}}}', ["Вы угадали!", WON, NEW_GAME]),
        ):
            program.type(f"{typed}\n" if typed else "")
            for reply in replies:
                await program.expect(json.dumps(reply, ensure_ascii=False))
        async with wire(server.url) as other:
            await other.send({"guess": SECRET})
            await program.expect(f"Игрок #2 угадал число {SECRET}!")
            await program.expect('"client_id": 2, "wins": 1')


async def test_wscat(server: GameServer) -> None:
    need("npx")
    await play_in_terminal(server, "/bin/sh", "-c", from_readme(r"```sh\n(npx --yes wscat [^\n]+)\n", server))


async def test_the_command_line_of_websockets(server: GameServer) -> None:
    _, *arguments, url = from_readme(r"\n(python -m websockets [^\n]+)\n```", server).split()
    await play_in_terminal(server, sys.executable, *arguments, f"{url}/?name=Anna")


async def test_ws_of_node_js(server: GameServer, tmp_path: Path) -> None:
    await npm_install("ws", tmp_path)
    (tmp_path / "play.cjs").write_text(from_readme(r"```js\n(const WebSocket.*?)```", server), encoding="utf-8")
    await play_in_terminal(server, need("node"), "play.cjs", cwd=str(tmp_path))


async def test_aiohttp(server: GameServer) -> None:
    url = from_readme(r'session\.ws_connect\("(.*?)"\)', server)
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert [await socket.receive_json() for _ in range(2)] == [WELCOME, JOINED]
        await socket.send_json({"guess": 50})
        assert await socket.receive_json() == "Больше"
        await socket.send_json({"guess": SECRET})
        assert [await socket.receive_json() for _ in range(3)] == ["Вы угадали!", WON, NEW_GAME]
        async with wire(server.url) as other:
            await other.send({"guess": SECRET})
            assert await socket.receive_json() == f"Игрок #2 угадал число {SECRET}!"


async def test_a_page_in_chromium(server: GameServer, browser: Browser, tmp_path: Path) -> None:
    script = from_readme(r"```js\n(socket = new WebSocket.*?)```", server)
    guess_again = from_readme(r"for each further guess `(socket\.send\(.*?)`", server)
    assert "75" in guess_again
    (tmp_path / "index.html").write_text("<p>a page of this machine")
    serve_files = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve_files) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{pages.server_port}/")
        heard: asyncio.Queue[Any] = asyncio.Queue()
        await page.expose_function("log", heard.put_nowait)

        async def hear(count: int) -> list[Any]:
            return [await heard.get() for _ in range(count)]

        await page.evaluate(f"() => {{ {script.replace('console.log', 'log')} }}")
        assert await hear(3) == [WELCOME, {**JOINED, "name": "Аня"}, "Больше"]
        await page.evaluate(guess_again.replace("75", str(SECRET)))
        assert await hear(3) == ["Вы угадали!", {**WON, "name": "Аня"}, NEW_GAME]
        async with wire(server.url) as other:
            await other.send({"guess": SECRET})
            assert await hear(1) == [f"Игрок #2 угадал число {SECRET}!"]
        await page.evaluate("0")  # by now log() has answered
        await page.close()
        pages.shutdown()


async def test_our_own_client_in_a_few_lines(server: GameServer) -> None:
    script = from_readme(r"```python\n(import asyncio\nfrom guessgame.*?)```", server)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8"}
    async with started(sys.executable, "-c", script, env=environment) as program:
        status, printed, _ = await ended(program)
    assert status == 0
    assert [printed.splitlines()[index] for index in (0, -1)] == ["Больше", "Вы угадали!"]


async def test_the_whole_server_on_one_page() -> None:
    lesson = json.loads((PROJECT / "notebooks" / "04_write_the_server.ipynb").read_text(encoding="utf-8"))
    text = "".join(line for cell in lesson["cells"] for line in cell["source"])
    found = re.search(r"```python\n(import asyncio\nimport json.*?)asyncio\.run\(main\(\)\)\n```", text, re.DOTALL)
    assert found
    listening = socket.create_server(("127.0.0.1", 0))
    names: dict[str, Any] = {"listening": listening}
    exec(found.group(1).replace('"127.0.0.1", 8765', "sock=listening"), names)
    serving = asyncio.ensure_future(names["main"]())
    url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
    async with wire(url) as player, wire(url) as other:
        number = await bisect(player)
        assert await other.hear_all(2) == [f"Игрок #1 угадал число {number}!", NEW_GAME]
    serving.cancel()
    await asyncio.wait({serving})
