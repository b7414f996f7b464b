#!/usr/bin/env python3
"""Measure the game's server, next to a bare `websockets` server and to the same game on FastAPI.

    game      GameServer, on asyncio's own event loop
    bare      the least one can write with `websockets`, on the same loop: the same messages, but no names or limits
    uvloop    GameServer on uvloop's event loop, as `serve` runs it where uvloop is installed
    fastapi   the game as one would write it with FastAPI, run by uvicorn with all of its "standard" extras, among them
              uvloop

The servers take turns, each in a new process and, if there are two, on a core of its own. The players are raw sockets
in this process: what is measured is what the server spends, not what the players do. They offer compression, as every
browser does; FastAPI accepts it, the others do not. The table shows the medians of the repetitions. "/bare" is game
divided by bare, and "/fastapi" is uvloop divided by fastapi: the median of the ratios within each repetition, which
depends less on what else the machine is doing than a ratio of medians would. Needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import logging
import math
import multiprocessing
import operator
import os
import platform
import resource
import select
import socket
import statistics
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import guessgame

SECRET = 42
PATIENCE = 5  # seconds without progress after which a server counts as stalled

# --------------------------------------------------------------------------------------------------------------------
# Servers
# --------------------------------------------------------------------------------------------------------------------

Options = Dict[str, Any]  # GameServer's; the other servers know "pause" alone


async def serve_game(port: int, options: Options) -> None:
    """Serve this project's game, with a secret that never changes."""
    async with guessgame.GameServer(port=port, draw=lambda low, high: SECRET, **options):
        await asyncio.Future()


# What the bare server says, ready to be sent.
WELCOME = guessgame.encode(guessgame.WELCOME.format(low=1, high=100))
LESS, MORE, YOU_WON = map(guessgame.encode, (guessgame.LESS, guessgame.MORE, guessgame.YOU_WON))
SOMEBODY_WON = guessgame.encode(guessgame.SOMEBODY_WON.format(player="#1", number=SECRET))
SCORE = guessgame.encode({"client_id": 1, "wins": 1})
NEW_GAME = guessgame.encode(guessgame.NEW_GAME)


class BareGame:
    """Answer guesses and announce wins, and do nothing else."""

    def __init__(self, pause: int) -> None:
        self.pause = pause
        self.connections: set[ServerConnection] = set()

    async def play(self, connection: ServerConnection) -> None:
        """Answer one player until the connection ends."""
        await connection.send(WELCOME)
        self.connections.add(connection)
        try:
            async for data in connection:
                number = json.loads(data)["guess"]
                if number == SECRET:
                    await self.announce(connection)
                else:
                    await connection.send(LESS if number < SECRET else MORE)
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(connection)

    async def announce(self, winner: ServerConnection) -> None:
        """Tell everybody of a win."""
        await winner.send(YOU_WON)
        broadcast(self.connections - {winner}, SOMEBODY_WON)
        broadcast(self.connections, SCORE)
        self.countdown = asyncio.ensure_future(self.begin_anew())

    async def begin_anew(self) -> None:
        """Count down, then begin a new game."""
        for seconds in range(self.pause, 0, -1):
            broadcast(self.connections, json.dumps({"countdown": seconds}))
            await asyncio.sleep(1)
        broadcast(self.connections, NEW_GAME)


async def serve_bare(port: int, options: Options) -> None:
    """Serve the bare game: like GameServer without compression, and ready for many connections at once."""
    game = BareGame(options.get("pause", 0))
    async with serve(game.play, "127.0.0.1", port, compression=None, backlog=1024):
        await asyncio.Future()


