"""Sparklines: values and bands to the geometry of a small SVG that `templates/_marks.html` draws.

Old to new from left to right, one step a result; the height covers bands and values, so a value
outside its band is seen outside. The words say every value: the picture is never the only carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..labs import Point

_MARGIN_X = 6.0
_MARGIN_Y = 3.0
_MOST = 12


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


def spark(points: Sequence[Point], words: str, *, width: int = 112, height: int = 24) -> Spark | None:
    """Geometry for the newest points of one row, oldest first; None when there is nothing numeric.

    words: what is said instead of the picture, for all points; shortened with them when there are many.
    """
    if not points:
        return None
    if len(points) > _MOST:
        points = points[-_MOST:]
        name = words.partition("，")[0]
        words = f"{name}，最近 {_MOST} 次，旧到新：" + "、".join(_spoken(point) for point in points)
    xs = _steps(len(points), width)
    scale = _Scale.over(points, height)
    ys = [scale.y(float(point.value)) for point in points]
    return Spark(
        width,
        height,
        words,
        " ".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True)) if len(points) > 1 else "",
        tuple(_bands(points, xs, scale, width)),
        tuple(_dots(points, xs, ys)),
        tuple(_breaks(points, xs)),
    )


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
    def over(cls, points: Sequence[Point], height: int) -> _Scale:
        ends = [float(p.value) for p in points]
        ends += [float(end) for p in points for end in (p.band.low, p.band.high) if end is not None]
        bottom, top = min(ends), max(ends)
        room = (top - bottom) * 0.08 or abs(top) * 0.1 or 1.0
        return cls(bottom - room, top + room, float(height))

    def y(self, value: float) -> float:
        inner = self.height - 2 * _MARGIN_Y
        return round(_MARGIN_Y + inner * (self.top - value) / (self.top - self.bottom), 1)


def _bands(points: Sequence[Point], xs: list[float], scale: _Scale, width: int) -> list[Band]:
    out: list[tuple[object, Band]] = []
    for i, point in enumerate(points):
        if point.band.low is None and point.band.high is None:
            continue
        left = 0.5 if i == 0 else (xs[i - 1] + xs[i]) / 2
        right = width - 0.5 if i == len(xs) - 1 else (xs[i] + xs[i + 1]) / 2
        upper = scale.y(float(point.band.high)) if point.band.high is not None else 0.5
        lower = scale.y(float(point.band.low)) if point.band.low is not None else scale.height - 0.5
        key = (point.band.low, point.band.high, point.band.origin == "declared")
        css = "band-declared" if point.band.origin == "declared" else "band-report"
        band = Band(round(left, 1), upper, round(right - left, 1), round(lower - upper, 1), css)
        if out and out[-1][0] == key and abs(out[-1][1].x + out[-1][1].width - band.x) < 0.2:
            joined = replace(out[-1][1], width=round(out[-1][1].width + band.width, 1))
            out[-1] = (key, joined)
        else:
            out.append((key, band))
    return [band for _, band in out]


def _dots(points: Sequence[Point], xs: list[float], ys: list[float]) -> list[Dot]:
    last = len(points) - 1
    return [Dot(xs[i], ys[i], 2.9 if i == last else 2.1, _css(p)) for i, p in enumerate(points)]


def _spoken(point: Point) -> str:
    side = {"high": " 偏高", "low": " 偏低"}.get(point.direction, "")
    return f"{'≈' if point.converted else ''}{point.value:f}{side}"


def _css(point: Point) -> str:
    return " ".join(filter(None, ("pt", point.direction, "converted" if point.converted else "")))


def _breaks(points: Sequence[Point], xs: list[float]) -> list[float]:
    """Where method or specimen changed, so the two sides must not be compared directly."""
    return [round((xs[i - 1] + xs[i]) / 2, 1) for i, p in enumerate(points) if i and p.method_changed]
