"""The sections of the dimensionality-reducing AAE."""

from dataclasses import dataclass

from stylealae.families.aae_classes.config import ClassCriticModelConfig, ClassLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "HeadsLossConfig"]


@dataclass(frozen=True, kw_only=True)
class HeadsLossConfig(ClassLossConfig):
    """As `ClassLossConfig`, with a head in the plane for every class."""

    heads_apart: float = 1.0
    """Cluster heads closer to each other than this are pushed apart."""
    heads_weight: float = 1.0
    """Weight of that push in the reconstruction loss."""


SECTIONS = Sections(ClassCriticModelConfig, HeadsLossConfig)
