"""Names, card numbers and phones as they are compared: what people typed, without how they typed it.

Pure. Sources: GB 11643-1999 (居民身份证, 18 characters), GB 18030-2022 (characters that left the
private-use area), WS 364.3 CV02.01.101 (kinds of documents).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

PRIVATE_USE: dict[int, int | str] = {
    0xE81E: 0x9FB4,
    0xE826: 0x9FB5,
    0xE82B: 0x9FB6,
    0xE82C: 0x9FB7,
    0xE832: 0x9FB8,
    0xE843: 0x9FB9,
    0xE854: 0x9FBA,
    0xE864: 0x9FBB,
}
"""Code points GB18030 decoders leave in the private-use area, and where GB 18030-2022 put them."""
# Written forms of one surname or given-name character that registries and old systems mix.
_FORMS = (
    "黃黄吳吴呂吕陳陈張张劉刘楊杨趙赵孫孙馬马鄭郑謝谢許许鄧邓馮冯葉叶蘇苏盧卢蔣蒋賈贾韓韩蕭萧閻阎閆闫鐘钟鍾钟"
    "譚谭陸陆範范廖廖龍龙萬万顧顾湯汤賴赖龔龚錢钱嚴严羅罗國国華华軍军偉伟麗丽蘭兰鳳凤寶宝貴贵紅红雲云東东"
    "強强彊强學学義义榮荣樹树勝胜濤涛傑杰輝辉慶庆蓮莲蘋苹潔洁靜静瓊琼穎颖頴颖飛飞興兴發发愛爱遠远壽寿連连"
    "産产產产戶户戸户髙高黒黑栁柳淸清靑青眞真緖绪緒绪煥焕爲为為为峯峰崑昆"
)
# 喆/哲 and 堃/坤 are typed for one another, but are names of their own: not folded.
_VARIANTS: dict[int, int | str] = {ord(a): b for a, b in zip(_FORMS[::2], _FORMS[1::2], strict=True)}
_SEPARATORS = re.compile("[\\s·•・‧∙⋅.．,，、^=_\\-\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+")

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"
_CARD18 = re.compile(r"\d{17}[\dX]")
_CARD15 = re.compile(r"\d{15}")
_NEWBORN = re.compile(r"[^之]{2,}之(?:[长長次大小双]|[一二三甲乙丙])?(?:子|女|婴|嬰)")
_NOTHING = frozenset(
    {"", "/", "无", "不详", "未知", "未提供", "没有", "空", "暂无", "无证件", "NULL", "NONE", "NA", "N/A"}
)
_RUN = "01234567890123456789"
_OLDEST_YEARS = 130
_WRITTEN = PRIVATE_USE | _VARIANTS


def one_form(text: str) -> str:
    """Text with one written form a character: `黃國強` as `黄国强`."""
    return text.translate(_WRITTEN)


def fold(text: str) -> str:
    """Text with private-use and full-width characters replaced by the ones they stand for (NFKC)."""
    return unicodedata.normalize("NFKC", text.translate(PRIVATE_USE))


@lru_cache(maxsize=4096)
def name_key(text: str) -> str:
    """A name for comparing: folded, one written form a character, without blanks, dots and case."""
    return _SEPARATORS.sub("", fold(text)).translate(_VARIANTS).casefold()


def has_han(text: str) -> bool:
    """True when the text holds a Chinese character: `张珅`, not `ZHANG^SHEN`."""
    return any("\u3400" <= c <= "\u9fff" or c >= "\U00020000" for c in fold(text))


def card_key(text: str) -> str:
    """A card number without blanks and dashes, in half-width, `X` in capitals; "" for a placeholder."""
    plain = re.sub(r"[\s\-‐‑–—]", "", fold(text)).upper().replace("×", "X").replace("Х", "X")
    return "" if is_placeholder(plain) else plain


def is_placeholder(plain: str) -> bool:
    """True for what stands in a card field when there is no card: 无, 0…0, 123456…"""
    return plain in _NOTHING or len(set(plain)) == 1 or (len(plain) >= 6 and plain[:-1] in _RUN)


def check_character(first17: str) -> str:
    """The 18th character for the 17 digits before it (GB 11643 §4.2.4)."""
    total = sum(int(digit) * weight for digit, weight in zip(first17, _WEIGHTS, strict=True))
    return _CHECK[total % 11]


def upgrade(card15: str) -> str:
    """The 18 characters of a 15-digit number: the century is 19, the check character is added."""
    first17 = f"{card15[:6]}19{card15[6:]}"
    return first17 + check_character(first17)


def eighteen(plain: str) -> str:
    """A compared number in 18 characters where it has 15 digits; any other as it is."""
    return upgrade(plain) if _CARD15.fullmatch(plain) else plain


def birth_inside(card18: str) -> str:
    """The birth date inside the number as `YYYY-MM-DD`, "" when there is no such day."""
    try:
        return date(int(card18[6:10]), int(card18[10:12]), int(card18[12:14])).isoformat()
    except ValueError:
        return ""


def sex_inside(card18: str) -> str:
    """FHIR gender inside the number: the 17th digit is odd for men."""
    return "male" if int(card18[16]) % 2 else "female"


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """Whether a card number may identify the person of its record (D22).

    value18: the number in 18 characters when it is a card number at all, else as compared.
    code: `ok`, or why not; `contradicts` tells the codes that mean another person's card.
    """

    verified: bool
    value18: str
    reason_zh: str
    code: str

    @property
    def contradicts(self) -> bool:
        """True when the number is a right one, but not of a person with this birth date and sex."""
        return self.code in ("birth-contradicts", "sex-contradicts")

    @property
    def mistyped(self) -> bool:
        """True when the number can be nobody's: its sender should know."""
        return self.code in ("not-a-card", "no-such-date", "check-digit")


