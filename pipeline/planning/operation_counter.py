"""Counts the operations of a phase on tensors without content: arithmetic, bytes, precision."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pipeline.planning import meta
from pipeline.planning.meta import Given, Named, Operation

__all__ = ["OperationCounter"]

aten = torch.ops.aten
NO_KERNEL = {
    aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default,
    aten.new_empty.default, aten.new_empty_strided.default, aten._unsafe_view.default,
    aten.promote_types.default,
}  # fmt: skip
"""What allocates, gives another view or asks about dtypes: nothing that a GPU is told of."""
PRODUCTS = {aten.addmm.default, aten.mm.default}
"""The layers of styles, and weights of convolutions that resample: in float32 where it fuses."""
CAST = 1.5
"""Of a weight's bytes in float32: read, and written in half precision."""


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts all that computes; views and empty memory move nothing and are left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop: list[float] = []
        self.bytes: list[float] = []
        self.forward: list[bool] = []
        """Whether each is of the forward pass whose gradient R1 takes, where `tf32` tells."""
        self.full: list[bool] = []
        """Whether each is in float32 in every precision."""
        self.cast: list[bool] = []
        """Whether each is a cast, which float32 does without."""
        self._off = False
        self._since: int | None = None

    def add(self, kernels: int, moved: float) -> None:
        """Counts kernels without arithmetic to speak of, which move so many bytes together."""
        for _ in range(kernels):
            self._note(0.0, moved / kernels)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, nothing is counted."""
        self._off = True
        try:
            yield
        finally:
            self._off = False

    def __torch_dispatch__(
        self, op: Operation, types: Sequence[type], given: Given = (), named: Named = None
    ) -> object:
        """Runs an operation and counts it."""
        if self._since is None and not torch.backends.cudnn.allow_tf32:
            self._since = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        out = meta.result_of(op, given, named or {})
        if not self._off and not op.is_view and op not in NO_KERNEL:
            formula = flop_registry.get(op._overloadpacket)
            flop = formula(*given, **(named or {}), out_val=out) if formula else 0
            self._note(float(flop), float(_bytes(given) + _bytes(out)), full=op in PRODUCTS)
            if weight := _cast_weight(op, given, out):
                self._note(0.0, CAST * weight, cast=True)
        return out

    def _note(self, flop: float, moved: float, *, full: bool = False, cast: bool = False) -> None:
        self.flop.append(flop)
        self.bytes.append(moved)
        self.forward.append(not torch.backends.cudnn.allow_tf32)
        self.full.append(full or self._in_r1())
        self.cast.append(cast)

    def _in_r1(self) -> bool:
        """Whether it is of R1's branch: of what has been computed since its forward pass began."""
        if self._since is None:
            return False
        node = torch._C._current_autograd_node()
        return node is None or node._sequence_nr() >= self._since


def _cast_weight(op: Operation, given: Given, out: object) -> int:
    """Bytes of the weight that is cast for a convolution, or of its gradient cast back."""
    if op is aten.convolution.default:
        return _bytes(given[1])
    return _bytes(out[1]) if op is aten.convolution_backward.default else 0  # type: ignore[index]


def _bytes(held: Any) -> int:
    """Of all tensors in arguments or results."""
    if isinstance(held, torch.Tensor):
        return held.numel() * held.element_size()
    return sum(map(_bytes, held)) if isinstance(held, (tuple, list)) else 0
