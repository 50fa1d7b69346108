"""Metrics while training: every so many images, on all ranks, of the running averages.

They draw from addresses of their own and read the data set beside the loader, so a run with them
trains as it would without.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path

from pipeline.config.sections import MetricConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.evaluation.context import Evaluation, EvaluationContext
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.requirements import require
from pipeline.training.logs import Log
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.metrics.features import extractors
from stylealae.schedule import Progress, due

__all__ = ["Metrics"]


class Metrics:
    """The metrics of one stage of a run."""

    def __init__(
        self,
        cfg: MetricConfig,
        dataset: Dataset,
        world: World,
        log: Log,
        model: Callable[[], Model],
        *,
        seed: int,
    ) -> None:
        """Refuses, before the first step, metrics that cannot be computed; opens nothing if off."""
        self.cfg, self.log, self.model = cfg, log, model
        if not cfg.every_img:
            return
        context = EvaluationContext(
            model=model(),
            dataset=dataset,
            world=world,
            extractors=extractors(cfg.features, world.device),
            labels=cfg.labels,
            samples=cfg.samples,
            batch=cfg.batch,
            seed=seed,
            cache=Path(cfg.cache).expanduser(),
        )
        evaluation = Evaluation(cfg.names, context)
        require(evaluation)
        self.evaluation = evaluation

    def write_if_due(self, seen: int, at: Progress) -> None:
        """Measures and writes, if their interval has passed or the stage ends.  Collective."""
        every, at_end = self.cfg.every_img, seen >= self.log.span[1]
        if not every or not (due(seen, every, at.batch) or at_end):
            return
        began = time.monotonic()
        context = replace(self.evaluation.context, model=self.model(), alpha=at.alpha)
        results = evaluate(replace(self.evaluation, context=context))
        found = {f"metric/{name}": value for r in results for name, value in r.values.items()}
        row = {tag: value for tag, value in found.items() if isfinite(value)}
        self.log.row(seen, {**row, "time/metrics_s": time.monotonic() - began})
