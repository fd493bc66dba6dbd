"""Which member gave what: counts, or one of three words that never stand for each other.

无记录: connected, has none. 来源未接入: nobody asked, may exist. 无权查看: beyond what this doctor may read.
无可见记录: nothing to be seen, and a label keeps back some of the kind, of this member or of another.
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
from .withheld import DOCUMENTS, DRUGS, IMAGES, REPORTS, VISITS, none_of_member
from .words import NO_RIGHT, NOT_CONNECTED, NOTHING_SEEN, State

LATE_AFTER = timedelta(hours=2)
_KINDS = (
    ("visits", "就诊", "次", VISITS),
    ("documents", "文书", "份", DOCUMENTS),
    ("labs", "检验", "份", REPORTS),
    ("imaging", "检查", "份", REPORTS),
    ("images", "影像", "个", IMAGES),
    ("medication", "用药", "条", DRUGS),
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
    return tuple(title for _, title, _, _ in _KINDS)


def members_shown(directory: Directory, alliance: str, at: datetime) -> tuple[Member, ...]:
    """The members of the doctor's alliance, all when none is set, in the directory's order."""
    within = directory.within(alliance, at) if alliance in directory.alliances else frozenset(directory.members)
    return tuple(member for key, member in directory.members.items() if key in within)


def source_rows(opened: Opened) -> tuple[SourceRow, ...]:
    """One row a member."""
    counts = _counts(opened)
    return tuple(
        _row(opened, member, counts) for member in members_shown(opened.directory, opened.who.alliance, opened.at)
    )


def answered(opened: Opened) -> str:
    """`4 家成员应答 3 家`: how many have ever sent anything."""
    shown = members_shown(opened.directory, opened.who.alliance, opened.at)
    heard = sum(member.key in opened.freshness for member in shown)
    return f"{len(shown)} 家成员应答 {heard} 家"


def _row(opened: Opened, member: Member, counts: dict[tuple[str, str], int]) -> SourceRow:
    at = opened.freshness.get(member.key)
    cells = tuple(_cell(opened, member, kind, counts) for kind in _KINDS)
    when = moments.of(at, opened.at) if at else When("", "从未到达")
    late = State("late", when.text) if is_late(at, opened.at) else None
    return SourceRow(member.name, cells, when, moments.ago(at, opened.at) if at else "", late)


def is_late(at: datetime | None, now: datetime) -> bool:
    """True when nothing arrived for longer than a working interface stays silent."""
    return at is None or now - at > LATE_AFTER


def _cell(
    opened: Opened, member: Member, kind: tuple[str, str, str, tuple[str, ...]], counts: dict[tuple[str, str], int]
) -> State:
    key, _, unit, types = kind
    count = counts.get((member.key, key), 0)
    if count:
        return State("", f"{count} {unit}")
    if opened.who.members is not None and member.key not in opened.who.members:
        return NO_RIGHT
    return none_of_member(opened.withheld, types) if key in member.provides else NOT_CONNECTED


def legend(rows: tuple[SourceRow, ...]) -> str:
    """What the words for nothing mean, of those that stand in the table."""
    said = "“无记录”是来源已接入而没有此人资料；“来源未接入”不代表没有做过"
    unseen = any(cell is NOTHING_SEEN for row in rows for cell in row.cells)
    return said + "；“无可见记录”是另有同类资料按敏感标记限制，不写明是哪家" * unseen


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
    for member in members_shown(directory, alliance, now):
        at = known.get(member.key)
        leads = [a.name + "牵头" for a in directory.alliances.values() if a.lead == member.key]
        note = " · ".join([levels[member.level], *leads, *(["本院"] if member.key == own else [])])
        state = State("late", "从未到达" if at is None else "迟到") if is_late(at, now) else State("ok", "正常")
        when = moments.of(at, now) if at else UNKNOWN
        out.append(Freshness(member.name, note, when, moments.ago(at, now) if at else "", state))
    return tuple(out)
