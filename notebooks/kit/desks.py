"""What lesson 3 shows: a server above four desks, and halls to try out ways to broadcast."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import itertools
import socket
from typing import Any, Callable, Coroutine, Sequence

import ipywidgets as widgets
from markupsafe import Markup
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from guessgame import (
    CONNECT_OPTIONS,
    LESS,
    MORE,
    YOU_WON,
    Client,
    GameServer,
    Message,
    Player,
    encode,
    recognise,
)

from . import LINE, PAINTS_PER_SECOND, Part, lesson, meaning

SLEEPER = "Bob"
BEAT = 0.6  # seconds from one flight to the next one; in the style sheet each takes as long
LINES = 12  # in a column

# --------------------------------------------------------------------------------------------------
# What is known: which messages have flown, and which ones are still to be shown
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Flight:
    """One message on its way up from a desk, or down to one or more desks.

    kind      "request", "reply" or "announcement"
    words     the message as it travels
    about     who sends it, or who gets it
    names     the desks where it is seen
    when      in seconds, by the clock of the event loop
    meaning   what it means, in English
    series    of all messages of a series, a column shows only the latest
    """

    kind: str
    words: str
    about: str
    names: list[str]
    when: float
    meaning: str = ""
    series: str = ""

    @property
    def arrow(self) -> str:
        """Draw where it goes: up, down to one, or down to many."""
        if self.kind == "request":
            return "↑"
        return "↓" if len(self.names) == 1 else "⇊"


class Story:
    """What travels between a server and its desks, in the order of the server.

    waiting   what is still to be shown
    columns   what was shown at each desk, the newest first
    last      what was shown last
    asleep    whether the sleeper reads nothing
    cut_off   whether the server has cut the sleeper off
    unread    what was sent to the sleeper, who has not read it
    pile      bytes of it that wait on the server, or did when it cut him off
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.waiting: collections.deque[Flight] = collections.deque(maxlen=1000)
        self.columns: dict[str, list[Flight]] = {name: [] for name in names}
        self.last: Flight | None = None
        self.asleep = False
        self.cut_off = False
        self.unread: collections.deque[Message] = collections.deque()
        self.pile = 0

    def hear(self, name: str, words: str, when: float) -> None:
        """Take in what somebody at a desk says to the server."""
        self.waiting.append(Flight("request", words, f"{name} asks", [name], when))

    def tell(self, names: list[str], message: Message, when: float) -> None:
        """Take in what the server says to some desks. Who is asleep will read it later, or never."""
        about = self._address(names, message)
        is_late = self.asleep or self.unread
        if SLEEPER in names and is_late:
            self.unread.append(message)
            names = [name for name in names if name != SLEEPER]
            about = f"read by {', '.join(names)}"
        if names:
            self._descend(names, message, about, when)

    def read(self, message: Message, when: float) -> None:
        """Take in what the sleeper has read. If it was not late, it has already been told."""
        if self.unread and self.unread[0] == message:
            self.unread.popleft()
            self._descend([SLEEPER], message, f"read by {SLEEPER}", when)

    def _address(self, names: list[str], message: Message) -> str:
        if is_reply(message):
            return f"a reply to {names[0]}"
        if len(names) == len(self.columns):
            return "to everybody"
        return f"to {', '.join(names)}"

    def _descend(
        self, names: list[str], message: Message, about: str, when: float
    ) -> None:
        flight = Flight(
            kind="reply" if is_reply(message) else "announcement",
            words=encode(message),
            about=about,
            names=names,
            when=when,
            meaning=meaning(message),
            series=find_series(message),
        )
        self.waiting.append(flight)

    def show_next(self) -> None:
        """Show what comes next, at the top of its columns."""
        flight = self.waiting.popleft()
        self.last = flight
        for name in flight.names:
            cards = self.columns[name]
            if flight.series:
                cards = [card for card in cards if card.series != flight.series]
            self.columns[name] = [flight, *cards][:LINES]

    def show_all(self) -> None:
        """Show all that is waiting."""
        while self.waiting:
            self.show_next()


