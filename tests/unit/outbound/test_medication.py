"""What a resident takes now, at 2026-03-20 09:00."""

from datetime import date, datetime

import pytest

from gateway.model.context import SYSTEM
from gateway.model.resource import Json
from gateway.outbound.medication import MedicationLists, drug_name, medications, with_named
from gateway.outbound.record import Record
from gateway.store.base import Resource
from tests.builders import M3, M4, NOW, a_medication, stored, the_directory


def lists(*requests: Json, at: datetime = NOW) -> MedicationLists:
    return medications(Record.of([stored(r) for r in requests]), the_directory(), at=at)


def discharge() -> Json:
    return a_medication("d", days=30, category="discharge", member=M3)


def test_thirty_days_from_the_sixth_of_march_leave_sixteen_on_the_twentieth() -> None:
    line = lists(discharge()).current[0]
    assert (line.days_left, line.last_day) == (16, date(2026, 4, 4))
    assert line.supply_zh == "剩 16 天（至 04-04）"
    assert line.usage == "100 mg qd × 30 天"
    assert (line.member_name, line.origin_zh) == ("县人民医院", "出院带药")


def test_without_days_from_the_source_none_are_made_up() -> None:
    line = lists(a_medication(dose="20", frequency="qn", drug="阿托伐他汀")).current[0]
    assert (line.days, line.days_left, line.supply_zh) == (None, None, "天数来源未提供")
    assert line.usage == "20 mg qn"


def test_the_same_drug_from_two_members_is_named_on_both_lines() -> None:
    township = a_medication("t", "阿司匹林肠溶片", member=M4, authored="2026-03-18T09:00:00+08:00")
    other = a_medication("o", "阿托伐他汀", authored="2026-03-19T09:00:00+08:00")
    current = lists(discharge(), township, other).current
    assert [line.request_id for line in current] == ["t", "d", "o"]
    assert [line.duplicates for line in current] == [("d",), ("t",), ()]


def test_two_lines_of_one_prescription_are_no_duplicate() -> None:
    morning, evening = a_medication("m", dose="50"), a_medication("e", dose="100")
    assert [line.duplicates for line in lists(morning, evening).current] == [(), ()]


def test_a_supply_ends_with_its_last_day() -> None:
    last = datetime.fromisoformat("2026-04-04T23:00:00+08:00")
    assert lists(discharge(), at=last).current[0].days_left == 1
    past = lists(discharge(), at=datetime.fromisoformat("2026-04-05T00:10:00+08:00"))
    assert past.current == () and past.past[0].supply_zh == "已用完（至 04-04）"


@pytest.mark.parametrize(
    ("status", "said"), [("stopped", "已停用：皮疹"), ("completed", "已完成：皮疹"), ("cancelled", "已取消：皮疹")]
)
def test_a_stopped_line_is_past_and_says_why(status: str, said: str) -> None:
    (line,) = lists(a_medication("x", status=status, statusReason={"text": "皮疹"})).past
    assert (line.request_id, line.ended_zh) == ("x", said)


def test_days_beyond_the_calendar_leave_the_line_readable() -> None:
    (line,) = lists(a_medication(days=99_999_999)).current
    assert (line.last_day, line.usage) == (date.max, "100 mg qd × 99999999 天")


def test_an_old_line_without_days_is_past() -> None:
    assert lists(a_medication(authored="2025-11-01T09:00:00+08:00")).current == ()


def test_a_withdrawn_prescription_is_nowhere() -> None:
    found = lists(a_medication(status="entered-in-error"))
    assert found.current == found.past == ()


def test_weeks_are_days_and_free_text_usage_is_kept() -> None:
    supply = {"expectedSupplyDuration": {"value": 2, "code": "wk"}}
    request = a_medication(dispenseRequest=supply, dosageInstruction=[{"text": "每日一次，每次一片"}])
    line = lists(request, at=datetime.fromisoformat("2026-03-10T09:00:00+08:00")).current[0]
    assert (line.days, line.usage) == (14, "每日一次，每次一片 × 14 天")


