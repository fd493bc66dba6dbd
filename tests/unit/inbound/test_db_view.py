"""What is known of a view between two readings, and the values positions are made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from gateway.inbound.db_view import position
from gateway.inbound.db_view.position import Position, Row, Window
from gateway.inbound.db_view.values import below, given, kept, like, text_of
from gateway.model.view import View

VIEW = View("sqlite", "his.db", "V", ("k",), changed="t")


def today() -> datetime:
    return datetime(2026, 3, 20, 9, tzinfo=timezone(timedelta(hours=8)))


def row(key: str, changed: int, *cells: str) -> Row:
    return Row((f"s{key}",), f"i{changed}", cells or (key,))


@pytest.mark.parametrize(
    ("value", "earlier"),
    [
        ("2026-03-02 00:05:00", "2026-03-01 23:55:00"),
        ("20260302000500", "20260301235500"),
        ("2026/03/02 00:05", "2026/03/01 23:55"),
        ("2026-03-02T00:05:00.123", "2026-03-01T23:55:00"),
        ("2026-03-02", "2026-03-01"),
        ("0001200", "0000600"),
        (1200, 600),
        (Decimal("1200.5"), Decimal("600.5")),
        (datetime(2026, 3, 2, 0, 5), datetime(2026, 3, 1, 23, 55)),
        (date(2026, 3, 2), date(2026, 3, 1)),
    ],
)
def test_the_next_reading_begins_below_the_newest_in_its_own_spelling(value: Any, earlier: Any) -> None:
    assert below(value, 600) == earlier


def test_a_text_that_is_neither_time_nor_number_is_in_no_order() -> None:
    for text in ("R1200", "2026-13-40 08:00:00", ""):
        with pytest.raises(ValueError):
            below(text, 600)


@pytest.mark.parametrize(
    "value",
    [7, 1.5, Decimal("1.50"), "甲", date(2026, 3, 2), datetime(2026, 3, 2, 8, 5, 1, 250_000)],
)
def test_a_value_comes_back_as_it_was_kept(value: Any) -> None:
    assert given(kept(value)) == value and type(given(kept(value))) is type(value)
    assert like(value, str(value)) == value


def test_times_with_a_zone_keep_it_and_numbers_their_digits() -> None:
    china = datetime(2026, 3, 2, 8, 5, tzinfo=timezone(timedelta(hours=8)))
    assert (given(kept(china)), text_of(china)) == (china, "20260302080500+0800")
    assert [text_of(one) for one in (5.60, 1e22, Decimal("1E+3"), Decimal("5.60"), True)] == [
        "5.6", "10000000000000000000000", "1000", "5.60", "1",
    ]  # fmt: skip


def test_what_was_read_is_new_again_only_with_other_cells() -> None:
    window = Window(Position("V"), 10, today)
    first = [row("a", 100), row("b", 105)]
    assert window.new(first) == first
    window.remember(first)
    window.reach(first[-1])
    assert (window.since, window.new([*first, row("c", 99), row("a", 106, "changed")])) == (
        95, [row("c", 99), row("a", 106, "changed")],
    )  # fmt: skip


def test_a_position_is_the_same_after_it_was_saved_and_begins_anew_for_another_view() -> None:
    window = Window(Position.loaded(b"", VIEW), 10, today)
    window.remember([row("a", 100)])
    window.reach(row("a", 100))
    body = window.saved()
    again = Window(Position.loaded(body, VIEW), 10, today)
    assert (again.since, again.new([row("a", 100)]), again.position.generation) == (90, [], 1)
    for other in (replace(VIEW, name="W"), replace(VIEW, changed="u"), replace(VIEW, since="5")):
        assert Position.loaded(body, other).newest == ""


def test_what_lies_below_the_next_beginning_is_forgotten() -> None:
    window = Window(Position("V"), 10, today)
    for changed in range(0, 1000, 5):
        window.remember([row(str(changed), changed)])
        window.reach(row(str(changed), changed))
    assert len(window) == 3  # 985, 990, 995


def test_of_too_many_rows_of_one_time_the_next_reading_begins_behind_the_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(position, "MOST", 3)
    window = Window(Position("V"), 10, today)
    rows = [row(str(number), 100) for number in range(8)]
    for first in (0, 4):
        window.remember(rows[first : first + 4])
        window.reach(rows[first + 3])
    assert (len(window), window.after) == (3, [100, "4"])
    window.remember([row("z", 200)])
    window.reach(row("z", 200))
    assert (window.since, window.after) == (190, [])


def test_a_reading_notices_a_key_it_meets_twice_with_other_cells() -> None:
    window = Window(Position("V"), 10, today)
    window.begin()
    assert window.twins([row("a", 1), row("a", 1)]) == []
    assert window.twins([row("a", 2, "other")]) == [row("a", 2, "other")]
    window.begin()
    assert window.twins([row("a", 2, "other")]) == []


@pytest.mark.parametrize(
    "value", ["2099-01-01 00:00:00", "20260321090001", datetime(2026, 3, 21, 9, 0, 1), date(2026, 3, 22)]
)
def test_a_row_of_a_wrong_clock_does_not_hide_what_comes_after_it(value: Any) -> None:
    window = Window(Position("V"), 10, today)
    usual = "s2026-03-20 08:00:00" if isinstance(value, str) else kept(type(value)(2026, 3, 20))
    strange = Row(("sx",), kept(value), ("x",))
    window.remember([strange])
    window.reach(strange)
    assert (window.since, window.ahead(strange)) == (None, False)
    window.remember([Row(("sa",), usual, ("a",)), strange])
    window.reach(Row(("sa",), usual, ("a",)))
    window.reach(strange)
    assert window.position.newest == usual
    assert window.new([strange]) == [], "it is read every time and taken once"
