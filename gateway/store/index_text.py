"""Text as it is compared: normalised, cut into n-grams, and Chinese names in pinyin."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from ..model.normalise import one_form

_DOUBLE = (
    "欧阳太史端木上官司马东方独孤南宫万俟闻人夏侯诸葛尉迟公羊赫连澹台皇甫宗政濮阳公冶太叔申屠公孙慕容仲孙钟离长孙宇文司徒鲜于司空闾丘子车亓官司寇巫马公西颛孙壤驷公良"
    "漆雕乐正宰父谷梁拓跋夹谷轩辕令狐段干百里呼延东郭南门羊舌微生公户公玉公仪梁丘公仲公上公门公山公坚左丘公伯西门公祖第五公乘贯丘公皙南荣东里东宫仲长子书子桑即墨达奚"
    "褚师纳兰叶赫完颜"
)
DOUBLE_SURNAMES = frozenset(_DOUBLE[i : i + 2] for i in range(0, len(_DOUBLE), 2))
"""Surnames of two characters."""

SURNAME_READINGS: dict[str, tuple[str, ...]] = {
    "万俟": ("moqi",), "尉迟": ("yuchi",), "长孙": ("zhangsun",), "澹台": ("tantai",), "单": ("shan", "dan"),
    "曾": ("zeng",), "仇": ("qiu", "chou"), "解": ("xie", "jie"), "查": ("zha", "cha"), "区": ("ou", "qu"),
    "朴": ("piao", "pu"), "盖": ("ge", "gai"), "任": ("ren",), "乐": ("yue", "le"), "覃": ("qin", "tan"),
    "翟": ("zhai", "di"), "尹": ("yin",), "洗": ("xian", "xi"), "冼": ("xian",), "缪": ("miao", "mou"),
    "逄": ("pang",), "佴": ("nai",), "折": ("she", "zhe"), "黑": ("he", "hei"), "盛": ("sheng", "cheng"),
    "牟": ("mou", "mu"), "宓": ("mi", "fu"), "召": ("shao", "zhao"), "员": ("yun", "yuan"), "种": ("chong", "zhong"),
    "繁": ("po", "fan"), "哈": ("ha",), "秘": ("bi", "mi"), "薄": ("bo", "bao"), "燕": ("yan",), "纪": ("ji",),
    "吕": ("lv", "lu"), "沈": ("shen",), "隗": ("wei", "kui"), "瞿": ("qu",), "晟": ("cheng",), "卜": ("bu",),
    "王": ("wang",), "柏": ("bai", "bo"), "贾": ("jia",), "曲": ("qu",), "宁": ("ning",), "华": ("hua",), "葛": ("ge",),
}  # fmt: skip
_COMBINATIONS = 8


def normal(text: str) -> str:
    """Width, case, accents and runs of blanks made equal."""
    if text.isascii():
        return " ".join(text.lower().split())
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    for mark in filter(unicodedata.combining, set(plain)):  # each character once: a text may be long
        plain = plain.replace(mark, "")
    return " ".join(plain.split())


def normal_name(text: str) -> str:
    """The same without any blank, middle dot or apostrophe: `欧阳 娜娜`, `Ouyang Nana` and `ouyangnana` meet.

    Characters that registries write in several forms are made one: `黃國強` and `黄国强` meet.
    """
    name = normal(one_form(text))
    for mark in _DROPPED:
        name = name.replace(mark, "")
    return name


SORTABLE = 256
"""Characters by which texts are put in order: an index entry has its bounds (PostgreSQL: 2,700 bytes)."""


def sortable(text: str) -> str:
    """The part of a normalised text that sorts."""
    return text[:SORTABLE]


_DROPPED = " ·•・'’-."


def grams(text: str) -> set[str]:
    """Every substring of one, two and three characters."""
    pairs, threes = set(itertools.pairwise(text)), set(zip(text, text[1:], text[2:], strict=False))
    return {*text, *map("".join, pairs), *map("".join, threes)}


def starts(text: str) -> tuple[str, ...]:
    """The first one, two and three characters."""
    return tuple(text[:n] for n in (1, 2, 3) if len(text) >= n)


def is_chinese(text: str) -> bool:
    """True when every character is a CJK ideograph."""
    return bool(text) and all("\u3400" <= c <= "\u9fff" or "\U00020000" <= c <= "\U000323af" for c in text)


@lru_cache(maxsize=8192)
def pinyin_forms(name: str) -> tuple[str, ...]:
    """Full pinyin and initials of a Chinese name: `张珅` → zhangshen, zs. () for any other text.

    All readings of the surname (two-character surnames too) and of the given name, at most 8 combinations; `ü` as
    `v` and as `u`.
    """
    forms: dict[str, None] = {}
    for surname, given in _spoken(name):
        forms |= dict.fromkeys([*_either_u("".join((*surname, *given))), _initials((*surname, *given))])
    return tuple(forms)


@lru_cache(maxsize=8192)
def mixed_forms(name: str) -> tuple[str, ...]:
    """Surname and given name written in different ways: `王小明` → wangxm, 王xiaoming, 王xm. Bounded alike."""
    written = split_surname(name)[0]
    forms: dict[str, None] = {}
    for surname, given in _spoken(name):
        short = _initials(given)
        forms |= dict.fromkeys(text + short for text in (*_either_u("".join(surname)), written))
        forms |= dict.fromkeys(written + text for text in _either_u("".join(given)))
    return tuple(forms)


def _spoken(name: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Syllables of surname and given name, one way of reading after another."""
    if not is_chinese(name) or len(name) > 8:
        return
    surname, given = split_surname(name)
    # the surname varies fastest: all its readings are kept when the given name has many
    choices = [*_given_readings(given), _surname_readings(surname)]
    for *rest, first in itertools.islice(itertools.product(*choices), _COMBINATIONS):
        yield first, tuple(itertools.chain.from_iterable(rest))


def _either_u(pinyin: str) -> tuple[str, str]:
    return pinyin, pinyin.replace("v", "u")


def _initials(syllables: tuple[str, ...]) -> str:
    return "".join(syllable[0] for syllable in syllables)


def split_surname(name: str) -> tuple[str, str]:
    """(surname, given name) of a Chinese name written in one piece."""
    size = 2 if len(name) > 2 and name[:2] in DOUBLE_SURNAMES else 1
    return name[:size], name[size:]


def _surname_readings(surname: str) -> list[tuple[str, ...]]:
    known = SURNAME_READINGS.get(surname)
    if known and len(surname) == 1:
        return [(reading,) for reading in known]
    if known:
        return [_syllables(surname, known[0])]
    if len(surname) == 1:
        return [(reading,) for reading in _readings(surname)]
    return [tuple(_readings(c)[0] for c in surname)]


def _syllables(surname: str, reading: str) -> tuple[str, ...]:
    # the few two-character surnames with a reading of their own
    cut = {"moqi": 2, "yuchi": 2, "zhangsun": 5, "tantai": 3}[reading]
    return reading[:cut], reading[cut:]


def _given_readings(given: str) -> list[list[tuple[str, ...]]]:
    return [[(reading,) for reading in _readings(c)[:2]] for c in given]


@lru_cache(maxsize=8192)
def _readings(character: str) -> tuple[str, ...]:
    from pypinyin import Style, pinyin

    found = pinyin(character, style=Style.NORMAL, heteronym=True, v_to_u=False)
    return tuple(dict.fromkeys(r.replace("ü", "v") for r in found[0] if r.isalpha())) or ("x",)
