"""The sections of the GAN."""

from dataclasses import dataclass

from stylealae.config import TermsConfig
from stylealae.errors import ConfigError
from stylealae.families.common.config import CriticModelConfig, PriorModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "GanLossConfig", "GanModelConfig"]


@dataclass(frozen=True, kw_only=True)
class GanModelConfig(PriorModelConfig, CriticModelConfig):
    """A decoder G, and a discriminator D of its images."""


@dataclass(frozen=True, kw_only=True)
class GanLossConfig(TermsConfig):
    """The losses of a plain GAN."""

    r1_gamma: float = 0.3
    """Weight of R1 on the real images: at 0 D wins at once, at 10 it separates nothing."""

    def __post_init__(self) -> None:
        if self.r1_gamma < 0.0:
            raise ConfigError(f"loss.r1_gamma is {self.r1_gamma}: it cannot be negative")

    @property
    def wants_whole_weights(self) -> bool:
        """R1 goes through torch's own linear layers, which keep the bare weight."""
        return True


SECTIONS = Sections(GanModelConfig, GanLossConfig)
