"""Review Tasks: what the index asks a person to decide, and every act that took records to another person.

One Task a record and code; the id follows from both, so asking twice is asking once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..model import systems
from ..model.ids import Ids
from ..model.outcome import Finding
from ..model.resource import Json, reference_id
from ..model.times import instant_text
from .match import Review
from .person import Record

CLOSED = frozenset({"completed", "rejected", "cancelled", "entered-in-error"})
MERGED, JOINED, PARTED = "merged-by-member", "merged-by-steward", "parted-by-steward"
CARD_JOINED, CARD_MOVED = "merged-by-card", "moved-by-card"
DECIDED, BY_CARD = (MERGED, JOINED, PARTED), (CARD_JOINED, CARD_MOVED)
ACTS = (*DECIDED, *BY_CARD)
"""What moves records: somebody's word, or a verified card (all of a person, or the one record)."""
SOURCE_RECORD = systems.REVIEW  # Task.input.type: what an input says


def task_id(ids: Ids, code: str, record: tuple[str, str]) -> str:
    """Id of the review `code` about the record (member, local number)."""
    return ids.of("Task", code, *record)


def review_task(review: Review, record: Record, patient: str, said_at: datetime) -> Json:
    """FHIR R4 Task without id: the record's person in `for`, the first candidate in `focus`, all in `input`."""
    return {
        "resourceType": "Task",
        "identifier": [_record_identifier(record.key)],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": systems.REVIEW, "code": review.code}], "text": "主索引复核"},
        "focus": _patient(review.candidates[0] if review.candidates else patient),
        "for": _patient(patient),
        "authoredOn": instant_text(said_at),
        "reasonCode": {"text": review.reason_zh},
        **_inputs(review.candidates),
    }


def candidates_of(task: Json) -> list[str]:
    """Patient ids among a Task's inputs, in order."""
    found = [reference_id(one.get("valueReference"), "Patient") for one in task.get("input", ())]
    return [one for one in found if one]


def with_candidates(task: Json, candidates: Iterable[str]) -> Json:
    """The Task with further candidates; a closed one is asked again when somebody new appears."""
    old = candidates_of(task)
    new = sorted(set(candidates) - set(old))
    if not new:
        return task
    opened = {**task, **_inputs([*old, *new]), "status": "requested"}
    if not old:
        opened["focus"] = _patient(new[0])
    return opened


def closed(task: Json, patient: str) -> Json:
    """The Task once its question is answered: the record belongs to `patient` now."""
    return {**task, "status": "completed", "for": _patient(patient)}


def decided(task: Json, status: str, patient: str, by: str, note: str, at: datetime) -> Json:
    """The Task once a steward answered it. status: completed (the same person) or rejected (another one)."""
    answered = {**task, "status": status, "for": _patient(patient), "lastModified": instant_text(at)}
    answered["owner"] = {"display": by}
    return answered | ({"note": [{"time": instant_text(at), "text": note}]} if note else {})


def by(task: Json) -> str:
    """Who answered a review, "" when nobody did: what a message closed."""
    return str(task.get("owner", {}).get("display", ""))


def noted(task: Json) -> str:
    """What they said about it, "" for nothing."""
    return next((str(one["text"]) for one in task.get("note", ())), "")


def opened_again(task: Json, patient: str) -> Json:
    """The Task as it was before it was answered; `patient` "" keeps whom it is about."""
    asked = {key: value for key, value in task.items() if key not in ("owner", "note", "lastModified")}
    return {**asked, "status": "requested"} | ({"for": _patient(patient)} if patient else {})


_ACTS = {
    MERGED: "本地号合并",
    JOINED: "复核合并",
    PARTED: "复核拆分",
    CARD_JOINED: "凭证件归并，全部本地号",
    CARD_MOVED: "凭证件改归，仅此本地号",
}


