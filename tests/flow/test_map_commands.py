"""`gateway map` beside a running gateway: where an element came from, what a change would change, what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.commands.talk import Exit
from tests.flow.alliance import Alliance

WBC = "http://loinc.org|6690-2"


def lines(capsys: pytest.CaptureFixture[str], *words: str, code: int = Exit.OK) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["map", *words, "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def explained(alliance: Alliance, capsys: pytest.CaptureFixture[str], reference: str, path: str) -> dict[str, object]:
    found = lines(capsys, "explain", reference, path, "--home", alliance.settings.gateway.home)
    assert len(found) == 1
    return found[0]


def v2_wbc(alliance: Alliance) -> str:
    found = alliance.found("Observation", code=WBC)
    return next(f"Observation/{one['id']}" for one in found if "county_tcm" in one["meta"]["source"])


def test_a_standard_code_is_traced_to_its_field_its_rule_and_its_table_row(
    alliance: Alliance, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = v2_wbc(alliance)
    one = explained(alliance, capsys, reference, "Observation.code.coding[1].code")
    stored = alliance.fhir(reference)
    assert one["value"] == stored["code"]["coding"][1]["code"] == "6690-2"
    assert one["message"] == stored["meta"]["source"].partition("#")[2]
    assert one["rule"] == "observation"
    assert one["reads"][0]["inputs"][0][1].startswith("OBX[")  # type: ignore[index]
    file, _, line = str(one["line"]).rpartition(":")
    written = (Path("mappings") / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert written.strip().startswith("code: {from: OBX-3")
    table, _, row = one["rows"][0]["place"].rpartition(":")  # type: ignore[index]
    assert "6690-2" in (Path("mappings") / table).read_text(encoding="utf-8").splitlines()[int(row) - 1]


def test_a_value_and_its_unit_are_traced_to_their_fields(
    alliance: Alliance, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = v2_wbc(alliance)
    one = explained(alliance, capsys, reference, "valueQuantity.value")
    assert str(one["value"]) == str(alliance.fhir(reference)["valueQuantity"]["value"])
    places = {name: place for name, place, _ in one["reads"][0]["inputs"]}  # type: ignore[index]
    assert places["from"].endswith("-5") and places["unit"].endswith("-6")


def test_an_element_of_a_patient_is_traced_to_the_record_that_said_it(
    alliance: Alliance, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = alliance.found("Patient", name="张珅")[0]
    one = explained(alliance, capsys, f"Patient/{patient['id']}", "gender")
    assert one["value"] == patient["gender"]
    assert one["rows"][0]["place"].startswith("_base/codes/gender.csv:")  # type: ignore[index]


def test_an_element_no_message_made_is_said_to_be_none(alliance: Alliance, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", alliance.settings.gateway.home]
    assert main(["map", "explain", v2_wbc(alliance), "bodySite", *home]) == Exit.PARTIAL
    assert "有的元素 / there are: category, code, " in capsys.readouterr().err
    assert main(["map", "explain", "Observation/none", "code", *home]) == Exit.PARTIAL
    assert "库里没有由保存的消息产生的这个资源" in capsys.readouterr().err
    assert main(["map", "explain", v2_wbc(alliance), "code", "--message", "m999999", *home]) == Exit.USAGE
    assert "没有这条消息" in capsys.readouterr().err


def test_a_value_another_rule_kept_is_traced_to_the_field_it_really_stood_in(
    alliance: Alliance, capsys: pytest.CaptureFixture[str]
) -> None:
    one = explained(alliance, capsys, v2_wbc(alliance), "code.coding[1].code")
    said = {place: text for read in one["reads"] for _, place, text in read["inputs"] if text}  # type: ignore[attr-defined]
    assert said["$specimen"] and not any(place.startswith("SPM") for place in said)
    assert any(place.startswith("OBR[") and "-15" in place for place in said)


def test_a_constant_is_traced_to_its_rule(alliance: Alliance, capsys: pytest.CaptureFixture[str]) -> None:
    one = explained(alliance, capsys, v2_wbc(alliance), "category[0].coding[0].code")
    assert (one["value"], one["rule"], one["reads"]) == ("laboratory", "observation", [])


@pytest.mark.parametrize("words", [("gaps",), ("diff", "--mappings", "mappings")])
def test_a_source_nobody_is_is_refused_with_the_nearest(
    alliance: Alliance, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["map", *words, "--source", "county_tcm_hospitl", "--home", alliance.settings.gateway.home]
    assert main(asked) == Exit.CONFIG
    assert "没有这个来源，是不是 'county_tcm_hospital'" in capsys.readouterr().err


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "county_tcm_hospital"
    folder.mkdir()
    (folder / "source.yaml").write_bytes(Path("mappings/county_tcm_hospital/source.yaml").read_bytes())
    return tmp_path


def test_diff_counts_what_another_mapping_would_make_otherwise(
    alliance: Alliance, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("diff", "--mappings", str(own), "--home", alliance.settings.gateway.home)
    assert lines(capsys, *words) == []
    (own / "county_tcm_hospital/oru_r01.yaml").write_text(
        "extends: _base/v2/oru_r01\nserves: [ORU^R01]\nsource: test\n"
        "rules:\n  - rule: observation\n    set:\n      status: registered\n",
        encoding="utf-8",
    )
    (group,) = lines(capsys, *words)
    assert (group["what"], group["element"], group["source"]) == (
        "changed",
        "Observation.status",
        "county_tcm_hospital",
    )
    every = lines(capsys, *words, "--full")
    assert len(every) == group["count"]
    assert alliance.fhir(str(every[0]["resource"]))["status"] != "registered", "it is named as it is stored"
    assert {one["after"] for one in every} == {'"registered"'}


def test_diff_fails_when_a_message_would_be_refused(
    alliance: Alliance, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "county_tcm_hospital/oru_r01.yaml").write_text(
        "extends: _base/v2/oru_r01\nserves: [ORU^R01]\nsource: test\nrules:\n  - rule: lab_report\n    id: [ZZZ-1]\n",
        encoding="utf-8",
    )
    words = ("diff", "--mappings", str(own), "--home", alliance.settings.gateway.home)
    found = lines(capsys, *words, "--full", code=Exit.PARTIAL)
    assert {one["after"] for one in found if one["what"] == "refused"} == {"GW-TRN-002 ZZZ-1"}


def test_gaps_show_the_code_as_it_was_sent_and_a_message_that_has_it(
    alliance: Alliance, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(capsys, "gaps", "--home", alliance.settings.gateway.home)
    one = next(one for one in found if one["kind"] == "code")
    assert one["sample"] == "X-9981^异形淋巴细胞参数"
    entry = alliance.run(alliance.gateway.inbox.messages.raw(str(one["message"])))
    assert entry is not None and b"X-9981" in entry.body
