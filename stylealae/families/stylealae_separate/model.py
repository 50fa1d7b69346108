"""StyleGAN with an encoder, trained."""

from stylealae.api import StyleALAE
from stylealae.config import ModelConfig
from stylealae.families.stylealae_separate.networks import SeparateNetworks

__all__ = ["SeparateModel"]


class SeparateModel(StyleALAE):
    """As `StyleALAE`; `score` judges what C gives, not styles."""

    family = "stylealae_separate"

    @classmethod
    def _networks(cls, model: ModelConfig) -> SeparateNetworks:
        return SeparateNetworks(model)
