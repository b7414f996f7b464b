"""What single lessons show, from the players side by side to the page, without a browser."""

from __future__ import annotations

import asyncio
import collections
import html
import itertools
import json
import logging
import re
import time
from typing import AsyncIterator, Sequence

import pytest
from websockets.asyncio.server import ServerConnection, broadcast

from broadcasting import Desks, Flight, in_order
from conftest import SECRET, WELCOME, eventually, texts, wire
from frames import Frame, Wiretap, paint_frame
from gamekit import end_lesson
from guessgame import GameServer, Player, ServerGone
from hall import Hall
from lifesigns import Attendance, Heartbeat, lamps
from overheard import Overheard, OverheardServer, piece_of_page
from rounds import SEEN, Diagram, Race
from rounds import solution as solution_of_the_race

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


async def wait_for_cards(desks: Desks, name: str, *newest: str) -> None:
    """Wait until these stand on top of a column, the newest first."""
    await eventually(lambda: column(desks, name)[: len(newest)] == list(newest))


async def test_everybody_is_welcomed_in_a_column_of_their_own(desks: Desks) -> None:
    for number, name in enumerate(desks.players, 1):
        score = f'{{"client_id": {number}, "name": "{name}", "wins": 0}}'
        await wait_for_cards(desks, name, f"a reply to {name}: {score}", f'to {name}: "{WELCOME}"')
        assert len(column(desks, name)) == 2
        assert "⇊" not in desks.columns[name].value, "nothing has gone to several"


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
    three = ["Ada", "Bob", "Cleo"]
    for step, shown_to, hint in (
        ('to everybody: <b>"before"</b>', three, "5 messages are waiting: press <b>Next step</b>."),
        ('Cleo asks: <b>{"guess": 42}</b>', ["Cleo"], "4 messages are waiting"),
        ('a reply to Cleo: <b>"Вы угадали!"</b>', ["Cleo"], "3 messages are waiting"),
        ('to Ada, Bob: <b>"Игрок Cleo угадал число 42!"</b>', ["Ada", "Bob"], "2 messages are waiting"),
        ('to everybody: <b>{"client_id": 3, "name": "Cleo", "wins": 1}</b>', three, "1 message is waiting"),
        ('to everybody: <b>"Новая игра началась!"</b>', three, "Nothing is on its way: press a <b>Guess!</b> button."),
    ):
        await eventually(lambda: f"{step}</p><p>{hint}" in desks.step.value.replace("&quot;", '"'))  # noqa: B023
        assert [name for name, view in desks.columns.items() if "gg-new" in view.value] == shown_to
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
    await wait_for_cards(desks, "Ada", 'a reply to Ada: "Больше"', 'Ada asks: {"guess": 50}')
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
        guesses = [frame.text for frame in frames if frame.from_client]
        assert guesses == ['{"guess": 50}', '{"guess": 50}', '{"guess": 42}']
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
    while race.turns:
        before = race.picture.value
        race.next_button.click()
        await eventually(lambda: race.picture.value != before)  # noqa: B023
        said.append(html.unescape(texts(race.picture.value)[0]))
    return said


BOTH_WAIT = [
    "Ada has to wait at the await. Meanwhile, it's Bob's turn.",
    "Bob has to wait at the await. Meanwhile, it's Ada's turn.",
]


async def test_a_race_with_the_bug_has_both_in_the_await_before_either_has_won() -> None:
    race = Race(Play, {"with the bug": buggy})
    said = await run(race)
    assert said[:4:2] == [f"{name} asks: game.over? The answer is no." for name in ("Ada", "Bob")]
    assert said[1:4:2] == BOTH_WAIT
    assert said[-1] == "Bob is done: “won”. 2 winners: that's wrong!"
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
    assert said[-1] == "Ada is done: “won”. One winner, Ada: that's right."
    assert race.game.saved == 1
    race.choice.value = "with a lock"
    await eventually(lambda: "async with game.lock" in race.picture.value)
    said = await run(race)
    assert said[2:4] == BOTH_WAIT, "Ada saves the score, Bob waits for the lock"
    assert said[-1] == "Bob is done: “too late”. One winner, Ada: that's right."
    await race.end()


async def test_one_winner_whose_score_is_saved_twice_is_no_success() -> None:
    race = Race(Play, {"yours": saves_twice})
    said = await run(race)
    assert "Ada asks: game.over? The answer is no." in said
    assert said[-1].endswith("One winner, Ada, but saved 2 times: that's wrong!")
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
        rows = re.findall(r"<b>(?:&lt;)?(\w+)", who.picture.value)
        assert rows == ["Sleeper", "Silent", "Lost", "Polite"], "all stay put"
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
    async with server:
        yield server


async def test_the_frames_of_a_page_and_of_a_program_are_listed_in_the_order_of_time(
    open_server: OverheardServer,
) -> None:
    async with Player(open_server.url, "Ada"), wire(open_server.url, user_agent_header="Mozilla/5.0") as page:
        for number in (50, SECRET):
            await page.send({"guess": number})
            await page.hear()
        await page.connection.send("<b>")
        await eventually(lambda: len(open_server.overheard) == 14)
    await eventually(lambda: len(open_server.overheard) == 16)
    assert said(open_server)[:14] == [
        "Python → server: GET /",
        f'server → Python #1: "{WELCOME}"',
        'Python #1 → server: {"name": "Ada"}',
        'server → Python Ada: {"client_id": 1, "name": "Ada", "wins": 0}',
        "page → server: GET /",
        f'server → page #2: "{WELCOME}"',
        'page #2 → server: {"guess": 50}',
        'server → page #2: "Больше"',
        'page #2 → server: {"guess": 42}',
        'server → page #2: "Вы угадали!"',
        'server → Python Ada: "Игрок #2 угадал число 42!"',
        'server → Python Ada, page #2: {"client_id": 2, "wins": 1}',
        "page #2 → server: <b>",
        'server → page #2: {"error": "Это не JSON: отправьте, например, {\\"guess\\": 42}."}',
    ]
    assert sorted(said(open_server)[14:]) == ["Python Ada → server: (gone)", "page #2 → server: (gone)"]
    times = [when for when, *_ in open_server.overheard]
    assert times == sorted(times)
    assert open_server.overheard[7][3] == "More: YOUR number is bigger than the secret one, so go down."


async def test_a_name_in_the_address_is_no_frame_and_a_crowd_is_counted(open_server: OverheardServer) -> None:
    async with wire(f"{open_server.url}/?name=%D0%AF") as one, wire(f"{open_server.url}/?name=") as two:
        assert await one.hear() == {"client_id": 1, "name": "Я", "wins": 0}
        assert "error" in await two.hear()
        await one.connection.send(b"raw")
        await one.hear()
        assert [line for line in said(open_server) if "→ server" in line] == [
            "Python → server: GET /?name=%D0%AF",
            "Python → server: GET /?name=",
            "Python Я → server: b'raw'",
        ]
        async with wire(open_server.url), wire(open_server.url):
            open_server.broadcast("hello")
    assert 'server → Python Я, Python #2, Python #3 and 1 more: "hello"' in said(open_server)


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
