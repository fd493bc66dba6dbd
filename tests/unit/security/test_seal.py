"""Links and cookies: unreadable, unchangeable."""

from __future__ import annotations

from gateway.security.seal import Seal

KEY = b"k" * 32


def test_a_sealed_text_opens_to_what_was_closed() -> None:
    seal = Seal(KEY, "page")
    for clear in (b"", b"x", "identifier=990101195803120115&name=李建国".encode() * 5):
        assert seal.open(seal.close(clear)) == clear


def test_a_sealed_text_shows_nothing_of_the_clear_one_and_never_repeats() -> None:
    seal = Seal(KEY, "page")
    first, second = seal.close(b"990101195803120115"), seal.close(b"990101195803120115")
    assert first != second
    assert "9901011958" not in first


def test_every_changed_character_is_noticed() -> None:
    seal = Seal(KEY, "page")
    text = seal.close(b"patient=abc")
    for place in range(len(text) - 1):
        other = "A" if text[place] != "A" else "B"
        assert seal.open(text[:place] + other + text[place + 1 :]) is None


def test_another_key_or_another_purpose_opens_nothing() -> None:
    text = Seal(KEY, "page").close(b"x")
    assert Seal(b"z" * 32, "page").open(text) is None
    assert Seal(KEY, "cookie").open(text) is None


def test_garbage_opens_to_nothing() -> None:
    for text in ("", "a", "!!!", "é" * 40, "A" * 500):
        assert Seal(KEY, "page").open(text) is None
