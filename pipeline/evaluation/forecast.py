"""How long metrics will take, told by the first batches of their passes over images."""

import math
import time
from dataclasses import dataclass, field, replace

import torch

from pipeline.evaluation.context import Evaluation
from pipeline.evaluation.registry import METRICS

__all__ = ["seconds_of"]

BATCHES = 3
"""Of a pass; the first is not timed, for it also warms up."""


@dataclass
class _Pass:
    """A pass over images, as far as it was rehearsed."""

    images: int
    timed_s: list[float] = field(default_factory=list)


def seconds_of(evaluation: Evaluation) -> float:
    """Seconds that those of the metrics will take that are passes over images.  Collective."""
    names, context = evaluation.names, evaluation.context
    passes: dict[str, _Pass] = {}
    last = time.monotonic()

    def on_progress(what: str, _done: int, images: int) -> None:
        nonlocal last
        now = time.monotonic()
        if what in passes:
            passes[what].timed_s.append(now - last)
        else:
            passes[what] = _Pass(images)
        last = now

    chosen = [METRICS[name] for name in names if METRICS[name].by_passes]
    keep = frozenset(metric.extractor for metric in chosen if metric.rows)
    rehearsal = replace(
        context, rehearsed=BATCHES, keep_rows=keep, memo={}, on_progress=on_progress
    )
    rest = 0.0
    for metric in chosen:
        last = time.monotonic()
        with torch.no_grad():
            metric.measure(rehearsal)
        rest += time.monotonic() - last  # what follows the last pass
    stride = context.batch * context.world.size
    return rest + sum(
        sum(one.timed_s) / len(one.timed_s) * math.ceil(one.images / stride)
        for one in passes.values()
        if one.timed_s
    )
