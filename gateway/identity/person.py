"""One source record's demographics over time, and the Patient that several of them make together.

Pure. A record's stored content is its Patient elements plus members no FHIR element can be named like:

- `_said`: element → instant, where an element was said at another time than the record's newest message,
  and for every deleted element, so that an older message does not bring it back;
- `_refused`: elements of the newest message that contradict the record's verified card and were kept out;
- `_door`: set when the record came through the FHIR interface, so its number is no local number: `fhir` for a
  create, `steward` for an update, whose elements stand above every feed's (design-store §8);
- `active`, `link` (refer, seealso): what a client said of the Patient, not of the resident: it counts for the one the
  record is named by;
- `_removed`: elements a patch over FHIR took away, so that no feed brings them back;
- `_disowned`: card numbers a steward found to be another person's, sorted;
- `_acts`: ids of the Tasks of every standing act that moved the record, the last one last: the first to be taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from ..model import systems
from ..model.normalise import (
    CardVerdict,
    card_key,
    eighteen,
    has_han,
    is_mothers,
    is_named_after_mother,
    is_sound,
    verify_card,
)
from ..model.resource import Json, dumps, loads
from ..model.times import instant_text, parse_fhir

_KEPT = ("_door", "_disowned", "_acts")
_OWN = ("_said", "_refused", "_removed", *_KEPT)
_NEVER = frozenset({"resourceType", "id", "meta", "text", "active", "link", "implicitRules", *_OWN})
_FHIR_ORDER = (
    "identifier active name telecom gender birthDate deceased address maritalStatus multipleBirth photo contact "
    "communication generalPractitioner managingOrganization link"
)
PROOF = frozenset({"identifier", "birthDate", "gender"})
"""What a card is proven by; without it the next feed would make a second person."""
_PLACE = {element: place for place, element in enumerate(_FHIR_ORDER.split(" "))}


@dataclass(frozen=True, slots=True)
class Record:
    """A source record as it will be stored. `content` holds what the module's docstring names."""

    member: str
    local_number: str
    content: Json
    said_at: str
    provisional: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """(member, local number)."""
        return self.member, self.local_number

    @property
    def name(self) -> str:
        """The name as its system prints it, "" when unknown."""
        return name_of(self.content)

    def card(self, today: date) -> CardVerdict:
        """The verdict on the record's card: a verified one before one that contradicts before the rest."""
        return card_of(self.content, today)


def name_of(patient: Json) -> str:
    """Text of the first name of a Patient."""
    names = patient.get("name") or [{}]
    first = names[0]
    return str(first.get("text") or first.get("family", "") + "".join(first.get("given", ())))


def id_kind(identifier: Json) -> str:
    """CV02.01.101 code or words for the kind of a document, "" when not said."""
    for extension in identifier.get("extension", ()):
        if extension.get("url") == systems.EXT_ID_KIND:
            return str(extension.get("valueCode", extension.get("valueString", "")))
    return str(identifier.get("type", {}).get("text", "")) if "母" in str(identifier.get("type", {})) else ""


def cards_told(patient: Json) -> set[str]:
    """The card numbers of a Patient as they are compared, whatever they prove; none that can be nobody's."""
    told = {(one.get("system"), card_key(str(one.get("value", "")))) for one in patient.get("identifier", ())}
    cards = {(system, eighteen(key)) for system, key in told}
    return {key for system, key in cards if key and (is_sound(key) if system in _ID_CARDS else system in _CARDS)}


def verdicts(patient: Json, today: date) -> list[tuple[Json, CardVerdict]]:
    """Every card number of a Patient or record with its verdict, in order."""
    birth, sex = str(patient.get("birthDate", "")), str(patient.get("gender", ""))
    lent = patient.get("_disowned", ())
    # A ward may book 林芳之女 with all of the mother's particulars: her card would be the child's.
    child = is_named_after_mother(name_of(patient))
    found = [
        (
            one,
            verify_card(str(one["value"]), birth=birth, sex=sex, kind=_MOTHERS if child else id_kind(one), today=today),
        )
        for one in patient.get("identifier", ())
        if one.get("system") in (systems.ID_CARD, systems.MOTHERS_CARD) and one.get("value")
    ]
    return [(one, _not_theirs(verdict) if verdict.value18 in lent else verdict) for one, verdict in found]


