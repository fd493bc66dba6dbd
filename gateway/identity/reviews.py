"""Review Tasks: what the index asks a person to decide, and the merges it has done.

One Task a record and code; the id follows from both, so asking twice is asking once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..model import systems
from ..model.ids import Ids
from ..model.resource import Json, reference_id
from ..model.times import instant_text
from .match import Review
from .person import Record

CLOSED = frozenset({"completed", "rejected", "cancelled", "entered-in-error"})
MERGED = "merged-by-member"
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


def merge_task(survivor: str, retired: str, moved: Iterable[tuple[str, str]], said_at: datetime) -> Json:
    """The record of a merge, enough to undo it: who went where with which source records."""
    records = [{"type": {"text": "source record"}, "valueIdentifier": _record_identifier(key)} for key in sorted(moved)]
    return {
        "resourceType": "Task",
        "status": "completed",
        "intent": "order",
        "code": {"coding": [{"system": systems.REVIEW, "code": MERGED}], "text": "本地号合并"},
        "focus": _patient(survivor),
        "for": _patient(retired),
        "authoredOn": instant_text(said_at),
        "input": records,
    }


def moved_records(task: Json) -> list[tuple[str, str]]:
    """(member, local number) of the records a merge Task names."""
    keys = [one.get("valueIdentifier") or {} for one in task.get("input", ())]
    return [(_member_of(one["system"]), one["value"]) for one in keys if "value" in one]


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
