"""What the lesson on several servers shows: two servers above four desks, and what is between them.

Nothing here imports Redis before it is needed: where it is missing, the lesson says so.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import os
import secrets
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import (
    SOMEBODY_WON,
    WELCOME,
    YOU_WON,
    Client,
    Game,
    GameServer,
    Message,
    Player,
    ServerGone,
    encode,
    recognise,
)

from . import LINE, PAINTS_PER_SECOND, Panel, Part, bars, lesson, meaning, picture
from .desks import Flight, Story, find_series, is_reply, paint_column, shorten
from .rounds import Judge, Race

PLACES = {"Ada": 0, "Bob": 0, "Cleo": 1, "Dan": 1}  # who sits at which server
BEAT = 0.5  # seconds for which a message is shown in one place
RACES = 100
SECRET = 42  # the number of all games that several servers share
PAUSE = 3  # seconds between two rounds

# --------------------------------------------------------------------------------------------------
# What is known: where each message is, one place after the other
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Hop(Flight):
    """A message at one moment of its way.

    places   the boxes in which it is: servers, or what is between them
    """

    places: list[str] = dataclasses.field(default_factory=list)


class Way(Story):
    """What travels between four desks, two servers, and what is between these."""

    def __init__(self) -> None:
        super().__init__([*PLACES])

    def ask(
        self, place: str, name: str, words: str, when: float, through: Sequence[str]
    ) -> None:
        """Take in what somebody asks a server, which hands it on."""
        about = f"{name} asks"
        self.waiting.append(Hop("request", words, about, [name], when, places=[place]))
        for further in through:
            hop = Hop("request", words, about, [], when, places=[further])
            self.waiting.append(hop)

    def answer(
        self,
        place: str,
        names: list[str],
        message: Message,
        when: float,
        through: Sequence[str],
    ) -> None:
        """Take in what a server tells its desks, perhaps because it was told so itself."""
        words = encode(message)
        for hop in reversed(self.waiting):
            if isinstance(hop, Hop) and hop.words == words:
                if hop.kind == "announcement" and place not in hop.places:
                    hop.places.append(place)
                    hop.names += names
                    hop.about = self._address(hop.names, message)
                    return
                break
        about = self._address(names, message)
        kind = "reply" if is_reply(message) else "announcement"
        for earlier in through:
            hop = Hop(f"{kind}-above", words, about, [], when, places=[earlier])
            self.waiting.append(hop)
        hop = Hop(kind, words, about, list(names), when, places=[place])
        hop.meaning = meaning(message)
        hop.series = find_series(message)
        self.waiting.append(hop)


# --------------------------------------------------------------------------------------------------
# How it looks
# --------------------------------------------------------------------------------------------------

BOX = Markup('<div class="gg-place {lit}"><b>{title}</b> {state}<br>{pill}</div>')
PILL = Markup('<span class="gg-pill">{} {}</span>')
ROW = Markup('<div class="gg-places">{}</div>')
SAID = Markup('<div class="gg-told"><p>{}</p><p>{}</p></div>')


def paint_places(way: Way, rows: Sequence[Mapping[str, str]]) -> Markup:
    """Paint rows of boxes, each with its state; the message is in those that are lit."""
    painted = []
    for row in rows:
        boxes = [paint_box(way, title, state) for title, state in row.items()]
        painted.append(ROW.format(Markup().join(boxes)))
    return Markup().join(painted)


def paint_box(way: Way, title: str, state: str) -> Markup:
    """Paint one box, and the message if it is there."""
    hop = way.last
    is_here = isinstance(hop, Hop) and title in hop.places
    pill: Markup | str = ""
    if hop is not None and is_here:
        arrow = "↑" if hop.kind == "request" else "↓"
        pill = PILL.format(arrow, shorten(hop.words, 44))
    lit = "gg-lit" if is_here else ""
    return BOX.format(lit=lit, title=title, state=state, pill=pill)


def paint_told(way: Way, said: str, is_slow: bool) -> Markup:
    """Paint two lines: the last message, and what else there is to say."""
    told: Markup | str = ""
    if way.last is not None:
        words = shorten(way.last.words, 50)
        told = Markup("{}: <b>{}</b>").format(way.last.about, words)
    if is_slow and way.waiting:
        said = f"{len(way.waiting)} still to be shown: press Next step."
    return SAID.format(told, said)


def paint_player(name: str, player: Player) -> Markup:
    """Paint the name above a desk, with id and wins, as the player knows them."""
    if player.gone is not None or player.client_id is None:
        return Markup("<b>{}</b> is away").format(name)
    layout = Markup("<b>{}</b> #{} ★ {}")
    return layout.format(name, player.client_id, player.wins)


# --------------------------------------------------------------------------------------------------
# Redis, for this lesson
# --------------------------------------------------------------------------------------------------


class Broker(Part):
    """Say in one sentence which Redis this lesson uses, or what to do.

    url       where it is
    missing   the sentence, if there is none; or ""
    program   the one of our own, or None
    """

    def __init__(self) -> None:
        super().__init__("broker")
        self.url = ""
        self.missing = ""
        self.program: Any = None
        self.clients: list[Any] = []
        self.house = f"guess:{secrets.token_hex(8)}"

    async def start(self) -> None:
        """Find the Redis that REDIS_URL names, or start one."""
        try:
            said = await self._find()
        except (ImportError, LookupError, ValueError) as error:
            said = self.missing = str(error)
        self.show(widgets.HTML(Markup("<p>{}</p>").format(said)))

    async def _find(self) -> str:
        from . import broker  # not above: it needs a package

        self.side = broker
        self.url = os.environ.get("REDIS_URL", "")
        whose = "yours, which REDIS_URL names"
        if not self.url:
            self.program = broker.Program()
            self.url = self.program.url
            whose = "started for this lesson; it ends with it"
            self.program.start()
        version = await broker.wait_for(self.url)
        return f"Redis {version} is running: {whose}."

    def trouble(self) -> str:
        """Return a sentence if there is no Redis, or none any more."""
        if self.program is not None and not self.program.is_running:
            return "Redis is dead: revive it, or run the cells from the top."
        return self.missing

    def channel(self, name: str) -> Any:
        """Open a channel."""
        if self.missing:
            return None
        channel = self.side.Channel(self.url, f"{self.house}:{name}")
        self.clients.append(channel.broker)
        return channel

    def slates(self) -> Callable[[], Any]:
        """Return what makes a new slate, each with a value of its own."""
        client = self.side.open_slates(self.url)
        self.clients.append(client)
        numbers = itertools.count()
        start = secrets.token_hex(4)
        return lambda: self.side.Slate(client, f"{self.house}:{start}:{next(numbers)}")

    async def end(self) -> None:
        """End our own Redis, and let go of any other."""
        await super().end()
        while self.clients:
            await self.clients.pop().aclose()
        if self.program is not None:
            self.program.end()
            self.program = None


async def start_broker() -> Broker:
    """Find or start a Redis; the one of an earlier run of the cell runs on."""
    for part in lesson.parts:
        if isinstance(part, Broker) and not part.missing:
            return part
    broker = Broker()
    await broker.start()
    return broker


Act = Callable[..., Coroutine[Any, Any, Any]]


def need_redis(make: Act) -> Act:
    """Let a coroutine function return a sentence, as a picture, where there is no Redis."""

    @functools.wraps(make)
    async def make_or_say(broker: Broker, *arguments: Any) -> Any:
        trouble = broker.trouble()
        if trouble:
            return picture(Markup("<p>{}</p>").format(trouble))
        return await make(broker, *arguments)

    return make_or_say


# --------------------------------------------------------------------------------------------------
# Two servers above four desks
# --------------------------------------------------------------------------------------------------


class Halves(Part):
    """Seat two players at each of two servers, and show where each message is.

        await two_servers(server, other)

    A subclass says what is between the servers, and opens them.
    """

    titles: Sequence[str] = ("Server 1", "Server 2")
    said = "Press a <b>Guess!</b> button, and watch who hears what."

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.way = Way()
        self.servers: list[GameServer] = []
        self.players: dict[str, Player] = {}
        self.next_hop = 0.0
        self.is_listening = True
        self.told = widgets.HTML()
        self.places = widgets.HTML()
        self.desk_titles = {name: widgets.HTML() for name in PLACES}
        self.columns = {name: widgets.HTML() for name in PLACES}
        self._make_controls()
        self._arrange()

    def _make_controls(self) -> None:
        slow = widgets.Checkbox(description="Slow motion", indent=False)
        slow.layout.width = "130px"
        self.slow = self.watched(slow, self._change_pace)
        self.next_button = self.button("Next step", self._next, icon="step-forward")
        self.next_button.layout.width = "120px"
        self.numbers = {name: self._make_number() for name in PLACES}
        self.buttons = {name: self._make_button(name) for name in PLACES}

    def _make_number(self) -> widgets.BoundedIntText:
        number = widgets.BoundedIntText(50, min=1, max=100)
        number.layout = {"flex": "1 1 48px", "min_width": "48px", "margin": "0 4px 0 0"}
        return self.watched(number)

    def _make_button(self, name: str) -> widgets.Button:
        guess = functools.partial(self._guess, name)
        button = self.button("Guess!", guess, tooltip=f"{name} guesses")
        button.layout = {"flex": "0 0 74px", "margin": "0"}
        return button

    def more_buttons(self) -> list[widgets.Widget]:
        """Return further controls. A subclass may have some."""
        return []

    def _arrange(self) -> None:
        controls = [self.slow, self.next_button, *self.more_buttons()]
        line = widgets.Box(controls, layout=LINE)
        desks = widgets.GridBox([self._arrange_desk(name) for name in PLACES])
        desks.layout.grid_template_columns = "repeat(4, minmax(0, 1fr))"
        desks.layout.grid_gap = "8px"
        self.show(line, self.told, self.places, desks)

    def _arrange_desk(self, name: str) -> widgets.VBox:
        guess = widgets.HBox([self.numbers[name], self.buttons[name]])
        desk = widgets.VBox([self.desk_titles[name], guess, self.columns[name]])
        desk.layout.margin = "0"
        desk.add_class("gg-low")
        return desk

    async def start(self, servers: Sequence[GameServer]) -> None:
        """Let everybody join, and begin to show what travels."""
        self.servers[:] = servers
        for number, server in enumerate(servers):
            self.listen_to(number, server)
        for name, number in PLACES.items():
            url = f"{servers[number].url}/?desk={name}"
            who = f"{self.name}: {name}"
            key = self.make_key()
            self.players[name] = await lesson.join(url, who, name, key=key)
        self.way.waiting.clear()  # the picture begins when all are here
        self.run(self._keep_painting())

    def listen_to(self, number: int, server: GameServer) -> None:
        """See what travels through a server."""
        overhear = functools.partial(self._overhear, number)
        # Whoever wants to listen in may set this attribute.
        server.overhear = overhear  # type: ignore[method-assign]

    def _overhear(
        self, number: int, clients: list[Client], message: Any, is_heard: bool
    ) -> None:
        names = [self._find_desk(number, client) for client in clients]
        names = [name for name in names if name and self.is_shown(message)]
        now = self.loop.time()
        place = self.titles[number]
        if not names:
            return
        if is_heard:
            self.way.ask(place, names[0], str(message), now, self.upwards())
        else:
            self.way.answer(place, names, message, now, self.downwards(message))

    def _find_desk(self, number: int, client: Client) -> str:
        """Return who sits there: each desk connects to a path of its own."""
        connection: Any = self.servers[number].connections[client]
        _, _, name = connection.request.path.partition("?desk=")
        return str(name)

    # What a subclass may say

    def is_shown(self, message: Any) -> bool:
        """Tell whether a message is to be shown: not how each server counts down."""
        if isinstance(message, dict) and "countdown" in message:
            return False
        return self.is_listening

    def make_key(self) -> str | None:
        """Return a key for a player to come back with."""
        return None

    def upwards(self) -> Sequence[str]:
        """Return the boxes that a request reaches after the server."""
        return []

    def downwards(self, message: Message) -> Sequence[str]:
        """Return the boxes that a message comes through before the server."""
        return []

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of boxes, and what is to be said of each."""
        states = [f"its number: {each.game.round.secret}" for each in self.servers]
        return [dict(zip(self.titles, states))]

    # Controls and painting

    async def _guess(self, name: str, _: Any) -> None:
        await self.players[name].guess(self.numbers[name].value)

    async def _change_pace(self, _: Any) -> None:
        self.way.show_all()

    async def _next(self, _: Any) -> None:
        if self.way.waiting:
            self.way.show_next()

    async def _keep_painting(self) -> None:
        while True:
            now = self.loop.time()
            is_time = now >= self.next_hop and not self.slow.value
            if self.way.waiting and is_time:
                self.way.show_next()
                self.next_hop = now + BEAT
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        way = self.way
        is_slow = self.slow.value
        self.next_button.disabled = not (is_slow and way.waiting)
        self.told.value = paint_told(way, Markup(self.said), is_slow)
        self.places.value = paint_places(way, self.rows())
        for name, player in self.players.items():
            self.desk_titles[name].value = paint_player(name, player)
            self.columns[name].value = paint_column(name, way, self.began)


