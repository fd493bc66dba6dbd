"""The doctor's search box: one line of text, understood, then at most 25 residents.

A card number suffices alone; a name never does (D27). Nothing of what was typed is repeated in an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from ..errors import BadParameter
from ..model import systems
from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.normalise import birth_inside, card_key, fold, phone_key, sex_inside, upgrade, verify_card
from ..model.query import Filter, Query
from ..model.resource import Json, loads
from ..model.times import CHINA, Clock
from ..store.base import Store
from .person import verdicts

MOST = 25
_NAMESAKES = 500

Kind = Literal["card", "health-card", "local", "birth", "phone"]

_DIGITS = re.compile(r"\d{15}|\d{17}[\dX]")
_NUMBER = re.compile(r"[A-Z]{0,4}\d{12,24}|\d{8,10}")
_NAME_FIRST = re.compile(r"(?P<name>[^\d@]+?)[\s,，、;；]*(?P<tail>\d[\d\s./年月日-]*)")
_TAIL_FIRST = re.compile(r"(?P<tail>\d[\d./年月日-]*)[\s,，、;；]+(?P<name>[^\d@]+)")
_DATE = re.compile(r"(\d{4})(?:[-./年](\d{1,2})(?:[-./月](\d{1,2}))?|(\d{2})(\d{2})?)[月日]?")

_HOW = {
    "card": "身份证号",
    "health-card": "健康卡号",
    "local": "本地号 + 机构",
    "birth": "姓名开头 + 出生年月",
    "phone": "姓名开头 + 电话尾号",
}


@dataclass(frozen=True, slots=True)
class PersonQuery:
    """What a line of text asks for.

    number: card in 18 characters, health card or local number. birth: `YYYY-MM` or `YYYY-MM-DD`.
    phone: the last digits. member: as typed, for a local number.
    """

    kind: Kind
    number: str = ""
    name: str = ""
    birth: str = ""
    phone: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """patients: Patients in order of fit, at most 25. how_zh: how the text was understood.

    shown: what may stand in the search box again, "" for a number that identifies. more: there were further hits.
    waiting: where nobody was found, provisional persons the text fits, whom a search never gives.
    """

    patients: tuple[Json, ...]
    how_zh: str
    shown: str = ""
    more: bool = False
    waiting: int = 0


def parse_query(text: str, today: date) -> PersonQuery:
    """The query a doctor typed or scanned: full-width, blanks and a lower-case x are as good as any.

    Raises BadParameter with what to type instead: for a name alone, a card with a wrong digit, a
    telephone number alone.
    """
    plain = fold(text).strip()
    if "@" in plain:
        return _local(plain)
    number = card_key(plain)
    if number.isascii() and _DIGITS.fullmatch(number):
        return _card(number, today)
    if number.isascii() and _NUMBER.fullmatch(number):
        return PersonQuery("health-card", number=number)
    found = _NAME_FIRST.fullmatch(plain) or _TAIL_FIRST.fullmatch(plain)
    if found is None:
        raise _refused(
            "name or number alone", "请输入身份证号，或 姓名 + 出生年月，或 姓名 + 手机尾号，或 本地号@机构。"
        )
    return _named(found["name"].strip(" ,，、;；"), found["tail"].strip(), today)


def _local(plain: str) -> PersonQuery:
    number, _, member = (part.strip() for part in plain.partition("@"))
    if not number or not member:
        raise _refused("local number or member missing", "请写成 本地号@机构，例如 A100234@机构简称。")
    return PersonQuery("local", number=number, member=member)


def _card(number: str, today: date) -> PersonQuery:
    full = upgrade(number) if len(number) == 15 else number
    verdict = verify_card(full, birth=birth_inside(full), sex=sex_inside(full), today=today)
    if not verdict.verified:
        raise _refused(f"card: {verdict.code}", f"身份证号{verdict.reason_zh}，请核对。")
    return PersonQuery("card", number=full)


def _named(name: str, tail: str, today: date) -> PersonQuery:
    dated = _DATE.fullmatch(re.sub(r"\s", "", tail))
    if dated:
        year, month, day = dated[1], dated[2] or dated[4], dated[3] or dated[5]
        birth = f"{year}-{int(month):02d}" + (f"-{int(day):02d}" if day else "")
        if _is_birth(birth, today):
            return PersonQuery("birth", name=name, birth=birth)
        if not tail.isdigit():
            raise _refused("no such birth month", "出生年月不存在，请写成 1958-03。")
    digits = re.sub(r"\D", "", tail)
    if not 4 <= len(digits) <= 11 or not re.fullmatch(r"[\d\s-]+", tail):
        raise _refused("neither birth month nor phone", "姓名后请写出生年月（1958-03）或至少 4 位手机尾号。")
    return PersonQuery("phone", name=name, phone=digits)


def _is_birth(birth: str, today: date) -> bool:
    try:
        first = date.fromisoformat(birth if len(birth) == 10 else birth + "-01")
    except ValueError:
        return False
    return date(1890, 1, 1) <= first <= today


def _refused(english: str, chinese: str) -> BadParameter:
    return BadParameter("resident", english, detail_zh=chinese)


class PersonSearch:
    """Finds residents for one doctor; every row access carries the doctor's own context."""

    def __init__(self, store: Store, directory: Directory, clock: Clock) -> None:
        self._store, self._directory, self._clock = store, directory, clock

    async def find(self, text: str, who: AccessContext) -> Found:
        """At most 25 residents. Raises BadParameter as `parse_query` does, and for an unknown member."""
        today = self._clock().astimezone(CHINA).date()
        query = parse_query(text, today)
        how = f"按“{_HOW[query.kind]}”查找"
        if query.kind == "local":
            return Found(await self._by_number(query, who), how, text.strip())
        filters = _filters(query)
        found, more = await self._search(who, *filters, count=_NAMESAKES if query.kind == "phone" else MOST)
        fit = _fitting(found, query, today)
        waiting = 0 if fit or query.kind == "phone" else await self._waiting(who, filters)
        how += _length(query.number) if query.kind == "health-card" else ""
        shown = "" if query.number else text.strip()
        return Found(tuple(fit[:MOST]), how, shown, more or len(fit) > MOST, waiting)

    async def _waiting(self, who: AccessContext, filters: tuple[Filter, ...]) -> int:
        provisional = Filter("_tag", "token", (f"{systems.RECORD_TAG}|provisional",))
        page = await self._store.search(Query("Patient", (*filters, provisional), count=MOST, retired=True), who)
        return len(page.matches)

    async def _by_number(self, query: PersonQuery, who: AccessContext) -> tuple[Json, ...]:
        member, typed = self._member(query.member), query.number
        rows = await self._store.records([(member, number) for number in (typed, typed.upper(), typed.lower())])
        row = next(filter(None, rows), None)
        found = await self._store.read("Patient", row.patient, who) if row else None
        return (loads(found.body),) if found is not None and found.body else ()

    def _member(self, typed: str) -> str:
        wanted = typed.casefold()
        for key, member in self._directory.members.items():
            if wanted in (key.casefold(), member.name.casefold(), member.short.casefold()):
                return key
        raise _refused("unknown member", "没有这个机构，请用机构全称或简称。")

    async def _search(self, who: AccessContext, *filters: Filter, count: int = MOST) -> tuple[list[Json], bool]:
        page = await self._store.search(Query("Patient", filters, count=count), who)
        return [loads(row.body) for row in page.matches], bool(page.next)


