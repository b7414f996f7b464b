#!/usr/bin/env python3
"""Play "guess the number" over WebSocket: one server, any number of players.

The server draws a secret number. Every player sends guesses and hears whether *their own number* is the smaller or
the bigger one. Whoever finds the secret wins the round, everybody hears of it, and five seconds later a new round
begins. Each message is one JSON document in one text frame; the words are Russian, as the specification has them:

    from the client            the server answers
    {"guess": 42}              "Меньше" (less)  |  "Больше" (more)  |  "Вы угадали!" (you guessed it!)
    {"name": "Аня"}            {"client_id": 3, "name": "Аня", "wins": 0}
    anything else              {"error": "<a sentence that says what to send instead>"}

    when                       everybody hears
    on connecting              "Добро пожаловать! Угадайте число от 1 до 100."      (only the newcomer)
    somebody wins              "Игрок #3 угадал число 67!"                          (all but the winner)
    right after it             {"client_id": 3, "wins": 1}
    each second of the pause   {"countdown": 5} ... {"countdown": 1}
    after the pause            "Новая игра началась!"

Read on from top to bottom: the messages, the rules of a round, the server, the client, bots, the command line.
Or run it: `python guessgame.py serve`, then `python guessgame.py play` in other terminals.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import errno
import functools
import inspect
import io
import ipaddress
import itertools
import json
import logging
import math
import os
import random
import re
import secrets
import shutil
import signal
import socket
import sys
import threading
import unicodedata
import urllib.parse
from typing import Any, Callable, Coroutine, Dict, Iterable, NoReturn, Sequence, TypeVar, Union

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.uri import parse_uri

log = logging.getLogger("guessgame")

# --------------------------------------------------------------------------------------------------------------------
# Messages: all the words that travel, in one place for those who send them and those who understand them.
# --------------------------------------------------------------------------------------------------------------------

Message = Union[str, Dict[str, Any]]

WELCOME = "Добро пожаловать! Угадайте число от {low} до {high}."
LESS = "Меньше"
MORE = "Больше"
YOU_WON = "Вы угадали!"
SOMEBODY_WON = "Игрок {player} угадал число {number}!"
NEW_GAME = "Новая игра началась!"

ROUND_IS_OVER = f"Раунд окончен: дождитесь сообщения «{NEW_GAME}» и отправьте догадку снова."
BAD_GUESS = "Догадка — целое число от {low} до {high}: отправьте, например, {example}."
BAD_NAME = 'Имя — от 1 до 32 печатных знаков и не номер вроде #3: отправьте, например, {"name": "Аня"}.'
NAME_TAKEN = 'Такое имя уже занято: отправьте другое, например {"name": "Аня-2"}.'
NOT_TEXT = 'Двоичное сообщение непонятно: отправьте текст, например {"guess": 42}.'
NOT_JSON = 'Это не JSON: отправьте, например, {"guess": 42}.'
NOT_AN_OBJECT = 'Это не объект JSON: отправьте, например, {"guess": 42}.'
NOTHING_TO_DO = 'Здесь нет ни "guess", ни "name": отправьте, например, {"guess": 42} или {"name": "Аня"}.'
SERVER_IS_FULL = "Все места заняты: подключитесь позже."

ENGLISH = {
    WELCOME: "Welcome! Guess a number from {low} to {high}.",
    LESS: "Less: YOUR number is smaller than the secret one, so go up.",
    MORE: "More: YOUR number is bigger than the secret one, so go down.",
    YOU_WON: "You guessed it!",
    SOMEBODY_WON: "Player {player} guessed the number {number}!",
    NEW_GAME: "A new game has begun!",
    ROUND_IS_OVER: "The round is over: wait for the new game, then send your guess again.",
    BAD_GUESS: "A guess is a whole number from {low} to {high}: send, for example, {example}.",
    BAD_NAME: 'A name has 1 to 32 printable characters and is no number like #3: send, for example, {"name": "Аня"}.',
    NAME_TAKEN: 'This name is taken: send another one, for example {"name": "Аня-2"}.',
    NOT_TEXT: 'A binary message means nothing here: send text, for example {"guess": 42}.',
    NOT_JSON: 'This is not JSON: send, for example, {"guess": 42}.',
    NOT_AN_OBJECT: 'This is not a JSON object: send, for example, {"guess": 42}.',
    NOTHING_TO_DO: 'There is neither "guess" nor "name" in it: send, for example, {"guess": 42} or {"name": "Аня"}.',
}


json_encoder = json.JSONEncoder(ensure_ascii=False)


def encode(message: Message) -> str:
    """Write a message as JSON, with Cyrillic letters as they are."""
    return json_encoder.encode(message)


def read_template(template: str, text: str) -> dict[str, str] | None:
    """Find what was filled into a template: {"low": "1", "high": "100"} for a WELCOME, None for another text."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(template))
    match = re.fullmatch(pattern, text)
    return match.groupdict() if match else None


def recognise(text: str) -> tuple[str, dict[str, str]] | None:
    """Find the template which a sentence from the server was made from, and what was filled in."""
    for template in ENGLISH:
        values = read_template(template, text)
        if values is not None:
            return template, values
    return None


def translate(sentence: str) -> str:
    """Return what a sentence from the server means in English, or "" for one which it never says."""
    template, values = recognise(sentence) or ("", {})
    meaning = ENGLISH.get(template, "")
    return meaning.format(**values) if values else meaning


def parse_request(data: str | bytes) -> dict[str, Any]:
    """Read a client's message: a JSON object with "guess" or "name".

    Raises ValueError, with a sentence for the sender, when it is anything else.
    """
    if isinstance(data, bytes):
        raise ValueError(NOT_TEXT)
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):  # RecursionError: a thousand opening brackets
        raise ValueError(NOT_JSON) from None
    if not isinstance(request, dict):
        raise ValueError(NOT_AN_OBJECT)
    if "guess" not in request and "name" not in request:
        raise ValueError(NOTHING_TO_DO)
    return request


# --------------------------------------------------------------------------------------------------------------------
# Rules: one round, without any network.
# --------------------------------------------------------------------------------------------------------------------


