"""Kept bytes to drafts: which map serves a message, run it, account for what it did not use.

`Mappings` is everything loaded from `mappings/`. It is made once; `translate` is pure and may be called from
any thread: all that lasts from call to call is remembered results of pure functions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..errors import BadValue, TranslateError, UnknownTrigger
from ..model import systems
from ..model.directory import Directory, Source
from ..model.ids import Ids
from ..model.message import Draft, DraftResource, RawMessage
from ..model.outcome import Finding
from ..model.ranges import DeclaredRanges
from ..model.resource import dumps
from ..model.times import instant_text
from . import read_cda, read_csv, read_dicom, read_json, read_v2
from .codes import Table
from .compile import Compiled, compile_map
from .declared import declared_ranges
from .formats import Document, Elements, Format
from .functions import Setting
from .mapping import Library, Map
from .periods import day_of
from .rows import RowFormat
from .run import Run, Trace
from .serving import Served, check_kinds, check_served, check_tables, served
from .sniff import document_id, sniff
from .sources import SANDBOX, directory

_REASONS = {
    "month must be": "月份应为 1–12。",
    "day is out of range": "这个月没有这一天。",
    "day must be": "这个月没有这一天。",
    "hour must be": "小时应为 0–23。",
    "minute must be": "分钟应为 0–59。",
    "second must be": "秒应为 0–59。",
    "not a timestamp": "不是日期时间，应如 20260309 或 2026-03-09 08:05。",
    "not a UTC offset": "时区应如 +0800。",
    "Invalid isoformat": "不是日期时间。",
    "not a number of days": "天数应是数字。",
    "not a number": "不是数字。",
    "no number of this world": "数字过大或过小。",
    "neither yes nor no": "应是“是”或“否”（Y、N、1、0）。",
    "no time of day": "不是钟点，应如 0805。",
    "the data is not in the encoding": "附件内容与声明的编码（OBX-5.4）不符。",
    "no time is so far ahead": "时长过大。",
    "no duration of an appointment": "不能作为预约的时长。",
}
"""What Python and the readers say of a value, by its beginning."""
_ID = itemgetter(1)  # of a DraftResource
_KINDS = 1_000  # kinds remembered: senders can name any number of them
Maps = dict[str, Map]  # message kind → map
_KIND_FROM = {  # where a format says its kind, and what to do when it says none (English, Chinese)
    "v2": ("MSH-9", "the field is empty", "字段为空。"),
    "cda": (
        "code",
        "neither code, title nor templateId names one of the 53 documents of WS/T 500",
        "文档代码（C0001–C0053）、标题和 templateId 都不是 WS/T 500 的文档。",
    ),
    "csv": (
        "row 1",
        "the header has the columns of no known file; name yours as settings: kind.<name> in source.yaml",
        "表头不含任何已知文件的列；自己的列名写在 source.yaml 的 settings: kind.<名称>。",
    ),
    "json": (
        "type",
        "the body names no kind; name its key as settings: kind in source.yaml",
        "内容没有写明类型；类型所在的键写在 source.yaml 的 settings: kind。",
    ),
}

# What messages say again with every visit; of these the last row may well differ.
_STANDING = frozenset(
    {"AllergyIntolerance", "RelatedPerson", "Coverage", "Account", "Practitioner", "PractitionerRole", "Location"}
)


class Mappings:
    """Maps, tables and the directory of a set of folders."""

    def __init__(self, library: Library, known: Directory, elements: Elements | None = None) -> None:
        self.directory = known
        self.library = library
        self._elements = elements
        self._formats: dict[str, Format] = {form.name: form for form in _formats()}
        self._maps: dict[str, Maps] = {}
        self._read: dict[str, list[Map]] = {}
        self._compiled: dict[tuple[str, str, str, str], Compiled] = {}
        self._organizations: dict[tuple[int, str], bytes] = {}
        self._served: dict[tuple[str, str, str], Served | None] = {}
        self._known: dict[tuple[str, str, str, str, str, str], tuple[Compiled, Served]] = {}

    @classmethod
    def load(cls, folders: list[Path], *, elements: Elements | None = None, check: bool = True) -> Mappings:
        """All maps of the folders (an earlier folder wins), compiled. Raises MappingError with file and line.

        check=False compiles a map when its first message comes (tools that need one map only).
        """
        library = Library(folders)
        loaded = cls(library, directory(library), elements)
        if check:
            loaded.check()
        return loaded

    def with_directory(self, known: Directory) -> Mappings:
        """The same maps under another directory (settings laid over sources)."""
        made = Mappings(self.library, known, self._elements)
        made._compiled = self._compiled
        return made

    def become(self, other: Mappings) -> None:
        """Everything of `other`, in one step: whoever holds this object or its directory works with it from now on."""
        known = self.directory
        known.become(other.directory)
        other.directory = known
        self.__dict__ = other.__dict__

    def check(self) -> None:
        """Compile every map of every source; the first fault is raised."""
        for source in self.directory.sources.values():
            forms = self._formats if source.format == "any" else [source.format]
            if source.format == "csv":
                check_kinds(self.library, source, self._maps_of(source, "csv"))
            for form in forms:
                for found in self._maps_of(source, form).values():
                    self._compile(source, form, found)

    # ---- which map ------------------------------------------------------------------------------
    def serves(self, source: Source, kind: str, structure: str = "") -> bool:
        """True when a map serves this message kind (`ORU^R01`) of an HL7 v2 or other source."""
        forms = self._formats if source.format == "any" else [source.format]
        return any(self._served_by(source, form, kind, structure) for form in forms)

    def _served_by(self, source: Source, form: str, kind: str, structure: str) -> Served | None:
        """The kind whose map serves a message."""
        kinds = self._maps_of(source, form)
        if form != "v2" or kind in kinds:
            return Served(kind) if kind in kinds else None
        key = (source.name, kind, structure)
        if key not in self._served:
            events = self.library.table(source.member, "v2_0354") or Table("v2_0354")
            if len(self._served) > _KINDS:
                self._served.clear()
            self._served[key] = served(kind, structure, kinds, events)
        return self._served[key]

    def kinds(self, source: Source, form: str) -> list[str]:
        """Message kinds a source may send in a format."""
        return sorted(self._maps_of(source, form))

    def own_kinds(self, source: Source, form: str) -> list[str]:
        """Those of them the member has a map of its own for."""
        return sorted(
            k for k, found in self._maps_of(source, form).items() if found.name.startswith(f"{source.member}/")
        )

    def _maps_of(self, source: Source, form: str) -> Maps:
        key = f"{source.name}\0{source.member}\0{form}"
        if key not in self._maps:
            self._maps[key] = self._collect(source, form)
        return self._maps[key]

    def _collect(self, source: Source, form: str) -> Maps:
        """The base maps of a format, then the member's own over them."""
        out: Maps = {}
        folders = [f"_base/{form}"] + ([source.member] if source.member != SANDBOX else [])
        for folder in folders:
            own: dict[str, str] = {}
            for found in self._written(folder):
                if found.format != form or (found.sources and source.name not in found.sources):
                    continue
                for kind in found.serves:
                    if kind in own:
                        text, zh = (
                            f"{kind} is served by {own[kind]} already",
                            f"{kind} 已由 {own[kind]} 处理。",
                        )
                        raise self.library.yaml(f"{found.name}.yaml").error(text, zh)
                    own[kind], out[kind] = found.name, found
        return out

    def _written(self, folder: str) -> list[Map]:
        """The maps of a folder; what of a member's would never serve is refused, once for all its sources."""
        if folder not in self._read:
            self._read[folder] = [self.library.map(name) for name in self.library.names(folder)]
            if folder in self.directory.members:
                check_tables(self.library, folder)
                for found in self._read[folder]:
                    check_served(self.library, found, self.directory.sources, self._sources_of(folder))
        return self._read[folder]

    def _sources_of(self, member: str) -> list[Source]:
        return [one for one in self.directory.sources.values() if one.member == member]

    def _compile(self, source: Source, form: str, found: Map, day: str = "") -> Compiled:
        """A map with its code tables as they are from a day on; "": the rows that are valid since ever."""
        key = (source.member, source.timezone, found.name, day)
        if key not in self._compiled:
            setting = self._setting(source, day)
            self._compiled[key] = compile_map(found, self._formats[form], setting, self._elements)
        return self._compiled[key]

    def _setting(self, source: Source, day: str = "") -> Setting:
        member = self.directory.members.get(source.member)
        names = self.library.table_names(source.member)
        known = ((name, self.library.table(source.member, name)) for name in names)
        tables = {name: table.at(day) if day else table for name, table in known if table is not None}
        return Setting(source.member, member.name if member else "", source.timezone, tables)

    def compiled(self, source: Source, form: str, kind: str, structure: str = "") -> Compiled:
        """The map that serves a kind. Raises UnknownTrigger."""
        return self._serving(source, form, kind, structure)[0]

    def _serving(self, source: Source, form: str, kind: str, structure: str) -> tuple[Compiled, Served]:
        key = (source.name, source.member, source.timezone, form, kind, structure)
        found = self._known.get(key)
        if found is None:
            by = self._served_by(source, form, kind, structure)
            if by is None:
                place, en, zh = _KIND_FROM.get(form, ("", "", ""))
                place = source.settings.get("kind", place) if form == "json" else place
                raise UnknownTrigger(place, kind or en, detail_zh=kind or zh).about(kind, "")
            if len(self._known) > _KINDS:
                self._known.clear()
            compiled = self._compile(source, form, self._maps_of(source, form)[by.kind])
            found = self._known[key] = (compiled, by)
        return found

    def _opened(self, raw: RawMessage, source: Source) -> tuple[Format, Document, Compiled]:
        """The message as read and the map that serves it; a map that is not its own is a finding."""
        form = self._formats[raw.format]
        document = form.read(raw, source)
        compiled, by = self._serving(source, raw.format, document.kind, document.facts.get("structure", ""))
        document.findings += by.findings
        return form, document, self._in_force(compiled, raw, source, document.root) if compiled.days else compiled

    def _in_force(self, compiled: Compiled, raw: RawMessage, source: Source, root: Any) -> Compiled:
        """The map with the table rows in force on the day a message, or a row of a file, tells of."""
        if not compiled.days:
            return compiled
        day = day_of(root, compiled.where, source.timezone, raw.received_at)
        since = max((one for one in compiled.days if one <= day), default="")
        return self._compile(source, raw.format, compiled.map, since)

    def _portions(
        self, raw: RawMessage, source: Source, form: Format, document: Document, compiled: Compiled
    ) -> list[tuple[Compiled, Any]]:
        """What runs on what: the whole message; of a file whose rows may be of different days, row by row."""
        parts = form.parts(document) if compiled.days and isinstance(form, RowFormat) else []
        chosen = [(self._in_force(compiled, raw, source, part.root), part.root) for part in parts]
        return chosen or [(compiled, document.root)]

    def serving(self, raw: RawMessage, source: Source) -> Map:
        """The map that serves a message, as rules. Raises a TranslateError."""
        *_, compiled = self._opened(raw, source)
        return compiled.map

    def day(self, raw: RawMessage, source: Source) -> str:
        """The day whose rows of dated code tables count for a message. Raises a TranslateError."""
        _, document, compiled = self._opened(raw, source)
        return day_of(document.root, compiled.where, source.timezone, raw.received_at)

    # ---- translating ----------------------------------------------------------------------------
    def translate(self, raw: RawMessage, source: Source, ids: Ids, now: datetime) -> Draft:
        """Everything one message says. Raises a TranslateError with the place of the fault.

        now: the time of arrival; it stands for the message's own time when the message has none, and
        clinical times more than a day after it are refused.
        """
        opened = form, document, compiled = self._opened(raw, source)
        run = self._run(raw, source, ids, now)
        try:
            for one, root in self._portions(raw, source, *opened):
                one.run(root, run)
        except (ValueError, TranslateError) as error:
            run = self._run(raw, source, ids, now)
            if not _in_parts(form, document, partial(self._in_force, compiled, raw, source), run):
                if not isinstance(error, TranslateError):
                    error = self._explained(raw, source, compiled, ids, now)
                raise error.about(document.kind, compiled.version) from None
        return self._draft(raw, source, document, form, compiled, run)

    def trace(self, raw: RawMessage, source: Source, ids: Ids, now: datetime) -> tuple[Draft, list[Trace]]:
        """As `translate`, and where every element came from (D26)."""
        opened = form, document, compiled = self._opened(raw, source)
        run = self._run(raw, source, ids, now)
        try:
            for one, root in self._portions(raw, source, *opened):
                one.traced(root, run)
        except (ValueError, TranslateError) as error:
            place, run = run.at[0], self._run(raw, source, ids, now)
            if not _in_parts(form, document, partial(self._in_force, compiled, raw, source), run, traced=True):
                raise (error if isinstance(error, TranslateError) else _bad(place, error)) from None
        return self._draft(raw, source, document, form, compiled, run), run.traces

    def _explained(self, raw: RawMessage, source: Source, compiled: Compiled, ids: Ids, now: datetime) -> BadValue:
        """The error with its place: the traced function knows what it was reading."""
        run = self._run(raw, source, ids, now)
        try:
            compiled.traced(self._formats[raw.format].read(raw, source).root, run)
        except ValueError as error:
            return _bad(run.at[0], error)
        return BadValue("", "")

    def _run(self, raw: RawMessage, source: Source, ids: Ids, now: datetime) -> Run:
        return Run(ids, source.member, self._organization(source, ids), source.timezone, now, len(raw.body))

    def _organization(self, source: Source, ids: Ids) -> bytes:
        key = (id(ids), source.member)
        found = self._organizations.get(key)
        if found is None:
            member = self.directory.members.get(source.member)
            reference = {"reference": f"Organization/{ids.of('Organization', source.member)}"}
            named = reference | ({"display": member.name} if member else {})
            found = self._organizations[key] = dumps(named)
        return found

    def _draft(
        self, raw: RawMessage, source: Source, document: Document, form: Format, compiled: Compiled, run: Run
    ) -> Draft:
        resources = run.resources
        if len(set(map(_ID, resources))) < len(resources):
            resources[:] = dict.fromkeys(resources)  # one specimen above several orders is said once
            run.findings += _hidden(resources)
        if resources:
            resources.append(_provenance(raw, source, compiled.version, run))
        return Draft(
            kind=document.kind,
            mapping=compiled.version,
            records=tuple(run.records),
            resources=tuple(resources),
            merges=tuple(run.merges),
            awaits=tuple(run.awaits),
            carries=tuple(run.carries),
            findings=(*document.findings, *run.findings),
            unused=form.unused(document, compiled.session, compiled.ignore),
            said_at=run.said_at,
            facts=document.facts | ({"document": run.document} if run.document else {}),
        )

    # ---- what doors and pages ask ---------------------------------------------------------------
    @staticmethod
    def sniff(body: bytes) -> str:
        """The format bytes look like: v2, cda, dicom, json or csv."""
        return sniff(body)

    @staticmethod
    def document_id(body: bytes, form: str) -> str:
        """The sender's own id of a document that is not v2 (CDA document id), "" when none."""
        return document_id(body, form)

    @staticmethod
    def kept(body: bytes, form: str) -> bytes:
        """What is kept of a body: all of it, of an image what stands before its pixels."""
        return read_dicom.header_of(body) if form == "dicom" else body

    @staticmethod
    def instance_of(body: bytes) -> tuple[str, str]:
        """(SOP class, SOP instance) an image says it is. Raises BadDicom."""
        return read_dicom.instance_of(body)

    def ranges(self) -> DeclaredRanges:
        """Reference intervals members have published: `<member>/ranges.csv`."""
        return declared_ranges(self.library, self.directory.members)


