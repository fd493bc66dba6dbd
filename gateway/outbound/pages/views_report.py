"""One report as its source issued it, with its versions; also any older version as it stood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...model import systems
from ...model.printed import absent_words, concept_text, effective_time, printed_beside, printed_value
from ...model.resource import Json, loads, reference_id
from ...recognise.match import is_lab
from ...store.base import Resource
from ..lab_reading import source_flag, told_words
from . import moments
from .moments import When
from .opened import Opened, instant_of, report_time
from .words import Fact, Flag, flag_of

STATUS = {
    "registered": "已登记",
    "partial": "部分结果",
    "preliminary": "初步",
    "final": "终审",
    "amended": "已更正",
    "corrected": "已更正",
    "appended": "已补充",
    "cancelled": "已取消",
    "entered-in-error": "已作废",
    "unknown": "状态未知",
}
FINISHED = ("final", "amended", "corrected", "appended")


@dataclass(frozen=True, slots=True)
class Version:
    """One version. current: the one that counts. late: a preliminary that came after the final."""

    number: int
    status: str
    at: When
    current: bool
    note: str
    href: str


@dataclass(frozen=True, slots=True)
class Item:
    """One printed line, in the report's own words and unit."""

    name: str
    short: str
    value: str
    unit: str
    flag: Flag
    range: str
    note: str
    uncoded: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A form of the report as its source sent it. href: where it can be read, "" when it lies elsewhere; then where."""

    title: str
    href: str
    place: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The printed report. lab: items as a table; else findings and conclusion, and what was measured with them.

    age: of the person on the day of the report. void: the source cancelled or withdrew it.
    """

    title: str
    hospital: str
    age: str
    lab: bool
    status: str
    current: bool
    void: bool
    facts: tuple[Fact, ...]
    items: tuple[Item, ...]
    findings: str
    conclusion: str
    attachments: tuple[Attachment, ...]
    signed: tuple[Fact, ...]


def report_sheet(opened: Opened, report: Json, items: Sequence[Json], *, current: bool) -> Sheet:
    """The sheet of one version with its items in the report's order."""
    return Sheet(
        title=concept_text(report.get("code", {})) or "报告单",
        hospital=_hospital(opened, report),
        age=moments.age(str(opened.record.patient.get("birthDate", "")), _made_at(opened, report)),
        lab=is_lab(report),
        status=STATUS.get(report.get("status", ""), "状态未知"),
        current=current,
        void=report.get("status") in ("entered-in-error", "cancelled"),
        facts=tuple(_facts(opened, report)),
        items=tuple(_item(i) for i in items),
        findings=findings_of(report),
        conclusion=conclusion_of(report),
        attachments=tuple(_attachments(opened, report)),
        signed=tuple(_signed(opened, report)),
    )


def _made_at(opened: Opened, report: Json) -> datetime:
    said = str(effective_time(report) or report_time(report))
    return instant_of(said) if said else opened.at


def _hospital(opened: Opened, report: Json) -> str:
    shown = (str(p.get("display", "")) for p in report.get("performer", ()))
    return next((name for name in shown if name), opened.says(report))


def findings_of(report: Json) -> str:
    """检查所见; "" when the source gave none."""
    return str(_extension(report, systems.EXT_FINDINGS).get("valueString", ""))


def conclusion_of(report: Json) -> str:
    """诊断意见 in words, else its codes; "" when the source gave none."""
    coded = "、".join(filter(None, (concept_text(code) for code in report.get("conclusionCode", ()))))
    return str(report.get("conclusion") or coded)


def lines_of(items: Iterable[Json]) -> str:
    """Results of an examination as sentences: `左室射血分数 25 % 危急低；病理诊断 腺癌`."""
    return "；".join(_line(item) for item in items if item.get("status") != "cancelled")


def _line(item: Json) -> str:
    said = (concept_text(item.get("code", {})), *value_text(item))
    return " ".join(filter(None, said)) + told_words(source_flag(item))


def _attachments(opened: Opened, report: Json) -> Iterator[Attachment]:
    for number, form in enumerate(report.get("presentedForm", ())):
        title = str(form.get("title") or "附件") + (f"（{form['contentType']}）" if form.get("contentType") else "")
        href = f"/ui/p/{opened.id}/report/{report['id']}/attachment/{number}" if form.get("data") else ""
        yield Attachment(title, href, "" if href else str(form.get("url") or "来源没有送来内容"))


def verified_at(report: Json) -> str:
    """审核时间 as FHIR dateTime; "" when the source gave none."""
    return str(_extension(report, systems.EXT_VERIFIED_AT).get("valueDateTime", ""))


def _extension(resource: Json, url: str) -> Json:
    found: Json = next((e for e in resource.get("extension", ()) if e.get("url") == url), {})
    return found


