"""The desks and the halls of lesson 3: who is shown what, and when."""

from __future__ import annotations

import asyncio
import collections
import html
import re
from typing import Any, AsyncIterator, Sequence

import ipywidgets as widgets
import pytest
from websockets.asyncio.server import ServerConnection, broadcast

from conftest import NEW_GAME, SECRET, WELCOME, eventually, texts, wire
from guessgame import GameServer, Message
from kit import Part, end_lesson
from kit.desks import Desks, Halls, Story, is_reply, paint_column, paint_sky

THREE = ["Ada", "Bob", "Cleo"]
WON = '"Игрок Cleo угадал число 42!"'


@pytest.fixture(autouse=True)
async def end_of_lesson() -> AsyncIterator[None]:
    yield
    await end_lesson()


@pytest.fixture
async def desks(server: GameServer) -> AsyncIterator[Desks]:
    """Three players, whose messages of joining are over."""
    desks = await Desks(server, THREE).start()
    yield desks
    await end_lesson()
    await eventually(lambda: not server.clients)


def cards(story: Story, name: str) -> list[str]:
    """Return what the column of a desk shows, the newest first."""
    return [f"{card.about}: {card.words}" for card in story.columns[name]]


def read(picture: widgets.HTML) -> str:
    """Return what a person reads in a picture."""
    return html.unescape(re.sub("<[^>]*>", "", picture.value))


def guess(desks: Desks, name: str, number: int) -> None:
    desks.numbers[name].value = number
    desks.buttons[name].click()


# What is known


def test_a_reply_is_a_verdict_an_error_or_a_message_with_you() -> None:
    replies: list[Message] = ["Меньше", "Больше", "Вы угадали!", {"error": "…"}, {"wins": 3, "you": True}]
    assert all(map(is_reply, replies))
    announcements: list[Message] = [WELCOME, NEW_GAME, "Привет!", {"wins": 0}, {"scores": []}, {"news": 1}]
    assert not any(map(is_reply, announcements))


def test_a_story_is_told_in_the_order_of_the_server() -> None:
    story = Story(THREE)
    story.hear("Ada", '{"guess": 42}', 1)
    story.tell(["Ada"], "Вы угадали!", 1)
    story.tell(["Bob", "Cleo"], "Игрок Ada угадал число 42!", 1)
    story.tell(THREE, {"client_id": 1, "name": "Ada", "wins": 1}, 1)
    assert [f"{flight.arrow} {flight.kind}, {flight.about}" for flight in story.waiting] == [
        "↑ request, Ada asks",
        "↓ reply, a reply to Ada",
        "⇊ announcement, to Bob, Cleo",
        "⇊ announcement, to everybody",
    ]
    story.show_all()
    assert [len(column) for column in story.columns.values()] == [3, 2, 2]


def test_a_column_keeps_only_the_latest_of_a_series() -> None:
    story = Story(THREE)
    for message in ({"countdown": 2}, {"news": 1}, NEW_GAME, {"countdown": 1}, {"news": 2}):
        story.tell(THREE, message, 1)
    story.show_all()
    expected = ['{"news": 2}', '{"countdown": 1}', f'"{NEW_GAME}"']
    assert [card.words for card in story.columns["Ada"]] == expected


def test_a_sleeper_reads_later_what_the_others_read_now_and_nothing_twice() -> None:
    story = Story(THREE)
    story.tell(THREE, "early", 1)
    story.asleep = True
    story.tell(THREE, "late", 2)
    story.tell(["Bob"], "Больше", 3)
    story.asleep = False
    story.tell(THREE, "later", 4)
    story.show_all()
    assert cards(story, "Bob") == ['to everybody: "early"']
    assert cards(story, "Ada") == ['read by Ada, Cleo: "later"', 'read by Ada, Cleo: "late"', 'to everybody: "early"']
    for message in ("early", "late", "Больше", "later"):
        story.read(message, 5)
    story.tell(THREE, "in time", 6)
    story.read("in time", 6)
    story.show_all()
    read = ['"later"', '"Больше"', '"late"']
    assert cards(story, "Bob")[:4] == ['to everybody: "in time"', *(f"read by Bob: {words}" for words in read)]


def test_what_comes_from_the_wire_is_shown_as_text() -> None:
    story = Story(["<b>", "Bob"])
    story.hear("<b>", "<i>", 1)
    story.tell(["<b>"], "<u>" * 100, 1)
    story.show_all()
    column = paint_column("<b>", story, 0)
    for painted in (column, paint_sky(story)):
        assert not re.search("<[biu]>", painted)
    assert "↑ &lt;b&gt; asks, 1.0&nbsp;s" in texts(column)
    assert "&lt;i&gt;" in texts(column)


# What is shown


