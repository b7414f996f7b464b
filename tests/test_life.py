"""Lessons 5 and 6: who is still there, and whether the event loop still turns."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from conftest import SECRET, eventually, texts
from guessgame import SILENCE, Client, GameServer, Player
from kit.life import ROWS, Attendance, Heartbeat, Register, find_patience, lamps

# Who is here, and who has gone


def test_a_register_keeps_who_has_gone_in_their_place_as_long_as_there_is_room() -> None:
    register = Register()
    clients = [Client(id=number) for number in range(1, 11)]
    assert register.look(clients) == clients[::-1]
    for client in clients[:9]:
        client.left = "left"
    shown = [client.id for client in register.look(clients[9:])]
    assert shown == [10, 9, 8, 7, 6, 5, 4]
    assert len(shown) == ROWS
    clients[9].left = "left"
    newcomers = [Client(id=number) for number in range(11, 18)]
    assert [client.id for client in register.look(newcomers)] == [*range(17, 8, -1)], "two at least"


@pytest.mark.parametrize(
    ("options", "interval", "patience"),
    [
        ({}, 20, SILENCE),
        ({"ping_interval": 2, "ping_timeout": 3}, 2, 5),
        ({"ping_interval": None}, float("inf"), SILENCE),
    ],
)
def test_a_servers_patience(options: dict[str, float], interval: float, patience: float) -> None:
    assert find_patience(options) == (interval, patience)


async def shows(who: Attendance, text: str) -> None:
    await eventually(lambda: text in " ".join(texts(who.picture.value)))


async def test_who_has_gone_is_shown_with_the_reason() -> None:
    async with GameServer(port=0, max_backlog=30_000) as server:
        who = Attendance(server)
        names = ("<Polite>", "Lost", "Chatty", "Rude", "Sleeper", "Rest")
        polite, lost, chatty, rude, sleeper, _ = players = [Player(server.url, name) for name in names]
        for player in players:
            await player.join()
        await shows(who, "6 here")
        await shows(who, "Sleeper #5 ● here")
        await polite.leave()
        await shows(who, "&lt;Polite&gt; #1 ✕ left with a goodbye")
        lost.connection.transport.abort()
        await shows(who, "Lost #2 ✕ gone, without a goodbye")
        await chatty.connection.send("bla " * 1000)
        await shows(who, "Chatty #3 ✕ too big a message (close code 1009)")
        assert rude.client_id is not None
        server.remove(rude.client_id)
        await shows(who, "Rude #4 ✕ sent away by the teacher (close code 1008)")
        rows = re.findall(r"<b>(?:&lt;)?(\w+)", who.picture.value)
        assert rows == ["Rest", "Sleeper", "Rude", "Chatty", "Lost", "Polite"], "all stay put"
        sleeper.connection.transport.pause_reading()
        while sleeper.client_id in server.clients:
            server.game.broadcast("x" * 20_000)
            await asyncio.sleep(0.001)
        await shows(who, "Sleeper #5 ✕ does not read and is cut off")
        sleeper.connection.transport.abort()
        await server.stop()
        await shows(who, "Rest #6 ✕ sent home: the server stopped (close code 1001)")
        await shows(who, "The server is stopped.")
        await server.start()
        await shows(who, "Nobody is here.")
        await who.end()


async def test_who_does_not_answer_a_ping_is_asked_and_cut_off() -> None:
    async with GameServer(port=0, ping_interval=0.5, ping_timeout=0.5) as server, Player(server.url) as silent:
        who = Attendance(server)
        silent.connection.transport.pause_reading()
        await shows(who, "#1 ? no answer")
        assert "(limit: 1 s)" in who.picture.value
        await shows(who, "#1 ✕ is silent and is cut off")
        silent.connection.transport.abort()
        await who.end()


async def test_the_bars_of_a_player_are_full_at_the_limits_and_empty_far_from_them(server: GameServer) -> None:
    who = Attendance(server)
    async with Player(server.url, "Ada") as ada:
        [connection] = server.connections.values()
        connection.due -= SILENCE + 10
        await eventually(lambda: "? no answer" in who.picture.value)
        assert re.findall('style="width:([0-9]+)%"', who.picture.value) == ["100", "0"]
        await ada.guess(SECRET)
        await eventually(lambda: "● here" in who.picture.value and 'style="width:0%"' in who.picture.value)
        ada.connection.transport.pause_reading()
        while not connection.transport.get_write_buffer_size():
            server.game.broadcast("x" * 20_000)
            await asyncio.sleep(0.001)
        await eventually(lambda: "▮ does not read" in who.picture.value)
        ada.connection.transport.abort()
    await who.end()


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


def test_the_lit_lamp_is_marked_not_by_colour_alone() -> None:
    assert texts(lamps(["here", "<there>"], lit="<there>")) == ["here", "● &lt;there&gt;"]
    assert texts(lamps(["here", "<there>"], lit="")) == ["here", "&lt;there&gt;"]
