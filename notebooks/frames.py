"""What lesson 2 needs besides the shared widgets: a tap on the wire, which shows the frames that go by."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import html
import json
from typing import Any

from gamekit import Live, style_sheet
from guessgame import GameServer, explain

KINDS = {0: "continued", 1: "text", 2: "binary", 8: "goodbye", 9: "ping", 10: "pong"}
SHOWN, SHORTENED = 16, 11  # so many bytes of a content are shown at most; of a longer one, so many


@dataclasses.dataclass
class Frame:
    """One frame, as its bytes travelled: two bytes of head, sometimes more of length, a mask or none, the content."""

    from_client: bool
    head: bytes
    more_length: bytes
    mask: bytes
    content: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader, from_client: bool) -> Frame:
        """Read the next frame of a stream."""
        head = await reader.readexactly(2)
        length = head[1] & 0b01111111
        more = await reader.readexactly({126: 2, 127: 8}.get(length, 0))
        mask = await reader.readexactly(4 if head[1] & 0b10000000 else 0)
        content = await reader.readexactly(int.from_bytes(more, "big") if more else length)
        return cls(from_client, head, more, mask, content)

    def __bytes__(self) -> bytes:
        return self.head + self.more_length + self.mask + self.content

    @property
    def kind(self) -> str:
        """What the last four bits of the first byte say."""
        return KINDS.get(self.head[0] & 0b00001111, "unknown")

    @property
    def text(self) -> str:
        """The content without its mask, as a person reads it."""
        mask = self.mask or b"\0"
        clear = bytes(byte ^ mask[index % len(mask)] for index, byte in enumerate(self.content))
        if self.kind == "goodbye":
            return f"{int.from_bytes(clear[:2], 'big')} {clear[2:].decode(errors='replace')}"
        return clear.decode(errors="replace")

    @property
    def meaning(self) -> str:
        """Say in English what the content means."""
        try:
            message = json.loads(self.text) if self.kind == "text" else ""
        except ValueError:
            return "This is not JSON. What will the server say?"
        if not self.from_client:
            return explain(message)
        known = {"guess": "My guess is {}.", "name": "Call me {}."}
        fields = message if isinstance(message, dict) else {}
        return " ".join(words.format(fields[key]) for key, words in known.items() if key in fields)


def paint_field(title: str, value: bytes, bits: str, says: str, kind: str = "") -> str:
    """Paint one part of a frame as a box: its name, its bytes, its bits, what they say."""
    return (
        f'<div class="gg-field {kind}"><small>{title}</small><b>{value.hex(" ")}</b>'
        f"<code>{bits}</code><span>{says}</span></div>"
    )


def paint_frame(frame: Frame, new: bool = False) -> str:
    """Paint a frame as a row of boxes; what the client sends stands left, what the server sends stands right."""
    side, way = ("client", "client → server") if frame.from_client else ("server", "server → client")
    first, second = (f"{byte:08b}" for byte in frame.head)
    masked, size = ("masked", "content, masked") if frame.mask else ("no mask", "content")
    in_bytes = f", in {1 + len(frame.more_length)} bytes" if frame.more_length else ""
    boxes = paint_field(
        "first byte",
        frame.head[:1],
        f"<u>{first[0]}</u>{first[1:4]} <u>{first[4:]}</u>",
        f"{'complete' if first[0] == '1' else 'more follows'}, {frame.kind}",
    )
    boxes += paint_field(
        f"length{in_bytes}",
        frame.head[1:] + frame.more_length,
        f"<u>{second[0]}</u> <u>{second[1:]}</u>",
        f"{masked}, {len(frame.content)} bytes",
        "gg-length",
    )
    if frame.mask:
        boxes += paint_field("mask", frame.mask, "", "4 random bytes", "gg-mask")
    travelled = frame.content.hex(" ")
    if len(frame.content) > SHOWN:
        travelled = f"{frame.content[:SHORTENED].hex(' ')} … and {len(frame.content) - SHORTENED} more"
    boxes += (
        f'<div class="gg-field gg-content"><small>{size}</small><code>{travelled}</code>'
        f"<b>{html.escape(frame.text)}</b><span>{html.escape(frame.meaning)}</span></div>"
    )
    return f'<div class="gg-frame gg-by-{side}{" gg-new" * new}"><em>{way}</em><div>{boxes}</div></div>'


class Wiretap(Live):
    """Stand between players and a server, pass on each byte as it is, and show the frames, the newest on top.

        tap = await Wiretap(server).start()
        player = await join(tap.url, "Ada")

    Pings and pongs, which only keep a connection awake, are passed on and not shown.
    """

    style = style_sheet(__file__)

    def __init__(self, server: GameServer, lines: int = 30) -> None:
        self.port = server.port
        self.frames: collections.deque[Frame] = collections.deque(maxlen=lines)
        self.seen = self.painted = 0
        self.door: Any = None
        super().__init__(self._paint)

    async def start(self) -> Wiretap:
        """Open the door for the players; of an earlier run of the cell, it is closed."""
        for other in self.in_use:
            if isinstance(other, Wiretap) and other is not self:
                await other.stop()
        self.door = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.door.sockets[0].getsockname()[1]}"
        return self

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Let nobody in any more, and cut the connections."""
        if self.door is not None:
            self.door.close()
        return super().cancel()

    def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.run(self._connect(reader, writer))

    async def _connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Connect a player to the server, until one of the two closes the connection."""
        writers, ways = [to_client], set()
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
            writers.append(to_server)
            ways = {
                self.run(self._pass_on(from_client, to_server, True)),
                self.run(self._pass_on(from_server, to_client, False)),
            }
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the server has stopped
        finally:
            for way in ways:
                way.cancel()
            for writer in writers:
                writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_client: bool) -> None:
        """Pass on the handshake, then frame by frame."""
        try:
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while True:
                frame = await Frame.read(reader, from_client)
                self._note(frame)
                writer.write(bytes(frame))
                await writer.drain()
        except (EOFError, OSError):
            pass  # one of the two has left

    def _note(self, frame: Frame) -> None:
        if frame.kind not in ("ping", "pong"):
            self.frames.appendleft(frame)
            self.seen += 1

    def _paint(self) -> str:
        """Paint all anew when something has come; what is new since the last time slides in."""
        new, self.painted = self.seen - self.painted, self.seen
        if not new and self.picture.value:
            return str(self.picture.value)
        frames = "".join(paint_frame(frame, number < new) for number, frame in enumerate(self.frames))
        return f'<div class="gg-frames">{frames}</div>'
