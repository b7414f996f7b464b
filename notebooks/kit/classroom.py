"""Lesson 10: a class on one server. Where it plays, what it has guessed, and classmates to rehearse with."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter
from typing import Any, Iterable, NamedTuple

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import (
    LESS,
    MORE,
    YOU_WON,
    Bot,
    Choose,
    Client,
    Game,
    GameServer,
    Message,
    Object,
    Player,
    ServerGone,
    bisection,
    lucky,
)

from . import (
    LINE,
    LINK,
    NO_PROXY,
    Live,
    Part,
    bars,
    find_hub,
    find_page,
    has_proxy,
    join_card,
    lesson,
    picture,
    start_lesson,
)

# --------------------------------------------------------------------------------------------------
# What a server remembers of a class, and what follows from it
# --------------------------------------------------------------------------------------------------


class Guess(NamedTuple):
    """An entry of a server's history."""

    round: int
    seconds: float  # since the round began
    player: int
    name: str
    number: int
    reply: str

    @property
    def who(self) -> str:
        """Return what the others call the player: the name, or "#3"."""
        return self.name or f"#{self.player}"


def read_history(server: GameServer) -> Iterable[Guess]:
    """Return all that a server remembers, the oldest guess first."""
    return map(Guess._make, list(server.history))


def narrow(low: int, high: int, guess: Guess) -> tuple[int, int]:
    """Return what is still possible after a guess of which everybody hears the reply."""
    if guess.reply == LESS.russian:
        low = max(low, guess.number + 1)
    elif guess.reply == MORE.russian:
        high = min(high, guess.number - 1)
    elif guess.reply == YOU_WON.russian:
        low = high = guess.number
    return low, high


def at_most(numbers: int) -> int:
    """Return how many guesses halving needs at most to find one of so many numbers."""
    return numbers.bit_length()  # log2(numbers + 1), rounded up


def on_average(numbers: int) -> float:
    """Return how many it needs on average: 1 number takes one guess, 2 take two, 4 take three."""
    total = 0
    left = numbers
    for depth in range(1, at_most(numbers) + 1):
        found = min(left, 2 ** (depth - 1))
        total += depth * found
        left -= found
    return total / numbers


def guesses_per_win(history: Iterable[Guess]) -> dict[str, float]:
    """Return how many guesses each winner needed in the rounds they won, on average."""
    tries: Counter[tuple[int, int]] = Counter()
    wins: Counter[int] = Counter()
    needed: Counter[int] = Counter()
    names = {}
    for guess in history:
        key = guess.round, guess.player
        tries[key] += 1
        names[guess.player] = guess.who
        if guess.reply == YOU_WON.russian:
            wins[guess.player] += 1
            needed[guess.player] += tries[key]
    averages = {}
    for player in wins:
        averages[names[player]] = needed[player] / wins[player]
    return averages


def paint_winners(server: GameServer) -> Markup:
    """Paint a bar for each winner, below one for halving."""
    game = server.game
    halving = on_average(game.high - game.low + 1)
    winners = guesses_per_win(read_history(server))
    ranking = sorted(winners.items(), key=lambda item: item[1])
    return bars({"halving": halving, **dict(ranking)}, "per win", full=10)


# --------------------------------------------------------------------------------------------------
# What if the hints went to everybody?
# --------------------------------------------------------------------------------------------------


class SharedHints(Game):
    """Tell everybody each hint, while `shares` is true."""

    shares = False

    def judge(self, client: Client, request: Object) -> None:
        """Reply to a guess, then tell everybody what the reply was."""
        super().judge(client, request)
        if self.shares and not self.round.over:
            *_, number, reply = self.history[-1]
            news = {**client.score(), "guess": number, "hint": reply}
            del news["wins"]
            self.broadcast(news)


class Classmate(Bot):
    """A bot that is like a person: it needs a moment before each guess, and hears the hints of others, too."""

    def hear(self, message: Message) -> None:
        """Learn from a message, whoever it was meant for."""
        super().hear(message)
        if isinstance(message, dict) and "hint" in message:
            guess = Guess(0, 0.0, 0, "", message["guess"], message["hint"])
            self.low, self.high = narrow(self.low, self.high, guess)

    async def play(self, rounds: int | None = None) -> None:
        """Play until the server leaves."""
        with contextlib.suppress(ServerGone):
            while rounds is None or self.rounds < rounds:
                await self.wait_until(lambda: not self.round_over)
                await asyncio.sleep(self.delay * random.uniform(0.5, 1.5))
                number = self.strategy(self.low, self.high)
                reply = await self.guess(number)
                if isinstance(reply, dict):
                    await self.heed(reply["error"])


