"""A source -> multi-resolution tars + manifest.json; the same command again resumes.

A shard covers a fixed range of source indices, whatever can be decoded in it, so its bytes depend
neither on the number of workers nor on interruptions. Each finished shard leaves a note in
`.prepare/`, beside the recipe: the input's fingerprint and the options.
"""

import fcntl
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.data import pixels
from pipeline.data.manifest import (
    DOWNSCALE,
    FORMAT,
    Manifest,
    Refused,
    Shard,
    ShardFile,
    shard_path,
    write_json,
)
from pipeline.data.pool import Ticker, run_jobs
from pipeline.data.shardlist import ShardList, complete, splits_of
from pipeline.data.source import Source
from pipeline.data.writer import ShardWriter, encoding_of
from stylealae.errors import DataError

__all__ = ["prepare"]

log = logging.getLogger(__name__)

NOTES = ".prepare"
NAMED = 100  # refused inputs that the manifest names; all are counted


@dataclass(frozen=True)
class Job:
    """One shard to make: a range of source indices, at every resolution."""

    number: int
    split: str
    start: int
    stop: int
    resolutions: tuple[int, ...]
    out: Path

    @property
    def images(self) -> int:
        """Number of source indices that it covers."""
        return self.stop - self.start

    @property
    def note(self) -> Path:
        """The file that says that the shard is finished, and what is in it."""
        return self.out / NOTES / f"{self.number:06d}.json"


def prepare(
    source: Source,
    out: Path,
    resolutions: Sequence[int],
    *,
    workers: int = 0,
    shard_img: int = 1024,
    max_broken: int | None = None,
    console: Console | None = None,
) -> Manifest:
    """Write the images of `source` into `out` at all `resolutions`; gives back the manifest.

    Work is shared by `workers` processes (0: all cores). More than `max_broken` unusable images
    stop it (None: any number is counted and named). What is finished in `out` is kept, if it was
    made from the same input with the same options. A `console` gets a bar.
    """
    sides = _checked(resolutions, shard_img)
    out = Path(out)
    jobs = _jobs(source, out, sides, shard_img)
    recipe = _recipe(source, sides, shard_img)
    try:
        with _claimed(out, recipe):
            notes = _make(source, jobs, workers, max_broken, console)
            shards = _shards(jobs, notes)
            lists = {r: ShardList.of(shards, r) for r in sides}
            manifest = _manifest(source, recipe, notes, shards, lists)
            complete(out, manifest, lists)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error}): make room or choose another folder, then run the "
            "same command again; finished shards are kept"
        ) from error
    _report(manifest, len(source))
    return manifest


def _make(
    source: Source, jobs: list[Job], workers: int, max_broken: int | None, console: Console | None
) -> list[dict[str, Any]]:
    """The notes of all shards in order; those that are not there yet are made."""
    notes = {job.number: note for job in jobs if (note := _finished(job))}
    todo = [job for job in jobs if job.number not in notes]
    log.info("%s: %d of %d shards to make", source.input, len(todo), len(jobs))
    _limit_broken(source, notes.values(), max_broken)
    if todo:
        with closing(run_jobs(source, make_shard, todo, workers, console)) as made:
            for note in made:
                notes[note["number"]] = note
                _limit_broken(source, notes.values(), max_broken)
    return [notes[job.number] for job in jobs]


def make_shard(source: Source, job: Job, tick: Ticker) -> dict[str, Any]:
    """Write one shard at every resolution, then its note, which is given back."""
    samples = broken = enlarged = 0
    refused: list[dict[str, str]] = []
    with ExitStack() as stack:
        writers = {r: ShardWriter(shard_path(job.out, job.number, r), r) for r in job.resolutions}
        for writer in writers.values():
            stack.callback(writer.abandon)
        for i in range(job.start, job.stop):
            tick()
            try:
                sample = source.read(i, job.resolutions[-1])
            except DataError as error:
                key = source.key(i)
                broken += 1
                refused.append({"name": key, "reason": str(error).removeprefix(f"{key}: ")})
                continue
            image, was_small = pixels.square(sample.image, job.resolutions[-1])
            samples, enlarged = samples + 1, enlarged + was_small
            for r, made in pixels.pyramid(image, job.resolutions).items():
                writers[r].add(i, sample.key, sample.labels, made)
        files = {str(r): asdict(writers[r].finish()) for r in job.resolutions}
    note = {
        "number": job.number,
        "samples": samples,
        "broken": broken,
        "enlarged": enlarged,
        "refused": refused[:NAMED],
        "files": files,
    }
    write_json(job.note, note)
    return note


def _finished(job: Job) -> dict[str, Any] | None:
    """The shard's note if it is finished and all its tars are there at full length."""
    try:
        note: dict[str, Any] = json.loads(job.note.read_text())
        for r in job.resolutions:
            if shard_path(job.out, job.number, r).stat().st_size != note["files"][str(r)]["bytes"]:
                return None
    except (OSError, ValueError, KeyError):
        return None
    return note


