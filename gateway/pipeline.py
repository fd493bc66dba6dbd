"""The flow on one page: a kept message becomes stored, indexed resources, or a reason why not.

    prepare   raw → draft          translate/   pure, many messages at a time
    finish    is all there that it presupposes   else it waits
              who is it            identity/
              what it revises      revise/      only when a head resource is stored already
              is it R4             validate/
              one plan, one commit store/       resources, records, audit and outcome together

Each step returns new data. Only `commit` writes, once. On a conflict the plan is made again from what
is stored now, at most five times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec

from .errors import AwaitsOther, Conflict, GatewayError, NeverCame
from .identity.index import PersonIndex
from .identity.person import cards_told, name_of
from .identity.workspace import Resolution, puts_of
from .model.context import SYSTEM
from .model.directory import Source
from .model.ids import Ids
from .model.message import SUBJECT, Awaited, Draft, DraftResource, RawMessage, SourceRecord
from .model.normalise import name_key
from .model.outcome import Finding, Outcome, State
from .model.pace import OneByOne
from .model.resource import Json, dumps, type_and_id
from .model.subject import subject_of
from .model.systems import source_uri
from .model.times import CHINA, Clock
from .revise import Step, numbers, revise, visits_of
from .store.aside import aside
from .store.base import AuditRow, Done, PackedPut, Plan, Put, Store, src_of
from .store.bodies import RawPut
from .translate.engine import Mappings
from .translate.senders import sender_of

_TRIES = 5
_MANY = 32
"""Messages in one work above which their outcomes are written in a thread."""
_HAPPENINGS = ("ADT^", "ORM^", "OML^", "OMG^", "OMP^", "RDE^", "REF^", "SIU^", "MDM^", "PPR^", "BAR^")
_UPDATES = ("ADT^A08", "ADT^A28", "ADT^A31")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the flow is joined from."""

    store: Store
    mappings: Mappings
    people: PersonIndex
    ids: Ids
    clock: Clock
    prepare: Callable[[Sequence[RawPut]], Awaitable[list[Put | PackedPut]]]
    """Checked, indexed and, where there is much of it, packed beside this process."""


