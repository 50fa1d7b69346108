"""Algorithm 1 of the paper: what each phase minimises, and the letters it trains.

f is softplus; every phase draws its own z and returns the mean over the batch.  Two departures cost
less and are off by default: lazy R1, and phases II and III in one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylealae import latents, losses
from stylealae.config import LossConfig
from stylealae.layers import full_precision
from stylealae.networks import Networks
from stylealae.priors import rng
from stylealae.schedule import Growth, Progress

__all__ = ["Chance", "Draw", "Phase", "phases_of"]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What one phase takes from chance at one moment of the run."""

    z: Tensor
    """Prior samples [N, Z]."""
    z_other: Tensor
    """The second style of mixed images [N, Z]."""
    crossover: Tensor
    """First layer of the second style, [N] in 1..L; L where nothing is mixed."""
    noise: torch.Generator | None
    """Source of G's per-pixel noise; None switches it off."""


@dataclass(frozen=True)
class Phase:
    """A loss and the letters it trains."""

    name: str
    trains: str
    loss: Callable[[Networks, Tensor, Draw, Growth, LossConfig], Tensor]


def fake(n: Networks, r: Draw, at: Growth) -> Tensor:
    """G(F(z)), some images with two styles.  -> [N, C, R, R]"""
    layers = 2 * (at.stage + 1)
    w = latents.per_layer(n.F(r.z), layers)
    w_other = latents.per_layer(n.F(r.z_other), layers)
    x: Tensor = n.G(latents.mix(w, w_other, r.crossover), at, r.noise)
    return x


def critic(n: Networks, x: Tensor, r: Draw, at: Growth, cfg: LossConfig) -> Tensor:
    """Phase I without R1: D(E(x)) up on real images, down on generated ones.  -> []"""
    loss = losses.adversarial(n.D(n.E(_fake_to_critic(n, r, at), at)))
    return (loss + losses.adversarial(-n.D(n.E(x, at)))).mean()


def critic_with_r1(n: Networks, x: Tensor, r: Draw, at: Growth, cfg: LossConfig) -> Tensor:
    """Phase I: as `critic`, kept smooth by R1 on the real images.  -> []"""
    loss = losses.adversarial(n.D(n.E(_fake_to_critic(n, r, at), at)))
    with full_precision(x):  # a gradient of a gradient wants float32
        x = x.detach().requires_grad_(True)
        logits = n.D(n.E(x, at))
        penalty = losses.r1_penalty(logits, x)
        # Departure, off by default: R1 every few iterations, as much heavier (StyleGAN2, sec. 3.1).
        loss = loss + losses.adversarial(-logits) + cfg.r1_every * cfg.r1_gamma / 2 * penalty
    return loss.mean()


def generator(n: Networks, x: Tensor, r: Draw, at: Growth, cfg: LossConfig) -> Tensor:
    """Phase II: generated images that D takes for real ones.  -> []"""
    return losses.adversarial(-n.D(n.E(fake(n, r, at), at))).mean()


def reciprocity(n: Networks, x: Tensor, r: Draw, at: Growth, cfg: LossConfig) -> Tensor:
    """Phase III: E must recover the style that G was given, Eq. 2.  -> []"""
    w = n.F(r.z)
    if not cfg.reciprocity_trains_f:
        w = w.detach()
    return losses.squared_error(n.E(n.G(w, at, r.noise), at), w.detach()).mean()


def merged(n: Networks, x: Tensor, r: Draw, at: Growth, cfg: LossConfig) -> Tensor:
    """Phases II and III on the same images, through G and E once.  -> []

    E is trained by reciprocity alone: the adversarial gradient is taken at the images.  Styles are
    not mixed, as only a whole w can be recovered.
    """
    w = n.F(r.z)
    x_fake = n.G(w, at, r.noise)
    w_again = n.E(x_fake, at)
    fooling = losses.adversarial(-n.D(w_again)).mean()
    (pull,) = torch.autograd.grad(fooling, x_fake, retain_graph=True)
    carried = ((x_fake - x_fake.detach()) * pull).sum()  # 0, with the gradient of `fooling`
    recovery = losses.squared_error(w_again, w.detach()).mean()
    loss: Tensor = recovery + fooling.detach() + carried
    return loss


def phases_of(cfg: LossConfig, iteration: int = 0) -> tuple[Phase, ...]:
    """The phases of one iteration, in their order."""
    penalised = cfg.r1_gamma > 0 and iteration % cfg.r1_every == 0
    first = Phase("critic", trains="ED", loss=critic_with_r1 if penalised else critic)
    if cfg.merged:
        return first, Phase("merged", trains="FEG", loss=merged)
    return (
        first,
        Phase("generator", trains="FG", loss=generator),
        # Departure: the released code moves F here too; the paper's Algorithm 1 does not.
        Phase("reciprocity", trains="FEG" if cfg.reciprocity_trains_f else "EG", loss=reciprocity),
    )


def _fake_to_critic(n: Networks, r: Draw, at: Growth) -> Tensor:
    with torch.no_grad():  # F and G are not trained here
        return fake(n, r, at)


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Where a rank's draws come from: keyed by (seed, purpose, seen), the same at any world size.

    G's noise alone is keyed by the rank's place in the batch too: it is drawn on the device.
    """

    seed: int
    z_width: int
    mixing_prob: float
    mine: slice
    """This rank's part of the global batch."""
    device: torch.device

    def draw(self, purpose: str, seen: int, at: Progress) -> Draw:
        """This rank's part of what one phase draws for the whole batch."""
        source = rng(self.seed, purpose, seen)
        z = torch.randn(2, at.batch, self.z_width, generator=source)[:, self.mine]  # [2, n, Z]
        mixed = torch.rand(at.batch, generator=source) < self.mixing_prob
        layers = 2 * (at.stage + 1)
        crossover = torch.randint(1, layers, (at.batch,), generator=source)
        crossover = torch.where(mixed, crossover, layers)[self.mine]
        noise = rng(self.seed, f"{purpose}/noise/{self.mine.start}", seen, self.device)
        z, crossover = z.to(self.device), crossover.to(self.device)
        return Draw(z=z[0], z_other=z[1], crossover=crossover, noise=noise)
