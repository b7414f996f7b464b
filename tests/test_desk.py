"""The teacher's desk and the class from above, of lesson 10: what they do, what they tell, what they keep back."""

from __future__ import annotations

import base64
import csv
import io
import re
from typing import AsyncIterator

import pytest

from conftest import NEW_GAME, SECRET, eventually, game, texts, wire, wires
from guessgame import GameServer, Player, ServerGone, bisection
from kit import end_lesson
from kit.above import Picture, choose_span, choose_step, find_wasted, headline, look_at, remark
from kit.classroom import (
    Classmate,
    Classmates,
    Guess,
    SharedHints,
    Team,
    find_class,
    guesses_per_win,
    on_average,
    start_class,
)
from kit.desk import Desk, link_to_table, write_csv


@pytest.fixture(autouse=True)
async def end_of_lesson() -> AsyncIterator[None]:
    yield
    await end_lesson()


async def shows(desk: Desk, *words: str) -> None:
    """Wait until the desk's list shows exactly these players, the newest first."""

    def listed() -> list[str]:
        rows = sorted(desk.rows, key=lambda row: -row.client_id)
        return [" ".join(" ".join(texts(row.who.value)).split()) for row in rows if row.client_id]

    await eventually(lambda: listed() == [*words])


def read(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).split())


# The desk


async def test_the_desk_lists_who_is_here_and_who_may_come_back_the_newest_first() -> None:
    async with game(pause=3600) as server:
        desk = Desk(server)
        async with Player(server.url, "<Ada>", key="k7Qz2mXw") as ada, wire(server.url):
            await shows(desk, "#2 ★ 0", "&lt;Ada&gt; ★ 0")
            await ada.guess(SECRET)
            await shows(desk, "#2 ★ 0", "&lt;Ada&gt; ★ 1")
            assert "2 here · round 1: won, and the next one begins by itself" in read(desk.state.value)
            server.new_round()
            for _ in range(21):
                await ada.guess(1)
            await shows(desk, "#2 ★ 0", "&lt;Ada&gt; 21 guesses ★ 1")
            server.new_round()
            await shows(desk, "#2 ★ 0", "&lt;Ada&gt; ★ 1")
        await shows(desk, "&lt;Ada&gt; away ★ 1")
        async with wire(server.url):
            await shows(desk, "#3 ★ 0", "&lt;Ada&gt; away ★ 1")


async def test_remove_sends_the_one_in_the_row_away_and_no_one_who_has_just_come_into_it() -> None:
    async with game() as server, Player(server.url, "Rude") as rude, wire(server.url) as other:
        desk = Desk(server)
        await shows(desk, "#2 ★ 0", "Rude ★ 0")
        [row] = [row for row in desk.rows if row.client_id == 1]
        desk.moved = desk.loop.time()
        row.button.click()
        await eventually(lambda: "has just moved" in desk.said.value)
        assert list(server.clients) == [1, 2]
        desk.moved -= 10
        row.button.click()
        await eventually(lambda: "Rude is gone, and the name is barred." in desk.said.value)
        await eventually(lambda: rude.gone is not None and "1008" in rude.gone)
        await shows(desk, "#2 ★ 0")
        assert "запретил" in (await other.ask({"name": "RUDE"}))["error"]
        row.button.click()
        await eventually(lambda: "has left already" in desk.said.value or "just moved" in desk.said.value)
        assert list(server.clients) == [2]


