"""The hardened XML reader (T18, charset ladder)."""

from __future__ import annotations

import time

import pytest

from gateway.errors import BadXml, TooLarge, WrongCharset
from gateway.model import xml

LAUGHS = b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><z>&b;</z>'
REFUSED = {
    "entities": LAUGHS,
    "lower case": b"<!doctype z><z/>",
    "spaced": b"<! DOCTYPE z><z/>",
    "after a comment": b"<!-- x -->\n<?pi y?>\n<!DOCTYPE z SYSTEM 'file:///etc/passwd'><z/>",
    "external": b"<!DOCTYPE z SYSTEM 'http://127.0.0.1:1/z.dtd'><z/>",
    "parameter entity": b"<!DOCTYPE z [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><z/>",
    "attribute entity": b"<!DOCTYPE z [<!ENTITY a 'x'>]><z b='&a;'/>",
    "utf-16 with mark": "\ufeff<!DOCTYPE z [<!ENTITY a 'x'>]><z/>".encode("utf-16-le"),
    "utf-16 without mark": "<!DOCTYPE z [<!ENTITY a 'x'>]><z/>".encode("utf-16-be"),
    "utf-7": b"<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE z+AD4-<z/>",
    "undefined entity": b"<z>&nbsp;</z>",
    "deep": b"<a>" * 5000 + b"</a>" * 5000,
    "attributes": b"<a %s/>" % b" ".join(b"a%d='>'" % number for number in range(20_000)),
    "declarations": b"<?xml " * 50_000,
    "cut off": b"<a><b>",
    "no xml": "姓名,性别\n".encode(),
    "empty": b"",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_cda_never_needs_is_refused_quickly(body: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises((BadXml, WrongCharset)):
        xml.parse(body)
    assert time.perf_counter() - began < 0.5


def test_a_doctype_shown_inside_cdata_is_only_text() -> None:
    assert xml.parse(b"<z><![CDATA[<!DOCTYPE html>]]></z>").root.text == "<!DOCTYPE html>"


def test_xinclude_and_stylesheets_are_not_followed() -> None:
    body = (
        b"<?xml-stylesheet href='http://127.0.0.1:1/x.xsl'?>"
        b"<z><i xmlns='http://www.w3.org/2001/XInclude' href='/etc/passwd'/></z>"
    )
    assert xml.nodes(xml.parse(body)).all_text() == ""


def test_gbk_bytes_under_a_utf8_declaration_are_read_and_reported() -> None:
    text = '<?xml version="1.0" encoding="UTF-8"?><z>张珅，检验报告，县人民医院</z>'
    found = xml.parse(text.encode("gb18030"))
    assert found.root.text == "张珅，检验报告，县人民医院"
    assert (found.declared, found.charset) == ("utf-8", "gb18030")
    assert [finding.code for finding in found.findings] == ["GW-TRN-005"]


def test_utf8_bytes_under_a_gbk_declaration_are_read_and_reported() -> None:
    text = '<?xml version="1.0" encoding="GB2312"?><z>张珅，检验报告，县人民医院</z>'
    found = xml.parse(text.encode())
    assert (found.root.text, found.charset) == ("张珅，检验报告，县人民医院", "utf-8")
    assert found.findings


def test_few_bytes_valid_in_both_charsets_follow_the_declaration() -> None:
    # D1 84 is one Han character in GBK and one Cyrillic letter in UTF-8.
    assert xml.parse(b'<?xml version="1.0" encoding="GBK"?><z>\xd1\x84</z>').root.text == b"\xd1\x84".decode("gb18030")
    assert xml.parse(b"<z>\xd1\x84</z>").root.text == "\u0444"


def test_a_byte_order_mark_wins_over_a_gbk_declaration() -> None:
    found = xml.parse(b'\xef\xbb\xbf<?xml version="1.0" encoding="GBK"?><z>' + "赵丽".encode() + b"</z>")
    assert (found.root.text, found.charset, len(found.findings)) == ("赵丽", "utf-8", 1)


def test_bytes_of_no_charset_are_an_error_of_their_own() -> None:
    with pytest.raises(WrongCharset):
        xml.parse(b"<z>\xff\xff</z>")


def test_too_much_is_not_parsed() -> None:
    with pytest.raises(TooLarge):
        xml.parse(b"<z>" + b"x" * 100 + b"</z>", max_bytes=50)


def test_nodes_carry_names_texts_and_lines() -> None:
    found = xml.nodes(xml.parse(b"<?xml version='1.0'\n?>\n<h:a xmlns:h='urn:x'>one<h:b c='1'>two</h:b>three</h:a>"))
    assert (found.name, found.line, found.all_text()) == ("a", 3, "onetwothree")
    child = found.child("b")
    assert child is not None
    assert (child.attrs, child.text) == ({"c": "1"}, "two")
