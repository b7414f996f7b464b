"""The same game by other rules, and behind somebody else's server: what a few lines on top of the module can do."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Iterable

import pytest
from fastapi import FastAPI, WebSocket
from uvicorn import Config, Server

from conftest import NEW_GAME, PROJECT, SECRET, bisect, error, eventually, wire, wires
from guessgame import YOU_WON, Client, Game, GameServer, Message, Round, Sentence
from test_game import KEYS, score, you


def serve(game: Any) -> GameServer:
    return GameServer(port=0, game=game, draw=lambda low, high: SECRET, pause=0.05)


# Other words


HOT = Sentence("Горячо", "Hot: your number is less than ten away.")
COLD = Sentence("Холодно", "Cold: your number is ten or more away.")


class HotAndColdRound(Round):
    def guess(self, number: Any) -> Sentence:
        verdict = super().guess(number)
        if verdict is YOU_WON:
            return verdict
        return HOT if abs(number - self.secret) < 10 else COLD


class HotAndCold(Game):
    def begin_round(self) -> None:
        super().begin_round()
        self.round = HotAndColdRound(self.round.secret, self.low, self.high)


async def test_hot_and_cold_is_a_round_with_other_words() -> None:
    async with serve(HotAndCold) as server, wires(server.url, 2) as [player, other]:
        for _ in range(2):
            for number, hint in ((32, "Холодно"), (33, "Горячо"), (51, "Горячо"), (52, "Холодно")):
                assert await player.ask({"guess": number}) == hint
            assert error(await player.ask({"guess": 0})).startswith("Догадка")
            await player.send({"guess": SECRET})
            assert (await player.hear_until(NEW_GAME))[0] == "Вы угадали!"
        assert (await other.hear_until(NEW_GAME))[0] == "Игрок #1 угадал число 42!"


async def test_the_variation_in_the_readme_works_as_it_stands() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(from guessgame import Game.*?)```", readme, re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found.group(1), names)
    async with serve(names["HotAndCold"]) as server, wire(server.url) as player:
        for number, hint in ((36, "Меньше"), (37, "Горячо"), (47, "Горячо"), (48, "Больше")):
            assert await player.ask({"guess": number}) == hint
        assert await player.ask({"guess": SECRET}) == "Вы угадали!"


# Hints to everybody


class OpenCards(Game):
    def judge(self, client: Client, request: Any) -> None:
        super().judge(client, request)
        *_, number, hint = self.history[-1]
        self.broadcast({**client.score(), "guess": number, "hint": hint})


async def test_everybody_may_hear_all_guesses_and_hints() -> None:
    async with serve(OpenCards) as server, wires(server.url, 2) as [player, other]:
        assert await player.ask({"name": "Аня"}) == you(1, "Аня")
        told = {**score(1, "Аня"), "guess": 50, "hint": "Больше"}
        await player.send({"guess": 50})
        assert await player.hear_all(2) == ["Больше", told]
        assert await other.hear() == told
        error(await player.ask({"guess": 0}))
        await other.send({"guess": SECRET})
        won = score(2, wins=1)
        assert await player.hear_all(3) == [
            "Игрок #2 угадал число 42!",
            won,
            {**won, "guess": 42, "hint": "Вы угадали!"},
        ]


# Something else to ask for


class Surrender(Game):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.requests["surrender"] = self.reveal

    def reveal(self, client: Client, request: Any) -> None:
        if request["surrender"] is not True:
            raise ValueError('Сдаётесь? Тогда отправьте {"surrender": true}.')
        self.send([client], {"secret": self.round.secret})


async def test_clients_may_ask_for_something_else() -> None:
    async with serve(Surrender) as server, wire(server.url) as player:
        assert error(await player.ask({"surrender": 1})).startswith("Сдаётесь?")
        await player.send({"surrender": True, "guess": 50})
        assert await player.hear_all(2) == ["Больше", {"secret": SECRET}]


class Stumbling(Game):
    def tell_scores(self, client: Client, request: Any) -> None:
        raise RuntimeError("this game has a fault")


async def test_a_game_that_stumbles_loses_only_the_player_who_made_it(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(Stumbling) as server, wires(server.url, 2) as [player, other]:
        await player.send({"scores": True})
        assert await player.hear_goodbye() == 1011
        assert list(server.clients) == [2]
        assert await other.ask({"guess": 50}) == "Больше"
    assert "the game stumbled over what #1 '' said" in caplog.text
    assert "this game has a fault" in caplog.text
    caplog.clear()


# Somebody else's server

app = FastAPI()
queues: dict[Client, asyncio.Queue[Message]] = {}


def put(clients: Iterable[Client], message: Message) -> None:
    for client in clients:
        queues[client].put_nowait(message)


async def write(socket: WebSocket, queue: asyncio.Queue[Message]) -> None:
    while True:
        message = await queue.get()
        if isinstance(message, dict) and "close" in message:
            await socket.close(*message.values())
        else:
            await socket.send_json(message)


@app.websocket("/game")
async def play(socket: WebSocket) -> None:
    await socket.accept()
    client = Client()
    queue = queues[client] = asyncio.Queue()
    writer = asyncio.ensure_future(write(socket, queue))
    try:
        app.state.game.join(client)
        async for text in socket.iter_text():
            app.state.game.answer(client, text)
    finally:
        app.state.game.leave(client, "said goodbye")
        writer.cancel()
        del queues[client]


@asynccontextmanager
async def uvicorn() -> AsyncIterator[str]:
    """Run the app in a real web server; yield the address of the game."""
    server = Server(Config(app, port=0, lifespan="off", log_config=None))
    serving = asyncio.ensure_future(server.serve())
    await eventually(lambda: server.started)
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/game"
    server.should_exit = True
    await serving


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # which parts of websockets it uses is its own affair
async def test_the_same_game_can_be_played_behind_somebody_elses_server() -> None:
    game = app.state.game = Game(put, draw=lambda low, high: SECRET)
    async with uvicorn() as url, wire(url) as player, wire(url) as other:
        assert await bisect(player) == SECRET
        assert await player.hear() == score(1, wins=1)
        assert await other.hear_all(2) == ["Игрок #1 угадал число 42!", score(1, wins=1)]
        error(await other.ask({"guess": 50}))
        game.new_round()
        assert [await each.hear() for each in (player, other)] == [NEW_GAME, NEW_GAME]
        assert await player.ask({"name": "Аня", "key": KEYS[0]}) == you(1, "Аня", 1)
        async with wire(url) as again:
            assert await again.ask({"key": KEYS[0]}) == you(1, "Аня", 1)
            assert await player.hear_goodbye() == 4001
        await eventually(lambda: list(game.clients) == [2])
        assert await other.ask({"scores": True}) == {
            "scores": [score(1, "Аня", 1), score(2)],
            "players": 1,
            "over": False,
            "you": 2,
        }
        game.remove(2)
        assert await other.hear_goodbye() == 1008
    assert not queues
