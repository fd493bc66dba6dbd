"""What the message log and one message show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ...inbox.queue import Entry
from ...model import systems
from ...model.directory import Directory, Source
from ...model.outcome import Outcome, State
from ...model.view import Reading, View
from ...security import redact
from ..pages import moments
from ..pages.moments import When
from ..pages.views_sources import is_late
from ..pages.words import Mark
from ..pages.words import State as Freshness
from .views_try import Ignored, ignored_of
from .words import FORMATS, STATES, Remark, advice, remark, sentence, size_text


@dataclass(frozen=True, slots=True)
class Row:
    """One message of the log. wrong: errors for which a part of it, a row of a file, was left out."""

    key: str
    at: When
    source: str
    form: str
    name: str
    mark: Mark
    reason: str
    text: str
    made: str
    wrong: int
    lost: int


@dataclass(frozen=True, slots=True)
class ViewNote:
    """How reading a source's database view goes. wrong: what stops it, or what it cannot read, with its code."""

    text: str
    wrong: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SourceCount:
    """One source: when it last sent, how many messages stand in which state; of one with a view, how reading goes."""

    name: str
    title: str
    at: When
    ago: str
    late: Freshness | None
    view: ViewNote | None
    received: int
    processed: int
    quarantined: int
    parked: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A resource a message made; href "" for who may not read it."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `again`: it may be processed once more; `stale`: the result is that of the last time."""

    key: str
    mark: Mark
    facts: tuple[tuple[str, str], ...]
    reason: str
    findings: tuple[Remark, ...]
    lost: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    resources: tuple[Reference, ...]
    again: bool
    stale: bool


def outcome_of(body: str | bytes | None) -> Outcome | None:
    """An outcome from its JSON."""
    return msgspec.json.decode(body, type=Outcome) if body else None


def title_of(source: str, directory: Directory) -> str:
    """What a source is called; 未识别的来源 for messages nobody could place."""
    known = directory.sources.get(source)
    return (known.title or known.name) if known else source or "未识别的来源"


def row(entry: Entry, outcome: Outcome | None, directory: Directory, now: datetime) -> Row:
    """One line of the log; a message in the queue shows nothing of what it made before."""
    done = outcome if entry.state is not State.RECEIVED else None
    made = sum(not one.startswith("Provenance/") for one in done.resources) if done else 0
    wrong = sum(one.severity == "error" for one in done.findings) if done and made else 0
    kind = done.kind if done else ""
    return Row(
        key=entry.key,
        at=moments.of(entry.at, now),
        source=title_of(entry.source, directory),
        form=" · ".join(filter(None, (FORMATS.get(entry.format, entry.format), kind if kind != entry.format else ""))),
        name=redact.text(entry.name or entry.control),
        mark=STATES[entry.state],
        reason=entry.reason if entry.state in (State.QUARANTINED, State.PARKED) else "",
        text=sentence(entry.reason),
        made=f"{made} 个资源" if made else "",
        wrong=wrong,
        lost=sum(one.lost for one in done.unused) if done else 0,
    )


def counted(
    sources: Collection[Source],
    counts: Mapping[tuple[str, str], int],
    last: Mapping[str, datetime],
    readings: Mapping[str, Reading],
    now: datetime,
) -> tuple[SourceCount, ...]:
    """All sources the caller may see; those that never sent too."""
    notes = {one.name: _view_note(one.view, readings.get(one.name), now) for one in sources if one.view}
    return tuple(_source_count(one, counts, last.get(one.name), notes.get(one.name), now) for one in sources)


def _view_note(view: View, reading: Reading | None, now: datetime) -> ViewNote:
    """What was read of another view, before the source had this one, counts for nothing."""
    if reading is None or reading.view != view.name:
        return ViewNote(f"视图 {view.name}：还没有读过", ())
    wrong = tuple((one.code, one.zh) for one in (reading.fault, reading.left_out) if one)
    if not reading.read_at:
        return ViewNote(f"视图 {view.name}：已读 {reading.rows} 行，还没有读到头", wrong)
    ago = moments.ago(datetime.fromtimestamp(reading.read_at, UTC), now)
    return ViewNote(f"视图 {view.name}：{ago}读到头，共 {reading.rows} 行", wrong)


def _source_count(
    source: Source,
    counts: Mapping[tuple[str, str], int],
    at: datetime | None,
    view: ViewNote | None,
    now: datetime,
) -> SourceCount:
    late = Freshness("late", "迟到") if at and is_late(at, now) else None
    numbers = [counts.get((source.name, state.value), 0) for state in State]
    when = moments.of(at, now) if at else When("", "从未到达")
    return SourceCount(
        source.name, source.title or source.name, when, moments.ago(at, now) if at else "", late, view, *numbers
    )


def message(entry: Entry, outcome: Outcome | None, directory: Directory, now: datetime, *, links: bool) -> Message:
    """One message; `links`: the reader may follow what it made."""
    made = outcome.resources if outcome else ()
    findings = tuple(remark(one) for one in outcome.findings) if outcome else ()
    if not findings and entry.state is State.QUARANTINED:  # refused at the door: only its code is known
        findings = (Remark(Mark("no", "no", "错误"), entry.reason, "", sentence(entry.reason), advice(entry.reason)),)
    unused = outcome.unused if outcome else ()
    return Message(
        key=entry.key,
        mark=STATES[entry.state],
        facts=_facts(entry, outcome, directory, now),
        reason=entry.reason if entry.state in (State.QUARANTINED, State.PARKED) else "",
        findings=findings,
        lost=tuple(one.place for one in unused if one.lost),
        ignored=ignored_of(unused),
        resources=tuple(Reference(one, f"/fhir/{one}" if links else "") for one in made),
        again=entry.state is not State.RECEIVED,
        stale=entry.state is State.RECEIVED and outcome is not None,
    )


def _facts(entry: Entry, outcome: Outcome | None, directory: Directory, now: datetime) -> tuple[tuple[str, str], ...]:
    """Facts in the order of reading; those that are not known are left out."""
    provenance = next((one for one in (outcome.resources if outcome else ()) if one.startswith("Provenance/")), "")
    kind = outcome.kind if outcome else ""
    facts = (
        ("收到", moments.of(entry.at, now, full=True).text),
        ("来源", f"{title_of(entry.source, directory)}（{entry.source}）" if entry.source else "未识别的来源"),
        (
            "格式",
            " · ".join(filter(None, (FORMATS.get(entry.format, entry.format), kind if kind != entry.format else ""))),
        ),
        ("文件名", redact.text(entry.name)),
        ("控制号", redact.text(entry.control)),
        ("大小", size_text(entry.size)),
        ("映射版本", outcome.mapping if outcome else ""),
        ("Provenance", provenance),
        ("原文标识", f"{systems.source_uri(entry.source)} | {entry.key}" if entry.source else entry.key),
    )
    return tuple(fact for fact in facts if fact[1])
