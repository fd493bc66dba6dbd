"""What a FHIR create, update or delete changes: checked, resolved to residents, made into one plan.

A FHIR interaction has no source key: its id is random, chosen here once (design-store §7). A Patient create
whose verified card is known answers 201 with the existing person (D21). Source: FHIR R4 http.html §3.1.0.4–3.1.0.8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import unquote_plus

import msgspec

from ..errors import (
    BadParameter,
    Conflict,
    Forbidden,
    GatewayError,
    NotSupported,
    PreconditionFailed,
    Unparseable,
    UnsupportedMedia,
)
from ..identity.index import PersonIndex
from ..identity.workspace import Resolution, puts_of
from ..model.context import SYSTEM, AccessContext
from ..model.ids import Ids
from ..model.resource import Json, dumps, loads
from ..model.rest import Answer, Call, Seen, etag, etag_versions, http_date, is_json, prefer
from ..model.subject import subject_of
from ..model.times import Clock
from ..security.audit import audit_row, refused_row
from ..store.base import Committed, Delete, Plan, Put, Resource, Store, src_of
from ..store.bodies import prepare, repoint
from .bounds import bounded

TRIES = 5
_READ_ONLY = frozenset({"AuditEvent"})


class Aim(Protocol):
    """What an interaction is about, as the FHIR door read it from the address."""

    @property
    def name(self) -> str:
        """create, update, delete or batch."""

    @property
    def type(self) -> str:
        """Resource type."""

    @property
    def id(self) -> str:
        """Resource id, "" on create."""


Find = Callable[[str, str, AccessContext], Awaitable[list[Resource]]]
"""Resources of a type that match search criteria (a query string), at most two."""


@dataclass(frozen=True, slots=True)
class WriteParts:
    """What writing needs. find: for If-None-Exist and conditional references. run: a reading entry of a batch.

    resource_bytes: limit of one resource of a Bundle.
    """

    store: Store
    people: PersonIndex
    clock: Clock
    types: frozenset[str]
    find: Find
    run: Callable[[Call], Awaitable[Answer]]
    resource_bytes: int = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Change:
    """One wanted change, already permitted: what it puts or deletes, and what identity adds to the plan.

    place: `Type/id` of the answer. known: an existing person stands for the Patient that was sent, or an
    existing resource met If-None-Exist; `existing` is that resource's version, 0 when it is not read.
    """

    place: str
    action: str
    put: Put | None = None
    delete: Delete | None = None
    resolution: Resolution = field(default_factory=Resolution)
    patients: tuple[str, ...] = ()
    created: bool = False
    known: bool = False
    existing: int = 0
    unclaimed: tuple[tuple[str, str, str], ...] = ()


class Changes:
    """Makes changes of interactions, and plans of changes. Only `single` commits."""

    def __init__(self, parts: WriteParts) -> None:
        self.parts = parts

    async def single(self, call: Call, aim: Aim) -> Answer:
        """create, update or delete, made again from what is stored now when another write came first."""
        for _ in range(TRIES):
            change = await self.plan(call, aim)
            if change.existing:
                return await self._existing(call, change)
            try:
                done = await self.parts.store.commit(self.whole(call.who, (change,)))
            except Conflict:
                if call.header("if-match"):
                    raise PreconditionFailed("If-Match") from None
                continue
            return await self._answer(call, change, done)
        raise Conflict(aim.type)

    async def note_refusal(self, call: Call, aim: Aim, error: GatewayError) -> None:
        """Audit an entry of a batch that was refused alone."""
        action = {"create": "C", "update": "U", "delete": "D"}.get(aim.name, "E")
        seen = Seen(action, aim.name, (), (f"{aim.type}/{aim.id}",) if aim.id else ())
        await self.parts.store.disclose(refused_row(self.parts.clock(), call.who, seen, error))

    async def plan(self, call: Call, aim: Aim) -> Change:
        """The change an interaction wants. Raises what forbids it."""
        permit(call.who, aim.type)
        match aim.name:
            case "create":
                return await self._create(call, aim)
            case "update":
                return await self._update(call, aim)
            case "delete":
                return await self._delete(call, aim)
        raise NotSupported(aim.name)

    # ---- create
    async def _create(self, call: Call, aim: Aim) -> Change:
        body = await self.checked(call, aim.type)
        criteria = call.header("if-none-exist").lstrip("?")
        if criteria:
            found = await self.parts.find(aim.type, criteria, call.who)
            if len(found) > 1:
                raise PreconditionFailed("If-None-Exist", "several matches", detail_zh="条件匹配到多条。")
            if found:
                place = f"{aim.type}/{found[0].id}"
                return Change(place, "C", known=True, existing=found[0].version)
        change = await self.made(call.who, aim.type, Ids.random(), body, expect=0)
        return replace(change, unclaimed=claims(aim.type, criteria))

    async def made(self, who: AccessContext, type_: str, id_: str, body: bytes, *, expect: int | None) -> Change:
        """The change that brings a resource into being; a Patient goes through the person index."""
        if type_ == "Patient":
            return await self._person(who, id_, body)
        put = self._put(who, type_, id_, body, expect=expect)
        patients = (put.patient,) if put.patient else ()
        return Change(f"{type_}/{id_}", "C", put, patients=patients, created=True)

    async def _person(self, who: AccessContext, id_: str, body: bytes) -> Change:
        patient = _plain(body)
        decided = await self.parts.people.create(patient, who.member, id_)
        resolution = decided.resolution
        if not decided.known:
            resolution = _with_meta(resolution, id_, patient.get("meta", {}))
        place, patients = f"Patient/{decided.patient}", (decided.patient,)
        return Change(place, "C", resolution=resolution, patients=patients, created=True, known=decided.known)

    def _put(
        self, who: AccessContext, type_: str, id_: str, body: bytes, *, expect: int | None, meta: Json | None = None
    ) -> Put:
        patient = subject_of(type_, id_, body)
        return prepare(
            type_,
            id_,
            body,
            patient=patient,
            src=src_of(who.member, patient) if patient else 0,
            member=who.member,
            meta=meta or {},
            expect=expect,
        )

    # ---- update
    async def _update(self, call: Call, aim: Aim) -> Change:
        body = await self.checked(call, aim.type)
        if _head(body).id != aim.id:
            raise BadParameter(f"{aim.type}.id", "must be the id of the address", detail_zh="须与地址中的 id 相同。")
        old = await self.parts.store.read(aim.type, aim.id, SYSTEM)
        self._own(call.who, old, aim)
        expect = _expected(call, old)
        if old is None or old.deleted:
            return await self.made(call.who, aim.type, aim.id, body, expect=expect)
        if aim.type == "Patient":
            return await self._person_again(call.who, aim.id, body, old)
        put = self._put(call.who, aim.type, aim.id, body, expect=expect, meta=_kept_labels(old, body))
        return Change(f"{aim.type}/{aim.id}", "U", put, patients=(put.patient,) if put.patient else ())

    async def _person_again(self, who: AccessContext, id_: str, body: bytes, old: Resource) -> Change:
        """A Patient its own client wrote: the index hears what is new, the resource reads back as written."""
        heard = await self.parts.people.rewrite(id_, _plain(body), who.member)
        others = tuple(one for one in heard.resources if (one.type, one.id) != ("Patient", id_))
        written = next((one.body for one in heard.resources if (one.type, one.id) == ("Patient", id_)), body)
        put = None
        if heard.patients[0] == id_:
            meta = _kept_labels(old, body)
            put = prepare("Patient", id_, written, patient=id_, src=0, member=old.member, meta=meta, expect=old.version)
        resolution = replace(heard, resources=others if put else heard.resources)
        person = heard.patients[0]
        return Change(
            f"Patient/{person}", "U", put, resolution=resolution, patients=(id_, person)[: 1 + (person != id_)]
        )

    def _own(self, who: AccessContext, old: Resource | None, aim: Aim) -> None:
        """What a member's own systems said is changed by that member alone."""
        if old is not None and old.member != who.member:
            raise Forbidden(
                f"{aim.type}/{aim.id}", "it belongs to another member", detail_zh="该资源属于其他成员单位。"
            )

    # ---- delete
    async def _delete(self, call: Call, aim: Aim) -> Change:
        old = await self.parts.store.read(aim.type, aim.id, SYSTEM)
        self._own(call.who, old, aim)
        place = f"{aim.type}/{aim.id}"
        if old is None or old.deleted:
            return Change(place, "D")
        patient = subject_of(aim.type, aim.id, old.body)
        if aim.type == "Patient":
            await self._without_records(aim.id)
        delete = Delete(aim.type, aim.id, _expected(call, old))
        return Change(place, "D", delete=delete, patients=(patient,) if patient else ())

    async def _without_records(self, patient: str) -> None:
        found = await self.parts.store.everything(patient, SYSTEM)
        if any(one.type != "Patient" for one in found):
            raise Conflict(f"Patient/{patient}", "the person has records", detail_zh="该居民还有记录，不能删除。")

    # ---- body, plan, answer
    async def checked(self, call: Call, type_: str) -> bytes:
        """The body as JSON of this type, its subject led to the surviving Patient."""
        if not is_json(call.header("content-type") or "application/fhir+json"):
            raise UnsupportedMedia("Content-Type")
        bounded(call.body, type_)
        if _head(call.body).resourceType != type_:
            raise BadParameter("resourceType", f"must be {type_}", detail_zh=f"须为 {type_}。")
        return await self.to_survivor(type_, call.body)

    async def to_survivor(self, type_: str, body: bytes) -> bytes:
        """The body with a merged subject replaced by who it was merged into (design-store §8)."""
        patient = "" if type_ == "Patient" else subject_of(type_, "", body)
        for _ in range(TRIES if patient else 0):
            found = await self.parts.store.read("Patient", patient, SYSTEM)
            survivor = _survivor(found.body) if found is not None and b'"replaced-by"' in found.body else ""
            if not survivor:
                break
            body, patient = repoint(body, patient, survivor), survivor
        return body

    def whole(self, who: AccessContext, changes: tuple[Change, ...], subtype: str = "") -> Plan:
        """One plan of all changes, with one audit row a change."""
        at = self.parts.clock()
        return Plan(
            puts=tuple(put for one in changes for put in _puts(one)),
            deletes=tuple(one.delete for one in changes if one.delete is not None),
            records=tuple(record for one in changes for record in one.resolution.records),
            moves=tuple(move for one in changes for move in one.resolution.moves),
            unclaimed=tuple(dict.fromkeys(u for one in changes for u in (*one.unclaimed, *one.resolution.unclaimed))),
            audits=tuple(audit_row(at, who, _seen(one, subtype)) for one in changes),
        )

    async def _answer(self, call: Call, change: Change, done: Committed) -> Answer:
        type_, _, id_ = change.place.partition("/")
        written = {(one.type, one.id): one for one in done.written}
        own = written.get((type_, id_))
        if change.action == "D":
            return Answer(204, b"", (("etag", etag(own.version)),) if own else ())
        headers = [("last-modified", http_date(done.at))]
        if own is not None:
            headers.insert(0, ("etag", etag(own.version)))
        headers.append(("location", f"{call.base}/{change.place}" + (f"/_history/{own.version}" if own else "")))
        body = await self.shown(call, change)
        return Answer(201 if change.created else 200, body, tuple(headers))

    async def shown(self, call: Call, change: Change) -> bytes:
        """What the answer carries: by `Prefer: return` the resource, an OperationOutcome, or nothing."""
        type_, _, id_ = change.place.partition("/")
        wanted = prefer(call.header("prefer"), "return") or "representation"
        if wanted == "OperationOutcome".lower() or (change.known and not call.who.may_read(type_)):
            return dumps(_told(change))
        if wanted == "minimal":
            return b""
        found = await self.parts.store.read(type_, id_, call.who)
        return found.body if found is not None else b""

    async def _existing(self, call: Call, change: Change) -> Answer:
        headers = (("etag", etag(change.existing)), ("location", f"{call.base}/{change.place}"))
        seen = Seen("C", "create", (), (change.place,), call.header("if-none-exist"), "existed")
        return Answer(200, await self.shown(call, change), headers, seen=seen)


