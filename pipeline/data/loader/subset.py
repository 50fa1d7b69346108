"""Which images of a split are shown, whose label counts, and whether a class is among theirs.

The first images of every class count: the same ones at any seed, resolution and world size, found
by reading labels from the front until every class has its share.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np

from pipeline.config.sections import DataConfig
from pipeline.data.format.labels import is_class, written
from pipeline.data.format.types import Floats, Ints, Label
from stylealae.errors import DataError

__all__ = ["first_of_each", "require_class", "without_last"]

SCAN_IMG = 1024  # labels read at a time
NAMED = 5  # classes of a label in a message


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


def require_class(
    labels_of: Callable[[Ints], Sequence[Label]], name: str, samples: int, cfg: DataConfig
) -> None:
    """Refuses a class of `data.label` that none of the first `samples` images has; "" is none.

    `labels_of` reads the labels of some samples, from the front until one is of the class: all are
    read of one that is misspelt, or of whose images the split ends with.

    Raises:
        DataError: no image has it.
    """
    if not name:
        return
    met: dict[str, None] = {}
    for begin in range(0, samples, SCAN_IMG):
        values = labels_of(np.arange(begin, min(begin + SCAN_IMG, samples)))
        if any(is_class(value, name) for value in values):
            return
        known = (value for value in values if value is not None)
        met |= dict.fromkeys(v if isinstance(v, str) else written(float(v)) for v in known)
    likely = get_close_matches(name, met, NAMED) or list(met)[:NAMED]
    others = f"they have values such as {', '.join(likely)}" if met else "they have no values of it"
    raise DataError(
        f"data.label is {cfg.label}, and none of {samples:,} images is {name!r} there: {others}; "
        "correct data.label"
    )
