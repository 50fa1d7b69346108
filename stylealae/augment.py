"""T: what the critic D∘E is shown in the place of an image, so that it cannot learn few by heart.

Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): real and generated
images are turned, moved and coloured at random before E sees them in phases I and II.  Each kind is
applied to an image with probability p.  As long as p is well below 1 the images themselves stay the
likeliest outcome, and G learns to draw them untransformed.

Every transform is linear in x, up to a constant, and twice differentiable: R1 is taken through it.

Legend: N batch, C channels, R resolution, K numbers that describe the transform of an image.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.config import AugmentKind
from stylealae.ops.precision import full_precision

__all__ = ["COLUMNS", "draw", "transformed"]

COLUMNS: dict[AugmentKind, tuple[str, ...]] = {
    "flip": ("flip",),
    "turn": ("turns",),
    "shift": ("down", "right"),
    "scale": ("log2_scale",),
    "rotate": ("angle",),
    "colour": ("brightness", "log2_contrast", "hue", "log2_saturation"),
    "cutout": ("cut", "cut_y", "cut_x"),
}
"""The K numbers by kind: all 0 leaves an image as it is."""
NAMES = [name for names in COLUMNS.values() for name in names]
SHIFT = 0.125
"""An image is moved by at most this share of its side."""
BILINEAR, REFLECTION = 0, 2
"""What torch calls its modes of interpolation and padding."""


def draw(n: int, p: float, kinds: Sequence[AugmentKind], source: torch.Generator) -> Tensor:
    """The transforms of n images, each kind with probability p.  -> [n, K]

    As much is drawn whatever the kinds are: one kind more moves no other.
    """
    uniform = torch.rand(len(NAMES), n, generator=source)
    gauss = torch.randn(len(NAMES), n, generator=source)
    applied = torch.rand(len(COLUMNS), n, generator=source) < p
    u, g = dict(zip(NAMES, uniform, strict=True)), dict(zip(NAMES, gauss, strict=True))
    values = {
        "flip": (u["flip"] < 0.5).float(),
        "turns": (4 * u["turns"]).floor(),
        "down": SHIFT * (2 * u["down"] - 1),
        "right": SHIFT * (2 * u["right"] - 1),
        "log2_scale": 0.2 * g["log2_scale"],
        "angle": math.pi * (2 * u["angle"] - 1),
        "brightness": 0.2 * g["brightness"],
        "log2_contrast": 0.5 * g["log2_contrast"],
        "hue": math.pi * (2 * u["hue"] - 1),
        "log2_saturation": g["log2_saturation"],
        "cut": torch.ones(n),
        "cut_y": u["cut_y"],
        "cut_x": u["cut_x"],
    }
    gates = {
        name: on if kind in kinds else torch.zeros_like(on)
        for (kind, names), on in zip(COLUMNS.items(), applied, strict=True)
        for name in names
    }
    return torch.stack([torch.where(gates[name], values[name], 0.0) for name in NAMES], dim=1)


def transformed(x: Tensor, t: Tensor | None, *, warped: bool = True) -> Tensor:
    """T(x); x itself if t is None.  [N, C, R, R] about -1 to 1, [N, K] -> [N, C, R, R]

    `warped`: whether any image is scaled or rotated.  To ask t would have the host wait for a GPU.
    """
    if t is None:
        return x
    with full_precision(x):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        values = dict(zip(NAMES, t.to(x.dtype).unbind(1), strict=True))  # [N] each
        x = _moved(x, values)
        if warped:
            x = _warped(x, values)
        return _cut(_coloured(x, values), values)


TransformValues = dict[str, Tensor]


def _moved(x: Tensor, v: TransformValues) -> Tensor:
    """Flips, quarter turns and whole pixels: every pixel is one of the image's, mirrored beyond it.

    [N, C, R, R] -> same
    """
    n, channels, side, _ = x.shape
    row = torch.arange(side, device=x.device)
    y, z = (a.expand(n, side, side) for a in torch.meshgrid(row, row, indexing="ij"))
    y = _mirrored(y - _pixels(v["down"], side), side)
    z = _mirrored(z - _pixels(v["right"], side), side)
    turns = v["turns"].long()[:, None, None]
    for quarter in (1, 2, 3):
        y, z = torch.where(turns >= quarter, z, y), torch.where(turns >= quarter, side - 1 - y, z)
    z = torch.where(v["flip"][:, None, None] > 0, side - 1 - z, z)
    index = (y * side + z).flatten(1)[:, None].expand(-1, channels, -1)
    return x.flatten(2).gather(2, index).view_as(x)


def _pixels(share: Tensor, side: int) -> Tensor:
    return (share * side).round().long()[:, None, None]


def _mirrored(at: Tensor, side: int) -> Tensor:
    """Places outside 0..side - 1 as in an image that is mirrored at its edges."""
    at = at % (2 * side)
    return torch.minimum(at, 2 * side - 1 - at)


def _warped(x: Tensor, v: TransformValues) -> Tensor:
    """Larger or smaller, and rotated by any angle, bilinearly.  [N, C, R, R] -> same"""
    size = torch.exp2(-v["log2_scale"])
    cos, sin, zero = size * v["angle"].cos(), size * v["angle"].sin(), torch.zeros_like(size)
    rows = [torch.stack(row, dim=1) for row in ((cos, -sin, zero), (sin, cos, zero))]
    grid = fn.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    moves = (v["angle"] != 0) | (v["log2_scale"] != 0)
    warped: Tensor = _Sampled.apply(x, grid)  # type: ignore[no-untyped-call]
    return torch.where(moves[:, None, None, None], warped, x)  # the others stay to the last bit


def _coloured(x: Tensor, v: TransformValues) -> Tensor:
    """Saturation and hue about grey, brightness, then contrast.  [N, C, R, R] -> same"""
    value = {name: v[name][:, None, None, None] for name in COLUMNS["colour"]}
    grey = x.mean(1, keepdim=True)
    colour = (x - grey) * torch.exp2(value["log2_saturation"])
    if x.shape[1] == 3:  # a rotation about the grey axis
        across = (colour.roll(1, 1) - colour.roll(-1, 1)) / math.sqrt(3.0)
        colour = value["hue"].cos() * colour + value["hue"].sin() * across
    shifted = (grey + colour + value["brightness"]) * torch.exp2(value["log2_contrast"])
    changes = torch.cat(list(value.values()), dim=1).any(1)  # [N, 1, 1]
    return torch.where(changes[:, None], shifted, x)


def _cut(x: Tensor, v: TransformValues) -> Tensor:
    """A square of half the side is grey.  [N, C, R, R] -> same"""
    side = x.shape[-1]
    row = (torch.arange(side, device=x.device) + 0.5) / side
    near = [(row - v[name][:, None]).abs() < 0.25 for name in ("cut_y", "cut_x")]  # [N, R] each
    inside = near[0][:, :, None] & near[1][:, None, :] & (v["cut"][:, None, None] > 0)
    return x.masked_fill(inside[:, None], 0.0)


class _Sampled(torch.autograd.Function):
    """`grid_sample` that is twice differentiable in x, which torch's is not; it is linear in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        """[N, C, R, R], [N, R, R, 2] -> [N, C, R, R]"""
        ctx.save_for_backward(grid)
        return fn.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The adjoint of forward."""
        (grid,) = ctx.saved_tensors
        return _Adjoint.apply(grads[0], grid), None  # type: ignore[no-untyped-call]


class _Adjoint(torch.autograd.Function):
    """The adjoint of `_Sampled`, whose own adjoint is `_Sampled`."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor) -> Tensor:
        """[N, C, R, R], [N, R, R, 2] -> [N, C, R, R]"""
        ctx.save_for_backward(grid)
        found: tuple[Tensor, Tensor] = torch.ops.aten.grid_sampler_2d_backward(
            grad, torch.empty_like(grad), grid, BILINEAR, REFLECTION, False, [True, False]
        )
        return found[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Forward again."""
        (grid,) = ctx.saved_tensors
        return _Sampled.apply(grads[0], grid), None  # type: ignore[no-untyped-call]
