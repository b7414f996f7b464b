"""Lesson 4: real clients try the learner's own server, step by step; at last everybody plays on it.

A check runs the learner's handler on a server of its own, for a moment. It ends with one sentence: what is
well done, or what to mend. What it started is gone afterwards, whatever the handler does.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import functools
import inspect
import itertools
import json
import linecache
import logging
import re
import sys
import textwrap
import threading
import time
import traceback
import types
import warnings
from dataclasses import dataclass
from typing import (
    Any,
    Awaitable,
    Callable,
    ClassVar,
    Collection,
    NamedTuple,
)

import ipywidgets as widgets
from IPython import display
from markupsafe import Markup
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from guessgame import (
    CONNECT_OPTIONS,
    LESS,
    MORE,
    NEW_GAME,
    SOMEBODY_WON,
    STRATEGIES,
    WELCOME,
    YOU_WON,
    Bot,
    Message,
    Sentence,
    ServerGone,
    encode,
    find_addresses,
    parse_request,
    read_wishes,
    recognise,
    show_page,
)

from . import (
    LINE,
    PAINTS_PER_SECOND,
    SIDE_BY_SIDE,
    Action,
    Part,
    lesson,
    meaning,
    page_frame,
    paint_links,
    picture,
)

PATIENCE = 2.0  # seconds that a client waits to hear something
GRACE = 1.0  # seconds for what should happen at once: a set that changes, a goodbye
TOO_LONG = 0.3  # seconds for which nobody else has a turn
ENDLESS = 5.0  # seconds after which a handler that gives nobody a turn is stopped
HINTS = (LESS, MORE, YOU_WON)
ENOUGH = 20  # messages without a hint among them

show: Callable[[widgets.Widget], Any] = display.display
Handler = Any  # an async function of a connection

# --------------------------------------------------------------------------------------------------
# The learner's code: where it is, what it mentions
# --------------------------------------------------------------------------------------------------


class NotYet(Exception):
    """Say in a sentence what is still wrong with the learner's server."""


def is_learners(frame: types.FrameType) -> bool:
    """Tell whether a function runs that was written in a cell."""
    is_in_a_cell = frame.f_globals.get("__name__") == "__main__"
    return is_in_a_cell and frame.f_code.co_name != "<module>"


def name_line(frame: types.FrameType, number: int) -> str:
    """Say which line of a cell this is."""
    text = linecache.getline(frame.f_code.co_filename, number).strip()
    return f"line {number} of your cell, {text}" if text else f"line {number}"


def locate(error: BaseException) -> str:
    """Say in which line of the learner's an error happened; "" if in none."""
    place = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if is_learners(frame):
            place = name_line(frame, number)
    return place


def find_names(function: Any) -> set[str]:
    """Find what a function of the learner's mentions, and what the functions in it do."""
    names: set[str] = set()
    found = [function]
    while found:
        code = getattr(found.pop(), "__code__", None)
        for name in getattr(code, "co_names", ()):
            if name not in names:
                names.add(name)
                found.append(function.__globals__.get(name))
    return names


def find_tasks(earlier: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Find the tasks that run the learner's functions, but for those of earlier."""
    found = set()
    for task in asyncio.all_tasks() - earlier:
        step: Any = task.get_coro()
        while step is not None:
            frame = getattr(step, "cr_frame", None)
            if frame is not None and is_learners(frame):
                found.add(task)
            step = getattr(step, "cr_await", None)
    return found


def look_at(handler: object) -> str:
    """Say what is wrong with a handler before it runs; "" if nothing is."""
    if inspect.iscoroutine(handler):
        handler.close()
        return "give the check the function itself, handler, without () behind it."
    if not inspect.iscoroutinefunction(handler):
        return "a handler can wait, so it begins with async def handler(connection):"
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        return (
            "the library calls your handler with one thing, the connection: begin "
            "it with async def handler(connection): and nothing else in the brackets."
        )
    return ""


class Endless(BaseException):
    """Stop a handler that gives nobody a turn."""


class Watchdog(threading.Thread):
    """See from outside whether the learner's code keeps the event loop to itself.

    `ticks` counts the turns of the loop; `worst` is how long it stood still, and where.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.watched = threading.get_ident()
        self.over = threading.Event()
        self.ticks = 0
        self.worst = 0.0
        self.place = ""

    async def tick(self) -> None:
        """Show that the loop goes round."""
        while True:
            self.ticks += 1
            await asyncio.sleep(0.02)

    def run(self) -> None:
        """Look twenty times a second."""
        seen, since = 0, time.monotonic()
        places: collections.Counter[str] = collections.Counter()
        while not self.over.wait(0.05):
            place = self.find_place()
            if self.ticks != seen or not place:
                seen, since = self.ticks, time.monotonic()
                places.clear()
                continue
            places[place] += 1
            stood = time.monotonic() - since
            if stood > max(self.worst, TOO_LONG):
                self.worst = stood
                [(self.place, _)] = places.most_common(1)
            if stood > ENDLESS:
                self.interrupt()
                since = time.monotonic()

    def find_place(self) -> str:
        """Say which line of the learner's is running; "" if none is."""
        frame = sys._current_frames().get(self.watched)
        while frame is not None:
            if is_learners(frame):
                return name_line(frame, frame.f_lineno)
            frame = frame.f_back
        return ""

    def interrupt(self) -> None:
        """Raise an error in what is running."""
        thread = ctypes.c_ulong(self.watched)
        error = ctypes.py_object(Endless)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)


