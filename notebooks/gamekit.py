"""The kit of all the lessons: from clicks to coroutines, one server a lesson, live pictures, panels.

Importing this module also lets a notebook import `guessgame`, which lies one folder up.

Three rules keep widgets and a live server together in one kernel:

1.  A click may arrive in another thread than the server's. So a callback only hands a coroutine
    over to the server's event loop (`Part.callback`), and returns at once.
2.  Nobody sees what a callback or a task prints or raises. So errors are shown below the controls.
3.  The kernel can send only so many messages a second. So pictures are painted by a task, a few
    times a second, however fast the bots are; a widget sends what has changed, and nothing else.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import html
import importlib
import sys
import textwrap
from pathlib import Path
from typing import Any, Callable, ClassVar, Coroutine, Iterable, Sequence, TypeVar

import ipywidgets as widgets

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guessgame import GameServer, Message, Player, ServerGone, encode, explain

PAINTS_PER_SECOND = 8
LINE = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 12px"}
COLOURS = (
    *("#2f6fde", "#c2570c", "#1f8a46", "#8b4fd9", "#c8327c"),
    *("#0f7f8c", "#96700a", "#b3302b", "#5566b8", "#5f7a1f"),
)

Action = Callable[..., Coroutine[Any, Any, Any]]
Control = TypeVar("Control", bound=widgets.Widget)


def style_sheet(module: str) -> str:
    """Return the style sheet that lies beside a module: `style_sheet(__file__)`."""
    return f"<style>{Path(module).with_suffix('.css').read_text(encoding='utf-8')}</style>"


STYLE = style_sheet(__file__)

# --------------------------------------------------------------------------------------------------
# From clicks to coroutines
# --------------------------------------------------------------------------------------------------


class Part:
    """One part of a lesson: what it shows, its controls, and the tasks that they start.

    Create it in a cell. A part with a name ends an earlier one of that name: so a cell can be run
    again. `note` is a widget that shows the error of the last task that failed.
    """

    in_use: ClassVar[list[Part]] = []
    style = ""  # of this kind of part

    def __init__(self, name: str = "") -> None:
        self.name, self.loop = name, asyncio.get_running_loop()
        self.began = self.loop.time()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.controls: list[widgets.Widget] = []
        self.note = widgets.HTML()
        self.show()
        for other in self.in_use:
            if name and other.name == name:
                other.cancel()
        self.in_use.append(self)

    def show(self, *content: widgets.Widget) -> None:
        """Decide what is shown when this part is the last line of a cell."""
        self.view = widgets.VBox([widgets.HTML(STYLE + self.style), *content, self.note]).add_class("gg")

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task, beside everything else; show its error if it fails."""
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)  # the event loop itself holds only a weak reference
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.note.value = f'<div class="gg-trouble">{html.escape(describe(error))}</div>'

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
        button = widgets.Button(description=label, tooltip=options.pop("tooltip", label), **options)
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

    async def come_into_view(self) -> None:
        """Let the browser scroll to the first control, once it shows it and the notebook has come to rest."""
        while self.controls[0]._view_count == 0:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        self.controls[0].focus()

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
        self.view.add_class("gg-ended")
        if self.controls:
            self.note.value = "<p>This lesson has ended. To go on, run the cells from the top.</p>"


def describe(error: BaseException) -> str:
    """Write an error as a person should read it."""
    told = f"{type(error).__name__}: {error}"
    return f"{told.rstrip('.')}. Run the cells again, from the top." if isinstance(error, ServerGone) else told


# --------------------------------------------------------------------------------------------------
# A lesson: one server, its players, and an end
# --------------------------------------------------------------------------------------------------

servers: list[GameServer] = []
players: dict[str, Player] = {}
lines: list[asyncio.StreamWriter] = []


async def start_lesson(make: Callable[..., GameServer] = GameServer, **options: Any) -> GameServer:
    """End what an earlier run of the cells has started, then start a server on a free port.

    The options are those of GameServer; besides, `secret` is the number that it always draws, and
    `make` another kind of server.
    """
    await end_lesson()
    if "secret" in options:
        secret = options.pop("secret")
        options["draw"] = lambda low, high: secret
    return await start_another(make, **options)


async def start_another(make: Callable[..., GameServer] = GameServer, **options: Any) -> GameServer:
    """Start a server beside that of the lesson; the one of an earlier run of the cell stops first."""
    while len(servers) > 1:
        await servers.pop().stop()
    server = make(port=0, **options)
    servers.append(server)
    await server.start()
    return server


async def join(url: str, name: str, *, named: bool = True, **options: Any) -> Player:
    """Let a player join; the one that an earlier run of the cell let in leaves first.

    With `named=False` the name only tells the players of the notebook apart.
    """
    if name in players:
        await players.pop(name).leave()
    player = players[name] = Player(url, name if named else None, **options)
    await player.join()
    return player


