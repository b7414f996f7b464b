"""Whole conversations, made up at random and compared with a model of the game: who hears what, and in which order.

This is the test for ids, names and wins of players who come and go, for hints, and for what happens in the pause. The
clock stands still except when the game is told that a second passes: so the countdown is as exact as all the rest.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from websockets.asyncio.client import ClientConnection, connect

from conftest import NEW_GAME, StandingClock, pass_time
from guessgame import CONNECT_OPTIONS, GameServer

LOW, HIGH, PAUSE = 1, 6, 2
WELCOME = f"Добро пожаловать! Угадайте число от {LOW} до {HIGH}."
ERROR = {"error": "…"}  # whatever it says
happened: collections.Counter[str] = collections.Counter()

names = st.sampled_from(["Аня", "аня", "АНЯ ", "Aня", "Аня\u3164", "Bob", "BOB", "Ｂｏｂ", "Воb", "Eva", "я" * 32])
BAD = ["", "  ", "#3", "# 4", "№4", "\n", "\u2800", "Аня!", "я" * 33]
bad_names = st.sampled_from([*BAD, 7, None, True, ["Аня"]])
junk = st.sampled_from(
    ["", "hello", "[]", "{}", '"Меньше"', '{"guess": 0}', '{"guess": 7}', '{"guess": true}', '{"guess": 3.0}', "[" * 99]
) | st.binary(max_size=20)  # fmt: skip
last_requests = st.lists(st.fixed_dictionaries({"name": names}) | st.just({"guess": 0}), max_size=6)


class Member:
    """One connected player, as the model knows them."""

    def __init__(self, number: int, connection: ClientConnection) -> None:
        self.number, self.connection = number, connection
        self.name: str | None = None
        self.wins = 0
        self.expected: list[Any] = [WELCOME]

    def score(self) -> dict[str, Any]:
        return {"client_id": self.number, **({"name": self.name} if self.name else {}), "wins": self.wins}


class Game(RuleBasedStateMachine):
    """Play with a real server over real sockets, and know at each step what everybody must hear."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = StandingClock()
        self.do = self.loop.run_until_complete
        self.secrets = [3, 1, 6, 4, 2, 5]
        # While the clock stands still, everything arrives at once: the rate must not get in the way.
        options: Any = {"low": LOW, "high": HIGH, "pause": PAUSE, "rate": 1e9}
        self.server = GameServer(port=0, draw=lambda low, high: self.next_secret(), **options)
        self.members: list[Member] = []
        self.left: set[str] = set()  # names
        self.joined = self.won = 0
        self.seconds_left = 0  # of the pause; 0 while a round is played
        self.secret = 3
        self.do(self.server.start())

    def next_secret(self) -> int:
        self.secret = self.secrets[0]
        self.secrets.append(self.secrets.pop(0))
        return self.secret

    def teardown(self) -> None:
        for member in self.members:  # the answer to this comes next, unless something else was on its way
            self.send(member, "?")
            member.expected.append(ERROR)
        self.everybody_has_heard_what_was_due()
        self.do(self.server.stop())
        for member in self.members:
            self.do(member.connection.wait_closed())
            assert member.connection.protocol.close_code == 1001
        assert not self.server.clients
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()

    def send(self, member: Member, message: Any) -> None:
        self.do(member.connection.send(json.dumps(message) if isinstance(message, dict) else message))

    def someone(self, data: st.DataObject) -> Member:
        return data.draw(st.sampled_from(self.members), "who")

    # What may happen

    @precondition(lambda self: len(self.members) < 6)
    @rule(name=st.none() | names | st.sampled_from(["", "#3"]))
    def connect(self, name: str | None) -> None:
        query = "" if name is None else f"/?name={quote(name)}"
        connection = self.do(connect(self.server.url + query, ping_interval=None, **CONNECT_OPTIONS).__aenter__())
        happened["somebody joins in the pause"] += self.seconds_left > 0
        self.joined += 1
        member = Member(self.joined, connection)
        self.members.append(member)
        if name is not None:
            self.expect_naming(member, name)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), name=names | bad_names)
    def rename(self, data: st.DataObject, name: Any) -> None:
        member = self.someone(data)
        self.send(member, {"name": name})
        self.expect_naming(member, name)

    def expect_naming(self, member: Member, name: Any) -> None:
        others = [normal(other.name or "") for other in self.members if other is not member]
        valid = isinstance(name, str) and name not in BAD
        if valid and normal(name) not in others:
            happened["a name of somebody who has left is taken again"] += normal(name) in self.left
            member.name = name.strip()
            member.expected.append(member.score())
        else:
            member.expected.append(ERROR)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), number=st.integers(LOW, HIGH) | st.none())
    def guess(self, data: st.DataObject, number: int | None) -> None:
        member, number = self.someone(data), number or self.secret
        self.send(member, {"guess": number})
        happened["somebody guesses in the pause"] += self.seconds_left > 0
        if self.seconds_left:
            member.expected.append(ERROR)
        elif number != self.secret:
            member.expected.append("Меньше" if number < self.secret else "Больше")
        else:
            member.expected.append("Вы угадали!")
            self.expect_announcements(member)

    def expect_announcements(self, winner: Member) -> None:
        winner.wins += 1
        happened["somebody wins again"] += winner.wins > 1
        self.won += 1
        self.seconds_left = PAUSE
        label = winner.name or f"#{winner.number}"
        for member in self.members:
            if member is not winner:
                member.expected.append(f"Игрок {label} угадал число {self.secret}!")
            member.expected += [winner.score(), {"countdown": PAUSE}]

    @precondition(lambda self: len(self.members) > 1 and not self.seconds_left)
    @rule()
    def all_guess_right_at_once(self) -> None:
        """Only the winner is left to chance: the model learns who it is from the score, and the rest follows."""

        async def send_all() -> None:
            await asyncio.gather(*(m.connection.send(json.dumps({"guess": self.secret})) for m in self.members))
            while self.server.rounds_played == self.won:
                await asyncio.sleep(0)

        before = {number: client.wins for number, client in self.server.clients.items()}
        self.do(send_all())
        [winner] = (m for m in self.members if self.server.clients[m.number].wins > before[m.number])
        winner.expected.append("Вы угадали!")
        self.expect_announcements(winner)
        for member in self.members:
            if member is not winner:  # too late, and told so somewhere among the announcements
                heard = [self.do(hear(member)) for _ in range(len(member.expected) + 1)]
                heard.remove(ERROR)
                assert heard == member.expected
                member.expected.clear()

    @precondition(lambda self: self.members)
    @rule(data=st.data(), message=junk)
    def say_something_wrong(self, data: st.DataObject, message: str | bytes) -> None:
        member = self.someone(data)
        self.send(member, message)
        member.expected.append(ERROR)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), pongs=st.booleans())
    def send_control_frames(self, data: st.DataObject, pongs: bool) -> None:
        """Only the library of whoever sends them notices."""
        member = self.someone(data)
        for _ in range(3):
            self.do(member.connection.pong() if pongs else member.connection.ping())

    @precondition(lambda self: self.members)
    @rule(data=st.data(), politely=st.booleans(), requests=last_requests)
    def leave(self, data: st.DataObject, politely: bool, requests: list[dict[str, Any]]) -> None:
        """Whether the server hears the last requests, before the goodbye, is left to chance; they change nothing."""
        member = self.someone(data)
        self.members.remove(member)
        self.left.add(normal(member.name or ""))
        happened["somebody leaves in the middle of requests"] += len(requests) > 1

        async def leave() -> None:
            for request in requests:
                await member.connection.send(json.dumps(request))
            if politely:
                await member.connection.close()
            member.connection.transport.abort()
            while member.number in self.server.clients:
                await asyncio.sleep(0)
            with contextlib.suppress(Exception):
                await member.connection.wait_closed()

        self.do(leave())

    @precondition(lambda self: self.seconds_left)
    @rule()
    def a_second_passes(self) -> None:
        self.do(pass_time(1))
        self.seconds_left -= 1
        for member in self.members:
            member.expected.append({"countdown": self.seconds_left} if self.seconds_left else NEW_GAME)

    # What must be true after each step

    @invariant()
    def everybody_has_heard_what_was_due(self) -> None:
        happened["anything"] += 1
        for member in self.members:
            heard = [self.do(hear(member)) for _ in member.expected]
            assert heard == member.expected
            member.expected.clear()

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        clients = [(client.id, client.name, client.wins) for client in self.server.clients.values()]
        assert clients == [(member.number, member.name, member.wins) for member in self.members]
        assert self.server.round.over == (self.seconds_left > 0)
        assert self.server.rounds_played == self.won


async def hear(member: Member) -> Any:
    """Return the next message; of an error, only that it is one."""
    receiving = asyncio.ensure_future(member.connection.recv())
    for _ in range(1000):  # on a standing clock no timeout would ever be over
        if not receiving.done():
            await asyncio.sleep(0)
    assert receiving.done(), f"#{member.number} waits for {member.expected[:1]}, but nothing comes"
    message = json.loads(receiving.result())
    if isinstance(message, dict) and "error" in message:
        assert list(message) == ["error"]
        return ERROR
    return message


def normal(name: str) -> str:
    """Write a name as the rules compare it; the model knows only the names above."""
    return name.strip("\u3164 ").replace("Ｂｏｂ", "Bob").replace("Воb", "Bob").replace("Aня", "Аня").lower()


@pytest.mark.timeout(600)
def test_conversations_go_as_the_rules_say() -> None:
    thorough = settings(max_examples=60, stateful_step_count=60, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Game, settings=thorough)
    assert happened["anything"] >= 2000
    assert min(happened.values()) >= 10, happened