# --------------------------------------------------------------------------------------------------
# The conversation: what each client sends and hears, from top to bottom
# --------------------------------------------------------------------------------------------------

SHORT = {
    LESS: "less",
    MORE: "more",
    YOU_WON: "you guessed it!",
    NEW_GAME: "a new game has begun!",
}
HEAD = Markup('<b style="grid-column:{}">{}</b>')
SENT = Markup("<span>{} →</span> ")
HEARD = Markup("<b>← {}</b> <small>{}</small>")
ROW = Markup('<p style="grid-column:{};grid-row:{}">{}</p>')
TALK = Markup('<div class="gg-talk"><div style="--clients:{}">{}</div></div>')


@dataclass
class Event:
    """One thing that happens to a client: it sends something, or hears something, or both."""

    who: str
    sent: str = ""
    heard: str = ""
    meaning: str = ""

    def paint(self) -> Markup:
        """Paint what travelled as it travelled."""
        painted = Markup()
        if self.sent:
            painted += SENT.format(self.sent)
        if self.heard:
            painted += HEARD.format(self.heard, self.meaning)
        return painted


def say_shortly(message: Any) -> str:
    """Say in a few words of English what a server's message means."""
    sentence, _ = recognise(message)
    if sentence in SHORT:
        return SHORT[sentence]
    return meaning(message) if isinstance(message, (str, dict)) else ""


