"""The steps between two convolutions as pure functions: what torch's compiler is given on GPUs.

Nothing is overwritten, and tensors and constants alone go in, so that each becomes a few kernels.
Arithmetic is float32 (float64 for float64), whatever the activations are stored in.

Legend: N batch, C channels, R resolution.  [N, C] is a number a plane, [C] one a channel; noise is
[N, 1, R, R], every other tensor [N, C, R, R].  `g` is the gradient of a result, `d` of an input.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor

__all__ = [
    "SLOPE",
    "STD_EPS",
    "blur",
    "line",
    "normalised",
    "normalised_backward",
    "normalised_twice",
    "rows",
    "std_of",
    "styled",
    "styled_alone",
    "styled_backward",
    "wide",
    "wide_type",
]

SLOPE = 0.2
"""Of the leaky ReLU, everywhere in the paper."""
TAPS = ((-1, 0.25), (0, 0.5), (1, 0.25))
"""Of the blur along an axis."""
STD_EPS = 1e-9
SMALL = 64
"""Pixels of a plane, up to which its sums are taken at once."""


def blur(x: Tensor) -> Tensor:
    """Depthwise [1 2 1] x [1 2 1] / 16 with zero padding.  [N, C, R, R] -> same"""
    out = torch.zeros_like(x, dtype=wide(x).dtype)
    for down, vertical in TAPS:
        for right, horizontal in TAPS:
            moved = fn.pad(wide(x), (right, -right, down, -down))  # with zeros, in one read
            out = out + moved * (vertical * horizontal)
    return out.to(x.dtype)


def styled(
    x: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    eps: float,
    blurred: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Bias, noise, leaky ReLU, instance norm and style, of x blurred first if `blurred`.

    The result, what was normalised (None: cheaper to compute again), its mean and 1 / std.
    """
    y = _activated(blur(x) if blurred else x, bias, noise, noise_weight)
    kept = y.to(x.dtype) if blurred else None
    y = y if kept is None else wide(kept)
    out, mean, rstd = _restyled(y, scale, shift, eps)
    return out.to(x.dtype), kept, mean, rstd


def styled_alone(
    x: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    eps: float,
    blurred: bool,
) -> Tensor:
    """The result of `styled`, where nothing is kept for a gradient: a pass less if `blurred`."""
    y = _activated(blur(x) if blurred else x, bias, noise, noise_weight)
    return _restyled(y, scale, shift, eps)[0].to(x.dtype)


