"""The recognition rules of one area and year: what is listed, how long it holds, what proves its quality.

The national text fixes no day counts; every window, scope and level rule is the area's own and stands in its
sheet (`profiles/recognition/<area>-<year>.yaml`), read by `rules.py`. Source: china-standards §5.3–5.6.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from .reasons import Reason, Verdict

Kind = Literal["lab", "examination"]
Start = Literal["issued", "collected"]
Scope = Literal["national", "cross", "province", "city", "alliance"]
When = Literal["critical", "not-final", "cancelled", "no-result", "doubtful", "positive"]
State = Literal[When, "not-negative"]

SCOPES: tuple[Scope, ...] = ("national", "cross", "province", "city", "alliance")
"""Widest first: a wider mark holds inside the narrower scopes."""


@dataclass(frozen=True, slots=True)
class Window:
    """How long a result holds, counted as consecutive 24 hours from its start; text: `电解质 7 天`."""

    length: timedelta
    start: Start
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Items that share a window, and the specimens they are measured in, () = not asked."""

    code: str
    name: str
    window: Window
    specimens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleItem:
    """One recognition item (互认编码) and how a result is known to be it.

    loincs and names match exactly (names after `normal_name`); an abbreviation that means two things is no name.
    specimens: words of the specimens it is measured in; glucose of a pleural effusion is another item.
    modalities, body_parts, method: of examinations; enhanced and plain CT are two items.
    """

    code: str
    name: str
    kind: Kind
    group: Group
    window: Window
    loincs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    specimens: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A recognition mark: how wide, in which areas (code prefixes; alliance marks: alliance keys), its words."""

    scope: Scope
    areas: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one member's quality for one item. passed None: a mark is claimed, no assessment shown."""

    scheme: str = ""
    year: int = 0
    passed: bool | None = None
    until: date | None = None
    mark: Mark | None = None

    @property
    def text(self) -> str:
        """`市临检中心室间质评 2025`."""
        return f"{self.scheme} {self.year}".strip() if self.scheme else ""


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """The rule that spoke of one result: item, group, window (`电解质 7 天`), scope that held, evidence.

    scope: own | national | cross | province | city | alliance, "" when none held. evidence: "" when there is none.
    """

    code: str
    name: str
    group: str
    window: str
    start: Start
    scope: str = ""
    evidence: str = ""

    @classmethod
    def of(cls, item: RuleItem, scope: str, evidence: str) -> AppliedRule:
        """From the item and what was found of it."""
        return cls(item.code, item.name, item.group.code, item.window.text, item.window.start, scope, evidence)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A state of a result that decides against it. groups empty: of every item.

    In the groups that `positive` names whatever is not plainly negative is positive too: markers are printed as an
    index, often without a range.
    """

    when: When
    verdict: Verdict
    reason: Reason
    groups: frozenset[str] = frozenset()

    def speaks(self, states: frozenset[State], item: RuleItem | None) -> bool:
        """True when it speaks of this item in these states."""
        meant = {self.when, "not-negative"} if self.when == "positive" and self.groups else {self.when}
        return bool(meant & states) and self._touches(item)

    def _touches(self, item: RuleItem | None) -> bool:
        return not self.groups or (item is not None and item.group.code in self.groups)


@dataclass(frozen=True, slots=True)
class Levels:
    """Verdicts by the levels of viewer and producer; inside_alliance "all": never asked inside a common alliance."""

    same: Verdict = Verdict.YES
    lower_recognises_higher: Verdict = Verdict.YES
    higher_recognises_lower: Verdict = Verdict.JUDGE
    inside_alliance: Literal["all", "by-level"] = "all"


@dataclass(frozen=True, slots=True)
class RuleSheet:
    """One area's rules for one year.

    title: `本地区 2026 版`. alliances: whose members recognise each other under this sheet, () = every alliance.
    scopes: those that hold here. unlisted, outside, unassessed: the verdict on an item the sheet does not list,
    on a producer out of scope, on an item without quality evidence. printed_marks: signs before an item's name.
    """

    area: str
    year: int
    title: str
    source: str
    start: Start
    alliances: tuple[str, ...]
    scopes: tuple[Scope, ...]
    levels: Levels
    unlisted: Verdict
    outside: Verdict
    unassessed: Verdict
    printed_marks: tuple[str, ...]
    groups: Mapping[str, Group]
    items: Mapping[str, RuleItem]
    evidence: Mapping[tuple[str, str], Evidence]
    exclusions: tuple[Exclusion, ...]
    by_loinc: Mapping[str, RuleItem] = field(default_factory=dict)
    by_name: Mapping[tuple[Kind, str], RuleItem] = field(default_factory=dict)

    def evidence_of(self, member: str, item: RuleItem) -> Evidence:
        """What the sheet knows of this member's quality for this item."""
        return self.evidence.get((member, item.code), _NOTHING)

    def marked(self, name: str) -> bool:
        """True when the printed name carries a recognition mark."""
        return name.lstrip().startswith(self.printed_marks) if self.printed_marks else False

    def asked(self, text: str) -> RuleItem | None:
        """The item of a recognition code, a LOINC (with or without its system) or an exact name."""
        code = text.rpartition("|")[2]
        found = self.items.get(code) or self.by_loinc.get(code)
        return found or self.named("lab", code) or self.named("examination", code)

    def named(self, kind: Kind, name: str) -> RuleItem | None:
        """The item with exactly this name, its printed mark and typography aside."""
        bare = name.strip()
        for sign in self.printed_marks:
            bare = bare.removeprefix(sign)
        return self.by_name.get((kind, normal_name(bare)))


_NOTHING = Evidence()


def normal_name(name: str) -> str:
    """A name without typography: full width, case, blanks and bracket styles; nothing of its words is dropped."""
    return re.sub(r"[\s_·]", "", unicodedata.normalize("NFKC", name)).casefold()
