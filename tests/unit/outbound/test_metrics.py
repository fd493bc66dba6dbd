"""The text format, and counting that rests as long as it costs."""

from __future__ import annotations

import pytest

from gateway.outbound import metrics
from gateway.outbound.metrics import MessageCounts
from gateway.outbound.metrics_text import counter, gauge, rendered, summary
from gateway.security.times import RequestTimes


def test_families_are_written_with_help_type_and_escaped_labels() -> None:
    text = rendered([
        gauge("a_rows", "Rows.", ({}, 3), ({"name": 'x"y\\z\n'}, 0.25)),
        counter("b_total", "B.", ({"w": "0"}, 10**12)),
        summary("c_seconds", "C.", {"w": "0"}, 2, 0.5),
    ])  # fmt: skip
    assert text.splitlines() == [
        "# HELP a_rows Rows.", "# TYPE a_rows gauge", "a_rows 3", r'a_rows{name="x\"y\\z\n"} 0.25',
        "# HELP b_total B.", "# TYPE b_total counter", 'b_total{w="0"} 1000000000000',
        "# HELP c_seconds C.", "# TYPE c_seconds summary", 'c_seconds_sum{w="0"} 0.5', 'c_seconds_count{w="0"} 2',
    ]  # fmt: skip
    assert text.endswith("\n")


def test_a_request_stands_in_the_bucket_of_its_time() -> None:
    times = RequestTimes(frozenset({"fhir"}))
    for seconds in (0.0, 0.0001, 0.0002, 0.003, 20.0):
        times.add("fhir", "read", 200, seconds)
    (told,) = times.told()
    within = dict(told.within)
    assert (within[0.000128], within[0.000256], within[0.002048], within[0.004096], within[16.777216]) == (
        2,
        3,
        3,
        4,
        4,
    )
    assert (told.count, told.status, round(told.seconds, 4)) == (5, "2xx", 20.0033)


def test_addresses_nobody_serves_are_one_kind() -> None:
    times = RequestTimes(frozenset({"fhir"}))
    for number in range(1_000):
        times.add(f"scan-{number}", "", 404, 0.001)
    times.add("fhir", "", 0, 0.001)
    assert [(one.door, one.status, one.count) for one in times.told()] == [("fhir", "none", 1), ("other", "4xx", 1_000)]


class Slow:
    """Messages that take a time to count, on a clock of their own."""

    def __init__(self) -> None:
        self.now, self.asked, self.takes = 100.0, 0, 0.0

    def monotonic(self) -> float:
        return self.now

    async def counts(self) -> dict[tuple[str, str], int]:
        self.asked += 1
        self.now += self.takes
        return {("a", "processed"): self.asked}


@pytest.mark.parametrize(("takes", "later", "again"), [(0.04, 0.0, True), (0.5, 9.9, False), (0.5, 10.1, True)])
async def test_a_count_that_costs_much_is_not_made_again_at_once(
    takes: float, later: float, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    slow.takes = takes
    monkeypatch.setattr(metrics, "time", slow)
    counts = MessageCounts(slow)  # type: ignore[arg-type]
    assert await counts.now() == {("a", "processed"): 1}
    slow.now += later
    assert await counts.now() == {("a", "processed"): 2 if again else 1}