@pytest.mark.parametrize(
    ("printed", "drug"),
    [
        ("阿司匹林肠溶片(拜阿司匹灵) 100mg", "阿司匹林"),
        ("阿托伐他汀钙片", "阿托伐他汀"),
        ("盐酸二甲双胍缓释片", "二甲双胍"),
        ("注射用头孢曲松钠", "头孢曲松"),
        ("复方阿司匹林片", "复方阿司匹林"),
        ("氯化钾缓释片", "氯化钾"),
        ("碳酸钙片", "碳酸钙"),
        ("钙尔奇", "钙尔奇"),
    ],
)
def test_form_salt_and_brand_do_not_make_another_drug(printed: str, drug: str) -> None:
    assert drug_name(printed) == drug


# ---- how FHIR clients write it --------------------------------------------------------------------
def by_reference(reference: Json, **more: object) -> Json:
    request = a_medication("r") | {"medicationReference": reference} | more
    del request["medicationCodeableConcept"]
    return request


def a_drug(name: str) -> Json:
    return {"resourceType": "Medication", "id": "med", "code": {"coding": [{"code": "X1", "display": name}]}}


def test_a_drug_named_by_reference_has_its_name() -> None:
    beside = lists(by_reference({"reference": "Medication/med"}), a_drug("阿莫西林胶囊")).current[0]
    inside = lists(by_reference({"reference": "#med"}, contained=[a_drug("头孢克肟")])).current[0]
    shown = lists(by_reference({"reference": "Medication/gone", "display": "华法林"})).current[0]
    assert [line.name for line in (beside, inside, shown)] == ["阿莫西林胶囊", "头孢克肟", "华法林"]
    assert beside.drug == "阿莫西林"


def test_two_drugs_nobody_can_name_are_said_to_have_no_name_and_are_no_duplicate() -> None:
    one = by_reference({"reference": "Medication/gone"})
    other = by_reference({"reference": "Medication/lost"}, id="s", authoredOn="2026-03-19")
    assert [(line.name, line.duplicates) for line in lists(one, other).current] == [("药名来源未提供", ())] * 2


async def test_the_medications_a_record_names_are_read_with_it() -> None:
    class Shelf:
        async def read_many(self, wanted: list[tuple[str, str]], who: object) -> list[Resource]:
            assert wanted == [("Medication", "med")]
            return [stored(a_drug("华法林"))]

    rows = [stored(by_reference({"reference": "Medication/med"}))]
    found = await with_named(Shelf(), rows, SYSTEM)  # type: ignore[arg-type]
    assert [row.type for row in found] == ["MedicationRequest", "Medication"]


def test_what_must_not_be_given_is_not_taken() -> None:
    found = lists(a_medication("x", "甲氨蝶呤", doNotPerform=True))
    assert found.current == found.past == () and found.forbidden[0].name == "甲氨蝶呤"
    old = a_medication("x", doNotPerform=True, authored="2019-03-06")
    assert lists(old).forbidden and lists({**old, "status": "stopped"}) == MedicationLists((), (), ())


def test_every_instruction_is_said() -> None:
    weekly = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}
    span = {"low": {"value": 1, "unit": "mg"}, "high": {"value": 2, "unit": "mg"}}
    said: list[Json] = [
        {"text": "早 1 片"},
        {"doseAndRate": [{"doseRange": span}], "timing": weekly},
        {"text": "疼痛时 1 片", "asNeededBoolean": True},
    ]
    usage = lists(a_medication(dosageInstruction=said)).current[0].usage
    assert usage == "早 1 片；1–2 mg 每周 1 次；疼痛时 1 片 必要时"


def test_a_line_on_hold_says_so() -> None:
    assert lists(a_medication(status="on-hold")).current[0].origin_zh == "门诊处方（暂停）"
