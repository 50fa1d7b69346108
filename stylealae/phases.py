"""Algorithm 1 of the paper: what each phase minimises, and the networks it trains.

f is softplus; every phase has its own z and returns the mean over the batch.  Three departures are
off by default: lazy R1 and phases II and III in one, which cost less, and a phase of likeness.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from stylealae import latents, losses
from stylealae.augment import transformed
from stylealae.config import AlaeLossConfig, TermsConfig
from stylealae.networks.group import AlaeNetworks, NetworkGroup
from stylealae.ops.formulas import wide
from stylealae.ops.precision import forward_of_r1, full_precision, tf32
from stylealae.phase_inputs import PhaseInputs, StyleInputs
from stylealae.schedule import Growth

__all__ = ["AlaePhase", "AnyPhase", "AnySharing", "Phase", "Sharing", "phases_of"]

N = TypeVar("N", bound=NetworkGroup, contravariant=True)
R = TypeVar("R", bound=PhaseInputs, contravariant=True)
L = TypeVar("L", bound=TermsConfig, contravariant=True)


@dataclass(frozen=True)
class Sharing(Generic[N, L]):
    """What phases in a row make of x alike while none of them moves the networks that make it.

    An engine computes it once and gives it to them as `r.features`; without, each makes its own.
    """

    through: str
    """The networks that x passes, as in "E"."""
    of: Callable[[N, Tensor, L], Tensor | None]
    """(networks, x, loss config) -> [N, ...]; None if the phases make different things of x."""


@dataclass(frozen=True)
class Phase(Generic[N, R, L]):
    """A loss and the networks it trains: of networks N, phase inputs R and loss config L."""

    name: str
    trains: str
    """The networks that are updated, as in "EG"."""
    loss: Callable[[N, Tensor, R, Growth, L], Tensor]
    """(networks, x, phase inputs, growth, loss config) -> []"""
    rate: float = 1.0
    """Factor on the schedule's learning rate."""
    moments: str = ""
    """Whose optimiser moments it goes by: phases that name the same share theirs."""
    double_backward: bool = False
    """Whether it takes second derivatives, in float32 whatever the precision: R1 does."""
    shares: Sharing[N, L] | None = None
    """What it makes of x as the phase before or after it does."""


AnyPhase: TypeAlias = Phase[Any, Any, Any]
"""A phase of a family that is known by name only."""
AnySharing: TypeAlias = Sharing[Any, Any]
"""What its phases have in common."""
AlaePhase: TypeAlias = Phase[AlaeNetworks, StyleInputs, AlaeLossConfig]
"""A phase of Algorithm 1, of StyleALAE's networks or others of the same names."""


def fake(n: AlaeNetworks, r: StyleInputs, at: Growth) -> Tensor:
    """G(F(z)), some images with two styles.  -> [N, C, R, R]"""
    w = n.F(r.z)
    if r.z_other is not None and r.crossover is not None:
        layers = 2 * (at.stage + 1)
        w, w_other = (latents.per_layer(a, layers) for a in (w, n.F(r.z_other)))
        w = latents.mix(w, w_other, r.crossover)
    x: Tensor = n.G(w, at, r.noise)
    return x


def critic(n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig) -> Tensor:
    """Phase I without R1: D(E(x)) up on real images, down on generated ones.  -> []

    Both go through E and D together: as much arithmetic, in half as many, larger operations.
    """
    shown = _fake_to_critic(n, r, at), transformed(x, r.t, warped=r.warped)
    of_fake, of_real = n.judge(torch.cat(shown), at).chunk(2)
    return (losses.adversarial(of_fake) + losses.adversarial(-of_real)).mean()


def critic_with_r1(
    n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig
) -> Tensor:
    """Phase I: as `critic`, kept smooth by R1 on the real images.  -> []"""
    loss = losses.adversarial(n.judge(_fake_to_critic(n, r, at), at))
    with full_precision(x):  # a gradient of a gradient wants float32
        x = x.detach().requires_grad_(True)
        with forward_of_r1():
            logits = n.judge(transformed(x, r.t, warped=r.warped), at)
        penalty = losses.r1_penalty(logits, x)
        x.requires_grad_(False)  # R1 alone asked for the images' gradient
        # Departure, off by default: R1 every few iterations, as much heavier (StyleGAN2, sec. 3.1).
        loss = loss + losses.adversarial(-logits) + cfg.r1_every * cfg.r1_gamma / 2 * penalty
    return loss.mean()


def generator(
    n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig
) -> Tensor:
    """Phase II: generated images that D takes for real ones.  -> []"""
    shown = transformed(fake(n, r, at), r.t_fake, warped=r.warped)
    return losses.adversarial(-n.judge(shown, at)).mean()


