"""Part 5: the 25 dearest kernels of an iteration, the GPU's idle share, the bandwidth reached."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from tests.gpu.setting import Row, Setting, ffhq, row, small, trained

__all__ = ["rows"]

DEAREST = 25
COUNTS = Path(__file__).resolve().parents[1] / "fakegpu" / "counts.json"


def rows(s: Setting) -> Iterator[Row]:
    """At 1024x1024, fused, with images enough to keep the GPU busy; then with four."""
    world = s.world("auto")
    for stage, images in ((1, 4),) if s.quick else ((8, 32), (8, 4)):
        cfg = small(s) if s.quick else ffhq(f"schedule.batch=[{images}]")
        with trained(cfg, stage, 1.0, images, world) as iteration:
            for i in range(1 if s.quick else 3):
                iteration(i)
            s.wait()
            kind = ProfilerActivity.CUDA if s.on_gpu else ProfilerActivity.CPU
            with torch.profiler.profile(activities=[kind]) as found:
                began = time.perf_counter()
                iteration(0)
                s.wait()
                wall_us = (time.perf_counter() - began) * 1e6
        yield from _told(s, f"{4 << stage}x{4 << stage}, {images} images", found, wall_us)


def _told(s: Setting, where: str, found: Any, wall_us: float) -> Iterator[Row]:
    spent = {e.key: (_us(e), e.count) for e in found.key_averages() if _us(e) > 0}
    busy = sum(us for us, _ in spent.values())
    yield row(
        where, ms=wall_us / 1000, busy_ms=busy / 1000, idle=1 - busy / wall_us,
        kernels=sum(count for _, count in spent.values()), gb_s_of_the_counted_bytes=_moved(
            where) / wall_us / 1e3,
    )  # fmt: skip
    dearest = sorted(spent.items(), key=lambda item: -item[1][0])[: 3 if s.quick else DEAREST]
    for name, (us, count) in dearest:
        yield row(f"{where}: {name[:90]}", ms=us / 1000, calls=count, share=us / busy)


def _us(event: Any) -> float:
    """Time of the kernels themselves; torch has renamed it."""
    for name in ("self_device_time_total", "self_cuda_time_total", "self_cpu_time_total"):
        if value := getattr(event, name, 0):
            return float(value)
    return 0.0


def _moved(where: str) -> float:
    """Bytes of an iteration as counted without fusion, where they are on record; else 0."""
    for kept in json.loads(COUNTS.read_text()):
        if where == f"{4 << kept['stage']}x{4 << kept['stage']}, {kept['batch']} images":
            return float(kept["moved"])
    return 0.0
