"""The console's pure pieces: spots and marks on originals, samples, bytes as sent, values in a line."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gateway.errors import NotFound
from gateway.model.directory import Source
from gateway.model.message import RawMessage
from gateway.model.outcome import Finding, Unused
from gateway.model.times import CHINA
from gateway.outbound.console import original, words
from gateway.outbound.console.samples import SAMPLES, sample, text_of
from gateway.outbound.console.trying import as_sent, form_of
from gateway.outbound.console.views_try import ignored_of, said
from gateway.shipped import shipped

NOW = datetime(2026, 3, 20, 9, tzinfo=CHINA)
CARD = "990101200101191449"


def raw(form: str, text: str, charset: str = "utf-8") -> RawMessage:
    return RawMessage("m1", "lis", form, text.encode(charset), NOW)


@pytest.mark.parametrize(
    ("place", "spot"),
    [
        ("OBX[2]-5.1", "OBX[2]-5"),
        ("PID[1]-3[2].1", "PID[1]-3"),
        ("MSH-9", "MSH[1]-9"),
        ("recordTarget/patientRole/id[1.14]#18", "#18"),
        ("row 7, column 收缩压", "#7"),
        ("MSH", ""),
        ("Observation.status", ""),
        ("", ""),
    ],
)
def test_a_place_is_found_on_the_original(place: str, spot: str) -> None:
    assert original.spot(place) == spot


def test_lost_wins_over_ignored_and_a_fault_over_both() -> None:
    unused = (Unused("PID[1]-9", "别名"), Unused("PID[1]-9.2"), Unused("PID[1]-10", "民族"), Unused("PID[1]-11"))
    marks = original.marks_of(unused, ["PID[1]-11"], ["PID[1]-10", "nowhere"])
    assert {spot: css for spot, (css, _) in marks.items()} == {
        "PID[1]-9": "lost",
        "PID[1]-10": "noted",
        "PID[1]-11": "wrong",
    }


def test_fields_keep_their_numbers_and_the_separator_counts_as_the_first_of_msh() -> None:
    shown = original.read(raw("v2", "MSH|^~\\&|LIS|XZYY\rPID|1||300\rOBX|1\rOBX|2"), "auto", {}, {}, masked=True)
    assert [segment.label for segment in shown.segments] == ["MSH[1]", "PID[1]", "OBX[1]", "OBX[2]"]
    assert [(piece.number, piece.text) for piece in shown.segments[0].filled] == [(2, "^~\\&"), (3, "LIS"), (4, "XZYY")]
    assert [(piece.number, piece.text) for piece in shown.segments[1].filled] == [(1, "1"), (3, "300")]


def test_numbers_are_masked_for_all_but_the_operator() -> None:
    for form, text in (("v2", f"MSH|^~\\&|LIS\rPID|||{CARD}||马||13900009012"), ("csv", f"a,b\n{CARD},13900009012")):
        hidden = str(original.read(raw(form, text), "auto", {}, {}, masked=True))
        assert CARD not in hidden and "13900009012" not in hidden and "1449" in hidden
        assert CARD in str(original.read(raw(form, text), "auto", {}, {}, masked=False))


def test_the_charset_of_the_bytes_is_said_and_bytes_of_none_are_still_shown() -> None:
    assert original.read(raw("csv", "姓名\n张珅", "gb18030"), "auto", {}, {}, masked=True).charset == "gb18030"
    odd = RawMessage("m1", "lis", "csv", b"a\xff\xffb", NOW)
    assert original.read(odd, "utf-8", {}, {}, masked=True).charset == "latin-1"


def test_a_long_file_is_cut_and_says_by_how_much() -> None:
    shown = original.read(raw("csv", "x\n" * 1000), "auto", {}, {}, masked=True)
    assert (len(shown.lines), shown.more) == (original.MAX_LINES, 1000 - original.MAX_LINES)


def test_samples_are_spelled_out_and_move_by_whole_days() -> None:
    pct = sample("pct")
    at_anchor = text_of(pct, shipped("fixtures"), NOW)
    later = text_of(pct, shipped("fixtures"), NOW + timedelta(days=40, hours=7))
    assert "20260319084000" in at_anchor and "20260428084000" in later and "[[" not in later
    assert all(text_of(one, shipped("fixtures"), NOW) for one in SAMPLES)
    with pytest.raises(NotFound):
        sample("nothing")


def test_pasted_text_becomes_the_bytes_its_sender_would_send() -> None:
    v2 = "MSH|^~\\&|LIS|X||||||||||||||%s\r\nPID|||1||张珅"
    assert as_sent(v2 % "", "v2", "gb18030").endswith("\rPID|||1||张珅".encode("gb18030"))
    assert as_sent(v2 % "GB18030", "v2", "").endswith("张珅".encode("gb18030"))
    assert as_sent(v2 % "", "v2", "").endswith("张珅".encode())
    assert as_sent("a\r\nb", "csv", "") == b"a\nb"
    assert as_sent("珅", "csv", "8859/1") == "珅".encode(), "a charset without the character is not used"


def test_the_sandbox_takes_whatever_the_text_looks_like() -> None:
    sandbox = Source("sandbox", "sandbox", "any")
    texts = {"MSH|": "v2", "<a/>": "cda", "{}": "json", "a,b": "csv"}
    assert {text: form_of(sandbox, text) for text in texts} == texts
    assert form_of(Source("lis", "m", "v2"), "a,b") == "v2"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ('"final"', "final"),
        ('{"valueQuantity":{"value":0.210,"unit":"%"}}', "0.210 %"),
        ('[{"text":"3.5-9.5","low":{"value":3.5}}]', "3.5-9.5"),
        ('{"coding":[{"system":"http://loinc.org","code":"6690-2"}],"text":"白细胞"}', "loinc.org 6690-2「白细胞」"),
        ("[1,2]", "[1,2]"),
        ("not json", "not json"),
    ],
)
def test_a_value_reads_in_one_line_with_all_its_digits(value: str, line: str) -> None:
    assert said(value) == line


def test_reasons_for_leaving_out_are_ranked_and_lost_fields_are_not_among_them() -> None:
    unused = (Unused("A-1", "序号"), Unused("B-1", "固定值"), Unused("A-2", "序号"), Unused("Z-1"))
    assert [(one.because, one.count, one.places) for one in ignored_of(unused)] == [
        ("序号", 2, "A-1、A-2"),
        ("固定值", 1, "B-1"),
    ]


def test_a_remark_says_its_place_once_and_what_to_do() -> None:
    shown = words.remark(
        Finding("GW-TRN-002", "error", "PID-3", "必填字段为空。 [位置：PID-3]", "A required field is empty.")
    )
    assert (shown.place, shown.text) == ("PID-3", "必填字段为空。")
    assert shown.advice and words.advice("GW-XXX-999")
    assert words.sentence("GW-INB-005") and words.sentence("replay") == ""
