"""JSON Patch: the cases of RFC 6902 Appendix A, and what a resource must be safe from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import GatewayError, PatchFailed, TooLarge, Unparseable
from gateway.inbound.json_patch import patched, same
from gateway.model.resource import dumps, loads


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
        ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": None}], {"baz": None}),
        (
            {"foo": {"waldo": "fred"}, "qux": {}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {}, "qux": {"thud": "fred"}},
        ),
        ({"foo": [1, 2, 3, 4]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": [1, 3, 4, 2]}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/m~0n"}], {"a/b": 1}),
        (
            {"a/b": {"x": 1, "y": [True]}},
            [{"op": "test", "path": "/a~1b", "value": {"y": [True], "x": 1}}],
            {"a/b": {"x": 1, "y": [True]}},
        ),
    ],
)  # fmt: skip
def test_operations_do_what_the_rfc_says(before: Any, patch: Any, after: Any) -> None:
    assert patched(before, dumps(patch)) == after


@pytest.mark.parametrize(
    ("patch", "place"),
    [
        ([{"op": "test", "path": "/a", "value": True}], "patch[0]./a"),
        ([{"op": "remove", "path": "/none"}], "patch[0].none"),
        ([{"op": "remove", "path": "/a"}, {"op": "replace", "path": "/a", "value": 1}], "patch[1].a"),
        ([{"op": "add", "path": "/l/5", "value": 1}], "patch[0].5"),
        ([{"op": "add", "path": "/l/01", "value": 1}], "patch[0].01"),
        ([{"op": "add", "path": "/x/y", "value": 1}], "patch[0].x"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], "patch[0].o/p"),
    ],
)
def test_what_does_not_fit_names_its_operation_and_changes_nothing(patch: Any, place: str) -> None:
    before = {"a": 1, "l": [1], "o": {}}
    with pytest.raises(PatchFailed) as caught:
        patched(before, dumps(patch))
    assert caught.value.place == place and before == {"a": 1, "l": [1], "o": {}}


@pytest.mark.parametrize(
    "patch",
    [b"", b"{}", b"[]", b"[1]", b'[{"op":"delete","path":"/a"}]', b'[{"op":"add","path":"/a"}]',
     b'[{"op":"add","path":"a","value":1}]', b'[{"op":"copy","path":"/a","from":1}]', b'[{"path":"/a"}]'],
)  # fmt: skip
def test_what_is_no_patch_is_refused(patch: bytes) -> None:
    with pytest.raises(Unparseable):
        patched({"a": 1}, patch)


def test_a_decimal_keeps_its_digits_and_is_compared_by_value() -> None:
    document = loads(b'{"value":1.10,"other":1e2}')
    after = patched(document, b'[{"op":"test","path":"/value","value":1.1},{"op":"copy","from":"/value","path":"/v"}]')
    assert dumps(after).startswith(b'{"value":1.10,') and after["v"] == Decimal("1.10")
    assert not same(1, True) and not same(0, False) and same(Decimal("100"), 100) and not same(1, "1")


def test_copies_cannot_grow_a_resource_beyond_its_limit() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(40)]
    with pytest.raises(TooLarge):
        patched({"a": ["x" * 1000]}, dumps(doubling))


def test_a_copy_costs_what_it_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def counted(value: Any) -> bytes:
        text = dumps(value)
        written.append(len(text))
        return text

    monkeypatch.setattr("gateway.inbound.json_patch.dumps", counted)
    small = [{"op": "copy", "from": "/small", "path": "/many/-"} for _ in range(900)]
    after = patched({"large": "x" * 8_000_000, "small": {"a": 1}, "many": []}, dumps(small))
    assert len(after["many"]) == 900 and sum(written) == 900 * len(b'{"a":1}')


def test_copies_taken_away_again_are_counted_too() -> None:
    pair = [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/b"}]
    with pytest.raises(TooLarge):
        patched({"a": "x" * 1_000_000}, dumps(pair * 20))


def test_copies_into_their_own_depths_are_refused() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    into = [{"op": "copy", "from": "/a", "path": "/a" + "/0" * (400 * 2**n) + "/-"} for n in range(7)]
    with pytest.raises((Unparseable, TooLarge, PatchFailed)):
        patched({"a": deep}, dumps(into))


def test_a_value_added_twice_is_not_one_value() -> None:
    patch = [{"op": "add", "path": "/a", "value": {}}, {"op": "copy", "from": "/a", "path": "/b"}]
    patch.append({"op": "add", "path": "/b/x", "value": 1})
    assert patched({}, dumps(patch)) == {"a": {}, "b": {"x": 1}}
    assert issubclass(PatchFailed, GatewayError)
