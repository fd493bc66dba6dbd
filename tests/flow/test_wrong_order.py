"""Messages in the wrong order through the MLLP door: the store ends as after the right order."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model.outcome import State
from gateway.model.resource import Json
from tests.flow.alliance import Alliance
from tests.flow.messages import card

MSH = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|{at}||{kind}|W{number:07d}|P|2.5.1||||||UNICODE UTF-8"
PID = "PID|1||{number}^^^CITY1^MR{card}||{name}||{born}|F|||{address}"
CARD = "~990150198809260427^^^^NI"


def message(number: int, at: str, kind: str, *segments: str) -> bytes:
    """One message written at `at`; `number` makes its control id."""
    return "\r".join([MSH.format(at=at, kind=kind, number=number), *segments, ""]).encode()


def person(number: str = "W100", *, proof: str = CARD, name: str = "韩雪梅", address: str = "") -> str:
    return PID.format(number=number, card=proof, name=name, born="19880926" if proof else "", address=address)


def visit(number: str, *, place: str = "N2^03^1", start: str = "20260310093000", end: str = "") -> str:
    fields = {2: "I", 3: place, 7: "D021^钱内科", 19: number, 44: start, 45: end}
    return "PV1|" + "|".join(fields.get(place, "1" if place == 1 else "") for place in range(1, 46))


def order(control: str = "NW", number: str = "A900") -> str:
    return f"ORC|{control}|{number}\rOBR|1|{number}||BIO^生化^L|||20260311080000|||||||||D021^钱内科"


def report(status: str = "F", value: str = "5.1", *, issued: str = "20260311100000") -> str:
    head = f"ORC|RE|A900|R900\rOBR|1|A900|R900|BIO^生化^L|||20260311080000|||||||||||||||{issued}||LAB|{status}"
    return f"{head}\rOBX|1|NM|K^钾^L||{value}|mmol/L|3.5-5.3||||{status}"


def document(event: str, number: str, parent: str = "", *, status: str = "AU", text: str = "") -> str:
    fields = {1: "1", 2: "CN^会诊记录", 6: "20260311", 12: number, 13: parent, 17: status}
    txa = "TXA|" + "|".join(fields.get(place, "") for place in range(1, 18))
    return f"EVN|{event}\r{txa}" + (f"\rOBX|1|TX|CN^会诊记录||{text}" if text else "")


ADMIT = message(1, "20260310100000", "ADT^A01^ADT_A01", person(), visit("ZY1"), "DG1|1||I21^急性心肌梗死|||A")
TRANSFER = message(2, "20260311100000", "ADT^A02^ADT_A02", person(), visit("ZY1", place="N5^08^2"))
DISCHARGE = message(
    3, "20260312100000", "ADT^A03^ADT_A03", person(), visit("ZY1", place="N5^08^2", end="20260312093000")
)
BACK = message(4, "20260313100000", "ADT^A13^ADT_A01", person(), visit("ZY1", place="N5^09^1"))
CANCEL = message(5, "20260310110000", "ADT^A11^ADT_A09", person(), "PV1|1|I|||||||||||||||||ZY1")
REGISTER = message(6, "20260309090000", "ADT^A28^ADT_A05", person(address="旧址"))
MOVED_HOUSE = message(7, "20260314090000", "ADT^A31^ADT_A05", person(address="新址"))
OLD_NUMBER = message(8, "20260309091000", "ADT^A04^ADT_A01", person("W099", proof="", name="韩梅"), visit("ZY2"))
MERGE = message(9, "20260315090000", "ADT^A40^ADT_A39", person(), "MRG|W099^^^CITY1^MR")
ORDER = message(10, "20260311081000", "ORM^O01^ORM_O01", person(), order())
REPORT = message(11, "20260311101000", "ORU^R01^ORU_R01", person(), report())
CORRECTION = message(12, "20260311121000", "ORU^R01^ORU_R01", person(), report("C", "4.2", issued="20260311120000"))
NOTE = message(13, "20260311130000", "MDM^T02^MDM_T02", person(), visit("ZY1"), document("T02", "D1", text="初稿"))
ADDENDUM = message(14, "20260311140000", "MDM^T06^MDM_T02", person(), document("T06", "D2", "D1", text="补充"))
REPLACED = message(15, "20260311150000", "MDM^T10^MDM_T02", person(), document("T10", "D3", "D1", text="定稿"))
SIGNED = message(16, "20260311133000", "MDM^T03^MDM_T01", person(), document("T03", "D1", status="LA"))
CHARGE = message(17, "20260311160000", "DFT^P03^DFT_P03", person(), visit("ZY1"), "FT1|1|F1||20260311||CG|K01^钾测定")
ACCOUNT = message(18, "20260311170000", "BAR^P01^BAR_P01", person() + "|||||||ZH1", visit("ZY1"))
WRONG_PATIENT = message(19, "20260310120000", "ADT^A01^ADT_A01", person("W099", proof="", name="韩梅"), visit("ZY1"),
                        "DG1|1||I10^高血压|||A", "OBX|1|NM|BT^体温||36.8|Cel|||||F")  # fmt: skip
MOVE = message(20, "20260311180000", "ADT^A45^ADT_A45", person(), "MRG|W099^^^CITY1^MR||||ZY1", visit("ZY1"))

STORIES = {
    "admission, transfer, discharge and its cancellation": [ADMIT, TRANSFER, DISCHARGE, BACK],
    "an admission and its cancellation": [REGISTER, ADMIT, CANCEL],
    "registration and a new address": [REGISTER, ADMIT, MOVED_HOUSE],
    "two registrations and their merge": [REGISTER, OLD_NUMBER, MERGE],
    "request, report, correction": [REGISTER, ORDER, REPORT, CORRECTION],
    "a note signed, added to and replaced": [NOTE, SIGNED, ADDENDUM, REPLACED],
    "a visit, its charges and its account": [ADMIT, CHARGE, ACCOUNT],
    "a visit under the wrong patient and its move": [REGISTER, WRONG_PATIENT, MOVE],
}


WRONG = 6
"""Wrong orders of each story: every other order of three messages, as many of four."""


def told_of(story: int, body: bytes) -> bytes:
    """The message about a resident, visits and numbers of the story's own."""
    own = f"{story + 1}".encode()
    for word in (b"W000", b"W100", b"W099", b"ZY1", b"ZY2", b"A900", b"R900", b"D1", b"D2", b"D3", b"F1", b"ZH1"):
        body = body.replace(word, word[:1] + own + word[1:])
    body = body.replace(CARD.encode(), f"~{card(story * 2)}^^^^NI".encode()).replace(
        "韩".encode(), "赵钱孙李周吴郑王"[story].encode()
    )
    return body.replace(b"19880926", card(story * 2)[6:14].encode())


