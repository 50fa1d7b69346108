"""The z of a style is a function of the style."""

import torch
from torch import Tensor, nn

from stylealae.editing.inversion import unmapped
from stylealae.families.alae.config import AlaeModelConfig
from stylealae.families.alae.networks import AlaeMlp
from stylealae.priors import normal, rng

Z, W = 16, 8


def mapping() -> nn.Module:
    """F, which takes many z to one w."""
    cfg = AlaeModelConfig(z_width=Z, w_width=W, mapping_hidden=32, hidden=8)
    torch.manual_seed(0)
    return AlaeMlp(cfg).F.requires_grad_(False)


def styles(F: nn.Module, n: int, name: str) -> Tensor:
    w: Tensor = F(normal(n, Z, rng(0, name, 0)))
    return w


def test_a_z_does_not_depend_on_the_batch() -> None:
    F = mapping()
    w = styles(F, 24, "w")
    whole = unmapped(F, w, Z, 50)
    parts = torch.cat([unmapped(F, part, Z, 50) for part in (w[:5], w[5:6], w[6:])])
    torch.testing.assert_close(whole, parts, atol=1e-3, rtol=0)


def test_rows_of_equal_index_are_no_nearer_than_others() -> None:
    F = mapping()
    a, b = (unmapped(F, styles(F, 64, name), Z, 50) for name in ("a", "b"))
    apart = torch.cdist(a, b)
    assert apart.diagonal().mean() > 0.9 * apart.mean()


def test_f_takes_the_z_near_to_the_style() -> None:
    F = mapping()
    w = styles(F, 32, "w")
    error = (F(unmapped(F, w, Z, 300)) - w).square().mean()
    assert error < 0.01 * w.var(0).mean()
