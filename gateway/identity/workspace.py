"""The people one message touches, loaded once, changed in memory, rendered as parts of one plan.

Nothing is written here: `render` gives record puts, moves, Patients and Tasks with the versions they
were made from, so that a concurrent change of the same people fails the commit and is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count

from ..errors import Conflict
from ..model import systems
from ..model.context import SYSTEM
from ..model.directory import Directory
from ..model.ids import Ids
from ..model.outcome import Finding
from ..model.query import Filter, Query
from ..model.resource import Json, dumps, loads, reference_id
from ..store.base import Move, Put, RecordPut, SourceRecordRow, Store, src_of
from ..store.bodies import prepare
from ..store.stand import stand_of
from . import reviews
from .known import Known
from .match import Candidate, Code, Review, traits
from .person import Names, Record, acts_of, compose, content_bytes, forgotten, provisional, record_from, retired

Key = tuple[str, str]
_PAGE = 200


class Moved(Conflict):
    """Records went to another person between two reads of one act: it has to begin again."""


@dataclass(frozen=True, slots=True)
class IdentityResource:
    """A Patient or Task version for the plan. `body`: JSON without id and meta; `meta`: tags only."""

    type: str
    id: str
    body: bytes
    expect: int | None
    patient: str
    src: int
    member: str
    meta: Json


@dataclass(frozen=True, slots=True)
class Resolution:
    """What identity adds to the plan of a message. `patients`: a Patient id for each record asked, in order; "" for one
    whose number is another resident's."""

    patients: tuple[str, ...] = ()
    records: tuple[RecordPut, ...] = ()
    moves: tuple[Move, ...] = ()
    resources: tuple[IdentityResource, ...] = ()
    unclaimed: tuple[tuple[str, str, str], ...] = ()
    rests: tuple[tuple[int, str], ...] = ()
    findings: tuple[Finding, ...] = ()


def puts_of(made: Resolution) -> list[Put]:
    """The Patients and Tasks of a resolution, for a plan."""
    return [
        prepare(r.type, r.id, r.body, patient=r.patient, src=r.src, member=r.member, meta=r.meta, expect=r.expect)
        for r in made.resources
    ]


@dataclass(slots=True)
class Person:
    """One person while the message is worked on. version 0: not stored yet."""

    id: str
    version: int
    owner: str
    records: dict[Key, Record] = field(default_factory=dict)
    stored: Json = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    survivor: str = ""
    touched: bool = False
    written: Json = field(default_factory=dict)  # what stands in place of what the records make


@dataclass(slots=True)
class _Task:
    body: Json
    stored: Json
    version: int
    member: str


