"""The shuffle: every image once an epoch, a pure function of the position."""

import numpy as np
import pytest

from pipeline.data.format.types import Ints
from pipeline.data.loader.shuffle import Shuffle, flips
from stylealae.errors import DataError
from tests.reference import shuffle as reference

SHARDS = [40, 7, 0, 33, 20, 1, 60]
TOTAL = sum(SHARDS)


def order(seed: int = 3, shuffle_img: int = 64) -> Shuffle:
    return Shuffle(SHARDS, seed, shuffle_img)


@pytest.mark.parametrize("shuffle_img", [0, 1, 64, 130, 10_000])
@pytest.mark.parametrize(
    "shards", [SHARDS, [1], [5], [0, 3], [1, 1], [4, 4, 4], [100, 1], [7] * 50, [50] * 7 + [3]]
)
def test_every_sample_once_an_epoch(shards: list[int], shuffle_img: int) -> None:
    total = sum(shards)
    for seed in range(5):
        epochs, ids = Shuffle(shards, seed, shuffle_img).at(np.arange(3 * total))
        assert (epochs == np.repeat([0, 1, 2], total)).all()
        for epoch in ids.reshape(3, total):
            assert (np.sort(epoch) == np.arange(total)).all()


@pytest.mark.parametrize("shuffle_img", [0, 5, 16, 64, 1000])
@pytest.mark.parametrize("seed", [0, 7, -1, 2**40])
def test_the_arithmetic_equals_the_listing_of_the_reference(seed: int, shuffle_img: int) -> None:
    """Every number of samples up to 60, in shards of many lengths."""
    draw = np.random.default_rng(abs(seed) + shuffle_img)
    for total in (*range(1, 61), 200, 333):
        cuts = np.sort(draw.integers(0, total + 1, draw.integers(0, 9)))
        shards = np.diff([0, *cuts, total]).tolist()
        epochs, ids = Shuffle(shards, seed, shuffle_img).at(np.arange(2 * total))
        listed = [i for e in (0, 1) for i in reference.order_of(shards, seed, shuffle_img, e)]
        assert ids.tolist() == listed, shards
        mirrored = [reference.is_flipped(seed, i, k // total) for k, i in enumerate(listed)]
        assert flips(seed, ids, epochs).tolist() == mirrored


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
    for shards, touched in (([10] * 100, 4), ([10] * 97 + [9, 8, 10], 8)):
        _, ids = Shuffle(shards, seed=0, shuffle_img=40).at(np.arange(sum(shards)))
        shard = np.searchsorted(np.cumsum(shards), ids, side="right")
        for window in np.split(shard, range(40, len(ids), 40)):
            assert len(np.unique(window)) <= touched
    assert not (np.diff(ids) == 1).all()


def test_a_position_in_a_hundred_million_costs_nothing() -> None:
    counts = np.full(100_000, 1000)
    huge = Shuffle(counts, seed=0, shuffle_img=16_384)
    positions = np.random.default_rng(0).integers(0, 5 * huge.samples, 4096)
    epochs, ids = huge.at(positions)
    assert (epochs == positions // huge.samples).all()
    assert len(np.unique(ids)) > 4090
    assert (ids >= 0).all()
    assert (ids < huge.samples).all()
    held = sum(np.asarray(value).nbytes for value in vars(huge).values())
    assert held < 1000  # bytes


def quality(ids: Ints) -> tuple[float, float]:
    """[N] an epoch -> mean displacement (1 for a full shuffle), pairs that stay neighbours."""
    n = len(ids)
    displacement = np.abs(ids - np.arange(n)).mean() / (n / 3)
    return displacement, float((np.abs(np.diff(ids)) == 1).mean())


def test_the_shuffle_is_nearly_as_good_as_a_full_one() -> None:
    """Half of the pairs that stay neighbours are those of a window; a full shuffle has 2 / N."""
    shuffled = Shuffle([1000] * 60, seed=1, shuffle_img=16_384)
    full = quality(np.random.default_rng(0).permutation(shuffled.samples))
    _, ids = shuffled.at(np.arange(8 * shuffled.samples))
    for epoch in ids.reshape(8, -1):
        displacement, pairs = quality(epoch)
        print(f"displacement {displacement:.3f} (full {full[0]:.3f}), pairs {pairs:.1e}")
        assert 0.8 < displacement < 1.2
        assert pairs < 4 / 16_000
    first, second = ids.reshape(8, -1)[:2]
    place = np.empty_like(first)
    place[first] = np.arange(len(first))
    assert quality(place[second])[1] < 4 / 16_000  # an epoch against the one before


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_small_permutations_are_fair(n: int) -> None:
    """Every image of n, one a shard, comes first equally often."""
    first = [Shuffle([1] * n, seed, 1).at(np.array([0]))[1][0] for seed in range(2000)]
    counts = np.bincount(first, minlength=n)
    assert (np.abs(counts - 2000 / n) < 6 * np.sqrt(2000 / n)).all()


def test_the_order_never_changes_between_versions() -> None:
    """A change here would change every run that is resumed."""
    first, second = reference.splitmix64(0), reference.splitmix64(0x9E3779B97F4A7C15)
    assert (first, second) == (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)  # the published sequence
    _, ids = Shuffle([5, 5], seed=0, shuffle_img=10).at(np.arange(10))
    assert ids.tolist() == [4, 8, 9, 7, 2, 3, 1, 5, 6, 0]
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
        Shuffle([0, 0], 0, 1)
