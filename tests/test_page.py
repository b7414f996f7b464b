"""The page: what a browser gets from the server, and how people play on it, with a phone, a laptop, a projector."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, expect

import guessgame
from conftest import NEW_GAME, PATIENCE, PROJECT, SECRET, WELCOME, eventually, game, npm_install, say, wire
from guessgame import Client, GameServer, Player, ServerGone
from relay import Relay

FILE = (PROJECT / "notebooks" / "page.html").read_text(encoding="utf-8")
[SCRIPT] = re.findall("<script>\n(.*?)</script>", FILE, re.DOTALL)
PICTURE = "data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22%3E%3C/svg%3E"
LOST = "Connection lost. Reconnecting…"
expect.set_options(timeout=PATIENCE * 1000)


async def get(server: GameServer, path: str = "/", *headers: str) -> tuple[int, dict[str, str], str]:
    """Ask as the simplest browser would; return status, headers and text."""
    request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""])
    answer = await say(server.port, request.encode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def filled(server: GameServer, code: str = "{code}") -> str:
    """Return the page as a server hands it out."""
    return FILE.replace("{pages}", " ".join(server.pages)).replace("{code}", code)


@pytest.fixture
def without_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has installed what draws the QR code."""
    monkeypatch.setitem(sys.modules, "segno", None)


