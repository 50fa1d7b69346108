"""Weights of others that a run may begin with: a snapshot, another run's checkpoint, the authors'.

    source = opened("runs/ffhq/0064/snapshot")
    source.trained.stage, source.trained.alpha     what they are of
    trained, averaged = source.parts()             the tensors, by the names that ours have

A kind of weights is a class here; what is wanted of a file is read when it is asked for, once.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from pipeline.config import read_saved
from pipeline.training.checkpoint_state import label
from pipeline.training.checkpoints import NETWORKS, STATE, Checkpoint
from pipeline.training.model_folder import folder_of, snapshot_of, url_of
from stylealae.config import ModelConfig, ShapeConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.families import FAMILIES, sections
from stylealae.file_hash import sha256_of
from stylealae.interop import snapshot
from stylealae.interop.integrity import require_file, require_manifest
from stylealae.interop.layout import WEIGHTS
from stylealae.interop.released import model_of, read_released, released_to_ours
from stylealae.interop.snapshot import Snapshot

__all__ = ["Tensors", "Trained", "WeightSource", "opened"]

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What some weights are of."""

    family: str
    model: ShapeConfig
    stage: int
    """The last stage that they were trained at."""
    alpha: float = 1.0
    """Weight of its newest block."""
    seen: int = 0
    """Images that they were trained on; 0 where that is not known."""


class WeightSource(ABC):
    """Weights of others at a path."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where
        """The files on this host, and how they are called in a run's records."""

    @cached_property
    def sha256(self) -> str:
        """Of the file that holds the weights: of a checkpoint, those in training."""
        return sha256_of(self._file)

    @property
    @abstractmethod
    def trained(self) -> Trained:
        """What they are of.

        Raises:
            CheckpointError: the files are torn, or no weights.
        """

    @abstractmethod
    def parts(self) -> tuple[Tensors, Tensors]:
        """The networks in training and their running averages; a snapshot holds the latter."""

    @property
    def _file(self) -> Path:
        return self.path


class SnapshotWeights(WeightSource):
    """The averages of a snapshot's folder."""

    @cached_property
    def trained(self) -> Trained:
        """What they are of."""
        found = self._held
        return Trained(family=found.family, model=found.model, stage=found.stage, seen=found.seen)

    def parts(self) -> tuple[Tensors, Tensors]:
        """The averages twice: there are no others."""
        return self._held.tensors, self._held.tensors

    @cached_property
    def _held(self) -> Snapshot[ShapeConfig]:
        return snapshot.read(
            self.path,
            lambda name: sections(name).model,
            lambda name, model: FAMILIES[name].build(model),
        )

    @property
    def _file(self) -> Path:
        return self.path / WEIGHTS


class CheckpointWeights(WeightSource):
    """The networks and averages of a checkpoint's folder."""

    @cached_property
    def trained(self) -> Trained:
        """What they are of."""
        state = self._held.state
        try:
            cfg = read_saved(state["config"], origin=f"{self.path}/{STATE}")
            stage, seen = int(state["stage"]), int(state["seen"])
            at = cfg.progress(min(seen, cfg.span(stage)[1] - 1))
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise self._torn(error) from error
        return Trained(family=cfg.family, model=cfg.model, stage=stage, alpha=at.alpha, seen=seen)

    def parts(self) -> tuple[Tensors, Tensors]:
        """The networks in training and their running averages."""
        return self._held.tensors("networks"), self._held.tensors("ema")

    @cached_property
    def _held(self) -> Checkpoint:
        require_file(self.path / STATE, advice="copy the folder again", text=True)
        require_manifest(self.path)
        try:
            state = json.loads((self.path / STATE).read_text())
        except ValueError as error:
            raise self._torn(error) from error
        return Checkpoint(self.path, state, str(self.path))

    def _torn(self, error: Exception) -> CheckpointError:
        return CheckpointError(f"{self.path} is no whole checkpoint: {error}")

    @property
    def _file(self) -> Path:
        return self.path / NETWORKS


class ReleasedWeights(WeightSource):
    """A file of the authors' code."""

    @cached_property
    def trained(self) -> Trained:
        """What they are of."""
        return Trained(family="stylealae", model=self._model, stage=self._model.last_stage)

    def parts(self) -> tuple[Tensors, Tensors]:
        """The weights of the last step and their running averages."""
        trained, _, _ = released_to_ours(read_released(self.path, ema=False))
        ours, _, w_mean = released_to_ours(self._averaged)
        return trained.state_dict(), {**ours.state_dict(), "w_mean": w_mean}

    @cached_property
    def _averaged(self) -> dict[str, Tensor]:
        return read_released(self.path)

    @cached_property
    def _model(self) -> ModelConfig:
        return model_of(self._averaged)


def opened(where: str | Path) -> WeightSource:
    """The weights at a path or URL, by what lies there; of a run its newest snapshot.

    Raises:
        CheckpointError: there are none.
    """
    path, called = folder_of(where), label(url_of(where) or str(where))
    if path.is_file():
        return ReleasedWeights(path, called)
    if (path / STATE).is_file():
        return CheckpointWeights(path, called)
    return SnapshotWeights(snapshot_of(path), called)
