"""A transaction: all entries as one plan, or none, and the entry that failed named.

Order is DELETE, POST, PUT and PATCH, GET whatever the order of the entries. Temporary addresses (`urn:uuid:…`) and
conditional references are replaced before anything is checked; Patients come first, because the others name
them. Work goes on in short slices, so that others are served meanwhile. Source: FHIR R4 http.html §3.1.0.11.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced

import msgspec
from msgspec.structs import replace

from ..errors import BadParameter, BadReference, Conflict, GatewayError
from ..model import systems
from ..model.context import AccessContext
from ..model.ids import Ids
from ..model.pace import Pace
from ..model.resource import dumps
from ..model.rest import Answer, Call, etag
from ..model.times import instant_text
from ..store.base import Committed, Condition, Resource
from .fhir_bundle import Step, bundle_of, entry_of
from .fhir_change import Change, Planner
from .fhir_commit import Committer, names_of, seen_of
from .fhir_draft import Places, Ready, Wanted, made_ready, resolved, root_of
from .fhir_reply import Index, body_of, seen_version, shows, status_of, version_of
from .preparer import Work

_MANY = 1_000
_ORDER = {"delete": 0, "create": 1, "update": 2, "patch": 2}


async def transaction(
    committer: Committer, call: Call, entries: Sequence[Step | GatewayError], work: Work
) -> Answer:  # fmt: skip
    """The transaction-response. Raises the first fault, its place beginning with `Bundle.entry[n]`."""
    steps, writing = await _sorted(entries)
    pace, names = Pace(), set[str]()
    fresh: dict[object, str] = {}  # chosen once, whatever comes in between
    for one in writing:
        names.update(name for name in names_of(one.call, one.target) if not name.startswith("key "))
        fresh[fresh_key(one)] = Ids.random()
        await pace()
    if key := call.header("idempotency-key"):
        names.add(f"key {call.who.user} {key}")
    prepared = _Prepared(work)

    async def plan() -> tuple[Change, ...]:
        return await _Attempt(committer, writing, fresh, prepared).changes()

    async with committer.turnstile.turn(names):
        try:
            changes, done, again = await committer.settle(call, plan, "transaction")
        except Conflict as conflict:
            raise _named(conflict, writing) from None
    if again or all(one.existing for one in changes):
        for change in changes:
            await committer.disclose(call, seen_of(change, "answered again" if again else "existed"))
    replayed = (("idempotency-replayed", "true"),) if again else ()
    body = await _response(committer, steps, writing, changes, done)
    _let_go([*steps, *changes, *done.written])
    return Answer(200, body, replayed)


async def _sorted(entries: Sequence[Step | GatewayError]) -> tuple[list[Step], list[Step]]:
    """(all, those that write in the order they are to be done). Raises the first that could not be read."""
    steps: list[Step] = []
    by_order: tuple[list[Step], ...] = ([], [], [])
    pace = Pace()
    for one in entries:
        if isinstance(one, GatewayError):
            raise one
        steps.append(one)
        if not one.reads:
            by_order[_ORDER[one.target.name]].append(one)
        await pace()
    return steps, [one for some in by_order for one in some]


_going: set[asyncio.Task[None]] = set()


def _let_go(all_: list[object]) -> None:
    """Free what a large Bundle was made of little by little, when nobody else holds it any more."""
    if len(all_) > _MANY:
        task = asyncio.create_task(_freed(all_))
        _going.add(task)
        task.add_done_callback(_going.discard)


async def _freed(all_: list[object]) -> None:
    await asyncio.sleep(1)
    while all_:
        del all_[-_MANY:]
        await asyncio.sleep(0)


def _named(conflict: Conflict, writing: Sequence[Step]) -> Conflict:
    """A conflict at a resource some entry names is that entry's."""
    step = next((one for one in writing if conflict.place == f"{one.target.type}/{one.target.id}"), None)
    return conflict.within(step.place) if step is not None else conflict


class _Prepared:
    """What was made ready of a Bundle. Asked again after a conflict, it is mostly still true."""

    def __init__(self, work: Work) -> None:
        self._work, self.body = work, work.body
        self._wanted: list[Wanted] = []
        self._places: Places = {}
        self._made: list[Ready | None] = []

    async def of(self, wanted: list[Wanted], places: Places) -> list[Ready | None]:
        """For each, None where there is a fault."""
        if wanted != self._wanted or places != self._places:
            self._made = await self._work.ready(wanted, places)
            self._wanted, self._places = wanted, dict(places)
        return self._made


