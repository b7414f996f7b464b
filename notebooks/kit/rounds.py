"""Lesson 5: the three states of a game as a diagram, and a race, line by line."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import textwrap
import types
from contextlib import suppress
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    NamedTuple,
    Sequence,
    no_type_check,
)

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import (
    NEW_GAME,
    SOMEBODY_WON,
    YOU_WON,
    Game,
    GameServer,
    Knowledge,
    Message,
    Player,
    recognise,
)

from . import LINE, Part, describe

# --------------------------------------------------------------------------------------------------
# The three states of a game
# --------------------------------------------------------------------------------------------------

STATES = ("guessing", "pause", "new number")
ABOUT = ("Everybody may guess.", "No guess counts.", "Drawn in secret.")
STEPS = ("a right guess", "time is up", "at once")
GUESSING, PAUSE, NEW_NUMBER = range(3)
SEEN = 0.7  # seconds for which each state is shown at least, however short it is


class Moment(NamedTuple):
    """What the diagram shows at one time."""

    state: int
    note: str
    countdown: str = ""


class Story:
    """Tell in which state a game is, from what one of its players hears."""

    def __init__(self, game: Game, player: Knowledge) -> None:
        self.game = game
        self.player = player
        self.end = "The round is over."

    def now(self) -> Moment:
        """Tell the state of the game between two messages."""
        if self.game.round.over:
            return Moment(PAUSE, self.end)
        return Moment(GUESSING, f"Round {self.game.rounds_begun}. Guess!")

    def hear(self, message: Message) -> list[Moment]:
        """Tell what a message says of the state: nothing, or one state or two."""
        if isinstance(message, dict):
            if "countdown" not in message:
                return []
            return [Moment(PAUSE, self.end, str(message["countdown"]))]
        sentence, gaps = recognise(message)
        if sentence is NEW_GAME:
            new = Moment(NEW_NUMBER, "There is a new number, and nobody knows it.")
            guess = Moment(GUESSING, f"Round {self.game.rounds_begun}. Guess!")
            return [new, guess]
        if sentence is YOU_WON:
            return [self._won(self.player.name, self.player.last_guess)]
        if sentence is SOMEBODY_WON:
            return [self._won(gaps["player"], gaps["number"])]
        return []

    def _won(self, winner: object, number: object) -> Moment:
        self.end = f"{winner} found {number}. The next game starts after the pause."
        return Moment(PAUSE, self.end)


BOX = Markup(
    '<div class="gg-box {lit}" style="{moving}"><b><i>●</i> {name}</b>'
    "<span>{about}</span><strong>{countdown}</strong></div>"
)
WAY = Markup(
    '<div class="gg-way gg-way{number} {taken}" style="{moving}">'
    "<span>{step}</span></div>"
)
CIRCLE = Markup('<div class="gg-circle">{}</div><p class="gg-now">{}</p>')


def paint_moment(moment: Moment, age: float) -> Markup:
    """Paint the diagram; its state was lit so many seconds ago."""
    # What is painted anew goes on moving from where it was.
    moving = f"animation-delay:{-age:.2f}s"
    painted = []
    for number, name in enumerate(STATES):
        is_lit = number == moment.state
        is_taken = (number + 1) % len(STATES) == moment.state
        box = BOX.format(
            lit="gg-lit" if is_lit else "",
            moving=moving,
            name=name,
            about=ABOUT[number],
            countdown=moment.countdown if is_lit else "",
        )
        way = WAY.format(
            number=number,
            taken="gg-taken" if is_taken else "",
            moving=moving,
            step=STEPS[number],
        )
        painted += [box, way]
    return CIRCLE.format(Markup().join(painted), moment.note)


class Diagram(Part):
    """Show in which state a game is, as one of its players hears it.

    It takes the player's `on_message`. A state may be shorter than anybody can see. So what there is
    to show waits in a queue, and each state is seen for a moment.
    """

    def __init__(self, server: GameServer, player: Player) -> None:
        super().__init__("diagram")
        self.story = Story(server.game, player)
        self.coming: asyncio.Queue[Moment] = asyncio.Queue()
        self.picture = widgets.HTML()
        self.show(self.picture)
        moment = self.story.now()
        self.state = moment.state
        self.since = self.loop.time() - 60  # when it was lit
        self._paint(moment)
        player.on_message = self.hear
        self.run(self._keep_showing())

    def hear(self, message: Message) -> None:
        """Take note of what a message says about the state of the game."""
        for moment in self.story.hear(message):
            self.coming.put_nowait(moment)

    async def _keep_showing(self) -> None:
        while True:
            moment = await self.coming.get()
            if self.coming.qsize() >= 8:
                continue  # so the diagram is never far behind
            if moment.state != self.state:
                seen = self.loop.time() - self.since
                await asyncio.sleep(SEEN - seen)
                self.state = moment.state
                self.since = self.loop.time()
            self._paint(moment)

    def _paint(self, moment: Moment) -> None:
        age = self.loop.time() - self.since
        self.picture.value = paint_moment(moment, age)


# --------------------------------------------------------------------------------------------------
# Stops: an `await` more before each line of a function
# --------------------------------------------------------------------------------------------------

Judge = Callable[[Any, int], Coroutine[Any, Any, str]]
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@types.coroutine
def hand_over(what: object) -> Generator[object, None, None]:
    """Stop here, and hand something over to whoever runs this."""
    yield what


def is_text(statement: ast.stmt) -> bool:
    """Tell whether a statement is a docstring, or another constant that does nothing."""
    if not isinstance(statement, ast.Expr):
        return False
    return isinstance(statement.value, ast.Constant)


def put_stops(block: Any) -> None:
    """Put a stop before each statement in a block, and in the blocks within.

    But not in a "finally": a coroutine that is closed must not wait there.
    """
    for name in ("body", "orelse"):
        statements: list[ast.stmt] = []
        for statement in getattr(block, name, []):
            if not is_text(statement):
                stop = f"await stop_before({statement.lineno})"
                statements += ast.parse(stop).body
            statements.append(statement)
            if not isinstance(statement, DEFINITIONS):
                put_stops(statement)
        if statements:
            setattr(block, name, statements)
    handlers = getattr(block, "handlers", [])
    cases = getattr(block, "cases", [])
    for inner in [*handlers, *cases]:
        put_stops(inner)


def with_stops(function: Judge) -> tuple[list[str], Judge]:
    """Return the lines of an `async def`, and the same function with its stops.

    Each stop hands over the number of the line that comes next.
    """
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.AsyncFunctionDef):
        raise ValueError(f"{function.__name__} has to begin with: async def")
    lines = source.splitlines()
    lines = lines[definition.lineno - 1 :]  # without decorators
    tree = ast.parse("\n".join(lines))
    put_stops(tree.body[0])
    names = {**function.__globals__, "stop_before": hand_over}
    exec(compile(tree, "<a race>", "exec"), names)
    return lines, names[definition.name]


# --------------------------------------------------------------------------------------------------
# A race: how far both have come, and whose turn it is
# --------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Lane:
    """How far one player has come in the lines that both run."""

    name: str
    lines: Sequence[str]
    line: int = 1  # the one that comes next
    answers: dict[int, str] = field(default_factory=dict)  # of the lines that ask
    is_waiting: bool = False  # at an await
    can_go_on: bool = True
    result: str | None = None

    def stop_before(self, line: int) -> str:
        """Come to a line; return what has happened on the way there."""
        earlier = self.line
        was_waiting = self.is_waiting
        self.line = line
        self.is_waiting = False
        text = self.lines[earlier - 1].strip()
        is_question = text.startswith(("if ", "elif ", "while "))
        is_true = self._indent(line) > self._indent(earlier)
        answer = "yes" if is_true else "no"
        if is_question:
            self.answers[earlier] = answer
        if was_waiting:
            return f"{self.name}'s await is over, so {self.name} goes on."
        if text.startswith("await "):
            return f"{text} need not wait, so {self.name} keeps the turn."
        if not is_question:
            return f"{self.name} did: {text}"
        _, _, question = text.partition(" ")
        question, _, _ = question.partition(":")
        return f"{self.name} asks: {question}? The answer is {answer}."

    def _indent(self, line: int) -> int:
        text = self.lines[line - 1]
        return len(text) - len(text.lstrip())

    def wait(self) -> str:
        """Come to an `await` that really waits."""
        self.is_waiting = True
        self.can_go_on = False
        return f"{self.name} has to wait at the await."

    def finish(self, result: str) -> str:
        """Come to the end."""
        self.result = result
        return f"{self.name} is done: “{result}”."


class Contest:
    """Know who may go on: both, until one has begun, and then nobody else before an `await`."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        self.holder: Lane | None = None  # whose turn it is
        self.order: list[str] = []

    def may_go_on(self, lane: Lane) -> bool:
        """Tell whether the next step can be this player's."""
        return lane.result is None and self.holder in (None, lane)

    def is_over(self) -> bool:
        """Tell whether both have come to an end."""
        return all(lane.result is not None for lane in self.lanes)

    def take_note(self, lane: Lane) -> None:
        """Take note of a player's step, and of who has the turn after it."""
        if self.order[-1:] != [lane.name]:
            self.order.append(lane.name)
        has_ended = lane.result is not None
        self.holder = None if has_ended or lane.is_waiting else lane

    def winners(self) -> list[str]:
        """Return who has won."""
        return [lane.name for lane in self.lanes if lane.result == "won"]


