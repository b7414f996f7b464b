#!/usr/bin/env python3
"""Measure the game's server next to the least that one can write with `websockets`.

    bare       the same messages from a server without names, limits or checks; always measured
    game       GameServer of guessgame.py
    a path     GameServer of another guessgame.py, such as an earlier version

They take turns, each in a new process and, if there are two cores, on one of its own. The players are raw sockets in
this process, the floods come from a third one: what is measured is what the server spends. The table shows medians; a
ratio is the median of the ratios of the pairs. "inf" stands for a server that stalls, or cuts off somebody who plays.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import runpy
import selectors
import signal
import socket
import sys
import time
from collections import deque
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.version import version

GAME = str(Path(__file__).resolve().parent.parent / "guessgame.py")
CORES = sorted(os.sched_getaffinity(0))
SEATS = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200  # for so many players the system allows open files
# What "game" must keep to in rows with these words: in its ratio to bare, and, while others flood, in milliseconds.
AT_MOST = {"per guess": 1.10, "per announcement": 1.10, "KiB": 1.10, "from 1: reply ms, median": 1}
AT_MOST["from 20: reply ms, median"] = 5
AT_LEAST = {"connections": 0.85}

SECRET, SCORE = 42, '{"client_id": 1, "wins": 1}'
LESS, MORE, YOU_WON, SOMEBODY_WON = '"Меньше"', '"Больше"', '"Вы угадали!"', '"Игрок #1 угадал число 42!"'
WELCOME, NEW_GAME = '"Добро пожаловать! Угадайте число от 1 до 100."', '"Новая игра началась!"'
LOW_GUESS, RIGHT_GUESS = b'\x81\x8c\0\0\0\0{"guess": 1}', b'\x81\x8d\0\0\0\0{"guess": 42}'  # masked with zeros
PING, SCORES = b"\x89\x80\0\0\0\0", b'\x81\x90\0\0\0\0{"scores": true}'
PIECES = b"\1\x80\0\0\0\0" + 1000 * b"\0\x80\0\0\0\0" + b"\x80" + LOW_GUESS[1:]  # one guess, after many empty ones
UPGRADE = b"""GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r
Sec-WebSocket-Key: bm8gc2VjcmV0cyBoZXJlIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"""
everybody: set[ServerConnection] = set()  # who plays on bare


async def play_bare(connection: ServerConnection) -> None:
    await connection.send(WELCOME)
    everybody.add(connection)
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            number = json.loads(text).get("guess", 0)
            await connection.send(LESS if number < SECRET else MORE if number > SECRET else YOU_WON)
            if number == SECRET:
                for crowd, news in (everybody - {connection}, SOMEBODY_WON), (everybody, SCORE), (everybody, NEW_GAME):
                    broadcast(crowd, news)
    everybody.discard(connection)


async def run_server(name: str, port: int, options: dict[str, float]) -> None:
    if name == "bare":
        server: Any = serve(play_bare, "127.0.0.1", port, compression=None)
    else:
        module = runpy.run_path(GAME if name == "game" else name, run_name="guessgame")
        server = module["GameServer"]("127.0.0.1", port, pause=0, draw=lambda low, high: SECRET, **options)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    async with server:
        await terminated.wait()


def run_process(*arguments: Any) -> None:
    logging.basicConfig(handlers=[logging.NullHandler()])  # all servers make their warnings, and nobody prints them
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    asyncio.run(run_server(*arguments))


def hear(player: socket.socket, text: str) -> None:
    """Read until this text has come, which is the last that is due."""
    unread = b""
    while text.encode() not in unread:
        if not (data := player.recv(65536)):
            raise ConnectionResetError("the server has ended the connection")
        unread += data


def play(players: list[socket.socket], turns: int, win: bool = False) -> None:
    """Let all guess at once, or the first one win; again when all have heard what they are due."""
    for _ in range(turns):
        for player in players[:1] if win else players:
            player.sendall(RIGHT_GUESS if win else LOW_GUESS)
        for player in reversed(players):  # whoever is told last wakes us: or else it is chance how many do
            hear(player, NEW_GAME if win else LESS)


def flood(port: int, flooders: list[socket.socket], request: bytes, reads: bool) -> None:
    """Send the same request again and again, as fast as the server takes it."""
    data = memoryview(request * (65536 // len(request) + 1))
    sent = dict.fromkeys(flooders, 0)
    with selectors.DefaultSelector() as selector:
        for flooder in flooders:
            selector.register(flooder, selectors.EVENT_WRITE | selectors.EVENT_READ * reads)
        while selector.get_map():
            for key, events in selector.select():
                player: Any = key.fileobj
                try:
                    if events & selectors.EVENT_READ and not player.recv(65536):
                        selector.unregister(player)
                    elif events & selectors.EVENT_WRITE:
                        sent[player] = (sent[player] + player.send(data[sent[player] :])) % len(data)
                except OSError:
                    selector.unregister(player)


def shake_half_a_hand(port: int, *_: object) -> None:
    """Begin handshakes as fast as possible, and let hundreds of them stand."""
    visitors: deque[socket.socket] = deque()
    with contextlib.suppress(OSError):
        while True:
            visitors.append(socket.create_connection(("127.0.0.1", port)))
            visitors[-1].sendall(UPGRADE[:-2])
            if len(visitors) > 500:
                visitors.popleft().close()


class Server:
    """A server in a process of its own."""

    def __init__(self, name: str, options: dict[str, float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process = get_context("spawn").Process(target=run_process, args=(name, self.port, options), daemon=True)
        self.process.start()
        os.sched_setaffinity(self.process.pid or 0, CORES[-1:])
        while self.process.is_alive():
            with contextlib.suppress(ConnectionRefusedError), self.joined(1):
                return
            time.sleep(0.02)
        sys.exit(f"{name} has not started: see above")

    @contextlib.contextmanager
    def joined(self, count: int) -> Iterator[list[socket.socket]]:
        """Let players join, and leave in the end."""
        with contextlib.ExitStack() as stack:
            players = [stack.enter_context(socket.socket()) for _ in range(count)]
            for player in players:
                player.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave by a reset
                player.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # soon full when nobody reads, and so is
                player.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)  # the server's, thanks to tiny segments
                player.settimeout(5)  # a server that makes no progress for so long has stalled
                player.connect(("127.0.0.1", self.port))
                player.sendall(UPGRADE)
                hear(player, WELCOME)
            yield players

    def cpu_us(self) -> float:
        return time.clock_gettime(~(self.process.pid or 0) << 3 | 2) * 1e6  # the clock that Linux keeps for a process

    def memory_kib(self) -> float:
        time.sleep(0.5)  # the server digests what came before
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1024

    def stop(self) -> float:  # how many seconds it takes
        start = time.perf_counter()
        self.process.terminate()
        self.process.join(10)  # longer than anybody wants to wait
        self.process.kill()
        return time.perf_counter() - start

    def measure_connections(self, count: int) -> Iterator[tuple[str, float]]:
        """Measure how many players could join and leave in a second, if that were all the server did."""
        before = self.cpu_us()
        for _ in range(count // 10):
            with self.joined(10):
                pass
        yield "connections per second of CPU", count * 1e6 / (self.cpu_us() - before)

    def measure_cpu(self, players: int, total: int, win: bool = False) -> Iterator[tuple[str, float]]:
        """Measure what a guess costs with its reply, or each of the three announcements for one player."""
        kind, each = ("announcement", 3) if win else ("guess", 1)
        turns = total // (players * each)
        with self.joined(players) as crowd:
            play(crowd, 1 + turns // 10, win)
            before = self.cpu_us()
            play(crowd, turns, win)
            yield f"CPU µs per {kind}, {players} playing", (self.cpu_us() - before) / (turns * players * each)

    def measure_memory(self, players: int) -> Iterator[tuple[str, float]]:
        with self.joined(100):
            before = self.memory_kib()
            with self.joined(players):
                yield "KiB per idle player", (self.memory_kib() - before) / players

    def measure_flood(
        self, what: str, request: bytes = b"", count: int = 1, reads: bool = True, flood: Callable[..., None] = flood
    ) -> Iterator[tuple[str, float]]:
        """Measure how long another player waits for replies, and how long it takes to stop amid all that."""
        times = []
        with self.joined(1 + count) as (player, *flooders):
            arguments = (self.port, flooders, request, reads)
            flooding = get_context("fork").Process(target=flood, args=arguments, daemon=True)
            flooding.start()
            end = time.perf_counter() + 3
            try:
                while time.perf_counter() < end:
                    start = time.perf_counter()
                    play([player], 1)
                    times.append((time.perf_counter() - start) * 1e3)
                    time.sleep(0.001)
                yield f"{what} from {count}: reply ms, median", median(times)
                yield f"{what} from {count}: reply ms, longest", max(times)
            finally:
                seconds = self.stop()
                flooding.kill()
            yield f"{what} from {count}: seconds to stop", seconds

    def measure_deaf(self, players: int) -> Iterator[tuple[str, float]]:
        """Let two play 2000 rounds while others never read."""
        with self.joined(2) as crowd, self.joined(players):
            before = self.memory_kib()
            with contextlib.suppress(OSError):
                play(crowd, 2000, win=True)
                yield f"{players} never read: MiB more", (self.memory_kib() - before) / 1024
            yield f"{players} never read: seconds to stop", self.stop()


FLOODS = {"guesses": LOW_GUESS, "pings": PING, "scores": SCORES}
EXPERIMENTS: dict[str, list[Callable[[Server], Iterator[tuple[str, float]]]]] = {
    "connect": [partial(Server.measure_connections, count=1000)],
    "guess": [partial(Server.measure_cpu, players=min(n, SEATS), total=20_000) for n in (1, 50, 500)],
    "announce": [partial(Server.measure_cpu, players=min(n, SEATS), total=60_000, win=True) for n in (100, 1000, 5000)],
    "memory": [partial(Server.measure_memory, players=min(1000, SEATS))],
    "flood": [
        *(
            partial(Server.measure_flood, what=f"{kind}", request=FLOODS[kind], count=n)
            for kind in FLOODS
            for n in (1, 20)
        ),
        partial(Server.measure_flood, what="guesses, unread", request=LOW_GUESS, reads=False),
        partial(Server.measure_flood, what="empty pieces", request=PIECES),
        partial(Server.measure_flood, what="half handshakes", flood=shake_half_a_hand),
    ],
    "deaf": [partial(Server.measure_deaf, players=50)],
}


def print_rows(experiment: str, servers: dict[str, str], turns: int) -> None:
    """Measure the servers in turn, again and again, and print rows of the table."""
    # The usual rate is far above what people send; here it would be all that is measured.
    options = {} if experiment in ("flood", "deaf") else {"rate": 1e12, "max_players": 20_000}
    for measure in EXPERIMENTS[experiment]:
        rows: dict[str, dict[str, list[float]]] = {}
        for turn, name in product(range(turns), servers):
            server = Server(servers[name], options)
            with contextlib.suppress(OSError):
                for label, value in measure(server):
                    rows.setdefault(label, {name: [float("inf")] * turns for name in servers})[name][turn] = value
            server.stop()
        for label, row in rows.items():
            figures = {name: median(row[name]) for name in servers}
            for name in list(servers)[1:]:
                figures[f"{name}/bare"] = median([a / (b or float("nan")) for a, b in zip(row[name], row["bare"])])
            judged = figures.get("game" if experiment == "flood" else "game/bare", 1)
            missed = [f"MISSED: above {limit}" for words, limit in AT_MOST.items() if words in label and judged > limit]
            missed += [
                f"MISSED: below {limit}" for words, limit in AT_LEAST.items() if words in label and judged < limit
            ]
            print(f"{label:<42}", *(f"{figure:>12.2f}" for figure in figures.values()), *missed, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure everything once, not five times")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="what to measure")
    parser.add_argument("--servers", nargs="+", default=["game"], metavar="NAME", help="see above")
    options = parser.parse_args()
    servers, turns = {Path(name).stem: name for name in ["bare", *options.servers]}, 1 if options.quick else 5
    resource.setrlimit(resource.RLIMIT_NOFILE, (SEATS + 200, SEATS + 200))
    os.sched_setaffinity(0, CORES[:-1] or CORES)
    # Or else it is chance whether the C library gives the memory of each read back to the system, which costs as much.
    os.environ.update(MALLOC_MMAP_THRESHOLD_="4000000", MALLOC_TRIM_THRESHOLD_="64000000")
    print(f"Python {sys.version.split()[0]}, websockets {version}, load {os.getloadavg()[0]:.1f}; medians of {turns}")
    print(f"{'':<42}", *(f"{title:>12}" for title in [*servers, *(f"{name}/bare" for name in list(servers)[1:])]))
    for experiment in options.only:
        print_rows(experiment, servers, turns)


if __name__ == "__main__":
    main()
