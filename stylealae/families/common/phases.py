"""What the phases of several families are made of: E's codes of a batch, and terms over them.

A term is a function of the networks, x, E's codes of it and the phase inputs; a phase is one term,
or a sum of them with one forward pass of E.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.common.config import CodeLossConfig, NoisyLossConfig
from stylealae.families.common.networks import Autoencoder, Code, Slope
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase, Sharing
from stylealae.schedule import Growth

__all__ = [
    "FEATURES",
    "RECONSTRUCTION",
    "Encoded",
    "Term",
    "arranged",
    "discrimination",
    "judged",
    "noisy",
    "reconstruct",
    "summed",
]

N = TypeVar("N", bound=Autoencoder, contravariant=True)
L = TypeVar("L", bound=NoisyLossConfig, contravariant=True)


class Encoded(NamedTuple):
    """The batch through E, and the labelled images of the iteration with it."""

    code: Code
    """Of the batch, [N, Z] and [N, K]."""
    labelled_y: Tensor
    """Logits of the labelled images' classes [M, K]; of the batch's if it is labelled itself."""
    labels: Tensor
    """Their classes, -1 where unknown."""
    slope: Slope | None
    """The gradient of a number with respect to E's input [N + M, P], where a term asks for it."""


@dataclass(frozen=True)
class Term(Generic[N, L]):
    """A summand of the losses of E and G."""

    phase: str
    """The phase that it is, where it is not merged with others."""
    trains: str
    loss: Callable[[N, Tensor, Encoded, CodeInputs, L], Tensor]
    """(networks, x, its codes, phase inputs, loss config) -> []"""
    labelled: bool = False
    """Whether E takes the labelled images of the iteration too."""
    by_rows: bool = False
    """Whether it takes a gradient with respect to E's input."""


def encoded(
    n: Autoencoder, x: Tensor, r: CodeInputs, cfg: NoisyLossConfig, *, labelled: bool, by_rows: bool
) -> Encoded:
    """The batch x through E, the labelled images behind it if they are wanted.

    `by_rows` is for a term that asks for a gradient with respect to E's input.
    """
    known, slope = r.x_labelled if labelled else x[:0], None
    if r.features is not None and not len(known) and not by_rows:
        z, y = n.E.code(r.features, r.noise)
    else:
        rows = noisy(n.rows(torch.cat((x, known))), r, cfg)
        if by_rows:
            (z, y), slope = n.E.with_slope(rows, r.noise)
        else:
            z, y = n.E(rows, r.noise)
    code = Code(z[: len(x)], y[: len(x)])
    if len(known):
        return Encoded(code, y[len(x) :], r.y_labelled, slope)
    return Encoded(code, code.y, r.labels, slope)


def judged(n: Autoencoder, x: Tensor, r: CodeInputs, cfg: NoisyLossConfig) -> Code:
    """The batch x through E as the discriminators take it."""
    if r.features is not None:
        return n.E.code(r.features, r.noise)
    code: Code = n.E(noisy(n.rows(x), r, cfg), r.noise)
    return code


def features(n: Autoencoder, x: Tensor, cfg: NoisyLossConfig) -> Tensor | None:
    """E's last hidden layer, if it is of x alone: no noise before it, no other image.  -> [N, H]"""
    if cfg.input_noise or cfg.input_dropout or not n.E.by_image:
        return None
    return n.E.features(n.rows(x), None)


FEATURES: Sharing[Autoencoder, NoisyLossConfig] = Sharing("E", features)
"""What a phase of the discriminators and the next one, of E, have in common."""


def noisy(rows: Tensor, r: CodeInputs, cfg: NoisyLossConfig) -> Tensor:
    """Rows with the training noise on them.  [N, P] -> [N, P]"""
    if cfg.input_noise:
        noise = torch.randn(rows.shape, generator=r.noise, device=rows.device)
        rows = rows + cfg.input_noise * noise
    if cfg.input_dropout:
        kept = torch.rand(rows.shape, generator=r.noise, device=rows.device) >= cfg.input_dropout
        rows = rows * kept / (1.0 - cfg.input_dropout)
    return rows


def reconstruct(
    n: Autoencoder, x: Tensor, e: Encoded, r: CodeInputs, cfg: NoisyLossConfig
) -> Tensor:
    """E and G: the reconstruction error of x.  -> []"""
    logits = n.decode(e.code.z, n.conditioning(e.code, r.labels))
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](logits, n.rows(x)).mean()
    return cfg.reconstruction_weight * loss


RECONSTRUCTION = Term("reconstruction", "EG", reconstruct)


def discrimination(real: Tensor, generated: Tensor) -> Tensor:
    """A discriminator's loss, of its logits.  [N], [M] -> []"""
    return losses.adversarial(-real).mean() + losses.adversarial(generated).mean()


def arranged(
    cfg: CodeLossConfig, critic: Phase[N, CodeInputs, L], first: Term[N, L], *rest: Term[N, L]
) -> tuple[Phase[N, CodeInputs, L], ...]:
    """The first term, the discriminators, the rest; or the discriminators, then all terms in one.

    Apart, every phase goes by optimiser moments of its own.
    """
    if cfg.merged:
        return critic, summed("autoencoder", "EG", first, *rest, shares=critic.shares)
    before, *after = (summed(t.phase, t.trains, t, moments=t.phase) for t in (first, *rest))
    if after:  # E has not moved since the discriminators took its codes
        after[0] = replace(after[0], shares=critic.shares)
    return before, critic, *after


def summed(
    name: str,
    trains: str,
    *terms: Term[N, L],
    moments: str = "",
    shares: Sharing[N, L] | None = None,
) -> Phase[N, CodeInputs, L]:
    """The phase that minimises the sum of some terms, with one forward pass of E."""
    labelled, by_rows = any(t.labelled for t in terms), any(t.by_rows for t in terms)

    def loss(n: N, x: Tensor, r: CodeInputs, at: Growth, cfg: L) -> Tensor:
        e = encoded(n, x, r, cfg, labelled=labelled, by_rows=by_rows)
        # A head of E that no term asks for gets a gradient too, of 0: the same at every ZeRO stage,
        # where a weight without one is left alone, decayed, or (ZeRO 3) given its last one again.
        nothing = 0.0 * (e.code.z.sum() + e.code.y.sum())
        return torch.stack([term.loss(n, x, e, r, cfg) for term in terms]).sum() + nothing

    return Phase(name, trains=trains, loss=loss, moments=moments, shares=shares)