def find_facts(game: object) -> dict[str, Any]:
    """Return the values that a game holds now."""
    values = {name: getattr(game, name) for name in dir(game) if name[0] != "_"}
    return {name: value for name, value in values.items() if not callable(value)}


def judge_race(winners: Sequence[str], facts: Mapping[str, Any]) -> str:
    """Say whether a race has ended as it should."""
    if len(winners) != 1:
        return f"{len(winners)} winners: that's wrong!"
    saved = facts.get("saved", 1)
    if saved != 1:
        return f"One winner, {winners[0]}, but saved {saved} times: that's wrong!"
    return f"One winner, {winners[0]}: that's right."


LANES = Markup('<div class="gg-race">{}</div>')
FACTS = Markup('<div class="gg-facts">{}</div>')
FACT = Markup("<span>game.{} = <b>{!r}</b></span>")
NEWS = Markup('<div class="gg-said">{}</div><p>{}</p>')
LANE = Markup(
    '<div class="gg-lane {on}"><h4>{name}: '
    '<span class="gg-state-now {won}">{state}</span></h4>{lines}</div>'
)
CODE = Markup('<p class="{here}"><i>{mark}</i>{text}{answer}</p>')
ANSWER = Markup("<em>{}</em>")
RECORD = Markup("<small>{}: {}</small><br>")


