"""The sections of the VAE/GAN."""

from dataclasses import dataclass

from stylealae.families.gan.config import GanLossConfig
from stylealae.families.sections import Sections
from stylealae.families.vae.config import JudgedVaeModelConfig

__all__ = ["SECTIONS", "VaeGanLossConfig"]


@dataclass(frozen=True, kw_only=True)
class VaeGanLossConfig(GanLossConfig):
    """A GAN's losses, and a reconstruction error in D's features."""

    kl_weight: float = 1.0
    """Weight of the divergence of codes from the prior, of E."""
    feature_weight: float = 1.0
    """Weight of the reconstruction error, of E."""
    style_weight: float = 0.1
    """The same of G, beside D's judgement: gamma of the paper."""
    critic_rate: float = 1.0
    """Discriminator's learning rate, as a factor on `schedule.lr`."""


SECTIONS = Sections(JudgedVaeModelConfig, VaeGanLossConfig)