# --------------------------------------------------------------------------------------------------
# Where the class plays
# --------------------------------------------------------------------------------------------------

PORT = 8765


async def start_class(
    host: str = "127.0.0.1", port: int = PORT, **options: Any
) -> GameServer:
    """Start the server of a class on its usual port, so that everybody finds it again after a restart.

    If that is taken, it starts on a free one. The options are those of `start_lesson`.
    """
    try:
        return await start_lesson(host=host, port=port, **options)
    except OSError:
        return await start_lesson(host=host, **options)


async def find_class(page: str = "") -> str:
    """Return the address for programs that belongs to an address for browsers; without one, that of this lesson.

    Raises ServerGone if nobody answers there. It starts nothing.
    """
    page = page.strip().partition("#")[0]
    if not page:
        if not lesson.servers:
            raise ServerGone("Write the address that the projector shows as `page`.")
        return lesson.servers[0].url
    address = page.replace("http", "ws", 1)
    through_proxy = re.search(r"/proxy/(\d+)/", page)
    if find_hub() and through_proxy:
        # The proxy asks who one is. On the hub's own machine, a program needs no proxy.
        address = f"ws://127.0.0.1:{through_proxy[1]}/"
    async with Player(address):
        return address


ADVICE = Markup("<p>{}</p>")
PROJECTOR = Markup(
    'For the projector: <a href="{0}#watch" target="_blank">{0}#watch</a>'
)
ON_A_HUB = Markup(
    'You play <a href="{0}" target="_blank">at this link</a>. The address above is for '
    "everybody who has an account, if all notebooks of the hub run on one machine."
)
IF_NOT = Markup("If that doesn't open: {}")
ONLY_YOURS = (
    "The address in large letters there lets only you in: let the class see this card."
)
NO_ADDRESS = Markup('<div class="gg-join"><b>{}</b></div>')
NO_OTHER_MACHINE = (
    'No other machine can reach it. For a class, start the server with host="0.0.0.0".'
)
LOOK_IT_UP = (
    "This computer's address is unknown here: you find it in its network settings, "
    "and four numbers like 192.168.1.20 stand in for the question marks."
)
DOTS = "In place of the dots, write the beginning of your hub's address."


def find_class_page(server: GameServer) -> str:
    """Return the address that a whole class can use, or "" if this notebook doesn't know it.

    On a hub, it leads each user through the proxy of their own, to the one machine that they all share.
    Its beginning is "…" unless the hub says what it is called.
    """
    if not find_hub():
        return server.pages[0] if server.pages else ""
    if not has_proxy():
        return ""
    hub = os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL")
    if not hub:
        base = os.environ.get("JUPYTERHUB_BASE_URL", "/")
        hub = f"…{base}hub/"
    return f"{hub}user-redirect/proxy/{server.port}/"


def make_card(server: GameServer) -> widgets.VBox:
    """Show the address of a class in large letters, as far as it is known."""
    page = find_class_page(server)
    if page.startswith("http"):
        return join_card(page)
    if find_hub():
        return picture(NO_ADDRESS.format(page))
    return picture(NO_ADDRESS.format(f"http://?????:{server.port}/"))


def advise(server: GameServer) -> list[str]:
    """Say what else one has to know about the address of a class."""
    told = advise_on_a_hub(server) if find_hub() else advise_at_home(server)
    if server.port != PORT:
        told.append(
            f"Another program has port {PORT}, so after a restart look here again."
        )
    return told


def advise_on_a_hub(server: GameServer) -> list[str]:
    """Say how to get through the hub."""
    if not has_proxy():
        return [NO_PROXY]
    page = find_page(server)
    told: list[str] = [ON_A_HUB.format(page)]
    if find_class_page(server).startswith("…"):
        told.append(DOTS)
    told += [PROJECTOR.format(page), ONLY_YOURS]
    return told


def advise_at_home(server: GameServer) -> list[str]:
    """Say who can reach a server, and what else to try."""
    first, *others = server.pages or [""]
    told: list[str] = []
    if "127.0.0.1" in first:
        told.append(NO_OTHER_MACHINE)
    if first:
        told.append(PROJECTOR.format(first))
    else:
        told.append(LOOK_IT_UP)
    if others:
        told.append(IF_NOT.format(Markup(" or ").join(map(LINK.format, others))))
    return told


