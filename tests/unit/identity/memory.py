"""A store of dictionaries with the contract's preconditions, for the index alone; nothing is durable."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from gateway.errors import Conflict
from gateway.identity.workspace import Resolution
from gateway.model.context import AccessContext
from gateway.model.query import Query
from gateway.model.resource import Json, dumps, loads
from gateway.store.base import Committed, Keys, Page, Plan, Put, Resource, SourceRecordRow, src_of
from gateway.store.stand import stand_of

AT = datetime(2026, 3, 20, 1, tzinfo=UTC)


class MemoryStore:
    """Versions by (type, id); rows remember their src so that moves can be replayed."""

    store_key = b"0" * 32

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], list[Resource]] = {}
        self.rows: dict[tuple[str, str], SourceRecordRow] = {}
        self.reads: list[str] = []

    async def read(self, type_: str, id_: str, who: AccessContext) -> Resource | None:
        self.reads.append("read")
        return self.versions.get((type_, id_), [None])[-1]

    async def read_many(self, refs: list[tuple[str, str]], who: AccessContext) -> list[Resource]:
        self.reads.append("read_many")
        return [self.versions[ref][-1] for ref in refs if ref in self.versions]

    async def vread(self, type_: str, id_: str, version: int, who: AccessContext) -> Resource | None:
        return next((one for one in self.versions.get((type_, id_), ()) if one.version == version), None)

    async def history(self, type_: str, id_: str, who: AccessContext, *, count: int, before: int = 0) -> list[Resource]:
        return self.versions.get((type_, id_), [])[::-1][:count]

    async def find_identifier(self, type_: str, system: str, value: str) -> list[Resource]:
        self.reads.append("find_identifier")
        return [r for r in self.current(type_) if _holds(r, system, value)]

    async def everything(self, patient_id: str, who: AccessContext, *, types: frozenset[str]) -> list[Resource]:
        mark = f'"Patient/{patient_id}"'.encode()
        return [r for one in types for r in self.current(one) if mark in r.body]

    async def records(self, keys: list[tuple[str, str]]) -> list[SourceRecordRow | None]:
        self.reads.append("records")
        return [self.rows.get(key) for key in keys]

    async def records_of(self, patient_id: str) -> list[SourceRecordRow]:
        self.reads.append("records_of")
        return [row for row in self.rows.values() if row.patient == patient_id]

    async def search(self, query: Query, who: AccessContext) -> Page:
        """Patients by identifier, birthdate (prefix), gender, name and Tasks by person: what the index asks."""
        self.reads.append("search")
        found = [r for r in self.current(query.type) if query.retired or loads(r.body).get("active", True)]
        for one in query.filters:
            found = [r for r in found if any(_matches(loads(r.body), one.code, v) for v in one.values)]
        return Page(tuple(found[: query.count]), (), "", None, 0, AT)

    def current(self, type_: str) -> list[Resource]:
        return [versions[-1] for (kind, _), versions in sorted(self.versions.items()) if kind == type_]

    def bodies(self, type_: str) -> list[Json]:
        return [loads(r.body) for r in self.current(type_)]

    async def commit(self, plan: Plan) -> Committed:
        standing = {src_of(*key): stand_of(row) for key, row in self.rows.items()}
        if any(standing.get(src, "") != stand for src, stand in plan.rests):
            raise Conflict("rests")
        for type_, system, value in plan.unclaimed:
            own = {put.id for put in plan.puts if put.type == type_ and put.expect is not None}
            if any(_holds(r, system, value) and r.id not in own for r in self.current(type_)):
                raise Conflict("unclaimed")
        seen: set[tuple[str, str]] = set()
        for put in plan.puts:
            key = (put.type, put.id)
            if put.expect is not None and put.expect != len(self.versions.get(key, [])) and key not in seen:
                raise Conflict(f"{put.type}/{put.id}")
            seen.add(key)
        for record in plan.records:
            fields = (record.member, record.local_number)
            self.rows[fields] = SourceRecordRow(
                src_of(*fields), *fields, record.patient, record.content, record.said_at, record.state
            )
        for move in plan.moves:
            for key, versions in list(self.versions.items()):
                last = versions[-1]
                if last.src in move.srcs and f"Patient/{move.from_patient}".encode() in last.body:
                    old, new = f"Patient/{move.from_patient}".encode(), f"Patient/{move.to_patient}".encode()
                    versions.append(replace(last, version=last.version + 1, body=last.body.replace(old, new)))
                    self.versions[key] = versions
        for put in plan.puts:
            self._put(put)
        return Committed(1, AT, ())

    def _put(self, put: Put) -> None:
        versions = self.versions.setdefault((put.type, put.id), [])
        body = dumps({**loads(put.body), "id": put.id, "meta": loads(put.meta)})
        if versions and _content(versions[-1].body) == _content(body):
            return
        versions.append(Resource(put.type, put.id, len(versions) + 1, AT, put.member, put.src, body))

    async def apply(self, made: Resolution, *more: Put) -> None:
        """Commit a resolution as the pipeline does."""
        puts = [
            Put(r.type, r.id, r.body, Keys(), dumps(r.meta), r.patient, r.src, r.member, 0, r.expect)
            for r in made.resources
        ]
        await self.commit(
            Plan((*puts, *more), records=made.records, moves=made.moves, unclaimed=made.unclaimed, rests=made.rests)
        )


def _content(body: bytes) -> tuple[Json, Json]:
    whole = loads(body)
    meta = whole.pop("meta")
    return whole, {key: value for key, value in meta.items() if key != "source"}


def _holds(resource: Resource, system: str, value: str) -> bool:
    return any(
        one.get("system") == system and one.get("value") == value for one in loads(resource.body).get("identifier", ())
    )


def _matches(body: Json, code: str, value: str) -> bool:
    if code == "birthdate":
        return str(body.get("birthDate", "")).startswith(value.removeprefix("eq"))
    if code == "name":
        return any(value in str(one.get("text", "")) for one in body.get("name", ()))
    if code == "identifier":
        system, _, number = value.rpartition("|")
        return any(one.get("system", "") == system and one.get("value") == number for one in body.get("identifier", ()))
    if code in ("patient", "focus"):
        element = body.get("for" if code == "patient" else "focus", {})
        return str(element.get("reference", "")) == value
    if code == "relatesto":
        return any(one["target"]["reference"] == value for one in body.get("relatesTo", ()))
    return str(body.get(code, "")) == value
