"""The engine does what plain torch does: at every ZeRO stage, split over ranks or micro-batches.

Checked against a loop of torch.optim.Adam over the same losses, in this process and in two real
ones.  Across ranks and micro-batches sums round differently, and Adam with beta1 = 0 turns the
rounding of a tiny gradient into a whole step of the learning rate.  So gradients are compared
there, by their relative error (they are Adam's first moments, as beta1 is 0), and weights by how
many of them agree.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as fn
from deepspeed.runtime.zero.partition_parameters import GatheredParameters
from torch import Tensor, nn

from pipeline.config import RunConfig
from pipeline.engine import Engine, joined
from pipeline.sections import EngineConfig
from pipeline.world import World
from stylealae.config import LossConfig, ModelConfig, OptimizerConfig, ScheduleConfig
from stylealae.draws import Chance, StyleDraw
from stylealae.networks import Networks, build
from stylealae.phases import Phase, phases_of
from stylealae.priors import rng
from stylealae.schedule import Growth, Progress

sys.path.insert(0, str(Path(__file__).parent))
from ranks import run_ranks

State = dict[str, Tensor]

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
ADAM = OptimizerConfig()
BATCH = 8
AT = Progress(stage=2, alpha=0.4, batch=BATCH, lr=0.002)
GROWING = Progress(stage=1, alpha=0.4, batch=BATCH, lr=0.002)
PAPER = LossConfig()
PHASES = phases_of(PAPER)
ZERO = (0, 1, 2, 3)
ROUNDING = 1e-5


def config(zero: int = 1, loss: LossConfig = PAPER, **engine: Any) -> RunConfig:
    """A run of the tiny model on one thread."""
    given: dict[str, Any] = {"precision": "fp32", "threads": 1, "zero_stage": zero, **engine}
    schedule = ScheduleConfig(batch=(BATCH,))
    return RunConfig(model=SMALL, schedule=schedule, loss=loss, engine=EngineConfig(**given))


@contextmanager
def engine_of(
    nets: Networks, world: World, zero: int = 1, *, at: Progress = AT, **engine: Any
) -> Iterator[Engine]:
    """An engine that is closed at the end of the block."""
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
) -> StyleDraw:
    """This rank's draw.  Noise differs between ranks and micro-batches that share a batch."""
    chance = Chance(
        seed=1, z_width=8, mixing_prob=0.9, mine=world.share(BATCH), device=world.device
    )
    draw = chance.draw(phase.name, seen, at)
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
    """The same training in plain torch: one Adam a letter, the full batch.

    `flat` keeps a letter in one vector, as ZeRO 2 and 3 do for one rank: fused Adam rounds the
    last few numbers of a tensor, those that fill no vector register, in another way than the
    others.
    """

    def __init__(self, nets: Networks, at: Progress = AT, *, flat: bool = False) -> None:
        self.nets, self.flat = nets, flat
        fading = replace(at, alpha=0.0)
        self.letters = {letter: list(nets.grown(letter, fading)) for letter in Networks.letters}
        self.held = {
            letter: [nn.Parameter(self._vector(params))] if flat else params
            for letter, params in self.letters.items()
        }
        self.adams = {
            letter: torch.optim.Adam(held, lr=at.lr, betas=ADAM.betas, eps=ADAM.eps, fused=True)
            for letter, held in self.held.items()
        }

    def step(self, phase: Phase, x: Tensor, r: StyleDraw, at: Progress) -> Tensor:
        """One phase; its loss."""
        self.nets.requires_grad_(False)
        for letter in phase.trains:
            for p in self.nets.grown(letter, at):
                p.requires_grad_(True)
        loss = phase.loss(self.nets, x, r, at, PAPER)
        loss.backward()  # type: ignore[no-untyped-call]
        for letter in phase.trains:
            self.adams[letter].param_groups[0]["lr"] = at.lr
            self._update(letter)
        self.nets.zero_grad()
        return loss.detach()

    def moments(self) -> State:
        """What Engine.state_dict gives, without the step counts."""
        found: State = {}
        names = {p: name for name, p in self.nets.named_parameters()}
        for letter, params in self.letters.items():
            states = self.adams[letter].state
            for moment in ("exp_avg", "exp_avg_sq"):
                if self.flat and states:
                    parts = self._parts(states[self.held[letter][0]][moment], params)
                else:
                    parts = [states[p][moment] for p in params if p in states]
                    params = [p for p in params if p in states]
                for p, part in zip(params, parts, strict=True):
                    found[f"{moment}/{names[p]}"] = part
        return found

    @torch.no_grad()
    def _update(self, letter: str) -> None:
        params = self.letters[letter]
        if not self.flat:
            self.adams[letter].step()
            return
        (vector,) = self.held[letter]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        vector.grad = self._vector(grads)
        self.adams[letter].step()
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
    params = list(nets.parameters())
    with GatheredParameters(params, enabled=any(hasattr(p, "ds_id") for p in params)):
        return {name: p.detach().clone() for name, p in nets.named_parameters()}