@pytest.fixture
def with_segno(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever is installed: a QR code is a red square. Return the addresses that it was asked for."""
    asked: list[str] = []

    def make(address: str) -> SimpleNamespace:
        asked.append(address)
        return SimpleNamespace(svg_data_uri=lambda: PICTURE)

    monkeypatch.setitem(sys.modules, "segno", SimpleNamespace(make=make))
    return asked


# What the server answers


@pytest.mark.usefixtures("without_segno")
async def test_a_browser_gets_the_page(server: GameServer) -> None:
    for path in ("/", "/?name=Anna", "/game/", "/user/ada/proxy/8765/"):
        status, headers, body = await get(server, path)
        assert (status, body) == (200, filled(server))
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert int(headers["content-length"]) == len(body.encode())
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert not re.search("https?:|unsafe", policy)


async def test_the_page_is_told_its_addresses_and_a_code(
    with_segno: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["http://192.168.1.20:8765/", "http://10.0.0.2:8765/"]
    monkeypatch.setattr(GameServer, "pages", addresses)
    async with game() as server:
        _, _, body = await get(server)
        assert f'data-pages="{" ".join(addresses)}"' in body
        assert 'data-code="data:image/svg+xml,' in body
        assert with_segno == addresses[:1]
        monkeypatch.setattr(GameServer, "pages", [])
        _, _, body = await get(server)
        assert 'data-pages=""' in body
        assert 'data-code="{code}"' in body


async def test_on_another_path_there_is_a_sentence(server: GameServer) -> None:
    status, headers, body = await get(server, "/favicon.ico")
    assert (status, body.count("\n")) == (404, 1)
    assert headers["content-type"].startswith("text/plain")
    async with wire(f"{server.url}/favicon.ico") as player:
        assert await player.ask({"guess": 50}) == "Больше"


async def test_another_upgrade_gets_the_page_and_a_lost_one_a_sentence(
    server: GameServer, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, body = await get(server, "/", "Upgrade: h2c", "Connection: Upgrade")
    assert status == 200
    assert "<!doctype html>" in body
    assert not [record for record in caplog.records if "refused" in record.message]
    status, _, body = await get(server, "/", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    assert status == 426
    assert "proxy" in body
    assert [record for record in caplog.records if "proxy" in record.message]


async def test_without_its_file_the_server_says_how_to_play(
    server: GameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessgame, "PAGE", Path("nowhere") / "page.html")
    status, _, body = await get(server)
    assert status == 200
    assert body.startswith("This is a WebSocket server")
    assert "python guessgame.py play ws://" in body


async def test_a_page_costs_no_seat(caplog: pytest.LogCaptureFixture) -> None:
    async with game(max_players=1) as server:
        for _ in range(5):
            assert (await get(server))[0] == 200
        async with wire(server.url):
            assert (await get(server))[0] == 200
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost"])
async def test_the_page_is_where_the_server_says(host: str) -> None:
    async with game(host=host) as server:
        for address in server.pages:
            parts = urlsplit(address)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_the_page_arrives_on_a_line_that_takes_little_at_once(server: GameServer) -> None:
    for listening in server.server.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.socket() as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        visitor.connect(("127.0.0.1", server.port))
        visitor.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=visitor)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        assert len(await reader.readexactly(int(length[1]))) > 32_768
        writer.close()


async def test_two_requests_at_once_cause_no_error(server: GameServer) -> None:
    await say(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    await eventually(lambda: not server.connections)


async def test_whoever_only_loads_pages_disturbs_nobody(server: GameServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for beginning in (b"", b"GET / HTTP/1.1\r\nHo"):
            for _ in range(100):
                _, visitor = await asyncio.open_connection("127.0.0.1", server.port)
                stack.callback(visitor.close)
                visitor.write(beginning)
        async with wire(server.url) as player:
            loads = asyncio.gather(*(get(server) for _ in range(300)))
            while not loads.done():
                assert await player.ask({"guess": 50}) == "Больше"
            assert [status for status, _, _ in await loads] == [200] * 300
    await eventually(lambda: not server.connections)


# How the page is written


def test_the_page_loads_nothing_and_writes_no_markup() -> None:
    assert not re.search(r"https?://[^A$А]", FILE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bon\w+=\"|style=", FILE)
    assert FILE.count("<script") == FILE.count("<script>") == 1
    assert FILE.count("<style") == FILE.count("<style>") == 1
    assert not re.search("[{](pages|code)[}]", SCRIPT)


def test_the_script_is_plain() -> None:
    for line in SCRIPT.splitlines():
        code = re.sub(r"""  // .*|"[^"]*"|'[^']*'|`[^`]*`|/\^.*?/[,;.]""", "_", line)
        assert len(line) <= 125, line
        assert code.count(";") <= 1, f"one statement a line: {line}"
        assert not re.match(r"\s*(let|const|var) [^({\[=]*,", code), f"one name a line: {line}"
        assert not re.search(r"[^=!<>]=[^=>][^=]*[^=!<>]=[^=>]", code), f"one assignment a line: {line}"
        assert code.count(" ? ") <= 1, f"one choice a line: {line}"
    titles = re.findall(r"(?m)^// (\d)\. ([\w ]+):", SCRIPT)
    assert titles == [("1", "Connect"), ("2", "Hear"), ("3", "Send"), ("4", "Show"), ("5", "Come back")]
    assert len(re.findall("(?m)^// What to press", SCRIPT)) == 1


# Pages that people have opened

Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Open a page, each time as another person; any complaint on its console fails the test."""
    complaints: list[str] = []

    async def open_page(
        server: GameServer | Relay | str,
        view: str = "",
        size: Any = (1280, 720),
        clock: bool = False,
        script: str = "",
        welcomed: bool = True,
        **options: Any,
    ) -> Page:
        if isinstance(server, GameServer):
            address = f"http://{server.url[5:]}/"
        elif isinstance(server, Relay):
            address = server.page
        else:
            address = server
        context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        if script:
            await context.add_init_script(script)
        page = await context.new_page()
        if clock:
            await page.clock.install()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: note_request(request.url, address))
        await page.goto(address + view)
        if welcomed:
            await expect(page.locator("#words")).to_have_text(re.compile("!|over"))  # or already the next news
        return page

    def note_request(url: str, address: str) -> None:
        if url != address and not url.startswith("data:"):
            complaints.append(url)

    yield open_page
    # Browsers log these themselves.
    unavoidable = "WebSocket connection to|ERR_|Failed to load resource: the server responded"
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


def own_row(page: Page, text: str) -> Awaitable[None]:
    return expect(page.locator("#scores .own")).to_have_text(text)


async def pass_seconds(page: Page, seconds: int) -> None:
    """Let time pass on a page with a clock of ours, and the network keep up with it."""
    for _ in range(2 * seconds):
        await page.clock.run_for(500)
        await asyncio.sleep(0.02)


def names(server: GameServer) -> list[str]:
    return [client.name for client in server.clients.values()]


def list_requests(server: GameServer) -> list[str]:
    """Return a list that will hold all that clients say."""
    requests: list[str] = []

    def overhear(clients: list[Client], message: Any, is_heard: bool) -> None:
        if is_heard:
            requests.append(message)

    server.overhear = overhear  # type: ignore[method-assign]
    return requests


# A round


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
            await expect(page.locator("#scores li").first).to_contain_text("★ 1")
            await expect(page.locator("#countdown")).to_have_text(re.compile("^New game in 3[56]"))
            await expect(page.locator("#here")).to_have_text("Players here: 3")
        await expect(anna.locator("#average")).to_contain_text("per win: 3.")
        await expect(anna.locator("#average")).to_contain_text("at most 7.")
        server.game.broadcast({"countdown": 1})
        await expect(other.locator("#countdown")).to_have_text("New game in 1")
        server.new_round()
        for page in (anna, other):
            await words(page, NEW_GAME)
            await expect(page.locator("#bar")).to_have_attribute("aria-label", "still possible: 1 … 100")
            await expect(page.locator("#guesses li")).to_have_count(0)
            await expect(page.locator("#countdown")).to_be_empty()
        await bob.guess(SECRET)
        await words(anna, "Игрок Боб угадал число 42!")
        await expect(anna.locator("#scores li")).to_have_text(["Боб★ 1", "Аня (you)★ 1", "#3★ 0"])


async def test_eight_pages_play_at_once(open_page: Open) -> None:
    sizes = [(390, 844), (320, 568), (390, 844), (844, 390), (1280, 720), (390, 844), (320, 568)]
    async with game(pause=None) as server:
        hall = await open_page(server, "#watch", (1920, 1080))
        pages = []
        for number, size in enumerate(sizes):
            locale = "ru-RU" if number < 2 else "en-US"
            pages.append(await open_page(server, "", size, locale=locale))
        for number, page in enumerate(pages):
            await page.locator("#name").fill(f"ученик {number}")
            await page.keyboard.press("Enter")
        await eventually(lambda: len(set(names(server))) == 8)
        await expect(hall.locator("#scores li")).to_have_text([f"ученик {number}" for number in range(7)])
        for number, page in enumerate(pages):
            await asyncio.gather(*(type_guess(each, 50) for each in pages))
            for each in pages:
                await words(each, "Больше")
            await type_guess(page, SECRET)
            await words(page, "Вы угадали!")
            for other in [hall, *pages]:
                if other is not page:
                    await words(other, f"Игрок ученик {number} угадал число 42!")
            server.new_round()
            for each in [hall, *pages]:
                await words(each, NEW_GAME)
        for number, page in enumerate(pages):
            you = "вы" if number < 2 else "you"
            await own_row(page, f"ученик {number} ({you})★ 1")
        await expect(hall.locator("#scores li")).to_have_text([f"ученик {number}★ 1" for number in range(7)])


async def test_a_new_game_leaves_nothing_of_the_countdown(open_page: Open) -> None:
    async with game(pause=1) as server:
        page = await open_page(server)
        await type_guess(page, SECRET)
        await words(page, NEW_GAME)
        await expect(page.locator("#countdown")).to_be_empty()


async def test_the_countdown_goes_with_whoever_counts(open_page: Open) -> None:
    async with game(pause=3600) as server:
        page, hall = await open_page(server), await open_page(server, "#watch")
        await type_guess(page, SECRET)
        for view in (page, hall):
            await expect(view.locator("#countdown")).to_have_text(re.compile("New game in 3[56]"))
        server.pause = None  # the teacher will say when
        for view in (page, hall):
            await expect(view.locator("#countdown")).to_be_empty()
            await expect(view.locator("#words")).to_have_text(re.compile("угадал"))
        server.pause = 3600
        for view in (page, hall):
            await expect(view.locator("#countdown")).to_have_text(re.compile("New game in 3[56]"))
        await server.stop()
        for view in (page, hall):
            await words(view, "The server has stopped. Reconnecting…")
            await expect(view.locator("#countdown")).to_be_empty()


@pytest.mark.parametrize("number", [50, SECRET])
async def test_a_late_reply_belongs_to_the_round_in_which_it_was_asked(
    server: GameServer, open_page: Open, number: int
) -> None:
    page, answer = await open_page(server), server.game.answer

    def begin_anew_and_answer(client: Client, data: Any) -> None:
        if "guess" in data:
            server.game.broadcast(NEW_GAME)
        answer(client, data)

    server.pause = None
    server.game.answer = begin_anew_and_answer  # type: ignore[method-assign]
    await type_guess(page, number)
    if number == SECRET:
        await words(page, "Вы угадали!")
        await expect(page.locator("body")).to_have_attribute("data-mood", "won")
        await own_row(page, "#1 (you)★ 1")
        await expect(page.locator("#send")).to_be_disabled()
        return
    await words(page, "Больше")
    server.game.answer = answer  # type: ignore[method-assign]
    await expect(page.locator("#guesses li")).to_have_count(0)
    await expect(page.locator("#between")).to_have_text("from 1 to 100")
    await type_guess(page, 60)
    await expect(page.locator("#guesses li")).to_have_text(["60 ◀"])
    await expect(page.locator("#between")).to_have_text("from 1 to 59")


async def test_a_guess_that_is_under_way_while_others_win(open_page: Open) -> None:
    async with game(pause=0) as server, Relay(server.port) as relay, Player(server.url, "Боб") as bob:
        page = await open_page(relay)
        for _ in range(3):
            relay.freeze()
            await type_guess(page, 50)
            await expect(page.locator("#guesses li")).to_have_text(["50 …"])
            await bob.guess(SECRET)
            relay.melt()
            await words(page, "Больше")
            await expect(page.locator("#between")).to_have_text("from 1 to 100")
            await expect(page.locator("#guesses li")).to_have_count(0)
        await type_guess(page, SECRET)
        await own_row(page, "#2 (you)★ 1")


async def test_who_comes_in_the_pause_is_told_so(open_page: Open) -> None:
    async with game(pause=None) as server, Player(server.url, "Боб") as bob:
        await bob.guess(SECRET)
        page, hall = await open_page(server), await open_page(server, "#watch")
        for view in (page, hall):
            await words(view, "The round is over: a new game begins soon")
            await expect(view.locator("#problem")).to_be_empty()
        await expect(page.locator("#send")).to_be_disabled()
        await expect(page.locator("#scores li").first).to_have_text("Боб★ 1")
        await expect(hall.locator("#scores li").first).to_have_text("Боб★ 1")
        server.new_round()
        for view in (page, hall):
            await words(view, NEW_GAME)
        await type_guess(page, 50)
        await words(page, "Больше")


async def test_what_the_network_has_swallowed_is_caught_up_with(server: GameServer, open_page: Open) -> None:
    server.pause = None
    page = await open_page(server)
    server.game.round.over = True  # nobody was told
    await words(page, "The round is over: a new game begins soon")
    server.game.begin_round()
    await words(page, "A new game has begun!")
    await type_guess(page, 50)
    await words(page, "Больше")


# Typing


async def test_one_press_is_one_guess(server: GameServer, open_page: Open) -> None:
    requests = list_requests(server)
    page = await open_page(server)
    await page.locator("#guess").fill("50")
    for _ in range(5):
        await page.keyboard.down("Enter")  # held down, it repeats
    await page.keyboard.up("Enter")
    await words(page, "Больше")
    await page.locator("#send").click()
    await expect(page.locator("#guesses li")).to_have_text(["50 ◀", "50 ◀"])
    for button in ("more", "less", "less", "send"):
        await page.locator(f"#{button}").click()
    await expect(page.locator("#guesses li")).to_have_text(["49 ◀", "50 ◀", "50 ◀"])
    guesses = [request for request in requests if "guess" in request]
    assert guesses == [f'{{"guess":{number}}}' for number in (50, 50, 49)]


async def test_the_keyboard_alone_is_enough(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await page.keyboard.type("Аня")
    await page.keyboard.press("Enter")
    await own_row(page, "Аня (you)★ 0")
    for key, guesses in (("7", ["7 ▶"]), ("8", ["8 ▶", "7 ▶"])):  # after a reply you type over the old guess
        await page.keyboard.type(key)
        await page.keyboard.press("Enter")
        await expect(page.locator("#guesses li")).to_have_text(guesses)
    stops = []
    for _ in range(7):
        stops.append(await page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        await page.keyboard.press("Tab")
    assert stops == ["guess", "more", "send", "slider", "name", "Set name", "What travels"]


async def test_a_number_is_what_one_meant(server: GameServer, open_page: Open) -> None:
    requests = list_requests(server)
    for locale in ("en-US", "ar-EG", "fa-IR"):
        page = await open_page(server, locale=locale)
        guess = page.locator("#guess")
        for typed, value in (
            ("٤٢", "42"), ("۴۱", "41"), ("४०", "40"), ("৩৯", "39"), ("３８", "38"), ("4,5", "4.5"), ("٤٫٥", "4.5"),
            (" 37 ", "37"), ("3x", "3"), ("3e1", "31"), ("3;", "3"), ("៣", ""),
        ):  # fmt: skip
            await guess.fill("")
            await guess.focus()
            await page.keyboard.type(typed)
            await expect(guess).to_have_value(value)
            refused = not re.fullmatch("[0-9]+", value) or re.search("[xe;]", typed)
            if refused:
                await page.keyboard.press("Enter")
            if not re.fullmatch("[0-9]+", value):
                await expect(page.locator("#problem")).to_have_text("A guess is a whole number from 1 to 100.")
        for nonsense in ("", "0", "101", "-5", "4.5"):
            await guess.fill(nonsense)
            await page.keyboard.press("Enter")
            await expect(page.locator("#problem")).to_have_text("A guess is a whole number from 1 to 100.")
        await guess.fill("")
        await guess.focus()
        await page.keyboard.type("x")
        await expect(page.locator("#problem")).to_have_text("A guess is a whole number from 1 to 100.")
        await page.keyboard.type("٥٠")
        await expect(page.locator("#problem")).to_be_empty()
        await page.keyboard.press("Enter")
        await words(page, "Больше")
    assert not [request for request in requests if re.search("4.5|45|101|-5|:0", request)]
    assert requests.count('{"guess":50}') == 3


async def test_a_number_can_be_pasted(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    for pasted, value in (("٤٢", "42"), ("4,5", "4.5"), (" 7\n", "7")):
        await page.evaluate(
            """text => {
                const area = document.createElement("textarea");
                area.value = text;
                document.body.append(area);
                area.select();
                document.execCommand("copy");
                area.remove();
            }""",
            pasted,
        )
        await page.locator("#guess").fill("99")
        await page.locator("#guess").select_text()
        await page.keyboard.press("Control+v")
        await expect(page.locator("#guess")).to_have_value(value)


async def test_the_wheel_does_not_change_the_number(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await page.locator("#guess").fill("50")
    await page.locator("#guess").hover()
    for _ in range(3):
        await page.mouse.wheel(0, 100)
    await page.evaluate("new Promise(done => setTimeout(done, 200))")
    await expect(page.locator("#guess")).to_have_value("50")


async def test_the_cooldown_is_counted_down_on_the_button(open_page: Open) -> None:
    async with game(cooldown=2) as server:
        page = await open_page(server)
        await type_guess(page, 50)
        await words(page, "Больше")
        await type_guess(page, 30)
        send = page.locator("#send")
        await expect(send).to_have_text("Guess in 2")
        await expect(send).to_be_disabled()
        await expect(page.locator("#problem")).to_contain_text("Слишком рано")
        await expect(page.locator("#problem")).to_contain_text("too soon: guess again in 2 s")
        await expect(page.locator("#guess")).to_have_value("30")
        await expect(page.locator("#guess")).to_be_focused()
        await expect(send).to_have_text("Guess in 1")
        await expect(send).to_have_text("Guess")
        await expect(page.locator("#problem")).to_be_empty()
        await page.keyboard.press("Enter")
        await words(page, "Меньше")
        await expect(page.locator("#guesses li")).to_have_text(["30 ▶", "50 ◀"])


# Names


async def find_tops(page: Page, *selectors: str) -> list[float]:
    """Return how far down the page some parts of it begin."""
    find = "parts => parts.map(part => document.querySelector(part).getBoundingClientRect().top + scrollY)"
    tops: list[float] = await page.evaluate(find, selectors)
    return tops


@pytest.mark.parametrize("size", [(390, 844), (1280, 720)], ids=str)
@pytest.mark.parametrize("way", ["name", "just play", "guess"])
async def test_the_name_comes_first_and_then_moves_out_of_the_way(
    server: GameServer, open_page: Open, size: Any, way: str
) -> None:
    page = await open_page(server, size=size)
    await expect(page.locator("#name")).to_be_focused()
    await expect(page.get_by_role("button", name="Just play")).to_be_in_viewport(ratio=1)
    tops = await find_tops(page, "#name", "#words", "#bar", "#guess", "#scores")
    assert tops[0] == min(tops)
    if way == "name":
        await take_name(page, "Аня")
    elif way == "guess":
        await type_guess(page, 50)
    else:
        await page.get_by_role("button", name="Just play").click()
    await expect(page.get_by_role("button", name="Just play")).to_be_hidden()
    if way != "guess":
        await expect(page.locator("#guess")).to_be_focused()
    name, list_of_scores, guess = await find_tops(page, "#name", "#scores", "#guess")
    assert name > list_of_scores
    if size[0] < 760:
        assert name > guess
    await take_name(page, "Боб")
    await page.reload()
    await own_row(page, "Боб (you)★ 0")
    await expect(page.locator("#guess")).to_be_focused()
    await expect(page.get_by_role("button", name="Just play")).to_be_hidden()


async def test_a_name_that_is_refused_is_a_sentence(open_page: Open) -> None:
    async with game() as server, wire(f"{server.url}/?name=Аня"):
        page = await open_page(server)
        problem = page.locator("#name-problem")
        for name, meaning in (
            ("Аня", "this name is taken: choose another one"),
            ("Аня!", "a name has up to 32 characters"),
            ("#7", "it is no id like #3"),
            ("", "one of them a letter, digit or emoji"),
        ):
            await take_name(page, name, taken=True)
            await expect(problem).to_contain_text(meaning)
            await expect(problem).to_contain_text("тправьте")  # the words that travelled
            await expect(page.locator("#name")).to_be_focused()
            await expect(page.locator("#name")).to_have_value(name)
        await take_name(page, "Аня-2")
        await expect(problem).to_be_empty()
        await page.reload()
        await own_row(page, "Аня-2 (you)★ 0")
        second = await page.context.new_page()  # another tab is another player, of the same name
        await second.goto(page.url)
        await expect(second.locator("#name-problem")).to_contain_text("taken")
        await expect(second.locator("#name")).to_have_value("Аня-2")
        await type_guess(second, 50)
        await words(second, "Больше")
        await take_name(second, "Аня-3")
        await page.reload()
        await own_row(page, "Аня-2 (you)★ 0")
        await eventually(lambda: sorted(names(server)) == ["Аня", "Аня-2", "Аня-3"])


async def test_your_own_row_is_always_there(open_page: Open) -> None:
    async with game() as server:
        for number in range(100, 160):
            server.game.kept[number] = Client(number, f"gone {number}", wins=5)
        page = await open_page(server)
        await own_row(page, "#1 (you)★ 0")
        await expect(page.locator("#scores li")).to_have_count(13)
        await take_name(page, "Аня")
        await type_guess(page, SECRET)
        await own_row(page, "Аня (you)★ 1")
        await expect(page.locator("#here")).to_have_text("Players here: 1")


async def test_guesses_per_win_are_those_of_the_rounds_one_has_won(open_page: Open) -> None:
    async with game(pause=None) as server, Player(server.url, "Боб") as bob:
        page = await open_page(server)
        for number in (50, 30):  # in a round that somebody else wins
            await type_guess(page, number)
            await words(page, "Больше" if number == 50 else "Меньше")
        await bob.guess(SECRET)
        await words(page, "Игрок Боб угадал число 42!")
        await expect(page.locator("#average")).to_be_empty()
        for numbers in ((50, SECRET), (50, 30, SECRET)):
            server.new_round()
            await words(page, NEW_GAME)
            for number in numbers:
                await type_guess(page, number)
                await expect(page.locator("#guesses")).to_contain_text(f"{number} ")
                await expect(page.locator("#guesses")).not_to_contain_text("…")
        average = page.locator("#average")
        await expect(average).to_have_text("Your guesses per win: 2.5. Whoever always halves needs at most 7.")
        await page.reload()
        await expect(average).to_have_text("Your guesses per win: 2.5. Whoever always halves needs at most 7.")
        server.clear_scores()
        await expect(average).to_be_empty()
        await own_row(page, "#2 (you)★ 0")


# What travels


async def test_whatever_comes_over_the_wire_is_text(open_page: Open) -> None:
    async with game(pause=None) as server, Player(server.url, "<img src=x onerror=1>") as player:
        page, hall = await open_page(server), await open_page(server, "#watch")
        await expect(hall.locator("#scores")).to_contain_text("<img src=x onerror=1>")
        await page.locator("#wire summary").click()
        await player.guess(SECRET)
        for view in (page, hall):
            await words(view, "Игрок <img src=x onerror=1> угадал число 42!")
        server.game.broadcast("<script>document.title = 'gone'</script>")
        server.game.broadcast({"error": "<b>bold</b>"})
        for view in (page, hall):
            await expect(view.locator("#problem")).to_contain_text("<b>bold</b>")
            await words(view, "<script>document.title = 'gone'</script>")
            await expect(view.locator("#scores")).to_contain_text("<img src=x onerror=1>")
            assert await view.locator("#picture img, #scores img, b, #words script").count() == 0
        await expect(page.locator("#travels")).to_contain_text("<script>document.title")
        assert await page.title() == "Guess the number"


async def test_what_travels_is_shown_as_it_is(open_page: Open) -> None:
    async with game() as server:
        page = await open_page(server, clock=True)
        await page.clock.pause_at("2100-01-01")
        await take_name(page, "Аня")
        await type_guess(page, 50)
        await words(page, "Больше")
        await pass_seconds(page, 7)
        await page.locator("#wire summary").click()
        lines = await page.locator("#travels li").all_inner_texts()
        sentences = [line.split("\n")[0] for line in lines if "scores" not in line]
        assert sentences == [
            '← "Больше"', '→ {"guess":50}', '← {"client_id": 1, "name": "Аня", "wins": 0, "you": true}',
            '→ {"name":"Аня"}', '← {"client_id": 1, "wins": 0, "you": true}', f'← "{WELCOME}"',
        ]  # fmt: skip
        scores = '{"scores": [{"client_id": 1, "name": "Аня", "wins": 0}], "players": 1, "over": false, "you": 1}'
        assert re.fullmatch(re.escape(f"← {scores}") + r" \(× \d+\)\n.*", lines[0]), "the same again is counted"
        assert re.fullmatch(r'→ {"scores":true} \(× \d+\)\n.*', lines[1])
        assert lines[-1].endswith("Welcome! Guess a number from 1 to 100.")
        key = await page.evaluate("sessionStorage.getItem('key')")
        assert re.fullmatch("[0-9a-f]{32}", key)
        assert key not in await page.content()


@pytest.mark.parametrize("locale", ["en-US", "ru-RU"])
async def test_every_sentence_has_a_meaning(server: GameServer, open_page: Open, locale: str) -> None:
    page = await open_page(server, locale=locale, welcomed=False)
    gaps = {"low": 1, "high": 100, "player": "Аня", "number": 42, "seconds": 3}
    for sentence in guessgame.SENTENCES:
        text = sentence.russian.format(**gaps) if sentence.pattern else sentence.russian
        meaning = await page.evaluate("text => meaning(text)", text)
        assert meaning, text
        assert bool(re.search("[А-Яа-я]", meaning.replace("Аня", ""))) == (locale == "ru-RU")
        for gap in re.findall(r"[{](player|number|seconds)[}]", sentence.russian):
            assert locale == "ru-RU" or str(gaps[gap]) in meaning


# Coming back


async def test_a_page_that_is_loaded_again_is_the_same_player(open_page: Open) -> None:
    async with game(pause=None) as server:
        page, hall = await open_page(server), await open_page(server, "#watch")
        await take_name(page, "Гоша")
        await type_guess(page, SECRET)
        await own_row(page, "Гоша (you)★ 1")
        [client_id] = [client.id for client in server.clients.values() if client.name]
        for _ in range(3):
            await page.reload()
            await own_row(page, "Гоша (you)★ 1")
            await expect(hall.locator("#scores li")).to_have_text(["Гоша★ 1"])
        assert server.clients[client_id].wins == 1
        assert len(server.clients) == 2
        second = await page.context.new_page()
        await second.goto(page.url)
        await expect(second.locator("#scores .own")).to_contain_text("(you)★ 0")
        await own_row(page, "Гоша (you)★ 1")


async def test_one_page_opens_one_connection(server: GameServer, open_page: Open) -> None:
    async with Relay(server.port) as relay:
        page = await open_page(relay)
        sockets: list[str] = []
        page.on("websocket", lambda opened: sockets.append(opened.url))
        await page.reload()
        await own_row(page, "#2 (you)★ 0")
        assert len(sockets) == 1
        address = urlsplit(sockets[0])
        assert re.fullmatch("key=[0-9a-f]{32}", address.query)
        await take_name(page, "Аня & Боря")
        await page.reload()
        await own_row(page, "Аня & Боря (you)★ 0")
        assert re.fullmatch(r"name=[\w%+]+&key=[0-9a-f]{32}", urlsplit(sockets[1]).query)
        assert sockets[1].endswith(address.query), "the same key"
        await page.goto(relay.page + "#watch")
        await expect(page.locator("#address")).to_be_visible()
        await eventually(lambda: len(sockets) == 3)
        assert sockets[2] == f"{relay.url}/", "the projector has neither name nor key"


@pytest.mark.parametrize("weather", ["swallow", "freeze"])
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "guessing"])
async def test_a_network_that_goes_without_a_goodbye(open_page: Open, weather: str, is_busy: bool) -> None:
    async with game(pause=None) as server, Relay(server.port) as relay:
        page, hall = await open_page(relay, clock=True), await open_page(server, "#watch")
        await take_name(page, "Гоша")
        await type_guess(page, SECRET)
        await own_row(page, "Гоша (you)★ 1")
        server.new_round()
        await words(page, NEW_GAME)
        getattr(relay, weather)()
        if is_busy:
            await type_guess(page, 50)
            await expect(page.locator("#guesses li")).to_have_text(["50 …"])
        await pass_seconds(page, 5 if is_busy else 8)  # at most three seconds until it asks, and five without a reply
        await words(page, LOST)
        await expect(page.locator("#send")).to_be_disabled()
        await pass_seconds(page, 30)
        await words(page, LOST)
        assert names(server).count("Гоша") == 1, "the ghost still sits there"
        relay.melt()
        await words(page, WELCOME)
        await own_row(page, "Гоша (you)★ 1")
        await expect(page.locator("#send")).to_be_enabled()
        await type_guess(page, 60)
        await words(page, "Больше")
        await expect(hall.locator("#scores li")).to_have_text(["Гоша★ 1"])
        assert names(server).count("Гоша") == 1
        await expect(page.locator("#name-problem")).to_be_empty()


async def test_a_fresh_load_takes_the_seat_of_its_own_ghost(open_page: Open) -> None:
    async with game(pause=None) as server, Relay(server.port) as relay:
        page = await open_page(relay)
        await take_name(page, "Гоша")
        await type_guess(page, SECRET)
        await own_row(page, "Гоша (you)★ 1")
        relay.swallow()
        await page.evaluate("askForScores()")  # the first thing that gets lost
        relay.heal()
        await page.reload()
        await own_row(page, "Гоша (you)★ 1")
        await expect(page.locator("#name-problem")).to_be_empty()
        assert names(server) == ["Гоша"]


async def pause_while_nothing_is_under_way(page: Page) -> None:
    """Let the page's clock jump ahead and stand still. If a reply was due, the page gives up: then try again."""
    while True:
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 100"))
        await until_true(page, "comingBack !== null || (isWelcome && waiting.length === 0)")
        if await page.evaluate("comingBack === null"):
            return
        await page.clock.resume()
        await until_true(page, "isWelcome && waiting.length === 0")


async def test_a_network_that_is_back_is_noticed_at_once(server: GameServer, open_page: Open) -> None:
    async with Relay(server.port) as relay:
        page = await open_page(relay, clock=True)
        await own_row(page, "#1 (you)★ 0")
        requests = list_requests(server)
        for wake in (
            "window.dispatchEvent(new Event('online'))",
            "document.dispatchEvent(new Event('visibilitychange'))",
        ):
            await pause_while_nothing_is_under_way(page)
            before = len(requests)
            await page.evaluate(wake)
            await eventually(lambda before=before: len(requests) > before)  # type: ignore[misc]
            assert requests[-1] == '{"scores":true}'
            await page.clock.resume()
        relay.cut()
        await words(page, LOST)
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 0.1"))
        opened = relay.opened
        await page.evaluate("window.dispatchEvent(new Event('online'))")  # does not wait for its turn
        await eventually(lambda: relay.opened > opened)
        await page.clock.resume()
        relay.heal()
        await words(page, WELCOME)


async def test_it_tries_again_later_and_later_and_not_all_at_once(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    waits = """async () => {
        const waits = [];
        window.setTimeout = (what, after) => { if (what === connect) waits.push(after); };
        window.fetch = () => new Promise(() => {});
        for (const luck of [0, 0.999999]) {
            Math.random = () => luck;
            failures = 0;
            for (let attempt = 0; attempt < 8; attempt += 1) comeBack(1006);
        }
        return waits.map(Math.round);
    }"""
    assert await page.evaluate(waits) == [500, 1000, *[1500] * 6, 1500, 3000, *[4500] * 6]
    patience = await page.evaluate("PATIENCE")
    assert patience == 5000
    assert patience + 4500 < 10_000, "even who waits for the longest time is back ten seconds after the network"


async def test_a_page_comes_back_with_its_name_when_the_server_does(server: GameServer, open_page: Open) -> None:
    page = await open_page(server)
    await take_name(page, "Аня")
    await server.stop()
    await words(page, "The server has stopped. Reconnecting…")
    await expect(page.locator("#send")).to_be_disabled()
    await expect(page.locator("#meaning")).to_have_text("Can't reach the server.")
    await take_name(page, "Яна", taken=True)  # meanwhile
    await server.start()
    await words(page, WELCOME)
    await own_row(page, "Яна (you)★ 0")
    [connection] = server.connections.values()
    connection.transport.abort()
    await eventually(lambda: names(server) == ["Яна"] and connection not in server.connections.values())


async def test_another_tab_with_the_same_key_takes_over(open_page: Open) -> None:
    async with game(pause=None) as server:
        page = await open_page(server)
        await take_name(page, "Аня")
        await type_guess(page, SECRET)
        await own_row(page, "Аня (you)★ 1")
        key = await page.evaluate("sessionStorage.getItem('key')")
        copy = await open_page(server, script=f"sessionStorage.setItem('key', '{key}')", welcomed=False)
        await own_row(copy, "Аня (you)★ 1")
        await words(page, "You play on in another tab")
        await expect(page.locator("#send")).to_be_disabled()
        joined = server.game.joined
        await page.evaluate("window.dispatchEvent(new Event('online'))")
        await page.evaluate("new Promise(done => setTimeout(done, 2000))")
        assert server.game.joined == joined, "it does not come back by itself"
        await page.get_by_role("button", name="Play here").click()
        await own_row(page, "Аня (you)★ 1")
        await expect(page.locator("#again")).to_be_hidden()
        await words(copy, "You play on in another tab")
        assert names(server) == ["Аня"]


async def test_a_connection_given_up_that_comes_late_is_no_other_tab(open_page: Open) -> None:
    async with game(pause=None) as server, Relay(server.port) as relay:
        page = await open_page(relay, clock=True)
        await take_name(page, "Аня")
        await type_guess(page, SECRET)
        await own_row(page, "Аня (you)★ 1")
        relay.freeze()
        opened = relay.opened
        while relay.opened < opened + 2:  # it has given up a connection that the server has not seen yet
            await pass_seconds(page, 1)
        relay.heal()
        await words(page, "The round is over: a new game begins soon")
        joined = server.game.joined
        relay.delay = 0.2
        relay.melt()  # what was given up arrives at last, and ends what came after it
        await eventually(lambda: server.game.joined >= joined + 2)
        await expect(page.locator("#words")).not_to_have_text("You play on in another tab")
        await words(page, "The round is over: a new game begins soon")
        await own_row(page, "Аня (you)★ 1")
        await eventually(lambda: names(server) == ["Аня"])


async def test_who_is_removed_stays_away_until_they_load_the_page_again(open_page: Open) -> None:
    async with game(pause=None) as server:
        page = await open_page(server)
        await take_name(page, "Дурак")
        await type_guess(page, SECRET)
        await own_row(page, "Дурак (you)★ 1")
        server.remove(1)
        await words(page, "The teacher has removed you")
        await expect(page.locator("#send")).to_be_disabled()
        await page.evaluate("window.dispatchEvent(new Event('online'))")
        await page.evaluate("new Promise(done => setTimeout(done, 2000))")
        assert server.game.joined == 1, "it does not come back by itself"
        await page.reload()
        await expect(page.locator("#name-problem")).to_contain_text("the teacher has barred this name")
        await own_row(page, "#2 (you)★ 0")
        server.new_round()
        await take_name(page, "дурак", taken=True)
        await expect(page.locator("#name-problem")).to_contain_text("the teacher has barred this name")
        await take_name(page, "Дима")
        [connection] = server.connections.values()
        connection.transport.abort()
        await eventually(lambda: names(server) == ["Дима"] and connection not in server.connections.values())


async def test_where_nothing_can_be_kept_it_still_plays(open_page: Open) -> None:
    forbidden = """for (const storage of ["localStorage", "sessionStorage"]) {
        Object.defineProperty(window, storage, {get() { throw new DOMException("no", "SecurityError"); }});
    }"""
    async with game(pause=None) as server, Relay(server.port) as relay:
        page = await open_page(relay, script=forbidden)
        await take_name(page, "Аня")
        await type_guess(page, SECRET)
        await own_row(page, "Аня (you)★ 1")
        relay.cut()
        await words(page, LOST)
        relay.heal()
        await own_row(page, "Аня (you)★ 1")
        await eventually(lambda: names(server) == ["Аня"])


# Where it comes from, and why it cannot connect


async def open_anywhere(browser: Browser, body: str) -> Page:
    """Open a tab that gets a page at whatever address it is sent to."""

    async def answer(route: Route) -> None:
        await route.fulfill(body=body, content_type="text/html")

    page = await (await browser.new_context()).new_page()
    await page.route("**/*", answer)
    return page


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://game.example/", "ws://game.example/"),
        ("http://game.example:81/game/", "ws://game.example:81/game/"),
        ("https://hub.example/user/ada/proxy/8765/", "wss://hub.example/user/ada/proxy/8765/"),
        (
            "https://hub.example/user/ada/proxy/absolute/8765/?token=1",
            "wss://hub.example/user/ada/proxy/absolute/8765/",
        ),
    ],
)
async def test_the_address_is_where_the_page_came_from(browser: Browser, address: str, expected: str) -> None:
    page = await open_anywhere(browser, FILE)
    await page.add_init_script("opened = []; WebSocket = class { constructor(url) { opened.push(url); } };")
    await page.goto(address)
    await until_true(page, "opened.length > 0")
    assert (await page.evaluate("opened[0]")).partition("?")[0] == expected
    await page.goto("about:blank")
    await page.goto(f"{address}#watch")
    await until_true(page, "opened.length > 0")
    assert await page.evaluate("opened[0]") == expected
    shown = re.sub("[?].*", "", address)
    await expect(page.locator("#address")).to_have_text(shown.rstrip("/") if shown.count("/") == 3 else shown)


