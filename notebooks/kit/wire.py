"""What lessons 2 and 9 show: the frames that travel, and what a server hears and says."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import dataclasses
import functools
import json
import re
import secrets
import time
from typing import Any, NamedTuple

import ipywidgets as widgets
from markupsafe import Markup

from guessgame import Client, GameServer, Message, encode

from . import LINE, Live, Part, label, meaning, picture

# --------------------------------------------------------------------------------------------------
# Frames: what is known of them
# --------------------------------------------------------------------------------------------------

KINDS = {
    0: "continued",
    1: "text",
    2: "binary",
    8: "goodbye",
    9: "ping",
    10: "pong",
}
KEEP_AWAKE = ("ping", "pong")
MORE_LENGTH = {
    126: 2,
    127: 8,
}  # what the second byte says -> bytes of length that follow
REQUESTS = {
    "guess": "My guess is {}.",
    "name": "Call me {}.",
    "scores": "All the scores, please.",
}


@dataclasses.dataclass
class Frame:
    """One frame, as its bytes travelled: two bytes of head, sometimes more of length, a mask or none, the content."""

    from_client: bool
    head: bytes
    more_length: bytes
    mask: bytes
    content: bytes

    def __bytes__(self) -> bytes:
        return self.head + self.more_length + self.mask + self.content

    @property
    def kind(self) -> str:
        """What the last four bits of the first byte say."""
        return KINDS.get(self.head[0] & 0b00001111, "unknown")

    @property
    def text(self) -> str:
        """The content without its mask, as a person reads it."""
        clear = self.content
        if self.mask:
            clear = combine(self.content, self.mask)
        if self.kind == "goodbye":
            code = int.from_bytes(clear[:2], "big")
            reason = clear[2:].decode(errors="replace")
            return f"{code} {reason}"
        return clear.decode(errors="replace")

    @property
    def meaning(self) -> str:
        """Say in English what the content means."""
        if self.kind != "text":
            return ""
        try:
            message = json.loads(self.text)
        except ValueError:
            return "This is not JSON. What will the server say?"
        if not self.from_client:
            return meaning(message)
        if not isinstance(message, dict):
            return ""
        asked = [key for key in REQUESTS if key in message]
        return " ".join(REQUESTS[key].format(message[key]) for key in asked)


def combine(content: bytes, mask: bytes) -> bytes:
    """Combine each byte with one of the four of a mask, in turn. Done twice, it gives the content back."""
    combined = bytearray()
    for index, byte in enumerate(content):
        combined.append(byte ^ mask[index % 4])
    return bytes(combined)


class Stream:
    """What one side of a connection sends: a handshake, then frames. Feed it with bytes, as they come."""

    def __init__(self, from_client: bool) -> None:
        self.from_client = from_client
        self.is_handshake = True
        self.data = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take in some bytes; return the frames that are complete now."""
        self.data += data
        if self.is_handshake:
            _, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                return []
            self.is_handshake = False
            self.data = rest
        frames = []
        frame = self._take()
        while frame is not None:
            frames.append(frame)
            frame = self._take()
        return frames

    def _take(self) -> Frame | None:
        data = self.data
        if len(data) < 2:
            return None
        length = data[1] & 0b01111111
        mask_begins = 2 + MORE_LENGTH.get(length, 0)
        more_length = data[2:mask_begins]
        if more_length:
            length = int.from_bytes(more_length, "big")
        is_masked = data[1] & 0b10000000
        content_begins = mask_begins + (4 if is_masked else 0)
        end = content_begins + length
        if len(data) < end:
            return None
        self.data = data[end:]
        return Frame(
            self.from_client,
            head=data[:2],
            more_length=more_length,
            mask=data[mask_begins:content_begins],
            content=data[content_begins:end],
        )


# --------------------------------------------------------------------------------------------------
# How frames look
# --------------------------------------------------------------------------------------------------

SHOWN = 16  # bytes of a content, at the most
SHORTENED = 11  # bytes of a content that is longer
FRAME = Markup(
    '<div class="gg-frame gg-by-{side} {new}"><em>{way}</em><div>{boxes}</div></div>'
)
FIELD = Markup(
    '<div class="gg-field {kind}"><small>{title}</small><b>{value}</b><code>{bits}</code><span>{says}</span></div>'
)
CONTENT = Markup(
    '<div class="gg-field gg-content"><small>{title}</small>'
    "<code>{value}</code><b>{text}</b><span>{says}</span></div>"
)