class PlainGame:
    """The game, written plainly on FastAPI."""

    def __init__(self, pause: int) -> None:
        self.pause = pause
        self.over = False
        self.connections: list[Any] = []
        self.last_id = 0

    async def play(self, websocket: Any) -> None:
        """Answer one player until the connection ends."""
        from fastapi import WebSocketDisconnect  # type: ignore[import-not-found,unused-ignore]

        await websocket.accept()
        self.last_id += 1
        player = {"client_id": self.last_id, "wins": 0}
        await self.send(websocket, guessgame.WELCOME.format(low=1, high=100))
        self.connections.append(websocket)
        try:
            while True:
                request = json.loads(await websocket.receive_text())
                await self.answer(websocket, player, request["guess"])
        except WebSocketDisconnect:
            pass
        finally:
            self.connections.remove(websocket)

    async def answer(self, websocket: Any, player: dict[str, int], number: Any) -> None:
        """Judge a guess and reply to it."""
        if self.over:
            await self.send(websocket, {"error": guessgame.ROUND_IS_OVER})
        elif not isinstance(number, int) or not 1 <= number <= 100:
            await self.send(websocket, {"error": "Догадка — целое число от 1 до 100."})
        elif number < SECRET:
            await self.send(websocket, guessgame.LESS)
        elif number > SECRET:
            await self.send(websocket, guessgame.MORE)
        else:
            self.over = True
            player["wins"] += 1
            await self.send(websocket, guessgame.YOU_WON)
            somebody_won = guessgame.SOMEBODY_WON.format(player=f"#{player['client_id']}", number=number)
            await self.broadcast(somebody_won, [other for other in self.connections if other is not websocket])
            await self.broadcast(player, self.connections)
            self.countdown = asyncio.ensure_future(self.begin_anew())

    async def begin_anew(self) -> None:
        """Count down, then begin a new game."""
        for seconds in range(self.pause, 0, -1):
            await self.broadcast({"countdown": seconds}, self.connections)
            await asyncio.sleep(1)
        self.over = False
        await self.broadcast(guessgame.NEW_GAME, self.connections)

    async def broadcast(self, message: Any, connections: list[Any]) -> None:
        """Send a message to one player after the other."""
        for websocket in list(connections):
            with contextlib.suppress(Exception):  # gone meanwhile
                await self.send(websocket, message)

    async def send(self, websocket: Any, message: Any) -> None:
        """Send a message to one player."""
        await websocket.send_text(json.dumps(message, ensure_ascii=False))


def run_fastapi(port: int, options: Options) -> None:
    import fastapi
    import uvicorn  # type: ignore[import-not-found,unused-ignore]

    app = fastapi.FastAPI()
    PlainGame.play.__annotations__["websocket"] = fastapi.WebSocket  # tells FastAPI what to pass
    app.websocket("/")(PlainGame(options.get("pause", 0)).play)
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None)


def run_game_on_uvloop(port: int, options: Options) -> None:
    import uvloop  # type: ignore[import-not-found,unused-ignore]

    uvloop.run(guessgame.until_signal(serve_game(port, options)))


SERVERS: dict[str, Callable[[int, Options], None]] = {
    "game": lambda port, options: asyncio.run(guessgame.until_signal(serve_game(port, options))),
    "bare": lambda port, options: asyncio.run(guessgame.until_signal(serve_bare(port, options))),
    "uvloop": run_game_on_uvloop,
    "fastapi": run_fastapi,
}
MODULES = {"fastapi": ("fastapi", "uvicorn", "uvloop", "httptools"), "uvloop": ("uvloop",)}
INSTALL = {"fastapi": 'fastapi "uvicorn[standard]"', "uvloop": "uvloop"}


class Usage(NamedTuple):
    """What a server has used."""

    cpu: float  # seconds since its start
    memory: float  # KiB of main memory now


def report_usage(questions: Connection) -> None:
    """Answer each question for the usage of this process; run in a thread, beside the server."""
    with contextlib.suppress(EOFError):
        while True:
            questions.recv()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            questions.send(Usage(time.process_time(), pages * resource.getpagesize() / 1024))


