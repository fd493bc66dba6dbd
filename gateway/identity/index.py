"""The person index: which resident a source record is, and what the Patient then says (D8, D21, D22)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from ..errors import Conflict, NumberReused
from ..model import systems
from ..model.directory import Directory
from ..model.ids import Ids
from ..model.message import MergeRequest, SourceRecord
from ..model.normalise import CardVerdict, is_named_after_mother
from ..model.outcome import Finding
from ..model.resource import Json
from ..model.times import CHINA, Clock, instant_text
from ..store.base import Store
from ..store.index_text import pinyin_forms
from . import merge, reviews
from .match import Candidate, Code, Review, decide, holder_of, name_review, traits
from .person import (
    PROOF,
    Record,
    acts_of,
    card_of,
    cards_told,
    disowned,
    first_content,
    lent_cards,
    marked_unverified,
    overlay,
    removed,
    settled,
    verdicts,
    with_acts,
    with_remarks,
)
from .reviews import Trace
from .workspace import Key, Person, Resolution, Workspace

_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""When what is said in passing counts from: any other message is later."""
_LOOKED_UP = ("ok", "birth-contradicts", "sex-contradicts", "birth-unknown", "sex-unknown")


@dataclass(frozen=True, slots=True)
class CreateDecision:
    """What a FHIR create of a Patient becomes (D21).

    patient: the id to answer with. known: True when it is an existing person's: 201 with their Location,
    what was sent is kept as a source record. The plan takes `resolution` as it is; when not known it
    holds the new Patient itself, as written.
    """

    patient: str
    known: bool
    resolution: Resolution