async def end_earlier(name: str) -> None:
    """End the part of an earlier run of the cell, with all its servers."""
    for part in [part for part in lesson.parts if part.name == name]:
        await part.end()
        lesson.parts.remove(part)


async def two_servers(*servers: GameServer) -> Halves:
    """Show two servers that know nothing of each other."""
    halves = Halves("two servers")
    await halves.start(servers)
    return halves


# --------------------------------------------------------------------------------------------------
# A broker between two servers that both judge
# --------------------------------------------------------------------------------------------------

Carry = Callable[[GameServer], Coroutine[Any, Any, None]]


class Sharing(Halves):
    """Show two servers that tell each other through Redis who has won."""

    def downwards(self, message: Message) -> Sequence[str]:
        """Know what comes through Redis: the news of a win."""
        sentence, _ = recognise(message)
        return ["Redis"] if sentence is SOMEBODY_WON else []

    def rows(self) -> list[dict[str, str]]:
        """Put Redis above the servers."""
        return [{"Redis": "hands on what is published"}, *super().rows()]

    @contextmanager
    def between_rounds(self) -> Iterator[None]:
        """Show nothing, and begin no round, for as long as a race needs the servers."""
        self.is_listening = False
        for server in self.servers:
            server.pause = None
        try:
            yield
        finally:
            self.is_listening = True
            for server in self.servers:
                server.pause = PAUSE

    async def end(self) -> None:
        """End the servers, too."""
        await super().end()
        for server in self.servers:
            await server.stop()


