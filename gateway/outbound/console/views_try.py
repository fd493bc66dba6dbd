"""What a try shows: original, trace and FHIR side by side, each pointing to the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from ...model.outcome import Unused
from ...model.resource import Json, dumps, loads
from ...translate.run import Trace
from . import original
from .original import Original
from .trying import Tried
from .words import FORMATS, Remark, remark, size_text

MAX_RESOURCES = 60
MAX_ROWS = 600
_OPEN = 4
_LONG = 160
_CODECS = {"utf-8": "UTF-8", "gb18030": "GB18030", "latin-1": "Latin-1", "big5": "Big5", "utf-16": "UTF-16"}


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One element: where it came from, what it became, by which rule."""

    id: str
    place: str
    raw: str
    element: str
    value: str
    rule: str


@dataclass(frozen=True, slots=True)
class TraceGroup:
    """The elements of one resource; `own`: those the gateway fills itself (references, constants)."""

    title: str
    rows: tuple[TraceRow, ...]
    own: str


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a resource as JSON text; href "" when no trace row made it; a long one is linked by its name."""

    name: str
    text: str
    href: str
    last: bool
    long: bool


@dataclass(frozen=True, slots=True)
class Made:
    """One resource."""

    title: str
    members: tuple[Member, ...]
    open: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """Fields left out for one reason."""

    because: str
    places: str
    count: int


@dataclass(frozen=True, slots=True)
class TryView:
    """Everything the page shows about one try."""

    ok: bool
    result: str
    form: str
    charset: str
    declared: str
    size: str
    ack: str
    ack_code: str
    mapping: str
    made: str
    original: Original
    groups: tuple[TraceGroup, ...]
    resources: tuple[Made, ...]
    more: int
    findings: tuple[Remark, ...]
    lost: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    others: int


def try_view(tried: Tried) -> TryView:
    """The view of a try."""
    draft = tried.draft
    unused = draft.unused if draft else ()
    traces = tuple(one for one in tried.traces if one.resource)  # not what was only kept for other rules
    groups, rows = _groups(traces[:MAX_ROWS])
    lost = tuple(one.place for one in unused if one.lost)
    facts = draft.facts if draft else {}
    noted = [one.place for one in draft.findings] if draft else []
    shown = original.read(
        tried.raw,
        tried.source.charset,
        original.marks_of(unused, tried.faults, noted),
        _links(traces, rows),
        masked=False,
    )
    kinds = _counted(draft.records, [one.type for one in draft.resources]) if draft else "无"
    return TryView(
        ok=draft is not None and not tried.faults,
        result="未通过" if tried.faults else f"通过 · {len(lost)} 丢失",
        form=_form(tried),
        charset=_CODECS.get(shown.charset, shown.charset.upper()),
        declared=facts.get("declared", "") or (tried.peek.declared if tried.peek else ""),
        size=size_text(len(tried.raw.body)),
        ack=tried.ack.strip("\r").replace("\r", "\n"),
        ack_code=tried.ack_code,
        mapping=draft.mapping if draft else "",
        made=kinds,
        original=shown,
        groups=groups,
        resources=_resources(tried, rows),
        more=max(0, len(draft.resources) - MAX_RESOURCES) if draft else 0,
        findings=tuple(remark(one) for one in tried.findings),
        lost=lost,
        ignored=ignored_of(unused),
        others=tried.others,
    )


def _form(tried: Tried) -> str:
    name = FORMATS.get(tried.raw.format, tried.raw.format)
    version = tried.peek.version.removeprefix("2") if tried.peek and tried.peek.kind else ""
    kind = tried.draft.kind if tried.draft else (tried.peek.kind if tried.peek else "")
    return f"{name}{version}" + (f" · {kind}" if kind else "")


def _counted(records: tuple[Any, ...], types: list[str]) -> str:
    counts = Counter(types)
    made = [f"{counts[name]} {name}" for name in sorted(counts, key=lambda name: (-counts[name], name))]
    return " · ".join(([f"{len(records)} Patient"] if records else []) + made) or "无"


def ignored_of(unused: tuple[Unused, ...]) -> tuple[Ignored, ...]:
    """Fields left out on purpose, by reason, the most first."""
    by: dict[str, list[str]] = {}
    for one in unused:
        if not one.lost:
            by.setdefault(one.because, []).append(one.place)
    found = [Ignored(because, "、".join(places[:12]) + (" …" if len(places) > 12 else ""), len(places))
             for because, places in by.items()]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.count, one.because)))


# ---- trace --------------------------------------------------------------------------------------
Rows = dict[tuple[str, str], str]  # (resource, element) → row id


def _groups(traces: tuple[Trace, ...]) -> tuple[tuple[TraceGroup, ...], Rows]:
    by: dict[str, list[Trace]] = {}
    for one in traces:
        by.setdefault(one.resource, []).append(one)
    rows: Rows = {}
    groups = []
    for resource, found in by.items():
        shown = []
        for one in found:
            if one.place:
                id_ = f"t{len(rows) + 1}"
                rows[resource, _element(one)] = id_
                shown.append(TraceRow(id_, one.place, _cut(one.raw), _element(one), said(one.value), one.line))
        own = "、".join(_element(one) for one in found if not one.place)
        groups.append(TraceGroup(short(resource), tuple(shown), own))
    return tuple(groups), rows


def _element(trace: Trace) -> str:
    """`valueQuantity` for `value[x]`."""
    if not trace.element.endswith("[x]"):
        return trace.element
    return next(iter(loads(trace.value)), trace.element)


def _links(traces: tuple[Trace, ...], rows: Rows) -> dict[str, str]:
    """Spot of the original → the first row it made."""
    out: dict[str, str] = {}
    for one in traces:
        where, row = original.spot(one.place), rows.get((one.resource, _element(one)))
        if where and row:
            out.setdefault(where, f"#{row}")
    return out


def short(reference: str) -> str:
    """`Observation/22ac9f5a`: enough to tell two apart."""
    type_, _, id_ = reference.partition("/")
    return f"{type_}/{id_[:8]}"


def said(value: str) -> str:
    """An element in a line: codes and quantities in short, other JSON cut."""
    try:
        found: Any = loads(value)
    except msgspec.DecodeError:
        return _cut(value)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("valueQuantity", found.get("valueCodeableConcept", found))
        return _cut(_coded(found) or _quantity(found) or _plain(found) or dumps(found).decode())
    return _cut(found if isinstance(found, str) else dumps(found).decode())


def _coded(found: Json) -> str:
    codings = found.get("coding")
    if not codings:
        return ""
    codes = [
        f"{str(one.get('system', '')).rpartition(':')[2].removeprefix('//')} {one.get('code', '')}" for one in codings
    ]
    return " + ".join(codes) + (f"「{found['text']}」" if found.get("text") else "")


def _quantity(found: Json) -> str:
    return f"{found['value']} {found.get('unit', '')}".strip() if "value" in found and "unit" in found else ""


def _plain(found: Json) -> str:
    """The one member people read: the text of a range, the value of an identifier."""
    return next((found[name] for name in ("text", "value", "reference") if isinstance(found.get(name), str)), "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else text[:_LONG] + "…"


# ---- FHIR ---------------------------------------------------------------------------------------
def _resources(tried: Tried, rows: Rows) -> tuple[Made, ...]:
    if tried.draft is None:
        return ()
    people = [Made("Patient", _members(one.resource, f"Patient/@{number}", rows), False)
              for number, one in enumerate(tried.draft.records)]  # fmt: skip
    bodies = [one.json for one in tried.draft.resources[:MAX_RESOURCES]]
    made: list[Made] = []
    for body in bodies:
        reference = f"{body['resourceType']}/{body['id']}"
        first = sum(one.open for one in made) < _OPEN and body["resourceType"] == "Observation"
        made.append(Made(short(reference), _members(body, reference, rows), first))
    return (*people, *made)


def _members(body: Json, reference: str, rows: Rows) -> tuple[Member, ...]:
    names = list(body)
    out = []
    for name in names:
        text = msgspec.json.format(dumps(body[name]), indent=2).decode().replace("\n", "\n  ")
        row = rows.get((reference, name), "")
        out.append(Member(name, text, f"#{row}" if row else "", name == names[-1], "\n" in text))
    return tuple(out)
