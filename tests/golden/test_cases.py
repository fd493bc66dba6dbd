"""Every case with an expected result: the same resources again, and the same fields left over (D7)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from fixtures.cases import Case, all_cases
from gateway.commands.maps import as_golden, translated
from gateway.model.resource import dumps
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from gateway.validate.structure import check

FIXTURES = shipped("fixtures")
CASES = {f"{case.source}/{case.name}": case for case in all_cases(FIXTURES)}
EXPECTED = sorted(name for name, case in CASES.items() if (case.folder / "expected.json").exists())


@cache
def mappings() -> Mappings:
    """The shipped maps, compiled when first used."""
    return Mappings.load([shipped("mappings")], check=False)


def stored(case: Case, name: str) -> object:
    """One of the JSON files beside a case."""
    return json.loads((Path(case.folder) / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_message_becomes_what_its_case_expects(name: str) -> None:
    case = CASES[name]
    draft = translated(case, mappings())
    assert as_golden(draft) == stored(case, "expected.json")
    if (case.folder / "unused.json").exists():
        left = [{"place": one.place, "because": one.because} for one in draft.unused]
        assert left == stored(case, "unused.json")


@pytest.mark.parametrize("name", EXPECTED)
def test_no_case_loses_a_field_without_a_reason(name: str) -> None:
    assert [one.place for one in translated(CASES[name], mappings()).unused if one.lost] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_every_resource_of_a_case_is_valid_r4(name: str) -> None:
    draft = translated(CASES[name], mappings())
    for record in draft.records:
        check("Patient", dumps(record.resource))
    for one in draft.resources:
        check(one.type, one.body.replace(b'"Patient/@', b'"Patient/record-'))


_EVENTS = {
    "adt": [*range(1, 17), 25, 26, 27, 28, 29, 31, 34, 40, 41, 45, 47, 60],
    "oru": ["r01", "r30", "r32"], "oul": ["r22", "r23", "r24"], "orm": ["o01"], "oml": ["o21"], "omg": ["o19"],
    "mdm": [f"t{number:02d}" for number in range(1, 12)], "siu": ["s12", "s13", "s14", "s15", "s16", "s17", "s26"],
    "rde": ["o11", "o25"], "omp": ["o09"], "rds": ["o13"], "ras": ["o17"], "ref": ["i12", "i13", "i14", "i15"],
    "vxu": ["v04"], "ppr": ["pc1", "pc2", "pc3"], "bar": ["p01", "p02", "p12"], "dft": ["p03", "p11"],
    "mfn": ["m02", "m05"], "qbp": ["q22", "q23"],
}  # fmt: skip
NAMED = [
    f"{code}_{one if isinstance(one, str) else f'a{one:02d}'}" for code, events in _EVENTS.items() for one in events
]


@pytest.mark.parametrize("event", NAMED)
def test_every_event_the_manual_names_has_a_case(event: str) -> None:
    assert any(f"/{event}/" in name for name in CASES)
