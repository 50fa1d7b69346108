"""Two real processes do what one does with the full batch, at every ZeRO stage.

Checked against plain torch and an engine of one; tests/reference/plain.py says what is compared.
"""

from dataclasses import replace

import pytest
import torch

from pipeline.world import World
from stylealae.networks import Networks, build
from stylealae.phases import Phase
from tests.ranks import run_ranks
from tests.reference.plain import (
    AT,
    BATCH,
    FROZEN,
    PHASES,
    ROUNDING,
    SMALL,
    STILL,
    ZERO,
    State,
    agreement,
    different,
    engine_of,
    gradient,
    gradient_error,
    half_gradients,
    iterate,
    plain_gradients,
    relative,
    state_of,
    weights,
)

pytestmark = [pytest.mark.usefixtures("world"), pytest.mark.early]
HALF = (1, 3)
"""ZeRO stages that are tried in half precision too: whole parameters, and slices of them.  How one
rank computes, and what two send each other, test_engine.py and test_collectives.py try at all."""


def two_ranks(world: World) -> dict[str, State]:
    """What two processes find; the parent compares it."""
    found: dict[str, State] = {}
    for zero in ZERO:
        for precision in ("fp32", "bf16") if zero in HALF else ("fp32",):
            with engine_of(build(SMALL), world, zero, precision=precision) as engine:
                for phase in PHASES:
                    iterate(engine, world, 0, phases=[phase], at=STILL, noise=False)
                    found[f"{zero} {phase.name} {precision}"] = state_of(engine)
        nets = build(SMALL)
        with engine_of(nets, world, zero, micro_batch=(2,)) as engine:
            iterate(engine, world, 0, noise=False)
            state = found[f"{zero} state"] = state_of(engine)
            stopped = found[f"{zero} stopped"] = weights(nets)
            iterate(engine, world, BATCH, noise=False)
            found[f"{zero} end state"] = state_of(engine)
            found[f"{zero} end"] = weights(nets)
        rested = build(SMALL)
        with engine_of(rested, world, zero, init=FROZEN) as engine:
            iterate(engine, world, 0, at=replace(AT, frozen=True), noise=False)
            found[f"{zero} frozen"] = weights(rested)
            iterate(engine, world, BATCH, noise=False)
            found[f"{zero} frozen state"] = state_of(engine)
        again = build(SMALL, seed=9)
        again.load_state_dict(stopped)
        with engine_of(again, world, zero, micro_batch=(2,)) as engine:
            engine.load_state_dict(state)
            found[f"{zero} loaded"] = state_of(engine)
            iterate(engine, world, BATCH, noise=False)
            found[f"{zero} resumed"] = weights(again)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, State]]:
    """What each of two ranks found: one start serves all tests."""
    return run_ranks(2, two_ranks, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
def test_two_ranks_have_the_full_batchs_gradients(
    ranks: list[dict[str, State]], zero: int, phase: Phase
) -> None:
    state = ranks[0][f"{zero} {phase.name} fp32"]
    exact = plain_gradients(phase)
    assert gradient_error(state, exact, phase) < ROUNDING


@pytest.mark.parametrize("zero", HALF)
@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
def test_two_ranks_in_bf16_are_no_worse_than_plain_autocast(
    ranks: list[dict[str, State]], zero: int, phase: Phase
) -> None:
    exact, half = plain_gradients(phase), ranks[0][f"{zero} {phase.name} bf16"]
    assert gradient_error(half, exact, phase) <= 1.05 * gradient_error(
        half_gradients(phase), exact, phase
    )


@pytest.mark.parametrize("zero", ZERO)
def test_two_ranks_end_an_iteration_with_the_weights_of_one(
    ranks: list[dict[str, State]], world: World, zero: int
) -> None:
    one = build(SMALL)
    with engine_of(one, world, zero) as engine:
        iterate(engine, world, 0, noise=False)
    assert agreement(ranks[0][f"{zero} stopped"], weights(one)) > 0.95


def test_both_ranks_hold_the_same_weights_and_state(ranks: list[dict[str, State]]) -> None:
    assert ranks[0].keys() == ranks[1].keys()
    for what, state in ranks[0].items():
        assert not different(state, ranks[1][what]), what


@pytest.mark.parametrize("zero", ZERO)
def test_two_ranks_skip_frozen_layers(ranks: list[dict[str, State]], zero: int) -> None:
    first, after = dict(build(SMALL).named_parameters()), ranks[0][f"{zero} frozen"]
    moved = {name for name in first if not torch.equal(first[name], after[name])}
    parts = ("G.blocks.0", "G.blocks.1", "E.blocks.2", "E.from_rgb.2")
    assert not {name for name in moved if name.startswith(parts)}
    assert {name.split(".")[0] for name in moved} == set("FGED")
    state = ranks[0][f"{zero} frozen state"]
    assert (state["step/G"], state["step/G.frozen"], state["step/E.frozen"]) == (4, 2, 2)


@pytest.mark.parametrize("zero", ZERO)
def test_two_ranks_going_on_equal_two_that_did_not_stop(
    ranks: list[dict[str, State]], zero: int
) -> None:
    found = ranks[0]
    assert not different(found[f"{zero} state"], found[f"{zero} loaded"])
    assert not different(found[f"{zero} end"], found[f"{zero} resumed"])


@pytest.mark.parametrize("zero", ZERO)
def test_a_state_of_two_ranks_goes_on_at_one(
    ranks: list[dict[str, State]], world: World, zero: int
) -> None:
    found, nets = ranks[0], build(SMALL)
    nets.load_state_dict(found[f"{zero} stopped"])
    with engine_of(nets, world, zero) as engine:
        engine.load_state_dict(found[f"{zero} state"])
        assert not different(found[f"{zero} state"], state_of(engine))
        iterate(engine, world, BATCH, noise=False)
        state = state_of(engine)
    wanted = found[f"{zero} end state"]
    for network in Networks.networks:
        assert state[f"step/{network}"] == wanted[f"step/{network}"]
    # D is trained first, before anything that rounding could have moved.
    assert relative(gradient(state, "D"), gradient(wanted, "D")) < ROUNDING
