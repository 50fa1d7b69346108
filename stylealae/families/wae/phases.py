"""WAE-MMD (Tolstikhin et al. 2018): codes follow the prior by a kernel, without a discriminator.

The relation that GMMN bears to a GAN (Makhzani et al. 2015, section 2.2) this bears to the AAE.
"""

from torch import Tensor

from stylealae import losses
from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.phases import RECONSTRUCTION, Encoded, Term, summed
from stylealae.families.wae.config import WaeLossConfig
from stylealae.ops.precision import full_precision, tf32
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase

__all__ = ["wae_phases"]


def match(n: Autoencoder, x: Tensor, e: Encoded, r: CodeInputs, cfg: WaeLossConfig) -> Tensor:
    """E: codes that are distributed as samples of the prior.  -> []"""
    with full_precision(x), tf32(False):  # small differences of large squares, by products
        return cfg.mmd_weight * losses.mmd(e.code.z.to(r.z.dtype), r.z)


def wae_phases(
    cfg: WaeLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, WaeLossConfig], ...]:
    """The one phase, of two terms."""
    return (summed("autoencoder", "EG", RECONSTRUCTION, Term("mmd", "E", match)),)
