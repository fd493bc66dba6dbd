"""What one FHIR write changes: checked, resolved to residents, ready to be part of a plan.

A FHIR interaction has no source key: its id is random, chosen at the door (design-store §7). A Patient create
whose verified card is known stands for the existing person (D21). Source: FHIR R4 http.html §3.1.0.4–3.1.0.8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..errors import (
    BadParameter,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotSupported,
    PatchFailed,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
)
from ..identity.index import PersonIndex
from ..identity.workspace import Resolution
from ..model.context import SYSTEM, AccessContext, Role
from ..model.ids import Ids
from ..model.resource import Json, dumps, loads
from ..model.rest import FHIR_JSON, JSON_PATCH, Answer, Call, etag_versions
from ..model.subject import subject_of
from ..model.times import Clock
from ..store.base import Condition, Delete, PackedPut, Put, Resource, Store
from ..store.bodies import prepare
from ..validate.structure import decode
from .bounds import bounded
from .fhir_body import checked, head_of, kept_labels, plain, put_of, with_meta
from .fhir_draft import Ready, alone, at_home
from .fhir_labels import relabelled
from .fhirpath_patch import patched_by_path
from .json_patch import patched
from .preparer import Preparer

_PATCHES: dict[str, Callable[[Json, bytes], Any]] = {
    JSON_PATCH: patched,
    FHIR_JSON: patched_by_path,
}
_READ_ONLY = frozenset({"AuditEvent"})
ABSENT = 0


class Aim(Protocol):
    """What an interaction is about, as the FHIR door read it from the address."""

    @property
    def name(self) -> str:
        """create, update, patch, delete, operation or batch."""

    @property
    def type(self) -> str:
        """Resource type."""

    @property
    def id(self) -> str:
        """Resource id; "" on create, and where the query names the resource (a conditional interaction)."""

    @property
    def operation(self) -> str:
        """`$meta-add` or `$meta-delete`."""


Find = Callable[[str, str, AccessContext, int], Awaitable[tuple[list[Resource], Condition]]]
"""Resources of a type that match criteria (a query string), at most so many, and when that answer holds."""


@dataclass(frozen=True, slots=True)
class WriteParts:
    """What writing needs. find: for criteria. run: a reading entry of a batch.

    preparer: what needs no store. resource_bytes: limit of one resource of a Bundle. deletes: how many a conditional
    delete may meet.
    """

    store: Store
    people: PersonIndex
    clock: Clock
    types: frozenset[str]
    find: Find
    run: Callable[[Call], Awaitable[Answer]]
    preparer: Preparer
    resource_bytes: int = 16 * 2**20
    deletes: int = 1


class Content(Protocol):
    """What a create or an update sends: the body of a request, or an entry of a transaction prepared ahead."""

    @property
    def id(self) -> str:
        """The id it names, "" for none."""

    def body(self) -> bytes:
        """The resource."""

    async def ready(self, type_: str, id_: str) -> Ready:
        """As a put. Raises Invalid, Unparseable, ActiveNarrative, NotPrepared."""


class Sole(Struct, frozen=True, gc=False):
    """A body by itself."""

    preparer: Preparer
    member: str
    sent: bytes
    id: str

    def body(self) -> bytes:
        """As it was sent."""
        return self.sent

    async def ready(self, type_: str, id_: str) -> Ready:
        """Made with others that come now."""
        return await self.preparer.one(self.member, type_, id_, self.sent)


NOBODY = Resolution()
"""Nothing to add."""


class Change(Struct, frozen=True, gc=False):
    """One wanted change, already permitted: what it puts or deletes, and what identity adds to the plan.

    place: `Type/id` of the answer, "" when nothing is to be done. known: an existing person stands for the Patient
    that was sent, or an existing resource met If-None-Exist; `existing` is that resource's version.
    """

    place: str
    action: str
    name: str
    put: Put | PackedPut | None = None
    deletes: tuple[Delete, ...] = ()
    resolution: Resolution = NOBODY
    patients: tuple[str, ...] = ()
    created: bool = False
    known: bool = False
    existing: int = 0
    conditions: tuple[Condition, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Everything that is written or deleted by name."""
        gone = tuple(f"{one.type}/{one.id}" for one in self.deletes)
        return gone or ((self.place,) if self.place else ())