def _limit_broken(
    source: Source, notes: Iterable[Mapping[str, Any]], max_broken: int | None
) -> None:
    broken = sum(note["broken"] for note in notes)
    if max_broken is not None and broken > max_broken:
        first = next(entry for note in notes for entry in note["refused"])
        raise DataError(
            f"{source.input} holds {broken} or more unusable images, max_broken is {max_broken}; "
            f"one is {first['name']}: {first['reason']}. Mend or remove them, or allow more"
        )


def _checked(resolutions: Sequence[int], shard_img: int) -> tuple[int, ...]:
    """The resolutions in ascending order, each once."""
    sides = tuple(sorted(set(resolutions)))
    if not sides or any(side < 4 or side & (side - 1) for side in sides):
        raise DataError(
            f"resolutions are {list(resolutions)}: give powers of two from 4 up, as 4 8 16 32"
        )
    if shard_img < 1:
        raise DataError(f"shard_img is {shard_img}: a shard covers at least 1 image")
    return sides


def _jobs(source: Source, out: Path, sides: tuple[int, ...], shard_img: int) -> list[Job]:
    """Fixed ranges of source indices, none across a split's end."""
    pieces = [
        (split, start, min(start + shard_img, whole.stop))
        for split, whole in source.splits.items()
        for start in range(whole.start, whole.stop, shard_img)
    ]
    return [
        Job(number, split, start, stop, sides, out)
        for number, (split, start, stop) in enumerate(pieces)
    ]


def _recipe(source: Source, sides: tuple[int, ...], shard_img: int) -> dict[str, str]:
    """What decides the bytes of the shards: another recipe makes another dataset."""
    return {
        "format": str(FORMAT),
        "source": source.name,
        "images": str(len(source)),
        "fingerprint": source.fingerprint,
        "channels": str(source.channels),
        "splits": ", ".join(f"{name} {len(part)}" for name, part in source.splits.items()),
        "resolutions": " ".join(map(str, sides)),
        "shard_img": str(shard_img),
    }


@contextmanager
def _claimed(out: Path, recipe: Mapping[str, str]) -> Iterator[None]:
    """Hold `out` for this process alone and for this recipe alone."""
    notes = out / NOTES
    if out.is_dir() and any(out.iterdir()) and not notes.is_dir():
        raise DataError(
            f"{out} is not empty and holds no unfinished dataset: choose an empty folder"
        )
    notes.mkdir(parents=True, exist_ok=True)
    with (notes / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another process is preparing {out}: let it finish first") from None
        known = notes / "recipe.json"
        if known.exists():
            before = json.loads(known.read_text())
            changed = [
                f"{name} was {before.get(name, 'unset')!r} and is now {value!r}"
                for name, value in recipe.items()
                if before.get(name) != value
            ]
            if changed:
                raise DataError(
                    f"{out} holds a dataset from another input or other options "
                    f"({'; '.join(changed)}): choose another folder, or remove this one"
                )
        else:
            write_json(known, dict(recipe))
        yield


def _shards(jobs: list[Job], notes: list[dict[str, Any]]) -> list[Shard]:
    return [
        Shard(
            number=job.number,
            split=job.split,
            samples=note["samples"],
            files={r: ShardFile(**note["files"][str(r)]) for r in job.resolutions},
        )
        for job, note in zip(jobs, notes, strict=True)
    ]


def _manifest(
    source: Source,
    recipe: Mapping[str, str],
    notes: list[dict[str, Any]],
    shards: list[Shard],
    lists: Mapping[int, ShardList],
) -> Manifest:
    refused = [Refused(**entry) for note in notes for entry in note["refused"]]
    if not sum(shard.samples for shard in shards):
        raise DataError(
            f"none of the {len(source)} images of {source.input} could be used; "
            f"{refused[0].name}: {refused[0].reason}"
        )
    return Manifest(
        source=source.name,
        licence=source.licence,
        channels=source.channels,
        resolutions=tuple(lists),
        encoding={r: encoding_of(r) for r in lists},
        downscale=DOWNSCALE,
        labels=source.label_names,
        broken=sum(note["broken"] for note in notes),
        refused=tuple(refused[:NAMED]),
        enlarged=sum(note["enlarged"] for note in notes),
        recipe=dict(recipe),
        splits=splits_of(shards),
        shards={r: found.digest for r, found in lists.items()},
    )


def _report(manifest: Manifest, images: int) -> None:
    """Say what was refused and what was enlarged."""
    if manifest.broken:
        named = "; ".join(f"{entry.name}: {entry.reason}" for entry in manifest.refused[:10])
        log.warning("%d of %d images were refused, such as %s", manifest.broken, images, named)
    if manifest.enlarged:
        side = manifest.resolutions[-1]
        log.warning(
            "%d images were smaller than %d pixels and were enlarged", manifest.enlarged, side
        )