async def test_everybody_is_welcomed_in_a_column_of_their_own(desks: Desks) -> None:
    await eventually(lambda: desks.columns["Cleo"].value.count("-card") == 3)
    for number, name in enumerate(THREE, 1):
        assert cards(desks.story, name) == [
            f'a reply to {name}: {{"client_id": {number}, "name": "{name}", "wins": 0, "you": true}}',
            f'{name} asks: {{"name": "{name}"}}',
            f'to {name}: "{WELCOME}"',
        ]
        assert "⇊" not in desks.columns[name].value, "nothing has gone to several"


async def test_in_slow_motion_each_step_shows_one_message_to_all_who_receive_it(
    desks: Desks, server: GameServer
) -> None:
    desks.slow.value = True
    guess(desks, "Cleo", SECRET)
    await eventually(lambda: len(desks.story.waiting) == 5)
    server.game.broadcast("Привет!")
    assert "угада" not in "".join(column.value for column in desks.columns.values())
    for left, told, shown_to in (
        (5, 'Cleo asks: {"guess": 42}', ["Cleo"]),
        (4, 'a reply to Cleo: "Вы угадали!"', ["Cleo"]),
        (3, f"to Ada, Bob: {WON}", ["Ada", "Bob"]),
        (2, 'to everybody: {"client_id": 3, "name": "Cleo", "wins": 1}', THREE),
        (1, f'to everybody: "{NEW_GAME}"', THREE),
        (0, 'to everybody: "Привет!"', THREE),
    ):
        advice = f"{left} message{' is' if left == 1 else 's are'} still to be shown: press Next step."
        if not left:
            advice = "Nothing is left: press a Guess! button."
        desks.next_button.click()
        await eventually(lambda: read(desks.told) == told + advice)  # noqa: B023
        lit = [name for name, column in desks.columns.items() if "gg-new" in column.value]
        assert lit == shown_to
        assert desks.next_button.disabled == (left == 0)


async def test_what_waits_is_shown_when_slow_motion_is_switched_off(desks: Desks) -> None:
    desks.slow.value = True
    guess(desks, "Ada", 50)
    await eventually(lambda: len(desks.story.waiting) == 2)
    desks.slow.value = False
    await eventually(lambda: cards(desks.story, "Ada")[:2] == ['a reply to Ada: "Больше"', 'Ada asks: {"guess": 50}'])
    assert not desks.story.waiting


async def test_in_slow_motion_only_one_place_says_that_something_is_waiting(desks: Desks) -> None:
    desks.slow.value = True
    guess(desks, "Ada", 50)
    await eventually(lambda: "2 messages are still to be shown" in desks.told.value)
    assert "waiting" not in desks.told.value
    assert desks.backlog.value == "waiting for Bob: 0 of 64 KiB"


async def test_each_widget_is_set_once_a_painting(desks: Desks) -> None:
    desks.nap_button.click()
    await eventually(lambda: desks.story.asleep and desks.story.pile)
    pictures = [desks.told, desks.sky, desks.backlog, desks.bar, *desks.titles.values(), *desks.columns.values()]
    changes: collections.Counter[Any] = collections.Counter()
    for picture in pictures:
        picture.observe(lambda change: changes.update([id(change["owner"])]), "value")
    await desks.stop()
    for _ in range(3):
        desks.story.show_all()
        desks.paint()
    desks.story.tell(THREE, "news", 1)
    desks.story.show_next()
    desks.story.pile = 1
    before = changes.copy()
    desks.paint()
    assert max((changes - before).values()) == 1


async def test_a_player_at_no_desk_plays_along_unseen(desks: Desks, server: GameServer) -> None:
    async with wire(server.url) as guest:
        await guest.ask({"guess": 50})
        await guest.ask({"guess": SECRET})
        await eventually(lambda: cards(desks.story, "Ada")[0] == f'to everybody: "{NEW_GAME}"')
    told = [card.partition(":")[0] for card in cards(desks.story, "Ada")]
    assert told[:3] == ["to everybody"] * 3
    assert len(told) == 6


async def test_bob_asleep_is_cut_off_and_comes_back_with_a_new_id(desks: Desks, server: GameServer) -> None:
    desks.nap_button.click()
    await eventually(lambda: "· asleep" in desks.titles["Bob"].value)
    await eventually(lambda: 0 < desks.story.pile < server.max_backlog)
    await eventually(lambda: "✂ cut off: " in desks.backlog.value)
    assert desks.story.pile > server.max_backlog / 2
    assert desks.bar.value > 50
    assert "· cut off" in desks.titles["Bob"].value
    assert "news" not in desks.columns["Bob"].value
    await eventually(lambda: cards(desks.story, "Ada")[0].startswith('read by Ada, Cleo: {"news": '))
    desks.nap_button.click()
    await eventually(lambda: [client.name for client in server.clients.values()] == ["Ada", "Cleo", "Bob"])
    await eventually(lambda: '"client_id": 4' in cards(desks.story, "Bob")[0])
    await eventually(lambda: desks.backlog.value == "waiting for Bob: 0 of 64 KiB")


