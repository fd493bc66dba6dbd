"""Queries of the person index in HL7 v2: who fits these demographics (QBP^Q22), what numbers has one (QBP^Q23).

A source may ask when its source.yaml says so, about its own member's residents or those of its alliances. A resident is
found by a number, or by name together with birth date or telephone (D27). Every disclosure is audited before the answer
leaves, every refusal too. Source: HL7 v2.5 §3.3.56, §3.3.57, §5.4; IHE ITI TF-2 §3.9 (PIX), §3.21 (PDQ).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from ..errors import BadQuery, GatewayError, MissingField, QueryDenied, UnknownKey
from ..identity.person import marked_unverified
from ..model import systems
from ..model.context import AccessContext, Role
from ..model.directory import Directory, Source
from ..model.query import Condition, Filter, Query, literal
from ..model.resource import Json, loads
from ..model.rest import Seen
from ..model.times import Clock
from ..security.audit import audit_row, outcome_of
from ..store.base import AuditRow, Store
from ..translate.engine import Mappings
from ..translate.functions_v2 import part
from ..translate.read_v2 import Peek, ack, error_segment, escaped, plain_text, respond
from .v2_reply import Domains, pid, pid_without_name, qak

_MOST = 100
_USUAL = 25
_BIRTH = re.compile(r"(\d{4})(?:[-/.年]?(\d\d?)(?:月|[-/.月]?(\d\d?)日?)?)?(?:[T ]?\d{4,}.*)?")
_PARAMETER = re.compile(r"@?PID\.(\d+)(?:\.(\d+))?(?:\.\d+)?")
_CANCEL = "QCN^J01"
_ANSWERS = {"QBP^Q22": "RSP^K22^RSP_K21", "QBP^Q23": "RSP^K23^RSP_K23"}


@dataclass(slots=True)
class _Asked:
    """One query on its way to its answer. rows: segments after QPD; patients: whom they disclose."""

    peek: Peek
    qpd: list[str]
    who: AccessContext
    quantity: int = _USUAL
    pointer: str = ""
    rows: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    status: str = "OK"
    shown: int = -1
    more: bool = False
    used: list[str] = field(default_factory=list)


class V2Query:
    """Answers queries of sources from the store."""

    def __init__(self, store: Store, mappings: Mappings, clock: Clock) -> None:
        self._store, self._mappings, self._clock = store, mappings, clock

    async def answer(self, body: bytes, peek: Peek, source: Source) -> tuple[bytes, GatewayError | None]:
        """RSP^K22 or RSP^K23 in the charset of the query, and why nobody was found where that is a fault."""
        if peek.kind == _CANCEL:
            return self._cancelled(body, peek, source)
        directory = self._mappings.directory
        asked = _asked(body, peek, _context(source, directory, peek, self._clock()))
        fault: GatewayError | None = None
        try:
            if source.queries == "none":
                raise QueryDenied("MSH-9", peek.kind)
            domains = Domains.of(directory)
            if peek.kind == "QBP^Q22":
                await self._candidates(asked, domains, source)
            else:
                await self._numbers(asked, domains)
        except GatewayError as error:
            fault = error
            asked.rows, asked.patients, asked.status, asked.shown, asked.more = [], [], error.ack[0], -1, False
        await self._store.disclose(self._audit(asked, source, fault))
        return _rendered(asked, fault, self._clock), fault

    def _cancelled(self, body: bytes, peek: Peek, source: Source) -> tuple[bytes, GatewayError | None]:
        """ACK of a query given up (v2.5 §5.4.6): nothing is held for one, its pointer says all there is to go on from.

        QID-1 is the tag of the query.
        """
        fault: GatewayError | None = None
        if source.queries == "none":
            fault = QueryDenied("MSH-9", peek.kind)
        elif not part([*_segments(body).get("QID", []), "", ""][1], 1):
            fault = MissingField("QID[1]-1")
        return ack(peek, fault.ack[0] if fault else "AA", fault, self._clock()), fault

    # ---- QBP^Q22 ---------------------------------------------------------------------------------
    async def _candidates(self, asked: _Asked, domains: Domains, source: Source) -> None:
        wanted = _wanted_domains(asked, 8, domains)
        query = Query("Patient", self._filters(asked, domains, source), count=asked.quantity, cursor=asked.pointer)
        page = await self._store.search(query, asked.who)
        for patient in (loads(row.body) for row in page.matches):
            numbers = _visible(patient, asked.who, wanted)
            if numbers or not wanted:
                asked.rows.append(pid(patient, numbers, domains))
                asked.patients.append(patient["id"])
        asked.shown, asked.more = len(asked.patients), bool(page.next)
        if page.next:
            asked.rows.append(f"DSC|{page.next}|I")
        asked.status = "OK" if asked.patients else "NF"

    def _filters(self, asked: _Asked, domains: Domains, source: Source) -> tuple[Condition, ...]:
        """Search parameters of QPD-3. Raises BadQuery for one nobody can answer, or for too little."""
        said: dict[tuple[int, int], str] = {}
        for number, repeat in enumerate(_field(asked, 3).split("~"), 1):
            name, value = part(repeat, 1), part(repeat, 2)
            found = _PARAMETER.fullmatch(name)
            if found is None or int(found[1]) not in _KNOWN:
                raise BadQuery(f"QPD[1]-3[{number}].1", name[:20], detail_zh=name[:20])
            if value:
                said[int(found[1]), int(found[2] or 1)] = value
        asked.used = sorted(f"PID.{one}.{two}" for one, two in said)
        filters = [one for make in (_name, _birth, _phone) for one in make(said)]
        filters += [*_number(said, domains), *self._sex(said, source)]
        codes = {one.code for one in filters}
        if "identifier" not in codes and not ("name" in codes and codes & {"birthdate", "phone"}):
            raise BadQuery(
                "QPD-3", "a number, or a name with birth date or telephone",
                detail_zh="请给出号码，或姓名加出生日期、电话；只有姓名不查询。",
            )  # fmt: skip
        return tuple(filters)

    def _sex(self, said: dict[tuple[int, int], str], source: Source) -> list[Filter]:
        value = said.get((8, 1))
        table = self._mappings.library.table(source.member, "gender")
        return [Filter("gender", "token", ((table and table.value(value)) or "unknown",))] if value else []

    # ---- QBP^Q23 ---------------------------------------------------------------------------------
    async def _numbers(self, asked: _Asked, domains: Domains) -> None:
        wanted = _wanted_domains(asked, 4, domains)
        given, authority = _field(asked, 3), ([*_field(asked, 3).split("^"), "", "", "", ""])[3]
        number, system = part(given, 1), domains.system(authority)
        if system is None:
            raise UnknownKey("QPD[1]-3[1].4", "the assigning authority", detail_zh="不认识这个发号机构（CX-4）。")
        patient = await self._holder(system, number, asked.who)
        if patient is None:
            raise UnknownKey("QPD[1]-3[1].1", "the number", detail_zh="没有这个号码，或无权查看。")
        numbers = _visible(patient, asked.who, wanted)
        numbers = [one for one in numbers if (one.get("system"), one.get("value")) != (system, number)]
        asked.used = ["PID.3.1", "PID.3.4"]
        asked.patients, asked.status = [patient["id"]], "OK" if numbers else "NF"
        asked.rows = [pid_without_name(numbers, domains)] if numbers else []

    async def _holder(self, system: str, number: str, who: AccessContext) -> Json | None:
        """The one current Patient with this number whom the caller may see."""
        asked = Query("Patient", (Filter("identifier", "token", (_token(system, number),)),), count=2)
        found = (await self._store.search(asked, who)).matches
        return loads(found[0].body) if len(found) == 1 else None

    # ---- audit -----------------------------------------------------------------------------------
    def _audit(self, asked: _Asked, source: Source, fault: GatewayError | None) -> AuditRow:
        people = tuple(asked.patients)
        entities, detail = tuple(f"Patient/{one}" for one in people), fault.code if fault else ""
        seen = Seen("E", asked.peek.kind, people, entities, " ".join(asked.used), detail)
        row = audit_row(self._clock(), asked.who, seen, kind="query", outcome=outcome_of(fault))
        return replace(row, role="source")


_KNOWN = frozenset({3, 5, 7, 8, 13, 19})
"""Fields of PID that QPD-3 may name."""


def _context(source: Source, directory: Directory, peek: Peek, at: datetime) -> AccessContext:
    """What a source may see: Patients its member, or a member of its alliances, has a record of."""
    alliances = directory.alliances_of(source.member, at)
    members = {source.member}
    if source.queries == "alliance":
        members = members.union(*(directory.within(one, at) for one in alliances))
    return AccessContext(
        user=source.name, display=source.title or source.name, role=Role.PLATFORM, member=source.member,
        alliance=alliances[0] if alliances else "", types=frozenset({"Patient"}), members=frozenset(members),
        request_id=peek.control_id[:64],
    )  # fmt: skip


def _segments(body: bytes) -> dict[str, list[str]]:
    """The first segment of each name, its fields."""
    return {line[:3]: line.split("|") for line in reversed(plain_text(body).split("\r")) if line}


def _asked(body: bytes, peek: Peek, who: AccessContext) -> _Asked:
    segments = _segments(body)
    asked = _Asked(peek, segments.get("QPD", ["QPD"]), who)
    quantity = part([*segments.get("RCP", []), "", "", ""][2], 1)
    if quantity.isdecimal() and int(quantity) > 0:
        asked.quantity = min(int(quantity), _MOST)
    asked.pointer = part([*segments.get("DSC", []), "", ""][1], 1)
    return asked


def _field(asked: _Asked, number: int) -> str:
    return asked.qpd[number] if number < len(asked.qpd) else ""


def _wanted_domains(asked: _Asked, place: int, domains: Domains) -> frozenset[str]:
    """Identifier systems asked for, empty for all. Raises UnknownKey at the repetition nobody knows."""
    found = set[str]()
    for number, repeat in enumerate(_field(asked, place).split("~"), 1):
        authority = ([*repeat.split("^"), "", "", ""])[3]
        if not repeat:
            continue
        system = domains.system(authority)
        if system is None:
            raise UnknownKey(f"QPD[1]-{place}[{number}]", "the domain", detail_zh="不认识要求返回的发号机构。")
        found.add(system)
    return frozenset(found)


def _visible(patient: Json, who: AccessContext, wanted: frozenset[str]) -> list[Json]:
    """Numbers the caller may learn: those of its members, and proven cards."""
    members = who.members or frozenset[str]()
    own = {systems.local_number(one) for one in members} | {systems.ID_CARD, systems.HEALTH_CARD}
    return [
        one
        for one in patient.get("identifier", ())
        if one.get("value")
        and one.get("system") in own
        and (not wanted or one["system"] in wanted)
        and not marked_unverified(one)
    ]


def _name(said: dict[tuple[int, int], str]) -> Iterable[Filter]:
    family, given = (said.get((5, place), "").strip("* ") for place in (1, 2))
    if family and given and not (family + given).isascii():
        family, given = family + given, ""
    return [Filter("name", "string", (literal(one),)) for one in (family, given) if one]


def _birth(said: dict[tuple[int, int], str]) -> Iterable[Filter]:
    value = said.get((7, 1), "")
    found = _BIRTH.fullmatch(value)
    if value and found is None:
        raise BadQuery("QPD-3", "@PID.7 is no date", detail_zh="@PID.7 不是日期。")
    return [Filter("birthdate", "date", ("-".join(one.zfill(2) for one in found.groups() if one),))] if found else []


def _phone(said: dict[tuple[int, int], str]) -> Iterable[Filter]:
    value = said.get((13, 1), "")
    return [Filter("phone", "token", (literal(value),))] if value else []


def _number(said: dict[tuple[int, int], str], domains: Domains) -> Iterable[Filter]:
    """PID-3 with its domain where one is named, PID-19 as identity card."""
    number, authority, card = said.get((3, 1), ""), said.get((3, 4), ""), said.get((19, 1), "")
    system = domains.system(authority) if authority else ""
    if system is None:
        raise UnknownKey("QPD-3", "@PID.3.4", detail_zh="@PID.3.4 不是认识的发号机构。")
    values = [_token(system, number)] if number else []
    values += [_token(systems.ID_CARD, card.upper())] if card else []
    return [Filter("identifier", "token", (one,)) for one in values]


def _token(system: str, value: str) -> str:
    return f"{system}|{literal(value)}" if system else literal(value)


def _rendered(asked: _Asked, fault: GatewayError | None, clock: Clock) -> bytes:
    peek, old = asked.peek, asked.qpd
    code = fault.ack[0] if fault else "AA"
    rows: Sequence[str] = (
        f"MSA|{code}|{escaped(peek.control_id)}",
        *([error_segment(fault)] if fault else []),
        qak(_field(asked, 2), asked.status, _field(asked, 1), asked.shown, asked.more),
        "|".join(old),
        *asked.rows,
    )
    return respond(peek, _ANSWERS[peek.kind], rows, clock())
