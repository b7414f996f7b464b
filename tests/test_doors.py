"""The same game behind many doors: with a real Redis, real processes, and every death under play."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, AsyncIterator, Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import test_conversations
from conftest import (
    NEW_GAME,
    PATIENCE,
    PROJECT,
    SECRET,
    eventually,
    need,
    pass_time,
    started,
    wire,
)
from guessgame import YOU_WON, Player, ServerGone

redis = pytest.importorskip("redis", reason="the lesson on doors says how to get it")

from kit import broker as kit_broker  # noqa: E402
from kit import doors as kit_doors  # noqa: E402
from kit.doors import Door, Judge  # noqa: E402

KEY = "k7Qz2mXw"


class Redis:
    """A Redis of our own, which keeps nothing."""

    def __init__(self, folder: str) -> None:
        self.url = f"unix://{folder}/redis"
        self.program = need("redis-server")

    def start(self) -> None:
        path = self.url[len("unix://") :]
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([self.program, *options], stdout=subprocess.DEVNULL)
        client = redis.from_url(self.url)
        for _ in range(PATIENCE * 100):
            with contextlib.suppress(redis.ConnectionError):
                if client.ping():
                    break
            time.sleep(0.01)
        client.close()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker() -> Iterator[Redis]:
    # The address of a socket has to be short, and the names of pytest's folders are long.
    with tempfile.TemporaryDirectory() as folder:
        broker = Redis(folder)
        broker.start()
        try:
            yield broker
        finally:
            broker.signal(signal.SIGCONT)
            broker.kill()


@contextlib.asynccontextmanager
async def house(broker: Redis, **options: Any) -> AsyncIterator[tuple[Judge, Door, Door]]:
    """Open two doors, and wait until they know their judge."""
    options = {"draw": lambda low, high: SECRET, "pause": 0.05, **options}
    judge = Judge(broker=broker.url, **options)
    door, other = (Door(broker=broker.url, port=0) for _ in range(2))
    async with judge:
        async with door, other:
            await eventually(lambda: door.judge == other.judge == judge.channel)
            yield judge, door, other


# One game


async def test_players_at_two_doors_play_one_game(broker: Redis) -> None:
    async with house(broker) as (judge, door, other):
        async with wire(f"{door.url}/?name=Ann") as ann, wire(other.url) as bob:
            assert (await ann.hear())["client_id"] == 1
            assert await bob.ask({"guess": 50}) == "Больше"
            assert "error" in await bob.ask({"name": "ann"}), "names are those of all doors"
            assert await ann.ask({"guess": SECRET}) == "Вы угадали!"
            score = {"client_id": 1, "name": "Ann", "wins": 1}
            assert await ann.hear_all(2) == [score, NEW_GAME]
            assert await bob.hear_all(3) == [f"Игрок Ann угадал число {SECRET}!", score, NEW_GAME]
            for nonsense in (b"", b"{}", "", "{}"):
                await bob.connection.send(nonsense)
                kind = "Двоичные" if isinstance(nonsense, bytes) else "Непонятный" if nonsense else "Это"
                assert (await bob.hear())["error"].startswith(kind)
            scores = await ann.ask({"scores": True})
            assert (scores["players"], scores["you"]) == (2, 1)
        await eventually(lambda: not judge.clients)
        assert not judge.places
        assert not judge.players


async def test_replies_come_in_the_order_of_the_requests_however_many_are_on_their_way(broker: Redis) -> None:
    async with house(broker) as (_, door, other):
        async with wire(door.url) as ann, wire(other.url) as bob:
            numbers = [1 + 41 * (index % 3 > 0) + 30 * (index % 3 > 1) for index in range(300)]
            numbers = [number if number != SECRET else 43 for number in numbers]
            for number in numbers:
                await ann.send({"guess": number})
                await bob.send({"guess": number})
            expected = ["Меньше" if number < SECRET else "Больше" for number in numbers]
            assert await ann.hear_all(300) == expected
            assert await bob.hear_all(300) == expected


async def test_of_a_hundred_races_through_two_doors_each_has_one_winner(broker: Redis) -> None:
    async with house(broker, pause=None) as (judge, door, other):
        async with Player(door.url, "Ann") as ann, Player(other.url, "Bob") as bob:
            for race in range(100):
                for player in (ann, bob):
                    await player.wait_until(lambda: not player.round_over, PATIENCE)  # noqa: B023
                pair = (ann, bob) if race % 2 else (bob, ann)
                replies = await asyncio.gather(*(player.guess(SECRET) for player in pair))
                assert replies.count(YOU_WON.russian) == 1
                assert ann.wins + bob.wins == race + 1
                judge.new_round()


# Deaths


@contextlib.asynccontextmanager
async def program(broker: Redis, *arguments: str) -> AsyncIterator[tuple[Any, str]]:
    """Run a judge or a door as a program; yield its process, and what it says first."""
    command = [sys.executable, "-m", "kit.doors", *arguments]
    environment = {**os.environ, "REDIS_URL": broker.url}
    async with started(*command, cwd=PROJECT / "notebooks", env=environment) as process:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        yield process, line.decode().strip()


async def join_through(urls: list[str], name: str, key: str) -> Player:
    """Join through any of these doors, as soon as one lets us in."""
    for url in itertools.cycle(urls):
        player = Player(url, name, key=key)
        try:
            await player.join()
        except ServerGone:
            await asyncio.sleep(0.1)
        else:
            break
    return player


async def win(player: Player) -> None:
    """Guess until the number is found."""
    low, high, reply = 1, 100, ""
    while reply != YOU_WON.russian:
        number = (low + high) // 2
        reply = await player.guess(number)  # type: ignore[assignment]
        low, high = (number + 1, high) if reply == "Меньше" else (low, number - 1)


async def test_programs_die_and_players_come_back(broker: Redis) -> None:
    async with contextlib.AsyncExitStack() as stack:
        judge, said = await stack.enter_async_context(program(broker, "judge", "--pause", "0"))
        assert said == "judge"
        door, url = await stack.enter_async_context(program(broker, "door", "0"))
        _, other_url = await stack.enter_async_context(program(broker, "door", "0"))
        urls = [url, other_url]
        bob = await join_through(urls[1:], "Bob", "K7QZ2MXW")
        ann = await join_through(urls[:1], "Ann", KEY)
        await win(ann)
        was = ann.client_id

        door.kill()
        await asyncio.wait_for(asyncio.shield(ann.reader), PATIENCE)
        ann = await join_through(urls, "Ann", KEY)
        assert (ann.url, ann.client_id, ann.wins) == (other_url, was, 1)
        assert bob.gone is None, "who came through another door has noticed nothing"
        await win(bob)

        judge.kill()
        for player in (ann, bob):
            await asyncio.wait_for(asyncio.shield(player.reader), PATIENCE)
            assert "1013" in str(player.gone)
        await stack.enter_async_context(program(broker, "judge", "--pause", "0"))
        ann = await join_through(urls[1:], "Ann", KEY)
        assert (ann.name, ann.wins) == ("Ann", 0), "the scores are lost"
        await win(ann)
        await ann.leave()


class Regular:
    """Somebody who plays on and on, through whatever door is open, and counts what they are told."""

    def __init__(self, name: str, urls: list[str]) -> None:
        self.name = name
        self.urls = urls
        self.replies = 0
        self.wins = 0

    async def play(self) -> None:
        for url in itertools.cycle(self.urls):
            with contextlib.suppress(ServerGone):
                async with Player(url, self.name, key=f"{self.name}-{self.name}") as player:
                    await self.stay(player)
            await asyncio.sleep(0.05)

    async def stay(self, player: Player) -> None:
        while True:
            await player.wait_until(lambda: not player.round_over)
            self.wins += await player.guess(SECRET) == YOU_WON.russian
            self.replies += 1


async def kill_the_broker(broker: Redis, judge: Judge, door: Door) -> None:
    broker.kill()
    await asyncio.sleep(2)
    broker.start()


async def let_the_broker_stand_still(broker: Redis, judge: Judge, door: Door) -> None:
    broker.signal(signal.SIGSTOP)
    await asyncio.sleep(kit_broker.LIFE + 1)
    broker.signal(signal.SIGCONT)


async def kill_a_door(broker: Redis, judge: Judge, door: Door) -> None:
    for connection in list(door.connections.values()):
        connection.transport.abort()
    await door.stop()


async def stop_the_judge_for_a_while(broker: Redis, judge: Judge, door: Door) -> None:
    await judge.stop()
    await judge.start()


@pytest.mark.parametrize(
    "disturb", [kill_the_broker, let_the_broker_stand_still, kill_a_door, stop_the_judge_for_a_while]
)
async def test_under_play_all_go_on_and_no_round_has_two_winners(broker: Redis, disturb: Callable[..., Any]) -> None:
    async with house(broker, pause=0.02) as (judge, door, other):
        regulars = [Regular(name, [door.url, other.url]) for name in ("Anna", "Boris", "Clara", "Dora")]
        playing = [asyncio.ensure_future(regular.play()) for regular in regulars]
        await eventually(lambda: all(regular.replies > 5 for regular in regulars))
        await disturb(broker, judge, door)
        before = [regular.replies for regular in regulars]
        await eventually(lambda: all(regular.replies > old + 5 for regular, old in zip(regulars, before)))
        for task in playing:
            task.cancel()
        await asyncio.wait(playing)
        rounds = [entry[0] for entry in judge.history if entry[-1] == YOU_WON.russian]
        assert len(rounds) == len(set(rounds)), "one winner a round"
        assert sum(regular.wins for regular in regulars) <= len(rounds)


# The same promises as one server


class TwoDoors:
    """One judge and two doors, which take turns, in place of the one server of the conversations' model."""

    def __init__(self, port: int, rate: float, **options: Any) -> None:
        self.make_judge: Callable[[], Judge] = lambda: Judge(broker=self.broker.url, **options)
        self.rate = rate

    broker: Redis

    async def start(self) -> None:
        with redis.from_url(self.broker.url) as client:
            client.flushall()  # in real time, the judge of an earlier conversation would still be alive
        self.judge = self.make_judge()
        await self.judge.start()
        doors = [Door(broker=self.broker.url, port=0, rate=self.rate) for _ in range(2)]
        for door in doors:
            await door.start()
        while not all(door.judge == self.judge.channel for door in doors):
            await pass_time(1)  # after a beat they look again
        self.doors = itertools.cycle(doors)

    async def stop(self) -> None:
        for door in (next(self.doors), next(self.doors)):
            await door.stop()
        await really(lambda: not self.judge.clients)
        await self.judge.stop()

    @property
    def url(self) -> str:
        return next(self.doors).url

    def __getattr__(self, name: str) -> Any:
        return getattr(self.judge, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self.judge if name in ("pause", "cooldown") else self
        object.__setattr__(target, name, value)


async def really(condition: Callable[[], Any]) -> None:
    """Wait in real time, while the loop's clock may stand still: Redis has a process, and a clock, of its own."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this never became true"
        await asyncio.sleep(0)


class Heard:
    """A connection on which one message has come, or the end."""

    def __init__(self, receiving: asyncio.Future[Any]) -> None:
        self.receiving = receiving

    async def recv(self) -> Any:
        return await self.receiving


async def wait_and_hear(line: Any, hear: Callable[..., Any] = test_conversations.hear) -> Any:
    """Do what the model does, but wait in real time for what comes next."""
    receiving = asyncio.ensure_future(line.connection.recv())
    await really(receiving.done)
    return await hear(test_conversations.Line(Heard(receiving), line.person))  # type: ignore[arg-type]


@pytest.mark.timeout(600)
def test_conversations_through_two_doors_go_as_those_with_one_server(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TwoDoors, "broker", broker, raising=False)
    monkeypatch.setattr(test_conversations, "GameServer", TwoDoors)
    monkeypatch.setattr(test_conversations, "hear", wait_and_hear)
    for module in (kit_broker, kit_doors):  # in real time, a conversation takes longer than a sign of life is good for
        monkeypatch.setattr(module, "LIFE", 3600)
    thorough = settings(
        max_examples=int(os.environ.get("EX", "30")),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(test_conversations.Conversation, settings=thorough)