def is_reply(message: Message) -> bool:
    """Tell a reply, which goes to one player, from an announcement, which nobody has asked for."""
    if isinstance(message, str):
        sentence, _ = recognise(message)
        return sentence in (LESS, MORE, YOU_WON)
    return "you" in message or "error" in message


def find_series(message: Message) -> str:
    """Return the series that a message belongs to, or ""."""
    if isinstance(message, dict):
        for series in ("countdown", "news"):
            if series in message:
                return series
    return ""


# --------------------------------------------------------------------------------------------------
# How it looks
# --------------------------------------------------------------------------------------------------

DESKS_LOOK = "<style>.gg-desks .gg-inbox { height: 216px; }</style>"
TOLD = Markup('<div class="gg-told"><p>{}</p><p>{}</p></div>')
SKY = Markup('<div class="gg-sky" data-when="{}">{}</div>')
PILL = Markup('<span class="gg-{}-flies">{} {}</span>')
CARD = Markup(
    '<div class="gg-{kind}-card {new}"><small>{arrow} {about}, {when:.1f}&nbsp;s</small>'
    "<br>{words}<br><small>{meaning}</small></div>"
)


def shorten(words: str, width: int) -> str:
    """Keep words that are not longer than this; of others, keep only the beginning."""
    return words if len(words) <= width else f"{words[:32]}…"


def paint_told(story: Story, is_slow: bool) -> Markup:
    """Paint two lines: what flies, and what to do now."""
    told: Markup | str = ""
    if story.last is not None:
        words = shorten(story.last.words, 50)
        told = Markup("{}: <b>{}</b>").format(story.last.about, words)
    advice = Markup(advise(story, is_slow))
    return TOLD.format(told, advice)


def advise(story: Story, is_slow: bool) -> str:
    """Say what to do now."""
    if story.cut_off:
        return f"{SLEEPER} reads nothing: press <b>Wake {SLEEPER} up</b>."
    if story.asleep and not is_slow:
        return f"{SLEEPER} reads nothing: watch what piles up for him."
    if not is_slow:
        return "Press a <b>Guess!</b> button, and watch who gets what."
    if not story.waiting:
        return "Nothing is left: press a <b>Guess!</b> button."
    count = len(story.waiting)
    messages = "1 message is" if count == 1 else f"{count} messages are"
    return f"{messages} still to be shown: press <b>Next step</b>."


def paint_title(name: str, story: Story) -> Markup:
    """Paint the name above a desk, and what is the matter there."""
    state = ""
    if name == SLEEPER and story.asleep:
        state = " · cut off" if story.cut_off else " · asleep"
    return Markup("<b>{}</b>{}").format(name, state)


def paint_backlog(story: Story, limit: int) -> str:
    """Say how much waits for the sleeper on the server, or why he was cut off."""
    pile = f"{story.pile / 1024:.0f}"
    most = f"{limit / 1024:.0f} KiB"
    if story.cut_off:
        return f"<b>✂ cut off: {pile} + 16 &gt; {most}</b>"
    return f"waiting for {SLEEPER}: {pile} of {most}"


def paint_sky(story: Story) -> Markup:
    """Paint what flies between the server and the desks."""
    flight = story.last
    if flight is None:
        return SKY.format("", "")
    words = shorten(flight.words, 50)
    pill = PILL.format(flight.kind, flight.arrow, words)
    pills = [pill if name in flight.names else "" for name in story.columns]
    cells = [Markup("<div>{}</div>").format(pill) for pill in pills]
    return SKY.format(id(flight), Markup().join(cells))


def paint_column(name: str, story: Story, began: float) -> Markup:
    """Paint the column of a desk; what was shown last is lit."""
    painted = [
        CARD.format(
            kind=card.kind,
            new="gg-new" if card is story.last else "",
            arrow=card.arrow,
            about=card.about,
            when=max(0.0, card.when - began),
            words=shorten(card.words, 300),
            meaning=card.meaning,
        )
        for card in story.columns[name]
    ]
    return Markup('<div class="gg-inbox">{}</div>').format(Markup().join(painted))


# --------------------------------------------------------------------------------------------------
# A server above four desks
# --------------------------------------------------------------------------------------------------

# What the operating system stores for the sleeper, about. By itself it stores megabytes, and a nap would
# change nothing.
AT_SERVER = 4096  # bytes
AT_DESK = 32_768


