"""Precision, recall, density and coverage against the papers' definitions, pair by pair."""

import numpy as np
import pytest
import torch

from stylealae.metrics import precision_recall
from stylealae.metrics.precision_recall import density_coverage
from stylealae.metrics.precision_recall import precision_recall as pr


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clouds that overlap, of unequal size, far from the origin."""
    source = torch.Generator().manual_seed(0)
    real = torch.randn(70, 6, generator=source) + 100
    return real, torch.randn(50, 6, generator=source) * 0.8 + 100.4


def brute(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """The four numbers by nothing but distances of pairs."""

    def reach(x: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(x - a, axis=1))[k] for a in x]  # [0] is itself

    r, f = reach(real), reach(fake)
    holds = [[np.linalg.norm(x - c) <= reach for c, reach in zip(real, r, strict=True)]
             for x in fake]  # fmt: skip
    held = [any(np.linalg.norm(x - c) <= reach for c, reach in zip(fake, f, strict=True))
            for x in real]  # fmt: skip
    precision, recall = np.mean([any(row) for row in holds]), np.mean(held)
    return (
        float(precision),
        float(recall),
        float(np.sum(holds) / (k * len(fake))),
        float(np.mean(np.any(holds, axis=0))),
    )


@pytest.mark.parametrize("chunk", [1024, 16])
def test_they_are_what_the_papers_define(
    sets: tuple[torch.Tensor, torch.Tensor], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_recall, "CHUNK", chunk)
    real, fake = sets
    expected = brute(real.double().numpy(), fake.double().numpy(), 4)
    assert (*pr(real, fake, 4), *density_coverage(real, fake, 4)) == pytest.approx(expected)


def test_a_set_holds_itself_and_none_that_is_far_away(
    sets: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, _ = sets
    assert pr(real, real.clone()) == (1.0, 1.0)
    assert density_coverage(real, real.clone())[1] == 1.0
    assert pr(real, real + 1000) == density_coverage(real, real + 1000) == (0.0, 0.0)