class PersonIndex:
    """Resolves source records to Patients. Reads the store, writes nothing."""

    def __init__(self, store: Store, ids: Ids, clock: Clock, directory: Directory) -> None:
        self._store, self._ids, self._clock, self._directory = store, ids, clock, directory

    def workspace(self) -> Workspace:
        """A fresh desk for one act."""
        today = self._clock().astimezone(CHINA).date()
        return Workspace(self._store, self._ids, self._directory, today)

    async def resolve(
        self, records: Sequence[SourceRecord], merges: Sequence[MergeRequest] = (), *, apart: bool = False
    ) -> Resolution:
        """Patient ids of the records and what to write about them; one read when nothing changed.

        Raises UnknownNumber for a merge of a number nobody sent, NumberReused for a local number
        that came to name another resident. apart: of records that may stand alone, the rows of a file, only
        that one is refused, with a finding, unless all are.
        """
        keys = [(one.member, one.local_number) for one in records]
        desk = self.workspace()
        asked = list(dict.fromkeys(keys))
        desk.seed(asked, await self._store.records(asked))
        refused: dict[int, NumberReused] = {}
        for number, (key, source) in enumerate(zip(keys, records, strict=True)):
            try:
                await self._take(desk, key, source)
            except NumberReused as fault:
                refused[number] = fault
                if not apart or len(refused) == len(records):
                    raise
            desk.told(_mistyped(source, desk.today))
        desk.told(fault.finding() for fault in refused.values())
        for request in merges:
            survivor = records[request.survivor]
            await merge.apply(desk, keys[request.survivor], request, survivor.said_at)
        made = desk.render(keys)
        kept = ("" if number in refused else one for number, one in enumerate(made.patients))
        return replace(made, patients=tuple(kept)) if refused else made

    async def _take(self, desk: Workspace, key: Key, source: SourceRecord) -> None:
        stored, counts_from = desk.record(key), _EARLIEST if source.in_passing else source.said_at
        if stored is None:
            await self._first(desk, self._new_record(key, source.patient, counts_from), source.said_at)
            return
        if _another_resident(stored, source, desk.today):
            raise NumberReused(source.place or "Patient.identifier")
        new = overlay(stored, source.patient, counts_from, desk.today)
        if new is not stored:
            _same_resident(stored, new, desk.today, source.place)
            desk.told(_renamed(stored, new))
            await self._changed(desk, stored, new, source.said_at)

    def _new_record(self, key: Key, patient: Json, said_at: datetime, *, door: str = "") -> Record:
        return Record(*key, first_content(patient, door=door), instant_text(said_at))

    async def _first(self, desk: Workspace, record: Record, said_at: datetime) -> None:
        """A record nobody sent before: to the person its verified card names, or to a person of its own."""
        verdict = record.card(desk.today)
        by_card = await _by_card(desk, verdict)
        known = verdict.verified and any(c.active and verdict.value18 in c.cards for c in by_card)
        alike = [] if known else await desk.alike(record)
        decision = decide(record, verdict, by_card, alike)
        if decision.patient:
            person = await desk.living(decision.patient)
        else:
            person = desk.new_person(self._ids.of("Patient", *record.key), record.member)
            record = replace(record, provisional=decision.provisional)
        desk.attach(person, record)
        for review in decision.reviews:
            await desk.ask(review, record, said_at)
        if not decision.patient and not decision.provisional:
            await _announce(desk, person, verdict, by_card, alike, said_at)

    async def _changed(self, desk: Workspace, old: Record, new: Record, said_at: datetime) -> None:
        """A known record says something new; its place is looked at again when its card changed."""
        person = await desk.person(desk.home(old.key))
        before, after = old.card(desk.today), new.card(desk.today)
        desk.attach(person, new)
        refused = new.content.get("_refused")
        if refused and refused != old.content.get("_refused"):
            await _ask_refused(desk, new, refused, said_at)
        if after.verified and (not before.verified or before.value18 != after.value18):
            await self._rematch(desk, person, settled(new), after, said_at)
        elif after.contradicts and not before.contradicts:
            await _doubt(desk, person, new, after, said_at)
        elif new.provisional and not after.contradicts:
            desk.attach(person, settled(new))
            await desk.settle(new, Code.CARD_CONTRADICTS)
        elif traits(old) != traits(new) and not after.verified:
            same = [c.id for c in await desk.alike(new) if c.active]
            if same:
                review = Review(Code.SAME_TRAITS, "姓名、出生日期、性别相同，无证件可核对", tuple(sorted(same)))
                await desk.ask(review, new, said_at)

    async def _rematch(
        self, desk: Workspace, person: Person, record: Record, verdict: CardVerdict, said_at: datetime
    ) -> None:
        """The record's card is verified now: join who holds it, part from who holds another, or keep it."""
        desk.attach(person, record)
        by_card = [c for c in await _by_card(desk, verdict) if c.id != person.id]
        theirs = {one.card(desk.today) for key, one in person.records.items() if key != record.key}
        others = {one.value18 for one in theirs if one.verified}
        holder = holder_of(verdict, by_card)
        keys = [record.key] if others else list(person.records)
        code = reviews.CARD_MOVED if others else reviews.CARD_JOINED
        trace = Trace(code, record.key, said_at, card=verdict.value18)
        if verdict.value18 in others:
            pass
        elif holder is not None:
            await merge.carry(desk, keys, person, await desk.living(holder.id), trace)
            for review in name_review(record, holder):
                await desk.ask(review, record, said_at)
        else:
            if others:
                own = await desk.aside(record, verdict.value18, person)
                await merge.carry(desk, keys, person, own, trace)
                person = own
            await _announce(desk, person, verdict, by_card, (), said_at)
        await desk.settle(record, Code.CARD_CONTRADICTS, Code.CARD_UNVERIFIED, Code.SAME_TRAITS)

    async def create(self, patient: Json, member: str, client_id: str, *, named: bool = False) -> CreateDecision:
        """A FHIR create: the existing person when a verified card is known, else a new Patient `client_id`.

        named: the client chose that id, and goes on to write under it: it then leads to the existing person, as after
        a merge by card.
        """
        desk, said_at = self.workspace(), self._clock()
        key = (member, client_id)
        record = self._new_record(key, patient, said_at, door="fhir")
        verdict = record.card(desk.today)
        by_card = await _by_card(desk, verdict)
        alike = [] if verdict.verified and by_card else await desk.alike(record)
        decision = decide(record, verdict, by_card, alike)
        if decision.patient:
            person = await desk.living(decision.patient)
            if named:
                own = desk.new_person(client_id, member)
                desk.attach(own, record)
                trace = Trace(reviews.CARD_JOINED, key, said_at, card=verdict.value18)
                await merge.carry(desk, [key], own, person, trace)
            else:
                desk.attach(person, record)
            for review in decision.reviews:
                await desk.ask(review, record, said_at)
            return CreateDecision(person.id, True, desk.render([key]))
        person = desk.new_person(client_id, member)
        desk.attach(person, record)
        for review in decision.reviews:
            await desk.ask(review, record, said_at)
        await _announce(desk, person, verdict, by_card, alike, said_at)
        person.written = _as_written(patient, desk.body(person))
        return CreateDecision(client_id, False, desk.render([key]))

    async def rewrite(
        self, patient_id: str, patient: Json, member: str, changed: frozenset[str] | None = None
    ) -> Resolution:
        """A FHIR update of a Patient: it reads back as written (what it is found by is kept), and
        feeds change only what it left out.

        changed: the members a patch changed or removed; feeds go on changing all others that no earlier update set,
        and bring back none that was removed.
        `patients[0]` differs from `patient_id` when the update gave it a verified card that another
        person holds: then both are one from now on.
        """
        desk, said_at = self.workspace(), self._clock()
        key = (member, patient_id)
        old = await desk.load(key)
        person = await merge.survivor(desk, patient_id if old is None else desk.home(key))
        told = patient if changed is None else _told(patient, changed, old)
        gone = {*(old.content.get("_removed", ()) if old else ()), *(changed or ())} - patient.keys()
        record = removed(self._new_record(key, told, said_at, door="steward"), gone)
        lent = lent_cards(person.records.values(), desk.today)
        if old is not None:
            record = with_acts(disowned(record, *old.content.get("_disowned", ())), acts_of(old))
        record = disowned(record, *lent)
        desk.attach(person, record)
        before, verdict = (old.card(desk.today) if old else None), record.card(desk.today)
        if verdict.verified and (before is None or not before.verified or before.value18 != verdict.value18):
            await self._rematch(desk, person, record, verdict, said_at)
        if desk.home(key) == patient_id:
            theirs = lent_cards(person.records.values(), desk.today)
            person.written = _as_written(with_remarks(patient, theirs, desk.today), desk.body(person))
        return desk.render([key])

    async def forget(self, patients: Sequence[str]) -> Resolution:
        """What goes with Patients that are deleted: all their source records said. Who is sent again begins anew.

        Raises Conflict for one of a merge, which only its undoing takes apart.
        """
        desk = self.workspace()
        for one in patients:
            person = await desk.person(one)
            if person.survivor or person.replaces:
                raise Conflict(f"Patient/{one}", "undo the merge first", detail_zh="该居民与他人合并过，请先撤销合并。")
            desk.forget(person)
        return desk.render(())

    async def current(self, member: str, local_number: str) -> str:
        """Patient id a local number stands for now, "" when nobody sent it."""
        row = (await self._store.records([(member, local_number)]))[0]
        return row.patient if row else ""


