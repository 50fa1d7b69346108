"""The sections of the IntroVAE."""

from dataclasses import dataclass

from stylealae.families.common.config import ReconstructionLossConfig
from stylealae.families.sections import Sections
from stylealae.families.vae.config import VaeModelConfig

__all__ = ["SECTIONS", "IntroLossConfig"]


@dataclass(frozen=True, kw_only=True)
class IntroLossConfig(ReconstructionLossConfig):
    """A VAE's bound, and the game on its second term."""

    game_weight: float = 0.25
    """Weight of the game, alpha of the paper."""
    margin: float = 30.0
    """Nats from the prior beyond which E pushes no generated image further: somewhat more than
    those of real images."""


SECTIONS = Sections(VaeModelConfig, IntroLossConfig)
