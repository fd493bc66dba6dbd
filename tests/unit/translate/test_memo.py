"""What functions gave is remembered while it recurs, within one allowance of bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.translate import memo as module
from gateway.translate.memo import Allowance, Memo, MemoOfTexts


class Upper:
    """A pure function that counts its calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> bytes:
        self.asked.append(text)
        return text.upper().encode()


@pytest.fixture
def allowance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Allowance]:
    small = Allowance(20_000)
    monkeypatch.setattr(module, "ALLOWANCE", small)
    yield small


def fill(memo: Memo[bytes], count: int = 100) -> None:
    for number in range(count):
        memo[f"once {number}"]


def test_a_known_value_is_worked_out_once(allowance: Allowance) -> None:
    call = Upper()
    memo = Memo(call)
    assert [memo["a"], memo["a"], memo["b"]] == [b"A", b"A", b"B"]
    assert call.asked == ["a", "b"]


def test_what_recurs_outlives_any_number_of_values_that_come_once(allowance: Allowance) -> None:
    call = Upper()
    memo = Memo(call)
    for number in range(3_000):
        memo["recurs"]
        memo[f"once {number}"]
    assert call.asked.count("recurs") == 1


def test_what_came_once_is_worked_out_again_two_generations_later(allowance: Allowance) -> None:
    call = Upper()
    memo = Memo(call)
    memo["rare"]
    fill(memo, 500)
    memo["rare"]
    assert call.asked.count("rare") == 2


def test_no_memo_holds_more_than_the_allowance_however_many_values_come(allowance: Allowance) -> None:
    memo = Memo(lambda text: text.encode())
    most = 0
    for number in range(3_000):
        memo[f"once {number}"]
        most = max(most, len(memo) + len(memo._before))
    assert 40 < most < allowance.limit / 150


def test_a_busy_memo_ages_the_others(allowance: Allowance) -> None:
    call = Upper()
    idle, busy = Memo(call), Memo(lambda text: text.encode())
    idle["a"]
    fill(busy, 500)
    assert not idle
    assert idle["a"] == b"A"
    assert call.asked == ["a", "a"]


def test_a_memo_nobody_uses_any_more_is_let_go(allowance: Allowance) -> None:
    gone, kept = Memo(Upper()), Memo(lambda text: text.encode())
    gone["a"]
    del gone
    fill(kept, 500)
    assert [found() for found in allowance._memos] == [kept]


def test_texts_too_long_to_come_twice_are_not_kept(allowance: Allowance) -> None:
    memo, several = Memo(lambda key: b"x"), MemoOfTexts(lambda key: b"x")
    assert (memo["y" * 401], several["y" * 200, "z" * 201]) == (b"x", b"x")
    assert not memo and not several
    assert (memo["y" * 400], several["y" * 200, "z" * 200]) == (b"x", b"x")
    assert list(memo) == ["y" * 400]
    assert list(several) == [("y" * 200, "z" * 200)]


def test_what_a_tuple_holds_counts_as_well(allowance: Allowance) -> None:
    """Twenty answers of 2 KB are more than half of 20,000 bytes: the first are forgotten."""
    memo = Memo(lambda key: (b"x" * 1_000, b"y" * 1_000))
    for number in range(40):
        memo[f"once {number}"]
    assert len(memo) + len(memo._before) < 40
