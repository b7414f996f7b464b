"""Lesson 7: slow work beside a game, and who has to wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Mapping

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import GameServer, Player

from . import LINE, NO_PROXY, SIDE_BY_SIDE, Action, Part, describe, find_page
from .life import Heartbeat

LEAD = 3  # seconds from a press to the work, so that a learner can type a guess
BEAT = 0.1  # seconds between two turns of the loop that are written down
GUESSES = 0.25  # seconds between two guesses of Ada
AT_ONCE = 0.5  # seconds: work that is over so soon has not been slow

FRAME = Markup('<iframe src="{}" width="100%" height="{}" title="The game"></iframe>')
HEIGHT = 520  # pixels; the buttons and the page fit one screen
SAID = Markup("<big><b>{}</b></big>")
RESULT = Markup("<p><b>{}</b>: {}</p>")
START = "Press a button. You then have a moment to type a guess on the page."


def tell_wait(seconds: float, turns: int) -> str:
    """Say what a piece of work meant for everybody else."""
    took = f"It took {seconds:.1f} s."
    if seconds < AT_ONCE:
        return (
            f"{took} That's not slow at all. Did it run? Perhaps an await is missing."
        )
    # A busy machine has fewer turns; a loop that stands still has one or two.
    if turns < seconds / BEAT / 4:
        return f"{took} The loop stood still, and everybody had to wait."
    return f"{took} Meanwhile the loop turned {turns} times: nobody had to wait."


class Freezer(Part):
    """Buttons for slow work, beside the page of a game; Ada plays all the time, so one sees whether she can.

    Freezer(server, ada, {"polite": polite})
    """

    def __init__(
        self, server: GameServer, ada: Player, works: Mapping[str, Action]
    ) -> None:
        super().__init__("freezer")
        self.ada = ada
        self.turns: list[float] = []
        self.replies: list[float] = []
        self.results: deque[Markup] = deque(maxlen=4)
        self.said = widgets.HTML(SAID.format(START))
        self.said.layout.min_height = "56px"  # two lines
        self.told = widgets.HTML()
        self.buttons = {label: self._make(label, work) for label, work in works.items()}
        tracks = {"the loop": self.turns, "Ada": self.replies}
        self.strip = Heartbeat(tracks)
        row = widgets.Box([*self.buttons.values()], layout=LINE)
        right = widgets.VBox([row, self.said, self.strip, self.told])
        right.layout.flex = "1 1 420px"
        page = widgets.HTML(self._paint_page(server))
        page.layout.flex = "0 0 380px"
        self.show(widgets.HBox([page, right], layout=SIDE_BY_SIDE))
        self.run(self._keep_turning())
        self.run(self._keep_guessing())

    def _paint_page(self, server: GameServer) -> Markup:
        page = find_page(server)
        if not page:
            return Markup("<p>{}</p>").format(NO_PROXY)
        return FRAME.format(page, HEIGHT)

    def _make(self, label: str, work: Action) -> widgets.Button:
        async def press(_: Any) -> None:
            self._switch(False)
            try:
                await self._do(label, work)
            finally:
                self._switch(True)

        return self.button(label, press, layout={"width": "auto"})

    def _switch(self, is_on: bool) -> None:
        for button in self.buttons.values():
            button.disabled = not is_on

    async def _do(self, label: str, work: Action) -> None:
        for left in range(LEAD, 0, -1):
            said = f"“{label}” begins in {left} s. Type a guess on the page."
            self.said.value = SAID.format(said)
            await asyncio.sleep(1)
        self.said.value = SAID.format("Now! Send your guess.")
        await asyncio.sleep(0.2)  # the browser shows it
        before = len(self.turns)
        began = time.perf_counter()
        try:
            await work()
            seconds = time.perf_counter() - began
            told = tell_wait(seconds, len(self.turns) - before)
        except Exception as error:
            told = describe(error)
        self.results.appendleft(RESULT.format(label, told))
        self.told.value = Markup().join(self.results)
        self.said.value = SAID.format(START)

    async def _keep_turning(self) -> None:
        while True:
            self.turns.append(time.perf_counter())
            await asyncio.sleep(BEAT)

    async def _keep_guessing(self) -> None:
        while True:
            await self.ada.guess(1)
            self.replies.append(time.perf_counter())
            await asyncio.sleep(GUESSES)
