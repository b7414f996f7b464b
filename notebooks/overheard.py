"""What lesson 8 needs besides the shared widgets: a server that can be overheard, and the script of its page."""

from __future__ import annotations

import collections
import html
import re
import time
import urllib.parse
from typing import Any, Iterable

import ipywidgets as widgets
from IPython.display import Markdown

from gamekit import Live, Part, style_sheet
from guessgame import PAGE, Client, GameConnection, GameServer, Message, encode, explain


class OverheardServer(GameServer):
    """A server that notes what it hears and says: when, who speaks to whom, the words, and their meaning."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.overheard: collections.deque[tuple[float, str, str, str]] = collections.deque(maxlen=50)
        self._began = time.monotonic()
        self._kinds: dict[GameConnection, str] = {}
        self._named_in_address: set[GameConnection] = set()

    def _note(self, who: str, words: str, meaning: str) -> None:
        self.overheard.append((time.monotonic() - self._began, who, words[:300], meaning))

    def _label(self, client: Client) -> str:
        return f"{self._kinds[client.connection]} {client.label}"

    async def play_with(self, connection: GameConnection) -> None:
        """Note who comes in, and how; then play with them as usual."""
        request = connection.request
        assert request is not None
        # Every browser claims to be Mozilla, a habit from the nineties.
        kind = self._kinds[connection] = "page" if "Mozilla" in str(request.headers) else "Python"
        if "name" in urllib.parse.parse_qs(request.path.partition("?")[2], keep_blank_values=True):
            self._named_in_address.add(connection)
        self._note(f"{kind} → server", f"GET {request.path}", "The handshake: it wants to speak WebSocket.")
        try:
            await super().play_with(connection)
        finally:
            self._named_in_address.discard(connection)
            del self._kinds[connection]

    def answer(self, client: Client, data: str | bytes) -> None:
        """Note a message that came in, then answer it."""
        if client.connection in self._named_in_address:  # not a message: the game reads it from the address
            self._named_in_address.remove(client.connection)
        else:
            self._note(f"{self._label(client)} → server", data if isinstance(data, str) else repr(data), "")
        super().answer(client, data)

    def forget(self, client: Client) -> None:
        """Note who leaves, then take them off the list."""
        if client.id in self.clients:
            self._note(f"{self._label(client)} → server", "(gone)", "It has left.")
        super().forget(client)

    def tell(self, clients: Iterable[Client], message: Message) -> None:
        """Send a message to some clients, and note it once."""
        clients = list(clients)
        if clients:
            whom = ", ".join(map(self._label, clients[:3])) + f" and {len(clients) - 3} more" * (len(clients) > 3)
            self._note(f"server → {whom}", encode(message), explain(message))
        super().tell(clients, message)


class Overheard(Live):
    """Show what a server has heard and said, the newest on top; lines about programs alone have a double edge."""

    style = style_sheet(__file__)

    def __init__(self, server: OverheardServer) -> None:
        self.server = server
        super().__init__(self._paint)

    def _paint(self) -> str:
        rows = "".join(
            f'<p class="{"gg-python" if "Python" in who and "page" not in who else ""}">'
            f"<b>{html.escape(who)}</b> <small>{when:.2f}&nbsp;s</small><br>"
            f"{html.escape(words)} <small>{html.escape(meaning)}</small></p>"
            for when, who, words, meaning in reversed(self.server.overheard)
        )
        return f'<div class="gg-results gg-overheard">{rows}</div>'


def beside(frame: Any, *parts: Part) -> widgets.Box:
    """Show an IFrame, and to its right some parts of a lesson, one below the other."""
    column = widgets.VBox([part.view for part in parts], layout={"flex": "1 1 420px", "min_width": "300px"})
    page = widgets.HTML(frame._repr_html_(), layout={"flex": f"0 1 {frame.width}px", "margin": "0"})
    return widgets.Box([page, column], layout={"flex_flow": "row wrap", "grid_gap": "0 16px"})


def piece_of_page(number: int, *functions: str) -> Any:
    """Show one of the five pieces of the page's script; of a long one, only the functions you name."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^// {number}\. .*?(?=^// \d\. |^// What to press|^</script>)", text, re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"the page has no piece {number}: the pieces are 1 to 5")
    heading, _, code = found[0].strip().partition("\n")
    paragraphs = code.split("\n\n")
    if functions:
        paragraphs = [p for p in paragraphs if re.search(rf"^(async )?function ({'|'.join(functions)})\(", p, re.M)]
    show: Any = Markdown
    return show("```js\n" + "\n\n".join([f"{heading}\n{paragraphs[0]}", *paragraphs[1:]]) + "\n```")
