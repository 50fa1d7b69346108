"""A run as its folder shows it, whether it is complete or still going on."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.config import RunConfig, read_saved
from pipeline.storage import is_url, open_storage
from pipeline.storage.json_lines import json_lines
from pipeline.storage.publish import writer_name
from pipeline.training import checkpoints
from pipeline.training.logs import METRICS
from pipeline.training.run_files import SNAPSHOT
from stylealae.errors import CheckpointError, ConfigError, did_you_mean

__all__ = ["FINISHED", "SCORES", "ImageGrid", "Run", "Score", "as_mapping", "fetched_run"]
__all__ += ["own_scores", "read_run", "run_folder"]

SCORES = "scores.jsonl"
"""What `stylealae evaluate` adds to a run."""
OWN_SCORES = "scores"
"""Folder for the same where files do not grow, in an object store: a file for each evaluation."""
ENVIRONMENT, GRIDS = "environment.jsonl", "images"
FINISHED = ("reconstructions.png", "samples.png")
"""Pictures that a finished run leaves."""

Json = Mapping[str, Any]  # of any version of this program, so nothing is known of its values


@dataclass(frozen=True)
class ImageGrid:
    """A grid of images that training drew."""

    path: Path
    resolution: int
    seen: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number of a run's model, and what it was measured on."""

    name: str
    value: float
    protocol: str
    seen: int | None
    """Images after which the model was measured."""
    images: str
    """How many were generated, and how many real ones were measured."""
    dataset: str
    digest: str
    """Of the data set's manifest."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, as far as it has come."""

    folder: Path
    rows: Sequence[Mapping[str, float]]
    """metrics.jsonl: images seen, and numbers by tag."""
    config: Json
    """As its newest checkpoint holds it."""
    versions: Mapping[str, str]
    done: Sequence[int]
    """Resolutions whose stage has ended."""
    grids: Sequence[ImageGrid]
    environments: Sequence[Json]
    """Where it ran, one entry for every start of a stage."""
    scores: Sequence[Score]
    """What `stylealae evaluate` found of it, the last of each name."""

    @property
    def seen(self) -> int:
        """Images after which the last row was written."""
        return max((int(row["seen"]) for row in self.rows), default=0)

    @property
    def hours(self) -> float:
        """Time spent training, added up from the speed of every row."""
        speeds = [(int(r["seen"]), r["time/img_per_s"]) for r in self.rows if "time/img_per_s" in r]
        before, seconds = 0, 0.0
        for seen, speed in speeds:
            seconds += max(0, seen - before) / speed if speed > 0 else 0.0
            before = max(before, seen)
        return seconds / 3600

    def parsed(self) -> RunConfig | None:
        """The config as this version understands it; None if it does not, or there is none."""
        if not self.config:
            return None
        try:
            return read_saved(self.config)
        except ConfigError:
            return None

    def series(self, tag: str) -> list[tuple[float, float]]:
        """(images seen, value) of every row that has the tag, in order."""
        found = {int(row["seen"]): row[tag] for row in self.rows if tag in row}
        return [(float(seen), float(found[seen])) for seen in sorted(found)]

    def tags(self, group: str) -> list[str]:
        """The tags of a group, in the order in which they came."""
        every = dict.fromkeys(tag for row in self.rows for tag in row)
        return [tag for tag in every if tag.startswith(f"{group}/") and self.series(tag)]


def read_run(folder: Path) -> Run:
    """The run that lies in a folder.

    Raises:
        CheckpointError: none does.
    """
    lines = _rows(folder / METRICS)
    rows = [{tag: value for tag, value in row.items() if _is_number(value)} for row in lines]
    state = _newest_state(folder)
    if not rows and not state:
        raise CheckpointError(
            f"{folder} does not exist"
            + (did_you_mean(folder) or ": give the folder that training wrote, such as runs/demo")
            if not folder.exists()
            else f"{folder} is no run: it has neither metrics.jsonl nor a checkpoint; give the "
            "folder that training wrote, such as runs/demo"
        )
    stages = sorted(f for f in folder.glob("[0-9]*") if f.name.isdigit())
    return Run(
        folder=folder,
        rows=rows,
        config=as_mapping(state.get("config")),
        versions=as_mapping(state.get("versions")),
        done=[int(f.name) for f in stages if (f / SNAPSHOT).exists()],
        grids=_grids(folder / GRIDS),
        environments=_rows(folder / ENVIRONMENT),
        scores=_scores(folder),
    )


