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
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylealae.ops import compiled, compiler, formulas
from stylealae.ops.blur import blur
from stylealae.ops.compiler import fuses
from stylealae.ops.formulas import SLOPE, line, std_of, wide, wide_type
from stylealae.ops.layout import is_channels_last, squares

__all__ = ["SLOPE", "blur", "destyled", "normalised", "styled"]

TILE = 1 << 19
"""Numbers worked on at a time on a CPU: a few such tiles fit the cache that its cores share."""


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
        y, scale, shift = x.detach(), wide(scale), wide(shift)
        out, mean, rstd, _ = _forward(y, bias, noise, noise_weight, 1 + scale, shift, eps)
        ctx.save_for_backward(y, mean, rstd, scale, noise)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, rstd, scale, noise = ctx.saved_tensors
        d_x, d_shift, d_scale, d_bias, d_noise = _backward(g, y, mean, rstd, 1 + scale, noise)
        return d_x, d_bias, d_scale, d_shift, None, d_noise, None


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
        d_x, _, _, d_bias, _ = _backward(g, y, mean, rstd, None, None, g_y, g_mean, g_var)
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
    """Leaves leaky_relu(x + bias + noise) in x; its norm with style, mean, 1 / std and variance."""
    out = torch.empty_like(x)
    if _fits(x):
        return out, *_forward_tile(x, out, bias, noise, noise_weight, gain, shift, eps)
    mean, rstd, var = (bias.new_empty(x.shape[:2], dtype=wide_type(x)) for _ in range(3))
    for i, j in _tiles(x):
        mean[i, j], rstd[i, j], var[i, j] = _forward_tile(
            x[i, j],
            out[i, j],
            bias[j],
            _part(noise, i),
            _part(noise_weight, j),
            _part(gain, (i, j)),
            _part(shift, (i, j)),
            eps,
        )
    return out, mean, rstd, var


def _forward_tile(
    x: Tensor,
    out: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    gain: Tensor | None,
    shift: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`_forward` of a tile, whose result is written to `out`; mean, 1 / std and variance."""
    y = wide(x).add_(wide(bias)[:, None, None])
    if noise is not None and noise_weight is not None:
        # Written as y lies; `addcmul` rounds by how its tensors lie, which one bit would show.
        y.add_(torch.mul(wide(noise), noise_weight[:, None, None], out=torch.empty_like(y)))
    fn.leaky_relu_(y, SLOPE)
    mean = y.mean((2, 3))
    normed = out if out.dtype == y.dtype else torch.empty_like(y)
    torch.sub(y, mean[:, :, None, None], out=normed)
    var = squares(normed).div_(y.shape[2] * y.shape[3])
    rstd = torch.rsqrt(var + eps)
    normed.mul_((rstd if gain is None else rstd * gain)[:, :, None, None])
    if shift is not None:
        normed.add_(shift[:, :, None, None])
    for full, narrow in ((y, x), (normed, out)):
        if full is not narrow:
            narrow.copy_(full)
    return mean, rstd, var


def _backward(
    g: Tensor,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gain: Tensor | None,
    noise: Tensor | None,
    g_y: Tensor | None = None,
    g_mean: Tensor | None = None,
    g_var: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """The gradients of x, shift, scale, bias and, if there was noise, its weight."""
    d_x = torch.empty_like(y)
    if _fits(y):
        return d_x, *_backward_tile(d_x, g, y, mean, rstd, gain, noise, g_y, g_mean, g_var)
    d_shift, d_scale = torch.empty_like(mean), torch.empty_like(mean)
    d_bias = mean.new_zeros(y.shape[1])
    d_noise = None if noise is None else torch.zeros_like(d_bias)
    for i, j in _tiles(y):
        d_shift[i, j], d_scale[i, j], of_bias, of_noise = _backward_tile(
            d_x[i, j],
            g[i, j],
            y[i, j],
            mean[i, j],
            rstd[i, j],
            _part(gain, (i, j)),
            _part(noise, i),
            *(_part(extra, (i, j)) for extra in (g_y, g_mean, g_var)),
        )
        d_bias[j] += of_bias
        if d_noise is not None and of_noise is not None:
            d_noise[j] += of_noise
    return d_x, d_shift, d_scale, d_bias, d_noise


def _backward_tile(
    d_x: Tensor,
    g: Tensor,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gain: Tensor | None,
    noise: Tensor | None,
    g_y: Tensor | None,
    g_mean: Tensor | None,
    g_var: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """`_backward` of a tile, whose gradient is written to d_x; of its planes, and channels' sums.

    With n = (y - mean) * rstd, a = rstd * gain and averages over the plane:
    d_y = a * (g - average(g) - n * average(g * n)), plus what comes by the statistics.
    """
    g, y = wide(g), wide(y)
    d = d_x if d_x.dtype == y.dtype else torch.empty_like(y)
    sums = g.sum((2, 3))
    products = (torch.mul(g, y, out=d).sum((2, 3)) - mean * sums) * rstd
    a = rstd if gain is None else rstd * gain
    slope, level = line(a, sums, products, mean, rstd, g_mean, g_var, y)
    torch.mul(y, slope[:, :, None, None], out=d).add_(level[:, :, None, None])
    d.add_(g * a[:, :, None, None])
    if g_y is not None:
        d.add_(g_y)
    torch.ops.aten.leaky_relu_backward.grad_input(d, y, SLOPE, True, grad_input=d)
    if d is not d_x:
        d_x.copy_(d)
    d_noise = None if noise is None else _per_channel(d * noise)
    return sums, products, _per_channel(d), d_noise


def _per_channel(d: Tensor) -> Tensor:
    """The sum over images and pixels, as a CPU is fastest.  [N, C, R, R] -> [C]"""
    return d.sum((2, 3)).sum(0)


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
    rstd = torch.rsqrt(var + eps)
    sums = g.sum((2, 3))
    products = ((g * y).sum((2, 3)) - mean * sums) * rstd
    slope, level = line(rstd, sums, products, mean, rstd, g_mean, g_var, y)
    d = g * rstd[:, :, None, None] + y * slope[:, :, None, None] + level[:, :, None, None]
    if g_y is not None:
        d = d + g_y
    out: Tensor = torch.ops.aten.leaky_relu_backward(d, y, SLOPE, True)  # by the sign of its result
    return out


def _fits(x: Tensor) -> bool:
    """Whether x is worked off at once: on a CPU because a cache holds it."""
    return x.device.type != "cpu" or x.numel() <= TILE


def _part(x: Tensor | None, of: slice | tuple[slice, slice]) -> Tensor | None:
    return None if x is None else x[of]


def _tiles(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and channels whose planes stay in a CPU's cache together."""
    n, c = x.shape[:2]
    planes = max(1, TILE // (x.shape[2] * x.shape[3]))
    images = max(1, planes // c)
    planes = c if is_channels_last(x) else planes
    for i in range(0, n, images):
        for j in range(0, c, planes):
            yield slice(i, i + images), slice(j, j + planes)
