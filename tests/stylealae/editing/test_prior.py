"""F fitted to the styles of images: their distribution is met, and nothing else moves."""

import pytest
import torch
from torch import Tensor

from stylealae import StyleALAE, losses
from stylealae.config import ModelConfig
from stylealae.errors import ConfigError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=3
)


def model() -> StyleALAE:
    return StyleALAE(build(SMALL, 1), SMALL, torch.zeros(4, 8), stage=1)


def two_heaps(n: int) -> Tensor:
    """Styles about two places, which F's are far from."""
    source = torch.Generator().manual_seed(2)
    sides = torch.randint(2, (n, 1), generator=source) * 2.0 - 1.0
    return sides + 0.3 * torch.randn(n, 8, generator=source) + 1.5


def test_styles_come_to_be_distributed_as_those_of_the_images():
    m, done = model(), list[int]()
    found = m.fit_prior(two_heaps(400), 300, report=done.append)
    assert done == list(range(1, 301))
    fitted, others = m.with_prior(found), two_heaps(1000)[400:]
    before, after = (losses.energy_distance(a.styles(600, 7), others) for a in (m, fitted))
    assert after < 0.2 * before
    assert found.after < 0.4 * found.before


def test_the_same_seed_finds_the_same_and_f_alone_moves():
    m, w = model(), two_heaps(40)
    weights = {k: v.clone() for k, v in m.nets.state_dict().items()}
    once, again, other = (m.fit_prior(w, 3, seed=seed).F.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(once[k], again[k]) for k in once)
    assert not all(torch.equal(once[k], other[k]) for k in once)
    fitted = m.with_prior(m.fit_prior(w, 3))
    assert all(torch.equal(v, weights[k]) for k, v in m.nets.state_dict().items())
    moved = {k for k, v in fitted.nets.state_dict().items() if not torch.equal(v, weights[k])}
    assert moved == {f"F.{k}" for k in once}


def test_the_mean_style_is_that_of_the_fitted_f():
    fitted = model().with_prior(model().fit_prior(two_heaps(40), 3))
    wanted = fitted.styles(10_000).mean(0)
    torch.testing.assert_close(fitted.w_mean, wanted.expand(4, 8))


def test_too_few_images_are_refused():
    with pytest.raises(ConfigError, match="at least 16 images, and there are 15"):
        model().fit_prior(two_heaps(15), 1)


def test_images_of_one_style_are_refused():
    with pytest.raises(ConfigError, match="images that differ: all 20 have one style"):
        model().fit_prior(torch.ones(20, 8), 1)
