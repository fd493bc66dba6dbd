"""What no other tab shows: vaccinations, procedures, drugs handed out or told by the resident, single observations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...model.printed import concept_text, effective_time
from ...model.resource import Json, reference_id
from . import moments
from .moments import When
from .opened import Opened, instant_of
from .views_report import value_text

_KINDS = {
    "Immunization": ("接种", ("vaccineCode",), ("occurrenceDateTime",)),
    "Procedure": ("操作与手术", ("code",), ("performedDateTime", "performedPeriod")),
    "MedicationDispense": ("发药", ("medicationCodeableConcept",), ("whenHandedOver", "whenPrepared")),
    "MedicationAdministration": ("给药", ("medicationCodeableConcept",), ("effectiveDateTime", "effectivePeriod")),
    "MedicationStatement": ("用药陈述", ("medicationCodeableConcept",), ("effectiveDateTime", "effectivePeriod")),
    "FamilyMemberHistory": ("家族史", ("relationship",), ("date",)),
    "Flag": ("警示", ("code",), ("period",)),
}
_STATES = {
    "not-done": "未执行",
    "not-taken": "未服用",
    "declined": "已拒绝",
    "stopped": "已停止",
    "cancelled": "已取消",
    "on-hold": "暂停",
    "preparation": "准备中",
    "in-progress": "进行中",
}


@dataclass(frozen=True, slots=True)
class OtherLine:
    """`接种`, `破伤风疫苗`, where, when; state "" for what was done as usual."""

    kind: str
    title: str
    state: str
    member: str
    at: When


def other_lines(opened: Opened) -> tuple[OtherLine, ...]:
    """All of them, the newest first."""
    found = [*_of_kinds(opened), *_observations(opened)]
    return tuple(line for _, line in sorted(found, key=lambda pair: instant_of(pair[0]), reverse=True))


def _of_kinds(opened: Opened) -> Iterator[tuple[str, OtherLine]]:
    for type_, (kind, names, times) in _KINDS.items():
        for resource in opened.record.current(type_):
            title = next(filter(None, (concept_text(resource.get(name, {})) for name in names)), "未写明")
            conditions = (concept_text(c.get("code", {})) for c in resource.get("condition", ()))
            said = next(filter(None, (_time(resource.get(time)) for time in times)), "")
            yield said, _line(opened, kind, "：".join(filter(None, (title, "、".join(conditions)))), resource, said)


def _observations(opened: Opened) -> Iterator[tuple[str, OtherLine]]:
    """Those of no report and no visit, and no laboratory's: smoking, a weight taken at home."""
    visits = {encounter["id"] for encounter in opened.record.encounters}
    for item in opened.record.observations:
        if is_told_elsewhere(opened, item) or reference_id(item.get("encounter"), "Encounter") in visits:
            continue
        title = " ".join(filter(None, (concept_text(item.get("code", {})), *value_text(item))))
        yield effective_time(item), _line(opened, "观察", title, item, effective_time(item))


def is_told_elsewhere(opened: Opened, observation: Json) -> bool:
    """True for a result of the laboratory or of a report: it has its row in the grid or its line in the report."""
    codes = {c.get("code") for concept in observation.get("category", ()) for c in concept.get("coding", ())}
    return "laboratory" in codes or opened.record.report_of(observation) is not None


def _line(opened: Opened, kind: str, title: str, resource: Json, said: str) -> OtherLine:
    state = _STATES.get(str(resource.get("status", "")), "")
    return OtherLine(kind, title, state, opened.says(resource), moments.day(said, opened.at, full=True))


def _time(said: object) -> str:
    return str(said.get("start") or said.get("end") or "") if isinstance(said, dict) else str(said or "")
