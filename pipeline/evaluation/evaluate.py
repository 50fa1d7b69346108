"""What metrics find of a model: one result each, a line of JSON with all that its numbers mean."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from pipeline.evaluation.context import Subject, Values
from pipeline.evaluation.registry import METRICS, require

__all__ = ["Result", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a metric found, and all that is needed to know what it means."""

    metric: str
    """Its name in METRICS."""
    values: Values
    """Numbers by name."""
    protocol: str
    """What was compared with what."""
    samples: int
    """Images, or pairs of them, that were generated."""
    real: Mapping[str, int]
    """Real images that were looked at, by split."""
    extractor: Mapping[str, str]
    """Role and sha256 of the feature extractor; empty if none was asked."""
    labels: tuple[str, ...]
    """Labels that were looked at."""
    data: str
    """Digest of the data set's manifest."""
    resolution: int
    """Side of the images."""
    alpha: float
    """Weight of the newest block."""
    seed: int
    """Of every draw."""
    batch: int
    """Images at once: it keys G's noise."""
    device: str
    """What it was computed on."""
    ranks: int
    """Processes that it was shared among."""
    torch: str
    """Version of torch."""
    seconds: float
    """Time that this metric took after those before it."""


def evaluate(names: Sequence[str], subject: Subject[Any]) -> Iterator[Result]:
    """What each metric finds, as it is found.  Collective."""
    require(names, subject)
    keep = frozenset(METRICS[name].extractor for name in names if METRICS[name].rows)
    subject = replace(subject, keep=keep, memo={})
    for name in names:
        began = time.monotonic()
        with torch.no_grad(), _exact():
            values = METRICS[name].measure(subject)
        yield _result(name, values, subject, time.monotonic() - began)


def _result(name: str, values: Values, s: Subject[Any], seconds: float) -> Result:
    metric, device = METRICS[name], s.world.device
    extractor = s.extractors.get(metric.extractor)
    split = s.held_out if metric.real == "held out" else metric.real
    on_gpu = device.type == "cuda"
    return Result(
        metric=name,
        values=values,
        protocol=metric.protocol,
        samples=s.samples if metric.generates else 0,
        real={split: s.real_count(split)} if split else {},
        extractor={} if extractor is None else {extractor.role: extractor.sha256},
        labels=s.labels if metric.labels else (),
        data=s.pictures.manifest.digest,
        resolution=s.pictures.resolution,
        alpha=s.alpha,
        seed=s.seed,
        batch=s.batch,
        device=torch.cuda.get_device_name(device) if on_gpu else "cpu",
        ranks=s.world.size,
        torch=str(torch.__version__),
        seconds=seconds,
    )


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions and products in whole float32: TF32 moves FID, and PPL by its squared step."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
