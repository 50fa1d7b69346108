"""The engine does what plain torch does, at every ZeRO stage, whole or in micro-batches.

Checked against a loop of torch.optim.Adam over the same losses in one process; what is compared,
and why, is told in tests/reference/plain.py.
"""

import gc
from dataclasses import replace

import pytest
import torch

from pipeline.config.sections import EngineConfig
from pipeline.training.engine import _deepspeed
from pipeline.world import World
from stylealae.config import LossConfig
from stylealae.networks import Networks, build
from stylealae.phases import Phase, phases_of
from stylealae.schedule import Progress
from tests.reference.plain import (
    ALONE,
    AT,
    BATCH,
    FROZEN,
    GROWING,
    PAPER,
    PHASES,
    ROUNDING,
    SMALL,
    STILL,
    ZERO,
    Plain,
    agreement,
    different,
    drawn,
    engine_of,
    gradient,
    gradient_error,
    half_gradients,
    images,
    iterate,
    plain_gradients,
    relative,
    state_of,
    weights,
)

pytestmark = [pytest.mark.usefixtures("world"), pytest.mark.early]
PROBED = "__compatible_ops__"
"""The dictionary that DeepSpeed fills by compiling, when it is first asked for."""


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("at", [AT, GROWING], ids=["last stage", "growing"])
def test_one_rank_equals_plain_torch_to_the_bit(world: World, zero: int, at: Progress) -> None:
    nets = build(SMALL)
    plain = Plain(build(SMALL), at, flat=zero > 1)
    with engine_of(nets, world, zero, at=at) as engine:
        for seen, alpha in ((0, at.alpha), (BATCH, 0.7), (2 * BATCH, 1.0)):
            now = replace(at, alpha=alpha, lr=at.lr * alpha)
            losses = iterate(engine, world, seen, at=now)
            for phase, loss in zip(PHASES, losses, strict=True):
                r = drawn(phase, seen, world, at=now)
                assert torch.equal(loss, plain.step(phase, images(seen, at), r, now))
        state = state_of(engine)
    assert not different(weights(nets), weights(plain.nets))
    moments = plain.moments()
    assert {f"step/{network}" for network in Networks.networks} == state.keys() - moments.keys()
    assert not different(moments, state)


@pytest.mark.parametrize("zero", ALONE)
@pytest.mark.parametrize("at", [GROWING, replace(GROWING, alpha=1.0)], ids=["fading", "grown"])
def test_a_phase_moves_its_letters_and_only_what_has_grown(
    world: World, zero: int, at: Progress
) -> None:
    released = (zero % 2 == 0) == (at.alpha < 1)  # each with each two of the three
    loss = LossConfig(reciprocity_trains_f=released)
    phases = phases_of(loss)
    wanted = {"critic": "ED", "generator": "FG", "reciprocity": "FEG" if released else "EG"}
    nets = build(SMALL)
    names = {p: name for name, p in nets.named_parameters()}
    with engine_of(nets, world, zero, at=at, loss=loss) as engine:
        iterate(engine, world, 0, phases=phases, at=at)  # no moment is zero from here on
        for phase in phases:
            before, rest = weights(nets), state_of(engine)
            iterate(engine, world, BATCH, phases=[phase], at=at)
            trained = wanted[phase.name]
            grown = {names[p] for network in trained for p in nets.grown(network, at)}
            assert set(different(before, weights(nets))) == grown
            after = state_of(engine)
            for name in different(rest, after):
                assert name.split("/")[1][0] in trained, f"{name} moved in {phase.name}"
            for network in Networks.networks:
                steps = after[f"step/{network}"] - rest[f"step/{network}"]
                assert steps == (network in trained)


@pytest.mark.parametrize("zero", ALONE)
def test_frozen_layers_are_skipped_whole_and_start_afresh_later(world: World, zero: int) -> None:
    nets = build(SMALL)
    parts = ("G.blocks.0", "G.blocks.1", "G.to_rgb.0", "G.to_rgb.1", "E.blocks.2", "E.from_rgb.2")
    with engine_of(nets, world, zero, init=FROZEN) as engine:
        before = weights(nets)
        iterate(engine, world, 0, at=replace(AT, frozen=True))
        moved, state = set(different(before, weights(nets))), state_of(engine)
        assert {n for n in before if n.startswith(parts)}.isdisjoint(moved)
        assert {n.split(".")[0] for n in moved} == set("FGED")
        assert (state["step/G"], state["step/G.frozen"], state["step/E.frozen"]) == (2, 0, 0)
        iterate(engine, world, BATCH)
        state = state_of(engine)
    assert (state["step/G"], state["step/G.frozen"], state["step/E.frozen"]) == (4, 2, 2)
    assert not torch.equal(before["G.blocks.0.const"], weights(nets)["G.blocks.0.const"])


