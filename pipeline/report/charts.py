"""Curves as inline SVG: axes, units, legends; dashes tell curves apart where colors do not.

Colors are classes of the page's style sheet, so that a chart is right on light and on dark paper.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = ["Curve", "Mark", "chart", "short", "ticks"]

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 18, 40
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MOST_POINTS, MOST_READINGS = 400, 100


@dataclass(frozen=True)
class Curve:
    """A name and its points, (images seen, value), in order."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A vertical line: what began after so many images."""

    x: float
    name: str


def chart(title: str, unit: str, curves: Sequence[Curve], marks: Sequence[Mark] = ()) -> str:
    """A figure of curves over images seen; empty if no curve has a point."""
    curves = [Curve(c.name, thinned(c.points)) for c in curves]
    curves = [c for c in curves if c.points]
    if not curves:
        return ""
    xs = [x for c in curves for x, _ in c.points]
    ys = [y for c in curves for _, y in c.points]
    across, up = ticks(min(0.0, *xs), max(xs), 6), ticks(min(ys), max(ys), 5)
    area = _Area(across[0], max(max(xs), across[0] + 1e-9), up[0], up[-1])
    parts = [*_axes(area, across, up), *_marks(area, marks)]
    for k, curve in enumerate(curves):
        parts.append(_line(area, curve, k))
    parts += _readings(area, curves)
    legend = "".join(
        f'<li><svg width="26" height="8" aria-hidden="true"><line x1="1" x2="25" y1="4" y2="4" '
        f'class="c{k % 6}" stroke-dasharray="{DASHES[k % 4]}"/></svg>{escape(c.name)}</li>'
        for k, c in enumerate(curves)
    )
    label, of = escape(_label(title, curves)), f" <span>{escape(unit)}</span>" if unit else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{of}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
        + (f'<ul class="legend">{legend}</ul>' if len(curves) > 1 else "")
        + "</figure>"
    )


@dataclass(frozen=True)
class _Area:
    """From numbers to coordinates in the picture."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.x0) / (self.x1 - self.x0)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.y0) / (self.y1 - self.y0)


def _readings(area: _Area, curves: Sequence[Curve]) -> Iterator[str]:
    """Bands that show the values of every curve where the pointer rests, without a script."""
    values = [dict(curve.points) for curve in curves]
    every = sorted({x for found in values for x in found})
    xs = every[:: -(-len(every) // MOST_READINGS)]
    edges = [area.x(x) for x in (xs[0], *((a + b) / 2 for a, b in pairwise(xs)), xs[-1])]
    for x, left, right in zip(xs, edges, edges[1:], strict=False):
        found = [(c.name, v[x]) for c, v in zip(curves, values, strict=True) if x in v]
        text = escape(", ".join(f"{name} {value:.4g}" for name, value in found))
        yield (
            f'<rect class="reading" x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{x:,.0f} images: {text}</title></rect>'
        )


def _axes(area: _Area, across: list[float], up: list[float]) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in up:
        y = area.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>'
    for value in across:
        if value <= area.x1:
            x = area.x(value)
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{short(value)}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">images seen</text>'


def _marks(area: _Area, marks: Sequence[Mark]) -> Iterator[str]:
    ends = f'y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
    for mark in marks:
        if area.x0 <= mark.x < area.x1:
            x = area.x(mark.x)
            yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
            yield f'<text class="mark" x="{x + 3:.1f}" y="{TOP - 6}">{escape(mark.name)}</text>'


def _line(area: _Area, curve: Curve, k: int) -> str:
    color = f"c{k % 6}"
    if len(curve.points) == 1:
        x, y = curve.points[0]
        return f'<circle class="{color}" cx="{area.x(x):.1f}" cy="{area.y(y):.1f}" r="3.5"/>'
    path = " ".join(f"{area.x(x):.1f},{area.y(y):.1f}" for x, y in curve.points)
    return f'<polyline class="{color}" stroke-dasharray="{DASHES[k % 4]}" points="{path}"/>'


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS: means of neighbors; what is not finite is left out."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    size = -(-len(finite) // MOST_POINTS)
    groups = [finite[i : i + size] for i in range(0, len(finite), size)] if finite else []
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers that enclose low to high, at most most + 2 of them."""
    if high - low < 1e-12 * max(1.0, abs(low), abs(high)):
        low, high = min(1.2 * low, 0.0), max(1.2 * high, 0.0) or 1.0
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def short(value: float) -> str:
    """A number as an axis shows it: 1200000 -> 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return "0" if abs(value) < 1e-12 else f"{value:.3g}"


def _label(title: str, curves: Sequence[Curve]) -> str:
    """The text of a screen reader in place of the picture."""
    ends = "; ".join(
        f"{c.name} from {short(c.points[0][1])} to {short(c.points[-1][1])}" for c in curves
    )
    return f"{title}: {ends}"
