"""Lesson 6: how good a strategy is, and a tournament in which lots are drawn for every round."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter, deque
from dataclasses import dataclass
from types import FrameType
from typing import Any, Callable, Sequence

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import (
    LESS,
    YOU_WON,
    GameServer,
    Message,
    Player,
    Round,
    bisection,
    counting,
    lucky,
)

from . import LINE, Part, bars, colour, picture

Strategy = Callable[[int, int], int]

# --------------------------------------------------------------------------------------------------
# How good a strategy is, without any network
# --------------------------------------------------------------------------------------------------

MOST_STEPS = 100_000  # lines that a strategy may run for one guess
HINTS = {
    float: " (use `//`, not `/`)",
    type(None): " (is there a `return`?)",
}


class Endless(Exception):
    """A strategy that does not come to an end."""


def ask(strategy: Strategy, low: int, high: int) -> int:
    """Ask a strategy for a guess; raise Endless for one that runs on and on.

    In a button's callback nobody could stop it: the kernel would have to be restarted. So its lines
    are counted, as a debugger does it.
    """
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > MOST_STEPS:
            raise Endless(
                f"for {low} to {high} it does not come to an end: "
                "is there a loop that goes round forever?"
            )
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        return strategy(low, high)
    finally:
        sys.settrace(before)


def ask_strictly(strategy: Strategy, low: int, high: int) -> int:
    """Ask a strategy for a guess; raise ValueError for one that it may not make."""
    number = ask(strategy, low, high)
    if type(number) is not int or not low <= number <= high:
        hint = HINTS.get(type(number), "")
        raise ValueError(f"for {low} to {high} it returns {number!r}{hint}")
    return number


def count_guesses(strategy: Strategy, secret: int) -> int:
    """Count how many guesses a strategy needs for a secret number from 1 to 100."""
    game = Round(secret)
    low, high = 1, 100
    for count in range(1, 101):
        number = ask_strictly(strategy, low, high)
        reply = game.guess(number)
        if reply == YOU_WON:
            return count
        if reply == LESS:
            low = number + 1
        else:
            high = number - 1
    raise AssertionError("each guess leaves fewer numbers")


def measure(strategy: Strategy) -> list[int]:
    """Return how many guesses a strategy needs for each secret number.

    Whatever a learner's strategy does, it raises ValueError with a sentence, "" if it is not written yet.
    """
    try:
        return [count_guesses(strategy, secret) for secret in range(1, 101)]
    except NotImplementedError:
        raise ValueError("") from None
    except (ValueError, Endless) as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        reason = f"it fails with {type(error).__name__}: {error}"
        raise ValueError(reason) from None


def judge(strategy: Strategy, average: float, worst: int, first: int | None) -> str:
    """Say how good a strategy is, and whether it is what was asked for; 0 asks for nothing."""
    try:
        counts = measure(strategy)
    except ValueError as error:
        return f"not yet: {error}" if str(error) else "not yet"
    mean = sum(counts) / len(counts)
    verdict = "well done!"
    if average and (abs(mean - average) >= 0.005 or max(counts) != worst):
        verdict = f"not yet: it should be {average} on average, {worst} at worst"
    elif first and strategy(1, 100) != first:
        verdict = f"not yet: for 1 to 100, its first guess should be {first}"
    return f"{mean:.2f} guesses on average, {max(counts)} at worst: {verdict}"


def check(
    strategy: Strategy,
    average: float = 0,
    worst: int = 0,
    first: int | None = None,
) -> None:
    """Print how good a strategy is, and whether it is what was asked for."""
    print(judge(strategy, average, worst, first))


def show(strategy: Strategy) -> widgets.VBox:
    """Show how many of the numbers a strategy finds with the first guess, the second, and so on."""
    try:
        counts = Counter(measure(strategy))
    except ValueError as error:
        return picture(Markup("<p>not yet {}</p>").format(error))
    needed: dict[str, float] = {}
    for count in range(1, max(counts) + 1):
        needed[f"guess {count}"] = counts[count]
    return picture(bars(needed, "found", full=50))


# --------------------------------------------------------------------------------------------------
# A tournament: what is known
# --------------------------------------------------------------------------------------------------

ROUNDS = 400
HEIGHT = "300px"
SLOW = 0.9  # seconds between two guesses of a race that one can follow
OURS: dict[str, Strategy] = {
    "bisection": bisection,
    "lucky": lucky,
    "counting": counting,
}


@dataclass(eq=False)
class Racer:
    """One who takes part: a strategy, and a player on the server."""

    name: str
    strategy: Strategy
    player: Player
    wins: int = 0

    async def guess(self) -> Message:
        """Make one guess; return the reply."""
        number = ask_strictly(self.strategy, self.player.low, self.player.high)
        return await self.player.guess(number)


def tell_wins(racers: Sequence[Racer]) -> str:
    """Say who has won how often."""
    return ", ".join(f"{racer.name} {racer.wins}" for racer in racers)


RACER = Markup(
    '<div class="gg-bar" style="--c:{colour}"><span>{place}. {name}</span>'
    '<div><i style="margin-left:{left}%;width:{width}%"></i></div><b>{state}</b></div>'
)


def paint_racer(place: int, number: int, racer: Racer) -> Markup:
    """Paint which numbers are still possible for somebody, and their last guess."""
    player = racer.player
    state = "★ found it!" if player.last_verdict == YOU_WON else ""
    if player.last_guess is not None and not state:
        state = f"guessed {player.last_guess}"
    return RACER.format(
        colour=colour(number),
        place=place,
        name=racer.name,
        left=player.low - 1,
        width=player.high - player.low + 1,
        state=state,
    )


# --------------------------------------------------------------------------------------------------
# A tournament: run it
# --------------------------------------------------------------------------------------------------


class Tournament(Part):
    """Let strategies play against each other, over real connections.

        Tournament(server, lambda: {"my_bot": my_bot})

    The function is called before each tournament: so a cell that was run again counts. In each round the
    server draws a number, and lots are drawn for the order in which the bots take turns.
    """

    def __init__(
        self, server: GameServer, sign_up: Callable[[], dict[str, Strategy]]
    ) -> None:
        super().__init__("tournament")
        self.server = server
        self.sign_up = sign_up
        self.racers: list[Racer] = []
        self.order: list[Racer] = []
        self.played = 0
        self.history: deque[str] = deque(maxlen=5)
        self.picture = widgets.HTML()
        self.picture.layout.min_height = HEIGHT  # what is below keeps its place
        self.slow_button = self._make_button("One round, slowly", self._race)
        self.fast_button = self._make_button(f"Play {ROUNDS} rounds", self._play)
        row = [self.slow_button, self.fast_button]
        self.show(widgets.Box(row, layout=LINE), self.picture)
        self.picture.value = "<p>Press a button.</p>"

    def _make_button(self, label: str, action: Callable[[], Any]) -> widgets.Button:
        async def run(_: Any) -> None:
            if self.slow_button.disabled:
                return  # a press that was already on its way
            self._switch(False)
            try:
                await action()
            finally:
                await self._send_home()
                self._switch(True)

        return self.button(label, run, layout={"width": "auto"})

    def _switch(self, is_on: bool) -> None:
        for button in self.controls:
            button.disabled = not is_on

    async def end(self) -> None:
        """Stop, send everybody home, and switch off the controls."""
        await super().end()
        await self._send_home()

    async def _let_in(self) -> str:
        """Let everybody join whose strategy works; say who stays at home."""
        strategies = dict(OURS)
        absent = ""
        for name, strategy in self.sign_up().items():
            try:
                measure(strategy)
            except ValueError as error:
                absent = f" {name} stays at home: not yet. {error}"
            else:
                strategies[name] = strategy
        self.played = 0
        self.racers = []
        for name, strategy in strategies.items():
            player = Player(self.server.url, name)
            await player.join()
            self.racers.append(Racer(name, strategy, player))
        return absent

    async def _send_home(self) -> None:
        for racer in self.racers:
            if racer.player.gone is None:
                await racer.player.leave()

    async def _play_round(self, pause: float) -> None:
        """Draw lots, and let all take turns until one has found the number."""
        self.server.new_round()
        for racer in self.racers:
            await racer.player.ask({"scores": True})  # all have heard of it
        self.order = random.sample(self.racers, len(self.racers))
        while True:
            for racer in self.order:
                if pause:
                    self.picture.value = self._paint_race()
                    await asyncio.sleep(pause / len(self.order))
                if await racer.guess() == YOU_WON.russian:
                    racer.wins += 1
                    return

    def _paint_race(self) -> Markup:
        rows = []
        for place, racer in enumerate(self.order, 1):
            number = self.racers.index(racer)
            rows.append(paint_racer(place, number, racer))
        return Markup('<div class="gg-bars">{}</div>').format(Markup().join(rows))

    async def _race(self) -> None:
        absent = await self._let_in()
        await self._play_round(SLOW)
        [winner] = [racer.name for racer in self.racers if racer.wins]
        said = Markup("<p><b>{} wins.</b>{}</p>").format(winner, absent)
        self.picture.value = self._paint_race() + said

    async def _play(self) -> None:
        absent = await self._let_in()
        for self.played in range(1, ROUNDS + 1):
            await self._play_round(0)
            if self.played % 20 == 0:
                self.picture.value = self._paint_wins("")
        self.history.appendleft(tell_wins(self.racers))
        self.picture.value = self._paint_wins(absent)

    def _paint_wins(self, absent: str) -> Markup:
        wins: dict[str, float] = {racer.name: racer.wins for racer in self.racers}
        head = Markup("<big>{} of {} rounds</big><small>{}</small>")
        painted = head.format(self.played, ROUNDS, absent)
        painted += bars(wins, "won", full=ROUNDS)
        for told in self.history:
            painted += Markup("<small>{}</small><br>").format(told)
        return painted
