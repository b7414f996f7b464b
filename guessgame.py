#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Play "guess the number" over WebSocket: one server, any number of players.

The server draws a secret number. Players send guesses and hear whether *their own
number* is less or more than the secret. Whoever finds it wins the round, everybody
hears about it, and five seconds later a new round begins. Each message is one JSON
document in one text frame. The words are Russian, as the specification wants them:

    from the client     the server replies
    {"guess": 42}       "Меньше" (less), "Больше" (more) or "Вы угадали!" (you won!)
    {"name": "Аня"}     {"client_id": 3, "name": "Аня", "wins": 0, "you": true}
    {"scores": true}    {"scores": [...], "players": 27, "over": false, "you": 3}
    anything else       {"error": "<a sentence that says what to send instead>"}

    when                everybody hears
    somebody connects   "Добро пожаловать! Угадайте число от 1 до 100."  (the newcomer)
    somebody wins       "Игрок #3 угадал число 67!"                      (the others)
    right after that    {"client_id": 3, "wins": 1}
    in the pause        {"countdown": 5} ... {"countdown": 1}
    after the pause     "Новая игра началась!"

A player who gives a key of their own, {"name": "Аня", "key": "k7Qz2mXw"}, can come
back with it as who they were.

Read from top to bottom: the messages, the rules of a round, the game, and the server
that carries its words; then what limits one player, and the page for browsers. By then
the server is complete. After that come the client, bots, a person at the terminal, and
the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import inspect
import json
import logging
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
import textwrap
import threading
import time
import unicodedata
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from math import ceil, inf
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    NamedTuple,
    NoReturn,
    Union,
)
from urllib.parse import parse_qsl

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("guessgame")

# ------------------------------------------------------------------------------
# Messages: all the words that travel, and what they mean
# ------------------------------------------------------------------------------

Object = Dict[str, Any]
Message = Union[str, Object]


class Sentence(NamedTuple):
    """One sentence of the game: as it travels, and what it means."""

    russian: str
    english: str
    pattern: str = ""  # how to recognise it, if it has gaps


WELCOME = Sentence(
    "Добро пожаловать! Угадайте число от {low} до {high}.",
    "Welcome! Guess a number from {low} to {high}.",
    r"Добро пожаловать! Угадайте число от (?P<low>-?\d+) до (?P<high>-?\d+)\.",
)
LESS = Sentence("Меньше", "Less: YOUR number is the smaller one, so go up.")
MORE = Sentence("Больше", "More: YOUR number is the bigger one, so go down.")
YOU_WON = Sentence("Вы угадали!", "You guessed it!")
SOMEBODY_WON = Sentence(
    "Игрок {player} угадал число {number}!",
    "Player {player} guessed the number {number}!",
    r"Игрок (?P<player>.+) угадал число (?P<number>-?\d+)!",
)
NEW_GAME = Sentence("Новая игра началась!", "A new game has begun!")
ROUND_IS_OVER = Sentence(
    "Раунд окончен: дождитесь сообщения «Новая игра началась!» и отправьте догадку.",
    "The round is over: wait for the new game, then send your guess.",
)
TOO_SOON = Sentence(
    "Слишком рано: отправьте следующую догадку через {seconds} с.",
    "Too soon: send your next guess in {seconds} s.",
    r"Слишком рано: .* через (?P<seconds>\d+) с\.",
)
BAD_GUESS = Sentence(
    "Догадка — целое число от {low} до {high}: "
    'отправьте, например, {{"guess": {low}}}.',
    "A guess is a whole number from {low} to {high}.",
    r"Догадка — целое число от (?P<low>-?\d+) до (?P<high>-?\d+): .*",
)
BAD_NAME = Sentence(
    "Имя: до 32 символов, хотя бы одна буква, цифра или эмодзи; без «!»; не похоже "
    'на номер (#3). Отправьте, например, {"name": "Аня"}.',
    "A name: up to 32 characters, a letter, digit or emoji; no “!”; not an id (#3).",
)
NAME_TAKEN = Sentence(
    'Такое имя уже занято: отправьте другое, например {"name": "Аня-2"}.',
    "This name is taken: send another one.",
)
BAD_KEY = Sentence(
    "Ключ — от 8 до 64 печатных знаков ASCII без пробелов: "
    'отправьте, например, {"name": "Аня", "key": "k7Qz2mXw"}.',
    "A key has 8 to 64 printable ASCII characters without spaces.",
)
BARRED = Sentence(
    'Учитель запретил это имя или этот ключ: отправьте, например, {"name": "Аня"}.',
    "The teacher has barred this name or this key: send another one.",
)
NOT_TEXT = Sentence(
    'Двоичные сообщения не поддерживаются: отправьте текст, например {"guess": 42}.',
    "Binary messages are not supported: send text.",
)
NOT_AN_OBJECT = Sentence(
    'Это не объект JSON: отправьте, например, {"guess": 42}.',
    "This is not a JSON object.",
)
NOTHING_TO_DO = Sentence(
    'Непонятный запрос: отправьте {"guess": 42}, {"name": "Аня"} или {"scores": true}.',
    "It asks for nothing: send a guess, a name, or ask for the scores.",
)
SENTENCES = (
    WELCOME,
    LESS,
    MORE,
    YOU_WON,
    SOMEBODY_WON,
    NEW_GAME,
    ROUND_IS_OVER,
    TOO_SOON,
    BAD_GUESS,
    BAD_NAME,
    NAME_TAKEN,
    BAD_KEY,
    BARRED,
    NOT_TEXT,
    NOT_AN_OBJECT,
    NOTHING_TO_DO,
)

# Not sent as text: the server closes the connection with this code.
REMOVED = {"close": 1008, "reason": "the teacher has removed you"}
CAME_BACK = {"close": 4001, "reason": "you play on elsewhere"}

encode = json.JSONEncoder(ensure_ascii=False).encode


def parse_request(data: str | bytes) -> tuple[Object, str]:
    """Read a client's message: what it asks for, and what to say if that is nothing."""
    if isinstance(data, bytes):
        return {}, NOT_TEXT.russian
    try:
        request = json.loads(data)
    # RecursionError: a thousand opening brackets
    except (ValueError, RecursionError):
        request = None
    if isinstance(request, dict):
        return request, NOTHING_TO_DO.russian
    return {}, NOT_AN_OBJECT.russian


