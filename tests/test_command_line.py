"""The command line, as a subprocess: what it prints, how it ends, and what a terminal shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from typing import Any, Iterator

import pytest
from websockets.exceptions import ConnectionClosed

import guessgame
from conftest import PATIENCE, PROJECT, SECRET, WELCOME, connect_deaf, eventually, wire
from guessgame import GameServer, Player

PROGRAM = [sys.executable, str(PROJECT / "guessgame.py")]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"input": "", "timeout": PATIENCE, **options}
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, encoding="utf-8", check=False, **options)


async def run_here(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command while the server of the test goes on serving."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: run(*arguments, **options))


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `serve` on a free port; yield the process and the address which it printed."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


# serve


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_serve_prints_its_address_at_once_and_plays_by_its_options(loop: str) -> None:
    refuse_uvloop = ["--no-uvloop"] * (loop == "asyncio")
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="there is no uvloop for Windows")
    with serving("--low", "7", "--high", "7", "--pause", "0", *refuse_uvloop) as (process, url):
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", url)
        async with wire(url, welcomed=False) as player:
            assert await player.hear() == "Добро пожаловать! Угадайте число от 7 до 7."
            await player.send({"guess": 7})
            assert await player.hear_all(3) == ["Вы угадали!", {"client_id": 1, "wins": 1}, "Новая игра началась!"]
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=PATIENCE)
    assert output == "", "the address is all there is on standard output"
    assert "#1 guessed 7, wins so far: 1" in log
    assert f"the event loop is that of {loop}" in log
    assert "WARNING" not in log


async def test_serve_warns_when_it_listens_beyond_this_machine() -> None:
    with serving("--host", "0.0.0.0") as (process, url):
        process.send_signal(signal.SIGINT)
        _output, log = process.communicate(timeout=PATIENCE)
    assert f"WARNING other machines can reach port {url.rpartition(':')[2]}: no password" in log


async def test_serve_asks_the_system_for_as_many_connections_as_there_may_be_players() -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        with serving("--max-players", "300") as (process, url):
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            async with contextlib.AsyncExitStack() as stack:
                players = [await stack.enter_async_context(wire(url)) for _ in range(300)]
                assert await players[-1].ask({"guess": 0}) != ""
            process.send_signal(signal.SIGINT)
            _output, log = process.communicate(timeout=PATIENCE)
        assert "WARNING" not in log
        if before[1] != resource.RLIM_INFINITY:
            with serving("--max-players", str(before[1] + 1)) as (process, url):
                process.send_signal(signal.SIGINT)
                _output, log = process.communicate(timeout=PATIENCE)
            assert f"WARNING only {before[1]} open files are allowed" in log
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sends_everybody_home_with_1001_and_status_0(number: int) -> None:
    with serving() as (process, url):
        async with wire(url) as first, wire(url) as second:
            process.send_signal(number)
            for player in (first, second):
                with pytest.raises(ConnectionClosed) as closed:
                    await player.hear()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
        _output, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "Traceback" not in log


async def test_a_signal_ends_it_although_a_player_never_reads_and_a_second_one_does_not_disturb() -> None:
    with serving() as (process, url):
        async with wire(url):
            with await connect_deaf(int(url.rpartition(":")[2])):
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
                process.send_signal(signal.SIGINT)
                _output, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_port_in_use_is_one_line_and_status_1() -> None:
    with serving() as (_, url):
        port = url.rpartition(":")[2]
        second = run("serve", "--port", port)
    assert second.returncode == 1
    assert second.stdout == ""
    assert re.fullmatch(rf"guessgame.py: port {port} is in use: .*--port.*\n", second.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "nonsense"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "-1"],
        ["serve", "--pause", "-1"],
        ["serve", "--pause", "nan"],
        ["serve", "--pause", "soon"],
        ["serve", "--low", "5", "--high", "3"],
        ["serve", "--low", "one"],
        ["serve", "--rate", "0"],
        ["serve", "--host", "no.such.host.invalid"],
        ["serve", "--nonsense"],
        ["play", "http://127.0.0.1:1"],
        ["play", "ws://127.0.0.1:1"],
        ["play", "ws://"],
        ["play", "nonsense"],
        ["play", "ws://" + "x" * 70],
        ["bots", "ws://127.0.0.1:1"],
        ["bots", "-n", "0"],
        ["bots", "--strategy", "telepathy"],
        ["bots", "--delay", "-1"],
        ["nonsense"],
        [],
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_one_line_on_stderr(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode in (1, 2)
    assert result.stdout == ""
    assert re.fullmatch(r"guessgame\.py.*: .*\n", result.stderr), "one line"


@pytest.mark.parametrize("command", ["", "serve", "play", "bots"])
def test_help_has_examples_and_defaults(command: str) -> None:
    result = run(*command.split(), "-h")
    assert result.returncode == 0
    assert "python guessgame.py" in result.stdout
    if command == "serve":
        for option, default in (
            ("host", "127.0.0.1"), ("port", "8765"), ("pause", "5.0"), ("low", "1"), ("high", "100"),
            ("max-size", "1024"), ("max-players", "1000"), ("rate", "2000"), ("max-backlog", "65536"),
            ("ping-interval", "20.0"), ("ping-timeout", "20.0"),
        ):  # fmt: skip
            assert re.search(rf"--{option} (?:(?!--).)*\(default:\s+{re.escape(default)}\)", result.stdout, re.DOTALL)


def test_the_commands_have_the_same_defaults_as_the_class() -> None:
    options = vars(guessgame.make_parser().parse_args(["serve"]))
    server = GameServer()
    for name in [
        "host",
        "port",
        "low",
        "high",
        "pause",
        "max_size",
        "max_players",
        "rate",
        "max_backlog",
        "ping_interval",
        "ping_timeout",
    ]:
        assert options[name] == getattr(server, name)


# play


async def test_play_answers_every_line_of_a_pipe_before_it_ends(server: GameServer) -> None:
    result = await run_here("play", server.url, "--name", "Аня", input='1\n100\n\nforty-two\n 50 \n{"guess": 43}\n42')
    assert result.returncode == 0
    assert result.stderr == ""
    words = [line.split("  (")[0] for line in result.stdout.splitlines()]
    assert words[:10] == [
        WELCOME, "Аня #1 is here.", "Type a number and press Enter; Ctrl-D or Ctrl-C leaves.", "Меньше", "Больше",
        "'' is not a whole number: type one like 42.",
        "'forty-two' is not a whole number: type one like 42.", "Больше", "Больше", "Вы угадали!",
    ]  # fmt: skip


async def test_play_says_once_what_the_russian_words_mean(server: GameServer) -> None:
    result = await run_here("play", server.url, input="1\n2\n101\n0\n")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{WELCOME}  (Welcome! Guess a number from 1 to 100.)"
    assert lines[2:4] == ["Меньше  (Less: YOUR number is smaller than the secret one, so go up.)", "Меньше  (go up)"]
    assert lines[4].endswith("""  (A guess is a whole number from 1 to 100: send, for example, {"guess": 50}.)""")
    assert lines[5].startswith("Догадка")
    assert "A guess" not in lines[5]


async def test_play_ends_quietly_when_the_server_leaves(server: GameServer) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "play", server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    await eventually(lambda: server.clients)
    await server.stop()
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors) == (0, b"")
    assert "has ended" in output.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_play_ends_quietly_with_a_signal(server: GameServer, number: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "play", server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while b"Type a number" not in await asyncio.wait_for(process.stdout.readline(), PATIENCE):
        pass
    process.send_signal(number)
    _output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors) == (0, b"")


async def test_a_terminal_without_cyrillic_shows_question_marks(server: GameServer) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = await run_here("play", server.url, input="1\n", env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "??????  (Less:" in result.stdout


pty = pytest.importorskip("pty", reason="a pseudo-terminal is a thing of Unix")


class Terminal:
    """A person's terminal, on which `play` runs: what is typed goes in, what the screen shows comes out."""

    def __init__(self, url: str, columns: int = 100, lines: int = 12) -> None:
        import pyte

        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        pid, self.master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", COLUMNS=str(columns), LINES=str(lines))
            os.execv(sys.executable, [*PROGRAM, "play", url])
        self.pid = pid
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def _read(self) -> None:
        try:
            self._stream.feed(os.read(self.master, 65536))
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self.master)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    async def wait_for_last_line(self, text: str) -> None:
        await eventually(lambda: self.lines and self.lines[-1] == text)

    async def wait_for_exit(self) -> int:
        status: list[int] = []

        def ended() -> bool:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(code)
            return bool(pid)

        await eventually(ended)
        return status[0]


