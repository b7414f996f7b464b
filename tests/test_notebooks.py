"""The notebooks: their widgets without a browser, and all their cells and buttons in a real kernel."""

from __future__ import annotations

import ast
import asyncio
import collections
import html
import itertools
import json
import logging
import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, AsyncIterator, Iterator, Sequence

import pytest
from IPython.display import IFrame
from websockets.asyncio.server import ServerConnection, broadcast

from broadcasting import Desks, Flight, in_order
from conftest import PATIENCE, PROJECT, SECRET, eventually, wire
from frames import Frame, Wiretap, paint_frame
from gameboard import (
    COLOURS,
    NAMES,
    Board,
    Live,
    Panel,
    Part,
    bars,
    each,
    end_lesson,
    end_of_lesson,
    join,
    join_card,
    paint_lines,
    paint_message,
    start_another,
    start_lesson,
)
from guessgame import STRATEGIES, GameServer, Player, ServerGone, bisection, counting
from hall import Hall
from kernels import FRESH_ROUND, NOTEBOOKS, Kernel, code_cells, kernel
from lifesigns import Attendance, Heartbeat, lamps
from overheard import Overheard, OverheardServer, beside, piece_of_page
from rounds import SEEN, Diagram, Race
from rounds import solution as solution_of_the_race


def texts(markup: str) -> list[str]:
    """Return what a person reads in a piece of HTML."""
    return [text.strip() for text in re.split(r"<[^>]*>", markup) if text.strip()]


# The kit


async def test_a_click_in_another_thread_acts_in_the_servers() -> None:
    seen: list[int] = []

    async def action(_: Any) -> None:
        seen.append(threading.get_ident())

    await asyncio.get_running_loop().run_in_executor(None, Part().callback(action), None)
    await eventually(lambda: seen == [threading.get_ident()])


async def test_a_task_that_is_stopped_is_no_error() -> None:
    part = Part()
    task = part.run(asyncio.sleep(3600))
    await part.stop()
    assert task.cancelled()
    assert part.note.value == ""


async def test_a_part_ends_an_earlier_one_of_its_name() -> None:
    first, other = Part("bots"), Part("others")
    tasks = [part.run(asyncio.sleep(3600)) for part in (first, other)]
    Part("bots")
    await asyncio.wait({tasks[0]})
    assert [task.done() for task in tasks] == [True, False]
    await end_lesson()


async def test_a_lesson_started_again_ends_what_the_earlier_run_has_started() -> None:
    old = await start_lesson(secret=SECRET, pause=0)
    player = await join(old.url, "Ada")
    assert await player.guess(SECRET) == "Вы угадали!"
    new = await start_lesson()
    assert (old.running, new.running) == (False, True)
    assert player.gone
    await end_lesson()
    assert not new.running


async def test_a_player_who_joins_again_replaces_the_earlier_one() -> None:
    server = await start_lesson()
    first = await join(server.url, "Ada")
    second = await join(server.url, "Ada")
    assert first.gone
    assert second.name == "Ada"
    nameless = await join(server.url, "watcher", named=False)
    assert nameless.name is None
    await end_lesson()


async def test_the_button_at_the_end_stops_the_server_and_switches_off_the_controls() -> None:
    server = await start_lesson()
    board = await Board(server).start([bisection])
    board.play()
    end = end_of_lesson()
    end.controls[0].click()
    await eventually(lambda: not server.running and board.you.gone)
    assert all(control.disabled for control in [*board.controls, *end.controls])
    assert "This lesson has ended" in board.note.value
    assert "gg-gone" not in board.head.value, "no alarm"
    assert not [*board.tasks, *Part.in_use]


def test_messages_have_their_meaning_beside_them() -> None:
    assert texts(paint_message("Больше"))[0] == "&quot;Больше&quot;"
    assert texts(paint_message({"client_id": 3, "wins": 2}))[1] == "The score of #3: 2."


def test_bars_are_as_long_as_their_numbers() -> None:
    painted = bars({"Ada": 200, "Bob": 50.0, "<b>": 0}, "messages")
    assert re.findall(r"width:([0-9.]+)%", painted) == ["100.0", "25.0", "0.0"]
    assert texts(painted) == ["Ada", "200 messages", "Bob", "50 messages", "&lt;b&gt;", "0 messages"]
    assert texts(bars({})) == []
    assert "width:0.0%" in bars({"nobody": 0})


async def test_a_live_picture_follows_what_it_shows_until_the_lesson_ends() -> None:
    server = await start_lesson()
    live = Live(lambda: f"{len(server.clients)} players")
    await eventually(lambda: live.picture.value == "0 players")
    async with wire(server.url, welcomed=False):
        await eventually(lambda: live.picture.value == "1 players")
    await end_lesson()
    assert not live.tasks