class Talk:
    """Keep what the clients of a check send and hear."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.events: list[Event] = []

    def note_sent(self, who: str, text: str) -> None:
        """Keep what a client sends."""
        self.events.append(Event(who, sent=text))

    def note_heard(self, who: str, text: str, meaning: str = "") -> None:
        """Keep what a client hears; a reply stands beside what was asked."""
        if not self.events or self.events[-1] != Event(who, self.events[-1].sent):
            self.events.append(Event(who))
        event = self.events[-1]
        event.heard = text if len(text) <= 200 else text[:200] + "…"
        event.meaning = meaning

    def paint(self) -> Markup:
        """Paint a column for each client; what comes later stands lower."""
        painted = Markup()
        for column, name in enumerate(self.names, 1):
            painted += HEAD.format(column, name)
        for row, event in enumerate(self.events, 2):
            column = self.names.index(event.who) + 1
            painted += ROW.format(column, row, event.paint())
        return TALK.format(len(self.names), painted)


# --------------------------------------------------------------------------------------------------
# A rehearsal: the learner's handler, on a server of its own, and the clients that come to try it
# --------------------------------------------------------------------------------------------------


class Guest:
    """A real client, which notes all that it says and hears."""

    port = 0
    has_left = False
    asked = ""  # the last text that was sent
    heard_since: list[Message]

    def __init__(self, name: str, play: Rehearsal) -> None:
        self.name = name
        self.play = play
        self.talk = play.talk
        self.talk.names.append(name)

    async def join(self) -> None:
        """Connect, and hear the welcome."""
        self.connection = await connect(
            self.play.url, close_timeout=GRACE, ping_interval=None, **CONNECT_OPTIONS
        )
        self.port = self.connection.local_address[1]
        self.heard_since = []
        message = await self.hear()
        if recognise(message)[0] is not WELCOME:
            raise NotYet(
                f"the first thing that {self.name} hears is {encode(message)}. "
                "Begin with the welcome."
            )

    async def send(self, text: str) -> None:
        """Send a text."""
        self.asked = text
        self.heard_since = []
        self.talk.note_sent(self.name, text)
        try:
            await self.connection.send(text)
        except ConnectionClosed as closed:
            raise NotYet(self.play.explain_end(self)) from closed

    async def hear(self) -> Message:
        """Return the next message; raise NotYet if there is none, or none that is JSON."""
        message = await self.listen(PATIENCE)
        if message is None:
            self.talk.note_heard(self.name, "(nothing)")
            raise NotYet(await self.play.explain_silence(self))
        return message

    async def listen(self, patience: float) -> Message | None:
        """Return the next message, or None if there is none for so many seconds."""
        hearing = asyncio.ensure_future(self.connection.recv())
        try:
            await asyncio.wait({hearing}, timeout=patience)
            return self.take(hearing.result()) if hearing.done() else None
        except ConnectionClosed as closed:
            self.talk.note_heard(self.name, "(the server hangs up)")
            raise NotYet(self.play.explain_end(self)) from closed
        finally:
            hearing.cancel()

    def take(self, data: str | bytes) -> Message:
        """Read one message."""
        text = data if isinstance(data, str) else repr(data)
        try:
            message: Message = json.loads(text)
        except ValueError:
            self.talk.note_heard(self.name, text)
            raise NotYet(
                f"{self.name} hears {text}, and that isn't JSON: a sentence in JSON has "
                "quotation marks around it. Send json.dumps(…) of it."
            ) from None
        self.talk.note_heard(self.name, encode(message), say_shortly(message))
        self.heard_since.append(message)
        return message

    async def ask(self, number: int) -> Sentence:
        """Send a guess; return the hint. Announcements that come before it are kept in `heard_since`."""
        await self.guess(number)
        return await self.hear_hint()

    async def guess(self, number: int) -> None:
        """Send a guess."""
        await self.send(encode({"guess": number}))

    async def hear_hint(self) -> Sentence:
        """Return the next hint."""
        for _ in range(ENOUGH):
            sentence, _ = recognise(await self.hear())
            if sentence in HINTS:
                return sentence
        raise NotYet(f"{self.name} has asked once, and hears message after message.")

    def count(self, sentence: Sentence) -> int:
        """Count how often a sentence was heard since this client last sent something."""
        found = [recognise(message)[0] for message in self.heard_since]
        return found.count(sentence)

    async def leave(self) -> None:
        """Say goodbye."""
        self.has_left = True
        closing = asyncio.ensure_future(self.connection.close())
        await asyncio.wait({closing}, timeout=2 * GRACE)

    def vanish(self) -> None:
        """Be gone without a goodbye, as a computer that crashes."""
        self.has_left = True
        self.talk.note_heard(self.name, "(vanishes without a goodbye)")
        self.connection.transport.abort()


class Witness(ServerConnection):
    """The learner's end of a connection, in a check: to send takes a moment, as on a real network."""

    last: str | bytes = ""  # what was received

    def __init__(self, play: Rehearsal, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.play = play

    async def send(self, *args: Any, **options: Any) -> None:
        """Send, after the others had their turn."""
        await asyncio.sleep(0)
        if asyncio.current_task() is not self.play.runs.get(self):
            await self.play.let_one_leave()
        await super().send(*args, **options)

    async def recv(self, *args: Any, **options: Any) -> Any:
        """Receive; who goes on and on after the end gives the others their turn, at least."""
        try:
            self.last = await super().recv(*args, **options)
            return self.last
        except ConnectionClosed:
            await asyncio.sleep(0.01 if self.play.is_on else 3600)
            raise


class Rehearsal:
    """A learner's handler on a server of its own: `async with Rehearsal(handler) as play: ...`.

    `leaver` is the guest who leaves as soon as a handler sends something to another one's client; `gone` is
    their name, afterwards.
    """

    leaver: Guest | None = None
    gone = ""
    is_on = False

    def __init__(self, handler: Handler, players: Collection[Any] | None) -> None:
        self.handler = handler
        self.players = players
        self.names = find_names(handler)
        self.talk = Talk()
        self.guests: list[Guest] = []
        self.runs: dict[Witness, asyncio.Task[Any]] = {}
        self.ended: set[int] = set()  # the ports of clients whose handlers are over
        self.errors: list[tuple[BaseException, Witness]] = []

    async def __aenter__(self) -> Rehearsal:
        self.earlier = asyncio.all_tasks()
        self.watchdog = Watchdog()
        self.watchdog.start()
        self.ticking = asyncio.ensure_future(self.watchdog.tick())
        quiet = logging.getLogger("guessgame.rehearsal")
        quiet.setLevel(logging.CRITICAL)
        witness: Any = functools.partial(Witness, self)
        self.server = await serve(
            self.run,
            "127.0.0.1",
            0,
            create_connection=witness,
            close_timeout=GRACE,
            ping_interval=None,
            logger=quiet,
        )
        self.url = f"ws://127.0.0.1:{find_port(self.server)}"
        self.is_on = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for guest in self.guests:
            await guest.leave()
        await self.until(lambda: all(run.done() for run in self.runs.values()))
        self.is_on = False
        self.ticking.cancel()
        self.watchdog.over.set()
        self.watchdog.join()
        await close(self.server, lambda: find_tasks(self.earlier))

    async def run(self, connection: Any) -> None:
        """Run the handler for one client, and keep how it ends."""
        run = asyncio.current_task()
        assert run is not None
        self.runs[connection] = run
        port = connection.remote_address[1]
        try:
            await self.handler(connection)
        except (Exception, Endless) as error:
            left = [guest.port for guest in self.guests if guest.has_left]
            if port not in left or not isinstance(error, ConnectionClosed):
                self.errors.append((error, connection))
            await connection.close(1011)
        finally:
            self.ended.add(port)

    async def join(self, *names: str) -> list[Guest]:
        """Let guests come, one after the other; each hears the welcome."""
        joined = []
        for name in names:
            guest = Guest(name, self)
            self.guests.append(guest)
            await guest.join()
            joined.append(guest)
        return joined

    async def let_one_leave(self) -> None:
        """Let the leaver vanish, and wait until the server has noticed."""
        leaver, self.leaver = self.leaver, None
        if leaver is not None:
            leaver.vanish()
            self.gone = leaver.name
            await self.until(lambda: leaver.port in self.ended)

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait a moment for something; return whether it is so."""
        patience = asyncio.get_running_loop().time() + GRACE
        while not condition():
            if asyncio.get_running_loop().time() > patience:
                return False
            await asyncio.sleep(0.01)
        return True

    # What went wrong

    def explain_end(self, guest: Guest) -> str:
        """Say why a client's connection has ended."""
        if not guest.asked and "send" not in self.names:
            return self.explain_muteness(guest)
        return (
            f"your handler for {guest.name} has come to its end, so the library hangs "
            "up. To stay, it needs async for message in connection: with no return "
            "and no break inside."
        )

    def explain_muteness(self, guest: Guest) -> str:
        """Say what is missing in a handler that sends nothing at all."""
        if "print" in self.names:
            return (
                f"{guest.name} hears nothing: print shows its text here, in the "
                "notebook. Only await connection.send(…) reaches a client."
            )
        return (
            f"{guest.name} hears nothing. What shall your handler send? "
            "await connection.send(json.dumps(…)) does it."
        )

    async def explain_silence(self, guest: Guest) -> str:
        """Say why a client hears nothing."""
        who = guest.name
        if not {"send", "broadcast"} & self.names:
            return self.explain_muteness(guest)
        if not guest.asked:
            return (
                f"{who} has connected, and nothing came within {PATIENCE:.0f} "
                "seconds. Send the welcome before you wait for anything."
            )
        news = list(guest.heard_since)
        for other in self.guests:
            if other is guest or other.has_left:
                continue
            message = await other.listen(0.05)
            sentence, _ = recognise(message)
            if sentence in HINTS:
                return (
                    f"{who} has asked, and {other.name} hears the reply. Is there one "
                    "variable for all clients? Each run of the handler has a "
                    "connection of its own: reply to that."
                )
            if message is not None:
                news.append(message)
        if SOMEBODY_WON in [recognise(message)[0] for message in news]:
            return (
                f"{who} has guessed right and isn't told, though the news is out. "
                "Send her YOU_WON."
            )
        if guest.heard_since:
            return (
                f"{who} has sent {guest.asked} and heard "
                f"{encode(guest.heard_since[-1])}, which is none of the three hints."
            )
        if "loads" not in self.names:
            return (
                f"{who} has sent {guest.asked}, and nothing comes back. A message "
                "arrives as text: json.loads(message) makes a dictionary of it."
            )
        return (
            f"{who} has sent {guest.asked}, and nothing came within {PATIENCE:.0f} "
            "seconds. Does your handler skip it, or wait for something else?"
        )

    def find_fault(self, warned: list[warnings.WarningMessage]) -> str:
        """Say what Python itself has to say about the learner's code; "" if nothing."""
        for warning in warned:
            match = re.search(r"'(.*)' was never awaited", str(warning.message))
            if match:
                name = match[1].split(".")[-1]
                return (
                    f"line {warning.lineno} of your cell: {name}(…) without await in "
                    f"front of it does nothing. Write await {name}(…)."
                ).replace("await send", "await connection.send")
        for error, connection in self.errors:
            return explain_error(error, connection)
        dog = self.watchdog
        if dog.worst:
            return (
                f"{dog.place}: for {dog.worst:.1f} seconds, nobody else had a turn. "
                "Is that time.sleep? While await asyncio.sleep(…) waits, others go on."
            )
        return ""


# What an error means: its type, what its text says, and a sentence.
ADVICE: list[tuple[type[BaseException], str, str]] = [
    (
        TypeError,
        "cell, for .*is not iterable",
        "The loop over a connection waits at each turn: async for message in connection.",
    ),
    (
        RuntimeError,
        "changed size",
        "While the loop waits at its await, players come and go, and GONE has just "
        "left. broadcast(…) waits for nobody.",
    ),
    (
        ConnectionClosed,
        "",
        "GONE left while the others were being told, and a send to nobody fails. "
        "broadcast(…) leaves out those who are gone.",
    ),
    (
        TypeError,
        "NoneType.*await",
        "broadcast is an ordinary function: leave out the await.",
    ),
    (
        TypeError,
        "string ind",
        "message is still a text: json.loads(message) makes a dictionary of it.",
    ),
    (
        TypeError,
        "is not iterable",
        "broadcast takes all the connections at once, as a set: {connection} is a "
        "set, too.",
    ),
    (
        TypeError,
        "data |dict-like",
        "What is sent has to be a text: json.dumps(…) makes one.",
    ),
    (
        AttributeError,
        "append",
        "A set has add, and a list has append.",
    ),
    (
        NameError,
        "is not defined",
        "Have you run the cell in which it gets its value?",
    ),
    (
        Endless,
        "",
        "this went round and round, and nobody else had a turn. A loop needs an "
        "await, or an end.",
    ),
]


def explain_error(error: BaseException, connection: Witness) -> str:
    """Say where the learner's handler failed, and what to do about it."""
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, Endless):
        told = "stopped"
    told = f"{locate(error) or 'in your handler'}: {told}."
    told = told.replace(Witness.__name__, "ServerConnection")
    play = connection.play
    for kind, pattern, advice in ADVICE:
        if isinstance(error, kind) and re.search(pattern, told):
            return f"{told} {advice}".replace("GONE", play.gone or "somebody")
    name = re.sub(r".*?'(\w*)'.*", r"\1", str(error))
    if isinstance(error, UnboundLocalError) and name in play.handler.__globals__:
        return (
            f"{told} A function that sets {name} has a {name} of its own. As its first "
            f"line, write global {name}."
        )
    if connection.last and not is_guess(connection.last):
        return f"{told} The message was {connection.last!s}: skip what is no guess."
    return told


