"""The board of lesson 1: bots play, you play along, and everything that happens is seen from the last row."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import html
import itertools
from typing import Any, Coroutine, Iterable, Sequence

import ipywidgets as widgets

from gamekit import LINE, PAINTS_PER_SECOND, Part, colour, paint_message, pause_slider, style_sheet
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
    Strategy,
    bisection,
    encode,
    recognise,
)

NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ivy", "Jo", "Kim", "Leo")
INVITATION = "<p>Play along: type a number, press Enter.</p>"
# An arrow along the line, towards the secret number, so that colour is never needed.
ARROWS = {LESS: "▶", MORE: "◀"}
WAYS = {LESS: "go right", MORE: "go left"}


@dataclasses.dataclass
class Seat:
    """One row of the board. Of people from elsewhere we have no `player`: we only hear when they win."""

    client_id: int | None
    name: str
    kind: str
    player: Player | None
    wins: int
    fewest: int | None = None  # guesses that a win took


def paint_lines(seats: Sequence[Seat], low: int, high: int) -> str:
    """Paint the names and the lines: what stays. `paint_moves` moves what is on the lines."""
    size = high - low + 1
    quarters = [low - 1 + size * quarter // 4 for quarter in (1, 2, 3)]
    marks = range(low, high + 1) if size < 8 else [low, *quarters, high]
    numbers = "".join(f'<span style="left:{place(mark, low, high)}">{mark}</span>' for mark in marks)
    rows = "".join(
        f'<div class="gg-row gg-seat{number}" style="--c:{colour(number)}">'
        f'<div class="gg-name">{html.escape(seat.name)}<small>{html.escape(seat.kind)}</small></div>'
        f'<div class="gg-line{"" if seat.player else " gg-unknown"}"><div class="gg-interval"></div>'
        '<div class="gg-mark"></div><div class="gg-secret"></div></div></div>'
        for number, seat in enumerate(seats)
    )
    axis = f'<div class="gg-row gg-axis"><div>player</div><div class="gg-line">{numbers}<i></i></div></div>'
    return f'<div class="gg-rows">{axis}{rows}</div>'


def place(number: float, low: int, high: int) -> str:
    """Say where a number is on a line."""
    return f"{(number - low + 0.5) * 100 / (high - low + 1):.2f}%"


def paint_moves(
    seats: Sequence[Seat],
    span: tuple[int, int],
    found: int | None,
    winner: int | None,
    secret: int | None,
    turn: Player | None,
) -> str:
    """Paint a style sheet that moves bars and marks: the elements live on, so they glide."""
    at = functools.partial(place, low=span[0], high=span[1])
    wide = (span[1] - span[0] + 1) / 80  # for the last row of a hall
    sheet = ""
    if found is not None:
        sheet += f'.gg-axis{{--at:{at(found)};--shown:1;--number:"{found}"}}'
    if secret is not None:
        sheet += f".gg-rows{{--secret:{at(secret)};--dots:1}}"
    for number, seat in enumerate(seats):
        player, won, style = seat.player, seat.client_id == winner, ""
        if player is turn is not None and found is None:
            style += '--next:"▸ ";--row:var(--jp-layout-color2);'
        if found is not None:  # everybody is told
            style += f"--from:{at(found - wide)};--to:{at(found + wide)};"
            style += "--row:var(--c);--text:#fff;--bar:#fff;--stays:sticky;" if won else "--told:gg-told;"
        elif player:
            style += f"--from:{at(player.low - 0.5)};--to:{at(player.high + 0.5)};"
        if player and player.last_guess is not None:
            arrow = ARROWS.get(player.last_verdict or "", "★" * won)
            ink = 1 if found is None or won else 0.35
            style += f'--mark:{at(player.last_guess)};--ink:{ink};--arrow:"{arrow}";'
            style += "--side:-22px;" * (player.last_verdict == MORE)
        sheet += f".gg-seat{number}{{{style}}}"
    return f"<style>{sheet}</style>"


def paint_replies(seats: Sequence[Seat], found: int | None, winner: int | None) -> str:
    """Paint what stands right of the lines: the last guess and its reply, the wins."""
    rows = '<div class="gg-row gg-axis"><div>last guess, reply</div><div>wins</div></div>'
    for number, seat in enumerate(seats):
        player, won = seat.player, found is not None and seat.client_id == winner
        guess, verdict = (player.last_guess, player.last_verdict or "") if player else (found if won else None, "")
        if found is not None:
            below = "★ found it!" if won else f"is told: it was {found}"
        elif player is None:
            below = "we hear of wins"
        else:
            left = f"{player.low}" if player.low == player.high else f"{player.low}–{player.high}"
            below = f"{WAYS.get(verdict, 'one of')}: {left}"
        reply = f"<b>{'' if guess is None else guess}</b> {verdict} {ARROWS.get(verdict, '')}<small>{below}</small>"
        best = "" if seat.fewest is None else f"best: {seat.fewest}"
        rows += f'<div class="gg-row gg-seat{number}" style="--c:{colour(number)}">'
        rows += f'<div class="gg-reply">{reply}</div><div class="gg-wins"><b>{seat.wins}</b>'
        rows += f"<small>{best}</small></div></div>"
    return f'<div class="gg-replies">{rows}</div>'


def in_words(names: Sequence[str], most: int = 3) -> str:
    """Write a list of names as one says it, a long one as a number."""
    if len(names) > most:
        return f"{len(names)} players"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


class Board(Part):
    """Show bots playing on a server, with a desk to steer them and a seat for the learner.

        board = await Board(server).start([bisection, lucky])
        board

    Every player on it, the learner too, is a client with a connection of its own: the board shows
    what they heard. Only the secret number, the count of the rounds, and who else is here come from
    the server itself.
    """

    style = style_sheet(__file__)

    def __init__(self, server: GameServer) -> None:
        super().__init__("board")
        self.server = server
        self.you = Player(server.url, "You", on_message=self._hear)
        self.bots: list[Bot] = []
        self.playing: dict[Bot, asyncio.Task[None]] = {}
        self.running = False
        self.news: collections.deque[Message] = collections.deque(maxlen=6)
        self.found: int | None = None  # in the pause: the number
        self.winner: int | None = None  # and the client who found it
        self.told: Message = ""  # and what everybody else was told
        self.countdown: int | None = None
        self.scores: dict[int, int] = {}  # of everybody, as announced
        self.guesses_before: dict[Player, int] = {}  # when this round began
        self.fewest: dict[Player, int] = {}  # guesses that a win took
        self.record = ""  # the fewest of all
        self._next_turn = 0
        self._attempts = 0  # to guess
        more = (f"Bot {number}" for number in itertools.count(len(NAMES) + 1))
        self._names = itertools.chain(NAMES, more)
        self.head, self.lines, self.moves, self.replies = (widgets.HTML() for _ in range(4))
        self.reply, self.announcements = widgets.HTML(), widgets.HTML()
        self.field = widgets.Box([self.lines, self.replies]).add_class("gg-field")
        self.show(self.head, self.moves, self.field, *self._make_desk())
        self.view.add_class("gg-board")
        self._answer(INVITATION)

    def _make_desk(self) -> Iterable[widgets.Widget]:
        """Build the controls: first what everybody uses, then what can be folded away."""

        def width(pixels: int) -> dict[str, Any]:
            return {"layout": {"width": f"{pixels}px"}}

        wide = {"style": {"description_width": "200px"}, "layout": {"width": "370px", "max_width": "100%"}}
        short: dict[str, Any] = {"style": {"description_width": "auto"}, "continuous_update": False, **width(145)}
        # The browser counts how often it shows this box (see come_into_view).
        self.number = self.watched(widgets.Text(description="Your guess", placeholder="50", _view_count=0, **short))
        self.your_name = widgets.Text(self.you.name, description="Your name", **{**short, **width(175)})
        self.watched(self.your_name, self._rename)
        enter = self.callback(self._guess)
        self.number.on_msg(lambda _, content, buffers: enter(content) if content.get("event") == "submit" else None)
        self.guess_button = self.button("Guess!", self._guess, button_style="success", **width(90))
        self.start_button = self.button("Start the bots", self._start_or_pause, button_style="primary", **width(148))
        self.step_button = self.button("One guess", self._step, tooltip="by the next bot in turn", **width(100))
        self.delay_slider = widgets.FloatSlider(
            1.0, min=0, max=3, description="Seconds between guesses", readout_format=".1f", **wide
        )
        self.watched(self.delay_slider, self._set_delay)
        self.more = self.watched(
            widgets.ToggleButton(False, description="More", icon="sliders", **width(90)), self._fold
        )
        self.full = self.watched(
            widgets.ToggleButton(False, description="Full screen", icon="expand", **width(172)), self._fill
        )
        self.strategy = self.watched(widgets.Dropdown(options=list(STRATEGIES), **width(130)))
        self.add_button = self.button("Add a bot", self._add, icon="plus")
        self.remove_button = self.button("Remove a bot", self._remove, icon="minus")
        self.pause_slider = self.watched(pause_slider(self.server, **wide))
        self.secret = self.watched(widgets.Checkbox(False, description="Show the secret number", indent=False))
        line = functools.partial(widgets.Box, layout=LINE)
        rare = [line([self.strategy, self.add_button, self.remove_button, self.secret]), line([self.pause_slider])]
        self.folded = widgets.VBox([*rare, self.announcements], layout={"display": "none"})
        return (
            line([self.your_name, self.number, self.guess_button, self.delay_slider]),
            self.reply,
            line([self.start_button, self.step_button, self.more, self.full]),
            self.folded,
        )

    async def start(self, strategies: Iterable[Strategy]) -> Board:
        """Seat the learner and one bot for each strategy, and begin to paint; return the board."""
        for other in self.in_use:
            if isinstance(other, Board) and other is not self:
                await other.stop()
        await self.you.join()
        for strategy in strategies:
            await self.add(strategy)
        self.paint()
        self.run(self._keep_painting())
        return self

    async def stop(self) -> None:
        """Let everybody leave, and stop painting. Safe to call twice."""
        self.pause()
        await super().stop()
        for player in [self.you, *self.bots]:
            await player.leave()

    # What the controls do

    async def add(self, strategy: Strategy = bisection) -> Bot:
        """Seat one more bot; it plays at once if the others do."""
        if not self.server.running:
            raise RuntimeError("the server of this board was stopped: run the cells from the top")
        bot = Bot(self.server.url, strategy, next(self._names), delay=self.delay_slider.value)
        bot.on_message = functools.partial(self._count, bot)
        await bot.join()
        self.bots.append(bot)
        if self.running:
            self._let_play(bot)
        return bot

    def _let_play(self, bot: Bot) -> None:
        self.playing[bot] = self.run(self._watch_over(bot, bot.play()))

    async def _watch_over(self, bot: Bot, playing: Coroutine[Any, Any, Any]) -> None:
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
            self._answer("<p>The round is over, so no bot guesses: wait for the new game.</p>")
        elif self.bots:
            bot = self.bots[self._next_turn % len(self.bots)]
            self._next_turn += 1
            await self._watch_over(bot, bot.step())

    async def _add(self, _: Any) -> None:
        await self.add(STRATEGIES[self.strategy.value])

    async def _remove(self, _: Any) -> None:
        if self.bots:
            bot = self.bots.pop()
            if bot in self.playing:
                self.playing.pop(bot).cancel()
            await bot.leave()

    async def _set_delay(self, change: Any) -> None:
        for bot in self.bots:
            bot.delay = self.delay_slider.value

    async def _fold(self, change: Any) -> None:
        self.folded.layout.display = "flex" if self.more.value else "none"

    async def _fill(self, change: Any) -> None:
        (self.view.add_class if self.full.value else self.view.remove_class)("gg-screen")
        self.full.description = "Exit full screen" if self.full.value else "Full screen"

    async def _rename(self, _: Any) -> None:
        if self.your_name.value != self.you.name:
            reply = await self.you.rename(self.your_name.value)
            self.your_name.value = self.you.name or ""
            self._answer(f"You are <b>{html.escape(self.your_name.value)}</b>. " + paint_message(reply))

    async def _guess(self, _: Any) -> None:
        self._attempts = attempt = self._attempts + 1
        hint = "<p>Type a number first, then press Enter or <b>Guess!</b></p>"
        for wait in range(100):  # Enter may arrive before what was typed, long before on a busy machine
            if self.number.value:
                break
            if wait == 10:
                self._answer(hint)
            await asyncio.sleep(0.05)
            if attempt != self._attempts:
                return  # the next press waits for it
        typed, self.number.value = self.number.value.strip(), ""
        try:
            number = int(typed)
        except ValueError:
            self._answer(hint)
        else:
            self._answer(f"<b>{number}</b>: " + paint_message(await self.you.guess(number)))
        self.number.focus()

    def _answer(self, markup: str) -> None:
        self.reply.value = f'<div class="gg-answer">{markup}</div>'

    # Hearing

    def _count(self, player: Player, message: Message) -> None:
        """Count the guesses of a player in each round, by what this player hears."""
        if message == NEW_GAME:
            self.guesses_before[player] = player.guesses
        elif message == YOU_WON:
            needed = player.guesses - self.guesses_before.get(player, 0)
            if needed < min(self.fewest.values(), default=needed + 1):
                self.record = f"Fewest guesses today: {needed}, by {player.name}."
            self.fewest[player] = min(needed, self.fewest.get(player, needed))

    def _hear(self, message: Message) -> None:
        """Take note of an announcement, as the learner's own connection hears it."""
        self._count(self.you, message)
        fields = message if isinstance(message, dict) else {}
        self.countdown = fields.get("countdown", self.countdown)
        if message in (LESS, MORE) or (fields and "client_id" not in fields):
            return
        self.news.appendleft(message)
        template, values = recognise(message)
        if template == NEW_GAME:
            self.found = self.winner = self.countdown = None
            self._answer(INVITATION)
        elif template == YOU_WON:
            self.found = self.you.last_guess
        elif template == SOMEBODY_WON:
            self.found, self.told = int(values["number"]), message
        elif fields and self.found is not None and self.winner is None:  # the score follows
            self.winner = fields["client_id"]
            self.scores[fields["client_id"]] = fields["wins"]

    # Painting

    async def _keep_painting(self) -> None:
        while True:
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        seats = self._seats()
        secret = self.server.round.secret if self.secret.value else None
        turn = self.bots[self._next_turn % len(self.bots)] if self.bots and not self.running else None
        self.lines.value = paint_lines(seats, *self.you.range)
        # What jumps faster than it glides would never arrive.
        glide = "<style>.gg-board{--glide:0}</style>" * (self.delay_slider.value < 0.2)
        self.moves.value = paint_moves(seats, self.you.range, self.found, self.winner, secret, turn) + glide
        self.replies.value = paint_replies(seats, self.found, self.winner)
        self.head.value = self._paint_head()
        news = "".join(map(paint_message, self.news))
        title = "Messages you received, newest first (hints and countdown left out):"
        self.announcements.value = f'<div class="gg-news"><small>{title}</small>{news}</div>'

    def _seats(self) -> list[Seat]:
        """Return all the rows: the learner, the bots, then whoever comes from elsewhere."""
        seats = [Seat(self.you.client_id, self.you.name or "?", "by hand", self.you, self.you.wins)]
        for bot in self.bots:
            kind = getattr(bot.strategy, "__name__", "bot")
            seats.append(Seat(bot.client_id, bot.name or "?", kind, bot, bot.wins))
        for seat in seats:
            seat.fewest = self.fewest.get(seat.player) if seat.player else None
        ours = {seat.client_id for seat in seats}
        for client in list(self.server.clients.values()):
            if client.id not in ours:
                seats.append(Seat(client.id, client.label, "elsewhere", None, self.scores.get(client.id, 0)))
        return seats

    def _paint_head(self) -> str:
        if self.you.gone:
            title, below, mood = "The connection has ended", "Run the cells again, from the top.", "gg-gone"
        elif self.found is not None and self.winner == self.you.client_id:
            title, mood = f"★ You found {self.found}! ★", "gg-yours"
            below = f"The server tells you {encode(YOU_WON)}, and everybody else who won."
        elif self.found is not None:
            name = next((seat.name for seat in self._seats() if seat.client_id == self.winner), "Somebody")
            title, mood = f"★ {name} found {self.found}!", "gg-won"
            below = f"Everybody is told at the same moment: {encode(self.told)}"
        else:
            low, high = self.you.range
            title = f"Round {self.server.rounds_played + 1}: who finds the number from {low} to {high}?"
            below, mood = f"{self._who_is_close()} {self.record}", ""
        count = "" if self.countdown is None else f"{self.countdown}…"
        return (
            f'<div class="gg-head {mood}"><b>{html.escape(title)}</b>'
            f'<div class="gg-count">{count}</div><div>{html.escape(below)}</div></div>'
        )

    def _who_is_close(self) -> str:
        """Say who has the fewest numbers left."""
        left = {player: player.high - player.low + 1 for player in [self.you, *self.bots]}
        fewest = min(left.values())
        names = [player.name or "?" for player in left if left[player] == fewest]
        if fewest == self.you.range[1] - self.you.range[0] + 1:
            return "Nobody knows anything yet."
        if fewest == 1:
            return f"{in_words(names)} {'are' if 'You' in names or len(names) > 1 else 'is'} one guess away!"
        return f"Closest: {in_words(names)}, with {fewest} numbers to choose from."
