"""What an iteration costs on a device: arithmetic, memory traffic and launches.

The three phases run on tensors without content. Every operation's arithmetic and bytes are noted
for two images and for three, which gives its share per image and per iteration. An operation then
takes the longest of: its arithmetic at the device's rate, its bytes at the device's bandwidth, one
launch (`pipeline.planning.devices`).

N images of a micro-batch
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pipeline.config import RunConfig
from pipeline.planning.devices import Rates
from stylealae.config import LossConfig, ModelConfig
from stylealae.errors import ConfigError
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import AlaePhase, phases_of
from stylealae.schedule import Progress, at_stage

__all__ = [
    "Count",
    "checkpoint_bytes",
    "iteration_s",
    "phase_s",
    "sections",
    "trained_numbers",
]

Floats = NDArray[np.float64]
FLOAT = 4
SHARED_HOST = 8
"""GPUs of a host; more than these talk over the network."""


@dataclass(frozen=True)
class Operations:
    """[K] operations: arithmetic and bytes of each, per image and per iteration."""

    flop: tuple[Floats, Floats]
    bytes: tuple[Floats, Floats]
    full: float
    """Share that stays in float32 in every precision."""

    def seconds(self, n: int, rates: Rates, *, half: bool) -> float:
        """What they take on a micro-batch of n images."""
        flop = self.flop[0] * n + self.flop[1]
        moved = self.bytes[0] * n + self.bytes[1]

        def longest(rate: float, width: float) -> float:
            return float(
                np.maximum(
                    np.maximum(flop / rate, width * moved / rates.byte_s), rates.launch_s
                ).sum()
            )

        single = longest(rates.fp32_flop_s, 1.0)
        if not half:
            return single
        return self.full * single + (1 - self.full) * longest(rates.half_flop_s, 0.5)


def sections(cfg: RunConfig) -> tuple[ModelConfig, LossConfig]:
    """The shape and the losses of a StyleALAE.

    Raises:
        ConfigError: the run trains another family.
    """
    if not isinstance(cfg.model, ModelConfig) or not isinstance(cfg.loss, LossConfig):
        raise ConfigError(
            f"the family is {cfg.family}: times and costs are forecast for stylealae alone; leave "
            "--gpus and --calibrate away"
        )
    return cfg.model, cfg.loss


def iteration_s(cfg: RunConfig, stage: int, workers: int, rates: Rates) -> float:
    """Seconds of one iteration with so many workers."""
    (model, loss), share = sections(cfg), at_stage(cfg.schedule.batch, stage) // workers
    micro = min(at_stage(cfg.engine.micro_batch, stage) or share, share)
    every = loss.r1_every
    due = phase_s(cfg, stage, micro, rates, due=True)
    compute = due if every == 1 else due / every + (1 - 1 / every) * phase_s(
        cfg, stage, micro, rates, due=False
    )  # fmt: skip
    trained = trained_numbers(model, loss, stage)
    sharded = workers if cfg.engine.zero_stage else 1
    adam = 7 * FLOAT * sum(trained) / sharded  # reads p, g, m, v; writes p, m, v
    average = 3 * FLOAT * max(trained)
    return share // micro * compute + (adam + average) / rates.byte_s + _link_s(
        cfg, FLOAT * sum(trained), workers, rates
    )  # fmt: skip


def phase_s(cfg: RunConfig, stage: int, micro: int, rates: Rates, *, due: bool) -> float:
    """Seconds of the three phases on a micro-batch, forwards and backwards."""
    half = cfg.engine.precision != "fp32"
    again = 4 / 3 if cfg.engine.recompute_from and cfg.engine.recompute_from <= 4 << stage else 1.0
    counted = _operations(*sections(cfg), stage, due)
    return again * sum(ops.seconds(micro, rates, half=half) for ops in counted)


def _link_s(cfg: RunConfig, gradients: int, workers: int, rates: Rates) -> float:
    """Seconds of the collectives, of which none is hidden behind the arithmetic."""
    times = 3 if cfg.engine.zero_stage == 3 else 2  # gathers of the weights, gradients
    rate = rates.inside_byte_s if workers <= SHARED_HOST else rates.outside_byte_s
    return times * (workers - 1) / workers * gradients / rate


@lru_cache(maxsize=64)
def trained_numbers(model: ModelConfig, loss: LossConfig, stage: int) -> tuple[int, ...]:
    """Numbers that each phase trains."""
    with torch.device("meta"):
        nets = build(model)
    at = _at(stage, 1)
    count = {letter: sum(p.numel() for p in nets.grown(letter, at)) for letter in nets.networks}
    return tuple(sum(count[letter] for letter in p.trains) for p in phases_of(loss))


def checkpoint_bytes(cfg: RunConfig, stage: int) -> int:
    """Weights and their average of all resolutions, Adam's moments of those at work."""
    with torch.device("meta"):
        nets = build(sections(cfg)[0])
    at = _at(stage, 1)
    trained = sum(p.numel() for letter in nets.networks for p in nets.grown(letter, at))
    return FLOAT * 2 * (sum(p.numel() for p in nets.parameters()) + trained)


