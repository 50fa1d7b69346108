"""Part 1: the card, the versions, the flags, and what it reaches at bare operations."""

import importlib.util
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as fn

from stylealae.ops.precision import tf32
from tests.gpu.setting import Row, Setting, medians, row

__all__ = ["rows"]

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
LAUNCHES = 2000


def rows(s: Setting) -> Iterator[Row]:
    """What the card is, and its rates: the cost model assumes some of them."""
    about = torch.cuda.get_device_properties(s.device)
    yield row(
        about.name, GiB=about.total_memory / 2**30, capability=f"{about.major}.{about.minor}",
        driver=_driver(),
    )  # fmt: skip
    yield row(
        "versions", torch=str(torch.__version__), cuda=str(torch.version.cuda),
        cudnn=str(torch.backends.cudnn.version()),
        triton=_version("triton"), deepspeed=_version("deepspeed"),
    )  # fmt: skip
    yield row(
        "TF32 by default", convolutions=torch.backends.cudnn.allow_tf32,
        products=torch.backends.cuda.matmul.allow_tf32,
    )  # fmt: skip
    yield from _traffic(s)
    for name, dtype, allowed in (("bf16", "bf16", False), ("TF32", "fp32", True),
                                 ("fp32", "fp32", False)):  # fmt: skip
        with tf32(allowed):
            yield row(f"{name}, TFLOP/s", **_arithmetic(s, DTYPES[dtype]))
    yield row("a launch, microseconds of the host", alone=_launch_us(s))


def _traffic(s: Setting) -> Iterator[Row]:
    n = 1 << (20 if s.quick else 30)
    held, other = (torch.zeros(n, dtype=torch.uint8, device=s.device) for _ in range(2))
    host = torch.zeros(n, dtype=torch.uint8).pin_memory()
    yield row(
        "bandwidth, GB/s",
        copy=2 * _rate(s, n, lambda _: other.copy_(held)),
        add=2 * _rate(s, n, lambda _: torch.add(held, 1, out=other)),
        from_host=_rate(s, n, lambda _: held.copy_(host, non_blocking=True)),
    )


def _rate(s: Setting, n: int, step: Callable[[int], Any]) -> float:
    return n / medians(s, step, 10)[0] / 1e9


def _arithmetic(s: Setting, dtype: torch.dtype) -> dict[str, float]:
    """A product, and 3x3 convolutions forwards and backwards as they occur at 64x64 and 512x512."""
    side = 64 if s.quick else 8192
    a, b = (torch.randn(side, side, device=s.device, dtype=dtype) for _ in range(2))
    found = {"product": 2 * side**3 / medians(s, lambda _: a @ b, 5)[0] / 1e12}
    for n, c, r in ((2, 4, 8),) if s.quick else ((32, 256, 64), (8, 32, 512)):
        x = torch.randn(n, c, r, r, device=s.device, dtype=dtype, requires_grad=True)
        w = torch.randn(c, c, 3, 3, device=s.device, dtype=dtype, requires_grad=True)
        g = torch.randn(n, c, r, r, device=s.device, dtype=dtype)
        seconds, _ = medians(
            s, lambda _: torch.autograd.grad(fn.conv2d(x, w, padding=1), (x, w), g), 5  # noqa: B023
        )  # fmt: skip
        found[f"convolution {c} at {r}x{r}"] = 3 * 2 * 9 * c * c * n * r * r / seconds / 1e12
    return found


def _launch_us(s: Setting) -> float:
    x = torch.zeros(1, device=s.device)
    s.wait()
    began = time.perf_counter()
    for _ in range(10 if s.quick else LAUNCHES):
        x.add_(1)
    took = time.perf_counter() - began
    s.wait()
    return took / (10 if s.quick else LAUNCHES) * 1e6


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10)
        return " ".join(done.stdout.split())
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package) if importlib.util.find_spec(package) else "not there"
