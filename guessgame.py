#!/usr/bin/env python3
"""Play "guess the number" over WebSocket: one server, any number of players.

The server draws a secret number. Players send guesses and hear whether *their own number* is less
or more than the secret. Whoever finds it wins the round, everybody hears about it, and five seconds
later a new round begins. Each message is one JSON document in one text frame. The words are
Russian, as the specification wants them:

    from the client            the server answers
    {"guess": 42}              "Меньше" (less), "Больше" (more) or "Вы угадали!" (you guessed it!)
    {"name": "Аня"}            {"client_id": 3, "name": "Аня", "wins": 0}
    anything else              {"error": "<a sentence that says what to send instead>"}

    when                       everybody hears
    somebody connects          "Добро пожаловать! Угадайте число от 1 до 100." (only the newcomer)
    somebody wins              "Игрок #3 угадал число 67!"               (all except the winner)
    right after that           {"client_id": 3, "wins": 1}
    each second of the pause   {"countdown": 5} ... {"countdown": 1}
    after the pause            "Новая игра началась!"

Read from top to bottom: first the messages, the rules of a round, and the game; then opening and
closing, limits, and the page; then the client, bots, the terminal, and the command line. On a first
reading, skip from `class GameServer` to `class Player`: by then the game is complete, and what
comes between only opens and guards it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import io
import itertools
import json
import logging
import logging.handlers
import math
import os
import pathlib
import queue
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
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, Callable, Dict, NoReturn, TextIO, TypeVar, Union

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.uri import parse_uri

log = logging.getLogger("guessgame")

# --------------------------------------------------------------------------------------------------
# Messages: all the words that travel, and what they mean
# --------------------------------------------------------------------------------------------------

Message = Union[str, Dict[str, Any]]
SENTENCES: dict[str, tuple[re.Pattern[str], str]] = {}


def sentence(russian: str, english: str) -> str:
    """Return the Russian sentence, and remember how to recognise it and what it means."""
    gaps = re.sub(r"\\{(low|high|number)\\}", r"(?P<\1>\\S+)", re.escape(russian))
    gaps = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", gaps)  # at most one: two could take minutes
    SENTENCES[russian] = re.compile(gaps), english
    return russian


# fmt: off
WELCOME = sentence("Добро пожаловать! Угадайте число от {low} до {high}.",
                   "Welcome! Guess a number from {low} to {high}.")
LESS = sentence("Меньше", "Less: YOUR number is smaller than the secret one, so go up.")
MORE = sentence("Больше", "More: YOUR number is bigger than the secret one, so go down.")
YOU_WON = sentence("Вы угадали!", "You guessed it!")
SOMEBODY_WON = sentence("Игрок {player} угадал число {number}!",
                        "Player {player} guessed the number {number}!")
NEW_GAME = sentence("Новая игра началась!", "A new game has begun!")

ROUND_IS_OVER = sentence(
    f"Раунд окончен: дождитесь сообщения «{NEW_GAME}» и отправьте догадку снова.",
    "The round is over: wait for the new game, then send your guess again.")
BAD_GUESS = sentence("Догадка — целое число от {low} до {high}: отправьте, например, {example}.",
                     "A guess is a whole number from {low} to {high}: send {example}, say.")
BAD_NAME = sentence(
    'Имя — от 1 до 32 печатных знаков, с буквой, цифрой или эмодзи, без «!» и не номер вроде #3: '
    'отправьте, например, {"name": "Аня"}.',
    'A name has 1 to 32 printable characters, with a letter, a digit or an emoji, but without "!", '
    'and is not an id like #3: send, for example, {"name": "Аня"}.')
NAME_TAKEN = sentence('Такое имя уже занято: отправьте другое, например {"name": "Аня-2"}.',
                      'This name is taken: send another one, for example {"name": "Аня-2"}.')
NOT_TEXT = sentence('Двоичное сообщение непонятно: отправьте текст, например {"guess": 42}.',
                    'A binary message means nothing here: send text, for example {"guess": 42}.')
NOT_JSON = sentence('Это не JSON: отправьте, например, {"guess": 42}.',
                    'This is not JSON: send, for example, {"guess": 42}.')
NOT_AN_OBJECT = sentence('Это не объект JSON: отправьте, например, {"guess": 42}.',
                         'This is not a JSON object: send, for example, {"guess": 42}.')
NOTHING_TO_DO = sentence(
    'Здесь нет ни "guess", ни "name": отправьте, например, {"guess": 42} или {"name": "Аня"}.',
    'It has neither "guess" nor "name": send, for example, {"guess": 42} or {"name": "Аня"}.')
SERVER_IS_FULL = sentence("Все места заняты: подключитесь позже.",
                          "All seats are taken: connect later.")
TOO_MANY_FROM_HERE = sentence("С вашего адреса слишком много игроков: подключитесь позже.",
                              "Too many players come from your address: connect later.")
# fmt: on

encode: Callable[[Message], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def parse_request(data: str | bytes) -> dict[str, Any]:
    """Read a client's message; for nonsense raise ValueError with a sentence for the sender."""
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


def recognise(text: object) -> tuple[str, dict[str, str]]:
    """Find which sentence a text is, and what fills its gaps; return "", {} if it is none."""
    for russian, (gaps, _) in SENTENCES.items():
        match = gaps.fullmatch(text) if isinstance(text, str) else None
        if match:
            return russian, match.groupdict()
    return "", {}


def explain(message: Message) -> str:
    """Say in English what a server's message means; return "" if the game has no such message."""
    if isinstance(message, dict) and "countdown" in message:
        return f"The new game begins in {message['countdown']} s."
    if isinstance(message, dict) and "client_id" in message:
        player = message.get("name", f"#{message['client_id']}")
        return f"The score of {player}: {message.get('wins', '?')}."
    russian, values = recognise(message.get("error") if isinstance(message, dict) else message)
    english = SENTENCES[russian][1] if russian else ""
    return english.format(**values) if values else english


# --------------------------------------------------------------------------------------------------
# Rules: one round, without a network
# --------------------------------------------------------------------------------------------------


def draw_secret(low: int, high: int) -> int:
    """Draw a number from low to high, both included, that nobody can predict."""
    return low + secrets.randbelow(high - low + 1)


