"""R1's gradient with factors rounded as TF32 rounds them, on a CPU, against float64."""

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

from bench.tf32 import emulated
from stylealae.config import LossConfig, ModelConfig
from stylealae.networks import build
from stylealae.ops.precision import forward_of_r1, tf32
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import phases_of
from stylealae.schedule import Progress

SMALL = ModelConfig(
    resolution=16, start_channels=8, max_channels=16, z_width=16, w_width=16, mapping_layers=2
)
AT = Progress(stage=2, alpha=0.5, batch=4, lr=0.0)
HEAVY = LossConfig(r1_gamma=1000.0)


def critics_gradient(
    how: AbstractContextManager[None], dtype: torch.dtype = torch.float32, recompute_from: int = 0
) -> Tensor:
    """Phase I's gradient by E's and D's weights, in one vector; nearly all of it R1's."""
    source = torch.Generator().manual_seed(0)
    nets = build(SMALL).to(dtype)
    nets.recompute_from(recompute_from)
    x = torch.rand(4, 3, 16, 16, generator=source).to(dtype) * 2 - 1
    r = StyleInputs(z=torch.randn(4, 16, generator=source).to(dtype), noise=None)
    critic = phases_of(HEAVY)[0]
    weights = [p for network in critic.trains for p in nets.grown(network, AT)]
    with how:
        grads = torch.autograd.grad(critic.loss(nets, x, r, AT, HEAVY), weights, allow_unused=True)
    return torch.cat([g.flatten().double() for g in grads if g is not None])


def test_r1_in_tf32_is_as_good_as_its_forward_pass() -> None:
    exact = critics_gradient(nullcontext(), torch.float64)

    def error(how: AbstractContextManager[None]) -> float:
        return float((critics_gradient(how) - exact).norm() / exact.norm())

    everywhere = error(emulated(exact_forward=False))
    derivatives = error(emulated(exact_forward=True))
    assert error(nullcontext()) < 1e-5
    assert 1e-5 < derivatives < 2e-3
    assert everywhere > 4 * derivatives


def test_a_block_that_is_computed_again_is_rounded_as_the_first_time() -> None:
    kept, again = (
        critics_gradient(emulated(exact_forward=True), recompute_from=first) for first in (0, 8)
    )
    assert torch.equal(kept, again)


@pytest.mark.parametrize("exact", [False, True])
def test_the_forward_pass_of_r1_takes_no_tf32_where_it_is_told_so(exact: bool) -> None:
    with tf32(True, exact_forward=exact):
        with forward_of_r1():
            assert torch.backends.cudnn.allow_tf32 != exact
            assert torch.backends.cuda.matmul.allow_tf32 != exact
        assert torch.backends.cudnn.allow_tf32
    with tf32(False), forward_of_r1():
        assert not torch.backends.cudnn.allow_tf32