def paint_frame(frame: Frame, new: bool = False) -> Markup:
    """Paint a frame as a row of boxes; what the client sends stands left, what the server sends stands right."""
    boxes = [paint_first_byte(frame), paint_length(frame)]
    if frame.mask:
        boxes.append(paint_mask(frame))
    boxes.append(paint_content(frame))
    side, way = "server", "server → client"
    if frame.from_client:
        side, way = "client", "client → server"
    return FRAME.format(
        side=side,
        new="gg-new" if new else "",
        way=way,
        boxes=Markup().join(boxes),
    )


def paint_first_byte(frame: Frame) -> Markup:
    """Paint the box of the first byte."""
    bits = f"{frame.head[0]:08b}"
    complete = "complete" if bits[0] == "1" else "more follows"
    return FIELD.format(
        kind="",
        title="first byte",
        value=frame.head[:1].hex(),
        bits=Markup("<u>{}</u>{} <u>{}</u>").format(bits[0], bits[1:4], bits[4:]),
        says=f"{complete}, {frame.kind}",
    )


def paint_length(frame: Frame) -> Markup:
    """Paint the box of the length."""
    value = frame.head[1:] + frame.more_length
    bits = f"{frame.head[1]:08b}"
    masked = "masked" if frame.mask else "no mask"
    return FIELD.format(
        kind="gg-length",
        title=f"length, in {len(value)} bytes" if frame.more_length else "length",
        value=value.hex(" "),
        bits=Markup("<u>{}</u> <u>{}</u>").format(bits[0], bits[1:]),
        says=f"{masked}, {len(frame.content)} bytes",
    )


def paint_mask(frame: Frame) -> Markup:
    """Paint the box of the mask."""
    return FIELD.format(
        kind="gg-mask",
        title="mask",
        value=frame.mask.hex(" "),
        bits="",
        says="4 random bytes",
    )


def paint_content(frame: Frame) -> Markup:
    """Paint the box of the content, of which the beginning is enough."""
    value = frame.content.hex(" ")
    if len(frame.content) > SHOWN:
        shown = frame.content[:SHORTENED].hex(" ")
        value = f"{shown} … and {len(frame.content) - SHORTENED} more"
    return CONTENT.format(
        title="content, masked" if frame.mask else "content",
        value=value,
        text=frame.text,
        says=frame.meaning,
    )


# --------------------------------------------------------------------------------------------------
# By hand: a key, a frame that is read, a mask that is taken off
# --------------------------------------------------------------------------------------------------


