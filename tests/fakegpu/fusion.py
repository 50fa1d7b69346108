"""What the fused steps ask of a GPU, as torch's compiler would have it.

Nothing is compiled here.  How many kernels a formula becomes, and how many bytes they read and
write, is on record (fused.json), taken from the code that Inductor writes for Triton (inductor.py).
"""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylealae.ops.compiler import planned
from tests.fakegpu.counter import Counter

__all__ = ["Call", "fused", "keep", "missing"]

RECORD = Path(__file__).with_name("fused.json")
Cost = tuple[int, float]
"""Kernels, and bytes for every number of the features."""
KINDS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

_missing: "dict[tuple[str, int], Call]" = {}


@dataclass(frozen=True)
class Call:
    """A formula with what it is given: the shape and dtype of each tensor, None where it is not."""

    formula: Callable[..., Any]
    given: tuple[tuple[tuple[int, ...], torch.dtype] | None, ...]
    constants: tuple[float, ...]

    @property
    def features(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape [N, C, R, R] and dtype of the features, the first tensor of this kind."""
        return next(t for t in self.given if t is not None and len(t[0]) == 4)

    @property
    def kind(self) -> str:
        """All but the shape by which calls differ."""
        names = inspect.signature(self.formula).parameters
        flags = [name for name, value in zip(list(names)[len(self.given) :], self.constants,
                                             strict=True) if value is True]  # fmt: skip
        without = [f"no {name}" for name, t in zip(names, self.given, strict=False) if t is None]
        return " ".join([self.formula.__name__, KINDS[self.features[1]], *flags, *without])


@contextmanager
def fused() -> Iterator[None]:
    """Inside, what stands between convolutions counts as fused."""
    _missing.clear()
    with planned("cuda", _costed):
        yield


def missing() -> list[Call]:
    """Calls of the last block that are not on record."""
    return list(_missing.values())


def keep(costs: dict[tuple[str, int], Cost]) -> None:
    """Adds costs, by kind and side, to the record."""
    record = _read()
    for (kind, side), cost in costs.items():
        record.setdefault(kind, {})[str(side)] = cost
    lines = (
        f"{json.dumps(kind)}: {json.dumps(dict(sorted(sides.items(), key=lambda s: int(s[0]))))}"
        for kind, sides in sorted(record.items())
    )
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    _missing.clear()


def _read() -> dict[str, dict[str, Cost]]:
    found: dict[str, dict[str, Cost]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return found


def _costed(
    formula: Callable[..., Any], given: Sequence[Tensor | None], constants: Sequence[float]
) -> Any:
    """The formula's results, at the cost of its kernels."""
    shapes = tuple(None if t is None else (tuple(t.shape), t.dtype) for t in given)
    call, counter = Call(formula, shapes, tuple(constants)), Counter.at_work
    if counter is None:
        return formula(*given, *constants)
    shape, _ = call.features
    cost = _read().get(call.kind, {}).get(str(shape[-1]))
    if cost is None:
        _missing[call.kind, shape[-1]] = call
    with counter.replaced(formula.__name__, *(cost or (0, 0.0)), features=shape):
        return formula(*given, *constants)
