"""Part 2: a whole iteration in every precision, in a fade and after, replicated and sharded."""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch

from pipeline.world import World
from tests.gpu.setting import Row, Setting, kinds_of, row, small, trained

__all__ = ["rows"]

PRECISIONS, ALPHAS, ZERO = ("fp32", "bf16", "fp16"), (0.5, 1.0), (0, 1)
BATCH = 8
ITERATIONS = {"fp32": 2, "bf16": 2, "fp16": 16}
"""fp16 finds its loss scale within so many: until then it skips steps."""


def rows(s: Setting) -> Iterator[Row]:
    """What raises, which networks do not move, and what the host waits for."""
    world = s.world()
    for zero in ZERO:
        for precision in PRECISIONS:
            for alpha in kinds_of(s, ALPHAS):
                yield _tried(s, world, precision, alpha, zero)


def _tried(s: Setting, world: World, precision: str, alpha: float, zero: int) -> Row:
    cfg = small(s, f"engine.precision={precision}", f"engine.zero_stage={zero}")
    what = f"{precision}, alpha {alpha:g}, ZeRO {zero}"
    # With one rank ZeRO 1 acts as 0: here it is to be ours, buckets and all.
    own = mock.patch("pipeline.training.engine._worthwhile", lambda cfg, world: cfg)
    try:
        with own, trained(cfg, cfg.last_stage, alpha, BATCH, world) as iteration:
            nets = iteration.engine.nets
            before = {n: t.clone() for n, t in nets.state_dict().items()}
            for i in range(ITERATIONS[precision]):
                losses = iteration(i)
            waits = _waits(s, lambda: iteration(0))
            found = {name: float(loss) for name, loss in losses.items()}
            moved = {
                network: math.sqrt(sum(
                    float((t.double() - before[n].double()).square().sum())
                    for n, t in nets.state_dict().items() if n.startswith(f"{network}.")
                )) for network in nets.networks
            }  # fmt: skip
    except Exception as error:  # whatever it is, the next one is tried
        return row(what, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    still = [network for network, by in moved.items() if not by > 0]
    wrong = [f"{network} does not move" for network in still]
    wrong += [f"the loss {name} is {loss}" for name, loss in found.items() if loss != loss]
    wrong += [f"the host waits {waits} times"] if waits else []
    return row(what, "; ".join(wrong), waits=waits, **{f"moved {n}": by for n, by in moved.items()})


def _waits(s: Setting, step: Callable[[], Any]) -> int:
    """How often a step makes the host wait, as torch itself notes it."""
    if not s.on_gpu:
        step()
        return 0
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(w.message) for w in noted)