def draw_the_same(low: int, high: int) -> int:
    """Draw the number of all games that several servers share."""
    return SECRET


@need_redis
async def share(
    broker: Broker, news: Any, make_game: Callable[..., Game], carry: Carry
) -> Sharing:
    """Open two servers with such a game, and let each carry the news."""
    await end_earlier("sharing")
    sharing = Sharing("sharing")
    servers = [
        GameServer(port=0, game=make_game, draw=draw_the_same, pause=PAUSE)
        for _ in range(2)
    ]
    for server in servers:
        await server.start()
        sharing.servers.append(server)
        sharing.run(carry(server))
    await news.wait_for_listeners(2)
    await sharing.start(servers)
    return sharing


# --------------------------------------------------------------------------------------------------
# Races
# --------------------------------------------------------------------------------------------------


def count_winners(rounds: Sequence[int]) -> dict[str, float]:
    """Count how many races had one winner, and how many had two."""
    return {"one winner": rounds.count(1), "two winners": rounds.count(2)}


def paint_races(rounds: Sequence[int], said: str = "") -> widgets.VBox:
    """Show how many races had one winner, and how many had two."""
    painted = bars(count_winners(rounds), f"of {len(rounds)}", len(rounds))
    return picture(painted + Markup("<p>{}</p>").format(said))


