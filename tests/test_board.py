"""The board of lesson 1, without a browser: what it knows, how it paints that, what its controls do."""

from __future__ import annotations

import asyncio
import re
from typing import Any, AsyncIterator

import pytest

from conftest import SECRET, WELCOME, eventually, texts, wire
from guessgame import STRATEGIES, Bot, GameServer, Knowledge, ServerGone, bisection, counting
from kit.board import NAMES, Board, Scale, Scene, paint_lines, paint_sheet


@pytest.fixture
async def board(server: GameServer) -> AsyncIterator[Board]:
    """A board with two bots, who wait."""
    board = Board(server)
    await board.start([bisection, counting])
    yield board
    await board.stop()


def read(board: Board, part: str) -> list[str]:
    """Paint the board, and return what a person reads on a part of it."""
    board.paint()
    return texts(getattr(board, part).value)


def variables(sheet: str, selector: str) -> dict[str, str]:
    """Return what a style sheet sets for a selector."""
    rule = re.search(rf"\.{selector}{{([^}}]*)}}", sheet)
    assert rule
    return dict(re.findall(r"--(\w+):([^;]*)", rule[1]))


def hear_so(player: Knowledge, number: int, reply: str) -> None:
    """Let a player guess and hear a reply, without a network."""
    player.ask_for({"guess": number})
    player.hear(reply)


# What is known, without any widget


@pytest.mark.parametrize(
    ("low", "high", "marks"), [(1, 100, "1 25 50 75 100"), (1, 3, "1 2 3"), (5, 5, "5"), (-10, 9, "-10 -6 -1 4 9")]
)
def test_the_axis_has_a_few_round_marks(low: int, high: int, marks: str) -> None:
    assert texts(paint_lines([], Scale(low, high))) == ["player", *marks.split()]


def test_a_scene_learns_from_messages_alone() -> None:
    you = Knowledge(client_id=1, name="You")
    scene = Scene(you)
    ada = Bot("ws://nowhere", bisection)
    for player in (you, ada):
        player.hear(WELCOME)
    ada.client_id, ada.name = 2, "Ada"
    scene.bots.append(ada)
    assert (scene.next_bot(), scene.closest()) == (ada, (100, ["You", "Ada"]))
    for number, reply in ((50, "Больше"), (24, "Меньше")):
        hear_so(ada, number, reply)
    assert scene.closest() == (25, ["Ada"])
    sheet = paint_sheet(scene, scene.seats([]), turn=ada)
    assert variables(sheet, "gg-seat0") == {}
    assert variables(sheet, "gg-seat1") == {
        "from": "24.00%", "to": "49.00%", "mark": "23.50%", "guessed": "block", "arrow": '"▶"',
        "next": '"▸ "', "row": "var(--jp-layout-color2)",
    }  # fmt: skip
    for message in ("Игрок Ada угадал число 42!", {"client_id": 2, "name": "Ada", "wins": 1}, {"countdown": 5}):
        scene.hear(message)
    assert (scene.found, scene.winner, scene.countdown) == (42, 2, 5)
    assert list(scene.news) == [{"client_id": 2, "name": "Ada", "wins": 1}, "Игрок Ada угадал число 42!"]
    assert list(scene.heard)[-1] == {"countdown": 5}
    sheet = paint_sheet(scene, scene.seats([]))
    found = variables(sheet, "gg-board")
    assert (found["from"], found["to"], found["number"]) == ("40.25%", "42.75%", '"42"')
    places = [variables(sheet, f"gg-seat{number}") for number in range(2)]
    assert ["row" in place for place in places] == [False, True], "one row is the winner's"
    assert not any("from" in place for place in places), "all bars are where the number is"
    scene.hear("Новая игра началась!")
    assert (scene.found, scene.winner, scene.countdown) == (None, None, None)
    hear_so(you, 41, "Меньше")
    you.ask_for({"guess": 42})
    scene.typed = 42
    for message in ("Новая игра началась!", "Вы угадали!"):
        you.hear(message)
        scene.hear(message)
    assert (scene.found, scene.winner) == (42, 1), "however close the new game and the win are"


# What is shown


async def test_the_board_shows_every_player_by_name_and_strategy(board: Board) -> None:
    names = read(board, "lines")
    assert names[names.index("You") :] == ["You", "by hand", "Ada", "bisection", "Bob", "counting"]
    assert read(board, "replies").count("one of: 1–100") == 3
    assert read(board, "head") == [
        "Round 1: who finds the number?", "3", "players", "Nobody knows anything yet.",
    ]  # fmt: skip
    await board.you.guess(SECRET - 1)
    await board.you.guess(SECRET + 1)
    assert read(board, "head")[-1] == "You are one guess away!"


