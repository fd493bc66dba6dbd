"""Mapping files: strict reading, extends, overrides, sources; every fault with file and line."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path

import pytest

from gateway.errors import MappingError
from gateway.model.directory import Term
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from gateway.translate.mapping import Library
from gateway.translate.strict_yaml import parse
from gateway.validate.elements import R4Elements

SOURCE = "name: 甲医院\nlevel: secondary\nsources:\n  jia:\n    format: v2\n"
BASE = """format: v2
serves: [ORU^R01]
rules:
  - rule: patient
    each: PID
    to: Patient
    id: [PID-3]
    set: {name: [{text: {from: PID-5}}], gender: {from: PID-8, by: code, table: gender}}
  - rule: observation
    each: OBX
    to: Observation
    id: [OBR-3, OBX-3]
    set: {status: final, code: {from: OBX-3, by: ce}}
ignore:
  - {field: OBX-1, because: 序号}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of mappings with one base map, one table and one member."""
    write(tmp_path, "_base/v2/oru.yaml", BASE)
    write(tmp_path, "_base/codes/gender.csv", "from,to\n1,male\n2,female\n")
    write(tmp_path, "_base/codes/units.csv", "from,to,item\ng/L,g/L,\n")
    write(tmp_path, "_base/codes/specimens.csv", "from,to\n血清,S\n")
    write(tmp_path, "jia/source.yaml", SOURCE)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def fault(root: Path, name: str, text: str) -> MappingError:
    """The error a file makes."""
    write(root, name, text)
    with pytest.raises(MappingError) as refused:
        Mappings.load([root])
    return refused.value


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("a: yes\n", 1, "quotes"),
        ("a: 1\nb: no\n", 2, "quotes"),
        ("a: null\n", 1, "quotes"),
        ("a: ~\n", 1, "quotes"),
        ("a: 2026-03-10\n", 1, "quotes"),
        ("a: 12:30\n", 1, "quotes"),
        ("a: &x 1\nb: *x\n", 1, "alias"),
        ("a: [1\nb: 2\n", 2, "expected"),
        ("a:\n  - b\n c: d\n", 3, "expected"),
    ],
)
def test_yaml_surprises_are_refused(text: str, line: int, said: str) -> None:
    with pytest.raises(MappingError, match=said) as refused:
        parse(text, "m.yaml")
    assert refused.value.place in (f"m.yaml:{line}", f"m.yaml:{line + 1}")


def test_quoted_words_and_numbers_stay_text() -> None:
    node = parse("a: 'yes'\nb: 1.20\nc: '2026-03-10'\nd: 0x10\n", "m.yaml")
    assert node.canon() == {"a": "yes", "b": "1.20", "c": "2026-03-10", "d": "0x10"}


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("status: final", "staus: {from: OBX-99.x}"), 13, "SEG-field"),
        (("by: ce}", "by: cee}"), 13, "no function 'cee'"),
        (("table: gender", "table: sex"), 8, "no table 'sex'"),
        (("each: OBX", "each: OBXX"), 9, "no segment name"),
        (("id: [OBR-3, OBX-3]\n", "\n"), 9, "needs `id`"),
        (("id: [PID-3]", "id: [OBX-3]"), 7, "not within reach"),
        (("to: Observation", "too: Observation"), 11, "unknown key 'too'"),
        (("because: 序号", 'because: ""'), 15, "say why"),
        (("status: final", "status: $NOBODY"), 13, "unknown constant"),
        (("status: final", "status: {from: $nothing}"), 13, "nothing is kept"),
        (("status: final", "specimen: {ref: specimen}"), 13, "no rule 'specimen'"),
        (("    to: Observation", "    when: OBX-2 like NM\n    to: Observation"), 11, "no comparison"),
        (("    to: Observation", "    when: (OBX-2 = NM\n    to: Observation"), 11, "closing"),
    ],
)
def test_faults_of_rules_name_file_and_line(folder: Path, change: tuple[str, str], line: int, said: str) -> None:
    found = fault(folder, "_base/v2/oru.yaml", BASE.replace(*change))
    assert said in str(found)
    assert found.place == f"_base/v2/oru.yaml:{line}"


def test_an_element_r4_does_not_have_is_refused_when_the_definitions_are_at_hand(folder: Path) -> None:
    write(folder, "_base/v2/oru.yaml", BASE.replace("status: final", "stauts: final"))
    with pytest.raises(MappingError, match=r"R4 has no element Observation\.stauts"):
        Mappings.load([folder], elements=R4Elements())


def rule(folder: Path, name: str, map_: str = "jia/oru") -> object:
    return {one.name: one.node.canon() for one in Library([folder]).map(map_).rules}[name]


def test_an_override_changes_only_what_it_writes(folder: Path) -> None:
    text = (
        "extends: _base/v2/oru\nserves: [ORU^R01]\n"
        "rules:\n  - rule: patient\n    set: {gender: '', birthDate: {from: PID-7, by: date}}\n"
    )
    write(folder, "jia/oru.yaml", text)
    assert rule(folder, "patient") == {
        "rule": "patient", "each": "PID", "to": "Patient", "id": ["PID-3"],
        "set": {"name": [{"text": {"from": "PID-5"}}], "birthDate": {"from": "PID-7", "by": "date"}},
    }  # fmt: skip
    assert rule(folder, "observation") == rule(folder, "observation", "_base/v2/oru")


def test_rules_can_be_removed_and_put_in_place(folder: Path) -> None:
    text = (
        "extends: _base/v2/oru\nserves: [ORU^R01]\nremove: [observation]\n"
        "rules:\n  - {rule: first, before: patient, each: PID, keep: {x: PID-5}}\n"
    )
    write(folder, "jia/oru.yaml", text)
    assert [one.name for one in Library([folder]).map("jia/oru").rules] == ["first", "patient"]


def test_a_circle_of_maps_is_refused(folder: Path) -> None:
    write(folder, "_base/v2/oru.yaml", BASE + "extends: jia/oru\n")
    found = fault(folder, "jia/oru.yaml", "extends: _base/v2/oru\nserves: [ORU^R01]\n")
    assert "extends itself" in str(found)


def test_two_maps_of_a_member_for_one_kind_are_refused(folder: Path) -> None:
    text = "extends: _base/v2/oru\nserves: [ORU^R01]\n"
    write(folder, "jia/one.yaml", text)
    assert "served by jia/one already" in str(fault(folder, "jia/two.yaml", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOURCE.replace("secondary", "huge"), "level"),
        (SOURCE.replace("format: v2", "format: v3"), "format"),
        (SOURCE + "    charset: klingon\n", "charset"),
        (SOURCE + "    timezone: china\n", "UTC offset"),
        (SOURCE + "    control_id: maybe\n", "control_id"),
        (SOURCE + "provides: [labs, gossip]\n", "gossip"),
        (SOURCE + "colour: red\n", "unknown key"),
    ],
)
def test_faults_of_sources_are_refused(folder: Path, text: str, said: str) -> None:
    assert said in str(fault(folder, "jia/source.yaml", text))


def test_the_operators_folder_wins_over_the_shipped_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = tmp_path_factory.mktemp("own")
    write(own, "jia/source.yaml", SOURCE.replace("甲医院", "乙医院"))
    assert Mappings.load([own, folder]).directory.members["jia"].name == "乙医院"


def test_the_version_follows_rules_and_tables_and_nothing_else(folder: Path) -> None:
    def version() -> str:
        loaded = Mappings.load([folder])
        return loaded.compiled(loaded.directory.sources["jia"], "v2", "ORU^R01").version

    before = version()
    write(folder, "_base/v2/oru.yaml", "# a remark\n" + BASE)
    assert version() == before
    write(folder, "_base/codes/gender.csv", "from,to\n1,male\n2,female\n9,unknown\n")
    assert version() != before


def test_the_shipped_directory_is_whole() -> None:
    found = Mappings.load([shipped("mappings")], check=False).directory
    assert {"city_first_hospital", "county_tcm_hospital", "sandbox"} <= found.sources.keys()
    assert found.sources["county_tcm_hospital"].control_id == "untrusted"
    members = found.within("city_group", datetime(2026, 3, 20, tzinfo=CHINA))
    assert members >= {"city_first_hospital", "county_people_hospital", "township_health_centre"}
    assert all(source.member in found.members for name, source in found.sources.items() if name != "sandbox")


ALLIANCES = """\
alliances:
  county:
    name: 县域医共体
    lead: jia
    members: [{member: jia, since: "2026-01-01", until: "2026-06-30"}]
    until: "2026-12-31"
