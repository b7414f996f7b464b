"""The notebooks: their widgets without a browser, and all their cells and buttons in a real kernel."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, AsyncIterator, Iterator

import pytest
from IPython.display import IFrame
from websockets.asyncio.server import broadcast

from broadcasting import Desks, try_out
from conftest import PATIENCE, PROJECT, SECRET, eventually, wire
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
    paint_axis,
    paint_message,
    start_another,
    start_lesson,
    states,
)
from guessgame import STRATEGIES, GameServer, Player, ServerGone, bisection, counting
from kernels import FRESH_ROUND, NOTEBOOKS, Kernel, code_cells, kernel
from overheard import Overheard, OverheardServer, beside, piece_of_page


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
    assert texts(paint_message("Больше", "←"))[0] == "← &quot;Больше&quot;"
    assert texts(paint_message({"client_id": 3, "wins": 2}))[1] == "The score of #3: 2."


def test_bars_are_as_long_as_their_numbers() -> None:
    painted = bars({"Ada": 200, "Bob": 50.0, "<b>": 0}, "messages")
    assert re.findall(r"width:([0-9.]+)%", painted) == ["100.0", "25.0", "0.0"]
    assert texts(painted) == ["Ada", "200 messages", "Bob", "50 messages", "&lt;b&gt;", "0 messages"]
    assert texts(bars({})) == []
    assert "width:0.0%" in bars({"nobody": 0})


def test_the_state_of_a_game_is_marked_not_by_colour_alone() -> None:
    shown = texts(states(["guessing", "pause"], 1, "wait & see"))
    assert shown == ["guessing", "→", "● pause", "↺", "wait &amp; see"]


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
    assert board.note.value == ""


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


async def test_an_error_is_shown_beside_the_controls_until_the_next_click(board: Board, server: GameServer) -> None:
    await server.stop()
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
    board.rows.observe(changes.append, "value")
    server.pause = 0
    board.delay_slider.value = 0
    board.play()
    await eventually(lambda: sum(bot.guesses for bot in board.bots) > 500)
    guesses = sum(bot.guesses for bot in board.bots)
    await eventually(lambda: changes)
    assert len(changes) < guesses / 5


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
    await eventually(lambda: "Run the cells again, from the top." in desks.note.value)


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
        assert texts(shown.picture.value)[0].endswith("s, server → Python &lt;b&gt;")
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
OUR_FILES = ("guessgame", "gameboard", "broadcasting", "overheard", "websockets", "ipykernel_")
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
    assert code_cells(notebook)[-1] == "end_of_lesson()"


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
    assert "This lesson has ended" in jupyter.value("parts[0].note.value")
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

    jupyter.set("board.number", 1)
    jupyter.click("board.guess_button")
    jupyter.wait_for("board.you.last_guess == 1")
    jupyter.set("board.secret", True)
    jupyter.wait_for("'gg-secret' in board.rows.value")

    for value in range(60):  # a key held down
        jupyter.set("board.number", value % 100 + 1)
    jupyter.wait_for("board.number.value == 60")

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
        ("No Origin at all", "welcome!"),
        ("The page's own origin", "welcome!"),
        ("evil.example", "HTTP 403"),
    ):
        jupyter.click(f"press[{label!r}]")
        answer = f"The open server: welcome! The guarded one: {guarded}"
        jupyter.wait_for(f"{answer!r} in ([*results] or [''])[0] and {label.split()[-1]!r} in results[0]")
    jupyter.click("press['Ada guesses']")
    jupyter.wait_for("""('Python Ada → server', '{"guess": 50}') in [line[1:3] for line in server.overheard]""")
    jupyter.click("press['Ada peeks']")
    jupyter.wait_for("server.rounds_played == 1")
    jupyter.run("await gameboard.end_lesson()")
    assert jupyter.value("(server.running, guarded.running)") == (False, False)


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
