"""Path lengths of generators whose images are linear in their latent, where a closed form is."""

import math

import pytest
import torch
from torch import Tensor

from stylealae.metrics import lpips, ppl

N, WIDTH = 64, 8


@pytest.fixture
def latents() -> tuple[Tensor, Tensor, Tensor]:
    """Ends of paths and a place on each, in float64."""
    a, b = torch.randn(2, N, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    return a, b, torch.rand(N, generator=torch.Generator().manual_seed(1)).double()


def pixels(x: Tensor) -> Tensor:
    """A perceptual space that is the image itself."""
    return x.flatten(1)


def linear_distance(both: Tensor) -> Tensor:
    """Squared distance of the images of a linear generator: its latent as an image of 1 x 1."""
    mixing = torch.randn(WIDTH, 12, generator=torch.Generator().manual_seed(2)).double()
    x, y = (both @ mixing).chunk(2)
    return (x - y).square().sum(1)


def test_in_w_it_is_the_squared_length_of_the_image_of_b_minus_a(
    latents: tuple[Tensor, Tensor, Tensor],
) -> None:
    a, b, t = latents
    found = ppl.path_lengths(a, b, t, ppl.between, linear_distance)
    expected = linear_distance(torch.cat([a, b]))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_in_z_it_is_the_squared_arc_between_the_ends(
    latents: tuple[Tensor, Tensor, Tensor],
) -> None:
    """An identity generator moves along a great circle of radius sqrt(Z) at a constant speed."""
    a, b, t = latents

    def chord(both: Tensor) -> Tensor:
        x, y = both.chunk(2)
        return (x - y).square().sum(1)

    found = ppl.path_lengths(a, b, t, ppl.slerp, chord)
    cosine = torch.nn.functional.cosine_similarity(a, b)
    torch.testing.assert_close(found, WIDTH * cosine.acos() ** 2, rtol=1e-6, atol=0)


def test_slerp_goes_from_one_end_to_the_other_on_the_sphere(
    latents: tuple[Tensor, Tensor, Tensor],
) -> None:
    a, b, _ = latents
    radius = WIDTH**0.5
    for t, end in ((0.0, a), (1.0, b)):
        point = ppl.slerp(a, b, torch.full((N, 1), t, dtype=a.dtype))
        torch.testing.assert_close(point, end / end.norm(dim=1, keepdim=True) * radius)
    middle = ppl.slerp(a, b, torch.full((N, 1), 0.5, dtype=a.dtype))
    torch.testing.assert_close(middle.norm(dim=1), torch.full((N,), radius, dtype=a.dtype))


def test_the_mean_leaves_out_the_outermost_percents() -> None:
    lengths = torch.cat([torch.ones(198), torch.tensor([1e9, -1e9])]).double()
    assert ppl.mean_within(lengths) == 1.0
    assert math.isnan(ppl.mean_within(torch.zeros(0)))


def test_lpips_is_the_squared_distance_in_the_given_space() -> None:
    a, b = torch.rand(2, 3, 3, 32, 32).double()
    expected = (a - b).square().sum((1, 2, 3))
    torch.testing.assert_close(lpips.distance(a, b, pixels), expected)
    assert not lpips.distance(a, a, pixels).any()


def test_lpips_averages_large_images_and_enlarges_small_ones() -> None:
    grey = torch.rand(2, 1, 8, 8)
    seen = []
    lpips.distance(grey, grey, lambda x: seen.append(x) or x.flatten(1))  # type: ignore[func-returns-value]
    assert seen[0].shape == (2, 3, 32, 32)
    large = torch.rand(1, 3, 512, 512)
    lpips.distance(large, large, lambda x: seen.append(x) or x.flatten(1))  # type: ignore[func-returns-value]
    torch.testing.assert_close(seen[-1], torch.nn.functional.avg_pool2d(large, 2))
