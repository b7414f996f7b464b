"""Lesson 10: the class from above, every guess of a round as a dot."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, Sequence

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import LESS, MORE, YOU_WON, GameServer

from . import LINE, Live, colour
from .classroom import Guess, at_most, narrow, read_history

# --------------------------------------------------------------------------------------------------
# What is known of a round
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Scene:
    """What is to be seen of one round.

    span       seconds that the picture is wide
    is_over    whether another guess may come
    is_open    whether the numbers may be seen
    is_shared  whether to show what all the hints together tell
    """

    round: int
    low: int
    high: int
    guesses: Sequence[Guess]
    span: float
    is_over: bool
    is_open: bool
    is_shared: bool

    @property
    def win(self) -> Guess | None:
        """Return the guess that has won, if there is one."""
        last = self.guesses[-1] if self.guesses else None
        return last if last and last.reply == YOU_WON.russian else None


SPANS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)  # seconds


def choose_span(seconds: float) -> float:
    """Choose a width that does not change all the time."""
    return next((span for span in SPANS if span >= seconds), seconds)


def choose_step(span: float) -> int:
    """Choose the seconds from one mark on the axis to the next: eight marks at most."""
    steps = [1, *SPANS[:-1], int(span)]
    return next(step for step in steps if step * 8 >= span)


def look_at(server: GameServer, number: int, is_live: bool, is_shared: bool) -> Scene:
    """Look at a round of a server: the one that is played, or an earlier one.

    Of a round that is still played, the numbers are seen only if the picture is live, or if everybody hears
    them.
    """
    game = server.game
    history = read_history(server)
    guesses = [guess for guess in history if guess.round == number]
    is_over = number < game.rounds_begun or game.round.over
    seconds = guesses[-1].seconds if guesses else 0.0
    span = max(0.1, seconds)
    if not is_over:
        span = choose_span(game.clock() - game.began)
    return Scene(
        number,
        game.low,
        game.high,
        guesses,
        span,
        is_over,
        is_open=is_over or is_live or is_shared,
        is_shared=is_shared,
    )


def shared_limits(scene: Scene) -> list[tuple[int, int]]:
    """Return what everybody would know if they heard all hints: before each guess, and in the end."""
    limits = scene.low, scene.high
    known = [limits]
    for guess in scene.guesses:
        limits = narrow(*limits, guess)
        known.append(limits)
    return known


def find_wasted(scene: Scene) -> set[int]:
    """Return the places of the guesses that all the hints before them have ruled out."""
    wasted = set()
    for place, (low, high) in enumerate(shared_limits(scene)[:-1]):
        if not low <= scene.guesses[place].number <= high:
            wasted.add(place)
    return wasted


# --------------------------------------------------------------------------------------------------
# What it says
# --------------------------------------------------------------------------------------------------


def count(number: int, thing: str, things: str = "") -> str:
    """Write a number of things."""
    return f"1 {thing}" if number == 1 else f"{number:,} {things or thing + 's'}"


def headline(scene: Scene) -> list[str]:
    """Say in one or two sentences what has happened in a round so far."""
    players = len({guess.player for guess in scene.guesses})
    crowd = count(players, "player")
    guesses = count(len(scene.guesses), "guess", "guesses")
    if scene.win:
        seconds = count(max(1, round(scene.win.seconds)), "second")
        best = at_most(scene.high - scene.low + 1)
        return [
            f"Won by {scene.win.who} after {guesses} by {crowd} in {seconds}.",
            f"One player who halves needs at most {best}.",
        ]
    if scene.is_over:
        return [f"Round {scene.round} has no winner: {guesses} by {crowd}."]
    if not scene.guesses:
        return [f"Round {scene.round}: who guesses first?"]
    return [f"Round {scene.round}: {guesses} by {crowd} so far."]


def remark(scene: Scene) -> str:
    """Say what there is to be seen."""
    if not scene.is_open:
        return "Each disc is a player. The numbers appear when somebody wins."
    if not scene.is_shared:
        return f"Round {scene.round}: ▲ had to go up, ▼ had to go down, ★ found the number."
    wasted = len(find_wasted(scene))
    return (
        f"Round {scene.round}: the band is what all the hints together tell. "
        f"Outside it, and hollow: {wasted} of {len(scene.guesses)} guesses."
    )


# --------------------------------------------------------------------------------------------------
# How it looks: a picture of 1600 x 700
# --------------------------------------------------------------------------------------------------

LEFT, RIGHT, TOP, BOTTOM = 90, 1400, 56, 630
MOST = 500  # dots
COLUMNS = 10  # of the tally

PICTURE = Markup(
    '<div class="gg-above"><h1>{headline}</h1><p>{remark}</p>'
    '<svg viewBox="0 0 1600 700" role="img" aria-label="{told}">{content}</svg></div>'
)
LINE_OF_TEXT = Markup("<span>{}</span>")
TEXT = Markup('<text x="{x:.0f}" y="{y:.0f}" class="gg-{kind}">{text}</text>')
RULE = Markup('<path class="gg-{kind}" d="M{x1:.0f} {y1:.1f}L{x2:.0f} {y2:.1f}"/>')
DOT = Markup(
    '<path class="gg-dot {kind}" style="--c:{colour}" d="{shape}" '
    'transform="translate({x:.1f} {y:.1f}) scale({size:.1f})">'
    "<title>{who}: {number}, {reply}, {seconds:.1f} s</title></path>"
)
DISC = Markup(
    '<circle class="gg-dot" style="--c:{colour}" cx="{x:.0f}" cy="{y:.1f}" r="{r:.1f}">'
    "<title>{who}</title></circle>"
)
BAND = Markup('<path class="gg-known" d="M{}Z"/>')

# Shapes that are two units wide
SHAPES = {
    LESS.russian: "M0 -1L1 0.8L-1 0.8Z",
    MORE.russian: "M0 1L1 -0.8L-1 -0.8Z",
    YOU_WON.russian: "M0 -2L.5 -.6 1.9 -.6 .8 .3 1.2 1.7 0 .9 -1.2 1.7 -.8 .3 -1.9 -.6 -.5 -.6Z",
}
SQUARE = "M-.8 -.8H.8V.8H-.8Z"


def place_x(scene: Scene, seconds: float) -> float:
    """Return where a moment is, from left to right."""
    return LEFT + 20 + (RIGHT - LEFT - 40) * seconds / scene.span


def place_y(scene: Scene, number: float) -> float:
    """Return where a number is, from bottom to top."""
    part = (number - scene.low + 0.5) / (scene.high - scene.low + 1)
    return BOTTOM - (BOTTOM - TOP) * part


def paint_axes(scene: Scene) -> Markup:
    """Paint the numbers on the left, and the seconds below."""
    painted = []
    numbers = {
        scene.low + (scene.high - scene.low) * quarter // 4 for quarter in range(5)
    }
    for number in sorted(numbers):
        y = place_y(scene, number)
        painted.append(RULE.format(kind="rule", x1=LEFT, y1=y, x2=RIGHT, y2=y))
        painted.append(TEXT.format(kind="number", x=LEFT - 12, y=y + 12, text=number))
    for seconds in range(0, int(scene.span) + 1, choose_step(scene.span)):
        x = place_x(scene, seconds)
        painted.append(
            TEXT.format(kind="second", x=x, y=BOTTOM + 56, text=f"{seconds} s")
        )
    return Markup().join(painted)


def paint_band(scene: Scene) -> Markup:
    """Paint how the interval narrows that everybody would know if they heard all hints."""
    moments = [guess.seconds for guess in scene.guesses]
    ends = [*moments, scene.span]
    x = float(LEFT)
    above = []
    below = []
    for end, (low, high) in zip(ends, shared_limits(scene)):
        top = place_y(scene, high + 0.5)
        bottom = place_y(scene, low - 0.5)
        next_x = place_x(scene, end)
        above += [f"{x:.1f} {top:.1f}", f"{next_x:.1f} {top:.1f}"]
        below += [f"{x:.1f} {bottom:.1f}", f"{next_x:.1f} {bottom:.1f}"]
        x = next_x
    return BAND.format("L".join(above + below[::-1]))


def paint_guesses(scene: Scene) -> Markup:
    """Paint each guess as a triangle that points where the hint pointed; of very many, only some."""
    wasted = find_wasted(scene) if scene.is_shared else set()
    size = max(9.0, min(24.0, 130 / max(1, len(scene.guesses)) ** 0.5))
    places = range(len(scene.guesses))
    step = len(places) // MOST + 1
    painted = []
    for place in places[::-step][::-1]:  # the last one is always among them
        guess = scene.guesses[place]
        dot = DOT.format(
            kind="gg-hollow" if place in wasted else "",
            colour=colour(guess.player),
            shape=SHAPES.get(guess.reply, SQUARE),
            x=place_x(scene, guess.seconds),
            y=place_y(scene, guess.number),
            size=max(20.0, size) if guess is scene.win else size,
            who=guess.who,
            number=guess.number,
            reply=guess.reply,
            seconds=guess.seconds,
        )
        painted.append(dot)
    return Markup().join(painted)


def paint_win(scene: Scene, win: Guess) -> Markup:
    """Paint a line across at the number."""
    y = place_y(scene, win.number)
    line = RULE.format(kind="secret", x1=LEFT, y1=y, x2=RIGHT + 10, y2=y)
    return line + TEXT.format(kind="found", x=RIGHT + 40, y=y + 24, text=win.number)


def paint_tally(scene: Scene) -> Markup:
    """Paint how many players have guessed how often, without telling their numbers."""
    names = {guess.player: guess.who for guess in scene.guesses}
    tries = Counter(guess.player for guess in scene.guesses)
    columns: dict[int, list[int]] = {often: [] for often in range(1, COLUMNS + 1)}
    for player, often in tries.items():
        columns[min(often, COLUMNS)].append(player)
    tallest = max(map(len, columns.values()))
    high = min(56.0, (BOTTOM - 80) / max(1, tallest))
    wide = (RIGHT - LEFT) / COLUMNS
    painted = []
    for often, players in columns.items():
        x = LEFT + wide * (often - 0.5)
        more = "+" if often == COLUMNS else ""
        painted.append(
            TEXT.format(kind="second", x=x, y=BOTTOM + 56, text=f"{often}{more}")
        )
        for place, player in enumerate(players):
            disc = DISC.format(
                colour=colour(player),
                x=x,
                y=BOTTOM - high * (place + 0.5),
                r=high * 0.45,
                who=names[player],
            )
            painted.append(disc)
        if players:
            y = BOTTOM - high * len(players) - 14
            painted.append(TEXT.format(kind="count", x=x, y=y, text=len(players)))
    painted.append(RULE.format(kind="rule", x1=LEFT, y1=BOTTOM, x2=RIGHT, y2=BOTTOM))
    painted.append(
        TEXT.format(kind="unit", x=RIGHT + 10, y=BOTTOM + 56, text="guesses")
    )
    return Markup().join(painted)


def paint_dots(scene: Scene) -> Markup:
    """Paint all guesses, what all hints together tell, and the number once it is found."""
    painted = paint_axes(scene)
    if scene.is_shared:
        painted = paint_band(scene) + painted
    if scene.win:
        painted += paint_win(scene, scene.win)
    return painted + paint_guesses(scene)


def paint(scene: Scene) -> Markup:
    """Paint a round as a whole class sees it."""
    content = paint_dots(scene) if scene.is_open else paint_tally(scene)
    sentences = headline(scene)
    lines = map(LINE_OF_TEXT.format, sentences)
    return PICTURE.format(
        headline=Markup().join(lines),
        told=" ".join(sentences),
        remark=remark(scene),
        content=content,
    )


# --------------------------------------------------------------------------------------------------
# The picture, with its controls
# --------------------------------------------------------------------------------------------------

# The browser's own full screen: the key Escape leaves it, too.
FULL_SCREEN = """<button class="jupyter-button widget-button gg-full" title="Full screen"
onclick="document.fullscreenElement ? document.exitFullscreen()
: this.closest('.gg-picture').requestFullscreen()"><i class="fa fa-expand"></i>
<span>Full screen</span><span>Exit full screen</span></button>"""


class Picture(Live):
    """Show a class from above: each guess of a round as a dot, as soon as somebody has won.

    While the round runs, the picture tells only how many players have guessed how often, unless it is live. If
    the server's game shares hints, as SharedHints does, a tick switches that on; with any other game the tick
    shows what it would change.
    """

    def __init__(self, server: GameServer) -> None:
        self.server = server
        self.chosen: int | None = None  # a round, or None for the one that is played
        self.scene: Scene | None = None
        self.painted = Markup()
        super().__init__(self._paint, "picture")
        self.add_class("gg-picture")
        live = widgets.Checkbox(description="Show guesses live", indent=False)
        live.layout.width = "170px"
        self.live = self.watched(live)
        shared = widgets.Checkbox(
            description="What if the hints went to everybody?", indent=False
        )
        shared.layout.width = "300px"
        self.shared = self.watched(shared, self._share)
        self.earlier = self.button("Earlier", self._go_back, icon="backward")
        self.later = self.button("Later", self._go_on, icon="forward")
        for button in (self.earlier, self.later):
            button.layout.width = "auto"
        full_screen = widgets.HTML(FULL_SCREEN)
        controls = [self.live, self.shared, self.earlier, self.later, full_screen]
        self.show(self.picture, widgets.Box(controls, layout=LINE))

    def _paint(self) -> str:
        game = self.server.game
        number = self.chosen or game.rounds_begun
        scene = look_at(self.server, number, self.live.value, self.shared.value)
        if scene != self.scene:
            self.scene = scene
            self.painted = paint(scene)
        return self.painted

    async def _share(self, _: Any) -> None:
        game: Any = self.server.game
        game.shares = self.shared.value

    async def _go_back(self, _: Any) -> None:
        number = self.chosen or self.server.game.rounds_begun
        self.chosen = max(1, number - 1)

    async def _go_on(self, _: Any) -> None:
        if self.chosen is not None:
            self.chosen += 1
            if self.chosen >= self.server.game.rounds_begun:
                self.chosen = None
