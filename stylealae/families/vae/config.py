"""The sections of the VAE."""

from dataclasses import dataclass
from typing import Literal

from stylealae.families.common.config import CodeLossConfig, CodeModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "VaeLossConfig", "VaeModelConfig"]


@dataclass(frozen=True, kw_only=True)
class VaeModelConfig(CodeModelConfig):
    """As `CodeModelConfig`: a VAE's posterior has a density."""

    posterior: Literal["gaussian"] = "gaussian"
    """Form of q(z|x)."""
    prior: Literal["gaussian", "mixture"] = "gaussian"
    """Distribution p(z), which has a density too."""


@dataclass(frozen=True, kw_only=True)
class VaeLossConfig(CodeLossConfig):
    """The two terms of the bound."""

    beta: float = 1.0
    """Weight of the divergence from the prior: above 1 a beta-VAE."""


SECTIONS = Sections(VaeModelConfig, VaeLossConfig)