class Round:
    """Judge guesses until one is right; raise ValueError for a secret that nobody could find."""

    def __init__(self, secret: int, low: int = 1, high: int = 100) -> None:
        if not isinstance(secret, int) or not low <= secret <= high:
            raise ValueError(f"the secret {secret!r} is not a whole number from {low} to {high}")
        self.secret, self.low, self.high = secret, low, high
        self.over = False

    def guess(self, number: object) -> str:
        """Return LESS, MORE or YOU_WON; the first right guess ends the round.

        Raises ValueError, with a sentence for the player, once the round is over, and for anything
        that is not a whole number in the range. Between checking `over` and setting it there is no
        `await`. So there is one winner, however many guesses arrive together.
        """
        if self.over:
            raise ValueError(ROUND_IS_OVER)
        # type(), not isinstance(): in Python True is an int, but in the game it is not a number.
        if type(number) is not int or not self.low <= number <= self.high:
            example = encode({"guess": (self.low + self.high) // 2})
            raise ValueError(BAD_GUESS.format(low=self.low, high=self.high, example=example))
        if number < self.secret:
            return LESS
        if number > self.secret:
            return MORE
        self.over = True
        return YOU_WON


# --------------------------------------------------------------------------------------------------
# The game: what happens between a player's hello and goodbye
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Client:
    """One connected player, as the server knows them."""

    id: int
    connection: GameConnection
    name: str | None = None
    wins: int = 0

    @property
    def label(self) -> str:
        """What the others call this player: the name, or "#3"."""
        return self.name or f"#{self.id}"

    def __str__(self) -> str:
        """Describe the player in the log; the quotes show where a name ends."""
        return f"#{self.id} {self.name!r}" if self.name else f"#{self.id}"

    def score(self) -> Message:
        """Make the message {"client_id": 3, "name": "Аня", "wins": 1}, or one without "name"."""
        name = {"name": self.name} if self.name else {}
        return {"client_id": self.id, **name, "wins": self.wins}


class Game:
    """Play with everybody who connects: one secret number, any number of players."""

    def __init__(self, low: int, high: int, pause: float, draw: Callable[[int, int], int]) -> None:
        self.low, self.high, self.pause, self.draw = low, high, pause, draw
        self.clients: dict[int, Client] = {}
        self.round: Round
        self.rounds_played = 0
        self._ids = itertools.count(1)
        self._named: dict[str, Client] = {}  # by the skeleton of the name
        self._tasks: set[asyncio.Task[None]] = set()

    async def play_with(self, connection: GameConnection) -> None:
        """Play with one player, from the welcome to the goodbye."""
        client = connection.client = Client(next(self._ids), connection)
        self.tell([client], WELCOME.format(low=self.low, high=self.high))
        self.clients[client.id] = client  # only now: the welcome comes before any announcement
        log.info("%s joined, %d here", str(client), len(self.clients))
        try:
            name = connection.name_in_url()
            if name is not None:
                self.answer(client, encode({"name": name}))
            async for data in connection:
                await connection.turn()
                self.answer(client, data)
        finally:
            self.forget(client)

    def forget(self, client: Client) -> None:
        """Forget a player who has left. It is safe to call this twice."""
        if self.clients.pop(client.id, None):
            self._named.pop(skeleton(client.name or ""), None)
            log.info("%s left, %d here", str(client), len(self.clients))

    def answer(self, client: Client, data: str | bytes) -> None:
        """Do what a player's message asks for, or reply with a sentence if it makes no sense.

        From here to the announcements nothing waits, so nobody else can get in between.
        """
        try:
            request = parse_request(data)
            if "name" in request:
                self.rename(client, request["name"])
            if "guess" in request:
                self.judge(client, request["guess"])
        except ValueError as error:
            self.tell([client], {"error": str(error)})

    def rename(self, client: Client, name: object) -> None:
        """Give a player the name they ask for, unless somebody else has it."""
        name = check_name(name)
        if self._named.get(skeleton(name), client) is not client:
            raise ValueError(NAME_TAKEN)
        self._named.pop(skeleton(client.name or ""), None)
        client.name = name
        self._named[skeleton(name)] = client
        log.info("%s has this name now", str(client))
        self.tell([client], client.score())

    def judge(self, client: Client, number: object) -> None:
        """Reply to a guess; if it is right, tell everybody."""
        verdict = self.round.guess(number)
        self.tell([client], verdict)
        if verdict == YOU_WON:
            self.announce_win(client)

    def announce_win(self, winner: Client) -> None:
        """Tell everybody who has won, and start the pause."""
        winner.wins += 1
        self.rounds_played += 1
        number = self.round.secret
        log.info("%s guessed %d, wins so far: %d", str(winner), number, winner.wins)
        others = [client for client in self.clients.values() if client is not winner]
        self.tell(others, SOMEBODY_WON.format(player=winner.label, number=number))
        self.broadcast(winner.score())
        self._start_task(self._pause_and_begin_anew())

    async def _pause_and_begin_anew(self) -> None:
        """Count down the seconds, then draw a new number."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.pause
        # Each sleep is measured from the end, so that small delays don't add up.
        for seconds in range(math.floor(self.pause), 0, -1):
            await asyncio.sleep(end - seconds - clock())
            self.broadcast({"countdown": seconds})
        await asyncio.sleep(end - clock())
        try:
            self.begin_round()
        except Exception:
            log.exception("draw() failed, so another number is drawn")
            self.round = Round(draw_secret(self.low, self.high), self.low, self.high)
        log.info("a new round begins, %d here", len(self.clients))
        self.broadcast(NEW_GAME)

    def begin_round(self) -> None:
        """Draw a number for everybody to guess from now on."""
        self.round = Round(self.draw(self.low, self.high), self.low, self.high)

    def tell(self, clients: Iterable[Client], message: Message) -> None:
        """Send a message to some clients without waiting for any of them."""
        broadcast([client.connection for client in clients], encode(message))

    def broadcast(self, message: Message) -> None:
        """Send a message to every client without waiting for any of them."""
        self.tell(self.clients.values(), message)

    async def send(self, client_id: int, message: Message) -> None:
        """Send a message to one client; wait while its own connection is full.

        Raises KeyError when nobody with this id is here, and websockets' ConnectionClosed when the
        client leaves in the meantime.
        """
        if client_id not in self.clients:
            ids = sorted(self.clients)
            raise KeyError(f"nobody with the id {client_id} is here: the ids are {ids}")
        await self.clients[client_id].connection.send(encode(message))

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)  # or it might be thrown away: the loop has only a weak reference
        task.add_done_callback(self._tasks.discard)


# --------------------------------------------------------------------------------------------------
# Open and close: the game on a port, with all its options
# --------------------------------------------------------------------------------------------------

CLOSE_TIMEOUT = 1.0  # seconds a connection may take to say goodbye before it is cut
DAY = 86_400  # seconds; no pause and no timeout is longer
Number = TypeVar("Number", int, float)


def check_range(name: str, value: Number, least: float, most: float = math.inf) -> Number:
    """Return the value of an option; raise ValueError unless least <= value <= most."""
    if not least <= value <= most:
        limits = f"{least} or more" if most == math.inf else f"a number from {least} to {most}"
        raise ValueError(f"{name} cannot be {value}: give {limits}")
    return value


class GameServer(Game):
    """Serve the game on a port: `async with GameServer(port=0) as server: print(server.url)`.

    host            address to listen on; 0.0.0.0 means every address of this machine
    port            port to listen on; 0 means any free one
    low             smallest number that can be drawn
    high            biggest number that can be drawn
    pause           seconds from a win to the next round
    max_size        bytes of the largest message; a larger one ends its connection (code 1009)
    max_players     most players at once; the next one is refused with HTTP 503
    per_address     most players from one address, then HTTP 429; 0: any number
    rate            messages a second from one player; any more are answered later
    max_backlog     bytes that may wait for a player who doesn't read; above that, they are cut off
    ping_interval   seconds between keepalive pings; 0: no pings
    ping_timeout    seconds to answer a ping before a player counts as gone; 0: forever

    Also: draw, a function (low, high) -> secret; origins, a list of the web pages that may connect
    (None: all). Raises ValueError when a value makes no sense.
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
        per_address: int = 0,
        rate: float = 2000,
        max_backlog: int = 65536,
        origins: Sequence[str] | None = None,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
    ) -> None:
        super().__init__(low, high, pause, draw)
        self.host, self.port = host, check_range("port", port, 0, 65535)
        self.max_size = check_range("max_size", max_size, 1)
        self.max_players = check_range("max_players", max_players, 1)
        self.per_address = check_range("per_address", per_address, 0)
        self.rate = check_range("rate", rate, 1)
        self.max_backlog = check_range("max_backlog", max_backlog, 1)
        self.ping_interval = check_range("ping_interval", ping_interval or 0, 0, DAY) or None
        self.ping_timeout = check_range("ping_timeout", ping_timeout or 0, 0, DAY) or None
        if low > high:
            raise ValueError(f"the range {low}..{high} is empty: low must not be above high")
        if isinstance(origins, str):
            raise ValueError(f"origins is a list: give [{origins!r}]")
        for origin in origins or []:
            if not re.fullmatch(r"\w[\w+.-]*://[^/\s]+/?|null", origin):
                raise ValueError(f"{origin!r} is not an origin: give one like https://example.org")
        # Browsers send it in small letters; other programs send none (None), or any they like.
        pages = [origin.lower().rstrip("/") for origin in origins or []]
        self.origins: Any = None if origins is None else [*pages, None]
        self.connections: dict[GameConnection, None] = {}  # oldest first; some still shake hands
        self.running = False
        self._server: Server | None = None

    @property
    def pause(self) -> float:
        """Seconds from a win to the next round; setting it to nonsense raises ValueError."""
        return self._pause

    @pause.setter
    def pause(self, seconds: float) -> None:
        self._pause = check_range("pause", seconds, 0, DAY)

    async def __aenter__(self) -> GameServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Draw the first number and listen; after `stop()` it starts again on the same port.

        Raises OSError when the port is in use, RuntimeError when the server is already running.
        """
        if self.running:
            raise RuntimeError("the server is running already: stop it first")
        self.begin_round()
        self.running = True
        lines_of_a_kind.clear()
        try:
            await self._listen()
        except BaseException:  # a cancelled start, too, must not go on listening
            await self.stop()
            self.running = False
            raise
        self._start_task(GameConnection.watch_for_silence(self))
        log.info("the first round begins: guess a number from %d to %d", self.low, self.high)

    async def _listen(self) -> None:
        listen: Any = serve  # Any: mypy cannot know that each connection is a GameConnection
        try:
            server: Server = await listen(
                GameConnection.play,
                self.host,
                self.port,
                create_connection=functools.partial(GameConnection, self),
                process_request=answer_browser,
                process_response=GameConnection.let_in,
                origins=self.origins,
                compression=None,  # costs memory for each player, saves nothing on short messages
                max_size=self.max_size,
                write_limit=min(32768, self.max_backlog),
                ping_interval=self.ping_interval,
                ping_timeout=None,  # see watch_for_silence()
                close_timeout=CLOSE_TIMEOUT,
                logger=wire_log,
                backlog=1,  # connections let in at once, before everybody else has a turn
                start_serving=False,  # only once stop() knows of it, for start() may be cancelled
            )
            addresses = [listening.getsockname()[:2] for listening in server.sockets]
            self._address, self.port = addresses[0]
            self._server = server
            await server.start_serving()
        except OSError as error:
            where, reason = f"{self.host}, port {self.port}", error.strerror or error
            advice = "end the other program, or choose another port (0: any free one)"
            raise OSError(f"cannot listen on {where}: {reason}; {advice}") from error
        for listening in server.sockets:
            # So that one read takes in a few hundred messages of a flood, not thousands.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with listening.dup() as same:
                same.listen(1024)  # a whole class may connect at the same moment
        if not all(host.startswith(("127.", "::1")) for host, _ in addresses):
            warning = "other machines can reach port %d: no password, no encryption"
            log.warning(warning + "; not for the Internet", self.port)

    async def stop(self) -> None:
        """Say goodbye to everybody with close code 1001 and stop listening, within two seconds.

        It is safe to call this at any moment, also twice. Players who don't answer are cut off.
        """
        server = self._server
        if server is None:
            return
        # First keep newcomers out: asyncio stumbles over those who come while the server closes.
        with contextlib.suppress(NotImplementedError):  # on Windows
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        closed = asyncio.ensure_future(server.wait_closed())
        await asyncio.wait({closed}, timeout=CLOSE_TIMEOUT)
        # The library would wait forever for a player who doesn't read, or for half a handshake.
        for connection in list(self.connections):
            connection.transport.abort()
        await closed
        for task in list(self._tasks):
            task.cancel()
            await asyncio.wait({task})
        if self._server is server:  # it's another one if the game has been started again
            self._server, self.running = None, False
        log.info("stopped")

    @property
    def url(self) -> str:
        """The address for players on this machine, like ws://127.0.0.1:8765."""
        if self._server is None:
            raise RuntimeError("the server is not running: start it first")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._address, self._address)
        return f"ws://[{host}]:{self.port}" if ":" in host else f"ws://{host}:{self.port}"

    @property
    def page(self) -> str:
        """The address for browsers, on other machines too if they can reach this server."""
        host = urllib.parse.urlsplit(self.url).netloc
        if self._address == "0.0.0.0":
            with socket.socket(type=socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
                probe.connect(("192.0.2.1", 9))  # sends nothing, but finds our own address
                host = f"{probe.getsockname()[0]}:{self.port}"
        return f"http://{host}/"


# --------------------------------------------------------------------------------------------------
# Limits: nobody can spoil the game for the others
# --------------------------------------------------------------------------------------------------

# Cyrillic and Greek letters that look like Latin ones, small or capital, and what looks like 3
# or #: those in Unicode's list of confusables (UTS #39) that can be typed on a keyboard.
TWINS = str.maketrans(
    "авезіјкмнорсѕтухһԁԛԝѵαβεζηικμνορτυχ♯",
    "abe3ijkmhopcstyxhdqwvabezhikmnoptyx#",
)
# Fillers, a blank, the joiner of emoji, and what selects the variant of a character.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u200d\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\u180f\U0001d159\U000e0100-\U000e01ef]"
)


