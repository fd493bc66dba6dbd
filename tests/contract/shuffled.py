"""Updates of many residents in any order: what hospitals send about one person in some weeks, and the end of a store.

Registrations, changes and deletions of demographics, visits with their moves and cancellations, requests, reports with
corrections and withdrawals, documents, merges; from two members that spell the name differently. Every message has its
own time of writing, so there is one right end whatever the order of arrival.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from random import Random

from msgspec.structs import replace

from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import Json, loads
from gateway.store.base import Resource, Store
from tests.flow.messages import card

_BEGIN = datetime(2026, 2, 1, 8)
_FAMILIES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨"
_GIVEN = "一二三四五六七八九十百千东南西北"
TYPES = (
    "Patient", "Encounter", "Condition", "ServiceRequest", "DiagnosticReport", "Observation", "DocumentReference",
    "Specimen", "Task", "AllergyIntolerance", "RelatedPerson", "Appointment",
)  # fmt: skip


class Resident:
    """One resident and the messages about it, each written later than the one before."""

    def __init__(self, number: int, chance: Random) -> None:
        self._number, self._chance = number, chance
        self._at = _BEGIN + timedelta(seconds=chance.randrange(86_400))
        self._card, self._count = card(number), 0
        self._name = chance.choice(_FAMILIES) + chance.choice(_GIVEN) + chance.choice(_GIVEN)
        self._visits = self._orders = self._documents = 0

    def messages(self, count: int) -> Iterator[bytes]:
        """The first registration of both numbers, then whatever comes."""
        yield self._said("ADT^A28^ADT_A05", self._pid())
        yield self._said("ADT^A04^ADT_A01", self._pid("B"), self._visit("B1"))
        kinds = (self._demographics, self._movement, self._order, self._report, self._other_lab, self._document)
        for place in range(count - 2):
            if place == count // 2:
                yield self._said("ADT^A40^ADT_A39", self._pid(), f"MRG|B{self._number}^^^CITY1^MR")
            elif place == count // 3:
                moved = f"MRG|B{self._number}^^^CITY1^MR||||B1-{self._number}"
                yield self._said("ADT^A45^ADT_A45", self._pid(), moved, self._visit("B1"))
            else:
                yield self._chance.choice(kinds)()

    def _said(self, kind: str, *segments: str, sender: str = "ESB|CITY1") -> bytes:
        self._at += timedelta(minutes=self._chance.randrange(1, 200), seconds=self._number % 60)
        self._count += 1
        head = (
            f"MSH|^~\\&|{sender}|GATEWAY|ALLIANCE|{self._at:%Y%m%d%H%M%S}||{kind}|U{self._number}-{self._count}|P|2.5.1"
        )
        return "\r".join([f"{head}||||||UNICODE UTF-8", *segments, ""]).encode()

    def _pid(self, which: str = "A", *, address: str = "", phone: str = "", name: str = "") -> str:
        """Number A carries the card, number B does not; an empty field says nothing, `""` deletes."""
        proof = f"~{self._card}^^^^NI" if which == "A" else ""
        born, sex = self._card[6:14] if which == "A" else "", "M" if int(self._card[16]) % 2 else "F"
        name = name or (self._name if which == "A" else self._name[:2])
        return f"PID|1||{which}{self._number}^^^CITY1^MR{proof}||{name}||{born}|{sex}|||{address}||{phone}"

    def _visit(self, number: str, *, place: str = "N2^03^1", end: str = "") -> str:
        fields = {1: "1", 2: "I", 3: place, 7: "D021^钱内科", 19: f"{number}-{self._number}", 44: "20260201", 45: end}
        return "PV1|" + "|".join(fields.get(one, "") for one in range(1, 46))

    def _demographics(self) -> bytes:
        any_ = self._chance
        address, phone = (
            any_.choice(("", '""', f"{any_.randrange(90)}号")),
            any_.choice(("", '""', f"139{any_.random():.8f}")),
        )
        which = any_.choice("AAB")
        kind = any_.choice(("ADT^A08^ADT_A01", "ADT^A31^ADT_A05"))
        return self._said(kind, self._pid(which, address=address, phone=phone.replace("0.", "")))

    def _movement(self) -> bytes:
        any_ = self._chance
        if not self._visits or any_.random() < 0.2:
            self._visits += 1
            told = (f"DG1|1||I{any_.randrange(10, 30)}^诊断|||A",)
            return self._said("ADT^A01^ADT_A01", self._pid(), self._visit(f"V{self._visits}"), *told)
        number, bed = f"V{any_.randrange(self._visits) + 1}", f"N{any_.randrange(9)}^01^1"
        match any_.randrange(5):
            case 0:
                return self._said("ADT^A03^ADT_A03", self._pid(), self._visit(number, end="20260310"))
            case 1:
                return self._said("ADT^A13^ADT_A01", self._pid(), self._visit(number))
            case 2:
                return self._said("ADT^A11^ADT_A09", self._pid(), self._visit(number))
            case _:
                return self._said("ADT^A02^ADT_A02", self._pid(), self._visit(number, place=bed))

    def _order(self) -> bytes:
        self._orders += self._chance.random() < 0.5 or not self._orders
        number = f"{self._number}-{self._chance.randrange(self._orders) + 1}"
        control, which = self._chance.choice(("NW", "NW", "CA", "XO")), self._chance.choice("AAAB")
        placed = f"ORC|{control}|O{which}{number}\rOBR|1|O{which}{number}||BIO^生化^L"
        return self._said("ORM^O01^ORM_O01", self._pid(which), placed)

    def _report(self) -> bytes:
        """A report of 1 to 4 items: preliminary, final, corrected, withdrawn, or issued anew with other items."""
        self._orders = self._orders or 1
        number = f"{self._number}-{self._chance.randrange(self._orders) + 1}"
        which = self._chance.choice("AAAB")
        return self._said("ORU^R01^ORU_R01", self._pid(which), *self._results(f"O{which}{number}", f"R{number}"))

    def _results(self, placer: str, filler: str) -> list[str]:
        any_, issued = self._chance, f"{self._at:%Y%m%d%H%M%S}"
        status = any_.choice("PFFCCX")
        obr = f"OBR|1|{placer}|{filler}|BIO^生化^L|||20260201080000|||||||||||||||{issued}||LAB|{status}"
        items = any_.sample(("K^钾", "NA^钠", "CL^氯", "CA^钙", "GLU^糖"), any_.randrange(1, 5))
        value = [f"{any_.randrange(10, 99) / 10:.1f}" for _ in items]
        return [f"ORC|RE|{placer}|{filler}", obr, *(
            f"OBX|{n}|NM|{item}^L||{value[n - 1]}|mmol/L|3.5-5.3||||{status}" for n, item in enumerate(items, 1)
        )]  # fmt: skip

    def _other_lab(self) -> bytes:
        """Another member's laboratory, which knows the resident by the card and writes the name in its own way."""
        number, name = f"{self._number}-{self._chance.randrange(3)}", self._chance.choice((self._name, self._name[:2]))
        pid = f"PID|1||C{self._number}^^^XZYY^MR~{self._card}^^^^NI||{name}||{self._card[6:14]}|"
        return self._said("ORU^R01^ORU_R01", pid, *self._results(f"P{number}", f"Q{number}"), sender="LIS|XZYY")

    def _document(self) -> bytes:
        any_ = self._chance
        parent = f"D{self._number}-{any_.randrange(self._documents) + 1}" if self._documents else ""
        event = any_.choice(("T02", "T02", "T06", "T10", "T11", "T03")) if parent else "T02"
        if event in ("T02", "T06", "T10"):
            self._documents += 1
            number, before = f"D{self._number}-{self._documents}", parent if event != "T02" else ""
        else:
            number, before = parent, ""
        fields = {1: "1", 2: "CN^会诊记录", 6: "20260201", 12: number, 13: before, 17: "LA" if event == "T03" else "AU"}
        txa = "TXA|" + "|".join(fields.get(one, "") for one in range(1, 18))
        text = () if event in ("T11", "T03") else (f"OBX|1|TX|CN^会诊记录||第{self._count}稿",)
        return self._said(f"MDM^{event}^MDM_T02", f"EVN|{event}", self._pid(), txa, *text)


