#!/usr/bin/env python3
"""Measure the game's server next to the least one can write, with `websockets` alone and with FastAPI.

    bare       the same messages from a `websockets` server without names, limits or checks; always measured
    game       GameServer of guessgame.py
    fastapi    the same as bare, on FastAPI and uvicorn
    a path     GameServer of another guessgame.py, such as an earlier version

They take turns, each in a new process and, if there are two cores, on one of its own; all on asyncio's event loop. The
players are raw sockets in this process: what is measured is what the server spends. The table shows medians; a ratio is
the median of the ratios within each repetition. "inf" stands for a server that stalls, or cuts off somebody who plays.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import resource
import runpy
import signal
import socket
import sys
import threading
import time
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Iterator

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.version import version

GAME = str(Path(__file__).resolve().parent.parent / "guessgame.py")
CORES = sorted(os.sched_getaffinity(0))
SEATS = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200  # for so many players the system allows open files
# What "game" must not exceed in rows with these words: in its ratio to bare, and in a flood in milliseconds.
MOST = {"per guess": 1.15, "per announcement": 1.10, "KiB": 1.10, "flood, median": 1, "flood, longest": 20}
SECRET, SCORE = 42, '{"client_id": 1, "wins": 1}'
LESS, MORE, YOU_WON, SOMEBODY_WON = '"Меньше"', '"Больше"', '"Вы угадали!"', '"Игрок #1 угадал число 42!"'
WELCOME, NEW_GAME = '"Добро пожаловать! Угадайте число от 1 до 100."', '"Новая игра началась!"'
LOW_GUESS, RIGHT_GUESS = b'\x81\x8c\0\0\0\0{"guess": 1}', b'\x81\x8d\0\0\0\0{"guess": 42}'  # masked with zeros
UPGRADE = b"""GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r
Sec-WebSocket-Key: bm8gc2VjcmV0cyBoZXJlIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"""
everybody: set[Any] = set()  # who plays on bare or fastapi


async def play_bare(connection: ServerConnection) -> None:
    await connection.send(WELCOME)
    everybody.add(connection)
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            number = json.loads(text)["guess"]
            await connection.send(LESS if number < SECRET else MORE if number > SECRET else YOU_WON)
            if number == SECRET:
                for crowd, news in (everybody - {connection}, SOMEBODY_WON), (everybody, SCORE), (everybody, NEW_GAME):
                    broadcast(crowd, news)
    everybody.discard(connection)


async def play_fastapi(websocket: Any) -> None:
    await websocket.accept()
    await websocket.send_text(WELCOME)
    everybody.add(websocket)
    async for text in websocket.iter_text():
        number = json.loads(text)["guess"]
        await websocket.send_text(LESS if number < SECRET else MORE if number > SECRET else YOU_WON)
        if number == SECRET:
            for crowd, news in (everybody - {websocket}, SOMEBODY_WON), (everybody, SCORE), (everybody, NEW_GAME):
                for player in list(crowd):
                    await player.send_text(news)
    everybody.discard(websocket)


async def serve_fastapi(port: int) -> None:
    import fastapi  # type: ignore[import-not-found,unused-ignore]
    import uvicorn  # type: ignore[import-not-found,unused-ignore]

    app = fastapi.FastAPI()
    play_fastapi.__annotations__["websocket"] = fastapi.WebSocket  # tells FastAPI what to pass
    app.websocket("/")(play_fastapi)
    await uvicorn.Server(uvicorn.Config(app, port=port, log_config=None)).serve()


async def serve_websockets(name: str, port: int, options: dict[str, float]) -> None:
    if name == "bare":
        server: Any = serve(play_bare, "127.0.0.1", port, compression=None, backlog=1024)
    else:
        module = runpy.run_path(GAME if name == "game" else name, run_name="guessgame")
        server = module["GameServer"]("127.0.0.1", port, pause=0, draw=lambda low, high: SECRET, **options)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    async with server:
        await terminated.wait()


def run_server(name: str, port: int, options: dict[str, float]) -> None:
    logging.basicConfig(handlers=[logging.NullHandler()])  # all servers make their warnings, and nobody prints them
    asyncio.run(serve_fastapi(port) if name == "fastapi" else serve_websockets(name, port, options))


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
        for player in players:
            hear(player, NEW_GAME if win else LESS)


def read_all(flooder: socket.socket) -> None:
    with contextlib.suppress(OSError):  # a bare server may have stalled
        while flooder.recv(65536):
            pass


def send_flood(flooder: socket.socket, reads: bool, seconds: float) -> None:
    """Send guesses as fast as the server takes them; stop early when it takes none for a second."""
    end = time.perf_counter() + seconds
    flooder.settimeout(1)
    if reads:
        threading.Thread(target=read_all, args=(flooder,), daemon=True).start()
    with contextlib.suppress(OSError):
        while time.perf_counter() < end:
            flooder.sendall(LOW_GUESS * 100)


class Server:
    """A server in a process of its own. Until a first player has left, the C library's allocator makes reads slow."""

    def __init__(self, name: str, options: dict[str, float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process = get_context("spawn").Process(target=run_server, args=(name, self.port, options), daemon=True)
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
        self.process.join(15)  # longer than anybody wants to wait
        self.process.kill()
        return time.perf_counter() - start

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

    def measure_flood(self, reads: bool) -> Iterator[tuple[str, float]]:
        """Measure how long another player waits for replies."""
        times = []
        with self.joined(2) as (player, flooder):
            flooding = get_context("fork").Process(target=send_flood, args=(flooder, reads, 3), daemon=True)
            flooding.start()
            while flooding.is_alive():
                start = time.perf_counter()
                play([player], 1)
                times.append((time.perf_counter() - start) * 1e3)
                time.sleep(0.001)
        yield f"reply ms in a{'' if reads else 'n unread'} flood, median", median(times)
        yield f"reply ms in a{'' if reads else 'n unread'} flood, longest", max(times)

    def measure_deaf(self, players: int) -> Iterator[tuple[str, float]]:
        """Let two play 2000 rounds while others never read."""
        with self.joined(2) as crowd, self.joined(players):
            before = self.memory_kib()
            with contextlib.suppress(OSError):
                play(crowd, 2000, win=True)
                yield f"{players} never read: MiB more", (self.memory_kib() - before) / 1024
            yield f"{players} never read: seconds to stop", self.stop()


EXPERIMENTS = {
    "guess": [partial(Server.measure_cpu, players=min(n, SEATS), total=20_000) for n in (1, 50, 500)],
    "announce": [partial(Server.measure_cpu, players=min(n, SEATS), total=60_000, win=True) for n in (100, 1000, 5000)],
    "memory": [partial(Server.measure_memory, players=min(1000, SEATS))],
    "flood": [partial(Server.measure_flood, reads=reads) for reads in (True, False)],
    "deaf": [partial(Server.measure_deaf, players=50)],
}


def print_rows(experiment: str, servers: dict[str, str], turns: int) -> None:
    """Measure the servers in turn, again and again, and print rows of the table."""
    # The usual limit of messages per second is far above what people send; here it would be all that is measured.
    options = {} if experiment in ("flood", "deaf") else {"rate": 1e9, "max_players": 20_000}
    rows: dict[str, dict[str, list[float]]] = {}
    for measure, turn, name in product(EXPERIMENTS[experiment], range(turns), servers):
        server = Server(servers[name], options)
        with contextlib.suppress(OSError):
            for label, value in measure(server):
                rows.setdefault(label, {name: [float("inf")] * turns for name in servers})[name][turn] = value
        server.stop()
    for label, row in rows.items():
        figures = {name: median(row[name]) for name in servers}
        for name in list(servers)[1:]:
            figures[f"{name}/bare"] = median([a / (b or float("nan")) for a, b in zip(row[name], row["bare"])])
        judged = figures.get("game" if "flood" in label else "game/bare", 0)
        missed = [f"MISSED: above {limit}" for words, limit in MOST.items() if words in label and judged > limit]
        print(f"{label:<42}", *(f"{figure:>12.2f}" for figure in figures.values()), *missed, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure everything once, not five times")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="what to measure")
    parser.add_argument("--servers", nargs="+", default=["game", "fastapi"], metavar="NAME", help="see above")
    options = parser.parse_args()
    servers, turns = {Path(name).stem: name for name in ["bare", *options.servers]}, 1 if options.quick else 5
    if "fastapi" in servers and not importlib.util.find_spec("uvicorn"):
        del servers["fastapi"]
        print("fastapi is not installed; to measure it, first run: python -m pip install fastapi uvicorn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (SEATS + 200, SEATS + 200))
    os.sched_setaffinity(0, CORES[:-1] or CORES)
    print(f"Python {sys.version.split()[0]}, websockets {version}, load {os.getloadavg()[0]:.1f}; medians of {turns}")
    print(f"{'':<42}", *(f"{title:>12}" for title in [*servers, *(f"{name}/bare" for name in list(servers)[1:])]))
    for experiment in options.only:
        print_rows(experiment, servers, turns)


if __name__ == "__main__":
    main()
