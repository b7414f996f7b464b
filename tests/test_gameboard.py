"""The board of lesson 1, without a browser."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator

import pytest

from conftest import SECRET, eventually, texts, wire
from gameboard import NAMES, Board, paint_lines
from gamekit import COLOURS
from guessgame import STRATEGIES, GameServer, Player, ServerGone, bisection, counting


@pytest.fixture
async def board(server: GameServer) -> AsyncIterator[Board]:
    """A board with two bots, who wait."""
    board = Board(server)
    await board.start([bisection, counting])
    yield board
    await board.stop()


def read(board: Board, part: Any) -> list[str]:
    """Paint the board, and return what a person reads on a part of it."""
    board.paint()
    return texts(part.value)


async def test_the_board_shows_every_player_by_name_and_strategy(board: Board) -> None:
    names = read(board, board.lines)
    assert names[names.index("You") :] == ["You", "by hand", "Ada", "bisection", "Bob", "counting"]
    assert read(board, board.replies).count("one of: 1–100") == 3
    assert read(board, board.head) == ["Round 1: who finds the number from 1 to 100?", "Nobody knows anything yet."]


async def test_one_guess_is_one_guess_by_the_next_bot_in_turn(board: Board) -> None:
    for expected in ([1, 0], [1, 1], [2, 1]):
        board.step_button.click()
        await eventually(lambda: [bot.guesses for bot in board.bots] == expected)  # noqa: B023
    shown = read(board, board.replies)
    assert shown[-8:] == ["25", "Меньше ▶", "go right: 26–49", "0", "1", "Меньше ▶", "go right: 2–100", "0"]
    assert '.gg-seat1{--from:25.00%;--to:49.00%;--mark:24.50%;--ink:1;--arrow:"▶";}' in board.moves.value
    assert read(board, board.head)[1] == "Closest: Ada, with 24 numbers to choose from."


async def test_the_head_says_who_is_one_guess_away(board: Board) -> None:
    for number in (SECRET - 1, SECRET + 1):
        await board.you.guess(number)
    assert read(board, board.head)[1] == "You are one guess away!"
    await board.bots[0].guess(SECRET - 1)
    await board.bots[0].guess(SECRET + 1)
    assert read(board, board.head)[1] == "You and Ada are one guess away!"


async def test_after_a_win_every_bar_is_on_the_number_that_everybody_was_told(board: Board, server: GameServer) -> None:
    server.pause = 60
    ada = board.bots[0]
    await board.bots[1].guess(1)
    await ada.guess(1)
    await ada.guess(SECRET)
    await eventually(lambda: board.winner == ada.client_id)
    title, *_, below = read(board, board.head)
    assert title == "★ Ada found 42!"
    assert below == "Everybody is told at the same moment: &quot;Игрок Ada угадал число 42!&quot;"
    assert board.moves.value.count("--from:40.25%;--to:42.75%;") == 3
    assert ".gg-seat0{--from:40.25%;--to:42.75%;--told:gg-told;}" in board.moves.value
    assert board.moves.value.count("--row:var(--c)") == 1, "one row is the winner's"
    shown = read(board, board.replies)
    assert shown[-9:-4] == ["42", "Вы угадали!", "★ found it!", "1", "best: 2"], "Ada's row"
    assert shown[-4:] == ["1", "Меньше ▶", "is told: it was 42", "0"], "Bob's row"


async def test_the_fewest_guesses_of_the_day_are_remembered(board: Board, server: GameServer) -> None:
    for guesses in ([1, 2, SECRET], [SECRET], [3, SECRET]):
        for number in guesses:
            await board.bots[1].guess(number)
        await board.bots[1].wait_until(lambda: not board.bots[1].round_over)
    await eventually(lambda: board.you.rounds == 3 and not board.you.round_over)
    assert read(board, board.head)[1].endswith("Fewest guesses today: 1, by Bob.")
    assert read(board, board.replies)[-2:] == ["3", "best: 1"]


async def test_you_choose_your_name(board: Board, server: GameServer) -> None:
    board.your_name.value = "Мария"
    await eventually(lambda: server.clients[1].name == "Мария")
    await eventually(lambda: "Мария" in board.reply.value)
    board.your_name.value = "#3"
    await eventually(lambda: "error" in board.reply.value and board.your_name.value == "Мария")
    assert "Мария" in read(board, board.lines)


async def test_people_from_elsewhere_have_a_row_with_what_is_announced(board: Board, server: GameServer) -> None:
    server.pause = 60
    async with wire(f"{server.url}/?name=Phone") as guest:
        await guest.hear()
        assert read(board, board.lines)[-2:] == ["Phone", "elsewhere"]
        assert read(board, board.replies)[-2:] == ["we hear of wins", "0"]
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.winner is not None)
        assert read(board, board.replies)[-3:] == ["42", "★ found it!", "1"]
    await eventually(lambda: len(server.clients) == 3)
    assert "Phone" not in read(board, board.lines)


async def test_a_win_is_announced_and_counted_and_the_countdown_shown(board: Board, server: GameServer) -> None:
    server.pause = 1
    async with wire(f"{server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.countdown == 1)
        assert read(board, board.head)[:2] == ["★ &lt;b&gt; found 42!", "1…"]
        assert "&lt;b&gt;" in board.announcements.value, "what comes from the wire is escaped"
        assert "<b>" not in board.announcements.value
        await eventually(lambda: board.winner is None)
        assert read(board, board.head)[0] == "Round 2: who finds the number from 1 to 100?"


async def test_you_can_play_along_and_see_the_reply(board: Board, server: GameServer) -> None:
    server.pause = 60
    shown: list[str] = []
    board.reply.observe(lambda change: shown.append(change["new"]), "value")
    for number, reply in ((10, "Меньше"), (90, "Больше"), (SECRET, "Вы угадали!")):
        board.number.value = str(number)
        board.guess_button.click()
        await eventually(lambda: any(reply in answer for answer in shown))  # noqa: B023
        assert board.number.value == ""
    assert read(board, board.head)[0] == "★ You found 42! ★"
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
    assert "Bot 13" in read(board, board.lines)


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
    assert read(board, board.head)[0] == "The connection has ended"
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
    assert "gg-gone" not in board.head.value, "no alarm"


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
