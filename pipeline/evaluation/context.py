"""What a metric is given: a model, images of a data set, and how many of each.

Samples are cut into batches that are the same at any world size, and a rank takes every world-th
of them: an image meets the same batch, and a metric has the same value, on 1 rank or 64.

Legend: N images of a batch, C channels, R resolution, K features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from pipeline.data.format.types import Ints
from pipeline.data.loader.batch import on_device
from pipeline.data.loader.dataset import Dataset
from pipeline.world import World
from stylealae.metrics.features import Extractor
from stylealae.priors import rng

__all__ = ["Evaluation", "EvaluationContext", "ProgressCallback", "SampleRange", "Values"]

M = TypeVar("M", covariant=True)
BLOCK = 64  # samples that are drawn together
Values = dict[str, float]
"""A metric's numbers by name, without the `metric/` of their tags."""
ProgressCallback = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class SampleRange:
    """Consecutive samples of one pass."""

    first: int
    """Number of the first."""
    count: int
    """How many."""

    @property
    def rows(self) -> slice:
        """Their rows among those of all samples."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True, kw_only=True)
class EvaluationContext(Generic[M]):
    """A model under measurement, and all that its metrics depend on.

    Generic in the model, by what a metric calls of it: a metric of codes takes an
    `EvaluationContext[Encodes]`, one that only reads images an `EvaluationContext[object]`.
    """

    model: M
    """In evaluation mode, on `world.device`."""
    dataset: Dataset
    """The data set, at the model's resolution."""
    world: World
    """The ranks that measure together."""
    extractors: Mapping[str, Extractor] = field(default_factory=dict)
    """Feature extractors by role: `random`, `inception`, `vgg16`, `custom`."""
    labels: tuple[str, ...] = ()
    """Labels of the data set that metrics of attributes read."""
    samples: int = 50_000
    """How many images, or pairs of them, a metric draws at most."""
    batch: int = 32
    """Images that go through a network at once."""
    alpha: float = 1.0
    """Weight of the newest block, when measured while it fades in."""
    seed: int = 0
    """Every draw is keyed by (seed, purpose, number of the sample)."""
    cache: Path | None = None
    """Folder for statistics of real images; None keeps none."""
    keep_rows: frozenset[str] = frozenset()
    """Roles whose features are kept image by image for the next metric, not only summed."""
    memo: dict[tuple[str, ...], object] = field(default_factory=dict)
    """Intermediate results that metrics share."""
    on_progress: ProgressCallback = lambda _what, _done, _all: None
    """Called after each batch."""
    rehearsed: int = 0
    """Only so many batches of a pass are made, to time them; 0: all."""

    def batches(self, n: int, what: str) -> Iterator[SampleRange]:
        """This rank's batches of n samples; `what` names them to `on_progress`."""
        stride = self.batch * self.world.size
        made = range(self.world.rank * self.batch, n, stride)
        for first in made[: self.rehearsed] if self.rehearsed else made:
            yield SampleRange(first, min(self.batch, n - first))
            self.on_progress(what, min(first - first % stride + stride, n), n)

    def gathered(
        self, n: int, width: int, what: str, rows_of: Callable[[SampleRange], Tensor]
    ) -> Tensor:
        """Rows of numbers, of which each rank computes its batches.  -> [n, width] on every CPU

        In a rehearsal, the rows of its batches.  Collective.
        """
        rows = n
        if self.rehearsed:
            rows = min(n, self.rehearsed * self.batch * self.world.size)
        found = torch.zeros(rows, width, dtype=torch.float32, device=self.world.device)
        for part in self.batches(n, what):
            found[part.rows] = rows_of(part).float()
        return self.world.sum(found).cpu()  # the other ranks' rows are zeros here

    def draws(
        self, purpose: str, part: SampleRange, draw: Callable[[int, torch.Generator], Tensor]
    ) -> Tensor:
        """What `draw` gives for these samples, the same whatever the batch.  -> [N, ...]"""
        first = part.first - part.first % BLOCK
        blocks = range(first, part.first + part.count, BLOCK)
        drawn = [draw(BLOCK, rng(self.seed, f"metric/{purpose}", block)) for block in blocks]
        rows = slice(part.first - first, part.first - first + part.count)
        return torch.cat(drawn)[rows].to(self.world.device)

    def real_count(self, split: str) -> int:
        """How many real images of a split are measured."""
        return min(self.samples, self.dataset.count(split))

    def ids(self, split: str, part: SampleRange) -> Ints:
        """The numbers of some of those images: spread over the split, which may be sorted."""
        measured, there = self.real_count(split), self.dataset.count(split)
        return np.arange(part.first, part.first + part.count) * there // measured

    def real(self, split: str, part: SampleRange) -> Tensor:
        """Some of those images.  -> [N, C, R, R] in [-1, 1]"""
        pixels = self.dataset.take(split, self.ids(split, part))
        return on_device(pixels, 1.0, self.world.device)

    @property
    def held_out(self) -> str:
        """The split that reconstructions are measured on: `test`, or `train` if it has none."""
        return "test" if self.dataset.count("test") else "train"


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and the context that they are computed in."""

    names: Sequence[str]
    context: EvaluationContext[object]
