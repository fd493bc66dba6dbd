"""The start page: hits told apart character by character, recent residents, what needs somebody's decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...model import systems
from ...model.directory import Directory
from ...model.printed import concept_text, effective_time
from ...model.resource import Json, reference_id
from ...store.base import AuditRow
from ..lab_reading import source_flag
from ..record import member_of
from . import moments
from .moments import When
from .opened import is_provisional
from .views_banner import (
    age_at,
    card_of,
    card_shown,
    deceased_chips,
    masked,
    name_of,
    phone_tail,
    review_reason,
    village,
)
from .views_report import FINISHED, STATUS, value_text
from .words import Chip, Flag, flag_of

Spelled = tuple[tuple[str, bool], ...]
"""Text in pieces; True marks what differs from a similar resident."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One resident found."""

    href: str
    name: Spelled
    sex_age: str
    birth: Spelled
    card: Spelled
    village: str
    phone: Spelled
    members: str
    chips: tuple[Chip, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to one search."""

    title: str
    how: str
    hits: tuple[Hit, ...]
    warning: str
    reviews: tuple[str, ...]
    nobody: str
    advice: str


@dataclass(frozen=True, slots=True)
class Recent:
    """A resident this doctor opened before."""

    href: str
    name: str
    sex_age: str
    card: str
    village: str
    phone: str
    at: When


@dataclass(frozen=True, slots=True)
class Todo:
    """A critical value or an identity review."""

    css: str
    icon: str
    kind: str
    href: str
    title: str
    flag: Flag
    at: When
    text: str


def results(
    patients: Sequence[Json],
    reviews: Sequence[Json],
    directory: Directory,
    now: datetime,
    *,
    how: str,
    more: bool,
    waiting: int = 0,
) -> Results:
    """Hits in the order given. reviews: open identity reviews that concern any of them. waiting: see `Found`."""
    alike = {id(p): [o for o in patients if o is not p and _similar(p, o)] for p in patients}
    concerned = {ref for task in reviews for ref in _concerns(task)}
    hits = tuple(_hit(p, alike[id(p)], directory, now, p["id"] in concerned) for p in patients)
    return Results(
        title=f"找到 {len(hits)} 位" + ("以上" if more else "") if hits else "没有找到",
        how=how,
        hits=hits,
        warning="有居民姓名相近、出生日期相同。" if any(alike.values()) else "",
        reviews=tuple(dict.fromkeys(_review_words(task, directory) for task in reviews)),
        nobody=_nobody(waiting),
        advice="请核对输入；也可用姓名 + 出生年月，或 本地号@机构 再查。来源未接入的机构，其居民可能不在这里。",
    )


def _nobody(waiting: int) -> str:
    if not waiting:
        return "没有相符的居民"
    return f"没有相符的居民，但有 {waiting} 份临时档案与输入相符：证件与登记不一致，等待管理员核对，未并入任何居民"


def _similar(one: Json, other: Json) -> bool:
    """Same birth date, names that differ in one character at most."""
    a, b = name_of(one), name_of(other)
    near = len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) <= 1
    return near and bool(one.get("birthDate")) and one.get("birthDate") == other.get("birthDate")


def _hit(patient: Json, alike: list[Json], directory: Directory, now: datetime, reviewed: bool) -> Hit:
    chips = deceased_chips(patient, now)
    if is_provisional(patient):
        chips.append(Chip("临时档案", "provisional", "judge"))
    elif reviewed:
        chips.append(Chip("待复核", "review", "judge"))
    return Hit(
        href=f"/ui/p/{patient['id']}",
        name=spelled(name_of(patient), [name_of(o) for o in alike]),
        sex_age=age_at(patient, now),
        birth=((str(patient.get("birthDate") or "未知"), False),),
        card=_card(patient, alike),
        village=village(patient) or "未知",
        phone=spelled(phone_tail(patient) or "未知", [phone_tail(o) for o in alike]),
        members=_members(patient, directory),
        chips=tuple(chips),
    )


def _card(patient: Json, alike: list[Json]) -> Spelled:
    """The masked card; against a similar resident the last four, which are what a doctor compares."""
    card = masked(card_of(patient))
    if not card:
        return ((card_shown(patient), False),)
    differs = any(card[-4:] != masked(card_of(o))[-4:] for o in alike)
    return ((card[:-4], False), (card[-4:], True)) if differs else ((card, False),)


def spelled(text: str, others: Sequence[str]) -> Spelled:
    """`text` in pieces, characters that any other of the same length has differently marked."""
    marks = [any(len(o) == len(text) and o[i] != c for o in others) for i, c in enumerate(text)]
    out: list[tuple[str, bool]] = []
    for character, differs in zip(text, marks, strict=True):
        if out and out[-1][1] == differs:
            out[-1] = (out[-1][0] + character, differs)
        else:
            out.append((character, differs))
    return tuple(out)


def _members(patient: Json, directory: Directory) -> str:
    """Members that know this resident by a number of their own."""
    local = {systems.local_number(key): member for key, member in directory.members.items()}
    found = (local.get(str(i.get("system", ""))) for i in patient.get("identifier", ()))
    return "、".join(dict.fromkeys(m.short or m.name for m in found if m)) or "来源未知"


def _concerns(task: Json) -> set[str]:
    refs = [task.get("for"), task.get("focus"), *(i.get("valueReference") for i in task.get("input", ()))]
    return {id_ for id_ in (reference_id(ref, "Patient") for ref in refs) if id_}


def _review_words(task: Json, directory: Directory) -> str:
    systems_of = {systems.local_number(key): member.name for key, member in directory.members.items()}
    named = (systems_of.get(str(i.get("system", ""))) for i in task.get("identifier", ()))
    source = next((f"{name}的记录" for name in named if name), "有记录")
    return f"待复核：{source}{review_reason(task)}，未并入，等待管理员核对。"


def recent_residents(rows: Iterable[AuditRow], patients: dict[str, Json], now: datetime) -> tuple[Recent, ...]:
    """Residents in the order they were last opened; `rows` newest first, `patients` by id."""
    seen: dict[str, Recent] = {}
    for row in rows:
        for id_ in row.patients:
            if id_ in patients and id_ not in seen:
                seen[id_] = _recent(patients[id_], row.at, now)
    return tuple(seen.values())


def _recent(patient: Json, at: datetime, now: datetime) -> Recent:
    return Recent(
        href=f"/ui/p/{patient['id']}",
        name=name_of(patient),
        sex_age=age_at(patient, now),
        card=card_shown(patient),
        village=village(patient) or "未知",
        phone=phone_tail(patient) or "未知",
        at=moments.of(at, now),
    )


def critical_todo(observation: Json, patient: Json, directory: Directory, now: datetime) -> Todo:
    """`赵丽 · 血小板 18 ↓↓LL`, with who was told."""
    notice = _notice(observation)
    member = directory.members.get(member_of(observation, directory))
    told = f"已告知{notice.get('told', '')}" if notice else "来源未提供告知记录"
    value, unit = value_text(observation)
    early = "" if observation.get("status") in FINISHED else STATUS.get(observation.get("status", ""), "状态未知")
    at = str(notice.get("at") or observation.get("issued") or effective_time(observation) or "")
    return Todo(
        css="no",
        icon="critical",
        kind="危急值",
        href=f"/ui/p/{patient['id']}",
        title=f"{name_of(patient)} · {concept_text(observation.get('code', {}))} {value} {unit}".strip(),
        flag=flag_of(source_flag(observation)),
        at=moments.minute(at, now),
        text=" ".join(filter(None, (member.name if member else "", early, told))),
    )


def _notice(observation: Json) -> dict[str, str]:
    found: Json = next((e for e in observation.get("extension", ()) if e.get("url") == systems.EXT_CRITICAL_NOTICE), {})
    return {
        str(part.get("url")): str(part.get("valueString") or part.get("valueDateTime") or "")
        for part in found.get("extension", ())
    }


def review_todo(task: Json, patient: Json, now: datetime) -> Todo:
    """An identity review that waits for a decision."""
    return Todo(
        css="judge",
        icon="judge",
        kind="主索引",
        href=f"/ui/p/{patient['id']}",
        title=f"{name_of(patient)} 待复核",
        flag=Flag(),
        at=moments.minute(str(task.get("authoredOn", "")), now),
        text=review_reason(task),
    )