def permit(who: AccessContext, type_: str) -> None:
    """Raises Forbidden when the caller may not write this type, NotSupported when nobody may."""
    if not who.may_write(type_):
        raise Forbidden(type_, f"role {who.role.value}", detail_zh=f"角色 {who.role.value}")
    if type_ in _READ_ONLY:
        raise NotSupported(type_, "the audit is written by the gateway alone", detail_zh="审计只由网关写入。")


class Planner:
    """Makes changes of interactions from what is stored now. Writes nothing."""

    def __init__(self, parts: WriteParts) -> None:
        self.parts = parts

    async def plan(self, call: Call, aim: Aim, fresh: str = "", content: Content | None = None) -> Change:
        """The change an interaction wants. Raises what forbids it.

        fresh: the id a create gets. content: of a create or update, where it is not the body of the call.
        """
        permit(call.who, aim.type)
        fresh = fresh or Ids.random()
        match aim.name:
            case "create":
                return await self._create(call, aim, fresh, content or self._sent(call, aim))
            case "update":
                return await self._update(call, aim, fresh, content or self._sent(call, aim))
            case "patch":
                return await self._patch(call, aim)
            case "delete":
                return await self._delete(call, aim)
            case "operation":
                return await self._relabel(call, aim)
        raise NotSupported(aim.name)

    def _sent(self, call: Call, aim: Aim) -> Content:
        id_ = checked(call, aim.type).id
        return Sole(self.parts.preparer, call.who.member, alone(aim.type, call.body, call.base), id_)

    async def _matching(self, call: Call, type_: str, criteria: str) -> tuple[Resource | None, Condition]:
        """The one resource the criteria name, or none. Raises PreconditionFailed when there are several."""
        found, condition = await self.parts.find(type_, criteria, call.who, 2)
        if len(found) > 1:
            raise PreconditionFailed(f"{type_}?…", "several matches", detail_zh="条件匹配到多条。")
        return (found[0] if found else None), condition

    # ---- create
    async def _create(self, call: Call, aim: Aim, fresh: str, content: Content) -> Change:
        criteria = criteria_of(call, aim.type)
        if not criteria:
            return await self._made(call.who, aim.type, fresh, content)
        found, condition = await self._matching(call, aim.type, criteria)
        if found is not None:
            place = f"{aim.type}/{found.id}"
            return Change(place, "C", "create", known=True, existing=found.version, conditions=(condition,))
        return replace(await self._made(call.who, aim.type, fresh, content), conditions=(condition,))

    async def _made(self, who: AccessContext, type_: str, id_: str, content: Content, *, named: bool = False) -> Change:
        """The change that brings a resource into being; a Patient goes through the person index.

        named: by the client.
        """
        if type_ == "Patient":
            return await self._person(who, id_, content.body(), named)
        made = await content.ready(type_, id_)
        patients = (made.patient,) if made.patient else ()
        put = replace(made.put, expect=ABSENT)
        return Change(f"{type_}/{id_}", "C", "create", put, patients=patients, created=True)

    async def _person(self, who: AccessContext, id_: str, body: bytes, named: bool) -> Change:
        patient = _person_in(body)
        decided = await self.parts.people.create(patient, who.member, id_, named=named)
        resolution = decided.resolution
        if not decided.known:
            resolution = with_meta(resolution, id_, patient.get("meta", {}))
        place, patients = f"Patient/{decided.patient}", (decided.patient,)
        return Change(
            place, "C", "create", resolution=resolution, patients=patients, created=True, known=decided.known
        )  # fmt: skip

    # ---- update
    async def _update(self, call: Call, aim: Aim, fresh: str, content: Content) -> Change:
        if not aim.id:
            return await self._conditional_update(call, aim, fresh, content)
        if content.id != aim.id:
            raise BadParameter(f"{aim.type}.id", "must be the id of the address", detail_zh="须与地址中的 id 相同。")
        old = await self.parts.store.read(aim.type, aim.id, SYSTEM)
        _may_change(call.who, old)
        _match(call, old)
        if old is None or old.deleted:
            return replace(await self._made(call.who, aim.type, aim.id, content, named=True), name="update")
        return await self._rewritten(call.who, old, content, "update")

    async def _conditional_update(self, call: Call, aim: Aim, fresh: str, content: Content) -> Change:
        """One match: an update of it. None: a create, under the id the body names if it names one."""
        found, condition = await self._matching(call, aim.type, call.query)
        named = content.id
        _match(call, found)
        if found is None:
            await self._free(aim.type, named)
            made = await self._made(call.who, aim.type, named or fresh, content, named=bool(named))
            return replace(made, name="update", conditions=(condition,))
        if named and named != found.id:
            raise BadParameter(f"{aim.type}.id", "is not that of the match", detail_zh="与匹配到的资源的 id 不同。")
        _may_change(call.who, found)
        return replace(await self._rewritten(call.who, found, content, "update"), conditions=(condition,))

    async def _free(self, type_: str, id_: str) -> None:
        """An id in use belongs to a resource the criteria do not name: neither of the two is meant."""
        held = await self.parts.store.read(type_, id_, SYSTEM) if id_ else None
        if held is not None and not held.deleted:
            raise Conflict(
                f"{type_}.id", "in use by a resource that does not match", detail_zh="已被不匹配的资源占用。"
            )

    async def _rewritten(self, who: AccessContext, old: Resource, content: Content, name: str) -> Change:
        """The change that gives an existing resource a new version, from the version read."""
        if old.type == "Patient":
            return await self._person_again(who, old, content.body(), name)
        put, patient = await _next(who, old, content)
        return Change(f"{old.type}/{old.id}", "U", name, put, patients=(patient,) if patient else ())

    async def _person_again(self, who: AccessContext, old: Resource, body: bytes, name: str) -> Change:
        """A Patient its own client wrote: the index hears what is new, the resource reads back as written."""
        after = _person_in(body)
        changed = _changed(plain(old.body), after) if name == "patch" else None
        heard = await self.parts.people.rewrite(old.id, after, who.member, changed)
        own = ("Patient", old.id)
        others = tuple(one for one in heard.resources if (one.type, one.id) != own)
        written = next((one.body for one in heard.resources if (one.type, one.id) == own), body)
        put, resolution = None, heard
        if heard.patients[0] == old.id:
            meta = after.get("meta", {}) | kept_labels(old, lambda: body)
            put = prepare(
                "Patient", old.id, written, patient=old.id, member=old.member, meta=meta, expect=old.version
            )  # fmt: skip
            resolution = replaced(heard, resources=others)
        person = heard.patients[0]
        people = (old.id, person) if person != old.id else (person,)
        return Change(f"Patient/{person}", "U", name, put, resolution=resolution, patients=people)

    # ---- patch
    async def _patch(self, call: Call, aim: Aim) -> Change:
        change = _PATCHES.get(call.header("content-type").partition(";")[0].strip().lower())
        if change is None:
            kinds = " or ".join(_PATCHES)
            raise UnsupportedMedia(
                "Content-Type", f"a patch is {kinds}", detail_zh=f"补丁须为 {' 或 '.join(_PATCHES)}。"
            )
        old, conditions = await self._target(call, aim)
        _may_change(call.who, old)
        value = change(loads(old.body), call.body)
        body = dumps(value)
        if len(body) > self.parts.resource_bytes:
            raise TooLarge("patch", f"> {self.parts.resource_bytes} bytes")
        bounded(body, old.type)
        if not isinstance(value, dict) or (head_of(body).resourceType, head_of(body).id) != (old.type, old.id):
            raise PatchFailed(f"{old.type}.id", "type and id stay as they are", detail_zh="类型与 id 不可改变。")
        after = Sole(self.parts.preparer, call.who.member, at_home(body, call.base), old.id)
        return replace(await self._rewritten(call.who, old, after, "patch"), conditions=conditions)

    async def _target(self, call: Call, aim: Aim) -> tuple[Resource, tuple[Condition, ...]]:
        """The existing resource a patch is for. Raises NotFound, Gone, PreconditionFailed."""
        conditions: tuple[Condition, ...] = ()
        if aim.id:
            found = await self.parts.store.read(aim.type, aim.id, SYSTEM)
        else:
            found, condition = await self._matching(call, aim.type, call.query)
            conditions = (condition,)
        _match(call, found)
        if found is None:
            raise NotFound(f"{aim.type}/{aim.id}" if aim.id else f"{aim.type}?…")
        if found.deleted:
            raise Gone(f"{aim.type}/{aim.id}")
        return found, conditions

    async def _relabel(self, call: Call, aim: Aim) -> Change:
        """$meta-add and $meta-delete: the content as it is, with other tags, profiles or labels."""
        old, _ = await self._target(call, aim)
        _own(call.who, old)
        put = relabelled(old, call, aim.operation)
        return Change(f"{old.type}/{old.id}", "U", "operation", put, patients=(put.patient,) if put.patient else ())

    # ---- delete
    async def _delete(self, call: Call, aim: Aim) -> Change:
        conditions: tuple[Condition, ...] = ()
        if aim.id:
            held = await self.parts.store.read(aim.type, aim.id, SYSTEM)
            found = [] if held is None else [held]
        else:
            found, condition = await self.parts.find(aim.type, call.query, call.who, self.parts.deletes + 1)
            conditions = (condition,)
        if len(found) > self.parts.deletes:
            raise PreconditionFailed(f"{aim.type}?…", "several matches", detail_zh="条件匹配到多条。")
        _match(call, found[0] if found else None)
        for one in found:
            _own(call.who, one)
        there = [one for one in found if not one.deleted]
        people = [one.id for one in there if one.type == "Patient"]
        return Change(
            f"{aim.type}/{aim.id or found[0].id}" if aim.id or found else "",
            "D",
            "delete",
            deletes=tuple(Delete(one.type, one.id, one.version) for one in there),
            resolution=await self.parts.people.forget(people) if people else NOBODY,
            patients=tuple(dict.fromkeys(filter(None, (subject_of(one.type, one.id, one.body) for one in there)))),
            conditions=conditions,
        )


