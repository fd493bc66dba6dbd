"""What was opened lately serves again, and never more than its share of memory."""

from __future__ import annotations

from gateway.store.bodies import Codec, shipped_dictionaries
from gateway.store.engine import SEQ_BITS, Row
from gateway.store.opened import Home, Opened

_SHIPPED = shipped_dictionaries()
CODEC = Codec(list(_SHIPPED)[-1], _SHIPPED)


def a_row(rid: int, text: str = "x") -> Row:
    body = CODEC.pack(b'{}\n{"resourceType":"Basic","code":{"text":"%b"}}' % text.encode())
    return Row(rid, 1, "Basic", 0, "m", 0, 1, 1_700_000_000_000, rid, 0, 0, f"b{rid}", b"", body)


def test_a_version_opened_twice_is_the_same_object() -> None:
    opened = Opened(CODEC)
    assert opened.one(a_row(1)) is opened.all([a_row(1)])[0]
    assert opened.one(a_row(1)).body != opened.one(a_row(2)).body


def test_memory_stays_within_its_bound_and_keeps_what_was_opened_last() -> None:
    opened = Opened(CODEC, kept_bytes=20_000)
    made = [opened.one(a_row(n, "长" * 300)) for n in range(100)]
    again = [opened.one(a_row(n, "长" * 300)) is one for n, one in reversed(list(enumerate(made)))]
    assert again[0] and 1 <= sum(again) <= 20


def test_a_version_larger_than_the_bound_is_opened_all_the_same() -> None:
    opened = Opened(CODEC, kept_bytes=1_000)
    assert len(opened.one(a_row(1, "x" * 5_000)).body) > 5_000
    assert opened.one(a_row(2)).id == "b2"


def test_what_lies_at_home_is_about_whose_home_it_is() -> None:
    home = Home(7, "p1")
    here, elsewhere = Opened(CODEC).all([a_row(7 << SEQ_BITS | 1), a_row(8 << SEQ_BITS | 1)], home)
    assert (here.patient, elsewhere.patient) == ("p1", "")
