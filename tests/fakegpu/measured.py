"""Every metric that needs no file, of models on the GPU and images of the host."""

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.config import RunConfig
from pipeline.evaluation.context import Evaluation, EvaluationContext
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.registry import METRICS
from stylealae.metrics.features import extractors
from tests.fakegpu.interface import model_of
from tests.fakegpu.iterations import world_of
from tests.fakegpu.pictures import IMAGES, Pictures

__all__ = ["measurements"]

BATCH = 16


def measurements(cfg: RunConfig) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each metric that the model can be measured by, as a call."""
    m: Any = model_of(cfg)
    world = world_of()
    found = extractors((), world.device)
    for name, metric in METRICS.items():
        free = metric.extractor in ("", *found) and not (metric.source or metric.recognises)
        if isinstance(m, metric.models) and free:
            context = EvaluationContext(
                model=m,
                dataset=Pictures(m.model),  # type: ignore[arg-type]
                world=world,
                extractors=found,
                labels=(Pictures.label,),
                samples=IMAGES,
                batch=BATCH,
            )
            yield name, lambda n=name, c=context: list(evaluate(Evaluation([n], c)))