def test_gradients_are_asked_for_by_what_a_phase_trains_and_what_is_at_work(world: World) -> None:
    """An entrance that has faded out belongs to its network and has no gradient any more."""
    nets, grown = build(SMALL), replace(GROWING, alpha=1.0)
    names = {p: name for name, p in nets.named_parameters()}
    faded = {p for a in "GE" for p in nets.grown(a, GROWING)}
    faded -= {p for a in "GE" for p in nets.grown(a, grown)}
    assert {names[p].split(".")[0] for p in faded} == {"G", "E"}
    with engine_of(nets, world, at=GROWING) as engine:
        for phase in PHASES:
            iterate(engine, world, 0, phases=[phase], at=grown)
            at_work = {names[p] for a in phase.trains for p in nets.grown(a, grown)}
            assert {names[p] for p in names if p.requires_grad} == at_work


def test_what_has_not_grown_has_no_moments(world: World) -> None:
    with engine_of(build(SMALL), world, at=GROWING) as engine:
        names = {name.split("/")[1] for name in state_of(engine)}
    assert "G.blocks.1.conv_1.weight" in names
    assert not any(name.startswith(("G.blocks.2", "E.blocks.2", "G.to_rgb.2")) for name in names)


@pytest.mark.parametrize("zero", ALONE)
@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
def test_accumulated_micro_batches_equal_the_full_batch(
    world: World, zero: int, phase: Phase
) -> None:
    micro = (2, 4)[(zero + PHASES.index(phase)) % 2]  # each with each two of the three
    with engine_of(build(SMALL), world, zero, micro_batch=(micro,)) as engine:
        (loss,) = iterate(engine, world, 0, phases=[phase], noise=False)
        state = state_of(engine)
    whole = phase.loss(build(SMALL), images(0), drawn(phase, 0, world, noise=False), AT, PAPER)
    assert float(loss) == pytest.approx(whole.item(), rel=ROUNDING)
    assert gradient_error(state, plain_gradients(phase), phase) < ROUNDING
    assert all(state[f"step/{a}"] == (a in phase.trains) for a in Networks.networks)


@pytest.mark.parametrize(("zero", "precision"), [(0, "fp32"), (0, "fp16"), (2, "fp16")])
def test_no_step_waits_for_the_device(
    world: World, zero: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_of(build(SMALL), world, zero, precision=precision, micro_batch=(4,)) as engine:
        from deepspeed.accelerator import get_accelerator

        waits: list[object] = []
        gc.collect()  # engines of other tests wait when they go
        monkeypatch.setattr(get_accelerator(), "synchronize", lambda *_: waits.append(0))
        for seen in range(3):
            iterate(engine, world, seen * BATCH)
        monkeypatch.undo()
    assert not waits


def test_on_gpus_nothing_asks_which_of_deepspeeds_operations_could_be_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deepspeed = _deepspeed(EngineConfig(), on_gpu=False)
    monkeypatch.delitem(vars(deepspeed.ops), PROBED)
    _deepspeed(EngineConfig(), on_gpu=True)
    assert PROBED not in vars(deepspeed.ops)


@pytest.mark.parametrize("zero", ALONE)
def test_going_on_from_a_state_equals_not_stopping(world: World, zero: int) -> None:
    first = build(SMALL)
    with engine_of(first, world, zero) as engine:
        iterate(engine, world, 0)
        state, stopped = state_of(engine), weights(first)
        wanted = iterate(engine, world, BATCH)
        final = state_of(engine)
    second = build(SMALL, seed=9)
    second.load_state_dict(stopped)
    with engine_of(second, world, zero) as engine:
        engine.load_state_dict(state)
        assert not different(state, state_of(engine))
        found = iterate(engine, world, BATCH)
        assert not different(final, state_of(engine))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert not different(weights(first), weights(second))


def test_likeness_goes_on_with_moments_of_its_own(world: World) -> None:
    loss = LossConfig(likeness_rate=0.5)
    phases = phases_of(loss)
    first, second = build(SMALL), build(SMALL, seed=9)
    with engine_of(first, world, loss=loss) as engine:
        iterate(engine, world, 0, phases=phases)
        state, stopped = state_of(engine), weights(first)
        iterate(engine, world, BATCH, phases=phases)
    second.load_state_dict(stopped)
    with engine_of(second, world, loss=loss) as engine:
        engine.load_state_dict(state)
        iterate(engine, world, BATCH, phases=phases)
    assert {name.split(":")[0] for name in state if ":" in name} == {"likeness"}
    assert not different(weights(first), weights(second))


@pytest.mark.parametrize("zero", ALONE)
def test_moments_that_a_state_lacks_begin_at_zero_and_this_is_said(
    world: World, zero: int, caplog: pytest.LogCaptureFixture
) -> None:
    loss = LossConfig(likeness_rate=0.5)
    with engine_of(build(SMALL), world, zero) as engine:
        iterate(engine, world, 0)
        state = state_of(engine)
    with engine_of(build(SMALL), world, zero, loss=loss) as engine:
        engine.load_state_dict(state)
        found = state_of(engine)
    assert "lacks some of the optimizer's likeness:exp_avg, likeness:exp_avg_sq" in caplog.text
    for name, value in found.items():
        assert torch.equal(value, state.get(name, torch.zeros_like(value))), name


def test_what_begins_at_zero_is_said_by_rank_0_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with engine_of(build(SMALL), replace(world, rank=1), 0) as engine:
        engine.load_state_dict({})
        assert not engine.state_dict()
    assert not caplog.text


def test_a_state_goes_on_at_another_zero_stage(world: World) -> None:
    nets = build(SMALL)
    with engine_of(nets, world, 2) as engine:
        iterate(engine, world, 0)
        state, stopped = state_of(engine), weights(nets)
    ends, losses = [], []
    for zero in ZERO:
        other = build(SMALL)
        other.load_state_dict(stopped)
        with engine_of(other, world, zero) as engine:
            engine.load_state_dict(state)
            assert not different(state, state_of(engine))
            losses += iterate(engine, world, BATCH, phases=PHASES[:1])
        ends.append(weights(other))
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])
    assert not different(ends[1], ends[2])
    assert agreement(ends[0], ends[1]) > 0.95  # one tensor a parameter, and a vector: see Plain


