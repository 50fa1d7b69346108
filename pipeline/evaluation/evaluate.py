"""Metrics of a model: a result each, with all that is needed to know what its numbers mean."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from pipeline.evaluation.context import Evaluation, EvaluationContext, Values
from pipeline.evaluation.forecast import seconds_of
from pipeline.evaluation.registry import METRICS, Metric
from pipeline.evaluation.requirements import require
from stylealae.ops.precision import tf32

__all__ = ["Result", "evaluate", "images_drawn"]


ON_TRAIN = " (there is no test split: of train, that the model may have been trained on)"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers of a metric, and all that they depend on."""

    metric: str
    """Its name in METRICS."""
    values: Values
    """Numbers by name."""
    protocol: str
    """What was compared with what."""
    samples: int
    """Images, or pairs of them, that were generated."""
    real: Mapping[str, int]
    """Real images that were measured, by split."""
    extractor: Mapping[str, str]
    """Role and sha256 of the feature extractor; empty if the metric takes none."""
    labels: tuple[str, ...]
    """Labels that were read."""
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


def evaluate(
    evaluation: Evaluation, announce: Callable[[float], None] | None = None
) -> Iterator[Result]:
    """The result of each metric, as it is found.  Collective.

    `announce` is called first, with the seconds that the passes over images will take.
    """
    require(evaluation)
    if announce is not None:
        announce(seconds_of(evaluation))
    names, context = evaluation.names, evaluation.context
    keep = frozenset(METRICS[name].extractor for name in names if METRICS[name].rows)
    context = replace(context, keep_rows=keep, memo={})
    for name in names:
        began = time.monotonic()
        with torch.no_grad(), tf32(False):  # it moves FID, and PPL by its squared step
            values = METRICS[name].measure(context)
        yield _result(name, values, context, time.monotonic() - began)


def _result(
    name: str, values: Values, context: EvaluationContext[object], seconds: float
) -> Result:
    metric, device = METRICS[name], context.world.device
    extractor = context.extractors.get(metric.extractor)
    split = context.held_out if metric.held_out else metric.real
    count = context.dataset.count(split) if metric.tests else context.real_count(split)
    on_train = metric.held_out and context.held_out != "test"
    on_gpu = device.type == "cuda"
    return Result(
        metric=name,
        values=values,
        protocol=metric.protocol + (ON_TRAIN if on_train else ""),
        samples=images_drawn(metric, context.samples),
        real={split: min(count, metric.at_most or count)} if split else {},
        extractor={} if extractor is None else {extractor.role: extractor.sha256},
        labels=context.labels if metric.labels else (),
        data=context.dataset.manifest.digest,
        resolution=context.dataset.resolution,
        alpha=context.alpha,
        seed=context.seed,
        batch=context.batch,
        device=torch.cuda.get_device_name(device) if on_gpu else "cpu",
        ranks=context.world.size,
        torch=str(torch.__version__),
        seconds=seconds,
    )


def images_drawn(metric: Metric, asked: int) -> int:
    """Images, or pairs of them, that a metric generates when so many are asked for."""
    if not metric.generates:
        return 0
    return metric.draws or min(asked, metric.draws_at_most or asked)
