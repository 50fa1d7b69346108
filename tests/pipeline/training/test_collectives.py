"""What the ranks send each other in a step: in which precision, how much, and when.

Counted where torch hands a collective to its backend, on two real processes.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.collectives import Collectives
from pipeline.config import RunConfig, parse
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.families import FAMILIES
from stylealae.priors import rng
from tests.ranks import run_ranks
from tests.reference.plain import ZERO, relative

REDUCES = ("all-reduce", "reduce", "reduce-scatter")
SMALL = 1024
"""Bytes: norms and flags are smaller, gradients are not."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def mlps(zero: int, precision: str, reduce_dtype: str) -> RunConfig:
    """A family whose layers are torch's own, which DeepSpeed takes for safe in half precision."""
    engine = {"precision": precision, "reduce_dtype": reduce_dtype, "zero_stage": zero}
    return parse(
        "family: aae\nmodel: {hidden: 16, critic_hidden: 16, z_width: 2}",
        ["schedule.batch=[8]", *(f"engine.{k}={v}" for k, v in engine.items())],
    )


def stepped(cfg: RunConfig, world: World) -> tuple[list[Any], dict[str, Tensor]]:
    """The reductions of one iteration, and the first moments, which are gradients so far."""
    family, at = FAMILIES[cfg.family], cfg.progress(0)
    mine = world.share(at.batch)
    nobody = (torch.zeros(0, 1, 32, 32, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    sampler = family.sampler(
        cfg.model, cfg.loss, seed=0, mine=mine, device=world.device, labelled=nobody
    )
    x = torch.rand(at.batch, 1, 32, 32, generator=rng(0, "x", 0))[mine] * 2 - 1
    engine = Engine(family.build(cfg.model, 1), at, cfg, world)
    first = family.phases(cfg.loss, 0)[0]
    with Collectives() as seen:
        engine.step(first, x, sampler.draw(first.name, 0, at), at)
    state = {name: t.clone() for name, t in engine.state_dict().items()}
    engine.close()
    return [c for c in seen.calls if c.kind in REDUCES and c.payload >= SMALL], state


def in_every_precision(world: World) -> dict[str, Any]:
    """What two processes find; the parent compares it."""
    found: dict[str, Any] = {}
    for zero in ZERO:
        for precision, reduce_dtype in (("bf16", "fp32"), ("bf16", "bf16"), ("fp32", "fp32")):
            calls, state = stepped(mlps(zero, precision, reduce_dtype), world)
            what = f"{zero} {precision} {reduce_dtype}"
            found[what] = ({call.dtype for call in calls}, state)
    return found


@pytest.fixture(scope="module")
def precisions(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    return run_ranks(2, in_every_precision, tmp_path_factory.mktemp("precisions"))


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("reduce_dtype", DTYPES)
def test_gradients_are_averaged_in_what_the_config_says(
    precisions: list[dict[str, Any]], zero: int, reduce_dtype: str
) -> None:
    for rank in precisions:
        dtypes, _ = rank[f"{zero} bf16 {reduce_dtype}"]
        assert dtypes == {DTYPES[reduce_dtype]}


@pytest.mark.parametrize("zero", ZERO)
def test_averaging_in_bf16_rounds_once(precisions: list[dict[str, Any]], zero: int) -> None:
    exact, rounded = (gradients(precisions[0][f"{zero} bf16 {kind}"][1]) for kind in DTYPES)
    assert 0 < relative(rounded, exact) < 2**-8  # half a unit of its 8 bits, on each of two ranks


def gradients(state: dict[str, Tensor]) -> Tensor:
    """The first moments in one vector."""
    return torch.cat([state[name].flatten() for name in sorted(state) if "exp_avg/" in name])
