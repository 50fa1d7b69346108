"""A line of progress, as it goes from the trainer to whoever shows it.

Apart from the log that makes it, so that what only passes it on loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MEMORIZED_GAP", "READINGS", "ProgressUpdate", "announced", "memorization_warning"]

READINGS = 5
"""Measurements of the critic that a warning goes by: their mean."""
MEMORIZED_GAP = 0.5
"""A critic whose mean sign is so much higher on training images has memorized them."""


def memorization_warning(sign_gap: float) -> str:
    """The warning of a critic whose mean sign is so much higher on training images; else empty."""
    if sign_gap <= MEMORIZED_GAP:
        return ""
    return (
        "the critic learns the training images by heart: the mean sign of D(E(x)) is "
        f"{sign_gap:.2f} higher on them than on held-out ones. More images help, or "
        "augment.mode=adaptive, or weights that exist (init.from)"
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
    sign_gap: float = 0.0
    """How much higher the critic's mean sign is on training images than on held-out ones."""
    then: str = ""
    """What is done now that the last image was shown, if that takes a while."""
