"""The cumulative grid as a page: a window of columns, the rows that have values in it, one reading in detail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ...recognise.decide import ItemDecision
from ..labs import LabGrid, Reading, Row
from . import moments
from .moments import When
from .opened import Derived, Opened, is_culture
from .spark import Spark, spark
from .withheld import LAB, nothing
from .words import Absent, Fact, Flag, Mark, flag_of, mark_of

COLUMNS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Head:
    """One column head: hospital above date."""

    member: str
    at: When
    latest: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One result in the grid; `missing` words when it was not done. href opens its detail without script."""

    reading: Reading | None
    flag: Flag
    href: str = ""
    chosen: bool = False
    latest: bool = False

    @property
    def converted(self) -> bool:
        """True when the unit as sent is another than the row's, not merely spelled differently."""
        shown = self.reading.shown if self.reading else None
        return shown is not None and not shown.renamed

    def own_unit(self, row: str) -> bool:
        """True for what is no single number, `0-2`, in a unit that does not head the row."""
        return self.reading is not None and self.reading.number is None and self.reading.unit not in ("", row)


@dataclass(frozen=True, slots=True)
class Line:
    """One analyte."""

    row: Row
    cells: tuple[Cell, ...]
    spark: Spark | None


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier or later result of the same analyte."""

    at: When
    member: str
    text: str
    flag: Flag
    href: str


@dataclass(frozen=True, slots=True)
class Detail:
    """Everything known of one result."""

    title: str
    at: When
    reading: Reading
    unit: str
    flag: Flag
    facts: tuple[Fact, ...]
    mark: Mark | None
    because: str
    spark: Spark | None
    breaks: bool
    past: tuple[Past, ...]
    report_href: str


@dataclass(frozen=True, slots=True)
class LabPage:
    """heads: the columns shown, old to new. elsewhere: rows without a value in these columns."""

    about: str
    heads: tuple[Head, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    detail: Detail | None
    total: int
    abnormal: int
    only_abnormal: bool
    elsewhere: int
    older: str
    newer: str
    uncoded: int
    two_systems: bool
    all_href: str
    abnormal_href: str
    empty: Absent | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for: a reading, only abnormal rows, how many columns back."""

    item: str = ""
    only_abnormal: bool = False
    back: int = 0

    def href(self, base: str, *, item: str = "", only: bool | None = None, back: int | None = None) -> str:
        """The same choice with one thing changed; a chosen reading jumps to its detail."""
        only = self.only_abnormal if only is None else only
        back = self.back if back is None else back
        query = [f"item={item}"] if item else []
        query += ["only=abnormal"] if only else []
        query += [f"back={back}"] if back else []
        return f"{base}/labs" + ("?" + "&".join(query) if query else "") + ("#detail" if item else "")


_HBA1C = ("4548-4", "59261-8")  # % and mmol/mol


def lab_page(opened: Opened, derived: Derived, choice: Choice) -> LabPage:
    """The page for this choice; columns are paged so that the newest stand at the right."""
    grid, base = derived.labs, f"/ui/p/{opened.id}"
    back = min(choice.back, max(0, len(grid.columns) - 1))
    end = len(grid.columns) - back
    window = range(max(0, end - COLUMNS_SHOWN), end)
    chosen, times = _chosen(grid, choice.item), _times(grid, opened.at)
    lines = {row.key: _line(row, window, grid, choice, base, chosen) for row in _rows(grid, choice, window)}
    groups = ((name, tuple(lines[r.key] for r in rows if r.key in lines)) for name, rows in grid.groups)
    abnormal = sum(row.abnormal for row in grid.rows)
    return LabPage(
        about=_about(grid, opened.at),
        heads=tuple(Head(grid.columns[i].member_name, times[i], grid.columns[i].latest) for i in window),
        groups=tuple((name, rows) for name, rows in groups if rows),
        detail=_detail(chosen, opened, derived, choice, base, times),
        total=len(grid.rows),
        abnormal=abnormal,
        only_abnormal=choice.only_abnormal,
        elsewhere=(abnormal if choice.only_abnormal else len(grid.rows)) - len(lines),
        older=choice.href(base, back=back + COLUMNS_SHOWN) if window.start > 0 else "",
        newer=choice.href(base, back=max(0, back - COLUMNS_SHOWN)) if back else "",
        uncoded=sum(not row.coded for row in grid.rows),
        two_systems=any(row.loinc in _HBA1C for row in grid.rows),
        all_href=choice.href(base, only=False),
        abnormal_href=choice.href(base, only=True),
        empty=None if grid.rows else nothing(opened.withheld, LAB, "检验", _no_labs(opened)),
    )


def _no_labs(opened: Opened) -> str:
    if any(is_culture(report) for report in opened.record.reports):
        return "只有培养与药敏，见“微生物”。"
    return "已接入检验的成员单位都没有此人的检验结果。"


def _rows(grid: LabGrid, choice: Choice, window: range) -> Iterator[Row]:
    for row in grid.rows:
        if (row.abnormal or not choice.only_abnormal) and any(row.cells[i] for i in window):
            yield row


