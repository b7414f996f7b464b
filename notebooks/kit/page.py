"""What lesson 9 shows: the page beside what the server hears, lines of its script, and a page from elsewhere."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any, Callable, Mapping

import ipywidgets as widgets
from IPython.display import HTML
from markupsafe import Markup
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from guessgame import CONNECT_OPTIONS, PAGE, GameServer

from . import STYLE, page_frame, picture

# --------------------------------------------------------------------------------------------------
# The page, and lines of its script
# --------------------------------------------------------------------------------------------------

SCRIPT = Markup('<pre class="gg-script">{}</pre>')
LINE_OF_SCRIPT = Markup("<span>  {}</span>\n")
MARKED_LINE = Markup("<mark>▸ {}</mark>\n")
LEFT_OUT = "…"


def page_beside(server: GameServer, *parts: widgets.Widget) -> widgets.Box:
    """Show the page of a server, and to its right some parts of a lesson, one below the other."""
    column = widgets.VBox(parts)
    column.layout = {"flex": "1 1 420px", "min_width": "300px"}
    frame: Any = page_frame(server)
    page = widgets.HTML(frame._repr_html_())
    page.layout = {"flex": "0 1 400px", "margin": "0"}
    both = widgets.Box([page, column])
    both.layout = {"flex_flow": "row wrap", "grid_gap": "0 16px"}
    return both


def find_function(name: str) -> list[str]:
    """Return the lines of a function of the page's script."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^(async )?function {name}\(.*?^}}", text)
    if found is None:
        raise ValueError(f"the page's script has no function {name}")
    return found[0].splitlines()


def lines_of_page(function: str, *marks: str) -> widgets.VBox:
    """Show a function of the page's script: how it begins, and the lines that contain one of the marks.

    What lies between them is left out.
    """
    first, *lines = find_function(function)
    painted = [LINE_OF_SCRIPT.format(first)]
    is_left_out = False
    for line in lines[:-1]:
        is_marked = any(mark in line for mark in marks)
        if is_marked:
            painted.append(MARKED_LINE.format(line))
        elif not is_left_out:
            painted.append(LINE_OF_SCRIPT.format(f"  {LEFT_OUT}"))
        is_left_out = not is_marked
    painted.append(LINE_OF_SCRIPT.format(lines[-1]))
    return picture(SCRIPT.format(Markup().join(painted)))


# --------------------------------------------------------------------------------------------------
# Who may connect
# --------------------------------------------------------------------------------------------------

numbers = itertools.count(1)

# In this page's own script no word comes from the wire into its HTML, either.
KNOCKING = """<div class="gg gg-knocking" id="{id}">
<p>This page comes from <b class="gg-origin"></b></p>
<p class="gg-doors"></p>
<div class="gg-results gg-knocked"></div>
</div>
<script>
(() => {
  const box = document.getElementById("{id}");
  const doors = {doors};
  box.querySelector(".gg-origin").textContent = location.origin;
  function tell(door, words) {
    const line = document.createElement("p");
    line.textContent = `${door}: ${words}`;
    box.querySelector(".gg-knocked").prepend(line);
  }
  function knock(door) {
    let socket = null;
    let isWelcome = false;
    try {
      socket = new WebSocket(doors[door]);
    } catch (error) {
      tell(door, `✕ the browser forbids it (${error.message})`);
      return;
    }
    socket.onmessage = event => {
      isWelcome = true;
      tell(door, `✓ ${event.data} (welcome!)`);
      socket.close();
    };
    socket.onclose = event => {
      if (!isWelcome) {
        tell(door, `✕ not let in, and not told why (close code ${event.code})`);
      }
    };
  }
  for (const door of Object.keys(doors)) {
    const button = document.createElement("button");
    button.textContent = `Knock at the ${door}`;
    button.onclick = () => knock(door);
    box.querySelector(".gg-doors").append(button, " ");
  }
})();
</script>
"""


def knock_from_here(doors: Mapping[str, str]) -> Any:
    """Show buttons with which the page that shows this notebook knocks at some servers itself."""
    markup = KNOCKING.replace("{id}", f"gg-knocking-{next(numbers)}")
    # Inside a script, only </script> would end it.
    told = json.dumps(dict(doors)).replace("<", "\\u003c")
    show: Any = HTML
    return show(STYLE + markup.replace("{doors}", told))


async def knock(url: str, origin: str | None) -> str:
    """Knock as a program that claims to be a page of this origin; say what happens."""
    claimed: Any = origin
    try:
        async with connect(url, origin=claimed, **CONNECT_OPTIONS) as connection:
            await connection.recv()
    except InvalidStatus as refusal:
        return f"✕ HTTP {refusal.response.status_code}"
    except OSError:
        return "✕ nobody is there"
    return "✓ welcome!"


async def knock_at_all(doors: Mapping[str, str], origin: str | None) -> str:
    """Knock at some servers, one after the other."""
    answers = []
    for door, url in doors.items():
        answer = await knock(url, origin)
        answers.append(f"{door}: {answer}")
    return " · ".join(answers)


# --------------------------------------------------------------------------------------------------
# Exercises
# --------------------------------------------------------------------------------------------------


def check(function: Callable[..., Any], *cases: tuple[Any, ...]) -> None:
    """Try a learner's function; the last value of each case is what it should return."""
    print(judge(function, *cases))


def judge(function: Callable[..., Any], *cases: tuple[Any, ...]) -> str:
    """Say what is wrong with a function, if anything."""
    for *arguments, expected in cases:
        shown = ", ".join(map(repr, arguments))
        call = f"{function.__name__}({shown})"
        try:
            result = function(*arguments)
        except NotImplementedError:
            return "not yet: write your own lines"
        except Exception as error:
            return f"not yet: {call} fails with {type(error).__name__}: {error}"
        if result is None:
            return f"not yet: {call} returns None. Is there a return?"
        if result != expected:
            return f"not yet: {call} returns {result!r}, and should return {expected!r}"
    return "well done!"