@pytest.mark.parametrize("path", ["game/", "user/ada/proxy/8765/"])
async def test_behind_a_path_it_plays_and_comes_back(server: GameServer, open_page: Open, path: str) -> None:
    page = await open_page(f"http://127.0.0.1:{server.port}/{path}")
    await take_name(page, "Аня")
    [connection] = server.connections.values()
    assert str(connection.request.path).startswith(f"/{path}?key=")
    connection.transport.abort()
    await eventually(lambda: names(server) == ["Аня"] and connection not in server.connections.values())
    await type_guess(page, 50)
    await words(page, "Больше")


def why(page: Page, text: str) -> Awaitable[None]:
    return expect(page.locator("#meaning")).to_contain_text(text)


async def test_a_full_server_is_told_from_one_that_is_not_there(open_page: Open) -> None:
    async with game(max_players=1) as server:
        page = await open_page(server)
        [connection] = server.connections.values()
        server.max_players = 0
        connection.transport.abort()
        await words(page, LOST)
        await why(page, "All seats are taken")
        late = await open_page(server, welcomed=False, locale="ru-RU")
        await words(late, "Нет связи. Пробуем снова…")
        await why(late, "Мест нет, либо с этой страницы играть нельзя")
        server.max_players = 2
        await words(page, WELCOME)
        await words(late, WELCOME)
        await server.stop()
        await why(page, "Can't reach the server.")
        await why(late, "Сервер не отвечает.")


