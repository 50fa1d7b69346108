"""Observers, which receive a run's numbers and pictures: TensorBoard, W&B, MLflow, or a hook.

`log.to` names them.  Rank zero alone has observers.  One that fails is dropped with a warning: a
tracker that is down ends no training, and none of them moves a number of the run.
"""

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image

from pipeline.config.leaves import leaves
from stylealae.errors import ConfigError

__all__ = ["About", "Observer", "Observers", "observers", "show"]

logger = logging.getLogger(__name__)

EVENTS_BYTES = 32 << 20
"""Of events, pictures uncompressed, after which TensorBoard's next file begins."""
ROW_BYTES = 100
"""What a number takes in such a file."""


@dataclass(frozen=True, kw_only=True)
class About:
    """The run, as it is described to an observer when a stage begins."""

    folder: Path
    """The run's local folder, for files of the observer's own."""
    seen: int
    """Images seen so far: what was reported beyond them belongs to an interrupted attempt."""
    config: Mapping[str, object]
    """The resolved config as plain dicts and lists; empty where there is none."""
    environment: Mapping[str, object] = field(default_factory=dict)
    """Host, processor, GPU, versions: a row of environment.jsonl."""

    @property
    def run_dir(self) -> str:
        """Folder or URL of the run, as its config names it."""
        return str(self.config.get("run_dir", self.folder))

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return Path(self.run_dir).name or self.folder.resolve().name


class Observer(Protocol):
    """Receives the numbers and pictures of a run; `seen` is the axis of all of them."""

    def scalars(self, seen: int, values: Mapping[str, float]) -> None:
        """Numbers by tag: loss/, metric/, time/, system/."""

    def picture(self, seen: int, tag: str, picture: Image.Image) -> None:
        """An image grid."""

    def close(self) -> None:
        """The stage has ended, or the process stops."""


class TensorBoard:
    """`run_dir/tensorboard/<name of the run>`: `tensorboard --logdir runs`."""

    def __init__(self, about: About) -> None:
        """Resumes the folder's event files, without what was reported beyond `about.seen`."""
        from torch.utils.tensorboard import SummaryWriter, summary

        folder = str(_events_of(about.folder, about.name))
        self._writer = SummaryWriter(folder, purge_step=about.seen + 1)
        self._made, self._events_bytes = partial(SummaryWriter, folder), 0
        text = json.dumps(dict(about.config), indent=2).replace("\n", "\n    ")
        self._writer.add_text("config", f"    {text}", about.seen)
        self._writer.add_text("environment", _markdown(about.environment), about.seen)
        values = {key: _plain(value) for key, value in leaves(about.config)}
        hparams: Any = summary.hparams
        _, begin, self._end = hparams(values, {})  # columns are those of all runs together
        cast(Any, self._writer.file_writer).add_summary(begin)

    def scalars(self, seen: int, values: Mapping[str, float]) -> None:
        """A curve a tag."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, seen)
        self._turn_over(ROW_BYTES * len(values))

    def picture(self, seen: int, tag: str, picture: Image.Image) -> None:
        """Under its tag, at its place on the axis."""
        pixels = np.asarray(picture)
        self._writer.add_image(tag, pixels, seen, dataformats="HWC")
        self._turn_over(pixels.nbytes)

    def close(self) -> None:
        """Writes out what is pending."""
        cast(Any, self._writer.file_writer).add_summary(self._end)
        self._writer.close()

    def _turn_over(self, at_most_bytes: int) -> None:
        """Begins another file where this one is long: what has ended is sent to a bucket once."""
        self._events_bytes += at_most_bytes
        if self._events_bytes > EVENTS_BYTES:
            self._writer.close()
            self._writer, self._events_bytes = self._made(), 0


def show(run_dir: Path, tag: str, picture: Image.Image, seen: int) -> None:
    """Puts a picture into the TensorBoard of a run that is over."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(_events_of(run_dir, run_dir.resolve().name))) as writer:
        writer.add_image(tag, np.asarray(picture), seen, dataformats="HWC")


def _events_of(run: Path, name: str) -> Path:
    """The folder of a run's events, by whose name TensorBoard calls the run."""
    there = sorted((run / "tensorboard").rglob("events.*"))
    return there[-1].parent if there else run / "tensorboard" / name


def _markdown(values: Mapping[str, Any]) -> str:
    """A table of what is not empty."""
    rows = [f"| {key} | {value} |" for key, value in leaves(values) if value not in (None, "")]
    return "\n".join(["| | |", "|---|---|", *rows])