def state_of(engine: Engine) -> State:
    """A copy of the engine's state: at ZeRO 0 it is given without one."""
    return {name: tensor.clone() for name, tensor in engine.state_dict().items()}


def different(a: State, b: State) -> list[str]:
    """Names whose tensors are not the same to the bit."""
    return [name for name in a if not torch.equal(a[name], b[name])]


def gradient(state: State, letter: str) -> Tensor:
    """One letter's gradient in one vector, but for the noise's weights: noise is off."""
    chosen = sorted(k for k in state if k.startswith(f"exp_avg/{letter}.") and "noise" not in k)
    return torch.cat([state[name].flatten() for name in chosen])


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|"""
    return float((a - b).norm() / b.norm())


def agreement(a: State, b: State) -> float:
    """The share of weights that agree to a thousandth of a step."""
    gaps = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
    return float((gaps < 1e-3 * AT.lr).float().mean())


def gradient_error(state: State, wanted: State, phase: Phase) -> float:
    """The worst relative error of a trained letter's gradient."""
    return max(relative(gradient(state, a), gradient(wanted, a)) for a in phase.trains)


def plain_gradients(phase: Phase) -> State:
    """The full batch's gradients at the first weights, without noise."""
    plain = Plain(build(SMALL))
    plain.step(phase, images(0), drawn(phase, 0, ONE, noise=False), AT)
    return plain.moments()


ONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[World]:
    """A world of one on one thread."""
    threads = torch.get_num_threads()
    yield joined(config().engine, gpu=False)
    torch.set_num_threads(threads)


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
    assert {f"step/{letter}" for letter in Networks.letters} == state.keys() - moments.keys()
    assert not different(moments, state)


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("at", [GROWING, replace(GROWING, alpha=1.0)], ids=["fading", "grown"])
@pytest.mark.parametrize("released", [False, True], ids=["paper", "released"])
def test_a_phase_moves_its_letters_and_only_what_has_grown(
    world: World, zero: int, at: Progress, released: bool
) -> None:
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
            letters = wanted[phase.name]
            grown = {names[p] for letter in letters for p in nets.grown(letter, at)}
            assert set(different(before, weights(nets))) == grown
            after = state_of(engine)
            for name in different(rest, after):
                assert name.split("/")[1][0] in letters, f"{name} moved in {phase.name}"
            for letter in Networks.letters:
                steps = after[f"step/{letter}"] - rest[f"step/{letter}"]
                assert steps == (letter in letters)


def test_what_has_not_grown_has_no_moments(world: World) -> None:
    with engine_of(build(SMALL), world, at=GROWING) as engine:
        names = {name.split("/")[1] for name in state_of(engine)}
    assert "G.blocks.1.conv_1.weight" in names
    assert not any(name.startswith(("G.blocks.2", "E.blocks.2", "G.to_rgb.2")) for name in names)


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
@pytest.mark.parametrize("micro", [2, 4])
def test_accumulated_micro_batches_equal_the_full_batch(
    world: World, zero: int, phase: Phase, micro: int
) -> None:
    with engine_of(build(SMALL), world, zero, micro_batch=(micro,)) as engine:
        (loss,) = iterate(engine, world, 0, phases=[phase], noise=False)
        state = state_of(engine)
    whole = phase.loss(build(SMALL), images(0), drawn(phase, 0, world, noise=False), AT, PAPER)
    assert float(loss) == pytest.approx(whole.item(), rel=ROUNDING)
    assert gradient_error(state, plain_gradients(phase), phase) < ROUNDING
    assert all(state[f"step/{a}"] == (a in phase.trains) for a in Networks.letters)