_MOTHERS = "母亲身份证"


def _not_theirs(verdict: CardVerdict) -> CardVerdict:
    return CardVerdict(False, verdict.value18, "经复核不是本人证件", _NOT_THEIRS)


_NOT_THEIRS = "not-theirs"


def disowned(record: Record, *cards: str) -> Record:
    """The record whose card a steward found to be another person's; it proves nothing there from now on."""
    return _disowning(record, {*record.content.get("_disowned", ()), *cards})


def owned_again(record: Record, card: str) -> Record:
    """The record once a steward takes that back; what else was found to be another's stays so."""
    return _disowning(record, {*record.content.get("_disowned", ())} - {card})


def acts_of(record: Record) -> list[str]:
    """Ids of the acts that moved the record and stand, the last one last."""
    return list(record.content.get("_acts", ()))


def with_acts(record: Record, acts: Sequence[str]) -> Record:
    """The record after one more act, or one less."""
    content = {key: value for key, value in record.content.items() if key != "_acts"}
    return replace(record, content=content | ({"_acts": [*acts]} if acts else {}))


def _disowning(record: Record, cards: Collection[str]) -> Record:
    content = {key: value for key, value in record.content.items() if key != "_disowned"}
    return replace(record, content=content | ({"_disowned": sorted(cards)} if cards else {}))


def lent_cards(records: Collection[Record], today: date) -> set[str]:
    """The cards that some records of a person disown and none proves."""
    found = {card for one in records for card in one.content.get("_disowned", ())}
    return found - {verdict.value18 for one in records if (verdict := one.card(today)).verified}


def with_remarks(patient: Json, lent: Collection[str], today: date) -> Json:
    """A Patient as written, but for cards that are another person's: those stand with that remark."""
    told = [one for one in verdicts({**patient, "_disowned": lent}, today) if one[1].code == _NOT_THEIRS]
    if not told:
        return patient
    remarks = {id(one): {"extension": _card(one, verdict)["extension"]} for one, verdict in told}
    return patient | {"identifier": [one | remarks.get(id(one), {}) for one in patient["identifier"]]}


def removed(record: Record, keys: Iterable[str]) -> Record:
    """The record after a patch took elements away; what a card is proven by stays."""
    gone = sorted(key for key in keys if key not in _NEVER and _group(key) not in PROOF)
    return replace(record, content={**record.content, "_removed": gone}) if gone else record


def forgotten(record: Record) -> Record:
    """The record once its Patient is deleted: where it came from, what moved it, and whose card it is not."""
    kept: Json = {key: record.content[key] for key in _KEPT if key in record.content}
    return replace(record, content=kept, provisional=False)


_ID_CARDS = (systems.ID_CARD, systems.MOTHERS_CARD)
_CARDS = (*_ID_CARDS, systems.HEALTH_CARD)
_NO_CARD = CardVerdict(False, "", "", "none")


def card_of(patient: Json, today: date) -> CardVerdict:
    """The verdict that counts for the whole record; code `none` without any card."""
    found = [verdict for _, verdict in verdicts(patient, today)]
    rank = sorted(found, key=lambda v: (not v.verified, not v.contradicts, v.code))
    return rank[0] if rank else _NO_CARD


def verified_cards(patient: Json, today: date) -> frozenset[str]:
    """The verified card numbers a stored Patient holds; worked out from its body, whoever wrote it."""
    return frozenset(
        verdict.value18 for one, verdict in verdicts(patient, today) if verdict.verified and not marked_unverified(one)
    )


def marked_unverified(identifier: Json) -> bool:
    """True for an identifier that is shown with the reason why it proves nothing."""
    return any(e.get("url") == systems.EXT_UNVERIFIED for e in identifier.get("extension", ()))


# ---- one record over time --------------------------------------------------------------------
def first_content(patient: Json, *, door: str = "") -> Json:
    """The content of a record nobody sent before."""
    parts = {slot: value for slot, value in _slots(patient).items() if not _empty(value)}
    return _assemble(parts, {}, "", {"_door": door} | _of_patient(patient) if door else {})


