"""Metrics by name, and what they find of a model: one typed result each, to be written as JSON.

A metric is a function of a `Subject`; METRICS says besides what it needs and which models it takes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline import measures
from pipeline.subject import Subject, Values
from stylealae.api import StyleALAE
from stylealae.errors import ConfigError

__all__ = ["METRICS", "Metric", "Result", "evaluate", "require"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure, and what it asks for."""

    measure: Callable[[Subject[Any]], Values]
    """Every value's name begins with the metric's own, or stands in docs/metrics.md.  Collective."""
    protocol: str
    """In a line: what is compared with what, for the record beside every number."""
    extractor: str = ""
    """Role of the feature extractor that it needs; empty for none."""
    rows: bool = False
    """Whether it needs the features of every image, and not only their sums."""
    labels: bool = False
    """Whether it needs labels of the data set."""
    models: tuple[type, ...] = (StyleALAE,)
    """Classes of models that it can look at."""


METRICS: dict[str, Metric] = {}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of JSON: numbers, and all that is needed to know what they mean."""

    metric: str
    values: Values
    protocol: str
    samples: int
    seconds: float


def require(names: Sequence[str], subject: Subject[Any]) -> None:
    """Refuses, before anything is computed, metrics that this subject cannot be measured by.

    Raises:
        ConfigError: a name is unknown, a model is of a class that a metric does not take, or an
            extractor or label is missing.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
        metric, kind = METRICS[name], type(subject.model)
        if not issubclass(kind, metric.models):
            takes = " or ".join(m.__name__ for m in metric.models)
            fitting = [n for n, m in METRICS.items() if issubclass(kind, m.models)]
            raise ConfigError(
                f"{name} measures a {takes} and this is a {kind.__name__}: choose from "
                f"{', '.join(fitting) or 'none'}"
            )


def evaluate(names: Sequence[str], subject: Subject[Any]) -> Iterator[Result]:
    """What each metric finds, as it is found.  Collective."""
    require(names, subject)
    for name in names:
        began = time.monotonic()
        values = METRICS[name].measure(subject)
        yield Result(
            metric=name,
            values=values,
            protocol=METRICS[name].protocol,
            samples=subject.samples,
            seconds=time.monotonic() - began,
        )