def run_server(name: str, port: int, options: Options, core: int, questions: Connection) -> None:
    """Run a server in this process until SIGTERM."""
    os.sched_setaffinity(0, [core])
    logging.basicConfig(handlers=[logging.NullHandler()])  # all servers make their warnings, and nobody prints them
    threading.Thread(target=report_usage, args=(questions,), daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        SERVERS[name](port, options)


class ServerProcess:
    """A server in a process of its own, which has had its first player already.

    Until one connection has ended, the C library's memory allocator makes each read cost twice as much as later.
    """

    def __init__(self, name: str, options: Options, core: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self._questions, questions = context.Pipe()
        arguments = (name, self.port, options, core, questions)
        self._process = context.Process(target=run_server, args=arguments, daemon=True)
        self._process.start()
        self._wait_for_first_player()

    def _wait_for_first_player(self) -> None:
        while True:
            try:
                with joined(self.port, 1):
                    break
            except ConnectionRefusedError:
                if not self._process.is_alive():
                    raise RuntimeError("the server has not started: see above") from None
                time.sleep(0.02)
        time.sleep(0.1)

    def usage(self) -> Usage:
        """Ask the server what it has used."""
        self._questions.send(None)
        usage: Usage = self._questions.recv()
        return usage

    def settled_memory(self) -> float:
        """Let the server digest what has happened, then return its memory in KiB."""
        time.sleep(0.5)
        return self.usage().memory

    def stop(self) -> float:
        """Stop the server and return the seconds it took; if it does not stop, kill it and return infinity."""
        start = time.perf_counter()
        self._process.terminate()
        self._process.join(3 * PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            return math.inf
        return time.perf_counter() - start


# --------------------------------------------------------------------------------------------------------------------
# Players
# --------------------------------------------------------------------------------------------------------------------

TEXT, PING, PONG, COMPRESSED_TEXT = 0x1, 0x9, 0xA, 0x41


def build_frame(kind: int, data: bytes) -> bytes:
    """Build a client's frame of up to 125 bytes; a mask of zeros leaves them as they are."""
    return bytes([0x80 | kind, 0x80 | len(data), 0, 0, 0, 0]) + data


LOW_GUESS = build_frame(TEXT, b'{"guess": 1}')
RIGHT_GUESS = build_frame(TEXT, b'{"guess": %d}' % SECRET)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: bm8gc2VjcmV0cyBoZXJlIQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"%b\r\n"
)
COMPRESSED = "?"  # such a message is counted, not read


class Player:
    """A player who costs next to nothing: a socket, and just enough of WebSocket to tell messages apart."""

    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    def __init__(self, port: int, small_buffers: bool = False) -> None:
        self.socket = socket.socket()
        if small_buffers:
            # Between programs on one machine the kernel would hold megabytes. Segments as in an Ethernet keep the
            # server's buffer small, the other options those here.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        # Leave by a reset, after which the port is free at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.send(UPGRADE % self.offer)
        self._unread = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def hear_welcome(self) -> None:
        """Wait for the end of the handshake and for the first message."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        response, _, self._unread = self._unread.partition(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 101"), response
        self.hear()

    def hear(self, count: int = 1) -> str:
        """Wait for so many messages and return the last one."""
        while True:
            kind, data = self._next_frame()
            if kind == PING:
                self.send(build_frame(PONG, data))
            if kind in (TEXT, COMPRESSED_TEXT):
                count -= 1
            if count == 0:
                return data.decode() if kind == TEXT else COMPRESSED

    def _next_frame(self) -> tuple[int, bytes]:
        while True:
            start, length = 2, self._unread[1] if len(self._unread) > 1 else 0
            if length == 126:
                start, length = 4, int.from_bytes(self._unread[2:4], "big")
            end = start + length
            if len(self._unread) >= end:
                kind, data, self._unread = self._unread[0] & 0x7F, self._unread[start:end], self._unread[end:]
                return kind, data
            self._receive()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server has ended the connection")
        self._unread += data


@contextlib.contextmanager
def joined(port: int, count: int, **options: Any) -> Iterator[list[Player]]:
    """Let players join, up to a thousand at once, and leave in the end."""
    players: list[Player] = []
    try:
        for first in range(0, count, 1000):
            players += [Player(port, **options) for _ in range(min(1000, count - first))]
            for player in players[first:]:
                player.hear_welcome()
        yield players
    finally:
        for player in players:
            player.socket.close()


def play_guesses(players: Sequence[Player], guesses: int) -> None:
    """Let all players guess at once, and again when all have their replies."""
    for _ in range(guesses // len(players)):
        for player in players:
            player.send(LOW_GUESS)
        for player in players:
            assert player.hear() in (LESS, COMPRESSED)


def play_round(players: Sequence[Player], messages: int = 3) -> None:
    """Let the first player win; wait until all have heard of it, of the score, and of the new game."""
    players[0].send(RIGHT_GUESS)
    for player in players:
        assert player.hear(messages) in (NEW_GAME, COMPRESSED)


def come_and_go(server: ServerProcess, joins: int) -> None:
    """Let fifty players at once join and leave again."""
    for _ in range(joins // 50):
        with joined(server.port, 50):
            pass


def ask(player: Player) -> float:
    """Guess, and return how long the reply takes, in seconds."""
    start = time.perf_counter()
    play_guesses([player], 1)
    return time.perf_counter() - start


# --------------------------------------------------------------------------------------------------------------------
# Experiments
# --------------------------------------------------------------------------------------------------------------------


Result = Dict[str, float]  # by label, as in the table


def median(values: Sequence[float]) -> float:
    """Return the median, or not a number if there are no values."""
    return statistics.median(values) if values else math.nan


def cpu_per_guess(server: ServerProcess, players: int, guesses: int, when: str = "") -> Result:
    """Measure the CPU time of a guess and its reply."""
    with joined(server.port, players) as crowd:
        play_guesses(crowd, max(guesses // 10, players))
        before = server.usage().cpu
        play_guesses(crowd, guesses)
        return {f"CPU µs per guess, {players} playing{when}": (server.usage().cpu - before) / guesses * 1e6}


def cpu_per_delivery(server: ServerProcess, players: int, messages: int) -> Result:
    """Measure the CPU time of each message which announces something to everybody."""
    rounds = max(1, messages // (3 * players))
    with joined(server.port, players) as crowd:
        play_round(crowd)
        before = server.usage().cpu
        for _ in range(rounds):
            play_round(crowd)
        cpu = server.usage().cpu - before
        return {f"CPU µs per announcement, {players} hear it": cpu / (rounds * 3 * players) * 1e6}


def memory_per_player(server: ServerProcess, players: int) -> Result:
    """Measure how much the server grows with each player who does nothing."""
    with joined(server.port, 100):
        before = server.settled_memory()
        with joined(server.port, players):
            return {"memory KiB per player": (server.settled_memory() - before) / players}


def connections_per_second(server: ServerProcess, players: int) -> Result:
    """Measure how fast players who come at once are welcomed."""
    start = time.perf_counter()
    with joined(server.port, players):
        return {f"connections per second, {players} at once": players / (time.perf_counter() - start)}


def round_trip(server: ServerProcess, guesses: int) -> Result:
    """Measure how long a lone player waits for a reply."""
    with joined(server.port, 1) as (player,):
        play_guesses([player], 500)
        times = sorted(ask(player) * 1e6 for _ in range(guesses))
    return {"reply µs, median": times[guesses // 2], "reply µs, 99th percentile": times[guesses * 99 // 100]}


def send_flood(flooder: Player, reads: bool) -> None:
    """Send guesses for ever, as fast as the server takes them; stop when nothing has moved for a second."""
    flooder.socket.setblocking(False)
    guesses = unsent = memoryview(LOW_GUESS * 1000)
    with contextlib.suppress(ConnectionError):  # the server has had enough
        while True:
            readable, writable, _ = select.select([flooder.socket] if reads else [], [flooder.socket], [], 1)
            if readable:
                flooder.socket.recv(65536)
            if writable:
                unsent = unsent[flooder.socket.send(unsent) :] or guesses
            if not readable and not writable:
                return


def ask_for_a_while(player: Player, seconds: float, condition: Callable[[], bool] = lambda: True) -> list[float]:
    """Ask again and again, with a short rest after each reply; return how long the replies took, in milliseconds."""
    end = time.perf_counter() + seconds
    times = [ask(player) * 1e3]
    while condition() and time.perf_counter() < end:
        times.append(ask(player) * 1e3)
        time.sleep(0.001)
    return times


def flood(server: ServerProcess, reads: bool, seconds: float) -> Result:
    """Measure a player's reply times before and while another one floods the server."""
    kind = "a flood" if reads else "an unread flood"
    with joined(server.port, 1) as (player,), joined(server.port, 1, small_buffers=True) as (flooder,):
        flooding = multiprocessing.get_context("fork").Process(target=send_flood, args=(flooder, reads), daemon=True)
        before = ask_for_a_while(player, seconds / 2)
        flooding.start()
        during = ask_for_a_while(player, seconds, flooding.is_alive)
        flooding.kill()
        flooding.join()
    return {
        f"reply ms before {kind}, longest": max(before),
        f"reply ms during {kind}, median": median(during),
        f"reply ms during {kind}, longest": max(during),
    }


def deaf_players(server: ServerProcess, players: int, rounds: int) -> Result:
    """Measure what players who never read do to a server while two others play."""
    with joined(server.port, 2) as crowd, joined(server.port, players, small_buffers=True):
        play_round(crowd)
        before = server.settled_memory()
        start, played = time.perf_counter(), 0
        with contextlib.suppress(OSError):  # it stalls
            while played < rounds:
                play_round(crowd)
                played += 1
        seconds = time.perf_counter() - start if played == rounds else math.inf
        return {
            f"{players} never read: rounds of {rounds}": played,
            f"{players} never read: seconds": seconds,
            f"{players} never read: growth MiB": (server.settled_memory() - before) / 1024,
            f"{players} never read: seconds to stop": server.stop(),
        }


def whole_round(server: ServerProcess, players: int) -> Result:
    """Let a crowd play a round with a countdown from one, all of them hearing everything."""
    start = time.perf_counter()
    with joined(server.port, players) as crowd:
        connected = time.perf_counter()
        play_round(crowd, messages=4)
        return {
            f"{players} players: who heard all": len(crowd),
            f"{players} players: seconds to connect": connected - start,
            f"{players} players: seconds for a round": time.perf_counter() - connected,
        }


def endurance(server: ServerProcess, rounds: int, joins: int) -> Result:
    """Measure whether a server grows or tires over many rounds, and over many who join and leave."""
    come_and_go(server, joins // 2)  # so that the memory of some who have left waits for Python's garbage collector
    cost_before = cpu_per_guess(server, 50, 20_000, " before")
    memory = [server.settled_memory()]
    with joined(server.port, 50) as crowd:
        for _ in range(rounds):
            play_round(crowd)
    memory.append(server.settled_memory())
    come_and_go(server, joins)
    memory.append(server.settled_memory())
    return {
        f"growth KiB over {rounds} rounds": memory[1] - memory[0],
        f"growth KiB over {joins} joins": memory[2] - memory[1],
        **cost_before,
        **cpu_per_guess(server, 50, 20_000, " after"),
    }


# Which of our servers each of the others is compared with: the one on the same event loop.
PEERS = {"bare": "game", "fastapi": "uvloop"}

# For each row, the ratio to another server, or the value of game itself.
TARGETS = {
    "CPU µs per guess, 1 playing": "bare <= 1.10, fastapi < 1",
    "CPU µs per guess, 50 playing": "bare <= 1.10, fastapi <= 0.95",
    "CPU µs per guess, 500 playing": "bare <= 1.10, fastapi <= 0.85",
    "CPU µs per announcement, 100 hear it": "bare <= 1.10, fastapi <= 0.90",
    "CPU µs per announcement, 1000 hear it": "bare <= 1.10, fastapi <= 0.90",
    "CPU µs per announcement, 5000 hear it": "bare <= 1.10, fastapi <= 0.90",
    "memory KiB per player": "bare <= 1.15, fastapi <= 0.50",
    "connections per second, 1000 at once": "fastapi >= 2.0",
    "reply µs, median": "fastapi < 1",
    "reply µs, 99th percentile": "fastapi < 1",
    "reply ms during a flood, median": "game < 1",
    "reply ms during a flood, longest": "game < 20",
    "reply ms during an unread flood, median": "game < 1",
    "reply ms during an unread flood, longest": "game < 20",
}


@dataclass(frozen=True)
class Experiment:
    """What is measured, on which servers, and how often at most."""

    name: str
    measure: Callable[[ServerProcess], Result]
    # The usual limit of messages per second is far above what people send; here it would be all that is measured.
    options: Options = field(default_factory=lambda: {"rate": 1e9, "max_players": 20_000, "pause": 0})
    servers: Sequence[str] = tuple(SERVERS)
    repetitions: int = sys.maxsize


def make_experiments(quick: bool = False, most: int = sys.maxsize) -> list[Experiment]:
    """List all experiments: smaller if it has to be quick, and nowhere with more than so many players."""
    less = 10 if quick else 1
    guesses, messages, rounds, joins = 20_000 // less, 60_000 // less, 1000 // less, 10_000 // less
    many, crowd = min(5000 // less, most), min(10_000 // less, most)
    partial = functools.partial
    deaf = Experiment("deaf", partial(deaf_players, players=50, rounds=2000), {"pause": 0}, repetitions=1)
    return [
        *(Experiment("guess", partial(cpu_per_guess, players=n, guesses=guesses)) for n in (1, 50, 500)),
        *(Experiment("delivery", partial(cpu_per_delivery, players=n, messages=messages)) for n in (100, 1000, many)),
        Experiment("memory", partial(memory_per_player, players=1000)),
        Experiment("connect", partial(connections_per_second, players=1000)),
        Experiment("latency", partial(round_trip, guesses=5000 // less)),
        *(Experiment("flood", partial(flood, reads=r, seconds=1 if quick else 3), {}) for r in (True, False)),
        Experiment("crowd", partial(whole_round, players=crowd), {"pause": 1, "max_players": crowd}, repetitions=1),
        Experiment(
            "endurance", partial(endurance, rounds=rounds, joins=joins), servers=("game", "uvloop"), repetitions=3
        ),
        *([] if quick else [deaf]),
    ]


def measure(experiment: Experiment, name: str, core: int) -> Result:
    """Start a server and measure it; there is no result if it stalls, or cuts off somebody who plays."""
    server = ServerProcess(name, experiment.options, core)
    try:
        return experiment.measure(server)
    except OSError as error:
        print(f"{name} has failed in the experiment {experiment.name!r}: {error}")
        return {}
    finally:
        server.stop()


# --------------------------------------------------------------------------------------------------------------------
# The table and the command line
# --------------------------------------------------------------------------------------------------------------------

RELATIONS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}
Values = Dict[str, List[float]]  # by server, one for each repetition


def ratio(values: Values, other: str) -> float:
    """Return the median ratio of ours to another server within each repetition; not a number if there is none."""
    pairs = zip(values.get(PEERS[other], []), values.get(other, []))
    return median([ours / theirs for ours, theirs in pairs if theirs > 0 and math.isfinite(theirs)])


def judge(target: str, values: Values) -> str:
    """Say whether a target is met; say nothing if it was not measured."""
    other, relation, limit = target.split()
    value = median(values.get("game", [])) if other == "game" else ratio(values, other)
    if math.isnan(value):
        return ""
    return f"{target} {'ok' if RELATIONS[relation](value, float(limit)) else 'MISSED'}"


def show(value: float) -> str:
    """Write a number in a few digits."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def print_line(label: str, cells: Sequence[str], verdicts: str = "") -> None:
    print(f"{label:<40}{''.join(f'{cell:>10}' for cell in cells)}   {verdicts}".rstrip(), flush=True)


def run_experiment(experiment: Experiment, servers: Sequence[str], repetitions: int, core: int) -> None:
    """Measure the servers in turn, again and again, and print the lines of the table."""
    results: dict[str, list[Result]] = {name: [] for name in servers if name in experiment.servers}
    for _ in range(min(repetitions, experiment.repetitions)):
        for name in results:
            results[name].append(measure(experiment, name, core))
    for label in dict.fromkeys(label for name in results for result in results[name] for label in result):
        values = {name: [result.get(label, math.inf) for result in results[name]] for name in results}
        cells = [median(values.get(name, [])) for name in servers]
        ratios = [ratio(values, other) for other in servers if other in PEERS]
        verdicts = [judge(target, values) for target in TARGETS.get(label, "").split(", ") if target]
        print_line(label, [show(value) for value in cells + ratios], ", ".join(filter(None, verdicts)))


def installed(name: str) -> bool:
    """Tell whether a server can run; if not, say how to install what it needs."""
    if all(importlib.util.find_spec(module) for module in MODULES.get(name, ())):
        return True
    print(f"{name}: not installed; to measure it, first run: python -m pip install {INSTALL[name]}")
    return False


def share_cores() -> int:
    """Return the core for the servers; take the others, if there are any, for this process."""
    *others, last = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, others or [last])
    return last


def allow_many_players() -> int:
    """Raise the limit of open files as far as it goes, and return how many players that allows."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    most = most_files - 200
    if most < 10_000:
        print(f"There will never be more than {most} players: the system lets a program open {most_files} files only.")
    return most


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the game's server, next to a bare websockets server and to the same game on FastAPI.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python tests/benchmark.py                               everything: eleven minutes
  python tests/benchmark.py --quick                       a rough look: one minute
  python tests/benchmark.py --only guess memory           two of the experiments
  python tests/benchmark.py --servers game uvloop         the same server on two event loops""",
    )
    names = list(dict.fromkeys(experiment.name for experiment in make_experiments()))
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="of each experiment (default: 5)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    servers = parser.add_argument("--servers", nargs="+", choices=SERVERS, metavar="NAME", help=", ".join(SERVERS))
    servers.default = list(SERVERS)
    parser.add_argument("--no-compression", action="store_true", help="let the players not offer it")
    parser.add_argument("--quick", action="store_true", help="measure once, and less of everything")
    return parser


def main() -> None:
    """Run the command line."""
    options = make_parser().parse_args()
    if options.no_compression:
        Player.offer = b""
    start, repetitions = time.perf_counter(), 1 if options.quick else options.repetitions
    most, core = allow_many_players(), share_cores()
    servers = [name for name in options.servers if installed(name)]
    print(
        f"Python {platform.python_version()}, websockets {importlib.metadata.version('websockets')}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {repetitions}"
    )
    print_line("", [*servers, *(f"/{name}" for name in servers if name in PEERS)])
    for experiment in make_experiments(options.quick, most):
        if experiment.name in options.only:
            run_experiment(experiment, servers, repetitions, core)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
