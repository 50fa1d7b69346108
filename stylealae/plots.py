"""Plots of codes and curves, as pictures: labelled axes, colours for colour-blind eyes too.

Legend: N points, K classes, S side of an image in pixels.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["curves", "manifold", "scatter"]

COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255",
           "#AA4499", "#555555")  # fmt: skip
"""Paul Tol's muted scheme, and grey."""
MARKERS = "os^vDP"
DPI = 110


def scatter(
    points: Tensor,
    labels: Tensor,
    title: str,
    *,
    prior: Tensor | None = None,
    marks: Tensor | None = None,
) -> Image.Image:
    """Codes by class, each class named at its middle; samples of a prior in grey behind them.

    [N, 2], [N], [M, 2], [K, 2]; `marks` are named points such as cluster heads.
    """
    figure, axes = _figure((7.4, 6.4))
    if prior is not None:
        axes.scatter(*prior.T, s=3, c="#d5d5d5", linewidths=0, label="p(z)")
    for label in torch.unique(labels).tolist():
        mine = points[labels == label]
        style = {"c": COLOURS[label % 10], "marker": MARKERS[label // 10 % len(MARKERS)]}
        axes.scatter(*mine.T, s=5, linewidths=0, alpha=0.75, label=str(label), **style)
        _name(axes, mine.median(0).values, str(label))
    for number, mark in enumerate([] if marks is None else marks):
        axes.scatter(*mark[:, None], marker="x", c="black", s=50)
        axes.annotate(f"head {number}", mark.tolist(), fontsize=7)
    axes.set(title=title, xlabel="z, first number", ylabel="z, second number", aspect="equal")
    axes.legend(title="class", markerscale=3, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _drawn(figure)


def manifold(images: Tensor, ticks: Tensor, title: str) -> Image.Image:
    """Images of a lattice of codes.  [n, n, S, S] in [0, 1], [n] -> a picture

    images[i, j] is that of the code (ticks[j], ticks[i]).
    """
    n, _, side, _ = images.shape
    whole = images.flip(0).permute(0, 2, 1, 3).reshape(n * side, n * side)
    figure, axes = _figure((7.4, 7.4))
    axes.imshow(whole.numpy(), cmap="gray", vmin=0.0, vmax=1.0, extent=(0, n, 0, n))
    ticked = range(0, n, max(1, n // 8))
    names = [f"{float(ticks[i]):.1f}" for i in ticked]
    axes.set_xticks([i + 0.5 for i in ticked], names)
    axes.set_yticks([i + 0.5 for i in ticked], names)
    axes.set(title=title, xlabel="z, first number", ylabel="z, second number")
    return _drawn(figure)


def curves(rows: Sequence[Mapping[str, float]], title: str, prefix: str = "loss/") -> Image.Image:
    """Everything of `metrics.jsonl` that begins with `prefix`, against images seen."""
    figure, axes = _figure((8.0, 4.6))
    seen = [row["seen"] / 1000.0 for row in rows]
    tags = dict.fromkeys(tag for row in rows for tag in row if tag.startswith(prefix))
    for number, tag in enumerate(tags):
        values = [row.get(tag, float("nan")) for row in rows]
        axes.plot(seen, values, color=COLOURS[number % 10], label=tag.removeprefix(prefix))
    axes.set(title=title, xlabel="images seen, thousands", ylabel=f"{prefix.strip('/')}, weighted")
    axes.grid(alpha=0.3)
    axes.legend()
    return _drawn(figure)


def _name(axes: Any, at: Tensor, name: str) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3, foreground="white")]
    axes.annotate(name, at.tolist(), fontsize=13, weight="bold", ha="center", va="center",
                  path_effects=outline)  # fmt: skip


def _figure(inches: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of our own: no window, no state that others share."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=DPI, layout="constrained")
    return figure, figure.subplots()


def _drawn(figure: Any) -> Image.Image:
    file = BytesIO()
    figure.savefig(file, format="png")
    pixels: NDArray[np.uint8] = np.asarray(Image.open(file).convert("RGB"))
    return Image.fromarray(pixels)
