"""A tiny engine, and the same training in plain torch, for the tests to compare.

Across ranks and micro-batches sums round differently, and Adam with beta1 = 0 turns the rounding
of a tiny gradient into a whole step of the learning rate.  So gradients are compared there, by
their relative error (they are Adam's first moments, as beta1 is 0), and weights by how many of
them agree.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as fn
from torch import Tensor, nn

from pipeline import arithmetic
from pipeline.config import RunConfig
from pipeline.config.init import InitConfig
from pipeline.config.sections import EngineConfig
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import LossConfig, ModelConfig, OptimizerConfig, ScheduleConfig
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputs, StyleInputSampler
from stylealae.phases import Phase, phases_of
from stylealae.priors import rng
from stylealae.schedule import Growth, Progress

State = dict[str, Tensor]

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
ADAM = OptimizerConfig()
DRAWN = InitConfig()
FROZEN = InitConfig(from_="weights", stage=2, alpha=0.4, freeze=("G.4..8", "E.16"), freeze_img=1)
"""Some layers of G and E are not updated at first."""
BATCH = 8
AT = Progress(stage=2, alpha=0.4, batch=BATCH, lr=0.002)
STILL = replace(AT, lr=0.0)
"""No weight moves: one engine gives the gradients of every phase at the first weights."""
GROWING = Progress(stage=1, alpha=0.4, batch=BATCH, lr=0.002)
PAPER = LossConfig()
PHASES = phases_of(PAPER)
ZERO = (0, 1, 2, 3)
ALONE = (0, 2, 3)
"""The ZeRO stages that differ on one rank, where 1 shares out nothing and is 0."""
ROUNDING = 1e-5
ONE = World(0, 1, torch.device("cpu"))


def config(
    zero: int = 1, loss: LossConfig = PAPER, init: InitConfig = DRAWN, **engine: Any
) -> RunConfig:
    """A run of the tiny model on one thread."""
    given: dict[str, Any] = {"precision": "fp32", "threads": 1, "zero_stage": zero, **engine}
    schedule = ScheduleConfig(batch=(BATCH,))
    return RunConfig(
        model=SMALL, schedule=schedule, loss=loss, init=init, engine=EngineConfig(**given)
    )


@contextmanager
def engine_of(
    nets: Networks,
    world: World,
    zero: int = 1,
    *,
    at: Progress = AT,
    emulated: bool = True,
    **engine: Any,
) -> Iterator[Engine]:
    """An engine that is closed at the end of the block; bf16 is bf16, `emulated` on any CPU."""
    with pytest.MonkeyPatch.context() as patched:
        if emulated:
            patched.setattr(arithmetic, "multiplies_bf16", lambda: True)
        made = Engine(nets, at, config(zero, **engine), world)
    try:
        yield made
    finally:
        made.close()


def images(seen: int, at: Growth = AT) -> Tensor:
    """A global batch.  -> [N, 3, R, R] in [-1, 1]"""
    source = rng(0, "images", seen)
    return torch.rand(BATCH, 3, at.resolution, at.resolution, generator=source) * 2 - 1


def drawn(
    phase: Phase, seen: int, world: World, *, at: Progress = AT, noise: bool = True
) -> StyleInputs:
    """This rank's draw.  Noise differs between ranks and micro-batches that share a batch."""
    sampler = StyleInputSampler(
        seed=1, z_width=8, mixing_prob=0.9, mine=world.share(BATCH), device=world.device
    )
    draw = sampler.draw(phase.name, seen, at)
    return draw if noise else replace(draw, noise=None)


def iterate(
    engine: Engine,
    world: World,
    seen: int,
    *,
    phases: Sequence[Phase] = PHASES,
    at: Progress = AT,
    noise: bool = True,
) -> list[Tensor]:
    """One iteration of these phases; their losses."""
    x = images(seen, at)[world.share(BATCH)]
    return [engine.step(p, x, drawn(p, seen, world, at=at, noise=noise), at) for p in phases]