async def test_a_page_that_may_not_play_here_and_a_proxy_that_swallows_the_upgrade(open_page: Open) -> None:
    async with game(origins=["https://game.example"]) as server:
        page = await open_page(server, welcomed=False)
        await why(page, "this page may not play here")

    def swallow(data: bytes) -> bytes:
        return data.replace(b"Upgrade: websocket\r\n", b"").replace(b"Connection: Upgrade\r\n", b"")

    async with game() as server, Relay(server.port, change=swallow) as relay:
        page = await open_page(relay, welcomed=False)
        await why(page, "a proxy on the way does not let WebSockets through")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        ("404 Not Found", "", "There is no game at this address (HTTP 404)"),
        ("502 Bad Gateway", "", "answers HTTP 502"),
        ("200 OK", "<form>Password:</form>", "Another page answers at this address"),
    ],
)
async def test_a_path_that_is_lost(open_page: Open, status: str, body: str, reason: str) -> None:
    async with game() as server:
        page = await open_page(server)
        port = server.port

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", port)
    await why(page, reason)
    other.close()
    async with game() as server:
        await page.goto("about:blank")


async def test_hints_that_everybody_hears_narrow_every_bar_and_leave_the_scores_alone(open_page: Open) -> None:
    async with game() as server, Player(server.url, "Аня"):
        page = await open_page(server)
        await expect(page.locator("#scores li").first).to_have_text("Аня★ 0")
        server.game.broadcast({"client_id": 1, "name": "Аня", "guess": 5, "hint": "Больше"})
        server.game.broadcast({"client_id": 2, "wins": 3})
        await expect(page.locator("#scores li")).to_have_text(["#2 (you)★ 3", "Аня★ 0"])
        await expect(page.locator("#between")).to_have_text("from 1 to 4")
        hall = await open_page(server, "#watch")
        await expect(hall.locator("#between")).to_have_text("from 1 to 100")
        server.game.broadcast({"client_id": 1, "name": "Аня", "guess": 2, "hint": "Меньше"})
        await expect(page.locator("#between")).to_have_text("from 3 to 4")
        await expect(hall.locator("#between")).to_have_text("from 3 to 100")
        server.new_round()
        for view in (page, hall):
            await expect(view.locator("#between")).to_have_text("from 1 to 100")


