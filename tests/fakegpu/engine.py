"""What stands for DeepSpeed's engine, which does not run on tensors without content.

The same phases, micro-batches, autocast and optimiser, on one GPU at ZeRO 0, without a process
group's collectives: what DeepSpeed adds is not seen here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.arithmetic import tf32_of
from pipeline.config import RunConfig
from pipeline.training.optimizer import KINDS
from pipeline.world import World
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.phase_inputs import PhaseInputs
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress, at_stage

__all__ = ["Engine"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LOSS_SCALE = 65536.0


class Engine:
    """Trains the networks of one stage, as pipeline.training.engine's does."""

    def __init__(self, nets: NetworkGroup, at: Progress, cfg: RunConfig, world: World) -> None:
        self.nets, self._cfg, self._device = nets, cfg, world.device
        share = at.batch // world.size
        self.micro = min(at_stage(cfg.engine.micro_batch, at.stage) or share, share)
        fading = replace(at, alpha=0.0) if at.stage else at
        self.params = {a: list(nets.grown(a, fading)) for a in nets.networks}
        nets.recompute_from(cfg.engine.recompute_from)
        self._optimizer = KINDS[cfg.optimizer.kind](self.params.values(), cfg.optimizer)
        phases = FAMILIES[cfg.family].phases(cfg.loss, 0)
        for network, params in self.params.items():
            owners = {p.moments for p in phases if network in p.trains}
            self._optimizer.create_state(params, owners)
        self._scale = LOSS_SCALE if cfg.engine.precision == "fp16" else 1.0

    def step(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Progress) -> Tensor:
        """One phase; its mean loss."""
        with tf32_of(self._cfg.engine.tf32, phase):
            return self._step(phase, x, r, at)

    def _step(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Progress) -> Tensor:
        working = {p for network in phase.trains for p in self.nets.grown(network, at)}
        for network, group in zip(self.params, self._optimizer.param_groups, strict=True):
            group["owner"] = phase.moments if network in phase.trains else None
            group["lr"] = at.lr * phase.rate
            for p in self.params[network]:
                p.requires_grad_(p in working)
                p.grad = None
        losses, steps = [], len(x) // self.micro
        for i in range(0, len(x), self.micro):
            part = slice(i, i + self.micro)
            with self._autocast():
                loss = phase.loss(self.nets, x[part], r.part(part, len(x)), at, self._cfg.loss)
            (loss * (self._scale / steps)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach().float())
        self._require_gradients(phase, working)
        if self._scale != 1.0:
            torch._foreach_mul_([p.grad for p in working if p.grad is not None], 1 / self._scale)
        self._optimizer.step()
        return torch.stack(losses).mean()

    def _autocast(self) -> Any:
        dtype = DTYPES.get(self._cfg.engine.precision)
        return torch.autocast("cuda", dtype=dtype, enabled=dtype is not None)

    def _require_gradients(self, phase: AnyPhase, working: set[nn.Parameter]) -> None:
        """Refuses gradients of another device or dtype than their weights'."""
        wrong = [
            f"{name} ({p.grad.dtype} on {p.grad.device})"
            for name, p in self.nets.named_parameters()
            if p in working
            and p.grad is not None
            and (p.grad.dtype, p.grad.device) != (p.dtype, self._device)
        ]
        if wrong:
            raise RuntimeError(f"{phase.name} leaves gradients of another kind: {', '.join(wrong)}")

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """The weights are whole."""
        yield

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's moments."""
        return {
            f"{i}/{name}": value
            for i, state in enumerate(self._optimizer.state.values())
            for name, value in state.items()
        }

    def scalars(self) -> dict[str, float]:
        """Nothing is scaled here that would be logged."""
        return {}

    def close(self) -> None:
        """Nothing to give back."""
