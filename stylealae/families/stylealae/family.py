"""StyleALAE as a family: everything is the method's own, on the package's floor."""

import torch

from stylealae.api import StyleALAE
from stylealae.config import LossConfig, ModelConfig
from stylealae.families.family import Family, Means
from stylealae.families.stylealae.config import SECTIONS
from stylealae.networks import Networks
from stylealae.phase_inputs import Labelled, StyleInputSampler
from stylealae.phases import phases_of

__all__ = ["FAMILY"]


def style_sampler(
    model: ModelConfig,
    loss: LossConfig,
    /,
    *,
    seed: int,
    mine: slice,
    device: torch.device,
    labelled: Labelled,
) -> StyleInputSampler:
    """Styles, some of which are mixed."""
    return StyleInputSampler(
        seed=seed, z_width=model.z_width, mine=mine, device=device, mixing_prob=loss.mixing_prob
    )


def style_alae(
    nets: Networks, means: Means, model: ModelConfig, /, *, stage: int, seen: int, origin: str = ""
) -> StyleALAE:
    """The trained model, with the mean style for truncation."""
    return StyleALAE(nets, model, means["w_mean"], stage=stage, seen=seen, origin=origin)


FAMILY = Family(
    sections=SECTIONS, networks=Networks, phases=phases_of, sampler=style_sampler, model=style_alae
)
