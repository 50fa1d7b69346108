"""The one DeepSpeed engine: what a phase trains, its backward pass and its step.

One engine over one module that returns a phase's loss; a parameter group for each letter; what a
phase does not train is frozen, and its groups are skipped by the optimiser (optimizer.py).
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as fn
from torch import Tensor, nn

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed would search, and warn

import deepspeed
from deepspeed.utils import (
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    safe_set_local_optimizer_state,
)

from pipeline.allocator import keep_freed_memory
from pipeline.config import RunConfig
from pipeline.optimizer import KINDS
from pipeline.sections import EngineConfig
from pipeline.world import World
from stylealae.config import TermsConfig
from stylealae.draws import Draw
from stylealae.family import FAMILIES
from stylealae.networks.lettered import Lettered
from stylealae.ops.compiler import fuse
from stylealae.phases import Phase
from stylealae.schedule import Growth, Progress, at_stage

__all__ = ["Engine", "joined"]

MAX_BUCKET = 64 << 20
BIASES = 512  # ZeRO 3 keeps tensors of no more numbers whole on every rank
TIMEOUT = timedelta(minutes=10)


def joined(cfg: EngineConfig, *, gpu: bool, local_rank: int = 0) -> World:
    """This process's World: of an existing group, torchrun's environment, or of one."""
    if gpu and not torch.cuda.is_available():
        gpu = False
        logging.getLogger(__name__).warning("no GPU found: training on the CPU")
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
        # DeepSpeed would compile a shared-memory all-reduce here, which needs a C++ compiler and
        # leaves 69 MB a rank in /dev/shm when a process is killed; gloo does.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    # ZeRO loads Muon, which is compiled, and with it torch's compiler: a second of every start.
    deepspeed.runtime.compiler.compile = lambda *_, **__: lambda function: function
    if not dist.is_initialized():
        backend = "nccl" if gpu else "gloo"
        if os.environ["WORLD_SIZE"] == "1":
            store = torch._C._distributed_c10d.HashStore()
            dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend, timeout=TIMEOUT)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    fuse(cfg.fuse, Path(cfg.kernel_cache))
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.init_distributed(dist_backend=dist.get_backend(), dist_init_required=False)
    return World(dist.get_rank(), dist.get_world_size(), device)


class PhaseLoss(nn.Module):
    """What DeepSpeed wraps: the networks, whose forward is a phase's loss."""

    def __init__(self, nets: Lettered, cfg: TermsConfig) -> None:
        super().__init__()
        self.nets = nets
        self.cfg = cfg

    def forward(self, phase: Phase, x: Tensor, r: Draw, at: Growth) -> Tensor:
        """The loss of one phase on one micro-batch.  -> []"""
        return phase.loss(self.nets, x, r, at, self.cfg)