"""


def test_an_alliance_and_each_of_its_members_may_have_a_term(folder: Path) -> None:
    write(folder, "alliances.yaml", ALLIANCES)
    found = Mappings.load([folder]).directory
    assert found.alliances["county"].term == Term(until=date(2026, 12, 31))
    inside, after = (datetime(2026, 6, 30, 23, 59, tzinfo=CHINA), datetime(2026, 7, 1, tzinfo=CHINA))
    assert (found.alliances_of("jia", inside), found.alliances_of("jia", after)) == (("county",), ())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('until: "2026-06-30"', "until: 30.6.2026", "must be a date"),
        ("2026-06-30", "2025-06-30", "until lies before since"),
        ("member: jia", "member: yi", "there is no member"),
        ("since", "from", "unknown key"),
        ("member: jia, ", "", "plain text is expected"),
    ],
)
def test_a_wrong_term_is_refused(folder: Path, old: str, new: str, said: str) -> None:
    assert said in str(fault(folder, "alliances.yaml", ALLIANCES.replace(old, new, 1)))


def examples() -> list[str]:
    """Every map written out in the README."""
    text = (shipped("mappings") / "README.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "extends:" in block]


@pytest.mark.parametrize("text", examples())
def test_the_examples_of_the_readme_compile(text: str, tmp_path: Path) -> None:
    form = re.search(r"extends: _base/(\w+)/", text)
    assert form
    write(
        tmp_path, "example/source.yaml", SOURCE.replace("format: v2", f"format: {form[1]}").replace("jia:", "example:")
    )
    write(tmp_path, "example/map.yaml", text)
    loaded = Mappings.load([tmp_path, shipped("mappings")], check=False)
    source = loaded.directory.sources["example"]
    for kind in Library([tmp_path, shipped("mappings")]).map("example/map").serves:
        assert loaded.compiled(source, form[1], kind).map.name == "example/map"
