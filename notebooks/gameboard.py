"""Widgets which the notebooks share: buttons, pictures that keep up to date, and a live board of bots at play.

Importing this module also lets a notebook import `guessgame`, which lies one folder up, and mends some kernels
(`read_every_request`).

Three rules keep widgets and a live server together in one kernel:

1.  A click may be delivered in another thread than the one in which the server lives. So a callback does nothing but
    hand a coroutine over to the server's event loop (`Actions`), and returns at once.
2.  Nobody sees what a callback or a task prints or raises. So errors are shown in a widget, below the controls.
3.  The kernel can send only so many messages a second. So the board is painted by one task, a few times a second,
    however fast the bots are, and only when something has changed.
"""

from __future__ import annotations

import asyncio
import collections
import html
import itertools
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, ClassVar, Coroutine, Iterable, Sequence

import ipywidgets as widgets
from IPython.core.getipython import get_ipython

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guessgame import (
    LESS,
    MORE,
    NEW_GAME,
    SOMEBODY_WON,
    STRATEGIES,
    YOU_WON,
    Bot,
    GameServer,
    Message,
    Player,
    ServerGone,
    Strategy,
    bisection,
    encode,
    recognise,
    translate,
)

PAINTS_PER_SECOND = 8

NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ivy", "Jo", "Kim", "Leo")
COLOURS = ("#2f6fde", "#c2570c", "#1f8a46", "#8b4fd9", "#c8327c", "#0f7f8c", "#96700a", "#b3302b", "#5566b8", "#5f7a1f")

INVITATION = "Choose a number and press Guess!, if you want to play along."

# What a reply tells its player: an arrow in the direction of the secret number, so that colour is never needed.
HINTS = {LESS: "▲ go up", MORE: "▼ go down", YOU_WON: "★"}

STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"


def read_every_request() -> None:
    """Let a kernel of ipykernel 7.0 to 7.3, the newest for Python 3.10, read every request.

    It sends replies past the stream which reads the requests, and what comes in at that moment is not noticed: cells
    and clicks then wait until somebody else connects. Newer ones send through the stream; so does this one from now on.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    channel = getattr(kernel, "shell_channel_thread", None)
    if kernel and channel and version("ipykernel").startswith(("7.0.", "7.1.", "7.2.", "7.3.")):
        channel.manager._shell_socket = kernel.shell_stream


read_every_request()


# --------------------------------------------------------------------------------------------------------------------
# From clicks to coroutines
# --------------------------------------------------------------------------------------------------------------------


class Actions:
    """Run coroutines for the controls of a notebook, on the event loop on which the notebook runs.

    Create it in a cell. `trouble` is a widget which shows the error of the last coroutine that failed.
    """

    in_use: ClassVar[list[Actions]] = []

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.trouble = widgets.HTML()
        self.in_use.append(self)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task, from the loop's own thread; show its error if it fails."""
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)  # the event loop itself holds only a weak reference
        task.add_done_callback(self._finish)
        return task

    def callback(self, action: Callable[[Any], Coroutine[Any, Any, Any]]) -> Callable[[Any], None]:
        """Make a callback for `on_click` or `observe` which starts the action, from whatever thread it is called."""

        def begin(event: Any) -> None:
            self.trouble.value = ""
            self.start(action(event))

        def call(event: Any) -> None:
            self.loop.call_soon_threadsafe(begin, event)

        return call

    async def stop(self) -> None:
        """Cancel everything that still runs, and wait until it has ended."""
        if self in self.in_use:
            self.in_use.remove(self)
        others = self.tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.show_trouble(describe(error))

    def show_trouble(self, text: str) -> None:
        """Show a text beside the controls, until the next click."""
        self.trouble.value = f'<div class="gg-trouble">{html.escape(text)}</div>'


def describe(error: BaseException) -> str:
    """Write an error as a person should read it."""
    advice = " Run the cells again, from the top." if isinstance(error, ServerGone) else ""
    return f"{type(error).__name__}: {error}{advice}"


class Shown:
    """Be shown as a widget when the last line of a cell is this object."""

    view: widgets.Widget

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


async def clean_up(server: GameServer) -> None:
    """End all that a notebook has started: what its widgets do, and the server, and with it all connections."""
    for actions in list(Actions.in_use):
        await actions.stop()
    await server.stop()


# --------------------------------------------------------------------------------------------------------------------
# What is painted: functions from the state of the players to HTML. Everything from the wire is escaped.
# --------------------------------------------------------------------------------------------------------------------


