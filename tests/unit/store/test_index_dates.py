"""Dates as ranges: calendar days at +08:00, instants where there is a zone (D17)."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.store.index_dates import date_range


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", "2026-01-01T00:00:00+08:00", "2026-12-31T23:59:59.999+08:00"),
        ("2024-02", "2024-02-01T00:00:00+08:00", "2024-02-29T23:59:59.999+08:00"),
        ("9999-12", "9999-12-01T00:00:00+08:00", "9999-12-31T23:59:59.999+08:00"),
        ("2026-12", "2026-12-01T00:00:00+08:00", "2026-12-31T23:59:59.999+08:00"),
        ("2026-03-20", "2026-03-20T00:00:00+08:00", "2026-03-20T23:59:59.999+08:00"),
        ("2026-03-20T07:45", "2026-03-20T07:45:00+08:00", "2026-03-20T07:45:59.999+08:00"),
        ("2026-03-20T07:45:00Z", "2026-03-20T07:45:00+00:00", "2026-03-20T07:45:00.999+00:00"),
        ("2026-03-20T07:45:00.120-05:00", "2026-03-20T07:45:00.120-05:00", "2026-03-20T07:45:00.120-05:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00", "2017-01-01T00:00:00.999+00:00"),
    ],
)
def test_a_date_is_the_range_it_covers(text: str, first: str, last: str) -> None:
    assert date_range(text) == (ms(first), ms(last))


@pytest.mark.parametrize(
    "text",
    ["", "20", "2026-3", "2026-02-30", "2026/03/20", "2026-03-20 07:45", "abcd", "20260320", "2026-03-20T07",
     "2026-03-20T0745", "2026-03-20T07+08:00"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        date_range(text)