# The projector


async def test_names_pop_up_on_the_projector_and_then_the_scores(open_page: Open) -> None:
    async with game(pause=None) as server, contextlib.AsyncExitStack() as stack:
        hall = await open_page(server, "#watch", (1920, 1080))
        assert await hall.locator("input").count() == 0
        await expect(hall.locator("#title")).to_have_text("Players here: 0")
        players = []
        for number in range(30):
            players.append(await stack.enter_async_context(Player(server.url, f"player {number}")))
        await expect(hall.locator("#title")).to_have_text("Players here: 30")
        await expect(hall.locator("#scores li")).to_have_text([f"player {number}" for number in range(30)])
        await expect_to_fit(hall)
        await hall.reload()
        await expect(hall.locator("#scores li")).to_have_text([f"player {number}" for number in range(30)])
        await players[7].leave()
        await expect(hall.locator("#title")).to_have_text("Players here: 29")
        for player in players[10:24]:
            await player.guess(SECRET)
            server.new_round()
        await expect(hall.locator("#scores li")).to_have_text([f"player {number}★ 1" for number in range(10, 22)])
        await expect_to_fit(hall)
        await players[0].guess(SECRET)
        await expect(hall.locator("#words")).to_have_text("Игрок player 0 угадал число 42!")
        await expect_to_fit(hall)
        server.clear_scores()
        await expect(hall.locator("#scores li").first).to_have_text("player 0")


