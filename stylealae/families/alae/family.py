"""ALAE as MLPs as a family: StyleALAE's phases."""

import torch

from stylealae.config import AlaeLossConfig
from stylealae.families.alae.config import SECTIONS, AlaeModelConfig
from stylealae.families.alae.model import AlaeMlpModel
from stylealae.families.alae.networks import AlaeMlp
from stylealae.families.common.model import model_of
from stylealae.families.family import Family
from stylealae.phase_inputs import Labelled, SingleStyleSampler
from stylealae.phases import phases_of

__all__ = ["FAMILY"]


def style_sampler(
    model: AlaeModelConfig,
    loss: AlaeLossConfig,
    /,
    *,
    seed: int,
    mine: slice,
    device: torch.device,
    labelled: Labelled,
) -> SingleStyleSampler:
    """One style an image: G has a single layer of them."""
    return SingleStyleSampler(seed=seed, z_width=model.z_width, mine=mine, device=device)


FAMILY = Family(
    sections=SECTIONS,
    networks=AlaeMlp,
    phases=phases_of,
    sampler=style_sampler,
    model=model_of("alae", AlaeMlpModel),
)