# Python 3.12 and later warn that a fork of a process with threads may hang; the child becomes another program at once.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("columns", [100, 40])
async def test_messages_do_not_tear_the_line_which_is_being_typed(server: GameServer, columns: int) -> None:
    terminal = Terminal(server.url, columns)
    await terminal.wait_for_last_line("Your guess:")
    for number in range(20):  # more than fit on the screen
        terminal.type(str(number % 10))
        typed = "Your guess: " + "".join(str(digit % 10) for digit in range(number + 1))
        await terminal.wait_for_last_line(typed)
        server.broadcast(f"An announcement, and not a short one: number {number}.")
        await eventually(lambda: f"number {number}." in "".join(terminal.lines))  # noqa: B023
        assert terminal.lines[-1] == typed
        assert terminal.screen.cursor.x == len(typed)
    terminal.type("\x15" + str(SECRET) + "\n")  # Ctrl-U clears the line
    await eventually(lambda: any("Вы угадали!" in line for line in terminal.lines))
    await terminal.wait_for_last_line("Your guess:")
    terminal.type("\x04")  # Ctrl-D
    assert await terminal.wait_for_exit() == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_ctrl_c_ends_play_in_a_terminal(server: GameServer) -> None:
    terminal = Terminal(server.url)
    await terminal.wait_for_last_line("Your guess:")
    terminal.type("12\x03")
    assert await terminal.wait_for_exit() == 0
    assert not any("Traceback" in line for line in terminal.lines)