def recognise(text: object) -> tuple[Sentence | None, dict[str, str]]:
    """Find which sentence a text is, and what fills its gaps; None, {} for others."""
    for sentence in SENTENCES:
        pattern = sentence.pattern or re.escape(sentence.russian)
        match = re.fullmatch(pattern, str(text))
        if match:
            return sentence, match.groupdict()
    return None, {}


def explain(message: Message) -> str:
    """Say in English what a sentence or an error means; return "" for others."""
    text = message if isinstance(message, str) else message.get("error")
    sentence, gaps = recognise(text)
    return sentence.english.format(**gaps) if sentence else ""


# ------------------------------------------------------------------------------
# Rules: one round, without players
# ------------------------------------------------------------------------------


def check_number(name: str, number: float, least: int = 0) -> None:
    """Raise ValueError for a number below the least, for infinity and for nan."""
    if not least <= number < inf:
        raise ValueError(f"{name} cannot be {number}: give {least} or more")


def draw_secret(low: int, high: int) -> int:
    """Draw a number from low to high, both included, that nobody can predict."""
    return low + secrets.randbelow(high - low + 1)


@dataclass
class Round:
    """Judge guesses until one is right."""

    secret: int
    low: int = 1
    high: int = 100
    over: bool = False

    def guess(self, number: object) -> Sentence:
        """Return LESS, MORE or YOU_WON; the first right guess ends the round.

        Raises ValueError, with a sentence for the player, once the round is over, and
        for anything that is not a whole number in the range. Between checking `over`
        and setting it there is no `await`. So there is one winner, however many guesses
        arrive together.
        """
        if self.over:
            raise ValueError(ROUND_IS_OVER.russian)
        # type(), not isinstance(): in Python True is an int, but it is not a guess.
        if type(number) is not int or not self.low <= number <= self.high:
            raise ValueError(BAD_GUESS.russian.format(**vars(self)))
        if number < self.secret:
            return LESS
        if number > self.secret:
            return MORE
        self.over = True
        return YOU_WON


# ------------------------------------------------------------------------------
# The game: who is here, what they ask for, what they are told. No network, no asyncio
# ------------------------------------------------------------------------------

# Unicode calls all but the first one letters or symbols.
BLANK = " \u115f\u1160\u2800"


def fold(name: str) -> str:
    """Map names that differ only in case, width or blanks to the same text."""
    return unicodedata.normalize("NFKC", name).casefold().strip(BLANK)


def check_name(name: object) -> str:
    """Return the name without spaces around it; raise ValueError for a bad one.

    A name must be visible, must not cover other lines with piles of accents, and must
    not look like an id, or like sentences, as in "Игрок Аня угадал число 5! Игрок Боря
    угадал число 67!"
    """
    name = name.strip() if isinstance(name, str) else ""
    folded = fold(name.replace("№", "#"))
    kinds = "".join(unicodedata.category(letter)[0] for letter in folded)
    if (
        len(name) > 32
        or not name.isprintable()
        # no letter, number or symbol; a pile of accents
        or re.search("^[^LNS]*$|MMM", kinds)
        # like a sentence; like an id
        or re.search(r"!|^\W*#\W*\d+\W*$", folded)
    ):
        raise ValueError(BAD_NAME.russian)
    return name


@dataclass(eq=False)
class Client:
    """One player: create it when somebody connects, and let them `Game.join`."""

    id: int = 0
    name: str = ""
    wins: int = 0
    key: str = ""  # a secret: it never reaches the log
    last_guess: float = -inf  # when it was, by the game's clock
    left: str = ""  # why they are not here any more, or ""

    def __repr__(self) -> str:
        """Describe the player in the log; the quotes show where a name ends."""
        return f"#{self.id} {self.name!r}"

    def score(self) -> Object:
        """Make the message {"client_id": 3, "name": "Аня", "wins": 1}."""
        name = {"name": self.name} if self.name else {}
        return {
            "client_id": self.id,
            **name,
            "wins": self.wins,
        }


Choose = Callable[[int, int], int]  # (low, high) -> a number


