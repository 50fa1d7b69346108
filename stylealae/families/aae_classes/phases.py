"""The AAE with classes (Makhzani et al. 2015, sections 5 and 6): semi-supervised, or clustering.

As the AAE's phases, with a second discriminator C for the class y, and the classification of
labelled images.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae import losses
from stylealae.families.aae.phases import deceive
from stylealae.families.aae_classes.config import ClassLossConfig
from stylealae.families.aae_classes.networks import ClassAae
from stylealae.families.common.phases import (
    FEATURES,
    RECONSTRUCTION,
    Encoded,
    Term,
    arranged,
    discrimination,
    judged,
)
from stylealae.families.common.statistics import frozen_statistics
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["class_critic", "class_phases", "class_terms"]

ASIDE = 0.5
"""How far from an image without noise the slope is taken, as a share of the radius: the classes'
difference has to be more than the rounding of half precision."""
MAGNIFIED = 2.0**8
"""What the divergence is multiplied by where its slope alone is wanted, and of that its direction:
else fp16 has 0 for the slope of most images whose class is sure.  Exact in other precisions."""


def deceive_both(n: ClassAae, x: Tensor, e: Encoded, r: CodeInputs, cfg: ClassLossConfig) -> Tensor:
    """E: as `deceive`, and classes that C takes for samples of the categorical prior.  -> []"""
    classes = losses.adversarial(-n.judge_class(with_noise(e.code.y.softmax(1), r, cfg))).mean()
    return deceive(n, x, e, r, cfg) + cfg.class_deceit_weight * classes


def classify(n: ClassAae, x: Tensor, e: Encoded, r: CodeInputs, cfg: ClassLossConfig) -> Tensor:
    """E: the classes of the labelled images; 0 where a share of the batch has none.  -> []"""
    missed = fn.cross_entropy(e.labelled_y, e.labels, ignore_index=-1, reduction="sum")
    return cfg.classification_weight * missed / (e.labels >= 0).sum().clamp(min=1)


def smooth(n: ClassAae, x: Tensor, e: Encoded, r: CodeInputs, cfg: ClassLossConfig) -> Tensor:
    """E: the class of an image, all around it (virtual adversarial training, Miyato et al. 2018).

    Departure, off by default: the paper has no such term.  Around labelled images the class is the
    label; without them their islands of certainty stay small.
    """
    rows, labels = n.rows(torch.cat((x, r.x_labelled))), torch.cat((r.labels, r.y_labelled))
    with torch.no_grad(), frozen_statistics(n.E):
        own = fn.pad(n.E(rows[: len(x)]).y.softmax(1), (0, 0, 0, len(r.x_labelled)))
        known = fn.one_hot(labels.clamp(min=0), n.classes).to(own.dtype)
        wanted = torch.where(labels[:, None] < 0, own, known)
        dispersal = (rows[: len(x)] - rows[: len(x)].mean(0)).square().sum(1).mean().sqrt()
    radius = cfg.smoothness_radius * dispersal
    step = radius * fn.normalize(_uphill(n, e, r, rows, wanted, radius))
    with frozen_statistics(n.E):
        apart = losses.divergence(wanted, n.E(rows + step).y)
    parts = [part.mean() for part in (apart[: len(x)], apart[len(x) :]) if len(part)]
    return cfg.smoothness_weight * torch.stack(parts).sum()


def _uphill(
    n: ClassAae, e: Encoded, r: CodeInputs, rows: Tensor, wanted: Tensor, radius: Tensor
) -> Tensor:
    """The slope of the divergence from the wanted classes, near images.  [N, P], [N, K] -> [N, P]

    At an image itself it is least, and its slope rounding alone.  The noise on E's input moves
    images off that; without any a random direction does (Miyato et al. 2018, equations 9 to 12).
    """
    if e.slope is not None:
        given = torch.cat((e.code.y, e.labelled_y)) if len(r.x_labelled) else e.code.y
        return e.slope(MAGNIFIED * losses.divergence(wanted, given).sum())
    aside = fn.normalize(torch.randn(rows.shape, generator=r.noise, device=rows.device))
    with frozen_statistics(n.E):
        code, slope = n.E.with_slope(rows + ASIDE * radius * aside, None)
    return slope(MAGNIFIED * losses.divergence(wanted, code.y).sum())


def critics(n: ClassAae, x: Tensor, r: CodeInputs, at: Growth, cfg: ClassLossConfig) -> Tensor:
    """D and C: samples of their priors against z and y.  -> []"""
    with torch.no_grad():  # E is not trained here
        z, logits = judged(n, x, r, cfg)
        y = with_noise(logits.softmax(1), r, cfg)
        sampled = with_noise(fn.one_hot(r.y, n.classes).to(y.dtype), r, cfg)
    styles = discrimination(n.judge(r.z, r.labels), n.judge(z, r.labels))
    return styles + discrimination(n.judge_class(sampled), n.judge_class(y))


def with_noise(y: Tensor, r: CodeInputs, cfg: ClassLossConfig) -> Tensor:
    """C's input: y with noise, for one-hot samples would give themselves away.  [N, K] -> same"""
    if not cfg.class_noise:
        return y
    return y + cfg.class_noise * torch.randn(y.shape, generator=r.noise, device=y.device)


def class_terms(cfg: ClassLossConfig) -> list[Term[ClassAae, ClassLossConfig]]:
    """What E minimises beside the reconstruction."""
    terms: list[Term[ClassAae, ClassLossConfig]] = [Term("encoder", "E", deceive_both)]
    if cfg.classification_weight:
        terms.append(Term("classification", "E", classify, labelled=True))
    if cfg.smoothness_weight:
        noisy = bool(cfg.input_noise or cfg.input_dropout)
        terms.append(Term("smoothness", "E", smooth, labelled=True, by_rows=noisy))
    return terms


def class_critic(cfg: ClassLossConfig) -> Phase[ClassAae, CodeInputs, ClassLossConfig]:
    """The phase of both discriminators."""
    return Phase("critic", trains="DC", loss=critics, rate=cfg.critic_rate, shares=FEATURES)


def class_phases(
    cfg: ClassLossConfig, iteration: int = 0
) -> tuple[Phase[ClassAae, CodeInputs, ClassLossConfig], ...]:
    """Both codes have a discriminator, and labels supervise y."""
    return arranged(cfg, class_critic(cfg), RECONSTRUCTION, *class_terms(cfg))
