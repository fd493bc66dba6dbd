"""Look-ups that read nothing but their row become one function of the row's fields."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from gateway.translate.formats import Access
from gateway.translate.function_list import ALL_FUNCTIONS
from gateway.translate.functions import Setting
from gateway.translate.memo import as_member
from gateway.translate.recurring import PROBE, Row, around, for_all, plain_number
from tests.unit.translate.v2_messages import mappings

CODE = Access("s3_OBX[3]", "'OBX-3'")
UNIT = Access("s3_OBX[6]", "'OBX-6'")
KEPT = Access("kept_specimen", "'$specimen'")
VALUE = Access("s3_OBX[5]", "'OBX-5'")
NONE = Access("''", "''")
ORDER = Access("s2_OBR[7]", "'OBR-7'")


def setting() -> Setting:
    return mappings()._setting(mappings().directory.sources["sandbox"])


def row() -> Row:
    return Row("item", "s3_OBX")


def test_a_look_up_by_fields_of_the_row_and_kept_values_gets_a_name() -> None:
    assert row().look_up("k1", [CODE, KEPT, NONE]) == "item_1"


def test_the_same_look_up_has_one_name() -> None:
    found = row()
    assert found.look_up("k1", [CODE]) == found.look_up("k1", [CODE])
    assert found.look_up("k1", [UNIT]) == "item_2"


def test_a_field_of_another_segment_leaves_the_look_up_where_it_is() -> None:
    assert row().look_up("k1", [CODE, ORDER]) == ""


def test_an_expression_is_of_the_row_when_it_reads_only_its_names() -> None:
    found = row()
    name = found.look_up("k1", [CODE])
    assert found.holds(f"({name} or '').encode()")
    assert not found.holds(f"{name} + v7")


def test_the_function_works_out_what_the_lines_below_use() -> None:
    found = row()
    found.look_up("k1", [CODE, UNIT])
    found.look_up("k2", [CODE])
    function, asked = found.written(["put(item_1)"])
    assert function.splitlines() == [
        "def item_row(key):",
        "    s3_OBX_3, s3_OBX_6, = key",
        "    item_1 = k1[s3_OBX_3, s3_OBX_6]",
        "    item_2 = k2[s3_OBX_3]",
        "    return item_1,",
        "item_rows = MemoOfTexts(item_row)",
    ]
    assert asked == ["item_1, = item_rows[s3_OBX[3], s3_OBX[6],]"]


def test_a_rule_that_asks_nothing_of_its_row_gets_no_function() -> None:
    found = row()
    found.look_up("k1", [CODE])
    assert found.written(["put(other)"]) == ("", [])


def test_a_number_is_no_part_of_what_a_row_is_known_by() -> None:
    found = row()
    said = found.look_up("k1", [VALUE, UNIT], 0)
    function, asked = found.written([f"put({said})"])
    assert asked[0] == f"{said}_head, {said}_tail, = item_rows[s3_OBX[6],]"
    assert f"around(k1, ('{PROBE}', s3_OBX_6,))" in function


class Asked(dict[tuple[str, ...], bytes]):
    """A memo of one function."""

    def __init__(self, call: Callable[..., bytes]) -> None:
        super().__init__()
        self._call = call

    def __missing__(self, key: tuple[str, ...]) -> bytes:
        return self._call(*key)


def a_number(any_: Random) -> str:
    """As laboratories print them."""
    return any_.choice(
        (
            lambda: f"{any_.random() * 100:.{any_.randrange(7)}f}",
            lambda: str(any_.randrange(-50, 5_000)),
            lambda: f"-{any_.random():.{any_.randrange(1, 7)}f}",
            lambda: f"{any_.randrange(10**20)}.{any_.randrange(10**9)}",
        )
    )()


UNIFORM = sorted(name for name, function in ALL_FUNCTIONS.items() if function.uniform)


@pytest.mark.parametrize("name", UNIFORM)
def test_a_uniform_function_says_the_same_of_every_number_but_its_digits(name: str) -> None:
    function, any_ = ALL_FUNCTIONS[name], Random(5)
    memo = Asked(lambda *key: as_member("it")(function.make(setting(), {})(*key)))
    others = {"type": ("NM", "ST", "TX", "SN", "NR", "", "HD"), "unit": ("mmol/L", "10^9/L", ""), "item": ("K^钾^L",)}
    tried = 0
    for _ in range(500):
        key = [any_.choice(others.get(one, ("H", "↑", ""))) for one in ("from", *function.inputs)]
        at, number = function.measured or 0, a_number(any_)
        probe = (*key[:at], PROBE, *key[at + 1 :])
        said = around(memo, probe) if at == 0 else (for_all(memo, probe), b"")
        if said[0] is None or not plain_number(number):
            continue
        tried += 1
        made = said[0] + (number.encode() + said[1] if at == 0 else b"")
        assert made == memo[(*key[:at], number, *key[at + 1 :])], (key, number)
    assert tried > 200


@pytest.mark.parametrize("text", ["007", "7.", ".5", "+3", "1e5", "٣", "", "-", "0.0000001", "5.6H", " 5", "5\n"])
def test_a_text_that_decimal_or_json_would_write_otherwise_is_no_plain_number(text: str) -> None:
    assert not plain_number(text)


@pytest.mark.parametrize(
    "text", ["5.6", "0", "-0.5", "120", "0.000001", "1234567890.123456789", "7.", "0.0000001", "1e5"]
)
def test_the_short_way_to_tell_a_number_agrees_with_the_long_one(text: str) -> None:
    row_ = row()
    row_.look_up("k1", [VALUE, UNIT], 0)
    _, asked = row_.written(["put(item_measured_1)"])
    names: dict[str, object] = {"plain_number": plain_number, "s3_OBX": ["", "", "", "", "", text]}
    exec("\n".join(asked[1:3]), names)
    wanted = text.encode() if plain_number(text) or text == "1234567890.123456789" else b""
    assert names["item_number_1"] == wanted
