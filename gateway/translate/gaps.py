"""What mappings still miss, counted over many messages: codes without a standard code, fields nobody used, and what
messages that were taken left out for an error: rows of a file, one of two results with the same id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..model.outcome import Finding, Unused
from .run import Trace

UNMAPPED = "GW-MAP-001"
_KINDS: dict[str, Literal["code", "unit"]] = {UNMAPPED: "code", "GW-MAP-002": "code", "GW-MAP-004": "unit"}
_NUMBERS = re.compile(r"\[\d+\]|#\d+$|^row \d+(?: \S+\[.*?\])?, |(?<=^row) \d+(?: \S+\[.*?\])?$|(?<=/)[0-9a-f]{26}$")
_PLACE = re.compile(r" \[(位置：|at ).*\]$")


@dataclass(frozen=True, slots=True)
class Gap:
    """One missing code, unknown unit, lost field or error of a source. `newest`: the first message counted that has it.

    what: the sentence of the finding (`zh`, `en`), or the field's place without numbers in both.
    sample: the code as sent with its name and unit, where the caller knew it; never for a lost field, which may
    hold anything.
    """

    kind: Literal["code", "error", "field", "unit"]
    source: str
    zh: str
    en: str
    place: str
    count: int
    newest: str
    sample: str = ""


class Gaps:
    """Counts messages one after another."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], Gap] = {}
        self._counts: dict[tuple[str, ...], int] = {}

    def add(
        self,
        source: str,
        key: str,
        findings: Iterable[Finding],
        unused: Iterable[Unused],
        sample: Callable[[Finding], str] = lambda _: "",
    ) -> None:
        """One message: its findings and unused fields; `sample`: what stands at the place of a finding."""
        for finding in findings:
            place = without_numbers(finding.place)
            if kind := _KINDS.get(finding.code):
                self._count(Gap(kind, source, finding.zh, finding.en, place, 0, key, sample(finding)))
            elif finding.severity == "error":
                zh, en = (f"{finding.code} {_PLACE.sub('', text)}" for text in (finding.zh, finding.en))
                self._count(Gap("error", source, zh, f"{en} {place}", place, 0, key))
        for field in unused:
            if field.lost:
                place = without_numbers(field.place)
                self._count(Gap("field", source, place, place, place, 0, key))

    def _count(self, gap: Gap) -> None:
        key = (gap.kind, gap.source, gap.en, *(() if gap.kind == "field" else (gap.sample,)))
        self._found.setdefault(key, gap)
        self._counts[key] = self._counts.get(key, 0) + 1

    def ranked(self) -> list[Gap]:
        """Codes first, then errors, fields, units; the most frequent first."""
        found = [replace(gap, count=self._counts[key]) for key, gap in self._found.items()]
        return sorted(found, key=lambda gap: (gap.kind, -gap.count, gap.source, gap.en))


def without_numbers(place: str) -> str:
    """`OBX[3]-15` → `OBX-15`, `row 7, column 收缩压` → `column 收缩压`: one line a field, wherever it stood."""
    return _NUMBERS.sub("", place)


def as_sent(traces: Sequence[Trace]) -> Callable[[Finding], str]:
    """What stood at the place of a finding of these traces: the code with its name and unit, or the unit alone.

    Never a result or anything else of the patient. A message may put anything there: mask it before it is shown.
    """
    found: dict[str, dict[str, str]] = {}
    for read in (read for trace in traces for read in trace.reads if read.tables):
        found.setdefault(read.inputs[0][1], {}).update({name: text for name, _, text in read.inputs if text})

    def sample(finding: Finding) -> str:
        names = ("unit",) if _KINDS.get(finding.code) == "unit" else ("from", "text", "unit")
        inputs = found.get(finding.place, {})
        return " · ".join(inputs[name][:60] for name in names if name in inputs)

    return sample


def samples(gap: Gap, findings: Iterable[Finding], sample: Callable[[Finding], str]) -> list[str]:
    """What one message sent where it has this gap, each once."""
    mine = (one for one in findings if _KINDS.get(one.code) == gap.kind and one.en == gap.en)
    return [one for one in dict.fromkeys(sample(one) for one in mine if without_numbers(one.place) == gap.place) if one]
