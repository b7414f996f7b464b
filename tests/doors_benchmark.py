#!/usr/bin/env python3
"""Measure one game behind several doors next to one server.

    python tests/doors_benchmark.py

    one server    GameServer of guessgame.py
    N doors       as many doors, one judge and Redis, each in a process of its own

The players are raw sockets in this process. Everybody shares the cores of this machine: with two of them, more doors
cannot be faster than two. An announcement is measured from the moment when one player asks for it to the moment when
the last of all has it; that includes what it takes this process to read them all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Iterator, Sequence

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "notebooks")]

from benchmark import LESS, LOW_GUESS, SECRET, UPGRADE, WELCOME, hear, play  # noqa: E402
from guessgame import Client, Game, GameServer, Object  # noqa: E402
from kit.broker import find_program  # noqa: E402
from kit.doors import Door, Judge  # noqa: E402

PLEASE_ANNOUNCE = b'\x81\x92\0\0\0\0{"announce": true}'  # masked with zeros
ANNOUNCEMENT = "Привет всем!"
BATCH = 100  # players who join at the same time
NO_LIMITS: Any = {"rate": 1e12, "max_players": 20_000, "ping_interval": None}


class AnnouncingGame(Game):
    """A game in which any player can let everybody hear an announcement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.requests["announce"] = self.announce

    def announce(self, client: Client, request: Object) -> None:
        self.broadcast(ANNOUNCEMENT)


def draw(low: int, high: int) -> int:
    return SECRET


def make(role: str, broker: str) -> Any:
    if role == "door":
        return Door(port=0, broker=broker, **NO_LIMITS)
    if role == "judge":
        return Judge(broker=broker, game=AnnouncingGame, draw=draw)
    return GameServer(port=0, game=AnnouncingGame, draw=draw, **NO_LIMITS)


async def run_server(role: str, broker: str, ready: Any) -> None:
    server = make(role, broker)
    async with server:
        while role == "door" and not server.judge:
            await asyncio.sleep(0.05)
        ready.send(server.port)
        await asyncio.Event().wait()


def run_process(role: str, broker: str, ready: Any) -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    asyncio.run(run_server(role, broker, ready))


@contextlib.contextmanager
def process(role: str, broker: str = "") -> Iterator[tuple[int, int]]:
    """Run a server in a process of its own; yield its pid and its port."""
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    running = spawn.Process(target=run_process, args=(role, broker, theirs), daemon=True)
    running.start()
    try:
        yield running.pid or 0, ours.recv()
    finally:
        running.kill()
        running.join()


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, str]]:
    """Run a Redis; yield its pid and its address."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis"
        command = [find_program(), "--port", "0", "--unixsocket", path, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            while not Path(path).exists():
                time.sleep(0.01)
            try:
                yield running.pid, f"unix://{path}"
            finally:
                running.kill()


@contextlib.contextmanager
def open_doors(count: int) -> Iterator[tuple[list[int], dict[str, list[int]]]]:
    """Open a server, or several doors; yield their ports, and the pids of all processes."""
    with contextlib.ExitStack() as stack:
        if count == 0:
            pid, port = stack.enter_context(process("server"))
            yield [port], {"server": [pid]}
            return
        broker_pid, broker = stack.enter_context(redis_server())
        judge_pid, _ = stack.enter_context(process("judge", broker))
        doors = [stack.enter_context(process("door", broker)) for _ in range(count)]
        pids = {"judge": [judge_pid], "Redis": [broker_pid], "all doors": [pid for pid, _ in doors]}
        yield [port for _, port in doors], pids


@contextlib.contextmanager
def joined(ports: Sequence[int], count: int) -> Iterator[list[socket.socket]]:
    """Let players join, through one door after the other, and leave in the end."""
    with contextlib.ExitStack() as stack:
        players: list[socket.socket] = []
        ways = itertools.cycle(ports)
        while len(players) < count:
            newcomers = [stack.enter_context(socket.socket()) for _ in range(min(BATCH, count - len(players)))]
            for player in newcomers:
                player.settimeout(20)
                player.connect(("127.0.0.1", next(ways)))
                player.sendall(UPGRADE)
            for player in newcomers:
                hear(player, WELCOME)
            players += newcomers
        yield players


def time_announcement(players: Sequence[socket.socket]) -> float:
    """Return the ms until the last one has it."""
    words = ANNOUNCEMENT.encode()
    with selectors.DefaultSelector() as selector:
        for player in players:
            selector.register(player, selectors.EVENT_READ)
        start = time.perf_counter()
        players[0].sendall(PLEASE_ANNOUNCE)
        waiting = len(players)
        while waiting:
            for key, _ in selector.select():
                listener: Any = key.fileobj
                if words in listener.recv(65536):  # so short a message comes in one piece
                    waiting -= 1
        return (time.perf_counter() - start) * 1e3


def time_guess(player: socket.socket) -> float:
    """Return the ms until the reply."""
    start = time.perf_counter()
    player.sendall(LOW_GUESS)
    hear(player, LESS)
    return (time.perf_counter() - start) * 1e3


def cpu_us(pids: Sequence[int]) -> float:
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids) * 1e6  # Linux keeps a clock for each process


def measure(doors: int, crowds: Sequence[int], turns: int) -> None:
    """Print one row of the table for each thing that is measured."""
    title = f"doors: {doors}" if doors else "one server"
    for crowd in crowds:
        with open_doors(doors) as (ports, _), joined(ports, crowd) as players:
            times = [time_announcement(players) for _ in range(turns)]
        print(f"{title:<12} ms to the last of {crowd:<6} {median(times):>9.1f} (longest {max(times):.1f})", flush=True)
    with open_doors(doors) as (ports, pids), joined(ports, 50) as players:
        times = [time_guess(players[0]) for _ in range(1000)]
        print(f"{title:<12} ms from a guess to its reply {median(times):>7.2f}", flush=True)
        before = {name: cpu_us(group) for name, group in pids.items()}
        play(players, 200)
        for name, group in pids.items():
            spent = (cpu_us(group) - before[name]) / (200 * 50)
            print(f"{title:<12} CPU µs per guess, {name:<10} {spent:>9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doors", nargs="+", type=int, default=[0, 1, 2, 4], help="0: one server without doors")
    parser.add_argument("--players", nargs="+", type=int, default=[1000, 5000])
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for doors in options.doors:
        measure(doors, options.players, options.turns)


if __name__ == "__main__":
    main()
