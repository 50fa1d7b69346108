"""The sections of AGE."""

from dataclasses import dataclass
from typing import Literal

from stylealae.families.common.config import EncoderModelConfig, ReconstructionLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "AgeLossConfig", "AgeModelConfig"]


@dataclass(frozen=True, kw_only=True)
class AgeModelConfig(EncoderModelConfig):
    """As `EncoderModelConfig`: codes and samples of the prior lie on a sphere."""

    posterior: Literal["sphere"] = "sphere"
    """Form of q(z|x)."""
    prior: Literal["sphere"] = "sphere"
    """Distribution p(z)."""


@dataclass(frozen=True, kw_only=True)
class AgeLossConfig(ReconstructionLossConfig):
    """The losses of E and of G; `reconstruction_weight` is of E's, in images."""

    game_weight: float = 1.0
    """Weight of the divergences of codes from the prior, in nats of the whole code."""
    code_weight: float = 10.0
    """Weight of G's reconstruction error, in codes: squared, the mean over Z.  The released code's
    is 250, beside a `game_weight` of 1; by the paper's divergence it would be 500."""

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.game_weight"


SECTIONS = Sections(AgeModelConfig, AgeLossConfig)
