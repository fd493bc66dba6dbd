"""A report and its request told under two patient numbers point to each other while both numbers are one person.

By a merge message, a card told later, a steward's decision and its undoing, a visit's move, and at the FHIR door.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.identity.steward import Steward, Word
from gateway.model.context import SYSTEM
from gateway.model.outcome import Outcome
from gateway.model.query import Query
from gateway.model.resource import Json, loads
from gateway.revise import puts_met
from gateway.store.base import AuditRow
from tests.contract.test_parked_app import opened, stored, told
from tests.flow.test_wrong_order import MERGE, OLD_NUMBER, REGISTER, message, order, person, report, visit
from tests.unit.fhir_site import a_carded_patient, a_patient, a_site, without_id

ORDER = message(30, "20260311081000", "ORM^O01^ORM_O01", person("W099", proof="", name="韩梅"), order())
REPORT = message(31, "20260311101000", "ORU^R01^ORU_R01", person(), report())
SAME_CARD = message(32, "20260315090000", "ADT^A31^ADT_A05", person("W099"))
ALIKE = [
    message(33 + place, "20260309091000", "ADT^A28^ADT_A05", f"PID|1||{number}^^^CITY1^MR||韩雪梅||19880926|F")
    for place, number in enumerate(("W100", "W099"))
]
WORD = Word("赵管理员", ANCHOR + timedelta(hours=1), "电话核实")
AUDIT = AuditRow(
    at=ANCHOR, action="U", kind="merge", subtype="merge", outcome="0", user="admin", display="赵管理员",
    role="admin", member="", purpose="HOPERAT",
)  # fmt: skip


@pytest_asyncio.fixture
async def gateway(url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    made = await opened(url, tmp_path)
    yield made
    await made.close()


async def remarks(gateway: Gateway) -> list[str]:
    """Codes of what the newest message's outcome says."""
    (newest,) = await gateway.inbox.messages.entries(limit=1)
    said = (await gateway.store.done([newest.key]))[newest.key]
    return [one.code for one in msgspec.json.decode(said, type=Outcome).findings]


async def reference(gateway: Gateway, type_: str = "DiagnosticReport") -> str:
    """Where the report's number leads, "" while it is a number alone."""
    (one,) = await stored(gateway, type_)
    return str(one["basedOn"][0].get("reference", ""))


async def request(gateway: Gateway) -> str:
    (one,) = await stored(gateway, "ServiceRequest")
    return f"ServiceRequest/{one['id']}"


def without_meta(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "meta"}


@pytest.mark.parametrize("early", [(ORDER, REPORT), (REPORT, ORDER)], ids=["order first", "report first"])
@pytest.mark.parametrize("kind", ["ADT^A40^ADT_A39", "ADT^A34^ADT_A30", "ADT^A47^ADT_A30"])
async def test_a_merge_brings_report_and_request_together(
    gateway: Gateway, early: tuple[bytes, bytes], kind: str
) -> None:
    merge = MERGE.replace(b"ADT^A40^ADT_A39", kind.encode())
    assert await told(gateway, REGISTER, OLD_NUMBER, *early) == {"processed": 4}
    assert await remarks(gateway) == ["GW-REV-006"], "the one that came last says that it waits"
    assert await reference(gateway) == "", "nothing points to another Patient"
    assert await told(gateway, merge) == {"processed": 5}
    assert await reference(gateway) == await request(gateway)
    assert "GW-REV-006" not in await remarks(gateway)
    (one,) = await stored(gateway, "DiagnosticReport")
    found = await gateway.store.history("DiagnosticReport", one["id"], SYSTEM, count=9)
    assert [row.version for row in found] == [2, 1], "one version more, in the merge's own commit"
    assert found[0].src == found[1].src and found[0].member == found[1].member


async def test_what_was_merged_before_either_came_is_linked_at_once(gateway: Gateway) -> None:
    await told(gateway, REGISTER, OLD_NUMBER, MERGE, ORDER, REPORT)
    assert await remarks(gateway) == []
    assert await reference(gateway) == await request(gateway)


async def test_a_card_told_later_brings_them_together(gateway: Gateway) -> None:
    await told(gateway, REGISTER, OLD_NUMBER, REPORT, ORDER)
    assert await reference(gateway) == ""
    await told(gateway, SAME_CARD)
    assert await reference(gateway) == await request(gateway)