def paint_race(contest: Contest) -> Markup:
    """Paint a column for each player."""
    lanes = [paint_lane(contest, lane) for lane in contest.lanes]
    return LANES.format(Markup().join(lanes))


def paint_facts(game: object) -> Markup:
    """Paint the values that a game holds now."""
    facts = [FACT.format(*fact) for fact in find_facts(game).items()]
    return FACTS.format(Markup().join(facts))


def paint_news(said: str, records: Mapping[str, str]) -> Markup:
    """Paint what has just happened, and how the last three races ended."""
    newest = list(records.items())[-1:-4:-1]
    lines = [RECORD.format(*record) for record in newest]
    return NEWS.format(said, Markup().join(lines))


def paint_lane(contest: Contest, lane: Lane) -> Markup:
    """Paint the lines that one player runs: a marker stands at the one that comes next."""
    may_go_on = contest.may_go_on(lane)
    here, mark, state = "gg-here", "▷", "has to wait for a turn"
    if may_go_on:
        here, mark, state = "gg-here gg-turn-now", "▶", "can go on"
    if lane.is_waiting:
        mark = "‖"
        state = "at the await" if may_go_on else "at the await, without a turn"
    lines = []
    for number, text in enumerate(lane.lines, 1):
        is_here = number == lane.line and lane.result is None
        answer = lane.answers.get(number)
        line = CODE.format(
            here=here if is_here else "",
            mark=mark if is_here else "",
            text=text,
            answer=ANSWER.format(answer) if answer else "",
        )
        lines.append(line)
    won = ""
    if lane.result == "won":
        is_alone = len(contest.winners()) == 1
        won = "gg-has-won" if is_alone else "gg-has-won gg-too-many"
    return LANE.format(
        on="gg-on" if may_go_on else "",
        name=lane.name,
        won=won,
        state=state if lane.result is None else lane.result,
        lines=Markup().join(lines),
    )


