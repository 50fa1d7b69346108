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
from stylealae.ops.formulas import normalised_backward

__all__ = ["COSTS", "SMALL", "Cost", "fused", "kind_of"]

SMALL = 8
"""Side of the planes up to which a formula sums them in one kernel."""


class Cost(NamedTuple):
    """Kernels, and what they move: bytes for each number of float32 features, and for each row."""

    kernels: int
    bytes: float
    by_row: float = 0.0
    by_image: float = 0.0
    """Bytes for each number of the smallest tensor: of an image, or of what is split."""

    def of(self, side: int, image: float = 0.0) -> float:
        """Bytes for each number of planes of this side, of which the smallest has this share."""
        return self.bytes + self.by_row / side + self.by_image * image


COSTS = {
    "styled": (Cost(1, 8.9), Cost(3, 12.8, 22)),
    "styled blurred": (Cost(1, 12.4), Cost(3, 16.4, 29)),
    "styled_alone": (Cost(1, 8.6), Cost(4, 12.5, 27)),
    "styled_backward": (Cost(3, 14.7), Cost(5, 20.6, 59)),
    "normalised": (Cost(1, 8.8), Cost(3, 12.0, 17)),
    "normalised_backward": (Cost(2, 13.4), Cost(4, 20.0, 26)),
    "normalised_backward again": (Cost(2, 17.3), Cost(4, 24.0, 26)),
    "normalised_twice": (Cost(1, 21.3), Cost(3, 32.0, 44)),
    "blur": (Cost(1, 8.0), Cost(1, 8.0)),
    "from_image": (Cost(1, 4.0, by_image=4), Cost(1, 4.0, by_image=4)),
    "of_features": (Cost(1, 4.0, by_image=4), Cost(1, 4.0, by_image=4)),
    "of_weight": (Cost(1, 4.0, by_image=4), Cost(1, 4.0, by_image=4)),
    "to_image": (Cost(1, 4.0, by_image=8), Cost(1, 4.0, by_image=8)),
    "to_layer": (Cost(3, 7.0, by_image=4), Cost(3, 4.0, 46, by_image=4)),
    "to_image_again": (Cost(3, 9.5, by_image=8), Cost(3, 8.0, 24, by_image=8)),
}
"""Of small planes, and of larger ones; "again": with what the second derivative gave x."""


def kind_of(name: str, *, blurred: bool, again: bool) -> str:
    """By which of the costs a formula is counted."""
    if name == "styled" and blurred:
        return "styled blurred"
    return f"{name} again" if name == "normalised_backward" and again else name


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
        with unnoted():
            out = formula(*given, *constants)
        parts = (*given, *out) if isinstance(out, tuple) else (*given, out)
        planes = [t.shape for t in parts if t is not None and t.ndim == 4]
        least, *_, shape = sorted(planes, key=math.prod)  # an image has fewer channels
        again = formula is normalised_backward and given[4] is not None
        kind = kind_of(formula.__name__, blurred=True in constants, again=again)
        cost = COSTS[kind][shape[-1] > SMALL]
        share = math.prod(least) / math.prod(shape)
        note(cost.kernels, cost.of(shape[-1], share) * math.prod(shape))
        return out

    with planned("meta", call):
        yield
