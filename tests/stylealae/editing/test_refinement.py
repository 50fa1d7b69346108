"""Refinement: never worse than E's style, image by image."""

import pytest
import torch

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.refinement import psnr
from stylealae.errors import ConfigError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


@pytest.fixture
def model() -> StyleALAE:
    return StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2)


def test_psnr_in_closed_form():
    x = torch.zeros(2, 3, 4, 4)
    assert torch.allclose(psnr(x, x + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)),
                          torch.tensor([20.0, 40.0]), atol=1e-3)  # fmt: skip


def test_refined_styles_tell_images_better_and_nothing_else_changes(model: StyleALAE):
    x = model.generate(torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(2)),
                       noise=False)  # fmt: skip
    weights = {k: v.clone() for k, v in model.nets.state_dict().items()}
    steps: list[int] = []
    found = model.refine(x, 30, report=steps.append)
    assert steps == list(range(1, 31))
    assert torch.equal(found.encoded, model.encode(x))
    assert torch.allclose(found.before_db, psnr(x, model.reconstruct(x)), atol=1e-3)
    assert torch.allclose(found.after_db, psnr(x, model.generate(found.w, noise=False)), atol=1e-3)
    assert (found.after_db - found.before_db).min() > 1
    assert all(torch.equal(v, weights[k]) for k, v in model.nets.state_dict().items())


def test_an_image_is_refined_alike_alone_and_beside_any_other(model: StyleALAE):
    """In float64, for a descent multiplies what the sums' order rounds away, some 1e5 times here.

    In float32 that reaches 1e-2 on some processors; in float64 it stays below 1e-10.
    """
    x = model.sample(3, seed=2).double()
    model.nets.double()
    beside = model.refine(x, 30).w
    others = torch.stack([-x[0], x[1], x[2] / 3])
    torch.testing.assert_close(model.refine(others, 30).w[1], beside[1], rtol=0, atol=1e-7)
    torch.testing.assert_close(model.refine(x[1:2], 30).w[0], beside[1], rtol=0, atol=1e-7)


def test_a_distance_is_descended_too(model: StyleALAE):
    x = model.sample(2, seed=1)

    def red(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return 100 * (a[:, 0] - b[:, 0]).square().flatten(1).mean(1)

    plain, reddish = model.refine(x, 20), model.refine(x, 20, distance=red)
    assert (red(x, model.generate(reddish.w, noise=False)).sum()
            < red(x, model.generate(plain.w, noise=False)).sum())  # fmt: skip
    with pytest.raises(ConfigError, match="resize them"):
        model.refine(torch.zeros(1, 3, 8, 8))


def test_refined_styles_of_a_model_that_has_not_grown_up_are_edited(model: StyleALAE):
    young = StyleALAE(model.nets, SMALL, model.w_mean, stage=1)
    x = young.sample(2, seed=1)
    w = young.refine(x, 2).w  # [2, 4, 8], where G grown up has 6 layers
    moved = young.edit(w, {"pc1": 1.0}, young.principal(2, n=100))
    assert moved.shape == w.shape
    assert not torch.equal(young.generate(moved, noise=False), young.generate(w, noise=False))
