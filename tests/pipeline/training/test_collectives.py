"""What the ranks send each other in a step: in which precision, how much, and when.

Counted where torch hands a collective to its backend, on two real processes.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from bench.collectives import Call, Collectives
from pipeline.config import RunConfig, parse
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import ModelConfig
from stylealae.families import FAMILIES
from stylealae.networks import build
from stylealae.phases import Phase
from stylealae.priors import rng
from tests.ranks import run_ranks
from tests.reference.plain import (
    AT,
    BATCH,
    PHASES,
    STILL,
    ZERO,
    Plain,
    State,
    agreement,
    different,
    drawn,
    engine_of,
    gradient_error,
    images,
    iterate,
    relative,
    state_of,
    weights,
)

pytestmark = pytest.mark.early
REDUCES = ("all-reduce", "reduce", "reduce-scatter")
SMALL = 1024
"""Bytes: norms and flags are smaller, gradients are not."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WIDE = ModelConfig(
    resolution=16, start_channels=64, max_channels=128, z_width=8, w_width=8, mapping_layers=2
)
"""E and G have several MiB each."""
KINKS = 1e-2
"""Some processors round halves of a batch otherwise than the whole, and a few leaky ReLUs near
their kink then decide otherwise: in plain torch gradients of two halves lie 1e-3 off the whole's
in float32 on an Intel with AMX, and 1e-16 in float64.  A part that is left out is far off."""
ONE = World(0, 1, torch.device("cpu"))


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


def test_the_gathered_moments_are_rank_0s_alone(precisions: list[dict[str, Any]]) -> None:
    one, other = precisions
    assert all(state for _, state in one.values())
    assert not any(state for _, state in other.values())


@pytest.mark.parametrize("zero", ZERO)
def test_averaging_in_bf16_rounds_once(precisions: list[dict[str, Any]], zero: int) -> None:
    exact, rounded = (gradients(precisions[0][f"{zero} bf16 {kind}"][1]) for kind in DTYPES)
    assert 0 < relative(rounded, exact) < 2**-8  # half a unit of its 8 bits, on each of two ranks


def in_one_group(world: World) -> list[int]:
    """Collectives of an iteration and its state in torch's own group; ZeRO 3 does use that one."""
    whole = dist.group.WORLD
    assert whole is not None
    counts = []
    for zero in ZERO[:3]:
        with engine_of(build(WIDE), world, zero, precision="fp16") as engine:
            before = whole._get_sequence_number_for_group()
            iterate(engine, world, 0)
            engine.state_dict()
            counts.append(whole._get_sequence_number_for_group() - before)
    before = whole._get_sequence_number_for_group()
    world.sum(torch.ones(()))
    return [*counts, whole._get_sequence_number_for_group() - before]


def test_a_step_has_one_group_which_is_deepspeeds(tmp_path: Path) -> None:
    assert run_ranks(2, in_one_group, tmp_path) == [[0, 0, 0, 1]] * 2


def gradients(state: dict[str, Tensor]) -> Tensor:
    """The first moments in one vector."""
    return torch.cat([state[name].flatten() for name in sorted(state) if "exp_avg/" in name])


def in_buckets(world: World) -> dict[str, Any]:
    """ZeRO 1 with a bucket a network, and with several; with recomputed blocks too."""
    found: dict[str, Any] = {}
    for mib, recompute in ((0, 0), (1, 0), (1, 8)):
        what = f"{mib} {recompute}"
        how: dict[str, Any] = {"bucket_mib": mib, "recompute_from": recompute}
        with engine_of(build(WIDE), world, **how) as engine:
            for phase in PHASES:
                iterate(engine, world, 0, phases=[phase], at=STILL, noise=False)
                found[f"{what} {phase.name}"] = state_of(engine)
        nets = build(WIDE)
        with engine_of(nets, world, **how) as engine:
            iterate(engine, world, 0, noise=False)
            state, stopped = state_of(engine), weights(nets)
            for phase in PHASES:
                with Collectives() as seen:
                    iterate(engine, world, BATCH, phases=[phase])
                found[f"{what} {phase.name} calls"] = [vars(call) for call in seen.calls]
            found[f"{what} first"], found[f"{what} end"] = stopped, {**weights(nets)}
            found[f"{what} end state"] = state_of(engine)
        again = build(WIDE, seed=9)
        again.load_state_dict(stopped)
        with engine_of(again, world, **how) as engine:
            engine.load_state_dict(state)
            iterate(engine, world, BATCH)
            found[f"{what} resumed"], found[f"{what} resumed state"] = (
                weights(again),
                state_of(engine),
            )
    return found


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    return run_ranks(2, in_buckets, tmp_path_factory.mktemp("buckets"))


@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
@pytest.mark.parametrize("mib", [0, 1])
def test_a_phase_exchanges_the_networks_that_it_trains_and_no_others(
    buckets: list[dict[str, Any]], mib: int, phase: Phase
) -> None:
    nets = build(WIDE)
    moved = 4 * sum(p.numel() for a in phase.trains for p in nets.grown(a, AT))
    calls = [Call(**told) for told in buckets[0][f"{mib} 0 {phase.name} calls"]]
    for kind in ("reduce-scatter", "all-gather"):
        mine = [call.payload for call in calls if call.kind == kind]
        assert moved <= sum(mine) < moved + 16 * len(mine)  # padding: less than 4 numbers
        assert len(mine) == 2 if mib == 0 else len(mine) > 3
    assert {call.kind for call in calls} == {"reduce-scatter", "all-gather"}


@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
@pytest.mark.parametrize("recompute", [0, 8])
def test_gradients_leave_while_the_backward_pass_goes_on(
    buckets: list[dict[str, Any]], recompute: int, phase: Phase
) -> None:
    calls = [Call(**told) for told in buckets[0][f"1 {recompute} {phase.name} calls"]]
    assert all(call.in_backward == (call.kind == "reduce-scatter") for call in calls)


@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
@pytest.mark.parametrize("how", ["0 0", "1 0", "1 8"])
def test_buckets_hold_the_full_batchs_gradients(
    buckets: list[dict[str, Any]], how: str, phase: Phase
) -> None:
    plain = Plain(build(WIDE))
    plain.step(phase, images(0), drawn(phase, 0, ONE, noise=False), AT)
    assert gradient_error(buckets[0][f"{how} {phase.name}"], plain.moments(), phase) < KINKS


@pytest.mark.parametrize("how", ["0 0", "1 0", "1 8"])
def test_going_on_with_buckets_equals_not_stopping(buckets: list[dict[str, Any]], how: str) -> None:
    one, other = buckets
    assert not different(one[f"{how} end"], one[f"{how} resumed"])
    assert not different(one[f"{how} end state"], one[f"{how} resumed state"])
    for what in ("first", "end", "end state"):
        mine: State = one[f"{how} {what}"]
        assert not different(mine, other[f"{how} {what}"])
    assert agreement(one["0 0 first"], one[f"{how} first"]) > 0.95
