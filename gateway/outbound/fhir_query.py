"""From the URL of a search to a Query: every parameter known, refused, or named as ignored (D16).

Sources: FHIR R4 search.html; limits from reliability-security T21.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl, quote

from msgspec import Struct

from ..errors import BadParameter, TooCostly, UnknownParameter
from ..model.outcome import Finding
from ..model.query import Condition, Filter, Include, Query, Total
from ..model.resource import loads
from ..model.rest import Call
from .fhir_conditions import Lookup, Parameter, bare, condition, includes, is_linked, sort_keys

MAX_COUNT = 1000
DEFAULT_COUNT = 50
MAX_PARAMETERS = 20
MAX_LENGTH = 64 * 1024
"""Of all names and values together: what was asked is remembered in many places."""
_FIELDS = 200
"""Parameters that are looked at at all."""
_PLAIN = re.compile(r"[A-Za-z0-9:/,|$.\-_~]*")

CLIENT_CONTROLS = frozenset({"_t", "_dc", "_", "_cb", "_ts", "_nocache", "_totalMethod", "_requestid"})
"""Control parameters of clients that mean nothing to a server; ignored and reported."""

CONTROLS = frozenset(
    {"_format", "_pretty", "_count", "_sort", "_include", "_revinclude", "_total", "_summary", "_elements", "_page"}
)
_UNSERVED = frozenset({"_filter", "_list", "_query", "_contained", "_containedType", "_score", "_since", "_at"})
_SUMMARIES = frozenset({"true", "false", "count", "text", "data"})
PERSONAL = frozenset(
    {"identifier", "name", "family", "given", "phone", "email", "telecom", "phonetic", "birthdate", "death-date"}
)
"""Parameters whose values identify a person: they stay out of links a server makes from a POST."""


class Shape(Struct, frozen=True):
    """How the client wants the answer. summary: "", true, count, text or data."""

    format: str = ""
    pretty: bool = False
    summary: str = ""
    elements: frozenset[str] = frozenset()


class Parsed(Struct, frozen=True):
    """A search understood: the query, the answer's shape, what was applied (for `self`), what was not."""

    query: Query
    shape: Shape
    applied: tuple[tuple[str, str], ...]
    ignored: tuple[Finding, ...] = ()
    page: str = ""

    @property
    def personal(self) -> bool:
        """True when a value could identify a person."""
        return any(_identifies(name) for name, _ in self.applied)


def _identifies(name: str) -> bool:
    """Also where a chain or `_has` ends."""
    words = {word for step in name.split(".") for word in step.split(":")}
    return any(word in PERSONAL or word.startswith("address") for word in words)


class Rules(Struct, frozen=True):
    """How strict to be: `Prefer: handling=lenient`, and the control parameters configured for clients."""

    lenient: bool = False
    client_controls: frozenset[str] = CLIENT_CONTROLS


STRICT = Rules()


@dataclass(slots=True)
class _Draft:
    types: tuple[str, ...] = ()
    filters: list[Condition] = field(default_factory=list)
    sort: tuple[tuple[str, bool], ...] = ()
    count: int = DEFAULT_COUNT
    total: Total = "none"
    includes: list[Include] = field(default_factory=list)
    format: str = ""
    pretty: bool = False
    summary: str = ""
    elements: frozenset[str] = frozenset()
    page: str = ""
    applied: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)


def pairs(query: str) -> list[tuple[str, str]]:
    """Name and value of each parameter, decoded. Raises BadParameter for bytes that are no UTF-8."""
    if "%" not in query and "+" not in query and query.count("&") < _FIELDS:  # nothing to decode
        return [(name, value) for name, _, value in [part.partition("=") for part in query.split("&") if part]]
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError as fault:
        raise BadParameter("query", "not UTF-8", detail_zh="不是 UTF-8 编码。") from fault
    except ValueError as fault:
        raise BadParameter("query", f"more than {_FIELDS} parameters", detail_zh=f"超过 {_FIELDS} 个参数。") from fault


def given_to(call: Call) -> list[tuple[str, str]]:
    """What an operation is given: parameters of the address, and of a Parameters resource sent."""
    given = pairs(call.query)
    if call.method != "POST" or not call.body:
        return given
    try:
        sent = loads(call.body).get("parameter") or []
        values = [(str(one["name"]), next(str(v) for k, v in one.items() if k.startswith("value"))) for one in sent]
    except (ValueError, AttributeError, TypeError, KeyError, StopIteration) as fault:
        raise BadParameter("body", "Parameters with simple values", detail_zh="应为取简单值的 Parameters。") from fault
    return [*given, *values]


def query_text(given: tuple[tuple[str, str], ...]) -> str:
    """A query string of name and value pairs, readable where RFC 3986 allows."""
    return "&".join([f"{_quoted_name(name)}={_quoted(value)}" for name, value in given])