def _formats() -> tuple[Format, ...]:
    return (
        read_v2.V2Format(),
        read_cda.CdaFormat(),
        read_csv.CsvFormat(),
        read_json.JsonFormat(),
        read_dicom.DicomFormat(),
    )


def _in_parts(
    form: Format, document: Document, serving: Callable[[Any], Compiled], run: Run, *, traced: bool = False
) -> bool:
    """Run each row of a file alone: what one row holds wrong is a finding, and the other rows go on.

    False when the message stands or falls as one, or no part of it is good.
    """
    parts = form.parts(document) if isinstance(form, RowFormat) else []
    good = 0
    for part in parts:
        mark, compiled = run.mark(), serving(part.root)
        try:
            (compiled.traced if traced else compiled.run)(part.root, run)
            good += 1
        except (ValueError, TranslateError) as error:
            run.back_to(mark)
            run.findings.append(_fault(compiled, part.root, run, error).finding())
            part.leave_out()
    return good > 0


def _fault(compiled: Compiled, root: Any, run: Run, error: Exception) -> TranslateError:
    """The error of one part with its place: the traced function knows what it was reading."""
    if isinstance(error, TranslateError):
        return error
    mark = run.mark()
    try:
        compiled.traced(root, run)
    except ValueError as reason:
        return _bad(run.at[0], reason)
    finally:
        run.back_to(mark)
    return BadValue("", "")