class JoinCard(Part):
    """Show where the class plays, for the last row; a press adds the QR code, if its library is missing."""

    package = "segno"

    def __init__(self, server: GameServer) -> None:
        super().__init__("join card")
        self.add_class("gg-card")
        self.server = server
        self.install_button = self.button(
            "Add a QR code", self._install, icon="qrcode", layout={"width": "auto"}
        )
        self.paint()

    def paint(self) -> None:
        """Show the address, and what there is to say about it."""
        card = make_card(self.server)
        lines = map(ADVICE.format, advise(self.server))
        advice = widgets.HTML(Markup().join(lines))
        content = [card, advice]
        if importlib.util.find_spec(self.package) is None:
            content.append(self.install_button)
        self.show(*content)

    async def _install(self, _: Any) -> None:
        """Install the library that draws QR codes where this kernel finds it."""
        self.install_button.disabled = True
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1"]
        command.append(self.package)
        # In a thread: not every loop on Windows can wait for a program.
        run = functools.partial(subprocess.run, command, capture_output=True, text=True)
        pip = await self.loop.run_in_executor(None, run)
        self.install_button.disabled = False
        if pip.returncode:
            *_, reason = pip.stderr.strip().splitlines() or ["pip said nothing"]
            raise OSError(f"it could not be installed: {reason}")
        importlib.invalidate_caches()
        self.paint()


# --------------------------------------------------------------------------------------------------
# Classmates
# --------------------------------------------------------------------------------------------------


def like_a_person(low: int, high: int) -> int:
    """Guess somewhere around the middle, and rather a round number."""
    number = round(random.triangular(low, high))
    round_number = round(number, -1)
    return round_number if low <= round_number <= high else number


KINDS = (like_a_person, lucky, like_a_person, bisection)
DELAY = 3.0  # seconds between two guesses
NOBODY = Markup("<p>No bot of yours plays.</p>")
TEAM = Markup("<p>Your bots: {}</p>")
CROWD = Markup("<p>{} of your bots play.</p>")
MEMBER = Markup("<b>{}</b> ★&nbsp;{}")


class Team(Live):
    """Send bots to a class: `team = Team(address)`, then `await team.send(my_bot, "My bot")`."""

    def __init__(self, address: str, name: str = "team") -> None:
        self.address = address
        self.bots: dict[str, Bot] = {}
        self.playing: dict[str, asyncio.Task[None]] = {}
        super().__init__(self._paint, name)

    async def send(self, strategy: Choose, name: str, kind: type[Bot] = Bot) -> None:
        """Send a bot; one that was sent by this name before leaves first."""
        await self.call_back([name])
        self.bots[name] = kind(self.address, strategy, name, delay=DELAY)
        self.playing[name] = self.run(self._play(name))

    async def call_back(self, names: Iterable[str]) -> None:
        """Let some bots leave."""
        leaving = [self.playing.pop(name) for name in names if name in self.playing]
        for task in leaving:
            task.cancel()
        if leaving:
            await asyncio.wait(leaving)

    async def _play(self, name: str) -> None:
        try:
            async with self.bots[name] as bot:
                await bot.play()
        finally:
            del self.bots[name]

    def _paint(self) -> Markup:
        here = [bot for bot in self.bots.values() if bot.gone is None]
        if not here:
            return NOBODY
        if len(here) > 8:
            return CROWD.format(len(here))
        members = [
            MEMBER.format(bot.name or f"#{bot.client_id}", bot.wins) for bot in here
        ]
        return TEAM.format(Markup(", ").join(members))


class Classmates(Team):
    """Rehearse with bots that need as long as people."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "classmates")
        self.kinds = itertools.cycle(KINDS)
        self.invite = self.button("Invite ten classmates", self._invite, icon="plus")
        self.dismiss = self.button("Send them home", self._dismiss, icon="sign-out")
        buttons = [self.invite, self.dismiss]
        for button in buttons:
            button.layout.width = "auto"
        self.show(widgets.Box(buttons, layout=LINE), self.picture)

    async def _invite(self, _: Any) -> None:
        for _number in range(10):
            name = f"Bot {len(self.playing) + 1}"
            await self.send(next(self.kinds), name, Classmate)

    async def _dismiss(self, _: Any) -> None:
        await self.call_back([*self.playing])