class Engine:
    """Trains the networks of one stage.  Every public method is collective."""

    def __init__(self, nets: Lettered, at: Progress, cfg: RunConfig, world: World) -> None:
        self.nets = nets
        share = at.batch // world.size
        self.micro = min(at_stage(cfg.engine.micro_batch, at.stage) or share, share)
        self.names = {p: name for name, p in nets.named_parameters()}
        # What grows in this stage, the entrances that fade out included.
        self.letters = {a: list(nets.grown(a, _fading(at))) for a in nets.letters}
        nets.recompute_from(cfg.engine.recompute_from)
        how = _worthwhile(cfg.engine, world)
        nets.requires_grad_(False)
        for params in self.letters.values():
            for p in params:
                p.requires_grad_(True)
        groups = [{"params": params, "owner": None} for params in self.letters.values()]
        self._optimizer = KINDS[cfg.optimizer.kind](groups, cfg.optimizer)
        self._engine, _, _, _ = deepspeed.initialize(
            model=PhaseLoss(nets, cfg.loss),
            optimizer=self._optimizer,
            config=_deepspeed_config(
                how, at.batch, self.micro, share, sum(p.numel() for p in nets.parameters())
            ),
        )
        if world.size == 1 and not how.zero_stage:
            self._engine.enable_backward_allreduce = False  # there is nobody to average with
        self._world = world
        self._zero, self._offload = how.zero_stage, how.offload
        phases = FAMILIES[cfg.family].phases(cfg.loss, 0)
        self._owners = {a: {p.moments for p in phases if a in p.trains} for a in nets.letters}
        for letter, owners in self._owners.items():
            self._optimizer.create_state(self._held(letter), owners)
        if self._zero in (1, 2):
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def step(self, phase: Phase, x: Tensor, r: Draw, at: Progress) -> Tensor:
        """Trains the phase's letters on this rank's share of the batch; its mean loss.

        [n, C, R, R] in [-1, 1] -> [], float32, detached and not averaged over the ranks
        """
        working = {p for letter in phase.trains for p in self.nets.grown(letter, at)}
        for letter, group in zip(self.letters, self._optimizer.param_groups, strict=True):
            group["owner"] = phase.moments if letter in phase.trains else None
            group["lr"] = at.lr * phase.rate
            for p in self.letters[letter]:
                p.requires_grad_(p in working)
        self._forget_gradients()
        losses = []
        for i in range(0, len(x), self.micro):
            part = slice(i, i + self.micro)
            loss = self._engine(phase, x[part], r.part(part, len(x)), at)
            self._engine.backward(loss)
            self._engine.step()
            losses.append(loss.detach().float())  # to be summed up over many iterations
        return torch.stack(losses).mean()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Whole weights on every rank inside the block: ZeRO 3 keeps a slice on each."""
        whole = deepspeed.zero.GatheredParameters(
            list(self.nets.parameters()), enabled=self._zero == 3
        )
        with whole:
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's gathered moments by parameter name, and step counts, on the CPU."""
        state: dict[str, Tensor] = {}
        for letter, p in self._trained():
            for moment in self._optimizer.moments_of(self._owners[letter]):
                state[f"{moment}/{self.names[p]}"] = self._moment(p, moment).cpu()
        for letter, count, held in self._counts():
            state[f"{count}/{letter}"] = self._optimizer.state[held][count].detach().cpu().clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave, at any world size and ZeRO stage."""
        for letter, p in self._trained():
            for moment in self._optimizer.moments_of(self._owners[letter]):
                self._set_moment(p, moment, state[f"{moment}/{self.names[p]}"].to(p.device))
        for letter, count, held in self._counts():
            self._optimizer.state[held][count].copy_(state[f"{count}/{letter}"])

    def close(self) -> None:
        """Gives DeepSpeed's buffers back; without it every stage leaks an engine."""
        self._engine.destroy()

    def _forget_gradients(self) -> None:
        """Offload keeps the last gradient, and would apply it again to what gets none."""
        if self._offload:
            for letter in self.letters:
                for held in self._held(letter):
                    if held.grad is not None:
                        held.grad.zero_()

    def _moment(self, p: nn.Parameter, name: str) -> Tensor:
        if self._zero:
            gathered: Tensor = safe_get_full_optimizer_state(p, name)
            return gathered
        moment: Tensor = self._optimizer.state[p][name]
        return moment

    def _set_moment(self, p: nn.Parameter, name: str, value: Tensor) -> None:
        if self._zero == 0:
            self._optimizer.state[p][name].copy_(value)
        elif self._zero < 3:
            safe_set_full_optimizer_state(p, value, name)
        else:  # the full form fails for a slice that is nothing but padding
            slices: Any = p
            n, rank = slices.ds_tensor.numel(), self._world.rank
            padded = fn.pad(value.flatten(), (0, n * self._world.size - value.numel()))
            safe_set_local_optimizer_state(p, padded[rank * n : (rank + 1) * n], name)

    def _held(self, letter: str) -> list[Tensor]:
        """What is updated for a letter: its parameters, or the flat pieces that ZeRO makes."""
        number = self.nets.letters.index(letter)
        if self._zero < 3:
            return list(self._optimizer.param_groups[number]["params"])
        zero = self._engine.optimizer
        pieces = enumerate(zero.fp32_partitioned_groups_flat)
        return [flat for i, flat in pieces if zero.sub_group_to_group_id[i] == number]

    def _counts(self) -> Iterator[tuple[str, str, Tensor]]:
        """(letter, count, what is updated) of every step count there is."""
        for letter, owners in self._owners.items():
            for held in self._held(letter):
                for count in self._optimizer.counts_of(owners):
                    yield letter, count, held

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(letter, parameter), each able to have a gradient: ZeRO 3 knows no others."""
        for letter, params in self.letters.items():
            for p in params:
                p.requires_grad_(True)
                yield letter, p


def _worthwhile(cfg: EngineConfig, world: World) -> EngineConfig:
    """The config without ZeRO 1 where there is a single rank: nothing to share out.

    It would copy every gradient into one flat tensor, a tenth of a step at 256x256 on a CPU.
    """
    alone = world.size == 1 and cfg.zero_stage == 1
    if alone and not cfg.offload and cfg.precision != "fp16":  # both need ZeRO's optimiser
        return replace(cfg, zero_stage=0)
    return cfg


def _fading(at: Progress) -> Progress:
    return replace(at, alpha=0.0) if at.stage else at


def _deepspeed_config(
    cfg: EngineConfig, batch: int, micro: int, share: int, parameters: int
) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": cfg.zero_stage}
    if cfg.zero_stage:
        # A bucket is allocated anew in every phase: no larger than what it can hold.  Nothing is
        # clipped, so the norm, a collective for every letter, is left out.
        zero["reduce_bucket_size"] = min(parameters, MAX_BUCKET)
        zero["contiguous_gradients"] = False
    if cfg.zero_stage in (1, 2):
        zero["compute_grad_norm"] = cfg.precision == "fp16" or cfg.offload
    if cfg.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    if cfg.zero_stage == 3:
        zero["stage3_param_persistence_threshold"] = BIASES
    autocast = {"bf16": "bfloat16", "fp16": "float16"}.get(cfg.precision)
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": share // micro,
        "gradient_clipping": 0.0,  # its default of 1.0 would rescale every GAN step
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # ours steps on the host as well
        "torch_autocast": {"enabled": autocast is not None, "dtype": autocast or "bfloat16"},
        "steps_per_print": 1 << 60,
    }
