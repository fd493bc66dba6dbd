"""The ladder of charsets."""

from __future__ import annotations

import pytest

from gateway.errors import WrongCharset
from gateway.translate.charset import decode, fold, known_name


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("张珅 ok".encode(), "utf-8"),
        ("\ufeff张珅".encode(), "utf-8"),
        ("张珅".encode("gb18030"), "gb18030"),
        ("李䶮".encode("gb18030"), "gb18030"),
        ("\ufeff张珅".encode("utf-16-le"), "utf-16"),
        (b"plain", "utf-8"),
    ],
)
def test_bytes_decide_their_charset(body: bytes, charset: str) -> None:
    found = decode(body, "GB2312")
    assert found.charset == charset
    assert not found.guessed


def test_rare_and_four_byte_characters_survive() -> None:
    for name in ("张珅", "李䶮", "王\U00020bb7", "億區乗"):
        assert decode(name.encode("gb18030")).text == name


def test_what_fits_nothing_is_latin_1_and_says_so() -> None:
    found = decode(b"caf\xe9\xff")
    assert (found.charset, found.guessed) == ("latin-1", True)


def test_the_declared_charset_is_tried_when_the_usual_ones_fail() -> None:
    body = "測試".encode("big5") + b"\xff"
    assert decode(body, "BIG-5").guessed
    assert known_name("GB 18030-2000") == known_name("gbk") == "gb18030"


def test_a_configured_charset_is_the_only_one() -> None:
    assert decode("张".encode("gb18030"), configured="GB18030").text == "张"
    with pytest.raises(WrongCharset):
        decode("张".encode("gb18030"), configured="UTF-8")


def test_private_use_code_points_of_old_tables_are_folded() -> None:
    assert fold(b"\xfe\x59".decode("gb18030")) == "\u9fb4"
    assert decode(b"\xfe\xa0\xd6\xd0").text == "\u9fbb中"
