"""Planes in latent space: perfect where an attribute is linear, useless where it is none."""

import math

import numpy as np
import pytest

from stylealae.errors import ConfigError
from stylealae.metrics import separability as planes

pytest.importorskip("sklearn")

SOURCE = np.random.default_rng(0)
X = SOURCE.normal(size=(800, 5))
LINEAR = X @ [1.0, -2.0, 0.5, 0.0, 1.0] > 0.3
RING = (X**2).sum(1) > 4.35  # about half of them: no plane tells
COIN = SOURCE.random(800) > 0.5


def test_conditional_entropy_is_the_textbooks() -> None:
    x, y = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1, 1])
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert planes.conditional_entropy(x, y) == pytest.approx(quarter / 2)
    assert planes.conditional_entropy(y, y) == 0.0
    assert planes.conditional_entropy(np.zeros(8), y) == pytest.approx(
        -(3 / 8 * math.log2(3 / 8) + 5 / 8 * math.log2(5 / 8))
    )


def test_a_linear_attribute_is_separable_and_others_are_not() -> None:
    assert planes.separability(X, LINEAR) < 0.05
    assert planes.held_out_accuracy(X, LINEAR) > 0.97
    for has in (RING, COIN):
        assert planes.separability(X, has) > 0.9
        assert planes.held_out_accuracy(X, has) < 0.65


def test_the_held_out_samples_do_not_depend_on_sorted_data() -> None:
    order = np.argsort(LINEAR, kind="stable")
    assert planes.held_out_accuracy(X[order], LINEAR[order]) > 0.97


def test_a_predictor_says_how_good_it_is_and_the_surest_half_is_kept() -> None:
    logits_of, accuracy = planes.predictor(X, LINEAR)
    assert accuracy > 0.97
    logits = logits_of(X)
    assert ((logits > 0) == LINEAR).mean() > 0.97
    sure = planes.most_certain(logits)
    assert len(sure) == 400
    assert np.abs(logits[sure]).min() >= np.delete(np.abs(logits), sure).max()
    assert planes.predictor(X, COIN)[1] < 0.65


def test_a_label_is_cut_between_two_values_or_at_the_median() -> None:
    two = np.array([0.0] * 30 + [1.0] * 10 + [np.nan] * 5)
    known, has = planes.binary(two, "glasses")
    assert known.sum() == 40
    assert has.sum() == 10
    known, has = planes.binary(np.linspace(0, 1, 100), "smile")
    assert known.all()
    assert has.sum() == 50


def test_one_class_alone_is_refused_as_a_label_and_not_a_number_as_a_result() -> None:
    with pytest.raises(ConfigError, match="only 2 of 40 images have another 'hat'"):
        planes.binary(np.array([0.0] * 38 + [1.0] * 2), "hat")
    assert math.isnan(planes.separability(X, np.zeros(800, bool)))
    assert math.isnan(planes.held_out_accuracy(X, np.ones(800, bool)))