@dataclass(frozen=True, slots=True)
class Before:
    """What a client had written of a Patient: the version, and the digest of what the records alone made then."""

    patient: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What is to be told of an act beside who went where.

    code: one of ACTS. about: the source record it began with. review: id of the Task it answers, "" for none.
    card: the number that was believed, or no longer is, "" for none.
    """

    code: str
    about: tuple[str, str]
    said_at: datetime
    review: str = ""
    card: str = ""


def act_task(
    target: str, origin: str, moved: Iterable[tuple[str, str]], trace: Trace, written: Iterable[Before] = ()
) -> Json:
    """The record of an act, enough to undo it: who went where with which source records.

    written: of whom a client had written.
    """
    inputs: list[Json] = [
        {"type": {"text": _MOVED}, "valueIdentifier": _record_identifier(key)} for key in sorted(moved)
    ]
    if trace.card:
        card = {"system": systems.ID_CARD, "value": trace.card}
        inputs.append({"type": {"text": _CARD}, "valueIdentifier": card})
    inputs += [
        {"type": {"text": _AS_IT_WAS}, "valueString": f"Patient/{one.patient}/_history/{one.version} {one.digest}"}
        for one in written
    ]
    based = {"basedOn": [{"reference": f"Task/{trace.review}"}]} if trace.review else {}
    return {
        "resourceType": "Task",
        "identifier": [_record_identifier(trace.about)],
        **based,
        "status": STANDS,
        "intent": "order",
        "code": {"coding": [{"system": systems.REVIEW, "code": trace.code}], "text": _ACTS[trace.code]},
        "focus": _patient(target),
        "for": _patient(origin),
        "authoredOn": instant_text(trace.said_at),
        "input": inputs,
    }


STANDS = "completed"
_MOVED, _CARD, _AS_IT_WAS = "source record", "card", "as it was"


def as_it_was(task: Json) -> list[Before]:
    """What clients had written of those an act names."""
    found = []
    for one in task.get("input", ()):
        if one["type"].get("text") == _AS_IT_WAS:
            place, _, digest = one["valueString"].partition(" ")
            _, patient, _, version = place.split("/")
            found.append(Before(patient, int(version), digest))
    return found


def based_on(task: Json) -> str:
    """Id of the review an act answers, "" for none."""
    return next((reference_id(one, "Task") for one in task.get("basedOn", ())), "")


def record_of(task: Json) -> tuple[str, str]:
    """(member, local number) of the record a review is about, or an act began with."""
    one = task["identifier"][0]
    return _member_of(one["system"]), str(one["value"])


def moved_records(task: Json) -> list[tuple[str, str]]:
    """(member, local number) of the records an act moved."""
    return [(_member_of(one["system"]), one["value"]) for one in _identifiers(task, _MOVED)]


def card_of(task: Json) -> str:
    """The card number an act believed, or no longer believes, "" for none."""
    return next((str(one["value"]) for one in _identifiers(task, _CARD)), "")


def _identifiers(task: Json, kind: str) -> list[Json]:
    return [one["valueIdentifier"] for one in task.get("input", ()) if one["type"].get("text") == kind]


def code_of(task: Json) -> str:
    """The review code of a Task, "" when it is none of ours."""
    for coding in (task.get("code") or {}).get("coding", ()):
        if coding.get("system") == systems.REVIEW:
            return str(coding.get("code", ""))
    return ""


def _member_of(system: str) -> str:
    return system.split(":")[-2]


def _record_identifier(key: tuple[str, str]) -> Json:
    return {"system": systems.local_number(key[0]), "value": key[1]}


def _patient(patient_id: str) -> Json:
    return {"reference": f"Patient/{patient_id}"}


def _inputs(candidates: Iterable[str]) -> Json:
    found = [{"type": {"text": "candidate"}, "valueReference": _patient(one)} for one in candidates]
    return {"input": found} if found else {}


def finding_of(review: Review) -> Finding:
    """What a message's outcome says of a review it made."""
    zh = f"{review.reason_zh}，已交人工复核。"
    return Finding("GW-IDN-010", "warning", "Patient.identifier", zh, f"Identity review: {review.code}.")
