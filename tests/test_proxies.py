"""The page behind a real nginx: at /, at a path of its own, encrypted, and where WebSockets are not let through."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from pathlib import Path
from typing import AsyncIterator, Awaitable

import pytest
from playwright.async_api import Browser, Page, expect

from conftest import PATIENCE, SECRET, WELCOME, ended, game, need, started, wire
from guessgame import GameServer, Player

pytestmark = pytest.mark.timeout(240)
expect.set_options(timeout=PATIENCE * 1000)

# Without a master there is one process, which ends with the test.
CONFIGURATION = """
daemon off;
master_process off;
pid %(folder)s/pid;
error_log %(folder)s/error.log;
events {}
http {
    access_log off;
    client_body_temp_path %(folder)s/body;
    proxy_temp_path %(folder)s/proxy;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    ssl_certificate %(folder)s/certificate.pem;
    ssl_certificate_key %(folder)s/key.pem;
    server {
        listen 127.0.0.1:%(port)d;
        listen 127.0.0.1:%(secure_port)d ssl;
        proxy_http_version 1.1;
        location / {
            proxy_pass http://127.0.0.1:%(game)d;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
        location /game/ {
            proxy_pass http://127.0.0.1:%(game)d/;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
        location /narrow/ {
            proxy_pass http://127.0.0.1:%(game)d/;
        }
    }
}
"""


async def make_certificate(folder: Path) -> None:
    """Make a certificate that nobody but this test believes."""
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    async with started(*command) as openssl:
        status, _, errors = await ended(openssl)
    assert status == 0, errors


async def wait_for_port(port: int, log: Path) -> None:
    """Wait until a program listens; if it does not, name its log."""
    for _ in range(10 * PATIENCE):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"nothing listens on port {port}: see {log}")


class Nginx:
    """A running nginx: `places` are the addresses at which it shows the game."""

    def __init__(self, target: int) -> None:
        # The system hands out ports above these.
        port, secure_port = random.sample(range(10_000, 30_000), 2)
        self.values = {"port": port, "secure_port": secure_port, "game": target}
        self.places = {
            "a port of its own": f"http://127.0.0.1:{port}/",
            "a path": f"http://127.0.0.1:{port}/game/",
            "encrypted": f"https://127.0.0.1:{secure_port}/",
            "encrypted, a path": f"https://127.0.0.1:{secure_port}/game/",
        }
        self.narrow = f"http://127.0.0.1:{port}/narrow/"


@contextlib.asynccontextmanager
async def nginx(folder: Path, target: int) -> AsyncIterator[Nginx]:
    """Run nginx before a server."""
    program = need("nginx", "/usr/sbin/nginx")
    await make_certificate(folder)
    running = Nginx(target)
    configuration = folder / "nginx.conf"
    log = folder / "error.log"
    configuration.write_text(CONFIGURATION % {"folder": folder, **running.values})
    async with started(program, "-e", str(log), "-p", str(folder), "-c", str(configuration)):
        await wait_for_port(running.values["secure_port"], log)
        yield running


async def open_page(browser: Browser, address: str) -> Page:
    """Open a page as another person, who trusts the test's certificate."""
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    await page.goto(address)
    return page


async def guess(page: Page, number: int) -> None:
    await page.locator("#guess").fill(str(number))
    await page.keyboard.press("Enter")


def words(page: Page, text: str) -> Awaitable[None]:
    return expect(page.locator("#words")).to_have_text(text)


def why(page: Page, text: str) -> Awaitable[None]:
    return expect(page.locator("#meaning")).to_contain_text(text)


@pytest.mark.parametrize("place", ["a port of its own", "a path", "encrypted", "encrypted, a path"])
async def test_behind_nginx_the_page_plays_shows_the_class_and_comes_back(
    browser: Browser, tmp_path: Path, place: str
) -> None:
    async with game(pause=3600) as server, nginx(tmp_path, server.port) as proxy:
        address = proxy.places[place]
        page = await open_page(browser, address)
        await words(page, WELCOME)
        await page.locator("#name").fill("Аня")
        await page.keyboard.press("Enter")
        await guess(page, 50)
        await words(page, "Больше")
        hall = await open_page(browser, f"{address}#watch")
        shown = address if place.endswith("a path") else address.rstrip("/")
        await expect(hall.locator("#address")).to_have_text(shown)
        await expect(hall.locator("#scores li")).to_have_text("Аня")
        await guess(page, SECRET)
        await words(page, "Вы угадали!")
        await words(hall, "Игрок Аня угадал число 42!")
        await server.stop()
        await words(page, "The server has stopped. Reconnecting…")
        async with GameServer(port=server.port, draw=lambda low, high: SECRET) as again:
            await words(page, WELCOME)
            await guess(page, 30)
            await words(page, "Меньше")
            await expect(hall.locator("#scores li")).to_have_text(re.compile("Аня"))
            assert "Аня" in [client.name for client in again.clients.values()]


async def test_behind_nginx_a_page_says_that_the_server_is_gone(browser: Browser, tmp_path: Path) -> None:
    async with game() as server:
        port = server.port
    async with nginx(tmp_path, port) as proxy:
        page = await open_page(browser, proxy.places["a path"])
        await expect(page.locator("body")).to_contain_text("502 Bad Gateway")
        async with GameServer(port=port):
            await page.reload()
            await words(page, WELCOME)
        await why(page, "answers HTTP 502")


async def test_an_nginx_that_swallows_the_upgrade_is_named(
    browser: Browser, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with game() as server, nginx(tmp_path, server.port) as proxy:
        page = await open_page(browser, proxy.narrow)
        await words(page, "No connection. Trying again…")
        await why(page, "a proxy on the way does not let WebSockets through")
        assert any("proxy" in record.message for record in caplog.records), "the teacher is told, too"


async def test_programs_play_through_nginx(tmp_path: Path) -> None:
    async with game(pause=3600) as server, nginx(tmp_path, server.port) as proxy:
        for place in ("a port of its own", "a path"):
            address = proxy.places[place].replace("http", "ws")
            async with wire(address) as client:
                assert await client.ask({"guess": 50}) == "Больше"
            async with Player(address, "Ada") as ada:
                assert await ada.guess(30) == "Меньше"
