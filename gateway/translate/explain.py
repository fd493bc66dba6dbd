"""Where one element of one resource came from: the pure mapping run again on the kept bytes (D26)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..model.directory import Source
from ..model.ids import Ids
from ..model.message import RawMessage
from ..model.resource import dumps, loads
from .codes import key_of, valid_from
from .engine import Mappings
from .mapping import Library
from .run import Read, Trace
from .strict_yaml import MARKERS, Yaml, nested, read_utf8

_INDEX = re.compile(r"\[(\d+)\]$")
_PARTS = re.compile(r"[\^&~]")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a code table that made a value: `file:line` and the cells."""

    place: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """One element of one resource. `value` is JSON; `reads` what was looked at; `line` the rule's own line."""

    element: str
    value: str
    rule: str
    line: str
    reads: tuple[Read, ...]
    rows: tuple[TableRow, ...]


def origins(
    mappings: Mappings, raw: RawMessage, source: Source, ids: Ids, now: datetime, reference: str, path: str
) -> list[Origin]:
    """Every way this message made the element `path` (`valueQuantity.value`, `code.coding[0].code`) of a resource.

    reference: `Observation/abc`; any `Patient/…` means each source record of the message. [] when the message made
    no such element. Raises a TranslateError when the message cannot be translated.
    """
    _, traces = mappings.trace(raw, source, ids, now)
    rules = {one.name: one for one in mappings.serving(raw, source).rules}
    day = mappings.day(raw, source)
    head, *tail = path.split(".")
    out, kept = [], dict[str, tuple[Read, ...]]()
    for trace in traces:
        if not trace.resource:
            kept[trace.element] = trace.reads
        if not _is_of(trace, reference) or not _is_element(trace, head):
            continue
        node = _below(nested(rules[trace.rule].node.fields()["set"]).get(trace.element), tail)
        reads = _within(trace.reads, node)
        reads += tuple(one for name in _kept_in(reads) for one in kept.get(name, ()))
        value = _deep(trace, head, tail)
        if value is None:
            continue
        text = dumps(value).decode()
        made = (tuple(_rows(mappings.library, source.member, reads, one, day)) for one in (text, trace.value))
        line = node.place if node else trace.line
        out.append(Origin(path, text, trace.rule, line, reads, next(filter(None, made), ())))
    return out


def _kept_in(reads: tuple[Read, ...]) -> dict[str, None]:
    """The kept values among what was read, as `$name`."""
    return {place: None for one in reads for _, place, raw in one.inputs if raw and place.startswith("$")}


def written_at(mappings: Mappings, raw: RawMessage, source: Source, place: str) -> list[str]:
    """Where rules write an element a check found wrong: `report  hospital/labs.yaml:19  ← 报告名称`.

    place: `DiagnosticReport.code`, `Observation.component[0].code`. Raises a TranslateError.
    """
    type_, _, path = place.partition(".")
    name = _INDEX.sub("", path.partition(".")[0])
    out = []
    for rule in mappings.serving(raw, source).rules:
        set_ = rule.node.get("set") if rule.to == type_ else None
        for element, node in nested(set_).fields().items() if set_ else ():
            if element == name or (element.endswith("[x]") and name.startswith(element[:-3])):
                reads = dict.fromkeys(one.word("from") for one in node.walk() if one.get("from"))
                out.append(f"{rule.name}  {node.place}" + (f"  ← {'、'.join(reads)}" if reads else ""))
    return out


def elements(mappings: Mappings, raw: RawMessage, source: Source, ids: Ids, now: datetime, reference: str) -> list[str]:
    """The elements this message gave a resource, as `origins` takes them."""
    _, traces = mappings.trace(raw, source, ids, now)
    mine = [one for one in traces if _is_of(one, reference) and one.value]
    return sorted(
        {name for one in mine for name in (loads(one.value) if one.element.endswith("[x]") else [one.element])}
    )


def _is_of(trace: Trace, reference: str) -> bool:
    if reference.startswith("Patient/"):
        return trace.resource.startswith("Patient/@")
    return trace.resource == reference


def _is_element(trace: Trace, head: str) -> bool:
    name = _INDEX.sub("", head)
    if not trace.element.endswith("[x]"):
        return name == trace.element
    return name in (trace.element, trace.element[:-3]) or name in loads(trace.value)


def _below(node: Yaml | None, tail: list[str]) -> Yaml | None:
    """The deepest node of a rule that stands for a path; it stops where a function makes the rest."""
    for step in tail:
        while node is not None and isinstance(node.value, list) and len(node.value) == 1:
            node = node.value[0]
        if node is None or not isinstance(node.value, dict) or MARKERS & node.value.keys():
            return node
        node = nested(node).get(_INDEX.sub("", step)) or node
    return node


def _within(reads: tuple[Read, ...], node: Yaml | None) -> tuple[Read, ...]:
    """The reads of the expressions below a node; of fallbacks, those that found nothing are left out."""
    if node is None:
        return reads
    inside = {(one.place, one.word("from")) for one in node.walk() if isinstance(one.value, dict) and one.get("from")}
    return tuple(one for one in reads if (one.line, one.path) in inside and any(raw for _, _, raw in one.inputs))


def _deep(trace: Trace, head: str, tail: list[str]) -> Any:
    """The value at the path inside the element; None when there is none."""
    value: Any = loads(trace.value)
    if trace.element.endswith("[x]"):
        name = _INDEX.sub("", head)
        value = value.get(name) if name in value else next(iter(value.values()), None)
    for step in [head, *tail] if _INDEX.search(head) else tail:
        name, index = _INDEX.sub("", step), _INDEX.search(step)
        if step is not head:
            while isinstance(value, list) and value:
                value = value[0]
            value = value.get(name) if isinstance(value, dict) else None
        if index and isinstance(value, list):
            value = value[int(index[1])] if int(index[1]) < len(value) else None
    return value


def _rows(library: Library, member: str, reads: tuple[Read, ...], value: str, day: str) -> Iterator[TableRow]:
    """Rows that know a text that was read and whose target stands in the value; the first file that has any."""
    for read in reads:
        keys = {key_of(part) for _, _, raw in read.inputs for part in (raw, *_PARTS.split(raw)) if part.strip()}
        for name in read.tables:
            for shown, path in library.table_files(member, name):
                found = _matching(read_utf8(path, shown), shown, keys, value, day)
                yield from found
                if found:
                    break


def _matching(text: str, shown: str, keys: set[str], value: str, day: str) -> list[TableRow]:
    """Of rows that say the same from different days on, the one in force; without any, those that say there is none."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found: dict[tuple[str, str], tuple[str, TableRow]] = {}
    for row in reader:
        target, place = row.get("code") or row.get("to") or "", f"{shown}:{reader.line_num}"
        since, about = valid_from(row, place), (row.get("system", ""), target)
        said = not target or f'"{target}"' in value
        hit = said and keys & {key_of(part) for part in row["from"].split("|")}
        if hit and since <= day and since >= found.get(about, ("",))[0]:
            found[about] = since, TableRow(place, tuple((key, text) for key, text in row.items() if text))
    coded = [row for (_, target), (_, row) in found.items() if target]
    return coded or [row for _, row in found.values()]
