"""The one DeepSpeed engine: what a phase trains, its backward pass and its step.

One engine over one module that returns a phase's loss; a parameter group for each letter; what a
phase does not train is frozen, and its groups are skipped by the optimiser.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed would search, and warn

import deepspeed
from deepspeed.utils import safe_get_full_optimizer_state, safe_set_full_optimizer_state

from pipeline.config import EngineConfig, RunConfig
from pipeline.world import World
from stylealae.config import LossConfig
from stylealae.networks import LETTERS, Networks
from stylealae.phases import Draw, Phase
from stylealae.schedule import Growth, Progress

__all__ = ["Engine", "joined"]

BETAS, EPS = (0.0, 0.99), 1e-8
MAX_BUCKET = 64 << 20
MOMENTS = ("exp_avg", "exp_avg_sq")
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
        _keep_freed_memory()
        # DeepSpeed would compile a shared-memory all-reduce here, which needs a C++ compiler and
        # leaves 69 MB a rank in /dev/shm when a process is killed; gloo does.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    if not dist.is_initialized():
        backend = "nccl" if gpu else "gloo"
        if os.environ["WORLD_SIZE"] == "1":
            store = torch._C._distributed_c10d.HashStore()
            dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend, timeout=TIMEOUT)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.init_distributed(dist_backend=dist.get_backend(), dist_init_required=False)
    return World(dist.get_rank(), dist.get_world_size(), device)


def _keep_freed_memory() -> None:
    """Has glibc reuse freed tensors instead of returning them to the system at every step.

    Fresh pages cost more than the arithmetic on them: an elementwise pass over 1 MB takes 10x.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            m_trim_threshold, m_mmap_threshold = -1, -3
            libc.mallopt(m_mmap_threshold, 32 << 20)
            libc.mallopt(m_trim_threshold, 1 << 30)


class LetterAdam(torch.optim.Adam):
    """Adam that steps only the groups marked active."""

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of the active groups; the others' moments and step counts rest."""
        every = self.param_groups
        self.param_groups = [group for group in every if group["active"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = every

    def create_state(self) -> None:
        """Zero moments for every parameter now: a masked first step would leave some without."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.float32, device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }


class PhaseLoss(nn.Module):
    """What DeepSpeed wraps: the networks, whose forward is a phase's loss."""

    def __init__(self, nets: Networks, cfg: LossConfig) -> None:
        super().__init__()
        self.nets = nets
        self.cfg = cfg

    def forward(self, phase: Phase, x: Tensor, r: Draw, at: Growth) -> Tensor:
        """The loss of one phase on one micro-batch.  -> []"""
        return phase.loss(self.nets, x, r, at, self.cfg)


class Engine:
    """Trains the networks of one stage.  Every public method is collective."""

    def __init__(self, nets: Networks, at: Progress, cfg: RunConfig, world: World) -> None:
        self.nets = nets
        share = at.batch // world.size
        self.micro = min(cfg.engine.micro_batch or share, share)
        self.names = {p: name for name, p in nets.named_parameters()}
        # What grows in this stage, the entrances that fade out included.
        self.letters = {letter: list(nets.grown(letter, _fading(at))) for letter in LETTERS}
        nets.requires_grad_(False)
        for params in self.letters.values():
            for p in params:
                p.requires_grad_(True)
        groups = [{"params": self.letters[a], "letter": a, "active": True} for a in LETTERS]
        adam = LetterAdam(groups, lr=at.lr, betas=BETAS, eps=EPS, fused=True)
        self._engine, _, _, _ = deepspeed.initialize(
            model=PhaseLoss(nets, cfg.loss),
            optimizer=adam,
            config=_deepspeed_config(
                cfg.engine, at.batch, self.micro, share, sum(p.numel() for p in nets.parameters())
            ),
        )
        adam.create_state()
        if cfg.engine.zero_stage:
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()
        self._adam = adam

    def step(self, phase: Phase, x: Tensor, r: Draw, at: Progress) -> Tensor:
        """Trains the phase's letters on this rank's share of the batch; its mean loss.

        [n, C, R, R] in [-1, 1] -> [], detached and not averaged over the ranks
        """
        working = {p for letter in LETTERS for p in self.nets.grown(letter, at)}
        for group in self._adam.param_groups:
            group["active"] = group["letter"] in phase.trains
            group["lr"] = at.lr
            for p in self.letters[group["letter"]]:
                p.requires_grad_(group["active"] and p in working)
        losses = []
        for part in _parts(len(x), self.micro):
            loss = self._engine(phase, x[part], _slice(r, part), at)
            self._engine.backward(loss)
            self._engine.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's gathered moments and step counts by parameter name, on the CPU."""
        state: dict[str, Tensor] = {}
        for letter, (p, steps) in self._trained():
            for moment in MOMENTS:
                state[f"{moment}/{self.names[p]}"] = self._moment(p, moment).cpu()
            state[f"step/{letter}"] = steps.detach().cpu().clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave, at any world size."""
        for letter, (p, steps) in self._trained():
            for moment in MOMENTS:
                value = state[f"{moment}/{self.names[p]}"].to(p.device)
                if hasattr(p, "_hp_mapping"):
                    safe_set_full_optimizer_state(p, value, moment)
                else:
                    self._adam.state[p][moment].copy_(value)
            steps.copy_(state[f"step/{letter}"])
            if p in self._adam.state:  # ZeRO 0 counts the steps of every parameter
                self._adam.state[p]["step"].copy_(state[f"step/{letter}"])

    def close(self) -> None:
        """Gives DeepSpeed's buffers back; without it every stage leaks an engine."""
        self._engine.destroy()

    def _moment(self, p: nn.Parameter, name: str) -> Tensor:
        if hasattr(p, "_hp_mapping"):
            gathered: Tensor = safe_get_full_optimizer_state(p, name)
            return gathered
        moment: Tensor = self._adam.state[p][name]
        return moment

    def _trained(self) -> Iterator[tuple[str, tuple[nn.Parameter, Tensor]]]:
        """(letter, (parameter, that letter's step count))."""
        for group in self._adam.param_groups:
            steps = self._adam.state[group["params"][0]]["step"]
            for p in self.letters[group["letter"]]:
                yield group["letter"], (p, steps)


def _fading(at: Progress) -> Progress:
    return replace(at, alpha=0.0) if at.stage else at


def _parts(n: int, micro: int) -> list[slice]:
    return [slice(i, i + micro) for i in range(0, n, micro)]


def _slice(r: Draw, part: slice) -> Draw:
    return replace(r, z=r.z[part], z_other=r.z_other[part], crossover=r.crossover[part])


def _deepspeed_config(
    cfg: EngineConfig, batch: int, micro: int, share: int, parameters: int
) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": cfg.zero_stage}
    if cfg.zero_stage:
        # A bucket is allocated anew in every phase: no larger than what it can hold.  Nothing is
        # clipped, so the norm, a collective for every letter, is left out.
        zero["reduce_bucket_size"] = min(parameters, MAX_BUCKET)
        zero["compute_grad_norm"] = cfg.precision == "fp16"
        zero["contiguous_gradients"] = False
    autocast = {"bf16": "bfloat16", "fp16": "float16"}.get(cfg.precision)
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": share // micro,
        "gradient_clipping": 0.0,  # its default of 1.0 would rescale every GAN step
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "torch_autocast": {"enabled": autocast is not None, "dtype": autocast or "bfloat16"},
        "steps_per_print": 1 << 60,
    }