class Desks(Part):
    """Seat players side by side below their server, and let each message fly.

        desks = await Desks(server, ["Ada", "Bob", "Cleo", "Dan"]).start()
        desks

    Each desk has a guess to send, and a column of all that was sent and received, the newest on top. What belongs
    to the last flight is lit. In slow motion, "Next step" starts one flight. Bob can fall asleep: then he reads
    nothing.
    """

    def __init__(self, server: GameServer, names: Sequence[str]) -> None:
        super().__init__("desks")
        self.server = server
        self.clock = self.loop.time
        self.story = Story(names)
        self.players: dict[str, Player] = {}
        self.at = {f"/?desk={number}": name for number, name in enumerate(names)}
        self.next_flight = 0.0
        self.telling = self.run(asyncio.sleep(0))
        self._make_pictures()
        self._make_controls()
        self._arrange()

    def _make_pictures(self) -> None:
        self.told = widgets.HTML()
        self.sky = widgets.HTML()
        self.backlog = widgets.HTML()
        self.bar = widgets.FloatProgress(layout={"flex": "0 0 40%"})
        self.bar.style.bar_color = "#c2570c"
        self.bar.add_class("gg-pile")
        self.titles = {name: widgets.HTML() for name in self.story.columns}
        self.columns = {name: widgets.HTML() for name in self.story.columns}

    def _make_controls(self) -> None:
        slow = widgets.Checkbox(description="Slow motion", indent=False)
        slow.layout.width = "130px"
        self.slow = self.watched(slow, self._change_pace)
        self.next_button = self.button("Next step", self._next, icon="step-forward")
        self.next_button.layout.width = "120px"
        self.nap_button = self.button(f"{SLEEPER} falls asleep", self._nap)
        self.nap_button.layout.width = "150px"
        self.numbers = {name: self._make_number() for name in self.story.columns}
        self.buttons = {name: self._make_button(name) for name in self.story.columns}

    def _make_number(self) -> widgets.BoundedIntText:
        game = self.server.game
        number = widgets.BoundedIntText(50, min=game.low, max=game.high)
        number.layout = {"flex": "1 1 48px", "min_width": "48px", "margin": "0 4px 0 0"}
        return self.watched(number)

    def _make_button(self, name: str) -> widgets.Button:
        guess = functools.partial(self._guess, name)
        button = self.button("Guess!", guess, tooltip=f"{name} guesses")
        button.layout = {"flex": "0 0 74px", "margin": "0"}
        return button

    def _arrange(self) -> None:
        names = self.story.columns
        controls = widgets.Box([self.slow, self.next_button, self.nap_button])
        controls.layout = LINE
        title = widgets.HTML("<b>Server</b>")
        server = widgets.HBox([title, self.bar, self.backlog])
        server.add_class("gg-server")
        desks = widgets.GridBox([self._arrange_desk(name) for name in names])
        desks.layout.grid_template_columns = f"repeat({len(names)}, minmax(0, 1fr))"
        desks.layout.grid_gap = "8px"
        look = widgets.HTML(DESKS_LOOK)
        self.add_class("gg-desks")
        self.show(look, self.told, server, self.sky, desks, controls)

    def _arrange_desk(self, name: str) -> widgets.VBox:
        guess = widgets.HBox([self.numbers[name], self.buttons[name]])
        desk = widgets.VBox([self.titles[name], guess, self.columns[name]])
        desk.layout.margin = "0"
        return desk

    async def start(self) -> Desks:
        """Let everybody join, begin to show what travels, and return the desks."""
        # Whoever wants to listen in may set this attribute.
        self.server.overhear = self._overhear  # type: ignore[method-assign]
        for path, name in self.at.items():
            player = await lesson.join(self.server.url + path, path, name)
            self.players[name] = player
        self.players[SLEEPER].on_message = self._read
        self.story.show_all()
        self.run(self._keep_painting())
        return self

    # What travels

    def _overhear(self, clients: list[Client], message: Any, is_heard: bool) -> None:
        """Take in what the server hears and says, if it concerns a desk."""
        names = [self._find_desk(client) for client in clients]
        names = [name for name in names if name]
        if not names:
            return
        if is_heard:
            self.story.hear(names[0], str(message), self.clock())
        else:
            self.story.tell(names, message, self.clock())

    def _find_desk(self, client: Client) -> str:
        """Return at which desk a client sits, or "". Each desk connects to a path of its own."""
        connection: Any = self.server.connections[client]
        return self.at.get(connection.request.path, "")

    def _read(self, message: Message) -> None:
        self.story.read(message, self.clock())

    # Controls

    async def _guess(self, name: str, _: Any) -> None:
        await self.players[name].guess(self.numbers[name].value)

    async def _change_pace(self, _: Any) -> None:
        """Show all that is waiting. So slow motion begins with what comes next."""
        self.story.show_all()

    async def _next(self, _: Any) -> None:
        if self.story.waiting:
            self.story.show_next()

    async def _nap(self, _: Any) -> None:
        """Let the sleeper fall asleep, or wake him up."""
        story = self.story
        story.asleep = not story.asleep
        wake_up = f"Wake {SLEEPER} up"
        fall_asleep = f"{SLEEPER} falls asleep"
        self.nap_button.description = wake_up if story.asleep else fall_asleep
        self.buttons[SLEEPER].disabled = story.asleep
        self.telling.cancel()
        if story.asleep:
            self.slow.value = False
            self.telling = self.run(self._tell_news())
        else:
            await self._wake_up()

    async def _tell_news(self) -> None:
        """Let the sleeper read nothing; announce something big, again and again, until he is cut off."""
        desk = self.players[SLEEPER].connection.transport
        desk.pause_reading()
        set_buffers(desk, AT_DESK)
        line = self._find_line()
        if line is not None:
            set_buffers(line, AT_SERVER)
        for number in itertools.count(1):
            if self._find_line() is None:
                return
            news = {"news": number, "kB": 16, "text": "bla " * 4000}
            self.server.game.broadcast(news)
            await asyncio.sleep(BEAT)

    async def _wake_up(self) -> None:
        """Read again. If the sleeper was cut off, he finds out, and joins again."""
        sleeper = self.players[SLEEPER]
        was_cut_off = self._find_line() is None
        sleeper.connection.transport.resume_reading()
        if was_cut_off:
            await asyncio.wait({sleeper.reader})
            self.story.unread.clear()
            await sleeper.join()

    def _find_line(self) -> Any:
        """Return the server's end of the sleeper's connection, or None if he was cut off."""
        client_id = self.players[SLEEPER].client_id or 0
        client = self.server.clients.get(client_id)
        if client is None:
            return None
        return self.server.connections[client].transport

    # Painting

    async def _keep_painting(self) -> None:
        while True:
            is_time = self.clock() >= self.next_flight
            if self.story.waiting and is_time and not self.slow.value:
                self.story.show_next()
                self.next_flight = self.clock() + BEAT
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        story = self.story
        limit = self.server.max_backlog
        is_slow = self.slow.value
        self._weigh()
        self.next_button.disabled = not (is_slow and story.waiting)
        self.told.value = paint_told(story, is_slow)
        self.sky.value = paint_sky(story)
        self.backlog.value = paint_backlog(story, limit)
        self.bar.value = 100 * min(1, story.pile / limit)
        for name in story.columns:
            self.titles[name].value = paint_title(name, story)
            self.columns[name].value = paint_column(name, story, self.began)

    def _weigh(self) -> None:
        """See what waits for the sleeper. When he is cut off, it is remembered."""
        line = self._find_line()
        self.story.cut_off = self.story.asleep and line is None
        if line is not None:
            self.story.pile = line.get_write_buffer_size()