@dataclass(frozen=True, slots=True)
class Work:
    """One draft on its way, and the raw messages it came from (several only for instances of one study, its `parts`).

    lanes: patients of one member, reports, visits and studies: what must be worked on in order of arrival. Also persons
    told alike and numbers that point to each other: of two such messages the later one must see the earlier.
    whole: the study an instance is a part of, and who it says the patient is: what says the same goes together.
    """

    raws: tuple[RawMessage, ...]
    source: Source
    draft: Draft
    lanes: tuple[str, ...]
    whole: str = ""
    parts: tuple[Work, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Raw keys."""
        return tuple(raw.key for raw in self.raws)

    @property
    def sender(self) -> str:
        """The source of a message that came before its source was known, else ""."""
        return "" if all(raw.source for raw in self.raws) else self.source.name


def _lanes(draft: Draft) -> tuple[str, ...]:
    people = {f"{one.member}|{one.local_number}" for one in draft.records}
    people |= {"|".join(one) for one in map(_told, draft.records) if all(one)}
    people |= {card for one in draft.records for card in cards_told(one.patient)}
    people |= {f"{one.member}|{one.retired_number}" for one in draft.merges}
    heads = {f"{one.type}/{one.id}" for one in draft.resources if one.type in _LANE_TYPES}
    visits = {f"visit|{one}" for one in visits_of(draft.resources)}
    return tuple(people | heads | visits | numbers(draft.resources) | {one.ref for one in draft.awaits})


def _told(record: SourceRecord) -> tuple[str, str]:
    """(name as compared, birth date) as the message says them."""
    return name_key(name_of(record.patient)), str(record.patient.get("birthDate") or "")


def _whole(source: Source, draft: Draft) -> str:
    studies = [one.id for one in draft.resources if one.type == "ImagingStudy"] if draft.kind == "dicom" else ()
    people = [(one.local_number, dumps(one.patient)) for one in draft.records]
    return repr((source.name, studies[0], people)) if studies else ""


_LANE_TYPES = ("DiagnosticReport", "ImagingStudy", "DocumentReference", "Encounter")


class Pipeline:
    """`prepare` and `finish`, as the inbox worker wants them."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._turn = parts, OneByOne()

    def prepare(self, raws: Sequence[RawMessage]) -> tuple[list[Work], list[Outcome]]:
        """Translate; what cannot be translated is quarantined with its reason."""
        works: list[Work] = []
        refused: list[Outcome] = []
        for raw in raws:
            try:
                works.append(self._read(raw))
            except GatewayError as fault:
                refused.append(fault.refusal(raw.key))
        return works, refused

    def _read(self, raw: RawMessage) -> Work:
        parts = self._parts
        source = sender_of(raw, parts.mappings.directory)
        draft = parts.mappings.translate(raw, source, parts.ids, raw.received_at)
        return Work((raw,), source, draft, _lanes(draft), _whole(source, draft))

    @staticmethod
    def join(parts: Sequence[Work]) -> Work:
        """Instances of one study as one work: revise merges their ImagingStudies by uid."""
        first = parts[0]
        resources = {(one.type, one.id, one.body): one for part in parts for one in part.draft.resources}
        draft = replace(first.draft, resources=tuple(resources.values()), findings=(), unused=())
        raws = tuple(raw for part in parts for raw in part.raws)
        return Work(raws, first.source, draft, first.lanes, first.whole, tuple(parts))

    async def finish(self, work: Work) -> list[Outcome]:
        """Commit one piece of work. Raises GatewayError when it cannot be stored."""
        try:
            return await self._finished(work)
        except GatewayError as fault:
            fault.about(work.draft.kind, work.draft.mapping)
            raise

    async def _finished(self, work: Work) -> list[Outcome]:
        last = Conflict(work.draft.kind)
        for _ in range(_TRIES):
            try:
                plan, outcomes = await self._plan(work)
                await self._turn()  # packing comes first
                await self._parts.store.commit(plan)
            except Conflict as conflict:
                last = conflict  # its place and reason are what an operator needs, should it be the last
                continue
            return outcomes
        raise last

    async def _plan(self, work: Work) -> tuple[Plan, list[Outcome]]:
        parts, draft = self._parts, work.draft
        if draft.awaits or draft.merges:
            await self._all_there(work)
        who = await parts.people.resolve(draft.records, draft.merges, apart=work.raws[0].format == "csv")
        if not all(who.patients):
            draft = _without_refused(draft, who.patients)
        drafts = [_addressed(one, who.patients) for one in draft.resources]
        srcs = [src_of(one.member, one.local_number) for one in draft.records]
        revised = await revise(
            parts.store, drafts, mode=work.source.report_mode, said_at=draft.said_at, srcs=srcs, moves=who.moves,
            carries=draft.carries, insists=_insists(draft.kind),
        )  # fmt: skip
        meta: Json = {"source": f"{source_uri(work.source.name)}#{work.keys[-1]}"}
        told, asked = puts_of(who), [_asked(step, meta, work, who, srcs) for step in revised.ordered]
        puts = [*told, *await parts.prepare(asked)]
        people = [*who.patients, *(one.patient for one in told), *(one.patient for one in asked)]
        outcomes = await aside(
            len(work.keys) > _MANY, _outcomes, work, puts, (*draft.findings, *who.findings, *revised.findings)
        )
        plan = Plan(
            puts=tuple(puts),
            records=who.records,
            moves=who.moves,
            unclaimed=who.unclaimed,
            rests=who.rests,
            audits=(_audit(work, people, puts, parts.clock),),
            done=await aside(len(outcomes) > _MANY, _done, outcomes),
        )
        return plan, outcomes

    async def _all_there(self, work: Work) -> None:
        """Raises AwaitsOther for a message that presupposes what nobody sent yet, NeverCame when its time is over."""
        store, draft = self._parts.store, work.draft
        numbers = {(one.member, one.retired_number) for one in draft.merges}
        numbers -= {(one.member, one.local_number) for one in draft.records}
        asked = sorted(numbers)
        rows = await store.records(asked) if asked else []
        lacking = [Awaited(f"{key[0]}|{key[1]}", "MRG-1") for key, row in zip(asked, rows, strict=True) if row is None]
        wanted = [type_and_id(one.ref) for one in draft.awaits]
        there = {f"{one.type}/{one.id}" for one in await store.read_many(wanted, SYSTEM)} if wanted else set[str]()
        lacking += [one for one in draft.awaits if one.ref not in there]
        if lacking:
            raise _waiting(work, lacking, self._parts.clock)


def _waiting(work: Work, lacking: Sequence[Awaited], clock: Clock) -> AwaitsOther:
    until = work.raws[-1].received_at + timedelta(days=work.source.wait_days)
    over = clock() >= until
    place, day = lacking[0].place, until.astimezone(CHINA).date().isoformat()
    if over:
        waiting: AwaitsOther = NeverCame(place)
    else:
        waiting = AwaitsOther(place, f"It waits until {day}.", detail_zh=f"最迟等到 {day}。")
        waiting.until = until
    waiting.awaits = tuple(one.ref for one in lacking)
    return waiting


def _insists(kind: str) -> bool:
    """True for what happened to a visit, a request, a document; systems repeat mere updates every hour."""
    return kind.startswith(_HAPPENINGS) and kind not in _UPDATES


def _without_refused(draft: Draft, patients: Sequence[str]) -> Draft:
    """The draft of a file without what it says of records that were refused."""
    good = next(number for number, one in enumerate(patients) if one)
    kept = [one for one in draft.resources if one.record < 0 or patients[one.record] or one.type == "Provenance"]
    refs = {f"{one.type}/{one.id}" for one in kept}
    return replace(
        draft, resources=tuple(_naming(one, refs, good) if one.type == "Provenance" else one for one in kept)
    )


def _naming(provenance: DraftResource, refs: Collection[str], record: int) -> DraftResource:
    """The Provenance of no more than these, filed with this record."""
    body = provenance.json
    body["target"] = [one for one in body["target"] if one["reference"] in refs]
    return provenance._replace(body=dumps(body), record=record)


def _addressed(one: DraftResource, patients: Sequence[str]) -> DraftResource:
    """The draft with `Patient/@n` spelled as the resident's Patient."""
    if one.record < 0:
        return one
    mark, real = SUBJECT.format(one.record).encode(), b"Patient/" + patients[one.record].encode()
    return one._replace(body=one.body.replace(b'"' + mark + b'"', b'"' + real + b'"'))


def _asked(step: Step, meta: Json, work: Work, who: Resolution, srcs: Sequence[int]) -> RawPut:
    one, expect, own_meta, src, patient, member = step
    about = one.record >= 0
    if src and not patient:  # what another record told may be about another Patient
        patient = subject_of(one.type, one.id, one.body)
    return RawPut(
        one.type,
        one.id,
        one.body,
        patient=patient or (who.patients[one.record] if about else ""),
        src=src or (srcs[one.record] if about else 0),
        member=member or work.source.member,
        meta=meta | own_meta,
        expect=expect,
    )


def _outcomes(work: Work, puts: Sequence[Put | PackedPut], findings: tuple[Finding, ...]) -> list[Outcome]:
    """What became of each message: of a part, what itself says, and what all made together."""
    made = tuple(dict.fromkeys(f"{one.type}/{one.id}" for one in puts))
    told = {f"{one.type}/{one.id}" for one in work.draft.resources}
    out: list[Outcome] = []
    for part in work.parts or (work,):
        draft = part.draft
        own = {f"{one.type}/{one.id}" for one in draft.resources}
        mine = tuple(one for one in made if one in own or one not in told)
        said = (*draft.findings, *findings) if work.parts else findings
        out += [Outcome(key, State.PROCESSED, draft.kind, draft.mapping, said, draft.unused, mine) for key in part.keys]
    return out


def _done(outcomes: Sequence[Outcome]) -> tuple[Done, ...]:
    return tuple(Done(one.key, msgspec.json.encode(one)) for one in outcomes)


def _audit(work: Work, people: Sequence[str], puts: Sequence[Put | PackedPut], clock: Clock) -> AuditRow:
    return AuditRow(
        at=clock(), action="C", kind="message", subtype=work.draft.kind, outcome="0",
        user=work.source.name, display=work.source.title or work.source.name, role="source",
        member=work.source.member, purpose="TREAT", request_id=work.keys[0],
        patients=tuple(dict.fromkeys(filter(None, people))),
        entities=tuple(dict.fromkeys(f"{one.type}/{one.id}" for one in puts)),
    )  # fmt: skip
