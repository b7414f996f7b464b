"""The page: what a browser gets from the server, and how people play on it, with a phone, a laptop, a projector."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

import guessgame
from conftest import NEW_GAME, PATIENCE, PROJECT, SECRET, WELCOME, eventually, game, npm_install, say, wire
from guessgame import GameServer, Player

FILE = (PROJECT / "notebooks" / "page.html").read_text(encoding="utf-8")
expect.set_options(timeout=PATIENCE * 1000)


async def get(server: GameServer, path: str = "/") -> tuple[int, dict[str, str], str]:
    """Ask as the simplest browser would; return status, headers and text."""
    answer = await say(server.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


# What the server answers


async def test_a_browser_gets_the_page(server: GameServer) -> None:
    for path in ("/", "/?name=Anna"):
        status, headers, body = await get(server, path)
        assert (status, body) == (200, FILE)
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert int(headers["content-length"]) == len(FILE.encode())
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert not re.search("https?:|unsafe", policy)


async def test_on_another_path_there_is_a_sentence(server: GameServer) -> None:
    status, headers, body = await get(server, "/favicon.ico")
    assert (status, body.count("\n")) == (404, 1)
    assert headers["content-type"].startswith("text/plain")
    async with wire(f"{server.url}/favicon.ico") as player:
        assert await player.ask({"guess": 50}) == "Больше"


async def test_without_its_file_the_server_says_how_to_play(
    server: GameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessgame, "PAGE", Path("nowhere") / "page.html")
    status, _, body = await get(server)
    assert status == 200
    assert body.startswith("This is a WebSocket server")
    assert f"python guessgame.py play {server.url}" in body


async def test_a_page_costs_no_seat(caplog: pytest.LogCaptureFixture) -> None:
    async with game(max_players=1) as server:
        for _ in range(5):
            assert (await get(server))[0] == 200
        async with wire(server.url):
            assert (await get(server))[0] == 200
    assert not caplog.records


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost"])
async def test_the_page_is_where_the_server_says(host: str) -> None:
    server = game(host=host)
    try:
        await server.start()
    except OSError:
        if host == "::":
            pytest.skip("this machine has no IPv6")
        raise
    address = urlsplit(server.page)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    await server.stop()


async def test_two_requests_at_once_cause_no_error(server: GameServer) -> None:
    await say(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    await eventually(lambda: not server.connections)


async def test_whoever_only_loads_pages_disturbs_nobody(server: GameServer) -> None:
    with contextlib.ExitStack() as stack:
        for beginning in (b"", b"GET / HTTP/1.1\r\nHo"):
            for _ in range(100):
                visitor = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                visitor.sendall(beginning)
        async with wire(server.url) as player:
            loads = asyncio.gather(*(get(server) for _ in range(300)))
            while not loads.done():
                assert await player.ask({"guess": 50}) == "Больше"
            assert [status for status, _, _ in await loads] == [200] * 300
    await eventually(lambda: not server.connections)


def test_the_page_is_short_and_loads_nothing() -> None:
    [script] = re.findall("<script>\n(.*?)</script>", FILE, re.DOTALL)
    assert len(FILE.splitlines()) <= 350
    assert len(script.splitlines()) <= 180
    assert max(map(len, FILE.splitlines())) <= 140
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(|\bon\w+=\"", FILE)
    assert [script.index(heading) for heading in sorted(re.findall(r"// \d\. \w+", script))]


# How people play on it

Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Open the page of a server, each time as another person; any complaint on its console fails the test."""
    complaints: list[str] = []

    async def open_page(server: GameServer, view: str = "", size: Any = (1280, 720), **options: Any) -> Page:
        address = server.page
        context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if request.url != address else None)
        await page.goto(server.page + view)
        await expect(page.locator("#words")).to_have_text(re.compile("!"))  # the welcome, or already the next news
        return page

    yield open_page
    unavoidable = "WebSocket connection to|ERR_CONNECTION_REFUSED"  # browsers log these themselves
    assert [complaint for complaint in complaints if not re.search(unavoidable, complaint)] == []


async def type_guess(page: Page, number: int) -> None:
    await page.locator("#guess").fill(str(number))
    await page.keyboard.press("Enter")


