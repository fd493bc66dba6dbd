"""Text as it is compared: normalised, cut into n-grams, and Chinese names in pinyin."""

from __future__ import annotations

import itertools
import unicodedata
from functools import lru_cache

DOUBLE_SURNAMES = frozenset(
    "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳 公冶 太叔 申屠 "
    "公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 闾丘 子车 亓官 司寇 巫马 公西 颛孙 壤驷 公良 漆雕 乐正 宰父 谷梁 "
    "拓跋 夹谷 轩辕 令狐 段干 百里 呼延 东郭 南门 羊舌 微生 公户 公玉 公仪 梁丘 公仲 公上 公门 公山 公坚 左丘 公伯 西门 "
    "公祖 第五 公乘 贯丘 公皙 南荣 东里 东宫 仲长 子书 子桑 即墨 达奚 褚师 吴铭 纳兰 叶赫 完颜".split()
)
SURNAME_READINGS: dict[str, tuple[str, ...]] = {
    "万俟": ("moqi",), "尉迟": ("yuchi",), "长孙": ("zhangsun",), "澹台": ("tantai",), "单": ("shan", "dan"),
    "曾": ("zeng",), "仇": ("qiu", "chou"), "解": ("xie", "jie"), "查": ("zha", "cha"), "区": ("ou", "qu"),
    "朴": ("piao", "pu"), "盖": ("ge", "gai"), "任": ("ren",), "乐": ("yue", "le"), "覃": ("qin", "tan"),
    "翟": ("zhai", "di"), "尹": ("yin",), "洗": ("xian", "xi"), "冼": ("xian",), "缪": ("miao", "mou"),
    "逄": ("pang",), "佴": ("nai",), "折": ("she", "zhe"), "黑": ("he", "hei"), "盛": ("sheng", "cheng"),
    "牟": ("mou", "mu"), "宓": ("mi", "fu"), "召": ("shao", "zhao"), "员": ("yun", "yuan"), "种": ("chong", "zhong"),
    "繁": ("po", "fan"), "哈": ("ha",), "秘": ("bi", "mi"), "薄": ("bo", "bao"), "燕": ("yan",), "纪": ("ji",),
    "吕": ("lv", "lu"), "沈": ("shen",), "隗": ("wei", "kui"), "瞿": ("qu",), "晟": ("cheng",), "卜": ("bu",),
    "柏": ("bai", "bo"), "贾": ("jia",), "曲": ("qu",), "宁": ("ning",), "华": ("hua",), "葛": ("ge",),
}  # fmt: skip
_COMBINATIONS = 8


def normal(text: str) -> str:
    """Width, case, accents and runs of blanks made equal."""
    if text.isascii():
        return " ".join(text.lower().split())
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def normal_name(text: str) -> str:
    """The same without any blank, middle dot or apostrophe: `欧阳 娜娜`, `Ouyang Nana` and `ouyangnana` meet."""
    return normal(text).translate(_DROPPED)


_DROPPED = dict.fromkeys(map(ord, " ·•・'’-."), None)


def grams(text: str) -> set[str]:
    """Every substring of one, two and three characters."""
    return {text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1)}


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
    if not is_chinese(name) or len(name) > 8:
        return ()
    surname, given = split_surname(name)
    # the surname varies fastest: all its readings are kept when the given name has many
    choices = [*_given_readings(given), _surname_readings(surname)]
    forms: dict[str, None] = {}
    for *rest, first in itertools.islice(itertools.product(*choices), _COMBINATIONS):
        parts = (first, *rest)
        full = "".join("".join(part) for part in parts)
        for form in (full, full.replace("v", "u"), "".join(s[0] for part in parts for s in part)):
            forms[form] = None
    return tuple(forms)


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
