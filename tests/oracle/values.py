"""What R4's search rules say of one value, written for reading: no index, no hashes, exact fractions.

Every function takes a value as FHIRPath gave it (JSON) and one alternative of a query, and answers yes or no.
Source: FHIR R4 search.html; the gateway's own word where R4 leaves it open: names and addresses are compared
without blanks, a date is a whole day at +08:00, a Chinese name is found by its pinyin, its initials and the two mixed.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")
CHINA = timezone(timedelta(hours=8))
SPOKEN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "欧阳娜娜": (
        "欧阳", "娜娜",
        ("ouyangnana", "oynn", "ouyangnn", "欧阳nn", "欧阳nana", "ouyangnanuo", "ouyangnuona", "ouyangnuonuo",
         "欧阳nanuo", "欧阳nuona", "欧阳nuonuo"),
    ),
    "王小明": ("王", "小明", ("wangxiaoming", "wxm", "wangxm", "王xm", "王xiaoming", "wangxiaomeng", "王xiaomeng")),
    "王伟": ("王", "伟", ("wangwei", "ww", "wangw", "王w", "王wei")),
    "吕布": ("吕", "布", ("lvbu", "lubu", "lb", "lvb", "lub", "吕b", "吕bu")),
    "单小红": (
        "单", "小红",
        ("shanxiaohong", "sxh", "danxiaohong", "dxh", "shanxh", "danxh", "单xh", "单xiaohong",
         "shanxiaogong", "sxg", "danxiaogong", "dxg", "shanxg", "danxg", "单xg", "单xiaogong"),
    ),
    "诸葛亮": ("诸葛", "亮", ("zhugeliang", "zgl", "zhugel", "诸葛l", "诸葛liang")),
}  # fmt: skip
"""Chinese names of the tests: surname, given name, how the whole is typed; 娜, 明 and 红 have a second reading."""
SURNAMES = {"欧阳": ("ouyang", "oy"), "王": ("wang", "w"), "吕": ("lv", "lu", "l"), "单": ("shan", "s", "dan", "d"),
            "诸葛": ("zhuge", "zg")}  # fmt: skip
GIVEN = {"娜娜": ("nana", "nn", "nanuo", "nuona", "nuonuo"), "小明": ("xiaoming", "xm", "xiaomeng"), "伟": ("wei", "w"),
         "布": ("bu", "b"), "小红": ("xiaohong", "xh", "xiaogong", "xg"), "亮": ("liang", "l")}  # fmt: skip
_UCUM = {
    "mg": ("g", Fraction(1, 1000)), "g": ("g", Fraction(1)), "ug": ("g", Fraction(1, 10**6)),
    "g/L": ("g/L", Fraction(1)), "mg/dL": ("g/L", Fraction(1, 100)), "mmol/L": ("mol/L", Fraction(1, 1000)),
    "umol/L": ("mol/L", Fraction(1, 10**6)), "mm[Hg]": ("mm[Hg]", Fraction(1)), "a": ("a", Fraction(1)),
}  # fmt: skip
UCUM = "http://unitsofmeasure.org"


# ---- prefixes ---------------------------------------------------------------------------------
def prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def compared(prefix: str, lo: Any, hi: Any, low: Any, high: Any) -> bool:
    """A stored range [lo, hi] against an asked range [low, high]."""
    inside = low <= lo and hi <= high
    return bool(
        {
            "eq": inside,
            "ne": not inside,
            "gt": hi > high,
            "ge": hi > high or inside,
            "lt": lo < low,
            "le": lo < low or inside,
            "sa": lo > high,
            "eb": hi < low,
            "ap": lo <= high and hi >= low,
        }[prefix]
    )


# ---- token ------------------------------------------------------------------------------------
def codings(value: Any) -> list[tuple[str, str]]:
    """(system, code) pairs, "" where there is none."""
    if isinstance(value, bool):
        return [("", "true" if value else "false")]
    if not isinstance(value, dict):
        return [("", str(value))]
    if "coding" in value or ("text" in value and "code" not in value and "value" not in value):
        return [pair for one in value.get("coding", []) for pair in codings(one)]
    if "code" in value or "display" in value:
        return [(value.get("system", ""), value.get("code", ""))]
    if value.get("system") in ("phone", "email", "fax", "sms"):
        return [("", value.get("value", ""))]
    return [(value.get("system", ""), value.get("value", ""))]


def token(value: Any, asked: str) -> bool:
    system, bar, code = asked.rpartition("|")
    found = codings(value)
    if not bar:
        return any(code == c for _, c in found if c)
    if not code:
        return any(system == s for s, _ in found if s)
    if not isinstance(value, dict):  # a `code`: its system is understood
        return any(code == c for _, c in found)
    return any((system, code) == (s, c) for s, c in found)


def texts_of_token(value: Any) -> list[str]:
    """What `:text` looks at."""
    if not isinstance(value, dict):
        return []
    found = [value.get("text"), value.get("display"), (value.get("type") or {}).get("text")]
    found += [one.get("display") for one in value.get("coding", [])]
    found += [one.get("display") for one in (value.get("type") or {}).get("coding", [])]
    return [text for text in found if text]


def of_type(value: Any, asked: str) -> bool:
    system, code, number = asked.split("|")
    types = (value.get("type") or {}).get("coding", []) if isinstance(value, dict) else []
    same = any(one.get("system") == system and one.get("code") == code for one in types)
    return same and value.get("value") == number


# ---- string -----------------------------------------------------------------------------------
def folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def tight(text: str) -> str:
    return re.sub("[ ·•・'’.-]", "", folded(text))


def is_address(value: Any) -> bool:
    return any(key in value for key in ("line", "city", "district", "state", "postalCode", "country"))


def said(value: Any, code: str) -> list[str]:
    """The strings of a value, as sent."""
    if isinstance(value, str):
        return [value]
    if is_address(value):
        parts = [value.get(key) for key in ("text", "city", "district", "state", "postalCode", "country")]
        found = [part for part in [*parts, *value.get("line", [])] if part]
        if not value.get("text") and len(found) > 1:
            whole = [value.get("state"), value.get("city"), value.get("district"), *value.get("line", [])]
            found.append("".join(part for part in whole if part))
        return found
    whole = value.get("family", "") + "".join(value.get("given", []))
    joined = [whole] if not value.get("text") and whole in SPOKEN else []  # a Chinese name sent in two parts
    parts = [part for key in ("given", "prefix", "suffix") for part in value.get(key, []) if part]
    return [value[key] for key in ("text", "family") if value.get(key)] + parts + joined


def spoken(value: Any, code: str) -> list[str]:
    """What a Chinese name is also found by."""
    if code in ("family", "given"):
        return list((SURNAMES if code == "family" else GIVEN).get(str(value), ()))
    if not isinstance(value, dict):
        return []
    whole = value.get("text") or value.get("family", "") + "".join(value.get("given", []))
    return [*SPOKEN.get(whole, ("", "", ()))[2], *SURNAMES.get(value.get("family", ""), ())]


def leading(value: Any, code: str) -> str:
    """By what a string is put in order: a Chinese name by its pinyin, an address by the whole of it."""
    aloud = spoken(value, code)
    if aloud:
        return aloud[0]
    close = isinstance(value, dict) or code in ("family", "given") or code.startswith("address")
    texts = said(value, code)
    whole = isinstance(value, dict) and is_address(value) and not value.get("text")
    return (tight if close else folded)(texts[-1] if whole else texts[0])


def split_name(name: Any) -> tuple[str, str]:
    """Surname and given name of a name that has only its text."""
    if isinstance(name, dict) and not name.get("family") and not name.get("given"):
        return SPOKEN.get(name.get("text", ""), ("", "", ()))[:2]
    return "", ""


def string(value: Any, asked: str, code: str, modifier: str, *, close: bool) -> bool:
    if modifier == "exact":
        return asked in said(value, code)
    fold = tight if close else folded
    found = [fold(text) for text in said(value, code)] + spoken(value, code)
    wanted = fold(asked)
    if modifier == "contains":
        return any(wanted in text for text in found)
    return any(text.startswith(wanted) for text in found)


def full_text(doc: Any, asked: str, *, narrative: bool) -> bool:
    """Whether all words of one alternative stand in the narrative, or in any text of a resource."""
    said_there = [str((doc.get("text") or {}).get("div", ""))] if narrative else list(_strings(doc))
    whole = folded(" ".join(re.sub("<[^>]*>", " ", text) for text in said_there))
    return any(all(word in whole for word in folded(one).split()) for one in asked.split(","))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        kept = [inner for key, inner in value.items() if key not in ("data", "resourceType")]
        return [text for inner in kept for text in _strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return [value] if isinstance(value, str) else []


# ---- date -------------------------------------------------------------------------------------
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def moments(text: str) -> tuple[datetime, datetime]:
    """First and last millisecond of a date as written."""
    if len(text) == 4:
        return _day(f"{text}-01-01"), _day(f"{int(text) + 1}-01-01") - _MS
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        after = f"{year + month // 12}-{month % 12 + 1:02d}-01"
        return _day(f"{text}-01"), _day(after) - _MS
    if len(text) == 10:
        return _day(text), _day(text) + timedelta(days=1) - _MS
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=CHINA)
    clock = re.sub(r"(Z|[+-]\d\d:\d\d)$", "", text[11:])
    length = _MS if "." in clock else timedelta(minutes=1) if len(clock) == 5 else timedelta(seconds=1)
    return at, at + length - _MS


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHINA)


def spans(value: Any) -> list[tuple[datetime, datetime]]:
    """Ranges of a date, dateTime, instant, Period or Timing."""
    if isinstance(value, str):
        return [moments(value)]
    if "event" in value or "repeat" in value:
        events = [moments(event) for event in value.get("event", [])]
        bounds = (value.get("repeat") or {}).get("boundsPeriod")
        whole = [(min(lo for lo, _ in events), max(hi for _, hi in events))] if events else []
        return whole + (spans(bounds) if bounds else [])
    if not value.get("start") and not value.get("end"):
        return []
    low = moments(value["start"])[0] if value.get("start") else FIRST
    return [(low, moments(value["end"])[1] if value.get("end") else LAST)]


def date(value: Any, asked: str) -> bool:
    return any(dated(lo, hi, asked) for lo, hi in spans(value))


def dated(lo: datetime, hi: datetime, asked: str) -> bool:
    prefix, text = prefixed(asked)
    low, high = moments(text)
    if prefix == "ap":
        more = max(timedelta(days=1), (high - low) // 10)
        low, high = low - more, high + more
    return compared(prefix, lo, hi, low, high)


# ---- number and quantity ----------------------------------------------------------------------
def near(found: Fraction, asked: str, factor: Fraction = Fraction(1)) -> bool:
    """factor: what one unit of the question is worth in units of `found`."""
    prefix, digits = prefixed(asked)
    exact = Decimal(digits)
    value = Fraction(exact) * factor
    half = Fraction(5) * Fraction(10) ** (int(exact.as_tuple().exponent) - 1) * factor
    inside = value - half <= found < value + half
    if prefix in ("eq", "ne"):
        return inside == (prefix == "eq")
    if prefix == "ap":
        return abs(found - value) <= max(abs(value) / 10, half)
    return {"gt": found > value, "sa": found > value, "ge": found >= value,
            "lt": found < value, "eb": found < value, "le": found <= value}[prefix]  # fmt: skip


def number(value: Any, asked: str) -> bool:
    return any(near(Fraction(Decimal(str(one))), asked) for one in _numbers(value))


def _numbers(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return [value]
    return [value[end]["value"] for end in ("low", "high") if value.get(end, {}).get("value") is not None]


def quantity(value: Any, asked: str) -> bool:
    ends = [value[end] for end in ("low", "high") if value.get(end)] if "low" in value or "high" in value else [value]
    return any(_quantity(one, asked) for one in ends)


def _quantity(value: Any, asked: str) -> bool:
    if value.get("value") is None:
        return False
    digits, _, unit = asked.partition("|")
    system, _, code = unit.partition("|")
    found = Fraction(Decimal(str(value["value"])))
    own_system, own = value.get("system"), value.get("code")
    if "currency" in value:
        own_system, own = "urn:iso:std:iso:4217", value["currency"]
    if not code:
        return near(found, digits)
    if not system:
        return code in (own, value.get("unit")) and near(found, digits)
    if (own_system, own) == (system, code):
        return near(found, digits)
    if own_system != UCUM or system != UCUM or own not in _UCUM or code not in _UCUM:
        return False
    (base, factor), (other, asked_factor) = _UCUM[own], _UCUM[code]
    return base == other and near(found * factor, digits, asked_factor)


# ---- uri --------------------------------------------------------------------------------------
def uri(value: str, asked: str, modifier: str) -> bool:
    if value == asked:
        return True
    if modifier == "below" and not asked.startswith("urn:"):  # of URLs alone
        return value.startswith(asked)
    return modifier == "above" and not value.startswith("urn:") and asked.startswith(value)