def order_of(story: list[bytes], number: int) -> list[bytes]:
    """The story's messages in a wrong order; 0 is the right one."""
    orders = list(itertools.permutations(story))
    return list(orders[-number * (len(orders) // WRONG or 1) % len(orders)])


TYPES = ("Patient", "Encounter", "Condition", "ServiceRequest", "DiagnosticReport", "Observation", "DocumentReference",
         "ChargeItem", "Account", "Task")  # fmt: skip


def end_of(folder: Path, number: int) -> dict[str, Json]:
    """What is stored after all stories in a wrong order, without what only says when and from which message."""
    alliance = Alliance(folder)
    try:
        for place, story in enumerate(STORIES.values()):
            for one in order_of(story, number):
                assert b"MSA|AA|" in alliance.mllp(told_of(place, one))
                alliance.drain()
        counts = alliance.run(alliance.gateway.shared.inbox.messages.counts())
        assert {state for _, state in counts} == {State.PROCESSED.value}, counts
        found = [one for type_ in TYPES for one in alliance.found(type_)]
        return {f"{one['resourceType']}/{one['id']}": {**one, "meta": None} for one in found}
    finally:
        alliance.close()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Empty homes that give the same ids to the same things: copies of one, with its key."""
    first = tmp_path_factory.mktemp("homes") / "first"
    Alliance(first).close()
    numbers = itertools.count()
    return lambda: Path(shutil.copytree(first, first.parent / str(next(numbers))))


@pytest.fixture(scope="module")
def right(fresh: Callable[[], Path]) -> dict[str, Json]:
    return end_of(fresh(), 0)


@pytest.mark.parametrize("number", range(1, WRONG))
def test_every_wrong_order_ends_as_the_right_one(
    number: int, right: dict[str, Json], fresh: Callable[[], Path]
) -> None:
    found = end_of(fresh(), number)
    assert found.keys() == right.keys()
    for ref, wanted in right.items():
        assert found[ref] == wanted, ref


def test_the_right_end_has_what_the_stories_tell(right: dict[str, Json]) -> None:
    def one(type_: str, value: str) -> Json:
        return next(o for o in right.values() if o["resourceType"] == type_ and value in str(o.get("identifier")))

    assert (
        one("DiagnosticReport", "R5900")["basedOn"][0]["reference"]
        == f"ServiceRequest/{one('ServiceRequest', 'A5900')['id']}"
    )
    assert one("DiagnosticReport", "R5900")["status"] == "corrected"
    moved = one("Encounter", "Z8Y1")["subject"]["reference"]
    things = [
        o
        for o in right.values()
        if o.get("encounter", {}).get("reference") == f"Encounter/{one('Encounter', 'Z8Y1')['id']}"
    ]
    assert {o["resourceType"] for o in things} == {"Condition", "Observation"}
    assert {o["subject"]["reference"] for o in things} == {moved}
