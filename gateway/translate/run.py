"""What one message makes while its mapping runs: records, resources, findings; the compiled code fills it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from ..errors import FutureDate, MissingField, TooLarge
from ..model.ids import Ids
from ..model.message import Awaited, DraftResource, MergeRequest, SourceRecord
from ..model.outcome import Finding
from ..model.resource import dumps, loads
from ..model.times import fhir_from_ts, parse_fhir
from .functions import stamp
from .memo import NotedJson, NotedText

_NEAR = timedelta(hours=16)
_WALKED, _BYTES_OF_ONE = 10_000, 20
"""Entries of long lists in one message, and one more for so many of its bytes: a segment stands in a few lists."""
_AHEAD = timedelta(days=1)  # clocks of analysers differ; a whole day ahead is a wrong date


@dataclass(frozen=True, slots=True)
class Read:
    """One expression that looked at the message: `line` and `path` are where the map says so.

    inputs: (name of the input, place, raw text), `from` first. tables: code tables the function was given.
    """

    line: str
    path: str
    tables: tuple[str, ...]
    inputs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where one element came from. `place` is "" for elements that follow from others (references)."""

    resource: str  # Observation/abc
    element: str
    value: str  # JSON text
    place: str
    raw: str
    rule: str
    line: str  # file:line of the rule
    reads: tuple[Read, ...] = ()  # everything looked at for it, in order


class Run:
    """One message of `size` bytes. Attributes are read by compiled code; `member` and `organization` are constants of
    the source.
    """

    def __init__(self, ids: Ids, member: str, organization: bytes, zone: str, now: datetime, size: int) -> None:
        self.ids = ids
        self.member = member
        self.organization = organization
        # A time of a later day than this is looked at closely; in any zone no earlier one can be too far ahead.
        self.limit = f'"{(now + _NEAR).date().isoformat()}'.encode()
        self.resources: list[DraftResource] = []
        self.records: list[SourceRecord] = []
        self.merges: list[MergeRequest] = []
        self.awaits: list[Awaited] = []
        self.carries: list[str] = []
        self.findings: list[Finding] = []
        self.traces: list[Trace] = []
        self.document = ""
        self.said_at = now
        self.at = ("", "")
        self.reads: list[Read] = []
        self._numbers: dict[str, dict[bytes, int]] = {}  # local number → what was said of it → its place in records
        self._lines: dict[str, set[str]] = {}  # of texts `kept` gave
        self._lost: set[str] = set()  # places told by `lost`
        self._walked, self._most = 0, _WALKED + size // _BYTES_OF_ONE
        self._zone = zone
        self._latest = now + _AHEAD

    def said(self, text: str, place: str) -> None:
        """The message's own time; without one, the time of arrival stays. ValueError for no time at all.

        place: of the first field it may stand in (traced runs only).
        """
        if text.strip():
            self.at = (place, text)
            self.said_at = parse_fhir(fhir_from_ts(stamp(text), self._zone))

    def patient(
        self, local_number: str, body: bytes, gone: tuple[str, ...] = (), place: str = "", in_passing: bool = False
    ) -> int:
        """Number of the source record; a local number of which the same is said twice is one. gone: deleted elements.

        What is said otherwise is a record of its own: identity adds it to the first, or finds that it is somebody else.
        """
        said = self._numbers.setdefault(local_number, {})
        if body not in said:
            said[body] = len(self.records)
            told = loads(body or b"{}") | dict.fromkeys(gone)
            self.records.append(SourceRecord(self.member, local_number, told, self.said_at, place, in_passing))
        return said[body]

    def mark(self) -> tuple[int, int, int, int]:
        """A point `back_to` can return to."""
        return len(self.resources), len(self.records), len(self.findings), len(self.traces)

    def back_to(self, mark: tuple[int, int, int, int]) -> None:
        """Forget everything made since the mark."""
        for record in self.records[mark[1] :]:
            said = self._numbers[record.local_number]
            self._numbers[record.local_number] = {body: at for body, at in said.items() if at < mark[1]}
        self._lost.difference_update(one.place for one in self.findings[mark[2] :])
        del self.resources[mark[0] :], self.records[mark[1] :], self.findings[mark[2] :], self.traces[mark[3] :]

    def merge(self, survivor: int, retired_number: str) -> None:
        """The retired number is the same patient as the record `survivor`."""
        self.merges.append(MergeRequest(survivor, self.member, retired_number))

    def awaited(self, type_: str, id_: str, place: str) -> None:
        """The message presupposes a stored resource; `place` names it."""
        self.awaits.append(Awaited(f"{type_}/{id_}", place))

    def missing(self, place: str) -> NoReturn:
        """A resource cannot exist without this field."""
        raise MissingField(place)

    def note(self, text: NotedText | NotedJson, place: str, /, **others: str) -> None:
        """A function's remark becomes a finding at its place, or at that of the further input it is about."""
        noted = text.note
        place = others.get(noted.about) or place
        self.findings.append(Finding(noted.code, noted.severity, place, noted.zh, noted.en))

    def lost(self, text: NotedText | NotedJson, place: str) -> None:
        """A field nothing could be made of; told once, however many elements wanted it."""
        if place not in self._lost:
            self._lost.add(place)
            self.note(text, place)

    def warn(self, place: str, zh: str, en: str) -> None:
        """A remark the mapping itself makes."""
        self.findings.append(Finding("GW-MAP-010", "warning", place, zh, en))

    def future(self, text: bytes, place: str) -> None:
        """Raises FutureDate when the time (JSON) is really beyond the tolerance."""
        if parse_fhir(text.decode().strip('"')) > self._latest:
            raise FutureDate(place)

    def kept(self, before: str, more: str) -> str:
        """Kept texts one below another, each once."""
        lines = self._lines.pop(before, None) or set(before.split("\n"))
        if more and more not in lines:
            lines.add(more)
            before = f"{before}\n{more}"
        self._lines[before] = lines
        return before

    def walked(self, entries: int) -> None:
        """One more long list. Raises TooLarge where lists of a message multiply each other."""
        self._walked += entries
        if self._walked > self._most:
            raise TooLarge(
                detail=f"> {self._most} in lists of one message",
                detail_zh=f"一条消息的各列表合计超过 {self._most} 项。",
            )

    def number_of(self, local_number: str) -> int:
        """The number `patient` will give the record."""
        return next(iter(self._numbers.get(local_number, {}).values()), len(self.records))

    def element(self) -> None:
        """A new element begins (traced runs only)."""
        self.at = ("", "")
        self.reads.clear()

    def read(self, line: str, path: str, tables: tuple[str, ...], inputs: tuple[tuple[str, str, str], ...]) -> None:
        """One expression reads the message (traced runs only)."""
        self.at = inputs[0][1:]
        self.reads.append(Read(line, path, tables, inputs))

    def keeps(self, name: str, value: str, rule: str, line: str) -> None:
        """A value one rule keeps for others, as `$name` of no resource (traced runs only)."""
        if value:
            self.traces.append(
                Trace("", f"${name}", dumps(str(value)).decode(), *self.at, rule, line, tuple(self.reads))
            )

    def trace(self, type_: str, id_: str, element: str, piece: bytes, rule: str, line: str) -> None:
        """One element with its origin, from its piece `,"element":value` (traced runs only)."""
        if piece:
            value = piece.decode()
            plain = f"{{{value[1:]}}}" if element.endswith("[x]") else value[len(element) + 4 :]
            self.traces.append(Trace(f"{type_}/{id_}", element, plain, *self.at, rule, line, tuple(self.reads)))