async def take_name(page: Page, name: str, taken: bool = False) -> None:
    await page.locator("#name").fill(name)
    await page.keyboard.press("Enter")
    if not taken:
        await expect(page.locator("#scores")).to_contain_text(f"{name} (you)")


def words(page: Page, text: str) -> Awaitable[None]:
    return expect(page.locator("#words")).to_have_text(text)


async def test_two_pages_and_a_player_in_python_play_a_round(open_page: Open) -> None:
    async with game(pause=3600) as server, Player(server.url, "Боб") as bob:
        anna, other = await open_page(server), await open_page(server)
        await take_name(anna, "Аня")
        await type_guess(anna, 30)
        await words(anna, "Меньше")
        await expect(anna.locator("#meaning")).to_contain_text("Go up")
        await type_guess(anna, 60)
        await words(anna, "Больше")
        await expect(anna.locator("#guesses li")).to_have_text(["60 ◀", "30 ▶"])
        assert await anna.locator("#bar").get_attribute("aria-label") == "still possible: 31 … 59"
        await expect(other.locator("#bar")).to_have_attribute("aria-label", "still possible: 1 … 100")
        await type_guess(anna, SECRET)
        await words(anna, "Вы угадали!")
        await words(other, "Игрок Аня угадал число 42!")
        await expect(other.locator("#bar")).to_have_attribute("aria-label", "still possible: 42 … 42")
        for page, mood in ((anna, "won"), (other, "lost")):
            await expect(page.locator("body")).to_have_attribute("data-mood", mood)
            await expect(page.locator("#scores li")).to_contain_text(["★ 1"])
            await expect(page.locator("#countdown")).to_have_text("New game in 3600")
        server.broadcast({"countdown": 1})
        await expect(other.locator("#countdown")).to_have_text("New game in 1")
        server.begin_round()
        server.broadcast(NEW_GAME)
        for page in (anna, other):
            await words(page, NEW_GAME)
            await expect(page.locator("#bar")).to_have_attribute("aria-label", "still possible: 1 … 100")
            await expect(page.locator("#guesses li")).to_have_count(0)
        await bob.guess(SECRET)
        await words(anna, "Игрок Боб угадал число 42!")
        await expect(anna.locator("#scores li")).to_have_text(["Аня (you)★ 1", "Боб★ 1"])


async def test_a_new_game_leaves_nothing_of_the_countdown(open_page: Open) -> None:
    async with game(pause=1) as server:
        page = await open_page(server)
        await type_guess(page, SECRET)
        await words(page, NEW_GAME)
        await expect(page.locator("#countdown")).to_be_empty()


async def test_a_reply_that_comes_after_the_new_game_has_begun_belongs_to_the_round_before(
    server: GameServer, open_page: Open
) -> None:
    page, answer = await open_page(server), server.answer

    def begin_anew_and_answer(*arguments: Any) -> None:
        server.broadcast(NEW_GAME)
        answer(*arguments)

    server.answer = begin_anew_and_answer  # type: ignore[method-assign]
    await type_guess(page, 50)
    await words(page, "Больше")
    server.answer = answer  # type: ignore[method-assign]
    await expect(page.locator("#guesses li")).to_have_count(0)
    await expect(page.locator("#between")).to_have_text("from 1 to 100")
    await type_guess(page, 60)
    await expect(page.locator("#guesses li")).to_have_text(["60 ◀"])
    await expect(page.locator("#between")).to_have_text("from 1 to 59")


async def test_one_press_is_one_guess(server: GameServer, open_page: Open) -> None:
    server.answer = Mock(wraps=server.answer)  # type: ignore[method-assign]
    page = await open_page(server)
    await page.locator("#guess").fill("50")
    for _ in range(5):
        await page.keyboard.down("Enter")  # held down, it repeats
    await page.keyboard.up("Enter")
    await words(page, "Больше")
    await page.locator("#send").click()
    await expect(page.locator("#guesses li")).to_have_count(2)
    for button in ("more", "less", "less", "send"):
        await page.locator(f"#{button}").click()
    await expect(page.locator("#guesses li")).to_have_text(["49 ◀", "50 ◀", "50 ◀"])
    assert [data for (_, data), _ in server.answer.call_args_list] == [f'{{"guess":{n}}}' for n in (50, 50, 49)]


