"""E and G taught the styles of F after training: what G draws of them, E finds again.

Phase III has never seen the styles of an F that was fitted afterwards (`prior.py`), and of a short
run's own F too few.  Here E and G go on alone, by reciprocity in those styles and by likeness to
images, at a rate that falls to nothing: F rests, and nobody judges.

Legend: n images at once, C channels, R resolution.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylealae import losses
from stylealae.errors import DivergenceError
from stylealae.networks import Networks
from stylealae.networks.encoder import Encoder
from stylealae.networks.generator import Generator
from stylealae.ops.precision import full_precision, tf32
from stylealae.priors import normal, rng
from stylealae.schedule import Growth

__all__ = ["Recovery", "recover"]

RATE = 0.001
"""Of Adam, at first; it falls to nothing as half a cosine."""
BETAS = (0.0, 0.99)
STRUCTURE = 0.8
"""Share of 1 - SSIM in likeness."""
LEAST, MOST, PIXELS = 4, 32, 1 << 17
"""Images of a step: as many as have so many pixels, in bounds."""
JUDGED = 256
"""Styles by which it is told before and after what is lost of them."""
JUDGED_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Recovery:
    """What was found."""

    E: Encoder
    """A copy, moved."""
    G: Generator
    """A copy, moved."""
    before: float
    """Mean squared E(G(w)) - w of styles of F, as a share of their variance."""
    after: float


def recover(
    nets: Networks,
    take: Callable[[Tensor], Tensor],
    there: int,
    count: int,
    stage: int,
    z_width: int,
    *,
    seed: int = 0,
    report: Callable[[int], None] | None = None,
) -> Recovery:
    """Moves copies of E and G until E finds again the styles of F that G has drawn.

    Args:
        nets: the networks; their D is not asked.
        take: gives images by their numbers, int64 [n] -> [n, C, R, R] in [-1, 1]; they are to come
            back as before.
        there: how many images there are.
        count: how many of them, each as likely every time, are shown.
        stage: that E and G have been trained to.
        z_width: numbers in z.
        seed: of the draws.
        report: called after each step with the number of images that it showed.

    Raises:
        DivergenceError: the loss is no number any more.
    """
    at, F = Growth(stage=stage, alpha=1.0), nets.F
    E, G = copy.deepcopy((nets.E, nets.G))
    device = next(F.parameters()).device
    batch = min(MOST, max(LEAST, PIXELS // (4 << stage) ** 2))
    steps = -(-count // batch)
    source, judge = (rng(seed, f"recovery/{use}", 0) for use in ("fit", "judge"))
    noise = rng(seed, "recovery/noise", 0, device)
    shown = F(normal(JUDGED, z_width, judge).to(device)).detach()
    variance = shown.var(0).mean()

    @torch.no_grad()
    def lost(e: Encoder, g: Generator) -> float:
        errors = [losses.squared_error(e(g(w, at), at), w) for w in shown.split(JUDGED_AT_ONCE)]
        return float(torch.cat(errors).mean() / variance)

    adam = torch.optim.Adam([*E.parameters(), *G.parameters()], RATE, betas=BETAS)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for network in (E, G):
        network.requires_grad_(True)
    for step in range(steps):
        x = take(torch.randint(there, (batch,), generator=source)).to(device)
        w = F(normal(batch, z_width, source).to(device)).detach()
        again = G(E(x, at), at, noise)
        with full_precision(x), tf32(False):
            errors = losses.absolute_error(again, x), losses.structural_error(again, x)
        loss = torch.lerp(*errors, STRUCTURE).mean()
        loss = loss + losses.squared_error(E(G(w, at, noise), at), w).mean() / variance
        if not loss.isfinite():
            raise DivergenceError(f"E and G learned the styles of F, and step {step} is {loss}")
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        falling.step()
        if report:
            report(batch)
    for network in (E, G):
        network.requires_grad_(False)
    return Recovery(E=E, G=G, before=lost(nets.E, nets.G), after=lost(E, G))