class Racer(Player):
    """A player who counts the news of wins."""

    def __init__(self, url: str) -> None:
        super().__init__(url, on_message=self.count)
        self.news_heard = 0

    def count(self, message: Message) -> None:
        """Count one more, if it is news of a win."""
        sentence, _ = recognise(message)
        self.news_heard += sentence is SOMEBODY_WON

    async def hear_news(self, count: int) -> None:
        """Wait until so many have come."""
        await self.wait_until(lambda: self.news_heard >= count, 5)

    async def hear_end(self) -> None:
        """Wait until the round is over."""
        await self.wait_until(lambda: self.round_over, 5)

    async def hear_begin(self) -> None:
        """Wait until the next round has begun."""
        await self.wait_until(lambda: not self.round_over, 5)


@need_redis
async def race_at_two_judges(broker: Broker, sharing: Sharing) -> widgets.VBox:
    """Let a player at each server guess right at the same moment, a hundred times."""
    servers = sharing.servers
    async with Racer(servers[0].url) as ada, Racer(servers[1].url) as cleo:
        with sharing.between_rounds():
            rounds = await race_with_news(servers, [ada, cleo])
    return paint_races(rounds)


async def race_with_news(
    servers: Sequence[GameServer], racers: Sequence[Racer]
) -> list[int]:
    """Race again and again; before the next race, let all news arrive."""
    rounds: list[int] = []
    await begin(servers, racers)
    for _ in range(RACES):
        rounds.append(await race(racers))
        for racer in racers:
            await racer.hear_news(sum(rounds))
        await begin(servers, racers)
    return rounds