async def _next(who: AccessContext, old: Resource, content: Content) -> tuple[Put | PackedPut, str]:
    """The put after a version, and whom it is about; with what it must keep of that version it is made anew.

    Security labels stay, and while its subject stays, so does the source record it came from: after a merge clients
    write back the survivor they read, and the row must still go with its record when the merge is undone.
    """
    labels = kept_labels(old, content.body)
    made = await content.ready(old.type, old.id)
    stays = old.src != made.put.src and made.patient == subject_of(old.type, old.id, old.body)
    if labels or stays:
        src = old.src if stays else made.put.src
        put = put_of(who, old.type, old.id, content.body(), src=src, expect=old.version, meta=labels)
        return put, put.patient
    return replace(made.put, expect=old.version), made.patient


def _own(who: AccessContext, old: Resource | None) -> None:
    """What a member's own systems said is changed by that member alone."""
    if old is not None and old.member != who.member:
        place = f"{old.type}/{old.id}"
        raise Forbidden(place, "it belongs to another member", detail_zh="该资源属于其他成员单位。")


def _may_change(who: AccessContext, old: Resource | None) -> None:
    """`_own`, but a steward, an administrator of no member, corrects anybody's Patient (design-store §8)."""
    steward = who.role is Role.ADMIN and not who.member
    if not (steward and old is not None and old.type == "Patient"):
        _own(who, old)


