"""Loss scales for float16: one a phase, found while training, the same on all ranks.

Float16 has no numbers below 6e-8, where most gradients lie.  So a phase's loss is scaled up before
its backward pass, and the optimizer scales the gradients down again.  Where one of them overflows,
on whatever rank, no rank steps and the phase's scale is halved; after enough steps without, it is
doubled.  All of it is computed on the device, and no step waits for the outcome.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.world import World
from stylealae.errors import DivergenceError

__all__ = ["LossScaler"]

START = 2.0**16
GROWTH, BACKOFF = 2.0, 0.5
INTERVAL = 2000
"""Steps without an overflow after which a scale grows."""
MOST_SKIPPED = 32
"""Steps in a row: by then the scale has fallen from 65,536 to 1/65,536."""
PREFIX = "scaler/"


class LossScaler:
    """The loss scales of all phases, with what they go by."""

    def __init__(self, phases: Sequence[str], world: World, group: dist.ProcessGroup) -> None:
        """The first scales; the ranks agree on overflows in the group of the step's collectives."""
        self._world, self._group = world, group

        def each(value: float) -> dict[str, Tensor]:
            return {phase: torch.full((), value, device=world.device) for phase in phases}

        self._scale, self._skipped, self._in_a_row = each(START), each(0.0), each(0.0)
        self._good = {phase: zero.int() for phase, zero in each(0.0).items()}

    def scaled(self, phase: str, loss: Tensor) -> Tensor:
        """The loss to begin the phase's backward pass with.  [] -> []"""
        return loss * self._scale[phase]

    def decided(self, phase: str, grads: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What to divide these gradients by, and 1 if the step is to be skipped.  Collective.

        The phase's scale moves for the next time.
        """
        scale, overflowed = self._scale[phase].clone(), self._overflowed(grads)
        torch._amp_update_scale_(
            self._scale[phase], self._good[phase], overflowed, GROWTH, BACKOFF, INTERVAL
        )
        self._skipped[phase] += overflowed
        self._in_a_row[phase] = (self._in_a_row[phase] + 1) * overflowed
        return scale, overflowed

    def scalars(self) -> dict[str, float]:
        """The scale of every phase, and the steps skipped so far, by tag.

        Raises:
            DivergenceError: the steps of a phase keep being skipped.
        """
        for phase, in_a_row in self._in_a_row.items():
            if float(in_a_row) >= MOST_SKIPPED:
                raise DivergenceError(
                    f"the last {float(in_a_row):.0f} steps of the phase {phase} were skipped: its "
                    "gradients are not finite in float16 at any loss scale down to "
                    f"{float(self._scale[phase]):g}. Try engine.precision=bf16, which needs no "
                    "scale, or fp32, or a lower schedule.lr"
                )
        scales = {f"system/loss_scale/{phase}": float(s) for phase, s in self._scale.items()}
        return {**scales, "system/skipped_steps": sum(float(n) for n in self._skipped.values())}

    def state_dict(self) -> dict[str, Tensor]:
        """[scale, good steps since it moved, skipped steps, of these in a row] of every phase."""
        return {
            f"{PREFIX}{phase}": torch.stack([n.double() for n in self._numbers(phase)]).cpu()
            for phase in self._scale
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave; a phase that is not in it begins anew."""
        for phase in self._scale:
            if (saved := state.get(f"{PREFIX}{phase}")) is not None:
                for number, value in zip(self._numbers(phase), saved, strict=True):
                    number.copy_(value)

    def _overflowed(self, grads: Sequence[Tensor]) -> Tensor:
        """1 if a gradient is not finite on any rank, else 0.  -> []"""
        where = grads[0].device if grads else self._world.device
        found, one = torch.zeros((), device=where), torch.ones((), device=where)
        if grads:
            torch._amp_foreach_non_finite_check_and_unscale_(list(grads), found, one)
        found = found.to(self._world.device)
        if self._world.size > 1:
            dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self._group)
        return found

    def _numbers(self, phase: str) -> list[Tensor]:
        return [row[phase] for row in (self._scale, self._good, self._skipped, self._in_a_row)]
