"""The steps between two convolutions through torch's compiler: the derivatives that it lacks.

It differentiates nothing twice, so each derivative is a formula of its own.

Legend: N batch, C channels, R resolution.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylealae.ops import formulas
from stylealae.ops.compiler import compiled

__all__ = ["Blurred", "Normalised", "Styled"]


class Styled(torch.autograd.Function):
    """`formulas.styled`, once differentiable."""

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
        blurred: bool,
    ) -> Tensor:
        """The features with their style."""
        given = (x, bias, scale, shift, noise, noise_weight)
        out, y, mean, rstd = compiled(formulas.styled, given, eps, blurred)
        kept = x if y is None else y
        ctx.save_for_backward(kept, bias, scale, noise, noise_weight, mean, rstd)
        ctx.blurred = blurred
        found: Tensor = out
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, bias, scale, shift and noise_weight."""
        kept = ctx.saved_tensors  # once: of a block that is computed again they are given once
        given = (_laid_like(g, kept[0]), *kept)
        *found, d_noise = compiled(formulas.styled_backward, given, ctx.blurred)
        return *found, None, d_noise, None, None


class Normalised(torch.autograd.Function):
    """`formulas.normalised`, twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, eps: float, blurred: bool) -> tuple[Tensor, ...]:
        """What is kept, the features, their mean, variance and style."""
        out, mean, var, style = compiled(formulas.normalised, (x, bias), eps, blurred)
        kept = x.detach()  # an output too: by it the second derivative comes back here
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kept, bias, mean, var)
        ctx.how = eps, blurred
        return kept, out, mean, var, style

    @staticmethod
    def backward(
        ctx: Any, g_kept: Tensor | None, g: Tensor | None, g_mean: Tensor | None,
        g_var: Tensor | None, g_style: Tensor | None,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """The gradients of x and bias."""
        x, bias, mean, var = ctx.saved_tensors
        g_style = None if g_style is None else g_style.contiguous()
        g, g_kept = _laid_like(g, x), _laid_like(g_kept, x)
        given = (g, g_mean, g_var, g_style, g_kept, x, bias, mean, var)
        if torch.is_grad_enabled():  # under R1
            found = _NormalisedBackward.apply(*given, *ctx.how)  # type: ignore[no-untyped-call]
        else:
            found = compiled(formulas.normalised_backward, given, *ctx.how)
        return *found, None, None


class _NormalisedBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
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
        given = (g, g_mean, g_var, g_style, g_x, x, bias, mean, var)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given)
        ctx.how = eps, blurred
        d_x, d_bias = compiled(formulas.normalised_backward, given, eps, blurred)
        return d_x, d_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h: Tensor | None, h_bias: Tensor | None) -> tuple[Tensor | None, ...]:
        if h is None and h_bias is None:
            return (None,) * 11
        kept = ctx.saved_tensors
        given = (_laid_like(h, kept[5]), h_bias, *kept)
        *found, mean, var = compiled(formulas.normalised_twice, given, *ctx.how)
        return *found, None, mean, var, None, None


class Blurred(torch.autograd.Function):
    """`formulas.blur`; its own adjoint, so every derivative of it is a blur again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[N, C, R, R] -> same"""
        out: Tensor = compiled(formulas.blur, (x,))
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """Blurred."""
        out: Tensor = Blurred.apply(g)  # type: ignore[no-untyped-call]
        return out


def _laid_like(g: Tensor | None, x: Tensor) -> Tensor | None:
    """A gradient laid out as what it is for: kernels are made for one layout each."""
    if g is None or g.stride() == x.stride():
        return g
    return torch.empty_like(x, dtype=g.dtype).copy_(g)
