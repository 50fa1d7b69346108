"""How many workers a stage may have: a number, or from..to of which it takes what divides.

The global batch, the order of the images and the schedule do not depend on the number of workers,
so a stage may go on with another one at any checkpoint.
"""

from stylealae.errors import ConfigError

__all__ = ["allowed", "bounds"]


def bounds(entry: int | str) -> tuple[int, int]:
    """The least and the most of an entry of cluster.workers: 8, or "2..8".

    Raises:
        ConfigError: it is neither.
    """
    least, dots, most = str(entry).partition("..")
    if least.isdecimal() and (most.isdecimal() if dots else True):
        low, high = int(least), int(most or least)
        if 1 <= low <= high:
            return low, high
    raise ConfigError(
        f"cluster.workers has {entry!r}: give a stage a number of at least 1, or from..to, as in "
        "cluster.workers=[8] and cluster.workers=[2..8]"
    )


def allowed(entry: int | str, *, batch: int, micro_batch: int) -> tuple[int, ...]:
    """The numbers of workers that share a batch evenly, the least first; none if none does."""
    low, high = bounds(entry)
    return tuple(n for n in range(low, high + 1) if _even(batch, n, micro_batch))


def _even(batch: int, ranks: int, micro_batch: int) -> bool:
    share, rest = divmod(batch, ranks)
    return not rest and (not micro_batch or share <= micro_batch or share % micro_batch == 0)