def fetched_run(place: str) -> Run:
    """The run at a folder or URL; of a URL its rows and its newest checkpoint's description.

    Raises:
        CheckpointError: there is none.
    """
    if not is_url(place):
        return read_run(Path(place).expanduser())
    with run_folder(place) as folder:
        return read_run(folder)


@contextmanager
def run_folder(place: str, *, pictures: bool = False) -> Iterator[Path]:
    """A folder that tells of the run at a URL, for as long as the block lasts.

    It holds copies of the run's rows and the description of its newest checkpoint; with `pictures`
    those that the report shows too, and files of no bytes in the place of the earlier grids.
    """
    storage = open_storage(place)
    newest = checkpoints.newest(storage)
    with TemporaryDirectory() as name:
        folder = Path(name) / place.rstrip("/").rpartition("/")[2]
        folder.mkdir()
        (folder / OWN_SCORES).mkdir()
        scores = [f"{OWN_SCORES}/{name}" for name in storage.names(OWN_SCORES)]
        for file in (METRICS, SCORES, *scores, ENVIRONMENT, *(FINISHED if pictures else ())):
            with suppress(FileNotFoundError):
                (folder / file).write_bytes(storage.read(file))
        if newest is not None:
            (folder / newest.name).mkdir(parents=True)
            (folder / newest.name / "state.json").write_text(json.dumps(newest.state))
        for stage in filter(str.isdigit, storage.names()):
            if storage.is_whole(f"{stage}/{SNAPSHOT}"):
                (folder / stage / SNAPSHOT).mkdir(parents=True)
        if pictures:
            (folder / GRIDS).mkdir()
            for file in storage.names(GRIDS):
                (folder / GRIDS / file).touch()
            for grid in {g.resolution: g for g in _grids(folder / GRIDS)}.values():
                grid.path.write_bytes(storage.read(f"{GRIDS}/{grid.path.name}"))
        yield folder


def own_scores() -> str:
    """A name in a run for the scores of one evaluation, after those of the ones before."""
    return f"{OWN_SCORES}/{time.time_ns():020d}-{writer_name()}-{secrets.token_hex(4)}.jsonl"


def _scores(folder: Path) -> list[Score]:
    """The scores of a run; of what was measured twice the later."""
    found: dict[str, Score] = {}
    files = folder / SCORES, *sorted((folder / OWN_SCORES).glob("*.jsonl"))
    for line in (row for file in files for row in _rows(file)):
        seen = line.get("seen")
        for name, value in as_mapping(line.get("values")).items():
            if _is_number(value):
                found[name] = Score(
                    name=str(name), value=float(value), protocol=str(line.get("protocol", "")),
                    seen=seen if isinstance(seen, int) else None,
                    images=_images(line), dataset=str(line.get("dataset", "")),
                    digest=str(line.get("data", "")),
                )  # fmt: skip
    return list(found.values())


def _images(score: Json) -> str:
    """`1,000 generated, 39 of train`, as far as a line of scores says it."""
    generated = score.get("samples")
    parts = [f"{generated:,} generated"] if isinstance(generated, int) and generated else []
    real = as_mapping(score.get("real")).items()
    parts += [f"{count:,} of {split}" for split, count in real if isinstance(count, int)]
    return ", ".join(parts)


def as_mapping(found: object) -> Json:
    """What a file holds where an object is wanted; empty if it is none."""
    return found if isinstance(found, Mapping) else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that say after how many images they are."""
    return [row for row in json_lines(path) if isinstance(row.get("seen"), int)]


def _newest_state(folder: Path) -> Json:
    """The description of the newest checkpoint; its tensors are not read."""
    for path in sorted(folder.glob("[0-9]*/seen-*/state.json"), key=lambda p: p.parent.name)[::-1]:
        try:
            state = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(state, dict):
            return state
    return {}


def _grids(folder: Path) -> list[ImageGrid]:
    """The grids that training drew, in order."""
    found = []
    for path in folder.glob("[0-9]*-seen-[0-9]*.png"):
        resolution, _, seen = path.stem.partition("-seen-")
        if resolution.isdigit() and seen.isdigit():
            found.append(ImageGrid(path, int(resolution), int(seen)))
    return sorted(found, key=lambda g: (g.resolution, g.seen))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