def _told(patient: Json, changed: frozenset[str], old: Record | None) -> Json:
    """What a patch says of a Patient: what it changed, and what earlier updates of the same writer had set."""
    # A card is proven by all three, so whoever changes one of them says the others too.
    # `_birthDate` goes where birthDate goes: one record answers for both.
    said = {key.lstrip("_") for key in changed}
    said |= (PROOF if said & PROOF else frozenset()) | (old.content.keys() if old else frozenset())
    return {key: value for key, value in patient.items() if key.lstrip("_") in said}


async def _by_card(desk: Workspace, verdict: CardVerdict) -> list[Candidate]:
    if verdict.code not in _LOOKED_UP:
        return []
    return await desk.holders(systems.ID_CARD, verdict.value18)


def _mistyped(source: SourceRecord, today: date) -> Iterator[Finding]:
    """A finding for each card number that can be nobody's; it is kept as sent, and links to nobody."""
    for _, verdict in verdicts(source.patient, today):
        if verdict.mistyped:
            zh = f"{verdict.reason_zh}：该证件号照来文保存，标为未核验，不据此归并。"
            en = f"The card number can be nobody's ({verdict.code}); it is kept unverified and links to nobody."
            yield Finding("GW-IDN-011", "warning", source.place or "Patient.identifier", zh, en)


async def _announce(
    desk: Workspace,
    person: Person,
    verdict: CardVerdict,
    by_card: Sequence[Candidate],
    alike: Sequence[Candidate],
    said_at: datetime,
) -> None:
    """A person newly holds a card or is new: claim the card, and tell the open reviews it may answer."""
    if verdict.verified and not by_card:
        desk.claim(verdict.value18)
    doubtful = [c for c in by_card if verdict.value18 not in c.cards] + [c for c in alike if not c.active]
    for one in {c.id: c for c in doubtful}.values():
        await desk.mention(one, person.id, said_at)


async def _ask_refused(desk: Workspace, record: Record, refused: Json, said_at: datetime) -> None:
    claimed = {**record.content, **{k: v for k, v in refused.items() if not k.startswith("identifier:")}}
    cards = [one for slot, value in refused.items() if slot.startswith("identifier:") for one in value]
    verdict = card_of({**claimed, "identifier": cards or record.content.get("identifier", [])}, desk.today)
    found = await _by_card(desk, verdict) if cards else []
    candidates = tuple(sorted(c.id for c in found if c.active and c.id != desk.home(record.key)))
    await desk.ask(Review(Code.CARD_CONTRADICTS, verdict.reason_zh, candidates), record, said_at)