def skeleton(name: str) -> str:
    """Make names equal that look the same to a reader: Аня, АНЯ, Aня; ANNA, Ａｎｎａ."""
    name = unicodedata.normalize("NFKD", name.replace("№", "#"))
    return INVISIBLE.sub("", name).casefold().translate(TWINS)


def check_name(name: object) -> str:
    """Return the name without spaces around it; for a bad one raise ValueError with a sentence.

    A name must be visible, and must not look like an id, or like words of the game, as in
    "Игрок Аня угадал число 5! Игрок Боря угадал число 67!"
    """
    name = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(name) <= 32:
        raise ValueError(BAD_NAME)  # before a long one costs time
    bare = skeleton(name)
    kinds = " ".join(map(unicodedata.category, INVISIBLE.sub("", name)))  # such as "Lu Ll Nd"
    if (
        not re.sub(r"(?<=\W)\u200d(?=\W)", "", name).isprintable()  # it joins parts of an emoji
        or not re.search("L|N|So", kinds)  # a letter, a number or an emoji
        or re.search("M. M. M", kinds)  # marks that pile up over other lines
        or re.search(f"[!ǃ❗❕]|{skeleton('угадал')}", bare)
        or re.fullmatch(r"#+[\doil]+#*", re.sub(r"[^\w#]|_", "", bare))
    ):
        raise ValueError(BAD_NAME)
    return name


