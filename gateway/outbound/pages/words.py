"""The small pieces every page is made of: flags, bands, marks, states, chips. Plain data for templates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """`↑H` with its spoken word; `css` carries side, weight and whether it was judged by a declared range."""

    text: str = ""
    spoken: str = ""
    css: str = ""

    @property
    def side(self) -> str:
        """`high`, `low` or ""; for the shape of a point."""
        return "high" if "↑" in self.text else "low" if "↓" in self.text else ""


NO_FLAG = Flag()
_FLAGS = {
    "H": Flag("↑H", "偏高", "high"),
    "L": Flag("↓L", "偏低", "low"),
    "HH": Flag("↑↑HH", "危急高", "critical high"),
    "LL": Flag("↓↓LL", "危急低", "critical low"),
    "AA": Flag("!!AA", "危急异常", "critical"),
    "A": Flag("A", "异常", "high"),
    "POS": Flag("+", "阳性", "high"),
}


def flag(code: str, *, derived: bool = False) -> Flag:
    """The flag of an interpretation code (`H`, `LL`, `POS`, …); no flag for normal and unknown codes."""
    known = _FLAGS.get(code, NO_FLAG)
    if not derived or not known.text:
        return known
    return Flag(known.text, known.spoken + "，按机构公布区间判定", known.css + " derived")


@dataclass(frozen=True, slots=True)
class BandText:
    """A reference range in words. kind: report, declared (机构公布区间), missing, none."""

    kind: str = "none"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A recognition mark: shape, word, colour class."""

    css: str
    icon: str
    text: str


YES = Mark("yes", "shield", "可互认")
YES_IMAGES = Mark("yes-images", "shield-eye", "可互认（需阅片）")
JUDGE = Mark("judge", "judge", "需医生判断")
NO = Mark("no", "no", "不可互认")


@dataclass(frozen=True, slots=True)
class State:
    """One cell: a shape and a word."""

    icon: str
    text: str


NO_RECORD = State("none", "无记录")
NOT_CONNECTED = State("unplugged", "来源未接入")
NO_RIGHT = State("lock", "无权查看")


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
class Note:
    """A remark above the page: icon, strong words, a sentence."""

    icon: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go."""

    href: str
    title: str
    current: bool = False