def is_guess(text: str | bytes) -> bool:
    """Tell whether a client's message is a guess."""
    request, _ = parse_request(text)
    return isinstance(request.get("guess"), int)


# --------------------------------------------------------------------------------------------------
# The five checks
# --------------------------------------------------------------------------------------------------

NONSENSE = ('{"name": "Ada"}', '{"guess": "ten"}', "hello")


async def find_number(*guests: Guest) -> tuple[Guest, int]:
    """Let guests look for the number in turns; return who has found it, and what it is."""
    low, high = 1, 100
    turns = itertools.cycle(guests)
    while low <= high:
        guest = next(turns)
        number = (low + high) // 2
        hint = await guest.ask(number)
        if hint is YOU_WON:
            return guest, number
        if hint is LESS:
            low = number + 1
        else:
            high = number - 1
    raise NotYet(
        "there is no number that fits all these hints. Is there more than one secret? "
        "Draw it once, above the handler, not inside."
    )


async def check_welcome(play: Rehearsal) -> str:
    """Step 1: say welcome."""
    await play.join("Ada", "Bob")
    return (
        "both hear the welcome. Your handler has run twice, once for each connection."
    )


async def check_guesses(play: Rehearsal) -> str:
    """Step 2: answer a guess."""
    ada, bob = await play.join("Ada", "Bob")
    for guest, number, wrong in ((ada, 1, MORE), (bob, 100, LESS)):
        if await guest.ask(number) is wrong:
            raise NotYet(
                f"{guest.name} has guessed {number}, and is told {wrong.russian}. It's "
                "the other way round: LESS says that the guess is less than the secret."
            )
    for text in NONSENSE:
        await ada.send(text)
        # If there is a hint too many, the next ones come one guess late.
        first = await ada.ask(100)
        second = await ada.ask(1)
        if first is LESS or second is MORE:
            raise NotYet(
                f"Ada has sent {text}, which is no guess, and gets a hint all the same. "
                "Skip such a message, with continue."
            )
    await ada.guess(1)
    await bob.guess(100)
    if await ada.hear_hint() is MORE or await bob.hear_hint() is LESS:
        raise NotYet(
            "Ada has guessed 1 and Bob 100, both at the same moment, and one gets the "
            "other's hint. Is there one variable for all? Keep guess in the handler."
        )
    finder, number = await find_number(ada, bob)
    other = bob if finder is ada else ada
    hint = await other.ask(number)
    if hint is not YOU_WON and not other.heard_since[:-1]:
        raise NotYet(
            f"{finder.name} has found {number}, and {other.name}, who says the same, is "
            f"told {hint.russian}. Does each client have a secret of its own? Draw it "
            "once, above the handler."
        )
    return f"Ada and Bob have found the {number} together, and whoever asks gets the reply."