@pytest.mark.parametrize("zero", ZERO)
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


@pytest.mark.parametrize("zero", ZERO)
def test_bf16_computes_in_half_and_keeps_float32(world: World, zero: int) -> None:
    exact, nets = build(SMALL), build(SMALL)
    with engine_of(exact, world, zero) as engine:
        full = iterate(engine, world, 0)
    with engine_of(nets, world, zero, precision="bf16") as engine:
        half = iterate(engine, world, 0)
        state = state_of(engine)
    assert {v.dtype for v in [*weights(nets).values(), *state.values()]} == {torch.float32}
    for one, other in zip(full, half, strict=True):
        assert not torch.equal(one, other)  # it did compute in half precision
        assert float(one) == pytest.approx(float(other), rel=0.05, abs=0.05)
    assert all(bool(v.isfinite().all()) for v in weights(nets).values())


def under_autocast(phase: Phase) -> Callable[..., Tensor]:
    """The loss of a phase with no part of it kept in float32."""

    def loss(*given: Any) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stylealae.phases.full_precision", lambda _: nullcontext())
            return phase.loss(*given)

    return loss


def half_gradients(phase: Phase) -> State:
    """The full batch's gradients with the whole loss, R1 too, under plain autocast."""
    plain = Plain(build(SMALL))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bare = Phase(phase.name, phase.trains, under_autocast(phase))
        plain.step(bare, images(0), drawn(phase, 0, ONE, noise=False), AT)
    return plain.moments()


@pytest.mark.parametrize("zero", ZERO)
@pytest.mark.parametrize("phase", PHASES, ids=[p.name for p in PHASES])
def test_bf16_is_no_worse_than_plain_autocast(world: World, zero: int, phase: Phase) -> None:
    exact, half = plain_gradients(phase), half_gradients(phase)
    with engine_of(build(SMALL), world, zero, precision="bf16") as engine:
        iterate(engine, world, 0, phases=[phase], noise=False)
        ours = state_of(engine)
    for letter in phase.trains:
        error, plain = (
            relative(gradient(s, letter), gradient(exact, letter)) for s in (ours, half)
        )
        assert 0 < error <= 1.001 * plain, letter


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


def two_ranks(world: World) -> dict[str, State]:
    """What two processes find; the parent compares it."""
    found: dict[str, State] = {}
    for zero in ZERO:
        for phase in PHASES:
            with engine_of(build(SMALL), world, zero) as engine:
                iterate(engine, world, 0, phases=[phase], noise=False)
                found[f"{zero} {phase.name}"] = state_of(engine)
            with engine_of(build(SMALL), world, zero, precision="bf16") as engine:
                iterate(engine, world, 0, phases=[phase], noise=False)
                found[f"{zero} {phase.name} bf16"] = state_of(engine)
        nets = build(SMALL)
        with engine_of(nets, world, zero, micro_batch=(2,)) as engine:
            iterate(engine, world, 0, noise=False)
            state = found[f"{zero} state"] = state_of(engine)
            stopped = found[f"{zero} stopped"] = weights(nets)
            iterate(engine, world, BATCH, noise=False)
            found[f"{zero} end state"] = state_of(engine)
            found[f"{zero} end"] = weights(nets)
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
    state = ranks[0][f"{zero} {phase.name}"]
    exact = plain_gradients(phase)
    assert gradient_error(state, exact, phase) < ROUNDING
    half = ranks[0][f"{zero} {phase.name} bf16"]
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
    for letter in Networks.letters:
        assert state[f"step/{letter}"] == wanted[f"step/{letter}"]
    # D is trained first, before anything that rounding could have moved.
    assert relative(gradient(state, "D"), gradient(wanted, "D")) < ROUNDING
