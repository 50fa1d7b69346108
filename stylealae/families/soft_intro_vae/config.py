"""The sections of the Soft-IntroVAE."""

from dataclasses import dataclass

from stylealae.families.common.config import ReconstructionLossConfig
from stylealae.families.sections import Sections
from stylealae.families.vae.config import VaeModelConfig

__all__ = ["SECTIONS", "SoftIntroLossConfig"]


@dataclass(frozen=True, kw_only=True)
class SoftIntroLossConfig(ReconstructionLossConfig):
    """A VAE's bound on real and on generated images; the weights are the paper's betas."""

    kl_weight: float = 1.0
    """Weight of the divergence of real images' codes, and of generated ones' in G's loss."""
    generated_kl_weight: float = 1.0
    """Weight of the divergence of generated images' codes in E's loss."""
    again_weight: float = 1e-8
    """Share of the reconstruction error of generated images in G's loss, gamma of the paper."""


SECTIONS = Sections(VaeModelConfig, SoftIntroLossConfig)