lines_of_a_kind: dict[str, tuple[int, int]] = {}  # the second of the last one, and how many in it


def spare_the_log(record: logging.LogRecord) -> bool:
    """Let only so many lines of a kind through in a second; the next one counts those left out.

    One player can join, leave, change their name and be refused as often as they like. That must
    not fill the disk, or hide what the log says about everybody else.
    """
    kind, now = record.msg, int(record.created)
    most = 1 if kind.startswith("refused") else 100
    second, lines = lines_of_a_kind.get(kind, (now, 0))
    if second != now and lines > most:
        record.msg += f" (and {lines - most} times more)"
    lines = lines + 1 if second == now else 1
    lines_of_a_kind[kind] = now, lines
    return lines <= most


log.addFilter(spare_the_log)
# The library's own log: warnings, but no traceback for a handshake that we log ourselves.
wire_log = logging.getLogger("guessgame.websockets")
wire_log.setLevel(logging.WARNING)
wire_log.addFilter(lambda record: record.msg != "opening handshake failed")
wire_log.addFilter(spare_the_log)

HANDSHAKES = 1000  # connections that may be shaking hands while all the seats are taken
HANDSHAKE_SIZE = 16 * 1024  # bytes


class GameConnection(ServerConnection):
    """Guard what the library leaves open: who may come in, and how much they may ask of us."""

    # As ordinary attributes, these would make the dictionary of each connection 1.5 KiB bigger.
    __slots__ = ("client", "due", "game", "head", "just_read", "pieces", "resting", "silence")

    def __init__(self, game: GameServer, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.game = game
        self.client: Client | None = None  # None during the handshake, and after the end
        self.due = -math.inf  # when the next frame may be answered, by the loop's clock
        self.resting = False  # True: nothing is read until then
        self.just_read = False
        self.silence = 0.0  # seconds
        self.head = self.pieces = 0  # bytes of the handshake; frames of an unfinished message

    def __str__(self) -> str:
        return str(self.client or self.remote_address)

    async def play(self) -> None:
        """Let the game play with this player; whatever goes wrong ends only this connection."""
        try:
            await self.game.play_with(self)
        except (ConnectionClosed, ConnectionError):
            pass  # the player has left without a goodbye, and that's fine
        except (IndexError, UnicodeDecodeError):
            # websockets 13 lets these through: the end, and text that is not UTF-8.
            await self.close(CloseCode.INVALID_DATA)

    def name_in_url(self) -> str | None:
        """Return the name in ws://...?name=Аня, if there is one, and forget the handshake."""
        assert self.request is not None
        query = self.request.path.partition("?")[2]
        self.request.path = ""  # it may be long, and the library would keep it
        self.request.headers.clear()
        names = urllib.parse.parse_qs(query, keep_blank_values=True).get("name")
        return names[0] if names else None

    # Rate: if you send too much, you wait, and everybody else gets a turn.

    def count(self) -> float:
        """Count one more frame from this player; return how many seconds too early it comes."""
        now, gap = self.loop.time(), 1 / self.game.rate
        # A tenth of a second's worth may come at once, or one frame if that is less than one.
        self.due = max(self.due, now - max(0.1, gap)) + gap
        delay = max(0.0, self.due - now)
        self.silence = -delay  # the player is waiting, not silent
        return delay

    async def turn(self) -> None:
        """Wait until this player's next message is due, and let the others have their turn."""
        delay = self.count()
        if delay or not self.just_read:  # if something was just read, the others had their turn
            await asyncio.sleep(delay)
        self.just_read = False
        if self.paused:
            await self.drain()  # we don't read from players who don't read our replies
        if self.client is None:
            raise self.protocol.close_exc  # the player has left in the meantime

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame):
            if event.opcode in (Opcode.PING, Opcode.PONG):
                if self.count() and not self.resting:  # answered at once: turn() can't slow them
                    self.rest()
            elif self.pieces or not event.fin:
                self.pieces = 0 if event.fin else self.pieces + 1
                if self.pieces > self.game.max_size:
                    self.cut_off("%s sends a message in endless pieces and is cut off")
        super().process_event(event)

    def rest(self) -> None:
        """Read nothing from this player until they are due; it calls itself again at that time."""
        delay = self.due - self.loop.time()
        self.resting = delay > 0
        if self.resting:
            self.transport.pause_reading()
            self.loop.call_later(delay, self.rest)
        elif not self.recv_messages.paused:  # or there is still too much to answer
            self.transport.resume_reading()

    # Backlog: if you leave too many announcements unread, you are cut off.

    def send_data(self) -> None:
        if self.paused:  # more than write_limit is waiting
            waiting = self.transport.get_write_buffer_size()
            if waiting > self.game.max_backlog:
                self.cut_off("%s does not read and is cut off: %d bytes were waiting", waiting)
        # The library writes frame by frame; this way, one write answers a read full of pings.
        frames = self.protocol.data_to_send()
        data = b"".join(frames)
        if data:
            self.transport.write(data)
        if frames and not frames[-1]:  # an empty frame stands for the end
            with contextlib.suppress(OSError, RuntimeError):
                self.transport.write_eof()
            # A player who says goodbye and stays, or doesn't read ours, would be here forever.
            self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def cut_off(self, about: str, *values: int) -> None:
        """End this connection at once, and log why."""
        if not self.transport.is_closing():
            log.warning(about, str(self), *values)
            self.transport.abort()

    # Silence: if you leave without a word, we find out.

    def data_received(self, data: bytes) -> None:
        self.just_read, self.silence = True, min(self.silence, 0.0)
        if self.request is None:
            self.head += len(data)
            if self.head > HANDSHAKE_SIZE:
                self.cut_off("refused %s: the handshake is too long")
                return
        super().data_received(data)

    @staticmethod
    async def watch_for_silence(game: GameServer) -> None:
        """Cut off players who have been silent for too long, and haven't even answered a ping.

        It adds up the seconds from check to check instead of reading a clock: it's not the
        players' fault when this program, or the whole machine, was asleep.
        """
        interval, timeout = game.ping_interval, game.ping_timeout
        while interval and timeout:
            period = min(interval, timeout) / 2
            await asyncio.sleep(period)
            for connection in list(game.connections):
                connection.silence += period
                if connection.silence > interval + timeout:
                    connection.cut_off("%s is silent and is cut off")

    # Seats: players have room, and those who only knock can't take it from them.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.game.connections[self] = None
        if len(self.game.connections) > self.game.max_players + HANDSHAKES:
            knocking = (other for other in self.game.connections if other.client is None)
            oldest = next(other for other in knocking if not other.transport.is_closing())
            oldest.cut_off("refused %s: too many others are shaking hands")

    def let_in(self, request: Request, response: Response) -> Response:
        """Refuse a player when the seats are taken, and log everybody who is refused."""
        self.protocol.eof_sent = False  # or the library would stumble over a second request
        if response.status_code == 101:
            here, most = self.remote_address[0], self.game.per_address
            others = [client.connection for client in self.game.clients.values()]
            if len(others) >= self.game.max_players:
                response = self.respond(503, SERVER_IS_FULL + "\n")
            elif most and sum(other.remote_address[0] == here for other in others) >= most:
                response = self.respond(429, TOO_MANY_FROM_HERE + "\n")
        if response.status_code not in (101, 200):
            log.warning(f"refused a connection from %s: HTTP {response.status_code}", str(self))
        return response

    def connection_lost(self, exc: Exception | None) -> None:
        self.game.connections.pop(self, None)
        client, self.client = self.client, None
        if client is not None:
            self.game.forget(client)
        super().connection_lost(exc)
        if self.head and self.request is None:
            about = "refused a connection from %s: its handshake is bad: %.100r"
            log.warning(about, str(self), self.protocol.handshake_exc)


