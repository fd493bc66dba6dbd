"""Reviews and merges as the steward reads them: persons in columns, what differs marked, never only by colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ...identity import reviews
from ...model import systems
from ...model.directory import Directory
from ...model.resource import Json, reference_id
from ...model.times import parse_fhir
from ..pages import moments
from ..pages.moments import When
from ..pages.views_banner import SEXES, card_of, certificates_of, has_verified_card, name_of, village


@dataclass(frozen=True, slots=True)
class Cell:
    """One fact of one person. differs: known on both sides and not the same as the first column's."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A person compared: the first is the one the record lies with now."""

    id: str
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One open question. `same` is empty when nobody is left to be the same person.

    linked: the candidate the record is one with already, "" for none; then its records are compared one by one.
    """

    id: str
    reason: str
    record: str
    asked: When
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    same: tuple[Column, ...]
    linked: str


@dataclass(frozen=True, slots=True)
class ActView:
    """A merge, a parting or what a card moved, that stands. proof: whose card it was and how it ends, "" without."""

    id: str
    kind: str
    survivor: Column
    other: Column
    records: tuple[str, ...]
    proof: str
    at: When


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a review is about. own: the Patient of its record now; candidates: (id as asked, its Patient now).

    records: the source records of `own`, as (key, what they say), where a candidate is `own` already.
    """

    own: Json
    candidates: tuple[tuple[str, Json], ...]
    records: tuple[tuple[tuple[str, str], Json], ...] = ()

    @property
    def linked(self) -> str:
        """The candidate that is the record's person already, "" for none."""
        return next((one for one, patient in self.candidates if patient["id"] == self.own.get("id")), "")


def review_view(task: Json, asked: Asked, directory: Directory, now: datetime) -> ReviewView:
    """The record's person first, then the candidates, most alike first; of one person its records, this one first."""
    others = [(id_, patient) for id_, patient in asked.candidates if patient["id"] != asked.own.get("id")]
    others.sort(key=lambda one: -_agreement(asked.own, one[1]))
    mine = reviews.record_of(task)
    if asked.linked:
        parts = sorted(asked.records, key=lambda one: one[0] != mine)
        href = f"/ui/p/{asked.own['id']}"
        first = [(Column("", _titled(key, key == mine, directory), href), said) for key, said in parts[:_MOST]]
    else:
        first = [(_column(asked.own["id"], asked.own, first=True), asked.own)] if asked.own else []
    shown = [*first, *((_column(patient["id"], patient, first=False), patient) for _, patient in others)]
    return ReviewView(
        id=task["id"],
        reason=task.get("reasonCode", {}).get("text", ""),
        record=_record_text(reviews.record_of(task), directory),
        asked=moments.of(parse_fhir(task["authoredOn"]), now),
        columns=tuple(column for column, _ in shown),
        rows=_rows([patient for _, patient in shown], directory),
        same=tuple(_column(id_, patient, first=False) for id_, patient in others),
        linked=asked.linked,
    )


def act_view(task: Json, persons: Mapping[str, Json], directory: Directory, now: datetime) -> ActView:
    """Who reads in whose place, and which records moved."""
    survivor, other = reference_id(task.get("focus"), "Patient"), reference_id(task.get("for"), "Patient")
    return ActView(
        id=task["id"],
        kind=task["code"].get("text", ""),
        survivor=_column(survivor, persons.get(survivor, {}), first=False),
        other=_column(other, persons.get(other, {}), first=False),
        records=tuple(_record_text(key, directory) for key in reviews.moved_records(task)),
        proof=_proof(task, directory),
        at=moments.of(parse_fhir(task["authoredOn"]), now),
    )


@dataclass(frozen=True, slots=True)
class AnswerView:
    """A review somebody answered without moving a record: what they said of which record, and of whom."""

    id: str
    verdict: str
    record: str
    person: Column
    by: str
    note: str
    at: When


def answer_view(task: Json, persons: Mapping[str, Json], directory: Directory, now: datetime) -> AnswerView:
    """The answer with who gave it; the person is the candidate it was about."""
    other = reference_id(task.get("focus"), "Patient")
    return AnswerView(
        id=task["id"],
        verdict="是同一人" if task["status"] == "completed" else "不是同一人",
        record=_record_text(reviews.record_of(task), directory),
        person=_column(other, persons.get(other, {}), first=False),
        by=reviews.by(task),
        note=reviews.noted(task),
        at=moments.of(parse_fhir(task.get("lastModified") or task["authoredOn"]), now),
    )


def _proof(task: Json, directory: Directory) -> str:
    """Whose card: 市第一人民医院 W01，证件尾号 0115."""
    card = reviews.card_of(task)
    return f"{_record_text(reviews.record_of(task), directory)}，证件尾号 {card[-4:]}" if card else ""


def _column(id_: str, patient: Json, *, first: bool) -> Column:
    name = name_of(patient)
    return Column(id_, f"{name}（本条所在）" if first else name, f"/ui/p/{id_}")


def _titled(key: tuple[str, str], own: bool, directory: Directory) -> str:
    return _record_text(key, directory) + ("（本条）" if own else "")


def _record_text(key: tuple[str, str], directory: Directory) -> str:
    member = directory.members.get(key[0])
    return f"{member.name if member else key[0]} {key[1]}"


_MOST = 6  # records of one person side by side
_CARD = "居民身份证"
_OWN_TO_EACH = ("本地号",)  # two numbers for one person are the rule, no hint of a difference


def _agreement(one: Json, other: Json) -> int:
    """In how many facts two Patients agree."""
    return sum(one.get(key) == other.get(key) for key in ("name", "gender", "birthDate", "telecom", "address"))


def _rows(patients: list[Json], directory: Directory) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    facts = [_facts(patient, directory) for patient in patients]
    remarks = [{_CARD: "（未核验）"} if card_of(one) and not has_verified_card(one) else {} for one in patients]
    return tuple(
        (label, _cells(label, [one[label] for one in facts], [one.get(label, "") for one in remarks]))
        for label in (facts[0] if facts else {})
    )


def _cells(label: str, texts: list[str], remarks: list[str]) -> tuple[Cell, ...]:
    """Facts side by side; what is remarked of one makes it no other fact."""
    compared = texts[0] if label not in _OWN_TO_EACH else ""
    return tuple(
        Cell((text or "未知") + remark, bool(text and compared and text != compared))
        for text, remark in zip(texts, remarks, strict=True)
    )


def _facts(patient: Json, directory: Directory) -> dict[str, str]:
    phones = [str(one.get("value", "")) for one in patient.get("telecom", ()) if one.get("system", "phone") == "phone"]
    return {
        "姓名": name_of(patient),
        "性别": SEXES.get(patient.get("gender", ""), ""),
        "出生日期": str(patient.get("birthDate", "")),
        _CARD: card_of(patient),
        "其他证件": "；".join(f"{kind} {number}" for kind, number in certificates_of(patient)),
        "电话": "、".join(phones),
        "住址": village(patient),
        "本地号": "；".join(_local_numbers(patient, directory)),
    }


def _local_numbers(patient: Json, directory: Directory) -> list[str]:
    by_system = {systems.local_number(key): member.name for key, member in directory.members.items()}
    held = [(by_system.get(one.get("system", "")), one.get("value", "")) for one in patient.get("identifier", ())]
    return [f"{member} {value}" for member, value in held if member]
