"""Whole conversations, made up at random and compared with a model of the game: who hears what, and in which order.

This is the test for ids, names, keys and wins of players who come, go and come back, for hints, for what happens in the
pause, and for a teacher who interferes at any moment. The clock stands still except when the game is told that a second
passes: so the countdown is as exact as all the rest.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import json
from math import inf
from typing import Any, Callable
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import guessgame
from conftest import NEW_GAME, StandingClock, pass_time
from guessgame import CONNECT_OPTIONS, GameServer

LOW, HIGH = 1, 6
WELCOME = f"Добро пожаловать! Угадайте число от {LOW} до {HIGH}."
happened: collections.Counter[str] = collections.Counter()

BAD_NAMES = ["", "  ", "#3", "№4", "\n", "\u2800", "Аня!", "я" * 33]
BAD_KEYS = ["", "short", "with space", "ключключ"]
JUNK = {"": "Это", "hello": "Это", "[]": "Это", '"Меньше"': "Это", "[" * 99: "Это", '{"Guess": 1}': "Непонятный"}

names = st.sampled_from(["Аня", "аня", "АНЯ ", "Aня", "Bob", "Ｂｏｂ", "я" * 32, *BAD_NAMES[:2]])
keys = st.sampled_from(["k7Qz2mXw", "K7QZ2MXW", "k7Qz2mXw", "K7QZ2MXW", "!" * 64, *BAD_KEYS[:2]])
guesses = st.integers(LOW, HIGH) | st.just("right") | st.sampled_from([0, 7, True, 3.0, "3", None])
named = st.fixed_dictionaries({}, optional={"name": names})
wishes = named | st.fixed_dictionaries({"key": keys}, optional={"name": names})
asked = {
    "name": names | st.sampled_from([*BAD_NAMES, 7, None, True, ["Аня"]]),
    "key": keys | st.sampled_from([*BAD_KEYS, 12345678, None]),
    "guess": guesses,
    "scores": st.sampled_from([True, True, False, 1]),
}
requests = st.fixed_dictionaries({}, optional=asked) | wishes | st.just({"guess": "right"})
last_requests = st.lists(st.fixed_dictionaries({"name": names}) | st.just({"guess": 0}), max_size=6)


class Person:
    """A player as the model knows them, whatever connection they play on."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = self.key = ""
        self.wins = 0
        self.last_guess = -inf

    def score(self) -> dict[str, Any]:
        return {"client_id": self.number, **({"name": self.name} if self.name else {}), "wins": self.wins}

    def is_kept(self) -> bool:
        return self.key != "" and self.wins > 0


class Line:
    """One connection, who plays on it, and what must be heard on it next."""

    def __init__(self, connection: ClientConnection, person: Person) -> None:
        self.connection, self.person = connection, person
        self.expected: list[Any] = [WELCOME]

    def refuse(self, beginning: str) -> None:
        self.expected.append({"error": beginning})


