"""One optimiser for all phases does what an optimiser a phase does: at every ZeRO stage.

Checked against torch's own, one for every phase and network that it trains, each with a rate of
its own.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import RunConfig, parse
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.families import FAMILIES
from stylealae.phase_inputs import CodeInputs
from stylealae.priors import rng
from tests.reference.plain import ALONE

BATCH, STEPS = 8, 4
FAMILY = FAMILIES["aae_classes"]
KINDS = {
    "sgd": "kind: sgd, momentum: 0.8, weight_decay: 0.01",
    "adam": "kind: adam, betas: [0.5, 0.99], weight_decay: 0.01",
}


def config(kind: str, zero: int) -> RunConfig:
    """A tiny semi-supervised AAE."""
    return parse(f"""
family: aae_classes
model: {{hidden: 16, critic_hidden: 16, class_critic_hidden: 16, z_width: 2}}
loss: {{critic_rate: 2.0, input_noise: 0.1}}
optimizer: {{{KINDS[kind]}}}
schedule: {{batch: [{BATCH}], lr: [0.01]}}
data: {{label: class}}
engine: {{precision: fp32, zero_stage: {zero}, threads: 1}}
""")


pytestmark = pytest.mark.usefixtures("world")


def batch(step: int, cfg: RunConfig) -> tuple[Tensor, dict[str, CodeInputs]]:
    """Images, and what every phase draws."""
    x = torch.rand(BATCH, 1, 32, 32, generator=rng(0, "x", step)) * 2 - 1
    labelled = (torch.zeros(10, 1, 32, 32, dtype=torch.uint8), torch.arange(10))
    sampler = FAMILY.sampler(
        cfg.model, cfg.loss, seed=0, mine=slice(0, BATCH), device=x.device, labelled=labelled
    )
    at = cfg.progress(0)
    return x, {
        p.name: sampler.draw(p.name, step, at, torch.arange(BATCH))
        for p in FAMILY.phases(cfg.loss, 0)
    }  # type: ignore[return-value]


def plain(cfg: RunConfig) -> dict[str, Tensor]:
    """The weights after some iterations of plain torch."""
    nets, at, o = FAMILY.build(cfg.model, 1), cfg.progress(0), cfg.optimizer
    phases = FAMILY.phases(cfg.loss, 0)

    def made(params: list[Any], lr: float) -> torch.optim.Optimizer:
        if o.kind == "sgd":
            return torch.optim.SGD(params, lr, momentum=o.momentum, weight_decay=o.weight_decay)
        return torch.optim.Adam(params, lr, o.betas, o.eps, o.weight_decay)

    optimisers = {
        p.name: made([q for a in p.trains for q in nets.grown(a, at)], at.lr * p.rate)
        for p in phases
    }
    for step in range(STEPS):
        x, draws = batch(step, cfg)
        for phase in phases:
            nets.zero_grad()
            phase.loss(nets, x, draws[phase.name], at, cfg.loss).backward()  # type: ignore[no-untyped-call]
            optimisers[phase.name].step()
    return nets.state_dict()


@pytest.mark.parametrize("zero", ALONE)
@pytest.mark.parametrize("kind", KINDS)
def test_every_phase_has_an_optimiser_of_its_own(world: World, kind: str, zero: int) -> None:
    cfg = config(kind, zero)
    nets, at = FAMILY.build(cfg.model, 1), cfg.progress(0)
    engine = Engine(nets, at, cfg, world)
    for step in range(STEPS):
        x, draws = batch(step, cfg)
        for phase in FAMILY.phases(cfg.loss, 0):
            engine.step(phase, x, draws[phase.name], at)
    state = engine.state_dict()
    moments = {name.split("/")[0] for name in state if name.endswith("/E.trunk.0.weight")}
    own = {"sgd": {"momentum_buffer"}, "adam": {"exp_avg", "exp_avg_sq"}}[kind]
    phases = ("reconstruction", "encoder", "classification")
    assert moments == {f"{phase}:{moment}" for phase in phases for moment in own}
    with engine.gathered():
        found = {name: t.clone() for name, t in nets.state_dict().items()}
    engine.close()
    for name, wanted in plain(cfg).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5, msg=name)


def test_a_state_goes_on_at_another_zero_stage(world: World, tmp_path: Path) -> None:
    cfg, states = config("sgd", 2), []
    engine = Engine(FAMILY.build(cfg.model, 1), cfg.progress(0), cfg, world)
    x, draws = batch(0, cfg)
    for phase in FAMILY.phases(cfg.loss, 0):
        engine.step(phase, x, draws[phase.name], cfg.progress(0))
    first = {name: t.clone() for name, t in engine.state_dict().items()}
    engine.close()
    for zero in (0, 1, 3):
        cfg = config("sgd", zero)
        engine = Engine(FAMILY.build(cfg.model, 1), cfg.progress(0), cfg, world)
        engine.load_state_dict(first)
        states.append({name: t.clone() for name, t in engine.state_dict().items()})
        engine.close()
    for state in states:
        assert state.keys() == first.keys()
        assert not [name for name in first if not torch.equal(first[name], state[name])]
