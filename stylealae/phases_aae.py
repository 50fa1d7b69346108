"""Adversarial Autoencoders (Makhzani et al. 2015): what each phase minimises, and whom it trains.

In the paper's order: reconstruction, then regularisation (the discriminators D and, where there are
classes, C; then the encoder, which deceives them), then classification of labelled images.  With
`loss.merged` everything that trains E and G is one step after the discriminators'.  A term is a
function of the networks, x, E's way through it and what was drawn; a phase is one term or a sum.

Beside them the comparisons: the plain autoencoder, the VAE and the GAN.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae import losses
from stylealae.config_mlp import ClassLossConfig, CodeLossConfig, GanLossConfig, HeadsLossConfig
from stylealae.networks.mlp import Aae, Autoencoder, ClassAae, Code, Gan, HeadsAae
from stylealae.ops.layers import full_precision
from stylealae.phase_inputs import CodeDraw
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = [
    "aae_phases",
    "autoencoder_phases",
    "class_phases",
    "gan_phases",
    "heads_phases",
    "vae_phases",
]


class Pass(NamedTuple):
    """E's way through the batch, and through the labelled images of the iteration with it."""

    rows: Tensor
    """What E was shown: rows with the training noise on them [N + M, P]."""
    code: Code
    """Of the batch, [N, Z] and [N, K]."""
    taught: Tensor
    """Logits of the labelled images' classes [M, K]; of the batch's if it is labelled itself."""
    labels: Tensor
    """Their classes, -1 where unknown."""


Term = Callable[[Any, Tensor, Pass, CodeDraw, Any], Tensor]


def passed(
    n: Autoencoder, x: Tensor, r: CodeDraw, cfg: CodeLossConfig, *, teaches: bool, leaf: bool
) -> Pass:
    """Through E, with the labelled images behind x if the phase `teaches`.

    `leaf` makes the rows such that a gradient with respect to them can be asked for.
    """
    taught = r.x_labelled if teaches else x[:0]
    rows = noisy(n.rows(torch.cat((x, taught))), r, cfg)
    rows.requires_grad_(leaf)
    z, y = n.E(rows, r.noise)
    code = Code(z[: len(x)], y[: len(x)])
    if len(taught):
        return Pass(rows, code, y[len(x) :], r.y_labelled)
    return Pass(rows, code, code.y, r.labels)


def noisy(rows: Tensor, r: CodeDraw, cfg: CodeLossConfig) -> Tensor:
    """Rows with the training noise on them.  [N, P] -> [N, P]"""
    if cfg.input_noise:
        grain = torch.randn(rows.shape, generator=r.noise, device=rows.device)
        rows = rows + cfg.input_noise * grain
    if cfg.input_dropout:
        kept = torch.rand(rows.shape, generator=r.noise, device=rows.device) >= cfg.input_dropout
        rows = rows * kept / (1.0 - cfg.input_dropout)
    return rows


def reconstruct(n: Autoencoder, x: Tensor, e: Pass, r: CodeDraw, cfg: CodeLossConfig) -> Tensor:
    """E and G: give x back.  -> []"""
    logits = n.decode(e.code.z, n.beside(e.code, r.labels))
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](logits, n.rows(x)).mean()
    return cfg.reconstruction_weight * loss


def reconstruct_apart(n: HeadsAae, x: Tensor, e: Pass, r: CodeDraw, cfg: HeadsLossConfig) -> Tensor:
    """E and G: as `reconstruct`, the cluster heads kept at a distance.  -> []"""
    push = losses.too_close(n.heads, cfg.heads_apart).sum()
    return reconstruct(n, x, e, r, cfg) + cfg.heads_weight * push


def deceive(n: Aae, x: Tensor, e: Pass, r: CodeDraw, cfg: CodeLossConfig) -> Tensor:
    """E: codes that D takes for samples of the prior.  -> []"""
    return cfg.deceit_weight * losses.adversarial(-n.judge(e.code.z, r.labels)).mean()


def deceive_both(n: ClassAae, x: Tensor, e: Pass, r: CodeDraw, cfg: ClassLossConfig) -> Tensor:
    """E: as `deceive`, and classes that C takes for samples of the categorical prior.  -> []"""
    classes = losses.adversarial(-n.judge_class(shown(e.code.y.softmax(1), r, cfg))).mean()
    return deceive(n, x, e, r, cfg) + cfg.class_deceit_weight * classes


