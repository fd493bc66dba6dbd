"""`gateway map test` on the cases a member's engineer writes beside the mappings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main

_SOURCE = "name: 区医院\nlevel: secondary\nsources:\n  qu_lis:\n    format: v2\n    settings: {msh3: QLIS, msh4: QYY}\n"
_MAP = "extends: _base/v2/oru_r01\nserves: [ORU^R01]\n"
_CHANGED = "rules:\n  - rule: observation\n    set: {status: registered}\n"
_REPORT = """MSH|^~\\&|QLIS|QYY|GW|GW|20260301083000||ORU^R01|Q1|P|2.4
PID|1||Q100^^^QYY^MR||测试居民||19500101|M
OBR|1|SQ1|RQ1|XCG^血常规^L|||20260301080000|||||||||||||||20260301083000||HM|F
OBX|1|NM|0102^白细胞^L||5.60|10*9/L|3.5-9.5||||F
"""


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    for name, text in (("source.yaml", _SOURCE), ("oru_r01.yaml", _MAP)):
        (folder / "qu").mkdir(parents=True, exist_ok=True)
        (folder / "qu" / name).write_text(text, encoding="utf-8")
    case = folder / "tests/qu_lis/oru_r01/first"
    case.mkdir(parents=True)
    (case / "input.hl7").write_text(_REPORT, encoding="utf-8")
    (case / "case.yaml").touch()
    return folder


def test_a_case_is_written_once_and_then_says_what_a_change_of_the_map_changes(
    maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, expected = ["map", "test", "--mappings", str(maps)], maps / "tests/qu_lis/oru_r01/first/expected.json"
    assert main(asked) == 0
    assert "1 个用例没有 expected.json" in capsys.readouterr().err and not expected.exists()
    assert main([*asked, "--write"]) == 0 and main(asked) == 0
    written = expected.read_bytes()
    (maps / "qu/oru_r01.yaml").write_text(_MAP + _CHANGED, encoding="utf-8")
    assert main([*asked, "--write"]) == 5, "what is there is never overwritten"
    said = capsys.readouterr()
    assert "不同 / differs: qu_lis/oru_r01/first" in said.err
    assert said.out.startswith("changed  Observation/") and '\n  - "final"\n  + "registered"\n' in said.out
    assert expected.read_bytes() == written
    assert main([*asked, "--json"]) == 5
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["element"], change["before"], change["after"]) == ("status", '"final"', '"registered"')


def test_an_input_without_its_case_yaml_is_not_passed_over(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = maps / "tests/qu_lis/oru_r01/second"
    second.mkdir()
    (second / "input.hl7").write_text(_REPORT, encoding="utf-8")
    assert main(["map", "test", "--mappings", str(maps)]) == 3
    said = capsys.readouterr().err
    assert "缺少 case.yaml" in said and str(second) in said


def test_a_case_that_is_refused_says_why(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = maps / "tests/qu_lis/oru_r01/first"
    (case / "input.hl7").write_text(_REPORT.replace("20260301", "20271301"), encoding="utf-8")
    assert main(["map", "test", "--mappings", str(maps), "--write"]) == 5
    assert "GW-TRN-004" in capsys.readouterr().err and not (case / "expected.json").exists()


def test_a_case_may_say_when_it_came_so_that_its_times_are_not_in_the_future(maps: Path) -> None:
    case = maps / "tests/qu_lis/oru_r01/first"
    (case / "input.hl7").write_text(_REPORT.replace("20260301", "20270301"), encoding="utf-8")
    assert main(["map", "test", "--mappings", str(maps), "--write"]) == 5
    (case / "case.yaml").write_text('received: "2027-03-02T08:00"\n', encoding="utf-8")
    assert main(["map", "test", "--mappings", str(maps), "--write"]) == 0


@pytest.mark.parametrize(
    ("file", "content", "place", "zh"),
    [
        ("case.yaml", b"sourc: qu_lis\n", "case.yaml:1", "没有键 'sourc'，是不是 'source'"),
        ("case.yaml", b"order: first\n", "case.yaml:1", "order 应是数字"),
        ("case.yaml", b"charset: gbx\n", "case.yaml:1", "不认识字符集"),
        ("case.yaml", b'received: "9/3"\n', "case.yaml:1", "received 应如"),
        ("case.yaml", b"source: nobody\n", "case.yaml", "没有这个来源"),
        ("case.yaml", b"charset: ascii\n", "input.hl7", "字符集 ascii 里没有“测”"),
        ("input.hl7", _REPORT.encode("gb18030"), "input.hl7:2", "不是 UTF-8 编码"),
        ("expected.json", b"{}\n}", "expected.json:2", "不是 JSON"),
        ("expected.json", b"5", "expected.json:1", "不是 JSON"),
    ],
)
def test_a_case_that_cannot_be_read_is_named_with_its_place(
    maps: Path, file: str, content: bytes, place: str, zh: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = maps / "tests/qu_lis/oru_r01/first"
    (case / file).write_bytes(content)
    assert main(["map", "test", "--mappings", str(maps)]) == 3
    said = capsys.readouterr().err
    assert zh in said and f"[位置：{case / place}]" in said


def test_a_case_without_a_message_is_named(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (maps / "tests/qu_lis/oru_r01/first/input.hl7").unlink()
    assert main(["map", "test", "--mappings", str(maps)]) == 3
    assert "缺少 input.hl7" in capsys.readouterr().err
