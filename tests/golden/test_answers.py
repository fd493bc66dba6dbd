"""Every HL7 v2 case is answered as its `ack.hl7` says, byte for byte in the sender's charset."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.cases import all_cases
from gateway.shipped import shipped
from tests.golden.answers import answers

CASES = {f"{one.source}/{one.name}": one for one in all_cases(shipped("fixtures")) if one.format == "v2"}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return answers(list(CASES.values()), tmp_path_factory.mktemp("answers"))


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_case_is_answered_as_written(name: str, given: dict[str, str]) -> None:
    wanted = Path(CASES[name].folder) / "ack.hl7"
    assert given[name] == wanted.read_text(encoding="utf-8")
