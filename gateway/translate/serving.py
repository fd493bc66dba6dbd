"""Which map serves a message: that of its event, else of its structure, else the one of its segments.

Hospitals send events nobody wrote a map for, and messages without a trigger. What they hold is known all the
same: events of one structure have the same segments (HL7 v2.5.1 §2.14.9.3; table 0354, `codes/v2_0354.csv`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Container
from dataclasses import dataclass

from ..errors import MappingError
from ..model.directory import Source
from ..model.outcome import Finding
from .codes import Table
from .mapping import Library, Map
from .read_csv import csv_kinds
from .sources import FORMATS
from .strict_yaml import Yaml, near_to, read_utf8

_KIND = re.compile(r"[A-Z]{3}\^[A-Z0-9]{3}")
SEGMENTS = "segments"  # what the map of single segments serves


@dataclass(frozen=True, slots=True)
class Served:
    """The kind whose map serves a message, and the finding that says so when it is not the message's own."""

    kind: str
    findings: tuple[Finding, ...] = ()


def served(kind: str, structure: str, kinds: Container[str], events: Table) -> Served | None:
    """None when nothing does: a message type that is no HL7 type at all, or without any map.

    kind: MSH-9 as `ADT^A05`, or `ADT` without trigger. structure: MSH-9.3, "" when not sent.
    events: event → structure; a type alone stands for a type with one structure, or with "" for one of many.
    """
    if kind in kinds:
        return Served(kind)
    code = kind.partition("^")[0]
    known = events.value(kind)
    named = structure if structure.startswith(f"{code}_") else known or events.value(code) or ""
    for other in _events_of(named, events) if named else ():
        if other in kinds:
            return Served(other, (_by_structure(kind, named, other),))
    if SEGMENTS in kinds and events.value(code) is not None:
        return Served(SEGMENTS, (_by_segments(kind),))
    return None


def _events_of(structure: str, events: Table) -> list[str]:
    """Events of a structure; first the one it is named after."""
    return [structure.replace("_", "^"), *(key.upper() for key, to in events.values.items() if to == structure)]


def _by_structure(kind: str, structure: str, other: str) -> Finding:
    zh = f"{kind} 没有自己的映射，按消息结构 {structure} 用 {other} 的映射处理。"
    en = f"{kind} has no map of its own; its structure {structure} is served by the map of {other}."
    return Finding("GW-MAP-008", "information", "MSH-9", zh, en)


def _by_segments(kind: str) -> Finding:
    zh = f"{kind} 没有自己的映射，只按各段取出患者、就诊、诊断、过敏与结果，事件本身的含义未处理。"
    en = f"{kind} has no map of its own; its segments were read one by one, what the event means was not."
    return Finding("GW-MAP-009", "warning", "MSH-9", zh, en)


def check_served(library: Library, found: Map, sources: Collection[str], own: Collection[Source]) -> None:
    """Refuse what would never serve, and in silence: a format its sources do not send, a kind no message has, a source
    nobody is, no kind at all. sources: names of all there are; own: those of the member."""
    node, known = library.yaml(f"{found.name}.yaml"), csv_kinds(own)
    if found.serves:
        _check_format(node, found, {one.format for one in own if one.name in (found.sources or sources)})
    for one in _listed(node, "serves"):
        if found.format == "v2" and one.text() != SEGMENTS and not _KIND.fullmatch(one.text()):
            kind = one.text()
            text = f"{kind!r} is no message kind; write MSH-9.1^MSH-9.2, like ORU^R01"
            raise one.error(text, f"{kind!r} 不是消息类型；按 MSH-9 的前两个成分写，如 ORU^R01。")
        if found.format == "csv" and one.text() not in known:
            text = f"no source names the kind {one.text()!r}; write kind.{one.text()} in its settings"
            zh = f"没有来源写明种类 {one.text()!r}：请在 source.yaml 写 settings: {{kind.{one.text()}: 列名}}"
            raise one.unknown(one.text(), known, text, zh)
    for one in _listed(node, "for"):
        if one.text() not in sources:
            raise one.unknown(one.text(), sources, f"there is no source {one.text()!r}", f"没有来源 {one.text()!r}")
    beside = (library.yaml(f"{other}.yaml").words("extends") for other in library.names(found.name.partition("/")[0]))
    if not found.serves and found.name not in {parent for parents in beside for parent in parents}:
        text = "the map serves nothing: write serves, like [ORU^R01]"
        raise node.error(text, "这个映射不处理任何消息：请写 serves，如 [ORU^R01]。")


