"""The doctor's search box."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadParameter
from gateway.identity.index import PersonIndex
from gateway.identity.search import PersonQuery, PersonSearch, parse_query
from gateway.model.context import SYSTEM

from .conftest import LI, M1, M4, MOTHER, NOW, li, said
from .memory import MemoryStore
from .test_index import TWINS, feed

TODAY = date(2026, 3, 20)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        (LI, PersonQuery("card", number=LI)),
        ("９９０１０１ 19580312 0115\n", PersonQuery("card", number=LI)),
        ("990101580312011", PersonQuery("card", number=LI)),
        ("99010119910830122x", PersonQuery("card", number=MOTHER)),
        ("A100234@市第一人民医院", PersonQuery("local", number="A100234", member="市第一人民医院")),
        ("A100234＠市一", PersonQuery("local", number="A100234", member="市一")),
        ("孙浩 2019-05", PersonQuery("birth", name="孙浩", birth="2019-05")),
        ("李建国1958年3月", PersonQuery("birth", name="李建国", birth="1958-03")),
        ("李建国 195803", PersonQuery("birth", name="李建国", birth="1958-03")),
        ("1958.3.12 lijianguo", PersonQuery("birth", name="lijianguo", birth="1958-03-12")),
        ("zhang shen 19550620", PersonQuery("birth", name="zhang shen", birth="1955-06-20")),
        ("李建国 0831", PersonQuery("phone", name="李建国", phone="0831")),
        ("李建国 13800000831", PersonQuery("phone", name="李建国", phone="13800000831")),
        ("JK202603200001", PersonQuery("health-card", number="JK202603200001")),
    ],
)
def test_a_line_of_text_is_understood(text: str, query: PersonQuery) -> None:
    assert parse_query(text, TODAY) == query


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("李建国", "姓名 + 出生年月"),
        ("", "姓名 + 出生年月"),
        ("13800001234", "姓名 + 出生年月"),
        ("990101195803120116", "校验位不符"),
        ("990000201002291236", "日期不存在"),
        ("李建国 1958-13", "出生年月不存在"),
        ("李建国 12", "至少 4 位"),
        ("@市第一人民医院", "本地号@机构"),
    ],
)
def test_what_does_not_suffice_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(BadParameter) as refused:
        parse_query(text, TODAY)
    assert advice in refused.value.detail_zh
    assert not text or text not in str(refused.value) + refused.value.sentence_zh()


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(BadParameter):
        parse_query(text, TODAY)


async def ask(index: PersonIndex, store: MemoryStore, text: str) -> list[str]:
    found = await PersonSearch(store, index._directory, lambda: NOW).find(text, SYSTEM)  # type: ignore[arg-type]
    return sorted(one["name"][0]["text"] for one in found.patients)


async def test_the_mothers_number_finds_the_mother_alone(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, *TWINS)
    assert await ask(index, store, MOTHER) == ["林芳"]
    assert await ask(index, store, "孙浩 2019-05") == ["孙浩冉", "孙浩然"]


@pytest.mark.parametrize(("number", "told"), [(LI[:-1], "输入了 17 位"), (LI + "6", "输入了 19 位")])
async def test_a_digit_too_few_or_too_many_is_said(
    index: PersonIndex, store: MemoryStore, number: str, told: str
) -> None:
    found = await PersonSearch(store, index._directory, lambda: NOW).find(number, SYSTEM)  # type: ignore[arg-type]
    assert found.patients == () and told in found.how_zh


async def test_a_resident_is_found_by_card_local_number_and_phone(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, li(M1, "A100234", phone="138 0000 0831"), li(M4, "D4"))
    for text in ("990101580312011", "a100234@市第一人民医院", "d4@nowhere", "李建国 0831", "李建国 0832"):
        if text == "d4@nowhere":
            with pytest.raises(BadParameter):
                await ask(index, store, text)
        else:
            assert await ask(index, store, text) == ([] if text.endswith("2") else ["李建国"])


async def test_a_card_whose_owner_lacks_a_birth_date_is_found_only_when_nobody_proves_it(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, said(M4, "1", "林 芳", card=MOTHER))
    assert await ask(index, store, MOTHER) == ["林 芳"]
    await feed(index, store, TWINS[2])
    assert await ask(index, store, MOTHER) == ["林芳"]
