"""The log of a run: metrics.jsonl, observers, image grids, and progress for the console.

The axis is images seen.  Tags are grouped: loss/, metric/, image/, time/ (the clock, and where the
schedule stands), critic/ and augment/ (critic.py), and system/.  Every call is right on every rank;
only rank zero writes, and the others wait until it has.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from pipeline.config.sections import LogConfig
from pipeline.storage import Storage
from pipeline.training import fencing
from pipeline.training.environment import environment, memory_scalars
from pipeline.training.fencing import Fence
from pipeline.training.observers import About, Observers, observers
from pipeline.training.progress import ProgressUpdate
from pipeline.training.run_files import LOGS
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.errors import DivergenceError
from stylealae.image_grid import image_grid
from stylealae.schedule import Progress, due

__all__ = ["ENVIRONMENT", "METRICS", "Log"]

logger = logging.getLogger(__name__)

METRICS, ENVIRONMENT = "metrics.jsonl", "environment.jsonl"
TORN = 1 << 62
"""More images than any row is of: where a torn row counts."""


class Log:
    """The log of one stage of a run."""

    def __init__(
        self,
        storage: Storage,
        cfg: LogConfig,
        world: World,
        *,
        seen: int,
        span: tuple[int, int],
        total: int,
        report: Callable[[ProgressUpdate], None],
        fence: Fence | None = None,
        scalars: Callable[[], Mapping[str, float]] = dict,
        config: Mapping[str, object] | None = None,
        then: str = "",
    ) -> None:
        self.cfg, self.world, self.run_dir = cfg, world, storage.working
        self.span, self.total, self._report, self._scalars = span, total, report, scalars
        self._then = then
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._since = (time.monotonic(), seen)
        self._waited_s = 0.0
        self.sign_gap = 0.0
        """How much surer of training images the critic is than of held-out ones, 0 to 2."""
        self._notes: dict[str, float] = {"system/restarts": fence.restarts if fence else 0.0}
        self._fence = None if storage.remote else fence  # else this folder is nobody else's
        self._observers: Observers | None = None
        self._shown = _opened(Path(cfg.batches).expanduser(), world) if cfg.batches else None
        if world.rank == 0:
            _leave_aside(storage)
            _forget_after(storage, seen if seen < span[1] else TORN - 1)  # else later stages' too
            where = {"seen": seen, "ranks": world.size, **environment(world.device)}
            about = About(folder=self.run_dir, seen=seen, config=config or {}, environment=where)
            self._observers = observers(cfg.to, about)
            if storage.remote:  # other hosts have begun there, too
                (self.run_dir / ENVIRONMENT).write_bytes(_read(storage, ENVIRONMENT))
            with (self.run_dir / ENVIRONMENT).open("a") as stream:
                stream.write(json.dumps(where) + "\n")

    def note(self, tag: str, value: float) -> None:
        """A number of rank 0 for every row from now on: what the last save took, say."""
        self._notes[tag] = value

    def batch(self, seen: int, sample_ids: Tensor) -> None:
        """Notes which images this rank is shown next, [n] ids, if the config asks for it."""
        if self._shown is not None:
            self._shown.write(json.dumps({"seen": seen, "ids": sample_ids.tolist()}) + "\n")

    def scalar(self, tag: str, value: Tensor) -> None:
        """Adds a value of this iteration; the mean over the interval and the ranks is written."""
        self._sums[tag] = self._sums.get(tag, torch.zeros_like(value)) + value
        self._count += tag == next(iter(self._sums))

    def write_if_due(self, seen: int, at: Progress, waited_s: float, replaced: int) -> None:
        """Writes the scalars if their interval has passed; losses must be finite.  Collective.

        `waited_s` are seconds that this rank has waited for images, `replaced` images that it was
        given in place of unusable ones, both since it began.
        """
        if not due(seen, self.cfg.scalars_img, at.batch) and seen < self.span[1]:
            return
        now, (then, seen_then) = time.monotonic(), self._since
        losses = self.require_finite(seen)
        iterations = (seen - seen_then) / at.batch
        everywhere = self.world.mean([waited_s - self._waited_s, float(replaced)])
        mine = (waited_s - self._waited_s) / (now - then)
        each = self.world.each(mine) if self.world.size > 1 else []
        row = {
            **losses,
            "time/stage": at.stage,
            "time/alpha": at.alpha,
            "time/lr": at.lr,
            "time/step_s": (now - then) / iterations,
            "time/data_wait": everywhere[0] / (now - then),
            "system/replaced": everywhere[1] * self.world.size,
            "time/img_per_s": (seen - seen_then) / (now - then),
            **{f"time/data_wait/rank_{rank:03d}": wait for rank, wait in enumerate(each)},
            **memory_scalars(self.world.device),
            **self._scalars(),
            **self._notes,
        }
        self._sums, self._count = {}, 0
        self._since, self._waited_s = (now, seen), waited_s
        self.row(seen, row)
        if self._observers is None:
            return
        self._report(
            ProgressUpdate(
                resolution=at.resolution,
                alpha=at.alpha,
                seen=seen,
                stage_first=self.span[0],
                stage_end=self.span[1],
                total=self.total,
                img_per_s=row["time/img_per_s"],
                losses={tag.split("/")[1]: value for tag, value in losses.items()},
                sign_gap=self.sign_gap,
                then=self._then if seen >= self.span[1] else "",
            )
        )

    def row(self, seen: int, row: Mapping[str, float]) -> None:
        """Writes numbers by tag; the same ones are given on every rank.  Collective."""
        if self._observers is not None:
            if self._fence is not None:
                self._fence.require()  # an orphan leaves the new holder's rows alone
            self._observers.scalars(seen, row)
            with (self.run_dir / METRICS).open("a") as stream:
                stream.write(json.dumps({"seen": seen, **row}) + "\n")
        self._wait()

    def require_finite(self, seen: int) -> dict[str, float]:
        """The mean losses since the last row, over the ranks.  Collective.

        Raises:
            DivergenceError: one of them is no longer finite.
        """
        means = self.world.mean([float(s) / self._count for s in self._sums.values()])
        losses = dict(zip(self._sums, means, strict=True))
        broken = [tag for tag, value in losses.items() if not np.isfinite(value)]
        if broken:
            raise DivergenceError(
                f"{', '.join(broken)} is not finite after {seen:,} images: training stopped. Try "
                "a lower schedule.lr, or engine.precision=fp32"
            )
        return losses

    def grid_if_due(
        self, seen: int, at: Progress, model: Callable[[], Model], originals: Tensor
    ) -> None:
        """Draws originals, reconstructions and samples if that is due.  Collective.

        Originals are [N, C, R, R] in [-1, 1].
        """
        if not due(seen, self.cfg.grid_img, at.batch) and seen < self.span[1]:
            return
        if self._observers is not None:
            self._draw(self._observers, seen, at, model(), originals)
        self._wait()

    def close(self) -> None:
        """Flushes everything."""
        if self._shown is not None:
            self._shown.close()
        if self._observers is not None:
            self._observers.close()

    def _draw(
        self, to: Observers, seen: int, at: Progress, model: Model, originals: Tensor
    ) -> None:
        n = min(self.cfg.grid_size, len(originals))
        rows = model.rows(originals[:n], at.alpha)
        folder = self.run_dir / "images"
        folder.mkdir(exist_ok=True)
        grid = image_grid(rows, columns=n)
        grid.save(folder / f"{at.resolution:04d}-seen-{seen:010d}.png")
        *others, samples = rows  # of every family
        for tag, some in (("image/reconstructions", others), ("image/samples", [samples])):
            to.picture(seen, tag, image_grid(some, columns=n))

    def _wait(self) -> None:
        """Has the others wait for rank 0 here: a disk or tracker may take longer than a step."""
        self.world.any(False)


def _opened(folder: Path, world: World) -> TextIO:
    """A file of this process alone, whose every line is written out at once."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{world.rank}-of-{world.size}-{os.getpid()}-{time.time_ns()}.jsonl"
    return (folder / name).open("x", buffering=1)


