"""Part 9: the same seed twice, as it is by default and with `engine.deterministic`."""

import os
from collections.abc import Iterator

import torch

from pipeline.arithmetic import WORKSPACE, compute_deterministically
from pipeline.world import World
from tests.gpu.setting import Row, Setting, medians, row, small, trained

__all__ = ["rows"]

BATCH, ITERATIONS = 8, 5


def rows(s: Setting) -> Iterator[Row]:
    """Only what is asked to be equal has to be."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # it is read at the first product
    world = s.world("auto")
    yield _twice(s, world, "by default", demanded=not s.on_gpu)
    cudnn = torch.backends.cudnn.deterministic
    compute_deterministically()
    s.fuse("auto")  # kernels of their own
    try:
        yield _twice(s, world, "engine.deterministic", demanded=True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = cudnn


def _twice(s: Setting, world: World, what: str, *, demanded: bool) -> Row:
    try:
        (one, ms), (other, _) = (_run(s, world) for _ in range(2))
    except RuntimeError as error:
        return row(what, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    apart = max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
    wrong = "two runs differ" if demanded and apart else ""
    return row(what, wrong, bit_equal=not apart, largest_difference=apart, ms=ms)


def _run(s: Setting, world: World) -> tuple[list[torch.Tensor], float]:
    cfg = small(s)
    with trained(cfg, cfg.last_stage, 0.5, BATCH, world) as iteration:
        for i in range(2 if s.quick else ITERATIONS):
            iteration(i)
        held = [p.detach().clone() for p in iteration.nets.parameters()]
        return held, 1000 * medians(s, iteration, 5)[0]