class _Part:
    """The content of an entry (`fhir_change.Content`), prepared ahead as far as it could be."""

    __slots__ = ("_attempt", "_step", "id")

    def __init__(self, attempt: _Attempt, step: Step) -> None:
        self._attempt, self._step, self.id = attempt, step, step.entry.id

    def body(self) -> bytes:
        """The resource with its addresses replaced. Raises BadReference."""
        call = self._step.within(self._attempt.prepared.body)
        root = root_of(self._step.entry.full_url)
        return resolved(self._step.target.type, call.body, self._attempt.places, call.base, root)

    async def ready(self, type_: str, id_: str) -> Ready:
        """What was prepared; where that failed it is made here, to hear why."""
        found = self._attempt.ready.get(self._step.number)
        if found is None or found.put.id != id_:
            return made_ready(self._step.call.who.member, type_, id_, self.body())
        return found


class _Attempt:
    """One time of planning; what was asked is remembered, and answers for every entry that asks the same.

    places: what stands for a temporary address or a conditional reference. ready: by number of the entry.
    """

    def __init__(
        self, committer: Committer, writing: Sequence[Step], fresh: Mapping[object, str], prepared: _Prepared
    ) -> None:
        self._find = committer.parts.find
        self._planner = Planner(replaced(committer.parts, find=self._once))
        self._writing, self._fresh, self.prepared = writing, fresh, prepared
        self._asked: dict[tuple[str, str, int], tuple[list[Resource], Condition]] = {}
        self.places: dict[str, str] = {}
        self.ready: dict[int, Ready] = {}
        self._made: dict[object, str] = {}
        self._cards: dict[str, str] = {}
        self._pace = Pace()

    async def changes(self) -> tuple[Change, ...]:
        """One change for every writing step, in their order."""
        for step in self._writing:
            with _Naming(step):
                if step.entry.full_url and step.target.name != "delete":
                    self._called(step.entry.full_url, await self._place_of(step))
                for reference in step.entry.asked:
                    self.places[reference] = await self._referred(step.call, reference)
            await self._pace()
        supposed = dict(self.places)
        found = await self._planned(patients=True)
        if self.places != supposed:  # somebody was known, or two are one: Patients that point there must say so too
            self._cards.clear()
            self._made.clear()
            found = await self._planned(patients=True)
        await self._prepare()
        found |= await self._planned(patients=False)
        await self._apart(found)
        return tuple([found[step.number] for step in self._writing])

    def _called(self, full_url: str, place: str) -> None:
        """A reference to an address two entries bear would go to one of them by chance (bdl-7). Raises BadParameter."""
        if self.places.setdefault(full_url, place) != place:
            raise BadParameter("fullUrl", "another entry has the same", detail_zh="与另一条目相同。")

    async def _prepare(self) -> None:
        """Make ready what creates and updates send, now that it is known what every address stands for."""
        numbers: list[int] = []
        wanted: list[Wanted] = []
        for step in self._writing:
            if step.target.name in ("create", "update") and step.target.type != "Patient":
                with _Naming(step):
                    id_ = (await self._place_of(step)).partition("/")[2]
                call, entry, root = step.call, step.entry, root_of(step.entry.full_url)
                wanted.append(
                    Wanted(entry.start, entry.end, call.who.member, step.target.type, id_, call.base, root)
                )  # fmt: skip
                numbers.append(step.number)
                await self._pace()
        made = await self.prepared.of(wanted, self.places)
        self.ready = {number: one for number, one in zip(numbers, made, strict=True) if one is not None}

    async def _planned(self, *, patients: bool) -> dict[int, Change]:
        """Existing Patients before new ones: who claims a card first is who its other claimants are."""
        found: dict[int, Change] = {}
        steps = [step for step in self._writing if (step.target.type == "Patient") == patients]
        if patients:
            steps.sort(key=lambda one: one.target.name == "create")
        for step in steps:
            with _Naming(step):
                found[step.number] = await self._change(step)
            await self._pace()
        return found

    async def _once(
        self, type_: str, criteria: str, who: AccessContext, limit: int
    ) -> tuple[list[Resource], Condition]:
        asked = (type_, criteria, limit)
        if asked not in self._asked:
            self._asked[asked] = await self._find(type_, criteria, who, limit)
        return self._asked[asked]

    async def _place_of(self, step: Step) -> str:
        """Where the resource of an entry is, or will be."""
        target, criteria = step.target, step.criteria
        id_ = target.id
        if not id_ and criteria:
            matches, _ = await self._once(target.type, criteria, step.call.who, 2)
            id_ = matches[0].id if len(matches) == 1 else ""
        if not id_ and target.name == "update":
            id_ = step.entry.id
        return f"{target.type}/{id_ or self._fresh[fresh_key(step)]}"

    async def _change(self, step: Step) -> Change:
        call = step.call if step.target.name != "patch" else step.within(self.prepared.body)
        change = await self._planner.plan(call, step.target, self._fresh[fresh_key(step)], _Part(self, step))
        if step.target.type == "Patient":
            change = self._same_card(step, change)
            if step.entry.full_url and not _new_by_name(step, change):
                self.places[step.entry.full_url] = change.place
        twin = self._twin(step, change)
        asked = tuple([self._held(reference) for reference in step.entry.asked])
        return replace(twin, conditions=(*change.conditions, *asked)) if asked else twin

    def _twin(self, step: Step, change: Change) -> Change:
        """Of entries under one If-None-Exist the first makes the resource, the others have found it."""
        if step.target.name != "create" or not step.criteria or change.existing:
            return change
        first = self._made.setdefault(fresh_key(step), f"{step.number} {change.place}")
        number, _, place = first.partition(" ")
        if int(number) == step.number:
            return change
        return Change(place, "C", "create", known=True, conditions=change.conditions)

    def _same_card(self, step: Step, change: Change) -> Change:
        """Two Patients of one Bundle with the same verified card are one person: the first.

        Raises BadParameter when both have ids: merging them is a steward's act, or the card's of one at a time.
        """
        claimed = [value for _, system, value in change.resolution.unclaimed if system == systems.ID_CARD]
        claimed += [change.place] if change.known and _new_by_name(step, change) else []
        first = next((self._cards[value] for value in claimed if value in self._cards), "")
        for value in claimed:
            self._cards.setdefault(value, change.place)
        if not first:
            return change
        if change.put is not None or _new_by_name(step, change):
            raise BadParameter("Patient.identifier", f"{first} claims this card too", detail_zh="两条目声明同一证件。")
        person = first.removeprefix("Patient/")
        records = tuple(replaced(one, patient=person) for one in change.resolution.records)
        kept = replaced(change.resolution, records=records, resources=(), unclaimed=())
        return replace(change, place=first, resolution=kept, patients=(person,), known=True)

    async def _apart(self, found: Mapping[int, Change]) -> None:
        """A resource may be written by one entry only: which of two would win is nobody's to say."""
        seen: set[str] = set()
        for step in self._writing:
            change = found[step.number]
            for place in () if change.known else change.places:
                if place in seen:
                    raise BadParameter(
                        step.place, f"{place} stands in two entries", detail_zh=f"{place} 出现在两个条目中。"
                    )
                seen.add(place)
            await self._pace()

    async def _referred(self, call: Call, reference: str) -> str:
        """What a conditional reference stands for. Raises BadReference unless that is one."""
        type_, _, criteria = reference.partition("?")
        found, _ = await self._once(type_, criteria, call.who, 2)
        if len(found) != 1:
            detail = "matches none" if not found else "matches several"
            raise BadReference("resource", f"{type_}?… {detail}", detail_zh="条件引用没有匹配或匹配到多条。")
        return f"{type_}/{found[0].id}"

    def _held(self, reference: str) -> Condition:
        """What the answer to a conditional reference rests on."""
        type_, _, criteria = reference.partition("?")
        return self._asked[(type_, criteria, 2)][1]