class Workspace:
    """People, records and Tasks of one message or one steward's act."""

    def __init__(self, store: Store, ids: Ids, directory: Directory, today: date) -> None:
        self.ids, self.today = ids, today
        self._store, self._directory = store, directory
        self._people: dict[str, Person] = {}
        self._known = Known(today)
        self._home: dict[Key, str] = {}
        self._records: dict[Key, Record] = {}
        self._changed: set[Key] = set()
        self._moves: list[Move] = []
        self._tasks: dict[str, _Task] = {}
        self._unclaimed: list[str] = []
        self._findings: list[Finding] = []
        self._rests: dict[Key, str] = {}  # every record read or looked for, and how it stood

    # ---- records and people
    def seed(self, keys: Sequence[Key], rows: Sequence[SourceRecordRow | None]) -> None:
        """Remember stored records, and which are not there, without reading their people."""
        for key, row in zip(keys, rows, strict=True):
            if row is None:
                self._rests.setdefault(key, "")
            elif key not in self._records:
                self._remember(row)

    def _remember(self, row: SourceRecordRow) -> Record:
        self._rests.setdefault((row.member, row.local_number), stand_of(row))
        record = record_from(row.member, row.local_number, row.content, row.said_at, row.state)
        self._records[record.key], self._home[record.key] = record, row.patient
        return record

    def record(self, key: Key) -> Record | None:
        """The record as this message leaves it, None when nobody ever sent it."""
        return self._records.get(key)

    async def load(self, key: Key) -> Record | None:
        """The record, read when not seen yet."""
        if key not in self._records:
            self.seed([key], await self._store.records([key]))
        return self._records.get(key)

    def home(self, key: Key) -> str:
        """Patient id of a known record."""
        return self._home[key]

    async def person(self, patient_id: str) -> Person:
        """The person with every record, read once. Raises Moved."""
        if patient_id in self._people:
            return self._people[patient_id]
        found = await self._store.read("Patient", patient_id, SYSTEM)
        stored = loads(found.body) if found is not None and found.body else {}
        version = found.version if found is not None and not found.deleted else 0
        person = Person(patient_id, version, found.member if found else "", stored=stored)
        for link in stored.get("link", ()):
            other = reference_id(link.get("other"), "Patient")
            if link.get("type") == "replaced-by":
                person.survivor = other
            elif link.get("type") == "replaces":
                person.replaces.append(other)
        for row in await self._store.records_of(patient_id):
            key = (row.member, row.local_number)
            if self._home.get(key, patient_id) == patient_id:
                person.records[key] = self._records.get(key) or self._remember(row)
                self._known.add(patient_id, person.records[key])
        if person.survivor and person.records:  # perhaps somebody came back between the two reads
            again = await self._store.read("Patient", patient_id, SYSTEM)
            if found is None or again is None or again.version != found.version:
                raise Moved(f"Patient/{patient_id}")
        if any(home == patient_id and key not in person.records for key, home in self._home.items()):
            raise Moved(f"Patient/{patient_id}")
        self._people[patient_id] = person
        return person

    async def living(self, patient_id: str) -> Person:
        """The person, for records to join. Raises Moved for one merged since they were looked for."""
        person = await self.person(patient_id)
        if person.survivor:
            raise Moved(f"Patient/{patient_id}")
        return person

    async def aside(self, record: Record, word: str, holder: Person) -> Person:
        """A person for a record that leaves `holder`: whom it had been for the same reason, else a new one."""
        names = (self.ids.of("Patient", *record.key, word, *nth(n)) for n in count())
        person = await self.person(next(names))
        while person.version and person.survivor != holder.id:
            person = await self.person(next(names))
        person.owner = person.owner or record.member
        return person

    def new_person(self, patient_id: str, owner: str) -> Person:
        """A person nobody knew."""
        person = Person(patient_id, 0, owner)
        self._people[patient_id] = person
        return person

    def attach(self, person: Person, record: Record) -> None:
        """The record, new or changed, belongs to the person."""
        person.records[record.key] = record
        self._known.add(person.id, record)
        person.touched = True
        self._records[record.key], self._home[record.key] = record, person.id
        self._changed.add(record.key)

    def forget(self, person: Person) -> None:
        """The records of a person who goes say nothing any more."""
        for record in person.records.values():
            self._records[record.key] = forgotten(record)
            self._changed.add(record.key)

    def move(self, keys: Iterable[Key], origin: Person, target: Person) -> list[Key]:
        """Records and everything known through them go from one person to another; an emptied one retires.

        A target that had retired into the origin lives again. Gives the keys of all that moved.
        """
        if target.survivor == origin.id:
            return self._take_back(keys, origin, target)
        moved = [key for key in keys if key in origin.records]
        srcs = [src_of(*key) for key in moved]
        for key in moved:
            self.attach(target, origin.records.pop(key))
        if not origin.records:
            srcs += self._written_srcs([origin.id, *origin.replaces])
            origin.survivor = target.id
            target.replaces += [one for one in (origin.id, *origin.replaces) if one not in target.replaces]
        origin.touched = target.touched = True
        self._add_move(srcs, origin, target)
        return moved

    def _take_back(self, keys: Iterable[Key], holder: Person, origin: Person) -> list[Key]:
        """The reverse of a `move` that emptied `origin`: it lives again with these records."""
        moved = [key for key in keys if key in holder.records]
        own = [origin.id, *origin.replaces]
        # What clients said of `origin` while it led to the holder was said of `origin`; what acts moved goes their way.
        named = [key for key in holder.records if key[1] in own and key not in moved]
        stay = {src_of(*key) for key in named if acts_of(holder.records[key])}
        moved += [key for key in named if src_of(*key) not in stay]
        written = [src for src in self._written_srcs(own) if src not in stay]
        self._add_move([*(src_of(*key) for key in moved), *written], holder, origin)
        origin.survivor, origin.touched, holder.touched = "", True, True
        holder.replaces = [one for one in holder.replaces if one not in own]
        for key in moved:
            self.attach(origin, holder.records.pop(key))
        return moved

    def as_it_was(self, person: Person) -> reviews.Before | None:
        """How to find again what a client wrote of a person; None for one who is what the records make."""
        if not person.version or person.touched:
            return None
        if person.survivor:
            return reviews.Before(person.id, person.version, _RETIRED)
        if self.body(person) == _bare(person.stored):
            return None
        return reviews.Before(person.id, person.version, _digest(self._composed(person)))

    async def restore(self, before: reviews.Before) -> None:
        """Let a person be what a client had written, unless their records say something else by now."""
        person = await self.person(before.patient)
        now = _RETIRED if person.survivor else person.records and _digest(self._composed(person))
        if now == before.digest:
            found = await self._store.vread("Patient", person.id, before.version, SYSTEM)
            person.written = _bare(loads(found.body)) if found is not None and found.body else {}
            person.touched = True

    def _add_move(self, srcs: Iterable[int], origin: Person, target: Person) -> None:
        """Ask the store to move the rows; a client may have written some before the person was known."""
        if found := tuple(srcs):
            self._moves.append(Move(found, origin.id, target.id))

    def _written_srcs(self, patient_ids: Iterable[str]) -> list[int]:
        """Source keys under which members' clients wrote FHIR resources about these Patients directly."""
        return [src_of(member, one) for one in patient_ids for member in ("", *self._directory.members)]

    # ---- candidates
    async def holders(self, system: str, value: str) -> list[Candidate]:
        """Persons, merged ones left out, that carry exactly this identifier."""
        stored = await self._store.find_identifier("Patient", system, value)
        found = {one.id: loads(one.body) for one in stored} | self._bodies(value)
        wanted = {"system": system, "value": value}
        return self._candidates({i: p for i, p in found.items() if _carries(p, wanted)})

    async def alike(self, record: Record) -> list[Candidate]:
        """Persons with the record's name, birth date and sex, provisional ones too; [] when one is unknown."""
        name, birth, sex = traits(record)
        if not name or len(birth) != 10 or sex not in ("male", "female"):
            return []
        # By birth date alone, the one narrow index: sex would lead to half of everybody, and a name as
        # typed would miss its other written forms.
        filters: tuple[Filter, ...] = (Filter("birthdate", "date", ("eq" + birth,)),)
        page = await self._store.search(Query("Patient", filters, count=_PAGE, retired=True), SYSTEM)
        if page.next:
            filters += (Filter("name", "string", (record.name,)),)
            page = await self._store.search(Query("Patient", filters, count=_PAGE, retired=True), SYSTEM)
        found = {one.id: loads(one.body) for one in page.matches} | self._bodies(birth)
        mine = self._home.get(record.key, "")
        return [c for c in self._candidates(found) if c.same_traits(record) and c.id != mine]

    def _bodies(self, word: str) -> dict[str, Json]:
        """People who are others than they are stored, as far as a birth date or card number may be theirs."""
        people = (self._people[one] for one in self._known.of(word) if one in self._people)
        return {p.id: self.body(p) for p in people if p.records and (p.touched or not p.version)}

    def _candidates(self, found: dict[str, Json]) -> list[Candidate]:
        gone = {p.id for p in self._people.values() if p.survivor}
        return [
            Candidate.of(one, patient, self.today, active=not self._in_doubt(one, patient))
            for one, patient in found.items()
            if one not in gone and not any(link.get("type") == "replaced-by" for link in patient.get("link", ()))
        ]

    def _in_doubt(self, patient_id: str, patient: Json) -> bool:
        if person := self._people.get(patient_id):
            return provisional(person.records.values())
        return _PROVISIONAL in patient.get("meta", {}).get("tag", ())

    def claim(self, card: str) -> None:
        """The commit fails when somebody else came to hold this card meanwhile."""
        self._unclaimed.append(card)

    # ---- reviews
    async def ask(self, review: Review, record: Record, said_at: datetime) -> None:
        """Put a review before a person; asking again adds candidates."""
        patient = self._home[record.key]
        task = await self._task(record.key, review.code)
        asked = reviews.review_task(review, record, patient, said_at)
        task.body = reviews.with_candidates(task.body, review.candidates) if task.body else asked
        task.member = record.member
        self._findings.append(reviews.finding_of(review))

    def told(self, findings: Iterable[Finding]) -> None:
        """What the sender of the message should know besides."""
        self._findings.extend(findings)

    async def mention(self, holder: Candidate, newcomer: str, said_at: datetime) -> None:
        """Tell the review of a doubtful person that `newcomer` may be who its records are about."""
        person = await self.person(holder.id)
        for record in list(person.records.values()):
            verdict = record.card(self.today)
            if verdict.contradicts and (record.provisional or not holder.active):
                await self.ask(Review(Code.CARD_CONTRADICTS, verdict.reason_zh, (newcomer,)), record, said_at)
            elif verdict.code in ("birth-unknown", "sex-unknown"):
                await self.ask(Review(Code.CARD_UNVERIFIED, verdict.reason_zh, (newcomer,)), record, said_at)

    async def settle(self, record: Record, *codes: Code) -> None:
        """Close the reviews that the record's new place answers."""
        for code in codes:
            task = await self._task(record.key, code)
            if task.body and task.body.get("status") not in reviews.CLOSED:
                task.body, task.member = reviews.closed(task.body, self._home[record.key]), record.member

    async def settle_met(self, record: Record, code: Code, patient: str) -> None:
        """Close the review that asked about `patient` alone, who is one with the record's person now."""
        task = await self._task(record.key, code)
        if reviews.candidates_of(task.body) == [patient]:
            await self.settle(record, code)

    async def reopen(self, record: Record, code: Code, candidate: str = "") -> bool:
        """Ask again what an act taken back had answered; False when that was never asked, of this candidate."""
        task = await self._task(record.key, code)
        if not task.body or (candidate and candidate not in reviews.candidates_of(task.body)):
            return False
        task.body, task.member = reviews.opened_again(task.body, self._home[record.key]), record.member
        return True

    def put_task(self, task_id: str, body: Json, member: str, version: int, stored: Json) -> None:
        """A Task made elsewhere (acts and answers)."""
        self._tasks[task_id] = _Task(body, stored, version, member)

    async def put_act(self, made: Json, member: str, *about: str) -> str:
        """A new act, told in place of one taken back if there is any, never of one that stands. Gives its id."""
        names = (self.ids.of("Task", reviews.code_of(made), *about, *nth(n)) for n in count())
        while True:
            task_id = next(names)
            stored, version, _ = await self.read_task(task_id)
            if task_id not in self._tasks and stored.get("status") != reviews.STANDS:
                self.put_task(task_id, made, member, version, stored)
                return task_id

    async def read_task(self, task_id: str) -> tuple[Json, int, str]:
        """(body without id and meta, version, member) of a stored Task; ({}, 0, "") when absent."""
        found = await self._store.read("Task", task_id, SYSTEM)
        if found is None or found.deleted:
            return {}, 0, ""
        return _bare(loads(found.body)), found.version, found.member

    async def _task(self, key: Key, code: str) -> _Task:
        task_id = reviews.task_id(self.ids, code, key)
        if task_id not in self._tasks:
            body, version, member = await self.read_task(task_id)
            self._tasks[task_id] = _Task(body, body, version, member)
        return self._tasks[task_id]

    # ---- the result
    def render(self, asked: Iterable[Key]) -> Resolution:
        """Everything that changed, as parts of a plan."""
        people = [p for p in self._people.values() if p.touched and (p.version or p.records or p.survivor)]
        return Resolution(
            patients=tuple(self._home[key] for key in asked),
            records=tuple(self._record_put(key) for key in sorted(self._changed)),
            moves=tuple(self._moves),
            resources=(*self._patients(people), *self._task_resources()),
            unclaimed=tuple(("Patient", systems.ID_CARD, card) for card in dict.fromkeys(self._unclaimed)),
            rests=tuple((src_of(*key), stand) for key, stand in self._rests.items()),
            findings=tuple(self._findings),
        )

    def _record_put(self, key: Key) -> RecordPut:
        record = self._records[key]
        state = "provisional" if record.provisional else ""
        return RecordPut(*key, self._home[key], content_bytes(record), record.said_at, state)

    def _patients(self, people: list[Person]) -> list[IdentityResource]:
        out = []
        for person in people:
            body = self.body(person)
            if body == _bare(person.stored) and not person.written:  # who wrote it waits for the answer
                continue
            out.append(
                IdentityResource(
                    type="Patient",
                    id=person.id,
                    body=dumps(body),
                    expect=person.version,
                    patient=person.id,
                    src=0,  # a person is nobody's row: moving a source record must not move the person
                    member=person.owner,
                    meta=_meta(person.stored, doubted=not person.survivor and provisional(person.records.values())),
                )
            )
        return out

    def body(self, person: Person) -> Json:
        """The Patient as it is to be stored."""
        if person.survivor and not person.written:
            return retired(person.stored, person.survivor)
        body = person.written or self._composed(person)
        links = [{"other": {"reference": f"Patient/{one}"}, "type": "replaces"} for one in person.replaces]
        links += [one for one in body.get("link", ()) if one not in links]
        bare = {key: value for key, value in body.items() if key != "link"}
        return bare | ({"link": links} if links else {})

    def _composed(self, person: Person) -> Json:
        """What the records make, whoever else led to the person."""
        return compose(person.records.values(), self._names(person.owner), self.today, person.id)

    def _names(self, owner: str) -> Names:
        display = {key: member.name for key, member in self._directory.members.items()}
        if owner not in display:
            return Names(display)
        reference = f"Organization/{self.ids.of('Organization', owner)}"
        return Names(display, {"reference": reference, "display": display[owner]})

    def _task_resources(self) -> list[IdentityResource]:
        return [
            IdentityResource(
                type="Task",
                id=task_id,
                body=dumps(task.body),
                expect=task.version,
                patient=reference_id(task.body.get("for"), "Patient"),
                src=0,
                member=task.member,
                meta={},
            )
            for task_id, task in self._tasks.items()
            if task.body and task.body != task.stored
        ]


def _meta(stored: Json, *, doubted: bool) -> Json:
    """Profiles, tags and labels as they are, with the tag of a provisional Patient or without it."""
    kept = {key: value for key, value in stored.get("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    tags = [one for one in kept.get("tag", ()) if one != _PROVISIONAL]
    tags += [_PROVISIONAL] if doubted else []
    return {key: value for key, value in (kept | {"tag": tags}).items() if value}


def nth(n: int) -> tuple[str, ...]:
    """What tells the second of its kind, and further ones, from the first."""
    return (str(n),) if n else ()


_RETIRED = "retired"
_PROVISIONAL = {"system": systems.RECORD_TAG, "code": "provisional"}


def _digest(body: Json) -> str:
    return hashlib.blake2b(dumps(body), digest_size=16).hexdigest()


def _bare(patient: Json) -> Json:
    return {key: value for key, value in patient.items() if key not in ("id", "meta")}


def _carries(patient: Json, wanted: Json) -> bool:
    return any(wanted.items() <= one.items() for one in patient.get("identifier", ()))