# --------------------------------------------------------------------------------------------------
# The page: any browser is a client
# --------------------------------------------------------------------------------------------------

PAGE = pathlib.Path(__file__).with_name("notebooks") / "page.html"
NO_PAGE = """This is a WebSocket server, but its page is not here: copy notebooks/page.html, too.
To play without a browser: python guessgame.py play {url}
"""


@functools.lru_cache(maxsize=1)
def read_page(changed: float) -> tuple[str, str]:
    """Return the page, and the policy that lets only its own script and style run."""
    page = PAGE.read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; connect-src 'self' ws: wss:; base-uri 'none'"
    for kind, inline in re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        policy += f"; {kind}-src 'sha256-{digest}'"
    return page, policy


def answer_browser(connection: GameConnection, request: Request) -> Response | None:
    """Answer a request that isn't a handshake: with the page, or a sentence. It takes no seat."""
    if "Upgrade" in request.headers:
        return None
    if request.path.partition("?")[0] != "/":
        return connection.respond(404, "There is nothing here: the game's page is at /.\n")
    try:
        page, policy = read_page(PAGE.stat().st_mtime)
    except OSError:
        return connection.respond(200, NO_PAGE.format(url=connection.game.url))
    response = connection.respond(200, page)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "text/html; charset=utf-8"
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response


# --------------------------------------------------------------------------------------------------
# The client
# --------------------------------------------------------------------------------------------------

# From websockets 15 on, a company's proxy would be used. For a game nearby it's only in the way.
HAS_PROXY = "proxy" in inspect.signature(connect).parameters
CONNECT_OPTIONS: dict[str, Any] = {"proxy": None} if HAS_PROXY else {}
WELCOME_TIMEOUT = 10.0  # seconds; a server of this game says welcome at once
LONGEST_MESSAGE = 32 * 1024  # bytes
FIELDS = {"error": str, "countdown": int, "client_id": int, "name": str, "wins": int}

PlayerType = TypeVar("PlayerType", bound="Player")


class ServerGone(ConnectionError):
    """Say in one sentence that the server can't be reached, or has left."""


