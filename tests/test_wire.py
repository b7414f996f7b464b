"""The frames of lesson 2, and what a server hears and says, of lesson 9."""

from __future__ import annotations

import asyncio
import html
import json
from typing import Any, AsyncIterator

import pytest

from conftest import SECRET, WELCOME, eventually, texts, wire
from guessgame import Client, GameServer, Player, ServerGone
from kit import end_lesson, open_line
from kit.wire import (
    Frame,
    Minutes,
    Overheard,
    OverheardServer,
    Stream,
    Unmask,
    Wiretap,
    combine,
    new_key,
    paint_bits,
    paint_frame,
    print_with_meaning,
    read_frame,
)

HANDSHAKE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
SENT = bytes.fromhex("818d 01020304 7a2064716472702621223631 7c")
GUESS = b'{"guess": 50}'
MASK = bytes.fromhex("01020304")
LONG = bytes([0b10000001, 127, *(70_000).to_bytes(8, "big")]) + b"x" * 70_000


@pytest.fixture(autouse=True)
async def end_of_lesson() -> AsyncIterator[None]:
    yield
    await end_lesson()


# Frames


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 100_000])
def test_frames_are_read_from_bytes_however_these_are_cut_into_pieces(size: int) -> None:
    stream = Stream(True)
    data = HANDSHAKE + SENT + LONG + SENT
    frames: list[Frame] = []
    for begin in range(0, len(data), size):
        frames += stream.feed(data[begin : begin + size])
    assert [bytes(frame) for frame in frames] == [SENT, LONG, SENT]
    assert [len(frame.content) for frame in frames] == [13, 70_000, 13]


def test_the_bytes_of_a_frame_stand_in_its_boxes() -> None:
    frame, long = Stream(True).feed(HANDSHAKE + SENT + LONG)
    assert [html.unescape(text) for text in texts(paint_frame(frame))] == [
        *("client → server", "first byte", "81", "1", "000", "0001", "complete, text"),
        *("length", "8d", "1", "0001101", "masked, 13 bytes", "mask", "01 02 03 04", "4 random bytes"),
        *("content, masked", "7a 20 64 71 64 72 70 26 21 22 36 31 7c", frame.text, frame.meaning),
    ]
    assert "mask" not in texts(paint_frame(long))
    assert "length, in 9 bytes" in texts(paint_frame(long))
    assert "78 78 78 78 78 78 78 78 78 78 78 … and 69989 more" in texts(paint_frame(long))


@pytest.mark.parametrize(
    ("from_client", "text", "meaning"),
    [
        (True, '{"guess": 50, "name": "Ada"}', "My guess is 50. Call me Ada."),
        (True, '{"scores": true}', "All the scores, please."),
        (True, "[1]", ""),
        (True, "<b>", "This is not JSON. What will the server say?"),
        (False, '{"countdown": 3}', "The new game begins in 3 s."),
        (False, '"Вы угадали!"', "You guessed it!"),
    ],
)
def test_what_a_frame_says_is_explained(from_client: bool, text: str, meaning: str) -> None:
    content = text.encode()
    frame = Frame(from_client, bytes([0b10000001, len(content)]), b"", b"", content)
    assert frame.meaning == meaning
    assert "<b>" not in texts(paint_frame(frame))


# By hand


def test_a_mask_put_on_twice_is_off_again() -> None:
    assert combine(b"abcde", b"\0\0\0\0") == b"abcde"
    masked = combine(GUESS, MASK)
    assert masked[:2].hex() == "7a20"
    assert combine(masked, MASK) == GUESS


def test_three_rows_of_bits_combine_to_a_letter() -> None:
    shown = [html.unescape(text) for text in texts(paint_bits(0x7A, 0x01))]
    assert shown == [
        *("a byte that travelled", "7a", *"01111010"),
        *("its byte of the mask", "01", *"00000001"),
        *("1 where they differ", "7b", *"01111011", "=", "{"),
    ]
    assert paint_bits(0x7A, 0x01).count("gg-differs") == 6 * 3, "where there is a 1 below, the column is lit"


async def test_each_masked_byte_that_is_pressed_becomes_a_letter() -> None:
    unmask = Unmask(MASK, combine(GUESS, MASK))
    assert [button.description for button in unmask.buttons][:4] == ["7a", "20", "64", "71"]
    assert "Press a byte." in texts(unmask.bits.value)
    for button in unmask.buttons:
        button.click()
    await eventually(lambda: "".join(button.description for button in unmask.buttons) == '{"guess":␣50}')
    assert texts(unmask.bits.value)[-1] == "}"