# --------------------------------------------------------------------------------------------------
# A race: run it
# --------------------------------------------------------------------------------------------------


class Runner:
    """Run a player's coroutine from stop to stop: to the next line, `await`, or the end.

    A coroutine stands still at an `await`; `send(None)` lets it go on until it hands over what it has
    to wait for next. That can be a line number, from `stop_before`. Anything else is handed on to the
    event loop, which wakes this task when it has come; but the coroutine goes on only in its turn.
    """

    def __init__(
        self, lane: Lane, begin: Callable[[], Coroutine[Any, Any, str]]
    ) -> None:
        self.lane = lane
        self.begin = begin
        self.turn = asyncio.Event()

    async def step(self) -> str:
        """Let the coroutine go on to its next stop; return what happened."""
        self.news: asyncio.Future[str] = asyncio.Future()
        self.turn.set()
        return await self.news

    async def run(self) -> None:
        """Run the coroutine step by step; if this is cancelled, close it."""
        self.coroutine = self.begin()
        try:
            while self.lane.result is None:
                await self.turn.wait()
                self.turn.clear()
                await self._go_on()
        finally:
            with suppress(RuntimeError):  # it catches even that, and goes on
                self.coroutine.close()

    async def _go_on(self) -> None:
        try:
            stop = self.coroutine.send(None)
        except StopIteration as end:
            self.news.set_result(self.lane.finish(str(end.value)))
        except Exception as error:
            self.news.set_result(self.lane.finish(describe(error)))
        else:
            if isinstance(stop, int):
                self.news.set_result(self.lane.stop_before(stop))
            else:
                self.news.set_result(self.lane.wait())
                with suppress(Exception):  # the coroutine will meet it, too
                    await hand_over(stop)
                self.lane.can_go_on = True


def set_off(
    make_game: Callable[[], Any], function: Judge, *numbers: int
) -> tuple[Any, list[Runner]]:
    """Make a game, and a runner for each of up to two players, who guess these numbers."""
    lines, function = with_stops(function)
    game = make_game()
    runners = []
    for name, number in zip(("Ada", "Bob"), numbers):
        begin = functools.partial(function, game, number)
        runners.append(Runner(Lane(name, lines), begin))
    return game, runners


