"""Algorithm 1 with a critic of its own: E is trained by reciprocity alone."""

from dataclasses import replace

from stylealae.config import AlaeLossConfig
from stylealae.phases import AlaePhase, phases_of

__all__ = ["separate_phases"]


def separate_phases(cfg: AlaeLossConfig, iteration: int = 0) -> tuple[AlaePhase, ...]:
    """StyleALAE's phases, of which the first trains D and C in the place of D and E."""
    critic, *rest = phases_of(cfg, iteration)
    return replace(critic, trains="DC"), *rest
