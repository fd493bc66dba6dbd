"""The inbox's contract: raw messages, durable before anybody says thank you, taken up in order, settled once.

Both engines pass `tests/contract/test_inbox.py`. The inbox is apart from the store (a file, a schema of its own) with
its own writer, so that no large transaction in the store holds up an acknowledgement (design-store §4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..model.message import RawMessage
from ..model.outcome import State
from .base import hash64
from .positions import Positions

STATES = (State.RECEIVED, State.PROCESSED, State.QUARANTINED, State.PARKED)
"""By the number a kept message carries."""
NUMBER = {state: number for number, state in enumerate(STATES)}
REUSED = "GW-INB-005"
"""Reason of a message whose control id came before with other content."""
REPLAY = "replay"
"""Reason of a message set back on purpose, which runs again although the store knows its outcome."""
NEVER_CAME = "GW-INB-031"
"""Reason of a message that waited in vain; what it waits for still wakes it."""
EVERYTHING = "*"
"""Stands for whatever anybody waits for, where nobody knows what a message made known."""
HELD_MOST = 1_024
"""Messages a process has claimed and not settled at most, most of them waiting for an earlier one of their lane."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a door hands in. `twin_text` empty: the content itself decides what is a duplicate.

    refused: GW code when the door already knows the message cannot be processed (kept all the same).
    """

    source: str
    format: str
    body: bytes
    at: datetime
    control: str = ""
    name: str = ""
    content: bytes | None = None  # what counts as content (v2: without MSH-7); None = body
    refused: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """key: the inbox key, of the first arrival for a duplicate. clash: same control id, other content."""

    key: str
    duplicate: bool = False
    clash: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept message without its body."""

    key: str
    source: str
    format: str
    name: str
    control: str
    at: datetime
    state: State
    reason: str
    outcome: str
    size: int
    held: bool = True  # False once its bytes were let go


@dataclass(frozen=True, slots=True)
class Settled:
    """A new state of a message; `outcome` is JSON, kept here for quarantined and parked ones only.

    awaits: names of what it waits for, until `until` (None: by no time). made: names of what it made known. sender: of
    a message kept without one, whom the mappings know it to be from by now.
    """

    key: str
    state: State
    reason: str = ""
    outcome: str = ""
    awaits: tuple[str, ...] = ()
    until: datetime | None = None
    made: tuple[str, ...] = ()
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An open message that is this process's to work on.

    again: set back on purpose, runs even if done already. suspect: a process died that may have been working on it.
    """

    raw: RawMessage
    again: bool = False
    suspect: bool = False


class Messages(Protocol):
    """Kept messages. Of every open one a single process holds the claim, until it settles it or dies."""

    positions: Positions
    """How far sources were read that are polled instead of sending."""

    async def keep(self, arrival: Arrival) -> Kept:
        """Returns once the bytes are on disk."""

    async def claim(self, limit: int) -> list[Claimed]:
        """Open messages nobody holds, oldest first; each is given once.

        What a process that died had claimed is given whatever the limit, for later messages may wait for it.
        """

    async def attempt(self, key: str) -> int:
        """Count, durably, that a suspect is about to be worked on; how many times now since it was set back last."""

    async def say_lanes(self, lanes: Mapping[str, Sequence[str]]) -> None:
        """In which lanes claimed messages run, by key; owed for every message claimed, () for none, before any `turn`.

        Until it is said, other processes let no later message begin.
        """

    async def turn(self, keys: Sequence[str]) -> None:
        """Returns when no earlier message another process holds shares a lane with these."""

    async def settle(self, settled: Sequence[Settled]) -> int:
        """Record new states, all in one commit; the claims end.

        Messages that wait for what these made known are set back; returns how many.
        """

    async def overdue(self, now: datetime) -> int:
        """Set back parked messages whose time is over; returns how many there were."""

    async def reopen(self, keys: Iterable[str]) -> int:
        """Set messages back to received (replay), as far as their bytes are held; returns how many there were."""

    async def old(self, before: datetime, after: str, limit: int) -> list[Entry]:
        """Processed messages received before that and still with their bytes, oldest first; `after`: where to go on."""

    async def forget(self, keys: Iterable[str]) -> int:
        """Let the bytes of processed messages go; their rows stay. Returns how many there were."""

    async def open_count(self) -> int:
        """How many messages have no outcome yet, claimed or not."""

    async def backlog(self) -> tuple[int, datetime | None]:
        """Bytes of the messages without an outcome, and when the oldest of them came (those set back have no age)."""

    async def raw(self, key: str) -> RawMessage | None:
        """One message with its bytes, exactly as received."""

    async def entry(self, key: str) -> Entry | None:
        """One message without its bytes."""

    async def entries(
        self, *, state: State | None = None, source: str = "", reason: str = "", before: str = "", limit: int = 50
    ) -> list[Entry]:
        """Newest first; `before` is a key to go on from."""

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many messages by (source, state)."""

    async def reasons(self) -> list[str]:
        """Codes for which messages are quarantined now."""

    def waiting(self) -> int:
        """Arrivals of this process queued for the disk: the door's measure of back-pressure."""

    async def close(self) -> None:
        """Commit what is queued and close; claims not settled go back."""


def key_of(seq: int) -> str:
    """Inbox key of a message number."""
    return f"m{seq}"


def seq_of(key: str) -> int:
    """Number of an inbox key; -1 for what is none."""
    return int(key[1:]) if key[:1] == "m" and key[1:].isdigit() and len(key) < 20 else -1


_NO_TIME = (1 << 63) - 1


async def newest(
    messages: Messages,
    sources: Collection[str],
    *,
    state: State | None = None,
    reason: str = "",
    before: str = "",
    limit: int = 50,
) -> list[Entry]:
    """As `Messages.entries`, of several sources; each is read by its own index, however rarely it sends."""
    found = [
        entry
        for source in sources
        for entry in await messages.entries(state=state, source=source, reason=reason, before=before, limit=limit)
    ]
    return sorted(found, key=lambda entry: -seq_of(entry.key))[:limit]


def waits_of(one: Settled) -> list[tuple[int, int, int]]:
    """Rows (what, message number, deadline in epoch ms) for a message that waits."""
    due = int(one.until.timestamp() * 1000) if one.until else _NO_TIME
    return [(hash64(what), seq_of(one.key), due) for what in dict.fromkeys(one.awaits)]


def made_by(settled: Iterable[Settled]) -> list[int] | None:
    """Hashes of what these messages made known; None for everything."""
    names = {name for one in settled for name in one.made}
    return None if EVERYTHING in names else [hash64(name) for name in names]
