"""From the URL of a search to a Query: every parameter known, refused, or named as ignored (D16).

Sources: FHIR R4 search.html; limits from reliability-security T21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import parse_qsl, quote

from ..errors import BadParameter, TooCostly, UnknownParameter
from ..model.outcome import Finding
from ..model.query import Filter, Include, Kind, Query, Total

MAX_COUNT = 1000
DEFAULT_COUNT = 50
MAX_PARAMETERS = 20
MAX_VALUES = 100

CLIENT_CONTROLS = frozenset({"_t", "_dc", "_", "_cb", "_ts", "_nocache", "_totalMethod", "_requestid"})
"""Control parameters of clients that mean nothing to a server; ignored and reported."""

CONTROLS = frozenset(
    {"_format", "_pretty", "_count", "_sort", "_include", "_revinclude", "_total", "_summary", "_elements", "_page"}
)
_UNSERVED = frozenset(
    {"_filter", "_text", "_content", "_list", "_query", "_contained", "_containedType", "_score", "_type", "_has"}
)
_SUMMARIES = frozenset({"false", "count", "text", "data"})
_MODIFIERS: dict[str, frozenset[str]] = {
    "token": frozenset({"not", "text", "in", "not-in", "below", "above", "of-type", "missing"}),
    "string": frozenset({"exact", "contains", "missing"}),
    "uri": frozenset({"below", "above", "missing"}),
    "date": frozenset({"missing"}),
    "number": frozenset({"missing"}),
    "quantity": frozenset({"missing"}),
    "composite": frozenset({"missing"}),
    "special": frozenset(),
}
PERSONAL = frozenset(
    {"identifier", "name", "family", "given", "phone", "email", "telecom", "phonetic", "birthdate", "death-date"}
)
"""Parameters whose values identify a person: they stay out of links a server makes from a POST."""


class Parameter(Protocol):
    """What this module needs to know of a search parameter."""

    @property
    def kind(self) -> str:
        """token, string, reference, …"""

    @property
    def targets(self) -> tuple[str, ...]:
        """Types a reference may point to."""


Lookup = Callable[[str], Mapping[str, Parameter]]
"""The search parameters of a type, by code."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the client wants the answer. summary: "", count, text or data."""

    format: str = ""
    pretty: bool = False
    summary: str = ""
    elements: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A search understood: the query, the answer's shape, what was applied (for `self`), what was not."""

    query: Query
    shape: Shape
    applied: tuple[tuple[str, str], ...]
    ignored: tuple[Finding, ...] = ()
    page: str = ""

    @property
    def personal(self) -> bool:
        """True when a value could identify a person."""
        return any(_bare(name) in PERSONAL or _bare(name).startswith("address") for name, _ in self.applied)


@dataclass(frozen=True, slots=True)
class Rules:
    """How strict to be: `Prefer: handling=lenient`, and the control parameters configured for clients."""

    lenient: bool = False
    client_controls: frozenset[str] = CLIENT_CONTROLS


STRICT = Rules()


@dataclass(slots=True)
class _Draft:
    filters: list[Filter] = field(default_factory=list)
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
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=200)
    except (UnicodeDecodeError, ValueError) as fault:
        raise BadParameter("query", type(fault).__name__) from fault


def query_text(given: tuple[tuple[str, str], ...]) -> str:
    """A query string of name and value pairs, readable where RFC 3986 allows."""
    return "&".join(f"{quote(name, safe=':.-_')}={quote(value, safe=':/,|$.-_~')}" for name, value in given)


def parse(type_: str, given: list[tuple[str, str]], lookup: Lookup, rules: Rules = STRICT) -> Parsed:
    """The search `given` means for a type.

    Raises UnknownParameter (naming the nearest known one), BadParameter, TooCostly.
    """
    if len(given) > MAX_PARAMETERS:
        raise TooCostly("query", f"more than {MAX_PARAMETERS} parameters")
    known = lookup(type_)
    draft = _Draft()
    for name, value in given:
        _take(draft, type_, name, value, known, lookup, rules)
    retired = type_ == "Patient" and any(one.code in {"_id", "active"} for one in draft.filters)
    counting = draft.summary == "count" or draft.count == 0
    query = Query(
        type=type_,
        filters=tuple(draft.filters),
        sort=draft.sort,
        count=0 if counting else draft.count,
        total="accurate" if counting else draft.total,
        includes=() if counting else tuple(draft.includes),
        retired=retired,
    )
    summary = "count" if counting else draft.summary
    shape = Shape(draft.format, draft.pretty, summary, draft.elements)
    return Parsed(query, shape, tuple(draft.applied), tuple(draft.ignored), draft.page)


