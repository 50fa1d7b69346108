"""What may take TF32 is set where it is computed and put back; what is to repeat itself does."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline import arithmetic
from pipeline.config.sections import EngineConfig
from pipeline.world import World, joined
from stylealae.errors import ConfigError
from stylealae.networks import build
from stylealae.ops.precision import tf32
from stylealae.ops.tf32x3 import rounded
from tests.reference.plain import PHASES, SMALL, different, engine_of, iterate, weights

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_tf32_is_put_back_also_after_an_error() -> None:
    before = flags()

    def fail(allowed: bool) -> None:
        with tf32(allowed):
            assert flags() == (allowed, allowed)
            raise ZeroDivisionError

    for allowed in (False, True):
        with pytest.raises(ZeroDivisionError):
            fail(allowed)
        assert flags() == before


def test_the_bench_rounds_to_the_nearest_fraction_of_ten_bits() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 10
    fraction = torch.frexp(rounded(x)).mantissa.abs() * 2**11  # a bit before the point, ten after
    assert torch.equal(fraction, fraction.round())
    assert float(((rounded(x) - x) / x).abs().max()) <= 2**-11
    assert not torch.equal(rounded(x), x)


@pytest.mark.parametrize(
    ("where", "critic", "others"),
    [
        ("off", False, False),
        ("outside_r1", False, True),
        ("derivatives", True, True),
        ("3xtf32", True, True),
        ("on", True, True),
    ],
)
def test_a_phase_is_computed_forwards_and_backwards_as_engine_tf32_has_it(
    world: World, where: str, critic: bool, others: bool
) -> None:
    seen: dict[str, list[tuple[bool, bool]]] = {}

    def watched(phase: Any) -> Any:
        """The phase, which notes the flags in its forward and in its backward pass."""
        noted = seen.setdefault(phase.name, [])

        def loss(*given: Any) -> Tensor:
            noted.append(flags())
            found: Tensor = phase.loss(*given)
            found.register_hook(lambda _: noted.append(flags()))  # type: ignore[no-untyped-call]
            return found

        return replace(phase, loss=loss)

    before = flags()
    with engine_of(build(SMALL), world, tf32=where) as engine:
        iterate(engine, world, 0, phases=[watched(phase) for phase in PHASES])
    assert flags() == before
    wanted = {"critic": critic, "generator": others, "reciprocity": others}
    assert seen == {name: [(on, on)] * 2 for name, on in wanted.items()}


def test_by_default_r1s_forward_pass_takes_no_tf32_and_all_else_may(world: World) -> None:
    nets, seen = build(SMALL), list[tuple[bool, bool]]()
    nets.E.register_forward_pre_hook(lambda *_: seen.append(flags()))
    with engine_of(nets, world) as engine:
        iterate(engine, world, 0)
    generated, real, *others = seen  # E in phase I on both, then in II and III
    assert real == (False, False)
    assert {generated, *others} == {(True, True)}


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what is set for the life of a process."""
    monkeypatch.delenv(CUBLAS, raising=False)
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled
    torch.backends.cudnn.deterministic = False
    os.environ.pop(CUBLAS, None)


@pytest.mark.usefixtures("as_before")
def test_a_deterministic_engine_refuses_what_does_not_repeat_itself(world: World) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    joined(EngineConfig(deterministic=True, threads=1), gpu=False)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert os.environ[CUBLAS] == ":4096:8"
    found = []
    for _ in range(2):
        nets = build(SMALL)
        with engine_of(nets, world) as engine:
            iterate(engine, world, 0)
        found.append(weights(nets))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_cpu_without_bf16_computes_it_in_float32_and_says_so(
    multiplies: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(arithmetic, "multiplies_bf16", lambda: multiplies)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert arithmetic.half_of("bf16", cpu) == (torch.bfloat16 if multiplies else None)
    assert ("bf16 is computed in float32" in caplog.text) is not multiplies
    caplog.clear()
    assert arithmetic.half_of("bf16", gpu) == torch.bfloat16
    assert arithmetic.half_of("fp16", cpu) == torch.float16
    assert arithmetic.half_of("fp32", cpu) is None
    assert not caplog.text


def test_a_gpu_without_bf16_is_refused_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(ConfigError, match="this GPU has no instructions"):
        arithmetic.half_of("bf16", torch.device("cuda"))
    assert arithmetic.half_of("fp16", torch.device("cuda")) == torch.float16


def test_bf16_on_a_cpu_without_it_is_float32_to_the_bit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "multiplies_bf16", lambda: False)
    ends = []
    for precision in ("fp32", "bf16"):
        nets = build(SMALL)
        with engine_of(nets, world, precision=precision, emulated=False) as engine:
            iterate(engine, world, 0)
        ends.append(weights(nets))
    assert not different(*ends)
