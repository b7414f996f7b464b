"""What lesson 4 needs besides the shared widgets: a diagram of a round, and a race, line by line."""

from __future__ import annotations

import ast
import asyncio
import collections
import contextlib
import html
import inspect
import textwrap
import types
from typing import Any, Callable, Coroutine, Generator, Iterator, Mapping, no_type_check

import ipywidgets as widgets

from gamekit import LINE, Part, style_sheet
from guessgame import NEW_GAME, SOMEBODY_WON, YOU_WON, GameServer, Message, Player, recognise

# --------------------------------------------------------------------------------------------------
# The three states of a game
# --------------------------------------------------------------------------------------------------

STATES = ("guessing", "pause", "new number")
ABOUT = ("Everybody may guess.", "No guess counts.", "Drawn in secret.")
STEPS = ("a right guess", "time is up", "at once")
SEEN = 0.7  # seconds for which each state is shown at least, however short it is


class Diagram(Part):
    """Show in which state a game is, as one of its players hears it: the player's `on_message` is the diagram's.

    A state may be shorter than anybody can see. So the states wait in a queue, and each is shown for a moment.
    """

    style = style_sheet(__file__)

    def __init__(self, server: GameServer, player: Player) -> None:
        super().__init__("diagram")
        self.server, self.player = server, player
        self.picture = widgets.HTML()
        self.won = "The round is over."
        self.coming: asyncio.Queue[tuple[int, str, str]] = asyncio.Queue()
        self.state = 1 if server.round.over else 0
        self.since = self.loop.time() - 60  # when it was lit
        self.show(self.picture)
        self._paint(self.state, self.won if self.state else self._guess())
        player.on_message = self.hear
        self.run(self._keep_showing())

    def _guess(self) -> str:
        return f"Round {self.server.rounds_played + 1}. Guess!"

    def hear(self, message: Message) -> None:
        """Note what a message says about the state of the game."""
        kind, gaps = recognise(message)
        if isinstance(message, dict) and "countdown" in message:
            self.coming.put_nowait((1, self.won, f"{message['countdown']}"))
        elif kind in (YOU_WON, SOMEBODY_WON):
            winner, number = gaps.get("player", self.player.name), gaps.get("number", self.player.last_guess)
            self.won = f"{winner} found {number}. The next game starts after the pause."
            self.coming.put_nowait((1, self.won, ""))
        elif kind == NEW_GAME:
            self.coming.put_nowait((2, "There is a new number, and nobody knows it.", ""))
            self.coming.put_nowait((0, self._guess(), ""))

    async def _keep_showing(self) -> None:
        while True:
            state, note, countdown = await self.coming.get()
            if self.coming.qsize() >= 8:  # so the diagram is never far behind
                continue
            if state != self.state:
                await asyncio.sleep(max(0, self.since + SEEN - self.loop.time()))
                self.since = self.loop.time()
            self._paint(state, note, countdown)

    def _paint(self, state: int, note: str, countdown: str = "") -> None:
        # What is painted anew goes on moving from where it was.
        moving = f'style="animation-delay:{self.since - self.loop.time():.2f}s"'
        boxes = []
        for number, (name, about, step) in enumerate(zip(STATES, ABOUT, STEPS)):
            lit, taken = number == state, (number + 1) % len(STATES) == state
            boxes.append(
                f'<div class="gg-box{" gg-lit" * lit}" {moving}><b><i>●</i> {name}</b>'
                f"<span>{about}</span><strong>{countdown if lit else ''}</strong></div>"
                f'<div class="gg-way gg-way{number}{" gg-taken" * taken}" {moving}><span>{step}</span></div>'
            )
        self.state = state
        self.picture.value = f'<div class="gg-circle">{"".join(boxes)}</div><p class="gg-now">{html.escape(note)}</p>'


# --------------------------------------------------------------------------------------------------
# A race, line by line
# --------------------------------------------------------------------------------------------------

Judge = Callable[[Any, int], Coroutine[Any, Any, str]]
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@types.coroutine
def stop_before(line: int) -> Generator[int, None, None]:
    """Let whoever runs a coroutine by hand know which line comes next."""
    yield line