def styled_backward(
    g: Tensor,
    x: Tensor,
    bias: Tensor,
    scale: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    blurred: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """The gradients of x, bias, scale, shift and noise_weight; x is what was kept."""
    y = wide(x) if blurred else _activated(x, bias, noise, noise_weight)
    g, gain = wide(g), rstd * (1 + wide(scale))
    sums, products = _sums(g, y, mean, rstd)
    slope, level = line(gain, sums, products, mean, rstd, None, None, y)
    d = _activation_backward(
        g * _by_plane(gain, y) + y * _by_plane(slope, y) + _by_plane(level, y), y
    )
    d_noise = None if noise is None else _per_channel(d * wide(noise))
    d_x = d.to(x.dtype)
    return blur(d_x) if blurred else d_x, _per_channel(d), products, sums, d_noise


def std_of(var: Tensor) -> Tensor:
    """Standard deviation with a gradient that stays finite at 0.  [any] -> [same]

    Departure: the released code takes the bare root, whose gradient is infinite for a constant
    channel; 1e-9 inside the root moves no published number and keeps a grey batch finite.
    """
    return torch.sqrt(var + STD_EPS)


def normalised(
    x: Tensor, bias: Tensor, eps: float, blurred: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bias, leaky ReLU and instance norm, blurred then if `blurred`.

    The result, the mean and biased variance of what was normalised, and [N, 2C] its style: mean
    and standard deviation.
    """
    y = _activated(x, bias, None, None)
    var, mean = _moments(y)
    out = ((y - _by_plane(mean, y)) * _by_plane(torch.rsqrt(var + eps), y)).to(x.dtype)
    return blur(out) if blurred else out, mean, var, torch.cat((mean, std_of(var)), dim=1)


def normalised_backward(
    g: Tensor | None,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    g_style: Tensor | None,
    g_x: Tensor | None,
    x: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    blurred: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of x and bias; g_x is what x got from where it is used otherwise."""
    y = _activated(x, bias, None, None)
    rstd = torch.rsqrt(var + eps)
    if g_style is not None:
        d_mean, d_std = wide(g_style).chunk(2, dim=1)
        d_var = d_std / (2 * std_of(var))
        g_mean = d_mean if g_mean is None else g_mean + d_mean
        g_var = d_var if g_var is None else g_var + d_var
    if g is None:
        zero = torch.zeros_like(mean)
        slope, level = line(rstd, zero, zero, mean, rstd, g_mean, g_var, y)
        d = y * _by_plane(slope, y) + _by_plane(level, y)
    else:
        g = wide(blur(g) if blurred else g)
        sums, products = _sums(g, y, mean, rstd)
        slope, level = line(rstd, sums, products, mean, rstd, g_mean, g_var, y)
        d = g * _by_plane(rstd, y) + y * _by_plane(slope, y) + _by_plane(level, y)
    d = _activation_backward(d, y)
    d = d if g_x is None else d + g_x
    return d.to(x.dtype), _per_channel(d)


def normalised_twice(
    h: Tensor | None,
    h_bias: Tensor | None,
    g: Tensor | None,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    g_style: Tensor | None,
    g_x: Tensor | None,
    x: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    blurred: bool,
) -> tuple[Tensor | None, ...]:
    """The gradients of g, g_mean, ..., g_x, x, mean and var, for h and h_bias of d_x and d_bias.

    That of the bias comes by x's, which stands in its place.
    """
    blurs = blurred and g is not None  # its own adjoint: taken before and after, not through
    g = blur(g) if blurs and g is not None else g
    given = (g, g_mean, g_var, g_style, g_x, x, mean, var)
    held = [k for k, tensor in enumerate(given) if tensor is not None]

    def backward(*tensors: Tensor) -> tuple[Tensor, ...]:
        at = dict(zip(held, tensors, strict=True))
        d_x, d_bias = normalised_backward(
            at.get(0),
            at.get(1),
            at.get(2),
            at.get(3),
            at.get(4),
            at[5],
            bias,
            at[6],
            at[7],
            eps,
            False,
        )
        return tuple(d for d, by in ((d_x, h), (d_bias, h_bias)) if by is not None)

    pull = torch.func.vjp(backward, *(given[k] for k in held))[1]
    pulled: tuple[Tensor, ...] = pull(tuple(by for by in (h, h_bias) if by is not None))
    found = dict(zip(held, pulled, strict=True))
    if blurs:
        found[0] = blur(found[0])
    return tuple(found.get(k) for k in range(len(given)))


def wide(x: Tensor) -> Tensor:
    """The same numbers in at least float32; x itself where it is."""
    return x.to(wide_type(x))


def wide_type(x: Tensor) -> torch.dtype:
    """The type of `wide(x)`."""
    return torch.promote_types(x.dtype, torch.float32)


def _activated(
    x: Tensor, bias: Tensor, noise: Tensor | None, noise_weight: Tensor | None
) -> Tensor:
    x = wide(x) + wide(bias)[:, None, None]
    if noise is not None and noise_weight is not None:
        x = x + wide(noise) * wide(noise_weight)[:, None, None]
    return fn.leaky_relu(x, SLOPE)


def _restyled(y: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, ...]:
    """Instance norm and style, and the mean and 1 / std before."""
    var, mean = _moments(y)
    rstd = torch.rsqrt(var + eps)
    gain = rstd * (1 + wide(scale))
    out = (y - _by_plane(mean, y)) * _by_plane(gain, y) + _by_plane(wide(shift), y)
    return out, mean, rstd


def _activation_backward(d: Tensor, y: Tensor) -> Tensor:
    return torch.where(y > 0, d, SLOPE * d)


def _moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Biased variance and mean of each plane.  -> [N, C] twice"""
    if _is_small(y):
        var, mean = torch.var_mean(y, (2, 3), correction=0)
        return var, mean
    var, mean = torch.var_mean(y, 3, correction=0)  # [N, C, R] each
    middle = mean.mean(2)
    return var.mean(2) + (mean - middle[:, :, None]).square().mean(2), middle


def rows(x: Tensor) -> Tensor:
    """The sums of the rows, or of planes where these are small.  -> [N, C, R] or [N, C, 1]"""
    return x.sum((2, 3))[..., None] if _is_small(x) else x.sum(3)


def _by_plane(a: Tensor, y: Tensor) -> Tensor:
    """A number a plane beside y, by rows too, as its adjoint sums.  [N, C] -> [N, C, 1 or R, 1]"""
    return a[:, :, None, None] if _is_small(y) else a[:, :, None].expand(y.shape[:3])[..., None]


def _is_small(x: Tensor) -> bool:
    """Whether planes are summed at once.

    Larger ones are summed by rows, and these then: so a kernel that writes a plane has its sums on
    the way, and many processors work on one plane.
    """
    return x.shape[2] * x.shape[3] <= SMALL


def _sums(g: Tensor, y: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """In each plane the sum of g, and of g times the normalised features.  -> [N, C] twice"""
    sums, products = rows(g), rows(g * y)
    return sums.sum(2), (products - mean[:, :, None] * sums).sum(2) * rstd


def line(
    a: Tensor,
    sums: Tensor,
    products: Tensor,
    mean: Tensor,
    rstd: Tensor,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    y: Tensor,
) -> tuple[Tensor, Tensor]:
    """Slope and level of what is added to a * g: in each plane a linear function of y."""
    pixels = y.shape[2] * y.shape[3]
    slope = -a * rstd * products / pixels
    if g_var is not None:
        slope = slope + g_var * (2 / pixels)
    level = -a * sums / pixels - slope * mean
    if g_mean is not None:
        level = level + g_mean / pixels
    return slope, level


def _per_channel(d: Tensor) -> Tensor:
    """The sum over images and pixels.  [N, C, R, R] -> [C]"""
    return rows(d).sum((0, 2))