async def test_the_keyboard_alone_is_enough(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    for key, guesses in (("7", ["7 ▶"]), ("8", ["8 ▶", "7 ▶"])):  # after a reply you type over the old guess
        if key == "7":
            await page.locator("#guess").click()  # selects what is there
        await page.keyboard.type(key)
        await page.keyboard.press("Enter")
        await expect(page.locator("#guesses li")).to_have_text(guesses)
    stops = []
    for _ in range(7):
        stops.append(await page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        await page.keyboard.press("Tab")
    assert stops[:4] == ["guess", "more", "send", "slider"]
    assert {"name", "Set name", "What travels"} <= set(stops)


async def test_whatever_comes_over_the_wire_is_text(open_page: Open) -> None:
    async with game() as server, Player(server.url, "<img src=x onerror=1>") as player:
        page, hall = await open_page(server), await open_page(server, "#watch")
        await page.locator("#wire summary").click()
        await player.guess(SECRET)
        server.broadcast("<script>document.title = 'gone'</script>")
        server.broadcast({"error": "<b>bold</b>"})
        for view in (page, hall):
            await expect(view.locator("#problem")).to_contain_text("<b>bold</b>")
            await expect(view.locator("#scores")).to_contain_text("<img src=x onerror=1>")
            assert await view.locator("img, b, #words script").count() == 0
        await expect(page.locator("#travels li").nth(1)).to_contain_text("<script>")
        assert await page.title() == "Guess the number"


async def test_what_travels_is_shown_as_it_is(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await take_name(page, "Аня")
    await type_guess(page, 101)
    await type_guess(page, 50)
    await words(page, "Больше")
    await page.locator("#wire summary").click()
    lines = await page.locator("#travels li").all_inner_texts()
    assert [line.split("\n")[0] for line in lines] == [
        '← "Больше"', '→ {"guess":50}', '← {"client_id": 1, "name": "Аня", "wins": 0}', '→ {"name":"Аня"}',
        f'← "{WELCOME}"',
    ]  # fmt: skip
    assert lines[-1].endswith("Welcome! Guess a number from 1 to 100.")


async def test_the_projector_shows_how_to_join_and_never_guesses(open_page: Open) -> None:
    async with game(pause=0) as server, contextlib.AsyncExitStack() as stack:
        hall = await open_page(server, "#watch", (1920, 1080))
        assert await hall.locator("input").count() == 0
        await expect(hall.locator("#address")).to_have_text(server.page.rstrip("/"))
        height = await hall.locator("#address").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
        assert height >= 1080 / 20, "for the last row"
        for number in range(14):
            player = await stack.enter_async_context(Player(server.url, f"player {number}"))
            await player.guess(SECRET)
            await player.wait_until(lambda: not player.round_over)  # noqa: B023
        await expect(hall.locator("#scores li")).to_have_count(12)
        for width, height in ((1920, 1080), (1280, 720), (1024, 768)):
            await hall.set_viewport_size({"width": width, "height": height})
            assert await hall.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for part in ("#address", "#picture", "#bar", "#scores li:last-child"):
                await expect(hall.locator(part)).to_be_in_viewport(ratio=1)


async def test_a_page_comes_back_with_its_name_when_the_server_does(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await take_name(page, "Аня")
    await server.stop()
    await words(page, "The server has stopped.")
    await expect(page.locator("#send")).to_be_disabled()
    await server.start()
    await words(page, WELCOME)
    await eventually(lambda: 2 in server.clients and server.clients[2].name == "Аня")
    server.clients[2].connection.transport.abort()
    await eventually(lambda: 3 in server.clients and server.clients[3].name == "Аня")


async def test_a_full_server_is_told_from_one_that_is_not_there(open_page: Open) -> None:
    async with game(max_players=1) as server:
        page = await open_page(server)
        server.clients[1].connection.transport.abort()
        await eventually(lambda: not server.clients)
        async with wire(server.url):
            await words(page, "All seats are taken, or this page may not play here.")
        await words(page, WELCOME)
        await server.stop()
        await words(page, "Can't reach the server.")


async def test_a_name_that_is_taken_is_one_sentence(open_page: Open) -> None:
    async with game() as server, wire(f"{server.url}/?name=Аня"):
        page = await open_page(server)
        await take_name(page, "Аня", taken=True)
        await expect(page.locator("#problem")).to_contain_text("this name is taken: choose another one")
        await take_name(page, "Аня-2")
        await expect(page.locator("#problem")).to_be_empty()
        await page.reload()
        await expect(page.locator("#scores")).to_contain_text("Аня-2 (you)")
        second = await page.context.new_page()
        await second.goto(server.page)
        await expect(second.locator("#problem")).to_contain_text("taken")
        await type_guess(second, 50)
        await words(second, "Больше")
        await expect(page.locator("#problem")).to_be_empty()


async def test_a_phone_that_was_asleep_wakes_up_to_a_living_page(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await take_name(page, "Аня")
    server.clients[1].connection.transport.pause_reading()  # as if the phone's network had forgotten it
    await page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", {value: true, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
            const now = Date.now();
            Date.now = () => now + 60000;
            Object.defineProperty(document, "hidden", {value: false});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    await eventually(lambda: 2 in server.clients)
    server.clients[1].connection.transport.abort()
    await eventually(lambda: server.clients[2].name == "Аня")
    await type_guess(page, 50)
    await words(page, "Больше")


async def find_boxes(page: Page) -> list[dict[str, float]]:
    """Return where the controls are on the page, wherever it is scrolled to."""
    find = """controls => controls.map(control => {
        const {x, y, width, height} = control.getBoundingClientRect();
        return {x, y: y + scrollY, width, height};
    })"""
    boxes: list[dict[str, float]] = await page.locator("button, input, summary").evaluate_all(find)
    return boxes


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (844, 390), (1280, 720), (3840, 2160)], ids=str)
async def test_nothing_moves_or_is_cut_off(open_page: Open, size: tuple[int, int]) -> None:
    async with game(pause=3600) as server, Player(server.url, "я" * 32) as player:
        page = await open_page(server, size=size)
        boxes = await find_boxes(page)
        for box in boxes:
            assert min(box["width"], box["height"]) >= 43.9, "a finger's size"
            assert 0 <= box["x"] <= box["x"] + box["width"] <= size[0]
        await type_guess(page, 50)
        await words(page, "Больше")
        assert await find_boxes(page) == boxes
        await player.guess(SECRET)
        await words(page, f"Игрок {'я' * 32} угадал число 42!")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if size[0] >= 390:
            assert (await find_boxes(page))[:4] == boxes[:4]


async def test_a_russian_browser_gets_a_russian_page(server: GameServer, open_page: Open) -> None:
    page = await open_page(server, locale="ru-RU")
    await expect(page.locator("h1")).to_have_text("Угадайте число")
    assert await page.locator("html").get_attribute("lang") == "ru"
    await type_guess(page, 50)
    await expect(page.locator("#meaning")).to_have_text("Ваше число больше загаданного. Берите меньше!")
    texts = " ".join(await page.locator("h1, h2, button, summary").all_inner_texts())
    assert not re.search("[A-Za-z]", texts)


@pytest.mark.timeout(300)
async def test_axe_finds_nothing_serious(open_page: Open, tmp_path: Path) -> None:
    axe = (await npm_install("axe-core", tmp_path) / "axe.min.js").read_text(encoding="utf-8")
    async with game(pause=1) as server, Player(server.url, "Боб") as player:
        for scheme, view in itertools.product(("light", "dark"), ("", "#watch")):
            page = await open_page(server, view, color_scheme=scheme, bypass_csp=True)
            await page.locator("#wire summary").click()
            await player.wait_until(lambda: not player.round_over)
            for number in (50, SECRET):
                await player.guess(number)
            await words(page, "Игрок Боб угадал число 42!")
            await page.evaluate(axe)
            found = await page.evaluate("axe.run()")
            serious = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
            assert [(fault["id"], fault["nodes"][0]["html"]) for fault in serious] == []
