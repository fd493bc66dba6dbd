"""What senders write for an allergy, a dose given or refused, a referral and who made it."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.translate.denials import denies, leaves_open
from gateway.validate.structure import check
from tests.unit.translate.v2_messages import PID, draft, message, resources, segment


def allergies(*rows: str, kind: str = "ADT^A08") -> list[str]:
    return [one["code"]["text"] for one in resources(message(PID, *rows, kind=kind), "AllergyIntolerance")]


@pytest.mark.parametrize(
    "text",
    ["无过敏史", "否认药物过敏史", "药物过敏史：无", "青霉素过敏史：否认", "NKA", "nkda", "No known drug allergies"],
)
def test_a_denial_is_no_allergen(text: str) -> None:
    assert denies(text) and not leaves_open(text)
    assert allergies(f"AL1|1|DA|0^{text}") == allergies(f"IAM|1|DA|0^{text}||皮疹|A", kind="ADT^A60") == ["无已知过敏"]


@pytest.mark.parametrize("text", ["青霉素", "青霉素过敏", "无花粉过敏史，青霉素过敏", "碘"])
def test_an_allergen_is_no_denial(text: str) -> None:
    assert not denies(text) and not leaves_open(text)


def test_who_does_not_know_tells_no_allergy() -> None:
    assert allergies("AL1|1|DA|^不详", "AL1|2|DA|^过敏史不详") == []


def test_beside_an_allergy_no_message_says_that_there_is_none() -> None:
    assert allergies("AL1|1|FA|^否认食物过敏史", "AL1|2|DA|PCN^青霉素") == ["青霉素"]
    assert allergies("IAM|1|FA|NKA|||A", "IAM|2|DA|PCN^青霉素|||A", kind="ADT^A60") == ["青霉素"]
    assert allergies("IAM|1|FA|NKA|||A", "IAM|2|DA|PCN^青霉素|||D", kind="ADT^A60") == ["无已知过敏", "青霉素"]


def given(code: str) -> str:
    rxa = segment("RXA", {1: "0", 2: "1", 3: "20260320080000", 5: "CEF^头孢曲松", 6: "1", 7: "g", 20: code})
    return str(resources(message(PID, "ORC|RE|Y1|Z1", rxa, kind="RAS^O17"), "MedicationAdministration")[0]["status"])


def test_a_dose_of_which_nobody_knows_whether_it_was_given_is_not_given() -> None:
    assert [given(code) for code in ("", "CP", "RE", "PA")] == ["completed", "completed", "not-done", "stopped"]
    assert [given(code) for code in ("未执行", "已执行", "ZZ")] == ["not-done", "completed", "unknown"]


def vaccinated(code: str) -> str:
    """HL7 v2 with this RXA-20."""
    rxa = segment("RXA", {1: "0", 2: "1", 3: "20260320", 5: "HB^乙肝疫苗", 6: "1", 20: code})
    return message(PID, "ORC|RE|Y1|Z1", rxa, kind="VXU^V04")


def test_a_vaccination_of_which_nobody_knows_whether_it_was_given_has_no_status_and_is_refused() -> None:
    told = [resources(vaccinated(code), "Immunization")[0]["status"] for code in ("", "未接种", "已接种")]
    assert told == ["completed", "not-done", "completed"]
    got = draft(vaccinated("ZZ"))
    assert [one.place for one in got.findings] == ["RXA[1]-20"]
    with pytest.raises(GatewayError, match="R4"):
        check("Immunization", next(one.body for one in got.resources if one.type == "Immunization"))


@pytest.mark.parametrize(
    ("event", "rf1", "status"),
    [("I12", "", "active"), ("I13", "已拒收", "revoked"), ("I13", "ZZ", "unknown"), ("I13", "已接诊", "completed")],
)
def test_how_a_referral_stands(event: str, rf1: str, status: str) -> None:
    text = message(f"RF1|{rf1}|||||Z1", "PRD|RP|张^医生", PID, kind=f"REF^{event}")
    (one,) = resources(text, "ServiceRequest")
    assert (one["status"], one["requester"]["display"]) == (status, "张医生")


def test_a_change_of_a_referral_that_does_not_tell_its_status_leaves_it() -> None:
    got = draft(message("RF1||||||Z1", PID, kind="REF^I13"))
    assert [one.left for one in got.resources if one.type == "ServiceRequest"] == [("code", "status")]


def test_a_second_allergen_in_the_same_segment_is_an_allergy_of_its_own() -> None:
    assert allergies("AL1|1|DA|PCN^青霉素~CEF^头孢曲松|SV|皮疹") == ["青霉素", "头孢曲松"]