async def check_everybody(play: Rehearsal) -> str:
    """Step 3: know everybody."""
    players = play.players
    if players is None:
        raise NotYet(
            "give the check your set, too: await check_step(3, handler, players)"
        )
    code = getattr(play.handler, "__code__", None)
    if "players" in getattr(code, "co_varnames", ()):
        raise NotYet(
            "players = set() belongs above the handler. Inside, each run of the handler "
            "makes a set of its own, with nobody else in it."
        )
    earlier = len(players)

    async def is_size(number: int) -> bool:
        return await play.until(lambda: len(players) == earlier + number)

    for number, name in enumerate(("Ada", "Bob", "Cleo"), 1):
        [guest] = await play.join(name)
        if not await is_size(number):
            raise NotYet(
                f"{name} is here, and your set has {len(players)} in it. After the "
                "welcome comes players.add(connection)."
            )
        await guest.ask(50)
    ada, bob, cleo = play.guests
    await bob.leave()
    if not await is_size(2):
        raise NotYet(
            "Bob has left, and he is still in your set. When the loop is over, "
            "players.discard(connection) takes him out."
        )
    cleo.vanish()
    if not await is_size(1):
        raise NotYet(
            "Cleo has vanished without a goodbye, and she is still in your set. Then the "
            "loop ends with an error: only what is in finally: is still done."
        )
    await ada.ask(50)
    return "your set grows when somebody comes, and shrinks when they leave or vanish."