def _facts(opened: Opened, report: Json) -> list[Fact]:
    specimen = next((s for s in (opened.record.get(ref) for ref in report.get("specimen", ())) if s), {})
    number = next((str(i.get("value", "")) for i in report.get("identifier", ())), "")
    collected = str(specimen.get("collection", {}).get("collectedDateTime") or effective_time(report))
    facts = [
        Fact("报告单号", number),
        Fact("标本", str(specimen.get("type", {}).get("text", ""))),
        Fact("采集" if is_lab(report) else "检查", moments.minute(collected, opened.at, full=True).text),
        Fact("接收", _time(str(specimen.get("receivedTime", "")), opened.at)),
    ]
    return [fact for fact in facts if fact.value]


def _signed(opened: Opened, report: Json) -> list[Fact]:
    people = "、".join(str(p.get("display", "")) for p in report.get("resultsInterpreter", ()) if p.get("display"))
    facts = [
        Fact("报告医师", people),
        Fact("审核", _time(verified_at(report), opened.at)),
        Fact("发布", _time(str(report.get("issued", "")), opened.at)),
    ]
    return [fact for fact in facts if fact.value]


def _time(value: str, now: datetime) -> str:
    return moments.minute(value, now, full=True).text if value else ""


def _item(observation: Json) -> Item:
    code = observation.get("code", {})
    codings = code.get("coding", ())
    value, unit = value_text(observation)
    return Item(
        name=concept_text(code),
        short=next((str(c.get("code", "")) for c in codings if _is_local(c)), ""),
        value=value,
        unit=unit,
        flag=flag_of(source_flag(observation)),
        range=_range(observation),
        note="；".join(_remarks(observation)),
        uncoded=all(_is_local(c) for c in codings),
    )


def _remarks(observation: Json) -> Iterator[str]:
    """What stands beside the line: a state other than final, the laboratory's notes, components of a value."""
    if observation.get("status") != "final":
        yield STATUS.get(observation.get("status", ""), "状态未知")
    yield from (str(note["text"]) for note in observation.get("note", ()) if note.get("text"))
    yield from printed_beside(observation)


def _is_local(coding: Json) -> bool:
    return str(coding.get("system", "")).startswith("urn:alliance-gateway:codes:")


def _range(observation: Json) -> str:
    found: Json = next(iter(observation.get("referenceRange", ())), {})
    if found.get("text"):
        return str(found["text"])
    low, high = (str(found.get(end, {}).get("value", "")) for end in ("low", "high"))
    if low and high:
        return f"{low}–{high}"
    return f"≥{low}" if low else f"≤{high}" if high else ""


def value_text(observation: Json) -> tuple[str, str]:
    """(value, unit) exactly as the source printed them; 未做 with its reason when nothing was measured."""
    printed = printed_value(observation)
    if printed[0]:
        return printed
    if "dataAbsentReason" not in observation:
        return "", ""
    why = absent_words(observation)
    return f"未做（{why}）" if why else "未做", ""


def versions_of(history: Sequence[Resource], href: str, now: datetime) -> tuple[Version, ...]:
    """Versions newest first; `history` as `Store.history` gives it.

    The current one is the newest; where a late preliminary was filed below a final that was restored on
    top of it, the restored final stands for the one it repeats.
    """
    bodies = [(row, loads(row.body)) for row in history if not row.deleted]
    out = []
    for place, (row, body) in enumerate(bodies):
        status = str(body.get("status", ""))
        newer = [b.get("status") for _, b in bodies[:place]]
        older = [b.get("status") for _, b in bodies[place + 1 :]]
        late = status in ("preliminary", "partial", "registered") and _settled(newer) and _settled(older)
        note = "迟到，不覆盖终审，只留在历史中" if late else _note(place, status, bodies)
        at = moments.of(row.at, now, full=True)
        out.append(
            Version(row.version, STATUS.get(status, status), at, place == 0, note, f"{href}?version={row.version}")
        )
    return tuple(out)


def _settled(statuses: Sequence[object]) -> bool:
    return any(status in FINISHED for status in statuses)


def _note(place: int, status: str, bodies: Sequence[tuple[Resource, Json]]) -> str:
    below = bodies[place + 1][1].get("status") if place + 1 < len(bodies) else None
    restored = (
        status == "final"
        and below in ("preliminary", "partial")
        and _settled([b.get("status") for _, b in bodies[place + 2 :]])
    )
    return "迟到的初步报告之后恢复" if restored else ""


def as_of(versions: Sequence[Resource], report: Resource, status: str) -> Json | None:
    """Of an item's versions, the one that stood with this version of its report; None when it came later.

    Item and report of one message are committed together, so equal status at the same or an earlier
    instant is the item that was sent with it.
    """
    standing = [loads(v.body) for v in versions if not v.deleted and v.at <= report.at]
    same = [body for body in standing if body.get("status") == status]
    return next(iter(same or standing), None)


def result_ids(report: Json) -> tuple[str, ...]:
    """Observation ids of a report, in its order."""
    ids = (reference_id(ref, "Observation") for ref in report.get("result", ()))
    return tuple(id_ for id_ in ids if id_)