def _new_by_name(step: Step, change: Change) -> bool:
    """A new resource under an id its client chose: what refers to it goes by that, also where it leads to another."""
    return change.created and step.target.name == "update" and bool(step.entry.id)


def fresh_key(step: Step) -> object:
    """Under what the id of a new resource is chosen: entries under the same If-None-Exist share one."""
    return (step.target.type, step.criteria) if step.criteria and step.target.name == "create" else step.number


class _Naming:
    """Faults inside are this entry's. A class, because it is entered for every entry."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if isinstance(fault, GatewayError):
            raise fault.within(self._step.place) from None


# ---- the answer -------------------------------------------------------------------------------
async def _response(
    committer: Committer, steps: Sequence[Step], writing: Sequence[Step], changes: Sequence[Change], done: Committed
) -> bytes:
    pace, entries = Pace(), list[bytes]()
    by_number: dict[int, Change] = {}
    for step, change in zip(writing, changes, strict=True):
        by_number[step.number] = change
        await pace()
    written: Index = {}
    for one in done.written:
        written[f"{one.type}/{one.id}"] = one
        await pace()
    at = instant_text(done.at)
    for step in steps:
        if step.reads:
            entries.append(entry_of(await committer.parts.run(step.call)))
        else:
            entries.append(await _entry(committer, step.call, by_number[step.number], written, at))
        await pace()
    return bundle_of("transaction-response", entries)


async def _entry(committer: Committer, call: Call, change: Change, written: Index, at: str) -> bytes:
    """What one writing entry became; its resource only when the request says `Prefer: return=…`."""
    version, _ = version_of(change, written)
    response = {"status": str(status_of(change))}
    if version:
        response["etag"] = etag(version)
    if change.action == "D":
        return dumps({"response": response})
    response["location"] = change.place + (f"/_history/{version}" if version else "")
    response["lastModified"] = at
    body = b""
    if call.header("prefer"):
        found = await seen_version(committer.parts.store, call, change, version) if shows(call, change) else None
        body = body_of(call, change, found)
    key = b'"response":' + dumps(response)
    if not body:
        return b"{" + key + b"}"
    if body.startswith(b'{"resourceType":"OperationOutcome"'):
        return dumps({"response": {**response, "outcome": msgspec.Raw(body)}})
    return b'{"resource":' + body + b"," + key + b"}"
