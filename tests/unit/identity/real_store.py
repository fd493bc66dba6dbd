"""A real store behind the helpers of `MemoryStore`, so that the same tests run on it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from gateway.model.context import SYSTEM
from gateway.model.resource import dumps, loads
from gateway.store.base import Committed, Plan, SourceRecordRow
from gateway.store.bodies import prepare
from gateway.store.resources import ResourceStore

from .memory import MemoryStore


class RealStore(MemoryStore):
    """Reads and commits go to the engine; `versions` and `rows` are read back from it after every commit."""

    def __init__(self, real: ResourceStore) -> None:
        super().__init__()
        self.real, self.store_key = real, real.store_key

    async def commit(self, plan: Plan) -> Committed:
        puts = tuple(
            prepare(
                p.type, p.id, p.body, patient=p.patient, src=p.src, member=p.member, meta=loads(p.meta), expect=p.expect
            )
            for p in plan.puts
        )
        done = await self.real.commit(replace(plan, puts=puts))
        await self._refresh(plan)
        return done

    async def _refresh(self, plan: Plan) -> None:
        for type_, id_ in {(p.type, p.id) for p in plan.puts} | set(self.versions):
            found = await self.real.history(type_, id_, SYSTEM, count=100)
            self.versions[(type_, id_)] = [replace(one, body=_as_put(one.body)) for one in found[::-1]]
        keys = list({(r.member, r.local_number) for r in plan.records} | set(self.rows))
        rows = await self.real.records(keys)
        self.rows = {(row.member, row.local_number): row for row in rows if row}

    async def read(self, *asked: Any, **more: Any) -> Any:
        return await self.real.read(*asked, **more)

    async def read_many(self, *asked: Any, **more: Any) -> Any:
        self.reads.append("read_many")
        return await self.real.read_many(*asked, **more)

    async def history(self, *asked: Any, **more: Any) -> Any:
        return await self.real.history(*asked, **more)

    async def find_identifier(self, *asked: Any, **more: Any) -> Any:
        return await self.real.find_identifier(*asked, **more)

    async def records(self, keys: list[tuple[str, str]]) -> list[SourceRecordRow | None]:
        self.reads.append("records")
        return await self.real.records(keys)

    async def records_of(self, *asked: Any, **more: Any) -> Any:
        return await self.real.records_of(*asked, **more)

    async def search(self, *asked: Any, **more: Any) -> Any:
        return await self.real.search(*asked, **more)


def _as_put(body: bytes) -> bytes:
    """The version without what the server says of it."""
    if not body:
        return body
    read = loads(body)
    meta = {key: value for key, value in read["meta"].items() if key not in ("versionId", "lastUpdated")}
    return dumps({**read, "meta": meta})