async def begin(servers: Sequence[GameServer], racers: Sequence[Racer]) -> None:
    """Begin a new round, and wait until the players know."""
    for server in servers:
        server.new_round()
    for racer in racers:
        await racer.hear_begin()


async def race(players: Sequence[Player]) -> int:
    """Let all guess right at the same moment; return how many have won."""
    replies = await asyncio.gather(*(player.guess(SECRET) for player in players))
    return replies.count(YOU_WON.russian)


@need_redis
async def step_through(broker: Broker, *versions: Judge) -> Race:
    """Let Ada and Bob run each version step by step, with a value that Redis keeps."""
    named = {version.__name__.replace("_", " "): version for version in versions}
    return Race(broker.slates(), named)


@need_redis
async def race_for_a_value(broker: Broker, judge: Judge) -> widgets.VBox:
    """Let two servers run a function at the same moment, a hundred times."""
    make_slate = broker.slates()
    rounds = []
    began = time.perf_counter()
    for _ in range(RACES):
        slate = make_slate()
        results = await asyncio.gather(judge(slate, SECRET), judge(slate, SECRET))
        rounds.append(results.count("won"))
    each = (time.perf_counter() - began) * 1000 / RACES
    return paint_races(rounds, f"One race took {each:.1f} ms.")


# --------------------------------------------------------------------------------------------------
# One judge behind two doors
# --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def one_judge(broker: Broker, **options: Any) -> AsyncIterator[Any]:
    """Open two doors, and a judge behind them: a house of its own in Redis."""
    from .doors import Door, Judge  # not above: they need a package

    way = {"broker": broker.url, "house": f"guess:{secrets.token_hex(8)}"}
    options = {"draw": draw_the_same, **options}
    async with AsyncExitStack() as stack:
        judge = Judge(**way, **options)
        await stack.enter_async_context(judge)
        doors = [Door(port=0, **way) for _ in range(2)]
        for door in doors:
            await stack.enter_async_context(door)
        while not all(door.judge for door in doors):
            await asyncio.sleep(0.05)
        yield judge, doors


