"""A report issued again: preliminary, final, corrected, withdrawn, in whatever order the issues arrive.

Pure. The current state is that of the newest issue, ordered by finality, issue time, message time and
status; never by the wall clock. What arrives late becomes history below the current version. Sources:
HL7 v2.5.1 tables 0085 and 0123; FHIR R4 DiagnosticReport.status; D23.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..model import systems
from ..model.outcome import Finding
from ..model.resource import Json, dumps
from ..model.times import parse_fhir
from .told import said_at_of
from .version import History, Revision, Version, bare, by_ref, kept, ref_of, references, sent

Mode = Literal["snapshot", "delta"]

_PENDING = frozenset({"registered", "partial", "preliminary", "unknown"})
_RANK = {"corrected": 1, "amended": 1, "appended": 1, "cancelled": 2, "entered-in-error": 3}
_VOID = frozenset({"cancelled", "entered-in-error"})
_LEAST = parse_fhir("0001")


@dataclass(frozen=True, slots=True)
class Issue:
    """Where an issue stands among the issues of its report. A later one replaces an earlier one."""

    final: bool
    issued: datetime
    said_at: datetime | None
    rank: int

    def before(self, other: Issue) -> bool:
        """True when this issue is older than `other`; equal ones are not: the later arrival then wins."""
        if self.final != other.final:
            return other.final
        if self.issued != other.issued:
            return self.issued < other.issued
        if self.said_at and other.said_at and self.said_at != other.said_at:
            return self.said_at < other.said_at
        return self.rank < other.rank


def issue_of(body: Json, said_at: datetime | None = None) -> Issue:
    """The issue a report or item version belongs to. `said_at` falls back on what its meta remembers."""
    status = str(body.get("status", "unknown"))
    return Issue(status not in _PENDING, _issued(body), said_at or said_at_of(body), _RANK.get(status, 0))


def _issued(body: Json) -> datetime:
    verified = [e.get("valueDateTime") for e in body.get("extension", ()) if e.get("url") == systems.EXT_VERIFIED_AT]
    text = body.get("issued") or next(iter(verified), "") or body.get("effectiveDateTime") or ""
    return parse_fhir(text) if text else _LEAST


def plan_report(
    new: Sequence[Json],
    stored: Mapping[str, Json],
    mode: Mode = "snapshot",
    *,
    said_at: datetime | None = None,
    history: History | None = None,
) -> Revision:
    """Versions to write for one report and its items.

    new: the DiagnosticReport first, then every other resource of the draft that belongs to it, whole,
    with ids. stored: current versions by `Type/id` of the same ids and of all items the stored report
    leads to (`items_below`). history: older versions of what a late issue would write again.
    Items not in `new` are withdrawn in snapshot mode. A stored void item comes back only with a newer issue.
    """
    report, items = new[0], list(new[1:])
    old = stored.get(ref_of(report))
    if old is None:
        return Revision(tuple(sent(one) for one in [*items, _without_void(report, by_ref(items))]))
    if issue_of(report, said_at).before(issue_of(old)):
        return _late(report, old, items, stored, mode, history or {})
    return _newer(report, old, items, stored, mode)


def items_below(roots: Iterable[Json], stored: Mapping[str, Json]) -> list[str]:
    """`Observation/id` of every item the resources lead to, through result and hasMember, in order."""
    found: dict[str, None] = {}
    waiting = [one for root in roots for one in _children(root)]
    while waiting:
        ref = waiting.pop(0)
        if ref not in found:
            found[ref] = None
            waiting += _children(stored.get(ref, {}))
    return list(found)


def _children(body: Json) -> list[str]:
    return references([*body.get("result", ()), *body.get("hasMember", ())], "Observation")


# ---- the newest issue ------------------------------------------------------------------------
def _newer(report: Json, old: Json, items: list[Json], stored: Mapping[str, Json], mode: Mode) -> Revision:
    """The issue becomes current; what it no longer names is withdrawn or, in delta mode, stays."""
    versions: list[Version] = []
    now: dict[str, Json] = {}
    for item in items:
        before = stored.get(ref_of(item))
        taken = _voided(item, report)
        versions.append(sent(taken))
        if mode == "delta" and before is not None and _outdated(taken, before):
            versions.append(kept(before))
            taken = before
        now[ref_of(item)] = taken
    gone = [ref for ref in items_below([old], stored) if ref not in now and ref in stored]
    withdraws = mode == "snapshot" or report["status"] in _VOID
    withdrawn = [kept(stored[ref], status=_void_status(report)) for ref in gone if withdraws and _alive(stored[ref])]
    versions += withdrawn
    if not withdraws:
        report = _joined(report, old)
        now |= {ref: stored[ref] for ref in gone}
    versions.append(sent(_without_void(report, now)))
    return Revision(tuple(versions), _withdrawal(len(withdrawn)))


def _outdated(item: Json, before: Json) -> bool:
    """In delta mode items have their own order: a pending one or one issued earlier does not replace."""
    if before.get("status") == "entered-in-error":
        return False
    mine, theirs = issue_of(item), issue_of(before)
    return mine.before(theirs) and (mine.final, mine.issued) != (theirs.final, theirs.issued)


def _voided(item: Json, report: Json) -> Json:
    """An item of a void report is void with it."""
    if item["resourceType"] != "Observation" or report["status"] not in _VOID or not _alive(item):
        return item
    return {**item, "status": report["status"]}


def _void_status(report: Json) -> str:
    return "cancelled" if report["status"] == "cancelled" else "entered-in-error"


def _alive(item: Json) -> bool:
    return item["resourceType"] == "Observation" and item.get("status") not in _VOID


def _joined(report: Json, old: Json) -> Json:
    """A delta's report names what was named before, then what is new."""
    named = {one.get("reference"): one for one in [*old.get("result", ()), *report.get("result", ())]}
    return {**report, "result": list(named.values())} if named else report