@lru_cache(1024)
def _quoted_name(name: str) -> str:
    return quote(name, safe=":.-_")


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else quote(value, safe=":/,|$.-_~")


def parse(
    type_: str,
    given: list[tuple[str, str]],
    lookup: Lookup,
    rules: Rules = STRICT,
    *,
    types: frozenset[str] | None = None,
) -> Parsed:
    """The search `given` means for a type; for type "" across `types`, or those of them that `_type` names.

    Raises UnknownParameter (naming the nearest known one), BadParameter, TooCostly.
    """
    if len(given) > MAX_PARAMETERS:
        detail_zh = f"最多 {MAX_PARAMETERS} 个参数"
        raise TooCostly("query", f"more than {MAX_PARAMETERS} parameters", detail_zh=detail_zh)
    if sum([len(name) + len(value) for name, value in given]) > MAX_LENGTH:
        detail_zh = f"参数合计最多 {MAX_LENGTH} 个字符"
        raise TooCostly("query", f"more than {MAX_LENGTH} characters", detail_zh=detail_zh)
    draft = _Draft()
    if types is not None:
        draft.types = _types(given, types)
        across = _shared(draft.types, lookup)
        known: Mapping[str, Parameter] = across("")
        lookup = across
    else:
        known = lookup(type_)
    for name, value in given:
        _take(draft, type_, name, value, known, lookup, rules)
    return _parsed(draft, type_)


def _parsed(draft: _Draft, type_: str) -> Parsed:
    named = {one.code for one in draft.filters if isinstance(one, Filter)}
    counting = draft.summary == "count" or draft.count == 0
    query = Query(
        type=type_,
        filters=tuple(draft.filters),
        sort=draft.sort,
        count=0 if counting else draft.count,
        total="accurate" if counting else draft.total,
        includes=() if counting else tuple(draft.includes),
        retired="Patient" in (type_, *draft.types) and bool(named & {"_id", "active"}),
        types=draft.types,
    )
    if draft.types and query.sort not in ((), (("_lastUpdated", True),)):
        raise BadParameter(
            "_sort", "across types only -_lastUpdated", detail_zh="跨类型查询只能按 -_lastUpdated 排序。"
        )
    if draft.summary == "text" and draft.includes:
        hint = "not together with _include or _revinclude"
        raise BadParameter("_summary=text", hint, detail_zh="不能与 _include、_revinclude 同用。")
    summary = "count" if counting else draft.summary
    shape = Shape(draft.format, draft.pretty, summary, draft.elements)
    return Parsed(query, shape, tuple(draft.applied), tuple(draft.ignored), draft.page)


# ---- across types -----------------------------------------------------------------------------
def _types(given: list[tuple[str, str]], served: frozenset[str]) -> tuple[str, ...]:
    asked = [part.strip() for name, value in given if name == "_type" for part in value.split(",")]
    unknown = sorted(set(asked) - served)
    if unknown:
        raise BadParameter("_type", unknown[0][:64], detail_zh=f"没有这种资源类型：{unknown[0][:64]}")
    return tuple(sorted(set(asked))) or tuple(sorted(served))


class _Common(Struct, frozen=True):
    """A parameter several types have: it may point where one of them may, and takes the modifiers they all take.

    definition: "" where each has its own.
    """

    kind: str
    targets: tuple[str, ...]
    modifiers: frozenset[str]
    definition: str


def _shared(types: tuple[str, ...], lookup: Lookup) -> Lookup:
    """A lookup that for type "" gives the parameters all types have, each with its one meaning."""
    first, *others = [lookup(type_) for type_ in types]
    common: dict[str, Parameter] = {}
    for code, one in first.items():
        of_each = [one, *(two[code] for two in others if code in two and two[code].kind == one.kind)]
        if len(of_each) == len(types):
            targets = tuple(sorted({target for each in of_each for target in each.targets}))
            words = frozenset.intersection(*(each.modifiers - frozenset(each.targets) for each in of_each))
            definition = one.definition if len({each.definition for each in of_each}) == 1 else ""
            common[code] = _Common(one.kind, targets, words.union(targets), definition)
    return lambda type_: lookup(type_) if type_ else common


def shape_of(given: list[tuple[str, str]], allowed: frozenset[str] = frozenset(), rules: Rules = STRICT) -> Shape:
    """The answer's shape for a read, a history or an operation; `allowed` are the parameters it knows itself.

    Such an answer has no place to say that a parameter did nothing: an unknown one is refused, `_list` too.
    """
    controls = frozenset({"_format", "_pretty", "_summary", "_elements"})
    draft = _Draft()
    for name, value in given:
        if name in controls:
            _CONTROL[name](draft, value)
        elif name not in allowed and not rules.lenient and bare(name) not in rules.client_controls:
            known = controls | allowed
            raise UnknownParameter(name[:64], _nearest_text(name, known), detail_zh=_nearest_zh(name, known))
    return Shape(draft.format, draft.pretty, draft.summary, draft.elements)