class Conversation(RuleBasedStateMachine):
    """Play with a real server over real sockets, and know at each step what everybody must hear."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = StandingClock()
        self.do = self.loop.run_until_complete
        self.secrets = [3, 1, 6, 4, 2, 5]
        self.lines: list[Line] = []
        self.kept: list[Person] = []
        self.barred: set[str] = set()  # names and keys
        self.left: set[str] = set()  # names
        self.history: list[Any] = []
        self.joined = self.rounds = 0
        self.pause: int | None = 2
        self.cooldown = 0
        self.over = False
        self.seconds_left: int | None = None  # of the pause; None: there is none, or it waits for the teacher
        # While the clock stands still, everything arrives at once: the rate must not get in the way.
        options: Any = {"low": LOW, "high": HIGH, "pause": self.pause, "rate": 1e9}
        game = functools.partial(guessgame.Game, clock=self.loop.time)
        self.server = GameServer(port=0, game=game, draw=lambda low, high: self.next_secret(), **options)
        self.do(self.server.start())

    def next_secret(self) -> int:
        self.secret = self.secrets[0]
        self.secrets.append(self.secrets.pop(0))
        self.rounds += 1
        self.began = self.loop.now
        return self.secret

    def teardown(self) -> None:
        for line in self.lines:  # the answer to this comes next, unless something else was on its way
            self.send(line, "?")
            line.refuse("Это")
        self.everybody_has_heard_what_was_due()
        self.do(self.server.stop())
        for line in self.lines[:]:
            self.expect_goodbye(line, 1001)
        assert not self.server.clients
        assert not self.server.game.kept
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()

    def send(self, line: Line, message: Any) -> None:
        self.do(line.connection.send(json.dumps(message) if isinstance(message, dict) else message))

    def teach(self, act: Callable[..., None], *arguments: Any) -> None:
        """Do what a teacher does in a cell: call an ordinary function while the loop runs."""

        async def cell() -> None:
            act(*arguments)

        self.do(cell())

    def someone(self, data: st.DataObject) -> Line:
        return data.draw(st.sampled_from(self.lines), "who")

    def everybody(self) -> list[Person]:
        return [*(line.person for line in self.lines), *self.kept]

    def winners(self) -> list[Line]:
        """Return the lines of those who are kept when they leave."""
        return [line for line in self.lines if line.person.is_kept()]

    # What may happen

    @initialize()
    def begin(self) -> None:
        for wishes in ({"name": "Аня", "key": "k7Qz2mXw"}, {"name": "Bob", "key": "K7QZ2MXW"}, {}):
            self.connect(wishes)
            self.everybody_has_heard_what_was_due()

    @precondition(lambda self: len(self.lines) < 6)
    @rule(wishes=wishes)
    def connect(self, wishes: dict[str, str]) -> None:
        url = f"{self.server.url}/?{urlencode(wishes)}"
        connection = self.do(connect(url, ping_interval=None, **CONNECT_OPTIONS).__aenter__())
        happened["somebody joins in the pause"] += self.over
        self.joined += 1
        line = Line(connection, Person(self.joined))
        self.lines.append(line)
        if wishes:
            self.expect_introduction(line, wishes)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), request=requests)
    def somebody_asks(self, data: st.DataObject, request: dict[str, Any]) -> None:
        self.ask(self.someone(data), request)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), number=guesses)
    def somebody_guesses(self, data: st.DataObject, number: Any) -> None:
        self.ask(self.someone(data), {"guess": number})

    @precondition(lambda self: self.winners() and sum(person.key != "" for person in self.everybody()) > 1)
    @rule(data=st.data())
    def a_winner_gives_the_key_of_somebody_else(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(self.winners()), "who")
        others = [person for person in self.everybody() if person.key not in ("", line.person.key)]
        self.ask(line, {"key": data.draw(st.sampled_from(others), "whose").key})

    def ask(self, line: Line, request: dict[str, Any]) -> None:
        if request.get("guess") == "right":
            request = {**request, "guess": self.secret}
        self.send(line, request)
        was_over = self.over
        if not request:
            line.refuse("Непонятный")
        if {"name", "key"} & set(request):
            self.expect_introduction(line, request)
        if "guess" in request:
            self.expect_verdict(line, request["guess"])
        if "scores" in request:
            self.expect_scores(line, request["scores"])
        if self.over and not was_over:
            self.expect_countdown()

    def expect_introduction(self, line: Line, wishes: dict[str, Any]) -> None:
        key, came_back = wishes.get("key"), False
        if "key" in wishes:
            if not isinstance(key, str) or key in BAD_KEYS:
                return line.refuse("Ключ")
            if key in self.barred:
                return line.refuse("Учитель")
            known = next((person for person in self.everybody() if person.key == key), line.person)
            came_back = known is not line.person
            if came_back:
                self.expect_return(line, known)
            line.person.key = key
        if "name" in wishes:
            refusal = self.what_speaks_against(line, wishes["name"])
            if not refusal:
                line.person.name = wishes["name"].strip()
            elif not came_back:
                return line.refuse(refusal)
            else:
                happened["somebody comes back with the name they had"] += 1
        return line.expected.append({**line.person.score(), "you": True})

    def what_speaks_against(self, line: Line, name: Any) -> str:
        if not isinstance(name, str) or name in BAD_NAMES:
            return "Имя"
        if normal(name) in self.barred:
            return "Учитель"
        happened["a kept name is refused to somebody else"] += normal(name) in [normal(each.name) for each in self.kept]
        if normal(name) in [normal(each.name) for each in self.everybody() if each is not line.person]:
            return "Такое"
        happened["a name of somebody who has left is taken again"] += normal(name) in self.left
        return ""

    def expect_return(self, line: Line, known: Person) -> None:
        former, line.person = line.person, known
        happened["somebody who comes back was somebody else, who may come back, too"] += former.is_kept()
        if known in self.kept:
            happened["somebody comes back after leaving"] += 1
            self.kept.remove(known)
        else:
            happened["somebody comes back, and the earlier connection ends"] += 1
            [earlier] = (each for each in self.lines if each.person is known and each is not line)
            self.expect_goodbye(earlier, 4001)
        if former.is_kept():
            self.kept.append(former)

    def expect_goodbye(self, line: Line, code: int) -> None:
        """Nothing more comes but replies to nonsense that was on its way, and the end."""
        self.lines.remove(line)
        heard: Any = {"error": "so far"}
        while "error" in heard:
            heard = self.do(hear(line))
        assert heard == {"close": code}

    def is_too_soon(self, person: Person) -> bool:
        return self.loop.now - person.last_guess < self.cooldown

    def expect_verdict(self, line: Line, number: Any) -> None:
        person = line.person
        if self.is_too_soon(person):
            happened["a guess comes too soon"] += 1
            line.refuse("Слишком")
        elif self.over:
            happened["somebody guesses in the pause"] += 1
            line.refuse("Раунд")
        elif type(number) is not int or not LOW <= number <= HIGH:
            line.refuse("Догадка")
        else:
            verdict = "Меньше" if number < self.secret else "Больше" if number > self.secret else "Вы угадали!"
            person.last_guess = self.loop.now
            seconds = self.loop.now - self.began
            self.history.append((self.rounds, seconds, person.number, person.name, number, verdict))
            line.expected.append(verdict)
            if number == self.secret:
                self.expect_announcements(person)

    def expect_announcements(self, winner: Person) -> None:
        winner.wins += 1
        happened["somebody wins again"] += winner.wins > 1
        self.over = True
        label = winner.name or f"#{winner.number}"
        for line in self.lines:
            if line.person is not winner:
                line.expected.append(f"Игрок {label} угадал число {self.secret}!")
            line.expected.append(winner.score())

    def expect_countdown(self) -> None:
        self.seconds_left = self.pause
        happened["the next round waits for the teacher"] += self.pause is None
        if self.pause is not None:
            self.everybody_expects({"countdown": self.pause})

    def expect_scores(self, line: Line, wish: Any) -> None:
        if wish is True:
            line.expected.append({**self.scores(), "you": line.person.number})
        else:
            line.refuse("Непонятный")

    def scores(self) -> dict[str, Any]:
        ranking = sorted(self.everybody(), key=lambda person: (-person.wins, person.number))
        return {"scores": [person.score() for person in ranking], "players": len(self.lines), "over": self.over}

    def everybody_expects(self, message: Any) -> None:
        for line in self.lines:
            line.expected.append(message)

    @precondition(lambda self: not self.over and sum(not self.is_too_soon(line.person) for line in self.lines) > 1)
    @rule()
    def all_guess_right_at_once(self) -> None:
        """Only the winner is left to chance: the model learns from the history who it is, and the rest follows."""

        async def send_all() -> None:
            await asyncio.gather(*(line.connection.send(json.dumps({"guess": self.secret})) for line in self.lines))
            while len(self.server.history) == len(self.history):
                await asyncio.sleep(0)

        late = {line: "Слишком" if self.is_too_soon(line.person) else "Раунд" for line in self.lines}
        self.do(send_all())
        [winner] = (line for line in self.lines if line.person.number == self.server.history[-1][2])
        assert late.pop(winner) == "Раунд"
        self.expect_verdict(winner, self.secret)
        self.expect_countdown()
        for line, beginning in late.items():  # each is told so somewhere among the announcements
            heard = [self.do(hear(line)) for _ in range(len(line.expected) + 1)]
            heard.remove({"error": beginning})
            assert heard == line.expected
            line.expected.clear()

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), message=st.sampled_from([*JUNK]) | st.binary(max_size=20))
    def say_something_wrong(self, data: st.DataObject, message: str | bytes) -> None:
        line = self.someone(data)
        self.send(line, message)
        line.refuse("Двоичные" if isinstance(message, bytes) else JUNK[message])

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), pongs=st.booleans())
    def send_control_frames(self, data: st.DataObject, pongs: bool) -> None:
        """Only the library of whoever sends them notices."""
        line = self.someone(data)
        for _ in range(3):
            self.do(line.connection.pong() if pongs else line.connection.ping())

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), politely=st.booleans(), requests=last_requests)
    def leave(self, data: st.DataObject, politely: bool, requests: list[dict[str, Any]]) -> None:
        """Whether the server hears the last requests, before the goodbye, is left to chance; they change nothing."""
        line = data.draw(st.sampled_from(self.winners() or self.lines), "who")
        self.lines.remove(line)
        if line.person.is_kept():
            self.kept.append(line.person)
            requests = [request for request in requests if "name" not in request]
        else:
            self.left.add(normal(line.person.name))
        happened["somebody leaves in the middle of requests"] += len(requests) > 1

        async def leave() -> None:
            for request in requests:
                await line.connection.send(json.dumps(request))
            if politely:
                await line.connection.close()
            line.connection.transport.abort()
            while line.person.number in self.server.clients:
                await asyncio.sleep(0)
            with contextlib.suppress(Exception):
                await line.connection.wait_closed()

        self.do(leave())

    @precondition(lambda self: self.lines or self.over)
    @rule()
    def a_second_passes(self) -> None:
        self.do(pass_time(1))
        if self.seconds_left is not None:
            self.seconds_left -= 1
            self.everybody_expects({"countdown": self.seconds_left} if self.seconds_left else NEW_GAME)
            if not self.seconds_left:
                self.over, self.seconds_left = False, None

    # What the teacher may do, whatever happens

    @precondition(lambda self: self.over or len(self.history) > self.rounds)
    @rule()
    def new_round(self) -> None:
        happened["the teacher begins a new round in the pause"] += self.over
        happened["the teacher begins a new round in the middle of one"] += not self.over
        self.over, self.seconds_left = False, None
        self.teach(self.server.new_round)
        self.everybody_expects(NEW_GAME)

    @precondition(lambda self: self.lines)
    @rule(name=st.sampled_from(["pause", "cooldown"]), seconds=st.sampled_from([2, 1, 3, 0]))
    def change_a_setting(self, name: str, seconds: int | None) -> None:
        if name == "pause":
            seconds = seconds or None
        setattr(self, name, seconds)
        self.teach(setattr, self.server, name, seconds)
        if name == "pause" and self.over:
            happened["the teacher changes the pause while it lasts"] += 1
            self.expect_countdown()

    @precondition(lambda self: self.kept or sum(person.wins for person in self.everybody()) > 4)
    @rule()
    def clear_the_scores(self) -> None:
        happened["the teacher clears the scores while somebody is kept"] += bool(self.kept)
        self.left.update(normal(person.name) for person in self.kept)
        self.kept.clear()
        for line in self.lines:
            line.person.wins = 0
        self.teach(self.server.clear_scores)
        self.everybody_expects(self.scores())

    @precondition(lambda self: self.lines and len(self.barred) < 2)
    @rule(data=st.data(), last_words=st.integers(0, 3))
    def remove_somebody(self, data: st.DataObject, last_words: int) -> None:
        happened["the teacher removes somebody in the middle of requests"] += last_words > 1
        line = self.someone(data)
        for _ in range(last_words):
            self.send(line, {"guess": 0})
        self.bar(line.person)
        self.expect_goodbye(line, 1008)

    @precondition(lambda self: self.kept and len(self.barred) < 2)
    @rule(data=st.data())
    def remove_somebody_who_is_not_here(self, data: st.DataObject) -> None:
        happened["the teacher removes somebody who is not here"] += 1
        person = data.draw(st.sampled_from(self.kept), "whom")
        self.kept.remove(person)
        self.bar(person)

    def bar(self, person: Person) -> None:
        self.barred |= {normal(person.name), person.key} - {""}
        self.teach(self.server.remove, person.number)

    # What must be true after each step

    @invariant()
    def everybody_has_heard_what_was_due(self) -> None:
        happened["anything"] += 1
        for line in self.lines:
            heard = [self.do(hear(line)) for _ in line.expected]
            assert heard == line.expected
            line.expected.clear()

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        game = self.server.game
        for clients, people in ((game.clients, [line.person for line in self.lines]), (game.kept, self.kept)):
            known = [(person.number, person.name, person.key, person.wins) for person in people]
            assert sorted((each.id, each.name, each.key, each.wins) for each in clients.values()) == sorted(known)
        assert (game.round.over, list(game.history)) == (self.over, self.history)


async def hear(line: Line) -> Any:
    """Return the next message; of an error, only how it begins; at the end, the close code."""
    receiving = asyncio.ensure_future(line.connection.recv())
    for _ in range(1000):  # on a standing clock no timeout would ever be over
        if not receiving.done():
            await asyncio.sleep(0)
    assert receiving.done(), f"#{line.person.number} waits for {line.expected[:1]}, but nothing comes"
    try:
        message = json.loads(receiving.result())
    except ConnectionClosed as closed:
        return {"close": closed.rcvd.code if closed.rcvd else 1006}
    if isinstance(message, dict) and "error" in message:
        assert list(message) == ["error"]
        return {"error": message["error"].replace(":", " ").split()[0]}
    return message


def normal(name: str) -> str:
    """Write a name as the rules compare it; the model knows only the names above."""
    return name.strip().replace("Ｂｏｂ", "Bob").lower()


@pytest.mark.timeout(600)
def test_conversations_go_as_the_rules_say() -> None:
    thorough = settings(max_examples=300, stateful_step_count=100, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Conversation, settings=thorough)
    assert happened["anything"] >= 2000
    assert min(happened.values()) >= 10, happened