async def until_true(page: Page, script: str) -> None:
    """Wait until a script says true: Playwright's own way of waiting is what the page's policy forbids."""
    for _ in range(PATIENCE * 20):
        if await page.evaluate(script):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"this never became true: {script}")


async def expect_to_fit(hall: Page) -> None:
    """All that matters is to be seen without scrolling, and the address is the largest of all."""
    for width, height in ((1280, 720), (1024, 768), (3840, 2160), (1920, 1080)):
        await hall.set_viewport_size({"width": width, "height": height})
        await until_true(hall, "document.documentElement.scrollWidth <= innerWidth")
        parts = ["#address", "#picture"]
        if (width, height) == (1920, 1080):
            parts += ["#scores li:last-child"]
        for part in parts:
            await expect(hall.locator(part)).to_be_in_viewport(ratio=1)
        sizes = await hall.locator("body *").evaluate_all(
            "all => all.filter(one => one.textContent.trim())"
            ".map(one => [parseFloat(getComputedStyle(one).fontSize), one.id])"
        )
        sizes.sort(reverse=True)
        assert sizes[0][1] == "address"
        assert sizes[0][0] > sizes[1][0]
        assert sizes[0][0] >= height / 20, "for the last row"


async def test_the_projector_asks_every_two_seconds(server: GameServer, open_page: Open) -> None:
    requests = list_requests(server)
    hall = await open_page(server, "#watch", clock=True)
    await eventually(lambda: requests)
    await hall.clock.pause_at(await hall.evaluate("Date.now() / 1000 + 100"))
    await asyncio.sleep(0.1)
    before = len(requests)
    await pass_seconds(hall, 20)
    await eventually(lambda: len(requests) >= before + 9)
    assert len(requests) <= before + 11
    assert set(requests) == {'{"scores":true}'}