async def test_the_fewest_guesses_of_the_day_are_remembered(board: Board, server: GameServer) -> None:
    for guesses in ([1, 2, SECRET], [SECRET], [3, SECRET]):
        for number in guesses:
            await board.bots[1].guess(number)
        await board.bots[1].wait_until(lambda: not board.bots[1].round_over)
    await eventually(lambda: board.you.rounds == 3 and not board.you.round_over)
    assert read(board, "head")[-1].endswith("Fewest guesses today: 1, by Bob.")
    assert read(board, "replies")[-2:] == ["3", "best: 1"]


async def test_a_win_freezes_while_a_line_grows_from_the_server_to_every_row(board: Board, server: GameServer) -> None:
    board.paint()
    assert board.lines.value.count('class="gg-ray') == 3
    assert "fan" not in variables(board.sheet.value, "gg-board")
    server.pause = 60
    await board.bots[0].guess(SECRET)
    await eventually(lambda: board.scene.winner is not None)
    board.paint()
    found = variables(board.sheet.value, "gg-board")
    assert (found["fan"], found["freeze"]) == ("block", "1.0s")
    assert "thick" in variables(board.sheet.value, "gg-ray1"), "the winner is told something else"
    assert ".gg-ray0{" not in board.sheet.value
    board.delay_slider.value = 0
    board.paint()
    assert "freeze" not in variables(board.sheet.value, "gg-board"), "there is no time to freeze"


async def test_a_bet_is_counted_until_another_one_is_made(server: GameServer) -> None:
    board = await Board(server, bet="Bob").start([bisection, counting])
    assert (board.bet.value, board.bet.options) == ("Bob", ("", "Ada", "Bob"))
    assert read(board, "bets") == []
    assert variables(board.sheet.value, "gg-seat2") == {"bet": '"♥ "'}
    for rounds, bot in enumerate((1, 0, 1), 1):
        await board.bots[bot].guess(SECRET)
        await eventually(lambda: board.you.rounds == rounds and not board.you.round_over)  # noqa: B023
        await board.bots[bot].wait_until(lambda: not board.bots[bot].round_over)  # noqa: B023
    assert read(board, "bets") == ["2 of 3 right"]
    await board.add(counting)
    assert (board.scene.bet, board.bet.options) == ("Bob", ("", "Ada", "Bob", "Cleo"))
    board.bet.value = "Cleo"
    await eventually(lambda: board.scene.bet == "Cleo" and not board.scene.bets)
    board.remove_button.click()
    await eventually(lambda: board.bet.value == board.scene.bet == "")
    await board.stop()


async def test_people_from_elsewhere_have_a_row_and_what_they_are_called_is_only_text(
    board: Board, server: GameServer
) -> None:
    server.pause = 60
    async with wire(f"{server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        assert read(board, "lines")[-2:] == ["&lt;b&gt;", "elsewhere"]
        assert read(board, "replies")[-2:] == ["we hear of wins", "0"]
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.scene.countdown == 59)
        title, count, below = read(board, "head")
        assert (title, count) == ("★ &lt;b&gt; found 42!", "59…")
        assert below == "Everybody is told at the same moment: &#34;Игрок &lt;b&gt; угадал число 42!&#34;"
        assert read(board, "replies")[-3:] == ["42", "★ found it!", "1"]
        assert "<b>" not in board.news.value
        server.new_round()
        await eventually(lambda: board.scene.winner is None)
        assert read(board, "head")[0] == "Round 2: who finds the number?"
    await eventually(lambda: len(server.clients) == 3)
    assert len(board.scene.seats(server.clients.values())) == 3


