"""Kept originals past their days let their bytes go, a batch at a time; never one that something still needs.

What stays is the message's row: who sent it and when, what became of it, what makes a resend a duplicate. Never let go:
messages without an outcome, quarantined or parked ones, those younger than the replay window, and originals a current
resource points to (`Binary/<key>` of a document). Without a rule everything is kept for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import msgspec

from ..model.context import SYSTEM, AccessContext
from ..model.outcome import Outcome
from ..model.resource import type_and_id
from ..model.times import Clock
from ..settings import Keep
from ..store.base import Resource
from .queue import Entry, Inbox

log = logging.getLogger("gateway.inbox")
BATCH = 500
_EVERY_S = 3600.0
_BREATH_S = 0.05
"""Between two batches, so that arrivals are never behind them."""
_POINTING = ("DocumentReference", "DiagnosticReport", "Composition", "Media")
"""Types that may point to an original."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """looked: messages old enough to be looked at. by: (source, kind) → messages and bytes let go.

    needed: their days are over, and something points to them. after: where the next batch goes on, "" at the end.
    """

    looked: int = 0
    needed: int = 0
    by: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    after: str = ""

    @property
    def removed(self) -> int:
        """Messages let go."""
        return sum(count for count, _ in self.by.values())

    @property
    def bytes(self) -> int:
        """Bytes as they were received."""
        return sum(size for _, size in self.by.values())

    def __add__(self, other: Pruned) -> Pruned:
        by = dict(self.by)
        for cause, (count, size) in other.by.items():
            known = by.get(cause, (0, 0))
            by[cause] = known[0] + count, known[1] + size
        return Pruned(self.looked + other.looked, self.needed + other.needed, by, other.after)


class Known(Protocol):
    """What is asked of the store: a running gateway's own, or a look into it from beside."""

    async def done(self, raw_keys: list[str]) -> dict[str, bytes]:
        """Outcomes of settled messages."""

    async def read_many(self, refs: list[tuple[str, str]], who: AccessContext) -> list[Resource]:
        """Current versions."""


class Retention:
    """Applies the rules of the settings; the first that fits a message decides."""

    def __init__(self, inbox: Inbox, store: Known, rules: Sequence[Keep], clock: Clock, *, replay_days: int) -> None:
        self._inbox, self._store, self._clock = inbox, store, clock
        self._replay_days = replay_days
        self._rules = [replace(one, days=max(one.days, replay_days) if one.days else 0) for one in rules]

    @property
    def idle(self) -> bool:
        """True when no rule lets anything go."""
        return not any(one.days for one in self._rules)

    async def run(self) -> None:
        """Every hour, in batches, until cancelled."""
        while not self.idle:
            done = await self.all(dry=False)
            if done.removed:
                log.info("originals let go: %s messages, %s bytes", done.removed, done.bytes)
            await asyncio.sleep(_EVERY_S)

    async def all(self, *, dry: bool, most: int = 1 << 62) -> Pruned:
        """Every batch there is, at most so many messages looked at."""
        done = Pruned()
        while done.looked < most:
            done += await self.batch(done.after, dry=dry, limit=min(BATCH, most - done.looked))
            if not done.after:
                break
            await asyncio.sleep(_BREATH_S)
        return done

    async def batch(self, after: str = "", *, dry: bool, limit: int = BATCH) -> Pruned:
        """Look at the oldest messages after `after`; let go what may go."""
        days = [one.days for one in self._rules if one.days]
        if not days:
            return Pruned()
        now = self._clock()
        old = await self._inbox.messages.old(now - timedelta(days=min(days)), after, limit)
        outcomes = await self._store.done([one.key for one in old])
        found = [(one, msgspec.json.decode(outcomes[one.key], type=Outcome)) for one in old if one.key in outcomes]
        due = [(one, said) for one, said in found if self._over(one, said.kind, (now - one.at).days)]
        free = [(one, said.kind) for one, said in due if not await self._pointed_at(one.key, said)]
        if free and not dry:
            await self._inbox.messages.forget([one.key for one, _ in free])
        done = Pruned(len(old), len(due) - len(free), after=old[-1].key if len(old) == limit else "")
        for one, kind in free:
            done += Pruned(by={(one.source, kind): (1, one.size)}, after=done.after)
        return done

    def _over(self, one: Entry, kind: str, age_days: int) -> bool:
        """True when the message's days are over by the first rule that fits."""
        for rule in self._rules:
            if rule.source in ("", one.source) and rule.kind in ("", one.format, kind, kind.partition("^")[0]):
                return 0 < rule.days <= age_days
        return False

    async def _pointed_at(self, key: str, said: Outcome) -> bool:
        wanted = [ref for ref in map(type_and_id, said.resources) if ref[0] in _POINTING]
        mark = f'"Binary/{key}"'.encode()
        return any(mark in row.body for row in await self._store.read_many(wanted, SYSTEM)) if wanted else False