async def test_bob_wakes_up_in_time_and_reads_what_was_waiting(desks: Desks) -> None:
    desks.nap_button.click()
    await eventually(lambda: desks.story.pile)
    desks.nap_button.click()
    await eventually(lambda: cards(desks.story, "Bob")[0].startswith('read by Bob: {"news": '))
    await eventually(lambda: not desks.story.pile)
    assert not desks.story.unread
    assert desks.players["Bob"].client_id == 2
    assert desks.note.value == ""


async def test_the_news_confuse_nobody_who_waits_for_a_reply(desks: Desks, server: GameServer) -> None:
    ada = desks.players["Ada"]
    asking = asyncio.ensure_future(ada.guess(50))
    await asyncio.sleep(0)
    server.game.broadcast({"news": 1, "kB": 16, "text": "bla"})
    assert await asking == "Больше"
    assert (ada.low, ada.high) == (1, 49)


async def test_new_desks_replace_earlier_ones(desks: Desks, server: GameServer) -> None:
    again = await Desks(server, THREE).start()
    assert not desks.tasks
    await eventually(lambda: [*server.clients] == [4, 5, 6])
    assert [client.name for client in server.clients.values()] == THREE
    guess(again, "Ada", 50)
    await eventually(lambda: cards(again.story, "Ada")[0] == 'a reply to Ada: "Больше"')


async def test_a_guess_after_the_server_has_stopped_is_explained(desks: Desks, server: GameServer) -> None:
    await server.stop()
    guess(desks, "Bob", 50)
    await eventually(lambda: "Run the cells again, from the top." in desks.note.value)


def test_a_part_is_a_widget() -> None:
    for kind in (Desks, Halls):
        assert issubclass(kind, Part)
        assert issubclass(kind, widgets.Widget)


# The halls


async def in_a_loop(connections: Sequence[ServerConnection], message: str) -> None:
    for connection in connections:
        await connection.send(message)


async def all_at_once(connections: Sequence[ServerConnection], message: str) -> None:
    sendings = [connection.send(message) for connection in connections]
    await asyncio.gather(*sendings)


async def without_waiting(connections: Sequence[ServerConnection], message: str) -> None:
    broadcast(connections, message)


async def test_no_answer_is_in_sight_before_the_button_is_pressed() -> None:
    halls = Halls(in_a_loop, all_at_once, without_waiting)
    shown = texts(halls.picture.value)
    assert [text for text in shown if "_" in text] == ["in_a_loop", "all_at_once", "without_waiting"]
    assert shown.count("Nothing was sent yet.") == 3
    assert shown.count("0 kB") == 3


async def test_three_halls_side_by_side_and_only_those_who_wait_for_nobody_get_through() -> None:
    halls = Halls(in_a_loop, all_at_once, without_waiting)
    trials = [hall.trial for hall in halls.halls]
    for _ in range(2):
        halls.start_button.click()
        await eventually(lambda: halls.picture.value.count("has been on its way for") == 2)
        await eventually(lambda: halls.picture.value.count("■ Given up: message") == 2)
        await eventually(lambda: not halls.tasks)
        assert "✓ All 200 were sent in" in halls.picture.value
        trials = [hall.trial for hall in halls.halls]
        assert [trial.heard["Bob"] for trial in trials] == [0] * 3
        loop, gathered, sent = (trial.heard for trial in trials)
        assert 0 < loop["Cleo"] == loop["Dan"] == loop["Ada"] - 1 < 100
        assert 0 < gathered["Ada"] == gathered["Cleo"] == gathered["Dan"] < 100
        assert list(sent.values()) == [200, 0, 200, 200]
        assert trials[2].pile > 500_000
    assert halls.note.value == ""


async def test_a_second_press_starts_again() -> None:
    halls = Halls(without_waiting)
    for _ in range(2):
        halls.start_button.click()
        await eventually(lambda: 0 < halls.halls[0].trial.heard["Ada"] < 100)
    await eventually(lambda: "✓ All 200 were sent" in halls.picture.value)
    await eventually(lambda: not halls.tasks)
    assert list(halls.halls[0].trial.heard.values()) == [200, 0, 200, 200]
    assert halls.note.value == ""


async def test_halls_say_what_is_wrong_with_a_broadcast_and_can_be_left() -> None:
    async def wrong(connections: Sequence[ServerConnection], message: str) -> None:
        raise ValueError("not like this")

    halls = Halls(wrong)
    halls.start_button.click()
    await eventually(lambda: "ValueError: not like this" in halls.note.value)
    await eventually(lambda: not halls.tasks)
    [hall] = halls.halls
    hall.send_to_all = in_a_loop
    halls.start_button.click()
    await eventually(lambda: hall.trial.heard["Ada"] > 0)
    await halls.end()
    assert not halls.tasks
