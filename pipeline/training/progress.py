"""A line of progress, as it goes from the trainer to whoever shows it.

Apart from the log that makes it, so that what only passes it on loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ProgressUpdate"]


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