def _of_patient(patient: Json) -> Json:
    links = [one for one in patient.get("link", ()) if one.get("type") not in ("replaces", "replaced-by")]
    found = {"active": patient.get("active"), "link": links}
    return {key: value for key, value in found.items() if not _empty(value)}


def overlay(stored: Record, patient: Json, said_at: datetime, today: date) -> Record:
    """`stored` after one more message of its system: the later statement of each element wins.

    Empty never overwrites; an element that is None was deleted by its sender (`""` in HL7 v2). What
    contradicts a card that was verified is kept aside in `_refused`: a wrong birth date in one message
    must not tear a resident from their history. Gives `stored` itself when nothing changed.
    """
    old, at = _slots(stored.content), instant_text(said_at)
    times = dict.fromkeys(old, stored.said_at) | stored.content.get("_said", {})
    slots, said = dict(old), dict(times)
    for slot, value in _slots(patient).items():
        if not _speaks(slot, value, old) or (slot in times and said_at < parse_fhir(times[slot])):
            continue
        slots[slot], said[slot] = value, at
    slots = {slot: value for slot, value in slots.items() if value is not None}
    if slots == old and "_refused" not in stored.content:
        return stored
    newest = at if said_at >= parse_fhir(stored.said_at) else stored.said_at
    return _of_its_value(_guarded(stored, slots, said, newest, today), patient, stored.content)


def _of_its_value(record: Record, *told: Json) -> Record:
    """The record without what was said beside another value than its element has now: a time of birth of another day.

    told: what was said, each time of both.
    """
    content = record.content
    kept = {
        key: value
        for key, value in content.items()
        if not key.startswith("_")
        or key in _OWN
        or any(one.get(key) == value and one.get(key[1:]) == content.get(key[1:]) for one in told)
    }
    return record if len(kept) == len(content) else replace(record, content=kept)


def _speaks(slot: str, value: Any, old: Mapping[str, Any]) -> bool:
    """False for a value that must not replace the old one: empty, or Latin letters for a Chinese name."""
    if value is None:
        return slot in old
    if _empty(value):
        return False
    return slot != "name" or has_han(name_of({"name": value})) or not has_han(name_of({"name": old.get("name")}))


def _guarded(stored: Record, slots: dict[str, Any], said: dict[str, str], at: str, today: date) -> Record:
    """The record with the new slots, except those that contradict the card it was verified by."""
    extra: Json = {key: stored.content[key] for key in _KEPT if key in stored.content}
    if stored.card(today).verified and card_of(_assemble(slots, {}, "", {}), today).contradicts:
        old = _slots(stored.content)
        refused = {slot: value for slot, value in slots.items() if _proves(slot) and value != old.get(slot)}
        slots = {slot: value for slot, value in slots.items() if slot not in refused} | {
            slot: old[slot] for slot in refused if slot in old
        }
        extra["_refused"] = refused
    content = _assemble(slots, said, at, extra)
    if _same(content, stored.content):
        return stored
    return Record(stored.member, stored.local_number, content, at, stored.provisional)


def _proves(slot: str) -> bool:
    return slot.lstrip("_") in ("birthDate", "gender") or slot.startswith(f"identifier:{systems.ID_CARD}:")


def _same(one: Json, other: Json) -> bool:
    """True when two contents differ in nothing but when things were said."""
    return {**one, "_said": None} == {**other, "_said": None}


def _slots(patient: Json) -> dict[str, Any]:
    """Elements by the unit in which they change: identifiers one a system, choices and extensions together."""
    slots: dict[str, Any] = {}
    for key, value in patient.items():
        if key == "identifier":
            for one in value or ():
                slots.setdefault(_identifier_slot(one), []).append(one)
        elif key not in _NEVER:
            slots[key] = value
    return slots


def _identifier_slot(identifier: Json) -> str:
    return f"identifier:{identifier.get('system', '')}:{id_kind(identifier)}"


def _empty(value: Any) -> bool:
    return value in ("", [], {}) or value is None


