"""The sampler of phase inputs of families with classes."""

import torch

from stylealae.families.aae_classes.config import ClassCriticModelConfig, ClassLossConfig
from stylealae.phase_inputs import CodeInputSampler, Labelled
from stylealae.priors import PRIORS

__all__ = ["class_sampler"]


def class_sampler(
    model: ClassCriticModelConfig,
    loss: ClassLossConfig,
    /,
    *,
    seed: int,
    mine: slice,
    device: torch.device,
    labelled: Labelled,
) -> CodeInputSampler:
    """Codes and classes from the config's priors, and labelled images."""
    return CodeInputSampler(
        seed=seed,
        z_width=model.z_width,
        mine=mine,
        device=device,
        prior=PRIORS[model.prior](model.z_width, model.prior_scale),
        classes=model.classes,
        class_shares=model.class_shares,
        labelled=labelled,
        labelled_batch=loss.labelled_batch,
    )