async def test_a_name_that_is_taken_is_left_to_whoever_has_it(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=Ada") as ada, wire(f"{server.url}/?name=You") as you:
        assert [(await guest.hear())["name"] for guest in (ada, you)] == ["Ada", "You"]
        board = await Board(server).start([bisection])
        assert (board.you.name, board.bots[0].name) == ("You 2", "Bob")
        await board.stop()


# What the controls do


async def test_one_guess_is_one_guess_by_the_next_bot_in_turn(board: Board, server: GameServer) -> None:
    for expected in ([1, 0], [1, 1], [2, 1]):
        board.step_button.click()
        await eventually(lambda: [bot.guesses for bot in board.bots] == expected)  # noqa: B023
    shown = read(board, "replies")
    assert shown[-8:] == ["25", "Меньше ▶", "go right: 26–49", "0", "1", "Меньше ▶", "go right: 2–100", "0"]
    assert read(board, "head")[-1] == "Closest: Ada, with 24 numbers to choose from."
    server.pause = 60
    await board.you.guess(SECRET)
    board.step_button.click()
    await eventually(lambda: "wait for the new game" in board.answer.value)
    assert sum(bot.guesses for bot in board.bots) == 3


async def test_start_and_pause_and_paintings_no_faster_than_they_can_be_seen(board: Board, server: GameServer) -> None:
    changes: list[Any] = []
    for widget in (board.lines, board.sheet, board.replies):
        widget.observe(changes.append, "value")
    server.pause = 0
    board.delay_slider.value = 0
    board.start_button.click()
    await eventually(lambda: sum(bot.guesses for bot in board.bots) > 500)
    assert board.start_button.description == "Pause the bots"
    board.start_button.click()
    await eventually(lambda: board.start_button.description == "Start the bots")
    guesses = sum(bot.guesses for bot in board.bots)
    await asyncio.sleep(0.2)
    assert sum(bot.guesses for bot in board.bots) <= guesses + 2, "a guess may have been on its way"
    assert 0 < len(changes) < guesses / 3


async def test_bots_are_added_and_removed_while_the_others_play(board: Board, server: GameServer) -> None:
    board.delay_slider.value = 0
    board.play()
    for number, strategy in enumerate([*STRATEGIES.values(), *[counting] * len(NAMES)], 3):
        board.strategy.value = strategy
        board.add_button.click()
        await eventually(lambda: len(board.bots) == number)  # noqa: B023
        assert board.bots[-1].strategy is strategy
    newest = board.bots[-1]
    await eventually(lambda: newest.guesses > 0)
    assert newest.name == f"Bot {len(board.bots)}"
    while board.bots:
        left = len(board.bots) - 1
        board.remove_button.click()
        await eventually(lambda: len(board.bots) == left)  # noqa: B023
    board.remove_button.click()
    board.step_button.click()
    board.paint()
    await eventually(lambda: list(server.clients) == [1])
    assert board.note.value == ""


async def test_the_sliders_act_at_once(board: Board, server: GameServer) -> None:
    board.play()
    for bot in board.bots:
        bot.delay = 3600
    board.delay_slider.value = 3
    board.pause_slider.value = 7.5
    await eventually(lambda: [bot.delay for bot in board.bots] == [3, 3] and server.pause == 7.5)
    await eventually(lambda: "glide" not in board.sheet.value)
    board.delay_slider.value = 0
    await eventually(lambda: "--glide:0" in board.sheet.value), "what is faster than it glides would never arrive"
    await eventually(lambda: all(bot.guesses for bot in board.bots))


async def test_you_can_play_along_and_see_the_reply(board: Board, server: GameServer) -> None:
    server.pause = 60
    for typed, shown in (
        (" 10 ", "Меньше"),
        ("fifty", "“fifty” is no whole number"),
        ("90", "Больше"),
        ("90", "Больше"),
        ("101", "A guess is a whole number"),
        (str(SECRET), "Вы угадали!"),
    ):
        board.number.value = typed
        await eventually(lambda: shown in board.answer.value and board.number.value == "")  # noqa: B023
    assert board.you.guesses == 4
    assert read(board, "head")[0] == "★ You found 42! ★"
    server.new_round()
    await eventually(lambda: "Play along" in board.answer.value)


async def test_you_choose_your_name(board: Board, server: GameServer) -> None:
    board.your_name.value = "Мария"
    await eventually(lambda: server.clients[1].name == "Мария" and "Мария" in board.answer.value)
    board.your_name.value = "#3"
    await eventually(lambda: "error" in board.answer.value and board.your_name.value == "Мария")
    assert "Мария" in read(board, "lines")


# What goes wrong


async def test_an_error_is_shown_beside_the_controls_until_the_next_click(board: Board, server: GameServer) -> None:
    await server.stop()
    board.number.value = "50"
    await eventually(lambda: "Run the cells again, from the top" in board.note.value)
    assert read(board, "head")[0] == "The connection has ended"
    board.delay_slider.value = 2
    await eventually(lambda: board.note.value == "")
    board.add_button.click()
    await eventually(lambda: "No server of this game lets you in" in board.note.value)
    with pytest.raises(ServerGone, match="No server of this game lets you in"):
        await Board(server).start([])


async def test_the_error_of_a_learners_strategy_is_shown(board: Board) -> None:
    def broken(low: int, high: int) -> int:
        raise RuntimeError("<i>no idea</i>")

    board.delay_slider.value = 0
    board.play()
    bot = await board.add(broken)
    await eventually(lambda: "Cleo&#39;s strategy failed: RuntimeError: &lt;i&gt;no" in board.note.value)
    bot.strategy = lambda low, high: (low + high) / 2 + 0.25  # type: ignore[assignment,return-value]
    board.play()
    await eventually(lambda: "the server refuses what the bot says" in board.note.value)


async def test_a_stopped_board_leaves_no_task_and_no_client(server: GameServer) -> None:
    before = asyncio.all_tasks()
    board = await Board(server).start(STRATEGIES.values())
    board.play()
    await asyncio.sleep(0.1)
    await board.stop()
    await board.stop()
    await eventually(lambda: not server.clients and asyncio.all_tasks() == before)
    assert "gg-gone" not in board.head.value, "no alarm"
