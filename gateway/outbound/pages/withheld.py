"""What a security label keeps from this doctor: how much of which kind, never what it says nor whose it is.

A page that said 无记录 of it would tell a doctor that nothing was ever measured or prescribed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...model.context import AccessContext
from ...store.base import Store
from .words import NO_RECORD, NOTHING_SEEN, Absent, Link, Note, State, no_record, no_right

_KINDS = {
    "Encounter": "就诊",
    "DocumentReference": "文书",
    "DiagnosticReport": "报告",
    "Observation": "结果",
    "ImagingStudy": "影像",
    "MedicationRequest": "用药",
    "AllergyIntolerance": "过敏",
    "Condition": "诊断",
    "Immunization": "接种",
    "Procedure": "操作与手术",
    "MedicationDispense": "发药",
    "MedicationAdministration": "给药",
    "MedicationStatement": "用药陈述",
    "FamilyMemberHistory": "家族史",
    "Flag": "警示",
}

Withheld = Mapping[str, int]
"""By resource type, of the types a page would show."""

LAB = ("DiagnosticReport", "Observation")
DRUGS = ("MedicationRequest",)
VISITS = ("Encounter",)
DOCUMENTS = ("DocumentReference",)
PROBLEMS = ("Condition",)
ALLERGIES = ("AllergyIntolerance",)
REPORTS = ("DiagnosticReport",)
IMAGES = ("ImagingStudy",)


async def withheld_of(store: Store, patient_id: str, who: AccessContext) -> Withheld:
    """Counts of what only the labels keep from the caller."""
    return await store.withheld(patient_id, who, frozenset(_KINDS))


def nothing(withheld: Withheld, types: tuple[str, ...], what: str, text: str) -> Absent:
    """无记录, or 无权查看 where something of the kind exists and is kept from this doctor."""
    if keeps(withheld, types):
        return no_right(what, "有资料，但您的角色看不到内容。")
    return no_record(what, text)


def keeps(withheld: Withheld, types: tuple[str, ...]) -> bool:
    """True when something of these types is kept from this doctor."""
    return any(withheld.get(type_) for type_ in types)


def none_of_member(withheld: Withheld, types: tuple[str, ...]) -> State:
    """无记录 of one member, or 无可见记录: whose the kept ones are is never told, so it may be this member's."""
    return NOTHING_SEEN if keeps(withheld, types) else NO_RECORD


def withheld_note(withheld: Withheld, way: str) -> list[Note]:
    """One remark for the head of every page; [] when nothing is kept back. way: address of break-glass, "" for none."""
    kinds = "、".join(f"{name} {withheld[type_]} 条" for type_, name in _KINDS.items() if withheld.get(type_))
    if not kinds:
        return []
    text = "已按敏感标记限制，本页的清单、提醒和“无记录”都不包括它们。"
    return [Note("lock", f"另有资料无权查看：{kinds}。", text, Link(way, "诊疗必需时说明理由查看") if way else None)]