@need_redis
async def race_at_one_judge(broker: Broker) -> widgets.VBox:
    """Let a player at each door guess right at the same moment, a hundred times."""
    rounds = []
    async with AsyncExitStack() as stack:
        judge, doors = await stack.enter_async_context(one_judge(broker, pause=None))
        racers = [await stack.enter_async_context(Racer(door.url)) for door in doors]
        for _ in range(RACES):
            rounds.append(await race(racers))
            racers.reverse()
            for racer in racers:
                await racer.hear_end()
            await begin([judge], racers)
    return paint_races(rounds)


async def time_guesses(url: str) -> float:
    """Return how many ms a wrong guess takes, in the middle of a hundred."""
    times = []
    async with Player(url) as player:
        for _ in range(RACES):
            began = time.perf_counter()
            await player.guess(SECRET + 1)
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


@need_redis
async def measure_the_hop(broker: Broker) -> widgets.VBox:
    """Measure a guess at a plain server, and one that goes through a door to a judge."""
    async with GameServer(port=0, draw=draw_the_same) as server:
        plain = await time_guesses(server.url)
    async with one_judge(broker) as (_, doors):
        through = await time_guesses(doors[0].url)
    return picture(bars({"one server": plain, "door and judge": through}, "ms"))


# --------------------------------------------------------------------------------------------------
# Deaths
# --------------------------------------------------------------------------------------------------

HELLO = "Привет!"
LOST = {
    "Door": "A door is dead: its players come back through the other one.",
    "Judge": "The judge is dead: the number, the names and the scores are lost.",
    "Redis": "Redis is dead: nobody hears anybody, and all are sent away.",
    "back": "It is back. Wait a moment: all come back by themselves.",
}