async def test_a_live_picture_that_cannot_be_painted_says_why() -> None:
    live = Live(lambda: str(1 // 0))
    await eventually(lambda: "ZeroDivisionError: " in live.note.value)
    await live.stop()


async def test_a_panel_shows_what_each_button_has_brought_the_newest_on_top(server: GameServer) -> None:
    async def fail() -> None:
        raise ValueError("<i>no</i>")

    async def count() -> int:
        return 3

    async with Player(server.url) as player:
        panel = Panel({"Guess 50": lambda: player.guess(50), "Fail": fail, "Count": count}, lines=2)
        for label, shown in (
            ("Guess 50", ["&quot;Больше&quot;", "More: YOUR number is bigger than the secret one, so go down."]),
            ("Fail", ["ValueError: &lt;i&gt;no&lt;/i&gt;"]),
            ("Count", ["3"]),
        ):
            panel.buttons[label].click()
            await eventually(lambda: texts(panel.picture.value)[: len(shown) + 1] == [label, *shown])  # noqa: B023
        assert "Guess 50" not in panel.picture.value, "only two lines are kept"
        await server.stop()
        panel.buttons["Guess 50"].click()
        await eventually(lambda: "Run the cells again, from the top." in panel.picture.value)
    await panel.stop()


async def test_buttons_can_come_from_a_list() -> None:
    async def say(item: Any) -> str:
        return f"said {item}"

    def shout() -> None:
        pass

    buttons = each(say, ["hello", "", b"raw", shout])
    assert list(buttons) == ["hello", "(nothing)", "b'raw'", "shout"]
    assert await buttons["(nothing)"]() == "said "


# The board of lesson 1


@pytest.fixture
async def board(server: GameServer) -> AsyncIterator[Board]:
    """A board with two bots, who wait."""
    board = Board(server)
    await board.start([bisection, counting])
    yield board
    await board.stop()


async def test_the_board_shows_every_player_by_name_and_strategy(board: Board) -> None:
    board.paint()
    names = texts(board.lines.value)
    assert names[names.index("You") :] == ["You", "by hand", "Ada", "bisection", "Bob", "counting"]
    assert texts(board.replies.value).count("one of: 1–100") == 3
    assert texts(board.head.value) == ["Round 1: who finds the number from 1 to 100?", "Nobody knows anything yet."]


async def test_one_guess_is_one_guess_by_the_next_bot_in_turn(board: Board) -> None:
    for expected in ([1, 0], [1, 1], [2, 1]):
        board.step_button.click()
        await eventually(lambda: [bot.guesses for bot in board.bots] == expected)  # noqa: B023
    board.paint()
    shown = texts(board.replies.value)
    assert shown[-8:] == ["25", "Меньше ▶", "go right: 26–49", "0", "1", "Меньше ▶", "go right: 2–100", "0"]
    assert '.gg-seat1{--from:25.00%;--to:49.00%;--mark:24.50%;--ink:1;--arrow:"▶";}' in board.moves.value
    assert texts(board.head.value)[1] == "Closest: Ada, with 24 numbers to choose from."


async def test_the_head_says_who_is_one_guess_away(board: Board) -> None:
    for number in (SECRET - 1, SECRET + 1):
        await board.you.guess(number)
    board.paint()
    assert texts(board.head.value)[1] == "You are one guess away!"
    await board.bots[0].guess(SECRET - 1)
    await board.bots[0].guess(SECRET + 1)
    board.paint()
    assert texts(board.head.value)[1] == "You and Ada are one guess away!"


async def test_after_a_win_every_bar_is_on_the_number_that_everybody_was_told(board: Board, server: GameServer) -> None:
    server.pause = 60
    ada = board.bots[0]
    await board.bots[1].guess(1)
    await ada.guess(1)
    await ada.guess(SECRET)
    await eventually(lambda: board.winner == ada.client_id)
    board.paint()
    title, *_, below = texts(board.head.value)
    assert title == "★ Ada found 42!"
    assert below == "Everybody is told at the same moment: &quot;Игрок Ada угадал число 42!&quot;"
    assert board.moves.value.count("--from:40.25%;--to:42.75%;") == 3
    assert ".gg-seat0{--from:40.25%;--to:42.75%;--told:gg-told;}" in board.moves.value
    assert board.moves.value.count("--row:var(--c)") == 1, "one row is the winner's"
    shown = texts(board.replies.value)
    assert shown[-9:] == [
        "42",
        "Вы угадали!",
        "★ found it!",
        "1",
        "best: 2",
        "1",
        "Меньше ▶",
        "is told: it was 42",
        "0",
    ]


async def test_the_fewest_guesses_of_the_day_are_remembered(board: Board, server: GameServer) -> None:
    for guesses in ([1, 2, SECRET], [SECRET], [3, SECRET]):
        for number in guesses:
            await board.bots[1].guess(number)
        await board.bots[1].wait_until(lambda: not board.bots[1].round_over)
    board.paint()
    await eventually(lambda: board.you.rounds == 3 and not board.you.round_over)
    board.paint()
    assert texts(board.head.value)[1].endswith("Fewest guesses today: 1, by Bob.")
    assert texts(board.replies.value)[-2:] == ["3", "best: 1"]


async def test_you_choose_your_name(board: Board, server: GameServer) -> None:
    board.your_name.value = "Мария"
    await eventually(lambda: server.clients[1].name == "Мария")
    await eventually(lambda: "Мария" in board.reply.value)
    board.your_name.value = "#3"
    await eventually(lambda: "error" in board.reply.value and board.your_name.value == "Мария")
    board.paint()
    assert "Мария" in texts(board.lines.value)


async def test_people_from_elsewhere_have_a_row_with_what_is_announced(board: Board, server: GameServer) -> None:
    server.pause = 60
    async with wire(f"{server.url}/?name=Phone") as guest:
        await guest.hear()
        board.paint()
        assert texts(board.lines.value)[-2:] == ["Phone", "elsewhere"]
        assert texts(board.replies.value)[-2:] == ["we hear of wins", "0"]
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.winner is not None)
        board.paint()
        assert texts(board.replies.value)[-3:] == ["42", "★ found it!", "1"]
    await eventually(lambda: len(server.clients) == 3)
    board.paint()
    assert "Phone" not in texts(board.lines.value)


async def test_a_win_is_announced_and_counted_and_the_countdown_shown(board: Board, server: GameServer) -> None:
    server.pause = 1
    async with wire(f"{server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.countdown == 1)
        board.paint()
        assert texts(board.head.value)[:2] == ["★ &lt;b&gt; found 42!", "1…"]
        assert "&lt;b&gt;" in board.announcements.value, "what comes from the wire is escaped"
        assert "<b>" not in board.announcements.value
        await eventually(lambda: board.winner is None)
        board.paint()
        assert texts(board.head.value)[0] == "Round 2: who finds the number from 1 to 100?"


async def test_you_can_play_along_and_see_the_reply(board: Board, server: GameServer) -> None:
    server.pause = 60
    shown: list[str] = []
    board.reply.observe(lambda change: shown.append(change["new"]), "value")
    for number, reply in ((10, "Меньше"), (90, "Больше"), (SECRET, "Вы угадали!")):
        board.number.value = str(number)
        board.guess_button.click()
        await eventually(lambda: any(reply in answer for answer in shown))  # noqa: B023
        assert board.number.value == ""
    board.paint()
    assert texts(board.head.value)[0] == "★ You found 42! ★"
    assert "gg-yours" in board.head.value
    assert board.you.wins == 1


async def test_a_guess_that_is_no_number_is_not_sent(board: Board) -> None:
    board.number.value = "fifty"
    board.guess_button.click()
    await eventually(lambda: "Type a number first" in board.reply.value)
    assert board.you.guesses == 0


async def test_nothing_glides_when_the_bots_are_faster_than_that(board: Board) -> None:
    for seconds, jumps in ((1, False), (0, True), (0.5, False)):
        board.delay_slider.value = seconds
        board.paint()
        assert ("--glide:0" in board.moves.value) == jumps


async def test_enter_counts_however_late_what_was_typed_arrives(board: Board) -> None:
    board.number._handle_custom_msg({"event": "submit"}, [])
    await eventually(lambda: "Type a number first" in board.reply.value)
    await asyncio.sleep(0.2)
    board.number.value = "1"
    await eventually(lambda: board.you.last_guess == 1 and "<b>1</b>" in board.reply.value)
    await eventually(lambda: not board.number.value)


async def test_start_and_pause(board: Board, server: GameServer) -> None:
    board.delay_slider.value = 0
    board.start_button.click()
    await eventually(lambda: server.rounds_played > 2)
    assert board.start_button.description == "Pause the bots"
    board.start_button.click()
    await eventually(lambda: not board.running and not board.playing)
    assert board.start_button.description == "Start the bots"
    guesses = sum(bot.guesses for bot in board.bots)
    await asyncio.sleep(0.2)
    assert sum(bot.guesses for bot in board.bots) <= guesses + 2, "a guess may have been on its way"


async def test_bots_are_added_and_removed_while_the_others_play(board: Board, server: GameServer) -> None:
    board.delay_slider.value = 0
    board.play()
    for number, strategy in enumerate(STRATEGIES, 3):
        board.strategy.value = strategy
        board.add_button.click()
        await eventually(lambda: len(board.bots) == number)  # noqa: B023
        assert board.bots[-1].strategy is STRATEGIES[strategy]
    newest = board.bots[-1]
    await eventually(lambda: newest.guesses > 0)
    assert len({bot.name for bot in board.bots}) == 6
    for number in range(5, -1, -1):
        board.remove_button.click()
        await eventually(lambda: len(board.bots) == number)  # noqa: B023
    board.remove_button.click()
    board.step_button.click()
    board.paint()
    await eventually(lambda: list(server.clients) == [1])
    assert board.note.value == ""


async def test_more_bots_than_names_and_colours_still_have_names_and_colours(board: Board) -> None:
    for _ in range(max(len(NAMES), len(COLOURS)) + 2):
        await board.add(bisection)
    board.paint()
    assert "Bot 13" in texts(board.lines.value)


async def test_the_sliders_act_at_once(board: Board, server: GameServer) -> None:
    board.delay_slider.value = 0.3
    board.pause_slider.value = 7.5
    await eventually(lambda: [bot.delay for bot in board.bots] == [0.3, 0.3] and server.pause == 7.5)


async def test_the_secret_is_shown_only_when_asked_for(board: Board) -> None:
    board.paint()
    assert "--secret" not in board.moves.value
    board.secret.value = True
    board.paint()
    assert ".gg-rows{--secret:41.50%;--dots:1}" in board.moves.value


async def test_an_error_is_shown_beside_the_controls_until_the_next_click(board: Board, server: GameServer) -> None:
    await server.stop()
    board.number.value = "50"
    board.guess_button.click()
    await eventually(lambda: "ServerGone: The connection to" in board.note.value)
    board.paint()
    assert texts(board.head.value)[0] == "The connection has ended"
    board.secret.value = True
    board.delay_slider.value = 2
    await eventually(lambda: board.note.value == "")


async def test_one_guess_waits_for_the_new_game(board: Board, server: GameServer) -> None:
    server.pause = 1
    await board.you.guess(SECRET)
    board.step_button.click()
    await eventually(lambda: "wait for the new game" in board.reply.value)
    assert [bot.guesses for bot in board.bots] == [0, 0]
    await board.you.wait_until(lambda: not board.you.round_over)
    board.step_button.click()
    await eventually(lambda: [bot.guesses for bot in board.bots] == [1, 0])


async def test_a_board_of_a_stopped_server_says_so(board: Board, server: GameServer) -> None:
    await server.stop()
    board.add_button.click()
    await eventually(lambda: "server of this board was stopped" in board.note.value)


async def test_the_error_of_a_learners_strategy_is_shown(board: Board) -> None:
    def broken(low: int, high: int) -> int:
        raise RuntimeError("<i>no idea</i>")

    board.delay_slider.value = 0
    board.play()
    bot = await board.add(broken)
    await eventually(lambda: "Cleo&#x27;s strategy failed: RuntimeError: &lt;i&gt;no" in board.note.value)
    bot.strategy = lambda low, high: (low + high) / 2 + 0.25  # type: ignore[assignment,return-value]
    board.play()
    await eventually(lambda: "the server refuses the guess of" in board.note.value)


async def test_a_stopped_board_leaves_no_task_and_no_client(server: GameServer) -> None:
    before = asyncio.all_tasks()
    board = Board(server)
    await board.start(STRATEGIES.values())
    board.play()
    await asyncio.sleep(0.1)
    await board.stop()
    await board.stop()
    await eventually(lambda: not server.clients and asyncio.all_tasks() == before)


async def test_the_board_is_painted_without_being_asked_and_not_faster_than_it_can_be_seen(
    board: Board, server: GameServer
) -> None:
    changes: list[Any] = []
    for widget in (board.lines, board.moves, board.replies):
        widget.observe(changes.append, "value")
    server.pause = 0
    board.delay_slider.value = 0
    board.play()
    await eventually(lambda: sum(bot.guesses for bot in board.bots) > 500)
    guesses = sum(bot.guesses for bot in board.bots)
    await eventually(lambda: changes)
    assert len(changes) < guesses / 3


@pytest.mark.parametrize(
    ("low", "high", "marks"), [(1, 100, "1 25 50 75 100"), (1, 3, "1 2 3"), (5, 5, "5"), (-10, 9, "-10 -6 -1 4 9")]
)
def test_the_axis_has_a_few_round_marks(low: int, high: int, marks: str) -> None:
    assert texts(paint_lines([], low, high)) == ["player", *marks.split()]


async def test_a_board_for_a_server_that_is_gone_is_a_clear_exception(server: GameServer) -> None:
    board = Board(server)
    await server.stop()
    with pytest.raises(ServerGone, match="No server answers"):
        await board.start([])
    assert isinstance(board.you, Player)


# The players side by side of lesson 3: who is shown what, and when


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
    cards = re.findall(r"<small>[↑↓⇊] ([^<]*), [0-9.]+&nbsp;s</small><br>(.*?)<br>", desks.columns[name].value)
    return [f"{whom}: {message}".replace("&quot;", '"') for whom, message in cards]


def lit(desks: Desks) -> list[str]:
    """Return whose columns show something as new."""
    return [name for name, column in desks.columns.items() if "gg-new" in column.value]


async def test_everybody_is_welcomed_in_a_column_of_their_own(desks: Desks) -> None:
    for number, name in enumerate(desks.players, 1):
        await eventually(
            lambda: (
                column(desks, name)  # noqa: B023
                == [
                    f'a reply to {name}: {{"client_id": {number}, "name": "{name}", "wins": 0}}',  # noqa: B023
                    f'to {name}: "Добро пожаловать! Угадайте число от 1 до 100."',  # noqa: B023
                ]
            )
        )
        assert "⇊" not in desks.columns[name].value, "nothing has gone to several"


async def test_a_guess_and_its_reply_are_shown_to_one_and_an_announcement_to_the_others(desks: Desks) -> None:
    desks.numbers["Ada"].value = 50
    desks.buttons["Ada"].click()
    reply, question = 'a reply to Ada: "Больше"', 'Ada asks: {"guess": 50}'
    await eventually(lambda: column(desks, "Ada")[:2] == [reply, question])
    assert lit(desks) == ["Ada"]
    assert "Больше" not in desks.columns["Bob"].value
    desks.numbers["Bob"].value = SECRET
    desks.buttons["Bob"].click()
    score, new_game = 'to everybody: {"client_id": 2, "name": "Bob", "wins": 1}', 'to everybody: "Новая игра началась!"'
    await eventually(lambda: column(desks, "Bob")[:3] == [new_game, score, 'a reply to Bob: "Вы угадали!"'])
    for name in ("Ada", "Cleo"):
        await eventually(
            lambda: column(desks, name)[:3] == [new_game, score, 'to Ada, Cleo: "Игрок Bob угадал число 42!"']  # noqa: B023
        )
    assert lit(desks) == ["Ada", "Bob", "Cleo"]
    assert desks.columns["Cleo"].value.count("gg-reply-card") == 1, "that of the name"


async def test_a_countdown_takes_one_box_in_each_column(desks: Desks, server: GameServer) -> None:
    for seconds in (3, 2, 1):
        server.broadcast({"countdown": seconds})
        for name in desks.players:
            await eventually(lambda: column(desks, name)[0] == f'to everybody: {{"countdown": {seconds}}}')  # noqa: B023
            assert desks.columns[name].value.count("countdown") == 1


async def test_in_slow_motion_each_step_shows_one_message_to_all_who_received_it(
    desks: Desks, server: GameServer
) -> None:
    server.broadcast("before")
    await eventually(lambda: all(desks.held.values()))
    desks.slow.value = True
    desks.numbers["Cleo"].value = SECRET
    desks.buttons["Cleo"].click()
    await eventually(lambda: [len(held) for held in desks.held.values()] == [3, 3, 4])
    assert "угада" not in "".join(view.value for view in desks.columns.values())
    for step, hint in (
        ('to everybody: <b>"before"</b>', "5 messages are waiting: press <b>Next step</b>."),
        ('Cleo asks: <b>{"guess": 42}</b>', "4 messages are waiting"),
        ('a reply to Cleo: <b>"Вы угадали!"</b>', "3 messages are waiting"),
        ('to Ada, Bob: <b>"Игрок Cleo угадал число 42!"</b>', "2 messages are waiting"),
        ('to everybody: <b>{"client_id": 3, "name": "Cleo", "wins": 1}</b>', "1 message is waiting"),
        ('to everybody: <b>"Новая игра началась!"</b>', "Nothing is on its way: press a <b>Guess!</b> button."),
    ):
        await eventually(lambda: f"{step}</p><p>{hint}" in desks.step.value.replace("&quot;", '"'))  # noqa: B023
        assert desks.next_button.disabled == hint.startswith("Nothing")
        desks.next_button.click()


def order(**held: str) -> list[str]:
    """Return in which order messages are shown, of which each player has sent or received those of a text.

    A word of three letters is an announcement, "?" a guess, "!" a reply; each is later than the one before it.
    """
    kinds, clock = {"?": "guess", "!": "reply"}, itertools.count()
    flights = {
        name: collections.deque(
            Flight(kinds.get(word, "announcement"), word, next(clock), [name]) for word in words.split()
        )
        for name, words in held.items()
    }
    return [f"{flight.message} {' '.join(flight.names)}" for flight in in_order(flights)]


def test_messages_come_in_the_order_of_the_server_whoever_heard_them_first() -> None:
    for steps in order(bob="? ! pts", ada="won pts"), order(ada="won pts", bob="? ! pts"):
        assert steps[:3] == ["? bob", "! bob", "won ada"]
        assert len(steps) == 4
    assert order(ada="new ? !", bob="new") == ["new ada bob", "? ada", "! ada"]
    assert len(order(ada="odd hey", bob="hey odd hey")) == 4, "what was said to one, and later to all, blocks nothing"


async def test_what_waits_is_shown_when_slow_motion_is_switched_off(desks: Desks) -> None:
    desks.slow.value = True
    desks.buttons["Ada"].click()
    await eventually(lambda: len(desks.held["Ada"]) == 2)
    desks.slow.value = False
    await eventually(lambda: column(desks, "Ada")[0] == 'a reply to Ada: "Больше"')
    assert not any(desks.held.values())


async def test_bob_asleep_is_cut_off_and_comes_back_with_a_new_id(desks: Desks, server: GameServer) -> None:
    desks.nap_button.click()
    await eventually(lambda: "· asleep" in desks.titles["Bob"].value)
    await eventually(lambda: 0 < desks.pile < server.max_backlog)
    await eventually(lambda: "Bob is cut off: " in desks.backlog.value)
    assert desks.pile > server.max_backlog
    assert "· cut off" in desks.titles["Bob"].value
    assert "News" not in desks.columns["Bob"].value
    await eventually(lambda: column(desks, "Ada")[0].startswith('read by Ada, Cleo: "News '))
    desks.nap_button.click()
    await eventually(lambda: [client.name for client in server.clients.values()] == ["Ada", "Cleo", "Bob"])
    await eventually(lambda: '"client_id": 4' in column(desks, "Bob")[0])
    assert desks.backlog.value == "nothing is waiting"


async def test_bob_wakes_up_in_time_and_reads_what_was_waiting(desks: Desks, server: GameServer) -> None:
    desks.nap_button.click()
    await eventually(lambda: desks.pile)
    desks.nap_button.click()
    await eventually(lambda: column(desks, "Bob")[0].startswith('read by Bob: "News '))
    await eventually(lambda: not desks.pile)
    assert desks.players["Bob"].client_id == 2
    assert desks.note.value == ""


async def test_a_guess_after_the_server_has_stopped_is_explained(desks: Desks, server: GameServer) -> None:
    await server.stop()
    desks.buttons["Bob"].click()
    await eventually(lambda: "Run the cells again, from the top." in desks.note.value)


# The hall of lesson 3


async def in_a_loop(connections: Sequence[ServerConnection], message: str) -> None:
    for connection in connections:
        await connection.send(message)


async def without_waiting(connections: Sequence[ServerConnection], message: str) -> None:
    broadcast(connections, message)


async def test_a_loop_gets_stuck_at_bob() -> None:
    hall = Hall(in_a_loop)
    for _ in range(2):
        hall.start_button.click()
        await eventually(lambda: "has been on its way for" in hall.picture.value)
        await eventually(lambda: "Given up: message" in hall.picture.value)
        await eventually(lambda: not hall.tasks)
        assert hall.heard["Bob"] == 0
        assert 0 < hall.heard["Cleo"] == hall.heard["Dan"] == hall.heard["Ada"] - 1 < 100


async def test_a_broadcast_reaches_those_who_read_whatever_bob_does() -> None:
    hall = Hall(without_waiting)
    hall.start_button.click()
    await eventually(lambda: "All 200 messages were sent" in hall.picture.value)
    await eventually(lambda: not hall.tasks)
    assert list(hall.heard.values()) == [200, 0, 200, 200]
    assert hall.pile > 500_000


async def test_a_hall_says_what_is_wrong_with_a_broadcast_and_can_be_left() -> None:
    async def wrong(connections: Sequence[ServerConnection], message: str) -> None:
        raise ValueError("not like this")

    hall = Hall(wrong)
    hall.start_button.click()
    await eventually(lambda: "ValueError: not like this" in hall.note.value)
    await eventually(lambda: not hall.tasks)
    hall.send_to_all = in_a_loop
    hall.start_button.click()
    await eventually(lambda: hall.heard["Ada"] > 0)
    await hall.end()
    assert not hall.tasks


# The wiretap of lesson 2: the frames are those that travel


@pytest.fixture
async def tap(server: GameServer) -> AsyncIterator[Wiretap]:
    tap = await Wiretap(server).start()
    yield tap
    await tap.stop()


async def test_a_wiretap_shows_the_frames_that_travel_and_only_the_client_masks_its_own(tap: Wiretap) -> None:
    async with Player(tap.url) as player:
        for number in (50, 50, SECRET):
            await player.guess(number)
        await eventually(lambda: tap.frames[0].text == '"Новая игра началась!"')
        frames = list(reversed(tap.frames))
        assert [frame.text for frame in frames if frame.from_client] == [
            '{"guess": 50}',
            '{"guess": 50}',
            '{"guess": 42}',
        ]
        assert [json.loads(frame.text) for frame in frames if not frame.from_client] == list(player.received)
    for frame in frames:
        assert frame.head[0] == 0b10000001
        assert frame.head[1] == len(frame.content) + (0b10000000 if frame.from_client else 0)
        assert len(frame.mask) == (4 if frame.from_client else 0)
        raw = bytes(frame)
        assert len(raw) == (6 if frame.from_client else 2) + len(frame.text.encode())
    once, again = [frame for frame in frames if "50" in frame.text]
    assert once.mask != again.mask, "these are real random bytes"
    assert once.content != again.content
    assert frames[1].meaning == "My guess is 50."
    assert frames[2].meaning.startswith("More: YOUR number is bigger")


async def test_nonsense_a_long_frame_and_a_goodbye_go_through_a_wiretap(tap: Wiretap, server: GameServer) -> None:
    server.pause = 60
    async with Player(tap.url) as player:
        assert "JSON" in str(await player.ask("<b>"))
        await player.rename("<i>")
        await player.ask({"guess": SECRET})
        await player.ask({"guess": SECRET})
        long = tap.frames[0]
        assert long.head[1] == 126
        assert int.from_bytes(long.more_length, "big") == len(long.content) > 125
        assert "length, in 3 bytes" in texts(paint_frame(long))
        assert {"This is not JSON. What will the server say?", "Call me <i>."} <= {f.meaning for f in tap.frames}
        await eventually(lambda: "{&quot;name&quot;: &quot;&lt;i&gt;&quot;}" in tap.picture.value)
        assert "<i>" not in tap.picture.value
    await eventually(lambda: not server.clients)
    assert ("goodbye", "1000 ") in [(frame.kind, frame.text) for frame in tap.frames]


async def test_the_bytes_of_a_frame_stand_in_its_boxes() -> None:
    sent = bytes.fromhex("818d 01020304 7a2064716472702621223631 7c".replace(" ", ""))
    reader = asyncio.StreamReader()
    reader.feed_data(sent + bytes([0b10000001, 127, *(70_000).to_bytes(8, "big")]) + b"x" * 70_000)
    frame = await Frame.read(reader, True)
    assert bytes(frame) == sent
    assert texts(paint_frame(frame)) == [
        *("client → server", "first byte", "81", "1", "000", "0001", "complete, text"),
        *("length", "8d", "1", "0001101", "masked, 13 bytes", "mask", "01 02 03 04", "4 random bytes"),
        *("content, masked", "7a 20 64 71 64 72 70 26 21 22 36 31 7c", html.escape(frame.text), frame.meaning),
    ]
    long = await Frame.read(reader, False)
    assert len(long.content) == 70_000
    assert "mask" not in texts(paint_frame(long))
    assert "length, in 9 bytes" in texts(paint_frame(long))


async def test_what_is_new_slides_in_once(tap: Wiretap) -> None:
    async with Player(tap.url) as player:
        await player.guess(50)
        await eventually(lambda: tap.painted == 3)
        shown = tap.picture.value
        await player.guess(51)
        await eventually(lambda: tap.painted == 5)
        assert [frame.count("gg-new") for frame in tap.picture.value.split("<em>")[:-1]] == [1, 1, 0, 0, 0]
        assert shown != tap.picture.value


async def test_a_new_wiretap_replaces_an_earlier_one_and_an_ended_one_cuts_the_line(server: GameServer) -> None:
    first = await Wiretap(server).start()
    async with Player(first.url) as player:
        second = await Wiretap(server).start()
        await player.wait_closed()
        assert not first.tasks
    async with Player(second.url) as player:
        await end_lesson()
        await player.wait_closed()
    with pytest.raises(ServerGone):
        await Player(second.url).join()


async def test_a_server_that_stops_is_noticed_through_a_wiretap(tap: Wiretap, server: GameServer) -> None:
    async with Player(tap.url) as player:
        await server.stop()
        await player.wait_closed()
        assert "close code 1001" in str(player.gone)
    with pytest.raises(ServerGone):
        await Player(tap.url).join()


# The diagram and the race of lesson 4


def lit_state(diagram: Diagram) -> str:
    """Return which state is lit, and check that it is only one."""
    [found] = re.findall(r'gg-lit[^>]*"><b><i>●</i> (.*?)</b>', diagram.picture.value)
    return str(found)


async def test_each_state_is_seen_for_a_moment_even_without_a_pause(server: GameServer) -> None:
    server.pause = 0
    async with Player(server.url, "Ada") as ada:
        diagram = Diagram(server, ada)
        assert lit_state(diagram) == "guessing"
        seen = []
        diagram.picture.observe(lambda _: seen.append((lit_state(diagram), diagram.loop.time())), "value")
        for _ in range(2):
            await ada.guess(SECRET)
            await ada.wait_until(lambda: not ada.round_over)
        await eventually(lambda: len(seen) == 6)
        assert [state for state, _ in seen] == ["pause", "new number", "guessing"] * 2
        for (_, earlier), (_, later) in zip(seen, seen[1:]):
            assert later - earlier > SEEN - 0.05
        assert "Round 3. Guess!" in texts(diagram.picture.value)
    await diagram.stop()


async def test_the_diagram_begins_where_the_game_is_and_shows_who_won_and_the_countdown(server: GameServer) -> None:
    server.pause = 60
    async with Player(server.url, "Ada") as ada, Player(server.url, "<b>") as bob:
        diagram = Diagram(server, ada)
        await bob.guess(SECRET)
        await eventually(lambda: "60" in texts(diagram.picture.value))
        assert "&lt;b&gt; found 42. The next game starts after the pause." in texts(diagram.picture.value)
        late = Diagram(server, ada)
        assert lit_state(late) == "pause"
        assert not [*diagram.tasks][1:], "one diagram at a time"
    await late.stop()


async def test_a_diagram_is_never_far_behind(server: GameServer) -> None:
    async with Player(server.url, "Ada") as ada:
        diagram = Diagram(server, ada)
        for _ in range(200):
            diagram.hear("Вы угадали!")
            diagram.hear("Новая игра началась!")
        await eventually(diagram.coming.empty)
    await diagram.stop()


class Play:
    """A game as the lesson has it, and a lock for those who want one."""

    def __init__(self) -> None:
        self.over, self.saved, self.lock = False, 0, asyncio.Lock()

    async def save_the_score(self) -> None:
        await asyncio.sleep(0)
        self.saved += 1


async def buggy(game: Play, number: int) -> str:
    if game.over:
        return "too late"
    await game.save_the_score()
    game.over = True
    return "won"


async def saves_twice(game: Play, number: int) -> str:
    await game.save_the_score()
    if game.over: return "too late"  # fmt: skip  # noqa: E701
    game.over = True
    return "won"


async def locked(game: Play, number: int) -> str:
    async with game.lock:
        try:
            return await buggy(game, number)
        finally:
            pass


async def broken(game: Play, number: int) -> str:
    raise ValueError("<i>no</i>")


async def run(race: Race) -> list[str]:
    """Press "Next step" until both have come to an end; return what was said."""
    said = []
    for _ in range(40):
        if not race.turns:
            break
        before = race.picture.value
        race.next_button.click()
        await eventually(lambda: race.picture.value != before)  # noqa: B023
        said.append(texts(race.picture.value)[0])
    return said


async def test_a_race_with_the_bug_has_both_in_the_await_before_either_has_won() -> None:
    race = Race(Play, {"with the bug": buggy})
    assert [runner.line for runner in race.runners] == [2, 2]
    for expected in (
        "Ada asks: game.over? The answer is no.",
        "Ada has to wait at the await. Meanwhile, it&#x27;s Bob&#x27;s turn.",
        "Bob asks: game.over? The answer is no.",
        "Bob has to wait at the await. Meanwhile, it&#x27;s Ada&#x27;s turn.",
    ):
        race.next_button.click()
        await eventually(lambda: texts(race.picture.value)[0] == expected)  # noqa: B023
    assert [(runner.line, runner.waiting, runner.result) for runner in race.runners] == [(4, True, "")] * 2
    assert race.game.over is False
    shown = re.findall(r'<p class="gg-here([^"]*)"><i>(.)</i>(.*?)</p>', race.picture.value)
    assert shown == [
        (turn, mark, "    await game.save_the_score()") for turn, mark in ((" gg-turn-now", "▶"), ("", "‖"))
    ]
    assert (await run(race))[-1] == "Bob is done: “won”. 2 winners: that&#x27;s wrong!"
    assert race.game.saved == 2
    race.controls[1].click()  # from the start
    await eventually(lambda: race.game.saved == 0)
    await race.end()


async def test_a_race_with_the_solution_has_one_winner_and_the_version_can_be_changed() -> None:
    race = Race(Play, {"yours": buggy, "the solution": solution_of_the_race, "with a lock": locked})
    race.choice.value = "the solution"
    await eventually(lambda: "Check and change at once." in race.picture.value)
    said = await run(race)
    assert "Bob asks: game.over? The answer is yes." in said
    assert said[-1] == "Ada is done: “won”. One winner, Ada: that&#x27;s right."
    assert race.game.saved == 1
    race.choice.value = "with a lock"
    await eventually(lambda: "async with game.lock" in race.picture.value)
    await run(race)
    assert [runner.result for runner in race.runners] == ["won", "too late"]
    race.begin()
    for _ in range(4):
        await race._next(None)
    assert all(runner.waiting for runner in race.runners), "Ada saves the score, Bob waits for the lock"
    await race.end()


async def test_one_winner_whose_score_is_saved_twice_is_no_success() -> None:
    race = Race(Play, {"yours": saves_twice})
    said = await run(race)
    assert "Ada asks: game.over? The answer is no." in said
    assert said[-1].endswith("One winner, Ada, but saved 2 times: that&#x27;s wrong!")
    assert race.next_button.disabled, "nobody is left to go on"
    await race.end()


async def test_a_race_of_a_function_that_fails_says_why_and_one_that_is_no_coroutine_is_refused() -> None:
    race = Race(Play, {"yours": broken})
    await run(race)
    assert "ValueError: &lt;i&gt;no&lt;/i&gt;" in race.picture.value
    await race.end()
    with pytest.raises(ValueError, match="Play has to begin with: async def"):
        Race(Play, {"yours": Play})  # type: ignore[dict-item]


# Who is alive, in lesson 5, and whether the event loop is, in lesson 6


async def test_who_has_gone_is_shown_with_the_reason() -> None:
    async with GameServer(port=0, ping_interval=0.5, ping_timeout=0.5, max_backlog=1000) as server:
        who = Attendance(server)

        async def shows(text: str) -> None:
            await eventually(lambda: text in " ".join(texts(who.picture.value)))

        polite, lost = Player(server.url, "<Polite>"), Player(server.url, "Lost")
        silent, sleeper = Player(server.url, "Silent"), Player(server.url, "Sleeper")
        for player in (polite, lost, silent, sleeper):
            await player.join()
        await shows("4 here")
        await shows("Sleeper #4 ● here")
        await polite.leave()
        await shows("&lt;Polite&gt; #1 ✕ left with a goodbye (close code 1000)")
        lost.connection.transport.abort()
        await shows("Lost #2 ✕ gone, without a goodbye")
        assert re.findall(r"<b>(?:&lt;)?(\w+)", who.picture.value) == ["Sleeper", "Silent", "Lost", "Polite"], (
            "all stay put"
        )
        silent.connection.transport.pause_reading()
        await shows("Silent #3 ? no answer")
        await shows("Silent #3 ✕ is silent and is cut off")
        sleeper.connection.transport.pause_reading()
        while sleeper.client_id in server.clients:
            server.broadcast("x" * 20_000)
            await sleeper.connection.send('{"guess": 1}')
            await asyncio.sleep(0.001)
        await shows("Sleeper #4 ✕ does not read and is cut off: ")
        await shows(" KiB were waiting")
        await shows("Nobody is here.")
        for player in (silent, sleeper):
            player.connection.transport.abort()
        await server.stop()
        await shows("The server is stopped.")
        await who.end()
    assert logging.getLogger("guessgame").handlers == []


async def test_the_bars_of_a_player_are_full_at_the_limits(server: GameServer) -> None:
    who = Attendance(server)
    async with Player(server.url, "Ada"):
        [client] = server.clients.values()
        await eventually(lambda: "0.0 s" in who.picture.value)
        client.connection.silence = 50
        await eventually(lambda: "? no answer" in who.picture.value)
        assert 'style="width:100%"' in who.picture.value
    await who.end()


async def test_a_strip_marks_each_beat_and_says_for_how_long_there_was_none() -> None:
    now = time.perf_counter()
    strip = Heartbeat({"steady": [now - 0.4, now - 0.2, now], "<torn>": [now - 9, now - 3, now - 0.5, now]})
    await eventually(lambda: strip.picture.value)
    lanes = strip.picture.value.split("<b>")[1:]
    assert [lane.count("<i ") for lane in lanes] == [3, 3]
    assert "<s " not in lanes[0]
    assert texts(lanes[1]) == ["&lt;torn&gt;", "2.5 s", "✕ The loop stood still for 2.5 seconds."]
    strip.lanes = {"steady": [now - 0.2, now]}
    await eventually(lambda: "● The loop takes turns." in strip.picture.value)
    await strip.stop()


def test_the_lit_lamp_is_marked_not_by_colour_alone() -> None:
    assert texts(lamps(["here", "<there>"], lit="<there>")) == ["here", "● &lt;there&gt;"]
    assert texts(lamps(["here", "<there>"], lit="")) == ["here", "&lt;there&gt;"]


# The server of lesson 8, which can be overheard, the script of its page, and the address for a class


def said(server: OverheardServer) -> list[str]:
    """Return what a server has heard and said, without the times and the meanings."""
    return [f"{who}: {words}" for _, who, words, _ in server.overheard]


@pytest.fixture
async def open_server() -> AsyncIterator[OverheardServer]:
    """A server that can be overheard."""
    server = OverheardServer(port=0, pause=60.5, draw=lambda low, high: SECRET)
    await server.start()
    yield server
    await server.stop()


async def test_the_frames_of_a_page_and_of_a_program_are_listed_in_the_order_of_time(
    open_server: OverheardServer,
) -> None:
    server = open_server
    async with Player(server.url, "Ada"), wire(server.url, user_agent_header="Mozilla/5.0") as page:
        for number in (50, SECRET):
            await page.send({"guess": number})
            await page.hear()
        await page.connection.send("<b>")
        await eventually(lambda: len(server.overheard) == 14)
    await eventually(lambda: len(server.overheard) == 16)
    welcome = '"Добро пожаловать! Угадайте число от 1 до 100."'
    assert said(server)[:14] == [
        "Python → server: GET /",
        f"server → Python #1: {welcome}",
        'Python #1 → server: {"name": "Ada"}',
        'server → Python Ada: {"client_id": 1, "name": "Ada", "wins": 0}',
        "page → server: GET /",
        f"server → page #2: {welcome}",
        'page #2 → server: {"guess": 50}',
        'server → page #2: "Больше"',
        'page #2 → server: {"guess": 42}',
        'server → page #2: "Вы угадали!"',
        'server → Python Ada: "Игрок #2 угадал число 42!"',
        'server → Python Ada, page #2: {"client_id": 2, "wins": 1}',
        "page #2 → server: <b>",
        'server → page #2: {"error": "Это не JSON: отправьте, например, {\\"guess\\": 42}."}',
    ]
    assert sorted(said(server)[14:]) == ["Python Ada → server: (gone)", "page #2 → server: (gone)"]
    times = [when for when, *_ in server.overheard]
    assert times == sorted(times)
    assert server.overheard[7][3] == "More: YOUR number is bigger than the secret one, so go down."


async def test_a_name_in_the_address_is_no_frame_and_a_crowd_is_counted(open_server: OverheardServer) -> None:
    server = open_server
    async with wire(f"{server.url}/?name=%D0%AF") as one, wire(f"{server.url}/?name=") as two:
        assert await one.hear() == {"client_id": 1, "name": "Я", "wins": 0}
        assert "error" in await two.hear()
        await one.connection.send(b"raw")
        await one.hear()
        assert [line for line in said(server) if "→ server" in line] == [
            "Python → server: GET /?name=%D0%AF",
            "Python → server: GET /?name=",
            "Python Я → server: b'raw'",
        ]
        async with wire(server.url), wire(server.url):
            server.broadcast("hello")
    assert 'server → Python Я, Python #2, Python #3 and 1 more: "hello"' in said(server)


async def test_what_was_overheard_is_shown_the_newest_on_top_and_escaped(open_server: OverheardServer) -> None:
    async with wire(f"{open_server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        await guest.connection.send("<i>")
        await guest.hear()
        shown = Overheard(open_server)
        await eventually(lambda: "GET /" in shown.picture.value)
        assert [text for text in texts(shown.picture.value) if "i&gt;" in text] == ["&lt;i&gt;"]
        assert texts(shown.picture.value)[0] == "server → Python &lt;b&gt;"
        assert '<p class="gg-python"><b>server → Python' in shown.picture.value
        assert "<i>" not in shown.picture.value
        await shown.stop()


async def test_a_page_stands_beside_the_parts_of_a_lesson(server: GameServer) -> None:
    panel = Panel({})
    row = beside(IFrame(server.page, 400, 560), panel).children[1]
    assert f'src="{server.page}"' in row.children[0].value
    assert row.children[1].children == (panel.view,)


def test_the_script_of_the_page_is_shown_in_five_pieces() -> None:
    titles = ["Connect", "Hear", "Send", "Show", "Come back"]
    pieces = [piece_of_page(number).data for number in range(1, 6)]
    for number, (title, piece) in enumerate(zip(titles, pieces), 1):
        assert piece.startswith(f"```js\n// {number}. {title}: ")
        assert piece.endswith("}\n```")
        assert piece.count("```") == 2
        assert len(re.findall(r"(?m)^// \d\. ", piece)) == 1
    assert "What to press" not in pieces[4]
    some = piece_of_page(2, "hear", "hearSentence").data
    assert re.findall(r"function (\w+)", some) == ["hear", "hearSentence"]
    assert some.startswith("```js\n// 2. Hear: ")
    with pytest.raises(ValueError, match="the pieces are 1 to 5"):
        piece_of_page(6)


async def test_a_second_server_replaces_only_an_earlier_second_one() -> None:
    first = await start_lesson()
    second, third = await start_another(origins=["https://example.org"]), await start_another()
    assert [server.running for server in (first, second, third)] == [True, False, True]
    await end_lesson()
    assert [server.running for server in (first, second, third)] == [False] * 3


def test_the_address_for_a_class_has_a_code_only_with_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert texts(join_card("http://192.168.1.20:8765/<").children[1].value) == ["http://192.168.1.20:8765/&lt;"]
    code = SimpleNamespace(svg_inline=lambda **options: "<svg></svg>")
    monkeypatch.setitem(sys.modules, "segno", SimpleNamespace(make=lambda content, error: code))
    assert "<svg></svg>" in join_card("http://192.168.1.20:8765/").children[1].value


# Real kernels

DEMO = PROJECT / "notebooks" / "01_watch_bots_play.ipynb"
PAGE_LESSON = PROJECT / "notebooks" / "08_a_page_is_a_client.ipynb"

# The kernel has tasks of its own, which come and go. The code of a cell is in a "file" named ipykernel_...
OUR_FILES = ("guessgame", "websockets", "ipykernel_", *(path.stem for path in NOTEBOOKS[0].parent.glob("*.py")))
OUR_TASKS = f"""[
    repr(task) for task in __import__("asyncio").all_tasks()
    if any(name in task.get_coro().cr_code.co_filename for name in {OUR_FILES})
]"""

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path) as running:
        yield running


def test_a_kernel_reads_all_requests_though_they_come_while_it_replies(jupyter: Kernel) -> None:
    for _ in range(300):
        waiting = {jupyter.client.kernel_info() for _ in range(3)}
        while waiting:
            waiting.discard(jupyter.client.get_shell_msg(timeout=PATIENCE)["parent_header"]["msg_id"])


@every_notebook
def test_a_notebook_is_stored_without_outputs_in_small_cells(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown", "prose first"
    assert "code code code code" not in " ".join(cell["cell_type"] for cell in cells), "three in a row at the most"
    for cell in cells:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert "".join(cell["source"]).count("\n") < 15


@every_notebook
def test_a_lesson_contains_no_plumbing(notebook: Path) -> None:
    cells = "\n".join(code_cells(notebook))
    for plumbing in (r"globals\(\)", r"finished", r"lambda (\w+)=\1:", r"gg-"):
        assert not re.search(plumbing, cells)
    assert re.fullmatch(r"end_of_lesson\(\w*\)", code_cells(notebook)[-1])


@every_notebook
def test_all_cells_run_twice_in_one_kernel_and_once_more_in_disorder(notebook: Path, jupyter: Kernel) -> None:
    for _ in range(2):
        for outputs in jupyter.run_all(notebook):
            errors = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
            assert re.sub(r"#\d+.* does not read and is cut off: .*\n", "", errors) == "", "one lesson shows this line"
    for source in reversed(code_cells(notebook)[:-1]):
        jupyter.run(source)


def press_every_button(jupyter: Kernel) -> None:
    """Press each button of each panel, and wait for what it brings."""
    jupyter.run("import gc, html, gameboard; panels = [o for o in gc.get_objects() if type(o) is gameboard.Panel]")
    for number, labels in enumerate(jupyter.value("[list(panel.buttons) for panel in panels]")):
        for label in labels:
            jupyter.click(f"panels[{number}].buttons[{label!r}]")
            if jupyter.value(f"panels[{number}].results.maxlen"):
                jupyter.wait_for(f"html.escape({label!r}) in ([*panels[{number}].results] or [''])[0]")
            jupyter.wait_for(f"not panels[{number}].tasks")
    assert jupyter.value("[panel.note.value for panel in panels if panel.note.value]") == []


@every_notebook
def test_every_button_answers_and_the_last_one_leaves_no_server_no_task_and_no_thread(
    notebook: Path, jupyter: Kernel
) -> None:
    jupyter.run("import threading; threads_before = set(threading.enumerate())")
    jupyter.run_all(notebook)
    press_every_button(jupyter)
    jupyter.run("parts, old = list(gameboard.Part.in_use), server")
    assert jupyter.value("(parts[-1].name, old.running)") == ("the end", True)
    jupyter.click("parts[-1].controls[0]")
    jupyter.wait_for("not old.running and not old.clients")
    jupyter.wait_for(f"{OUR_TASKS} == []")
    assert jupyter.value("[part.tasks for part in parts if part.tasks]") == []
    assert jupyter.value("[control for part in parts for control in part.controls if not control.disabled]") == []
    told = "This lesson has ended"
    assert jupyter.value(f"[part.name for part in parts if ({told!r} in part.note.value) != bool(part.controls)]") == []
    assert jupyter.value("[thread.name for thread in set(threading.enumerate()) - threads_before]") == []
    jupyter.run_all(notebook)
    assert jupyter.value("server.running")


def test_bots_play_by_themselves_as_soon_as_the_cells_have_run(jupyter: Kernel) -> None:
    outputs = jupyter.run_all(DEMO)
    assert "application/vnd.jupyter.widget-view+json" in outputs[1][-1]["data"], "the board is shown"
    jupyter.run("board.delay_slider.value = 0")
    jupyter.wait_for("server.rounds_played > 0")


def test_every_control_of_the_board_works_by_comm_messages(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    jupyter.click("board.start_button")
    jupyter.wait_for("not board.running")
    jupyter.set("board.delay_slider", 0)
    jupyter.wait_for("[bot.delay for bot in board.bots] == [0] * 5")
    jupyter.set("board.pause_slider", 0.5)
    jupyter.wait_for("server.pause == 0.5")

    jupyter.run(FRESH_ROUND)
    jupyter.click("board.step_button")
    jupyter.wait_for("board.bots[0].last_guess == 50")

    jupyter.set("board.strategy", 1, trait="index")
    jupyter.click("board.add_button")
    jupyter.wait_for("len(board.bots) == 6 and board.bots[-1].strategy is lucky")
    jupyter.click("board.remove_button")
    jupyter.wait_for("len(board.bots) == 5")

    jupyter.set("board.number", "1")
    jupyter.click("board.guess_button")
    jupyter.wait_for("board.you.last_guess == 1")
    jupyter.set("board.secret", True)
    jupyter.wait_for("'--secret' in board.moves.value")

    for value in range(60):  # a key held down
        jupyter.set("board.delay_slider", value / 20)
    jupyter.wait_for("board.delay_slider.value == 2.95")
    jupyter.set("board.delay_slider", 0)

    jupyter.click("board.start_button")
    jupyter.wait_for("server.rounds_played > 3")
    assert jupyter.value("board.note.value") == ""


def test_the_command_line_runs_in_a_notebook(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    for source in (
        "%run ../guessgame.py bots {server.url} -n 2 --delay 0 --rounds 2",
        "import guessgame; guessgame.main(['bots', server.url, '-n', '2', '--delay', '0', '--rounds', '2'])",
    ):
        jupyter.run("server.pause = 0")
        outputs = jupyter.run(source)
        printed = "".join(output["text"] for output in outputs if output["kind"] == "stream")
        assert "Round 2:" in printed
        assert re.search(r"^bot +wins +guesses$", printed, re.MULTILINE)
        jupyter.click("board.start_button")  # the notebook still reacts
        jupyter.wait_for("board.running in (True, False)")


def test_bots_in_a_notebook_leave_the_kernel_alive_when_its_loop_has_more_to_do(jupyter: Kernel) -> None:
    jupyter.run_all(DEMO)
    jupyter.run("""
        import asyncio, guessgame
        loop, statuses = asyncio.get_running_loop(), []
        command = ["bots", server.url, "-n", "1", "--delay", "0", "--rounds", "1"]
        loop.call_soon(lambda: statuses.append(guessgame.main(command)))
        for _ in range(500):
            loop.call_soon(int)  # ready in the same turn of the loop
    """)
    jupyter.wait_for("statuses == [0]")


def test_the_doors_of_the_page_lesson_let_in_and_refuse(jupyter: Kernel) -> None:
    jupyter.run_all(PAGE_LESSON)
    jupyter.run("import gc, gameboard; panels = [o for o in gc.get_objects() if type(o) is gameboard.Panel]")
    jupyter.run("press = {label: button for panel in panels for label, button in panel.buttons.items()}")
    jupyter.run("results = [panel for panel in panels if 'evil.example' in panel.buttons][0].results")
    for label, guarded in (
        ("No Origin at all", "✓ welcome!"),
        ("The page's own origin", "✓ welcome!"),
        ("evil.example", "✕ HTTP 403"),
    ):
        jupyter.click(f"press[{label!r}]")
        answer = f"The open server: ✓ welcome! The guarded one: {guarded}"
        jupyter.wait_for(f"{answer!r} in ([*results] or [''])[0] and {label.split()[-1]!r} in results[0]")
    jupyter.click("press['Ada guesses']")
    jupyter.wait_for("""('Python Ada → server', '{"guess": 50}') in [line[1:3] for line in server.overheard]""")
    jupyter.click("press['Ada peeks']")
    jupyter.wait_for("server.rounds_played == 1")
    jupyter.run("await gameboard.end_lesson()")
    assert jupyter.value("(server.running, guarded.running)") == (False, False)


def test_the_exercise_of_the_race_accepts_the_solution_and_not_what_stands_there(jupyter: Kernel) -> None:
    jupyter.run_all(PROJECT / "notebooks" / "04_rounds_and_resets.ipynb")
    jupyter.run("verdicts = [await check(version) for version in (my_judge, solution)]")
    assert jupyter.value("verdicts") == [
        "winners: 2, scores saved: 2: not yet, each should be 1",
        "winners: 1, scores saved: 1: well done!",
    ]


def test_a_bot_of_your_own_has_its_chance_in_the_tournament(jupyter: Kernel) -> None:
    notebook = PROJECT / "notebooks" / "07_write_your_own_bot.ipynb"
    jupyter.run_all(notebook)
    [exercise] = [source for source in code_cells(notebook) if source.startswith("def my_bot")]

    def write(body: str) -> str:
        outputs = jupyter.run(exercise.replace("raise NotImplementedError", body))
        return "".join(output["text"] for output in outputs)

    assert write("return Low").startswith("not yet: it fails with NameError")
    assert write("return low / 2").startswith("not yet: for 1 to 100 it returns 0.5 (use `//`, not `/`)")
    jupyter.run("wins.update(dict.fromkeys(sign_up(), 0)); await play_fifty(sign_up())")
    assert "my_bot" not in jupyter.value("wins")
    assert write("return (low + high) // 2") == "5.80 guesses on average, 7 at worst: well done!\n"
    for order, first, last in (("", "bisection", "my_bot"), ("[::-1]", "my_bot", "bisection")):
        jupyter.run(f"random.sample = lambda bots, count: list(bots){order}")
        jupyter.run("wins.update(dict.fromkeys(sign_up(), 0)); await play_fifty(sign_up())")
        wins = jupyter.value("wins")
        assert wins[first] > wins[last], "of two that ask for the same numbers, the lot decides"


WRONG = {
    "url_of_page": [
        'return f"ws://{host}:{port}/?name={name}"',
        "return f\"ws://{host}:{port}/?name={quote(name or '')}\"",
        "return f\"ws://{host}:{port}/{'?name=' + quote(name) if name else ''}\"",
        "return f\"http://{host}:{port}/{'?name=' + quote(name, safe='') if name else ''}\"",
    ],
    "waiting_time": [
        "return min(30, 2**failures)",
        "return 2**failures * (0.5 + luck)",
        "return min(30, 2**failures * (0.5 + luck))",
        "return min(30, 2**failures) * luck",
        "return min(30, 2 * failures) * (0.5 + luck)",
    ],
    "number_in": [
        'import re; return int(re.findall(r"\\d+", sentence)[0])',
        'import re; found = re.findall(r"-?\\d+", sentence); return int(found[-1]) if found else None',
        'import re; found = re.search(r"число (-?\\d+)", sentence); return int(found[1]) if found else None',
        'import re; found = re.search(r"число (\\d+)!$", sentence); return int(found[1]) if found else None',
        "return 67",
        "pass",
    ],
}


def test_the_exercises_of_the_page_lesson_accept_their_solutions_and_nothing_wrong(jupyter: Kernel) -> None:
    jupyter.run_all(PAGE_LESSON)
    cells = json.loads(PAGE_LESSON.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    solutions = re.findall(r"<summary>Solution</summary>\n\n```python\n(.*?)```", prose, re.DOTALL)
    exercises = [source for source in code_cells(PAGE_LESSON) if "raise NotImplementedError" in source]
    assert len(solutions) == len(exercises) == len(WRONG)
    for (name, attempts), exercise, solution in zip(WRONG.items(), exercises, solutions):
        signature, check = exercise.split("    raise NotImplementedError\n")
        assert name in signature

        def verdict(definition: str) -> str:
            [output] = jupyter.run(definition + check)  # noqa: B023
            return str(ast.literal_eval(output["data"]["text/plain"]))

        assert verdict(signature + "    raise NotImplementedError\n") == "not yet"
        assert verdict(solution) == "well done!"
        for attempt in attempts:
            assert verdict(f"{signature}    {attempt}\n").startswith("not yet: "), attempt
