"""The board of lesson 1: bots play, you play along, and the last row of a hall sees it all.

A `Scene` is what is known, without a widget. The functions called `paint_...` say how it
looks. The `Board` has the controls, and the connections of the players.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import itertools
import random
from typing import Any, Coroutine, Iterable, Iterator, Sequence

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import (
    LESS,
    MORE,
    NEW_GAME,
    SOMEBODY_WON,
    STRATEGIES,
    WELCOME,
    YOU_WON,
    Bot,
    Choose,
    Client,
    GameServer,
    Knowledge,
    Message,
    Player,
    Sentence,
    bisection,
    encode,
    recognise,
)

from . import (
    LINE,
    PAINTS_PER_SECOND,
    Part,
    PauseSlider,
    colour,
    label,
    lesson,
    paint_message,
)

NAMES = (
    "Ada",
    "Bob",
    "Cleo",
    "Dan",
    "Eve",
    "Fay",
    "Gus",
    "Hal",
    "Ivy",
    "Jo",
    "Kim",
    "Leo",
)
CROWD = 12  # with more rows than that, nothing glides
FREEZE = 1.0  # seconds for which a win freezes, while its news travel to every row
QUICK = 0.2  # seconds between guesses; what jumps faster than it glides never arrives


def forgetful(low: int, high: int) -> int:
    """Guess anything from 1 to 100, as if there had been no hints."""
    return random.randint(1, 100)


# --------------------------------------------------------------------------------------
# What is known
# --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Seat:
    """One row of the board; of people from elsewhere we know only what is announced."""

    client_id: int | None
    name: str
    kind: str
    wins: int
    known: Knowledge | None = None
    fewest: int | None = None  # guesses that a win took


class Scene:
    """What the board knows of a game: feed it with the messages that the players hear.

    you            what the learner knows, from a connection like everybody's
    bots           the bots; `turn` counts who guesses next
    found, winner  in the pause: the number, and the id of who found it
    told           what the others were told then
    heard, news    the last messages to the learner: all of them, and the announcements
    fewest         for each player: guesses that a win took
    typed          the last number that the learner has typed
    bet, bets      whom the learner bets on; for each round since then, whether that was right
    """

    def __init__(self, you: Knowledge, bet: str = "") -> None:
        self.you = you
        self.bet = bet
        self.bets: list[bool] = []
        self.typed: int | None = None
        self.bots: list[Bot] = []
        self.turn = 0
        self.found: int | None = None
        self.winner: int | None = None
        self.told: Message = ""
        self.countdown: int | None = None
        self.heard: collections.deque[Message] = collections.deque(maxlen=10)
        self.news: collections.deque[Message] = collections.deque(maxlen=6)
        self.guesses_before: dict[Knowledge, int] = {}  # when this round began
        self.fewest: dict[Knowledge, int] = {}
        self.record = ""

    def hear(self, message: Message) -> None:
        """Learn from what the learner was told."""
        self.heard.append(message)
        self.count(self.you, message)
        fields = message if isinstance(message, dict) else {}
        sentence, gaps = recognise(message)
        if "countdown" in fields:
            self.countdown = fields["countdown"]
        if sentence is NEW_GAME:
            self.found = self.winner = self.countdown = None
        elif sentence is YOU_WON:
            asked = self.you.asked  # None, if the new game came in between
            self.found = asked if isinstance(asked, int) else self.typed
            self.winner = self.you.client_id
        elif sentence is SOMEBODY_WON:
            self.found = int(gaps["number"])
            self.told = message
        elif "wins" in fields and "you" not in fields:
            self.winner = fields["client_id"]
            self.settle(fields.get("name"))
        is_news = sentence in (WELCOME, NEW_GAME, YOU_WON, SOMEBODY_WON)
        if is_news or "wins" in fields:
            self.news.appendleft(message)

    def settle(self, winner: str | None) -> None:
        """See who has won the bet."""
        if self.bet:
            self.bets.append(winner == self.bet)

    def count(self, player: Knowledge, message: Message) -> None:
        """Count the guesses of a player in each round, by what this player was told."""
        if message == NEW_GAME.russian:
            self.guesses_before[player] = player.guesses
        elif message == YOU_WON.russian:
            needed = player.guesses - self.guesses_before.get(player, 0)
            if needed < min(self.fewest.values(), default=needed + 1):
                self.record = f"Fewest guesses today: {needed}, by {player.name}."
            earlier = self.fewest.get(player, needed)
            self.fewest[player] = min(needed, earlier)

    def next_bot(self) -> Bot | None:
        """Return the bot whose turn it is."""
        if not self.bots:
            return None
        return self.bots[self.turn % len(self.bots)]

    def seats(self, clients: Iterable[Client]) -> list[Seat]:
        """Return all rows: the learner, the bots, then whoever comes from elsewhere."""
        seats = [self.seat(self.you, "by hand")]
        for bot in self.bots:
            kind = getattr(bot.strategy, "__name__", "bot")
            seats.append(self.seat(bot, kind))
        ours = {seat.client_id for seat in seats}
        for client in clients:
            if client.id not in ours:
                stranger = Seat(client.id, label(client), "elsewhere", client.wins)
                seats.append(stranger)
        return seats

    def seat(self, player: Knowledge, kind: str) -> Seat:
        """Return the row of a player whose knowledge we share."""
        return Seat(
            player.client_id,
            player.name or "?",
            kind,
            player.wins,
            player,
            self.fewest.get(player),
        )

    def has_won(self, seat: Seat) -> bool:
        """Tell whether this is the winner of the round that is over."""
        return self.winner is not None and seat.client_id == self.winner

    def closest(self) -> tuple[int, list[str]]:
        """Return the fewest numbers that anybody has left, and who has so few."""
        players = [self.you, *self.bots]
        left = [player.high - player.low + 1 for player in players]
        fewest = min(left)
        names = [
            player.name or "?"
            for player, count in zip(players, left)
            if count == fewest
        ]
        return fewest, names


# --------------------------------------------------------------------------------------
# How it looks: the headline
# --------------------------------------------------------------------------------------

HEAD = Markup(
    '<div class="gg-head {mood}"><b>{title}</b>'
    '<div class="gg-count">{count}</div><div>{below}</div></div>'
)
HEADS = Markup('{} <span style="font-size:18px">{}</span>')


def paint_head(scene: Scene, seats: Sequence[Seat], round_number: int) -> Markup:
    """Paint what is going on, in large letters."""
    count = f"{scene.countdown}…"
    if scene.countdown is None:
        count = HEADS.format(len(seats), "player" if len(seats) == 1 else "players")
    winners = [seat.name for seat in seats if scene.has_won(seat)]
    name = winners[0] if winners else "Somebody"
    mood = ""
    if scene.found is None:
        title = f"Round {round_number}: who finds the number?"
        below = f"{say_who_is_close(scene)} {scene.record}"
    elif scene.winner == scene.you.client_id:
        mood = "gg-yours"
        title = f"★ You found {scene.found}! ★"
        below = f"You are told {encode(YOU_WON.russian)}, and all the others, who won."
    else:
        mood = "gg-won"
        title = f"★ {name} found {scene.found}!"
        below = f"Everybody is told at the same moment: {encode(scene.told)}"
    return HEAD.format(mood=mood, title=title, below=below, count=count)


def paint_gone() -> Markup:
    """Paint that the server has left."""
    return HEAD.format(
        mood="gg-gone",
        title="The connection has ended",
        below="Run the cells again, from the top.",
        count="",
    )


def paint_bets(scene: Scene) -> str:
    """Say how often the learner's bet was right."""
    if not scene.bets:
        return ""
    return f"{sum(scene.bets)} of {len(scene.bets)} right"


