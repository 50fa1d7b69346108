"""The sampler of phase inputs of families whose codes follow a prior."""

import torch

from stylealae.config import TermsConfig
from stylealae.families.common.config import PriorModelConfig
from stylealae.phase_inputs import CodeInputSampler, Labelled
from stylealae.priors import PRIORS

__all__ = ["code_sampler"]


def code_sampler(
    model: PriorModelConfig,
    loss: TermsConfig,
    /,
    *,
    seed: int,
    mine: slice,
    device: torch.device,
    labelled: Labelled,
    by_label: bool = False,
) -> CodeInputSampler:
    """Codes from the config's prior, or from their label's component; no labelled images."""
    return CodeInputSampler(
        seed=seed,
        z_width=model.z_width,
        mine=mine,
        device=device,
        prior=PRIORS[model.prior](model.z_width, model.prior_scale),
        by_label=by_label,
        labelled=labelled,
    )