async def test_the_rules_are_those_of_the_server_whoever_changes_them() -> None:
    async with game(pause=5) as server, wire(server.url) as player:
        desk = Desk(server)
        assert desk.pause.value == "by itself, after 5 s"
        assert desk.cooldown.value == "as often as they like"
        desk.pause.value = "when I say so"
        desk.cooldown.value = "every 2 s"
        await eventually(lambda: (server.pause, server.cooldown) == (None, 2))
        await player.send({"guess": SECRET})
        await player.hear_all(2)
        await eventually(lambda: "you say when to go on" in desk.state.value)
        desk.new_round.click()
        assert await player.hear() == NEW_GAME
        assert "Слишком рано" in (await player.ask({"guess": 1}))["error"]
        server.pause = 7.5
        server.cooldown = 0
        await eventually(lambda: desk.pause.value == "by itself, after 7.5 s")
        await eventually(lambda: desk.cooldown.value == "as often as they like")
        assert (server.pause, server.cooldown) == (7.5, 0)


async def test_the_scores_are_cleared_only_after_a_second_yes() -> None:
    async with game() as server, wire(server.url) as player:
        await player.send({"guess": SECRET})
        await player.hear_until(NEW_GAME)
        desk = Desk(server)
        assert desk.yes.layout.display == "none"
        desk.clear.click()
        await eventually(lambda: desk.yes.layout.display != "none")
        desk.no.click()
        await eventually(lambda: desk.yes.layout.display == "none")
        assert server.clients[1].wins == 1
        desk.clear.click()
        desk.yes.click()
        assert (await player.hear())["scores"] == [{"client_id": 1, "wins": 0}]


def test_the_table_is_for_excel_and_no_formula() -> None:
    history = [
        Guess(1, 0.1234, 1, "=HYPERLINK(1)", 50, "Больше"),
        Guess(1, 2.0, 2, "＠я", 42, "Вы угадали!"),
        Guess(1, 3, 3, "", 1, "Меньше"),
    ]
    table = write_csv(history)
    assert table[0] == "\ufeff"
    rows = list(csv.reader(io.StringIO(table[1:])))
    assert rows == [
        ["round", "seconds", "player", "name", "number", "reply"],
        ["1", "0.12", "1", "'=HYPERLINK(1)", "50", "Больше"],
        ["1", "2.0", "2", "'＠я", "42", "Вы угадали!"],
        ["1", "3", "3", "", "1", "Меньше"],
    ]
    link = link_to_table(history)
    [data] = re.findall('base64,([^"]*)"', link)
    assert base64.b64decode(data).decode() == table
    assert "(3 guesses)" in link


# The class from above


async def play_a_round(server: GameServer, *numbers: int) -> None:
    async with wires(server.url, 2) as players:
        for place, number in enumerate(numbers):
            await players[place % 2].ask({"guess": number})


async def test_while_a_round_runs_the_picture_tells_no_number() -> None:
    async with game(pause=3600) as server:
        view = Picture(server)
        await play_a_round(server, 77, 13)
        await eventually(lambda: "Round 1: 2 guesses by 2 players so far." in read(view.picture.value))
        assert not re.search(r"\b(77|13)\b", view.picture.value)
        view.live.value = True
        await eventually(lambda: "#1: 77, Больше" in view.picture.value)
        view.live.value = False
        await eventually(lambda: "#1: 77, Больше" not in view.picture.value)
        await play_a_round(server, SECRET)
        won = "Won by #3 after 3 guesses by 3 players in 1 second. One player who halves needs at most 7."
        await eventually(lambda: won in read(view.picture.value))
        assert "#1: 77, Больше" in view.picture.value
        server.new_round()
        await eventually(lambda: "Round 2: who guesses first?" in read(view.picture.value))
        view.earlier.click()
        await eventually(lambda: won in read(view.picture.value))
        assert "Round 1: ▲ had to go up" in read(view.picture.value), "one sees that it is an earlier one"
        view.later.click()
        await eventually(lambda: "Round 2" in read(view.picture.value))


