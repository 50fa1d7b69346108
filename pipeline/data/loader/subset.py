"""Which images of a split are shown, and whose label counts.

The first images of every class count: the same ones at any seed, resolution and world size, found
by reading labels from the front until every class has its share.
"""

from collections.abc import Callable

import numpy as np

from pipeline.config.sections import DataConfig
from pipeline.data.format.types import Floats, Ints
from stylealae.errors import DataError

__all__ = ["first_of_each", "without_last"]

SCAN_IMG = 1024  # labels read at a time


def without_last(shard_samples: Ints, n: int) -> Ints:
    """[shards] samples of every shard -> the same without the last n of all."""
    ends = np.minimum(np.cumsum(shard_samples), np.sum(shard_samples) - n)
    kept: Ints = np.diff(np.maximum(ends, 0), prepend=0)
    return kept[kept > 0]


def first_of_each(values_of: Callable[[Ints], Floats], samples: int, cfg: DataConfig) -> Ints:
    """Sample ids of the `labelled_img` whose label counts, in order; none if all of them do.

    `values_of` reads the labels of some samples.

    Raises:
        DataError: among the first `samples` images a class has too few.
    """
    if not cfg.labelled_img:
        return np.empty(0, np.int64)
    share = cfg.labelled_img // cfg.classes
    found = np.zeros(cfg.classes, np.int64)
    chosen: list[Ints] = []
    for begin in range(0, samples, SCAN_IMG):
        ids = np.arange(begin, min(begin + SCAN_IMG, samples))
        values = values_of(ids)
        for label in range(cfg.classes):
            new = ids[values == label][: share - found[label]]
            found[label] += len(new)
            chosen.append(new)
        if (found == share).all():
            return np.sort(np.concatenate(chosen))
    short = ", ".join(str(label) for label in np.flatnonzero(found < share))
    raise DataError(
        f"data.labelled_img={cfg.labelled_img} wants {share} images of each of {cfg.classes} "
        f"classes, and {samples:,} images have fewer of the class {short} of {cfg.label!r}: lower "
        "it, or correct data.classes"
    )