def set_buffers(transport: Any, size: int) -> None:
    """Tell the operating system how many bytes it may store for one end of a connection, about."""
    line = transport.get_extra_info("socket")
    for kind in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        line.setsockopt(socket.SOL_SOCKET, kind, size)


# --------------------------------------------------------------------------------------------------
# Halls: ways to send to all, while somebody never reads
# --------------------------------------------------------------------------------------------------

BUFFER = 150_000  # bytes that the operating system stores for one end of a line, about
PACE = 0.012  # seconds between two messages
MESSAGES = 200
PATIENCE = 2.0  # seconds
LISTENERS = ("Ada", SLEEPER, "Cleo", "Dan")
Broadcast = Callable[[Sequence[ServerConnection], str], Coroutine[Any, Any, None]]


@dataclasses.dataclass
class Trial:
    """How far a way to send to all has got.

    messages   how many there are to send
    patience   seconds after which it gives up
    heard      how many each listener has read
    number     of the message that was sent last
    began      when the first one was sent
    sent       when the last one was sent
    pile       bytes that wait for the sleeper in the memory of the server
    outcome    how it has ended, or ""
    """

    messages: int = MESSAGES
    patience: float = PATIENCE
    heard: dict[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(LISTENERS, 0)
    )
    number: int = 0
    began: float = 0.0
    sent: float = 0.0
    pile: int = 0
    outcome: str = ""

    def give_up(self) -> None:
        """End, because a message has been on its way for too long."""
        self.outcome = f"■ Given up: message {self.number} is stuck."

    def succeed(self, now: float) -> None:
        """End, because all messages were sent."""
        seconds = now - self.began
        self.outcome = f"✓ All {self.messages} were sent in {seconds:.1f} s."

    def is_heard(self) -> bool:
        """Tell whether all who read have read everything."""
        counts = [count for name, count in self.heard.items() if name != SLEEPER]
        return min(counts) == self.messages


