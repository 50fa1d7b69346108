"""A plain GAN (Goodfellow et al. 2014) with the non-saturating loss, and R1."""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.common.discriminators import penalised
from stylealae.families.gan.config import GanLossConfig
from stylealae.families.gan.networks import Gan
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["gan_phases"]


def critic(n: Gan, x: Tensor, r: CodeInputs, at: Growth, cfg: GanLossConfig) -> Tensor:
    """D: real images against G's, kept smooth by R1 on the real ones.  -> []"""
    with torch.no_grad():  # G is not trained here
        generated = n.decode(r.z).sigmoid()
    return penalised(n.judge, n.rows(x), generated, cfg.r1_gamma)


def generator(n: Gan, x: Tensor, r: CodeInputs, at: Growth, cfg: GanLossConfig) -> Tensor:
    """G: images that D takes for real ones.  -> []"""
    return losses.adversarial(-n.judge(n.decode(r.z).sigmoid())).mean()


def gan_phases(
    cfg: GanLossConfig, iteration: int = 0
) -> tuple[Phase[Gan, CodeInputs, GanLossConfig], ...]:
    """D, then G."""
    return (
        Phase("critic", trains="D", loss=critic, double_backward=True),
        Phase("generator", trains="G", loss=generator),
    )
