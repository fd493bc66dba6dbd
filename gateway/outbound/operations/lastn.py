"""`Observation/$lastn`: the newest results of a resident, so many of each code.

The patient's rows are read newest first by their own date; nothing else is touched. Codes are equal when they share a
coding, also by way of a third (a local code and its LOINC code count once); words alone are equal when written alike.
Results of one moment belong together: where that is the last one of a code, there are more than `max`.
Source: FHIR R4 observation-operation-lastn.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from ...errors import BadParameter, TooCostly
from ...model.outcome import Finding
from ...model.query import Filter
from ...model.resource import Json, loads
from ...model.rest import Answer, Call, Seen
from ...store.base import Resource
from ...store.index_dates import date_range
from ..fhir_answers import bundle, entry, outcome_entry, patients_of
from ..fhir_conditions import bare
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import MAX_COUNT, Parsed, given_to, ignored, parse, query_text

_MAX = 100
_PAGES = 20
_ITS_OWN = frozenset({"_sort", "_count", "_total", "_include", "_revinclude", "_summary", "_elements", "_page"})
"""Its answer has its own order and size, and whole results."""
_Name = tuple[str, ...]


async def lastn(parts: FhirParts, call: Call, on: On) -> Answer:
    """A searchset Bundle, newest first within each code. `max` of each (default 1); needs a patient or subject."""
    given = given_to(call)
    most = _most(dict(given).get("max", "1"))
    left_out = [name for name, _ in given if bare(name) in _ITS_OWN]
    asked = [(name, value) for name, value in given if name != "max" and bare(name) not in _ITS_OWN]
    parsed = parse("Observation", asked, parts.lookup, parts.rules(call))
    _of_one(parsed)
    query = replace(parsed.query, sort=(("date", True),), count=MAX_COUNT)
    kept = _Kept(most)
    for _ in range(_PAGES):
        page = await parts.store.search(query, call.who)
        for one in page.matches:
            kept.take(one)
        if not page.next:
            break
        query = replace(query, cursor=page.next)
    else:
        raise TooCostly("$lastn", f"more than {_PAGES * MAX_COUNT} results")
    applied = query_text((*parsed.applied, *[("max", value) for name, value in given if name == "max"]))
    return _answer(call, on, kept.shown(), [*parsed.ignored, *map(ignored, left_out)], applied, page.at)


def _of_one(parsed: Parsed) -> None:
    """Raises BadParameter unless one resident is named: of two the results would count as one's."""
    plain = [one for one in parsed.query.filters if isinstance(one, Filter) and one.modifier in ("", "Patient")]
    if not any(one.code in ("patient", "subject") and len(one.values) == 1 for one in plain):
        raise BadParameter("patient", "one patient or subject", detail_zh="请指明一位居民（patient 或 subject）。")


def _answer(
    call: Call, on: On, shown: Sequence[Resource], remarks: list[Finding], applied: str, at: datetime
) -> Answer:
    found = [entry(one, call.base, "match") for one in shown]
    if remarks:
        found.append(outcome_entry(remarks))
    said = f"{on.type}/$lastn?{applied}"
    body = bundle("searchset", found, links=[("self", f"{call.base}/{said}")], at=at)
    return Answer(200, body, seen=Seen("E", "operation", patients_of(shown), (), said, f"{len(shown)} matches"))


# ---- groups -----------------------------------------------------------------------------------
@dataclass(slots=True)
class _Group:
    """Results of one code, newest first: place in the order of all, first instant (None without a date), resource."""

    rows: list[tuple[int, int | None, Resource]] = field(default_factory=list)

    def cut(self, most: int) -> None:
        """The newest, with all that are of the same moment as the last of them."""
        last = self.rows[most - 1][1] if len(self.rows) > most else None
        tied = (row for row in self.rows[most:] if last is not None and row[1] == last)
        self.rows = [*self.rows[:most], *tied]


class _Kept:
    """Results by code, as they come, newest first."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._group_of: dict[_Name, _Group] = {}

    def take(self, one: Resource) -> None:
        """Keep it unless its code has enough."""
        doc = loads(one.body)
        names = _names(doc.get("code") or {})
        group = self._joined(names)
        self._group_of |= dict.fromkeys(names, group)
        group.rows.append((self._seen, _instant(doc), one))
        group.cut(self._most)
        self._seen += 1

    def _joined(self, names: list[_Name]) -> _Group:
        """The group of these names; of groups that were apart so far one is made."""
        met = list({id(group): group for name in names if (group := self._group_of.get(name))}.values())
        if len(met) < 2:
            return met[0] if met else _Group()
        whole = _Group(sorted((row for group in met for row in group.rows), key=lambda row: row[0]))
        whole.cut(self._most)
        apart = {id(group) for group in met}
        self._group_of |= {name: whole for name, group in self._group_of.items() if id(group) in apart}
        return whole

    def shown(self) -> list[Resource]:
        """Group after group, that of the newest result first."""
        groups = {id(group): group for group in self._group_of.values()}.values()
        ordered = sorted(groups, key=lambda group: group.rows[0][0])
        return [one for group in ordered for _, _, one in group.rows]


def _names(code: Json) -> list[_Name]:
    found: list[_Name] = [(one.get("system", ""), one["code"]) for one in code.get("coding", ()) if one.get("code")]
    return found or [(str(code.get("text", "")),)]


def _instant(doc: Json) -> int | None:
    """By what it is in its place: the first instant of its time, None where it has none."""
    period, timing = doc.get("effectivePeriod") or {}, doc.get("effectiveTiming") or {}
    said = [doc.get("effectiveDateTime"), doc.get("effectiveInstant"), period.get("start"), *timing.get("event", ())]
    return min((date_range(text)[0] for text in said if text), default=None)


def _most(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _MAX:
        raise BadParameter("max", f"a whole number, 1 to {_MAX}", detail_zh=f"应为 1 到 {_MAX} 的整数。")
    return int(text)


LASTN = Operation(
    "$lastn",
    "Observation",
    lastn,
    "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
    frozenset({"max"}),
    "居民每个项目最近的结果；max 为每项条数（同一时刻的一并给出），可加 category、code、date 等条件。",
    levels=("type",),
)
