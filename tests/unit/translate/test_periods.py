"""Code tables with `valid-from`: the rows of the day on which what a message tells happened, chosen once a message."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.resource import Json, dumps
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.codes import parse_table
from gateway.translate.concept_map import concept_maps
from gateway.translate.engine import Mappings
from gateway.translate.explain import origins
from gateway.validate.structure import check

NOW = datetime(2026, 5, 20, 9, 0, tzinfo=CHINA)
ITEMS = """from,name,unit,specimen,system,code,display,valid-from
A1,甲,,,LOINC,1-8,旧,
A1,甲,,,LOINC,2-6,新,2026-03-01
A1,甲,,,LOINC,1-8,又是旧,2026/5/1
A1,甲,,,RECOGNITION,LAB-A1,甲,
"""
IDS = Ids(b"periods")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mappings:
    """A member with a dated table of items, read from HL7 v2 and from a file of its own columns."""
    root = tmp_path_factory.mktemp("maps")
    (root / "jia/codes").mkdir(parents=True)
    (root / "jia/codes/lab_items.csv").write_text(ITEMS, encoding="utf-8")
    (root / "jia/source.yaml").write_text(
        "name: 甲\nlevel: secondary\nsources:\n  jia: {format: v2, settings: {msh3: J, msh4: J}}\n"
        "  jia_file: {format: csv, settings: {kind.items: 号 项目 日期}}\n",
        encoding="utf-8",
    )
    (root / "jia/items.yaml").write_text(
        "format: csv\nserves: items\nhappened: 日期\nrules:\n  - rule: one\n    each: rows\n    to: Observation\n"
        "    id: [号]\n    set: {status: final, code: {from: 项目, by: concept, table: lab_items}}\n",
        encoding="utf-8",
    )
    return Mappings.load([root, shipped("mappings")], check=False)


def raw(day: str, sent: str = "20260520083000") -> RawMessage:
    lines = [
        f"MSH|^~\\&|J|J|G|A|{sent}||ORU^R01|1|P|2.4",
        "PID|1||P1",
        f"OBR|1||R1|X^x|||{day}",
        "OBX|1|NM|A1^甲||5|||||F",
    ]
    return RawMessage("m1", "jia", "v2", ("\r".join(lines) + "\r").encode(), NOW)


def draft(mapped: Mappings, message: RawMessage) -> Draft:
    return mapped.translate(message, mapped.directory.sources[message.source], IDS, NOW)


def loinc(found: Draft) -> list[str]:
    coded = [one.json["code"]["coding"] for one in found.resources if one.type == "Observation"]
    return [code["code"] for coding in coded for code in coding if code["system"] == "http://loinc.org"]


@pytest.mark.parametrize(
    ("day", "sent", "code"),
    [
        ("20260228235959", "20260520083000", "1-8"),  # done before, sent long after
        ("20260301000000", "20260520083000", "2-6"),
        ("20260228180000-0000", "20260520083000", "2-6"),  # two o'clock next morning where the source is
        ("202603", "20260520083000", "2-6"),  # a month begins on its first day
        ("20260501", "20260520083000", "1-8"),
        ("", "20260310083000", "2-6"),  # without a clinical time the message's own
        ("00000000", "20260310083000", "2-6"),
        ("20990101", "20260310083000", "2-6"),  # and not one nobody can have lived
        ("", "", "1-8"),  # without any the day it came
    ],
)
def test_the_row_in_force_when_it_happened_counts(mapped: Mappings, day: str, sent: str, code: str) -> None:
    source, message = mapped.directory.sources["jia"], raw(day, sent)
    if day == "20990101":  # the message is refused for its date; what is asked here is which rows it would have had
        assert mapped.day(message, source) == "2026-03-10"
        return
    got = draft(mapped, message)
    assert loinc(got) == [code]
    assert got == mapped.trace(message, source, IDS, NOW)[0]


def test_other_code_systems_of_the_key_stay_in_force(mapped: Mappings) -> None:
    for day in ("20260101", "20260401"):
        (one,) = [one for one in draft(mapped, raw(day)).resources if one.type == "Observation"]
        assert "LAB-A1" in [code["code"] for code in one.json["code"]["coding"]]


def test_one_mapping_version_stands_for_all_days(mapped: Mappings) -> None:
    assert len({draft(mapped, raw(day)).mapping for day in ("20260101", "20260401", "20260510")}) == 1


def test_each_row_of_a_file_has_the_rows_of_its_own_day(mapped: Mappings) -> None:
    body = "号,项目,日期\n1,A1,2026-02-01\n2,A1,2026-04-01\n3,A1,2026-05-02\n".encode()
    got = draft(mapped, RawMessage("m2", "jia_file", "csv", body, NOW))
    assert loinc(got) == ["1-8", "2-6", "1-8"]
    assert not [one for one in got.unused if one.lost and "日期" not in one.place]


def test_a_wrong_row_of_such_a_file_leaves_the_others_their_day(mapped: Mappings) -> None:
    body = "号,项目,日期\n1,A1,2026-02-01\n,A1,2026-04-01\n3,A1,2026-04-02\n".encode()
    assert loinc(draft(mapped, RawMessage("m3", "jia_file", "csv", body, NOW))) == ["1-8", "2-6"]


@pytest.mark.parametrize(("day", "line"), [("20260101", 2), ("20260401", 3), ("20260510", 4)])
def test_explain_names_the_row_in_force(mapped: Mappings, day: str, line: int) -> None:
    message, source = raw(day), mapped.directory.sources["jia"]
    (result,) = [one for one in draft(mapped, message).resources if one.type == "Observation"]
    found = origins(mapped, message, source, IDS, NOW, f"Observation/{result.id}", "code.coding[1].code")
    assert [row.place for one in found for row in one.rows] == [f"jia/codes/lab_items.csv:{line}"]


def test_a_members_row_wins_from_its_day_on_and_the_shared_one_serves_before() -> None:
    shared = parse_table("from,to\nx,shared\n", "b.csv", "t")
    own = parse_table("from,to,valid-from\nx,own,2026-03-01\n", "o.csv", "t").over(shared)
    assert [own.at(day).value("x") for day in ("", "2026-02-28", "2026-03-01")] == ["shared", "shared", "own"]


ENDED = """from,name,unit,specimen,system,code,display,equivalence,note,valid-from
A1,甲,,,LOINC,1-8,旧,,,
A1,甲,,,RECOGNITION,LAB-A1,甲,,,
A1,甲,,,LOINC,,,unmatched,换了方法，没有对应的 LOINC,2026-03-01
A1,甲,,,,,,unmatched,停用此项目,2026-04-01
A1,甲,,,LOINC,2-6,新,,,2026-05-01
甲,,,,LOINC,9-1,同名,,,
"""


@pytest.mark.parametrize(
    ("day", "codes"),
    [
        ("20260201", ["1-8", "LAB-A1"]),
        ("20260301", ["LAB-A1"]),
        ("20260401", []),
        ("20260501", ["2-6"]),
    ],
    ids=["before", "in one system", "in all", "begun again"],
)
def test_a_code_may_have_no_target_from_a_day_on(mapped: Mappings, tmp_path: Path, day: str, codes: list[str]) -> None:
    """Also none by its name; and nobody is asked to map what was said to have none."""
    root = Path(shutil.copytree(mapped.library.find("jia/source.yaml").parent, tmp_path / "jia")).parent  # type: ignore[union-attr]
    (root / "jia/codes/lab_items.csv").write_text(ENDED, encoding="utf-8")
    ended = Mappings.load([root, shipped("mappings")], check=False)
    got = draft(ended, raw(day))
    (result,) = [one.json for one in got.resources if one.type == "Observation"]
    assert [one["code"] for one in result["code"]["coding"]] == ["A1", *codes]
    assert [one for one in got.findings if one.code == "GW-MAP-001"] == []
    message, source = raw(day), ended.directory.sources["jia"]
    found = origins(ended, message, source, IDS, NOW, f"Observation/{result['id']}", "code")
    assert {row.place.partition(":")[2] for one in found for row in one.rows} >= ({"5"} if day == "20260401" else set())


def test_what_has_no_target_any_more_is_unmatched_with_its_reason_in_the_concept_map() -> None:
    made = concept_maps("lab_items", ENDED, "jia")
    assert [one.get("version", "") for one in made] == ["", "2026-03-01", "2026-04-01", "2026-05-01"]

    def targets(number: int, system: str) -> list[Json]:
        groups = {one["target"].rpartition("/")[2]: one for one in made[number]["group"]}
        return [target for one in groups[system]["element"] if one["code"] == "A1" for target in one["target"]]

    assert targets(0, "loinc.org") == [{"code": "1-8", "display": "旧", "equivalence": "equivalent"}]
    assert targets(1, "loinc.org") == [{"equivalence": "unmatched", "comment": "换了方法，没有对应的 LOINC"}]
    recognition = made[0]["group"][1]["target"].rpartition("/")[2]
    assert targets(1, recognition)[0]["code"] == "LAB-A1"
    gone = [{"equivalence": "unmatched", "comment": "停用此项目"}]
    assert targets(2, "loinc.org") == targets(2, recognition) == gone
    assert targets(3, "loinc.org")[0]["code"] == "2-6" and targets(3, recognition) == gone
    for one in made:
        check("ConceptMap", dumps(one))


def test_a_member_can_end_a_shared_code() -> None:
    shared = parse_table("from,system,code\nA1,LOINC,1-8\n", "b.csv", "t")
    own = parse_table("from,system,code,equivalence,note,valid-from\nA1,,,unmatched,停用,2026-03-01\n", "o.csv", "t")
    both = own.over(shared)
    assert [bool(both.at(day).rows("A1", "", "", "")) for day in ("", "2026-03-01")] == [True, False]
    assert [both.at(day).without_code("A1", "") for day in ("", "2026-03-01")] == [False, True]


def test_a_dated_table_is_a_concept_map_a_period() -> None:
    text = "from,to,valid-from\nx|y,old,\nx,new,2026-03-01\n"
    one, two = concept_maps("t", text, "jia")
    assert one["url"] == two["url"] and (one.get("version"), two["version"]) == (None, "2026-03-01")
    period = [made["extension"][0]["valuePeriod"] for made in (one, two)]
    assert period == [{"end": "2026-02-28"}, {"start": "2026-03-01"}]
    told = [{e["code"]: e["target"][0]["code"] for e in made["group"][0]["element"]} for made in (one, two)]
    assert told == [{"x": "old", "y": "old"}, {"y": "old", "x": "new"}]
    assert (one["id"], two["id"]) == ("jia-t", "jia-t-2026-03-01")
