"""The medication lists: what the resident takes now with the days left, and what is past."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.printed import concept_text
from ..model.resource import Json, loads, reference_id
from ..model.times import CHINA, parse_fhir
from ..store.base import Resource, Store
from .dosage import dosing
from .record import Record, member_name, member_of

NO_DAYS = "天数来源未提供"
NO_NAME = "药名来源未提供"

OPEN_LINE = timedelta(days=90)
"""A line without days counts as current this long: a long prescription (长处方) reaches at most twelve weeks."""

_ORIGINS = {"discharge": "出院带药", "outpatient": "门诊处方", "inpatient": "住院医嘱", "community": "社区处方"}
_DAYS_IN = {"d": 1, "wk": 7}
_ENDED = {"completed": "已完成", "stopped": "已停用", "cancelled": "已取消", "draft": "草稿，未生效"}
_FORMS = (
    "肠溶缓释片|肠溶片|肠溶胶囊|缓释片|缓释胶囊|控释片|分散片|咀嚼片|泡腾片|口崩片|滴丸|软胶囊|胶囊|颗粒|干混悬剂|混悬液|"
    "口服溶液|口服液|注射用|注射液|片|丸|滴眼液|乳膏|软膏|气雾剂|吸入剂|粉雾剂"
)
_SALTS = "盐酸|酒石酸|马来酸|富马酸|苯磺酸|琥珀酸|硫酸氢|三水"


@dataclass(frozen=True, slots=True)
class Medicine:
    """One prescription line.

    name: as the source prints it; drug: the same without dose form, brackets and salt (`阿司匹林`), for comparing.
    usage: `100 mg qd × 30 天`, without days where the source gave none.
    days: supplied days, None = the source gave none (天数来源未提供). last_day: the last day it reaches, inclusive.
    days_left: counted from `at`'s day, that day included; 0 when used up.
    supply_zh: `剩 16 天（至 04-04）`, `已用完（至 03-10）` or 天数来源未提供.
    ended_zh: `已停用：皮疹` of a line somebody ended, "" of one that runs out by itself.
    origin_zh: 出院带药 | 门诊处方 | … | 处方. duplicates: ids of current lines of the same drug from another
    prescription (one prescription may split a drug over several lines).
    """

    request_id: str
    name: str
    drug: str
    usage: str
    start: date | None
    days: int | None
    last_day: date | None
    days_left: int | None
    supply_zh: str
    ended_zh: str
    member: str
    member_name: str
    origin_zh: str
    duplicates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MedicationLists:
    """Newest first; duplicates stand together in `current`. forbidden: what somebody ordered not to give."""

    current: tuple[Medicine, ...]
    past: tuple[Medicine, ...]
    forbidden: tuple[Medicine, ...] = ()


async def with_named(store: Store, rows: list[Resource], who: AccessContext) -> list[Resource]:
    """The rows of a resident, and the Medications their requests name: those are nobody's, so no record holds them."""
    requests = (loads(row.body) for row in rows if row.type == "MedicationRequest" and not row.deleted)
    wanted = {reference_id(request.get("medicationReference"), "Medication") for request in requests} - {""}
    return rows + await store.read_many([("Medication", id_) for id_ in sorted(wanted)], who) if wanted else rows


def medications(record: Record, directory: Directory, *, at: datetime) -> MedicationLists:
    """Current and past lines at `at`.

    Current: not stopped, and its supply reaches today; without days from the source, prescribed within 90 days.
    A line starts on the day of `authoredOn`; its last day is start + days - 1.
    """
    today = at.astimezone(CHINA).date()
    current: list[Medicine] = []
    past: list[Medicine] = []
    forbidden: list[Medicine] = []
    for request in record.medications:
        medicine = _medicine(request, record, directory, today)
        if request.get("doNotPerform"):  # holds until somebody ends it, and was never taken
            forbidden += [] if medicine.ended_zh else [medicine]
        else:
            (past if medicine.ended_zh or not _reaches(medicine, today) else current).append(medicine)
    lists = (_twins_together(_newest_first(current)), *(tuple(_newest_first(them)) for them in (past, forbidden)))
    return MedicationLists(*lists)


