"""Networks on tensors without content ("meta"): sizes are known, and nothing is computed.

torch works out the shapes of most results in Python, up to a millisecond each; a stage has the
operations of the stages before it again, so what an operation gives is remembered by its arguments.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from stylealae.config import ShapeConfig
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import Growth, Progress

__all__ = [
    "Given",
    "Named",
    "Operation",
    "Remembered",
    "at_work",
    "freeze_all_but",
    "networks_of",
    "numbers",
    "progress_of",
    "result_of",
]

Operation = OpOverload[..., object]
Given = tuple[object, ...]
Named = dict[str, object] | None
"""What torch calls an operation with: its arguments by place and by name."""
TensorLayout = tuple[torch.Size, tuple[int, ...], torch.dtype]
_results: dict[Hashable, TensorLayout | list[TensorLayout]] = {}


@cache
def networks_of(family: str, model: ShapeConfig) -> NetworkGroup:
    """The networks of a family's shape, the same ones each time."""
    with torch.device("meta"):
        nets: NetworkGroup = FAMILIES[family].build(model)
    return nets


def progress_of(stage: int, n: int) -> Progress:
    """A stage whose newest block is half faded in, at n images a batch."""
    return Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=n, lr=0.0)


def at_work(nets: NetworkGroup, networks: Iterable[str], at: Growth) -> list[nn.Parameter]:
    """The parameters of some networks that the forward pass uses at this growth."""
    return [p for network in networks for p in nets.grown(network, at)]


def freeze_all_but(nets: NetworkGroup, trained: str, at: Growth) -> None:
    """Makes only the parameters of the trained networks require gradients, and clears those."""
    nets.zero_grad(set_to_none=True)
    for network in nets.networks:
        for p in nets.grown(network, at):
            p.requires_grad_(network in trained)


def numbers(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers parameters hold."""
    return sum(p.numel() for p in parameters)


class Remembered(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, an operation that was there before costs what making its result does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, op: Operation, types: Sequence[type], given: Given = (), named: Named = None
    ) -> object:
        """The operation's result."""
        return result_of(op, given, named or {})


def result_of(op: Operation, given: Given, named: Mapping[str, object]) -> object:
    """What an operation gives; from the second time on made by its shape alone.

    Only of operations that make something new: neither views nor changes in place.
    """
    schema = op._schema
    if schema.is_mutable or any(returned.alias_info for returned in schema.returns):
        return op(*given, **named)
    try:
        key = op, _described(given), _described(tuple(named.items()))
        known = _results.get(key)
    except TypeError:  # an argument that nothing is remembered by
        return op(*given, **named)
    if known is None:
        out = op(*given, **named)
        if isinstance(out, Tensor):
            _results[key] = _of(out)
        elif isinstance(out, tuple) and all(isinstance(part, Tensor) for part in out):
            _results[key] = [_of(part) for part in out]
        return out
    return tuple(map(_made, known)) if isinstance(known, list) else _made(known)


def _described(argument: Any) -> Hashable:
    """An argument as far as a result's shape depends on it.

    Raises:
        TypeError: it is a tensor with content, on which the result may depend.
    """
    if isinstance(argument, Tensor):
        if argument.device.type != "meta":
            raise TypeError
        return argument.shape, argument.stride(), argument.dtype
    return tuple(map(_described, argument)) if isinstance(argument, list | tuple) else argument


def _of(result: Tensor) -> TensorLayout:
    return result.shape, result.stride(), result.dtype


def _made(result: TensorLayout) -> Tensor:
    shape, stride, dtype = result
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
