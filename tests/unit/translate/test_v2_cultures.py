"""Cultures: which drug was tested on which isolate, however the sender tells it, and what grew."""

from __future__ import annotations

from gateway.model.resource import Json
from tests.unit.translate.v2_messages import PID, message, resources, segment

CULTURE = segment("OBR", {1: "1", 2: "S1", 3: "M1", 4: "TPY^痰培养", 24: "微生物", 25: "F"})


def found(*segments: str) -> dict[str, list[str]]:
    """What grew → the drugs tested on it, with their verdicts."""
    every = resources(message(PID, *segments), "Observation")
    by_ref = {f"Observation/{one['id']}": one for one in every}

    def below(one: Json) -> list[Json]:
        return [by_ref[ref["reference"]] for ref in one.get("hasMember", ())]

    (report,) = resources(message(PID, *segments), "DiagnosticReport")
    results = [by_ref[ref["reference"]] for ref in report["result"]]
    isolates = [isolate for one in results for isolate in below(one)]
    return {
        isolate["valueCodeableConcept"]["text"]: [
            f"{drug['code']['text']} {drug['interpretation'][0]['coding'][0]['code']}" for drug in below(isolate)
        ]
        for isolate in isolates
        if "valueCodeableConcept" in isolate
    }


TWO = {"肺炎克雷伯菌": ["阿米卡星 S", "亚胺培南 R"], "铜绿假单胞菌": ["亚胺培南 S"]}


def rows(*subs: str) -> list[str]:
    told = [
        ("ST", "XJ^细菌名称", "肺炎克雷伯菌", ""),
        ("ST", "JL^菌量", "+++", ""),
        ("NM", "AMK^阿米卡星", "2", "敏感"),
        ("ST", "IPM^亚胺培南", "≥16", "R"),
        ("ST", "XJ^细菌名称", "铜绿假单胞菌", ""),
        ("ST", "IPM^亚胺培南", "1", "S"),
    ]
    return [
        f"OBX|{n}|{t}|{item}|{sub}|{v}|||{s}|||F"
        for n, ((t, item, v, s), sub) in enumerate(zip(told, subs, strict=True))
    ]


def test_drugs_with_the_sub_id_of_their_isolate() -> None:
    assert found(CULTURE, *rows("1", "1", "1.1", "1.2", "2", "2.1")) == TWO
    assert found(CULTURE, *rows("1", "1", "1", "1", "2", "2")) == TWO


def test_drugs_that_follow_their_isolate() -> None:
    assert found(CULTURE, *rows("", "", "", "", "", "")) == TWO
    assert found(CULTURE, *rows("1", "2", "3", "4", "5", "6")) == TWO


def test_drugs_of_which_nobody_says_whose_they_are_stay_results_of_the_report() -> None:
    several = [f"OBX|{n}|CE|XJ^细菌名称||{name}||||||F" for n, name in enumerate(["A^甲菌", "B^乙菌"])]
    assert found(CULTURE, *several, "OBX|3|NM|AMK^阿米卡星||2|ug/mL||S|||F") == {"甲菌": [], "乙菌": []}


def test_an_order_that_names_an_isolate_told_as_text() -> None:
    order = segment("OBR", {1: "2", 3: "M1-1", 4: "YM^药敏", 24: "MB", 26: "XJ&细菌名称^1^肺炎克雷伯菌"})
    drug = "OBX|1|NM|AMK^阿米卡星||2|ug/mL||S|||F"
    isolate = "OBX|1|ST|XJ^细菌名称|1|肺炎克雷伯菌||||||F"
    assert found(CULTURE, isolate, order, drug) == {"肺炎克雷伯菌": ["阿米卡星 S"]}


def test_an_antibiogram_whose_culture_came_before_says_what_it_is_of() -> None:
    order = segment("OBR", {1: "1", 3: "M1-1", 4: "YM^药敏", 24: "MB", 26: "XJ&细菌名称^1^肺炎克雷伯菌", 29: "S1^M1"})
    text = message(PID, order, "OBX|1|NM|AMK^阿米卡星||2|ug/mL||S|||F")
    drug, isolate = resources(text, "Observation")
    (report,) = resources(text, "DiagnosticReport")
    assert isolate["valueCodeableConcept"] == {"text": "肺炎克雷伯菌"}
    assert isolate["hasMember"] == [{"reference": f"Observation/{drug['id']}"}]
    assert report["result"] == [{"reference": f"Observation/{isolate['id']}"}]


def test_a_culture_in_which_nothing_grew_has_no_isolate() -> None:
    for said in ("NG5^培养5天无细菌生长", "^未检出致病菌", "Z^正常菌群", "NG^No growth"):
        (only,) = resources(message(PID, CULTURE, f"OBX|1|CE|JG^培养结果||{said}||||||F"), "Observation")
        assert only["valueCodeableConcept"]["text"] == said.partition("^")[2]
        assert "hasMember" not in only
    assert list(found(CULTURE, "OBX|1|CE|JG^培养结果||CNS^凝固酶阴性葡萄球菌||||||F")) == ["凝固酶阴性葡萄球菌"]