def draw_secret(low: int, high: int) -> int:
    """Draw a number from low to high, both included, which nobody can predict."""
    return low + secrets.randbelow(high - low + 1)


class Round:
    """Judge the guesses of one round, until one of them is right.

    Serves the specification's "Логика игры". Raises ValueError when the secret is not within low..high.
    """

    def __init__(self, secret: int, low: int = 1, high: int = 100) -> None:
        if not low <= secret <= high:
            raise ValueError(f"the secret {secret} is not within {low}..{high}: draw a number of that range")
        self.secret, self.low, self.high = secret, low, high
        self.over = False

    def guess(self, number: object) -> str:
        """Return LESS, MORE or YOU_WON; the first right guess ends the round.

        Raises ValueError, with a sentence for the player, for anything but a whole number in the range, and for
        every guess after the end. There is no `await` between the question whether the round is over and the answer
        that it is now: this alone is why a round can have only one winner, however many guesses arrive together.
        """
        if self.over:
            raise ValueError(ROUND_IS_OVER)
        # type() and not isinstance(): in Python True is an int, in the game it is not a number.
        if type(number) is not int or not self.low <= number <= self.high:
            example = encode({"guess": (self.low + self.high) // 2})
            raise ValueError(BAD_GUESS.format(low=self.low, high=self.high, example=example))
        if number < self.secret:
            return LESS
        if number > self.secret:
            return MORE
        self.over = True
        return YOU_WON


def fold(name: str) -> str:
    """Make names equal which a reader would take for the same: Аня, АНЯ; ANNA, Ａｎｎａ."""
    return unicodedata.normalize("NFKC", name).casefold()


def check_name(name: object) -> str:
    """Return the name as it will be shown: without spaces around it.

    Serves the bonus task "Поддержка имён клиентов". Raises ValueError, with a sentence for the player, when the name is
    not 1 to 32 printable characters, or looks like an id.
    """
    name = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(name) <= 32 or not name.isprintable() or re.fullmatch(r"#\s*\d+", fold(name)):
        raise ValueError(BAD_NAME)
    return name


# --------------------------------------------------------------------------------------------------------------------
# Server
# --------------------------------------------------------------------------------------------------------------------

# How long, in seconds, a connection may take to say goodbye before it is cut.
CLOSE_TIMEOUT = 1.0
# How many connections may be shaking hands when all the players are there.
HANDSHAKES = 100
# The longest pause or timeout, in seconds: a day.
LONGEST = 86_400

# websockets reports on its own in great detail. Of that, only warnings belong into the game's log, and of those not the
# traceback which versions 13 to 16 print for every bad handshake: GameServer logs a refusal in one line.
wire_log = logging.getLogger("guessgame.websockets")
wire_log.setLevel(logging.WARNING)
wire_log.addFilter(lambda record: record.msg != "opening handshake failed")


@dataclasses.dataclass(eq=False)
class Client:
    """One connected player, as the server knows them."""

    id: int
    connection: GameConnection
    name: str | None = None
    wins: int = 0
    next_turn: float = -math.inf

    def __str__(self) -> str:
        """Write the player for the log; quotes keep a name from looking like a part of it."""
        return f"#{self.id} {self.name!r}" if self.name else f"#{self.id}"

    @property
    def label(self) -> str:
        """What others call this player: the name, or "#3"."""
        return self.name or f"#{self.id}"

    def score(self) -> Message:
        """Build the message {"client_id": 3, "name": "Аня", "wins": 1}; no "name" without a name."""
        name = {"name": self.name} if self.name else {}
        return {"client_id": self.id, **name, "wins": self.wins}

    async def send(self, message: Message) -> None:
        """Send one message; wait while this player's own connection is full."""
        if self.connection.transport.get_write_buffer_size() > 0:
            await self.connection.send(encode(message))
        else:
            broadcast([self.connection], encode(message))  # there is room: this is the shorter way

    def delay(self, rate: float) -> float:
        """Count one more message; return how many seconds it has to wait, at `rate` messages a second.

        A tenth of a second's worth may come at once, or one message if the rate is below that.
        """
        now = asyncio.get_running_loop().time()
        burst = max(0.1, 1 / rate)
        self.next_turn = max(self.next_turn, now - burst) + 1 / rate
        return max(0.0, self.next_turn - now)


class GameConnection(ServerConnection):
    """Watch over what the library leaves open: too much waiting, too many connections, players who are half gone."""

    # Slots, for with some attributes more Python would give each connection a bigger dictionary: 1.5 KiB a player.
    __slots__ = ("client", "game", "held_back", "just_arrived", "silence")
    game: GameServer
    client: Client | None  # None until the handshake is over
    just_arrived: bool  # data of which nothing has been answered yet
    held_back: bool  # waits for its turn, see Client.delay()
    silence: float  # seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.client, self.just_arrived, self.held_back, self.silence = None, False, False, 0.0
        self.game.connections.add(self)
        # Those who connect and then say nothing must not use up all the connections which the system grants.
        if len(self.game.connections) > self.game.max_players + HANDSHAKES:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.just_arrived, self.silence = True, 0.0
        self.cut_off_if_full()  # the library answers pings by itself, and waits for nobody to read the pongs

    def eof_received(self) -> None:
        super().eof_received()
        # Who has said goodbye, but does not read ours, would stay for ever.
        self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.game.connections.discard(self)
        self.game.forget(self.client)
        super().connection_lost(exc)

    def cut_off_if_full(self) -> None:
        """Cut off a player who does not read. Keepalive would not: its ping, too, waits behind all that is unread."""
        waiting = self.transport.get_write_buffer_size()
        if waiting > self.game.max_backlog:
            log.warning("%s does not read and is cut off: %d bytes were waiting", str(self), waiting)
            self.transport.abort()

    def cut_off_if_silent(self, passed: float, allowed: float) -> None:
        """Cut off a player of whom nothing has been heard for too many seconds, not even the answer to a ping.

        The seconds are added up check by check and not read off a clock, for nobody is to blame for the time when this
        program itself, or the whole machine, was asleep.
        """
        self.silence = 0.0 if self.held_back else self.silence + passed
        if self.silence > allowed:
            log.warning("%s is silent and is cut off", str(self))
            self.transport.abort()

    def __str__(self) -> str:
        return str(self.client or self.remote_address)


class GameServer:
    """Serve the game to everybody who connects.

        async with GameServer(port=0) as server:
            print(server.url)

    Serves the specification's parts "WebSocket-сервер", "Логика игры", "Управление клиентами" and all the bonus tasks.

    host, port      where to listen; port 0 takes a free one, which `port` and `url` tell after the start
    low, high       the range of the secret number
    pause           seconds from a win to the new round; may be changed at any time, for the next pause
    draw            how a secret is drawn: (low, high) -> number; lessons and tests put their own function here
    max_size        bytes of the largest message; a larger one ends its connection with close code 1009
    max_players     one more is refused with HTTP 503
    rate            messages per second of one player; those above it are answered later
    max_backlog     bytes that may wait for a player who does not read; with more waiting the player is cut off
    origins         web pages which may connect, like "https://example.org"; None: all; other programs always may
    ping_interval   seconds between keepalive pings; None: no pings
    ping_timeout    seconds to answer a ping before the connection counts as dead; None: for ever

    Raises ValueError when a value makes no sense.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        *,
        low: int = 1,
        high: int = 100,
        pause: float = 5.0,
        draw: Callable[[int, int], int] = draw_secret,
        max_size: int = 1024,
        max_players: int = 1000,
        rate: float = 2000.0,
        max_backlog: int = 64 * 1024,
        origins: Sequence[str] | None = None,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
    ) -> None:
        if low > high:
            raise ValueError(f"the range {low}..{high} is empty: low must not be above high")
        limits = {"max_size": max_size, "max_players": max_players, "rate": rate, "max_backlog": max_backlog}
        for name, value in limits.items():
            if value < 1:
                raise ValueError(f"{name} cannot be {value}: give 1 or more")
        for seconds in (ping_interval, ping_timeout):
            if seconds is not None and not 0 < seconds <= LONGEST:
                raise ValueError(f"a ping cannot take {seconds} s: give more than 0, {LONGEST} at most, or None")
        if isinstance(origins, str):
            raise ValueError(f"origins is a list: give [{origins!r}]")
        self.host, self.port = host, port
        self.low, self.high, self.draw = low, high, draw
        self.pause = pause
        self.max_size, self.max_players, self.rate, self.max_backlog = max_size, max_players, rate, max_backlog
        self.origins, self.ping_interval, self.ping_timeout = origins, ping_interval, ping_timeout
        self.clients: dict[int, Client] = {}
        self.connections: set[GameConnection] = set()  # those which are still shaking hands, too
        self.round: Round
        self.rounds_played = 0
        self._named: dict[str, Client] = {}  # by folded name
        self._ids = itertools.count(1)
        self._server: Server | None = None
        self._starting = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pause(self) -> float:
        """Seconds from a win to the new round. Raises ValueError for less than 0 or more than a day."""
        return self._pause

    @pause.setter
    def pause(self, seconds: float) -> None:
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"the pause cannot be {seconds}: give the seconds, from 0 to {LONGEST}")
        self._pause = seconds

    # Starting and stopping

    async def __aenter__(self) -> GameServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Draw the first number and listen.

        After `stop()` the server can be started again; it then listens on the same port.
        Raises OSError when the port is in use, RuntimeError when the server is running already.
        """
        if self._server is not None or self._starting:
            raise RuntimeError("the server is running already: stop it first")
        self._starting = True
        try:
            self.round = Round(self.draw(self.low, self.high), self.low, self.high)
            self._server = await serve(
                self._play_with,
                self.host,
                self.port,
                process_request=self._refuse_when_full,
                process_response=self._log_refusal,
                create_connection=self._create_connection,  # type: ignore[arg-type]  # "a wrapper or a subclass"
                # A program which is not a browser sends no Origin; it could send any.
                origins=None if self.origins is None else [*self.origins, None],  # type: ignore[list-item]
                compression=None,  # it costs memory for each player and gains nothing on messages this short
                max_size=self.max_size,
                ping_interval=self.ping_interval,
                ping_timeout=None,  # the answer may be stuck behind a flood: _cut_off_the_silent() knows better
                close_timeout=CLOSE_TIMEOUT,
                logger=wire_log,
                backlog=1024,  # a whole class connects in the same moment
            )
        finally:
            self._starting = False
        for listening in self._server.sockets:
            # One read then takes in a few hundred messages of a player who floods, not thousands: the others wait less.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        addresses = [listening.getsockname() for listening in self._server.sockets]
        self._address, self.port = addresses[0][:2]
        if not all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for address in addresses):
            log.warning("other machines can reach port %d: no password, no encryption; not for the Internet", self.port)
        if self.ping_interval is not None and self.ping_timeout is not None:
            self._start_task(self._cut_off_the_silent(self.ping_interval, self.ping_timeout))
        log.info("the first round begins: guess a number from %d to %d", self.low, self.high)

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)  # the event loop itself holds only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Say goodbye to everybody with close code 1001 and stop listening, within two seconds.

        Safe to call at any moment after `start()`, also twice. Whoever does not answer the goodbye in time is cut off.
        """
        if self._server is None:
            return
        self._cut_off_who_does_not_read()
        self._server.close()
        closed = asyncio.ensure_future(self._server.wait_closed())
        await asyncio.wait({closed}, timeout=CLOSE_TIMEOUT)
        # The library waits without limit for a player who does not read, and for a handshake which never ends.
        for connection in list(self.connections):
            connection.transport.abort()
        await closed
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self._server = None
        log.info("stopped")

    @property
    def running(self) -> bool:
        """Whether the server is between `start()` and `stop()`."""
        return self._server is not None

    @property
    def url(self) -> str:
        """The address for players on this machine, like ws://127.0.0.1:8765."""
        if self._server is None:
            raise RuntimeError("the server is not running: start it first")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._address, self._address)
        return f"ws://[{host}]:{self.port}" if ":" in host else f"ws://{host}:{self.port}"

    # The handshake

    def _create_connection(self, *args: Any, **kwargs: Any) -> GameConnection:
        connection = GameConnection(*args, **kwargs)
        connection.game = self
        return connection

    def _refuse_when_full(self, connection: ServerConnection, request: Request) -> Response | None:
        if len(self.clients) >= self.max_players:
            return connection.respond(503, SERVER_IS_FULL + "\n")
        return None

    def _log_refusal(self, connection: ServerConnection, request: Request, response: Response) -> None:
        if response.status_code != 101:
            log.warning("refused a connection from %s: HTTP %s", connection.remote_address, response.status_code)

    # One player, from the welcome to the goodbye

    async def _play_with(self, connection: ServerConnection) -> None:
        assert isinstance(connection, GameConnection)  # _create_connection has made it
        client = connection.client = Client(next(self._ids), connection)
        # The welcome is written before anybody else can know of this client: it is always the first message.
        self._write([client], WELCOME.format(low=self.low, high=self.high))
        self.clients[client.id] = client
        log.info("%s joined, %d here", str(client), len(self.clients))
        try:
            await self._greet_by_name(client)
            async for data in connection:
                delay = client.delay(self.rate)
                # Also without a delay, sleep() gives all the others a turn: messages which have arrived together would
                # otherwise be answered in one go.
                if delay or not connection.just_arrived:
                    connection.held_back = delay > 0
                    await asyncio.sleep(delay)
                    connection.held_back = False
                    if delay and client.id not in self.clients:
                        break  # left while waiting
                connection.just_arrived = False
                await self._answer(client, data)
        except ConnectionClosed:
            pass  # left without a goodbye, which is as good
        except (IndexError, UnicodeDecodeError):  # websockets 13 lets these through: the end, and text not in UTF-8
            await connection.close(CloseCode.INVALID_DATA)
        finally:
            self.forget(client)

    def forget(self, client: Client | None) -> None:
        """Take a player who has left off the list; safe to call twice."""
        if client is not None and self.clients.pop(client.id, None) is not None:
            self._forget_name(client)
            log.info("%s left, %d here", str(client), len(self.clients))

    async def _greet_by_name(self, client: Client) -> None:
        """Take the name out of ws://...?name=Аня, if there is one."""
        assert client.connection.request is not None  # the handshake is over
        query = client.connection.request.path.partition("?")[2]
        names = urllib.parse.parse_qs(query, keep_blank_values=True).get("name")
        if names:
            await self._answer(client, encode({"name": names[0]}))

    async def _answer(self, client: Client, data: str | bytes) -> None:
        try:
            request = parse_request(data)
            if "name" in request:
                await self._rename(client, request["name"])
            if "guess" in request:
                await self._judge(client, request["guess"])
        except ValueError as error:
            await client.send({"error": str(error)})

    async def _rename(self, client: Client, name: object) -> None:
        name = check_name(name)
        if self._named.get(fold(name), client) is not client:
            raise ValueError(NAME_TAKEN)
        self._forget_name(client)
        client.name = name
        self._named[fold(name)] = client
        log.info("%s has this name now", str(client))
        await client.send(client.score())

    def _forget_name(self, client: Client) -> None:
        if client.name is not None:
            del self._named[fold(client.name)]

    async def _judge(self, client: Client, number: object) -> None:
        verdict = self.round.guess(number)
        if verdict != YOU_WON:
            await client.send(verdict)
            return
        # From here to the end of the function nobody else gets a turn, so that everybody hears all of it in this order.
        client.wins += 1
        self.rounds_played += 1
        log.info("%s guessed %d, wins so far: %d", str(client), self.round.secret, client.wins)
        self._write([client], YOU_WON)
        others = [other for other in self.clients.values() if other is not client]
        self._write(others, SOMEBODY_WON.format(player=client.label, number=self.round.secret))
        self.broadcast(client.score())
        self._start_task(self._pause_and_begin_anew())

    # Rounds

    async def _pause_and_begin_anew(self) -> None:
        """Count the seconds down, then draw a new number."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.pause
        # Each sleep is measured from the end, so that small delays do not add up.
        for seconds in range(math.floor(self.pause), 0, -1):
            await asyncio.sleep(end - seconds - clock())
            self.broadcast({"countdown": seconds})
        await asyncio.sleep(end - clock())
        try:
            self.round = Round(self.draw(self.low, self.high), self.low, self.high)
        except Exception:
            log.exception("draw() failed, so another number is drawn")
            self.round = Round(draw_secret(self.low, self.high), self.low, self.high)
        log.info("a new round begins, %d here", len(self.clients))
        self.broadcast(NEW_GAME)

    # Sending

    async def send(self, client_id: int, message: Message) -> None:
        """Send a message to one client; wait while that client's own connection is full.

        Serves "может отправить сообщение каждому из них". Raises KeyError when nobody with this id is here,
        websockets' ConnectionClosed when the client leaves meanwhile.
        """
        if client_id not in self.clients:
            raise KeyError(f"nobody with the id {client_id} is here: the ids are {sorted(self.clients)}")
        # Not Client.send(), which says nothing when the client has just left.
        await self.clients[client_id].connection.send(encode(message))

    def broadcast(self, message: Message) -> None:
        """Send a message to every client, and wait for none of them."""
        self._cut_off_who_does_not_read()
        self._write(self.clients.values(), message)

    def _write(self, clients: Iterable[Client], message: Message) -> None:
        broadcast([client.connection for client in clients], encode(message))

    def _cut_off_who_does_not_read(self) -> None:
        for client in self.clients.values():
            client.connection.cut_off_if_full()

    async def _cut_off_the_silent(self, interval: float, timeout: float) -> None:
        while True:
            period = min(interval, timeout) / 2
            await asyncio.sleep(period)
            for client in self.clients.values():
                client.connection.cut_off_if_silent(period, interval + timeout)


# --------------------------------------------------------------------------------------------------------------------
# Client
# --------------------------------------------------------------------------------------------------------------------

# The game is played nearby. A proxy of the company, which websockets 15 and later obeys, would only be in the way.
CONNECT_OPTIONS: dict[str, Any] = {"proxy": None} if "proxy" in inspect.signature(connect).parameters else {}


# How long, in seconds, a player waits for the welcome, which comes at once from a server of this game.
WELCOME_TIMEOUT = 10.0


class ServerGone(ConnectionError):
    """Tell, in one sentence, that the server cannot be reached or has left."""


PlayerType = TypeVar("PlayerType", bound="Player")


class Player:
    """Play on a server, from code.

        async with Player("ws://127.0.0.1:8765", name="Аня") as player:
            print(await player.guess(50), player.low, player.high)

    url          where the server is
    name         what to be called, or None; if the server refuses it, `name` is None after connecting
    on_message   called with each message in the order of arrival, before anything waits for it goes on
    history      how many messages `received` keeps

    Then there are: `received`, the last messages since joining; `low` and `high`, the interval still possible in this
    round; `range`, the whole of it; `last_guess` and `last_verdict` of this round; `client_id`, once the server has
    told it; `guesses` and `wins`; `rounds`, how many rounds anybody has won; `round_over`, true from a win to the next
    round; `gone`, why there is no connection, or None; `connection`, the one of the library underneath.

    Serves the specification's "Пример простого клиента на Python".
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        *,
        on_message: Callable[[Message], None] | None = None,
        history: int = 1000,
    ) -> None:
        self.url, self.name, self.on_message = url, name, on_message
        self.received: collections.deque[Message] = collections.deque(maxlen=history)
        self.range = self.low, self.high = 1, 100
        self.last_guess: int | None = None
        self.last_verdict: str | None = None
        self.client_id: int | None = None
        self.guesses = self.wins = self.rounds = 0
        self.round_over = False
        self.gone: str | None = f"not connected to {url} yet: join first"
        self._welcomed = False
        self._score_follows: str | None = None  # whose: YOU_WON, SOMEBODY_WON
        self._requests: collections.deque[tuple[dict[str, Any], asyncio.Future[Message | None]]] = collections.deque()
        self._watchers: list[asyncio.Future[None]] = []

    # Joining and leaving

    async def __aenter__(self: PlayerType) -> PlayerType:
        await self.join()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.leave()

    async def join(self) -> None:
        """Connect, wait for the welcome, and ask for the name.

        A player may join again after leaving, or after the server has left.
        Raises ServerGone when no server of this game answers within 10 seconds, ValueError when the URL is wrong,
        RuntimeError when the player is connected already.
        """
        if self.gone is None:
            raise RuntimeError(f"connected to {self.url} already: leave first")
        self.connection = await self._connect()
        self.received.clear()
        self.gone = self.client_id = self._score_follows = None
        self.round_over = self._welcomed = False
        name, self.name = self.name, None  # until the server agrees
        self._reader = asyncio.ensure_future(self._read())
        timeout = asyncio.get_running_loop().call_later(WELCOME_TIMEOUT, self.connection.transport.abort)
        try:
            await self.wait_until(lambda: self._welcomed)
            if name is not None:
                await self.rename(name)
        except BaseException:  # a cancelled join, too, leaves nothing behind
            self.name = name
            self.connection.transport.abort()
            raise
        finally:
            timeout.cancel()

    async def _connect(self) -> ClientConnection:
        try:
            parse_uri(self.url)
        except (InvalidURI, ValueError) as error:
            raise ValueError(f"{self.url!r} is no address of a server: give one like ws://127.0.0.1:8765.") from error
        try:
            return await connect(self.url, compression=None, close_timeout=CLOSE_TIMEOUT, **CONNECT_OPTIONS)
        except InvalidStatus as error:
            reason = "it is full" if error.response.status_code == 503 else f"HTTP {error.response.status_code}"
            raise ServerGone(f"The server at {self.url} lets nobody in: {reason}.") from error
        except (OSError, EOFError, ValueError, asyncio.TimeoutError, WebSocketException) as error:
            raise ServerGone(
                f"No server answers at {self.url} ({error or 'it took too long'}): "
                "check the address, or start a server with: python guessgame.py serve"
            ) from error

    async def leave(self) -> None:
        """Say goodbye and disconnect, within a second. Safe to call twice, and after the server has left."""
        if self.gone is None:
            closing = asyncio.ensure_future(self.connection.close())
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
            self.connection.transport.abort()  # nothing happens if it is closed
            await asyncio.wait({closing, self._reader})

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ended it."""
        if self.gone is None:
            await asyncio.wait({self._reader})

    # Asking and hearing

    async def guess(self, number: int) -> Message:
        """Send a guess and return the reply to it: LESS, MORE, YOU_WON or {"error": ...}.

        Raises ServerGone when the server is gone.
        """
        return await self.ask({"guess": number})

    async def rename(self, name: str) -> Message:
        """Ask for another name and return the reply; `name` changes if the server agrees."""
        return await self.ask({"name": name})

    async def ask(self, request: dict[str, Any] | str | bytes) -> Message:
        """Send a request and return the reply to it, even while announcements arrive in between.

        A dictionary is sent as JSON. Text and bytes are sent as they are, for those who want to see what an answer
        to nonsense looks like. Ask for one thing at a time: a request with both a name and a guess gets two replies.
        Raises ServerGone when the server is gone, ValueError for text which cannot be sent as UTF-8.
        """
        if self.gone is not None:
            raise ServerGone(self.gone)
        data = encode(request) if isinstance(request, dict) else request
        if isinstance(data, str):
            data.encode()  # UnicodeEncodeError is a ValueError
        try:
            asked = parse_request(data)
        except ValueError:
            asked = {}  # the reply will be an error
        reply: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._requests.append((asked, reply))
        with contextlib.suppress(ConnectionClosed):  # _read() finds out as well, and replies None
            await self.connection.send(data)
        answer = await reply
        if answer is None:
            raise ServerGone(self.gone)
        return answer

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a message, or several, have made a condition true: `lambda: not player.round_over`.

        Raises ServerGone when the server leaves first.
        """
        while not condition():
            if self.gone is not None:
                raise ServerGone(self.gone)
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher

    async def _read(self) -> None:
        reason = "what it sent is not of this game"
        try:
            while True:
                self._hear(await self.connection.recv())
        except ConnectionClosed as closed:
            stopped = closed.rcvd is not None and closed.rcvd.code == CloseCode.GOING_AWAY
            reason = "the server has stopped (close code 1001)" if stopped else str(closed)
        except (ValueError, RecursionError):
            self.connection.transport.abort()
        finally:
            self.gone = f"The connection to {self.url} has ended: {reason}."
            for _, reply in self._requests:
                if not reply.done():
                    reply.set_result(None)
            self._requests.clear()
            self._wake_watchers()

    def _hear(self, data: str | bytes) -> None:
        message: Message = json.loads(data)
        if not isinstance(message, (str, dict)):
            raise ValueError(f"no server of this game sends {message!r}")
        self.received.append(message)
        asked, reply = self._requests.popleft() if self._is_reply(message) else ({}, None)
        if isinstance(message, str):
            self._learn_from_words(message, asked)
        else:
            self._learn_from_object(message, asked)
        if self.on_message is not None:
            try:
                self.on_message(message)
            except Exception:
                log.exception("on_message failed for %r", message)
        if reply is not None and not reply.done():
            reply.set_result(message)
        self._wake_watchers()

    def _is_reply(self, message: Message) -> bool:
        """Tell the reply to the oldest request from an announcement: the server answers requests in their order."""
        if not self._requests:
            return False
        if isinstance(message, str):
            return message in (LESS, MORE, YOU_WON)
        if "client_id" in message:  # the answer to a new name, or the score which follows each win?
            asked, _ = self._requests[0]
            named = "name" in asked and message.get("name") == str(asked["name"]).strip()
            return named and self._score_follows is None
        return "error" in message

    def _learn_from_words(self, message: str, asked: dict[str, Any]) -> None:
        if message in (LESS, MORE, YOU_WON):
            self._narrow(message, asked.get("guess"))
        elif message == NEW_GAME:
            self.low, self.high = self.range
            self.last_guess = self.last_verdict = None
            self.round_over = False
        elif read_template(SOMEBODY_WON, message):
            self.rounds += 1
            self.round_over = True
            self._score_follows = SOMEBODY_WON
        else:
            limits = read_template(WELCOME, message)
            if limits:
                self.range = self.low, self.high = int(limits["low"]), int(limits["high"])
                self.last_guess = self.last_verdict = None
                self._welcomed = True

    def _narrow(self, verdict: str, number: Any) -> None:
        """Keep the interval of the numbers which can still be the secret one."""
        if not isinstance(number, int):
            return
        self.last_guess, self.last_verdict = number, verdict
        self.guesses += 1
        if verdict == LESS:
            self.low = max(self.low, number + 1)
        elif verdict == MORE:
            self.high = min(self.high, number - 1)
        else:
            self.low = self.high = number
            self.wins += 1
            self.rounds += 1
            self.round_over = True
            self._score_follows = YOU_WON

    def _learn_from_object(self, message: dict[str, Any], asked: dict[str, Any]) -> None:
        if message.get("error") == ROUND_IS_OVER:
            self.round_over = True
        if "client_id" in message:
            if asked or self._score_follows == YOU_WON:
                self.client_id, self.name = message["client_id"], message.get("name")
            if not asked:
                self._score_follows = None

    def _wake_watchers(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


# --------------------------------------------------------------------------------------------------------------------
# Bots
# --------------------------------------------------------------------------------------------------------------------

# A strategy is a function of the interval which is still possible: (low, high) -> guess.
Strategy = Callable[[int, int], int]


def bisection(low: int, high: int) -> int:
    """Guess the middle, which halves the interval: at most 7 guesses for 1..100."""
    return (low + high) // 2


def lucky(low: int, high: int) -> int:
    """Guess anything within the interval."""
    return random.randint(low, high)


def counting(low: int, high: int) -> int:
    """Count up."""
    return low


def forgetful(low: int, high: int) -> int:
    """Guess anything at all: this bot forgets the hints, so that it is always given the whole range."""
    return random.randint(low, high)


STRATEGIES: dict[str, Strategy] = {strategy.__name__: strategy for strategy in (bisection, lucky, counting, forgetful)}


class Bot(Player):
    """Play alone, by a strategy.

        async with Bot(server.url, bisection, delay=0.5) as bot:
            await bot.play(rounds=3)

    strategy   a function (low, high) -> guess, see STRATEGIES
    delay      seconds between two guesses, give or take a half, as people are; may be changed while the bot plays
    """

    def __init__(
        self, url: str, strategy: Strategy = bisection, name: str | None = None, *, delay: float = 0.5, **options: Any
    ) -> None:
        super().__init__(url, name, **options)
        self.strategy, self.delay = strategy, delay

    async def step(self) -> Message:
        """Make one guess and return the reply. Raises ServerGone when the server is gone."""
        low, high = self.range if self.strategy is forgetful else (self.low, self.high)
        return await self.guess(self.strategy(low, high))

    async def play(self, rounds: int | None = None) -> None:
        """Play until so many rounds are won by anybody; for ever if None; until the server leaves in any case.

        Cancel it to pause the bot, call it again to go on. Raises what the strategy raises, and ValueError when the
        server refuses what it returns.
        """
        last_round = math.inf if rounds is None else self.rounds + rounds
        with contextlib.suppress(ServerGone):
            while self.rounds < last_round:
                await self._think()
                if self.round_over:
                    await self.wait_until(lambda: not self.round_over or self.rounds >= last_round)
                elif self.rounds < last_round:
                    reply = await self.step()
                    if isinstance(reply, dict) and reply["error"] != ROUND_IS_OVER:
                        raise ValueError(f"{self.strategy.__name__} guesses what the server refuses: {reply['error']}")

    async def _think(self) -> None:
        clock = asyncio.get_running_loop().time
        start, mood = clock(), random.uniform(0.5, 1.5)
        await asyncio.sleep(0)
        # In short naps, so that a new delay is felt at once.
        while clock() < start + mood * self.delay:
            await asyncio.sleep(min(0.05, start + mood * self.delay - clock()))


# --------------------------------------------------------------------------------------------------------------------
# Command line
# --------------------------------------------------------------------------------------------------------------------

DEFAULT_URL = "ws://127.0.0.1:8765"


class CommandError(Exception):
    """Tell, in one line, why a command ends before it began."""


async def serve_command(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    allow_open_files(options.max_players + HANDSHAKES + 50)  # the rest: the log, Python's own
    try:
        server = GameServer(
            options.host,
            options.port,
            low=options.low,
            high=options.high,
            pause=options.pause,
            max_size=options.max_size,
            max_players=options.max_players,
            rate=options.rate,
            max_backlog=options.max_backlog,
            origins=options.origin,
            ping_interval=options.ping_interval or None,
            ping_timeout=options.ping_timeout or None,
        )
        await server.start()
    except ValueError as error:
        raise CommandError(error) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = (
                f"port {options.port} is in use: end the other program, or choose a port with --port (0: any free one)"
            )
            raise CommandError(advice) from error
        raise CommandError(
            f"cannot listen on {options.host}, port {options.port}: {error.strerror or error}"
        ) from error
    log.info("the event loop is that of %s", type(asyncio.get_running_loop()).__module__.partition(".")[0])
    try:
        say(server.url)
        await asyncio.Event().wait()  # for ever: only a signal ends it
    finally:
        await server.stop()


def allow_open_files(count: int) -> None:
    """Let this program have so many connections and files open: many systems allow 256 or 1024, unless asked."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed >= count or allowed == resource.RLIM_INFINITY:
        return
    most = count if at_most == resource.RLIM_INFINITY else min(count, at_most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, at_most))
        allowed = most
    if allowed < count:
        log.warning("only %d open files are allowed: raise that with `ulimit -n`, or lower --max-players", allowed)


async def play_command(options: argparse.Namespace) -> None:
    """Let a person play: guesses from standard input, messages to standard output."""
    screen = Screen()
    async with Player(options.url, options.name, on_message=screen.show) as player:
        answering = asyncio.ensure_future(answer_lines(player, screen))
        closed = asyncio.ensure_future(player.wait_closed())
        try:
            await asyncio.wait({answering, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            closed.cancel()
        if player.gone:
            screen.write(player.gone)
        screen.end()


async def answer_lines(player: Player, screen: Screen) -> None:
    """Guess what is typed, line by line, until the input or the server ends."""
    screen.write("Type a number and press Enter; Ctrl-D or Ctrl-C leaves.")
    lines = read_lines()
    with contextlib.suppress(ServerGone):
        while True:
            screen.prompt()
            line = await lines.get()
            if line is None:
                return
            line = line.strip()
            if line.startswith("{"):  # somebody who knows the protocol
                await player.ask(line)
            elif re.fullmatch(r"[+-]?\d{1,18}", line):
                await player.guess(int(line))
            else:
                screen.write(f"{line!r} is not a whole number: type one like 42.")


def read_lines() -> asyncio.Queue[str | None]:
    """Put the lines of standard input into a queue, and None at its end.

    A thread reads them, since Windows cannot wait for a keyboard and a socket at once. It takes them past Python's own
    buffer, whose lock it would still hold when the program ends.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for lines any more
            if sys.stdin is not None:
                with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as keyboard:
                    for line in keyboard:
                        loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace"))
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def say(text: str, end: str = "\n") -> None:
    """Print at once; be silent once the reader has left, as in `play | head -1`."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Screen:
    """Show messages to a person, above the line which is being typed."""

    def __init__(self) -> None:
        # Without a terminal there may be no stdin or stdout at all.
        self.interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        self._explained: set[str] = set()
        if self.interactive and sys.platform == "win32":
            os.system("")  # makes the console understand escape sequences

    def show(self, message: Message) -> None:
        """Write a message; the first of each kind with its meaning in English."""
        if isinstance(message, dict) and "countdown" in message:
            self.write(f"New game in {message['countdown']}...")
        elif isinstance(message, dict) and "client_id" in message:
            player = f"{message.get('name', 'Player')} #{message['client_id']}"
            self.write(f"{player} has won {message['wins']}." if message["wins"] else f"{player} is here.")
        else:
            words = message if isinstance(message, str) else str(message.get("error"))
            template, _ = recognise(words) or ("", {})
            meaning = translate(words)
            if template in self._explained:
                meaning = {LESS: "go up", MORE: "go down"}.get(template, "")
            self._explained.add(template)
            self.write(f"{words}  ({meaning})" if meaning else words)

    def write(self, line: str) -> None:
        """Write one line, and leave what is being typed as it is."""
        line = "".join(character if character.isprintable() else "?" for character in line)
        if not self.interactive:
            say(line)
            return
        rows = -(-len(line) // shutil.get_terminal_size().columns)
        room = "\n" * rows
        # Remember where the cursor is, make room above its line, write there, and go back to the same place in the
        # line, which is now further down.
        say(f"\x1b7{room}\x1b[{rows}A\x1b[{rows}L\r{line}\x1b8\x1b[{rows}B", end="")

    def prompt(self) -> None:
        """Ask for the next guess."""
        if self.interactive:
            say("Your guess: ", end="")

    def end(self) -> None:
        """Leave the line which was being typed."""
        if self.interactive:
            say("")


async def bots_command(options: argparse.Namespace) -> None:
    """Let bots play, then print who won how often."""
    async with contextlib.AsyncExitStack() as stack:
        bots = []
        for number, strategy in enumerate(itertools.islice(itertools.cycle(options.strategy), options.n), 1):
            name = f"{strategy}-{number}"
            bot = await stack.enter_async_context(Bot(options.url, STRATEGIES[strategy], name, delay=options.delay))
            if bot.name is None:  # other bots from here play on the same server
                await bot.rename(f"{name}-{os.getpid()}")
            bot.on_message = functools.partial(report_win, bot)
            bots.append(bot)
        say(f"{len(bots)} bots play on {options.url}; Ctrl-C ends it.")
        playing = [asyncio.ensure_future(bot.play(options.rounds)) for bot in bots]
        try:
            await asyncio.gather(*playing)
        finally:
            if bots[0].gone:
                say(bots[0].gone)
            print_scoreboard(bots)


def report_win(bot: Bot, message: Message) -> None:
    if message == YOU_WON:
        say(f"Round {bot.rounds}: {bot.name} found {bot.low}.")


def print_scoreboard(bots: Sequence[Bot]) -> None:
    """Print a table of the bots, the best first."""
    say(f"{'bot':<24}{'wins':>6}{'guesses':>9}")
    for bot in sorted(bots, key=lambda bot: -bot.wins):
        say(f"{bot.name!s:<24}{bot.wins:>6}{bot.guesses:>9}")


def whole_number(low: int, high: int = sys.maxsize) -> Callable[[str], int]:
    """Make a reader of whole numbers from low to high for the command line."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or not low <= int(text) <= high:
            limits = f"from {low} to {high}" if high < sys.maxsize else f"of {low} or more"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return int(text)

    return read


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, from 0 to {LONGEST}")
    return value


Command = Callable[[argparse.Namespace], Coroutine[Any, Any, None]]


class Parser(argparse.ArgumentParser):
    """Parse the command line; complain in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (help: {self.prog} -h)\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show the defaults, where there are any, and keep the lines of the examples."""

    def add_argument(self, action: argparse.Action) -> None:
        if action.default is None or isinstance(action.default, (list, bool)):
            action.default = argparse.SUPPRESS  # only for the help, which ends the program
        super().add_argument(action)


def make_parser() -> Parser:
    """Describe the command line."""
    parser = Parser("guessgame.py", description="Guess the number, over WebSocket.", formatter_class=HelpFormatter)
    parser.epilog = """examples:
  python guessgame.py serve                            then, in other terminals:
  python guessgame.py play --name Аня
  python guessgame.py bots -n 3 --rounds 5"""
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    def add_command(run: Command, name: str, about: str, examples: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"examples:\n{examples}",
            formatter_class=HelpFormatter,
        )
        command.set_defaults(run=run, uvloop=False)
        return command

    command = add_command(
        serve_command,
        "serve",
        "run the server until Ctrl-C",
        "  python guessgame.py serve --port 0                   on any free port\n"
        "  python guessgame.py serve --host 0.0.0.0             for the whole local network\n"
        "  python guessgame.py serve --low 1 --high 10 --pause 2",
    )
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every address of this machine")
    add("--port", type=whole_number(0, 65535), default=8765, help="port to listen on; 0 takes a free one")
    add("--pause", type=seconds, default=5.0, metavar="SECONDS", help="from a win to the next round")
    add("--low", type=int, default=1, help="smallest number that can be drawn")
    add("--high", type=int, default=100, help="biggest number that can be drawn")
    add("--max-size", type=whole_number(1), default=1024, metavar="BYTES", help="of one message")
    add("--max-players", type=whole_number(1), default=1000, metavar="N", help="the next one is refused with HTTP 503")
    add("--rate", type=whole_number(1), default=2000, metavar="N", help="messages a second of one player; more wait")
    add(
        "--max-backlog", type=whole_number(1), default=65536, metavar="BYTES", help="unread, then the player is cut off"
    )
    add(
        "--origin",
        action="append",
        metavar="URL",
        help="let in web pages from here only; can be repeated (default: from anywhere)",
    )
    add("--ping-interval", type=seconds, default=20.0, metavar="SECONDS", help="between keepalive pings; 0: no pings")
    add("--ping-timeout", type=seconds, default=20.0, metavar="SECONDS", help="to answer a ping; 0: for ever")
    add(
        "--no-uvloop",
        dest="uvloop",
        action="store_false",
        default=True,
        help="stay on asyncio's own event loop, even if uvloop is installed",
    )

    command = add_command(
        play_command,
        "play",
        "play in this terminal",
        "  python guessgame.py play --name Аня\n"
        "  python guessgame.py play ws://192.168.1.20:8765\n"
        "  seq 1 100 | python guessgame.py play",
    )
    command.add_argument("url", nargs="?", default=DEFAULT_URL, metavar="URL", help="where the server is")
    command.add_argument("--name", help="what the others will call you")

    command = add_command(
        bots_command,
        "bots",
        "let bots play; print the scores at the end",
        "  python guessgame.py bots\n"
        "  python guessgame.py bots -n 2 --strategy bisection lucky --delay 0.1 --rounds 20",
    )
    add = command.add_argument
    add("url", nargs="?", default=DEFAULT_URL, metavar="URL", help="where the server is")
    add("-n", type=whole_number(1), default=5, help="how many bots")
    add(
        "--strategy",
        nargs="+",
        choices=STRATEGIES,
        default=list(STRATEGIES),
        help="how they guess, in turn (default: all of these)",
    )
    add("--delay", type=seconds, default=0.5, metavar="SECONDS", help="between two guesses of a bot")
    add("--rounds", type=whole_number(1), metavar="N", help="stop after so many rounds (default: never)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; also where an event loop is running already, as in Jupyter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal which cannot show Russian shows question marks
    options = make_parser().parse_args(arguments)
    try:
        run(options.run(options), options.uvloop)
    except (asyncio.CancelledError, KeyboardInterrupt):
        pass  # stopped by Ctrl-C or SIGTERM, as it should be
    except (CommandError, ServerGone, OSError, ValueError) as error:
        print(f"guessgame.py: {error}", file=sys.stderr)
        return 1
    return 0


def run(command: Coroutine[Any, Any, None], fast: bool = False) -> None:
    """Run a command to its end; fast: on uvloop, if it is installed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        find_runner(fast)(until_signal(command))
        return
    # A notebook's loop is running already and would refuse a second one.
    try:
        import nest_asyncio2 as nest_asyncio  # the maintained successor; comes with newer Jupyters
    except ImportError:
        import nest_asyncio
    nest_asyncio.apply()
    asyncio.run(command)


def find_runner(fast: bool) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what runs a coroutine to its end on a new event loop."""
    if fast:
        with contextlib.suppress(ImportError):
            import uvloop

            return uvloop.run
    return asyncio.run


async def until_signal(command: Coroutine[Any, Any, None]) -> None:
    """Run a command; Ctrl-C or SIGTERM cancels it, once, so that its farewell is not disturbed."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(command)

    def cancel_once() -> None:
        for number in signal.SIGINT, signal.SIGTERM:
            loop.add_signal_handler(number, lambda: None)
        task.cancel()

    with contextlib.suppress(NotImplementedError, RuntimeError):  # on Windows; outside the main thread
        for number in signal.SIGINT, signal.SIGTERM:
            loop.add_signal_handler(number, cancel_once)
    await task


if __name__ == "__main__":
    sys.exit(main())
