"""The command line: what it prints, how it ends, and what a terminal shows."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
from typing import Any, AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

import guessgame
from conftest import (
    NEW_GAME,
    PROGRAM,
    PROJECT,
    WELCOME,
    ended,
    eventually,
    join_deaf,
    started,
    strange_server,
    terminal,
    wire,
)
from guessgame import Bot, GameServer


@contextlib.asynccontextmanager
async def serving(arguments: str = "", *shell: str, **options: Any) -> AsyncIterator[tuple[Any, str]]:
    """Run `serve` on a free port, maybe from a shell; yield the process and the address it has printed."""
    options = {"env": {**os.environ, "PYTHONUNBUFFERED": ""}, **options}
    async with started(*shell, *PROGRAM, "serve", "--port", "0", *arguments.split(), **options) as process:
        yield process, (await process.stdout.readline()).decode().strip()


async def run(command: str, typed: str = "", **options: Any) -> tuple[int, str, str]:
    """Run a command to its end; return its status, its output and its errors."""
    async with started(*PROGRAM, *command.split(), **options) as process:
        return await ended(process, typed)


# serve


async def test_serve_prints_its_address_at_once_and_nothing_else() -> None:
    async with serving() as (process, url):
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", url)
        process.send_signal(signal.SIGINT)
        status, output, log = await ended(process)
    assert (status, output, "WARNING" in log) == (0, "", False)
    assert log.endswith(f" INFO browsers play on http{url[2:]}/\n")


async def test_serve_plays_by_its_options() -> None:
    options = "--low 7 --high 7 --pause 0 --cooldown 3600 --max-players 1 --rate 50000"
    async with serving(f"{options} --origin https://game.example --origin https://b.example") as (process, url):
        with pytest.raises(InvalidStatus, match="403"):
            await wire(url, origin="https://evil.example").__aenter__()
        async with wire(url, welcomed=False, origin="https://game.example") as player:
            assert await player.hear() == "Добро пожаловать! Угадайте число от 7 до 7."
            await player.send({"guess": 7})
            assert await player.hear_all(3) == ["Вы угадали!", {"client_id": 1, "wins": 1}, NEW_GAME]
            assert "через 3600 с" in (await player.ask({"guess": 7}))["error"]
            with pytest.raises(InvalidStatus, match="503"):
                await wire(url).__aenter__()
        process.send_signal(signal.SIGINT)
        _, _, log = await ended(process)
    assert "INFO #1 '' guessed 7\n" in log


async def test_serve_beyond_this_machine_warns_and_says_where_a_browser_plays() -> None:
    async with serving("--host 0.0.0.0") as (process, url):
        async with wire(url):  # an address for this machine
            process.send_signal(signal.SIGINT)
        _, _, log = await ended(process)
    assert "WARNING other machines can reach this server: no password, no encryption\n" in log
    pages = re.search(r"browsers play on (.+)", log)
    assert pages
    for page in re.findall(r"http\S*", pages[1]):
        assert re.fullmatch(rf"http://(?!127\.)\d+\.\d+\.\d+\.\d+:{url.rpartition(':')[2]}/", page)


async def test_serve_says_if_the_system_has_no_room_for_so_many_players() -> None:
    async with serving("--max-players 100", "/bin/sh", "-c", 'ulimit -n 60; exec "$@"', "sh") as (process, _):
        process.send_signal(signal.SIGINT)
        _, _, log = await ended(process)
    assert "WARNING the system allows only 60 open files: see ulimit -n\n" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_in_the_middle_of_the_game_sends_everybody_home(number: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        process, url = await stack.enter_async_context(serving("--low 7 --high 7 --pause 0"))
        bots = [await stack.enter_async_context(Bot(url, delay=0)) for _ in range(20)]
        playing = [asyncio.ensure_future(bot.play()) for bot in bots]
        await eventually(lambda: bots[0].rounds > 20)
        process.send_signal(number)
        await asyncio.gather(*playing)
        status, _, log = await ended(process)
    assert ["1001" in str(bot.gone) for bot in bots] == [True] * 20
    assert status == 0
    assert "Traceback" not in log


async def test_a_second_signal_does_not_disturb_the_farewell() -> None:
    async with serving() as (process, url), wire(url) as player:
        with await join_deaf(int(url.rpartition(":")[2])):  # who never says goodbye
            process.send_signal(signal.SIGTERM)
            assert await player.hear_goodbye() == 1001
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            status, _, log = await ended(process)
    assert (status, "Traceback" in log, "#2 '' is gone: the server has stopped" in log) == (0, False, True)


async def test_a_log_that_nobody_reads_stops_neither_the_game_nor_the_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 1000)
    os.set_blocking(writing, True)
    async with serving("--low 7 --high 7 --pause 0", stderr=writing) as (process, url):
        os.close(writing)
        async with wire(url, welcomed=False) as player:
            for _ in range(100):  # each makes a line
                await player.send({"guess": 7})
                await player.hear_until(NEW_GAME)
            process.send_signal(signal.SIGTERM)
            assert await player.hear_goodbye() == 1001
        assert await asyncio.wait_for(process.wait(), 10) == 0
    os.close(reading)


async def test_a_port_in_use_is_one_line_that_says_what_to_do(server: GameServer) -> None:
    status, output, errors = await run(f"serve --port {server.port}")
    assert (status, output) == (1, "")
    where = rf"guessgame\.py: cannot listen on 127\.0\.0\.1:{server.port}: "
    assert re.fullmatch(where + r".*already in use.*; end the other program, or choose another port.*\n", errors)


# Complaints and help

COMPLAINTS = [
    "2 ", "2 nonsense", "2 serve --nonsense", "2 serve --port nonsense", "2 serve --pause soon", "2 serve --low one",
    "2 bots --strategy telepathy", "1 bots ws://127.0.0.1:1", "1 bots -n 0", "1 bots --delay -1", "1 serve --rate 0",
    "1 serve --port 99999", "1 serve --port -1", "1 serve --pause -1", "1 serve --pause nan", "1 serve --max-players 0",
    "1 serve --low 5 --high 3", "1 play http://127.0.0.1:1", "1 play ws://127.0.0.1:1", "1 play ws://",
    "1 play nonsense", "1 serve --host 192.0.2.1", f"1 play ws://{'x' * 70}",
]  # fmt: skip


@pytest.mark.parametrize("complaint", COMPLAINTS)
async def test_what_cannot_be_done_is_one_line_on_stderr(complaint: str) -> None:
    expected, _, command = complaint.partition(" ")
    status, output, errors = await run(command)
    assert (str(status), output) == (expected, "")
    assert re.fullmatch(r"guessgame\.py.*: .*\n", errors), "one line"


@pytest.mark.parametrize("command", ["", "serve", "play", "bots"])
async def test_help_has_examples_and_defaults(command: str) -> None:
    status, output, errors = await run(f"{command} -h")
    assert (status, errors) == (0, "")
    assert f"python guessgame.py {command}" in output
    if command:
        options = vars(guessgame.make_parser().parse_args([command]))
        parameters = inspect.signature(GameServer).parameters
        for name in set(options) - {"run", "origins", "name", "rounds", "url", "strategy"}:
            option, default = name.replace("_", "-"), re.escape(str(options[name]))
            assert re.search(rf"--?{option} (?:(?! -).)*\(default:\s+{default}\)", output, re.DOTALL)
            assert command != "serve" or options[name] == parameters[name].default


# play


async def test_play_answers_every_line_of_a_pipe_with_words_and_their_meaning(server: GameServer) -> None:
    typed = '1\n100\n\nforty-two\n 50 \n{"guess": 43}\n101\n42'
    status, output, errors = await run(f"play {server.url} --name Аня", typed)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[:9] == [
        f'"{WELCOME}"  Welcome! Guess a number from 1 to 100.',
        '{"client_id": 1, "name": "Аня", "wins": 0, "you": true}',
        "Type a number and press Enter; to leave, press Ctrl-D or Ctrl-C.",
        '"Меньше"  Less: YOUR number is the smaller one, so go up.',
        '"Больше"  More: YOUR number is the bigger one, so go down.',
        "'' is no whole number: type one like 42.",
        "'forty-two' is no whole number: type one like 42.",
        '"Больше"  More: YOUR number is the bigger one, so go down.',
        """'{"guess": 43}' is no whole number: type one like 42.""",
    ]
    assert re.fullmatch(r'{"error": "Догадка .*"}  A guess is a whole number from 1 to 100.*', lines[9])
    assert lines[10] == '"Вы угадали!"  You guessed it!'


@pytest.mark.parametrize("ending", ["the server leaves", "Ctrl-C"])
async def test_play_ends_quietly(server: GameServer, ending: str) -> None:
    async with started(*PROGRAM, "play", server.url) as process:
        await process.stdout.readuntil(b"Type a number")
        if ending == "the server leaves":
            await server.stop()
        else:
            process.send_signal(signal.SIGINT)
        status, output, errors = await ended(process)
    assert (status, errors) == (0, "")
    assert ("has ended" in output) == (ending == "the server leaves")


async def test_play_without_any_input_ends_at_once(server: GameServer) -> None:
    async with started("/bin/sh", "-c", '"$@" <&-', "sh", *PROGRAM, "play", server.url) as process:
        status, output, errors = await ended(process)
    assert (status, errors) == (0, "")
    assert WELCOME in output


async def test_a_terminal_without_cyrillic_shows_question_marks(server: GameServer) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    status, output, errors = await run(f"play {server.url}", "1\n", env=environment)
    assert (status, errors) == (0, "")
    assert '"??????"  Less:' in output


@pytest.mark.parametrize("name", ["Anna", "Я" * 32])
@pytest.mark.parametrize(("columns", "leave"), [(100, "\x04"), (40, "12\x03")], ids=["Ctrl-D", "Ctrl-C"])
async def test_messages_do_not_tear_the_line_that_is_being_typed(
    server: GameServer, columns: int, leave: str, name: str
) -> None:
    async with terminal(*PROGRAM, "play", server.url, columns=columns) as person:
        await person.expect("Ctrl-C.")
        typed = ""
        for number in range(20):  # more than fit on the screen
            person.type(str(number % 10))
            typed += str(number % 10)
            await person.wait_for_last_line(typed)
            server.game.broadcast(f"An announcement, and not a short one, of {name}: number {number}.")
            await eventually(lambda: f"number {number}." in "".join(person.lines))  # noqa: B023
            await eventually(lambda: (person.lines[-1], person.screen.cursor.x) == (typed, len(typed)))  # noqa: B023
        person.type("\x15")  # Ctrl-U clears the line
        person.type("42\n")
        await person.expect("Новая игра началась")
        person.type(leave)
        assert await person.process.wait() == 0
        assert not any("Traceback" in line for line in person.lines)


EVIL = "\x1b[2J"  # clears the screen
HEAR = ServerConnection.recv  # wait for a message
BEGINNING = [WELCOME, HEAR, {"client_id": 1, "name": "bisection-1", "wins": 0, "you": True}, HEAR]
SCRIPTS: dict[str, list[Any]] = {
    "in the name of a player": [*BEGINNING, "Вы угадали!", {"client_id": 1, "name": EVIL, "wins": 1}, NEW_GAME],
    "in one's own name": [WELCOME, HEAR, {"client_id": 1, "name": EVIL, "wins": 0, "you": True}, HEAR, {"you": EVIL}],
    "as an error": [*BEGINNING, {"error": EVIL}],
    "in a sentence": [*BEGINNING, f"Игрок {EVIL} угадал число 5!"],
    "before the welcome": [],
}


@pytest.mark.parametrize("where", SCRIPTS)
@pytest.mark.parametrize(
    "command", ["play {} --name bisection-1", "bots {} -n 1 --strategy bisection --delay 0 --rounds 2"]
)
async def test_no_server_can_control_the_terminal(command: str, where: str) -> None:
    async def say_goodbye(connection: ServerConnection) -> None:
        await connection.close(1000, EVIL)

    async with strange_server(*SCRIPTS[where], say_goodbye, close_timeout=10) as url:
        _, output, errors = await run(command.format(url), "50\n50\n")
    assert "\x1b" not in output + errors
    assert "Traceback" not in errors
    assert "[2J" in output + errors


# bots


async def test_bots_print_what_the_first_one_hears_and_the_scores(server: GameServer) -> None:
    command = f"bots {server.url} -n 3 --strategy bisection counting --delay 0 --rounds 4"
    status, output, errors = await run(command)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "3 bots play; this is what the first one hears. To stop: Ctrl-C."
    assert sum("угадал" in line for line in lines) >= 4
    assert f'"{NEW_GAME}"  A new game has begun!' in lines
    table = [line.split() for line in lines[-4:]]
    assert table[0] == ["bot", "wins", "guesses"]
    assert sorted(row[0] for row in table[1:]) == ["bisection-1", "bisection-3", "counting-2"]
    wins = [int(row[1]) for row in table[1:]]
    assert wins == sorted(wins, reverse=True)
    assert sum(wins) >= 4
    assert all(int(row[2]) >= int(row[1]) for row in table[1:])


async def test_bots_whose_names_are_taken_play_all_the_same(server: GameServer) -> None:
    async with wire(f"{server.url}/?name=bisection-1"):
        status, output, _ = await run(f"bots {server.url} -n 1 --strategy bisection --delay 0 --rounds 1")
    assert status == 0
    assert re.search(r"^.+ 1 +7$", output, re.MULTILINE)
    assert "None" not in output


@pytest.mark.parametrize("ending", ["signal", "server"])
async def test_bots_print_the_scores_however_they_end(server: GameServer, ending: str) -> None:
    async with started(*PROGRAM, "bots", server.url, "--delay", "0") as process:
        await eventually(lambda: server.game.rounds_begun > 3)
        if ending == "signal":
            process.send_signal(signal.SIGINT)
        else:
            await server.stop()
        status, output, errors = await ended(process)
    assert status == 0
    if ending == "server" or sys.version_info >= (3, 11):  # before, Ctrl-C could hit any task, which then complains
        assert errors == ""
    lines = output.splitlines()
    assert lines[-6].split() == ["bot", "wins", "guesses"]
    assert sum(int(line.split()[1]) for line in lines[-5:]) >= 1


@pytest.mark.parametrize("command", ["serve --port 0", "bots {} --delay 0 --rounds 3", "play {}"])
async def test_a_reader_who_leaves_early_causes_no_traceback(server: GameServer, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = command.format(server.url).split()
    async with started(*PROGRAM, *arguments, stdin=subprocess.DEVNULL, stdout=writing) as process:
        os.close(writing)
        if arguments[0] == "serve":
            assert b"browsers play on" in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
        errors = await process.stderr.read()
        assert await process.wait() == 0
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors


async def test_importing_the_module_needs_only_websockets() -> None:
    others = ("nest_asyncio", "nest_asyncio2", "uvloop", "ipywidgets", "IPython", "jupyterlab", "psutil", "segno")
    program = f"import sys; sys.modules.update(dict.fromkeys({others})); import guessgame"
    async with started(sys.executable, "-c", program, cwd=PROJECT) as process:
        assert await ended(process) == (0, "", "")
