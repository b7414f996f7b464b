"""The players side by side of lesson 3, without a browser: who is shown what, and when."""

from __future__ import annotations

import re
from typing import AsyncIterator

import pytest
from websockets.asyncio.server import broadcast

from broadcasting import Desks, try_out
from conftest import SECRET, eventually
from guessgame import GameServer


@pytest.fixture
async def desks(server: GameServer) -> AsyncIterator[Desks]:
    """Three players, whose messages of joining are over."""
    desks = Desks(server, ["Ada", "Bob", "Cleo"])
    await desks.start()
    yield desks
    await desks.stop()
    await desks.stop()
    await eventually(lambda: not server.clients)


def column(desks: Desks, name: str) -> list[str]:
    """Return what a column shows, the newest first: to whom a message went, then the message."""
    cards = re.findall(r"<small>[0-9.]+ s, (.*?)</small><br>(.*?)<br>", desks.columns[name].value)
    return [f"{whom}: {message}".replace("&quot;", '"') for whom, message in cards]


async def test_everybody_is_welcomed_in_a_column_of_their_own(desks: Desks) -> None:
    for number, name in enumerate(desks.players, 1):
        await eventually(
            lambda: (
                column(desks, name)  # noqa: B023
                == [
                    f'a reply to {name}: {{"client_id": {number}, "name": "{name}", "wins": 0}}',  # noqa: B023
                    f'to {name} alone: "Добро пожаловать! Угадайте число от 1 до 100."',  # noqa: B023
                ]
            )
        )


async def test_a_reply_is_shown_to_one_and_an_announcement_to_the_others(desks: Desks) -> None:
    desks.numbers["Ada"].value = 50
    desks.buttons["Ada"].click()
    await eventually(lambda: column(desks, "Ada")[0] == 'a reply to Ada: "Больше"')
    assert "Больше" not in desks.columns["Bob"].value
    desks.numbers["Bob"].value = SECRET
    desks.buttons["Bob"].click()
    score, new_game = 'to everybody: {"client_id": 2, "name": "Bob", "wins": 1}', 'to everybody: "Новая игра началась!"'
    await eventually(lambda: column(desks, "Bob")[:3] == [new_game, score, 'a reply to Bob: "Вы угадали!"'])
    for name in ("Ada", "Cleo"):
        await eventually(
            lambda: column(desks, name)[:3] == [new_game, score, 'to Ada, Cleo: "Игрок Bob угадал число 42!"']  # noqa: B023
        )
    assert desks.columns["Cleo"].value.count("gg-reply-card") == 1, "that of the name"


async def test_in_slow_motion_each_step_shows_one_message_to_all_who_received_it(
    desks: Desks, server: GameServer
) -> None:
    desks.slow.value = True
    desks.numbers["Cleo"].value = SECRET
    desks.buttons["Cleo"].click()
    await eventually(lambda: [len(held) for held in desks.held.values()] == [3, 3, 3])
    assert "угада" not in "".join(view.value for view in desks.columns.values())
    for step in (
        'a reply to Cleo: <b>"Вы угадали!"</b>',
        'to Ada, Bob: <b>"Игрок Cleo угадал число 42!"</b>',
        'to everybody: <b>{"client_id": 3, "name": "Cleo", "wins": 1}</b>',
        'to everybody: <b>"Новая игра началась!"</b>',
        "Nothing is on its way: press a <b>Guess!</b> button.",
    ):
        desks.next_button.click()
        await eventually(lambda: step in desks.step.value.replace("&quot;", '"'))  # noqa: B023


async def test_what_waits_is_shown_when_slow_motion_is_switched_off(desks: Desks) -> None:
    desks.slow.value = True
    desks.buttons["Ada"].click()
    await eventually(lambda: len(desks.held["Ada"]) == 1)
    desks.slow.value = False
    await eventually(lambda: column(desks, "Ada")[0] == 'a reply to Ada: "Больше"')
    assert not any(desks.held.values())


async def test_a_guess_after_the_server_has_stopped_is_explained(desks: Desks, server: GameServer) -> None:
    await server.stop()
    desks.buttons["Bob"].click()
    await eventually(lambda: "Run the cells again, from the top." in desks.actions.trouble.value)


async def test_a_broadcast_reaches_those_who_read_whatever_bob_does() -> None:
    async def without_waiting(connections: object, message: str) -> None:
        broadcast(connections, message)  # type: ignore[arg-type]

    async def nothing(connections: object, message: str) -> None:
        pass

    reached, waiting = await try_out(without_waiting, messages=200)
    assert reached["Bob"] == 0
    assert reached["Ada"] > 0
    assert waiting > 0
    assert await try_out(nothing, messages=3) == ({"Ada": 0, "Bob": 0, "Cleo": 0, "Dan": 0}, 0)
