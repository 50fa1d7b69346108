"""Adversarial Autoencoders (Makhzani et al. 2015): what each phase minimises, and what it trains.

In the paper's order: reconstruction, then regularisation (the discriminator D, then the encoder,
which deceives it).  With `loss.merged` everything that trains E and G is one step after D's.
"""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.aae.networks import Aae
from stylealae.families.common.config import CodeLossConfig
from stylealae.families.common.phases import (
    FEATURES,
    RECONSTRUCTION,
    Encoded,
    Term,
    arranged,
    discrimination,
    judged,
)
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["aae_phases", "deceive"]


def deceive(n: Aae, x: Tensor, e: Encoded, r: CodeInputs, cfg: CodeLossConfig) -> Tensor:
    """E: codes that D takes for samples of the prior.  -> []"""
    return cfg.deceit_weight * losses.adversarial(-n.judge(e.code.z, r.labels)).mean()


def critic(n: Aae, x: Tensor, r: CodeInputs, at: Growth, cfg: CodeLossConfig) -> Tensor:
    """D: samples of the prior against codes.  -> []"""
    with torch.no_grad():  # E is not trained here
        z = judged(n, x, r, cfg).z
    return discrimination(n.judge(r.z, r.labels), n.judge(z, r.labels))


def aae_phases(
    cfg: CodeLossConfig, iteration: int = 0
) -> tuple[Phase[Aae, CodeInputs, CodeLossConfig], ...]:
    """The phases of the plain, the label-informed and the supervised AAE."""
    judge: Phase[Aae, CodeInputs, CodeLossConfig] = Phase(
        "critic", trains="D", loss=critic, rate=cfg.critic_rate, shares=FEATURES
    )
    return arranged(cfg, judge, RECONSTRUCTION, Term("encoder", "E", deceive))
