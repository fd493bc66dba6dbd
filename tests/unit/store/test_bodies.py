"""What goes into a body and comes out of it again (design-store §6)."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.model.resource import dumps, loads
from gateway.store.base import Keys, PackedPut, Put
from gateway.store.bodies import Codec, kept_meta, pack_put, prepare, repoint, shipped_dictionaries, strip, to_resource
from gateway.store.engine import DELETED, Row
from gateway.store.packing import WORD, pack_keys, short, short_words, unpack_keys

SHIPPED = shipped_dictionaries()
CODEC = Codec(list(SHIPPED)[-1], SHIPPED)
ints = st.integers(-(1 << 63), (1 << 63) - 1)


def a_row(packed: PackedPut, *, flags: int = 0, at: int = 1_774_000_000_000) -> Row:
    return Row(
        1, 1, packed.type, flags, "m", 0, 3, at, packed.fh, 0, 0, packed.id, packed.keys, packed.body
    )  # fmt: skip


def back(body: bytes, **more: object) -> bytes:
    """A body through the door, into a row and out again."""
    put = prepare("Organization", "g1", body, **more)  # type: ignore[arg-type]
    return to_resource(a_row(pack_put(put, CODEC)), CODEC).body


def test_every_member_keeps_its_bytes_and_its_order() -> None:
    sent = b'{"id":"other", "name" : "\\u53bf\\u533b\\u9662",  "resourceType":"Organization","active": true}'
    assert back(sent) == (
        b'{"resourceType":"Organization","id":"g1","meta":{"versionId":"3",'
        b'"lastUpdated":"2026-03-20T17:46:40.000+08:00"},"name":"\\u53bf\\u533b\\u9662","active":true}'
    )


def test_the_client_s_meta_is_kept_and_the_server_s_is_ours() -> None:
    meta = {"versionId": "99", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "t"}], "profile": ["http://p"]}
    sent = {"resourceType": "Organization", "name": "院", "meta": meta}
    said = loads(back(dumps(sent), meta={"source": "urn:s#m1"}))["meta"]
    assert said["versionId"] == "3" and said["lastUpdated"].startswith("2026-03-20")
    assert said["tag"] == [{"code": "t"}] and said["profile"] == ["http://p"] and said["source"] == "urn:s#m1"


def test_labels_become_acl() -> None:
    secret = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}
    assert prepare("Organization", "g1", b'{"resourceType":"Organization","name":"x"}', meta=secret).acl == 2


def test_a_deleted_version_has_no_body() -> None:
    packed = pack_put(prepare("Organization", "g1", b'{"resourceType":"Organization","name":"x"}'), CODEC)
    gone = to_resource(a_row(packed, flags=DELETED), CODEC)
    assert gone.deleted and gone.body == b""


def test_a_put_made_by_hand_is_stored_type_first() -> None:
    put = Put("Organization", "g1", b'{"name":"x","resourceType":"Organization"}', Keys())
    assert to_resource(a_row(pack_put(put, CODEC)), CODEC).body.endswith(b'},"name":"x"}')


def test_sameness_ignores_order_and_who_said_it_but_no_digit() -> None:
    def same(body: bytes, **meta: object) -> int:
        return pack_put(Put("Observation", "o", body, Keys(), kept_meta(dict(meta))), CODEC).same

    first = same(b'{"a":{"x":1.10,"y":2},"b":[1,2]}', source="urn:s#1")
    assert first == same(b'{"b":[1,2],"a":{"y":2,"x":1.10}}', source="urn:s#2")
    assert first != same(b'{"b":[1,2],"a":{"y":2,"x":1.1}}')
    assert first != same(b'{"b":[2,1],"a":{"y":2,"x":1.10}}')
    assert first != same(b'{"b":[1,2],"a":{"y":2,"x":1.10}}', tag=[{"code": "t"}])


def test_only_references_are_pointed_elsewhere() -> None:
    body = (
        b'{"s":{"reference":"Patient/a"},"t":{"reference": "Patient/a"},"u":"Patient/a","v":{"reference":"Patient/ab"}}'
    )
    assert repoint(body, "a", "b") == (
        b'{"s":{"reference":"Patient/b"},"t":{"reference": "Patient/b"},"u":"Patient/a","v":{"reference":"Patient/ab"}}'
    )


def test_strip_survives_keys_that_need_escaping() -> None:
    body, meta = strip("X", b'{"a\\"b":1,"meta":{"tag":[]},"id":"i"}')
    assert loads(body) == {"resourceType": "X", 'a"b': 1} and meta == {"tag": []}


def test_bodies_of_an_older_dictionary_stay_readable() -> None:
    texts = [dumps({"resourceType": "X", "n": n, "text": "旧" * (n % 50)}) for n in range(2000)]
    old = zstandard.train_dictionary(2048, texts)
    frame = Codec(old.dict_id(), {old.dict_id(): old.as_bytes()}).pack(texts[7])
    both = Codec(list(SHIPPED)[-1], {**SHIPPED, old.dict_id(): old.as_bytes()})
    assert both.unpack(frame) == texts[7] and both.unpack(both.pack(texts[8])) == texts[8]
    for damaged in (frame[:-3], b"nonsense", b""):
        with pytest.raises(StoreError):
            both.unpack(damaged)
    with pytest.raises(StoreError, match=str(old.dict_id())):
        CODEC.unpack(frame)


def test_the_dictionary_earns_its_place() -> None:
    body = dumps({"resourceType": "Organization", "name": "县人民医院", "active": True})
    assert len(CODEC.pack(body)) < len(zstandard.compress(body))


@given(
    refs=st.lists(st.tuples(st.integers(0, 1 << 31), ints)),
    dates=st.lists(st.tuples(st.integers(0, 1 << 31), st.integers(-(1 << 45), 1 << 45), st.integers(0, 1 << 48))),
    numbers=st.lists(st.tuples(st.integers(0, 1 << 31), ints, st.floats(allow_nan=False))),
    texts=st.lists(st.tuples(st.integers(0, 1 << 31), st.text())),
)
def test_keys_come_back_as_they_went_in(
    refs: list[tuple[int, int]],
    dates: list[tuple[int, int, int]],
    numbers: list[tuple[int, int, float]],
    texts: list[tuple[int, str]],
) -> None:
    spans = tuple((param, low, low + length) for param, low, length in dates)
    found = unpack_keys(pack_keys(Keys((), tuple(refs), spans, tuple(numbers), tuple(texts))))
    assert (set(found.refs), found.dates, set(found.numbers), found.texts) == (
        set(refs), spans, set(numbers), tuple(texts)
    )  # fmt: skip


@given(st.lists(ints, unique=True))
def test_a_row_is_tested_by_six_bytes_a_posting(words: list[int]) -> None:
    whole = short_words(words)
    assert len(whole) == WORD * len(words) and all(short(word) in whole for word in words)
