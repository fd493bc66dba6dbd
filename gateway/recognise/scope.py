"""Whether a producer's results hold for a viewer: own, by a mark, or inside a common alliance; and the levels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..model.directory import Directory
from . import reasons
from .listing import Mark, RuleItem, RuleSheet
from .reasons import Reason, Verdict

_HEIGHT = {"primary": 0, "secondary": 1, "tertiary": 2}


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom it is decided: the member the doctor sits at and the alliance they act in ("" = any of theirs)."""

    member: str
    alliance: str = ""


def scope_of(
    item: RuleItem, producer: str, viewer: Viewer, directory: Directory, sheet: RuleSheet, at: datetime
) -> tuple[str, list[tuple[Verdict, Reason]]]:
    """The widest scope that holds ("own", national … alliance, "" for none) and what speaks against it at an
    instant.

    Source: china-standards §5.1 (range order), §5.3 (levels).
    """
    if producer not in directory.members:
        return "", [(sheet.outside, reasons.UNKNOWN_MEMBER)]
    if producer == viewer.member:
        return "own", [(Verdict.YES, reasons.OWN_RESULT)]
    allied = _allied(producer, viewer, directory, sheet, at)
    mark = sheet.evidence_of(producer, item).mark
    if mark is not None and _mark_holds(mark, producer, viewer, directory, sheet, at):
        scope: str = mark.scope
    elif allied and "alliance" in sheet.scopes:
        scope = "alliance"
    else:
        return "", [(sheet.outside, reasons.OUT_OF_SCOPE)]
    if allied and sheet.levels.inside_alliance == "all":
        return scope, []
    return scope, _by_level(producer, viewer, directory, sheet)


def _allied(producer: str, viewer: Viewer, directory: Directory, sheet: RuleSheet, at: datetime) -> bool:
    return any(
        _both_in(alliance, producer, viewer, directory, at) for alliance in sheet.alliances or directory.alliances
    )


def _both_in(alliance: str, producer: str, viewer: Viewer, directory: Directory, at: datetime) -> bool:
    if not {producer, viewer.member} <= directory.within(alliance, at):
        return False
    # A doctor acting in one alliance does not borrow the rules of another that merely shares both members.
    return viewer.alliance in ("", alliance) or _nested(viewer.alliance, alliance, directory)


def _nested(one: str, other: str, directory: Directory) -> bool:
    return _contains(one, other, directory) or _contains(other, one, directory)


def _contains(outer: str, inner: str, directory: Directory) -> bool:
    found = directory.alliances.get(outer)
    return found is not None and any(key == inner or _contains(key, inner, directory) for key in found.contains)


def _mark_holds(
    mark: Mark, producer: str, viewer: Viewer, directory: Directory, sheet: RuleSheet, at: datetime
) -> bool:
    if mark.scope not in sheet.scopes:
        return False
    if mark.scope == "national":
        return True
    if mark.scope == "alliance":
        return any(_both_in(alliance, producer, viewer, directory, at) for alliance in mark.areas)
    return sheet.area.startswith(mark.areas)


def _by_level(producer: str, viewer: Viewer, directory: Directory, sheet: RuleSheet) -> list[tuple[Verdict, Reason]]:
    viewing = directory.members.get(viewer.member)
    if viewing is None:
        return [(sheet.outside, reasons.OUT_OF_SCOPE)]
    above = _HEIGHT[directory.members[producer].level] - _HEIGHT[viewing.level]
    if above > 0:
        verdict, reason = sheet.levels.lower_recognises_higher, reasons.OUT_OF_SCOPE
    elif above == 0:
        verdict, reason = sheet.levels.same, reasons.OUT_OF_SCOPE
    else:
        verdict, reason = sheet.levels.higher_recognises_lower, reasons.LOWER_LEVEL
    return [] if verdict.recognisable else [(verdict, reason)]
