"""Which image stands at which position: a pure function of (shard sizes, seed, position).

Position p is the number of images shown before: it lies in epoch p // N. In each epoch the shards
are permuted, consecutive permuted shards form windows of about `shuffle_img` images, and the images
of a window are permuted; so reads stay within a few shards, and resuming needs no state but p.

Every draw is a sort of hashed numbers, so the order does not depend on the version of numpy.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylealae.errors import DataError

__all__ = ["Order", "flips"]

Ints = NDArray[np.int64]

_SHARDS, _WINDOW, _FLIP = 1, 2, 3  # purposes: keep the three kinds of draw apart


class Order:
    """The order in which a split is shown; a sample's id is its place in manifest order."""

    def __init__(self, shard_samples: Sequence[int], seed: int, shuffle_img: int) -> None:
        """Order the samples of shards that hold `shard_samples` images each."""
        self.counts: Ints = np.asarray(shard_samples, dtype=np.int64)
        self.samples = int(self.counts.sum())
        if self.samples == 0:
            raise DataError("there are no images to order: choose a split that holds some")
        self.seed, self.shuffle_img = seed, shuffle_img
        self._first: Ints = np.cumsum(self.counts) - self.counts  # id of each shard's first sample
        self._epoch = lru_cache(maxsize=2)(self._plan_epoch)
        self._window = lru_cache(maxsize=4)(self._permute_window)

    def at(self, positions: Ints) -> tuple[Ints, Ints]:
        """[n] positions (images seen before) -> [n] epochs, [n] sample ids."""
        epochs, inside = np.divmod(np.asarray(positions, dtype=np.int64), self.samples)
        ids = np.empty_like(inside)
        for epoch in np.unique(epochs):
            here = np.flatnonzero(epochs == epoch)
            _, starts = self._epoch(int(epoch))
            windows = np.searchsorted(starts, inside[here], side="right") - 1
            for window in np.unique(windows):
                part = here[windows == window]
                ids[part] = self._window(int(epoch), int(window))[inside[part] - starts[window]]
        return epochs, ids

    def _plan_epoch(self, epoch: int) -> tuple[list[Ints], Ints]:
        """The epoch's windows: the shards of each, and the place in the epoch where it begins."""
        shards = _permutation(len(self.counts), _SHARDS, self.seed, epoch)
        shards = shards[self.counts[shards] > 0]
        ends = np.cumsum(self.counts[shards])
        windows, starts, begin = [], [0], 0
        while begin < len(shards):
            full = int(np.searchsorted(ends, starts[-1] + self.shuffle_img, side="right"))
            end = max(begin + 1, full)  # whole shards, as many as fit, at least one
            windows.append(shards[begin:end])
            starts.append(int(ends[end - 1]))
            begin = end
        return windows, np.asarray(starts[:-1], dtype=np.int64)

    def _permute_window(self, epoch: int, window: int) -> Ints:
        """[samples of the window] ids in the order in which they are shown."""
        shards = self._epoch(epoch)[0][window]
        ids = np.concatenate(
            [np.arange(self.counts[s], dtype=np.int64) + self._first[s] for s in shards]
        )
        return ids[_permutation(len(ids), _WINDOW, self.seed, epoch, window)]


def flips(seed: int, sample_ids: Ints, epochs: Ints) -> NDArray[np.bool_]:
    """[n], [n] -> [n]: whether each sample is mirrored in that epoch, with probability one half."""
    return (_hashed(_FLIP, seed, epochs, sample_ids) >> np.uint64(63)).astype(np.bool_)


def _permutation(n: int, *key: int) -> Ints:
    """A permutation of 0 ... n-1 that is a function of `key` alone."""
    order = np.argsort(_hashed(*key, np.arange(n)), kind="stable")
    return order.astype(np.int64, copy=False)


def _hashed(*parts: Any) -> NDArray[np.uint64]:
    """Integers or arrays of them, broadcast together -> 64 well-mixed bits each."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        number = part & (2**64 - 1) if isinstance(part, int) else np.asarray(part).astype(np.uint64)
        state = _splitmix64(state ^ np.asarray(number, dtype=np.uint64))
    return state


def _splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014); wraps at 2^64.
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
