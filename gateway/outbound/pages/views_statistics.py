"""互认统计 of a month: how often results were taken over and done again, by member, origin, item and reason."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ...model.directory import Directory
from ...model.times import CHINA
from ...recognise.acts import UNSAID, Count, Place
from ...recognise.listing import Evidence, RuleSheet
from ...recognise.reasons import FOR_REPEATING
from ..record import member_name

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_NAMED = 4
_HEAD = (
    "月份",
    "机构",
    "来源机构",
    "互认编码",
    "项目",
    "予以互认",
    "重新检查（计入）",
    "重新检查（不计入）",
    UNSAID.zh,
)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in China; the first moment of it is inside, that of the next is not."""

    year: int
    number: int

    @classmethod
    def said(cls, text: str, now: datetime) -> Month:
        """`2026-03`; the present month for anything else."""
        found, today = _MONTH.fullmatch(text), now.astimezone(CHINA)
        return cls(int(found[1]), int(found[2])) if found else cls(today.year, today.month)

    @property
    def text(self) -> str:
        """`2026-03`."""
        return f"{self.year}-{self.number:02}"

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=CHINA)

    def moved(self, by: int) -> Month:
        """The month so many later."""
        whole = self.year * 12 + self.number - 1 + by
        return Month(whole // 12, whole % 12 + 1)


@dataclass(frozen=True, slots=True)
class Line:
    """One row: `12`, `3`, `1`, `80.0%`; rate `—` where nothing counts."""

    name: str
    taken: int
    counted: int
    uncounted: int
    rate: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A member's assessment in the rule sheet: `省临床检验中心室间质评 2025`, 合格, until when, of which items."""

    member: str
    scheme: str
    outcome: str
    until: str
    lapsed: bool
    items: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """The page. total: everything together; proofs: the evidence verdicts rest on."""

    month: Month
    total: Line
    tables: tuple[tuple[str, str, tuple[Line, ...]], ...]
    reasons: tuple[tuple[str, str, int, bool], ...]
    proofs: tuple[Proof, ...]
    rules: str


def statistics_view(
    month: Month, counts: Mapping[Place, Count], directory: Directory, sheet: RuleSheet, now: datetime
) -> Statistics:
    """Sums by the deciding member, by the member a result comes from, by item; and the reasons given."""
    by: tuple[tuple[str, str, Callable[[Place], str]], ...] = (
        ("按机构", "机构", lambda place: member_name(place.member, directory)),
        ("按来源机构", "来源机构", lambda place: member_name(place.producer, directory)),
        ("按项目", "项目", lambda place: f"{place.code} {place.name}".strip()),
    )
    return Statistics(
        month=month,
        total=_line("合计", counts.values()),
        tables=tuple((title, head, tuple(_lines(counts, name))) for title, head, name in by),
        reasons=tuple(_reasons(counts.values())),
        proofs=tuple(_proofs(sheet, directory, now)),
        rules=sheet.title,
    )


_OUTCOMES = {True: "合格", False: "不合格", None: "只有标识，没有质评"}


def _proofs(sheet: RuleSheet, directory: Directory, now: datetime) -> Iterable[Proof]:
    """One row a member and assessment, in the sheet's order."""
    together: dict[tuple[str, Evidence], list[str]] = {}
    for (member, code), known in sheet.evidence.items():
        together.setdefault((member, known), []).append(sheet.items[code].name)
    for (member, known), names in together.items():
        until, listed = known.until, "、".join(names[:_NAMED])
        yield Proof(
            member=member_name(member, directory),
            scheme=known.text or "—",
            outcome=_OUTCOMES[known.passed],
            until=until.isoformat() if until else "—",
            lapsed=until is not None and until < now.astimezone(CHINA).date(),
            items=listed if len(names) <= _NAMED else f"{listed} 等 {len(names)} 项",
        )


def _lines(counts: Mapping[Place, Count], name: Callable[[Place], str]) -> Iterable[Line]:
    together: dict[str, list[Count]] = {}
    for place, count in counts.items():
        together.setdefault(name(place), []).append(count)
    return (_line(key, together[key]) for key in sorted(together))


def _line(name: str, counts: Iterable[Count]) -> Line:
    whole = _sum(counts)
    rate = "—" if whole.rate is None else f"{whole.rate:.1%}"
    return Line(name, whole.taken, whole.counted, sum(whole.again.values()) - whole.counted, rate)


def _sum(counts: Iterable[Count]) -> Count:
    whole = Count()
    for count in counts:
        whole.add(count)
    return whole


def _reasons(counts: Iterable[Count]) -> Iterable[tuple[str, str, int, bool]]:
    again = _sum(counts).again
    for one in (*FOR_REPEATING, UNSAID):
        if one.code in again:
            yield one.code, one.zh, again[one.code], one.counts


def statistics_text(month: Month, counts: Mapping[Place, Count], directory: Directory) -> bytes:
    """The same, one row a member, origin and item, as CSV that spreadsheets open (UTF-8 with BOM)."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow((*_HEAD, *(f"{reason.code} {reason.zh}" for reason in FOR_REPEATING)))
    for place, count in sorted(counts.items(), key=lambda one: (one[0].member, one[0].producer, one[0].code)):
        line = _line("", [count])
        names = (member_name(place.member, directory), member_name(place.producer, directory), place.code, place.name)
        numbers = (line.taken, line.counted, line.uncounted, count.again[UNSAID.code])
        reasons = (count.again[reason.code] for reason in FOR_REPEATING)
        rows.writerow((month.text, *map(_harmless, names), *numbers, *reasons))
    return out.getvalue().encode("utf-8-sig")


def _harmless(cell: str) -> str:
    """A name that begins like a formula is text in every spreadsheet."""
    return f"'{cell}" if cell[:1] in "=+-@\t" and cell else cell