def _without_void(report: Json, items: Mapping[str, Json]) -> Json:
    """The report without results that are entered in error (OBX-11 D and W, withdrawn items)."""
    left = [
        one
        for one in report.get("result", ())
        if items.get(str(one.get("reference")), {}).get("status") != "entered-in-error"
    ]
    if len(left) == len(report.get("result", ())):
        return report
    return {key: value for key, value in {**report, "result": left}.items() if key != "result" or left}


def _withdrawal(count: int) -> tuple[Finding, ...]:
    if not count:
        return ()
    zh = f"新报告中已没有原报告的 {count} 个项目，已标为作废，历史保留。"
    en = f"{count} items of the earlier issue are absent from this one; marked entered-in-error."
    return (Finding("GW-REV-001", "information", "DiagnosticReport.result", zh, en),)


# ---- an issue that arrives late --------------------------------------------------------------
def _late(
    report: Json, old: Json, items: list[Json], stored: Mapping[str, Json], mode: Mode, history: History
) -> Revision:
    """The issue goes into the history; what was current is current again above it."""
    versions: list[Version] = []
    added: list[Json] = []
    for item in items:
        before = stored.get(ref_of(item))
        if before is None:
            versions += _late_stranger(item, old, mode)
            added += [item] if mode == "delta" and _alive(item) else []
        elif mode == "delta" and _alive(before) and not issue_of(item).before(issue_of(before)) and _own_time(item):
            versions.append(sent(item))
        else:
            versions += _below(item, before, history)
    again = kept(old, result=_results(old, added, report))
    report = _without_void(report, by_ref(items))
    known = _known(report, old, history, but="result" if mode == "delta" else "")
    if not known or bare(old) != again.body:
        versions += [*([] if known else [sent(report)]), again]
    return Revision(tuple(versions), _lateness(bool(versions)))


def _own_time(item: Json) -> bool:
    return item["resourceType"] == "Observation" and "issued" in item


def _late_stranger(item: Json, old: Json, mode: Mode) -> list[Version]:
    """An item only the late issue has: in snapshot mode the newer issue has withdrawn it already."""
    if mode == "delta" or item["resourceType"] != "Observation":
        return [sent(item)]
    return [sent(item), *([kept({**item, "meta": {}}, status=_void_status(old))] if _alive(item) else [])]


def _below(item: Json, before: Json, history: History) -> list[Version]:
    """The late version under the current one; an item that was withdrawn keeps the newest of what it said."""
    if _known(item, before, history):
        return []
    if before.get("status") in _VOID and before["resourceType"] == "Observation" and _newer_content(item, before):
        return [sent(item), kept({**item, "meta": before.get("meta", {})}, status=before["status"])]
    return [sent(item), kept(before)]


def _newer_content(item: Json, before: Json) -> bool:
    """Whether a withdrawn item should show this version's content: by issue time, then by its bytes."""
    mine, theirs = _issued(item), _issued(before)
    return (mine, _content(item)) > (theirs, _content(before))


def _content(item: Json) -> bytes:
    return dumps({**bare(item), "status": ""})


def _known(body: Json, current: Json, history: History, but: str = "") -> bool:
    """True when these very words, element `but` aside, are stored already as current or older version."""
    wanted = {**bare(body), but: None}
    return any({**bare(one), but: None} == wanted for one in (current, *history.get(ref_of(body), ())))


def _results(old: Json, added: list[Json], report: Json) -> list[Json] | None:
    named = list(old.get("result", ()))
    refs = {ref_of(one) for one in added}
    return [*named, *(one for one in report.get("result", ()) if one.get("reference") in refs)] or None


def _lateness(written: bool) -> tuple[Finding, ...]:
    if not written:
        return ()
    zh = "收到的报告早于已存的版本，已记入历史，当前版本不变。"
    en = "This issue is older than the stored one; it went into the history, the current one stays."
    return (Finding("GW-REV-002", "information", "DiagnosticReport.status", zh, en),)
