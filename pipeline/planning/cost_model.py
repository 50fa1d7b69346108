"""The cost model: what an iteration takes on a device in arithmetic, memory traffic and launches.

The three phases run on tensors without content. Every operation's arithmetic and bytes are counted
for two images and for three, which gives its share per image and per iteration. An operation then
takes the longest of: its arithmetic at the device's rate, its bytes at the device's bandwidth, one
launch (`pipeline.planning.devices`).

N images of a micro-batch
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arithmetic import EXACT_FORWARD, may_take_tf32
from pipeline.planning import fusion, meta
from pipeline.planning.devices import Rates
from pipeline.planning.operation_counter import OperationCounter
from pipeline.planning.stage_plan import StagePlan
from stylealae.config import LossConfig, ModelConfig
from stylealae.errors import ConfigError
from stylealae.networks import Networks
from stylealae.ops.precision import tf32
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import AlaePhase, phases_of

__all__ = [
    "OperationCounter",
    "Operations",
    "checkpoint_bytes",
    "iteration_s",
    "operations",
    "phase_s",
    "phases_s",
    "sections",
    "split_s",
]

Floats = NDArray[np.float64]
FLOAT = 4
SHARED_HOST = 8
"""GPUs of a host; more than these talk over the network."""
COLLECTIVE_S, COLLECTIVES_OF_ZERO_3 = 3e-5, 600
"""Assumed time of the smallest collective; how many ZeRO 3 begins in an iteration, as counted."""


@dataclass(frozen=True)
class Operations:
    """[K] operations: arithmetic and bytes of each, per image and per iteration."""

    flop: tuple[Floats, Floats]
    bytes: tuple[Floats, Floats]
    forward: NDArray[np.bool_]
    """Those of the forward pass whose gradient R1 takes."""
    full: NDArray[np.bool_]
    """Those in float32 in every precision: these, R1's derivatives, the layers of styles."""
    cast: NDArray[np.bool_]
    """Those that float32 does without: casts of weights and of their gradients."""

    def seconds(
        self, n: int, rates: Rates, *, half: bool, tf32: bool, exact_forward: bool = False
    ) -> float:
        """What they take on a micro-batch of n images, float32 as TF32 if `tf32`.

        `exact_forward`: not so R1's forward pass.
        """
        return sum(self.branches(n, rates, half=half, tf32=tf32, exact_forward=exact_forward))

    def branches(
        self, n: int, rates: Rates, *, half: bool, tf32: bool, exact_forward: bool
    ) -> tuple[float, float]:
        """As `seconds`: R1's branch, and all else."""
        flop = self.flop[0] * n + self.flop[1]
        moved = self.bytes[0] * n + self.bytes[1]
        single = max(rates.fp32_flop_s, rates.tf32_flop_s if tf32 else 0.0)

        def longest(which: NDArray[np.bool_], rate: float, width: float) -> float:
            each = np.maximum(flop / rate, width * moved / rates.byte_s)
            return float(np.maximum(each, rates.launch_s)[which].sum())

        first = longest(self.forward, rates.fp32_flop_s if exact_forward else single, 1.0)
        full = self.full & ~self.forward & ~self.cast
        alone, other = longest(full, single, 1.0), ~self.full & ~self.cast
        if not half:
            return first + alone, longest(other, single, 1.0)
        return first + alone, sum((
            longest(other, rates.half_flop_s, 0.5), longest(self.cast & ~self.full, single, 1.0)
        ))  # fmt: skip


def sections(plan: StagePlan) -> tuple[ModelConfig, LossConfig]:
    """The shape and the losses of a StyleALAE.

    Raises:
        ConfigError: the run trains another family.
    """
    if not isinstance(plan.model, ModelConfig) or not isinstance(plan.loss, LossConfig):
        raise ConfigError(
            f"the family is {plan.family}: times and costs are forecast for stylealae alone; leave "
            "--gpu, --rates and --calibrate away"
        )
    return plan.model, plan.loss


def iteration_s(plan: StagePlan, workers: int, rates: Rates) -> float:
    """Seconds of one iteration with so many workers."""
    (model, loss), micro = sections(plan), plan.micro_batch(workers)
    every = loss.r1_every
    fading = plan.fading_img / plan.images if plan.stage and plan.images else 0.0
    compute = sum(
        share * often * phase_s(plan, micro, rates, due=due, fading=fades)
        for fades, share in ((True, fading), (False, 1 - fading))
        for due, often in ((True, 1 / every), (False, 1 - 1 / every))
        if share and often
    )
    trained = _trained_numbers(model, loss, plan.stage)
    sharded = workers if plan.engine.zero_stage else 1
    adam = 7 * FLOAT * sum(trained) / sharded  # reads p, g, m, v; writes p, m, v
    average = 3 * FLOAT * max(trained)
    return plan.share(workers) // micro * compute + (adam + average) / rates.byte_s + _link_s(
        plan, FLOAT * sum(trained), workers, rates
    )  # fmt: skip


def phase_s(plan: StagePlan, micro: int, rates: Rates, *, due: bool, fading: bool = True) -> float:
    """Seconds of the three phases on a micro-batch, forwards and backwards; `due` is R1."""
    return sum(phases_s(plan, micro, rates, due=due, fading=fading).values())


