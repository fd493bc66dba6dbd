"""Look-ups that read nothing but their row become one function of the row's fields."""

from __future__ import annotations

from gateway.translate.formats import Access
from gateway.translate.recurring import Row

CODE = Access("s3_OBX[3]", "'OBX-3'")
UNIT = Access("s3_OBX[6]", "'OBX-6'")
KEPT = Access("kept_specimen", "'$specimen'")
NONE = Access("''", "''")
ORDER = Access("s2_OBR[7]", "'OBR-7'")


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
        "item_rows = RowMemo(item_row)",
    ]
    assert asked == "item_1, = item_rows[s3_OBX[3], s3_OBX[6],]"


def test_a_rule_that_asks_nothing_of_its_row_gets_no_function() -> None:
    found = row()
    found.look_up("k1", [CODE])
    assert found.written(["put(other)"]) == ("", "")
