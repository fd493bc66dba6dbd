"""The store as everybody sees it: reads with a caller in hand, writes by plans, on whichever engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import structs

from ..errors import ConfigError, Conflict, GatewayError
from ..model.context import SYSTEM
from ..model.times import Clock
from .aside import aside
from .audit_log import AuditBook, AuditLog, encode_audit
from .audit_sqlite import SqliteAudit
from .base import (
    AuditQuery,
    AuditRow,
    Committed,
    Condition,
    Kept,
    Move,
    PackedPut,
    Plan,
    Put,
    Resource,
    SourceRecordRow,
    fh_of,
    hash64,
    src_of,
)
from .bodies import (
    Codec,
    has_identifier,
    ident_hash,
    named,
    open_body,
    opened_put,
    pack_put,
    repointed,
    shipped_dictionaries,
    stored_put,
    survivor_in,
)
from .changes import Changes
from .engine import (
    DELETED,
    Engine,
    PackedCondition,
    PackedMove,
    PackedPlan,
    Replan,
    Row,
    Unclaimed,
    Vacant,
)
from .engine_sqlite import SqliteEngine
from .figures import Figures
from .reads import ResourceReads
from .reindex import due, reindex
from .search import NOW, sight_of
from .zones import survey

_TRIES = 5
_MANY = 500
"""What is more than this is worked on in a thread."""
_LOG = logging.getLogger(__name__)
_SEAL_S = 1.0


async def open_store(url: str, *, clock: Clock, page_life_s: int = 3600) -> ResourceStore:
    """The store at `sqlite:///<directory>` or `postgresql://…`.

    Raises UnsafeStore for settings that could lose data, ConfigError for an address of no engine, a database that
    does not answer or one whose extra is not installed.
    """
    engine, book = await _opened(url)
    shipped = shipped_dictionaries()
    codec = Codec(list(shipped)[-1], await engine.dictionaries(shipped))
    store = ResourceStore(engine, codec, AuditLog(book, engine), clock, page_life_s)
    if await store.reindex_due():
        _LOG.warning(
            "the search index is of another version: run `gateway store reindex`, else some searches miss rows"
        )
    store.start()
    return store


async def _opened(url: str) -> tuple[Engine, AuditBook]:
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres") and rest:
        return await _opened_postgres(url)
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/":
        wanted = "sqlite:///目录 或 postgresql://…"
        raise ConfigError("store.url", f"no engine for {scheme or url}", detail_zh=f"应为 {wanted}")
    directory = Path(rest[1:])
    engine = await asyncio.to_thread(SqliteEngine, directory)
    return engine, SqliteAudit(directory)


async def _opened_postgres(url: str) -> tuple[Engine, AuditBook]:
    try:  # psycopg comes with the extra `postgres`; who stays with SQLite does without
        from .engine_postgres import open_engine
        from .postgres_audit import PostgresAudit
    except ImportError as fault:
        detail = f"{fault.name} is missing: pip install 'alliance-gateway[postgres]'"
        raise ConfigError("store.url", detail, detail_zh="缺少 psycopg，请安装 alliance-gateway[postgres]") from None
    engine = await open_engine(url)
    return engine, PostgresAudit(engine.database)


_KEPT_FOR = timedelta(hours=24)


class ResourceStore(ResourceReads):
    """Implements `base.Store`. `changes` is the stream of what is committed, `audit_log` the log itself."""

    def __init__(self, engine: Engine, codec: Codec, audit_log: AuditLog, clock: Clock, page_life_s: int) -> None:
        super().__init__(engine, codec, clock, page_life_s)
        self._engine = engine
        self._life = timedelta(seconds=page_life_s)
        self._tasks: list[asyncio.Task[None]] = []
        self.audit_log = audit_log
        self.changes = Changes(engine, codec)

    # ---- reading ---------------------------------------------------------------------------
    async def find_identifier(self, type_: str, system: str, value: str) -> list[Resource]:
        """Current resources that carry exactly this identifier."""
        rows = await self._holders(type_, system, value)
        return self._opened.all(row for row, holds in rows if holds)

    async def _holders(self, type_: str, system: str, value: str) -> list[tuple[Row, bool]]:
        sight = sight_of(SYSTEM, NOW)
        rows = await self._engine.identified(ident_hash(type_, system, value), sight)
        return [(row, has_identifier(open_body(row, self._codec).body, system, value)) for row in rows]

    async def records(self, keys: list[tuple[str, str]]) -> list[SourceRecordRow | None]:
        """Source records in the order asked."""
        srcs = [src_of(member, number) for member, number in keys]
        found = await self._engine.records(srcs) if srcs else {}
        return [found.get(src) for src in srcs]

    async def records_of(self, patient_id: str) -> list[SourceRecordRow]:
        """All source records that belong to a Patient now."""
        return await self._engine.records_of(patient_id)

    async def done(self, raw_keys: list[str]) -> dict[str, bytes]:
        """Outcomes of messages already settled."""
        return await self._engine.done(raw_keys)

    async def kept(self, key: int) -> Kept | None:
        """The kept answer under an Idempotency-Key, None when there is none or its day is over."""
        found = await self._engine.kept(key)
        return found if found is not None and found.done.at > self._clock() - _KEPT_FOR else None

    async def freshness(self) -> dict[str, datetime]:
        """By member, when something it sent was last committed, whether or not it was new."""
        return await self._engine.freshness()

    async def figures(self) -> Figures:
        """What an operator watches."""
        engine = self._engine
        return Figures(await engine.current_by_type(), await self.audit_log.unchained(), engine.commits)

    # ---- writing -----------------------------------------------------------------------------
    async def commit(self, plan: Plan) -> Committed:
        """All or nothing. What the plan rests on is checked again inside; made again at most 5 times, then Conflict."""
        for _ in range(_TRIES):
            try:
                done = await self._engine.commit(await self._packed(plan))
            except Replan:
                continue
            self.changes.told()
            return done
        raise Conflict()

    async def _packed(self, plan: Plan) -> PackedPlan:
        plan, led = await self._redirected(plan)
        types = {put.type for put in plan.puts} | {gone.type for gone in plan.deletes}
        return PackedPlan(
            at=self._clock(),
            puts=await aside(len(plan.puts) > _MANY, self._pack_all, plan.puts),
            deletes=plan.deletes,
            records=plan.records,
            moves=tuple([await self._packed_move(move) for move in plan.moves]),
            unclaimed=tuple([await self._unclaimed(plan, *claim) for claim in plan.unclaimed]),
            audits=await aside(len(plan.audits) > _MANY, _encoded, plan.audits),
            done=tuple((one.raw_key, one.outcome) for one in plan.done),
            conditions=tuple(packed for one in plan.conditions for packed in _conditions(one, one.type in types)),
            once=plan.once,
            rests=plan.rests,
            led=led,
            vacant=tuple(_vacant(gone.id) for gone in plan.deletes if gone.type == "Patient"),
        )

    def _pack_all(self, puts: tuple[Put | PackedPut, ...]) -> tuple[PackedPut, ...]:
        return tuple([pack_put(put, self._codec) if isinstance(put, Put) else put for put in puts])

    async def _redirected(self, plan: Plan) -> tuple[Plan, tuple[tuple[int, str], ...]]:
        """Writes about a superseded Patient act on the one who reads in its place, and are audited so (§8).

        With every step of the way there: a merge taken back before the commit leads nobody on.
        """
        homes = await aside(len(plan.puts) > _MANY, _homes_of, plan.puts)
        superseded: dict[int, str] = {}
        for first in range(0, len(homes), _MANY):
            superseded |= await self._engine.survivors(homes[first : first + _MANY])
            if first:
                await asyncio.sleep(0)
        here = {fh: await self._survivor(fh_of("Patient", one)) or one for fh, one in _superseded_by(plan.puts)}
        if not superseded and not here:
            return plan, ()
        ways = {fh: way for fh in superseded if (way := await self._way(fh, self._engine.survivors))}
        survivors = {fh: way[-1][1] for fh, way in ways.items()}
        told: dict[str, str] = {}
        # What no source record said (src 0) tells of a merge made here, and names both.
        every = survivors | here
        puts = tuple([self._led(put, every if put.src else survivors, told) for put in plan.puts])
        audits = tuple(
            [structs.replace(row, patients=tuple(told.get(one, one) for one in row.patients)) for row in plan.audits]
        )
        return structs.replace(plan, puts=puts, audits=audits), tuple(step for way in ways.values() for step in way)

    def _led(self, put: Put | PackedPut, survivors: dict[int, str], told: dict[str, str]) -> Put | PackedPut:
        """The put with the Patient it is about replaced by the survivor; `told` learns who that is."""
        survivor = survivors.get(_home(put)) if put.type != "Patient" else None
        if survivor is None:
            return put
        whole = put if isinstance(put, Put) else opened_put(put, self._codec)
        told[whole.patient] = survivor
        return repointed(whole, whole.patient, survivor)

    async def _packed_move(self, move: Move) -> PackedMove:
        rows = await self._engine.to_move(move)
        back = bool(await self._engine.survivors((fh_of("Patient", move.to_patient),)))
        moved = tuple([await self._moved(row, move, back) for row in rows])
        source = fh_of("Patient", move.from_patient)
        packed = await aside(len(moved) > _MANY, self._pack_all, moved)
        return PackedMove(move, source, tuple(row.rid for row in rows), packed)

    async def _moved(self, row: Row, move: Move, back: bool) -> Put:
        """A row on its way to another Patient. On the way back, what named the survivor before still does."""
        put = stored_put(row, self._codec, move.from_patient)
        both = back and named(put.body, move.from_patient) > 1
        before = await self._before(row, move.to_patient) if both else b""
        return repointed(put, move.from_patient, move.to_patient, before)

    async def _before(self, row: Row, patient: str) -> bytes:
        """The newest earlier body that refers to a Patient, b"" for none."""
        for older in await self._engine.chain(row.fh, below=row.version, limit=_MANY):
            body = open_body(older, self._codec).body
            if named(body, patient):
                return body
        return b""

    async def _unclaimed(self, plan: Plan, type_: str, system: str, value: str) -> Unclaimed:
        own = {fh_of(put.type, put.id) for put in plan.puts if put.expect is not None}
        holders = await self._holders(type_, system, value)
        if any(holds and row.fh not in own for row, holds in holders):
            raise Conflict(type_, "an identifier is claimed already", detail_zh="标识已被占用")
        seen = tuple((row.fh, row.version) for row, _ in holders if not row.flags & DELETED)
        return Unclaimed(ident_hash(type_, system, value), seen)

    # ---- audit -------------------------------------------------------------------------------
    def disclose(self, row: AuditRow) -> Awaitable[None]:
        """Done once the disclosure is durable in the audit log."""
        return self.audit_log.disclose(row)

    async def audits(self, query: AuditQuery) -> list[tuple[str, AuditRow]]:
        """Effects and disclosures with their ids, newest first."""
        return await self.audit_log.find(query)

    # ---- upkeep ------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin sealing the audit log and dropping postings nobody can look at any more."""
        self._tasks = [asyncio.create_task(self._seal()), asyncio.create_task(self._purge())]

    async def _seal(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(_SEAL_S)
            try:
                await self.audit_log.seal()
            except GatewayError as fault:
                if told != (why := str(fault)):  # not every second of a night with a full disk
                    _LOG.warning("sealing the audit log failed, tried again until it is done: %s", why)
                told = why
                continue
            if told:
                _LOG.warning("the audit log is sealed again")
            told = ""

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(60)
            try:
                await self.purge()
                await self.survey()
                await self.settle()
            except GatewayError as fault:
                _LOG.warning("purging postings failed: %s", fault)

    async def reindex_due(self) -> bool:
        """Whether rows were indexed by another release, so that a search may miss them."""
        return await due(self._engine)

    async def reindex(self, told: Callable[[int], None] = lambda done: None) -> int:
        """What every current version is found by, worked out again; how many. told: the number done so far."""
        return await reindex(self._engine, self._codec, told)

    async def survey(self) -> int:
        """Sum up long stretches of versions, for searches to pass over; how many were made, at most some at a time."""
        return await survey(self._engine)

    async def settle(self) -> int:
        """Put postings so that finding costs less; how many steps were made, none while many commit."""
        return await self._engine.settle()

    async def purge(self) -> int:
        """Drop postings of versions closed longer ago than a paging link lives; how many."""
        total = 0
        while done := await self._engine.purge(self._clock() - self._life, _MANY):
            total += done
        await self._engine.forget(self._clock() - self._life, self._clock() - _KEPT_FOR)
        return total

    async def close(self) -> None:
        """Stop upkeep, seal, checkpoint, close files."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.audit_log.close()
        finally:
            await self._engine.close()


def _encoded(rows: tuple[AuditRow, ...]) -> tuple[bytes, ...]:
    return tuple([encode_audit(row) for row in rows])


def _vacant(patient: str) -> Vacant:
    return Vacant(patient, fh_of("Patient", patient), hash64("compartment", "Patient", patient))


def _home(put: Put | PackedPut) -> int:
    if isinstance(put, PackedPut):
        return put.home
    return fh_of("Patient", put.patient) if put.patient else 0


def _homes_of(puts: tuple[Put | PackedPut, ...]) -> list[int]:
    """Patients whose persons rows come to lie with, but those written here: they stand for themselves."""
    named = {_home(put) for put in puts if put.type != "Patient"}
    return list(named - {0} - {fh_of("Patient", put.id) for put in puts if put.type == "Patient"})


def _superseded_by(puts: tuple[Put | PackedPut, ...]) -> list[tuple[int, str]]:
    """Patients these puts retire, each with the one who reads in its place from this commit on."""
    retired = [one for one in puts if isinstance(one, Put) and one.type == "Patient" and b'"replaced-by"' in one.body]
    return [(fh_of("Patient", one.id), led) for one in retired if (led := survivor_in(one.body))]


def _conditions(one: Condition, writes: bool) -> list[PackedCondition]:
    """By its identifiers, where it names some: then plain creates count too."""
    if not one.identifiers:
        return [PackedCondition(hash64("criteria", one.type, one.criteria), one.as_of, True, writes)]
    return [PackedCondition(ident_hash(one.type, *named), one.as_of, False) for named in one.identifiers]