def explain(message: Message) -> str:
    """Return the meaning of a message from the server, in English."""
    if isinstance(message, str):
        return translate(message)
    if "countdown" in message:
        return f"The new game begins in {message['countdown']} second{'s' * (message['countdown'] != 1)}."
    if "client_id" in message:
        name, wins = message.get("name", f"#{message['client_id']}"), message["wins"]
        return f"The score of {name}: {wins}." if wins else f"Your name is {name} now, and you have won no round yet."
    return translate(str(message.get("error")))


def paint_message(message: Message, mark: str = "") -> str:
    """Paint one message as it travelled, with its meaning beside it."""
    return f"<p>{mark} {html.escape(encode(message))} <small>{html.escape(explain(message))}</small></p>"


def paint_axis(low: int, high: int) -> str:
    """Paint the numbers above the lines."""
    size = high - low + 1
    marks = range(low, high + 1) if size < 8 else [low, *(low - 1 + size * quarter // 4 for quarter in (1, 2, 3)), high]
    spans = "".join(f'<span style="left:{place(mark, low, high)}%">{mark}</span>' for mark in marks)
    return (
        f'<div class="gg-row gg-axis"><div></div><div class="gg-line">{spans}</div>'
        "<div class='gg-possible'>possible</div><div>last guess and reply</div><div>rounds won</div></div>"
    )


def place(number: float, low: int, high: int) -> str:
    """Where a number is on the line, in percent of its length."""
    return f"{(number - low + 0.5) * 100 / (high - low + 1):.2f}"


def paint_player(player: Player, kind: str, colour: str, most_wins: int, secret: int | None, turn: bool) -> str:
    """Paint one player: name, the interval still possible on the line, the last guess and its reply, the wins."""
    low, high = player.range
    size = high - low + 1
    line = (
        f'<div class="gg-interval" style="left:{(player.low - low) * 100 / size:.2f}%;'
        f'width:{(player.high - player.low + 1) * 100 / size:.2f}%"></div>'
    )
    if player.last_guess is not None:
        line += f'<div class="gg-guess" style="left:{place(player.last_guess, low, high)}%"></div>'
    if secret is not None:
        line += f'<div class="gg-secret" style="left:{place(secret, low, high)}%"></div>'
    guess = "" if player.last_guess is None else str(player.last_guess)
    verdict = player.last_verdict or ""
    possible = f"{player.low}" if player.low == player.high else f"{player.low}–{player.high}"
    marks = " gg-turn" * turn + " gg-found" * (verdict == YOU_WON)
    return (
        f'<div class="gg-row{marks}" style="--c:{colour}">'
        f'<div class="gg-name">{html.escape(player.name or "?")}<small>{html.escape(kind)}</small></div>'
        f'<div class="gg-line">{line}</div><div class="gg-possible">{possible}</div>'
        f'<div class="gg-reply"><b>{guess}</b> {verdict} <small>{HINTS.get(verdict, "")}</small></div>'
        f'<div class="gg-wins"><b>{player.wins}</b>'
        f'<i style="width:{player.wins * 90 / max(5, most_wins):.0f}px"></i></div></div>'
    )


def paint_head(title: str, below: str, count: str = "", mood: str = "") -> str:
    """Paint the line above the board: what is happening, and the countdown."""
    return (
        f'<div class="gg-head {mood}"><b>{html.escape(title)}</b><div class="gg-count">{html.escape(count)}</div>'
        f"<div>{html.escape(below)}</div></div>"
    )


# --------------------------------------------------------------------------------------------------------------------
# The board
# --------------------------------------------------------------------------------------------------------------------


class Board(Shown):
    """Show bots playing on a server, with a desk to steer them and a seat for the learner.

        board = Board(server)
        await board.start([bisection, lucky])
        board

    Every player on it, the learner too, is a client with a connection of its own: the board shows what they heard. Only
    the secret number and the count of the rounds come from the server itself.
    """

    def __init__(self, server: GameServer) -> None:
        self.server = server
        self.actions = Actions()
        self.you = Player(server.url, "You", on_message=self._hear)
        self.bots: list[Bot] = []
        self.news: collections.deque[Message] = collections.deque(maxlen=6)
        self.winner = ""
        self.countdown: int | None = None
        self.guesses_of_removed_bots = 0
        self.playing: dict[Bot, asyncio.Task[None]] = {}
        self.running = False
        self._next_turn = 0
        self._names = itertools.chain(NAMES, (f"Bot {number}" for number in itertools.count(len(NAMES) + 1)))
        self.head, self.rows, self.announcements, self.reply = (widgets.HTML() for _ in range(4))
        self.view = widgets.VBox(
            [
                widgets.HTML(STYLE),
                self.head,
                *self._make_desk(),
                self.actions.trouble,
                self.rows,
                self.announcements,
            ]
        )
        self.view.add_class("gg")
        self._show_answer(INVITATION)

    def _make_desk(self) -> Iterable[widgets.Widget]:
        """Build the controls, each with what it does."""
        on = self.actions.callback
        wide, label = widgets.Layout(width="430px", max_width="100%"), {"description_width": "200px"}
        self.start_button = widgets.Button(description="Start the bots", icon="play", button_style="primary")
        self.start_button.on_click(on(self._start_or_pause))
        self.step_button = widgets.Button(
            description="One guess", icon="step-forward", tooltip="by the next bot in turn"
        )
        self.step_button.on_click(on(self._step))
        self.add_button = widgets.Button(description="Add a bot", icon="plus")
        self.add_button.on_click(on(self._add))
        self.strategy = widgets.Dropdown(options=list(STRATEGIES), layout=widgets.Layout(width="130px"))
        self.remove_button = widgets.Button(description="Remove a bot", icon="minus")
        self.remove_button.on_click(on(self._remove))
        self.delay_slider = widgets.FloatSlider(
            value=1.0,
            min=0,
            max=3,
            step=0.1,
            description="Seconds between guesses",
            style=label,
            layout=wide,
            readout_format=".1f",
        )
        self.delay_slider.observe(on(self._set_delay), "value")
        self.pause_slider = widgets.FloatSlider(
            value=self.server.pause,
            min=0,
            max=10,
            step=0.5,
            description="Seconds between rounds",
            style=label,
            layout=wide,
            readout_format=".1f",
        )
        self.pause_slider.observe(on(self._set_pause), "value")
        self.secret = widgets.Checkbox(value=False, description="Show the secret number", indent=False)
        self.number = widgets.IntSlider(
            value=(self.server.low + self.server.high) // 2,
            min=self.server.low,
            max=self.server.high,
            description="Your guess",
            layout=wide,
            style={"description_width": "90px"},
        )
        self.guess_button = widgets.Button(description="Guess!", icon="paper-plane", button_style="success")
        self.guess_button.on_click(on(self._guess))
        line = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 12px")
        return (
            widgets.Box([self.number, self.guess_button], layout=line),
            self.reply,
            widgets.Box(
                [self.start_button, self.step_button, self.strategy, self.add_button, self.remove_button], layout=line
            ),
            widgets.Box([self.delay_slider, self.pause_slider, self.secret], layout=line),
        )

    # Starting and stopping

    async def start(self, strategies: Iterable[Strategy]) -> None:
        """Seat the learner and one bot for each strategy, and begin to paint."""
        await self.you.join()
        for strategy in strategies:
            await self.add(strategy)
        self.paint()
        self.actions.start(self._keep_painting())

    async def stop(self) -> None:
        """Let everybody leave, and stop painting. Safe to call twice."""
        self.pause()
        await self.actions.stop()
        for player in [self.you, *self.bots]:
            await player.leave()
        self.paint()

    # What the controls do

    async def add(self, strategy: Strategy = bisection) -> Bot:
        """Seat one more bot; it plays at once if the others do."""
        if not self.server.running:
            raise RuntimeError("this board belongs to a server which was stopped: run the cell of the board again")
        bot = Bot(self.server.url, strategy, next(self._names), delay=self.delay_slider.value)
        await bot.join()
        self.bots.append(bot)
        if self.running:
            self._let_play(bot)
        return bot

    def _let_play(self, bot: Bot) -> None:
        self.playing[bot] = self.actions.start(self._run(bot, bot.play()))

    async def _run(self, bot: Bot, playing: Coroutine[Any, Any, Any]) -> None:
        """Let a bot play, and say whose strategy it was if it fails."""
        try:
            await playing
        except Exception as error:
            raise RuntimeError(f"{bot.name}'s strategy failed: {type(error).__name__}: {error}") from error

    def play(self) -> None:
        """Let the bots play."""
        self.running = True
        for bot in self.bots:
            if bot not in self.playing or self.playing[bot].done():
                self._let_play(bot)
        self.start_button.description, self.start_button.icon = "Pause the bots", "pause"

    def pause(self) -> None:
        """Stop the bots where they are; `play()` goes on from there."""
        self.running = False
        for task in self.playing.values():
            task.cancel()
        self.playing.clear()
        self.start_button.description, self.start_button.icon = "Start the bots", "play"

    async def _start_or_pause(self, _: Any) -> None:
        if self.running:
            self.pause()
        else:
            self.play()

    async def _step(self, _: Any) -> None:
        if self.you.round_over:
            self._show_answer("No bot guesses now: the round is over, wait for the new game.")
        elif self.bots:
            bot = self.bots[self._next_turn % len(self.bots)]
            self._next_turn += 1
            await self._run(bot, bot.step())

    async def _add(self, _: Any) -> None:
        await self.add(STRATEGIES[self.strategy.value])

    async def _remove(self, _: Any) -> None:
        if self.bots:
            bot = self.bots.pop()
            self.guesses_of_removed_bots += bot.guesses
            if bot in self.playing:
                self.playing.pop(bot).cancel()
            await bot.leave()

    async def _set_delay(self, change: Any) -> None:
        for bot in self.bots:
            bot.delay = self.delay_slider.value

    async def _set_pause(self, change: Any) -> None:
        self.server.pause = self.pause_slider.value

    async def _guess(self, _: Any) -> None:
        # A browser may hold back the last move of a slider until the click has been handled.
        await asyncio.sleep(0.05)
        self._show_answer(paint_message(await self.you.guess(self.number.value)))

    def _show_answer(self, markup: str) -> None:
        self.reply.value = f'<div class="gg-answer">{markup}</div>'

    # Hearing and painting

    def _hear(self, message: Message) -> None:
        """Take note of an announcement, as the learner's own connection hears it."""
        if isinstance(message, dict):
            if "countdown" in message:
                self.countdown = message["countdown"]
            elif "client_id" in message:
                self.news.appendleft(message)
            return
        if message in (LESS, MORE):
            return
        self.news.appendleft(message)
        template, values = recognise(message) or ("", {})
        if template == NEW_GAME:
            self.winner, self.countdown = "", None
            self._show_answer(INVITATION)
        elif template == YOU_WON:
            self.winner = f"You found {self.you.last_guess}!"
        elif template == SOMEBODY_WON:
            self.winner = f"{values['player']} found {values['number']}!"

    async def _keep_painting(self) -> None:
        while True:
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date. A widget sends a value to the browser only when it has changed."""
        players = [self.you, *self.bots]
        guesses = self.guesses_of_removed_bots + sum(player.guesses for player in players)
        below = f"{len(players)} player{'s' * (len(players) > 1)}, {guesses} guesses so far"
        if self.you.gone:
            self.head.value = paint_head(
                "The connection has ended", "Run the cells again, from the top.", "", "gg-gone"
            )
        elif self.winner:
            count = "" if self.countdown is None else f"{self.countdown}…"
            self.head.value = paint_head(f"★ {self.winner}", "A new game begins after the pause.", count, "gg-won")
        else:
            low, high = self.you.range
            title = f"Round {self.server.rounds_played + 1}: who finds the number from {low} to {high}?"
            self.head.value = paint_head(title, below)
        secret = self.server.round.secret if self.secret.value else None
        most_wins = max(player.wins for player in players)
        rows = [paint_player(self.you, "that is you", COLOURS[0], most_wins, secret, False)]
        for number, bot in enumerate(self.bots):
            colour = COLOURS[1 + number % (len(COLOURS) - 1)]
            kind = getattr(bot.strategy, "__name__", "bot")
            rows.append(
                paint_player(
                    bot,
                    kind,
                    colour,
                    most_wins,
                    secret,
                    number == self._next_turn % len(self.bots) and not self.running,
                )
            )
        self.rows.value = f'<div class="gg-rows">{paint_axis(*self.you.range)}{"".join(rows)}</div>'
        news = "".join(map(paint_message, self.news))
        title = "<small>News for you, the newest on top (hints and countdown are shown above):</small>"
        self.announcements.value = f'<div class="gg-news">{title}{news}</div>'


# --------------------------------------------------------------------------------------------------------------------
# Views and controls for the lessons
# --------------------------------------------------------------------------------------------------------------------


def bars(values: dict[str, float], unit: str = "", full: float = 0) -> str:
    """Paint numbers as bars, one below the other; the longest, or one of the value `full`, takes all the room."""
    longest = max([*values.values(), full, 1e-9])
    rows = "".join(
        f'<div class="gg-bar" style="--c:{COLOURS[number % len(COLOURS)]}"><span>{html.escape(label)}</span>'
        f'<div><i style="width:{100 * value / longest:.1f}%"></i></div><b>{value:,.3g} {html.escape(unit)}</b></div>'
        for number, (label, value) in enumerate(values.items())
    )
    return f'<div class="gg-bars">{rows}</div>'


def states(names: Iterable[str], lit: int, note: str = "") -> str:
    """Paint a circle of states as boxes with arrows between them; the lit one is framed, marked and explained."""
    boxes = [f'<div class="gg-state">{html.escape(name)}</div>' for name in names]
    boxes[lit] = boxes[lit].replace('gg-state">', 'gg-state gg-lit">● ')
    arrow = '<div class="gg-arrow">→</div>'
    return f'<div class="gg-states">{arrow.join(boxes)}<div class="gg-arrow">↺</div></div><p>{html.escape(note)}</p>'


class Live(Shown):
    """Show what a function returns (HTML), and keep it up to date.

    Live(lambda: f"{len(server.clients)} players are here")
    """

    def __init__(self, paint: Callable[[], str]) -> None:
        self.actions = Actions()
        self.picture = widgets.HTML()
        self.view = widgets.VBox([widgets.HTML(STYLE), self.picture, self.actions.trouble]).add_class("gg")
        self.actions.start(self._keep_painting(paint))

    async def _keep_painting(self, paint: Callable[[], str]) -> None:
        try:
            while True:
                self.picture.value = paint()
                await asyncio.sleep(1 / PAINTS_PER_SECOND)
        finally:
            end = "<p><i>(This picture has ended: run the cells again for a new one.)</i></p>"
            self.picture.value = f'<div class="gg-ended">{self.picture.value}</div>{end}'


class Panel(Shown):
    """Show a button for each coroutine function; pressing it runs the function, and what it returns is shown below.

        Panel({"Guess 50": lambda: player.guess(50)})

    What the functions depend on, sliders perhaps, can be given as `controls`, and stands above the buttons. With
    `lines=0` nothing is shown below but errors.
    A message of the game is shown as it travels, with its meaning. An exception is shown as well.
    """

    def __init__(
        self,
        buttons: dict[str, Callable[[], Coroutine[Any, Any, Any]]],
        controls: Sequence[widgets.Widget] = (),
        lines: int = 4,
    ) -> None:
        self.actions = Actions()
        self.results: collections.deque[str] = collections.deque(maxlen=lines)
        self.picture = widgets.HTML()
        self._paint("<small>Press a button: what it brings appears here.</small>")
        self.buttons = {label: widgets.Button(description=label, tooltip=label) for label in buttons}
        for label, action in buttons.items():
            self.buttons[label].layout = widgets.Layout(width="auto")
            self.buttons[label].on_click(self.actions.callback(self._action(label, action)))
        line = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 8px")
        rows = [widgets.Box(row, layout=line) for row in (controls, list(self.buttons.values())) if row]
        pictures = [self.picture] * (lines > 0)
        self.view = widgets.VBox([widgets.HTML(STYLE), *rows, *pictures, self.actions.trouble]).add_class("gg")

    def _action(self, label: str, action: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[Any], Any]:
        async def run(_: Any) -> None:
            try:
                result = await action()
            except Exception as error:
                if not self.results.maxlen:
                    raise
                shown = f"<p>{html.escape(describe(error))}</p>"
            else:
                is_message = isinstance(result, dict) or (isinstance(result, str) and explain(result))
                shown = paint_message(result) if is_message else f"<p>{html.escape(str(result))}</p>"
            self.results.appendleft(f"<div><b>{html.escape(label)}</b>{shown}</div>")
            self._paint("".join(self.results))

        return run

    def _paint(self, markup: str) -> None:
        height = (self.results.maxlen or 0) * 66
        self.picture.value = f'<div class="gg-results" style="height:{height}px">{markup}</div>'


def picture(markup: str) -> widgets.VBox:
    """Show painted HTML as the result of a cell."""
    return widgets.VBox([widgets.HTML(STYLE), widgets.HTML(markup)]).add_class("gg")
