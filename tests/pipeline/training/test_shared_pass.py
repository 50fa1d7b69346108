"""E's pass that two phases share: run once, and to the bit as if each had run its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import parse
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.families import FAMILIES
from stylealae.priors import rng
from tests.ranks import run_ranks

pytestmark = [pytest.mark.usefixtures("world"), pytest.mark.early]
BATCH, ITERATIONS = 8, 3
AAE = "family: aae\nmodel: {hidden: 16, critic_hidden: 12, z_width: 2"
CLASSES = AAE.replace("aae", "aae_classes") + ", class_critic_hidden: 12}\nloss: {merged: true"
SHARED = {
    "aae": AAE + "}",
    "aae, merged": AAE + "}\nloss: {merged: true}",
    "aae, drawn codes": AAE + ", posterior: gaussian}\nloss: {merged: true}",
    "aae, convolutions": AAE + ", layers: convolutional, start_channels: 4}",
    "aae_informed": AAE.replace("aae", "aae_informed") + "}\nloss: {merged: true}",
    "aae_supervised": AAE.replace("aae", "aae_supervised") + "}",
    "aae_classes, no labels": CLASSES + ", classification_weight: 0}",
}
APART = {
    "noise beside x": AAE + ", posterior: universal}",
    "noise on x": AAE + "}\nloss: {input_noise: 0.3}",
    "batch norm": AAE + ", batch_norm: true}",
    "smoothness": CLASSES + ", classification_weight: 0, smoothness_weight: 1}",
    "labelled images": CLASSES + "}",
    "micro-batches": AAE + "}\nengine: {micro_batch: [4]}",
    "ZeRO 3": AAE + "}\nengine: {zero_stage: 3}",
}


class Passes:
    """Counts the passes through E's last hidden layer that are run in engines."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        trunk: Any = engine.nets.E
        trunk.trunk.register_forward_hook(self._counted)

    def _counted(self, *_: object) -> None:
        self.count += 1


@contextmanager
def engine_of(text: str, world: World, *, share: bool) -> Iterator[tuple[Engine, Any]]:
    """An engine of a run in miniature and its config; without `share` every phase is on its own."""
    cfg = parse(
        text,
        [
            f"schedule.batch=[{BATCH}]",
            "schedule.lr=[0.01]",
            "engine.precision=fp32",
            "data.label=class",
        ],
    )
    engine = Engine(FAMILIES[cfg.family].build(cfg.model, 1), cfg.progress(0), cfg, world)
    if not share:
        engine._shared = None
    try:
        yield engine, cfg
    finally:
        engine.close()


def trained(text: str, world: World, *, share: bool) -> tuple[int, dict[str, Tensor]]:
    """Passes through E, and what a few iterations end with."""
    with engine_of(text, world, share=share) as (engine, cfg):
        family, passes = FAMILIES[cfg.family], Passes(engine)
        source = rng(0, "images", 0)
        known = torch.randint(0, 255, (20, 1, 32, 32), generator=source, dtype=torch.uint8)
        sampler = family.sampler(
            cfg.model, cfg.loss, seed=0, mine=world.share(BATCH), device=world.device,
            labelled=(known, torch.arange(20) % 10),
        )  # fmt: skip
        losses, phases = [], family.phases(cfg.loss, 0)
        for seen in range(0, ITERATIONS * BATCH, BATCH):
            at = cfg.progress(seen)
            x = torch.rand(BATCH, 1, 32, 32, generator=source)[world.share(BATCH)] * 2 - 1
            labels = (torch.arange(BATCH) - 1)[world.share(BATCH)]
            for phase in phases:
                r = sampler.draw(phase.name, seen, at, labels)
                losses.append(engine.step(phase, x, r, at))
        ends = {name: t.clone() for name, t in engine.state_dict().items()}
        if cfg.engine.zero_stage < 3:
            ends |= {name: t.clone() for name, t in engine.nets.state_dict().items()}
        return passes.count, {**ends, "losses": torch.stack(losses)}


@pytest.mark.parametrize("what", SHARED)
def test_a_shared_pass_is_run_once_and_changes_no_bit(world: World, what: str) -> None:
    alone, wanted = trained(SHARED[what], world, share=False)
    once, found = trained(SHARED[what], world, share=True)
    assert once == alone - ITERATIONS
    assert wanted.keys() == found.keys()
    assert not [name for name in wanted if not torch.equal(wanted[name], found[name])]


@pytest.mark.parametrize("what", APART)
def test_what_phases_do_not_have_in_common_each_computes(world: World, what: str) -> None:
    alone, wanted = trained(APART[what], world, share=False)
    passes, found = trained(APART[what], world, share=True)
    assert passes == alone
    assert not [name for name in wanted if not torch.equal(wanted[name], found[name])]


def test_a_pass_is_of_these_images_alone(world: World) -> None:
    with engine_of(SHARED["aae, merged"], world, share=True) as (engine, cfg):
        passes, at = Passes(engine), cfg.progress(0)
        nobody = (torch.zeros(0, 1, 32, 32, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
        sampler = FAMILIES["aae"].sampler(
            cfg.model, cfg.loss, seed=0, mine=slice(0, BATCH), device=world.device, labelled=nobody
        )
        critic, autoencoder = FAMILIES["aae"].phases(cfg.loss, 0)
        x, other = torch.rand(2, BATCH, 1, 32, 32, generator=rng(0, "two", 0))
        for phase, images in ((critic, x), (autoencoder, other), (autoencoder, x)):
            engine.step(phase, images, sampler.draw(phase.name, 0, at), at)
        assert passes.count == 3


def on_two_ranks(world: World) -> dict[str, dict[str, Tensor]]:
    """What two processes end with at ZeRO 0 and 1, each alone and shared."""
    return {
        f"{zero} {share}": trained(
            SHARED["aae, merged"] + f"\nengine: {{zero_stage: {zero}}}", world, share=share
        )[1]
        for zero in (0, 1)
        for share in (False, True)
    }


def test_two_ranks_end_with_the_same_bits_shared_or_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for rank in run_ranks(2, on_two_ranks, tmp_path_factory.mktemp("ranks")):
        for zero in (0, 1):
            wanted, found = rank[f"{zero} False"], rank[f"{zero} True"]
            assert not [name for name in wanted if not torch.equal(wanted[name], found[name])]