def _match(call: Call, old: Resource | None) -> None:
    """If-Match names the current version, If-None-Match: * that there is none. Raises PreconditionFailed."""
    current = 0 if old is None or old.deleted else old.version
    if current and call.header("if-none-match").strip() == "*":
        raise PreconditionFailed("If-None-Match", "it exists", detail_zh="资源已存在。")
    header = call.header("if-match")
    if not header:
        return
    versions = etag_versions(header)
    if (versions == ("*",) and not current) or (versions != ("*",) and str(current) not in versions):
        raise PreconditionFailed("If-Match", f"the current version is {current}", detail_zh=f"当前版本为 {current}。")


def _person_in(body: bytes) -> Json:
    """A Patient as dict, checked first: a key given twice would be lost in it. Raises Invalid, Unparseable."""
    decode("Patient", body)
    return plain(body)


def _changed(before: Json, after: Json) -> frozenset[str]:
    """Members a patch added, changed or removed."""
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def criteria_of(call: Call, type_: str) -> str:
    """The condition of a conditional create, "" for none; clients send it alone, behind the type, or as an address.

    Raises BadParameter for an address of another type or another server.
    """
    given = call.header("if-none-exist")
    address, mark, criteria = given.partition("?")
    if not mark or "=" in address:  # a question mark within a value
        return given
    if address not in ("", type_, f"{call.base}/{type_}"):
        raise BadParameter("If-None-Exist", f"about {type_} of this server", detail_zh=f"应是本服务器 {type_} 的条件。")
    return criteria