def _assemble(slots: Mapping[str, Any], said: Mapping[str, str], at: str, extra: Json) -> Json:
    content: Json = {}
    identifiers = [one for slot in sorted(slots) if slot.startswith("identifier:") for one in slots[slot]]
    if identifiers:
        content["identifier"] = identifiers
    for slot in sorted((s for s in slots if not s.startswith("identifier:")), key=_place):
        content[slot] = slots[slot]
    times = {slot: when for slot, when in sorted(said.items()) if when != at or slot not in slots}
    return content | ({"_said": times} if times else {}) | extra


def _place(element: str) -> tuple[int, str]:
    """Where FHIR lists the element; strangers go last, by name."""
    group = _group(element)
    return _PLACE.get(group, len(_PLACE)), element


def _group(element: str) -> str:
    """The element a key belongs to: `_birthDate` → birthDate, `deceasedDateTime` → deceased."""
    plain = element.lstrip("_")
    return next((g for g in ("deceased", "multipleBirth") if plain.startswith(g)), plain)


# ---- several records, one Patient -------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Names:
    """How members are printed: key → name, and the reference of the owner as managing organisation."""

    display: Mapping[str, str]
    owner: Json | None = None


def compose(records: Iterable[Record], names: Names, today: date, own: str = "") -> Json:
    """The Patient these records make: verified and later statements first, every number an identifier.

    The same records give the same bytes in any order. No `id`, no `meta`. own: the id, for what clients said of it.
    """
    ranked = sorted(records, key=lambda r: r.key)
    ranked.sort(key=lambda r: parse_fhir(r.said_at), reverse=True)
    ranked.sort(key=lambda r: not r.card(today).verified)
    patient: Json = {"resourceType": "Patient", "identifier": _identifiers(ranked, names, today)}
    told = _told_of(ranked, own)
    patient["active"] = told.get("active", not provisional(ranked))
    if "link" in told:
        patient["link"] = told["link"]
    for key, value in _elements(ranked, today):
        patient[key] = value
    if names.owner and "managingOrganization" not in patient:
        patient["managingOrganization"] = names.owner
    if not patient["identifier"]:
        del patient["identifier"]
    return patient


def _told_of(records: Sequence[Record], own: str) -> Json:
    """What clients said of the Patient itself: a steward before its creator, then the last word."""
    theirs = [r for r in records if r.local_number == own and "_door" in r.content]
    theirs.sort(key=lambda r: (r.content["_door"] == "steward", parse_fhir(r.said_at)))
    return {key: r.content[key] for r in theirs for key in ("active", "link") if key in r.content}


def provisional(records: Collection[Record]) -> bool:
    """True for a person all of whose records are in doubt."""
    return bool(records) and all(record.provisional for record in records)


def _elements(ranked: Sequence[Record], today: date) -> list[tuple[str, Any]]:
    """(key, value) in FHIR's order; one record answers for a whole group of keys."""
    groups = {_group(key) for record in ranked for key in record.content if key not in _NEVER and key != "identifier"}
    out: list[tuple[str, Any]] = []
    for group in groups - _taken_away(ranked):
        best = min((r for r in ranked if _has(r, group)), key=lambda r: _claim(r, group, ranked, today))
        out += [(key, best.content[key]) for key in best.content if key not in _NEVER and _group(key) == group]
    return sorted(out, key=lambda pair: _place(pair[0]))


def _taken_away(ranked: Sequence[Record]) -> set[str]:
    """Groups a patch removed, and no later update over FHIR set again."""
    gone: dict[str, datetime] = {}
    for record in ranked:
        for key in record.content.get("_removed", ()):
            group, at = _group(key), parse_fhir(record.said_at)
            gone[group] = max(at, gone.get(group, at))
    updates = [record for record in ranked if record.content.get("_door") == "steward"]
    return {
        group
        for group, at in gone.items()
        if not any(_has(record, group) and parse_fhir(record.said_at) > at for record in updates)
    }


def _has(record: Record, group: str) -> bool:
    return any(_group(key) == group for key in record.content if key not in _NEVER)