def say_who_is_close(scene: Scene) -> str:
    """Say who has the fewest numbers left."""
    low, high = scene.you.range
    fewest, names = scene.closest()
    if fewest == high - low + 1:
        return "Nobody knows anything yet."
    if fewest > 1:
        return f"Closest: {in_words(names)}, with {fewest} numbers to choose from."
    verb = "is" if len(names) == 1 and names != ["You"] else "are"
    return f"{in_words(names)} {verb} one guess away!"


def in_words(names: Sequence[str], most: int = 3) -> str:
    """Write a list of names as one says it, a long one as a number."""
    if len(names) > most:
        return f"{len(names)} players"
    *others, last = names
    if not others:
        return last
    return f"{', '.join(others)} and {last}"


# --------------------------------------------------------------------------------------
# How it looks: lines that stay, and a style sheet that moves what is on them
# --------------------------------------------------------------------------------------

# An arrow along the line, towards the secret number: nobody needs to tell colours apart.
ARROWS: dict[Sentence | None, str] = {LESS: "▶", MORE: "◀"}
WAYS: dict[Sentence | None, str] = {LESS: "go right", MORE: "go left"}

LINES = Markup(
    '<div class="gg-rows"><div class="gg-row gg-axis"><div>player</div>'
    '<div class="gg-line">{numbers}<i></i></div></div>{rows}'
    '<svg class="gg-fan" viewBox="0 0 100 {count}" preserveAspectRatio="none">'
    "<g>{rays}</g></svg></div>"
)
RAY = Markup('<line class="gg-ray{place}" x1="40" y1="-0.5" x2="100" y2="{place}.5"/>')
NUMBER = Markup('<span style="left:{place}">{number}</span>')
ROW = Markup(
    '<div class="gg-row gg-seat{place}" style="--c:{colour}">'
    '<div class="gg-name">{name}<small>{kind}</small></div>'
    '<div class="gg-line {how}"><i></i><b></b></div></div>'
)


