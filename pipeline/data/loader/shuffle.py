"""Which image stands at which position: a pure function of (shard sizes, seed, position).

Position p is the number of images shown before: it lies in epoch p // N. In each epoch runs of
consecutive images, as long as the largest shard, are permuted; consecutive permuted runs form
windows of about `shuffle_img` images, and the images of a window are permuted. So reads stay within
a few shards, resuming needs no state but p, and no position costs memory: both permutations are
ciphers over 0 ... n-1, computed at the place that is asked for.

tests/reference/shuffle.py says the same slowly, by listing an epoch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.data.format.types import Ints
from stylealae.errors import DataError

__all__ = ["Shuffle", "flips"]

Words = NDArray[np.uint64]

_RUNS, _WINDOW, _FLIP, _LAST = 1, 2, 3, 4  # purposes: keep the kinds of draw apart
ROUNDS = 6


class Shuffle:
    """The order in which a split is shown; a sample's id is its place in manifest order."""

    def __init__(self, shard_samples: Sequence[int] | Ints, seed: int, shuffle_img: int) -> None:
        """Shuffle the samples of shards that hold `shard_samples` images each."""
        self.samples = int(np.sum(shard_samples))
        if self.samples == 0:
            raise DataError("there are no images to order: choose a split that holds some")
        self.seed = seed
        self._run = int(np.max(shard_samples))
        self._runs = -(-self.samples // self._run)
        self._short = self._runs * self._run - self.samples  # what the last run lacks
        self._wide = max(1, shuffle_img // self._run)  # runs in a window

    def at(self, positions: Ints) -> tuple[Ints, Ints]:
        """[n] positions (images seen before) -> [n] epochs, [n] sample ids."""
        epochs, place = np.divmod(np.asarray(positions, dtype=np.int64), self.samples)
        run, wide, short = self._run, self._wide, self._short
        # Runs stand in slots. The last run, which may be short, gets a slot of its own draw, so
        # that every slot's first place is known without listing the others.
        last = _below(self._runs, _hashed(_LAST, self.seed, epochs))
        window = (place + short * (place >= (last + 1) * run - short)) // (run * wide)
        slot = window * wide  # the window's first
        size = np.minimum(wide, self._runs - slot) * run
        size -= short * ((slot <= last) & (last < slot + wide))
        place -= slot * run - short * (slot > last)
        place = _permuted(place, size, _hashed(_WINDOW, self.seed, epochs, window))
        place += slot * run
        place += short * ((slot <= last) & (place >= (last + 1) * run - short))
        slot, offset = np.divmod(place, run)
        others = np.full_like(slot, max(1, self._runs - 1))
        chosen = _permuted(
            np.minimum(slot - (slot > last), others - 1), others, _hashed(_RUNS, self.seed, epochs)
        )
        return epochs, np.where(slot == last, self._runs - 1, chosen) * run + offset


def flips(seed: int, sample_ids: Ints, epochs: Ints) -> NDArray[np.bool_]:
    """[n], [n] -> [n]: whether each sample is mirrored in that epoch, with probability one half."""
    return (_hashed(_FLIP, seed, epochs, sample_ids) >> np.uint64(63)).astype(np.bool_)


def _permuted(x: Ints, n: Ints, key: Words) -> Ints:
    """[k] places below [k] n -> [k] places: for each key another permutation of 0 ... n-1.

    A Feistel network over a x b >= n numbers, walked until it lands below n (Black and Rogaway,
    "Ciphers with arbitrary finite domains", 2002).
    """
    a = np.ceil(np.sqrt(n)).astype(np.int64)
    b = -(-n // a)
    left, right = np.divmod(x, b)
    for i in range(ROUNDS):
        if i % 2:
            right += _below(b, _splitmix64(key + np.uint64(i) ^ left.view(np.uint64)))
            right -= b * (right >= b)
        else:
            left += _below(a, _splitmix64(key + np.uint64(i) ^ right.view(np.uint64)))
            left -= a * (left >= a)
    found: Ints = left * b + right
    outside = np.flatnonzero(found >= n)
    if len(outside):
        found[outside] = _permuted(found[outside], n[outside], key[outside])
    return found


def _below(n: Ints | int, words: Words) -> Ints:
    """Well-mixed bits -> numbers below n < 2^31, without a division."""
    scaled = (words >> np.uint64(32)) * np.asarray(n).astype(np.uint64) >> np.uint64(32)
    return scaled.astype(np.int64)


def _hashed(*parts: Ints | int) -> Words:
    """Integers or arrays of them, broadcast together -> 64 well-mixed bits each."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        number = part & (2**64 - 1) if isinstance(part, int) else np.asarray(part).astype(np.uint64)
        state = _splitmix64(state ^ np.asarray(number, dtype=np.uint64))
    return state


def _splitmix64(x: Words) -> Words:
    # Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014); wraps at 2^64.
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
