"""Typical slips of a mapping's author: refused with file and line, the nearest right name, in Chinese and English."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main
from gateway.errors import MappingError
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from gateway.validate.elements import R4Elements

SOURCE = """name: 区医院
level: secondary
sources:
  qu:
    format: v2
    control_id: trusted
    settings: {msh3: QLIS, msh4: QYY}
"""
MAP = """extends: _base/v2/oru_r01
serves: [ORU^R01]
rules:
  - rule: patient
    when: PID-3 present
    set:
      gender: {from: PID-8, by: code, table: gender}
ignore:
  - {field: ZPI-3, because: 收费类别}
"""
GENDER = "gender: {from: PID-8, by: code, table: gender}"
FLAG = "  - {{rule: flag, to: {}, id: [MSH-10], set: {{status: active, subject: $subject}}}}"
ITEMS = "from,name,unit,specimen,system,code,display,valid-from\n0102,白细胞,10*9/L,B,LOINC,6690-2,白细胞,2026-07-01\n"


@pytest.mark.parametrize(
    ("file", "right", "wrong", "line", "en", "zh"),
    [
        ("oru_r01.yaml", "oru_r01\n", "oru_r1\n", 1, "mean '_base/v2/oru_r01'", "没有映射"),
        ("oru_r01.yaml", "ignore:", "ignor:", 8, "mean 'ignore'", "没有键 'ignor'，是不是 'ignore'"),
        ("oru_r01.yaml", "rule: patient", "rule: pateint", 4, "mean 'patient'", "不起作用"),
        ("oru_r01.yaml", "gender: {", "gendr: {", 7, "mean 'gender'", "R4 没有元素 Patient.gendr"),
        ("oru_r01.yaml", "by: code", "by: cod", 7, "mean 'code'", "没有函数"),
        ("oru_r01.yaml", "table: gender", "table: gendre", 7, "mean 'gender'", "没有码表"),
        ("oru_r01.yaml", "table: gender", "table: v2_0085", 7, "(table v2_0085)", "不能是 'amended'（码表 v2_0085）"),
        ("oru_r01.yaml", "table: gender", "table: gender, else: M", 7, "be 'M'", "Patient.gender 不能是 'M'"),
        ("source.yaml", "msh3: QLIS", "MSH3: QLIS", 7, "mean 'msh3'", "没有设置 'MSH3'，是不是 'msh3'"),
        ("source.yaml", "msh4: QYY", "msh_4: QYY", 7, "mean 'msh4'", "没有设置 'msh_4'，是不是 'msh4'"),
        ("oru_r01.yaml", "PID-8", "PID_8", 7, "SEG-field", "PID_8 写法有误：应写成 段-字段"),
        ("oru_r01.yaml", "present", "presnt", 5, "presnt", "when 写法有误：'presnt' 不是比较"),
        ("oru_r01.yaml", "    set:", "   set:", 6, "expected", "YAML 写法有误"),
        ("oru_r01.yaml", ", because: 收费类别", "", 9, "because", "请写明忽略的理由"),
        ("oru_r01.yaml", "PID-3 present", "PID-3 matches '('", 5, "no regular expression", "不是正则表达式"),
        ("oru_r01.yaml", "PID-3 present", "PID-3 like x", 5, "no comparison", "'like' 不是比较"),
        ("oru_r01.yaml", "ZPI-3", "ZPI.3", 9, "no segment, field or component", "不是段、字段或成分"),
        ("oru_r01.yaml", "rule: patient", "rule: Patient", 4, "mean 'patient'", "不起作用"),
        ("oru_r01.yaml", "rule: patient", "rule: [patient]", 4, "plain text", "应是一个文本值"),
        ("oru_r01.yaml", "set:", "each: OBXX\n    set:", 4, "no segment name", "'OBXX' 不是段名"),
        ("source.yaml", "name: 区医院\n", "", 1, "needs a name", "缺 name"),
        ("source.yaml", "    control_id", "    charset: gbkk\n    control_id", 6, "gbkk", "不认识字符集"),
        ("source.yaml", "    control_id", "    timezone: '8'\n    control_id", 6, "UTC offset", "应写成 +08:00"),
        ("source.yaml", "    control_id", "    wait_days: week\n    control_id", 6, "number of days", "应是天数"),
        ("oru_r01.yaml", "serves:", "format: V2\nserves:", 2, "must be one of", "format 写的是 'V2'；只能是 v2、"),
        ("oru_r01.yaml", "extends: _base/v2/oru_r01\n", "", 1, "no format", "缺 format"),
        ("oru_r01.yaml", "serves:", "format: cda\nserves:", 2, "its sources send v2", "它的来源是 v2：不会用到它"),
        ("oru_r01.yaml", "ignore:", "  - {rule: patient, set: {}}\nignore:", 8, "twice in this file", "写了两次"),
        ("oru_r01.yaml", "ignore:", f"{FLAG.format('Flagg')}\nignore:", 8, "mean 'Flag'", "没有资源类型 'Flagg'"),
        ("oru_r01.yaml", "ignore:", f"{FLAG.format('Flag')}\nignore:", 8, "wants Flag.code", "R4 要求 Flag.code"),
        (
            "oru_r01.yaml",
            "ignore:",
            "  - {rule: observation, set: {valueString: {from: OBX-5}}}\nignore:",
            8,
            'away: value[x]: ""',
            "已会产生 valueString",
        ),
        ("oru_r01.yaml", "[ORU^R01]", "[ORU_R01]", 2, "no message kind", "'ORU_R01' 不是消息类型"),
        ("oru_r01.yaml", "serves: [ORU^R01]\n", "", 1, "serves nothing", "不处理任何消息"),
        ("oru_r01.yaml", "rules:", "for: quu\nrules:", 3, "mean 'qu'", "没有来源 'quu'，是不是 'qu'"),
        (
            "oru_r01.yaml",
            GENDER,
            "gender: [male]",
            7,
            "no list",
            "请去掉列表",
        ),
        ("oru_r01.yaml", GENDER, "gender: mail", 7, "mean 'male'", "只能是"),
        (
            "oru_r01.yaml",
            GENDER,
            "name: {text: x}",
            7,
            "is a list",
            "请写成 [",
        ),
        ("oru_r01.yaml", "  - rule: patient", "\t- rule: patient", 4, "token", "不能用制表符缩进"),
        ("source.yaml", "control_id", "controlid", 6, "mean 'control_id'", "没有键"),
        ("source.yaml", "secondary", "second", 2, "mean 'secondary'", "是不是 'secondary'？只能是"),
        (
            "source.yaml",
            "sources:",
            "provides: [visits,\n  lab]\nsources:",
            3,
            "mean 'labs'",
            "没有 'lab'，是不是 'labs'",
        ),
        ("source.yaml", "QLIS, msh4: QYY", "ESB, msh4: CITY1", 7, "ESB/CITY1", "相同（ESB/CITY1）"),
        ("oru_r01.yaml", "    when:", "\t    when:", 5, "tab", "不能用制表符缩进"),
        ("codes/lab_items.csv", "LOINC", "LONIC", 2, "mean 'LOINC'", "不是已知简称"),
        ("codes/lab_items.csv", ",B,", ",", 2, "columns", "列数与表头（8 列）不同"),
        ("codes/lab_items.csv", "2026-07-01", "2026-7", 2, "like 2026-07-01", "不是日期"),
        ("codes/lab_items.csv", "10*9/L", "10^9/L", 2, "write its UCUM code '10*9/L'", "是打印写法，请写 UCUM 代码"),
        ("codes/lab_items.csv", "6690-2", "6690-3", 2, "check digit", "不是 LOINC 代码"),
        ("codes/lab_items.csv", "10*9/L", "10九/L", 2, "no UCUM code", "'10九/L' 不是 UCUM 代码"),
        ("codes/lab_items.csv", "LOINC", "loinc", 2, "mean 'LOINC'", "是不是 'LOINC'"),
        ("codes/lab_items.csv", ",B,", ",血清,", 2, "specimen '血清'", "不认识 '血清'"),
        (
            "oru_r01.yaml",
            "extends: _base/v2/oru_r01",
            "extends: [_base/v2/oru_r01, _base/csv/labs]",
            1,
            "one format",
            "（csv）",
        ),
        (
            "oru_r01.yaml",
            GENDER,
            "maritalStatus: {from: PID-16}",
            7,
            "elements inside it",
            "是 CodeableConcept：请写它里面的",
        ),
        ("oru_r01.yaml", GENDER, "maritalStatus: 已婚", 7, "a constant text", "'已婚' 是固定文字"),
        ("oru_r01.yaml", GENDER, "name: [{from: PID-5}]", 7, "elements inside it", "如 {text: {from: …}}"),
        ("oru_r01.yaml", GENDER, "birthDate: {from: PID-7}", 7, "by: date", "请写 by: date"),
        ("oru_r01.yaml", GENDER, "birthDate: PID-7", 7, "no date", "取自来文的写 {from: …}"),
        ("oru_r01.yaml", GENDER, "deceased: {from: PID-30}", 7, "deceasedBoolean、deceasedDateTime", "要连类型一起写"),
        ("oru_r01.yaml", GENDER, "deceasedBoolean: 是", 7, "$true or $false", "写 $true 或 $false"),
        ("oru_r01.yaml", GENDER, "multipleBirthInteger: 2", 7, "$int:1", "固定的整数写 $int:1"),
        ("oru_r01.yaml", GENDER, "gender: {from: PID-8, by: ce}", 7, "gives an object", "产生的是对象"),
        ("source.yaml", "format: v2", "format: fhir", 5, "needs no source", "FHIR 不经映射"),
        ("codes/lab_items.csv", "valid-from", "valid_from", 1, "mean 'valid-from'", "没有列"),
    ],
)
def test_a_slip_names_its_line_and_the_nearest_name_in_both_languages(
    tmp_path: Path, file: str, right: str, wrong: str, line: int, en: str, zh: str
) -> None:
    for name, text in (("source.yaml", SOURCE), ("oru_r01.yaml", MAP), ("codes/lab_items.csv", ITEMS)):
        path = tmp_path / "qu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(right, wrong, 1) if name == file else text, encoding="utf-8")
        assert name != file or right in text
    with pytest.raises(MappingError) as caught:
        loaded = Mappings.load([tmp_path, shipped("mappings")], elements=R4Elements(), check=False)
        loaded.compiled(loaded.directory.sources["qu"], "v2", "ORU^R01")
    assert caught.value.place == f"qu/{file}:{line}"
    assert en in caught.value.sentence_en() and zh in caught.value.sentence_zh()


def test_a_kind_of_csv_no_source_names_is_refused(tmp_path: Path) -> None:
    source = SOURCE + "  csv:\n    format: csv\n    settings: {kind.clinic: 门诊号}\n"
    (tmp_path / "qu").mkdir()
    (tmp_path / "qu/source.yaml").write_text(source, encoding="utf-8")
    clinic = tmp_path / "qu/clinic.yaml"
    clinic.write_text("format: csv\nserves: [visits, clinic]\nrules: []\n", encoding="utf-8")
    Mappings.load([tmp_path, shipped("mappings")])
    clinic.write_text("format: csv\nserves:\n  - clinics\nrules: []\n", encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        Mappings.load([tmp_path, shipped("mappings")])
    assert caught.value.place == "qu/clinic.yaml:3"
    assert (
        "没有来源写明种类 'clinics'" in caught.value.sentence_zh() and "是不是 'clinic'" in caught.value.sentence_zh()
    )


@pytest.mark.parametrize(
    ("file", "place", "zh"),
    [
        ("qu/oru_r01.yml", "qu/oru_r01.yml", "请把扩展名改成 .yaml"),
        ("source.yaml", "source.yaml", "请改指它的上一级目录"),
        ("qu/codes/lab_item.csv", "qu/codes/lab_item.csv", "没有映射用到码表 'lab_item'，是不是 'lab_items'？"),
    ],
)
def test_a_file_nobody_would_read_is_refused(tmp_path: Path, file: str, place: str, zh: str) -> None:
    for name, text in (("qu/source.yaml", SOURCE), ("qu/codes/lab_items.csv", ITEMS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    Mappings.load([tmp_path, shipped("mappings")])
    (tmp_path / file).write_text(ITEMS if file.endswith(".csv") else SOURCE, encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        Mappings.load([tmp_path, shipped("mappings")])
    assert caught.value.place == place and zh in caught.value.sentence_zh()


@pytest.mark.parametrize(
    ("file", "text", "line", "zh"),
    [
        (
            "alliances.yaml",
            "alliances:\n  a:\n    members:\n      - qu\n      - quu\n",
            5,
            "没有成员 'quu'，是不是 'qu'",
        ),
        ("alliances.yaml", "alliances:\n  a:\n    lead: quu\n    members: [qu]\n", 3, "没有成员 'quu'，是不是 'qu'"),
        (
            "alliances.yaml",
            "alliances:\n  abc:\n    members: [qu]\n    contains: abd\n",
            4,
            "没有联盟 'abd'，是不是 'abc'",
        ),
        ("qu/ranges.csv", "2823-3,,,,mmol/L,3.5\n", 2, "应有 8 列"),
        ("qu/ranges.csv", "2823-4,,,,mmol/L,3.5,5.3,x\n", 2, "不是 LOINC 代码"),
        ("qu/ranges.csv", ",,,,mmol/L,3.5,5.3,x\n", 2, "loinc 列为空"),
        ("qu/ranges.csv", "2823-3,,,,mmol/L,5.3,3.5,x\n", 2, "下限 low 大于上限 high"),
        ("qu/ranges.csv", "2823-3,X,,,mmol/L,3.5,5.3,x\n", 2, "sex 只能是"),
    ],
)
def test_a_slip_beside_the_maps_is_told_when_they_are_checked(
    tmp_path: Path, file: str, text: str, line: int, zh: str, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "loinc,sex,age_low,age_high,unit,low,high,text\n" if file.endswith(".csv") else ""
    (tmp_path / "qu").mkdir()
    (tmp_path / "qu/source.yaml").write_text(SOURCE, encoding="utf-8")
    (tmp_path / file).write_text(header + text, encoding="utf-8")
    assert main(["map", "check", "--mappings", str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert zh in said and f"[位置：{file}:{line}]" in said


@pytest.mark.parametrize(
    ("settings", "en", "zh"),
    [
        ("calling_ae: DR_ROOM_1", "both called as all are by DR_ROOM_1", "主叫 DR_ROOM_1，被叫 默认"),
        ('calling_ae: "QUPACS, DR_ROOM_1"', "both called as all are by DR_ROOM_1", "主叫 DR_ROOM_1，被叫 默认"),
        ("calling_ea: QUPACS", "mean 'calling_ae'", "没有设置 'calling_ea'"),
        ("calling_ae: QU_PACS_OF_THE_COUNTY", "is no AE title", "1 到 16 个 ASCII 字符"),
        ("calling_ae: 区影像", "is no AE title", "1 到 16 个 ASCII 字符"),
    ],
)
def test_ae_titles_are_one_sources_and_well_formed(tmp_path: Path, settings: str, en: str, zh: str) -> None:
    (tmp_path / "qu").mkdir()
    text = SOURCE + "  qu_dr:\n    format: dicom\n    settings: {calling_ae: DR_ROOM_1}\n"
    text += f"  qu_pacs:\n    format: dicom\n    settings: {{{settings}}}\n"
    (tmp_path / "qu" / "source.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        Mappings.load([tmp_path, shipped("mappings")], elements=R4Elements(), check=False)
    assert en in caught.value.sentence_en() and zh in caught.value.sentence_zh()