@dataclasses.dataclass
class Scale:
    """The numbers along a line."""

    low: int
    high: int

    def place(self, number: float) -> str:
        """Say where a number is on a line."""
        share = (number - self.low + 0.5) / (self.high - self.low + 1)
        return f"{100 * share:.2f}%"

    def marks(self) -> Sequence[int]:
        """Return the numbers that are written above the lines."""
        size = self.high - self.low + 1
        if size < 8:
            return range(self.low, self.high + 1)
        quarters = [self.low - 1 + size * quarter // 4 for quarter in (1, 2, 3)]
        return [self.low, *quarters, self.high]


def paint_lines(seats: Sequence[Seat], scale: Scale) -> Markup:
    """Paint the names and the lines."""
    numbers = [
        NUMBER.format(place=scale.place(number), number=number)
        for number in scale.marks()
    ]
    rows = [
        ROW.format(
            place=place,
            colour=colour(place),
            name=seat.name,
            kind=seat.kind,
            how="" if seat.known else "gg-unknown",
        )
        for place, seat in enumerate(seats)
    ]
    rays = [RAY.format(place=place) for place in range(len(seats))]
    return LINES.format(
        numbers=Markup().join(numbers),
        rows=Markup().join(rows),
        count=max(1, len(seats)),
        rays=Markup().join(rays),
    )


def paint_sheet(
    scene: Scene,
    seats: Sequence[Seat],
    turn: Knowledge | None = None,
    secret: int | None = None,
    glides: bool = True,
) -> str:
    """Write the style sheet that moves bars and marks: the elements stay, so they glide."""
    scale = Scale(*scene.you.range)
    everywhere: dict[str, object] = {"rows": len(seats)}
    if not glides:
        everywhere["glide"] = 0
    if secret is not None:
        everywhere.update(secret=scale.place(secret), dots='""')
    if scene.found is not None:
        everywhere.update(place_what_was_found(scene.found, scale))
        everywhere["fan"] = "block"
        if glides:
            everywhere.update(told="gg-told", freeze=f"{FREEZE}s")
    sheet = [write_rule(".gg-board", everywhere)]
    for place, seat in enumerate(seats):
        look: dict[str, object] = {}
        if seat.known:
            look.update(place_what_is_known(seat.known, scale))
        if scene.found is not None:
            look.pop("from", None)
            look.pop("to", None)
        elif seat.known and seat.known is turn:
            look.update(next='"▸ "', row="var(--jp-layout-color2)")
        if scene.has_won(seat):
            look.update(WINNER)
            sheet.append(write_rule(f".gg-ray{place}", WINNERS_RAY))
        if scene.bet and seat.name == scene.bet:
            look["bet"] = '"♥ "'
        sheet.append(write_rule(f".gg-seat{place}", look))
    return f"<style>{''.join(sheet)}</style>"


WINNER = {
    "row": "var(--c)",
    "text": "#fff",
    "bar": "#fff",
    "ink": "#111",
    "arrow": '"★"',
    "side": "-20px",
    "stays": "sticky",
    "told": "none",
}


WINNERS_RAY: dict[str, object] = {"ray": "#1f8a46", "thick": 8}


def place_what_was_found(number: int, scale: Scale) -> dict[str, object]:
    """Put all bars onto the number that everybody was told."""
    half = (scale.high - scale.low + 1) / 80  # wide enough for the last row of a hall
    return {
        "from": scale.place(max(number - half, scale.low - 0.5)),
        "to": scale.place(min(number + half, scale.high + 0.5)),
        "at": scale.place(number),
        "number": f'"{number}"',
        "all": "block",
        "ink": "var(--jp-ui-font-color2)",
    }


def place_what_is_known(known: Knowledge, scale: Scale) -> dict[str, object]:
    """Put a bar where the number can be, and a mark onto the last guess."""
    look: dict[str, object] = {}
    if (known.low, known.high) != known.range:
        look["from"] = scale.place(known.low - 0.5)
        look["to"] = scale.place(known.high + 0.5)
    if known.last_guess is not None:
        look["mark"] = scale.place(known.last_guess)
        look["guessed"] = "block"
        look["arrow"] = f'"{ARROWS.get(known.last_verdict, "")}"'
    if known.last_verdict is MORE:
        look["side"] = "-19px"
    return look


def write_rule(selector: str, variables: dict[str, object]) -> str:
    """Write a rule of a style sheet that sets variables."""
    settings = [f"--{name}:{value}" for name, value in variables.items()]
    return f"{selector}{{{';'.join(settings)}}}"


# A win freezes: lines grow from the server to every row, and only then the bars move.
LOOK = f"""<style>
.gg-board .gg-rows {{ position: relative; }}
.gg-board .gg-line i {{ transition-delay: var(--freeze, 0s); }}
.gg-board .gg-row {{ animation-delay: calc(var(--freeze, 0s) * 0.8); }}
.gg-board .gg-name::before {{ content: var(--next, "") var(--bet, ""); }}
.gg-fan {{ display: var(--fan, none); position: absolute; z-index: 4; left: 0; top: 27px; width: 100%;
    height: calc(100% - 27px); overflow: visible; pointer-events: none;
    animation: gg-fade {FREEZE + 1.2}s forwards; }}
.gg-fan g {{ transform-origin: 40px -0.5px; animation: gg-grow {FREEZE * 0.8}s ease-in; }}
.gg-fan line {{ stroke: var(--ray, #c2570c); stroke-width: var(--thick, 3px); vector-effect: non-scaling-stroke; }}
@keyframes gg-grow {{ from {{ transform: scale(0); }} }}
@keyframes gg-fade {{ 70% {{ opacity: 1; }} to {{ opacity: 0; }} }}
.gg.gg-board input {{ scroll-margin: 440px 0 150px; }} /* brought into view, they bring the board along */
.gg.gg-board:fullscreen {{ --h: clamp(43px, calc((100vh - 320px) / var(--rows, 6) - 3px), 92px); }}
.gg-legend {{ display: flex; flex-wrap: wrap; gap: 0 18px; height: 24px; line-height: 24px; overflow: hidden;
    font-size: 15px; white-space: nowrap; }}
.gg-legend i {{ display: inline-block; width: 34px; height: 14px; vertical-align: -2px; border-radius: 3px;
    background: #2f6fde; }}
@container (max-width: 700px) {{
  .gg-board .gg-head {{ padding: 2px 12px; }}
  .gg-board .gg-answer {{ height: 26px; }}
  .gg-legend {{ gap: 0 12px; font-size: 13px; }}
}}
</style>"""
LEGEND = (
    '<div class="gg-legend"><span><i></i> it can be here</span>'
    "<span><b>┃</b> last guess</span>"
    "<span>▶ <b>Меньше</b>: less, go right</span>"
    "<span>◀ <b>Больше</b>: more, go left</span></div>"
)

# --------------------------------------------------------------------------------------
# How it looks: what stands right of the lines, and below
# --------------------------------------------------------------------------------------

REPLIES = Markup(
    '<div class="gg-replies"><div class="gg-row gg-axis">'
    "<div>last guess, reply</div><div>wins</div></div>{rows}</div>"
)
REPLY = Markup(
    '<div class="gg-row gg-seat{place}" style="--c:{colour}">'
    '<div class="gg-reply"><b>{guess}</b> {verdict} {arrow}<small>{below}</small></div>'
    '<div class="gg-wins"><b>{wins}</b><small>{best}</small></div></div>'
)
ANSWER = Markup('<div class="gg-answer">{}</div>')
INVITATION = Markup("<p>Play along: type a number, press Enter.</p>")
NO_NUMBER = Markup("<p>“{}” is no whole number: type one, then press Enter.</p>")
ROUND_OVER = Markup(
    "<p>The round is over, so no bot guesses: wait for the new game.</p>"
)
NEWS = Markup(
    '<div class="gg-news"><small>Messages you received, newest first '
    "(hints and countdown left out):</small>{}</div>"
)


def paint_replies(scene: Scene, seats: Sequence[Seat]) -> Markup:
    """Paint the last guess and its reply, and the wins."""
    rows = [paint_reply(scene, seat, place) for place, seat in enumerate(seats)]
    return REPLIES.format(rows=Markup().join(rows))


def paint_reply(scene: Scene, seat: Seat, place: int) -> Markup:
    """Paint what stands right of one line."""
    guess = verdict = None
    if seat.known:
        guess = seat.known.last_guess
        verdict = seat.known.last_verdict
    elif scene.has_won(seat):
        guess = scene.found
    return REPLY.format(
        place=place,
        colour=colour(place),
        guess="" if guess is None else guess,
        verdict=verdict.russian if verdict else "",
        arrow=ARROWS.get(verdict, ""),
        below=say_what_it_means(scene, seat),
        wins=seat.wins,
        best=f"best: {seat.fewest}" if seat.fewest else "",
    )


def say_what_it_means(scene: Scene, seat: Seat) -> str:
    """Say what a player knows now."""
    if scene.has_won(seat):
        return "★ found it!"
    if scene.found is not None:
        return f"is told: it was {scene.found}"
    if seat.known is None:
        return "we hear of wins"
    low, high = seat.known.low, seat.known.high
    way = WAYS.get(seat.known.last_verdict, "one of")
    return f"{way}: {low}" if low == high else f"{way}: {low}–{high}"


# --------------------------------------------------------------------------------------
# The board: a scene, its players, and the controls
# --------------------------------------------------------------------------------------

# The browser's own full screen: the key Escape leaves it, too.
FULL_SCREEN = """<button class="jupyter-button widget-button gg-full" title="Full screen"
onclick="document.fullscreenElement ? document.exitFullscreen()
: this.closest('.gg-board').requestFullscreen()"><i class="fa fa-expand"></i>
<span>Full screen</span><span>Exit full screen</span></button>"""

NARROW = {"description_width": "auto"}
WIDE = {"description_width": "200px"}


def numbered(name: str, first: int) -> Iterator[str]:
    """Count up names: "Bot 13", "Bot 14" ..."""
    return (f"{name} {number}" for number in itertools.count(first))


def line_up(*controls: widgets.Widget) -> widgets.Box:
    """Put controls side by side."""
    return widgets.Box(controls, layout=LINE)


def pixels(width: int) -> dict[str, str]:
    """Say how wide a control is."""
    return {"width": f"{width}px", "max_width": "100%"}


class Board(Part):
    """Show bots playing on a server, with controls and a seat for the learner.

        board = await Board(server, bet="Ada").start([bisection, lucky])
        board

    Every player on it, the learner too, is a client with a connection of its own: the board shows what they
    heard. Only the secret number, the count of the rounds, and who else is here come from the server itself.
    """

    def __init__(self, server: GameServer, bet: str = "") -> None:
        super().__init__("board")
        self.server = server
        self.you = Player(server.url, on_message=self._hear)
        self.scene = Scene(self.you, bet)
        self.bots = self.scene.bots
        self.playing: dict[Bot, asyncio.Task[None]] = {}
        self.running = False
        self.names = itertools.chain(NAMES, numbered("Bot", len(NAMES) + 1))
        self.head = widgets.HTML()
        self.sheet = widgets.HTML()
        self.lines = widgets.HTML()
        self.replies = widgets.HTML()
        self.answer = widgets.HTML(ANSWER.format(INVITATION))
        self.news = widgets.HTML()
        self.show(
            widgets.HTML(LOOK),
            self.head,
            self.sheet,
            widgets.Box([self.lines, self.replies]).add_class("gg-players"),
            widgets.HTML(LEGEND),
            self._make_seat(),
            self.answer,
            self._make_steering(),
            self._make_fold(),
        )
        self.add_class("gg-board")

    # The controls

    def _make_seat(self) -> widgets.Box:
        """Make the controls for the learner's own guesses."""
        self.number = widgets.Text(
            description="Your guess",
            placeholder="50",
            continuous_update=False,
            style=NARROW,
            layout=pixels(145),
        )
        self.your_name = widgets.Text(
            description="Your name",
            continuous_update=False,
            style=NARROW,
            layout=pixels(175),
        )
        self.delay_slider = widgets.FloatSlider(
            value=1.0,
            max=3,
            description="Seconds between guesses",
            readout_format=".1f",
            style=WIDE,
            layout=pixels(370),
        )
        # Whoever presses the button leaves the box, and that sends what was typed.
        self.guess_button = self.button(
            "Guess!", self._focus, button_style="success", layout=pixels(90)
        )
        self.controls.insert(0, self.watched(self.number, self._guess))
        self.watched(self.your_name, self._rename)
        self.watched(self.delay_slider, self._set_delay)
        return line_up(
            self.your_name, self.number, self.guess_button, self.delay_slider
        )

    def _make_steering(self) -> widgets.Box:
        """Make the controls that start and stop the bots."""
        self.start_button = self.button(
            "Start the bots",
            self._start_or_pause,
            button_style="primary",
            icon="play",
            layout=pixels(148),
        )
        self.step_button = self.button(
            "One guess",
            self._step,
            tooltip="by the next bot in turn",
            layout=pixels(100),
        )
        self.more = widgets.ToggleButton(
            description="More", icon="sliders", layout=pixels(108)
        )
        self.watched(self.more, self._fold)
        full_screen = widgets.HTML(FULL_SCREEN)
        self.bet = widgets.Dropdown(
            description="My bet", style=NARROW, layout=pixels(155)
        )
        self.watched(self.bet, self._bet)
        self.bets = widgets.HTML(layout=pixels(95))
        return line_up(
            self.start_button,
            self.step_button,
            self.more,
            full_screen,
            self.bet,
            self.bets,
        )

    def _make_fold(self) -> widgets.VBox:
        """Make what is seldom used, and can be folded away."""
        self.strategy = widgets.Dropdown(options=STRATEGIES, layout=pixels(130))
        self.add_button = self.button("Add a bot", self._add, icon="plus")
        self.remove_button = self.button("Remove a bot", self._remove, icon="minus")
        self.secret = widgets.Checkbox(
            description="Show the secret number", indent=False
        )
        self.watched(self.strategy)
        self.watched(self.secret)
        self.pause_slider = PauseSlider(
            self, self.server, style=WIDE, layout=pixels(370)
        )
        rare = line_up(self.strategy, self.add_button, self.remove_button, self.secret)
        self.folded = widgets.VBox([rare, self.pause_slider, self.news])
        self.folded.layout.display = "none"
        return self.folded

    # Who is here

    async def start(self, strategies: Iterable[Choose]) -> Board:
        """Seat the learner and one bot for each strategy; return the board."""
        for other in lesson.parts:
            if isinstance(other, Board) and other is not self:
                await other.stop()
        await self._seat(self.you, itertools.chain(["You"], numbered("You", 2)))
        self.your_name.value = self.you.name
        for strategy in strategies:
            await self._seat_bot(strategy)
        self._offer_bets()
        self.paint()
        self.run(self._keep_painting())
        return self

    async def _seat(self, player: Player, names: Iterator[str]) -> None:
        """Let a player join, with the first name that is free."""
        await player.join()
        while player.name is None:
            await player.ask({"name": next(names)})

    async def add(self, strategy: Choose = bisection) -> Bot:
        """Seat one more bot; it plays at once if the others do."""
        bot = await self._seat_bot(strategy)
        self._offer_bets()
        if self.running:
            self._let_play(bot)
        return bot

    async def _seat_bot(self, strategy: Choose) -> Bot:
        bot = Bot(self.server.url, strategy, delay=self.delay_slider.value)
        bot.on_message = functools.partial(self.scene.count, bot)
        await self._seat(bot, self.names)
        self.bots.append(bot)
        return bot

    def _offer_bets(self) -> None:
        """Let the learner bet on any bot that is here."""
        bet = self.scene.bet
        names = [bot.name or "?" for bot in self.bots]
        self.bet.options = ["", *names]
        self.bet.value = bet if bet in names else ""

    async def stop(self) -> None:
        """Let everybody leave, and stop painting. Safe to call twice."""
        self.pause()
        await super().stop()
        for player in [self.you, *self.bots]:
            await player.leave()

    # Playing

    def play(self) -> None:
        """Let the bots play."""
        self.running = True
        for bot in self.bots:
            if bot not in self.playing or self.playing[bot].done():
                self._let_play(bot)
        self.start_button.description = "Pause the bots"
        self.start_button.icon = "pause"

    def pause(self) -> None:
        """Stop the bots where they are; `play()` goes on from there."""
        self.running = False
        self._interrupt()
        self.start_button.description = "Start the bots"
        self.start_button.icon = "play"

    def _let_play(self, bot: Bot) -> None:
        self.playing[bot] = self.run(self._watch_over(bot, bot.play()))

    def _interrupt(self) -> None:
        for task in self.playing.values():
            task.cancel()
        self.playing.clear()

    async def _watch_over(self, bot: Bot, playing: Coroutine[Any, Any, Any]) -> None:
        """Let a bot play, and say whose strategy it was if it fails."""
        try:
            await playing
        except Exception as error:
            kind = type(error).__name__
            raise RuntimeError(
                f"{bot.name}'s strategy failed: {kind}: {error}"
            ) from error

    # What the controls do

    async def _start_or_pause(self, _: Any) -> None:
        if self.running:
            self.pause()
        else:
            self.play()

    async def _step(self, _: Any) -> None:
        bot = self.scene.next_bot()
        if self.you.round_over:
            self._answer(ROUND_OVER)
        elif bot is not None:
            self.scene.turn += 1
            await self._watch_over(bot, self._guess_once(bot))

    async def _guess_once(self, bot: Bot) -> None:
        reply = await bot.guess(bot.strategy(bot.low, bot.high))
        if isinstance(reply, dict):
            await bot.heed(reply["error"])

    async def _add(self, _: Any) -> None:
        await self.add(self.strategy.value)

    async def _remove(self, _: Any) -> None:
        if self.bots:
            bot = self.bots.pop()
            if bot in self.playing:
                self.playing.pop(bot).cancel()
            await bot.leave()
            self._offer_bets()

    async def _set_delay(self, _: Any) -> None:
        for bot in self.bots:
            bot.delay = self.delay_slider.value
        if self.running:
            self._interrupt()  # a bot that naps would not notice
            self.play()

    async def _bet(self, _: Any) -> None:
        if self.bet.value != self.scene.bet:
            self.scene.bet = self.bet.value
            self.scene.bets.clear()

    async def _fold(self, _: Any) -> None:
        self.folded.layout.display = "flex" if self.more.value else "none"

    async def _focus(self, _: Any) -> None:
        self.number.focus()

    async def _rename(self, _: Any) -> None:
        name = self.your_name.value
        if name != self.you.name:
            reply = await self.you.ask({"name": name})
            self.your_name.value = self.you.name
            self._answer(paint_message(reply))

    async def _guess(self, _: Any) -> None:
        typed = self.number.value.strip()
        self.number.value = ""
        if not typed:
            return
        try:
            number = int(typed)
        except ValueError:
            self._answer(NO_NUMBER.format(typed))
            return
        self.scene.typed = number
        reply = await self.you.guess(number)
        said = Markup("<b>{}</b>: {}").format(number, paint_message(reply))
        self._answer(said)

    def _answer(self, said: Markup) -> None:
        self.answer.value = ANSWER.format(said)

    # Hearing and painting

    def _hear(self, message: Message) -> None:
        self.scene.hear(message)
        if message == NEW_GAME.russian:
            self._answer(INVITATION)

    async def _keep_painting(self) -> None:
        while True:
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        scene = self.scene
        game = self.server.game
        seats = scene.seats(game.clients.values())
        glides = len(seats) <= CROWD and self.delay_slider.value >= QUICK
        self.sheet.value = paint_sheet(
            scene,
            seats,
            turn=None if self.running else scene.next_bot(),
            secret=game.round.secret if self.secret.value else None,
            glides=glides,
        )
        self.lines.value = paint_lines(seats, Scale(*self.you.range))
        self.replies.value = paint_replies(scene, seats)
        self.bets.value = paint_bets(scene)
        head = paint_head(scene, seats, game.rounds_begun)
        self.head.value = paint_gone() if self.you.gone else head
        self.news.value = NEWS.format(Markup().join(map(paint_message, scene.news)))