async def test_frames_are_read_by_hand_one_after_the_other(server: GameServer) -> None:
    reader, writer = await open_line(server.port)
    lines = ["GET /?name=Anna HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {new_key()}", "", ""]
    writer.write("\r\n".join(lines).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")

    async def read() -> list[str]:
        shown = await read_frame(reader)
        return [html.unescape(text) for text in texts(shown.children[1].value)]

    welcome, introduced, nothing = await read(), await read(), await read()
    assert welcome[:6] == ["server → client", "first byte", "81", "1", "000", "0001"]
    assert WELCOME in welcome[-2]
    assert "Anna" in introduced[-2]
    assert nothing == ["No frame: nothing more has arrived. Go back to step 1."]
    head = bytes([0b10000001, 0b10000000 + len(GUESS)])
    writer.write(head + MASK + combine(GUESS, MASK))
    assert '"Больше"' in await read()
    writer.write(bytes([0b10000001, len(GUESS)]) + GUESS)
    assert "1002 incorrect masking" in await read()
    assert await read() == nothing


def test_a_message_is_printed_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    print_with_meaning('"Больше"')
    assert capsys.readouterr().out == '"Больше"\n    More: YOUR number is the bigger one, so go down.\n'


@pytest.fixture
async def tap(server: GameServer) -> Wiretap:
    return await Wiretap(server).start()


async def test_a_wiretap_shows_the_frames_that_travel_and_only_the_client_masks_its_own(tap: Wiretap) -> None:
    received: list[Any] = []
    async with Player(tap.url, on_message=received.append) as player:
        for number in (50, 50, SECRET):
            await player.guess(number)
        await player.wait_until(lambda: not player.round_over)
        frames = list(reversed(tap.frames))
        guesses = [frame.text for frame in frames if frame.from_client]
        assert guesses == ['{"guess": 50}', '{"guess": 50}', '{"guess": 42}']
        assert [json.loads(frame.text) for frame in frames if not frame.from_client] == received
    for frame in frames:
        assert frame.head[0] == 0b10000001
        assert frame.head[1] == len(frame.content) + (0b10000000 if frame.from_client else 0)
        assert len(frame.mask) == (4 if frame.from_client else 0)
        assert len(bytes(frame)) == (6 if frame.from_client else 2) + len(frame.text.encode())
    once, again = [frame for frame in frames if "50" in frame.text]
    assert once.mask != again.mask, "these are real random bytes"
    assert once.content != again.content
    assert frames[1].meaning == "My guess is 50."
    assert frames[2].meaning.startswith("More: YOUR number is the bigger one")


async def test_nonsense_a_long_frame_and_a_goodbye_go_through_a_wiretap(tap: Wiretap, server: GameServer) -> None:
    server.pause = 60
    async with Player(tap.url) as player:
        assert "JSON" in str(await player.ask("<b>"))
        await player.ask({"name": "<i>"})
        await player.guess(SECRET)
        await player.guess(SECRET)
        long = tap.frames[0]
        assert long.head[1] == 126
        assert int.from_bytes(long.more_length, "big") == len(long.content) > 125
        assert "length, in 3 bytes" in texts(paint_frame(long))
        await eventually(lambda: '{"name": "<i>"}' in html.unescape(tap.picture.value))
        assert "<i>" not in tap.picture.value
    await eventually(lambda: not server.clients)
    assert ("goodbye", "1000 ") in [(frame.kind, frame.text) for frame in tap.frames]


async def test_what_is_new_slides_in_once(tap: Wiretap) -> None:
    async with Player(tap.url) as player:
        await player.guess(50)
        await eventually(lambda: tap.painted == 3)
        shown = tap.picture.value
        await player.guess(51)
        await eventually(lambda: tap.painted == 5)
        assert [frame.count("gg-new") for frame in tap.picture.value.split("<em>")[:-1]] == [1, 1, 0, 0, 0]
        assert shown != tap.picture.value


async def test_a_new_wiretap_replaces_an_earlier_one_and_an_ended_one_cuts_the_line(server: GameServer) -> None:
    first = await Wiretap(server).start()
    async with Player(first.url) as player:
        second = await Wiretap(server).start()
        await asyncio.wait({player.reader})
        assert not first.tasks
    async with Player(second.url) as player:
        await end_lesson()
        await asyncio.wait({player.reader})
    with pytest.raises(ServerGone):
        await Player(second.url).join()


async def test_a_server_that_stops_is_noticed_through_a_wiretap(tap: Wiretap, server: GameServer) -> None:
    async with Player(tap.url) as player:
        await server.stop()
        await asyncio.wait({player.reader})
        assert "1001" in str(player.gone)
    with pytest.raises(ServerGone):
        await Player(tap.url).join()


# What a server hears and says


def said(server: OverheardServer) -> list[str]:
    """Return what a server has heard and said, without the times and the meanings."""
    return [f"{line.who}: {line.words}" for line in server.minutes.lines]


@pytest.fixture
async def open_server() -> AsyncIterator[OverheardServer]:
    """A server that can be overheard."""
    server = OverheardServer(port=0, pause=60.5, draw=lambda low, high: SECRET)
    async with server:
        yield server


async def test_the_frames_of_a_page_and_of_a_program_are_listed_in_the_order_of_time(
    open_server: OverheardServer,
) -> None:
    async with Player(open_server.url, "Ada"), wire(open_server.url, user_agent_header="Mozilla/5.0") as page:
        for number in (50, SECRET):
            await page.send({"guess": number})
            await page.hear()
        await page.connection.send("<b>")
        await eventually(lambda: len(open_server.minutes.lines) == 14)
    await eventually(lambda: not open_server.clients)
    open_server.minutes.say_goodbye()
    assert said(open_server)[:14] == [
        "Python → server: GET /",
        f'server → Python #1: "{WELCOME}"',
        'Python #1 → server: {"name": "Ada"}',
        'server → Python Ada: {"client_id": 1, "name": "Ada", "wins": 0, "you": true}',
        "page → server: GET /",
        f'server → page #2: "{WELCOME}"',
        'page #2 → server: {"guess": 50}',
        'server → page #2: "Больше"',
        'page #2 → server: {"guess": 42}',
        'server → page #2: "Вы угадали!"',
        'server → Python Ada: "Игрок #2 угадал число 42!"',
        'server → Python Ada, page #2: {"client_id": 2, "wins": 1}',
        "page #2 → server: <b>",
        'server → page #2: {"error": "Это не объект JSON: отправьте, например, {\\"guess\\": 42}."}',
    ]
    assert sorted(said(open_server)[14:]) == ["Python Ada → server: (gone)", "page #2 → server: (gone)"]
    times = [line.when for line in open_server.minutes.lines]
    assert times == sorted(times)
    assert open_server.minutes.lines[7].meaning == "More: YOUR number is the bigger one, so go down."
    about_programs = [line.is_about_programs for line in open_server.minutes.lines]
    assert about_programs[:12] == [True] * 4 + [False] * 6 + [True, False]
    assert not open_server.minutes.kinds, "nobody is remembered who has left"


async def test_a_name_in_the_address_is_no_frame_and_a_crowd_is_counted(open_server: OverheardServer) -> None:
    async with wire(f"{open_server.url}/?name=%D0%AF") as one, wire(f"{open_server.url}/?name=") as two:
        assert await one.hear() == {"client_id": 1, "name": "Я", "wins": 0, "you": True}
        assert "error" in await two.hear()
        await one.connection.send(b"raw")
        await one.hear()
        assert [line for line in said(open_server) if "→ server" in line] == [
            "Python → server: GET /?name=%D0%AF",
            "Python → server: GET /?name=",
            "Python Я → server: b'raw'",
        ]
        async with wire(open_server.url), wire(open_server.url):
            open_server.game.broadcast("hello")
    assert 'server → Python Я, Python #2, Python #3 and 1 more: "hello"' in said(open_server)


async def test_a_key_stays_a_secret_and_who_comes_back_is_told_from_who_was_here(open_server: OverheardServer) -> None:
    async with wire(f"{open_server.url}/?name=Ada&key=k7Qz2mXw") as first:
        await first.hear()
        async with wire(open_server.url) as second:
            await second.ask({"key": "k7Qz2mXw", "name": "Ada"})
            await eventually(lambda: len(open_server.clients) == 1)
            await second.connection.send('{"name":"Ada","key":"k7Qz2mXw"}')
            await second.hear()
    assert "k7Qz2mXw" not in str(open_server.minutes.lines)
    assert said(open_server)[5:10] == [
        'Python #2 → server: {"key": "…", "name": "Ada"}',
        "server → Python Ada: (close code 4001: you play on elsewhere)",
        "Python Ada → server: (gone)",
        'server → Python Ada: {"client_id": 1, "name": "Ada", "wins": 0, "you": true}',
        'Python Ada → server: {"name":"Ada","key":"…"}',
    ]
    assert open_server.minutes.lines[7].meaning == "came back on another connection"


def test_minutes_are_kept_without_a_network() -> None:
    class Request:
        path = "/"
        headers = "User-Agent: Mozilla/5.0"

    minutes = Minutes()
    client = Client(1, "Ada")
    minutes.welcome(client, Request())
    minutes.hear(client, "x" * 1000)
    client.left = "left"
    minutes.say_goodbye()
    minutes.say_goodbye()
    assert [line.who for line in minutes.lines] == ["page → server", "page Ada → server", "page Ada → server"]
    assert [len(line.words) for line in minutes.lines] == [5, 300, 6]


async def test_what_was_overheard_is_shown_the_newest_on_top_and_escaped(open_server: OverheardServer) -> None:
    async with wire(f"{open_server.url}/?name=%3Cb%3E") as guest:
        await guest.hear()
        await guest.connection.send("<i>")
        await guest.hear()
        shown = Overheard(open_server)
        await eventually(lambda: "GET /" in shown.picture.value)
        assert [text for text in texts(shown.picture.value) if "i&gt;" in text] == ["&lt;i&gt;"]
        assert texts(shown.picture.value)[0] == "server → Python &lt;b&gt;"
        assert '<p class="gg-python"><b>server → Python' in shown.picture.value
        assert "<i>" not in shown.picture.value
    await eventually(lambda: "(gone)" in shown.picture.value)