def _claim(record: Record, group: str, ranked: Sequence[Record], today: date) -> tuple[Any, ...]:
    """Smallest wins: a steward, a Chinese name before a Latin one, verified before not, then what was said last."""
    said = record.content.get("_said", {})
    times = [said.get(key, record.said_at) for key in record.content if _group(key) == group]
    latest = max(parse_fhir(when).timestamp() for when in times)
    latin = group == "name" and not has_han(record.name)
    steward = record.content.get("_door") == "steward"
    return not steward, latin, not record.card(today).verified, -latest, record.key


def _identifiers(ranked: Sequence[Record], names: Names, today: date) -> list[Json]:
    cards: dict[tuple[str, ...], Json] = {}
    numbers: dict[tuple[str, ...], Json] = {}
    for record in ranked:
        for one, verdict in verdicts(record.content, today):
            made = _card(one, verdict)
            cards.setdefault((made.get("system", ""), made["value"], str(verdict.verified)), made)
    proven = {key[1] for key in cards if key[2] == "True"}
    kept = [one for key, one in cards.items() if key[2] == "True" or key[1] not in proven]
    for record in ranked:
        if "_door" not in record.content:
            made = _local(record, names)
            numbers.setdefault((made["system"], made["value"]), made)
    for record in ranked:
        for one in record.content.get("identifier", ()):
            if one.get("system") not in (systems.ID_CARD, systems.MOTHERS_CARD) and one.get("value"):
                numbers.setdefault((one.get("system", ""), one["value"]), one)
    return kept + list(numbers.values())


def _card(identifier: Json, verdict: CardVerdict) -> Json:
    """The card as the Patient shows it: verified and official, or with the reason it proves nothing."""
    if verdict.verified:
        kind = {"coding": [{"system": systems.V2_0203, "code": "NI"}], "text": "居民身份证"}
        return {"use": "official", "type": kind, "system": systems.ID_CARD, "value": verdict.value18}
    mothers = is_mothers(id_kind(identifier))
    kept = [e for e in identifier.get("extension", ()) if e.get("url") != systems.EXT_UNVERIFIED]
    made: Json = {"extension": [*kept, {"url": systems.EXT_UNVERIFIED, "valueString": verdict.reason_zh}]}
    kind = {"text": "母亲身份证"} if mothers else {"coding": [{"system": systems.V2_0203, "code": "NI"}]}
    made["use"], made["type"] = "secondary", identifier.get("type", kind)
    made["system"] = systems.MOTHERS_CARD if mothers else systems.ID_CARD
    made["value"] = verdict.value18 or str(identifier["value"])
    return made


def _local(record: Record, names: Names) -> Json:
    made: Json = {
        "use": "usual",
        "type": {"coding": [{"system": systems.V2_0203, "code": "MR"}]},
        "system": systems.local_number(record.member),
        "value": record.local_number,
    }
    display = names.display.get(record.member, "")
    return made | ({"assigner": {"display": display}} if display else {})


def retired(stored: Json, survivor: str) -> Json:
    """The Patient that was merged into `survivor`: readable, inactive, without cards.

    A card identifies one current person; were it left here, nobody new could claim it.
    """
    kept = [one for one in stored.get("identifier", ()) if one.get("system") not in _CARDS]
    patient = {key: value for key, value in stored.items() if key not in ("id", "meta", "identifier", "link")}
    if kept:
        patient["identifier"] = [{**one, "use": "old"} for one in kept]
    patient["active"] = False
    older = [link for link in stored.get("link", ()) if link.get("type") == "replaces"]
    patient["link"] = [*older, {"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}]
    return {"resourceType": "Patient"} | {k: patient[k] for k in sorted(patient, key=_place) if k != "resourceType"}


def content_bytes(record: Record) -> bytes:
    """What is stored for the record."""
    return dumps(record.content)


def record_from(member: str, local_number: str, content: bytes, said_at: str, state: str) -> Record:
    """A stored record."""
    return Record(member, local_number, loads(content), said_at, state == "provisional")


def settled(record: Record) -> Record:
    """The record once nothing speaks against it any more."""
    return replace(record, provisional=False) if record.provisional else record