async def _doubt(desk: Workspace, person: Person, record: Record, verdict: CardVerdict, said_at: datetime) -> None:
    """A card that was never verified contradicts now: alone, the person becomes provisional; else only ask."""
    if len(person.records) == 1 and person.records[record.key].content.get("_door") is None:
        record = replace(record, provisional=True)
        desk.attach(person, record)
    found = [*await _by_card(desk, verdict), *await desk.alike(record)]
    candidates = tuple(sorted({c.id for c in found if c.active and c.id != person.id}))
    await desk.ask(Review(Code.CARD_CONTRADICTS, verdict.reason_zh, candidates), record, said_at)


def _another_resident(stored: Record, source: SourceRecord, today: date) -> bool:
    """True when a message speaks of somebody else than its local number: name and birth date are others, card or none.

    Of whom no card is verified the sex or the card must be another too: an unnamed patient of an emergency gets name
    and birth date later. A message that says the same card is no such one: that asks whether it contradicts. A newborn
    booked under the mother's own number is another resident whatever else it says. What is said in passing changes
    neither name nor birth date: one of both must agree, the name also in pinyin, else a device mistyped a number.
    """
    told = replace(stored, content=source.patient)
    if is_named_after_mother(told.name) and stored.name and not is_named_after_mother(stored.name):
        return True
    cards, others = cards_told(stored.content), cards_told(source.patient)
    if cards & others or not _other_name_and_birth(stored, told, in_passing=source.in_passing):
        return False
    other_sex = {traits(stored)[2], traits(told)[2]} == {"male", "female"}
    return source.in_passing or other_sex or bool(cards and others) or stored.card(today).verified


def _other_name_and_birth(stored: Record, told: Record, *, in_passing: bool = False) -> bool:
    mine, theirs = traits(stored), traits(told)
    if mine[0].isascii() != theirs[0].isascii() and not (in_passing and not _spelt(mine[0], theirs[0])):
        return False
    birth_differs = not mine[1].startswith(theirs[1]) and not theirs[1].startswith(mine[1])
    return bool(mine[0] and theirs[0] and mine[0] != theirs[0] and birth_differs)


def _spelt(one: str, other: str) -> bool:
    """True when of two compared names one is the pinyin of the other, in either order of surname and given name."""
    han, latin = (other, one) if one.isascii() else (one, other)
    return not latin or sorted(latin) in [sorted(form) for form in pinyin_forms(han)]


def _renamed(old: Record, new: Record) -> Iterator[Finding]:
    """A finding where a record got another name and birth date, and no verified card tells that it is the same."""
    if _other_name_and_birth(old, new):
        zh = "本地号的姓名和出生日期都变了，没有已核验的证件可对：已按同一位居民更正，以前的记录仍在其名下。"
        en = "Name and birth date of the local number changed, and no verified card tells: taken for the same resident."
        yield Finding("GW-IDN-012", "warning", "Patient.name", zh, en)


def _same_resident(old: Record, new: Record, today: date, place: str) -> None:
    """Refuse a local number that was given to somebody else: filing on would mix two residents."""
    before, after = old.card(today), new.card(today)
    if not (before.verified and after.verified) or before.value18 == after.value18:
        return
    mine, theirs = traits(old), traits(new)
    if mine[0] != theirs[0] and mine[1:] != theirs[1:]:
        raise NumberReused(place or "Patient.identifier")


def _as_written(patient: Json, composed: Json) -> Json:
    """The Patient keeps what the client wrote; what it is found and verified by is added where it is missing.

    Without numbers, birth date and sex, which prove the card, the next feed would make a second person.
    """
    body = {key: value for key, value in patient.items() if key not in ("id", "meta")}
    held = {(one.get("system"), one.get("value")) for one in body.get("identifier", ())}
    proven = [one for one in composed.get("identifier", ()) if not marked_unverified(one)]
    added = [one for one in proven if (one.get("system"), one.get("value")) not in held]
    if added:
        body["identifier"] = [*body.get("identifier", ()), *added]
    for key in ("gender", "birthDate", "_birthDate"):
        if key in composed and key not in body:
            body[key] = composed[key]
    if "link" in composed:
        body["link"] = composed["link"]
    return body
