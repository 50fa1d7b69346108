"""What two phases in a row make of x with the same weights, computed once.

The first of them leaves these weights alone, so the pass is run with its graph, and the second
phase's backward pass goes through it: to the bit what each computing it alone comes to.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from pipeline.training.groups import trained_by
from pipeline.training.phase_loss import PhaseLoss
from stylealae.phase_inputs import PhaseInputs
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress

__all__ = ["SharedPass"]


class SharedPass:
    """Hands what a phase has made of x to the phase after it.

    Of whole batches and whole weights: micro-batches would keep a graph each, and ZeRO 3 has the
    weights only while they are used.
    """

    def __init__(self, module: PhaseLoss, params: Mapping[str, list[nn.Parameter]]) -> None:
        self._module, self._params = module, params
        self._kept: tuple[AnyPhase, Tensor, Tensor] | None = None

    def inputs(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Progress) -> PhaseInputs:
        """The phase's inputs, with the pass that it shares with the phase before or after it."""
        kept, self._kept = self._kept, None
        shared = phase.shares
        if shared is None:
            return r
        if kept is not None and kept[0].shares == shared and kept[1] is x:
            return replace(r, features=kept[2])
        if set(phase.trains) & set(shared.through):
            return r  # it goes on with other weights, and computes its own
        features = self._computed(phase, x, at)
        if features is None:
            return r
        self._kept = phase, x, features
        return replace(r, features=features)

    def _computed(self, phase: AnyPhase, x: Tensor, at: Progress) -> Tensor | None:
        """The pass, with a graph to the weights that the next phase may train."""
        assert phase.shares is not None
        passed = replace(phase, trains=phase.shares.through)
        names = trained_by(passed, self._params, frozen=at.frozen)
        working = {p for a in phase.shares.through for p in self._module.nets.grown(a, at)}
        lent = [p for name in names for p in self._params[name] if p in working]
        for p in lent:
            p.requires_grad_(True)
        features = self._module.shared(phase.shares, x)
        for p in lent:
            p.requires_grad_(False)
        return features
