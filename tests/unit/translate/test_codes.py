"""Code tables: spelling, homonyms, units, faults with file and line."""

from __future__ import annotations

import pytest

from gateway.errors import MappingError
from gateway.shipped import shipped
from gateway.translate.codes import parse_table, read_table, ucum

ITEMS = """from,name,unit,specimen,system,code,display
PCT,血小板压积,%,B,LOINC,51637-7,血小板压积
PCT|降钙素原,降钙素原,ng/mL|ug/L,S,LOINC,33959-8,降钙素原
ALT|谷丙转氨酶,丙氨酸氨基转移酶,U/L,S,LOINC,1742-6,ALT
ALT|谷丙转氨酶,丙氨酸氨基转移酶,U/L,S,RECOGNITION,LAB-ALT,ALT
GLU,葡萄糖,mmol/L,S,LOINC,14749-6,葡萄糖
iCa,离子钙,mmol/L,S,LOINC,1995-0,离子钙
iCa,离子钙,mmol/L,BA,LOINC,1994-3,离子钙
"""
TABLE = parse_table(ITEMS, "items.csv", "items")


def found(code: str, name: str = "", unit: str = "", specimen: str = "") -> list[str]:
    """Codes of the rows that apply."""
    return [row.code for row in TABLE.rows(code, name, unit, specimen)]


def test_a_homonym_is_told_by_its_unit_and_never_guessed() -> None:
    assert found("PCT", unit="%") == ["51637-7"]
    assert found("PCT", unit="ug/L") == ["33959-8"]
    assert found("PCT") == found("PCT", unit="?") == found("PCT", unit="mg/L") == []


def test_several_systems_of_one_item_come_together() -> None:
    assert found("alt", unit="U/L") == ["1742-6", "LAB-ALT"]
    assert found("ALT") == ["1742-6", "LAB-ALT"]


def test_a_local_code_is_found_by_its_name() -> None:
    assert found("0102", "谷丙转氨酶", "U/L") == ["1742-6", "LAB-ALT"]
    assert found("0102", "ＡＬＴ", "U/L") == ["1742-6", "LAB-ALT"]


def test_a_specimen_decides_where_it_can_and_urine_is_never_blood() -> None:
    assert found("iCa", unit="mmol/L", specimen="B") == ["1994-3"]
    assert found("iCa", unit="mmol/L", specimen="S") == ["1995-0"]
    assert found("GLU", unit="mmol/L", specimen="P") == ["14749-6"]
    assert found("GLU", unit="mmol/L", specimen="U") == []


def test_the_members_rows_win_key_by_key() -> None:
    own = parse_table("from,name,unit,specimen,system,code,display\nPCT,x,,,LOINC,1-8,x\n", "own.csv", "items")
    merged = own.over(TABLE)
    assert [row.code for row in merged.rows("PCT", "", "%", "")] == ["1-8"]
    assert [row.code for row in merged.rows("GLU", "", "mmol/L", "")] == ["14749-6"]


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("μmol/L", "umol/L"),
        ("µmol/L", "umol/L"),
        ("umo1/L", "umol/L"),
        ("×10^9/L", "10*9/L"),
        ("G/L", "g/L"),
        ("T/L", ""),
        ("IU/mL", "[IU]/mL"),
        ("IU/L", "U/L"),
        ("次/分", "/min"),
        ("乱写", ""),
    ],
)
def test_printed_units_have_their_ucum_code(printed: str, code: str) -> None:
    units = read_table(shipped("mappings") / "_base/codes/units.csv")
    assert ucum(units, printed, frozenset()) == code


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("from,to,equivalence\na,1,same\n", 2, "equivalence"),
        ("from,to\na,1\na,2\n", 3, "twice"),
        ("from,to\na,1,2\n", 2, "columns"),
        ("a,b\n1,2\n", 1, "header"),
        ("from,name,unit,specimen,system,code,display\nA,a,,,LOINK,1,a\n", 2, "LOINK"),
        ("from,to,valid-from\na,1,\na,2,2026-02-30\n", 3, "valid-from"),
        ("from,to,valid-from\na,1,1 March\n", 2, "like 2026-07-01"),
        ("from,to,valid-from\na,1,2026-02-01\na,2,2026/2/1\n", 3, "twice"),
        ("from,to,valid_from\na,1,2026-02-01\n", 1, "did you mean 'valid-from'"),
        ("from,to\na,1\nb,\n", 3, "write unmatched"),
        ("from,to,equivalence,note\na,1,unmatched,x\n", 2, "leave target"),
        ("from,to,equivalence,note\na,,unmatched,\n", 2, "say in note why"),
        ("from,to,equivalence,note\na,,unmatched,x\na,1,,\n", 3, "from the same day"),
        ("from,system,code,equivalence,note\nA,LOINC,1-8,,\nA,,,unmatched,x\n", 3, "from the same day"),
        ("from,system,code,unit,equivalence,note\nA,,,mg,unmatched,x\n", 2, "unit and specimen empty"),
        ("from,system,code,equivalence\nA,LOINC,1-8,same\n", 2, "no equivalence"),
        ("from,to\n,1\n", 2, "from is empty"),
        ("from,to\n|,1\n", 2, "from is empty"),
        ("from,system,code\nA,LOINC,6690-2\na,LOINC,718-7\n", 3, "another code already"),
        ("from,system,code\nA,LOINC,6690-3\n", 2, "check digit"),
        ("from,system,code\nA,LOINC,66902\n", 2, "no LOINC code"),
        ("from,system,code,specimen\nA,LOINC,6690-2,BQ\n", 2, "specimen 'BQ' is unknown"),
        ("from,to,equivalance\na,1,\n", 1, "did you mean 'equivalence'"),
        ("from,system,code,unit\nA,LOINC,6690-2,{片}\n", 2, "no UCUM code"),
    ],
)
def test_faults_name_file_and_line(text: str, line: int, said: str) -> None:
    with pytest.raises(MappingError, match=said) as refused:
        parse_table(text, "t.csv", "t")
    assert refused.value.place == f"t.csv:{line}"


def test_one_item_may_have_several_codes_where_something_tells_them_apart() -> None:
    rows = (
        "A,LOINC,6690-2,,B,\nA,LOINC,718-7,,S,\nA,LOINC,787-2,fL,B,\nA,RECOGNITION,x,,B,\nA,LOINC,785-6,,B,2026-07-01\n"
    )
    table = parse_table(f"from,system,code,unit,specimen,valid-from\n{rows}A,LOINC,6690-2,,B,\n", "t.csv", "t")
    assert [row.code for row in table.rows("A", "", "", "S")] == []
    assert [row.code for row in table.rows("A", "", "g/L", "S")] == ["718-7"]


def test_no_shipped_unit_is_outside_the_codes_the_tables_use() -> None:
    units = read_table(shipped("mappings") / "_base/codes/units.csv")
    items = read_table(shipped("mappings") / "_base/codes/lab_items.csv")
    known = set(units.values.values()) | set(units.counted.values())
    used = {unit for rows in items.concepts.values() for row in rows for unit in row.units}
    assert used <= known, used - known