LOOPBACK = "http://127.0.0.1:8765/"
NETWORK = "http://192.168.1.20:8765/"
VPN = "http://10.8.0.2:8765/"
ELSEWHERE = "http://game.example/play/"


@pytest.mark.parametrize(
    ("pages", "browser_at", "address", "hint", "has_code"),
    [
        ([NETWORK], LOOPBACK, "http://192.168.1.20:8765", "", True),
        ([NETWORK, VPN], "http://localhost:8765/", "http://192.168.1.20:8765", f"or {VPN}", True),
        ([NETWORK], NETWORK, "http://192.168.1.20:8765", "", True),
        ([NETWORK, VPN], VPN, "http://10.8.0.2:8765", "", False),
        ([NETWORK], ELSEWHERE, ELSEWHERE, "", False),
        ([LOOPBACK], ELSEWHERE, ELSEWHERE, "", False),
        ([NETWORK], "http://localhost:8888/proxy/8765/", "http://192.168.1.20:8765", "", True),
        ([LOOPBACK], LOOPBACK, "http://127.0.0.1:8765", "Only on this machine", False),
        ([], LOOPBACK, "", "http://ADDRESS:8765/", False),
        ([], ELSEWHERE, ELSEWHERE, "", False),
        (["{pages}"], LOOPBACK, "", "http://ADDRESS:8765/", False),
    ],
)
async def test_how_to_join(
    browser: Browser, pages: list[str], browser_at: str, address: str, hint: str, has_code: bool
) -> None:
    for code in (PICTURE, "{code}"):
        hall = await open_anywhere(browser, FILE.replace("{pages}", " ".join(pages)).replace("{code}", code))
        await hall.goto(f"{browser_at}#watch")
        await expect(hall.locator("#address")).to_have_text(address)
        await expect(hall.locator("#hint")).to_have_text(re.compile(re.escape(hint) if hint else "^$"))
        await expect(hall.locator("#code")).to_be_visible(visible=has_code and code == PICTURE)
        assert "127.0.0.1" not in await hall.locator("#join").inner_text() or pages == [LOOPBACK]


# How it looks


async def find_boxes(page: Page) -> list[dict[str, float]]:
    """Return where the controls are on the page, wherever it is scrolled to."""
    find = """controls => controls.filter(control => control.checkVisibility()).map(control => {
        const {x, y, width, height} = control.getBoundingClientRect();
        return {x, y: y + scrollY, width, height, font: parseFloat(getComputedStyle(control).fontSize)};
    })"""
    boxes: list[dict[str, float]] = await page.locator("button, input, summary").evaluate_all(find)
    return boxes


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (844, 390), (1280, 720), (3840, 2160)], ids=str)
@pytest.mark.parametrize("locale", ["en-US", "ru-RU"])
async def test_nothing_moves_or_is_cut_off(open_page: Open, size: tuple[int, int], locale: str) -> None:
    async with game(pause=3600, cooldown=60) as server, Player(server.url, "я" * 32) as player:
        page = await open_page(server, size=size, locale=locale)
        for _ in range(2):  # with the name first, and later
            boxes = await find_boxes(page)
            for box in boxes:
                assert min(box["width"], box["height"]) >= 43.9, "a finger's size"
                assert 0 <= box["x"] <= box["x"] + box["width"] <= size[0]
                assert box["font"] >= 16, "or phones zoom in"
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await page.locator("#justPlay").dispatch_event("click")
        await expect(page.locator("#later #name")).to_be_visible()
        boxes = await find_boxes(page)
        for number, there_is in ((50, "Больше"), (30, "Больше")):
            await type_guess(page, number)
            await words(page, there_is)
            assert (await find_boxes(page))[:5] == boxes[:5]
        await expect(page.locator("#send")).to_be_disabled()
        await player.guess(SECRET)
        await words(page, f"Игрок {'я' * 32} угадал число 42!")
        await expect(page.locator("#countdown")).not_to_be_empty()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if size[0] >= 390:
            assert (await find_boxes(page))[:5] == boxes[:5]