def _leave_aside(storage: Storage) -> None:
    """Moves logs on this host away that are of a run which its store does not hold."""
    here = [top for top in LOGS if (storage.working / top).exists()]
    if not storage.remote or not here or set(storage.names()) - {fencing.FOLDER}:
        return
    aside = storage.working / f".left-{time.time_ns()}"
    aside.mkdir()
    for top in here:
        os.replace(storage.working / top, aside / top)
    logger.warning(
        "%s holds no run, and this host has logs of one: it was removed there, or ended before its "
        "first checkpoint. They are not brought back, and lie in %s",
        *(storage.where, aside),
    )


def _forget_after(storage: Storage, seen: int) -> None:
    """Drops rows that an interrupted attempt wrote beyond the checkpoint it is resumed from."""
    path = storage.working / METRICS
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = _read(storage, METRICS).decode().splitlines(True)
    kept = {at: row for row in rows if (at := _row_of(row))[0] <= seen}  # of an orphan's, the last
    scratch = path.with_suffix(".partial")
    scratch.write_text("".join(kept[n] for n in sorted(kept)))
    os.replace(scratch, path)


def _read(storage: Storage, name: str) -> bytes:
    try:
        return storage.read(name)
    except FileNotFoundError:
        return b""


def _row_of(line: str) -> tuple[int, str]:
    """Images seen, and the group of the row's tags: losses and metrics have rows of their own."""
    try:
        seen, *tags = (row := json.loads(line))
        return int(row[seen]), tags[0].split("/")[0]
    except (ValueError, IndexError):  # torn by a kill in mid-write
        return TORN, ""
