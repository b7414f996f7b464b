"""Whole conversations, made up at random and compared with a model of the game: who hears what, in which order.

The clock stands still except when the game is told that a second passes. So a countdown is as exact as all the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import time
from typing import Any, Coroutine, TypeVar
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from websockets.asyncio.client import ClientConnection, connect

from conftest import PATIENCE
from guessgame import CONNECT_OPTIONS, GameServer

LOW, HIGH, PAUSE = 1, 6, 2
WELCOME = f"Добро пожаловать! Угадайте число от {LOW} до {HIGH}."
ERROR = {"error": "…"}  # whatever it says

names = st.sampled_from(["Аня", "аня", "АНЯ ", "Bob", "BOB", "Ｂｏｂ", "<b>", "я" * 32])
bad_names = st.sampled_from(["", "  ", "#3", "# 4", "\n", "я" * 33, 7, None, True, ["Аня"]])
guesses = st.integers(LOW, HIGH)
junk = st.sampled_from(
    ["", "hello", "[]", "{}", '"Меньше"', '{"guess": 0}', '{"guess": 7}', '{"guess": true}', '{"guess": 3.0}', "[" * 99]
) | st.binary(max_size=20)  # fmt: skip

Result = TypeVar("Result")


class StandingClock(selectors.DefaultSelector):
    """Let an event loop handle what arrives, while its clock stands still; fail when it waits too long in fact."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.patience_ends = 0.0, 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert time.monotonic() < self.patience_ends, "a message which should come does not come"
        return super().select(0.01 if timeout is None else min(timeout, 0.01))


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
    """Play with a real server over real sockets, and know at each step what everybody has to hear."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.clock = StandingClock()
        self.loop = asyncio.SelectorEventLoop(self.clock)
        self.loop.time = lambda: self.clock.now  # type: ignore[method-assign]
        self.secrets = [3, 1, 6, 4, 2, 5]
        # While the clock stands, whatever comes comes at once: no rate is too high.
        self.server = GameServer(
            port=0, low=LOW, high=HIGH, pause=PAUSE, rate=1e9, draw=lambda low, high: self.next_secret()
        )
        self.members: list[Member] = []
        self.joined = self.won = 0
        self.seconds_left = 0  # of the pause; 0: a round is on
        self.secret = 3
        self.do(self.server.start())

    def do(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        self.clock.patience_ends = time.monotonic() + PATIENCE
        return self.loop.run_until_complete(coroutine)

    def next_secret(self) -> int:
        self.secret = self.secrets[0]
        self.secrets.append(self.secrets.pop(0))
        return self.secret

    def teardown(self) -> None:
        self.check_that_nothing_else_arrives()
        self.do(self.server.stop())
        for member in self.members:
            self.do(member.connection.wait_closed())
            assert member.connection.protocol.close_code == 1001
        assert not self.server.clients
        tasks = asyncio.all_tasks(self.loop)
        assert not tasks
        self.loop.close()

    def check_that_nothing_else_arrives(self) -> None:
        """Let everybody say something wrong: the next thing to arrive must be the answer to it."""
        for member in self.members:
            self.do(member.connection.send("?"))
            member.expected.append(ERROR)
        self.everybody_has_heard_what_was_due()

    def someone(self, data: st.DataObject) -> Member:
        return data.draw(st.sampled_from(self.members), "who")

    def is_free(self, name: str, member: Member | None = None) -> bool:
        return not any(
            other.name and other is not member and normal(other.name) == normal(name) for other in self.members
        )

    # What may happen

    @precondition(lambda self: len(self.members) < 6)
    @rule(name=st.none() | names | st.sampled_from(["", "#3"]))
    def connect(self, name: str | None) -> None:
        query = "" if name is None else f"/?name={quote(name)}"
        connection = self.do(connect(self.server.url + query, ping_interval=None, **CONNECT_OPTIONS).__aenter__())
        self.joined += 1
        member = Member(self.joined, connection)
        self.members.append(member)
        if name is not None:
            self.expect_naming(member, name)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), name=names | bad_names)
    def rename(self, data: st.DataObject, name: Any) -> None:
        member = self.someone(data)
        self.do(member.connection.send(json.dumps({"name": name})))
        self.expect_naming(member, name)

    def expect_naming(self, member: Member, name: Any) -> None:
        valid = isinstance(name, str) and 1 <= len(name.strip()) <= 32 and not name.startswith("#")
        if valid and self.is_free(name, member):
            member.name = name.strip()
            member.expected.append(member.score())
        else:
            member.expected.append(ERROR)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), number=guesses)
    def guess(self, data: st.DataObject, number: int) -> None:
        member = self.someone(data)
        self.do(member.connection.send(json.dumps({"guess": number})))
        self.expect_verdict(member, number)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def guess_right(self, data: st.DataObject) -> None:
        self.guess(data, self.secret)

    def expect_verdict(self, member: Member, number: int) -> None:
        if self.seconds_left:
            member.expected.append(ERROR)
        elif number != self.secret:
            member.expected.append("Меньше" if number < self.secret else "Больше")
        else:
            member.expected.append("Вы угадали!")
            self.expect_announcements(member)

    def expect_announcements(self, winner: Member) -> None:
        winner.wins += 1
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
        """Only who has won is left to chance: the model learns it from the score, and all else follows."""

        async def send_all() -> None:
            await asyncio.gather(*(m.connection.send(json.dumps({"guess": self.secret})) for m in self.members))
            while self.server.rounds_played == self.won:
                await asyncio.sleep(0)

        before = {number: client.wins for number, client in self.server.clients.items()}
        self.do(send_all())
        winners = [m for m in self.members if self.server.clients[m.number].wins > before[m.number]]
        assert len(winners) == 1
        winners[0].expected.append("Вы угадали!")
        self.expect_announcements(winners[0])
        for member in self.members:
            if member is not winners[0]:  # too late, and told so at any moment of the announcements
                self.do(self.hear_in_any_place(member, ERROR))

    async def hear_in_any_place(self, member: Member, message: Any) -> None:
        heard = [await hear(member) for _ in range(len(member.expected) + 1)]
        heard.remove(message)
        assert heard == member.expected
        member.expected.clear()

    @precondition(lambda self: self.members)
    @rule(data=st.data(), message=junk)
    def say_something_wrong(self, data: st.DataObject, message: str | bytes) -> None:
        member = self.someone(data)
        self.do(member.connection.send(message))
        member.expected.append(ERROR)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), politely=st.booleans())
    def leave(self, data: st.DataObject, politely: bool) -> None:
        member = self.someone(data)
        self.members.remove(member)

        async def leave() -> None:
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
        async def pass_on() -> None:
            self.clock.now += 1
            await asyncio.sleep(0)

        self.do(pass_on())
        self.seconds_left -= 1
        for member in self.members:
            member.expected.append({"countdown": self.seconds_left} if self.seconds_left else "Новая игра началась!")
        if not self.seconds_left:
            self.do(self.round_begins())

    async def round_begins(self) -> None:
        while self.server.round.over:
            await asyncio.sleep(0)

    # What must be true after each step

    @invariant()
    def everybody_has_heard_what_was_due(self) -> None:
        Game.steps += 1
        for member in self.members:
            heard = [self.do(hear(member)) for _ in member.expected]
            assert heard == member.expected
            member.expected.clear()

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        assert [(c.id, c.name, c.wins) for c in self.server.clients.values()] == [
            (m.number, m.name, m.wins) for m in self.members
        ]
        assert self.server.round.over == (self.seconds_left > 0)
        assert self.server.rounds_played == self.won


async def hear(member: Member) -> Any:
    """Return the next message; of an error only that it is one."""
    message = json.loads(await member.connection.recv())
    if isinstance(message, dict) and "error" in message:
        assert list(message) == ["error"]
        return ERROR
    return message


def normal(name: str) -> str:
    """Write a name as the rules compare it; the model knows only the names above."""
    return name.strip().replace("Ｂｏｂ", "Bob").lower()


@pytest.mark.timeout(600)
def test_conversations_go_as_the_rules_say(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    run_state_machine_as_test(
        Game, settings=settings(max_examples=60, stateful_step_count=60, suppress_health_check=list(HealthCheck))
    )
    with capsys.disabled():
        print(f"\n  {Game.steps} steps of conversations in {time.monotonic() - began:.0f} s")
    assert Game.steps >= 2000