def check_kinds(library: Library, source: Source, served: Container[str]) -> None:
    """Refuse a kind of CSV no map serves, and one whose files would always be taken for an earlier kind of the source.

    served: kinds the source has a map for.
    """
    written = library.yaml(f"{source.member}/source.yaml").fields()["sources"].fields()[source.name].get("settings")
    own = {key: node for key, node in (written.fields() if written else {}).items() if key.startswith("kind.")}
    earlier: list[tuple[str, set[str]]] = []
    for key, node in own.items():
        kind, columns = key.removeprefix("kind."), set(node.text().split())
        if kind not in served:
            text = f"no map serves the kind {kind!r}: write one with serves: {kind}"
            raise node.error(text, f"没有映射处理种类 {kind!r}：请写一个 serves: {kind} 的映射，或删去这个种类。")
        if wider := next((other for other, some in earlier if some <= columns), ""):
            text = f"a file of {kind!r} has all columns of {wider!r}, which stands before it: put {kind!r} first"
            zh = f"{kind!r} 的文件也有 {wider!r} 的全部列，会被当成前者：请把 {kind!r} 写在前面，或写能区分的列名。"
            raise node.error(text, zh)
        earlier.append((kind, columns))


def _check_format(node: Yaml, found: Map, sent: Collection[str]) -> None:
    """sent: formats of the sources the map is for; empty when `for` names nobody, which is told by itself."""
    at, form = node.get("format") or node, found.format
    if not form:
        zh = "缺 format：请用 extends 继承一个映射，或写 format，如 format: csv。"
        raise at.error("no format: extend a map, or write one, like format: csv", zh)
    if form not in FORMATS:
        text, zh = f"format is {form!r}; it must be one of {', '.join(FORMATS)}", f"format 写的是 {form!r}；只能是 "
        raise at.unknown(form, FORMATS, text, f"{zh}{'、'.join(FORMATS)}")
    if sent and form not in sent:
        text = f"the map is for {form}, its sources send {', '.join(sorted(sent))}: it would serve nobody"
        raise at.error(text, f"这是 {form} 的映射，而它的来源是 {'、'.join(sorted(sent))}：不会用到它。")


def check_tables(library: Library, member: str) -> None:
    """Refuse a table no map names, and a unit as it is printed where rows have UCUM: neither would ever be found."""
    nodes = (node for name in library.names(member) for node in library.yaml(f"{name}.yaml").walk())
    named = {table.text() for node in nodes if (table := node.get("table")) is not None}
    known = {*named, *library.table_names("")}
    units = library.table(member, "units") or Table("units")
    for name in library.table_names(member):
        shown, path = library.table_files(member, name)[0]
        if name not in known:
            near, near_zh = near_to(name, known)
            text = f"no map uses a table {name!r}{near}"
            raise MappingError(shown, text, detail_zh=f"没有映射用到码表 {name!r}{near_zh or '，请改名或删去。'}")
        if shown.startswith(f"{member}/"):
            _check_units(read_utf8(path, shown), shown, units)


def _check_units(text: str, shown: str, units: Table) -> None:
    codes = {*units.values.values(), *units.counted.values()}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        for unit in (row.get("unit") or "").strip().split("|"):
            meant = units.value(unit)
            if meant and unit not in codes:
                en = f"unit {unit!r} is how it is printed; write its UCUM code {meant!r}"
                zh = f"unit 列的 {unit!r} 是打印写法，请写 UCUM 代码 {meant!r}。"
                raise MappingError(f"{shown}:{reader.line_num}", en, detail_zh=zh)


def _listed(node: Yaml, key: str) -> list[Yaml]:
    found = node.get(key)
    return found.items() if found else []
