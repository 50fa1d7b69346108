"""The dimensionality-reducing AAE (Makhzani et al. 2015, section 7): cluster heads kept apart."""

from torch import Tensor

from stylealae import losses
from stylealae.families.aae_classes.phases import class_critic, class_terms
from stylealae.families.aae_heads.config import HeadsLossConfig
from stylealae.families.aae_heads.networks import HeadsAae
from stylealae.families.common.phases import Encoded, Term, arranged, reconstruct
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase

__all__ = ["heads_phases"]


def reconstruct_apart(
    n: HeadsAae, x: Tensor, e: Encoded, r: CodeInputs, cfg: HeadsLossConfig
) -> Tensor:
    """E and G: as `reconstruct`, the cluster heads kept at a distance.  -> []"""
    push = losses.too_close(n.heads, cfg.heads_apart).sum()
    return reconstruct(n, x, e, r, cfg) + cfg.heads_weight * push


def heads_phases(
    cfg: HeadsLossConfig, iteration: int = 0
) -> tuple[Phase[HeadsAae, CodeInputs, HeadsLossConfig], ...]:
    """As `class_phases`, with cluster heads."""
    reconstruction = Term("reconstruction", "EG", reconstruct_apart)
    return arranged(cfg, class_critic(cfg), reconstruction, *class_terms(cfg))