def _hidden(resources: list[DraftResource]) -> list[Finding]:
    """A finding for each event that has the id of another of its message and says something else."""
    bodies: dict[str, object] = {}
    out: list[Finding] = []
    for one in resources:
        if one.type not in _STANDING and bodies.setdefault(one.id, _said(one)) != _said(one):
            zh = "同一消息里两行有相同的标识，只有后一行有效；请在映射的 id 里加上能区分的字段。"
            en = "Two nodes of one message have the same id; the last counts. Add a field to the rule's id."
            out.append(Finding("GW-MAP-007", "error", f"{one.type}/{one.id}", zh, en))
    return out


def _said(one: DraftResource) -> object:
    """What it says; a report without its results: rows of one report each name theirs, and it keeps all of them."""
    return one.body if one.type != "DiagnosticReport" else {**one.json, "result": None}


def _bad(place: str, fault: ValueError) -> BadValue:
    """The error with the reason, but without the value it quotes: texts of errors carry nobody's data."""
    text = str(fault)
    reason = text.partition(":")[0] if "'" in text else text
    zh = next((told for begin, told in _REASONS.items() if reason.startswith(begin)), f"写法不对（{reason}）。")
    return BadValue(place, reason, detail_zh=zh)


def _provenance(raw: RawMessage, source: Source, version: str, run: Run) -> DraftResource:
    """Provenance of a message: its targets, the member, the raw key, the mapping that made it."""
    id_ = run.ids.of("Provenance", source.name, raw.key)
    targets = '"},{"reference":"'.join([f"{one[0]}/{one[1]}" for one in run.resources])
    head = (
        f'{{"resourceType":"Provenance","id":"{id_}","target":[{{"reference":"{targets}"}}],'
        f'"recorded":"{instant_text(raw.received_at)}",'
        f'"policy":["urn:alliance-gateway:mapping:{version}"],"agent":[{{"who":'
    )
    tail = (
        f'}}],"entity":[{{"role":"source","what":{{"identifier":{{"system":"{systems.source_uri(source.name)}",'
        f'"value":{dumps(raw.key).decode()}}}}}}}]}}'
    )
    body = head.encode() + run.organization + tail.encode()
    return DraftResource("Provenance", id_, body, 0 if run.records else -1)
