"""The sections of the VAE."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stylealae.families.common.config import (
    EncoderModelConfig,
    JudgedModelConfig,
    ReconstructionLossConfig,
)
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "JudgedVaeModelConfig", "VaeLossConfig", "VaeModelConfig"]


@dataclass(frozen=True, kw_only=True)
class VaeModelConfig(EncoderModelConfig):
    """As `EncoderModelConfig`: a VAE's posterior has a density."""

    posterior: Literal["gaussian"] = "gaussian"
    """Form of q(z|x)."""
    prior: Literal["gaussian", "mixture"] = "gaussian"
    """Distribution p(z), which has a density too."""


@dataclass(frozen=True, kw_only=True)
class JudgedVaeModelConfig(VaeModelConfig, JudgedModelConfig):
    """As `VaeModelConfig`, with a discriminator D."""


@dataclass(frozen=True, kw_only=True)
class VaeLossConfig(ReconstructionLossConfig):
    """The two terms of the bound."""

    retired: ClassVar[frozenset[str]] = frozenset(
        {"deceit_weight", "critic_rate", "input_noise", "input_dropout", "merged"}
    )
    """Keys that did nothing here."""

    beta: float = 1.0
    """Weight of the divergence from the prior: above 1 a beta-VAE."""


SECTIONS = Sections(VaeModelConfig, VaeLossConfig)