def _take(
    draft: _Draft,
    type_: str,
    name: str,
    value: str,
    known: Mapping[str, Parameter],
    lookup: Lookup,
    rules: Rules,
) -> None:
    head = bare(name)
    if name in _CONTROL:
        _CONTROL[name](draft, value)
    elif name == "_type" and draft.types:
        pass
    elif head in ("_include", "_revinclude"):
        draft.includes.append(includes(name, value, type_, lookup))
    elif name == "_sort":
        draft.sort = _sort(value, known)
    elif is_linked(name) and head not in known and head != "_has" and "." in head and head.split(".")[0] not in known:
        _unknown(draft, name, frozenset(known) | CONTROLS, rules)
        return
    elif is_linked(name) or (head in known and head not in _UNSERVED):
        try:
            draft.filters.append(condition(type_, name, value, lookup))
        except UnknownParameter:
            if not rules.lenient:
                raise
            draft.ignored.append(ignored(name))
            return
    elif head in _UNSERVED:
        if not rules.lenient:
            raise UnknownParameter(name[:64], "a FHIR parameter not served here", detail_zh="此服务器未提供该参数。")
        draft.ignored.append(ignored(name))
        return
    else:
        _unknown(draft, name, frozenset(known) | CONTROLS, rules)
        return
    draft.applied.append((name, value))


# ---- controls ---------------------------------------------------------------------------------
def _count(draft: _Draft, value: str) -> None:
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise BadParameter("_count", "a whole number", detail_zh="应为非负整数。")
    draft.count = min(int(value), MAX_COUNT)


def _total(draft: _Draft, value: str) -> None:
    if value not in ("none", "estimate", "accurate"):
        raise BadParameter("_total", "none, estimate or accurate")
    draft.total = cast(Total, value)


def _summary(draft: _Draft, value: str) -> None:
    if value not in _SUMMARIES:
        raise BadParameter("_summary", "true, count, text, data or false")
    draft.summary = "" if value == "false" else value


def _elements(draft: _Draft, value: str) -> None:
    draft.elements = frozenset(_top(part.strip()) for part in value.split(",") if part.strip())


def _top(element: str) -> str:
    """The member of the resource an element lies in: `Observation.value`, `value[x]`, `value.code` → `value`."""
    first, _, rest = element.partition(".")
    top = rest.partition(".")[0] if rest and first[:1].isupper() else first
    return top.removesuffix("[x]")


def _pretty(draft: _Draft, value: str) -> None:
    draft.pretty = value.lower() == "true"


def _format(draft: _Draft, value: str) -> None:
    draft.format = value


def _page(draft: _Draft, value: str) -> None:
    draft.page = value


_CONTROL: dict[str, Callable[[_Draft, str], None]] = {
    "_count": _count,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_pretty": _pretty,
    "_format": _format,
    "_page": _page,
}


def _sort(value: str, known: Mapping[str, Parameter]) -> tuple[tuple[str, bool], ...]:
    try:
        return sort_keys(value, known)
    except KeyError as fault:
        code = str(fault.args[0])
        hint = _nearest_text(code, known)
        raise UnknownParameter(f"_sort={code[:40]}", hint, detail_zh=_nearest_zh(code, known)) from None


# ---- unknown ones (D16) -----------------------------------------------------------------------
def _unknown(draft: _Draft, name: str, known: frozenset[str], rules: Rules) -> None:
    head = bare(name)
    if rules.lenient or head in rules.client_controls:
        draft.ignored.append(ignored(name))
        return
    near = nearest(head, known)
    if head.startswith("_") and (near is None or near[1] > 2):
        draft.ignored.append(ignored(name))
        return
    raise UnknownParameter(name[:64], _nearest_text(head, known), detail_zh=_nearest_zh(head, known))


def ignored(name: str) -> Finding:
    """The remark that a parameter did nothing."""
    code = UnknownParameter.code
    return Finding(code, "warning", name[:64], f"参数 {name[:64]} 被忽略。", f"The parameter {name[:64]} was ignored.")


def _nearest_text(name: str, known: Mapping[str, Parameter] | frozenset[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near[0]!r}?" if near else ""


def _nearest_zh(name: str, known: Mapping[str, Parameter] | frozenset[str]) -> str:
    near = nearest(name, known)
    return f"是否指 {near[0]}？" if near else ""


def nearest(name: str, known: Mapping[str, Parameter] | frozenset[str]) -> tuple[str, int] | None:
    """The known name closest to this one and their edit distance, upper and lower case alike."""
    lower = name[:64].lower()
    found = ((one, _distance(lower, one.lower())) for one in known)
    return min(found, key=lambda item: (item[1], item[0]), default=None)


def _distance(left: str, right: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]