def phases_s(
    plan: StagePlan, micro: int, rates: Rates, *, due: bool, fading: bool = True
) -> dict[str, float]:
    """Seconds of each phase on a micro-batch, by its name."""
    engine, (model, loss) = plan.engine, sections(plan)
    again = 4 / 3 if engine.recompute_from and engine.recompute_from <= plan.resolution else 1.0
    fused = rates.fuses and engine.fuse != "off"
    counted = operations(
        model, loss, plan.stage, due=due, fused=fused, fading=fading,
        split=engine.tf32 == "3xtf32",
    )  # fmt: skip
    return {
        phase.name: again * ops.seconds(
            micro, rates, half=engine.precision != "fp32",
            tf32=may_take_tf32(engine.tf32, phase), exact_forward=engine.tf32 in EXACT_FORWARD,
        )
        for phase, ops in zip(phases_of(loss, 0 if due else 1), counted, strict=True)
    }  # fmt: skip


def split_s(plan: StagePlan, workers: int, rates: Rates) -> float:
    """Seconds of an iteration that would be spared by two workers for phase I, one for each branch.

    The shorter branch is computed beside the longer one.
    """
    micro, engine = plan.micro_batch(workers), plan.engine
    counted = operations(
        *sections(plan), plan.stage, due=True, fused=rates.fuses and engine.fuse != "off",
        split=engine.tf32 == "3xtf32",
    )[0]  # fmt: skip
    branches = counted.branches(
        micro, rates, half=engine.precision != "fp32",
        tf32=engine.tf32 in (*EXACT_FORWARD, "on"), exact_forward=engine.tf32 in EXACT_FORWARD,
    )  # fmt: skip
    return plan.share(workers) // micro * min(branches)


def _link_s(plan: StagePlan, gradients: int, workers: int, rates: Rates) -> float:
    """Seconds of the collectives that are not hidden behind the arithmetic.

    ZeRO 1 averages gradients during the backward pass; what is left is the gathering.
    """
    if workers == 1:
        return 0.0
    zero, rate = (
        plan.engine.zero_stage,
        rates.inside_byte_s if workers <= SHARED_HOST else rates.outside_byte_s,
    )
    times = {0: 2, 1: 1, 2: 2, 3: 3}[zero]
    pieces = math.ceil(gradients / (plan.engine.bucket_mib << 20 or gradients))
    calls = {0: 3, 1: pieces, 2: 2 * pieces, 3: COLLECTIVES_OF_ZERO_3}[zero]
    return times * (workers - 1) / workers * gradients / rate + calls * COLLECTIVE_S


def checkpoint_bytes(plan: StagePlan) -> int:
    """Weights and their average of all resolutions, Adam's moments of those at work."""
    nets = _networks(sections(plan)[0])
    trained = meta.numbers(meta.at_work(nets, nets.networks, meta.progress_of(plan.stage, 1)))
    return FLOAT * 2 * (meta.numbers(nets.parameters()) + trained)


def _networks(model: ModelConfig) -> Networks:
    nets = meta.networks_of("stylealae", model)
    assert isinstance(nets, Networks)
    nets.recompute_from(0)
    return nets


@lru_cache(maxsize=64)
def _trained_numbers(model: ModelConfig, loss: LossConfig, stage: int) -> tuple[int, ...]:
    """Numbers that each phase trains."""
    nets, at = _networks(model), meta.progress_of(stage, 1)
    return tuple(meta.numbers(meta.at_work(nets, p.trains, at)) for p in phases_of(loss))


@lru_cache(maxsize=64)
def operations(
    model: ModelConfig, loss: LossConfig, stage: int, *, due: bool, fused: bool = False,
    fading: bool = True, split: bool = False,
) -> tuple[Operations, ...]:  # fmt: skip
    """The operations of each phase of a stage; `due` is R1, `fused` the steps in between.

    In its fade, or after it if not `fading`; `split`: R1's forward pass in 3xTF32.
    """
    iteration = 0 if due else 1
    found = []
    for phase in phases_of(loss, iteration):
        two, three = (  # one image is a special case
            _count(model, loss, stage, n, phase, fused=fused, fading=fading, split=split)
            for n in (2, 3)
        )
        assert len(two.flop) == len(three.flop)
        flop, moved = _shares(two.flop, three.flop), _shares(two.bytes, three.bytes)
        marks = (np.asarray(marked) for marked in (two.forward, two.full, two.cast))
        found.append(Operations(flop, moved, *marks))
    return tuple(found)


def _shares(two: Sequence[float], three: Sequence[float]) -> tuple[Floats, Floats]:
    """What an image adds, and what is there without any, from the counts of two and of three."""
    slope = np.maximum(np.asarray(three) - np.asarray(two), 0.0)
    return slope, np.maximum(np.asarray(two) - 2 * slope, 0.0)


def _count(
    model: ModelConfig, loss: LossConfig, stage: int, n: int, phase: AlaePhase, *, fused: bool,
    fading: bool, split: bool,
) -> OperationCounter:  # fmt: skip
    """The operations of one phase on n images, forwards and backwards."""
    nets, at, side = _networks(model), meta.progress_of(stage, n), 4 << stage
    at = at if fading else replace(at, alpha=1.0)
    with torch.device("meta"):
        x = torch.empty(n, model.channels, side, side)
        z, crossover = torch.empty(n, model.z_width), torch.ones(n)
    meta.freeze_all_but(nets, phase.trains, at)
    draw = StyleInputs(z=z, z_other=z, crossover=crossover, noise=None)
    counter = OperationCounter()
    steps = fusion.fused(counter.add, counter.off) if fused else nullcontext()
    with tf32(True, exact_forward=True, split=split), steps, counter:
        torch.autograd.backward(phase.loss(nets, x, draw, at, loss))
    return counter
