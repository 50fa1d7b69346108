"""What the ranks send each other: collectives and bytes of every phase, at every ZeRO stage.

    with Collectives() as seen:
        engine.step(phase, x, r, at)
    seen.calls                        one Call for each collective, in their order

Counted where torch.distributed hands a collective to its backend, so it is the same for gloo and
NCCL, and for DeepSpeed's calls and ours.  What a rank sends is that of a ring, which NCCL uses for
all but small messages.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import LossConfig, ModelConfig, ScheduleConfig
from stylealae.networks import build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress
from tests.ranks import run_ranks

__all__ = ["Call", "Collectives", "bench_collectives"]

MODEL, STAGE = ModelConfig(), 2
"""FFHQ's network with 16x16 images: 35.4 of the 54.2 million weights of 1024x1024."""
KINDS = {
    "allreduce_": "all-reduce",
    "reduce_": "reduce",
    "broadcast_": "broadcast",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_": "reduce-scatter",
    "reduce_scatter_tensor_coalesced_": "reduce-scatter",
    "_allgather_base_": "all-gather",
    "allgather_": "all-gather",
    "allgather_into_tensor_coalesced_": "all-gather",
    "barrier": "barrier",
}
"""torch's operators, and what they are called here."""


@dataclass(frozen=True)
class Call:
    """One collective."""

    kind: str
    payload: int
    """Bytes of the whole tensor: of what is reduced, or of what all have after a gather."""
    dtype: torch.dtype | None
    in_backward: bool
    """Begun while the backward pass was still being computed."""

    def sent(self, ranks: int) -> float:
        """Bytes that one rank sends, in a ring and on average."""
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.payload * (ranks - 1) / ranks


class Collectives(TorchDispatchMode):
    """Every collective that is begun inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if op.namespace == "c10d":
            kind = KINDS[op.__name__.split(".")[0]]
            whole = list(_tensors(args[1 if kind == "reduce-scatter" else 0]))
            payload = 0 if kind == "barrier" else sum(t.numel() * t.element_size() for t in whole)
            backward = torch._C._current_graph_task_id() != -1
            self.calls.append(Call(kind, payload, whole[0].dtype, backward))
        return op(*args, **(kwargs or {}))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of an argument, however nested."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value:
            yield from _tensors(item)


def counted(world: World, zero: int, **engine: Any) -> dict[str, list[Call]]:
    """The collectives of each phase, in the second iteration."""
    torch.manual_seed(0)
    at = Progress(stage=STAGE, alpha=1.0, batch=world.size, lr=1e-4)
    cfg = RunConfig(
        model=MODEL,
        loss=LossConfig(),
        schedule=ScheduleConfig(batch=(world.size,)),
        engine=EngineConfig(precision="fp32", threads=1, zero_stage=zero, **engine),
    )
    made = Engine(build(MODEL), at, cfg, world)
    mine = world.share(at.batch)
    sampler = StyleInputSampler(
        seed=0, z_width=MODEL.z_width, mixing_prob=0.9, mine=mine, device=world.device
    )
    x = torch.rand(1, 3, at.resolution, at.resolution) * 2 - 1
    found = {}
    for seen in (0, 1):
        for phase in phases_of(cfg.loss):
            with Collectives() as collectives:
                made.step(phase, x, sampler.draw(phase.name, seen, at), at)
            found[phase.name] = collectives.calls
    made.close()
    return found


def all_stages(world: World) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What one rank sees at ZeRO 0 to 3."""
    how = {f"ZeRO {zero}": counted(world, zero) for zero in (0, 1, 2, 3)}
    how["ZeRO 1, bf16"] = counted(world, 1, reduce_dtype="bf16")
    return {
        zero: {name: [vars(call) for call in calls] for name, calls in phases.items()}
        for zero, phases in how.items()
    }


def bench_collectives(every_ranks: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A cell for each number of ranks, ZeRO stage and phase, and one for the iteration."""
    for ranks in every_ranks:
        with tempfile.TemporaryDirectory() as folder:
            stages = run_ranks(ranks, all_stages, Path(folder), timeout_s=1800)[0]
        for zero, phases in stages.items():
            every: list[Call] = []
            for phase, told in phases.items():
                calls = [Call(**fields) for fields in told]
                every += calls
                yield _cell(f"{zero}, {ranks} ranks, {phase}", calls, ranks)
            yield _cell(f"{zero}, {ranks} ranks, iteration", every, ranks)


def _cell(name: str, calls: list[Call], ranks: int) -> dict[str, Any]:
    def megabytes(chosen: list[Call]) -> float:
        return round(sum(call.sent(ranks) for call in chosen) / 1e6, 1)

    kinds = {kind: [c for c in calls if c.kind == kind] for kind in sorted({c.kind for c in calls})}
    return {
        "name": name,
        "collectives": {kind: (len(mine), megabytes(mine)) for kind, mine in kinds.items()},
        "in_backward_mb": megabytes([call for call in calls if call.in_backward]),
    }
