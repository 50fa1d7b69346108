"""The processes that train together: how they meet, and the few things they must agree on."""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.arithmetic import compute_deterministically
from pipeline.config.sections import EngineConfig
from pipeline.process import ALONE, Place, keep_freed_memory, place_of_torchrun
from stylealae.errors import ConfigError
from stylealae.ops.compiler import fuse

__all__ = ["World", "joined", "leave"]

WAIT = timedelta(days=1)
"""How long the ranks wait for one of them that retries an operation on its storage, say."""


@dataclass(frozen=True)
class World:
    """The processes that train together, and this one's place among them."""

    rank: int
    size: int
    device: torch.device
    side: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)
    """The gloo group of flags and means; None is the group of everything else."""

    def share(self, batch: int) -> slice:
        """This rank's part of a global batch."""
        n = batch // self.size
        return slice(self.rank * n, (self.rank + 1) * n)

    def any(self, flag: bool) -> bool:
        """True on every rank if it is true on one.  Collective."""
        return bool(self.mean([float(flag)])[0] > 0)

    def each(self, value: float) -> list[float]:
        """The value of every rank, on every rank.  Collective."""
        mine = [value * self.size if rank == self.rank else 0.0 for rank in range(self.size)]
        return self.mean(mine)

    def mean(self, values: list[float]) -> list[float]:
        """The mean of every number over the ranks.  Collective.

        Where ranks wait for one another, be it for minutes, they wait here: not on the GPU, where
        NCCL's watchdog ends a process whose collective does not come to an end.
        """
        tensor = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(tensor, group=self.side)
        return [float(v) for v in (tensor / self.size).tolist()]

    def first(self, values: Sequence[float]) -> list[float]:
        """Rank 0's numbers, to the bit, on every rank; each gives as many.  Collective."""
        tensor = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            dist.broadcast(tensor, src=0, group=self.side)
        return [float(v) for v in tensor.tolist()]

    def free_memory(self) -> None:
        """Gives back what is no longer used: a stage's engine and networks refer to each other."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # the next stage wants pieces of other sizes

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place; each gives a tensor of the same shape.  Collective."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor


def joined(cfg: EngineConfig, *, gpu: bool, local_rank: int | None = None) -> World:
    """This process's World: of an existing group, torchrun's environment, or of one.

    Raises:
        ConfigError: a GPU was asked for and none is found, DeepSpeed was loaded for another device
            than this, or the environment names other processes that there are not.
    """
    place = Place() if dist.is_initialized() else place_of_torchrun()
    here = place.local_rank if local_rank is None else local_rank
    if gpu and not torch.cuda.is_available():
        raise ConfigError(
            "cluster.gpus_per_worker is 1 and this process finds no GPU (torch.cuda.is_available() "
            "is false): set cluster.gpus_per_worker=0 to train on the CPU, or see that the host's "
            "driver works (nvidia-smi) and that torch was built for CUDA"
        )
    _choose_accelerator("cuda" if gpu else "cpu")
    backend = "nccl" if gpu else "gloo"
    device = torch.device("cuda", here) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ[name] = os.environ.get(name, "").strip() or value  # DeepSpeed reads them
    timeout = timedelta(seconds=cfg.timeout_s)
    if dist.is_initialized():  # by Ray
        dist.distributed_c10d._set_pg_timeout(timeout)
    elif place.size == 1:
        store = torch._C._distributed_c10d.HashStore()
        dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
        atexit.register(_leave_alone)
    else:
        _meet(backend, place.size, timeout)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if cfg.deterministic:
        compute_deterministically()
    fuse(cfg.fuse, Path(cfg.kernel_cache))
    size = dist.get_world_size()
    side = dist.new_group(backend="gloo", timeout=WAIT) if size > 1 else None
    return World(dist.get_rank(), size, device, side)


def _meet(backend: str, size: int, timeout: timedelta) -> None:
    """Waits for the other processes that torchrun started."""
    try:
        dist.init_process_group(backend, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        why = str(error).partition("\n")[0]
        raise ConfigError(
            f"the {size} processes that WORLD_SIZE names do not meet at {where} within "
            f"{timeout.total_seconds():g} s ({why}): {ALONE}"
        ) from error


def leave(world: World) -> None:
    """Ends the groups of several ranks; that of one ends with its process."""
    if world.size > 1:
        dist.destroy_process_group()


def _leave_alone() -> None:
    """Ends the group of one before the interpreter goes: a thread of its own would abort it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _choose_accelerator(name: str) -> None:
    """Has DeepSpeed compute on this kind of device; it chooses once, when it is imported.

    By itself it would take the machine's GPU, whatever the engine is for.
    """
    os.environ["DS_ACCELERATOR"] = name
    loaded = sys.modules.get("deepspeed.accelerator.real_accelerator")
    chosen = getattr(loaded, "ds_accelerator", None)
    if chosen is not None and chosen.device_name() != name:
        raise ConfigError(
            f"DeepSpeed was imported before, for the device {chosen.device_name()}, and this "
            f"process is to train on {name}: import it after the world is joined, start another "
            f"process, or set DS_ACCELERATOR={name} for this one"
        )