def _about(grid: LabGrid, now: datetime) -> str:
    if not grid.columns:
        return "没有检验结果"
    first, last = grid.columns[0].at, grid.columns[-1].at
    members = len({column.member for column in grid.columns})
    span = " 至 ".join(dict.fromkeys(moments.of(at, now, full=True).text[:7] for at in (first, last)))
    return f"{span} · {members} 家机构 · {len(grid.columns)} 次 · 左旧右新"


def _times(grid: LabGrid, now: datetime) -> tuple[When, ...]:
    """Of each column its day; with the time where its member has several of one day, as of a series of troponins."""
    days = [moments.day(column.at.isoformat(), now, full=True) for column in grid.columns]
    count = Counter((column.member, day) for column, day in zip(grid.columns, days, strict=True))
    return tuple(
        moments.of(column.at, now, full=True) if count[column.member, day] > 1 else day
        for column, day in zip(grid.columns, days, strict=True)
    )


def _line(row: Row, window: range, grid: LabGrid, choice: Choice, base: str, chosen: Reading | None) -> Line:
    cells = tuple(
        Cell(
            reading,
            flag_of(reading.flag) if reading else Flag(),
            choice.href(base, item=reading.observation_id) if reading else "",
            reading is not None and chosen is not None and reading.observation_id == chosen.observation_id,
            grid.columns[i].latest,
        )
        for i in window
        for reading in (row.cells[i],)
    )
    return Line(row, cells, spark(row.points, row.label, width=134, height=34))


def readings(grid: LabGrid) -> Iterator[tuple[Row, int, Reading]]:
    """Every reading with its row and column number."""
    for row in grid.rows:
        for i, reading in enumerate(row.cells):
            if reading:
                yield row, i, reading


def _chosen(grid: LabGrid, item: str) -> Reading | None:
    """The reading asked for; else the newest critical or flagged one, else the newest."""
    every = list(readings(grid))
    if item:
        return next((r for _, _, r in every if r.observation_id == item), None)
    order = sorted(every, key=lambda e: (e[1], e[2].critical, e[2].flag is not None), reverse=True)
    return order[0][2] if order else None


def _detail(
    reading: Reading | None, opened: Opened, derived: Derived, choice: Choice, base: str, times: tuple[When, ...]
) -> Detail | None:
    if reading is None:
        return None
    row, column = next((r, i) for r, i, x in readings(derived.labs) if x is reading)
    decision = item_decision(derived, reading)
    past = tuple(
        _past(c, times[i], derived.labs.columns[i].member_name, choice, base) for i, c in enumerate(row.cells) if c
    )
    return Detail(
        title=row.name,
        at=times[column],
        reading=reading,
        unit=row.unit if reading.shown and reading.shown.renamed else reading.unit,
        flag=flag_of(reading.flag),
        facts=tuple(_facts(reading, opened)),
        mark=mark_of(decision.verdict) if decision else None,
        because=" · ".join(reason.text for reason in decision.reasons) if decision else "",
        spark=spark(row.points, row.label, width=286, height=84) if len(row.points) > 1 else None,
        breaks=any(point.method_changed for point in row.points),
        past=past[::-1],
        report_href=f"{base}/report/{reading.report_id}" if reading.report_id else "",
    )


def item_decision(derived: Derived, reading: Reading) -> ItemDecision | None:
    """What the rules say of one result; None when no report carries it."""
    report = next((r for r in derived.reports if r["id"] == reading.report_id), None)
    items = derived.decision(report).items if report else ()
    return next((item for item in items if item.observation_id == reading.observation_id), None)


def _past(reading: Reading, at: When, member: str, choice: Choice, base: str) -> Past:
    state = reading.status_zh if reading.corrected or reading.status != "final" else ""
    return Past(
        at=at,
        member=member,
        text=" ".join(filter(None, (reading.value, reading.unit, reading.shown.text if reading.shown else "", state))),
        flag=flag_of(reading.flag),
        href=choice.href(base, item=reading.observation_id),
    )


def _facts(reading: Reading, opened: Opened) -> Iterator[Fact]:
    label = {"report": "报告区间", "declared": "机构公布区间", "none": "参考区间"}[reading.band.origin]
    yield Fact(label, reading.band.text or "来源未提供参考区间")
    yield Fact("医院", opened.member_name(reading.member))
    yield Fact("标本", reading.specimen or "来源未提供")
    yield Fact("方法", reading.method or "来源未提供")
    times = reading.times
    names = ("采集", "接收", "审核", "发布", "到达")
    for name, at in zip(
        names, (times.collected, times.received, times.verified, times.issued, times.arrived), strict=True
    ):
        yield Fact(name, moments.of(at, opened.at, full=True).text if at else "来源未提供")
    yield Fact("状态", reading.status_zh)
    if reading.previous:
        yield Fact("更正前", reading.previous)
    if reading.notice_told or reading.notice_at:
        told = moments.of(reading.notice_at, opened.at).text if reading.notice_at else ""
        yield Fact("危急值告知", f"{told} {reading.notice_told}".strip())
    if reading.note:
        yield Fact("备注", reading.note)