@dataclass(eq=False)
class Game:
    """Play with everybody who joins: one secret number, any number of players.

    send       called with some clients and what they are told; it must not wait
    draw       a function (low, high) -> secret
    cooldown   seconds between two guesses of one player, at least
    clock      a function that returns seconds

    `clients` are the players who are here, by id. `history` has the last 10,000
    guesses, each as (round, seconds since it began, id, name or "", number, reply). To
    play by other rules, override `begin_round` or another method; to let clients ask
    for something else, add a method to `requests`. You may change `cooldown` and `draw`
    at any time. Raises ValueError when low is above high.
    """

    send: Callable[[Iterable[Client], Message], None]
    low: int = 1
    high: int = 100
    draw: Choose = draw_secret
    cooldown: float = 0.0
    clock: Callable[[], float] = time.monotonic

    joined = 0
    rounds_begun = 0

    def __post_init__(self) -> None:
        check_number("high", self.high, self.low)
        self.clients: dict[int, Client] = {}
        self.kept: dict[int, Client] = {}  # who has left, but may come back
        self.barred: set[str] = set()  # names and keys
        self.history: deque[Any] = deque(maxlen=10_000)
        self.requests = {
            "name": self.introduce,
            "key": self.introduce,
            "guess": self.judge,
            "scores": self.tell_scores,
        }
        self.begin_round()

    def begin_round(self) -> None:
        """Draw a number for everybody to guess from now on."""
        limits = self.low, self.high
        secret = self.draw(*limits)
        self.round = Round(secret, *limits)
        self.rounds_begun += 1
        self.began = self.clock()

    def new_round(self) -> None:
        """Begin a new round and tell everybody; a server has its own `new_round`."""
        self.begin_round()
        self.broadcast(NEW_GAME.russian)

    def broadcast(self, message: Message) -> None:
        """Send a message to every client."""
        self.send(self.clients.values(), message)

    def join(self, client: Client) -> None:
        """Welcome a new player, and give them an id."""
        self.joined += 1
        client.id = self.joined
        self.send([client], WELCOME.russian.format(**vars(self)))
        self.clients[client.id] = client
        log.info("%r joined", client)

    def leave(self, client: Client, why: str = "left") -> None:
        """Take a player off the list. It is safe to call this twice."""
        if client.left:
            return
        client.left = why
        self.clients.pop(client.id, None)
        if client.key and client.wins:
            self.kept[client.id] = client
        log.info("%r is gone: %s", client, why)

    def answer(self, client: Client, data: str | bytes) -> None:
        """Do what a message asks for; each thing gets a reply, or a sentence why not.

        From here to the announcements nothing waits: nobody else gets in between.
        """
        if client.left:
            return  # this message was still on its way
        request, complaint = parse_request(data)
        methods = {
            method: key
            for key, method in self.requests.items()
            if key in request
        }
        if not methods:
            self.send([client], {"error": complaint})
        # A name and a key have the same method, and get one reply.
        for reply in methods:
            try:
                reply(client, request)
            except ValueError as error:
                self.send([client], {"error": str(error)})

    # Guesses and wins

    def judge(self, client: Client, request: Object) -> None:
        """Reply to a guess; if it is right, tell everybody."""
        number = request["guess"]
        now = self.clock()
        wait = client.last_guess + self.cooldown - now
        if wait > 0:
            raise ValueError(TOO_SOON.russian.format(seconds=ceil(wait)))
        verdict = self.round.guess(number)
        client.last_guess = now
        self.send([client], verdict.russian)
        self.history.append(
            (
                self.rounds_begun,
                now - self.began,
                client.id,
                client.name,
                number,
                verdict.russian,
            )
        )
        if self.round.over:
            self.announce_win(client)

    def announce_win(self, winner: Client) -> None:
        """Tell everybody who has won."""
        winner.wins += 1
        number = self.round.secret
        log.info("%r guessed %d", winner, number)
        others = dict(self.clients)
        others.pop(winner.id, None)
        player = winner.name or f"#{winner.id}"
        news = SOMEBODY_WON.russian.format(player=player, number=number)
        self.send(others.values(), news)
        self.broadcast(winner.score())

    # Names, and coming back with a key

    def introduce(self, client: Client, request: Object) -> None:
        """Let a player with a key come back, and give them the name they want."""
        came_back = "key" in request and self.use_key(client, request["key"])
        try:
            if "name" in request:
                self.rename(client, request["name"])
        except ValueError:
            # Whoever came back keeps their old name.
            if not came_back:
                raise
        score = client.score()
        score["you"] = True
        self.send([client], score)

    def rename(self, client: Client, name: object) -> None:
        """Give a player a name, unless it is somebody else's."""
        name = check_name(name)
        folded = fold(name)
        if folded in self.barred:
            raise ValueError(BARRED.russian)
        for other in self.everybody():
            if other is not client and fold(other.name) == folded:
                raise ValueError(NAME_TAKEN.russian)
        client.name = name

    def use_key(self, client: Client, key: object) -> bool:
        """Remember a key, or let a client be the player who has given it before."""
        if not isinstance(key, str) or not re.fullmatch("[!-~]{8,64}", key):
            raise ValueError(BAD_KEY.russian)
        if key in self.barred:
            raise ValueError(BARRED.russian)
        for known in self.everybody():
            if known.key == key and known is not client:
                self.change_places(client, known)
                return True
        client.key = key
        return False

    def change_places(self, client: Client, known: Client) -> None:
        """Let a newcomer be a known player, whose earlier connection ends."""
        if not known.left:
            self.send([known], CAME_BACK)
        known.left = "came back on another connection"
        # A copy of who they were until now leaves, and may come back, too.
        self.leave(replace(client), f"is {known!r} again")
        self.kept.pop(known.id, None)
        vars(client).update(vars(known), left="")
        self.clients[client.id] = client

    def everybody(self) -> list[Client]:
        """Return who is here, and who may come back."""
        return [*self.clients.values(), *self.kept.values()]

    # The scores, and what the teacher does

    def tell_scores(self, client: Client, request: Object) -> None:
        """Tell a player all the scores."""
        if request["scores"] is not True:
            raise ValueError(NOTHING_TO_DO.russian)
        scores = self.scores()
        scores["you"] = client.id
        self.send([client], scores)

    def scores(self) -> Object:
        """Make the message with the scores of all who are here or kept."""
        ranking = sorted(
            self.everybody(),
            key=lambda client: (-client.wins, client.id),
        )
        return {
            "scores": [client.score() for client in ranking[:50]],
            "players": len(self.clients),
            "over": self.round.over,
        }

    def clear_scores(self) -> None:
        """Set all wins to zero, forget who is not here, and tell everybody."""
        self.kept.clear()
        for client in self.clients.values():
            client.wins = 0
        self.broadcast(self.scores())

    def remove(self, client_id: int) -> None:
        """Send a player away for good: close code 1008, name and key are barred.

        Raises KeyError when nobody here or kept has this id.
        """
        client = self.kept.pop(client_id, None) or self.clients[client_id]
        self.barred.update({client.key, fold(client.name)})
        client.wins = 0  # so they are not kept
        if not client.left:
            self.send([client], REMOVED)
            self.leave(client, "removed by the teacher")


# ------------------------------------------------------------------------------
# The server: carry the game's words to and fro
# ------------------------------------------------------------------------------

CLOSE_TIMEOUT = 1.0  # seconds a connection may take to say goodbye
SILENCE = 40.0  # seconds, at most; the library sends a ping every twenty
LOOK = 10.0  # seconds from one look at who is silent to the next


