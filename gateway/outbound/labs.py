"""View model of the cumulative laboratory grid: one row an analyte, one column a report event, old → new.

What the source sent comes first and unchanged; what was converted or judged by us says so. Cultures are not here:
they have their own page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..model.directory import Directory
from ..model.ranges import DeclaredRanges
from ..model.resource import Json, reference_id
from ..model.times import CHINA
from ..validate.analytes import ANALYTES
from ..validate.units import unit_shown
from .lab_reading import Analysed, Reader, analysed, told_words
from .lab_types import Band, Column, Flag, LabGrid, Point, Reading, Row, Shown, Times
from .record import Record, is_culture, is_panel, member_name

__all__ = ["Band", "Column", "Flag", "LabGrid", "Point", "Reading", "Row", "Shown", "Times", "grid"]

NO_RANGES = DeclaredRanges()
_OTHER, _UNCODED = "其他", "未编码"
_SLACK = timedelta(minutes=10)
_FLAGGED = frozenset({"A", "AA", "POS", "RR", "WR", "DET"})


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two results one row: the analyte and, where its unit cannot be converted, the unit as sent."""

    code: str
    unit: str

    @property
    def text(self) -> str:
        return f"{self.code}@{self.unit}" if self.unit else self.code


@dataclass(slots=True)
class _Event:
    """What stands in one column: results of one member of one day, each row once."""

    member: str
    day: str
    at: datetime
    results: dict[_Key, Analysed] = field(default_factory=dict)
    reports: dict[str, None] = field(default_factory=dict)


def grid(
    record: Record,
    directory: Directory,
    ranges: DeclaredRanges = NO_RANGES,
    *,
    at: datetime,
    previous: Mapping[str, Json] | None = None,
) -> LabGrid:
    """The grid; the newest column not after `at` is `latest`.

    Reports of one member of one day share a column unless an analyte would stand in it twice.
    previous: by Observation id, the version before the present one (for corrections).
    """
    reader = Reader(record, directory, ranges, previous or {})
    events = _events(record, [analysed(item, directory) for item in _laboratory(record)])
    newest = max((event.at for event in events if event.at - at <= _SLACK), default=None)
    columns = tuple(
        Column(e.member, member_name(e.member, directory), e.at, tuple(e.reports), e.at == newest) for e in events
    )
    keys = dict.fromkeys(key for event in events for key in event.results)
    rows = sorted((_row(key, events, reader) for key in keys), key=_order)
    return LabGrid(columns, tuple(rows), _groups(rows))


def _laboratory(record: Record) -> list[Json]:
    """Single laboratory results: those of a panel are, a culture and what hangs under it is not."""
    under = {
        reference_id(member, "Observation")
        for item in record.observations
        if not is_panel(item) or _is_culture(record, item)
        for member in item.get("hasMember", ())
    }
    return [
        item
        for item in record.observations
        if _is_laboratory(item)
        and "hasMember" not in item
        and item.get("id") not in under
        and not _is_culture(record, item)
    ]


def _is_laboratory(item: Json) -> bool:
    return any(c.get("code") == "laboratory" for concept in item.get("category", ()) for c in concept.get("coding", ()))


def _is_culture(record: Record, item: Json) -> bool:
    return is_culture(record.report_of(item) or {})


def _events(record: Record, results: Sequence[Analysed]) -> list[_Event]:
    """Columns old to new; results of one report stay together where no row would be taken twice."""
    timed = sorted(((_at(record, one), one) for one in results), key=lambda pair: pair[0])
    events: list[_Event] = []
    for at, one in timed:
        key, day = _key(one), at.astimezone(CHINA).date().isoformat()
        event = next((e for e in events if (e.member, e.day) == (one.member, day) and key not in e.results), None)
        if event is None:
            event = _Event(one.member, day, at)
            events.append(event)
        event.results[key] = one
        report = record.report_of(one.body)
        if report:
            event.reports[str(report.get("id", ""))] = None
    return sorted(events, key=lambda e: (e.at, e.member))


def _at(record: Record, one: Analysed) -> datetime:
    return one.at or record.arrived[f"Observation/{one.id}"]


def _key(one: Analysed) -> _Key:
    shown = one.analyte
    code = shown.loinc if shown else one.loinc or f"{one.member}:{one.code}"
    if one.number is None or (shown and one.converted()):
        return _Key(code, "")
    return _Key(code, one.unit if shown is None else one.unit or "单位未提供")


def _row(key: _Key, events: Sequence[_Event], reader: Reader) -> Row:
    found = [event.results.get(key) for event in events]
    first = next(one for one in found if one)
    shown = first.analyte
    cells = tuple(reader.read(one, display=shown is not None and not key.unit) if one else None for one in found)
    points = _points(cells, events)
    unit = unit_shown(shown.unit) if shown and not key.unit else key.unit
    name = shown.name if shown else first.name
    return Row(
        key=key.text,
        loinc=shown.loinc if shown else first.loinc,
        name=name,
        short=shown.short if shown else first.code if first.code != first.name else "",
        unit=unit,
        group=shown.group if shown else _OTHER if first.loinc else _UNCODED,
        coded=bool(first.loinc),
        cells=cells,
        points=points,
        abnormal=any(_is_abnormal(cell) for cell in cells if cell),
        label=_label(name, unit, [cell for cell in cells if cell and cell.status != "cancelled"]),
    )


def _points(cells: Iterable[Reading | None], events: Sequence[_Event]) -> tuple[Point, ...]:
    points: list[Point] = []
    before: Reading | None = None
    for column, cell in enumerate(cells):
        if cell is None or cell.number is None or not cell.answers:
            continue
        direction = cell.flag.direction if cell.flag else ""
        converted = cell.shown is not None and not cell.shown.renamed
        changed = before is not None and _otherwise_made(before, cell)
        points.append(Point(column, events[column].at, cell.number, cell.band, direction, converted, changed))
        before = cell
    return tuple(points)


def _otherwise_made(before: Reading, after: Reading) -> bool:
    pairs = ((before.method, after.method), (before.specimen, after.specimen))
    return any(one and other and one != other for one, other in pairs)


def _is_abnormal(cell: Reading) -> bool:
    return cell.critical or (cell.flag is not None and (bool(cell.flag.direction) or cell.flag.code in _FLAGGED))


def _label(name: str, unit: str, cells: Sequence[Reading]) -> str:
    told = "、".join(_spoken(cell) for cell in cells)
    return f"{name}，旧到新 {len(cells)} 次：{told} {unit}".rstrip()


def _spoken(cell: Reading) -> str:
    if cell.shown is None or cell.shown.renamed:
        return cell.value + told_words(cell.flag)
    sign = cell.shown.text[0]
    return f"{sign}{format(cell.shown.value, 'f')}{told_words(cell.flag)}"


def _order(row: Row) -> tuple[int, int, str]:
    known = ANALYTES.get(row.loinc)
    return (0, known.order, row.key) if known else (1 if row.coded else 2, 0, row.key)


def _groups(rows: Sequence[Row]) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    headings = dict.fromkeys(row.group for row in rows)
    return tuple((heading, tuple(row for row in rows if row.group == heading)) for heading in headings)