def classify(n: ClassAae, x: Tensor, e: Pass, r: CodeDraw, cfg: ClassLossConfig) -> Tensor:
    """E: the classes of the labelled images.  -> []"""
    return cfg.classification_weight * fn.cross_entropy(e.taught, e.labels, ignore_index=-1)


def smooth(n: ClassAae, x: Tensor, e: Pass, r: CodeDraw, cfg: ClassLossConfig) -> Tensor:
    """E: the class of an image, all around it (virtual adversarial training, Miyato et al. 2018).

    Departure, off by default: the paper has no such term.  Around labelled images the class is the
    label; without them their islands of certainty stay small.
    """
    rows, labels = n.rows(torch.cat((x, r.x_labelled))), torch.cat((r.labels, r.y_labelled))
    with torch.no_grad(), unnoticed(n.E):
        own = fn.pad(n.E(rows[: len(x)]).y.softmax(1), (0, 0, 0, len(r.x_labelled)))
        known = fn.one_hot(labels.clamp(min=0), n.classes).to(own.dtype)
        wanted = torch.where(labels[:, None] < 0, own, known)
        spread = (rows[: len(x)] - rows[: len(x)].mean(0)).square().sum(1).mean().sqrt()
    shown_as = torch.cat((e.code.y, e.taught)) if len(r.x_labelled) else e.code.y
    (away,) = torch.autograd.grad(
        losses.divergence(wanted, shown_as).sum(), e.rows, retain_graph=True
    )
    step = cfg.smoothness_radius * spread * fn.normalize(away)
    with unnoticed(n.E):
        apart = losses.divergence(wanted, n.E(rows + step).y)
    parts = [part.mean() for part in (apart[: len(x)], apart[len(x) :]) if len(part)]
    return cfg.smoothness_weight * torch.stack(parts).sum()


@contextmanager
def unnoticed(net: nn.Module) -> Iterator[None]:
    """Inside, batch norms go by the batch as ever, and do not count it into their statistics.

    Moved images are none that E will meet: with them counted, images of the validation split are
    put into a wrong class half as often again.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def critic(n: Aae, x: Tensor, r: CodeDraw, at: Growth, cfg: CodeLossConfig) -> Tensor:
    """D: samples of the prior from codes.  -> []"""
    with torch.no_grad():  # E is not trained here
        z = n.E(noisy(n.rows(x), r, cfg), r.noise).z
    return told_apart(n.judge(r.z, r.labels), n.judge(z, r.labels))


def critics(n: ClassAae, x: Tensor, r: CodeDraw, at: Growth, cfg: ClassLossConfig) -> Tensor:
    """D and C: samples of their priors from z and y.  -> []"""
    with torch.no_grad():  # E is not trained here
        z, logits = n.E(noisy(n.rows(x), r, cfg), r.noise)
        y = shown(logits.softmax(1), r, cfg)
        sampled = shown(fn.one_hot(r.y, n.classes).to(y.dtype), r, cfg)
    styles = told_apart(n.judge(r.z, r.labels), n.judge(z, r.labels))
    return styles + told_apart(n.judge_class(sampled), n.judge_class(y))


def told_apart(real: Tensor, made: Tensor) -> Tensor:
    """A discriminator's loss.  [N] twice -> []"""
    return (losses.adversarial(-real) + losses.adversarial(made)).mean()


def shown(y: Tensor, r: CodeDraw, cfg: ClassLossConfig) -> Tensor:
    """What C sees of y: blurred, for one-hot samples would give themselves away.  [N, K] -> same"""
    if not cfg.class_noise:
        return y
    return y + cfg.class_noise * torch.randn(y.shape, generator=r.noise, device=y.device)


def elbo(n: Autoencoder, x: Tensor, r: CodeDraw, at: Growth, cfg: CodeLossConfig) -> Tensor:
    """The VAE's bound: reconstruction, and KL(q(z|x) || p(z)) in closed form or from one draw."""
    mean, log_var = n.E.moments(n.rows(x))
    eps = torch.randn(mean.shape, generator=r.noise, device=x.device)
    z = mean + (0.5 * log_var).exp() * eps
    logits = n.decode(z, z.new_zeros(len(z), 0))
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](logits, n.rows(x)).mean()
    return cfg.reconstruction_weight * loss + n.prior.kl(mean, log_var, eps).mean()


