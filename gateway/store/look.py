"""A look into a store that other processes work on: for commands beside a running gateway, on either engine.

Nothing is written, and nothing is remembered: every answer is of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..model.context import AccessContext
from .base import Resource, fh_of
from .bodies import Codec, shipped_dictionaries, to_resource
from .engine import Row, Sight
from .search import NOW, sight_of


class Reading(Protocol):
    """What an engine gives a look. Implemented by `PostgresEngine` and `SqliteReading`."""

    store_key: bytes

    async def done(self, raw_keys: Sequence[str]) -> dict[str, bytes]:
        """Outcomes of settled messages."""

    async def messages_of(self, reference: str, limit: int) -> list[str]:
        """Raw keys of messages whose outcome names a resource (`Observation/abc`), newest first. Reads them all."""

    async def current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """Current rows by the hash of type and id."""

    async def dictionaries(self, known: dict[int, bytes]) -> dict[int, bytes]:
        """Every dictionary bodies were ever packed with."""

    async def close(self) -> None:
        """Close files and connections."""


class Look:
    """See above; made by `open_look`."""

    def __init__(self, reading: Reading, codec: Codec) -> None:
        self._reading, self._codec = reading, codec
        self.store_key = reading.store_key
        self.done = reading.done
        self.close = reading.close

    async def messages_of(self, reference: str, limit: int = 50) -> list[str]:
        """Raw keys of the messages that made or changed a resource, newest first."""
        return await self._reading.messages_of(reference, limit)

    async def read_many(self, refs: list[tuple[str, str]], who: AccessContext) -> list[Resource]:
        """Current, not deleted versions of (type, id) pairs in the order asked; absent ones left out."""
        fhs = [fh_of(*one) for one in refs]
        found = await self._reading.current(fhs, sight_of(who, NOW)) if fhs else {}
        return [to_resource(found[fh], self._codec) for fh in fhs if fh in found]


async def open_look(url: str) -> Look:
    """The store at `sqlite:///<directory>` or `postgresql://…`. Raises ConfigError, UnsafeStore, StoreError."""
    reading = await _reading(url)
    shipped = shipped_dictionaries()
    return Look(reading, Codec(list(shipped)[-1], await reading.dictionaries(shipped)))


async def _reading(url: str) -> Reading:
    if url.startswith("postgres"):
        from .engine_postgres import open_engine  # psycopg comes with the extra `postgres`

        return await open_engine(url)
    from .sqlite_reading import SqliteReading

    return SqliteReading(url.removeprefix("sqlite:///"))