class Player:
    """Play on a server, from code: `async with Player(url, "Аня") as p: print(await p.guess(50))`.

    url          where the server is
    name         what to be called, or None; if the server refuses it, `name` is None after joining
    on_message   called with each message, before anything that waits for the message goes on
    history      how many messages `received` keeps
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
        self.range = 1, 100  # where the server draws the secret
        self.low, self.high = self.range  # where it can still be in this round
        self.last_guess: int | None = None  # in this round
        self.last_verdict: str | None = None
        self.client_id: int | None = None  # until the server tells it
        self.guesses = self.wins = 0
        self.rounds = 0  # how many have been won, by anybody
        self.round_over = False  # True from a win to the next round
        self.gone: str | None = f"not connected to {url} yet: join first"  # None: connected

    async def __aenter__(self: PlayerType) -> PlayerType:
        await self.join()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.leave()

    async def join(self) -> None:
        """Connect, wait for the welcome, and ask for the name; after leaving, you can join again.

        Raises ServerGone when no server of this game answers within 10 seconds, ValueError when
        the URL is wrong, RuntimeError when the player is already connected.
        """
        if self.gone is None:
            raise RuntimeError(f"already connected to {self.url}: leave first")
        self.connection = await self._connect()
        self.received.clear()
        self.gone = self.client_id = None
        self._asked: dict[str, Any] = {}  # what the next reply will be about
        self._reply: Message | None = ""  # None: it is still to come
        self._last: str | None = None  # which sentence came last; None before the welcome
        self._lock, self._news = asyncio.Lock(), asyncio.Event()
        wanted, self.name = self.name, None  # until the server agrees
        self._reader = asyncio.ensure_future(self._read())
        abort = self.connection.transport.abort
        timeout = asyncio.get_running_loop().call_later(WELCOME_TIMEOUT, abort)
        try:
            await self.wait_until(lambda: self._last is not None)
            if wanted is not None:
                await self.rename(wanted)
        except BaseException:  # even a cancelled join leaves nothing behind
            self.name = wanted
            abort()
            raise
        finally:
            timeout.cancel()

    async def _connect(self) -> ClientConnection:
        try:
            parse_uri(self.url)
        except (InvalidURI, ValueError) as error:
            advice = "give one like ws://127.0.0.1:8765."
            raise ValueError(f"{self.url!r} is not a server's address: {advice}") from error
        try:
            options = {"compression": None, "max_size": LONGEST_MESSAGE, **CONNECT_OPTIONS}
            return await connect(self.url, close_timeout=CLOSE_TIMEOUT, **options)
        except InvalidStatus as error:
            status = error.response.status_code
            reasons = {503: "it is full", 429: "too many players come from your address"}
            reason = reasons.get(status, f"HTTP {status}")
            raise ServerGone(f"The server at {self.url} lets nobody in: {reason}.") from error
        except (OSError, EOFError, ValueError, asyncio.TimeoutError, WebSocketException) as error:
            reason = f"{self.url} ({str(error) or type(error).__name__})"
            advice = "check the address, or start a server with: python guessgame.py serve"
            raise ServerGone(f"No server answers at {reason}: {advice}") from error

    async def leave(self) -> None:
        """Say goodbye and disconnect within a second. Safe to call twice, and at any moment."""
        if self.gone is None:
            closing = asyncio.ensure_future(self.connection.close())
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
            self.connection.transport.abort()  # does nothing if the connection is closed
            await asyncio.wait({closing, self._reader})

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, no matter who ended it."""
        if self.gone is None:
            await asyncio.wait({self._reader})

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until messages make a condition true, like `lambda: not player.round_over`.

        Raises ServerGone when the server leaves first.
        """
        while not condition():
            if self.gone is not None:
                raise ServerGone(self.gone)
            await self._news.wait()

    # Asking: one thing at a time, so the next reply belongs to it.

    async def guess(self, number: int) -> Message:
        """Send a guess and return the reply to it: LESS, MORE, YOU_WON or {"error": ...}."""
        return await self.ask({"guess": number})

    async def rename(self, name: str) -> Message:
        """Ask for another name and return the reply; `name` changes if the server agrees."""
        return await self.ask({"name": name})

    async def ask(self, request: dict[str, Any] | str | bytes) -> Message:
        """Send a request and return the reply to it, whatever announcements arrive in between.

        A dictionary is sent as JSON; text and bytes are sent as they are, so you can try nonsense.
        Don't send a name and a guess in one request: that gets two replies.
        Raises ServerGone when the server is gone, ValueError for text that UTF-8 cannot write.
        """
        if self.gone is not None:
            raise ServerGone(self.gone)
        data = encode(request) if isinstance(request, dict) else request
        if isinstance(data, str):
            data.encode()  # UnicodeEncodeError is a ValueError
        async with self._lock:
            # Whoever asked before may have been cancelled, but the reply to them still comes.
            await self.wait_until(lambda: self._reply is not None)
            self._asked = {}
            with contextlib.suppress(ValueError):  # nonsense: the reply will be an error
                self._asked = parse_request(data)
            self._reply = None
            with contextlib.suppress(ConnectionClosed):  # _read() notices, too
                await self.connection.send(data)
            await self.wait_until(lambda: self._reply is not None)
            assert self._reply is not None
            return self._reply

    # Hearing: what each message tells us.

    async def _read(self) -> None:
        reason = "the server sent something that is not part of this game"
        try:
            while True:
                self._hear(json.loads(await self.connection.recv()))
        except ConnectionClosed as closed:
            stopped = closed.rcvd is not None and closed.rcvd.code == CloseCode.GOING_AWAY
            reason = "the server has stopped (close code 1001)" if stopped else str(closed)
        except (ValueError, LookupError, RecursionError):
            self.connection.transport.abort()
        finally:
            self.gone = f"The connection to {self.url} has ended: {reason}."
            self._news.set()

    def _hear(self, message: Message) -> None:
        kind, gaps = recognise(message)
        fields = message if isinstance(message, dict) else gaps  # what it says, by name
        self._check(message, kind, fields)
        self.received.append(message)
        if self._learn(kind, fields):
            self._reply = message
        self._last = kind
        if self.on_message is not None:
            try:
                self.on_message(message)
            except Exception:
                log.exception("on_message failed for %r", message)
        self._news.set()  # wakes everybody who waits
        self._news = asyncio.Event()

    def _check(self, message: object, kind: str, fields: dict[str, Any]) -> None:
        """Raise ValueError for a message that no server of this game would send now."""
        if (
            not isinstance(message, (str, dict))
            or (self._last is None and kind != WELCOME)
            or (kind == WELCOME and int(fields["low"]) > int(fields["high"]))
            or any(type(fields[key]) is not FIELDS[key] for key in FIELDS.keys() & fields.keys())
            or ("client_id" in fields) != ("wins" in fields)
            or any(isinstance(value, (list, dict)) for value in fields.values())
        ):
            raise ValueError(f"a server of this game does not say {message!r} now")

    def _learn(self, kind: str, fields: dict[str, Any]) -> bool:
        """Learn from a message; return whether it is the reply to what was asked."""
        if kind == WELCOME:
            self.range = int(fields["low"]), int(fields["high"])
        if kind in (WELCOME, NEW_GAME):
            self.low, self.high = self.range
            self.last_guess = self.last_verdict = None
            self.round_over = False
        elif kind in (YOU_WON, SOMEBODY_WON):
            self.rounds += 1
            self.round_over = True
        elif fields.get("error") == ROUND_IS_OVER:
            self.round_over = True
        if "client_id" in fields:
            # Right after a win this is the winner's score, otherwise the reply to a new name.
            named = fields.get("name") == str(self._asked.get("name", "")).strip()
            is_reply = named and self._last not in (YOU_WON, SOMEBODY_WON)
            if is_reply or self._last == YOU_WON:
                self.client_id, self.name = fields["client_id"], fields.get("name")
            return is_reply
        if kind in (LESS, MORE, YOU_WON) and isinstance(self._asked.get("guess"), int):
            self.last_guess, self.last_verdict = self._asked["guess"], kind
            self.guesses, self.wins = self.guesses + 1, self.wins + (kind == YOU_WON)
            if kind != MORE:  # the secret is this number or a bigger one
                self.low = max(self.low, self.last_guess + (kind == LESS))
            if kind != LESS:
                self.high = min(self.high, self.last_guess - (kind == MORE))
        return kind in (LESS, MORE, YOU_WON) or "error" in fields


# --------------------------------------------------------------------------------------------------
# Bots
# --------------------------------------------------------------------------------------------------

Strategy = Callable[[int, int], int]  # (low, high) of what is still possible -> guess


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
    """Guess anything at all: this one forgets the hints, so it always gets the whole range."""
    return random.randint(low, high)


forgetful.forgets_hints = True  # type: ignore[attr-defined]
STRATEGIES: dict[str, Strategy] = {s.__name__: s for s in (bisection, lucky, counting, forgetful)}


class Bot(Player):
    """Play by a strategy: `async with Bot(url, bisection) as bot: await bot.play(rounds=3)`.

    strategy   a function (low, high) -> guess; it gets what is still possible or, if it has a true
               attribute `forgets_hints`, the whole range
    delay      seconds between two guesses, give or take a half; you can change it during play
    """

    def __init__(
        self,
        url: str,
        strategy: Strategy = bisection,
        name: str | None = None,
        *,
        delay: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(url, name, **options)
        self.strategy, self.delay = strategy, check_range("delay", delay, 0, DAY)

    async def step(self) -> Message:
        """Make one guess and return the reply. Raises ServerGone when the server is gone."""
        forgets = getattr(self.strategy, "forgets_hints", False)
        low, high = self.range if forgets else (self.low, self.high)
        return await self.guess(self.strategy(low, high))

    async def play(self, rounds: int | None = None) -> None:
        """Play until so many rounds have been won by anybody (None: forever), or the server leaves.

        Cancel it to pause the bot; call it again to go on. Raises what the strategy raises, and
        ValueError when the server refuses what it returns.
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
                        guess = f"the guess of {self.strategy.__name__}"
                        raise ValueError(f"the server refuses {guess}: {reply['error']}")

    async def _think(self) -> None:
        clock = asyncio.get_running_loop().time
        start, mood = clock(), random.uniform(0.5, 1.5)
        await asyncio.sleep(0)
        # In short naps, so that a new delay works at once.
        while clock() < start + mood * self.delay:
            await asyncio.sleep(min(0.05, start + mood * self.delay - clock()))