def gan_critic(n: Gan, x: Tensor, r: CodeDraw, at: Growth, cfg: GanLossConfig) -> Tensor:
    """D: real images from G's, kept smooth by R1 on the real ones.  -> []"""
    with torch.no_grad():  # G is not trained here
        made = n.decode(r.z).sigmoid()
    with full_precision(x):  # a gradient of a gradient wants float32
        real = n.rows(x).detach().requires_grad_(True)
        logits = n.judge(real)
        penalty = losses.r1_penalty(logits, real).mean()
    return told_apart(logits, n.judge(made)) + cfg.r1_gamma / 2 * penalty


def gan_generator(n: Gan, x: Tensor, r: CodeDraw, at: Growth, cfg: GanLossConfig) -> Tensor:
    """G: images that D takes for real ones.  -> []"""
    return losses.adversarial(-n.judge(n.decode(r.z).sigmoid())).mean()


def autoencoder_phases(cfg: CodeLossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """A plain autoencoder: reconstruction alone."""
    return (_phase("reconstruction", "EG", reconstruct),)


def aae_phases(cfg: CodeLossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """The plain, the label-informed and the supervised AAE."""
    judge = Phase("critic", trains="D", loss=critic, rate=cfg.critic_rate)
    return _arranged(cfg, judge, ("reconstruction", "EG", reconstruct), ("encoder", "E", deceive))


def class_phases(
    cfg: ClassLossConfig, iteration: int = 0, autoencode: Term = reconstruct
) -> tuple[Phase, ...]:
    """The semi-supervised and the clustering AAE: both codes are judged, labels teach y."""
    judge = Phase("critic", trains="DC", loss=critics, rate=cfg.critic_rate)
    parts = [("reconstruction", "EG", autoencode), ("encoder", "E", deceive_both)]
    if cfg.classification_weight:
        parts.append(("classification", "E", classify))
    if cfg.smoothness_weight:
        parts.append(("smoothness", "E", smooth))
    return _arranged(cfg, judge, *parts)


def heads_phases(cfg: HeadsLossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """Dimensionality reduction: as `class_phases`, with cluster heads."""
    return class_phases(cfg, iteration, reconstruct_apart)


def vae_phases(cfg: CodeLossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """A variational autoencoder: one bound."""
    return (Phase("elbo", trains="EG", loss=elbo),)


def gan_phases(cfg: GanLossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """A plain GAN with the non-saturating loss, and R1."""
    return (
        Phase("critic", trains="D", loss=gan_critic),
        Phase("generator", trains="G", loss=gan_generator),
    )


def _arranged(
    cfg: CodeLossConfig, judge: Phase, *parts: tuple[str, str, Term]
) -> tuple[Phase, ...]:
    """Reconstruction, the discriminators, the rest; or the discriminators, then all in one."""
    if cfg.merged:
        return judge, _phase("autoencoder", "EG", *(term for _, _, term in parts))
    first, *rest = (_phase(name, trains, term, moments=name) for name, trains, term in parts)
    return first, judge, *rest


def _phase(name: str, trains: str, *terms: Term, moments: str = "") -> Phase:
    """The sum of some terms, E going once through x and what they want beside it."""
    teaches, leaf = bool({classify, smooth} & set(terms)), smooth in terms

    def loss(n: Autoencoder, x: Tensor, r: CodeDraw, at: Growth, cfg: CodeLossConfig) -> Tensor:
        e = passed(n, x, r, cfg, teaches=teaches, leaf=leaf)
        # A head of E that no term asks for gets a gradient too, of 0: the same at every ZeRO stage,
        # where a weight without one is left alone, decayed, or (ZeRO 3) given its last one again.
        nothing = 0.0 * (e.code.z.sum() + e.code.y.sum())
        return torch.stack([term(n, x, e, r, cfg) for term in terms]).sum() + nothing

    return Phase(name, trains=trains, loss=loss, moments=moments)
