"""Float16 trains at every ZeRO stage: its loss scales settle, are saved, and are the ranks' own.

Checked on the CPU, whose float16 is as narrow as a GPU's.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.world import World
from stylealae.errors import DivergenceError
from stylealae.networks import Networks, build
from stylealae.phases import Phase
from tests.ranks import run_ranks
from tests.reference.plain import (
    ALONE,
    AT,
    BATCH,
    PHASES,
    SMALL,
    STILL,
    ZERO,
    State,
    different,
    drawn,
    engine_of,
    gradient_error,
    images,
    iterate,
    plain_gradients,
    state_of,
    weights,
)

pytestmark = [pytest.mark.usefixtures("world"), pytest.mark.early]
ITERATIONS = 16
FLOAT16 = 0.3
"""The relative error that float16 may make in a gradient (up to 0.13, where much underflows): a
factor that was forgotten or applied twice makes one of a half and more."""
BRIEFLY = [*ALONE[:-1], pytest.param(ALONE[-1], marks=pytest.mark.slow)]
"""What many iterations are tried with, each slow where all that a rank holds is in slices."""
SCALE, GOOD, SKIPPED, IN_A_ROW = range(4)


def at_scale(state: State, scale: float) -> State:
    """The same state at another loss scale in all phases."""
    row = torch.tensor([scale, 0, 0, 0], dtype=torch.float64)
    return {name: row if name.startswith("scaler/") else value for name, value in state.items()}


@pytest.mark.parametrize("zero", BRIEFLY)
def test_float16_trains_and_its_scales_settle(world: World, zero: int) -> None:
    nets = build(SMALL)
    before = weights(nets)
    with engine_of(nets, world, zero, precision="fp16") as engine:
        for i in range(ITERATIONS):
            losses = iterate(engine, world, i * BATCH)
        state, told = state_of(engine), engine.scalars()
    after = weights(nets)
    assert all(bool(loss.isfinite()) for loss in losses)
    for network in Networks.networks:
        moved = [name for name in different(before, after) if name.startswith(network)]
        assert moved, f"{network} never moved"
    for phase, alone in (("critic", "D"), ("generator", "F")):  # trained in this phase only
        scale, _, skipped, in_a_row = state[f"scaler/{phase}"].tolist()
        assert 0 < skipped < ITERATIONS / 2
        assert scale == 2.0 ** (16 - skipped)
        assert in_a_row <= 1  # the last one may have been skipped, or none
        assert state[f"step/{alone}"] == ITERATIONS - skipped
        assert told[f"system/loss_scale/{phase}"] == scale
    skipped_steps = sum(float(state[f"scaler/{p.name}"][SKIPPED]) for p in PHASES)
    assert told["system/skipped_steps"] == skipped_steps


@pytest.mark.parametrize("zero", BRIEFLY)
def test_going_on_in_float16_equals_not_stopping(world: World, zero: int) -> None:
    first = build(SMALL)
    with engine_of(first, world, zero, precision="fp16") as engine:
        for i in range(3):  # the scales are still falling
            iterate(engine, world, i * BATCH)
        state, stopped = state_of(engine), weights(first)
        for i in range(3, 6):  # and fall on
            iterate(engine, world, i * BATCH)
        final = state_of(engine)
    second = build(SMALL, seed=9)
    second.load_state_dict(stopped)
    with engine_of(second, world, zero, precision="fp16") as engine:
        engine.load_state_dict(state)
        assert not different(state, state_of(engine))
        for i in range(3, 6):
            iterate(engine, world, i * BATCH)
        assert not different(final, state_of(engine))
    assert not different(weights(first), weights(second))


@pytest.mark.parametrize(("zero", "micro"), [*((zero, 2) for zero in ALONE), (0, BATCH)])
def test_gradients_are_scaled_back(world: World, zero: int, micro: int) -> None:
    with engine_of(build(SMALL), world, zero, precision="fp16", micro_batch=(micro,)) as engine:
        engine.load_state_dict(at_scale(state_of(engine), 1024.0))
        for phase in PHASES:
            iterate(engine, world, 0, phases=[phase], at=STILL, noise=False)
            assert gradient_error(state_of(engine), plain_gradients(phase), phase) < FLOAT16


def test_a_state_without_scales_begins_with_the_first(world: World) -> None:
    with engine_of(build(SMALL), world) as engine:  # as float32 leaves it
        iterate(engine, world, 0)
        state = state_of(engine)
    assert not [name for name in state if name.startswith("scaler/")]
    with engine_of(build(SMALL), world, precision="fp16") as engine:
        engine.load_state_dict(state)
        assert state_of(engine)["scaler/critic"].tolist() == [2.0**16, 0, 0, 0]


@pytest.mark.parametrize("zero", BRIEFLY)
def test_an_engine_in_float32_after_one_in_float16_knows_nothing_of_it(
    world: World, zero: int
) -> None:
    ends = []
    for precision in ("fp32", "fp16", "fp32"):
        nets = build(SMALL)
        with engine_of(nets, world, zero, precision=precision) as engine:
            iterate(engine, world, 0)
            ends.append({**weights(nets), **state_of(engine)})
    assert ends[0].keys() == ends[2].keys()
    assert not different(ends[0], ends[2])


def overflowing(n: Networks, x: Tensor, *given: object) -> Tensor:
    """A loss whose gradients are not finite at any scale."""
    loss: Tensor = PHASES[0].loss(n, x, *given)  # type: ignore[arg-type]
    return loss * float("inf")


def test_a_run_whose_steps_are_all_skipped_stops_with_a_sentence(world: World) -> None:
    nets, phase = build(SMALL), Phase("critic", "ED", overflowing)
    before = weights(nets)
    with engine_of(nets, world, precision="fp16") as engine:
        for _ in range(31):
            engine.step(phase, images(0), drawn(phase, 0, world), AT)
        assert engine.scalars()["system/skipped_steps"] == 31
        engine.step(phase, images(0), drawn(phase, 0, world), AT)
        with pytest.raises(DivergenceError, match=r"32 steps of the phase critic.*precision=bf16"):
            engine.scalars()
    assert not different(before, weights(nets))


def overflowing_on_rank_1(n: Networks, x: Tensor, *given: object) -> Tensor:
    """A loss whose gradients are not finite on one of the ranks."""
    loss: Tensor = PHASES[0].loss(n, x, *given)  # type: ignore[arg-type]
    return loss * (float("inf") if torch.distributed.get_rank() == 1 else 1.0)


def two_ranks(world: World) -> dict[str, State]:
    """What two processes find; the parent compares it."""
    found: dict[str, State] = {}
    bad = Phase("critic", "ED", overflowing_on_rank_1)
    for zero in ZERO:
        nets = build(SMALL)
        with engine_of(nets, world, zero, precision="fp16") as engine:
            low = at_scale(state_of(engine), 1024.0)
            engine.load_state_dict(low)
            iterate(engine, world, 0, phases=[bad], noise=False)
            found[f"{zero} skipped"], found[f"{zero} stayed"] = state_of(engine), weights(nets)
            engine.load_state_dict(low)
            iterate(engine, world, 0, phases=PHASES[:1], noise=False)
            found[f"{zero} critic"] = state_of(engine)
            iterate(engine, world, BATCH)
            found[f"{zero} end"] = {**state_of(engine), **weights(nets)}
    return found


def test_ranks_agree_on_what_is_skipped(world: World, tmp_path: Path) -> None:
    one, other = run_ranks(2, two_ranks, tmp_path)
    first, phase = weights(build(SMALL)), PHASES[0]
    for zero in ZERO:
        assert not different(first, one[f"{zero} stayed"])
        assert one[f"{zero} skipped"]["scaler/critic"].tolist() == [512, 0, 1, 1]
        assert one[f"{zero} skipped"]["step/E"] == 0
        assert one[f"{zero} critic"]["scaler/critic"].tolist() == [1024, 1, 0, 0]
        assert gradient_error(one[f"{zero} critic"], plain_gradients(phase), phase) < FLOAT16
    for what, state in one.items():
        assert not different(state, other[what]), what
