"""The order: every image once an epoch, a pure function of the position."""

import numpy as np
import pytest

from pipeline.data.order import Order, _splitmix64, flips
from stylealae.errors import DataError

SHARDS = [40, 7, 0, 33, 20, 1, 60]
TOTAL = sum(SHARDS)


def order(seed: int = 3, shuffle_img: int = 64) -> Order:
    return Order(SHARDS, seed, shuffle_img)


@pytest.mark.parametrize("shuffle_img", [0, 1, 64, 10_000])
def test_every_sample_once_an_epoch(shuffle_img: int) -> None:
    epochs, ids = order(shuffle_img=shuffle_img).at(np.arange(3 * TOTAL))
    assert (epochs == np.repeat([0, 1, 2], TOTAL)).all()
    for epoch in ids.reshape(3, TOTAL):
        assert (np.sort(epoch) == np.arange(TOTAL)).all()


def test_epochs_and_seeds_differ() -> None:
    _, ids = order().at(np.arange(2 * TOTAL))
    _, other = order(seed=4).at(np.arange(TOTAL))
    assert (ids[:TOTAL] != ids[TOTAL:]).mean() > 0.9
    assert (ids[:TOTAL] != other).mean() > 0.9


def test_any_slice_equals_the_listing() -> None:
    _, whole = order().at(np.arange(4 * TOTAL))
    positions = np.random.default_rng(0).permutation(4 * TOTAL)
    asked = order()
    for part in np.array_split(positions, 50):
        assert (asked.at(part)[1] == whole[part]).all()


def test_reads_stay_within_a_window_of_shards() -> None:
    many = Order([10] * 100, seed=0, shuffle_img=40)
    _, ids = many.at(np.arange(1000))
    for window in ids.reshape(25, 40):
        assert len(np.unique(window // 10)) == 4
        assert (np.diff(window) != 1).any()


def test_the_order_never_changes_between_versions() -> None:
    """A change here would change every run that is resumed."""
    first, second = _splitmix64(np.array([0, 0x9E3779B97F4A7C15], np.uint64)).tolist()
    assert (first, second) == (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)  # the published sequence
    _, ids = Order([5, 5], seed=0, shuffle_img=10).at(np.arange(10))
    assert ids.tolist() == [9, 0, 5, 2, 4, 8, 3, 7, 1, 6]
    mirrored = flips(0, np.arange(8), np.zeros(8, np.int64))
    assert mirrored.tolist() == [True, False, False, True, False, True, True, True]


def test_flips_are_fair_and_differ_between_epochs() -> None:
    ids = np.arange(20_000)
    first, second = (flips(1, ids, np.full_like(ids, epoch)) for epoch in (0, 1))
    assert abs(first.mean() - 0.5) < 0.02
    assert abs((first != second).mean() - 0.5) < 0.02


def test_negative_seeds_are_seeds() -> None:
    _, ids = order(seed=-1).at(np.arange(TOTAL))
    assert (np.sort(ids) == np.arange(TOTAL)).all()


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        Order([0, 0], 0, 1)
