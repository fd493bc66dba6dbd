"""The line to a process beside the gateway: whole messages, however the socket cuts them."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from gateway.model.child import HEAD, Line, Lost

MESSAGES = [(1, 7, b""), (2, 8, b"x"), (3, 2**32 - 1, "血".encode() * 70_000), (4, 0, b"\0" * 300)]


class End:
    """One end, with all it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, bytes]] = []
        self.lost = 0
        self.line = Line(lambda _: lambda *message: self.heard.append(message), self._gone)

    def _gone(self) -> None:
        self.lost += 1

    async def on(self, sock: socket.socket) -> None:
        """Serve this socket."""
        await asyncio.get_running_loop().create_connection(lambda: self.line, sock=sock)

    async def until(self, count: int) -> None:
        """Until so many were heard."""
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                await asyncio.sleep(0.001)


async def test_messages_come_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    one, other = End(), End()
    await one.on(ours)
    await other.on(theirs)
    for message in MESSAGES * 3:
        one.line.say(*message)
    await one.line.room()
    await other.until(len(MESSAGES) * 3)
    assert other.heard == MESSAGES * 3
    one.line.close()
    async with asyncio.timeout(10):
        while not other.lost:
            await asyncio.sleep(0.001)
    assert (one.lost, other.lost, other.line.open) == (1, 1, False)
    with pytest.raises(Lost):
        other.line.say(1, 1)
    with pytest.raises(Lost):
        await other.line.room()


def test_a_message_may_be_cut_anywhere() -> None:
    said = b"".join(HEAD.pack(len(data), kind, number) + data for kind, number, data in MESSAGES)
    chance = random.Random(4)
    for size in (1, 2, 8, 9, 10, 4096, len(said)):
        end, at = End(), 0
        while at < len(said):
            step = size if at < 64 or size > 10 else chance.randrange(1, 60_000)
            end.line.data_received(said[at : at + step])
            at += step
        assert end.heard == MESSAGES