def put_stops(block: Any) -> None:
    """Put `await stop_before(line)` before each statement of a block, and of the blocks in it."""
    for name in ("body", "orelse"):  # not in a "finally": a coroutine that is closed must not wait there
        statements: list[Any] = []
        for statement in getattr(block, name, []):
            words = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)  # a docstring
            stops = [] if words else ast.parse(f"await stop_before({statement.lineno})").body
            statements += [*stops, statement]
            if not isinstance(statement, DEFINITIONS):
                put_stops(statement)
        if statements:
            setattr(block, name, statements)
    for inner in [*getattr(block, "handlers", []), *getattr(block, "cases", [])]:
        put_stops(inner)


def with_stops(function: Judge) -> tuple[list[str], Judge]:
    """Return the lines of an `async def`, and the same function with a stop before each of its statements."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.AsyncFunctionDef):
        raise ValueError(f"{function.__name__} has to begin with: async def")
    lines = source.splitlines()[definition.lineno - 1 :]  # without decorators
    tree = ast.parse("\n".join(lines))
    put_stops(tree.body[0])
    names = {**function.__globals__, "stop_before": stop_before}
    exec(compile(tree, "<a race>", "exec"), names)
    return lines, names[definition.name]


class Runner:
    """A player whose coroutine is run by hand, from line to line."""

    def __init__(self, name: str, coroutine: Coroutine[Any, Any, str]) -> None:
        self.name, self.coroutine = name, coroutine
        self.line = 0  # the one that runs next
        self.answers: dict[int, str] = {}  # of each line that asks something
        self.waits_for: Any = None  # what an `await` has handed over
        self.waiting, self.result = False, ""
        self.step()

    def step(self) -> None:
        """Run to the next line, or to an `await` that really waits, or to the end."""
        self.waiting = False
        try:
            stop = self.coroutine.send(None)
        except StopIteration as end:
            self.result = str(end.value)
        except Exception as error:
            self.result = f"{type(error).__name__}: {error}"
        else:
            if isinstance(stop, int):
                self.line = stop
            else:
                self.waiting, self.waits_for = True, stop
                if stop is not None:
                    stop._asyncio_future_blocking = False  # as the event loop says: seen

    @property
    def can_go_on(self) -> bool:
        """Whether what it waits for, if anything, has come."""
        return self.waits_for is None or not self.waiting or bool(self.waits_for.done())


class Race(Part):
    """Let Ada and Bob run a function at the same moment, line by line, as asyncio does: turns change at an `await`.

        Race(Game, {"with the bug": judge})

    The functions really run. A coroutine stands still at an `await`, and `send(None)` lets it go on; so it is given one
    more `await` before each of its lines.
    """

    style = style_sheet(__file__)

    def __init__(self, make_game: Callable[[], Any], versions: Mapping[str, Judge], number: int = 42) -> None:
        super().__init__()
        self.make_game, self.versions, self.number = make_game, versions, number
        self.picture = widgets.HTML()
        self.next_button = self.button("Next step", self._next, icon="step-forward", button_style="primary")
        again = self.button("From the start", self._again, icon="refresh")
        self.choice = self.watched(widgets.ToggleButtons(options=list(versions)), self._again)
        self.runners: list[Runner] = []
        choice = [self.choice] if len(versions) > 1 else []
        self.show(widgets.Box([*choice, self.next_button, again], layout=LINE), self.picture)
        self.begin()

    def begin(self) -> None:
        """Let both stand before their first line."""
        self._close()
        self.lines, function = with_stops(self.versions[self.choice.value])
        self.game = self.make_game()
        self.runners = [Runner(name, function(self.game, self.number)) for name in ("Ada", "Bob")]
        self.turns = collections.deque(self.runners)
        self._paint("Both guess right at the same moment. Ada's guess came first, so it's her turn.")

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Stop whoever has not come to an end."""
        self._close()
        return super().cancel()

    def _close(self) -> None:
        for runner in self.runners:
            with contextlib.suppress(RuntimeError):  # it catches even that, and goes on
                runner.coroutine.close()

    async def _again(self, _: Any) -> None:
        self.begin()

    async def _next(self, _: Any) -> None:
        ready = [runner for runner in self.turns if runner.can_go_on]
        if not self.turns:
            return  # a second press came before the button was off
        if not ready:
            self._paint("Both are waiting for something. Press again.")
        else:
            self._paint(self._let_run(ready[0]))

    def _let_run(self, runner: Runner) -> str:
        """Let a player run one line; return what happened."""
        while self.turns[0] is not runner:
            self.turns.rotate(-1)
        was_waiting, line = runner.waiting, runner.line
        runner.step()
        if runner.result:
            self.turns.popleft()
            said = f"{runner.name} is done: “{runner.result}”."
            return f"{said} Now it's {self.turns[0].name}'s turn." if self.turns else f"{said} {self._verdict()}"
        if runner.waiting:
            self.turns.rotate(-1)
            other = self.turns[0].name
            turn = f"Meanwhile, it's {other}'s turn." if other != runner.name else "Nobody else is left."
            return f"{runner.name} has to wait at the await. {turn}"
        if was_waiting:
            return f"{runner.name}'s await is over, so {runner.name} goes on."
        text = self.lines[line - 1].strip()
        if not text.startswith(("if ", "while ")):
            return f"{runner.name} did: {text}"
        runner.answers[line] = "yes" if self._indent(runner.line) > self._indent(line) else "no"
        question = text.partition(" ")[2].partition(":")[0]
        return f"{runner.name} asks: {question}? The answer is {runner.answers[line]}."

    def _indent(self, line: int) -> int:
        return len(self.lines[line - 1]) - len(self.lines[line - 1].lstrip())

    def _verdict(self) -> str:
        winners = [runner.name for runner in self.runners if runner.result == "won"]
        saved = getattr(self.game, "saved", 1)
        if len(winners) == 1 and saved != 1:
            return f"One winner, {winners[0]}, but saved {saved} times: that's wrong!"
        if len(winners) == 1:
            return f"One winner, {winners[0]}: that's right."
        return f"{len(winners)} winners: that's wrong!"

    def _paint(self, said: str) -> None:
        self.next_button.disabled = not self.turns
        columns = "".join(map(self._paint_column, self.runners))
        facts = "".join(
            f"<span>game.{name} = <b>{html.escape(repr(value))}</b></span>" for name, value in self._facts()
        )
        self.picture.value = (
            f'<div class="gg-said">{html.escape(said)}</div><div class="gg-facts">{facts}</div>'
            f'<div class="gg-race">{columns}</div>'
        )

    def _facts(self) -> Iterator[tuple[str, Any]]:
        """Give the values that the game holds now."""
        for name in dir(self.game):
            value = getattr(self.game, name)
            if not name.startswith("_") and not callable(value):
                yield name, value

    def _paint_column(self, runner: Runner) -> str:
        """Paint the function as one player runs it: the marker stands at the line that comes next."""
        turn = bool(self.turns) and self.turns[0] is runner
        mark = "▶" if turn else "‖" if runner.waiting else "▷"
        lines = ""
        for number, text in enumerate(self.lines, 1):
            here = number == runner.line and not runner.result
            answer = f"<em>{runner.answers[number]}</em>" if number in runner.answers else ""
            kind = f"gg-here{' gg-turn-now' * turn}" if here else ""
            lines += f'<p class="{kind}"><i>{mark if here else ""}</i>{html.escape(text)}{answer}</p>'
        state = runner.result or {"▶": "runs next", "‖": "waits at the await", "▷": "waits for a turn"}[mark]
        winners = [runner.result for runner in self.runners].count("won")
        won = f" gg-has-won{' gg-too-many' * (winners > 1)}" * (runner.result == "won")
        return (
            f'<div class="gg-lane{" gg-on" * turn}"><h4>{runner.name}: <span class="gg-state-now{won}">'
            f"{html.escape(state)}</span></h4>{lines}</div>"
        )


@no_type_check
async def solution(game, number):
    """Check and change at once."""
    if game.over:
        return "too late"
    if number != 42:
        return "wrong"
    game.over = True
    await game.save_the_score()
    return "won"
