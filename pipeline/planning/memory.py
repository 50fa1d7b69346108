"""What a stage needs of a worker's memory, and the settings that make it fit a GPU.

Activations are counted, not guessed: the three phases run on tensors without content, and what
autograd keeps for the backward pass is added up.  Left out: the workspace of the convolutions and
what the allocator loses between tensors; `HEADROOM` is there for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import Growth, Progress, at_stage

__all__ = ["GIB", "activation_bytes", "fitted", "need", "state_bytes"]

HEADROOM = 0.85
"""Share of a GPU's memory that is planned for."""
RECOMPUTE_FROM = 256
"""Resolution from which recomputing pays: below, activations are small beside the state."""
FLOAT = 4
GIB = 1 << 30


def need(cfg: RunConfig, stage: int) -> int:
    """Bytes that a worker needs in a stage, with the settings of the config."""
    share = _share(cfg, stage)
    micro = min(at_stage(cfg.engine.micro_batch, stage) or share, share)
    return state_bytes(cfg, stage) + micro * activation_bytes(cfg, stage)


def fitted(cfg: RunConfig, memory: int) -> RunConfig:
    """The config with the largest micro-batches that fit workers of `memory` bytes.

    First with its own settings; then recomputing from 256x256 on; then with Adam in the host's
    memory as well.

    Raises:
        ConfigError: even so a stage does not fit.
    """
    own = cfg.engine
    for engine in (
        own,
        replace(own, recompute_from=RECOMPUTE_FROM),
        replace(own, recompute_from=RECOMPUTE_FROM, offload=own.zero_stage > 0),
    ):
        tried, micro = replace(cfg, engine=engine), list[int]()
        for tight in range(cfg.last_stage + 1):
            micro.append(_largest_micro_batch(tried, tight, memory))
            if not micro[-1]:
                break
        else:
            return replace(tried, engine=replace(engine, micro_batch=tuple(micro)))
    least = state_bytes(tried, tight) + activation_bytes(tried, tight)
    raise ConfigError(
        f"stage {tight} needs {least / HEADROOM / GIB:.1f} GiB a worker even for one image at a "
        f"time, {memory / GIB:.1f} are there: use larger GPUs, or more of them with "
        "engine.zero_stage=2 or 3"
    )


def _largest_micro_batch(cfg: RunConfig, stage: int, memory: int) -> int:
    """The largest part of a worker's share that fits; 0 if not even one image does."""
    share, room = _share(cfg, stage), HEADROOM * memory - state_bytes(cfg, stage)
    most = int(room // activation_bytes(cfg, stage)) if room > 0 else 0
    return max((n for n in range(1, min(share, most) + 1) if share % n == 0), default=0)


def state_bytes(cfg: RunConfig, stage: int) -> int:
    """What a worker holds whatever its micro-batch, sharded as ZeRO does.

    Weights, gradients, Adam, the running average, and copies of the weights at run-time scale.
    """
    with torch.device("meta"):
        nets = FAMILIES[cfg.family].build(cfg.model)
    at = Growth(stage=stage, alpha=0.5 if stage else 1.0)
    whole = sum(p.numel() for p in nets.parameters())
    trained = sum(p.numel() for letter in nets.networks for p in nets.grown(letter, at))
    zero, workers = cfg.engine.zero_stage, cfg.worker_counts(stage)[0]
    shared = [1 if zero < level else workers for level in (1, 2, 3)]
    adam = 0 if cfg.engine.offload else (2 if zero == 0 else 3)  # moments; ZeRO's own weights
    numbers = (
        whole / shared[2] + whole + trained / shared[1] + adam * trained / shared[0]
    )  # weights, average, gradients, Adam
    rescaled = 3 * _kept(cfg, stage, 2) - 2 * _kept(cfg, stage, 3)
    return int(FLOAT * numbers) + rescaled


def activation_bytes(cfg: RunConfig, stage: int) -> int:
    """What the hungriest phase keeps of one image until its backward pass.

    Batch norm takes no batch of one, so that two and three are looked at.
    """
    return _kept(cfg, stage, 3) - _kept(cfg, stage, 2)


def _kept(cfg: RunConfig, stage: int, n: int) -> int:
    """What the hungriest phase keeps of n images, and of the weights that it rescales."""
    engine = EngineConfig(precision=cfg.engine.precision)  # all of it that counts here
    plain = replace(cfg, engine=engine)
    everything, first = _saved(plain, stage, n, 0), cfg.engine.recompute_from
    if not first or first > 4 << stage:
        return everything
    largest = everything - _saved(plain, stage, n, 4 << stage)  # newest block, alive while redone
    return min(everything, _saved(plain, stage, n, first) + largest)


@lru_cache(maxsize=256)
def _saved(cfg: RunConfig, stage: int, n: int, recompute_from: int) -> int:
    """The most that a phase saves; in half precision all but R1's branch counts half."""
    with torch.device("meta"):
        nets = FAMILIES[cfg.family].build(cfg.model)
    if recompute_from:
        nets.recompute_from(recompute_from)
    at = Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=n, lr=0.0)
    family, shape = FAMILIES[cfg.family], (cfg.model.channels, at.resolution, at.resolution)
    x, labels = torch.empty(n, *shape, device="meta"), torch.zeros(n, dtype=torch.long)
    sampler = family.sampler(
        cfg.model, cfg.loss, seed=0, mine=slice(0, n), device=x.device,
        labelled=(torch.zeros(1, *shape), labels[:1]),
    )  # fmt: skip
    most = 0
    for phase in family.phases(cfg.loss, 0):
        r = sampler.draw(phase.name, 0, at, labels)
        for letter in nets.networks:
            for p in nets.grown(letter, at):
                p.requires_grad_(letter in phase.trains)
        with _counted(nets) as count:
            phase.loss(nets, x, r, at, cfg.loss)
        half = cfg.engine.precision != "fp32" and not phase.double_backward
        most = max(most, sum(count.values()) // (2 if half else 1))
    return most


@contextmanager
def _counted(nets: NetworkGroup) -> Iterator[dict[int, int]]:
    """Bytes by storage of all that autograd saves inside the block, weights left out."""
    count: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no storage's number is given out twice
    weights = {p.untyped_storage()._cdata for p in nets.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            count[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield count


def _share(cfg: RunConfig, stage: int) -> int:
    """Images of the fewest workers that the stage may have: what they can hold, more can."""
    return at_stage(cfg.schedule.batch, stage) // cfg.worker_counts(stage)[0]
