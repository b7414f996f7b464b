"""Lesson 10: the teacher's desk. All that it does, any program can do with a GameServer."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import time
from collections import Counter
from typing import Any, Callable, Iterable

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import Client, GameServer

from . import LINE, PAINTS_PER_SECOND, Part, label
from .classroom import Guess, read_history

# --------------------------------------------------------------------------------------------------
# The guesses as a file
# --------------------------------------------------------------------------------------------------

BYTE_ORDER_MARK = "\ufeff"  # without it, Excel doesn't show Cyrillic letters
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
DOWNLOAD = Markup(
    '<a download="{name}" href="data:text/csv;base64,{data}">⬇ Download {name}</a> ({count} guesses)'
)


def defuse(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def write_csv(history: Iterable[Guess]) -> str:
    """Write guesses as a table for a spreadsheet."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(Guess._fields)
    for guess in history:
        row = guess._replace(
            seconds=round(guess.seconds, 2),
            name=defuse(guess.name),
            reply=defuse(guess.reply),
        )
        writer.writerow(row)
    return BYTE_ORDER_MARK + table.getvalue()


def link_to_table(history: Iterable[Guess]) -> Markup:
    """Make a link that holds the table itself: it works wherever the kernel runs, and writes no file there."""
    guesses = list(history)
    data = base64.b64encode(write_csv(guesses).encode())
    return DOWNLOAD.format(
        name=time.strftime("guesses-%Y-%m-%d-%H%M.csv"),
        data=data.decode(),
        count=len(guesses),
    )


# --------------------------------------------------------------------------------------------------
# What stands on the desk
# --------------------------------------------------------------------------------------------------

PAUSES = (None, 0, 2, 5, 10, 30)  # seconds
COOLDOWNS = (0, 1, 2, 3, 5, 10)

WHO = Markup('<div title="{name} #{id}">{name} <small>{note}★ {wins}</small></div>')
MANY = 20  # guesses of one player in one round: that is a program, and a hasty one
STATE = Markup('<div class="gg-now"><b>{here} here</b> · round {round}: {state}</div>')
SAID = Markup("<div>{}</div>")
REMOVED = "{} is gone, and the name is barred."
MOVED = "The list has just moved: press again."
LEFT = "This player has left already."
SURE = "All wins become zero. Sure?"


def say_pause(seconds: float | None) -> str:
    """Say when the next round begins."""
    return "when I say so" if seconds is None else f"by itself, after {seconds:g} s"


def say_cooldown(seconds: float | None) -> str:
    """Say how often a player may guess."""
    return f"every {seconds:g} s" if seconds else "as often as they like"


def describe_round(server: GameServer) -> str:
    """Say what the game is waiting for."""
    if not server.running:
        return "the server is stopped"
    if not server.game.round.over:
        return "they are guessing"
    if server.pause is None:
        return "won, and you say when to go on"
    return "won, and the next one begins by itself"


class Choice(widgets.Dropdown):
    """A list of seconds, one of which a server's attribute has; it follows if a program changes that."""

    def __init__(
        self,
        part: Part,
        server: GameServer,
        attribute: str,
        say: Callable[[float | None], str],
        choices: Iterable[float | None],
    ) -> None:
        self.server = server
        self.attribute = attribute
        self.say = say
        self.seconds = {say(choice): choice for choice in choices}
        self.known: object = "nothing yet"
        super().__init__(options=list(self.seconds))
        self.style.description_width = "auto"
        self.layout.width = "300px"
        self.follow()
        part.watched(self, self._set)

    def follow(self) -> None:
        """Show what the server has, if that has changed."""
        seconds = getattr(self.server, self.attribute)
        if seconds == self.known:
            return
        self.known = seconds
        said = self.say(seconds)
        if said not in self.seconds:
            self.seconds[said] = seconds
            self.options = list(self.seconds)
        self.value = said

    async def _set(self, _: Any) -> None:
        seconds = self.seconds[self.value]
        if seconds != getattr(self.server, self.attribute):
            self.known = seconds
            setattr(self.server, self.attribute, seconds)


class Row(widgets.HBox):
    """One player, and the button that sends them away.

    When they have gone, somebody else can have the row. So nothing is made anew when players come and go. The
    style sheet's `order` puts the newest on top.
    """

    def __init__(self, button: widgets.Button) -> None:
        self.who = widgets.HTML()
        self.button = button
        self.client_id = 0  # nobody
        super().__init__([self.who, button])

    def seat(self, client_id: int) -> None:
        """Let somebody have the row, or, with 0, nobody."""
        self.client_id = client_id
        self.layout.order = str(-client_id)
        self.layout.display = "flex" if client_id else "none"

    def tell(self, client: Client, guesses: int) -> None:
        """Bring what is told of a player up to date; `guesses` are those of this round."""
        note = f"{guesses} guesses " if guesses > MANY else ""
        if client.left:
            note = "away "
        self.who.value = WHO.format(
            name=label(client),
            id=client.id,
            note=note,
            wins=client.wins,
        )
        self.button.tooltip = f"Remove {label(client)}"