class Plain:
    """The same training in plain torch: one Adam a network, the full batch.

    `flat` keeps a network in one vector, as ZeRO 2 and 3 do for one rank: fused Adam rounds the
    last few numbers of a tensor, those that fill no vector register, in another way than the
    others.
    """

    def __init__(self, nets: Networks, at: Progress = AT, *, flat: bool = False) -> None:
        self.nets, self.flat = nets, flat
        fading = replace(at, alpha=0.0)
        self.params = {network: list(nets.grown(network, fading)) for network in Networks.networks}
        self.held = {
            network: [nn.Parameter(self._vector(params))] if flat else params
            for network, params in self.params.items()
        }
        self.adams = {
            network: torch.optim.Adam(held, lr=at.lr, betas=ADAM.betas, eps=ADAM.eps, fused=True)
            for network, held in self.held.items()
        }

    def step(self, phase: Phase, x: Tensor, r: StyleInputs, at: Progress) -> Tensor:
        """One phase; its loss."""
        self.nets.requires_grad_(False)
        for network in phase.trains:
            for p in self.nets.grown(network, at):
                p.requires_grad_(True)
        loss = phase.loss(self.nets, x, r, at, PAPER)
        loss.backward()  # type: ignore[no-untyped-call]
        for network in phase.trains:
            self.adams[network].param_groups[0]["lr"] = at.lr
            self._update(network)
        self.nets.zero_grad()
        return loss.detach()

    def moments(self) -> State:
        """What Engine.state_dict gives, without the step counts."""
        found: State = {}
        names = {p: name for name, p in self.nets.named_parameters()}
        for network, params in self.params.items():
            states = self.adams[network].state
            for moment in ("exp_avg", "exp_avg_sq"):
                if self.flat and states:
                    parts = self._parts(states[self.held[network][0]][moment], params)
                else:
                    parts = [states[p][moment] for p in params if p in states]
                    params = [p for p in params if p in states]
                for p, part in zip(params, parts, strict=True):
                    found[f"{moment}/{names[p]}"] = part
        return found

    @torch.no_grad()
    def _update(self, network: str) -> None:
        params = self.params[network]
        if not self.flat:
            self.adams[network].step()
            return
        (vector,) = self.held[network]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        vector.grad = self._vector(grads)
        self.adams[network].step()
        for p, part in zip(params, self._parts(vector, params), strict=True):
            p.copy_(part)

    @staticmethod
    def _vector(tensors: Sequence[Tensor]) -> Tensor:
        vector = torch.cat([t.detach().flatten() for t in tensors])
        return fn.pad(vector, (0, len(vector) % 2))

    @staticmethod
    def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        sizes = [t.numel() for t in like]
        parts = torch.split(vector[: sum(sizes)], sizes)
        return [part.view_as(t) for part, t in zip(parts, like, strict=True)]


def weights(nets: Networks) -> State:
    """A copy of every weight by name; ZeRO 3 keeps slices of them."""
    from deepspeed.runtime.zero.partition_parameters import GatheredParameters

    params = list(nets.parameters())
    with GatheredParameters(params, enabled=any(hasattr(p, "ds_id") for p in params)):
        return {name: p.detach().clone() for name, p in nets.named_parameters()}


def state_of(engine: Engine) -> State:
    """A copy of the engine's state, on every rank: it is rank 0's, and at ZeRO 0 no copy."""
    state = [{name: tensor.clone() for name, tensor in engine.state_dict().items()}]
    if dist.get_world_size() > 1:
        dist.broadcast_object_list(state)
    return state[0]


def different(a: State, b: State) -> list[str]:
    """Names whose tensors are not the same to the bit."""
    return [name for name in a if not torch.equal(a[name], b[name])]


def gradient(state: State, network: str) -> Tensor:
    """One network's gradient in one vector, but for the noise's weights: noise is off."""
    chosen = sorted(k for k in state if k.startswith(f"exp_avg/{network}.") and "noise" not in k)
    return torch.cat([state[name].flatten() for name in chosen])


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|"""
    return float((a - b).norm() / b.norm())


def agreement(a: State, b: State) -> float:
    """The share of weights that agree to a thousandth of a step."""
    gaps = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
    return float((gaps < 1e-3 * AT.lr).float().mean())


def gradient_error(state: State, wanted: State, phase: Phase) -> float:
    """The worst relative error of a trained network's gradient."""
    return max(relative(gradient(state, a), gradient(wanted, a)) for a in phase.trains)


@cache
def plain_gradients(phase: Phase) -> State:
    """The full batch's gradients at the first weights, without noise."""
    plain = Plain(build(SMALL))
    plain.step(phase, images(0), drawn(phase, 0, ONE, noise=False), AT)
    return plain.moments()


def under_autocast(phase: Phase) -> Callable[..., Tensor]:
    """The loss of a phase with no part of it kept in float32."""

    def loss(*given: Any) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stylealae.phases.full_precision", lambda _: nullcontext())
            return phase.loss(*given)

    return loss


@cache
def half_gradients(phase: Phase) -> State:
    """The full batch's gradients with the whole loss, R1 too, under plain autocast."""
    plain = Plain(build(SMALL))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bare = Phase(phase.name, phase.trains, under_autocast(phase))
        plain.step(bare, images(0), drawn(phase, 0, ONE, noise=False), AT)
    return plain.moments()
