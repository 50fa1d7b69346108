"""ALI and BiGAN: pairs (x, E(x)) and (G(z), z) become one distribution, and E inverts G.

Adversarially Learned Inference (Dumoulin et al. 2017), Adversarial Feature Learning (Donahue et al.
2017): one objective, by another posterior.  No term of it is a reconstruction error.

Legend: N batch, P numbers in a row, Z width of z.
"""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.ali.networks import Ali
from stylealae.families.common.discriminators import penalised
from stylealae.families.common.variational import decoded
from stylealae.families.gan.config import GanLossConfig
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["ali_phases"]


def critic(n: Ali, x: Tensor, r: CodeInputs, at: Growth, cfg: GanLossConfig) -> Tensor:
    """D: images with E's codes against samples of the prior with G's images.  -> []"""
    with torch.no_grad():  # E and G are not trained here
        encoded, generated = _pairs(n, x, r)
    return penalised(n.judge, encoded, generated, cfg.r1_gamma)


def autoencoder(n: Ali, x: Tensor, r: CodeInputs, at: Growth, cfg: GanLossConfig) -> Tensor:
    """E and G: pairs that D takes for the other's.  -> []"""
    encoded, generated = (n.judge(pairs) for pairs in _pairs(n, x, r))
    return (losses.adversarial(encoded) + losses.adversarial(-generated)).mean()


def _pairs(n: Ali, x: Tensor, r: CodeInputs) -> tuple[Tensor, Tensor]:
    """(x, E(x)) and (G(z), z).  -> [N, P + Z] twice"""
    rows = n.rows(x)
    made = decoded(n, r.z).sigmoid()
    return torch.cat((rows, n.E(rows, r.noise).z), 1), torch.cat((made, r.z), 1)


def ali_phases(
    cfg: GanLossConfig, iteration: int = 0
) -> tuple[Phase[Ali, CodeInputs, GanLossConfig], ...]:
    """D, then E and G."""
    return (
        Phase("critic", trains="D", loss=critic, double_backward=True),
        Phase("autoencoder", trains="EG", loss=autoencoder),
    )
