"""Mutated messages through the whole door: no uncaught error, none takes long, every answer can be read by its sender.

Frame, decode, split, map, check, pack, acknowledge: everything but the disk. MESSAGES and SEED in the environment
choose others: `MESSAGES=1000000 SEED=7 pytest -m slow tests/flow/test_mutated_messages.py -s`.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import pytest

from gateway.app import settle_interpreter
from gateway.errors import GatewayError
from gateway.inbound.intake import Intake, Receipt, envelope
from gateway.inbound.mllp import Frames
from gateway.inbox.queue import Arrival, Inbox, Kept
from gateway.model.directory import Source
from gateway.model.ids import Ids
from gateway.model.message import RawMessage
from gateway.shipped import shipped
from gateway.store.bodies import prepare
from gateway.store.inbox_base import Messages
from gateway.translate.engine import Mappings
from gateway.translate.read_v2 import Peek, peek_v2
from tests.flow.mutations import mutated, originals
from tests.unit.translate.v2_messages import NOW

_LIMIT_S = 0.05
_ACK = re.compile(
    r"MSH(?P<bar>.)(?P<marks>.{4})(?P=bar).*\rMSA(?P=bar)(?:A[AER]|C[AER])(?P=bar)[^\r]*\r(?:ERR(?P=bar)[^\r]*\r)?"
)
_BATCH = re.compile(rb"BHS.*\r(?:MSH|BTS).*\r", re.DOTALL)


class _Forgetful:
    """An inbox on no disk: what it is given, it hands on and forgets."""

    def __init__(self) -> None:
        self.last: list[Arrival] = []

    def waiting(self) -> int:
        return 0

    async def backlog(self) -> tuple[int, None]:
        return 0, None

    async def keep(self, arrival: Arrival) -> Kept:
        self.last.append(arrival)
        return Kept("m1")


@dataclass
class Door:
    """One message after the other through everything."""

    mappings: Mappings
    spent: Counter[str] = field(default_factory=Counter)
    worst: tuple[float, int, str] = (0.0, 0, "")
    said: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._shelf = _Forgetful()
        self._intake = Intake(Inbox(cast(Messages, self._shelf)), self.mappings, lambda: NOW)
        self._ids = Ids(b"mutation" * 4)
        self._sandbox = self.mappings.directory.sources["sandbox"]

    async def take(self, seed: int, how: str, body: bytes) -> None:
        """Everything one frame causes; its answers are looked at after the clock stopped."""
        self._shelf.last.clear()
        began = time.thread_time()
        receipts = [
            (frame, await (self._intake.broken(frame, fault) if fault else self._intake.v2(frame)))
            for frame, fault in Frames().feed(b"\x0b" + body + b"\x1c\r")
        ]
        for arrival in self._shelf.last:
            self.work_off(arrival)
        took = time.thread_time() - began
        self.spent[how] += int(took * 1e6)
        self.worst = max(self.worst, (took, seed, how))
        for frame, receipt in receipts:
            readable(frame, receipt)
            if receipt.later is not None:
                readable(frame, Receipt(receipt.kept, ack=await receipt.later))

    def work_off(self, arrival: Arrival) -> None:
        """Translate, check and pack, as the pipeline does; what cannot be is refused with its reason."""
        source: Source = self.mappings.directory.sources.get(arrival.source) or self._sandbox
        raw = RawMessage("m1", source.name, "v2", arrival.body, NOW)
        try:
            draft = self.mappings.translate(raw, source, self._ids, NOW)
            for one in draft.resources:
                prepare(one.type, one.id, one.body.replace(b'"Patient/@', b'"Patient/record-'), member=source.member)
        except GatewayError as fault:
            self.said[fault.code] += 1
        else:
            self.said["translated"] += 1


def readable(frame: bytes, receipt: Receipt) -> None:
    """The answer is in the charset the message came in, and has MSH, MSA and perhaps ERR."""
    if not receipt.ack:
        return
    if receipt.ack.startswith(b"BHS"):  # each message's own answer inside is in its charset
        assert _BATCH.fullmatch(receipt.ack), receipt.ack
        return
    try:
        charset = (peek_v2(frame) if receipt.error is None else Peek.of_broken(frame)).charset
        text = receipt.ack.decode(charset)
    except (GatewayError, UnicodeDecodeError):  # what is no message is looked at as far as its envelope may reach
        text = receipt.ack.decode(Peek.of_broken(envelope(frame)).charset)
    assert _ACK.fullmatch(text), text
    assert text.count("\r") in (2, 3), text


@pytest.fixture(scope="module")
def mappings() -> Mappings:
    """The shipped maps, with the traced function of each: compiling it takes the first faulty message 0.1 s."""
    loaded = Mappings.load([shipped("mappings")])
    for one in loaded._compiled.values():
        assert one.traced
    return loaded


async def campaign(mappings: Mappings, first: int, count: int) -> Door:
    door = Door(mappings)
    for body in originals():
        await door.take(-1, "as it was", body)
    settle_interpreter()
    door.worst = (0.0, 0, "")
    for seed in range(first, first + count):
        how, body = mutated(seed)
        try:
            await door.take(seed, how, body)
        except Exception as fault:
            raise AssertionError(f"seed {seed}: {how}") from fault
    return door


def test_two_thousand_mutated_messages(mappings: Mappings) -> None:
    door = asyncio.run(campaign(mappings, int(os.environ.get("SEED", "1")) * 10_000_000, 2_000))
    assert door.said["translated"] > 500, door.said
    assert door.worst[0] < 4 * _LIMIT_S, door.worst  # beside other tests; the campaign holds the limit itself


@pytest.mark.slow
def test_a_million_mutated_messages(mappings: Mappings) -> None:
    count, seed = int(os.environ.get("MESSAGES", "1000000")), int(os.environ.get("SEED", "1"))
    door = asyncio.run(campaign(mappings, seed * 10_000_000, count))
    print(f"\n{count:,} messages from seed {seed}: worst {door.worst[0] * 1e3:.1f} ms, {door.worst[1:]}; {door.said}")
    assert door.worst[0] < _LIMIT_S, door.worst
