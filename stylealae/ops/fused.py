"""What stands between two convolutions, in one pass: bias, noise, leaky ReLU, instance norm, style.

A plane is one channel of one image.  Written out, these steps read and write every activation some
ten times, and so do their gradients: at 256x256 and above that costs more than the convolutions.
Here a step overwrites the convolution's output, keeps that one tensor for the backward pass, and on
a CPU works off a few planes at a time, so that only the first read and the last write leave the
cache.  Arithmetic is float32 (float64 for float64), whatever the activations are stored in.

Where `ops.compiler.fuse` has said so, as on GPUs, the same steps go through torch's compiler.

Legend: N batch, C channels, R resolution, M pixels of a plane (R * R).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylealae.ops import compiled, compiler, formulas
from stylealae.ops.blur import blur
from stylealae.ops.compiler import fuses
from stylealae.ops.formulas import SLOPE, std_of
from stylealae.ops.layout import is_channels_last, squares

__all__ = ["SLOPE", "blur", "destyled", "normalised", "styled"]

TILE = 1 << 17
"""Numbers worked on at a time on a CPU; a few tiles of float32 fit a core's second cache."""


def styled(
    x: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    noise: Tensor | None,
    noise_weight: Tensor,
    eps: float,
    blurred: bool = False,
) -> Tensor:
    """Bias, noise, leaky ReLU, instance norm and style: what follows a convolution of G.

    x [N, C, R, R] may be overwritten, and is blurred first if `blurred`; bias and noise_weight [C],
    scale and shift [N, C], noise [N, 1, R, R] or None -> [N, C, R, R].  Once differentiable:
    nothing needs G's second derivative.
    """
    weight = None if noise is None else noise_weight  # without noise it has no gradient either
    if fuses(x):
        given = x, bias, scale, shift, noise, weight
        if not torch.is_grad_enabled():
            return compiler.compiled(formulas.styled_alone, given, eps, blurred)
        out: Tensor = compiled.Styled.apply(*given, eps, blurred)  # type: ignore[no-untyped-call]
        return out
    x = blur(x) if blurred else x
    out = _Styled.apply(x, bias, scale, shift, noise, weight, eps)  # type: ignore[no-untyped-call]
    return out


def destyled(
    x: Tensor, bias: Tensor, *, eps: float, blurred: bool = False
) -> tuple[Tensor, Tensor]:
    """Bias, leaky ReLU and instance norm, and what it has taken: what follows a convolution of E.

    As `normalised` -> the features, and their style [N, 2C]: mean and standard deviation.
    """
    if fuses(x):
        _, out, _, _, style = compiled.Normalised.apply(x, bias, eps, blurred)  # type: ignore[no-untyped-call]
        return out, style
    out, mean, var = normalised(x, bias, eps=eps, blurred=blurred)
    return out, torch.cat((mean, std_of(var)), dim=1)