async def check_news(play: Rehearsal) -> str:
    """Step 4: tell everybody."""
    ada, cleo, bob = await play.join("Ada", "Cleo", "Bob")
    play.leaver = cleo
    _, number = await find_number(ada)
    wrong_number = 1 if number > 50 else 100
    heard_early = ada.count(SOMEBODY_WON)
    hint = await ada.ask(wrong_number)
    if heard_early or ada.count(SOMEBODY_WON):
        raise NotYet(
            "Ada has won, and hears the news about herself, too. Leave her out: "
            "players - {connection} is everybody else."
        )
    if hint is YOU_WON and not ada.count(NEW_GAME):
        raise NotYet("Ada has won once, and is told so twice.")
    wins = [number, wrong_number] if hint is YOU_WON else [number]
    for guest in (bob, cleo):
        if not guest.has_left:
            await check_that_it_hears(guest, wins, wrong_number)
    return (
        f"Ada has found {number} and hears it once, and everybody else hears the news."
    )


async def check_that_it_hears(guest: Guest, wins: list[int], number: int) -> None:
    """Check that a client hears of each win, once. It says another number; wins, if that is right by luck."""
    name = guest.name
    hint = await guest.ask(number)
    if hint is YOU_WON and not guest.count(NEW_GAME):
        raise NotYet(f"Ada has won, and {name} hears YOU_WON. Send that to Ada alone.")
    news = [recognise(message)[1].get("number") for message in guest.heard_since]
    told = [int(number) for number in news if number]
    gone = guest.play.gone
    if not told and gone:
        raise NotYet(
            f"{gone} left while the others were being told, and {name} was skipped: a "
            "list that changes while a loop goes through it moves on. broadcast(…) waits "
            "for nobody, so nothing can change meanwhile."
        )
    if not told:
        raise NotYet(
            f"Ada has won, and {name} hears nothing of it. Is {name} in your set, and do "
            "you broadcast SOMEBODY_WON to it?"
        )
    if len(told) > len(wins):
        raise NotYet(f"Ada has won once, and {name} hears of it {len(told)} times.")
    if told != wins:
        raise NotYet(f"{name} hears of the number {told[0]}, but it was {wins[0]}.")
    if hint is YOU_WON:
        wins.append(number)


async def check_rounds(play: Rehearsal) -> str:
    """Step 5: a new round."""
    ada, bob = await play.join("Ada", "Bob")
    first = await play_round(ada, bob)
    second = await play_round(bob, ada)
    return (
        f"first the number was {first}, then {second}, and each time both heard of the "
        "new game. That's the whole server!"
    )


async def play_round(*guests: Guest) -> int:
    """Let guests play until one wins and a new round has begun; return the number."""
    winner, number = await find_number(*guests)
    if winner.count(NEW_GAME):
        raise NotYet(
            f"{winner.name} hears of the new game before she hears that she has won. Say "
            "YOU_WON first, and NEW_GAME last."
        )
    for guest in guests:
        await hear_of_new_game(guest, winner)
    for _ in range(3):  # the same number may be drawn again, but not again and again
        if await winner.ask(number) is not YOU_WON:
            return number
    raise NotYet(
        f"the new game has begun, and {number} wins again. Draw a new number: "
        "secret = random.randint(1, 100)."
    )


