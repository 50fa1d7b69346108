"""What a stage needs of a worker's memory, and the settings that make it fit a GPU.

Activations are counted, not guessed: the phases run on tensors without content, and what
autograd keeps for the backward pass is added up, and what a step between two convolutions works
with.  Left out: the workspace of the convolutions and what the allocator loses between tensors;
`HEADROOM` is there for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.planning import meta
from pipeline.planning.stage_plan import StagePlan, stage_plans
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import at_stage

__all__ = ["GIB", "activation_bytes", "fitted", "need", "state_bytes"]

HEADROOM = 0.85
"""Share of a GPU's memory that is planned for."""
RECOMPUTE_FROM = 256
"""Resolution from which recomputing pays: below, activations are small beside the state."""
FLOAT = 4
WORKING = 3
"""Tensors like the largest that is kept, in float32, alive at a time beside what is kept: counted
on the device of `make fakegpu`, with R1 in float32 and without it in bf16.  Fused, it is fewer."""
GIB = 1 << 30


def need(plan: StagePlan) -> int:
    """Bytes that a worker needs in a stage, with the settings of the config.

    Counted for the fewest workers that the stage may have: what they can hold, more can.
    """
    micro = plan.micro_batch(plan.worker_counts[0])
    return state_bytes(plan) + micro * activation_bytes(plan)


def fitted(cfg: RunConfig, memory: int) -> RunConfig:
    """The config with the largest micro-batches that fit workers of `memory` bytes.

    First with its own settings; then recomputing from 256x256 on; then with Adam in the host's
    memory as well, unless in fp16.

    Raises:
        ConfigError: even so a stage does not fit.
    """
    own = cfg.engine
    offload = own.zero_stage > 0 and own.precision != "fp16"
    for engine in (
        own,
        replace(own, recompute_from=RECOMPUTE_FROM),
        replace(own, recompute_from=RECOMPUTE_FROM, offload=offload),
    ):
        before = range(cfg.first_stage if len(cfg.stages) > 1 else 0)  # lists begin at stage 0
        micro = [at_stage(own.micro_batch, stage) for stage in before]
        for plan in stage_plans(replace(cfg, engine=engine)):
            micro.append(_largest_micro_batch(plan, memory))
            if not micro[-1]:
                break
        else:
            return replace(cfg, engine=replace(engine, micro_batch=tuple(micro)))
    least = state_bytes(plan) + activation_bytes(plan)
    raise ConfigError(
        f"stage {plan.stage} needs {least / HEADROOM / GIB:.1f} GiB a worker even for one image at "
        f"a time, {memory / GIB:.1f} are there: use larger GPUs, or more of them with "
        "engine.zero_stage=2 or 3"
    )


def _largest_micro_batch(plan: StagePlan, memory: int) -> int:
    """The largest divisor of a worker's share that fits; 0 if not even one image does."""
    share, budget = plan.share(plan.worker_counts[0]), HEADROOM * memory - state_bytes(plan)
    most = int(budget // activation_bytes(plan)) if budget > 0 else 0
    return max((n for n in range(1, min(share, most) + 1) if share % n == 0), default=0)


def state_bytes(plan: StagePlan) -> int:
    """What a worker holds whatever its micro-batch, sharded as ZeRO does.

    Weights, gradients, Adam, the running average, and copies of the weights at run-time scale.
    """
    nets = meta.networks_of(plan.family, plan.model)
    whole = meta.numbers(nets.parameters())
    trained = meta.numbers(meta.at_work(nets, nets.networks, meta.progress_of(plan.stage, 1)))
    zero, workers = plan.engine.zero_stage, plan.worker_counts[0]
    shared = [1 if zero < level else workers for level in (1, 2, 3)]
    adam = 0 if plan.engine.offload else (2 if zero < 2 else 3)  # moments; DeepSpeed's own weights
    numbers = (
        whole / shared[2] + whole + trained / shared[1] + adam * trained / shared[0]
    )  # weights, average, gradients, Adam
    rescaled = 3 * _kept(plan, 2) - 2 * _kept(plan, 3)
    return int(FLOAT * numbers) + rescaled


def activation_bytes(plan: StagePlan) -> int:
    """Activation bytes per image of the phase that needs the most, its working tensors included.

    Batch norm takes no batch of one, so that of two and of three are counted.
    """
    return _kept(plan, 3) - _kept(plan, 2)


def _kept(plan: StagePlan, n: int) -> int:
    """Bytes that the phase that needs the most holds of n images and of rescaled weights."""
    engine = EngineConfig(precision=plan.engine.precision)  # all of it that counts here
    plain = replace(plan, engine=engine)
    (everything, largest), first = _saved(plain, n, 0), plan.engine.recompute_from
    kept = everything
    if first and first <= plan.resolution:
        newest = everything - _saved(plain, n, plan.resolution)[0]  # alive while it is done again
        kept = min(kept, _saved(plain, n, first)[0] + newest)
    return kept + WORKING * largest


@lru_cache(maxsize=256)
def _saved(plan: StagePlan, n: int, recompute_from: int) -> tuple[int, int]:
    """The bytes that the phase that holds the most saves, and those of its largest in float32.

    In half precision all but R1's branch counts half.
    """
    nets = meta.networks_of(plan.family, plan.model)
    nets.recompute_from(recompute_from)
    at = meta.progress_of(plan.stage, n)
    family, shape = FAMILIES[plan.family], (plan.model.channels, at.resolution, at.resolution)
    x, labels = torch.empty(n, *shape, device="meta"), torch.zeros(n, dtype=torch.long)
    sampler = family.sampler(
        plan.model, plan.loss, seed=0, mine=slice(0, n), device=x.device,
        labelled=(torch.zeros(1, *shape), labels[:1]),
    )  # fmt: skip
    half, most = plan.engine.precision != "fp32", (0, 0)
    for phase in family.phases(plan.loss, 0):
        r = sampler.draw(phase.name, 0, at, labels)
        meta.freeze_all_but(nets, phase.trains, at)
        # Tensors without content know no autocast: the CPU's tells where it is switched off.
        with (
            _counted(nets) as sizes,
            torch.autocast("cpu", torch.bfloat16, enabled=half),
            meta.Remembered(),
        ):
            phase.loss(nets, x, r, at, plan.loss)
        whole = max(size for size, _ in sizes.values())
        saved = sum(size // (1 + halved) for size, halved in sizes.values())
        most = max(most, (saved, whole), key=lambda held: held[0] + WORKING * held[1])
    return most


@contextmanager
def _counted(nets: NetworkGroup) -> Iterator[dict[int, tuple[int, bool]]]:
    """By storage, weights left out: its bytes, and if autocast was on when autograd saved it."""
    count: dict[int, tuple[int, bool]] = {}
    alive: list[Tensor] = []  # so that no storage's number is given out twice
    weights = {p.untyped_storage()._cdata for p in nets.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            count[storage._cdata] = storage.nbytes(), torch.is_autocast_enabled("cpu")
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield count