def _filters(query: PersonQuery) -> tuple[Filter, ...]:
    if query.number:
        system = systems.ID_CARD if query.kind == "card" else systems.HEALTH_CARD
        return (Filter("identifier", "token", (f"{system}|{query.number}",)),)
    name = Filter("name", "string", (_escaped(query.name),))
    return (name, Filter("birthdate", "date", (query.birth,))) if query.kind == "birth" else (name,)


def _length(number: str) -> str:
    # A digit too few or too many makes a health card of an identity card, and "nobody found" of a resident.
    near = number.isdigit() and 16 <= len(number) <= 20
    return f"（输入了 {len(number)} 位；身份证号应为 18 位，请核对有无漏键、多键）" if near else ""


def _fitting(found: list[Json], query: PersonQuery, today: date) -> list[Json]:
    if query.kind == "card":
        return _holders(found, query.number, today)
    return [patient for patient in found if _rings(patient, query.phone)] if query.kind == "phone" else found


def _holders(found: list[Json], card: str, today: date) -> list[Json]:
    """Those whose own card it is; without any, those whose record could not be checked. Never a contradiction."""
    ranked: dict[str, list[Json]] = {"ok": [], "birth-unknown": [], "sex-unknown": []}
    for patient in found:
        codes = {v.code for _, v in verdicts(patient, today) if v.value18 == card}
        best = next((code for code in ranked if code in codes), "")
        if best:
            ranked[best].append(patient)
    return ranked["ok"] or ranked["birth-unknown"] + ranked["sex-unknown"]


def _rings(patient: Json, tail: str) -> bool:
    numbers = (str(one.get("value", "")) for one in patient.get("telecom", ()) if one.get("system") != "email")
    return any(phone_key(number).endswith(tail) for number in numbers)


def _escaped(name: str) -> str:
    return name.replace("\\", "").replace("|", "").replace("$", "")
