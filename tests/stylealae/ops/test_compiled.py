"""What torch's compiler makes of the steps between convolutions, against those of a CPU.

Compiled here by the CPU's backend; formulas and derivatives are the same on a GPU.
"""

import getpass
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylealae.config import LossConfig, ModelConfig
from stylealae.networks import Networks, build
from stylealae.ops import compiler, formulas, fused
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import phases_of
from stylealae.schedule import Growth, Progress

N, C, R = 3, 4, 12
CXX = os.environ.get("CXX", "g++")
needs_a_compiler = pytest.mark.skipif(
    shutil.which(CXX) is None, reason=f"the CPU's backend needs a C++ compiler, {CXX} is not here"
)
Steps = Callable[..., Tensor | tuple[Tensor, ...]]


@pytest.fixture(autouse=True)
def _off_in_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels of this instruction set, kept for the next time; nothing is fused afterwards.

    They are compiled one after the other: processes that compile would load torch for a few each.
    """
    kept = Path(tempfile.gettempdir(), f"stylealae-kernels-{getpass.getuser()}")
    instructions = torch.backends.cpu.get_cpu_capability().lower()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(kept / instructions))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    yield
    compiler.fuse("off")


@pytest.fixture
def formulas_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formulas without a compiler: their mathematics."""
    monkeypatch.setattr(torch, "compile", lambda formula, **_: formula)
    compiler.fuse("on")


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def styled(blurred: bool, noise: Tensor | None) -> Steps:
    def steps(x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Tensor:
        return fused.styled(
            x.clone(), bias, scale, shift, noise=noise, noise_weight=weight, eps=1e-8,
            blurred=blurred,
        )  # fmt: skip

    return steps


def unstyled(step: Steps, blurred: bool) -> Steps:
    def steps(x: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return step(x.clone(), bias, eps=1e-5, blurred=blurred)

    return steps


normalised, destyled = partial(unstyled, fused.normalised), partial(unstyled, fused.destyled)


def twice(blurred: bool, weights: list[Tensor], step: Steps = fused.normalised) -> Steps:
    """The squared norm of a gradient, as R1 takes it."""

    def steps(x: Tensor, bias: Tensor) -> Tensor:
        results = step(x.clone(), bias, eps=1e-5, blurred=blurred)
        loss = sum((a * w).tanh().sum() for a, w in zip(results, weights, strict=True))
        (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        return grad.float().square().sum() if grad.dtype != torch.float64 else grad.square().sum()

    return steps


def with_gradients(steps: Steps, inputs: list[Tensor]) -> list[Tensor]:
    """What the steps give, and the gradients of all inputs that have one."""
    torch.manual_seed(1)
    results = steps(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    weights = [torch.randn_like(a) for a in results]
    grads = torch.autograd.grad(results, inputs, weights, allow_unused=True)
    return [*(a.detach() for a in results), *(g for g in grads if g is not None)]


def compared(steps: Steps, inputs: list[Tensor], **tolerance: float) -> None:
    """Holds what a compiler made against the CPU's own way."""
    fused = with_gradients(steps, inputs)
    assert compiler.fuses(inputs[0]), "a compiler failed on the way"
    compiler.fuse("off")
    for ours, plain in zip(fused, with_gradients(steps, inputs), strict=True):
        assert ours.dtype == plain.dtype
        torch.testing.assert_close(ours, plain, **tolerance)


def of_styled(dtype: torch.dtype) -> list[Tensor]:
    wide = torch.promote_types(dtype, torch.float32)
    small = [draw(*shape, dtype=wide) for shape in ((C,), (N, C), (N, C), (C,))]
    return [draw(N, C, R, R, dtype=dtype), *small]


def of_normalised(dtype: torch.dtype) -> list[Tensor]:
    wide = torch.promote_types(dtype, torch.float32)
    return [draw(N, C, R, R, dtype=dtype), draw(C, dtype=wide)]


@pytest.mark.usefixtures("formulas_alone")
@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("side", [4, R], ids=["small planes", "by rows"])
def test_styled_formulas_are_the_steps_of_a_cpu(blurred, noise, side):
    noise = torch.randn(N, 1, side, side, dtype=torch.float64) if noise else None
    inputs = of_styled(torch.float64)
    inputs[0] = draw(N, C, side, side)
    compared(styled(blurred, noise), inputs)


@pytest.mark.usefixtures("formulas_alone")
@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("side", [4, R], ids=["small planes", "by rows"])
def test_without_a_gradient_the_features_are_the_same_and_nothing_is_kept(blurred, side):
    noise, inputs = torch.randn(N, 1, side, side, dtype=torch.float64), of_styled(torch.float64)
    inputs[0] = draw(N, C, side, side)
    steps = styled(blurred, noise)
    with_graph = steps(*inputs)
    with torch.no_grad():
        alone = steps(*inputs)
    assert with_graph.requires_grad
    assert not alone.requires_grad
    torch.testing.assert_close(alone, with_graph, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("failing", ["", "normalised_backward", "styled_backward", "styled"])
def test_blocks_computed_again_are_fused_and_outlast_a_compiler_that_fails(
    failing, monkeypatch, caplog
):
    def compile_(formula: Callable[..., object], **_: object) -> Callable[..., object]:
        def refused(*_: object) -> None:
            raise RuntimeError("no room for kernels")

        return refused if formula.__name__ == failing else formula

    def gradients(first: int) -> list[Tensor]:
        nets.recompute_from(first)
        for p in nets.parameters():
            p.grad = None
        nets.E(nets.G(nets.F(z), at), at).square().sum().backward()
        return [p.grad.clone() for p in nets.parameters() if p.grad is not None]

    monkeypatch.setattr(torch, "compile", compile_)
    nets = build(ModelConfig(resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8))
    z, at = torch.randn(2, 8), Growth(stage=2)
    wanted = gradients(0)
    compiler.fuse("on")
    found = gradients(4)
    assert ("no room for kernels" in caplog.text) is bool(failing)
    assert compiler.fuses(z) is (not failing)
    largest = max(float(plain.norm()) for plain in wanted)
    for ours, plain in zip(found, wanted, strict=True):
        assert (ours - plain).norm() < 1e-5 * largest  # some are zero but for rounding
    compiler.fuse("on")
    assert compiler.fuses(z)


@pytest.mark.usefixtures("formulas_alone")
@pytest.mark.parametrize("step", [fused.normalised, fused.destyled])
@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("side", [4, R], ids=["small planes", "by rows"])
def test_formulas_without_style_are_the_steps_of_a_cpu_and_so_is_the_second_derivative(
    step, blurred, side
):
    inputs = [draw(N, C, side, side), draw(C)]
    compared(unstyled(step, blurred), inputs)
    compiler.fuse("on")
    weights = [torch.randn_like(result) for result in step(inputs[0].clone(), inputs[1], eps=1e-5)]
    compared(twice(blurred, weights, step), inputs)


@pytest.mark.usefixtures("formulas_alone")
@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("small", [64, 0], ids=["small planes", "by rows"])
def test_all_derivatives_of_the_formulas_are_those_of_finite_differences(
    blurred, small, monkeypatch
):
    monkeypatch.setattr(formulas, "SMALL", small)
    x, bias, size = draw(2, 2, 3, 4), draw(2), (3, 4)
    assert torch.autograd.gradcheck(normalised(blurred), (x, bias))
    assert torch.autograd.gradgradcheck(normalised(blurred), (x, bias))
    assert torch.autograd.gradgradcheck(destyled(blurred), (x, bias))
    assert torch.autograd.gradgradcheck(fused.blur, x)
    rest = draw(2, 2), draw(2, 2), draw(2)
    noise = torch.randn(2, 1, *size, dtype=torch.float64)
    assert torch.autograd.gradcheck(styled(blurred, noise), (x, bias, *rest))


@pytest.mark.usefixtures("formulas_alone")
def test_features_that_nobody_uses_need_no_gradient():
    x, bias = draw(N, C, R, R), draw(C)

    def by_statistics(x: Tensor, bias: Tensor) -> Tensor:
        _, mean, var = fused.normalised(x.clone(), bias, eps=1e-5)
        (grad,) = torch.autograd.grad((mean * var).sum(), x, create_graph=True)
        return grad.square().sum()

    compared(by_statistics, [x, bias])


@needs_a_compiler
@pytest.mark.slow
def test_compiled_steps_and_second_derivatives_are_those_of_a_cpu_in_float64():
    compiler.fuse("on")
    compared(styled(True, torch.randn(N, 1, R, R)), of_styled(torch.float64))
    compiler.fuse("on")
    compared(normalised(True), of_normalised(torch.float64))
    compiler.fuse("on")
    shapes = (N, C, R, R), (N, C), (N, C)
    weights = [torch.randn(s, dtype=torch.float64) for s in shapes]
    compared(twice(True, weights), of_normalised(torch.float64))


@needs_a_compiler
@pytest.mark.early
def test_compiled_steps_in_half_precision_are_as_near_to_float64_as_those_of_a_cpu():
    noise = torch.randn(N, 1, R, R)
    for steps, inputs in (
        (styled(True, noise), of_styled(torch.bfloat16)),
        (normalised(True), of_normalised(torch.bfloat16)),
    ):
        compiler.fuse("on")
        fused = with_gradients(steps, inputs)
        assert compiler.fuses(inputs[0]), "a compiler failed on the way"
        compiler.fuse("off")
        plain = with_gradients(steps, inputs)
        exact = with_gradients(steps, [t.detach().double().requires_grad_(True) for t in inputs])
        for ours, theirs, truth in zip(fused, plain, exact, strict=True):
            assert ours.dtype == theirs.dtype
            assert error(ours, truth) < 1.5 * error(theirs, truth) + 2**-9


def error(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).norm() / truth.norm())


@pytest.mark.slow
def test_a_growing_run_compiles_once_for_each_shape_whatever_the_batch(monkeypatch):
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend=backend, fullgraph=True))
    compiler.fuse("on")
    nets = build(ModelConfig(resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8))
    counts = []
    for stage in (0, 1):
        for batch, alpha in ((4, 0.5), (2, 1.0), (3, 0.25)):
            at = Progress(stage=stage, alpha=alpha if stage else 1.0, batch=batch, lr=0.1)
            iterated(nets, at)
            with torch.no_grad():  # as for pictures and metrics, without autocast
                nets.E(torch.randn(7, 3, 4 << stage, 4 << stage), Growth(stage=stage))
            assert compiler.fuses(torch.zeros(1)), "compiling failed on the way"
            counts.append(len(graphs))
    assert counts == [counts[0]] * 3 + [counts[3]] * 3


def iterated(nets: Networks, at: Progress) -> None:
    """The phases' losses and gradients, in half precision."""
    x = torch.randn(at.batch, 3, at.resolution, at.resolution)
    z = torch.randn(at.batch, 8)
    r = StyleInputs(z=z, noise=torch.Generator())
    for phase in phases_of(LossConfig()):
        for network in nets.networks:
            for p in nets.grown(network, at):
                p.requires_grad_(network in phase.trains)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = phase.loss(nets, x, r, at, LossConfig())
        loss.backward()


@pytest.mark.parametrize("found", ["no compiler", "one that fails"])
def test_without_a_compiler_nothing_is_fused_and_the_log_says_so_once(found, monkeypatch, caplog):
    def failing(formula, **_):
        def call(*_: object) -> None:
            raise RuntimeError("g++ was not found\nand so on for pages")

        return call

    x, bias = draw(N, C, R, R), draw(C)
    plain = with_gradients(normalised(True), [x, bias])
    if found == "no compiler":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda _: None)
        with caplog.at_level(logging.WARNING):
            compiler.fuse("auto")
    else:
        monkeypatch.setattr(torch, "compile", failing)
        compiler.fuse("on")
    with caplog.at_level(logging.WARNING):
        for ours, theirs in zip(with_gradients(normalised(True), [x, bias]), plain, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert not compiler.fuses(x)
    assert len(caplog.records) == 1
    reason = {"no compiler": "Triton is not installed", "one that fails": "g++ was not found"}
    assert caplog.records[0].getMessage().endswith(reason[found])


def test_kernels_are_kept_where_the_config_says(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compiler.fuse("auto", tmp_path / "kernels")
    instructions = torch.backends.cpu.get_cpu_capability().lower()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels" / instructions)
    compiler.fuse("auto", tmp_path / "others")
    assert "others" not in os.environ["TORCHINDUCTOR_CACHE_DIR"], "the environment's goes first"