async def hear_of_new_game(guest: Guest, winner: Guest) -> None:
    """Let a client hear that a new game has begun."""
    for _ in range(ENOUGH):
        message = await guest.listen(PATIENCE)
        if message is None:
            break
        if recognise(message)[0] is NEW_GAME:
            return
    raise NotYet(
        f"{winner.name} has won, and {guest.name} hears of no new game within "
        f"{PATIENCE:.0f} seconds. Broadcast NEW_GAME to all players, the winner, too."
    )


CHECKS = (check_welcome, check_guesses, check_everybody, check_news, check_rounds)


class Verdict(NamedTuple):
    """How a check ends."""

    is_right: bool
    sentence: str
    talk: Talk


async def rehearse(
    step: int, handler: Handler, players: Collection[Any] | None = None
) -> Verdict:
    """Try a handler with real clients; leave nothing behind."""
    fault = look_at(handler)
    if fault:
        return Verdict(False, fault, Talk())
    play = Rehearsal(handler, players)
    is_right = False
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with play:
            try:
                sentence = await CHECKS[step - 1](play)
                is_right = True
            except NotYet as not_yet:
                sentence = str(not_yet)
            except OSError as error:
                sentence = f"no client can connect: {error}."
    fault = play.find_fault(warned)
    if fault:
        return Verdict(False, fault, play.talk)
    return Verdict(is_right, sentence, play.talk)


async def check_step(
    step: int, handler: Handler, players: Collection[Any] | None = None
) -> None:
    """Try a step of the learner's server; show what was said, and print what to mend."""
    verdict = await rehearse(step, handler, players)
    opening = "Well done:" if verdict.is_right else "Not yet:"
    if verdict.talk.names:
        show(picture(verdict.talk.paint()))
    # Below, where it is seen after Shift+Enter. JupyterLab would break lines within a word.
    print(textwrap.fill(f"{opening} {verdict.sentence}", 90))


# --------------------------------------------------------------------------------------------------
# The learner's server at work: its page, its bots
# --------------------------------------------------------------------------------------------------


def find_port(server: Server) -> int:
    """Return the port on which a server listens."""
    address = next(iter(server.sockets)).getsockname()
    return int(address[1])


async def close(
    server: Server, find: Callable[[], Collection[asyncio.Task[Any]]]
) -> None:
    """Close a server, whatever its handlers do."""
    server.close()
    closing = asyncio.ensure_future(server.wait_closed())
    await asyncio.wait({closing}, timeout=GRACE)
    for _ in range(3):  # some swallow the first
        tasks = find()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE / 5)
    await asyncio.wait({closing}, timeout=GRACE)
    closing.cancel()


class Trouble(logging.Handler):
    """Keep what went wrong in the learner's handler, for the part that shows it."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep where an error happened."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, ConnectionClosed):
            place = locate(error) or "in your server"
            self.last = f"{place}: {type(error).__name__}: {error}"


trouble = Trouble()
log = logging.getLogger("guessgame.learners")
log.propagate = False
log.addHandler(trouble)


class PageConnection(ServerConnection):
    """Answer what the page asks beyond guesses, if the learner's handler does not.

    The page asks who it is and for the scores, and takes a server that is silent for a broken one.
    """

    here: ClassVar[set[PageConnection]] = set()
    tasks: ClassVar[set[asyncio.Task[Any]]] = set()
    game_server: ClassVar[Any] = None  # it has `pages`, which show_page asks for
    due: Message | None = None
    number = 0

    async def send(self, *args: Any, **options: Any) -> None:
        """Send what the handler says: then it has answered."""
        self.due = None
        await super().send(*args, **options)

    async def recv(self, *args: Any, **options: Any) -> Any:
        """Receive a message for the handler; first answer the last one, if it has not."""
        if not self.number:
            self.sit_down()
        if self.due is not None:
            await super().send(encode(self.due))
        data = await super().recv(*args, **options)
        request, _ = parse_request(data)
        self.due = None
        if "name" in request:
            self.due = self.introduce(request["name"])
        elif "scores" in request:
            self.due = {"scores": [], "players": len(self.here), "over": False}
            self.due["you"] = self.number
        return data

    def sit_down(self) -> None:
        """Take a seat, once the handler listens."""
        self.here.add(self)
        self.number = len(self.here)
        path = self.request.path if self.request else ""
        wishes = read_wishes(path)
        if wishes:
            self.due = self.introduce(wishes.get("name"))

    def introduce(self, name: object) -> Message:
        """Tell a client who it is."""
        who: dict[str, Any] = {"client_id": self.number, "wins": 0, "you": True}
        if name is not None:
            who["name"] = name
        return who

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the seat."""
        self.here.discard(self)
        super().connection_lost(exc)