class Race(Part):
    """Let Ada and Bob run a function at the same moment; whoever presses is the scheduler.

        Race(Game, {"with the bug": judge})

    The functions really run, as tasks that have one more `await` before each of their lines. As in
    asyncio, the turn can change only where one has to wait.
    """

    def __init__(
        self,
        make_game: Callable[[], Any],
        versions: Mapping[str, Judge],
        number: int = 42,
    ) -> None:
        super().__init__("race: " + ", ".join(versions))
        self.make_game = make_game
        self.versions = versions
        self.number = number
        self.presses: asyncio.Queue[str] = asyncio.Queue()
        self.records: dict[str, str] = {}
        self.picture = widgets.HTML()
        self.facts = widgets.HTML()
        self.news = widgets.HTML()
        self.step_buttons = {name: self._make_step(name) for name in ("Ada", "Bob")}
        self.again_button = self.button("From the start", self._begin, icon="refresh")
        self.choice = widgets.ToggleButtons(options=list(versions))
        self.watched(self.choice, self._change)
        row = [*self.step_buttons.values(), self.again_button, self.facts]
        if len(versions) > 1:
            row.insert(0, self.choice)
        # What is pressed stands low: JupyterLab scrolls to the cell that comes next.
        self.show(self.picture, widgets.Box(row, layout=LINE), self.news)
        self.run(self._play())

    def _make_step(self, name: str) -> widgets.Button:
        async def press(_: Any) -> None:
            self.presses.put_nowait(name)

        button = self.button(f"{name}'s step", press, icon="step-forward")
        button.button_style = "primary"
        button.layout.width = "120px"
        return button

    async def _change(self, _: Any) -> None:
        self.records.clear()
        await self._begin(_)

    async def _begin(self, _: Any) -> None:
        await self.stop()
        self.run(self._play())

    async def _play(self) -> None:
        """Let both stand before their first line; from then on a press is a step."""
        function = self.versions[self.choice.value]
        self.game, runners = set_off(self.make_game, function, self.number, self.number)
        self.contest = Contest([runner.lane for runner in runners])
        self.presses = asyncio.Queue()
        for runner in runners:
            self.run(runner.run())
            await runner.step()
        by_name = {runner.lane.name: runner for runner in runners}
        said = "Both guess right at the same moment. You say who goes on."
        while not self.contest.is_over():
            self._paint(said)
            runner = by_name[await self.presses.get()]
            if self.contest.may_go_on(runner.lane):
                said = await self._step(runner)
        verdict = judge_race(self.contest.winners(), find_facts(self.game))
        order = " → ".join(self.contest.order)
        self.records.pop(order, None)  # so it's the newest
        self._paint(f"{said} {verdict}")
        self.records[order] = verdict

    async def _step(self, runner: Runner) -> str:
        name = runner.lane.name
        if not runner.lane.can_go_on:
            return f"{name}'s await is not over yet. Press again."
        said = await runner.step()
        self.contest.take_note(runner.lane)
        return said

    def _paint(self, said: str) -> None:
        for lane in self.contest.lanes:
            may_go_on = self.contest.may_go_on(lane)
            self.step_buttons[lane.name].disabled = not may_go_on
        self.picture.value = paint_race(self.contest)
        self.facts.value = paint_facts(self.game)
        self.news.value = paint_news(said, self.records)


# --------------------------------------------------------------------------------------------------
# All the races that there can be
# --------------------------------------------------------------------------------------------------

MOST_ORDERS = 200
MOST_STEPS = 1000  # of one race


class Endless(Exception):
    """A race that does not come to an end."""


async def find_ready(contest: Contest, runners: Sequence[Runner]) -> list[Runner]:
    """Return who can take the next step, once all whose await may be over know it."""
    lanes = [lane for lane in contest.lanes if contest.may_go_on(lane)]
    for _ in range(20):
        if all(lane.can_go_on for lane in lanes):
            break
        await asyncio.sleep(0)
    for _ in range(200):
        ready = [runner for runner in runners if runner.lane in lanes]
        ready = [runner for runner in ready if runner.lane.can_go_on]
        if ready:
            return ready
        await asyncio.sleep(0.01)
    raise Endless("everybody waits, and nothing happens")