_REASONS = {
    "ok": "",
    "placeholder": "占位号",
    "mother": "母亲证件",
    "other-kind": "不是居民身份证",
    "not-a-card": "不是居民身份证号",
    "no-such-date": "日期不存在",
    "check-digit": "校验位不符",
    "birth-contradicts": "证件与出生日期不符",
    "sex-contradicts": "证件与性别不符",
    "birth-unknown": "缺少出生日期，无法核对",
    "sex-unknown": "缺少性别，无法核对",
}


def verify_card(value: str, *, birth: str, sex: str, kind: str = "", today: date) -> CardVerdict:
    """Whether `value` is this record's own card number (D22; GB 11643).

    birth: FHIR date of the record, also partial; sex: FHIR gender; kind: CV02.01.101 code or its text.
    Never raises: whatever was typed gets a verdict.
    """
    number = eighteen(card_key(value))
    code = _kind_code(kind) or _number_code(number, today) or _agreement_code(number, birth, sex)
    return CardVerdict(code == "ok", number, _REASONS[code], code)


def is_mothers(kind: str) -> bool:
    """True for the kind 母亲身份证: local addition 19 to CV02.01.101, or the words."""
    return kind.strip() == "19" or "母" in kind


def is_named_after_mother(name: str) -> bool:
    """True for a newborn without a name of its own: 林芳之女, 林芳之次子, 林芳 之 子."""
    return bool(_NEWBORN.fullmatch(name_key(name)))


def is_sound(number: str) -> bool:
    """True for 18 characters that can be somebody's number: a day that exists, the right check character."""
    if not number.isascii() or not _CARD18.fullmatch(number):
        return False
    return bool(birth_inside(number)) and check_character(number[:17]) == number[17]


def may_stand_for(value: str, *, birth: str, sex: str, name: str) -> bool:
    """True when a card number may name its record where a system has no number of its own for a patient: it is
    sound, nothing beside it contradicts it, and the patient is no unnamed newborn, booked under the mother's.

    A number Excel rounded (`9.90101E+17`) is that of everybody in the file.
    """
    number = eighteen(card_key(value))
    contradicts = not is_sound(number) or _agreement_code(number, birth, sex).endswith("contradicts")
    return not contradicts and not is_named_after_mother(name)


def _kind_code(kind: str) -> str:
    if is_mothers(kind):
        return "mother"
    return "" if kind.strip() in ("", "01", "1") or "身份证" in kind else "other-kind"


def _number_code(number: str, today: date) -> str:
    if not number:
        return "placeholder"
    if not number.isascii() or not _CARD18.fullmatch(number):
        return "not-a-card"
    birth = birth_inside(number)
    if not birth or birth > today.isoformat() or today.year - int(birth[:4]) > _OLDEST_YEARS:
        return "no-such-date"
    return "" if check_character(number[:17]) == number[17] else "check-digit"


def _agreement_code(number: str, birth: str, sex: str) -> str:
    inside = birth_inside(number)
    if not inside.startswith(birth[:10]):
        return "birth-contradicts"
    if sex in ("male", "female") and sex != sex_inside(number):
        return "sex-contradicts"
    if len(birth) < 10:
        return "birth-unknown"
    return "ok" if sex in ("male", "female") else "sex-unknown"


def phone_key(text: str) -> str:
    """Digits of a phone number without the country code; "" when there are fewer than four."""
    digits = re.sub(r"\D", "", fold(text))
    digits = re.sub(r"^(?:00)?86(?=1\d{10}$)", "", digits)
    return digits if len(digits) >= 4 and len(set(digits)) > 1 else ""
