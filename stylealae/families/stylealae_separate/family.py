"""StyleGAN with an encoder as a family."""

from stylealae.config import ModelConfig
from stylealae.families.family import Family, Means
from stylealae.families.stylealae.family import style_sampler
from stylealae.families.stylealae_separate.config import SECTIONS
from stylealae.families.stylealae_separate.model import SeparateModel
from stylealae.families.stylealae_separate.networks import SeparateNetworks
from stylealae.families.stylealae_separate.phases import separate_phases

__all__ = ["FAMILY"]


def separate_model(
    nets: SeparateNetworks,
    means: Means,
    model: ModelConfig,
    /,
    *,
    stage: int,
    seen: int,
    origin: str = "",
) -> SeparateModel:
    """The trained model, with the mean style for truncation."""
    return SeparateModel(nets, model, means["w_mean"], stage=stage, seen=seen, origin=origin)


FAMILY = Family(
    sections=SECTIONS,
    networks=SeparateNetworks,
    phases=separate_phases,
    sampler=style_sampler,
    model=separate_model,
)