async def open_line(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a plain connection to a server on this machine; one of an earlier run is closed first."""
    while lines:
        lines.pop().close()
        await asyncio.sleep(0.1)  # the server notices
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines.append(writer)
    return reader, writer


async def end_lesson() -> None:
    """End all that the lesson has started: its tasks, its players, its server."""
    for part in Part.in_use:
        await part.end()
    Part.in_use.clear()
    while players:
        await players.popitem()[1].leave()
    while lines:
        lines.pop().close()
    while servers:
        await servers.pop().stop()


def end_of_lesson(main: Part | None = None) -> Part:
    """Show the button that ends the lesson.

    After Run All Cells a learner sees the end of the notebook; the `main` part is brought into view.
    """
    part = Part("the end")
    button = part.button("End this lesson", lambda _: end_lesson(), icon="stop", layout={"width": "auto"})
    part.show(widgets.Box([button], layout=LINE))
    if main is not None and part.loop.time() - main.began < 10:
        part.run(main.come_into_view())
    return part


# --------------------------------------------------------------------------------------------------
# Pictures: from values to HTML. Everything from the wire is escaped
# --------------------------------------------------------------------------------------------------


def paint_message(message: Message) -> str:
    """Paint one message as it travelled, with its meaning beside it."""
    words, meaning = html.escape(encode(message)), html.escape(explain(message))
    return f"<p>{words} <small>{meaning}</small></p>"


def colour(number: int) -> str:
    """Return the colour of a row."""
    return COLOURS[number % len(COLOURS)]


def bars(values: dict[str, float], unit: str = "", full: float = 0) -> str:
    """Paint numbers as bars; the longest, or one of the value `full`, takes all the room."""
    longest = max([*values.values(), full, 1e-9])
    rows = "".join(
        f'<div class="gg-bar" style="--c:{colour(number)}">'
        f"<span>{html.escape(label)}</span>"
        f'<div><i style="width:{100 * value / longest:.1f}%"></i></div>'
        f"<b>{value:,.3g} {html.escape(unit)}</b></div>"
        for number, (label, value) in enumerate(values.items())
    )
    return f'<div class="gg-bars">{rows}</div>'


def poster(title: str, values: dict[str, float], unit: str = "") -> str:
    """Paint a headline and the best twelve in letters that can be read across a hall."""
    best = dict(sorted(values.items(), key=lambda item: -item[1])[:12])
    below = bars(best, unit) if best else "<p>Nobody has won yet.</p>"
    return f'<div class="gg-hall"><h1>{html.escape(title)}</h1>{below}</div>'


def picture(markup: str) -> widgets.VBox:
    """Show painted HTML as the result of a cell."""
    return widgets.VBox([widgets.HTML(STYLE), widgets.HTML(markup)]).add_class("gg")


def join_card(page: str) -> widgets.VBox:
    """Show the address of the game for the last row of a hall; with a QR code, if segno is installed."""
    code = ""
    with contextlib.suppress(ImportError):
        segno = importlib.import_module("segno")
        code = segno.make(page, error="m").svg_inline(border=4, light="#fff", omitsize=True)
    return picture(f'<div class="gg-join"><b>{html.escape(page)}</b><div>{code}</div></div>')


# --------------------------------------------------------------------------------------------------
# Parts that all lessons use
# --------------------------------------------------------------------------------------------------


class Live(Part):
    """Show the HTML that a function returns, and keep it up to date.

    Live(lambda: f"{len(server.clients)} players are here")
    """

    def __init__(self, paint: Callable[[], str]) -> None:
        super().__init__()
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

    What the functions depend on, sliders perhaps, can be given as `controls`, and stands above the
    buttons. With `lines=0` nothing is shown below but errors.
    """

    def __init__(self, buttons: dict[str, Action], controls: Sequence[widgets.Widget] = (), lines: int = 4) -> None:
        super().__init__()
        self.results: collections.deque[str] = collections.deque(maxlen=lines)
        self.picture = widgets.HTML()
        self._paint("<small>Press a button: the result appears here.</small>")
        self.buttons = {
            label: self.button(label, self._action(label, action), layout={"width": "auto"})
            for label, action in buttons.items()
        }
        rows = [[self.watched(control) for control in controls], list(self.buttons.values())]
        boxes = [widgets.Box(row, layout=LINE) for row in rows if row]
        self.show(*boxes, *[self.picture] * (lines > 0))

    def _action(self, label: str, action: Action) -> Action:
        async def run(_: Any) -> None:
            try:
                result = await action()
            except Exception as error:
                if not self.results.maxlen:
                    raise
                result = describe(error)
            is_message = isinstance(result, dict) or (isinstance(result, str) and explain(result))
            shown = paint_message(result) if is_message else f"<p>{html.escape(str(result))}</p>"
            title = html.escape(textwrap.shorten(label, 40, placeholder="…"))
            self.results.appendleft(f"<div><b>{title}</b>{shown}</div>")
            self._paint("".join(self.results))

        return run

    def _paint(self, markup: str) -> None:
        height = (self.results.maxlen or 0) * 66 + 20
        self.picture.value = f'<div class="gg-results" style="height:{height}px">{markup}</div>'


def each(action: Action, items: Iterable[Any]) -> dict[str, Action]:
    """Make a button of a Panel for each item, which runs the action with it."""
    labels = {item: getattr(item, "__name__", str(item)).replace("_", " ") for item in items}
    return {labels[item] or "(nothing)": functools.partial(action, item) for item in labels}


def together(*parts: Part) -> widgets.VBox:
    """Show several parts, one below the other, as the result of a cell."""
    return widgets.VBox([part.view for part in parts])


def pause_slider(server: GameServer, **layout: Any) -> widgets.FloatSlider:
    """Make a slider for the seconds between two rounds."""
    slider = widgets.FloatSlider(value=server.pause, min=0, max=10, step=0.5, **layout)
    slider.description, slider.readout_format = "Seconds between rounds", ".1f"
    slider.observe(lambda change: setattr(server, "pause", change["new"]), "value")
    return slider
