"""Scores of disentanglement against closed forms: factorial designs, rotations, known noise."""

import itertools
import math

import numpy as np
import pytest

from stylealae.metrics.disentanglement import (
    dci,
    dci_of,
    factor_vae_score,
    levels,
    mig,
    sap,
)

GRID = np.array(list(itertools.product(range(4), repeat=3)) * 12, dtype=np.float64)
"""Every combination of three factors of four values, equally often: [768, 3]."""
TURN = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, math.sqrt(2.0)]])


@pytest.mark.parametrize("score", [mig, sap])
def test_a_number_a_factor_is_perfect_and_copies_leave_no_gap(score) -> None:
    shuffled = GRID[:, [2, 0, 1]] * [-3.0, 1.0, 0.1]
    assert score(shuffled, GRID) == pytest.approx(1.0)
    assert score(np.hstack([shuffled, np.zeros((768, 1))]), GRID) == pytest.approx(1.0)
    doubled = np.hstack([GRID, GRID[:, :1]])
    assert score(doubled, GRID) == pytest.approx(2 / 3)
    assert score(np.hstack([GRID, GRID]), GRID) == pytest.approx(0.0, abs=1e-12)


def test_mig_is_in_shares_of_the_factors_entropy() -> None:
    halves = GRID // 2  # one bit of two
    assert mig(halves, GRID) == pytest.approx(0.5)
    assert mig(halves[:, :1], GRID) == pytest.approx(0.5 / 3)
    also = np.hstack([GRID, halves])  # the next best tells half
    assert mig(also, GRID) == pytest.approx(0.5)


def test_sap_is_the_gap_of_squared_correlations() -> None:
    assert sap(GRID @ TURN.T, GRID) == pytest.approx((0.0 + 0.0 + 1.0) / 3)  # 1/2 - 1/2, 1 - 0
    source = np.random.default_rng(0)
    factor = source.normal(size=(50_000, 1))
    noisy = factor + 2.0 * source.normal(size=(50_000, 1))
    assert sap(noisy, factor) == pytest.approx(1 / (1 + 4), abs=0.01)


def test_dci_of_a_matrix_of_importance() -> None:
    assert dci_of(np.eye(3)) == pytest.approx((1.0, 1.0))
    assert dci_of(np.ones((4, 3))) == pytest.approx((0.0, 0.0))
    bits = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert dci_of(np.array([[3.0, 1.0], [1.0, 3.0]])) == pytest.approx((1 - bits, 1 - bits))
    # Two numbers serve the first factor alone and equally, and one is dead.
    apart, whole = dci_of(np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert apart == pytest.approx(1.0)
    assert whole == pytest.approx((0.5 + 1.0) / 2)  # one bit of two, and none
    heavy = dci_of(np.array([[8.0, 0.0], [1.0, 1.0]]))[0]
    assert heavy == pytest.approx(0.8)  # weighted by 8 and 2


def test_dci_of_codes() -> None:
    straight = dci(GRID[:, [1, 2, 0]], GRID)
    assert [*straight] == pytest.approx([1.0, 1.0, 1.0], abs=1e-3)
    turned = dci(GRID[:, :2] @ TURN[:2, :2].T, GRID[:, :2])
    assert turned.disentanglement < 0.1
    assert turned.completeness < 0.1
    assert turned.informativeness > 0.9
    noise = np.random.default_rng(0).normal(size=(768, 3))
    assert dci(noise, GRID).informativeness == pytest.approx(0.0, abs=0.02)


def test_the_factor_vae_score_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylealae.metrics.disentanglement.VOTES", 600)
    monkeypatch.setattr("stylealae.metrics.disentanglement.TEST_VOTES", 600)
    assert factor_vae_score(GRID * [1.0, 9.0, 0.6], GRID) == 1.0
    dead = np.hstack([GRID, np.full((768, 1), 1e-3) * GRID[:, :1]])
    assert factor_vae_score(dead, GRID) == 1.0  # though it varies least of all
    noise = np.random.default_rng(0).normal(size=(768, 3))
    assert factor_vae_score(noise, GRID) == pytest.approx(1 / 3, abs=0.08)
    merged = GRID[:, [0, 0, 2]]  # of the second factor nothing is known
    assert factor_vae_score(merged, GRID) == pytest.approx(2 / 3, abs=0.12)
    assert factor_vae_score(np.zeros_like(GRID), GRID) == 0.0


def test_levels_are_values_or_ranges_of_equal_count() -> None:
    assert levels(np.array([5.0, -1.0, 5.0, 2.0])).tolist() == [2, 0, 2, 1]
    uniform = np.random.default_rng(0).random(1000)
    assert np.bincount(levels(uniform)).tolist() == [100] * 10
    mostly_none = np.where(uniform < 0.7, 0.0, uniform)
    found = np.bincount(levels(mostly_none))
    assert found[0] == (uniform < 0.7).sum()
    assert found.min() > 0