def normalised(
    x: Tensor, bias: Tensor, *, eps: float, blurred: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Bias, leaky ReLU and instance norm.

    x [N, C, R, R] may be overwritten, bias [C] -> the normalised features [N, C, R, R], blurred
    then if `blurred`, and the mean and biased variance [N, C] that they had.  Twice differentiable,
    as R1 needs it.
    """
    if fuses(x):
        _, out, mean, var, _ = compiled.Normalised.apply(x, bias, eps, blurred)  # type: ignore[no-untyped-call]
        return out, mean, var
    _, out, mean, var = _Normalised.apply(x, bias, eps)  # type: ignore[no-untyped-call]
    return blur(out) if blurred else out, mean, var


class _Styled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        noise: Tensor | None,
        noise_weight: Tensor | None,
        eps: float,
    ) -> Tensor:
        y, scale, shift = x.detach(), _wide(scale), _wide(shift)
        out, mean, rstd, _ = _forward(y, bias, noise, noise_weight, 1 + scale, shift, eps)
        ctx.save_for_backward(y, mean, rstd, scale, noise)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, rstd, scale, noise = ctx.saved_tensors
        c = y.shape[1]
        d_x, d_bias = torch.empty_like(y), scale.new_zeros(c)
        d_scale, d_shift = torch.empty_like(scale), torch.empty_like(scale)
        d_noise = scale.new_zeros(c)
        for i, j in _tiles(y):
            with _result(d_x, i, j) as d:
                d_shift[i, j], d_scale[i, j] = _backward(
                    d, g[i, j], y[i, j], mean[i, j], rstd[i, j], 1 + scale[i, j]
                )
                d_bias[j] += d.sum((0, 2, 3))
                if noise is not None:
                    d_noise[j] += (d * noise[i]).sum((0, 2, 3))
        return d_x, d_bias, d_scale, d_shift, None, None if noise is None else d_noise, None


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        y = x.detach()  # an output too, so that a derivative of the backward pass finds its way
        out, mean, _, var = _forward(y, bias, None, None, None, None, eps)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y, mean, var)
        ctx.eps = eps
        return y, out, mean, var

    @staticmethod
    def backward(
        ctx: Any, g_y: Tensor | None, g: Tensor | None, g_mean: Tensor | None, g_var: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        y, mean, var = ctx.saved_tensors
        g = torch.zeros_like(y) if g is None else g
        if torch.is_grad_enabled():  # under R1: the steps themselves are to be differentiated
            d = _backward_again(g_y, g, g_mean, g_var, y, mean, var, ctx.eps)
            return d, d.sum((0, 2, 3), dtype=mean.dtype), None
        rstd = torch.rsqrt(var + ctx.eps)
        d_x, d_bias = torch.empty_like(y), mean.new_zeros(y.shape[1])
        for i, j in _tiles(y):
            more = (None if extra is None else extra[i, j] for extra in (g_y, g_mean, g_var))
            with _result(d_x, i, j) as d:
                _backward(d, g[i, j], y[i, j], mean[i, j], rstd[i, j], None, *more)
                d_bias[j] += d.sum((0, 2, 3))
        return d_x, d_bias, None


def _forward(
    x: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    gain: Tensor | None,
    shift: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """X becomes leaky_relu(x + bias + noise); its norm with style, mean, 1 / std and variance."""
    out, bias = torch.empty_like(x), _wide(bias)
    mean, var = bias.new_empty(x.shape[:2]), bias.new_empty(x.shape[:2])
    rstd = torch.empty_like(var)
    pixels = x.shape[2] * x.shape[3]
    for i, j in _tiles(x):
        with _changed(x, i, j) as y, _result(out, i, j) as normed:
            y.add_(bias[j, None, None])
            if noise is not None and noise_weight is not None:
                y.add_(_wide(noise[i]) * noise_weight[j, None, None])
            fn.leaky_relu_(y, SLOPE)
            mean[i, j] = y.mean((2, 3))
            torch.sub(y, mean[i, j, None, None], out=normed)
            var[i, j] = squares(normed).div_(pixels)
            rstd[i, j] = torch.rsqrt(var[i, j] + eps)
            slope = rstd[i, j] if gain is None else rstd[i, j] * gain[i, j]
            normed.mul_(slope[:, :, None, None])
            if shift is not None:
                normed.add_(shift[i, j, None, None])
    return out, mean, rstd, var


def _backward(
    d: Tensor,
    g: Tensor,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gain: Tensor | None,
    g_y: Tensor | None = None,
    g_mean: Tensor | None = None,
    g_var: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Writes the gradient before the leaky ReLU to d; sum of g, and of g times the normed features.

    With n = (y - mean) * rstd, a = rstd * gain and averages over the plane:
    d_y = a * (g - average(g) - n * average(g * n)), plus what comes by the statistics.
    """
    g, y = _wide(g), _wide(y)
    pixels = y.shape[2] * y.shape[3]
    sums = g.sum((2, 3))
    products = (torch.mul(g, y, out=d).sum((2, 3)) - mean * sums) * rstd
    a = rstd if gain is None else rstd * gain
    slope, level = _line(a, sums, products, mean, rstd, g_mean, g_var, pixels)
    torch.mul(y, slope[:, :, None, None], out=d).add_(level[:, :, None, None])
    d.add_(g * a[:, :, None, None])
    if g_y is not None:
        d.add_(g_y)
    torch.ops.aten.leaky_relu_backward.grad_input(d, y, SLOPE, True, grad_input=d)
    return sums, products


def _backward_again(
    g_y: Tensor | None,
    g: Tensor,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
) -> Tensor:
    """`_backward` in steps that autograd can differentiate, by g, y, mean and variance."""
    pixels = y.shape[2] * y.shape[3]
    rstd = torch.rsqrt(var + eps)
    sums = g.sum((2, 3))
    products = ((g * y).sum((2, 3)) - mean * sums) * rstd
    slope, level = _line(rstd, sums, products, mean, rstd, g_mean, g_var, pixels)
    d = g * rstd[:, :, None, None] + y * slope[:, :, None, None] + level[:, :, None, None]
    if g_y is not None:
        d = d + g_y
    out: Tensor = torch.ops.aten.leaky_relu_backward(d, y, SLOPE, True)  # by the sign of its result
    return out


def _line(
    a: Tensor,
    sums: Tensor,
    products: Tensor,
    mean: Tensor,
    rstd: Tensor,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    pixels: int,
) -> tuple[Tensor, Tensor]:
    """Slope and level of what is added to a * g: in each plane a linear function of y."""
    slope = -a * rstd * products / pixels
    if g_var is not None:
        slope = slope + g_var * (2 / pixels)
    level = -a * sums / pixels - slope * mean
    if g_mean is not None:
        level = level + g_mean / pixels
    return slope, level


@contextmanager
def _changed(x: Tensor, i: slice, j: slice) -> Iterator[Tensor]:
    """A tile to be changed in at least float32: of x itself, or rounded into x in the end."""
    tile = x[i, j]
    wide = _wide(tile)
    yield wide
    if wide is not tile:
        tile.copy_(wide)


@contextmanager
def _result(x: Tensor, i: slice, j: slice) -> Iterator[Tensor]:
    """As `_changed`, of an x that holds nothing yet: it is not read."""
    tile = x[i, j]
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = tile if dtype == x.dtype else torch.empty_like(tile, dtype=dtype)
    yield wide
    if wide is not tile:
        tile.copy_(wide)


def _tiles(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and channels whose planes stay in a CPU's cache together; elsewhere all at once."""
    n, c = x.shape[:2]
    planes = max(1, TILE // (x.shape[2] * x.shape[3])) if x.device.type == "cpu" else n * c
    images = max(1, planes // c)
    planes = c if is_channels_last(x) else planes
    for i in range(0, n, images):
        for j in range(0, c, planes):
            yield slice(i, i + images), slice(j, j + planes)


def _wide(x: Tensor) -> Tensor:
    """X in at least float32; itself where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