LOOK = """<style>
.gg-halls { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; }
.gg-hall-of-one { padding: 4px 10px 8px; border-radius: 8px; border: 2px solid var(--jp-border-color1, #bbb); }
.gg-hall-of-one h4 { margin: 2px 0; font: 700 17px/1.3 var(--jp-code-font-family, monospace); }
.gg-hall-of-one p { margin: 0; font-variant-numeric: tabular-nums; }
.gg-hall-of-one .gg-outcome { height: 44px; line-height: 22px; font-size: 17px; overflow: hidden; }
.gg-hall-of-one .gg-heard { display: grid; grid-template-columns: 62px 1fr 42px; gap: 0 4px; align-items: center;
    height: 30px; font-size: 17px; }
.gg-heard > div { height: 20px; border-radius: 3px; background: var(--jp-layout-color3, #ddd); overflow: hidden; }
.gg-heard i { display: block; height: 100%; background: #2f6fde; }
.gg-heard b { text-align: right; }
@container (max-width: 700px) {
  .gg-hall-of-one { padding: 4px 6px; }
  .gg-hall-of-one h4 { font-size: 14px; }
  .gg-hall-of-one .gg-outcome { font-size: 15px; }
}
</style>"""
HALL = Markup(
    '<div class="gg-hall-of-one"><h4>{title}</h4><p class="gg-outcome">{sentence}</p>'
    "{rows}<p>on the server, for {sleeper}:<br><b>{pile:,.0f} kB</b></p></div>"
)
HEARD = Markup(
    '<div class="gg-heard"><span>{name}</span>'
    '<div><i style="width:{percent:.1f}%"></i></div><b>{count}</b></div>'
)


def paint_trial(title: str, trial: Trial, now: float) -> Markup:
    """Paint how far a trial has got: a sentence, and a bar for each listener."""
    rows = [
        HEARD.format(
            name=f"{name} zZ" if name == SLEEPER else name,
            percent=100 * count / trial.messages,
            count=count,
        )
        for name, count in trial.heard.items()
    ]
    return HALL.format(
        title=title,
        sentence=tell_trial(trial, now),
        rows=Markup().join(rows),
        sleeper=SLEEPER,
        pile=trial.pile / 1000,
    )


def tell_trial(trial: Trial, now: float) -> str:
    """Say in one sentence how far a trial has got."""
    if trial.outcome:
        return trial.outcome
    if not trial.number:
        return "Nothing was sent yet."
    waited = now - trial.sent
    if waited < 0.3:
        return f"Message {trial.number} is on its way."
    stuck = Markup("Message {} has been on its way for <b>{:.1f} s</b>.")
    return stuck.format(trial.number, waited)