def new_key() -> str:
    """Make up the key of a handshake: sixteen random bytes, written as letters and digits."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def print_with_meaning(words: str | bytes) -> None:
    """Print a message of the server, and below it what it means."""
    print(words)
    print("   ", meaning(json.loads(words)))


async def read_frame(reader: asyncio.StreamReader) -> widgets.VBox:
    """Read the next frame of the server, and show its parts; if none comes within a second, say so."""
    try:
        frame = await asyncio.wait_for(take_frame(reader), timeout=1)
    except (asyncio.TimeoutError, asyncio.IncompleteReadError):
        return picture("<p>No frame: nothing more has arrived. Go back to step 1.</p>")
    return picture(paint_frame(frame))


async def take_frame(reader: asyncio.StreamReader) -> Frame:
    """Read the bytes of the next frame of the server that carries a message, or a goodbye."""
    stream = Stream(False)
    stream.is_handshake = False
    frames: list[Frame] = []
    while not frames:
        arrived = stream.feed(await reader.readexactly(1))
        frames = [frame for frame in arrived if frame.kind not in KEEP_AWAKE]
    return frames[0]


BITS = Markup(
    "<tr><td>{title}</td><td><code>{value:02x}</code></td>{bits}<td>{says}</td></tr>"
)
BIT = Markup('<td class="{kind}">{bit}</td>')
UNMASK_LOOK = """<style>
.gg-bits { height: 150px; }
.gg .gg-bits table { border-collapse: collapse; font-size: 20px; line-height: 1.4; margin: 0; }
.gg .gg-bits td { padding: 2px 9px; border: 0; text-align: left; color: inherit; background: none; }
.gg .gg-bits td:first-child { font-size: 17px; padding-left: 0; }
.gg-bits code { padding: 0 8px; font-size: 20px; background: none; color: inherit; }
.gg .gg-bits td.gg-differs { font-weight: 700; background: #ffe9a8; color: #111; }
.gg-bits tr:last-child td { border-top: 3px solid currentColor; font-weight: 700; }
.gg-bits big { font: 700 30px/1 var(--jp-code-font-family, monospace); }
</style>"""


def paint_bits(masked: int, mask: int) -> Markup:
    """Paint three rows of bits: two bytes, and a 1 wherever these differ."""
    clear = masked ^ mask
    letter = Markup("= <big>{}</big>").format(show_letter(clear))
    rows = (
        ("a byte that travelled", masked, ""),
        ("its byte of the mask", mask, ""),
        ("1 where they differ", clear, letter),
    )
    painted = [
        BITS.format(title=title, value=value, bits=paint_row(value, clear), says=says)
        for title, value, says in rows
    ]
    return Markup("<table>{}</table>").format(Markup().join(painted))


def paint_row(value: int, differs: int) -> Markup:
    """Paint the eight bits of a byte; those where two bytes differ are lit."""
    bits = zip(f"{value:08b}", f"{differs:08b}")
    cells = [
        BIT.format(kind="gg-differs" if lit == "1" else "", bit=bit)
        for bit, lit in bits
    ]
    return Markup().join(cells)


def show_letter(byte: int) -> str:
    """Show a byte as the letter it stands for; a space can be seen."""
    letter = chr(byte)
    return "␣" if letter == " " else letter


class Unmask(Part):
    """Show masked bytes as buttons: press one, and its bits combine with those of the mask to a letter.

    Unmask(mask, masked)
    """

    def __init__(self, mask: bytes, masked: bytes) -> None:
        super().__init__("unmask")
        self.mask = mask
        self.masked = masked
        self.buttons = [self._make_button(place) for place in range(len(masked))]
        self.bits = widgets.HTML()
        row = widgets.Box(self.buttons, layout={**LINE, "grid_gap": "4px"})
        self.show(widgets.HTML(UNMASK_LOOK), row, self.bits)
        self._paint("<p>Press a byte.</p>")

    def _make_button(self, place: int) -> widgets.Button:
        byte = f"{self.masked[place]:02x}"
        reveal = functools.partial(self._reveal, place)
        button = self.button(byte, reveal, tooltip=f"byte {place + 1}")
        button.layout = {"width": "46px", "margin": "0", "padding": "0"}
        return button

    async def _reveal(self, place: int, _: Any) -> None:
        """Put the letter onto the button, and show how it has come out."""
        masked = self.masked[place]
        mask = self.mask[place % len(self.mask)]
        self.buttons[place].description = show_letter(masked ^ mask)
        self.buttons[place].button_style = "success"
        self._paint(paint_bits(masked, mask))

    def _paint(self, markup: str) -> None:
        self.bits.value = f'<div class="gg-bits">{markup}</div>'


# --------------------------------------------------------------------------------------------------
# A tap on the wire
# --------------------------------------------------------------------------------------------------


# From the bottom to the top, the newest first: so this one is in sight, as in a chat.
CONVERSATION = Markup(
    '<div class="gg-frames" style="display:flex;flex-direction:column-reverse">{}</div>'
)


class Wiretap(Live):
    """Stand between players and a server, pass on each byte as it is, and show the frames, the newest at the bottom.

        tap = await Wiretap(server).start()
        player = await join(tap.url, "Ada")

    Pings and pongs, which only keep a connection awake, are passed on and not shown.
    """

    def __init__(self, server: GameServer, lines: int = 30) -> None:
        self.port = server.port
        self.frames: collections.deque[Frame] = collections.deque(maxlen=lines)
        self.seen = 0
        self.painted = 0
        self.shown = CONVERSATION.format("")
        self.door: Any = None
        super().__init__(self._paint, "wiretap")

    async def start(self) -> Wiretap:
        """Open the door for the players."""
        self.door = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        [listening] = self.door.sockets
        _, port = listening.getsockname()
        self.url = f"ws://127.0.0.1:{port}"
        return self

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Let nobody in any more, and cut the connections."""
        if self.door is not None:
            self.door.close()
        return super().cancel()

    def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.run(self._connect(reader, writer))

    async def _connect(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Connect a player to the server, until one of the two closes the connection."""
        with contextlib.closing(to_client), contextlib.suppress(OSError):
            opening = asyncio.open_connection("127.0.0.1", self.port)
            from_server, to_server = await opening
            with contextlib.closing(to_server):
                up = self.run(self._pass_on(from_client, to_server, Stream(True)))
                down = self.run(self._pass_on(from_server, to_client, Stream(False)))
                try:
                    ways = {up, down}
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    up.cancel()
                    down.cancel()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stream: Stream,
    ) -> None:
        """Pass on what one side sends, and note its frames."""
        with contextlib.suppress(OSError):  # one of the two has left
            data = await reader.read(65_536)
            while data:
                for frame in stream.feed(data):
                    self._note(frame)
                writer.write(data)
                await writer.drain()
                data = await reader.read(65_536)

    def _note(self, frame: Frame) -> None:
        if frame.kind not in KEEP_AWAKE:
            self.frames.appendleft(frame)
            self.seen += 1

    def _paint(self) -> Markup:
        """Paint all anew when something has come; what is new since the last time slides in."""
        new = self.seen - self.painted
        self.painted = self.seen
        if new:
            frames = enumerate(self.frames)
            painted = [paint_frame(frame, number < new) for number, frame in frames]
            self.shown = CONVERSATION.format(Markup().join(painted))
        return self.shown


# --------------------------------------------------------------------------------------------------
# What a server hears and says
# --------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One line of the minutes: when it was, who spoke to whom, the words, what they mean."""

    when: float
    who: str
    words: str
    meaning: str
    is_about_programs: bool


class Minutes:
    """The minutes of a game: who came and left, and who said what to whom."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.lines: collections.deque[Line] = collections.deque(maxlen=50)
        self.kinds: dict[Client, str] = {}

    def welcome(self, client: Client, request: Any) -> None:
        """Note a newcomer, and the handshake."""
        # Every browser claims to be Mozilla, a habit from the nineties.
        kind = "page" if "Mozilla" in str(request.headers) else "Python"
        self.kinds[client] = kind
        self._note(
            f"{kind} → server",
            f"GET {request.path}",
            "The handshake: it wants to speak WebSocket.",
            [client],
        )

    def hear(self, client: Client, words: str) -> None:
        """Note what a player has said."""
        self._note(f"{self._call(client)} → server", words, "", [client])

    def tell(self, clients: list[Client], message: Message) -> None:
        """Note what the server says to some players."""
        whom = ", ".join(self._call(client) for client in clients[:3])
        if len(clients) > 3:
            whom += f" and {len(clients) - 3} more"
        words = encode(message)
        if isinstance(message, dict) and "close" in message:
            words = f"(close code {message['close']}: {message['reason']})"
        self._note(f"server → {whom}", words, meaning(message), clients)

    def say_goodbye(self) -> None:
        """Note who has left since the last time."""
        for client in [client for client in self.kinds if client.left]:
            who = f"{self._call(client)} → server"
            self._note(who, "(gone)", client.left, [client])
            del self.kinds[client]

    def _call(self, client: Client) -> str:
        return f"{self.kinds[client]} {label(client)}"

    def _note(self, who: str, words: str, meaning: str, clients: list[Client]) -> None:
        when = time.monotonic() - self.began
        words = hide_key(words)[:300]
        are_programs = all(self.kinds[client] == "Python" for client in clients)
        self.lines.append(Line(when, who, words, meaning, are_programs))


def hide_key(words: str) -> str:
    """Leave out the key with which somebody can come back."""
    return re.sub(r'("key": *"|[?&]key=)[^"& ]*', r"\1…", words)


class OverheardServer(GameServer):
    """A server that keeps the minutes of its game."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.minutes = Minutes()
        super().__init__(*arguments, **options)

    def overhear(self, clients: list[Client], message: Any, is_heard: bool) -> None:
        """Note what somebody says, or is told."""
        self.minutes.say_goodbye()
        clients = [client for client in clients if not client.left]
        for client in clients:
            if client not in self.minutes.kinds:
                self.minutes.welcome(client, self.connections[client].request)
        if is_heard:
            for client in clients:
                self.minutes.hear(client, str(message))
        elif clients:
            self.minutes.tell(clients, message)


NOTED = Markup(
    '<p class="{kind}"><b>{who}</b> <small>{when:.2f}&nbsp;s</small><br>{words} <small>{meaning}</small></p>'
)


def paint_line(line: Line) -> Markup:
    """Paint a line of the minutes; about programs alone, it has a double edge."""
    return NOTED.format(
        kind="gg-python" if line.is_about_programs else "",
        who=line.who,
        when=line.when,
        words=line.words,
        meaning=line.meaning,
    )


class Overheard(Live):
    """Show what a server has heard and said, the newest on top."""

    def __init__(self, server: OverheardServer) -> None:
        self.minutes = server.minutes
        super().__init__(self._paint)

    def _paint(self) -> Markup:
        self.minutes.say_goodbye()
        lines = [paint_line(line) for line in reversed(self.minutes.lines)]
        layout = Markup('<div class="gg-results gg-overheard">{}</div>')
        return layout.format(Markup().join(lines))
