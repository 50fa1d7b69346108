"""What TF32 does to R1's gradient, told on a CPU: factors rounded to 10 bits, sums in float32."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stylealae.config import ModelConfig
from stylealae.losses import r1_penalty
from stylealae.networks import Networks, build
from stylealae.ops.compiler import planned
from stylealae.ops.precision import forward_of_r1, tf32
from stylealae.ops.tf32x3 import rounded
from stylealae.schedule import Growth

__all__ = ["Tf32", "bench_tf32", "emulated"]

aten = torch.ops.aten
FACTORS = {
    aten.convolution.default: (0, 1),
    aten.convolution_backward.default: (0, 1, 2),
    aten.mm.default: (0, 1),
    aten.addmm.default: (1, 2),
}
"""What is multiplied, by its place among the arguments."""


class Tf32(TorchDispatchMode):
    """Inside, factors of float32 are rounded as TF32 rounds them, where it is allowed."""

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = list(args)
        for place in FACTORS.get(op, ()) if torch.backends.cudnn.allow_tf32 else ():
            given[place] = rounded(given[place])
        return op(*given, **(kwargs or {}))


@contextmanager
def emulated(*, exact_forward: bool, split: bool = False) -> Iterator[None]:
    """Inside, what may take TF32 is rounded so; `exact_forward`: but not R1's forward pass.

    `split`: but that in 3xTF32, and as where steps are fused, by their formulas.
    """
    steps = planned("cpu", lambda formula, given, how: formula(*given, *how))
    with tf32(True, exact_forward=exact_forward, split=split), ExitStack() as stack:
        if split:
            stack.enter_context(steps)
        stack.enter_context(Tf32())
        yield


def bench_tf32(stages: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """A cell a stage of FFHQ's network: errors of the gradient that R1 gives E and D.

    Against float64, by the norm of the whole gradient, at the networks' first weights, one image.
    """
    for stage in stages:
        torch.manual_seed(stage)
        x = torch.rand(1, 3, 4 << stage, 4 << stage) * 2 - 1
        exact = _gradient(build(ModelConfig()).double(), x.double(), stage, nullcontext)
        ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "float32": nullcontext,
            "TF32": lambda: emulated(exact_forward=False),
            "TF32 in derivatives": lambda: emulated(exact_forward=True),
            "3xTF32 in the forward pass": lambda: emulated(exact_forward=True, split=True),
            "bf16": lambda: torch.autocast("cpu", torch.bfloat16),
        }
        found = {name: _gradient(build(ModelConfig()), x, stage, way) for name, way in ways.items()}
        errors = {name: float((g - exact).norm() / exact.norm()) for name, g in found.items()}
        yield {"name": f"R1's gradient, {4 << stage}x{4 << stage}", "errors": errors}


def _gradient(
    nets: Networks, x: Tensor, stage: int, way: Callable[[], AbstractContextManager[Any]]
) -> Tensor:
    """R1's gradient by the weights of E and D, in one vector, as float64."""
    x, at = x.requires_grad_(True), Growth(stage=stage, alpha=1.0)
    weights = [p for letter in "ED" for p in nets.grown(letter, at)]
    with way():
        with forward_of_r1():
            logits = nets.D(nets.E(x, at))
        penalty = r1_penalty(logits, x).mean()
        grads = torch.autograd.grad(penalty, weights, allow_unused=True)
    return torch.cat([g.detach().double().flatten() for g in grads if g is not None])