@pytest.mark.parametrize("zero", ALONE)
def test_an_engine_leaves_its_process_torchs_linear_layer(world: World, zero: int) -> None:
    """With another, R1's second derivatives would be rounded by which engines there were before."""
    with engine_of(build(SMALL), world, zero) as engine:
        iterate(engine, world, 0)
        assert torch.nn.functional.linear is torch._C._nn.linear
    assert torch.nn.functional.linear is torch._C._nn.linear


@pytest.mark.parametrize("zero", ALONE)
def test_bf16_computes_in_half_and_keeps_float32(world: World, zero: int) -> None:
    exact, nets = build(SMALL), build(SMALL)
    with engine_of(exact, world, zero) as engine:
        full = iterate(engine, world, 0)
    with engine_of(nets, world, zero, precision="bf16") as engine:
        half = iterate(engine, world, 0)
        state = state_of(engine)
    assert {v.dtype for v in [*half, *weights(nets).values(), *state.values()]} == {torch.float32}
    for one, other in zip(full, half, strict=True):
        assert not torch.equal(one, other)  # it did compute in half precision
        assert float(one) == pytest.approx(float(other), rel=0.05, abs=0.05)
    assert all(bool(v.isfinite().all()) for v in weights(nets).values())


@pytest.mark.parametrize("zero", ALONE)
def test_bf16_is_no_worse_than_plain_autocast(world: World, zero: int) -> None:
    with engine_of(build(SMALL), world, zero, precision="bf16") as engine:
        for phase in PHASES:
            exact, half = plain_gradients(phase), half_gradients(phase)
            iterate(engine, world, 0, phases=[phase], at=STILL, noise=False)
            ours = state_of(engine)
            for network in phase.trains:
                error, plain = (
                    relative(gradient(s, network), gradient(exact, network)) for s in (ours, half)
                )
                assert 0 < error <= 1.001 * plain, f"{network} in {phase.name}"


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_adam_on_the_host_is_the_same_adam(world: World, zero: int) -> None:
    ends = []
    # One rank's ZeRO 1 leaves tensors apart unless it offloads; ZeRO 2 has them in one vector too.
    for offload, stage in ((False, max(zero, 2)), (True, zero)):
        nets = build(SMALL)
        with engine_of(nets, world, stage, offload=offload) as engine:
            iterate(engine, world, 0)
            ends.append({**weights(nets), **state_of(engine)})
    assert not different(*ends)


def test_recomputed_blocks_have_the_same_gradients(world: World) -> None:
    ends = []
    for resolution in (0, 8):
        nets = build(SMALL)
        with engine_of(nets, world, recompute_from=resolution) as engine:
            iterate(engine, world, 0)
            ends.append({**weights(nets), **state_of(engine)})
    assert not different(*ends)