class Deaths(Halves):
    """Show two doors, Redis and one judge, with buttons that kill them and bring them back."""

    titles = ("Door 1", "Door 2")

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        super().__init__("deaths")
        self.stack = AsyncExitStack()
        self.judge: Any = None
        self.is_alive = dict.fromkeys(self.kill_buttons, True)

    def more_buttons(self) -> list[widgets.Widget]:
        """Make a button for each of those that can die."""
        self.kill_buttons: dict[str, widgets.Button] = {}
        for title in (*self.titles, "Judge", "Redis"):
            kill = functools.partial(self._kill_or_revive, title)
            button = self.button(f"Kill {title}", kill, layout={"width": "auto"})
            self.kill_buttons[title] = button
        return list(self.kill_buttons.values())

    async def move_in(self) -> None:
        """Open the house, and let everybody join with a key."""
        opening = one_judge(self.broker, pause=PAUSE)
        self.judge, doors = await self.stack.enter_async_context(opening)
        await self.start(doors)
        if self.broker.program is None:
            self.kill_buttons["Redis"].disabled = True  # it is not ours
        for player in self.players.values():
            self.run(self._stay(player))

    def make_key(self) -> str | None:
        """Make a new key for each player."""
        return secrets.token_hex(8)

    def is_shown(self, message: Any) -> bool:
        """Show only the game, not how players come and go."""
        if isinstance(message, dict):
            return not {"close", "you", "countdown"} & set(message)
        return '"key"' not in str(message) and recognise(message)[0] is not WELCOME

    def upwards(self) -> Sequence[str]:
        """Know the way up: what a door hears, the judge decides."""
        return ["Redis", "Judge"]

    def downwards(self, message: Message) -> Sequence[str]:
        """Know the way down: all comes from the judge, through Redis."""
        return ["Redis"]

    def rows(self) -> list[dict[str, str]]:
        """Put the judge on top, then Redis, then the doors."""
        judge = f"its number: {self.judge.game.round.secret}"
        doors = [f"{len(door.clients)} connected" for door in self.servers]
        states = {"Judge": judge, "Redis": "", **dict(zip(self.titles, doors))}
        for title, is_alive in self.is_alive.items():
            if not is_alive:
                states[title] = "✝ dead"
        return [
            {title: states[title] for title in row}
            for row in (["Judge"], ["Redis"], self.titles)
        ]

    async def _stay(self, player: Player) -> None:
        """Come back through any open door, whenever the connection has ended."""
        path = player.url[player.url.index("/?desk=") :]
        for door in itertools.cycle(self.servers):
            await asyncio.wait({player.reader})
            if door.running:
                player.url = door.url + path
                with suppress(ServerGone):
                    await player.join()
            await asyncio.sleep(0.3)

    async def _kill_or_revive(self, title: str, _: Any) -> None:
        button = self.kill_buttons[title]
        button.disabled = True
        self.way.show_all()
        self.way.last = None
        was_alive = self.is_alive[title]
        self.is_alive[title] = not was_alive
        kind, _, number = title.partition(" ")
        self.said = LOST[kind if was_alive else "back"]
        try:
            if kind == "Door":
                await self._turn_door(self.servers[int(number) - 1], was_alive)
            elif kind == "Judge":
                await self._turn_judge(was_alive)
            else:
                await self._turn_redis(was_alive)
        finally:
            button.description = f"Revive {title}" if was_alive else f"Kill {title}"
            button.disabled = False

    async def _turn_door(self, door: GameServer, is_alive: bool) -> None:
        if not is_alive:
            await door.start()
            return
        for connection in list(door.connections.values()):
            connection.transport.abort()
        await door.stop()

    async def _turn_judge(self, is_alive: bool) -> None:
        if is_alive:
            await self.judge.stop()
            return
        self.judge = type(self.judge)(
            broker=self.broker.url,
            house=self.judge.house,
            draw=draw_the_same,
            pause=PAUSE,
        )
        self.stack.push_async_callback(self.judge.stop)
        await self.judge.start()

    async def _turn_redis(self, is_alive: bool) -> None:
        if is_alive:
            self.broker.program.kill()
        else:
            self.broker.program.start()
            await self.broker.side.wait_for(self.broker.url)

    async def end(self) -> None:
        """End the house, too."""
        await super().end()
        await self.stack.aclose()


@need_redis
async def deaths(broker: Broker) -> Deaths:
    """Open two doors and a judge, with buttons that kill them."""
    await end_earlier("deaths")
    part = Deaths(broker)
    await part.move_in()
    return part


async def publish_then_listen(channel: Any) -> str:
    """Publish a word, and listen a moment later."""
    count = await channel.publish(HELLO)
    hearing = asyncio.ensure_future(hear_one(channel))
    return tell_hearing(count, await hearing)


async def listen_then_publish(channel: Any) -> str:
    """Listen, and publish a word a moment later."""
    hearing = asyncio.ensure_future(hear_one(channel))
    await channel.wait_for_listeners(1)
    count = await channel.publish(HELLO)
    return tell_hearing(count, await hearing)


async def hear_one(channel: Any) -> str:
    """Listen for half a second, and return what was heard."""
    ear = channel.listen()
    hearing = asyncio.ensure_future(ear.__anext__())
    done, _ = await asyncio.wait({hearing}, timeout=0.5)
    hearing.cancel()
    await asyncio.wait({hearing})
    await ear.aclose()
    return hearing.result() if done else "nothing"


def tell_hearing(count: int, heard: str) -> str:
    """Say who has heard what."""
    return f"Redis handed it to {count}. The listener has heard: {heard}"


@need_redis
async def forgetting(broker: Broker) -> Panel:
    """Show buttons that publish a word before anybody listens, and after."""

    async def run(act: Act) -> Any:
        channel = broker.channel(secrets.token_hex(4))
        return broker.trouble() or await act(channel)

    return Panel(
        {
            "Publish, then listen": functools.partial(run, publish_then_listen),
            "Listen, then publish": functools.partial(run, listen_then_publish),
        },
        lines=2,
    )