def shape_of(given: list[tuple[str, str]], allowed: frozenset[str] = frozenset(), rules: Rules = STRICT) -> Shape:
    """The answer's shape for a read or an operation; `allowed` are the parameters the operation knows itself."""
    controls = frozenset({"_format", "_pretty", "_summary", "_elements"})
    draft = _Draft()
    for name, value in given:
        if name in controls:
            _CONTROL[name](draft, value)
        elif name not in allowed:
            _unknown(draft, name, controls | allowed, rules)
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
    bare = _bare(name)
    if name in _CONTROL:
        _CONTROL[name](draft, value)
    elif bare in ("_include", "_revinclude"):
        draft.includes += _includes(name, value, type_, lookup)
    elif name == "_sort":
        draft.sort = _sort(value, known)
    elif bare in known and bare not in _UNSERVED:
        draft.filters.append(_filter(name, value, known[bare]))
    elif bare in _UNSERVED or "." in name:
        if not rules.lenient:
            raise UnknownParameter(name[:64], "a FHIR parameter not served here", detail_zh="此服务器未提供该参数。")
        draft.ignored.append(_ignored(name))
        return
    else:
        _unknown(draft, name, frozenset(known) | CONTROLS, rules)
        return
    draft.applied.append((name, value))


def _bare(name: str) -> str:
    return name.partition(":")[0]


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
        raise BadParameter("_summary", "count, text, data or false")
    draft.summary = "" if value == "false" else value


def _elements(draft: _Draft, value: str) -> None:
    draft.elements = frozenset(part.strip().rpartition(".")[2] for part in value.split(",") if part.strip())


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


# ---- filters, includes, sort ------------------------------------------------------------------
def _filter(name: str, value: str, parameter: Parameter) -> Filter:
    code, _, modifier = name.partition(":")
    kind = parameter.kind
    if modifier:
        _check_modifier(name, modifier, value, parameter)
    values = tuple(split_values(value))
    if not values or not all(values):
        raise BadParameter(name, "the value is empty", detail_zh="值为空。")
    if len(values) > MAX_VALUES:
        raise TooCostly(name, f"more than {MAX_VALUES} values")
    return Filter(code, cast(Kind, kind), values, modifier)


def _check_modifier(name: str, modifier: str, value: str, parameter: Parameter) -> None:
    if parameter.kind == "reference":
        fits = modifier in {"missing", "identifier"} or modifier in parameter.targets
    else:
        fits = modifier in _MODIFIERS.get(parameter.kind, frozenset())
    if not fits:
        raise UnknownParameter(name, f"no such modifier for a {parameter.kind}", detail_zh="不支持该修饰符。")
    if modifier == "missing" and value not in ("true", "false"):
        raise BadParameter(name, "true or false")


def split_values(value: str) -> list[str]:
    r"""The alternatives of a value: split at commas, `\,` `\|` `\$` `\\` undone."""
    if "\\" not in value:
        return value.split(",")
    parts, current, escaped = [], "", False
    for character in value:
        if escaped:
            current += character if character in ",|$\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _includes(name: str, value: str, type_: str, lookup: Lookup) -> list[Include]:
    bare, _, modifier = name.partition(":")
    if modifier:
        raise UnknownParameter(name, "without :iterate, please", detail_zh="不支持 :iterate。")
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    reverse = bare == "_revinclude"
    if (not reverse and source != type_) or not code:
        raise BadParameter(name, f"{type_}:parameter[:Type]" if not reverse else "Type:parameter[:Type]")
    references = {key: one for key, one in lookup(source).items() if one.kind == "reference"}
    if code == "*":
        return [Include(source, key, target, reverse) for key, one in references.items() if _fits(one, type_, reverse)]
    if code not in references:
        raise BadParameter(
            name,
            f"{source} has no reference parameter {code[:40]!r}",
            detail_zh=f"{source} 没有引用类参数 {code[:40]}。",
        )
    return [Include(source, code, target, reverse)]


def _fits(parameter: Parameter, type_: str, reverse: bool) -> bool:
    return not reverse or not parameter.targets or type_ in parameter.targets


def _sort(value: str, known: Mapping[str, Parameter]) -> tuple[tuple[str, bool], ...]:
    keys = []
    for part in value.split(","):
        code = part.strip().lstrip("-")
        if code not in known:
            raise UnknownParameter(f"_sort={code[:40]}", _nearest_text(code, known), detail_zh=_nearest_zh(code, known))
        if known[code].kind in ("composite", "special"):
            raise BadParameter(f"_sort={code}", "this kind has no order")
        keys.append((code, part.strip().startswith("-")))
    return tuple(keys)


# ---- unknown ones (D16) -----------------------------------------------------------------------
def _unknown(draft: _Draft, name: str, known: frozenset[str], rules: Rules) -> None:
    bare = _bare(name)
    if rules.lenient or bare in rules.client_controls:
        draft.ignored.append(_ignored(name))
        return
    near = nearest(bare, known)
    if bare.startswith("_") and (near is None or near[1] > 2):
        draft.ignored.append(_ignored(name))
        return
    raise UnknownParameter(name[:64], _nearest_text(bare, known), detail_zh=_nearest_zh(bare, known))


def _ignored(name: str) -> Finding:
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
