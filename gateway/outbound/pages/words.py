"""The small pieces every page is made of: flags, bands, marks, states, chips. Plain data for templates."""

from __future__ import annotations

from dataclasses import dataclass

from ...recognise.reasons import Verdict
from .. import labs


@dataclass(frozen=True, slots=True)
class Flag:
    """`↑H` with its spoken word; `css` carries side, weight and whether it was judged by a declared range."""

    text: str = ""
    spoken: str = ""
    css: str = ""


NO_FLAG = Flag()


def flag_of(flag: labs.Flag | None) -> Flag:
    """The flag of a reading: arrow and letters, spoken word, weight; dashed when judged by a declared range."""
    if flag is None or flag.code in ("N", "NEG"):
        return NO_FLAG
    css: list[str] = [flag.direction or "high"]
    spoken = flag.zh
    if flag.critical:
        css.insert(0, "critical")
    if flag.origin == "declared":
        css.append("derived")
        spoken += "，按机构公布区间判定"
    elif flag.origin == "report":
        spoken += "，按报告区间判定"
    return Flag(flag.symbol, spoken, " ".join(css))


@dataclass(frozen=True, slots=True)
class Mark:
    """A recognition mark: shape, word, colour class."""

    css: str
    icon: str
    text: str


_ICONS = {Verdict.YES: "shield", Verdict.YES_IMAGES: "shield-eye", Verdict.JUDGE: "judge", Verdict.NO: "no"}


def mark_of(verdict: Verdict, text: str = "") -> Mark:
    """The mark of a verdict; `text` (15/20 可互认) instead of its own words."""
    return Mark(verdict.value, _ICONS[verdict], text or verdict.zh)


@dataclass(frozen=True, slots=True)
class State:
    """One cell: a shape and a word."""

    icon: str
    text: str


NO_RECORD = State("none", "无记录")
NOT_CONNECTED = State("unplugged", "来源未接入")
NO_RIGHT = State("lock", "无权查看")
NOTHING_SEEN = State("lock", "无可见记录")


@dataclass(frozen=True, slots=True)
class Absent:
    """A box that says why there is nothing: no-record, not-connected or no-right."""

    css: str
    icon: str
    title: str
    text: str


def no_record(what: str, text: str) -> Absent:
    """Answered, has none."""
    return Absent("no-record", "none", f"{what}：无记录", text)


def not_connected(what: str, text: str) -> Absent:
    """Nobody asked: may exist."""
    return Absent("not-connected", "unplugged", f"{what}：来源未接入", text)


def nothing_seen(what: str, text: str) -> Absent:
    """Nothing this doctor may see; of the kind something is kept back, and nobody says whose."""
    return Absent("no-right", NOTHING_SEEN.icon, f"{what}：{NOTHING_SEEN.text}", text)


def no_right(what: str, text: str) -> Absent:
    """Exists; kind shown, content not."""
    return Absent("no-right", "lock", f"{what}：无权查看", text)


@dataclass(frozen=True, slots=True)
class Fact:
    """Label (weak) and value (strong)."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A short state in the banner."""

    text: str
    css: str = ""
    icon: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go."""

    href: str
    title: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A remark above the page: icon, strong words, a sentence, and where to go from it."""

    icon: str
    title: str
    text: str
    link: Link | None = None