def shuffled(residents: int, each: int, seed: int, *, within: int = 0) -> list[bytes]:
    """`each` updates of every resident. within: places a message may arrive too late; 0 = all in any order."""
    chance = Random(seed)
    told = [list(Resident(number, chance).messages(each)) for number in range(1, residents + 1)]
    written = [one for row in zip(*told, strict=True) for one in row]
    order = sorted(range(len(written)), key=lambda n: n + chance.random() * (within or 10 * len(written)))
    return [written[n] for n in order]


async def end_of(store: Store) -> dict[str, Json]:
    """Everything stored, without what only says when and from which message.

    Of a retired Patient only where it went: it stays as it was when the merge found it. Of a Task for the steward not
    which message raised it: a message that was set back may run a little later than it does when nothing else runs.
    """
    out: dict[str, Json] = {}
    for type_ in TYPES:
        async for row in _rows(store, Query(type_, count=1_000, retired=True)):
            body = loads(row.body)
            body.pop("meta", None)
            if type_ == "Task":
                body.pop("authoredOn", None)
            retired = body.get("active") is False
            out[f"{type_}/{row.id}"] = {"active": False, "link": body["link"]} if retired else body
    return out


async def _rows(store: Store, query: Query) -> AsyncIterator[Resource]:
    while True:
        page = await store.search(query, SYSTEM)
        for row in page.matches:
            yield row
        if not page.next:
            return
        query = replace(query, cursor=page.next)
