"""What the fused steps between convolutions take on a GPU, for counts on tensors without content.

The numbers are of the code that torch's compiler writes for GPUs (tests/fakegpu/fused.json, which a
test compares), not measured.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from torch import Tensor

from stylealae.ops.compiler import planned

__all__ = ["COSTS", "SMALL", "Cost", "fused"]

SMALL = 8
"""Side of the planes up to which a formula sums them in one kernel."""


class Cost(NamedTuple):
    """A formula's kernels, and the bytes that they move for each number of float32 features."""

    kernels: int
    bytes: float


COSTS = {
    "styled": (Cost(1, 9.8), Cost(3, 15.3)),
    "styled_backward": (Cost(3, 14.2), Cost(5, 22.5)),
    "normalised": (Cost(1, 8.9), Cost(3, 12.9)),
    "normalised_backward": (Cost(2, 14.7), Cost(4, 22.6)),
    "normalised_twice": (Cost(1, 21.3), Cost(3, 33.6)),
    "blur": (Cost(1, 8.0), Cost(1, 8.0)),
}
"""Of small planes, and of larger ones."""


@contextmanager
def fused(
    note: Callable[[int, float], object], unnoted: Callable[[], AbstractContextManager[object]]
) -> Iterator[None]:
    """Inside, steps between convolutions of tensors without content are fused.

    Args:
        note: told the kernels and bytes of each.
        unnoted: makes a context in which operations are not to be counted.
    """

    def call(
        formula: Callable[..., Any], given: Sequence[Tensor | None], constants: Sequence[float]
    ) -> Any:
        shape = next(t.shape for t in given if t is not None and t.ndim == 4)
        cost = COSTS[formula.__name__][shape[-1] > SMALL]
        note(cost.kernels, cost.bytes * math.prod(shape))
        with unnoted():
            return formula(*given, *constants)

    with planned("meta", call):
        yield
