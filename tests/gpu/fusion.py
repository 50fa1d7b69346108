"""Part 4: fused against eager, equal and faster; what compiling takes; channels_last."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.ops import fused
from tests.gpu.gradients import gradients
from tests.gpu.setting import Row, Setting, kinds_of, medians, row, small

__all__ = ["rows"]

CLOSE = {"fp32": 1e-3, "bf16": 0.05}
"""Relative error of a phase's gradient: kinks of the leaky ReLU count as they fall."""
PLANES = ((8, 16, 1024), (8, 64, 256), (32, 256, 64))
"""Images, channels, side of what one step is timed on."""
LAYERS = ((8, 16, 1024), (8, 64, 256), (32, 256, 64), (32, 512, 16))
"""The same of convolutions."""


def rows(s: Setting) -> Iterator[Row]:
    """Equality first: a fast wrong kernel is none."""
    s.world()
    yield from _equal(s)
    for n, c, r in ((2, 4, 8),) if s.quick else PLANES:
        yield from _steps(s, n, c, r)
    for n, c, r in ((2, 4, 8),) if s.quick else LAYERS:
        yield _layouts(s, n, c, r)


def _equal(s: Setting) -> Iterator[Row]:
    cfg = small(s)
    for precision in kinds_of(s, ("fp32", "bf16")):
        s.fuse("off")
        eager = gradients(cfg, s.device, precision, torch.float32)
        s.fuse("auto")
        began = time.perf_counter()
        found = gradients(cfg, s.device, precision, torch.float32)
        s.wait()
        errors = {
            name: float((found[name] - g).norm() / g.norm().clamp_min(1e-30))
            for name, g in eager.items()
        }
        given_up = ["the compiler has failed"] if s.on_gpu and not s.fused() else []
        wrong = given_up + [
            f"{n} is off by {e:.1e}" for n, e in errors.items() if not e <= CLOSE[precision]
        ]
        compile_s = time.perf_counter() - began
        yield row(f"fused / eager, {precision}", "; ".join(wrong), compile_s=compile_s, **errors)


def _steps(s: Setting, n: int, c: int, r: int) -> Iterator[Row]:
    """A step between convolutions, forwards and backwards; GB/s of its fewest bytes."""
    dtype = torch.bfloat16
    x = torch.randn(n, c, r, r, device=s.device, dtype=dtype)
    g, bias = torch.randn_like(x), torch.zeros(c, device=s.device, requires_grad=True)
    style = torch.zeros(n, c, device=s.device, requires_grad=True)
    noise = torch.randn(n, 1, r, r, device=s.device)

    def styled(_: int) -> Any:
        leaf = x.detach().requires_grad_(True)
        out = fused.styled(leaf.clone(), bias, style, style, noise=noise, noise_weight=bias,
                           eps=1e-8)  # fmt: skip
        return torch.autograd.grad(out, (leaf, bias, style), g)

    def normalised(_: int) -> Any:
        leaf = x.detach().requires_grad_(True)
        out, _mean, _var = fused.normalised(leaf.clone(), bias, eps=1e-5, blurred=True)
        return torch.autograd.grad(out, (leaf, bias), g)

    for name, step in (("styled", styled), ("normalised, blurred", normalised)):
        ms, fewest = {}, 9 * x.numel() * x.element_size()  # the copy: 2; forwards 3; backwards 4
        for mode in ("off", "auto"):
            s.fuse(mode)  # type: ignore[arg-type]
            ms[mode] = 1000 * medians(s, step, 10)[0]
        yield row(
            f"{name}, {n} x {c} x {r}x{r}", eager_ms=ms["off"], fused_ms=ms["auto"],
            times_faster=ms["off"] / ms["auto"], gb_s=fewest / ms["auto"] / 1e6,
        )  # fmt: skip


def _layouts(s: Setting, n: int, c: int, r: int) -> Row:
    """A convolution forwards and backwards in bf16, by the layout of its images."""

    def timed(layout: torch.memory_format) -> float:
        x, g = (
            torch.randn(n, c, r, r, device=s.device, dtype=torch.bfloat16)
            .contiguous(memory_format=layout) for _ in range(2)
        )  # fmt: skip
        w = torch.randn(c, c, 3, 3, device=s.device, dtype=torch.bfloat16)
        w = w.contiguous(memory_format=layout)
        return medians(s, _convolution(x.requires_grad_(True), w.requires_grad_(True), g), 10)[0]

    plain, last = timed(torch.contiguous_format), timed(torch.channels_last)
    return row(
        f"convolution, {n} x {c} x {r}x{r}", contiguous_ms=1000 * plain,
        channels_last_ms=1000 * last, times_faster=plain / last,
    )  # fmt: skip


def _convolution(x: Tensor, w: Tensor, g: Tensor) -> Callable[[int], Any]:
    return lambda _: torch.autograd.grad(fn.conv2d(x, w, padding=1), (x, w), g)
