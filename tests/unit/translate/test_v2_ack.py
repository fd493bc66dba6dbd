"""Acknowledgements in the sender's own charset, separators and version, read back by a third-party parser."""

from __future__ import annotations

from datetime import datetime

import hl7
import pytest

from gateway.errors import BrokenFrame, GatewayError, MissingField, TranslateError, UnknownSource
from gateway.model.times import CHINA
from gateway.translate.read_v2 import Peek, ack, peek_v2
from tests.unit.translate.v2_messages import MSH, PID, message

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)


def answer(text: str, code: str = "AA", error: GatewayError | None = None, charset: str = "utf-8") -> str:
    """The ACK to a message, as text of the charset it came in."""
    return ack(peek_v2(text.encode(charset)), code, error, NOW).decode(charset)


def test_an_accepted_message_gets_aa_with_its_control_id_and_the_parties_exchanged() -> None:
    parsed = hl7.parse(answer(message(PID)))
    assert [str(parsed[f"MSH.F{number}.R1"]) for number in (3, 4, 5, 6)] == ["GW", "ALL", "LIS", "H1"]
    assert str(parsed.segment("MSH")[9]) == "ACK^R01^ACK"
    assert str(parsed.segment("MSH")[18]) == "UNICODE UTF-8"
    assert [str(field) for field in parsed.segment("MSA")[1:]] == ["AA", "C1"]
    with pytest.raises(KeyError):
        parsed.segment("ERR")


def test_an_error_is_told_with_place_code_and_chinese_text() -> None:
    error = MissingField("PID[2]-3.1")
    err = hl7.parse(answer(message(PID), "AE", error)).segment("ERR")
    assert str(err[2]) == "PID^2^3^1^1"
    assert str(err[3][0][0]) == "101"
    assert str(err[4]) == "E"
    assert str(err[5][0][0]) == "GW-TRN-002"
    assert "必填字段为空" in str(err[8])


def test_version_2_4_gets_the_old_form() -> None:
    text = answer(message(PID, msh=MSH.replace("2.5.1", "2.4")), "AR", UnknownSource("MSH-3"))
    parsed = hl7.parse(text)
    assert str(parsed.segment("MSH")[9]) == "ACK^R01"
    assert "没有登记的来源" in str(parsed.segment("MSA")[3])
    assert str(parsed.segment("ERR")[1]).startswith("MSH^1^3")
    assert "GW-INB-004" in text


def test_the_answer_comes_in_the_charset_of_the_question() -> None:
    text = message("PID|1||A1||张珅", msh=MSH.replace("UNICODE UTF-8", ""))
    raw = ack(peek_v2(text.encode("gb18030")), "AE", MissingField("PID-3"), NOW)
    assert "必填字段为空".encode("gb18030") in raw


def test_the_answer_keeps_the_separators_of_the_question() -> None:
    text = message(PID).replace("|", "#").replace("^", "!").replace("~", "@")
    got = answer(text, "AE", MissingField("PID-3"))
    assert got.startswith("MSH#!@\\&#GW#ALL#LIS#H1#")
    assert "\rMSA#AE#C1\r" in got
    assert "PID!1!3" in got


def test_a_control_id_with_separators_in_it_is_escaped_again() -> None:
    parsed = hl7.parse(answer(message(PID, msh=MSH.replace("C1", "C\\T\\1"))))
    assert str(parsed.segment("MSA")[2]) == "C\\T\\1"


def test_what_has_no_envelope_is_still_answered() -> None:
    text = ack(Peek.of_broken(b"nothing"), "AR", UnknownSource(), NOW).decode()
    assert text.startswith("MSH|^~\\&|") and "\rMSA|AR|" in text


@pytest.mark.parametrize("field", ["P\\X0D0A\\MSA", "P\\.br\\MSA", "P\\F\\MSA"])
def test_no_escape_in_the_envelope_can_put_a_segment_or_field_into_the_answer(field: str) -> None:
    text = answer(message(PID, msh=MSH.replace("|P|2.5.1|", f"|{field}|2.5.1|")))
    assert [row[:4] for row in text.split("\r")] == ["MSH|", "MSA|", ""]
    assert text.split("|")[11] == "2.5.1"


def test_a_separator_of_the_sender_s_own_is_escaped_where_it_is_data() -> None:
    """`-` between components, and the answer speaks of `GW-INB-004`."""
    body = message(PID).replace("^", "-")
    text = answer(body, "AR", UnknownSource())
    assert text.startswith("MSH|-~\\&|")
    assert "GW\\S\\INB\\S\\004-" in text


@pytest.mark.parametrize("head", ["MSH\r^~\\&\rA", "MSHx^~\\&xA", "MSH|LIS|H1|", "MSH｜^~\\&｜A", "MSH |^~\\&|"])
def test_what_cannot_separate_is_no_separator(head: str) -> None:
    with pytest.raises(TranslateError):
        peek_v2(f"{head}\rPID|1\r".encode())


@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
def test_bytes_outside_a_frame_are_answered_by_their_number_in_their_charset(codec: str) -> None:
    peek = Peek.of_broken(message(PID).replace("UNICODE UTF-8", "").encode(codec))
    assert (peek.control_id, peek.charset) == ("C1", codec)
    assert BrokenFrame("MLLP").sentence_zh() in ack(peek, "AR", BrokenFrame("MLLP"), NOW).decode(codec)


@pytest.mark.parametrize("before", ["\ufeff\0", "\0\0", "\x0b \r\n"])
def test_what_stands_before_msh_is_no_part_of_it(before: str) -> None:
    assert peek_v2((before + message(PID)).encode()).separators == "|^~\\&"