def _plain(value: object) -> bool | int | float | str:
    """A value as TensorBoard's table of hyperparameters takes it."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


class WeightsAndBiases:
    """One run of the project `stylealae` for all stages; WANDB_MODE=offline needs no network."""

    def __init__(self, about: About) -> None:
        """Begins the run of this `run_dir`, or goes on with it."""
        import wandb

        self._image, self._run = wandb.Image, wandb.init(
            project="stylealae", name=about.name, id=_identity(about),
            resume="allow", dir=str(about.folder), config=dict(about.config),
        )  # fmt: skip
        self._run.define_metric("*", step_metric="seen")  # an attempt may go back on its axis

    def scalars(self, seen: int, values: Mapping[str, float]) -> None:
        """One entry with all tags."""
        self._run.log({**values, "seen": seen})

    def picture(self, seen: int, tag: str, picture: Image.Image) -> None:
        """As an image of the run."""
        self._run.log({tag: self._image(picture), "seen": seen})

    def close(self) -> None:
        """Uploads, or leaves in the folder, what is pending."""
        self._run.finish()


class MLflow:
    """One run of the experiment `stylealae` for all stages, at MLFLOW_TRACKING_URI."""

    def __init__(self, about: About) -> None:
        """Begins the run of this `run_dir`, or goes on with it."""
        import mlflow

        self._client, self._metric = mlflow.MlflowClient(), mlflow.entities.Metric
        named = self._client.get_experiment_by_name("stylealae")
        experiment = named.experiment_id if named else self._client.create_experiment("stylealae")
        mark = f"tags.stylealae = '{_identity(about)}'"
        found = self._client.search_runs([experiment], mark, max_results=1)
        run = found[0] if found else self._client.create_run(
            experiment, tags={"stylealae": _identity(about), "mlflow.runName": about.run_dir}
        )  # fmt: skip
        self._id = run.info.run_id
        if not found:
            for section, keys in about.config.items():
                self._client.log_param(self._id, section, str(keys)[:6000])

    def scalars(self, seen: int, values: Mapping[str, float]) -> None:
        """One batch of metrics at step `seen`."""
        now = int(time.time() * 1000)
        metrics = [self._metric(tag, float(v), now, seen) for tag, v in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def picture(self, seen: int, tag: str, picture: Image.Image) -> None:
        """As a file `seen` in a folder of its tag."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{seen:010d}.png"
            picture.save(file)
            self._client.log_artifact(self._id, str(file), tag)

    def close(self) -> None:
        """Marks the run as finished; a later stage goes on with it."""
        self._client.set_terminated(self._id)


OBSERVERS: dict[str, Callable[[About], Observer]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""By their names in `log.to`."""


class Observers:
    """All observers of a run as one; an observer that raises is dropped."""

    def __init__(self, found: Mapping[str, Observer]) -> None:
        self._found = dict(found)

    def scalars(self, seen: int, values: Mapping[str, float]) -> None:
        """Passes numbers by tag to every observer."""
        self._tell(lambda observer: observer.scalars(seen, values))

    def picture(self, seen: int, tag: str, picture: Image.Image) -> None:
        """Passes an image grid to every observer."""
        self._tell(lambda observer: observer.picture(seen, tag, picture))

    def close(self) -> None:
        """Closes every observer."""
        self._tell(lambda observer: observer.close())

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for name, observer in list(self._found.items()):
            try:
                call(observer)
            except Exception as error:  # whatever a tracker raises, training is worth more
                logger.warning("%s is told nothing any more, for it failed: %r", name, error)
                del self._found[name]


def observers(names: Sequence[str], about: About) -> Observers:
    """Those that are named, begun: keys of OBSERVERS, or `package.module.name` of one's own.

    Raises:
        ConfigError: one does not exist, is not installed or does not begin.
    """
    return Observers({name: _begun(name, about) for name in names})


def _begun(name: str, about: About) -> Observer:
    try:
        return _maker(name)(about)
    except ImportError as error:
        extra = f"pip install 'stylealae[{name}]'" if name in OBSERVERS else "is it on the path?"
        raise ConfigError(f"log.to names {name}, which needs {error.name}: {extra}") from error
    except Exception as error:
        raise ConfigError(
            f"log.to names {name}, which does not begin ({error}): mend that, or leave it out"
        ) from error


def _maker(name: str) -> Callable[[About], Observer]:
    if name in OBSERVERS:
        return OBSERVERS[name]
    module, dot, attribute = name.rpartition(".")
    made = getattr(import_module(module), attribute, None) if dot else None
    if made is None:
        raise ValueError(f"it is none of {', '.join(OBSERVERS)}, nor a name in a module")
    return cast(Callable[[About], Observer], made)


def _identity(about: About) -> str:
    """The same for every stage and attempt of a run."""
    where = about.run_dir if "://" in about.run_dir else str(Path(about.run_dir).absolute())
    return hashlib.sha256(where.encode()).hexdigest()[:16]
