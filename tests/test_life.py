"""Lessons 7 and 8: whether the event loop turns, and what one player can cost the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any, AsyncIterator

import pytest

import guessgame
from conftest import eventually, game, texts
from guessgame import GameServer, Player
from kit.life import (
    BACKLOG,
    BEATS,
    RATE,
    Answers,
    Heartbeat,
    Sleeper,
    Speed,
    Storm,
    Stranger,
    paint_stranger,
    paint_waits,
)

# Whether the event loop turns


async def test_a_strip_marks_each_beat_and_says_for_how_long_there_was_none() -> None:
    now = time.perf_counter()
    strip = Heartbeat({"steady": [now - 0.4, now - 0.2, now], "<torn>": [now - 9, now - 3, now - 0.5, now]})
    await eventually(lambda: strip.picture.value)
    steady, torn = strip.picture.value.split("<b>")[1:]
    assert [steady.count("<i "), torn.count("<i ")] == [3, 3]
    assert "<s " not in steady
    assert texts(torn) == ["&lt;torn&gt;", "2.5 s", "✕ The loop stood still for 2.5 seconds."]
    strip.tracks = {"steady": [now - 0.2, now]}
    await eventually(lambda: "● The loop takes turns." in strip.picture.value)
    await strip.stop()


# Nonsense, and the answers


async def test_each_nonsense_has_its_answer_beside_it_and_all_of_them_stay(server: GameServer) -> None:
    async with Player(server.url) as ada:
        answers = Answers(ada, ["<b>", "", '{"guess": 101}', b"raw"])
        assert list(answers.buttons) == ["<b>", "(nothing)", '{"guess": 101}', "b'raw'"]
        assert texts(answers.state.value) == ["● Ada is connected."]
        for button in answers.buttons.values():
            button.click()
        await eventually(lambda: all(answer.value for answer in answers.answers.values()))
        shown = [texts(answer.value)[-1] for answer in answers.answers.values()]
        assert shown == [
            "This is not a JSON object.",
            "This is not a JSON object.",
            "A guess is a whole number from 1 to 100.",
            "Binary messages are not supported: send text.",
        ]
        await answers.end()


async def test_who_was_cut_off_for_nonsense_is_gone_and_joins_again(server: GameServer) -> None:
    async with Player(server.url) as ada:
        answers = Answers(ada, ["x" * 2000, "short"])
        long, short = answers.buttons.values()
        long.click()
        await eventually(lambda: "✕ Ada is gone." in answers.state.value)
        [told, _] = [answer.value for answer in answers.answers.values()]
        assert "1009 (message too big)" in told
        short.click()
        await eventually(lambda: "● Ada is connected." in answers.state.value)
        await answers.end()


# Three who cost the others something


@pytest.fixture
async def storm() -> AsyncIterator[Storm]:
    """A server, Ada who guesses on it again and again, and three strangers who have not come yet."""
    async with game() as server, Player(server.url, "Ada") as ada:
        storm = Storm(server, ada)
        yield storm
        await storm.end()


def press(storm: Storm, title: str) -> None:
    [button] = [button for button in storm.controls if button.description == title]
    button.click()


async def shows(storm: Storm, text: str) -> None:
    await eventually(lambda: text in " ".join(texts(storm.picture.value)))


async def test_nobody_but_ada_is_here_at_first_and_she_guesses_by_herself(storm: Storm) -> None:
    await eventually(lambda: len(storm.waits) > 2)
    await shows(storm, "● Ada has waited")
    await shows(storm, "Flood is not here yet Sleeper is not here yet Silent is not here yet")
    assert [client.name for client in storm.server.clients.values()] == ["Ada"]


async def test_a_flood_waits_in_its_own_computer_and_not_if_the_server_reads_all_of_it(storm: Storm) -> None:
    flood = storm.strangers[0]
    press(storm, "Flood comes")
    await eventually(lambda: len(flood.here) == flood.lines)
    await eventually(lambda: flood.waits_here > 10_000)
    await shows(storm, "pings/s")
    storm.server.rate = 1000
    await asyncio.sleep(1)
    begun, sent = time.monotonic(), flood.sent
    await asyncio.sleep(2)
    slow = (flood.sent - sent) / (time.monotonic() - begun)
    assert slow < flood.lines * 1000 / 6 * 2, "a ping has six bytes"
    storm.switches["Read 16 KiB a second"].value = False
    await eventually(lambda: storm.server.rate > RATE)
    sent = flood.sent
    await eventually(lambda: flood.sent > sent + 20_000)
    storm.switches["Read 16 KiB a second"].value = True
    await eventually(lambda: storm.server.rate == RATE)
    press(storm, "They say goodbye")
    await shows(storm, "Flood ✕ said goodbye")


async def test_a_sleeper_is_cut_off_or_else_the_pile_grows(storm: Storm) -> None:
    sleeper = storm.strangers[1]
    press(storm, "Sleeper comes")
    await eventually(lambda: sleeper.waits_there)
    await shows(storm, "Sleeper ✕ did not read, and was cut off")
    storm.switches["Keep 64 KiB"].value = False
    press(storm, "Sleeper comes")
    await eventually(lambda: sleeper.waits_there > 4 * BACKLOG)
    assert sleeper.here
    press(storm, "They hang up")
    await shows(storm, "Sleeper ✕ hung up without a goodbye")
    storm.switches["Keep 64 KiB"].value = True
    await eventually(lambda: storm.server.max_backlog == BACKLOG)


async def test_a_sleeper_who_is_woken_says_goodbye_at_once() -> None:
    async with game(max_backlog=10**9) as server:
        sleeper = Sleeper(server)
        coming = asyncio.ensure_future(sleeper.come())
        await eventually(lambda: sleeper.waits_there > BACKLOG)
        sleeper.say_goodbye()
        await eventually(lambda: sleeper.reason == "said goodbye")
        await asyncio.wait({coming})


async def test_who_is_silent_is_found_unless_nobody_looks(storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessgame, "LOOK", 0.2)
    monkeypatch.setattr(guessgame, "SILENCE", 0.6)
    silent = storm.strangers[2]
    press(storm, "Silent comes")
    await shows(storm, "Silent ✕ was silent, and was cut off")
    storm.switches["Look for the silent"].value = False
    await eventually(lambda: storm.server.options.get("ping_interval", 20) is None)
    press(storm, "Silent comes")
    await eventually(lambda: silent.here and silent.silence > 2)
    await shows(storm, "Silent nothing")
    assert silent.reason == ""
    press(storm, "They say goodbye")  # which does not come through
    press(storm, "They hang up")
    await shows(storm, "Silent ✕ hung up without a goodbye")


async def test_a_stranger_who_comes_again_comes_anew_and_a_full_server_is_told(server: GameServer) -> None:
    stranger = Stranger(server)
    visits = [asyncio.ensure_future(stranger.come())]
    [first] = await eventually(lambda: stranger.here)
    visits.append(asyncio.ensure_future(stranger.come()))
    await eventually(lambda: first.left and stranger.here)
    assert stranger.clients != [first]
    server.max_players = 1
    other = Stranger(server)
    with pytest.raises(guessgame.ServerGone, match="lets nobody else in"):
        await other.come()
    other.hang_up()
    stranger.hang_up()
    await asyncio.wait(visits)


async def test_ada_waits_for_a_server_that_has_stopped_and_joins_it_again(storm: Storm) -> None:
    await eventually(lambda: storm.waits)
    press(storm, "Silent comes")
    await eventually(lambda: storm.strangers[2].here)
    await storm.server.stop()
    await shows(storm, "Silent ✕ was sent home: the server stopped")
    storm.waits.clear()
    await storm.server.start()
    await eventually(lambda: storm.waits)


async def test_a_new_storm_sends_the_strangers_of_the_earlier_one_away(storm: Storm) -> None:
    press(storm, "Silent comes")
    await eventually(lambda: storm.strangers[2].here)
    again = Storm(storm.server, storm.ada)
    await eventually(lambda: not storm.strangers[2].here and not storm.tasks)
    await again.end()


def test_a_late_reply_is_marked_and_so_is_one_that_has_not_come_yet() -> None:
    quiet = paint_waits([0.5, 0.25])
    assert texts(quiet) == ["200 ms", "● Ada has waited 0.2 ms for her last reply."]
    assert "gg-late" not in quiet
    late = paint_waits([0.5, 100])
    assert late.count("gg-late") == 1
    assert "height:50.0%" in late
    assert "✕ Ada has waited 100.0 ms" in late
    waiting = paint_waits([0.5], waiting=1200)
    assert "✕ Ada has waited 1,200.0 ms" in waiting
    assert "height:100.0%" in waiting
    assert paint_waits(range(200)).count("<i ") == BEATS
    assert "0.0 ms" in paint_waits([])


def test_a_speed_is_counted_over_the_last_looks() -> None:
    speed = Speed()
    assert [speed.look(second, second * 100) for second in range(4)] == [0, 100, 100, 100]
    for second in range(4, 30):
        assert speed.look(second, 300) <= 100
    assert speed.look(30, 300) == 0
    assert speed.look(31, 0) == 0, "somebody has begun anew"


def test_a_reason_nobody_knows_is_shown_as_it_is() -> None:
    stranger: Any = Stranger(game())
    client = guessgame.Client()
    client.left = "<ate too much>"
    stranger.clients = [client]
    assert texts(paint_stranger(stranger, 0)) == ["✕ &lt;ate too much&gt;"]
