"""What all lessons use: one server a lesson, parts that are widgets, pictures, panels.

Importing this package also lets a notebook import `guessgame`, which lies one folder up. What a single
lesson shows has a module of its own: `from kit.board import Board`.

Three rules keep widgets and a live server together in one kernel:

1.  A click may arrive in another thread than the server's. So a callback only hands a coroutine over to the
    server's event loop (`Part.callback`), and returns at once.
2.  Nobody sees what a callback or a task prints or raises. So errors are shown below the controls.
3.  The kernel can send only so many messages a second. So pictures are painted by a task, a few times a
    second, however fast the bots are; each widget's value is set once a painting.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, Callable, Coroutine, Iterable, Protocol, Sequence, TypeVar
from urllib.parse import quote

import ipywidgets as widgets
from IPython.display import IFrame
from markupsafe import Markup

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from guessgame import GameServer, Message, Player, ServerGone, encode, explain

PAINTS_PER_SECOND = 8
STYLE = f"<style>{(HERE / 'style.css').read_text(encoding='utf-8')}</style>"
LINE = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 12px"}
SIDE_BY_SIDE = {**LINE, "align_items": "flex-start"}  # whatever grows pushes nothing up
COLOURS = (
    "#2f6fde",
    "#c2570c",
    "#1f8a46",
    "#8b4fd9",
    "#c8327c",
    "#0f7f8c",
    "#96700a",
    "#b3302b",
    "#5566b8",
    "#5f7a1f",
)

Action = Callable[..., Coroutine[Any, Any, Any]]
Control = TypeVar("Control", bound=widgets.Widget)

# --------------------------------------------------------------------------------------------------
# A lesson: its parts, its servers, its players, and its end
# --------------------------------------------------------------------------------------------------


class Lesson:
    """All that a notebook has started and has to end again."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.servers: list[GameServer] = []
        self.players: dict[str, Player] = {}
        self.lines: list[asyncio.StreamWriter] = []

    async def start(
        self, make: Callable[..., GameServer] = GameServer, **options: Any
    ) -> GameServer:
        """End what an earlier run of the cells has started, then start a server; by default on a free port.

        The options are those of GameServer, and `secret`, the number that it always draws; `make` is another
        kind of server.
        """
        await self.end()
        secret = options.pop("secret", None)
        if secret is not None:
            options["draw"] = lambda low, high: secret
        return await self.start_another(make, **options)

    async def start_another(
        self, make: Callable[..., GameServer] = GameServer, **options: Any
    ) -> GameServer:
        """Start a server beside that of the lesson; the one of an earlier run of the cell stops first."""
        while len(self.servers) > 1:
            await self.servers.pop().stop()
        server = make(**{"port": 0, **options})
        await server.start()
        self.servers.append(server)
        return server

    async def join(
        self, url: str, who: str, name: str | None = None, **options: Any
    ) -> Player:
        """Let a player join; the one that an earlier run of the cell let in as `who` leaves first."""
        if who in self.players:
            await self.players.pop(who).leave()
        player = Player(url, name, **options)
        self.players[who] = player
        await player.join()
        return player

    async def open_line(
        self, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a plain connection to a server on this machine; one of an earlier run is closed first."""
        while self.lines:
            self.lines.pop().close()
            await asyncio.sleep(0.1)  # the server notices
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.lines.append(writer)
        return reader, writer

    async def end(self) -> None:
        """End all that the lesson has started: its tasks, its players, its servers."""
        for part in self.parts:
            await part.end()
        self.parts.clear()
        while self.players:
            _, player = self.players.popitem()
            await player.leave()
        while self.lines:
            self.lines.pop().close()
        while self.servers:
            await self.servers.pop().stop()

    def replace(self, part: Part) -> None:
        """Take a part in; it ends an earlier one of its name."""
        for other in self.parts:
            if part.name and other.name == part.name:
                other.cancel()
        self.parts.append(part)


lesson = Lesson()
start_lesson = lesson.start
start_another = lesson.start_another
join = lesson.join
open_line = lesson.open_line
end_lesson = lesson.end

# --------------------------------------------------------------------------------------------------
# Parts: from clicks to coroutines
# --------------------------------------------------------------------------------------------------


class Part(widgets.VBox):
    """One part of a lesson: a widget that knows its controls, and the tasks that they start.

    Create it in a cell. A part with a name ends an earlier one of that name: so a cell can be run again.
    `note` is a widget that shows the error of the last task that failed.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.controls: list[widgets.Widget] = []
        self.note = widgets.HTML()
        self.add_class("gg")
        self.show()
        lesson.replace(self)

    def show(self, *content: widgets.Widget) -> None:
        """Decide what is seen of this part."""
        self.children = [widgets.HTML(STYLE), *content, self.note]

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task, beside everything else; show its error if it fails."""
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)  # the event loop itself holds only a weak reference
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.note.value = Markup('<div class="gg-trouble">{}</div>').format(
                describe(error)
            )

    def callback(self, action: Action) -> Callable[[Any], None]:
        """Make a callback that runs the action as a task, from whatever thread it is called."""

        def begin(event: Any) -> None:
            self.note.value = ""
            self.run(action(event))

        def call(event: Any) -> None:
            self.loop.call_soon_threadsafe(begin, event)

        return call

    def button(self, label: str, action: Action, **options: Any) -> widgets.Button:
        """Make a button that runs the action."""
        options.setdefault("tooltip", label)
        button = widgets.Button(description=label, **options)
        button.on_click(self.callback(action))
        self.controls.append(button)
        return button

    def watched(self, control: Control, action: Action | None = None) -> Control:
        """Take a slider, a box or a list as a control; run the action when its value changes."""
        if action is not None:
            control.observe(self.callback(action), "value")
        self.controls.append(control)
        return control

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Cancel everything else that still runs, and return it."""
        others = self.tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        return others

    async def stop(self) -> None:
        """Cancel everything else that still runs, and wait until it has ended."""
        others = self.cancel()
        if others:
            await asyncio.wait(others)

    async def end(self) -> None:
        """Stop, switch off the controls, and say so."""
        await self.stop()
        for control in self.controls:
            control.disabled = True
        self.add_class("gg-ended")
        if self.controls:
            self.note.value = (
                "<p>This lesson has ended. To go on, run the cells from the top.</p>"
            )

    async def lead_to(self, main: Part) -> None:
        """Let the browser scroll to another part's first control, when this part is shown.

        ipywidgets documents how to focus a widget, but not how to learn that it is shown: `_view_count`, which it
        counts if it is a number, calls itself experimental. Without it, the learner would just have to scroll up.
        Only the last cell does this: a browser that tells the kernel something while a cell waits may leave that
        cell marked as running for good.
        """
        while getattr(self.note, "_view_count", None) == 0:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        main.controls[0].focus()


def describe(error: BaseException) -> str:
    """Write an error as a person should read it."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, ServerGone):
        return f"{error} Run the cells again, from the top."
    return told


def end_of_lesson(main: Part | None = None) -> Part:
    """Show the button that ends the lesson.

    After Run All Cells a learner sees the end of the notebook; the `main` part is brought into view.
    """
    part = Part("the end")
    button = part.button(
        "End this lesson", lambda _: lesson.end(), icon="stop", layout={"width": "auto"}
    )
    part.show(widgets.Box([button], layout=LINE))
    if main is not None and part.loop.time() - main.began < 10:
        part.note._view_count = 0  # from now on, the browser counts
        part.run(part.lead_to(main))
    return part


# --------------------------------------------------------------------------------------------------
# Pictures: from values to HTML. Markup escapes what comes from the wire
# --------------------------------------------------------------------------------------------------


def meaning(message: Message) -> str:
    """Say in English what a message of a server means."""
    if isinstance(message, dict) and "countdown" in message:
        return f"The new game begins in {message['countdown']} s."
    if isinstance(message, dict) and "scores" in message:
        return "All the scores, the best first."
    if isinstance(message, dict) and "wins" in message:
        who = message.get("name") or f"#{message.get('client_id')}"
        return f"The score of {who}: {message['wins']}."
    return explain(message)


def paint_message(message: Message) -> Markup:
    """Paint one message as it travelled, with its meaning beside it."""
    return Markup("<p>{} <small>{}</small></p>").format(
        encode(message), meaning(message)
    )


def colour(number: int) -> str:
    """Return the colour of a row."""
    return COLOURS[number % len(COLOURS)]


def label(client: Any) -> str:
    """Return what the others call a client of a server: the name, or "#3"."""
    return client.name or f"#{client.id}"


BAR = Markup(
    '<div class="gg-bar" style="--c:{colour}"><span>{label}</span>'
    '<div><i style="width:{percent:.1f}%"></i></div><b>{value:,.3g} {unit}</b></div>'
)


def bars(values: dict[str, float], unit: str = "", full: float = 0) -> Markup:
    """Paint numbers as bars; the longest, or one of the value `full`, takes all the room."""
    longest = max([*values.values(), full, 1e-9])
    rows = [
        BAR.format(
            colour=colour(number),
            label=name,
            percent=100 * value / longest,
            value=value,
            unit=unit,
        )
        for number, (name, value) in enumerate(values.items())
    ]
    return Markup('<div class="gg-bars">{}</div>').format(Markup().join(rows))


def picture(markup: str) -> widgets.VBox:
    """Show painted HTML as the result of a cell."""
    return widgets.VBox([widgets.HTML(STYLE), widgets.HTML(markup)]).add_class("gg")


# --------------------------------------------------------------------------------------------------
# Addresses: where a browser finds a server, also when Jupyter runs on another machine
# --------------------------------------------------------------------------------------------------

PROXY = "jupyter_server_proxy"
LINK = Markup('<a href="{0}" target="_blank">{0}</a>')
CARD = Markup('<div class="gg-join"><b>{}</b><div>{}</div></div>')
CARD_LINK = Markup('<a href="{0}" target="_blank" style="color: inherit">{0}</a>')
NO_PROXY = (
    "This notebook runs on a hub, and your browser can't reach the server there yet. "
    "Run %pip install jupyter-server-proxy in a cell. "
    "Then open the Hub Control Panel, stop your own server and start it again."
)


class Reachable(Protocol):
    """A server, whoever wrote it."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    @property
    def pages(self) -> list[str]:
        """The addresses at which browsers in its network find it."""


def find_hub() -> str:
    """Return the address of this notebook's own place on a hub; "" if there is no hub."""
    for name in ("JUPYTERHUB_PUBLIC_URL", "JUPYTERHUB_SERVICE_PREFIX"):
        place = os.environ.get(name)
        if place:
            return place.rstrip("/")
    return ""


def has_proxy() -> bool:
    """Whether jupyter-server-proxy, which lets browsers through to a port, is installed."""
    return importlib.util.find_spec(PROXY) is not None


def find_page(server: Reachable) -> str:
    """Return the address at which the browser that shows this notebook finds a server's page.

    On a hub it leads through jupyter-server-proxy. If that is missing there, no address works: "".
    """
    hub = find_hub()
    if hub:
        return f"{hub}/proxy/{server.port}/" if has_proxy() else ""
    if server.pages:
        return server.pages[0]
    return f"http://127.0.0.1:{server.port}/"


def page_links(server: Reachable) -> widgets.VBox:
    """Show the addresses of a server's page as links to click on, or say why there are none."""
    return picture(Markup("<p>{}</p>").format(paint_links(server)))


def paint_links(server: Reachable) -> Markup:
    """Paint the addresses of a server's page, or say why there are none."""
    page = find_page(server)
    if not page:
        return Markup.escape(NO_PROXY)
    pages = [page]
    if not find_hub():
        pages += server.pages[1:]
    return Markup(" ").join(map(LINK.format, pages))


def page_frame(server: Reachable, width: Any = 400, height: int = 560) -> IFrame:
    """Show a server's page in a frame, or say there why it can't be shown."""
    page = find_page(server)
    if not page:
        page = f"data:text/plain;charset=utf-8,{quote(NO_PROXY)}"
    make: Any = IFrame
    frame: IFrame = make(page, width, height)
    return frame


def join_card(page: str) -> widgets.VBox:
    """Show the address of the game for the last row of a hall; with a QR code, if segno is installed."""
    code = ""
    with contextlib.suppress(ImportError):
        segno = importlib.import_module("segno")
        code = segno.make(page, error="m").svg_inline(
            border=4, light="#fff", omitsize=True
        )
    return picture(CARD.format(CARD_LINK.format(page), Markup(code)))


# --------------------------------------------------------------------------------------------------
# Parts that all lessons use
# --------------------------------------------------------------------------------------------------


class Live(Part):
    """Show the HTML that a function returns, and keep it up to date.

    Live(lambda: f"{len(server.clients)} players are here")
    """

    def __init__(self, paint: Callable[[], str], name: str = "") -> None:
        super().__init__(name)
        self.picture = widgets.HTML()
        self.show(self.picture)
        self.run(self._keep_painting(paint))

    async def _keep_painting(self, paint: Callable[[], str]) -> None:
        while True:
            self.picture.value = paint()
            await asyncio.sleep(1 / PAINTS_PER_SECOND)


class Panel(Part):
    """Show a button for each coroutine function; pressing it runs it, and its result is shown.

        Panel({"Guess 50": lambda: player.guess(50)})

    What the functions depend on, sliders perhaps, can be given as `controls`, and stands before the buttons. With
    `lines=0` nothing is shown below but errors.
    """

    def __init__(
        self,
        buttons: dict[str, Action],
        controls: Sequence[widgets.Widget] = (),
        lines: int = 4,
    ) -> None:
        super().__init__()
        self.results: collections.deque[Markup] = collections.deque(maxlen=lines)
        self.picture = widgets.HTML()
        self._paint("<small>Press a button: the result appears here.</small>")
        self.buttons = {
            title: self._make_button(title, action) for title, action in buttons.items()
        }
        watched = [self.watched(control) for control in controls]
        rows = [widgets.Box([*watched, *self.buttons.values()], layout=LINE)]
        if lines:
            rows.append(self.picture)
        self.show(*rows)

    def _make_button(self, title: str, action: Action) -> widgets.Button:
        run = functools.partial(self._run, title, action)
        return self.button(title, run, layout={"width": "auto"})

    async def _run(self, title: str, action: Action, _: Any) -> None:
        begun = [self._paint_result(title, "…"), *self.results]
        self._paint(Markup().join(begun[: self.results.maxlen]))
        try:
            result = await action()
        except Exception as error:
            if not self.results.maxlen:
                raise
            result = describe(error)
        self.results.appendleft(self._paint_result(title, result))
        self._paint(Markup().join(self.results))

    def _paint_result(self, title: str, result: Any) -> Markup:
        shown = Markup("<p>{}</p>").format(str(result))
        if isinstance(result, (str, dict)) and meaning(result):
            shown = paint_message(result)
        short = textwrap.shorten(title, 40, placeholder="…")
        return Markup("<div><b>{}</b>{}</div>").format(short, shown)

    def _paint(self, markup: str) -> None:
        height = (self.results.maxlen or 0) * 66 + 12
        self.picture.value = (
            f'<div class="gg-results" style="height:{height}px">{markup}</div>'
        )


def each(action: Action, items: Iterable[Any]) -> dict[str, Action]:
    """Make a button of a Panel for each item, which runs the action with it."""
    buttons: dict[str, Action] = {}
    for item in items:
        name = getattr(item, "__name__", str(item)).replace("_", " ")
        buttons[name or "(nothing)"] = functools.partial(action, item)
    return buttons


def together(*parts: widgets.Widget) -> widgets.VBox:
    """Show several parts, one below the other, as the result of a cell."""
    return widgets.VBox(parts)


class PauseSlider(widgets.FloatSlider):
    """A slider for the seconds between two rounds of a server."""

    def __init__(self, part: Part, server: GameServer, **layout: Any) -> None:
        super().__init__(
            value=server.pause, min=0, max=10, step=0.5, readout_format=".1f", **layout
        )
        self.description = "Seconds between rounds"
        self.server = server
        part.watched(self, self._set)

    async def _set(self, _: Any) -> None:
        self.server.pause = self.value