# --------------------------------------------------------------------------------------------------
# The desk
# --------------------------------------------------------------------------------------------------

SETTLED = 0.6  # seconds: who presses sooner after the list has moved, has aimed at another row
REST = 1.2  # seconds between two moves of the list


class Desk(Part):
    """Show who plays on a server, and steer it."""

    def __init__(self, server: GameServer) -> None:
        super().__init__("desk")
        self.server = server
        self.rows: list[Row] = []
        self.moved = -REST  # when the list has last moved
        self.state = widgets.HTML()
        self.said = widgets.HTML().add_class("gg-said-here")
        self.list = widgets.GridBox().add_class("gg-list")
        self.show(self.state, self._make_rules(), self._make_actions(), self.list)
        self.add_class("gg-desk")
        self.run(self._keep_painting())

    def _make_rules(self) -> widgets.Box:
        self.new_round = self.button(
            "New round now", self._begin, icon="forward", button_style="primary"
        )
        self.pause = Choice(self, self.server, "pause", say_pause, PAUSES)
        self.pause.description = "Next round"
        self.cooldown = Choice(self, self.server, "cooldown", say_cooldown, COOLDOWNS)
        self.cooldown.description = "They guess"
        self.new_round.layout.width = "auto"
        rules = [self.new_round, self.pause, self.cooldown]
        return widgets.Box(rules, layout=LINE)

    def _make_actions(self) -> widgets.Box:
        self.save = self.button("Save what happened", self._save, icon="table")
        self.clear = self.button("Clear the scores", self._ask, icon="eraser")
        self.yes = self.button("Yes, clear them", self._clear, button_style="danger")
        self.no = self.button("No", self._keep)
        for button in (self.save, self.clear, self.yes, self.no):
            button.layout.width = "auto"
        self._show_question(False)
        actions = [self.save, self.clear, self.yes, self.no, self.said]
        return widgets.Box(actions, layout=LINE)

    # What the controls do

    async def _begin(self, _: Any) -> None:
        self.server.new_round()

    async def _save(self, _: Any) -> None:
        self.said.value = link_to_table(read_history(self.server))

    async def _ask(self, _: Any) -> None:
        self._show_question(True)

    async def _keep(self, _: Any) -> None:
        self._show_question(False)

    async def _clear(self, _: Any) -> None:
        self._show_question(False)
        self.server.clear_scores()

    def _show_question(self, is_asked: bool) -> None:
        self._say(SURE if is_asked else "")
        for button in (self.yes, self.no):
            button.layout.display = "inline-block" if is_asked else "none"

    def _say(self, words: str) -> None:
        self.said.value = SAID.format(words) if words else ""

    async def _remove(self, row: Row, _: Any) -> None:
        if self.loop.time() < self.moved + SETTLED:
            self._say(MOVED)
            return
        self._say(LEFT)
        for client in self.server.game.everybody():
            if client.id == row.client_id:
                self.server.remove(client.id)
                self._say(REMOVED.format(label(client)))

    # Who is here

    async def _keep_painting(self) -> None:
        while True:
            self.paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)

    def paint(self) -> None:
        """Bring what is shown up to date."""
        server = self.server
        self.state.value = STATE.format(
            here=len(server.clients),
            round=server.game.rounds_begun,
            state=describe_round(server),
        )
        self.pause.follow()
        self.cooldown.follow()
        players = {client.id: client for client in server.game.everybody()}
        now = self.loop.time()
        if players.keys() != self._seated() and now > self.moved + REST:
            self.moved = now
            self._move(set(players))
        guesses = self._count_guesses()
        for row in self.rows:
            if row.client_id in players:
                row.tell(players[row.client_id], guesses[row.client_id])

    def _count_guesses(self) -> Counter[int]:
        """Count each player's guesses in this round."""
        guesses: Counter[int] = Counter()
        for number, _, player, *_ in reversed(self.server.history):
            if number < self.server.game.rounds_begun:
                break
            guesses[player] += 1
        return guesses

    def _seated(self) -> set[int]:
        return {row.client_id for row in self.rows} - {0}

    def _move(self, players: set[int]) -> None:
        """Free the rows of those who have gone, and give one to each newcomer."""
        newcomers = players - self._seated()
        for row in self.rows:
            if row.client_id not in players:
                row.seat(newcomers.pop() if newcomers else 0)
        for client_id in newcomers:
            row = self._make_row()
            row.seat(client_id)
        if len(self.list.children) < len(self.rows):
            self.list.children = self.rows

    def _make_row(self) -> Row:
        button = self.button("Remove", lambda event: self._remove(row, event))
        button.layout.width = "96px"
        row = Row(button)
        self.rows.append(row)
        return row