# bots


async def test_bots_play_rounds_and_print_a_scoreboard(server: GameServer) -> None:
    arguments = ["-n", "3", "--strategy", "bisection", "counting", "--delay", "0", "--rounds", "4"]
    result = await run_here("bots", server.url, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"3 bots play on {server.url}; Ctrl-C ends it."
    assert [re.sub(r"\w+-\d", "BOT", line) for line in lines[1:5]] == [
        f"Round {number}: BOT found 42." for number in range(1, 5)
    ]
    table = [line.split() for line in lines[5:]]
    assert table[0] == ["bot", "wins", "guesses"]
    assert sorted(row[0] for row in table[1:]) == ["bisection-1", "bisection-3", "counting-2"]
    wins = [int(row[1]) for row in table[1:]]
    assert wins == sorted(wins, reverse=True)
    assert sum(wins) == 4


async def test_bots_whose_names_are_taken_play_under_others(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=bisection-1"):
        result = await run_here(
            "bots", server.url, "-n", "1", "--strategy", "bisection", "--delay", "0", "--rounds", "1"
        )
    assert re.search(r"^Round 1: bisection-1-\d+ found 42\.$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("ending", ["signal", "server"])
async def test_bots_print_the_scoreboard_however_they_end(server: GameServer, ending: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "bots", server.url, "--delay", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    await eventually(lambda: server.rounds_played > 2)
    if ending == "signal":
        process.send_signal(signal.SIGINT)
    else:
        await server.stop()
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors.decode()) == (0, "")
    lines = output.decode().splitlines()
    assert lines[-6].split() == ["bot", "wins", "guesses"]
    assert (lines[-7].endswith("the server has stopped (close code 1001).")) == (ending == "server")


@pytest.mark.parametrize(
    "command", ["serve --port 0 | true", "bots URL --delay 0 --rounds 3 | head -1", "play URL | head -1"]
)
async def test_a_reader_who_leaves_early_is_no_traceback(server: GameServer, command: str) -> None:
    shell = f"timeout -s INT 3 {PROGRAM[0]} {PROGRAM[1]} {command.replace('URL', server.url)}"
    process = await asyncio.create_subprocess_shell(shell, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors


async def test_play_without_any_input_ends_at_once(server: GameServer) -> None:
    shell = f"{PROGRAM[0]} {PROGRAM[1]} play {server.url} <&-"
    process = await asyncio.create_subprocess_shell(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors) == (0, b"")
    assert WELCOME in output.decode()


# Where a loop is running already


def test_main_runs_inside_a_running_loop() -> None:
    program = """
import asyncio, sys
import guessgame

async def main():
    async with guessgame.GameServer(port=0, pause=0) as server, guessgame.Player(server.url) as player:
        assert guessgame.main(["bots", server.url, "-n", "2", "--delay", "0", "--rounds", "3"]) == 0
        assert guessgame.main(["bots", "ws://127.0.0.1:1"]) == 1
        assert "Новая игра началась!" in player.received

asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Round 3:" in result.stdout
    assert len(result.stderr.splitlines()) == 1


def test_importing_the_module_needs_websockets_alone() -> None:
    program = """
import sys
for name in ("nest_asyncio", "nest_asyncio2", "ipywidgets", "IPython", "jupyterlab"):
    sys.modules[name] = None
import guessgame
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, timeout=PATIENCE)


async def test_the_address_in_the_examples_is_where_serve_listens() -> None:
    assert f"ws://{GameServer().host}:{GameServer().port}" == guessgame.DEFAULT_URL
    assert isinstance(Player(guessgame.DEFAULT_URL), Player)
