"""Part 3: seconds a 1,000 images, the host's share, and memory beside what `plan` says."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from pipeline.config import RunConfig
from pipeline.planning.memory import GIB, need
from pipeline.planning.stage_plan import stage_plan
from pipeline.world import World
from stylealae.config import ModelConfig
from tests.gpu.setting import Row, Setting, ffhq, kinds_of, medians, row, small, trained
from tests.reference.released_step import Released

__all__ = ["rows"]

WANTED = ((8, 32), (8, 4), (6, 32), (6, 4), (3, 128), (0, 512))
"""(stage, images).  A batch of one has kernels of its own, which take minutes to compile."""
RELEASED = ((6, 16), (8, 4))
FORMS: dict[str, tuple[str, ...]] = {
    "bf16": (),
    "bf16, TF32 in R1": ("engine.tf32=on",),
    "bf16, 3xTF32 in R1's forward pass": ("engine.tf32=3xtf32",),
    "bf16, merged, lazy R1": ("loss.merged=true", "loss.r1_every=16"),
}
ROUNDS = 3


def rows(s: Setting) -> Iterator[Row]:
    """The published recipe fused and not, its variants, and the released step beside it."""
    world = s.world()
    for fused in kinds_of(s, ("off", "auto")):
        s.fuse(fused)  # type: ignore[arg-type]
        for stage, images in ((1, 4),) if s.quick else WANTED:
            yield _timed(s, world, _cfg(s, images), stage, images, f"bf16, fuse={fused}")
    for name, overrides in FORMS.items():
        stage, images = (1, 4) if s.quick else (8, 32)
        if overrides:
            yield _timed(s, world, _cfg(s, images, *overrides), stage, images, name)
    for stage, images in ((1, 4),) if s.quick else RELEASED:
        yield _released(s, _cfg(s, images), stage, images)


def _cfg(s: Setting, images: int, *overrides: str) -> RunConfig:
    made = small if s.quick else (lambda _, *given: ffhq(*given))
    return made(s, f"schedule.batch=[{images}]", *overrides)


def _timed(
    s: Setting, world: World, cfg: RunConfig, stage: int, images: int, what: str
) -> Row:  # fmt: skip
    side, wrong = 4 << stage, ""
    what = f"{side}x{side}, {images} images, {what}"
    try:
        s.peak_gib()
        with trained(cfg, stage, 1.0, images, world) as iteration:
            every = getattr(cfg.loss, "r1_every", 1)
            began = time.perf_counter()
            iteration(0)
            s.wait()
            first = time.perf_counter() - began
            due = medians(s, lambda i: iteration(every * i), ROUNDS)
            between = medians(s, lambda i: iteration(every * i + 1), ROUNDS) if every > 1 else due
            seconds, host = (
                (d + (every - 1) * b) / every for d, b in zip(due, between, strict=True)
            )
            peak = s.peak_gib()
    except Exception as error:
        torch.cuda.empty_cache()
        return row(what, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    planned = need(stage_plan(cfg, stage)) / GIB
    if what.endswith("auto") and s.on_gpu and not s.fused():
        wrong = "nothing is fused: the compiler has failed"
    elif s.on_gpu and peak > planned:
        wrong = f"{peak:.2f} GiB, planned are {planned:.2f}"
    numbers: dict[str, Any] = {
        "s a 1,000 images": 1000 * seconds / images, "ms": 1000 * seconds, "ms of the host":
        1000 * host, "first s": first, "peak GiB": peak, "planned GiB": planned,
    }  # fmt: skip
    return row(what, wrong, **numbers)


def _released(s: Setting, cfg: RunConfig, stage: int, images: int) -> Row:
    """The plain transcription of the released step, in float32 as it is published."""
    side = 4 << stage
    what = f"{side}x{side}, {images} images, the released step"
    assert isinstance(cfg.model, ModelConfig)
    try:
        s.peak_gib()
        with torch.device(s.device):
            nets, average = Released(replace(cfg.model)), Released(replace(cfg.model))
            x = torch.rand(images, 3, side, side) * 2 - 1
            adams = nets.adams()
            seconds, host = medians(s, lambda _: nets.step(x, stage, 1.0, adams, average), ROUNDS)
    except Exception as error:
        return row(what, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return row(what, **{"s a 1,000 images": 1000 * seconds / images, "ms": 1000 * seconds,
                        "ms of the host": 1000 * host, "peak GiB": s.peak_gib()})  # fmt: skip