class GameServer:
    """Serve a game: `async with GameServer(port=0) as server: print(server.url)`.

    host          address to listen on; 0.0.0.0: every address of this machine
    port          port to listen on; 0: any free one
    game          what is played: Game, or a subclass
    low, high     the range of the secret
    draw          a function (low, high) -> secret
    cooldown      seconds between two guesses of one player, at least
    pause         seconds from a win to the next round; None: until `new_round()`
    max_players   most players at once; the next one is refused with HTTP 503
    rate          bytes a second that are read from one player; what is more, waits
    max_backlog   bytes that may wait for a player, who is cut off above that
    options       those of the library's `serve()`: max_size (bytes of a message, by
                  default 1024), ping_interval (seconds, below 30; None: never),
                  origins (the pages that may connect, like ["https://example.org"];
                  None: all) ...

    While it runs, you may change cooldown, pause, rate and max_backlog, and call
    `new_round`, `remove` and `clear_scores`. `clients` and `history` are those of the
    game. To listen in, override `overhear`. Raises ValueError for a number that makes
    no sense.
    """

    running = False
    countdown: asyncio.Task[None] | None = None

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        *,
        game: Callable[..., Game] = Game,
        low: int = 1,
        high: int = 100,
        draw: Choose = draw_secret,
        cooldown: float = 0.0,
        pause: float | None = 5.0,
        max_players: int = 200,
        rate: float = 16_384,
        max_backlog: int = 65_536,
        **options: Any,
    ) -> None:
        check_number("max_players", max_players, 1)
        check_number("rate", rate, 1)
        self.host = self.address = host
        self.port = port
        self.game = game(self.send, low, high, draw)
        self.max_players = max_players
        self.rate = rate
        self.options = options
        self.clients = self.game.clients
        self.history = self.game.history
        self.remove = self.game.remove
        self.clear_scores = self.game.clear_scores
        self.connections: dict[Client, Any] = {}  # of PlayerConnection
        self.max_backlog = max_backlog
        self.pause = pause
        self.cooldown = cooldown

    async def play(self, connection: Any) -> None:
        """Play with one player on a PlayerConnection, from welcome to goodbye."""
        client = Client()
        why = "something went wrong"
        self.connections[client] = connection
        connection.transport.set_write_buffer_limits(self.max_backlog)
        try:
            self.game.join(client)
            wishes = read_wishes(connection.request.path)
            if wishes:
                self.game.answer(client, encode(wishes))
            async for data in connection:
                if connection.phase != "fresh":
                    # Between two messages of one player, the others have their turn.
                    # How fast one may ask stands below, at PlayerConnection.
                    connection.phase = "busy"
                    now = asyncio.get_running_loop().time()
                    await asyncio.sleep(connection.due - AT_ONCE - now)
                connection.phase = "done"
                self.overhear([client], data, True)
                self.game.answer(client, data)
                # Was that a win?
                if self.countdown is None:
                    self.schedule()
            why = "said goodbye"
        except ConnectionClosed as closed:
            why = (
                connection.cut_off
                or f"close code {closed.sent.code if closed.sent else 1006}"
            )
        except UnicodeDecodeError:
            await connection.close(1007)  # websockets 14 does so itself
        except Exception:
            log.exception("the game stumbled over what %r said", client)
            raise
        finally:
            if not self.running:
                why = "the server has stopped"
            self.game.leave(client, why)
            del self.connections[client]

    def send(self, clients: Iterable[Client], message: Message) -> None:
        """Send a message to some clients without waiting for any of them."""
        clients = list(clients)
        self.overhear(clients, message, False)
        connections = [self.connections[client] for client in clients]
        if not isinstance(message, dict) or "close" not in message:
            broadcast(connections, encode(message))
            return
        for connection in connections:
            goodbye = connection.close(*message.values())
            # Kept, for a task that nobody keeps may vanish.
            connection.closing = asyncio.ensure_future(goodbye)

    def overhear(
        self,
        clients: list[Client],
        message: object,
        is_heard: bool,
    ) -> None:
        """Do nothing: override it to see what clients say (is_heard), and are told."""

    def watch(self) -> None:
        """Cut off who has long been silent, and has not even answered a ping."""
        self.next_look = asyncio.get_running_loop().call_later(LOOK, self.watch)
        if not self.options.get("ping_interval", 20):
            return
        for connection in self.connections.values():
            # Counted, not read off a clock: if we are asleep, nobody is silent.
            connection.silence += LOOK
            if connection.silence >= SILENCE:
                connection.cut_off = "was silent"
                connection.transport.abort()

    @property
    def max_backlog(self) -> int:
        """Bytes that may wait for a player, who is cut off above that."""
        return self._max_backlog

    @max_backlog.setter
    def max_backlog(self, size: int) -> None:
        check_number("max_backlog", size, 1)
        self._max_backlog = size
        for connection in self.connections.values():
            connection.transport.set_write_buffer_limits(size)

    # The pause between two rounds

    @property
    def pause(self) -> float | None:
        """Seconds from a win to the next round; None: until `new_round()`."""
        return self._pause

    @pause.setter
    def pause(self, seconds: float | None) -> None:
        if seconds is not None:
            check_number("pause", seconds)
        self._pause = seconds
        self.schedule()

    def schedule(self) -> None:
        """Begin the countdown to the next round, or end it, depending on the game."""
        if self.countdown is not None:
            self.countdown.cancel()
            self.countdown = None
        if self.running and self.game.round.over and self.pause is not None:
            self.countdown = asyncio.ensure_future(self.count_down(self.pause))

    async def count_down(self, pause: float) -> None:
        """Announce the whole seconds that remain, then begin a new round."""
        clock = asyncio.get_running_loop().time
        end = clock() + pause
        # Each sleep is measured from the end, so that small delays don't add up.
        for seconds in range(int(pause), 0, -1):
            await asyncio.sleep(end - seconds - clock())
            self.game.broadcast({"countdown": seconds})
        await asyncio.sleep(end - clock())
        # If no number can be drawn now, the next message counts down again.
        self.countdown = None
        self.new_round()

    def new_round(self) -> None:
        """Begin a new round now, whatever the state of the game."""
        self.game.new_round()
        self.schedule()

    @property
    def cooldown(self) -> float:
        """Seconds between two guesses of one player, at least."""
        return self.game.cooldown

    @cooldown.setter
    def cooldown(self, seconds: float) -> None:
        check_number("cooldown", seconds)
        self.game.cooldown = seconds

    # Starting and stopping

    async def __aenter__(self) -> GameServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop()` it starts again on the same port.

        Raises OSError when the port is in use, be it by this very server.
        """
        options: Object = {
            "compression": None,  # it saves nothing on short messages
            "open_timeout": 5.0,
            "close_timeout": CLOSE_TIMEOUT,
            "max_size": 1024,
            "max_queue": 1_000_000,  # see read_on(): it's we who stop reading
            "write_limit": 1_000_000,  # until they play: on a slow line, the page waits
            "ping_timeout": None,  # see watch(): who floods may answer late
            "logger": library_log,
            "create_connection": partial(PlayerConnection, self),
            "process_request": let_in,
            **self.options,
        }
        if options.get("origins") is not None:
            # None: programs, which do not say where they come from
            options["origins"] = [*options["origins"], None]
        try:
            self.server = await serve(
                self.play, self.host, self.port, **options
            )
        except (OSError, OverflowError) as error:
            raise OSError(
                f"cannot listen on {self.host}:{self.port}: {error}; "
                "end the other program, or choose another port (0: any free one)"
            ) from error
        for listening_socket in self.server.sockets:
            # So that one read takes in a few hundred messages, not thousands.
            listening_socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
            )
            address, self.port, *_ = listening_socket.getsockname()
            self.address = f"[{address}]" if ":" in address else address
        self.running = True
        self.watch()
        if self.game.round.over:
            self.new_round()

    async def stop(self) -> None:
        """Say goodbye to all with close code 1001, and stop, within two seconds.

        Players who don't answer are cut off, and nobody can come back with a key. It is
        safe to call this twice.
        """
        if not self.running:
            return
        self.running = False
        self.schedule()
        self.next_look.cancel()
        self.server.close()
        closed = asyncio.ensure_future(self.server.wait_closed())
        # The library would wait longer for those who don't read, or half a handshake.
        await asyncio.wait({closed}, timeout=CLOSE_TIMEOUT)
        for connection in self.connections.values():
            connection.transport.abort()
        await asyncio.wait({closed}, timeout=CLOSE_TIMEOUT / 2)
        self.game.kept.clear()

    @property
    def url(self) -> str:
        """The address for players on this machine, like ws://127.0.0.1:8765."""
        host = self.address.replace("0.0.0.0", "127.0.0.1")
        return f"ws://{host}:{self.port}"

    @property
    def pages(self) -> list[str]:
        """The addresses at which browsers find the page; [] without a network."""
        hosts = [self.address]
        if self.address == "0.0.0.0":
            hosts = find_addresses()
        return [f"http://{host}:{self.port}/" for host in hosts]


def read_wishes(path: str) -> dict[str, str]:
    """Return the name and the key in ws://...?name=Аня&key=k7Qz2mXw."""
    wishes = parse_qsl(path.partition("?")[2], keep_blank_values=True)
    return {key: wish for key, wish in wishes if key in ("name", "key")}


def find_addresses() -> list[str]:
    """Find what others in the network call this machine, the likeliest first."""
    found = []
    with socket.socket(type=socket.SOCK_DGRAM) as probe, suppress(OSError):
        # This sends nothing, but finds our own address on the way there.
        probe.connect(("192.0.2.1", 9))
        found.append(probe.getsockname()[0])
    with suppress(ImportError):
        import psutil  # comes with Jupyter

        for addresses in psutil.net_if_addrs().values():
            found += [
                each.address
                for each in addresses
                if each.family == socket.AF_INET
            ]
    return [host for host in dict.fromkeys(found) if host[:4] != "127."]


# ------------------------------------------------------------------------------
# Limits: whom to let in, and how fast one may ask
# ------------------------------------------------------------------------------

AT_ONCE = 0.25  # seconds' worth of bytes that may come in one burst

# The library would log a traceback for each strange visitor. We log what matters.
library_log = logging.getLogger("guessgame.websockets")
library_log.setLevel(logging.CRITICAL)


class PlayerConnection(ServerConnection):
    """Read only so many bytes a second, and let only so many wait to be read.

    What comes too fast waits in the sender's own computer.
    """

    # An object with more than 30 attributes is big and slow; the library has 27.
    # due: when, at this rate, all that was read may have come
    # phase: "fresh", we have just read; "busy", more has come than one message; "done"
    # silence: seconds for which the player has said nothing
    __slots__ = "due", "game_server", "phase", "silence"

    cut_off = ""  # why we have ended the connection

    def __init__(
        self,
        server: GameServer,
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.game_server = server
        self.due = 0.0

    def data_received(self, data: bytes) -> None:
        """Take in what has come, and stop reading if it came too fast."""
        super().data_received(data)
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.phase = "fresh"
        self.due = max(self.due, now - AT_ONCE)
        self.due += len(data) / self.game_server.rate
        self.silence = 0.0
        if self.due > now:
            self.silence = now - self.due  # it begins when we read on
            self.transport.pause_reading()
            loop.call_at(self.due, self.read_on)

    def read_on(self) -> None:
        """Read on, as soon as all that came has been answered."""
        if self.phase == "busy":
            asyncio.get_running_loop().call_later(AT_ONCE, self.read_on)
        else:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Cut off who does not read, as soon as too much waits for them."""
        super().pause_writing()
        self.cut_off = "did not read"
        self.transport.abort()


def let_in(connection: PlayerConnection, request: Request) -> Response | None:
    """Let a player in, unless the seats are taken; show a browser the page."""
    server = connection.game_server
    if "websocket" in str(request.headers.get_all("Upgrade")).lower():
        if len(server.connections) < server.max_players:
            return None
        refusal = 503, "Все места заняты: подключитесь позже."
    elif "Sec-WebSocket-Key" in request.headers:
        refusal = 426, "A proxy on the way has swallowed the Upgrade header."
    else:
        return show_page(connection, request)
    log.warning("refused %s: HTTP %d, %s", connection.remote_address, *refusal)
    return connection.respond(*refusal)


# ------------------------------------------------------------------------------
# The page: any browser is a client
# ------------------------------------------------------------------------------

PAGE = pathlib.Path(__file__).with_name("notebooks") / "page.html"
NO_PAGE = """This is a WebSocket server; its page, notebooks/page.html, is not here.
To play without a browser: python guessgame.py play ws://ADDRESS:PORT
"""


def show_page(
    connection: PlayerConnection,
    request: Request,
) -> Response:
    """Answer a browser with the page, or with a sentence; it takes no seat."""
    if not request.path.partition("?")[0].endswith("/"):
        return connection.respond(404, "Not here: the page ends in /.\n")
    if not PAGE.exists():
        return connection.respond(200, NO_PAGE)
    page = PAGE.read_text(encoding="utf-8")
    pages = connection.game_server.pages
    page = page.replace("{pages}", " ".join(pages))
    with suppress(ImportError, IndexError):
        import segno  # draws what phones can read, if somebody has installed it

        code = segno.make(pages[0]).svg_data_uri()
        page = page.replace("{code}", code)
    response = connection.respond(200, page)
    headers = response.headers
    del headers["Content-Type"]
    headers["Content-Type"] = "text/html; charset=utf-8"
    headers["Content-Security-Policy"] = make_policy(page)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cache-Control"] = "no-cache"
    return response


def make_policy(page: str) -> str:
    """Write the policy that lets only the page's own script and style run."""
    policy = "default-src 'none'; img-src data:; connect-src 'self' ws: wss:"
    inline_elements = re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL)
    for kind, inline in inline_elements:
        digest = hashlib.sha256(inline.encode()).digest()
        digest = base64.b64encode(digest)
        policy += f"; {kind}-src 'sha256-{digest.decode()}'"
    return policy


# ------------------------------------------------------------------------------
# The client: what a player knows, and the connection to the server
# ------------------------------------------------------------------------------

# From websockets 15 on, a company's proxy would be used: it's only in the way here.
CONNECT_OPTIONS: Object = {}
if "proxy" in inspect.signature(connect).parameters:
    CONNECT_OPTIONS["proxy"] = None
PATIENCE = 10.0  # seconds to wait for the welcome, and for a reply


@dataclass(eq=False)
class Knowledge:
    """What a player knows from what they have asked and heard, without a network.

    range             where the server draws the secret
    low, high         where it can still be in this round
    last_guess        the last number judged in this round, and
    last_verdict      what it was told: LESS, MORE or YOU_WON
    guesses, wins     how many, in all
    rounds            how many have been won, by anybody
    round_over        True from a win to the next round
    client_id, name   who the player is, as far as the server has told
    waiting           how many replies are due; the welcome is the first
    reply             the last one that has come
    """

    range: tuple[int, int] = 1, 100
    low: int = 1
    high: int = 100
    last_guess: int | None = None
    last_verdict: Sentence | None = None
    guesses: int = 0
    wins: int = 0
    rounds: int = 0
    round_over: bool = False
    client_id: int | None = None
    name: str | None = None
    waiting: int = 1
    reply: Message = ""
    asked: object = None  # the number whose hint is due in this round

    def ask_for(self, request: Object) -> None:
        """Take note of what is being asked for."""
        things = request.keys() & {"name", "key", "guess", "scores"}
        is_double = things >= {"name", "key"}  # two things, but one reply
        self.waiting = len(things) - is_double or 1
        self.asked = request.get("guess")

    def hear(self, message: Message) -> None:
        """Learn from a message; raise ValueError or LookupError for a strange one."""
        fields = message if isinstance(message, dict) else {}
        sentence, gaps = recognise(fields.get("error", message))
        if sentence is WELCOME:
            self.range = int(gaps["low"]), int(gaps["high"])
        elif not self.reply:
            raise ValueError("the welcome comes first")
        if sentence in (WELCOME, NEW_GAME):
            self.round_over = False
            self.asked = None  # a late hint is about the round before
            self.low, self.high = self.range
            self.last_guess = self.last_verdict = None
        is_win = sentence in (YOU_WON, SOMEBODY_WON)
        self.rounds += is_win
        self.wins += sentence is YOU_WON
        if is_win or sentence is ROUND_IS_OVER:
            self.round_over = True
        if "wins" in fields and "you" in fields:
            self.client_id = int(fields["client_id"])
            self.name = fields.get("name")
            self.wins = int(fields["wins"])
        is_reply = not fields or fields.keys() & {"you", "error"}
        if is_reply and sentence not in (NEW_GAME, SOMEBODY_WON):
            self.waiting -= 1
            self.reply = message
            if sentence in (LESS, MORE, YOU_WON):
                self.learn(sentence)

    def is_answered(self) -> bool:
        """Tell whether all that was asked has got its reply."""
        return self.waiting < 1

    def learn(self, verdict: Sentence | None) -> None:
        """Learn from a hint where the secret can be."""
        self.guesses += 1
        number = self.asked
        if not isinstance(number, int):
            return
        self.last_guess = number
        self.last_verdict = verdict
        if verdict is LESS:
            self.low = max(self.low, number + 1)
        elif verdict is MORE:
            self.high = min(self.high, number - 1)
        else:
            self.low = self.high = number


class ServerGone(ConnectionError):
    """Say in one sentence that the server can't be reached, or has left."""


class Player(Knowledge):
    """Play from code: `async with Player(url, "Аня") as p: print(await p.guess(50))`.

    url          where the server is
    name         what to be called, or None
    key          8 to 64 characters with which you come back as who you were, or None
    on_message   called with each message, before anything that waits for it goes on

    `gone` is None while the player is connected, otherwise a sentence that says why
    not; `reader` is the task that hears all messages, and ends with the connection.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        *,
        key: str | None = None,
        on_message: Callable[[Message], None] | None = None,
    ) -> None:
        super().__init__()
        self.url = url
        wishes = {"name": name, "key": key}.items()
        self.wishes = {what: wish for what, wish in wishes if wish}
        self.on_message = on_message
        self.gone: str | None = f"not connected to {url} yet: join first"
        self.one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.leave()

    async def join(self) -> None:
        """Connect, wait for the welcome, and ask for the name; again after leaving.

        Raises ServerGone when no server of this game answers within 10 seconds.
        """
        try:
            self.connection = await connect(
                self.url, close_timeout=CLOSE_TIMEOUT, **CONNECT_OPTIONS
            )
        except (
            OSError,
            EOFError,
            ValueError,
            asyncio.TimeoutError,
            WebSocketException,
        ) as error:
            why = str(error) or type(error).__name__
            raise ServerGone(
                f"No server of this game lets you in at {self.url} ({why}): check the "
                "address (a path ends in /), or run: python guessgame.py serve; for "
                "a certificate of your own, set SSL_CERT_FILE."
            ) from error
        super().__init__()  # a new connection knows nothing
        self.gone = None
        self.news: asyncio.Future[None] = asyncio.Future()
        self.reader = asyncio.ensure_future(self.read())
        try:
            await self.wait_until(self.is_answered, PATIENCE)
            if self.wishes:
                await self.ask(self.wishes)
        except BaseException:  # even a cancelled join leaves nothing behind
            self.connection.transport.abort()
            raise

    async def leave(self) -> None:
        """Say goodbye and disconnect within a second. Safe to call twice."""
        if self.gone is None:
            closing = asyncio.ensure_future(self.connection.close())
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
            self.connection.transport.abort()  # does nothing if it is closed
            await asyncio.wait({closing, self.reader})

    async def wait_until(
        self,
        condition: Callable[[], bool],
        patience: float | None = None,
    ) -> None:
        """Wait until messages make a condition true: `lambda: not player.round_over`.

        Raises ServerGone when the server leaves first, or says nothing for so many
        seconds: then it is as good as gone, and the connection ends.
        """
        while not condition():
            if self.gone is not None:
                raise ServerGone(self.gone)
            done, _ = await asyncio.wait({self.news}, timeout=patience)
            if not done:
                self.connection.transport.abort()

    async def guess(self, number: int) -> Message:
        """Send a guess; return "Меньше", "Больше", "Вы угадали!" or {"error": ...}."""
        return await self.ask({"guess": number})

    async def ask(self, request: Object | str | bytes) -> Message:
        """Send a request and return the reply; the last, if it asks for several things.

        A dictionary is sent as JSON; text and bytes are sent as they are, so you can
        try nonsense. Raises ServerGone when the server is gone or does not reply within
        10 seconds, ValueError for text that UTF-8 cannot write.
        """
        data = encode(request) if isinstance(request, dict) else request
        if isinstance(data, str):
            data.encode()  # UnicodeEncodeError is a ValueError
        async with self.one_at_a_time:
            # A request that was cancelled is answered, too.
            await self.wait_until(self.is_answered, PATIENCE)
            self.ask_for(parse_request(data)[0])
            with suppress(ConnectionClosed):  # read() notices, too
                await self.connection.send(data)
            await self.wait_until(self.is_answered, PATIENCE)
            return self.reply

    async def read(self) -> None:
        """Hear all that comes; in the end, wake everybody who waits."""
        reason = "it sent something that is not part of this game"
        try:
            while True:
                self.take(json.loads(await self.connection.recv()))
        except ConnectionClosed as closed:
            reason = str(closed)
        except (LookupError, TypeError, ValueError, RecursionError):
            self.connection.transport.abort()
        finally:
            self.gone = f"The connection to {self.url} has ended: {reason}."
            self.news.set_result(None)

    def take(self, message: Message) -> None:
        """Hear one message, and wake everybody who waits for it."""
        self.hear(message)
        if self.on_message is not None:
            try:
                self.on_message(message)
            except Exception:
                log.exception("on_message failed for %r", message)
        self.news.set_result(None)
        self.news = asyncio.Future()


# ------------------------------------------------------------------------------
# Bots
# ------------------------------------------------------------------------------


def bisection(low: int, high: int) -> int:
    """Guess the middle, which halves the interval: at most 7 guesses for 1 to 100."""
    return (low + high) // 2


def lucky(low: int, high: int) -> int:
    """Guess anything within the interval."""
    return random.randint(low, high)


def counting(low: int, high: int) -> int:
    """Count up."""
    return low


STRATEGIES = {
    "bisection": bisection,
    "lucky": lucky,
    "counting": counting,
}


class Bot(Player):
    """Play by a strategy: `async with Bot(url, lucky) as bot: await bot.play(3)`.

    strategy   a function (low, high) of what is still possible -> guess
    delay      seconds between two guesses, give or take a half
    """

    def __init__(
        self,
        url: str,
        strategy: Choose = bisection,
        name: str | None = None,
        *,
        delay: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(url, name, **options)
        self.strategy = strategy
        self.delay = delay

    async def play(self, rounds: int | None = None) -> None:
        """Play until so many rounds are won (None: forever), or the server leaves.

        Cancel it to pause the bot; call it again to go on. Raises what the strategy
        raises, and ValueError when the server refuses what it returns.
        """
        last_round = inf if rounds is None else self.rounds + rounds
        with suppress(ServerGone):
            while True:
                await asyncio.sleep(self.delay * random.uniform(0.5, 1.5))
                await self.wait_until(
                    lambda: not self.round_over or self.rounds >= last_round
                )
                if self.rounds >= last_round:
                    return
                number = self.strategy(self.low, self.high)
                reply = await self.guess(number)
                if isinstance(reply, dict):
                    await self.heed(reply.get("error"))

    async def heed(self, error: object) -> None:
        """Wait if the server asks for it; raise ValueError if it refuses a guess."""
        sentence, gaps = recognise(error)
        if sentence is TOO_SOON:
            await asyncio.sleep(int(gaps["seconds"]))
        elif sentence is not ROUND_IS_OVER:
            raise ValueError(f"the server refuses what the bot says: {error}")


# ------------------------------------------------------------------------------
# A person at the terminal
# ------------------------------------------------------------------------------


def harmless(text: str) -> str:
    """Make a text safe to print: a server or another player may have written it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def show(line: str) -> None:
    """Print a line at once. Nobody has to read it all: `play | head -1` works."""
    try:
        print(harmless(line), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def show_above(line: str) -> None:
    """Print a line above the one that a person is typing in a terminal."""
    if os.name != "posix" or not os.isatty(0) or not os.isatty(1):
        show(line)
        return
    columns = shutil.get_terminal_size().columns
    for row in textwrap.wrap(harmless(line), columns - 1):
        # Remember where the cursor is, make room, push the typed line down, write in
        # its place. Then go back to where the cursor was, one row further down.
        row = f"\N{ESC}7\n\N{ESC}[A\N{ESC}[L\r{row}\N{ESC}8\N{ESC}[B"
        print(row, end="", flush=True)


def show_message(message: Message) -> None:
    """Print a message as it travels, with its meaning."""
    show_above(f"{encode(message)}  {explain(message)}".rstrip())


def read_lines(put: Callable[[str], object]) -> None:
    """Hand over what is typed, line by line, and "" at the end.

    This runs in a thread, since Windows can't wait for a keyboard and a socket at once.
    It goes past Python's own buffer, or that would still be locked at the end.
    """
    # RuntimeError: the loop is closed, nobody waits
    with suppress(RuntimeError), open(
        0, "rb", buffering=0, closefd=False
    ) as keyboard:
        for line in keyboard:
            put(line.decode(errors="replace"))
        put("")


async def answer_lines(player: Player) -> None:
    """Guess what is typed, line by line, until the input or the server ends."""
    if sys.stdin is None:
        return  # nobody can type anything
    show_above(
        "Type a number and press Enter; to leave, press Ctrl-D or Ctrl-C."
    )
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    put = partial(loop.call_soon_threadsafe, lines.put_nowait)  # type: ignore[arg-type]
    threading.Thread(
        target=read_lines,
        args=[put],
        daemon=True,
    ).start()
    player.reader.add_done_callback(lambda _: lines.put_nowait(""))
    while line := await lines.get():
        if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", line):
            await player.guess(int(line))
        else:
            show_above(
                f"{line.strip()!r} is no whole number: type one like 42."
            )


# ------------------------------------------------------------------------------
# The command line: each command is a function, and its docstring is its help
# ------------------------------------------------------------------------------


async def serve_command(**options: Any) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    examples:
      python guessgame.py serve --port 0         on any free port
      python guessgame.py serve --host 0.0.0.0   for the whole local network
      python guessgame.py serve --low 1 --high 10 --pause 2
    """
    stopped = asyncio.Event()
    # On Windows, Ctrl-C ends the loop.
    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    listener = log_from_a_thread()
    async with GameServer(**options) as server:
        show(server.url)
        tell_where(server)
        await stopped.wait()
    # Whoever does not read the log must not keep us from ending.
    timer = threading.Timer(0.3, os._exit, [0])
    timer.daemon = True
    timer.start()
    listener.stop()


def log_from_a_thread() -> QueueListener:
    """Log from a thread: a terminal that is stopped (Ctrl-S) must not stop the game."""
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
        handlers=[QueueHandler(lines)],
    )
    listener = QueueListener(lines, logging.StreamHandler())
    listener.start()
    return listener


def tell_where(server: GameServer) -> None:
    """Log where browsers play, who can reach us, and whether the system has room."""
    pages = " ".join(server.pages) or "the address in your network settings"
    log.info("browsers play on %s", pages)
    if not re.search(r"//(127\.|\[::1\])", pages):
        log.warning(
            "other machines can reach this server: no password, no encryption"
        )
    with suppress(ImportError):  # Windows has no such limit
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files < server.max_players + 50:
            log.warning(
                "the system allows only %d open files: see ulimit -n", files
            )


async def play_command(url: str, name: str | None) -> None:
    """Play in this terminal.

    examples:
      python guessgame.py play --name Аня
      python guessgame.py play ws://192.168.1.20:8765
      seq 1 100 | python guessgame.py play
    """
    async with Player(url, name, on_message=show_message) as player:
        with suppress(ServerGone):
            await answer_lines(player)
        show(player.gone or "")


async def bots_command(
    url: str,
    n: int,
    strategy: list[str],
    delay: float,
    rounds: int | None,
) -> None:
    """Let bots play; print the scores at the end.

    examples:
      python guessgame.py bots
      python guessgame.py bots -n 2 --strategy bisection lucky --delay 0.1
    """
    check_number("n", n, 1)
    check_number("delay", delay)
    bots = []
    for number in range(n):
        kind = strategy[number % len(strategy)]
        bot = Bot(url, STRATEGIES[kind], f"{kind}-{number + 1}", delay=delay)
        await bot.join()
        bots.append(bot)
    show(f"{n} bots play; this is what the first one hears. To stop: Ctrl-C.")
    bots[0].on_message = show_message
    try:
        await asyncio.gather(*[bot.play(rounds) for bot in bots])
    finally:
        for bot in bots:
            await bot.leave()
        show("bot                       wins  guesses")
        for bot in sorted(bots, key=lambda bot: -bot.wins):
            show(f"{bot.wishes['name']:<24}{bot.wins:>6}{bot.guesses:>9}")


class Parser(argparse.ArgumentParser):
    """Parse the command line; complain in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the help is."""
        self.exit(2, f"{self.prog}: {message} (help: {self.prog} -h)\n")


EXAMPLES = """Guess the number, over WebSocket.

examples:
  python guessgame.py serve                            then, in other terminals:
  python guessgame.py play --name Аня
  python guessgame.py bots -n 3 --rounds 5"""


def make_parser() -> Parser:
    """Describe the command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        "guessgame.py", description=EXAMPLES, formatter_class=layout
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    for name, run, add_options in (
        ("serve", serve_command, add_serve_options),
        ("play", play_command, add_play_options),
        ("bots", bots_command, add_bots_options),
    ):
        command = commands.add_parser(
            name, description=run.__doc__, formatter_class=layout
        )
        command.set_defaults(run=run)
        if name != "serve":
            command.add_argument(
                "url",
                nargs="?",
                default="ws://127.0.0.1:8765",
                help="where the server is (%(default)s)",
            )
        add_options(command.add_argument)
    return parser


def add_serve_options(add: Any) -> None:
    """Describe the options of GameServer."""
    add(
        "--host",
        default="127.0.0.1",
        help="where to listen; 0.0.0.0: on all addresses (default: %(default)s)",
    )
    add(
        "--port",
        type=int,
        default=8765,
        help="0: any free one (default: %(default)s)",
    )
    add(
        "--low",
        type=int,
        default=1,
        help="smallest number that can be drawn (default: %(default)s)",
    )
    add(
        "--high",
        type=int,
        default=100,
        help="biggest number that can be drawn (default: %(default)s)",
    )
    add(
        "--pause",
        type=float,
        default=5,
        help="seconds from a win to the next round (default: %(default)s)",
    )
    add(
        "--cooldown",
        type=float,
        default=0,
        help="seconds between two guesses of one player (default: %(default)s)",
    )
    add(
        "--max-players",
        type=int,
        default=200,
        help="most players at once (default: %(default)s)",
    )
    add(
        "--rate",
        type=float,
        default=16_384,
        help="bytes a second from one player (default: %(default)s)",
    )
    add(
        "--origin",
        dest="origins",
        action="append",
        help="web page that may connect, can be repeated (default: all)",
    )


def add_play_options(add: Any) -> None:
    """Describe the options of `play`."""
    add("--name", help="what the others will call you")


def add_bots_options(add: Any) -> None:
    """Describe the options of `bots`."""
    add("-n", type=int, default=5, help="how many bots (default: %(default)s)")
    add(
        "--strategy",
        nargs="+",
        choices=STRATEGIES,
        default=[*STRATEGIES],
        help="how they guess, in turn (default: all of these)",
    )
    add(
        "--delay",
        type=float,
        default=0.5,
        help="seconds between two guesses of a bot (default: %(default)s)",
    )
    add("--rounds", type=int, help="stop after so many (default: never)")


def main() -> None:
    """Run the command line."""
    with suppress(AttributeError):
        # "?" for letters that a terminal can't show
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    options = vars(make_parser().parse_args())
    try:
        asyncio.run(options.pop("run")(**options))
    except KeyboardInterrupt:
        pass  # Ctrl-C is how one leaves
    except (OSError, ValueError) as error:
        sys.exit(f"guessgame.py: {harmless(str(error))}")


if __name__ == "__main__":
    main()
