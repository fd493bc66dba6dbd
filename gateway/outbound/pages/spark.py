"""Sparklines: values and bands to the geometry of a small SVG that `templates/_marks.html` draws.

Old to new from left to right, one step a result; the height covers bands and values, so a value
outside its band is seen outside. The words say every value: the picture is never the only carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Side = Literal["", "high", "low"]
_MARGIN_X = 6.0
_MARGIN_Y = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One result: `value` in the row's unit; `low`/`high` of its own band in that unit, None when open.

    spoken: as the words say it (`≈106 偏高`). declared: the band is the member's, not the report's.
    """

    value: float
    spoken: str
    side: Side = ""
    low: float | None = None
    high: float | None = None
    declared: bool = False
    converted: bool = False
    method: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A rectangle under the points of one band."""

    x: float
    y: float
    width: float
    height: float
    css: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One point; `css` for shape and colour, `r` its radius."""

    x: float
    y: float
    r: float
    css: str

    @property
    def triangle(self) -> str:
        """SVG path of ▲ (high) or ▼ (low) around the point."""
        sign = 1 if "high" in self.css.split() else -1
        rise, half = 1.25 * self.r * sign, 1.25 * self.r
        return f"M{self.x:g} {self.y - rise:.1f}l{half:g} {1.7 * rise:.2f}h{-2 * half:g}z"


@dataclass(frozen=True, slots=True)
class Spark:
    """What the macro draws."""

    width: int
    height: int
    words: str
    path: str
    bands: tuple[Band, ...]
    dots: tuple[Dot, ...]
    breaks: tuple[float, ...]


def spark(name: str, unit: str, samples: Sequence[Sample], *, width: int = 112, height: int = 24) -> Spark | None:
    """Geometry for the results of one row, oldest first; None when there is nothing numeric."""
    if not samples:
        return None
    xs = _steps(len(samples), width)
    scale = _Scale.over(samples, height)
    ys = [scale.y(s.value) for s in samples]
    return Spark(
        width,
        height,
        _words(name, unit, samples),
        " ".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True)) if len(samples) > 1 else "",
        tuple(_bands(samples, xs, scale, width)),
        tuple(_dots(samples, xs, ys)),
        tuple(_breaks(samples, xs)),
    )


def _words(name: str, unit: str, samples: Sequence[Sample]) -> str:
    said = "、".join(s.spoken for s in samples)
    return f"{name}，旧到新 {len(samples)} 次：{said} {unit}".strip()


def _steps(count: int, width: int) -> list[float]:
    if count == 1:
        return [width / 2]
    step = (width - 2 * _MARGIN_X) / (count - 1)
    return [round(_MARGIN_X + step * i, 1) for i in range(count)]


@dataclass(frozen=True, slots=True)
class _Scale:
    bottom: float
    top: float
    height: float

    @classmethod
    def over(cls, samples: Sequence[Sample], height: int) -> _Scale:
        ends = [s.value for s in samples]
        ends += [end for s in samples for end in (s.low, s.high) if end is not None]
        bottom, top = min(ends), max(ends)
        room = (top - bottom) * 0.08 or abs(top) * 0.1 or 1.0
        return cls(bottom - room, top + room, float(height))

    def y(self, value: float) -> float:
        inner = self.height - 2 * _MARGIN_Y
        return round(_MARGIN_Y + inner * (self.top - value) / (self.top - self.bottom), 1)


def _bands(samples: Sequence[Sample], xs: list[float], scale: _Scale, width: int) -> list[Band]:
    out: list[tuple[tuple[float | None, float | None, bool], Band]] = []
    for i, sample in enumerate(samples):
        if sample.low is None and sample.high is None:
            continue
        left = 0.5 if i == 0 else (xs[i - 1] + xs[i]) / 2
        right = width - 0.5 if i == len(xs) - 1 else (xs[i] + xs[i + 1]) / 2
        upper = scale.y(sample.high) if sample.high is not None else 0.5
        lower = scale.y(sample.low) if sample.low is not None else scale.height - 0.5
        key = (sample.low, sample.high, sample.declared)
        css = "band-declared" if sample.declared else "band-report"
        band = Band(round(left, 1), upper, round(right - left, 1), round(lower - upper, 1), css)
        if out and out[-1][0] == key and abs(out[-1][1].x + out[-1][1].width - band.x) < 0.2:
            joined = replace(out[-1][1], width=round(out[-1][1].width + band.width, 1))
            out[-1] = (key, joined)
        else:
            out.append((key, band))
    return [band for _, band in out]


def _dots(samples: Sequence[Sample], xs: list[float], ys: list[float]) -> list[Dot]:
    last = len(samples) - 1
    return [
        Dot(xs[i], ys[i], 2.9 if i == last else 2.1, f"pt {s.side} {'converted' if s.converted else ''}".strip())
        for i, s in enumerate(samples)
    ]


def _breaks(samples: Sequence[Sample], xs: list[float]) -> list[float]:
    """Where the method changed between two results that both name theirs."""
    pairs = zip(samples, samples[1:], xs, xs[1:], strict=False)
    return [round((a + b) / 2, 1) for s, t, a, b in pairs if s.method and t.method and s.method != t.method]
