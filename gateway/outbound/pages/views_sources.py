"""Which member gave what: counts, or one of three words that never stand for each other.

无记录: connected, has none. 来源未接入: nobody asked, may exist. 无权查看: beyond what this doctor may read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ...model.directory import Directory, Member
from ...model.resource import Json
from ...recognise.match import is_lab
from . import moments
from .moments import UNKNOWN, When
from .opened import Opened
from .words import NO_RECORD, NO_RIGHT, NOT_CONNECTED, State

LATE_AFTER = timedelta(hours=2)
_KINDS = (
    ("visits", "就诊", "次"),
    ("documents", "文书", "份"),
    ("labs", "检验", "份"),
    ("imaging", "检查", "份"),
    ("images", "影像", "个"),
    ("medication", "用药", "条"),
)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One member: a cell for each kind, and when anything last arrived from it."""

    member: str
    cells: tuple[State, ...]
    at: When
    ago: str
    late: State | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """One member's last arrival, for the start page."""

    member: str
    note: str
    at: When
    ago: str
    state: State


def kind_titles() -> tuple[str, ...]:
    """Heads of the columns."""
    return tuple(title for _, title, _ in _KINDS)


def members_shown(directory: Directory, alliance: str) -> tuple[Member, ...]:
    """The members of the doctor's alliance, all when none is set, in the directory's order."""
    within = directory.within(alliance) if alliance in directory.alliances else frozenset(directory.members)
    return tuple(member for key, member in directory.members.items() if key in within)


def source_rows(opened: Opened) -> tuple[SourceRow, ...]:
    """One row a member."""
    counts = _counts(opened)
    return tuple(_row(opened, member, counts) for member in members_shown(opened.directory, opened.who.alliance))


def answered(opened: Opened) -> str:
    """`4 家成员应答 3 家`: how many have ever sent anything."""
    shown = members_shown(opened.directory, opened.who.alliance)
    heard = sum(member.key in opened.freshness for member in shown)
    return f"{len(shown)} 家成员应答 {heard} 家"


def _row(opened: Opened, member: Member, counts: dict[tuple[str, str], int]) -> SourceRow:
    at = opened.freshness.get(member.key)
    cells = tuple(_cell(opened, member, kind, unit, counts) for kind, _, unit in _KINDS)
    when = moments.of(at, opened.at) if at else When("", "从未到达")
    late = State("late", when.text) if is_late(at, opened.at) else None
    return SourceRow(member.name, cells, when, moments.ago(at, opened.at) if at else "", late)


def is_late(at: datetime | None, now: datetime) -> bool:
    """True when nothing arrived for longer than a working interface stays silent."""
    return at is None or now - at > LATE_AFTER


def _cell(opened: Opened, member: Member, kind: str, unit: str, counts: dict[tuple[str, str], int]) -> State:
    count = counts.get((member.key, kind), 0)
    if count:
        return State("", f"{count} {unit}")
    if opened.who.members is not None and member.key not in opened.who.members:
        return NO_RIGHT
    return NO_RECORD if kind in member.provides else NOT_CONNECTED


def _counts(opened: Opened) -> dict[tuple[str, str], int]:
    record, out = opened.record, dict[tuple[str, str], int]()
    kinds: tuple[tuple[str, tuple[Json, ...]], ...] = (
        ("visits", record.encounters),
        ("documents", record.documents),
        ("labs", tuple(r for r in record.reports if is_lab(r))),
        ("imaging", tuple(r for r in record.reports if not is_lab(r))),
        ("images", record.studies),
        ("medication", record.medications),
    )
    for kind, resources in kinds:
        for resource in resources:
            key = (opened.member(resource), kind)
            out[key] = out.get(key, 0) + 1
    return out


def freshness_rows(
    directory: Directory, alliance: str, own: str, known: dict[str, datetime], now: datetime
) -> tuple[Freshness, ...]:
    """The members' last arrivals for the start page; `own` is the doctor's member."""
    levels = {"tertiary": "三级", "secondary": "二级", "primary": "基层"}
    out = []
    for member in members_shown(directory, alliance):
        at = known.get(member.key)
        leads = [a.name + "牵头" for a in directory.alliances.values() if a.lead == member.key]
        note = " · ".join([levels[member.level], *leads, *(["本院"] if member.key == own else [])])
        state = State("late", "从未到达" if at is None else "迟到") if is_late(at, now) else State("ok", "正常")
        when = moments.of(at, now) if at else UNKNOWN
        out.append(Freshness(member.name, note, when, moments.ago(at, now) if at else "", state))
    return tuple(out)