def answer_browsers(connection: Any, request: Request) -> Response | None:
    """Show a browser the page; let everybody else in."""
    task = asyncio.current_task()
    if task is not None:
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)
    if "websocket" in str(request.headers.get_all("Upgrade")).lower():
        return None
    return show_page(connection, request)


# For serve(): a browser gets the page, and what the page asks beyond guesses is answered.
with_page: dict[str, Any] = {
    "process_request": answer_browsers,
    "create_connection": PageConnection,
    "logger": log,
    "close_timeout": GRACE,
}

BOT = Markup("<p><b>{name}</b><span>{did}</span><span>{knows}</span></p>")
PLAYING = Markup(
    '<p>{pages}</p><p>{here} at the table. <span class="gg-trouble">{trouble}</span></p>'
    '<div class="gg-bots">{bots}</div>'
)


class OwnServer(Part):
    """The learner's server at work: its page, the bots that play on it, and what goes wrong."""

    def __init__(self, server: Server) -> None:
        super().__init__("your server")
        self.server = server
        self.bots: list[Bot] = []
        self.strategies = itertools.cycle(STRATEGIES.values())
        self.port = find_port(server)
        self.pages = find_pages(server)
        self.clients = PageConnection.here
        PageConnection.game_server = self
        trouble.last = ""
        buttons = [
            self._make_button("A bot joins", self._add_bot),
            self._make_button("A bot leaves", self._remove_bot),
        ]
        page: Any = page_frame(self, "100%", 560)
        frame = widgets.HTML(page._repr_html_())
        frame.layout.flex = "0 0 400px"
        self.picture = widgets.HTML()
        self.picture.layout.flex = "1 1 auto"
        right = widgets.VBox([widgets.Box(buttons, layout=LINE), self.picture])
        right.layout.flex = "1 1 300px"
        self.show(widgets.HBox([frame, right], layout=SIDE_BY_SIDE))
        self.run(self._serve())
        self.run(self._keep_painting())

    def _make_button(self, label: str, action: Action) -> widgets.Button:
        return self.button(label, action, layout={"width": "auto"})

    @property
    def running(self) -> bool:
        """Whether the server listens."""
        return bool(self.server.is_serving())

    async def _serve(self) -> None:
        try:
            await self.server.wait_closed()
        finally:
            await close(self.server, lambda: PageConnection.tasks)

    async def _add_bot(self, _: Any) -> None:
        bot = Bot(f"ws://127.0.0.1:{self.port}", next(self.strategies), delay=1.0)
        self.bots.append(bot)
        try:
            await bot.join()
            await bot.play()
        except ServerGone:
            self.bots.remove(bot)
            self.note.value = (
                "<p>The bot has left: it waits for the welcome, and then for a reply to "
                "each guess. Does your handler pass all the checks?</p>"
            )
        finally:
            await bot.leave()

    async def _remove_bot(self, _: Any) -> None:
        if self.bots:
            await self.bots.pop().leave()

    async def _keep_painting(self) -> None:
        while True:
            self.picture.value = self._paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def _paint(self) -> Markup:
        rows = Markup()
        for number, bot in enumerate(self.bots, 1):
            rows += paint_bot(f"Bot {number}, {bot.strategy.__name__}", bot)
        return PLAYING.format(
            pages=paint_links(self),
            here=f"{len(self.clients)} players"
            if len(self.clients) != 1
            else "1 player",
            trouble=trouble.last,
            bots=rows,
        )


def paint_bot(name: str, bot: Bot) -> Markup:
    """Paint what a bot did last, and what it knows."""
    did = knows = ""
    if bot.last_guess is not None and bot.last_verdict is not None:
        short = SHORT[bot.last_verdict]
        did = f"{bot.last_guess} → {bot.last_verdict.russian} ({short})"
        knows = f"{bot.low} to {bot.high}"
    if bot.gone is not None:
        did = "has lost the connection"
    return BOT.format(name=name, did=did, knows=f"{knows} ★ {bot.wins}")


def find_pages(server: Server) -> list[str]:
    """Find the addresses at which browsers find the page of a server."""
    host, port, *_ = next(iter(server.sockets)).getsockname()
    hosts = find_addresses() if host == "0.0.0.0" else [host]
    return [f"http://{host}:{port}/" for host in hosts]


async def keep(serving: Awaitable[Server]) -> OwnServer:
    """Start a learner's server; the one of an earlier run of the cell stops first."""
    for part in lesson.parts:
        if part.name == "your server":
            await part.stop()
    return OwnServer(await serving)
