"""A line of progress, as it goes from the trainer to whoever shows it.

Apart from the log that makes it, so that what only passes it on loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BY_HEART", "READINGS", "ProgressUpdate", "announced", "by_heart"]

READINGS = 5
"""What is said of the critic goes by the mean of so many readings."""
BY_HEART = 0.5
"""A critic whose mean signs of training and held-out images are further apart knows the former."""


def by_heart(apart: float) -> str:
    """What is said of a run whose critic's mean signs are so far apart; empty if all is well."""
    if apart <= BY_HEART:
        return ""
    return (
        f"the critic learns the training images by heart: the mean sign of D(E(x)) is {apart:.2f} "
        "higher on them than on held-out ones. More images help, or augment.mode=adaptive, or "
        "weights that exist (init.from)"
    )


def announced(post_training: Mapping[str, int]) -> str:
    """What is done after training to networks, by their letters; empty if nothing is."""
    sentences = {
        "F": "F is fitted to at most {:,} images",
        "EG": "E and G learn to recover F's styles, for {:,} images",
    }
    work = [sentences[networks].format(count) for networks, count in post_training.items()]
    return f"now {', and '.join(work)}" if work else ""


@dataclass(frozen=True, kw_only=True)
class ProgressUpdate:
    """One line of progress, for whoever shows it."""

    resolution: int
    alpha: float
    seen: int
    """Real images shown so far in the whole run."""
    stage_first: int
    """Images after which this stage began."""
    stage_end: int
    """Images after which this stage ends."""
    total: int
    """Images of the whole run."""
    img_per_s: float
    losses: Mapping[str, float]
    apart: float = 0.0
    """How much higher the critic's mean sign is on training images than on held-out ones."""
    then: str = ""
    """What is done now that the last image was shown, if that takes a while."""
