"""A source -> multi-resolution tars + manifest.json; the same command again resumes.

A shard covers a fixed range of source indices, whatever can be decoded in it, so its bytes depend
neither on the number of workers nor on interruptions. What was refused or converted is counted
from the shards' notes, and stands in report.json beside the manifest.
"""

import errno
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict

from pipeline.data import pixels
from pipeline.data.format.manifest import (
    DOWNSCALE,
    Manifest,
    Refused,
    Shard,
    ShardFile,
    tar_name,
)
from pipeline.data.format.shard_list import ShardList, splits_of
from pipeline.data.pixels import Fit
from pipeline.data.prepare.destination import REPORT, Destination, as_json, open_destination
from pipeline.data.prepare.jobs import (
    PrepareOptions,
    ShardJob,
    ShardNote,
    jobs_of,
    listing_of,
    recipe_of,
)
from pipeline.data.prepare.processes import Runner, Ticker, over_processes
from pipeline.data.prepare.report import all_changes, all_refused, report_of, tell
from pipeline.data.prepare.watch import LIMIT_S
from pipeline.data.prepare.writer import ShardWriter, encoding_of
from pipeline.data.sources.reach import unreachable
from pipeline.data.sources.source import Source
from pipeline.storage import Where
from stylealae.errors import DataError, UnreachableError

__all__ = ["prepare"]

log = logging.getLogger(__name__)

READERS = 16  # notes read at once
NAMED = 100  # refused inputs that the manifest names; report.json names all
TOO_SLOW = f"it takes more than {LIMIT_S:.0f} seconds to read: save it anew"
OnProgress = Callable[[int, int], None]
"""Called with the number of images that are done, and of all."""


def prepare(
    source: Source,
    out: Where,
    resolutions: Sequence[int],
    *,
    fit: Fit = "crop",
    shard_img: int = 1024,
    max_broken: int | None = None,
    workers: int = 0,
    runner: Runner = over_processes,
    report: OnProgress = lambda _done, _all: None,
) -> Manifest:
    """Write the images of `source` into `out` at all `resolutions`; gives back the manifest.

    `out` is a folder or the URL of a prefix in an object store.
    `fit`, `shard_img` and `max_broken` are those of `PrepareOptions`. Work is shared by `runner`
    among `workers` (0: all cores). What is finished in `out` is kept, if it was made from the same
    input with the same options. `report` hears of the progress.
    """
    how = PrepareOptions(
        resolutions=tuple(resolutions), fit=fit, shard_img=shard_img, max_broken=max_broken
    )
    destination = open_destination(out)
    jobs = jobs_of(source, destination, how)
    recipe = recipe_of(source, how)
    try:
        with destination.claimed(recipe):
            notes = _make(source, destination, jobs, max_broken, workers, runner, report)
            shards = _shards(jobs, notes)
            lists = {r: ShardList.of(shards, r) for r in how.resolutions}
            manifest = _manifest(source, recipe, notes, shards, lists)
            destination.write(REPORT, as_json(report_of(source, notes)))
            destination.complete(manifest, lists)
    except UnreachableError as error:
        raise UnreachableError(
            f"{source.input}: {error}, which goes on: finished shards are kept"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = f"make room in {destination.scratch_folder}" if full else "mend that"
        raise DataError(
            f"{destination.storage.where} cannot be written ({error}): {mend} or choose another "
            "place, then run the same command again; finished shards are kept"
        ) from error
    tell(source, manifest, notes)
    return manifest


def _make(
    source: Source,
    destination: Destination,
    jobs: list[ShardJob],
    max_broken: int | None,
    workers: int,
    runner: Runner,
    report: OnProgress,
) -> list[ShardNote]:
    """The notes of all shards in order; those that are not there yet are made."""
    there = destination.files()
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda job: _finished(job, there), jobs)
        notes = {job.number: note for job, note in zip(jobs, found, strict=True) if note}
    todo = [job for job in jobs if job.number not in notes]
    log.info("%s: %d of %d shards to make", source.input, len(todo), len(jobs))
    _limit_broken(source, all_refused(notes.values()), max_broken)
    if todo:
        total = sum(job.images for job in jobs)
        there_img = total - sum(job.images for job in todo)
        report(there_img, total)
        made = runner(source, make_shard, todo, workers, lambda n: report(there_img + n, total))
        with closing(made):
            for note in made:
                notes[note["number"]] = note
                _limit_broken(source, all_refused(notes.values()), max_broken)
    return [notes[job.number] for job in jobs]