# --------------------------------------------------------------------------------------------------
# A person at the terminal
# --------------------------------------------------------------------------------------------------


def harmless(text: str) -> str:
    """Make a text safe to print, since a server or another player may have written it."""
    text = INVISIBLE.sub("", text)  # terminals don't agree how many columns these take
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def show(text: str, before: str = "", after: str = "\n", file: TextIO | None = None) -> None:
    """Print a text at once, made harmless. Nobody has to read it all: `play | head -1` works."""
    file = file or sys.stdout
    try:
        print(before, harmless(text), sep="", end=after, file=file, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


class Screen:
    """Show messages to a person, above the line that is being typed."""

    def __init__(self) -> None:
        # Without a terminal, stdin or stdout may not even exist.
        self.interactive = all(file and file.isatty() for file in (sys.stdin, sys.stdout))
        self._explained: set[str] = set()
        if self.interactive and sys.platform == "win32":
            os.system("")  # makes the console understand escape sequences

    def hear(self, message: Message) -> None:
        """Write a message, with its meaning the first time; after that, hints get a short one."""
        words = message if isinstance(message, str) else message.get("error", "")
        kind, meaning = recognise(words)[0], explain(message)
        if kind in self._explained:
            meaning = {LESS: "go up", MORE: "go down"}.get(kind, "")
        elif kind:
            self._explained.add(kind)
        self.write(f"{words}  ({meaning})" if words and meaning else words or meaning)

    def write(self, line: str) -> None:
        """Write one line without touching what is being typed."""
        if not self.interactive:
            show(line)
            return
        # Chinese letters and emoji take two columns. If one doesn't fit, it goes to the next row.
        wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)
        columns = shutil.get_terminal_size().columns - (wide > 0)
        rows = -(-(len(harmless(line)) + wide) // columns)
        # Remember where the cursor is, make room above its line, write there, and go back to the
        # same place in the line, which is further down now.
        room = "\x1b7" + "\n" * rows + f"\x1b[{rows}A\x1b[{rows}L\r"
        show(line, before=room, after=f"\x1b8\x1b[{rows}B")


def read_lines() -> asyncio.Queue[str | None]:
    """Put the lines of standard input into a queue, and None at the end.

    A thread reads them, since Windows can't wait for a keyboard and a socket at once. It goes
    past Python's own buffer, or it would still hold its lock when the program ends.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is waiting
            if sys.stdin is not None:
                with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as keyboard:
                    for line in keyboard:
                        loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace"))
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


async def answer_lines(player: Player, screen: Screen) -> None:
    """Guess what is typed, line by line, until the input or the server ends."""
    screen.write("Type a number and press Enter; to leave, press Ctrl-D or Ctrl-C.")
    lines = read_lines()
    closed = asyncio.ensure_future(player.wait_closed())
    closed.add_done_callback(lambda _: lines.put_nowait(None))
    with contextlib.suppress(ServerGone):
        while True:
            if screen.interactive:
                show("Your guess: ", after="")
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


# --------------------------------------------------------------------------------------------------
# The command line: each command is a function, and its docstring is its help
# --------------------------------------------------------------------------------------------------


async def serve_command(**options: Any) -> None:
    """Run the server until Ctrl-C.

    examples:
      python guessgame.py serve --port 0                   on any free port
      python guessgame.py serve --host 0.0.0.0             for the whole local network
      python guessgame.py serve --low 1 --high 10 --pause 2
    """
    log.setLevel(logging.INFO)
    async with log_from_a_thread(), GameServer(**options) as server:
        with contextlib.suppress(ImportError, ValueError, OSError):  # then we take what we get
            from resource import RLIMIT_NOFILE, getrlimit, setrlimit

            files = server.max_players + HANDSHAKES + 50  # many systems allow 256, unless asked
            allowed, at_most = getrlimit(RLIMIT_NOFILE)
            setrlimit(RLIMIT_NOFILE, (max(allowed, min(files, at_most)), at_most))
        show(server.url)
        log.info("browsers play on %s", server.page)
        await asyncio.Event().wait()  # forever: only a signal ends it


class LogQueue(logging.handlers.QueueHandler):
    """Queue what is logged; when the queue is full, count the lines that are lost."""

    lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.lost:
            record.msg += f" (lost before this: {self.lost} lines)"
        try:
            self.queue.put_nowait(record)
            self.lost = 0
        except queue.Full:
            self.lost += 1


@contextlib.asynccontextmanager
async def log_from_a_thread() -> AsyncIterator[None]:
    """Log to stderr from a thread: a terminal that is stopped (Ctrl-S) must not stop the game."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(1000)

    def write() -> None:
        while True:
            line = f"{lines.get().msg}\n"
            with contextlib.suppress(AttributeError, OSError):  # there may be no stderr
                # Past Python's own buffer: a write that is stuck would hold its lock.
                os.write(sys.stderr.fileno(), line.encode(sys.stderr.encoding, "replace"))
            lines.task_done()

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", handlers=[LogQueue(lines)])
    threading.Thread(target=write, daemon=True).start()
    try:
        yield
    finally:
        for _ in range(20):  # wait for the last lines, but not for somebody who doesn't read them
            if lines.unfinished_tasks:
                await asyncio.sleep(0.01)
        if lines.unfinished_tasks:  # then Python's own last words must not wait, either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


async def play_command(url: str, name: str | None) -> None:
    """Play in this terminal.

    examples:
      python guessgame.py play --name Аня
      python guessgame.py play ws://192.168.1.20:8765
      seq 1 100 | python guessgame.py play
    """
    screen = Screen()
    async with Player(url, name, on_message=screen.hear) as player:
        await answer_lines(player, screen)
        if player.gone:
            screen.write(player.gone)
        if screen.interactive:
            show("")


async def bots_command(
    url: str, n: int, strategy: Iterable[str], delay: float, rounds: int | None
) -> None:
    """Let bots play; print the scores at the end.

    examples:
      python guessgame.py bots
      python guessgame.py bots -n 2 --strategy bisection lucky --delay 0.1 --rounds 20
    """

    def report(bot: Bot, message: Message) -> None:
        if message == YOU_WON:
            show(f"Round {bot.rounds}: {bot.name} found {bot.low}.")

    check_range("-n", n, 1)
    async with contextlib.AsyncExitStack() as stack:
        bots = []
        for number, kind in enumerate(itertools.islice(itertools.cycle(strategy), n), 1):
            bot = Bot(url, STRATEGIES[kind], f"{kind}-{number}", delay=delay)
            bots.append(await stack.enter_async_context(bot))
            if bot.name is None:  # somebody else's bots play on the same server
                await bot.rename(f"{kind}-{number}-{os.getpid()}")
            bot.on_message = functools.partial(report, bot)
        show(f"{n} bots play on {url}; to stop, press Ctrl-C.")
        try:
            await asyncio.gather(*(bot.play(rounds) for bot in bots))
        finally:
            if bots[0].gone:
                show(bots[0].gone)
            show(f"{'bot':<24}{'wins':>6}{'guesses':>9}")
            for bot in sorted(bots, key=lambda bot: -bot.wins):
                show(f"{bot.name!s:<24}{bot.wins:>6}{bot.guesses:>9}")


class Parser(argparse.ArgumentParser):
    """Parse the command line; complain in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (help: {self.prog} -h)\n")


def make_parser() -> Parser:
    """Describe the command line."""
    layout = argparse.RawDescriptionHelpFormatter  # keeps the lines of the examples
    parser = Parser(prog="guessgame.py", formatter_class=layout)
    parser.description = """Guess the number, over WebSocket.

examples:
  python guessgame.py serve                            then, in other terminals:
  python guessgame.py play --name Аня
  python guessgame.py bots -n 3 --rounds 5"""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add_command(run: Callable[..., Any], name: str) -> Callable[..., argparse.Action]:
        about = inspect.getdoc(run) or ""
        summary = about.partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=about, formatter_class=layout)
        command.set_defaults(run=run)
        return command.add_argument

    add = add_command(serve_command, "serve")
    # The options are those of GameServer, with its defaults and its words.
    for name, about in re.findall(r"(?m)^(\w+) {2,}(.+)$", inspect.getdoc(GameServer) or ""):
        default = inspect.signature(GameServer).parameters[name].default
        about += " (default: %(default)s)"
        add("--" + name.replace("_", "-"), type=type(default), default=default, help=about)
    about = "web page that may connect; can be repeated (default: all of them)"
    add("--origin", dest="origins", action="append", metavar="URL", help=about)

    about = "where the server is (default: %(default)s)"
    url = {"nargs": "?", "default": "ws://127.0.0.1:8765", "metavar": "URL", "help": about}
    add = add_command(play_command, "play")
    add("url", **url)
    add("--name", help="what the others will call you")

    add = add_command(bots_command, "bots")
    add("url", **url)
    add("-n", type=int, default=5, help="how many bots (default: %(default)s)")
    about = "how they guess, in turn (default: all of these)"
    add("--strategy", nargs="+", choices=STRATEGIES, default=STRATEGIES, help=about)
    about = "seconds between two guesses of a bot (default: %(default)s)"
    add("--delay", type=float, default=0.5, help=about)
    add("--rounds", type=int, help="stop after so many rounds (default: never)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; this works in Jupyter, too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "?" for letters that a terminal can't show
    parser = make_parser()
    options = vars(parser.parse_args(arguments))
    if not options:
        parser.print_help()
        return 2
    try:
        run_until_signal(options.pop("run")(**options))
    except (asyncio.CancelledError, KeyboardInterrupt):
        pass  # stopped by Ctrl-C or SIGTERM, as it should be
    except (OSError, ValueError) as error:
        show(f"guessgame.py: {error}", file=sys.stderr)
        return 1
    return 0


def run_until_signal(command: Coroutine[Any, Any, None]) -> None:
    """Run a command until it ends, or Ctrl-C or SIGTERM ends it, even inside a running loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(until_signal(command))
        return
    # In a notebook a loop is already running, and Python would refuse a second one.
    try:
        import nest_asyncio2 as nest_asyncio  # the maintained successor, part of newer Jupyters
    except ImportError:
        import nest_asyncio
    nest_asyncio.apply()
    try:
        asyncio.run(command)
    finally:
        # The outer turn of the loop still counts on callbacks that the nested run has taken.
        for _ in range(10_000):
            loop.call_soon(int)  # int() does nothing


async def until_signal(command: Coroutine[Any, Any, None]) -> None:
    """Run a command; Ctrl-C or SIGTERM cancels it, but only once, so that it can say goodbye."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(command)
    signalled = loop.create_future()  # it is cancelled only once, however many signals come
    signalled.add_done_callback(lambda _: task.cancel())
    with contextlib.suppress(NotImplementedError, RuntimeError):  # on Windows; in another thread
        for number in signal.SIGINT, signal.SIGTERM:
            loop.add_signal_handler(number, signalled.cancel)
    await task


if __name__ == "__main__":
    sys.exit(main())