def reciprocity(
    n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig
) -> Tensor:
    """Phase III: E must recover the style that G was given, Eq. 2.  -> []"""
    w = n.F(r.z)
    if not cfg.reciprocity_trains_f:
        w = w.detach()
    x_fake = n.G(w, at, r.noise)
    if cfg.reciprocity_in == "x":  # Ablation: G must draw the same image from what E made of it.
        x_fake = x_fake.detach()
        error = losses.squared_error(n.G(n.E(x_fake, at), at, r.noise), x_fake)
    else:  # z, of the width of w, as another ablation
        wanted = r.z if cfg.reciprocity_in == "z" else w.detach()
        error = losses.squared_error(n.E(x_fake, at), wanted)
    return cfg.reciprocity_weight * error.mean()


def merged(n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig) -> Tensor:
    """Phases II and III on the same images, through G and E once (under T: E twice).  -> []

    E is trained by reciprocity alone: the adversarial gradient is taken at the images.  Styles are
    not mixed, as only a whole w can be recovered.
    """
    w = n.F(r.z)
    x_fake = n.G(w, at, r.noise)
    w_again = n.E(x_fake, at)
    shown = transformed(x_fake, r.t_fake, warped=r.warped)
    w_shown = w_again if shown is x_fake else n.E(shown, at)
    fooling = losses.adversarial(-n.D(w_shown)).mean()
    (pull,) = torch.autograd.grad(fooling, x_fake, retain_graph=True)
    carried = ((x_fake - x_fake.detach()) * pull).sum()  # 0, with the gradient of `fooling`
    recovery = losses.squared_error(w_again, w.detach()).mean()
    loss: Tensor = cfg.reciprocity_weight * recovery + fooling.detach() + carried
    return loss


def likeness(n: AlaeNetworks, x: Tensor, r: StyleInputs, at: Growth, cfg: AlaeLossConfig) -> Tensor:
    """Departure, off by default: G(E(x)) must look like x, in pixels and in structure.  -> []"""
    w, features = n.with_features(x, at)
    x_again, share = n.G(w, at, r.noise), cfg.likeness_structure
    errors = losses.absolute_error(x_again, x)
    if share:  # as Zhao et al. (arXiv 1511.08861) mix the two
        with full_precision(x), tf32(False):  # variances are differences of squares
            errors = torch.lerp(errors, losses.structural_error(x_again.to(x.dtype), x), share)
    loss = errors.mean()
    if cfg.likeness_features:
        loss = loss + cfg.likeness_features * _unlike(n, x_again, features, at)
    if cfg.likeness_prior and len(x) > 1:  # of one image there is no distribution
        loss = loss + cfg.likeness_prior * _otherwise_distributed(n, w, r, x)
    return loss


def _otherwise_distributed(n: AlaeNetworks, w: Tensor, r: StyleInputs, x: Tensor) -> Tensor:
    """The energy distance of the styles w = E(x) from those of F, in mean distances of two.  -> []

    What a WAE asks of its codes, of a prior that F has learned and that does not move by it.
    """
    with torch.no_grad():
        wanted = n.F(r.z)
    with full_precision(x):
        w, wanted = w.to(x.dtype), wanted.to(x.dtype)
        return losses.energy_distance(w, wanted) / losses.mean_distance(wanted)


def _unlike(n: AlaeNetworks, x_again: Tensor, wanted: list[Tensor], at: Growth) -> Tensor:
    """How far E's features of G(E(x)) are from those of x, with a gradient to G(E(x)) alone.  -> []

    The similarity that VAE/GAN learns (Larsen et al. 2016, Eq. 7): were E moved by it, it would
    make all images alike.
    """
    shown = x_again.detach().requires_grad_(True)
    _, found = n.with_features(shown, at)
    errors = [
        losses.absolute_error(wide(a), wide(b.detach())).mean()
        for a, b in zip(found, wanted, strict=True)
    ]
    error = torch.stack(errors).mean()
    (pull,) = torch.autograd.grad(error, shown)
    return error.detach() + ((x_again - x_again.detach()) * pull).sum()


def phases_of(cfg: AlaeLossConfig, iteration: int = 0) -> tuple[AlaePhase, ...]:
    """The phases of one iteration, in their order."""
    penalised = cfg.r1_gamma > 0 and iteration % cfg.r1_every == 0
    loss = critic_with_r1 if penalised else critic
    first = Phase("critic", trains="ED", loss=loss, double_backward=penalised)
    last = _likeness(cfg)
    if cfg.merged:
        return first, Phase("merged", trains="FEG", loss=merged), *last
    return (
        first,
        Phase("generator", trains="FG", loss=generator),
        # Departure: the released code moves F here too; the paper's Algorithm 1 does not.
        Phase("reciprocity", trains="FEG" if cfg.reciprocity_trains_f else "EG", loss=reciprocity),
        *last,
    )


def _likeness(cfg: AlaeLossConfig) -> tuple[AlaePhase, ...]:
    if not cfg.likeness_rate:
        return ()
    rate, name = cfg.likeness_rate, "likeness"
    return (Phase(name, trains="EG", loss=likeness, rate=rate, moments=name),)


def _fake_to_critic(n: AlaeNetworks, r: StyleInputs, at: Growth) -> Tensor:
    with torch.no_grad():  # F and G are not trained here
        return transformed(fake(n, r, at), r.t_fake, warped=r.warped)