def make_shard(source: Source, job: ShardJob, tick: Ticker) -> ShardNote:
    """Write one shard at every resolution, then its note, which is given back."""
    if listing_of(source, job.start, job.stop) != job.listing:  # opened anew by another process
        raise DataError(
            f"files were added to {source.input} or removed from it while it was prepared: wait "
            f"until it is complete, then prepare it into another place than {job.out.storage.where}"
        )
    sides, samples = job.how.resolutions, 0

    def sleep(seconds: float) -> None:
        tick(0)  # the work may be called off while the store is down
        time.sleep(seconds)

    out = job.out.with_sleep(sleep)
    refused: list[dict[str, str]] = []
    changes: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = {r: ShardWriter(out, job.number, r) for r in sides}
        for writer in writers.values():
            stack.callback(writer.abandon)
        for i in range(job.start, job.stop):
            tick()
            try:
                if i in job.given_up:
                    raise DataError(TOO_SLOW)
                sample = source.read(i, sides[-1])
                planes, more = pixels.square(sample.image, sides[-1], job.how.fit)
            except DataError as error:
                key = source.key(i)
                refused.append({"name": key, "reason": str(error).removeprefix(f"{key}: ")})
                _limit_broken(source, refused, job.how.max_broken)
                continue
            except OSError as error:  # of a source that tells nothing of it
                raise unreachable(source.key(i), error) from error
            samples += 1
            changes.update(sample.changes + more)
            for r, made in pixels.pyramid(planes, sides).items():
                writers[r].add(i, sample.key, sample.labels, made)
        tick(0)
        files = {str(r): asdict(writers[r].finish()) for r in sides}
    note: ShardNote = {
        "number": job.number,
        "samples": samples,
        "changes": dict(sorted(changes.items())),
        "refused": refused,
        "files": files,
    }
    out.write(job.note, as_json(note))
    return note


def _finished(job: ShardJob, there: Mapping[str, int]) -> ShardNote | None:
    """The shard's note if it is finished and all its tars are there at full length."""
    if job.note not in there:
        return None
    try:
        note: ShardNote = json.loads(job.out.storage.read(job.note))
        for r in job.how.resolutions:
            if there.get(tar_name(job.number, r)) != note["files"][str(r)]["bytes"]:
                return None
    except (OSError, ValueError, KeyError):
        return None
    return note


def _limit_broken(
    source: Source, refused: Sequence[Mapping[str, str]], max_broken: int | None
) -> None:
    if max_broken is not None and len(refused) > max_broken:
        raise DataError(
            f"{source.input} holds {len(refused)} or more unusable images, max_broken is "
            f"{max_broken}; one is {refused[0]['name']}: {refused[0]['reason']}. "
            "Mend or remove them, or allow more"
        )


def _shards(jobs: list[ShardJob], notes: list[ShardNote]) -> list[Shard]:
    return [
        Shard(
            number=job.number,
            split=job.split,
            samples=note["samples"],
            files={r: ShardFile(**note["files"][str(r)]) for r in job.how.resolutions},
        )
        for job, note in zip(jobs, notes, strict=True)
    ]


def _manifest(
    source: Source,
    recipe: Mapping[str, str],
    notes: list[ShardNote],
    shards: list[Shard],
    lists: Mapping[int, ShardList],
) -> Manifest:
    refused = [Refused(**entry) for entry in all_refused(notes)]
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
        broken=len(refused),
        refused=tuple(refused[:NAMED]),
        enlarged=all_changes(notes)["enlarged"],
        recipe=dict(recipe),
        splits=splits_of(shards),
        shards={r: found.digest for r, found in lists.items()},
    )