def _at(stage: int, n: int) -> Progress:
    return Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=n, lr=0.0)


@lru_cache(maxsize=64)
def _operations(model: ModelConfig, loss: LossConfig, stage: int, due: bool) -> list[Operations]:
    """The operations of each phase."""
    iteration = 0 if due else 1
    found = []
    for phase in phases_of(loss, iteration):
        two, three = (_count(model, loss, stage, n, phase) for n in (2, 3))  # one is a special case
        assert len(two.flop) == len(three.flop)
        flop, moved = _shares(two.flop, three.flop), _shares(two.bytes, three.bytes)
        full = _real_branch(model, stage, two) if phase.double_backward else 0.0
        found.append(Operations(flop, moved, full))
    return found


def _shares(two: Sequence[float], three: Sequence[float]) -> tuple[Floats, Floats]:
    """What an image adds, and what is there without any, from the counts of two and of three."""
    slope = np.maximum(np.asarray(three) - np.asarray(two), 0.0)
    return slope, np.maximum(np.asarray(two) - 2 * slope, 0.0)


def _real_branch(model: ModelConfig, stage: int, critic: "Count") -> float:
    """Share of the critic's arithmetic in the real images' branch, kept in float32 for R1."""
    with torch.device("meta"):
        nets = build(model)
        x = torch.empty(2, model.channels, 4 << stage, 4 << stage, requires_grad=True)
    alone = Count()
    with alone:
        logits = nets.D(nets.E(x, _at(stage, 2)))
        (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        torch.autograd.backward(logits.sum() + grad.square().sum())
    return min(sum(alone.flop) / sum(critic.flop), 1.0)


def _count(model: ModelConfig, loss: LossConfig, stage: int, n: int, phase: AlaePhase) -> "Count":
    with torch.device("meta"):
        nets: Networks = build(model)
        x = torch.empty(n, model.channels, 4 << stage, 4 << stage)
        z, crossover = torch.empty(n, model.z_width), torch.ones(n)
    for letter in nets.networks:
        for p in nets.grown(letter, _at(stage, n)):
            p.requires_grad_(letter in phase.trains)
    draw = StyleInputs(z=z, z_other=z, crossover=crossover, noise=None)
    count = Count()
    with count:
        torch.autograd.backward(phase.loss(nets, x, draw, _at(stage, n), loss))
    return count


class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what every operation computes and moves; views move nothing and are left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop: list[float] = []
        self.bytes: list[float] = []

    def __torch_dispatch__(
        self, op: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and notes it."""
        out = op(*given, **(named or {}))
        if not op.is_view:
            formula = flop_registry.get(op._overloadpacket)
            flop = formula(*given, **(named or {}), out_val=out) if formula else 0
            self.flop.append(float(flop))
            self.bytes.append(float(_bytes(given) + _bytes(out)))
        return out


def _bytes(held: Any) -> int:
    """Of all tensors in arguments or results."""
    if isinstance(held, torch.Tensor):
        return held.numel() * held.element_size()
    return sum(map(_bytes, held)) if isinstance(held, (tuple, list)) else 0
