"""`Observation/$lastn`: the newest results of a resident, so many of each code.

The patient's rows are read newest first by their own date; nothing else is touched. Codes are taken as equal when they
share a coding, so a local code and its LOINC code count once. Source: FHIR R4 observation-operation-lastn.html.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...errors import BadParameter, TooCostly
from ...model.query import Filter
from ...model.resource import Json, loads
from ...model.rest import Answer, Call, Seen
from ...store.base import Resource
from ..fhir_answers import bundle, entry, patients_of
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import MAX_COUNT, given_to, parse, query_text

_MAX = 100
_PAGES = 20


async def lastn(parts: FhirParts, call: Call, on: On) -> Answer:
    """A searchset Bundle, newest first within each code. `max` of each (default 1); needs a patient or subject."""
    given = given_to(call)
    most = _most(dict(given).get("max", "1"))
    asked = [(name, value) for name, value in given if name != "max"]
    parsed = parse("Observation", asked, parts.lookup, parts.rules(call))
    named = {one.code for one in parsed.query.filters if isinstance(one, Filter) and not one.modifier}
    if not named & {"patient", "subject"}:
        raise BadParameter("patient", "one patient or subject", detail_zh="请指明居民（patient 或 subject）。")
    query = replace(parsed.query, sort=(("date", True),), count=MAX_COUNT, total="none", includes=(), cursor="")
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
    shown = kept.shown()
    own = f"{call.base}/{on.type}/$lastn?{query_text(tuple(given))}"
    body = bundle("searchset", [entry(one, call.base, "match") for one in shown], links=[("self", own)], at=page.at)
    said = f"Observation/$lastn?{query_text(tuple(given))}"
    return Answer(200, body, seen=Seen("E", "operation", patients_of(shown), (), said, f"{len(shown)} matches"))


class _Kept:
    """Results by code, as they come, newest first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: list[list[Resource]] = []
        self._group_of: dict[tuple[str, str], list[Resource]] = {}

    def take(self, one: Resource) -> None:
        """Keep it unless its code has enough."""
        names = _names(loads(one.body).get("code") or {})
        known = next((self._group_of[name] for name in names if name in self._group_of), None)
        if known is None:
            known = []
            self._groups.append(known)
        for name in names:
            self._group_of.setdefault(name, known)
        if len(known) < self._most:
            known.append(one)

    def shown(self) -> list[Resource]:
        """Group after group."""
        return [one for group in self._groups for one in group]


def _names(code: Json) -> list[tuple[str, str]]:
    found = [(str(one.get("system", "")), str(one["code"])) for one in code.get("coding", ()) if one.get("code")]
    return found or [("", str(code.get("text", "")))]


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
    "居民每个项目最近的结果；max 为每项条数，可加 category、code、date 等条件。",
    levels=("type",),
)
