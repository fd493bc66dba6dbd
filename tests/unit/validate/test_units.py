"""Conversions a doctor may see, and those that must not happen."""

from decimal import Decimal

import pytest

from gateway.validate.analytes import ANALYTES, SAME_ANALYTE
from gateway.validate.units import significant, to_display, ucum_of, unit_shown


def shown(loinc: str, value: str, unit: str, code: str = "") -> tuple[str, str, str, bool] | None:
    got = to_display(loinc, Decimal(value), code, unit)
    return got and (format(got.value, "f"), got.unit, format(got.factor, "f"), got.exact)


def test_creatinine_in_mg_dl_reads_about_106_umol() -> None:
    assert shown("14682-9", "1.20", "mg/dL") == ("106", "μmol/L", "88.4", False)
    got = to_display("14682-9", Decimal("1.20"), "mg/dL", "mg/dL")
    assert got is not None and got.unrounded == Decimal("106.08")


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "want"),
    [
        ("14749-6", "126", "mg/dL", ("6.99", "mmol/L", "0.0555", False)),
        ("14647-2", "200", "mg/dl", ("5.18", "mmol/L", "0.0259", False)),
        ("14927-8", "150", "mg/dL", ("1.70", "mmol/L", "0.0113", False)),
        ("14933-6", "5.6", "mg/dL", ("333", "μmol/L", "59.48", False)),
        ("14631-6", "0.8", "mg/dL", ("13.7", "μmol/L", "17.1", False)),
        ("2000-8", "9.2", "mg/dL", ("2.30", "mmol/L", "0.2495", False)),
        ("14937-7", "20", "mg/dL", ("7.14", "mmol/L", "0.357", False)),
        ("14682-9", "12.0", "mg/L", ("106", "μmol/L", "8.84", False)),
        ("2160-0", "1.20", "mg/dL", ("106", "μmol/L", "88.4", False)),
        ("2823-3", "4.1", "mEq/L", ("4.1", "mmol/L", "1", True)),
        ("718-7", "13.2", "g/dL", ("132", "g/L", "10", True)),
        ("6690-2", "6500", "/uL", ("6.500", "10⁹/L", "0.001", True)),
        ("33959-8", "0.08", "μg/L", ("0.08", "ng/mL", "1", True)),
        ("4544-3", "0.42", "L/L", ("42.00", "%", "100", True)),
        ("2019-8", "5.33", "kPa", ("40.0", "mmHg", "7.501", False)),
        ("48065-7", "500", "ng/mL FEU", ("0.500", "mg/L FEU", "0.001", True)),
        ("48065-7", "0.31", "mg/L", ("0.31", "mg/L FEU", "1", True)),
    ],
)
def test_value_is_shown_in_the_unit_of_its_analyte(
    loinc: str, value: str, unit: str, want: tuple[str, str, str, bool]
) -> None:
    assert shown(loinc, value, unit) == want


def test_upper_case_g_per_l_is_a_count_only_on_cell_counts() -> None:
    assert shown("6690-2", "6.5", "G/L") == ("6.5", "10⁹/L", "1", True)
    assert shown("718-7", "132", "G/L") == ("132", "g/L", "1", True)
    assert ucum_of("718-7", "T/L") == ""
    assert shown("789-8", "4.5", "T/L") == ("4.5", "10¹²/L", "1", True)


@pytest.mark.parametrize(
    ("loinc", "unit"),
    [
        ("4548-4", "mmol/mol"),  # HbA1c
        ("59261-8", "%"),
        ("48065-7", "mg/L DDU"),  # D-dimer
        ("48066-5", "ug/mL FEU"),
        ("22664-7", "mg/dL"),  # urea or urea nitrogen: nobody can tell
        ("6690-2", "g/L"),
        ("14682-9", ""),
        ("14682-9", "浓度"),
        ("0000-0", "mg/dL"),
    ],
)
def test_what_must_not_be_converted_is_not(loinc: str, unit: str) -> None:
    assert shown(loinc, "1.5", unit) is None


def test_the_known_code_wins_over_the_printed_spelling() -> None:
    assert shown("14682-9", "106", "umo1/L", code="umol/L") == ("106", "μmol/L", "1", True)
    assert ucum_of("14682-9", "μmo1/L") == "umol/L"


@pytest.mark.parametrize("text", ["10^9/L", "10⁹/L", "×10^9/L", "*10^9/L", "10E9/L", "10*9/L", "10~9/L"])
def test_every_spelling_of_a_cell_count_is_known(text: str) -> None:
    assert ucum_of("6690-2", text) == "10*9/L"


def test_rounding_is_half_up_on_significant_digits() -> None:
    assert [str(significant(Decimal(v), 3)) for v in ("106.5", "0.12345", "99.95", "0")] == [
        "107",
        "0.123",
        "100",
        "0",
    ]


def test_same_analyte_points_to_rows_that_exist_and_never_joins_urea_with_urea_nitrogen() -> None:
    assert set(SAME_ANALYTE.values()) <= set(ANALYTES)
    assert SAME_ANALYTE["3094-0"] == "14937-7"


def test_units_read_as_a_doctor_writes_them() -> None:
    assert [unit_shown(u) for u in ("umol/L", "10*12/L", "m[IU]/L", "ug/mL", "U/L")] == [
        "μmol/L",
        "10¹²/L",
        "mIU/L",
        "μg/mL",
        "U/L",
    ]