async def run_race(
    runners: Sequence[Runner], choices: Sequence[int]
) -> tuple[Contest, list[tuple[int, int]]]:
    """Run a race; wherever there is a choice, take the next one, and then always the first.

    Return it, with all its choices: which was taken, and out of how many.
    """
    contest = Contest([runner.lane for runner in runners])
    taken: list[tuple[int, int]] = []
    for runner in runners:
        await runner.step()
    for _ in range(MOST_STEPS):
        if contest.is_over():
            return contest, taken
        ready = await find_ready(contest, runners)
        choice = 0
        if len(ready) > 1:
            choice = choices[len(taken)] if len(taken) < len(choices) else 0
            taken.append((choice, len(ready)))
        await ready[choice].step()
        contest.take_note(ready[choice].lane)
    raise Endless("it does not come to an end")


def find_next_choices(taken: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return choices that have not been tried yet, as one counts: the last place first."""
    left = list(taken)
    while left:
        choice, count = left.pop()
        if choice + 1 < count:
            return [earlier for earlier, _ in left] + [choice + 1]
    return None


async def race_alone(
    make_game: Callable[[], Any],
    function: Judge,
    numbers: Sequence[int],
    choices: Sequence[int] = (),
) -> tuple[Contest, Any, list[tuple[int, int]]]:
    """Run a race without a learner, and end its tasks."""
    game, runners = set_off(make_game, function, *numbers)
    tasks = [asyncio.ensure_future(runner.run()) for runner in runners]
    try:
        contest, taken = await run_race(runners, choices)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return contest, game, taken


async def find_fault(make_game: Callable[[], Any], function: Judge) -> str:
    """Try the rules, then all orders; say what is wrong, or nothing."""
    for number, expected in ((7, "wrong"), (42, "won")):
        contest, game, _ = await race_alone(make_game, function, [number])
        result = contest.lanes[0].result
        if result != expected:
            return (
                f"for the guess {number} it returns “{result}” instead of “{expected}”."
            )
        if expected == "wrong" and find_facts(game).get("over"):
            return "after a wrong guess, the game is over: only a right one may end it."
    choices: list[int] | None = []
    for _ in range(MOST_ORDERS):
        contest, game, taken = await race_alone(
            make_game, function, [42, 42], choices or ()
        )
        winners = contest.winners()
        saved = find_facts(game).get("saved")
        if (len(winners), saved) != (1, 1):
            order = " → ".join(contest.order)
            return f"winners: {len(winners)}, scores saved: {saved}, in this order: {order}."
        choices = find_next_choices(taken)
        if choices is None:
            break
    return ""


async def check_judge(make_game: Callable[[], Any], function: Judge) -> None:
    """Print whether a function judges two right guesses well, in whatever order they take turns."""
    try:
        fault = await find_fault(make_game, function)
    except (Endless, ValueError) as error:
        fault = f"{error}."
    if fault:
        print(f"not yet: {fault}")
    else:
        print("well done! In every order there is one winner, and one score is saved.")


# --------------------------------------------------------------------------------------------------
# Races over the network
# --------------------------------------------------------------------------------------------------


async def race_often(times: int = 100) -> dict[str, float]:
    """Let Ada and Bob send right guesses at the same moment; count who wins.

    They take turns going first.
    """
    results = {"Ada alone": 0.0, "Bob alone": 0.0, "both": 0.0}
    server = GameServer(port=0, pause=None)
    async with server:
        ada, bob = Player(server.url, "Ada"), Player(server.url, "Bob")
        async with ada, bob:
            for number in range(times):
                pair = [ada, bob] if number % 2 else [bob, ada]
                results[await race_once(server, pair)] += 1
    return results


async def race_once(server: GameServer, players: Sequence[Player]) -> str:
    """Let two players send right guesses at the same moment; return who has won."""
    secret = server.game.round.secret
    guesses = [player.guess(secret) for player in players]
    replies = await asyncio.gather(*guesses)
    winners = []
    for player, reply in zip(players, replies):
        if reply == YOU_WON.russian:
            winners.append(player.name)
    server.new_round()
    for player in players:  # all have heard of the new round
        await player.ask({"scores": True})
    return "both" if len(winners) == 2 else f"{winners[0]} alone"


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
