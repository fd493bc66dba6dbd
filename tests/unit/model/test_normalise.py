"""Card numbers by GB 11643, names as compared, phones."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.normalise import (
    card_key,
    check_character,
    may_stand_for,
    name_key,
    phone_key,
    upgrade,
    verify_card,
)

TODAY = date(2026, 3, 20)
BIRTHS = st.dates(date(1900, 1, 1), date(1999, 12, 31))


def card(birth: date, sequence: int, area: str = "990101") -> str:
    first17 = f"{area}{birth:%Y%m%d}{sequence:03d}"
    return first17 + check_character(first17)


def verdict(value: str, birth: str = "1958-03-12", sex: str = "male", kind: str = "") -> str:
    return verify_card(value, birth=birth, sex=sex, kind=kind, today=TODAY).code


@pytest.mark.parametrize("number", ["11010519491231002X", "990000198001010012", "990000198001010020"])
def test_numbers_of_the_standard_have_the_right_check_character(number: str) -> None:
    assert check_character(number[:17]) == number[17]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("990101195803120115", "ok"),
        ("９９０１０１１９５８０３１２０１１５", "ok"),
        (" 990101 19580312 0115\t", "ok"),
        ("990101580312011", "ok"),
        ("990101195803120116", "check-digit"),
        ("990000201002291236", "no-such-date"),
        ("99010121990312011X", "no-such-date"),
        ("000000000000000000", "placeholder"),
        ("不详", "placeholder"),
        ("", "placeholder"),
        ("/", "placeholder"),
        ("123456789012345678", "placeholder"),
        ("E12345678", "not-a-card"),
        ("٩٩٠١٠١١٩٥٨٠٣١٢٠١١٥", "not-a-card"),
    ],
)
def test_a_card_number_gets_the_verdict_it_deserves(value: str, code: str) -> None:
    assert verdict(value) == code


def test_a_lower_case_x_is_an_x() -> None:
    found = verify_card("99010119910830122x", birth="1991-08-30", sex="female", today=TODAY)
    assert found.verified and found.value18 == "99010119910830122X"


@pytest.mark.parametrize(
    ("birth", "sex", "kind", "code", "reason"),
    [
        ("2019-05-06", "male", "", "birth-contradicts", "证件与出生日期不符"),
        ("1958-04", "male", "", "birth-contradicts", "证件与出生日期不符"),
        ("1958-03-12", "female", "", "sex-contradicts", "证件与性别不符"),
        ("1958-03-12", "male", "19", "mother", "母亲证件"),
        ("1958-03-12", "male", "母亲身份证", "mother", "母亲证件"),
        ("1958-03-12", "male", "03", "other-kind", "不是居民身份证"),
        ("", "male", "", "birth-unknown", "缺少出生日期，无法核对"),
        ("1958-03", "male", "", "birth-unknown", "缺少出生日期，无法核对"),
        ("1958-03-12", "unknown", "", "sex-unknown", "缺少性别，无法核对"),
        ("1958-03-12", "male", "01", "ok", ""),
    ],
)
def test_a_right_number_proves_nothing_unless_it_agrees_with_its_record(
    birth: str, sex: str, kind: str, code: str, reason: str
) -> None:
    found = verify_card("990101195803120115", birth=birth, sex=sex, kind=kind, today=TODAY)
    assert (found.code, found.reason_zh, found.verified) == (code, reason, code == "ok")


@given(BIRTHS, st.integers(1, 995))
def test_a_15_digit_number_upgrades_to_the_18_of_the_same_person(birth: date, sequence: int) -> None:
    full = card(birth, sequence)
    assert upgrade(full[:6] + full[8:17]) == full
    sex = "male" if sequence % 2 else "female"
    assert verdict(full[:6] + full[8:17], birth.isoformat(), sex) == verdict(full, birth.isoformat(), sex) == "ok"


@given(BIRTHS, st.integers(1, 995), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_never_verifies(birth: date, sequence: int, place: int, shift: int) -> None:
    full = card(birth, sequence)
    wrong = "0123456789"[(int(full[place]) + shift) % 10] if full[place] != "X" else str(shift)
    changed = full[:place] + wrong + full[place + 1 :]
    assert verdict(changed, birth.isoformat(), "male" if sequence % 2 else "female") != "ok"


@given(BIRTHS, st.integers(1, 995), st.integers(1, 20000))
def test_another_birth_date_never_verifies(birth: date, sequence: int, days: int) -> None:
    other = birth + timedelta(days=days)
    sex = "male" if sequence % 2 else "female"
    assert verdict(card(birth, sequence), other.isoformat(), sex) == "birth-contradicts"


@given(st.text(max_size=30), st.text(max_size=12), st.text(max_size=8))
def test_whatever_is_typed_gets_a_verdict(value: str, birth: str, sex: str) -> None:
    verify_card(value, birth=birth, sex=sex, today=TODAY)


def test_names_are_compared_without_the_way_they_were_typed() -> None:
    assert name_key("阿卜杜拉·买买提") == name_key("阿卜杜拉．买买提") == name_key(" 阿卜杜拉 买买提")
    assert name_key("李建國") == name_key("李建国") == name_key("李　建国")
    assert name_key("Ｌｉ^Jianguo") == name_key("li jianguo")
    assert name_key("张\ue81e") == name_key("张\u9fb4")
    assert name_key("\uf9e1") == name_key("李")
    assert name_key("孙浩然") != name_key("孙浩冉")


def test_card_and_phone_keys() -> None:
    assert card_key(" 99010119910830122ｘ") == "99010119910830122X"
    assert card_key("无") == ""
    assert phone_key("+86 138-0000-1234") == "13800001234"
    assert phone_key("0000000") == ""


@pytest.mark.parametrize(
    ("value", "birth", "sex", "name", "stands"),
    [
        ("990101195803120115", "1958-03-12", "male", "李建国", True),
        ("990101580312011", "", "", "", True),
        ("990101195803120115", "2026-01-02", "male", "李小宝", False),
        ("990101195803120115", "1958-03-12", "female", "李建国", False),
        ("990101195803120115", "1958-03-12", "male", "李建国之子", False),
        ("9.90101E+17", "1958-03-12", "male", "李建国", False),
        ("990101195803120000", "1958-03-12", "male", "李建国", False),
        ("990000201002291236", "", "", "", False),
        ("不详", "1958-03-12", "male", "李建国", False),
    ],
)
def test_only_a_card_that_is_surely_theirs_stands_for_a_patient(
    value: str, birth: str, sex: str, name: str, stands: bool
) -> None:
    assert may_stand_for(value, birth=birth, sex=sex, name=name) is stands