async def test_the_message_that_makes_two_numbers_one_may_be_the_request_itself(gateway: Gateway) -> None:
    await told(gateway, REGISTER, OLD_NUMBER, REPORT)
    await told(gateway, message(40, "20260315080000", "ORM^O01^ORM_O01", person("W099"), order()))
    assert await reference(gateway) == await request(gateway)
    assert await remarks(gateway) == []


async def test_a_steward_brings_them_together_and_parts_them_again(gateway: Gateway) -> None:
    report_ = message(41, "20260311101000", "ORU^R01^ORU_R01", person(proof="", name="韩雪梅"), report())
    await told(gateway, *ALIKE, ORDER, report_)
    (before,) = await stored(gateway, "DiagnosticReport")
    (review,) = [one for one in await stored(gateway, "Task") if "reasonCode" in one]
    candidate = next(one["valueReference"]["reference"] for one in review["input"] if "valueReference" in one)
    steward = Steward(gateway.shared.people, gateway.store, partial(puts_met, gateway.store))
    await steward.same(review["id"], candidate.partition("/")[2], WORD, AUDIT)
    assert await reference(gateway) == await request(gateway)
    (joined,) = [one for one in await stored(gateway, "Task") if "reasonCode" not in one]
    await steward.undo(joined["id"], AUDIT)
    (after,) = await stored(gateway, "DiagnosticReport")
    assert without_meta(after) == without_meta(before), "exactly as it was"


async def test_undoing_a_merge_parts_what_was_linked_while_it_stood(gateway: Gateway) -> None:
    await told(gateway, REGISTER, OLD_NUMBER, MERGE, ORDER, REPORT)
    (joined,) = await stored(gateway, "Task")
    steward = Steward(gateway.shared.people, gateway.store, partial(puts_met, gateway.store))
    await steward.undo(joined["id"], AUDIT)
    assert await reference(gateway) == ""
    subjects = {
        (await stored(gateway, one))[0]["subject"]["reference"] for one in ("DiagnosticReport", "ServiceRequest")
    }
    assert len(subjects) == 2


async def test_a_visit_that_moves_brings_its_request_to_the_report(gateway: Gateway) -> None:
    """The request lies with a visit under the wrong number; the report never did."""
    wrong = person("W099", proof="", name="韩梅")
    asked = message(42, "20260311081000", "ORM^O01^ORM_O01", wrong, visit("ZY1"), order())
    move = message(43, "20260311180000", "ADT^A45^ADT_A45", person(), "MRG|W099^^^CITY1^MR||||ZY1", visit("ZY1"))
    admitted = message(44, "20260310120000", "ADT^A01^ADT_A01", wrong, visit("ZY1"))
    await told(gateway, REGISTER, admitted, asked, REPORT)
    assert await reference(gateway) == ""
    await told(gateway, move)
    assert await reference(gateway) == await request(gateway)


async def test_an_update_at_the_fhir_door_that_makes_two_patients_one_brings_them_together(url: str) -> None:
    number = {"system": "urn:order", "value": "A1"}
    async with a_site(url) as door:
        first = (await door.post("Patient", without_id(a_carded_patient()), role="m1")).headers["location"]
        second = (await door.post("Patient", without_id(a_patient()), role="m1")).headers["location"]
        one, two = (place.split("/Patient/")[1].split("/")[0] for place in (first, second))
        asked: Json = {
            "resourceType": "ServiceRequest", "identifier": [number], "status": "active", "intent": "order",
            "subject": {"reference": f"Patient/{one}"},
        }  # fmt: skip
        said: Json = {
            "resourceType": "DiagnosticReport", "basedOn": [{"type": "ServiceRequest", "identifier": number}],
            "status": "final", "code": {"text": "生化"}, "subject": {"reference": f"Patient/{two}"},
        }  # fmt: skip
        for body in (asked, said):
            assert (await door.post(body["resourceType"], body, role="m1")).status_code == 201
        changed = await door.put(f"Patient/{two}", a_carded_patient() | {"id": two}, role="m1")
        assert changed.status_code == 200, changed.text
        (found,) = (await door.store.search(Query("DiagnosticReport"), SYSTEM)).matches
        assert loads(found.body)["basedOn"][0]["reference"].startswith("ServiceRequest/")