async def test_a_russian_browser_gets_a_russian_page(open_page: Open) -> None:
    async with game(pause=3600) as server:
        page = await open_page(server, locale="ru-RU")
        await expect(page.locator("h1")).to_have_text("Угадайте число")
        assert await page.locator("html").get_attribute("lang") == "ru"
        await type_guess(page, 50)
        await expect(page.locator("#meaning")).to_have_text("Ваше число больше загаданного. Берите меньше!")
        await take_name(page, "№3", taken=True)
        await expect(page.locator("#name-problem")).to_have_text(guessgame.BAD_NAME.russian)
        await type_guess(page, SECRET)
        await expect(page.locator("#countdown")).to_have_text(re.compile("^Новая игра через 3[56]\\d\\d с$"))
        await expect(page.locator("#average")).to_contain_text("Ваших попыток на победу: 2.")
        await page.locator("#wire summary").click()
        await expect(page.locator("#travels")).to_contain_text("о победе узнают все")
        texts = await page.locator("h1, h2, label, button, summary, #here, #average, #meaning").all_inner_texts()
        assert not re.search("[A-Za-z]", " ".join(texts))


async def test_a_russian_projector(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GameServer, "pages", [])
    async with game() as server:
        hall = await open_page(server, "#watch", locale="ru-RU")
        await expect(hall.locator("#hint")).to_contain_text("адрес этого компьютера из настроек сети")
        texts = await hall.locator("h2, summary, #join").all_inner_texts()
        assert not re.search("[A-Za-z]", re.sub(r"http://АДРЕС:\d+/", "", " ".join(texts)))


@pytest.mark.timeout(300)
async def test_axe_finds_nothing_serious(open_page: Open, tmp_path: Path) -> None:
    axe = (await npm_install("axe-core", tmp_path) / "axe.min.js").read_text(encoding="utf-8")

    async def check(page: Page) -> None:
        await page.evaluate("document.getAnimations().forEach(animation => animation.finish())")
        await page.evaluate(axe)
        found = await page.evaluate("axe.run()")
        serious = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in serious] == []

    async with game(pause=None) as server, Player(server.url, "Боб") as player:
        for scheme, view in itertools.product(("light", "dark"), ("", "#watch")):
            page = await open_page(server, view, color_scheme=scheme, bypass_csp=True)
            await expect(page.locator("#scores li").first).to_contain_text("Боб")
            await check(page)  # the name first; the lobby
            if not view:
                await take_name(page, "Аня!", taken=True)
                await type_guess(page, 50)
                await words(page, "Больше")
            await page.locator("#wire summary").click()
            await player.guess(SECRET)
            await words(page, "Игрок Боб угадал число 42!")
            await check(page)
            server.clear_scores()
            server.new_round()
            await words(page, NEW_GAME)
        page = await open_page(server, bypass_csp=True)
        server.remove(max(server.clients))
        await words(page, "The teacher has removed you")
        await check(page)


# A class in a bad network

SECONDS = float(os.environ.get("SOAK_SECONDS", "6"))
SLOWNESS = 1.0 if SECONDS > 60 else 0.2  # of all that takes seconds: a short run is a fast one


class Pupil:
    """Play as the page does: with a key, asking for the scores when all is quiet, coming back whatever happens."""

    def __init__(self, number: int, port: int) -> None:
        self.name = f"pupil {number}"
        self.key = f"the-key-of-{number}"
        self.relay = Relay(port)
        self.player: Player | None = None
        self.known_wins = 0
        self.failures = 0

    @property
    def is_here(self) -> bool:
        return self.player is not None and self.player.gone is None and self.player.name == self.name

    async def play(self) -> None:
        """Play until cancelled."""
        while True:
            self.player = Player(self.relay.url, self.name, key=self.key)
            with contextlib.suppress(ServerGone, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self.player.join(), 5 * SLOWNESS)
                self.failures = 0
                assert self.player.wins >= self.known_wins, f"{self.name} had {self.known_wins} wins"
                await self.guess()
            if self.player.gone is None:
                self.player.connection.transport.abort()
            seconds = min(3, 2**self.failures) * random.uniform(0.5, 1.5)
            self.failures += 1
            await asyncio.sleep(seconds * SLOWNESS)

    async def guess(self) -> None:
        """Guess, or ask for the scores, until the connection is dead."""
        player = self.player
        assert player is not None
        while player.gone is None:
            request: dict[str, object] = {"scores": True}
            if random.random() < 0.3:
                request = {"guess": random.randint(player.low, player.high)}
            await player.ask(request)
            self.known_wins = max(self.known_wins, player.wins)
            await asyncio.sleep(random.uniform(0.1, 3) * SLOWNESS)

    async def suffer(self, end: float) -> None:
        """Lose the network from time to time, until the end, when it is well again."""
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            await asyncio.sleep(random.uniform(1, 40) * SLOWNESS)
            what = random.choice([self.relay.swallow, self.relay.freeze, self.relay.cut])
            what()
            await asyncio.sleep(random.uniform(0.1, 20) * SLOWNESS)
            self.relay.delay = random.choice([0, 0, 0.05, 0.3]) * SLOWNESS
            self.relay.melt()


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "PATIENCE", 5 * SLOWNESS)


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.usefixtures("short_patience")
async def test_a_class_keeps_names_and_scores_in_a_bad_network() -> None:
    """It lasts a few seconds, or as many as SOAK_SECONDS says."""
    loop = asyncio.get_running_loop()
    async with GameServer(port=0, high=20, pause=1 * SLOWNESS) as server, contextlib.AsyncExitStack() as stack:
        pupils = [Pupil(number, server.port) for number in range(30)]
        for pupil in pupils:
            await stack.enter_async_context(pupil.relay)
        playing = [asyncio.ensure_future(pupil.play()) for pupil in pupils]
        end = loop.time() + SECONDS
        suffering = [asyncio.ensure_future(pupil.suffer(end)) for pupil in pupils]
        await asyncio.gather(*suffering)
        names = sorted(pupil.name for pupil in pupils)
        await eventually(lambda: all(pupil.is_here for pupil in pupils), 60)
        await eventually(lambda: sorted(client.name for client in server.game.everybody()) == names, 60)
        wins = {client.name: client.wins for client in server.game.everybody()}
        assert sum(wins.values()) > 0
        for pupil in pupils:
            assert wins[pupil.name] >= pupil.known_wins
        assert not any(task.done() for task in playing), "whoever loses wins stumbles"
        for task in playing:
            task.cancel()
        await asyncio.wait(playing)