def drug_name(name: str) -> str:
    """A drug's name for comparing: width and case aside, without dose form, salt, strength and bracketed brand.

    `阿司匹林肠溶片(拜阿司匹灵) 100mg` → `阿司匹林`; compound drugs (复方…) keep their whole name.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = re.sub(r"[(\[【].*?[)\]】]", "", text)
    text = re.sub(r"\d+(\.\d+)?\s*(mg|g|ug|μg|ml|iu|u|万u|%).*$", "", text)
    text = re.sub(r"[\s*·]", "", text)
    bare = re.sub(rf"^(注射用|{_SALTS})|({_FORMS})$", "", text)
    bare = re.sub(rf"({_FORMS})$", "", bare)
    bare = re.sub(r"(?<=..)(?<![化酸])(钠|钾|钙)$", "", bare)
    return bare or text


def _medicine(request: Json, record: Record, directory: Directory, today: date) -> Medicine:
    name = _name(request, record)
    start, days = _day(request.get("authoredOn")), _days(request)
    last = _last_day(start, days) if start and days else None
    left = max(0, (last - today).days + 1) if last else None
    said = dosing(request.get("dosageInstruction", ()))
    member = member_of(request, directory)
    return Medicine(
        request_id=str(request.get("id", "")),
        name=name,
        drug=drug_name(name),
        usage=f"{said} × {days} 天" if days else said,
        start=start,
        days=days,
        last_day=last,
        days_left=left,
        supply_zh=_supply(left, last),
        ended_zh=_ended(request),
        member=member,
        member_name=member_name(member, directory),
        origin_zh=_origin(request),
        duplicates=(),
    )


def _last_day(start: date, days: int) -> date:
    # Eight digits in the box for days are a slip of the hand: the line stays open, and the page readable.
    return start + timedelta(days=min(days - 1, (date.max - start).days))


def _name(request: Json, record: Record) -> str:
    """As printed: of its own code, of a Medication inside it or beside it, of the reference's words."""
    reference = request.get("medicationReference", {})
    inside = {f"#{one.get('id', '')}": one for one in request.get("contained", ())}
    medication = inside.get(str(reference.get("reference", ""))) or record.get(reference) or {}
    said = (concept_text(request.get("medicationCodeableConcept", {})), concept_text(medication.get("code", {})))
    return next(filter(None, said), "") or str(reference.get("display") or NO_NAME)


def _supply(left: int | None, last: date | None) -> str:
    if left is None or last is None:
        return NO_DAYS
    return f"剩 {left} 天（至 {last:%m-%d}）" if left else f"已用完（至 {last:%m-%d}）"


def _ended(request: Json) -> str:
    ended = _ENDED.get(str(request.get("status", "")), "")
    return "：".join(filter(None, (ended, concept_text(request.get("statusReason", {}))))) if ended else ""


def _reaches(medicine: Medicine, today: date) -> bool:
    if medicine.last_day is not None:
        return medicine.last_day >= today
    return medicine.start is None or today - medicine.start <= OPEN_LINE


def _newest_first(lines: Iterable[Medicine]) -> list[Medicine]:
    return sorted(lines, key=lambda line: line.start or date.min, reverse=True)


def _twins_together(lines: list[Medicine]) -> tuple[Medicine, ...]:
    by_drug: dict[str, list[Medicine]] = {}
    for line in lines:
        # Two lines nobody can name are not the same drug.
        by_drug.setdefault(line.request_id if line.name == NO_NAME else line.drug, []).append(line)
    groups = sorted(by_drug.values(), key=lambda group: len(group) < 2)
    return tuple(_with_twins(line, group) for group in groups for line in group)


def _with_twins(line: Medicine, group: list[Medicine]) -> Medicine:
    others = (o for o in group if (o.member, o.start) != (line.member, line.start))
    return replace(line, duplicates=tuple(other.request_id for other in others))


def _days(request: Json) -> int | None:
    supply = request.get("dispenseRequest", {}).get("expectedSupplyDuration", {})
    value = supply.get("value")
    per = _DAYS_IN.get(str(supply.get("code") or "d"))
    return int(Decimal(str(value)) * per) if value is not None and per else None


def _origin(request: Json) -> str:
    codes = [str(c.get("code", "")) for concept in request.get("category", ()) for c in concept.get("coding", ())]
    origin = next((_ORIGINS[code] for code in codes if code in _ORIGINS), "处方")
    return f"{origin}（暂停）" if request.get("status") == "on-hold" else origin


def _day(text: object) -> date | None:
    return parse_fhir(str(text)).astimezone(CHINA).date() if text else None
