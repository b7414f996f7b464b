"""The same game behind many doors: one judge, any number of doors, and Redis between them.

A door is a GameServer whose game is elsewhere: it holds connections, with all their limits,
and hands on what players say. The judge has the one Game, and no port. In `notebooks`, run

    python -m kit.doors judge --high 1000
    python -m kit.doors door 8765 --host 0.0.0.0

REDIS_URL says where Redis is. A second judge waits until the first is gone. Who may have missed
something is sent away with close code 1013, and comes back by the key. What is lost when

    a door dies     nothing, for players with a key and a win
    Redis dies      what was on its way; nothing else, for players with a key and a win
    the judge dies  the number, all names and all scores
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Iterable

from guessgame import Client, Message, Parser, add_serve_options, log_from_a_thread

from .broker import BEAT, LIFE, Member, Relay

GO_AWAY: Any = {"close": 1013, "reason": "come back in a moment"}


class Door(Member):
    """Hold connections for the judge."""

    def __init__(self, **options: Any) -> None:
        super().__init__(game=Relay, **options)
        self.game.send = self.hand_on
        self.judge = ""  # the channel of the one who knows our players

    def hand_on(self, clients: Iterable[Client], message: Message) -> None:
        """Tell the judge what players do."""
        for client in clients:
            self.publish(self.judge, [client.id, message])

    def hear(self, by: str, letter: Any) -> None:
        """Send players what their judge says."""
        seats, message = letter
        if by == self.judge:
            seated = self.clients
            here = [seated[seat] for seat in seats if seat in seated]
            self.send(here, message)

    async def beat(self) -> None:
        """See who the judge is, and show that we are here."""
        while True:
            judge: Any = await self.broker.get(self.house)
            if judge != self.judge:
                self.lose()
            self.judge = judge or ""
            self.publish(self.judge)
            await asyncio.sleep(BEAT)

    def lose(self, channel: str = "") -> None:
        """Send everybody away: there is no judge who knows them."""
        self.send(self.clients.values(), GO_AWAY)


class Judge(Member):
    """Play the one game with everybody, behind whatever door."""

    has_port = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.places: dict[Client, Any] = {}  # the channel of a door, a seat there
        self.players: dict[Any, Client] = {}  # and who it is

    def send(self, clients: Iterable[Client], message: Message) -> None:
        """Tell doors what to send to whom."""
        doors: dict[str, list[int]] = {}
        for client in clients:
            door, seat = self.places[client]
            doors.setdefault(door, []).append(seat)
        for door, seats in doors.items():
            self.publish(door, [seats, message])

    def hear(self, by: str, letter: Any) -> None:
        """Play with a player behind a door."""
        seat, said = letter
        place = by, seat
        if "joins" in said:
            client = Client()
            self.players[place] = client
            self.places[client] = place
            self.game.join(client)
        elif place not in self.players:
            return  # we have lost them
        elif "says" in said:
            data = said["says"]
            if data is None:  # it was not text
                data = b""
            self.game.answer(self.players[place], data)
        else:
            self.leave(place, said["leaves"])
        if self.countdown is None:
            self.schedule()

    def leave(self, place: Any, why: str) -> None:
        """Let a player leave."""
        client = self.players.pop(place)
        self.game.leave(client, why)
        del self.places[client]

    async def beat(self) -> None:
        """Be the judge, once nobody else is, and show doors that we are here."""
        lock = self.broker.lock(self.house, timeout=LIFE)
        await lock.acquire(token=self.channel)
        while await lock.reacquire():
            for door in {door for door, _ in self.players}:
                self.publish(door)
            await asyncio.sleep(BEAT)

    def lose(self, channel: str = "") -> None:
        """Let those leave who came through this door; without one, everybody."""
        for place in list(self.players):
            if channel in ("", place[0]):
                self.leave(place, "the door is gone")


async def main() -> None:
    """Run a judge or a door until Ctrl-C."""
    parser = Parser("kit.doors", usage=__doc__)
    parser.add_argument("role", choices=["judge", "door"])
    parser.add_argument("at", metavar="port", nargs="?", type=int)
    add_serve_options(parser.add_argument)
    options = vars(parser.parse_args())
    role = options.pop("role")
    at = options.pop("at")
    if at is not None:
        options["port"] = at
    make: Any = Door if role == "door" else Judge
    member = make(**options)
    log_from_a_thread()
    async with member:
        where = member.url if role == "door" else role
        print(where, flush=True)
        await member.work


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