async def test_the_tick_makes_the_server_share_hints_and_shows_which_guesses_were_wasted() -> None:
    async with game(pause=3600, game=SharedHints) as server, wires(server.url, 2) as [one, two]:
        view = Picture(server)
        assert await one.ask({"guess": 50}) == "Больше"
        view.shared.value = True
        await eventually(lambda: getattr(server.game, "shares", False))
        assert await one.ask({"guess": 60}) == "Больше"
        assert await two.hear() == {"client_id": 1, "guess": 60, "hint": "Больше"}
        assert await one.hear() == {"client_id": 1, "guess": 60, "hint": "Больше"}
        scene = look_at(server, 1, False, True)
        assert find_wasted(scene) == {1}
        assert remark(scene).endswith("Outside it, and hollow: 1 of 2 guesses.")
        assert headline(scene) == ["Round 1: 2 guesses by 1 player so far."]
        await eventually(lambda: "gg-hollow" in view.picture.value)


def test_the_axis_of_time_rests() -> None:
    assert [choose_span(seconds) for seconds in (0, 2, 2.1, 59, 5000)] == [2, 2, 5, 60, 5000]
    assert all(span / choose_step(span) <= 8 for span in (2, 10, 300, 3600))


async def test_a_name_is_text_in_the_picture() -> None:
    async with game(pause=3600) as server, Player(server.url, "<b>&") as player:
        await player.guess(SECRET)
        view = Picture(server)
        await eventually(lambda: "Won by &lt;b&gt;&amp; after" in view.picture.value)
        assert "<b>" not in view.picture.value


# Who won, and how


def test_halving_needs_5_8_guesses_on_average() -> None:
    assert [on_average(numbers) for numbers in (1, 2, 3, 100)] == [1, 1.5, 5 / 3, 5.8]


def test_what_winners_needed_counts_only_the_rounds_they_won() -> None:
    history = [
        Guess(1, 0, 1, "Ada", 50, "Больше"),
        Guess(1, 1, 2, "", 42, "Вы угадали!"),
        Guess(2, 0, 1, "Ada", 50, "Меньше"),
        Guess(2, 1, 1, "Ada", 60, "Вы угадали!"),
        Guess(3, 0, 1, "Ada", 60, "Вы угадали!"),
    ]
    assert guesses_per_win(history) == {"#2": 1, "Ada": 1.5}


# Where the class plays, and classmates


async def test_a_wrong_address_says_so_and_starts_nothing(server: GameServer) -> None:
    with pytest.raises(ServerGone, match="Write the address that the projector shows"):
        await find_class()
    with pytest.raises(ServerGone, match="No server of this game lets you in"):
        await find_class("http://127.0.0.1:9/")
    assert await find_class(f" http://127.0.0.1:{server.port}/#watch") == f"ws://127.0.0.1:{server.port}/"
    started = await start_class(port=server.port)
    assert started.port != server.port, "another program has the port"
    assert await find_class() == started.url


async def test_classmates_hear_the_hints_of_others() -> None:
    async with game(pause=3600, game=SharedHints) as server, wire(server.url) as other:
        server.game.shares = True  # type: ignore[attr-defined]
        async with Classmate(server.url) as mate:
            await other.ask({"guess": 50})
            await eventually(lambda: (mate.low, mate.high) == (1, 49))
            await other.ask({"guess": 20})
            await eventually(lambda: (mate.low, mate.high) == (21, 49))


async def test_a_bot_that_is_sent_again_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.classroom.DELAY", 0.01)
    async with game() as server:
        team = Team(server.url)
        for _ in range(3):
            await team.send(bisection, "My bot")
            await eventually(lambda: [client.name for client in server.clients.values()] == ["My bot"])
        await eventually(lambda: "Your bots: My bot ★ 1" in read(team.picture.value).replace("&nbsp;", " "))
        await team.call_back(["My bot"])
        await eventually(lambda: not server.clients)


async def test_ten_classmates_come_and_go_at_a_press() -> None:
    async with game() as server:
        friends = Classmates(server.url)
        friends.invite.click()
        await eventually(lambda: len(server.clients) == 10)
        friends.dismiss.click()
        await eventually(lambda: not server.clients)
