"""The widgets of the notebooks, without a browser: what is painted, and what the controls do."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any, AsyncIterator

import pytest

from conftest import SECRET, eventually, wire
from gameboard import (
    COLOURS,
    NAMES,
    Actions,
    Board,
    Live,
    Panel,
    bars,
    clean_up,
    explain,
    paint_axis,
    paint_message,
    states,
)
from guessgame import STRATEGIES, GameServer, Player, ServerGone, bisection, counting


@pytest.fixture
async def board(server: GameServer) -> AsyncIterator[Board]:
    """A board with two bots, who wait."""
    board = Board(server)
    await board.start([bisection, counting])
    yield board
    await board.stop()


def texts(markup: str) -> list[str]:
    """Return what a person reads in a piece of HTML."""
    return [text.strip() for text in re.split(r"<[^>]*>", markup) if text.strip()]


async def test_the_board_shows_every_player_by_name_and_strategy(board: Board) -> None:
    board.paint()
    shown = texts(board.rows.value)
    for text in ("You", "that is you", "Ada", "bisection", "Bob", "counting", "1–100"):
        assert text in shown
    assert texts(board.head.value)[0] == "Round 1: who finds the number from 1 to 100?"
    assert "3 players, 0 guesses so far" in texts(board.head.value)


async def test_one_guess_is_one_guess_by_the_next_bot_in_turn(board: Board) -> None:
    for expected in ([1, 0], [1, 1], [2, 1]):
        board.step_button.click()
        await eventually(lambda: [bot.guesses for bot in board.bots] == expected)  # noqa: B023
    board.paint()
    shown = texts(board.rows.value)
    assert shown[shown.index("26–49") :][:4] == ["26–49", "25", "Меньше", "▲ go up"]
    assert shown[shown.index("2–100") :][:4] == ["2–100", "1", "Меньше", "▲ go up"]


async def test_a_win_is_announced_and_counted_and_the_countdown_shown(board: Board, server: GameServer) -> None:
    server.pause = 1
    async with wire(f"{server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        await guest.send({"guess": SECRET})
        await eventually(lambda: board.countdown == 1)
        board.paint()
        assert texts(board.head.value) == ["★ &lt;b&gt; found 42!", "1…", "A new game begins after the pause."]
        assert "&lt;b&gt;" in board.announcements.value, "what comes from the wire is escaped"
        assert "<b>" not in board.announcements.value
        await eventually(lambda: not board.winner)
        board.paint()
        assert texts(board.head.value)[0] == "Round 2: who finds the number from 1 to 100?"


async def test_you_can_play_along_and_see_the_reply(board: Board, server: GameServer) -> None:
    server.pause = 60
    shown: list[str] = []
    board.reply.observe(lambda change: shown.append(change["new"]), "value")
    for number, reply in ((10, "Меньше"), (90, "Больше"), (SECRET, "Вы угадали!")):
        board.number.value = number
        board.guess_button.click()
        await eventually(lambda: any(reply in answer for answer in shown))  # noqa: B023
    board.paint()
    assert texts(board.head.value)[0] == "★ You found 42!"
    assert board.you.wins == 1


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
    assert board.actions.trouble.value == ""


async def test_more_bots_than_names_and_colours_still_have_names_and_colours(board: Board) -> None:
    for _ in range(max(len(NAMES), len(COLOURS)) + 2):
        await board.add(bisection)
    board.paint()
    assert "Bot 13" in texts(board.rows.value)


async def test_the_sliders_act_at_once(board: Board, server: GameServer) -> None:
    board.delay_slider.value = 0.3
    board.pause_slider.value = 7.5
    await eventually(lambda: [bot.delay for bot in board.bots] == [0.3, 0.3] and server.pause == 7.5)


async def test_the_secret_is_shown_only_when_asked_for(board: Board) -> None:
    board.paint()
    assert "gg-secret" not in board.rows.value
    board.secret.value = True
    board.paint()
    assert board.rows.value.count('gg-secret" style="left:41.50%') == 3


async def test_a_click_in_another_thread_acts_in_the_servers(board: Board) -> None:
    seen: list[int] = []

    async def action(_: Any) -> None:
        seen.append(threading.get_ident())

    thread = threading.Thread(target=board.actions.callback(action), args=(None,))
    thread.start()
    thread.join()
    await eventually(lambda: seen == [threading.get_ident()])


async def test_an_error_is_shown_beside_the_controls_until_the_next_click(board: Board, server: GameServer) -> None:
    await server.stop()
    board.guess_button.click()
    await eventually(lambda: "ServerGone: The connection to" in board.actions.trouble.value)
    board.paint()
    assert texts(board.head.value)[0] == "The connection has ended"
    board.secret.value = True
    board.delay_slider.value = 2
    await eventually(lambda: board.actions.trouble.value == "")


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
    await eventually(lambda: "belongs to a server which was stopped" in board.actions.trouble.value)


async def test_the_error_of_a_learners_strategy_is_shown(board: Board) -> None:
    def broken(low: int, high: int) -> int:
        raise RuntimeError("<i>no idea</i>")

    board.delay_slider.value = 0
    board.play()
    bot = await board.add(broken)
    await eventually(lambda: "Cleo&#x27;s strategy failed: RuntimeError: &lt;i&gt;no" in board.actions.trouble.value)
    bot.strategy = lambda low, high: (low + high) / 2 + 0.25  # type: ignore[assignment,return-value]
    board.play()
    await eventually(lambda: "guesses what the server refuses" in board.actions.trouble.value)


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
    board.rows.observe(changes.append, "value")
    server.pause = 0
    board.delay_slider.value = 0
    board.play()
    await eventually(lambda: sum(bot.guesses for bot in board.bots) > 500)
    guesses = sum(bot.guesses for bot in board.bots)
    await eventually(lambda: changes)
    assert len(changes) < guesses / 5


async def test_a_task_that_is_stopped_is_no_error() -> None:
    actions = Actions()
    task = actions.start(asyncio.sleep(3600))
    await actions.stop()
    assert task.cancelled()
    assert actions.trouble.value == ""


def test_messages_have_their_meaning_beside_them() -> None:
    assert explain("Больше").startswith("More: YOUR number is bigger")
    assert explain("Игрок Аня угадал число 67!") == "Player Аня guessed the number 67!"
    assert explain({"client_id": 3, "wins": 2}) == "The score of #3: 2."
    assert explain({"countdown": 3}) == "The new game begins in 3 seconds."
    assert explain({"error": 'Это не JSON: отправьте, например, {"guess": 42}.'}) == (
        'This is not JSON: send, for example, {"guess": 42}.'
    )
    assert explain("???") == ""
    assert "&quot;client_id&quot;: 3" in paint_message({"client_id": 3, "wins": 2})


@pytest.mark.parametrize(
    ("low", "high", "marks"), [(1, 100, "1 25 50 75 100"), (1, 3, "1 2 3"), (5, 5, "5"), (-10, 9, "-10 -6 -1 4 9")]
)
def test_the_axis_has_a_few_round_marks(low: int, high: int, marks: str) -> None:
    shown = texts(paint_axis(low, high))
    assert " ".join(shown[: shown.index("possible")]) == marks


async def test_a_board_for_a_server_that_is_gone_is_a_clear_exception(server: GameServer) -> None:
    board = Board(server)
    await server.stop()
    with pytest.raises(ServerGone, match="No server answers"):
        await board.start([])
    assert isinstance(board.you, Player)


# Views and controls for the lessons


def test_bars_are_as_long_as_their_numbers_and_have_them_written_beside() -> None:
    painted = bars({"Ada": 200, "Bob": 50.0, "<b>": 0}, "messages")
    assert re.findall(r"width:([0-9.]+)%", painted) == ["100.0", "25.0", "0.0"]
    assert texts(painted) == ["Ada", "200 messages", "Bob", "50 messages", "&lt;b&gt;", "0 messages"]
    assert texts(bars({})) == []
    assert "width:0.0%" in bars({"nobody": 0})


def test_the_state_of_a_game_is_marked_not_by_colour_alone() -> None:
    assert texts(states(["guessing", "pause"], 1, "wait & see")) == [
        "guessing", "→", "● pause", "↺", "wait &amp; see"
    ]  # fmt: skip


async def test_a_live_picture_follows_what_it_shows_until_it_is_cleaned_up(server: GameServer) -> None:
    live = Live(lambda: f"{len(server.clients)} players")
    await eventually(lambda: live.picture.value == "0 players")
    async with wire(server.url):
        await eventually(lambda: live.picture.value == "1 players")
    await clean_up(server)
    assert "This picture has ended" in live.picture.value
    assert not live.actions.tasks
    assert not server.running


async def test_a_live_picture_which_cannot_be_painted_says_why() -> None:
    live = Live(lambda: str(1 // 0))
    await eventually(lambda: "ZeroDivisionError: " in live.actions.trouble.value)
    await live.actions.stop()


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
    await panel.actions.stop()
