"""The Prometheus text format, as far as it is needed: gauges, counters, summaries without quantiles, histograms.

Source: prometheus.io, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """Everything under one name. samples: (suffix of the name, labels, value)."""

    name: str
    kind: Literal["gauge", "counter", "summary", "histogram"]
    help: str
    samples: tuple[tuple[str, Labels, float], ...]


def gauge(name: str, text: str, *samples: tuple[Labels, float]) -> Family:
    """What may rise and fall."""
    return Family(name, "gauge", text, tuple(("", labels, value) for labels, value in samples))


def counter(name: str, text: str, *samples: tuple[Labels, float]) -> Family:
    """What only rises while the process lives."""
    return Family(name, "counter", text, tuple(("", labels, value) for labels, value in samples))


def summary(name: str, text: str, labels: Labels, count: int, total: float) -> Family:
    """How many, and their sum."""
    return Family(name, "summary", text, (("_sum", labels, total), ("_count", labels, count)))


def rendered(families: Iterable[Family]) -> str:
    """The whole answer."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        said = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{f'{{{said}}}' if said else ''} {_number(value)}\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(round(value, 9))
