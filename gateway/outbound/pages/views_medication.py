"""Medication as lists: what is taken now with the days left, duplicates side by side, what is past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ...model.printed import concept_text
from ...model.resource import Json
from ..medication import Medicine
from . import moments
from .moments import UNKNOWN, When
from .opened import Derived, Opened
from .views_banner import allergen, known_allergies
from .withheld import DRUGS, nothing
from .words import Absent

_BAR = 90.0
_SEVERITY = {"severe": "重度", "moderate": "中度", "mild": "轻度"}


@dataclass(frozen=True, slots=True)
class Bar:
    """The part of the supply that is left, at the right of the frame."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Drug:
    """One line. twin: `同药重复 ×2`. left: `剩 16 天`; "" when the source gave no days, then `no_days` says so."""

    name: str
    twin: str
    conflict: str
    dosage: str
    left: str
    until: When
    bar: Bar | None
    no_days: str
    member: str
    kind: str
    start: When


@dataclass(frozen=True, slots=True)
class Allergy:
    """One known allergy with its source."""

    name: str
    reaction: str
    member: str
    at: When


@dataclass(frozen=True, slots=True)
class MedicationPage:
    """Current, past, allergies, and the warnings that concern them."""

    warnings: tuple[tuple[str, str, str], ...]
    current: tuple[Drug, ...]
    past: tuple[Drug, ...]
    allergies: tuple[Allergy, ...]
    no_current: Absent
    no_past: Absent


def medication_page(opened: Opened, derived: Derived) -> MedicationPage:
    """The medication tab."""
    kinds = {"allergy-conflict": "warn", "duplicate-medication": "repeat"}
    at = opened.at
    told = ((kinds[a.kind], a.title_zh, a.text_zh) for a in derived.cautions if a.kind in kinds)
    return MedicationPage(
        warnings=(*told, *(("warn", *forbidden_words(m, at)) for m in derived.medication.forbidden)),
        current=current_drugs(opened, derived),
        past=tuple(_drug(m, derived, at, past=True) for m in derived.medication.past),
        allergies=tuple(
            Allergy(
                allergen(a),
                _reactions(a),
                opened.says(a),
                moments.day(str(a.get("recordedDate", "")), opened.at),
            )
            for a in known_allergies(opened)
        ),
        no_current=nothing(opened.withheld, DRUGS, "当前用药", "已接入用药的成员单位都没有此人的现用药。"),
        no_past=nothing(opened.withheld, DRUGS, "过往用药", "没有过往用药。"),
    )


def forbidden_words(medicine: Medicine, now: datetime) -> tuple[str, str]:
    """`勿用：甲氨蝶呤`, and who said so."""
    return f"勿用：{medicine.name}", f"{medicine.member_name} {_date(medicine.start, now).text} 要求不给此药。"


def current_drugs(opened: Opened, derived: Derived) -> tuple[Drug, ...]:
    """What is taken now."""
    return tuple(_drug(m, derived, opened.at) for m in derived.medication.current)


def _reactions(allergy: Json) -> str:
    texts = ["高危"] if allergy.get("criticality") == "high" else []
    for reaction in allergy.get("reaction", ()):
        texts += [concept_text(manifestation) for manifestation in reaction.get("manifestation", ())]
        texts += [str(reaction.get("description", "")), _SEVERITY.get(reaction.get("severity", ""), "")]
    return "、".join(text for text in texts if text)


def _drug(medicine: Medicine, derived: Derived, now: datetime, *, past: bool = False) -> Drug:
    left = medicine.days_left
    return Drug(
        name=medicine.name,
        twin=f"同药重复 ×{len(medicine.duplicates) + 1}" if medicine.duplicates else "",
        conflict=_conflict(medicine, derived),
        dosage=medicine.usage or "用法来源未提供",
        left="" if left is None or past else f"剩 {left} 天",
        until=_date(medicine.last_day, now),
        bar=_bar(medicine) if left else None,
        no_days=_no_days(medicine, past),
        member=medicine.member_name,
        kind=medicine.origin_zh,
        start=_date(medicine.start, now),
    )


def _no_days(medicine: Medicine, past: bool) -> str:
    """What stands where the days left would: a line somebody stopped was not used up."""
    if medicine.days_left is None:
        return medicine.ended_zh or medicine.supply_zh
    return medicine.ended_zh or "已用完" if past else ""


def _date(day: date | None, now: datetime) -> When:
    return moments.day(day.isoformat(), now) if day else UNKNOWN


def _conflict(medicine: Medicine, derived: Derived) -> str:
    ref = f"MedicationRequest/{medicine.request_id}"
    found = any(alert.kind == "allergy-conflict" and ref in alert.evidence for alert in derived.cautions)
    return "与过敏史冲突" if found else ""


def _bar(medicine: Medicine) -> Bar | None:
    if not medicine.days or medicine.days_left is None:
        return None
    width = round(_BAR * min(medicine.days_left, medicine.days) / medicine.days, 1)
    return Bar(round(_BAR - width, 1), width)