class Hall:
    """One way to send to all, with a server and four listeners of its own; one of them never reads.

    `run` starts a task that goes on beside everything else.
    """

    def __init__(
        self,
        send_to_all: Broadcast,
        run: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        self.send_to_all = send_to_all
        self.title = send_to_all.__name__
        self.run = run
        self.clock = asyncio.get_running_loop().time
        self.trial = Trial()
        self.connections: list[ServerConnection] = []
        self.helpers: list[asyncio.Task[Any]] = []

    async def hold(self) -> None:
        """Open the hall, seat the listeners, send, and close it again."""
        self.trial = Trial()
        self.connections = []
        self.helpers = []
        opening = serve(
            self._welcome, "127.0.0.1", 0, compression=None, close_timeout=0
        )
        async with opening as hall:
            [listening] = hall.sockets
            _, port = listening.getsockname()
            try:
                await self._seat(f"ws://127.0.0.1:{port}")
                await self._send_all()
            finally:
                for connection in self.connections:
                    connection.transport.abort()
                for helper in self.helpers:
                    helper.cancel()

    async def _welcome(self, connection: ServerConnection) -> None:
        set_buffers(connection.transport, BUFFER)
        self.connections.append(connection)
        await connection.wait_closed()

    async def _seat(self, url: str) -> None:
        """Let the listeners in, one after the other."""
        for count, name in enumerate(self.trial.heard, 1):
            self.helpers.append(self.run(self._listen(url, name)))
            while len(self.connections) < count:
                await asyncio.sleep(0.01)

    async def _listen(self, url: str, name: str) -> None:
        connecting = connect(
            url, compression=None, max_queue=1, close_timeout=0, **CONNECT_OPTIONS
        )
        async with connecting as connection:
            set_buffers(connection.transport, BUFFER)
            if name == SLEEPER:
                await asyncio.sleep(3600)
            async for _ in connection:
                self.trial.heard[name] += 1

    async def _send_all(self) -> None:
        """Send the messages, one after the other, until one does not get through in time."""
        trial = self.trial
        trial.began = self.clock()
        for number in range(1, trial.messages + 1):
            trial.number = number
            trial.sent = self.clock()
            sending = self.run(self.send_to_all(self.connections, "x" * 10_000))
            self.helpers.append(sending)
            await asyncio.wait({sending}, timeout=trial.patience)
            self._weigh()
            if not sending.done():
                trial.give_up()
                return
            sending.result()  # raises what went wrong, if anything did
            await asyncio.sleep(PACE)
        end = trial.sent + trial.patience
        while not trial.is_heard() and self.clock() < end:
            await asyncio.sleep(0.01)  # the last ones are still on their way
        trial.succeed(self.clock())

    def _weigh(self) -> None:
        line = self.connections[LISTENERS.index(SLEEPER)].transport
        self.trial.pile = line.get_write_buffer_size()


class Halls(Part):
    """Try out several ways to send to all at the same time, side by side.

        Halls(in_a_loop, all_at_once, without_waiting)

    Each way is used in a hall of its own. There, a server sends messages of 10 kB to four listeners, and Bob never
    reads. The bars say how many each listener has read. A way gives up when a message has been stuck for two seconds.
    """

    def __init__(self, *ways: Broadcast) -> None:
        super().__init__("halls")
        self.halls = [Hall(way, self.run) for way in ways]
        self.picture = widgets.HTML()
        start = f"Send {MESSAGES} messages"
        self.start_button = self.button(start, self._start, icon="play")
        self.start_button.layout.width = "200px"
        self.show(widgets.HTML(LOOK), self.start_button, self.picture)
        self.paint()

    async def _start(self, _: Any) -> None:
        """Hold all trials at the same time, and show them."""
        await self.stop()
        running = {self.run(hall.hold()) for hall in self.halls}
        while running:
            self.paint()
            beat = 1 / PAINTS_PER_SECOND
            _, running = await asyncio.wait(running, timeout=beat)
        self.paint()

    def paint(self) -> None:
        """Bring what is shown up to date."""
        now = self.loop.time()
        painted = [paint_trial(hall.title, hall.trial, now) for hall in self.halls]
        layout = Markup('<div class="gg-halls">{}</div>')
        self.picture.value = layout.format(Markup().join(painted))
