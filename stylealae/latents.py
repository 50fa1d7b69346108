"""Arithmetic on styles.  Legend: N batch, L layers (two a stage), W width of w."""

import torch
from torch import Tensor

__all__ = ["bands", "interpolate", "mix", "per_layer", "swap", "truncate"]


def per_layer(w: Tensor, layers: int) -> Tensor:
    """One style for every layer of G.  [N, W] or [N, L, W] -> [N, L, W]"""
    return w[:, None].expand(-1, layers, -1) if w.ndim == 2 else w[:, :layers]


def mix(w: Tensor, w_other: Tensor, crossover: Tensor) -> Tensor:
    """Below layer `crossover` w, from it on w_other (StyleGAN, section 3.1).

    [N, L, W] twice, crossover [N] in 1..L (L keeps w whole) -> [N, L, W]
    """
    layer = torch.arange(w.shape[1], device=w.device)
    return torch.where((layer < crossover[:, None])[:, :, None], w, w_other)


def truncate(w: Tensor, w_mean: Tensor, psi: float, layers: int = 8) -> Tensor:
    """The first `layers` styles pulled towards the mean style by the factor psi.

    [N, L, W], [L, W] -> [N, L, W]; psi 1 changes nothing, psi 0 gives the mean (StyleGAN, B).
    """
    weight = torch.ones(w.shape[1], device=w.device, dtype=w.dtype)
    weight[:layers] = psi
    return torch.lerp(w_mean[: w.shape[1]].to(w), w, weight[:, None])


def interpolate(w: Tensor, w_other: Tensor, steps: int) -> Tensor:
    """Styles on the straight line from w to w_other, both ends included.

    [N, ..., W] twice -> [steps, N, ..., W]; w is the space in which the way is straight (the paper,
    section 4.2), z is not.
    """
    t = torch.linspace(0.0, 1.0, steps, device=w.device, dtype=w.dtype)
    return torch.lerp(w[None], w_other[None], t.view(-1, *[1] * w.ndim))


def bands(layers: int) -> dict[str, tuple[int, int]]:
    """The coarse, middle and fine layers, first and last of each (StyleGAN, section 3.1).

    4x4 and 8x8, 16x16 and 32x32, and the rest; small models, with fewer than five resolutions,
    share out theirs as evenly as they can, the fine ones first.
    """
    stages = layers // 2
    ends = (2, 4, stages) if stages > 4 else (stages // 3, 2 * stages // 3, stages)
    firsts = (0, *ends[:2])
    named = zip(("coarse", "middle", "fine"), firsts, ends, strict=True)
    return {name: (2 * first, 2 * end - 1) for name, first, end in named if end > first}


def swap(w: Tensor, w_other: Tensor, first: int, last: int) -> Tensor:
    """The layers first to last of w taken from w_other.  [N, L, W] twice -> [N, L, W]"""
    layer = torch.arange(w.shape[1], device=w.device)
    return torch.where(((first <= layer) & (layer <= last))[:, None], w_other, w)