def permit(who: AccessContext, type_: str) -> None:
    """Raises Forbidden when the caller may not write this type, NotSupported when nobody may."""
    if not who.may_write(type_):
        raise Forbidden(type_, f"role {who.role.value}")
    if type_ in _READ_ONLY:
        raise NotSupported(type_, "the audit is written by the gateway alone", detail_zh="审计只由网关写入。")


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""


_heads = msgspec.json.Decoder(_Head)


def _head(body: bytes) -> _Head:
    try:
        return _heads.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Unparseable(detail=type(fault).__name__, detail_zh="") from None


def _plain(body: bytes) -> Json:
    try:
        return loads(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unparseable() from None


class _Other(msgspec.Struct):
    reference: str = ""


class _Link(msgspec.Struct):
    type: str = ""
    other: _Other = msgspec.field(default_factory=_Other)


class _Links(msgspec.Struct):
    link: list[_Link] = []


_links = msgspec.json.Decoder(_Links)


def _survivor(patient: bytes) -> str:
    found = (one.other.reference for one in _links.decode(patient).link if one.type == "replaced-by")
    return next(found, "").removeprefix("Patient/")


def _with_meta(resolution: Resolution, patient: str, meta: Json) -> Resolution:
    """The new Patient with the profile, tags and labels its client gave it."""
    found = tuple(
        replace(one, meta=meta | one.meta) if (one.type, one.id) == ("Patient", patient) else one
        for one in resolution.resources
    )
    return replace(resolution, resources=found)


def _kept_labels(old: Resource, body: bytes) -> Json:
    """Security labels survive an update that omits them (design-store §6)."""
    if b'"security"' not in old.body:
        return {}
    before = loads(old.body).get("meta", {}).get("security", [])
    now = _plain(body).get("meta", {}).get("security", [])
    return {"security": [*now, *(one for one in before if one not in now)]} if before else {}


def _expected(call: Call, old: Resource | None) -> int | None:
    """The version If-Match names. Raises PreconditionFailed when it is not the current one."""
    header = call.header("if-match")
    current = 0 if old is None or old.deleted else old.version
    if not header:
        return None
    versions = etag_versions(header)
    if (versions == ("*",) and not current) or (versions != ("*",) and str(current) not in versions):
        raise PreconditionFailed("If-Match", f"the current version is {current}", detail_zh=f"当前版本为 {current}。")
    return current


def claims(type_: str, criteria: str) -> tuple[tuple[str, str, str], ...]:
    """An If-None-Exist that names one identifier is held by the commit itself, so two racing creates make one."""
    name, _, value = criteria.partition("=")
    system, bar, number = value.partition("|")
    if name != "identifier" or not bar or not system or not number or "&" in value or "," in value:
        return ()
    return ((type_, _decoded(system), _decoded(number)),)


def _decoded(text: str) -> str:
    return unquote_plus(text)


def _puts(change: Change) -> list[Put]:
    found = puts_of(change.resolution)
    return [*found, change.put] if change.put is not None else found


def _seen(change: Change, subtype: str) -> Seen:
    name = {"C": "create", "U": "update", "D": "delete"}[change.action]
    detail = "known person" if change.known else subtype
    return Seen(change.action, name, change.patients, (change.place,), detail=detail)


def _told(change: Change) -> Json:
    text = "已有此人，内容已作为一条来源记录保存。" if change.known else "已保存。"
    english = "The person was known; what was sent is kept as a source record." if change.known else "Stored."
    issue = {"severity": "information", "code": "informational", "details": {"text": text}, "diagnostics": english}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
