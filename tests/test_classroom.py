"""Where a class plays, and where the browser is: on this machine, on a hub, on a hub without a proxy."""

from __future__ import annotations

import importlib.util
import re
from typing import Any, AsyncIterator, Iterator
from urllib.parse import unquote

import pytest

import guessgame
from conftest import game, texts
from guessgame import GameServer
from kit import NO_PROXY, end_lesson, find_page, page_frame, page_links
from kit.classroom import PORT, JoinCard, advise, find_class, find_class_page, start_class

PREFIX = "/user/ada/"
PUBLIC = "https://hub.example/user/ada/"
PUBLIC_HUB = "https://hub.example/hub/"
VARIABLES = ("JUPYTERHUB_PUBLIC_URL", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_PUBLIC_HUB_URL", "JUPYTERHUB_BASE_URL")


@pytest.fixture(autouse=True)
async def end_of_lesson() -> AsyncIterator[None]:
    yield
    await end_lesson()


class Place:
    """Where Jupyter seems to run."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        for name in VARIABLES:
            patch.delenv(name, raising=False)

    def hub(self, proxy: bool = True, **variables: str) -> None:
        """Go to a hub, with jupyter-server-proxy or without."""
        for name, value in variables.items():
            self.patch.setenv(f"JUPYTERHUB_{name}", value)
        find_spec = importlib.util.find_spec

        def find(name: str) -> Any:
            if name == "jupyter_server_proxy":
                return find_spec("json") if proxy else None
            return find_spec(name)

        self.patch.setattr(importlib.util, "find_spec", find)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """At home: no hub is anywhere."""
    with monkeypatch.context() as patch:
        yield Place(patch)


def links(html: str) -> list[str]:
    """Return where the links of a piece of HTML lead."""
    return re.findall('<a href="([^"]*)"', html)


def paint_frame(server: GameServer) -> str:
    """Return the HTML of a frame."""
    frame: Any = page_frame(server)
    return str(frame._repr_html_())


def read_card(card: JoinCard) -> tuple[list[str], list[str]]:
    """Return what a card shows in large letters, and its advice."""
    large, advice = card.children[1:3]
    return texts(re.sub("<svg.*</svg>", "", large.children[1].value)), texts(advice.value)


# What a browser can open


async def test_at_home_the_addresses_are_those_of_the_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with game() as server:
        page = f"http://127.0.0.1:{server.port}/"
        assert find_page(server) == page
        assert links(page_links(server).children[1].value) == [page]
        assert f'src="{page}"' in paint_frame(server)
        monkeypatch.setattr(GameServer, "pages", ["http://10.0.0.2:1/", "http://10.0.0.3:1/"])
        assert links(page_links(server).children[1].value) == server.pages
        monkeypatch.setattr(GameServer, "pages", [])
        assert find_page(server) == page


async def test_on_a_hub_they_lead_through_its_proxy(place: Place) -> None:
    async with game(host="0.0.0.0") as server:
        place.hub(SERVICE_PREFIX=PREFIX)
        assert find_page(server) == f"/user/ada/proxy/{server.port}/"
        place.hub(PUBLIC_URL=PUBLIC)
        assert find_page(server) == f"https://hub.example/user/ada/proxy/{server.port}/"
        assert links(page_links(server).children[1].value) == [find_page(server)]
        assert f'src="{find_page(server)}"' in paint_frame(server)


async def test_on_a_hub_without_the_proxy_a_sentence_says_what_to_install(place: Place) -> None:
    async with game() as server:
        place.hub(proxy=False, SERVICE_PREFIX=PREFIX)
        assert find_page(server) == ""
        assert "%pip install jupyter-server-proxy" in NO_PROXY
        [shown] = texts(page_links(server).children[1].value)
        assert shown.replace("&#39;", "'") == NO_PROXY
        assert NO_PROXY in unquote(paint_frame(server))
        large, advice = read_card(JoinCard(server))
        assert large == []
        assert advice[0].replace("&#39;", "'") == NO_PROXY
        assert not [line for line in advice if "127.0.0.1" in line]


# The card


async def test_a_card_for_this_machine_says_that_no_other_machine_can_reach_it(place: Place) -> None:
    async with game() as server:
        page = f"http://127.0.0.1:{server.port}/"
        card = JoinCard(server)
        large, advice = read_card(card)
        assert large == [page]
        assert links(card.children[1].children[1].value) == [page]
        assert advice[0].startswith("No other machine can reach it.")
        assert links(card.children[2].value) == [f"{page}#watch"]


@pytest.mark.parametrize("address", ["http://192.168.1.20:8765/", "https://game.example/class/"])
async def test_a_card_shows_whatever_kind_of_address_there_is(
    place: Place, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(GameServer, "pages", [address, "http://10.8.0.2:8765/"])
    async with game() as server:
        card = JoinCard(server)
        large, advice = read_card(card)
        assert large == [address]
        assert advice[:2] == ["For the projector:", f"{address}#watch"]
        assert advice[2:4] == ["If that doesn't open:", "http://10.8.0.2:8765/"]
        assert links(card.children[2].value) == [f"{address}#watch", "http://10.8.0.2:8765/"]


async def test_a_card_without_an_address_says_where_to_find_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "find_addresses", list)
    async with game(host="0.0.0.0") as server:
        large, advice = read_card(JoinCard(server))
        assert large == [f"http://?????:{server.port}/"]
        assert advice[0].startswith("This computer&#39;s address is unknown here")


async def test_on_a_hub_the_card_shows_what_all_its_users_can_open(place: Place) -> None:
    async with game() as server:
        redirect = f"user-redirect/proxy/{server.port}/"
        place.hub(SERVICE_PREFIX=PREFIX)
        large, advice = read_card(JoinCard(server))
        assert large == [f"…/hub/{redirect}"]
        assert any("In place of the dots" in line for line in advice)
        place.hub(SERVICE_PREFIX="/jupyter/user/ada/", BASE_URL="/jupyter/")
        assert find_class_page(server) == f"…/jupyter/hub/{redirect}"
        place.hub(PUBLIC_URL=PUBLIC, PUBLIC_HUB_URL=PUBLIC_HUB)
        card = JoinCard(server)
        large, advice = read_card(card)
        assert large == [f"https://hub.example/hub/{redirect}"]
        mine = f"https://hub.example/user/ada/proxy/{server.port}/"
        assert links(card.children[2].value) == [mine, f"{mine}#watch"]
        assert not any("dots" in line or "No other machine" in line for line in advice)


# The port, and the address for programs


async def test_a_class_asks_for_its_port_and_takes_another_if_it_is_in_use(place: Place) -> None:
    async with game() as other:
        taken = await start_class(port=other.port)
        assert taken.port != other.port
        assert any(f"Another program has port {PORT}" in line for line in advise(taken))
        await end_lesson()
        port = other.port
    first = await start_class(port=port)
    assert first.port == port
    again = await start_class(port=port)
    assert (first.running, again.port) == (False, port)


async def test_a_program_finds_the_class_from_what_the_projector_shows(place: Place) -> None:
    async with game() as server:
        plain = f"ws://127.0.0.1:{server.port}/"
        assert await find_class(f"http://127.0.0.1:{server.port}/#watch") == plain
        place.hub(SERVICE_PREFIX=PREFIX)
        for path in ("hub/user-redirect", "user/bob"):
            assert await find_class(f"https://hub.example/{path}/proxy/{server.port}/") == plain
        assert await find_class(plain) == plain
