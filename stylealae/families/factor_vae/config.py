"""The sections of the FactorVAE."""

from dataclasses import dataclass

from stylealae.families.common.config import ReconstructionLossConfig
from stylealae.families.sections import Sections
from stylealae.families.vae.config import JudgedVaeModelConfig

__all__ = ["SECTIONS", "FactorLossConfig"]


@dataclass(frozen=True, kw_only=True)
class FactorLossConfig(ReconstructionLossConfig):
    """The bound of a VAE, and the total correlation of its codes."""

    tc_weight: float = 10.0
    """Weight of the total correlation, gamma of the paper."""
    critic_rate: float = 1.0
    """Discriminator's learning rate, as a factor on `schedule.lr`."""

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.tc_weight"


SECTIONS = Sections(JudgedVaeModelConfig, FactorLossConfig)
