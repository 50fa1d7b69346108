"""report.json of a data set, and what is said when it is done: what became of every image."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from pipeline.data.format.manifest import Manifest
from pipeline.data.prepare.destination import REPORT, open_destination
from pipeline.data.prepare.jobs import ShardNote
from pipeline.data.sources.source import Source
from pipeline.storage import Where
from stylealae.errors import DataError

__all__ = ["PreparationReport", "all_changes", "all_refused", "read_report", "report_of", "tell"]

log = logging.getLogger(__name__)


class PreparationReport(TypedDict):
    """What became of every file of a source, and of its labels: report.json."""

    images: int
    used: int
    converted: dict[str, int]
    """Images by what was done to them."""
    copies: int
    """Images whose files seem to be copies of others'."""
    refused: list[dict[str, str]]
    """Name and reason of every input that was left out."""
    left_aside: object
    """Files that are no images, counted by the reason."""
    labels: object
    notes: object


def read_report(out: Where) -> PreparationReport:
    """What report.json of a data set says.

    Raises:
        DataError: there is none that can be read.
    """
    storage = open_destination(out).storage
    try:
        found: PreparationReport = json.loads(storage.read(REPORT))
    except (OSError, ValueError) as error:
        raise DataError(f"{storage.at(REPORT)} cannot be read ({error})") from error
    return found


def all_refused(notes: Iterable[ShardNote]) -> list[dict[str, str]]:
    """Name and reason of every input that was left out."""
    return [entry for note in notes for entry in note["refused"]]


def all_changes(notes: Iterable[ShardNote]) -> Counter[str]:
    """How many images were converted, and how."""
    return sum((Counter(note["changes"]) for note in notes), Counter())


def report_of(source: Source, notes: list[ShardNote]) -> PreparationReport:
    """What became of every file of the source, and of its labels."""
    return {
        "images": len(source),
        "used": sum(note["samples"] for note in notes),
        "converted": dict(sorted(all_changes(notes).items())),
        "refused": all_refused(notes),
        "copies": len(source.copies),
        "left_aside": source.left_aside.json(),
        "labels": source.label_summary(),
        "notes": source.notes,
    }


def tell(source: Source, manifest: Manifest, notes: list[ShardNote]) -> None:
    """Say what was refused, what was enlarged, and what is there twice."""
    if source.copies:
        log.warning("%s", _told_copies(source))
    if manifest.broken:
        named = "; ".join(f"{entry.name}: {entry.reason}" for entry in manifest.refused[:10])
        images = manifest.broken + sum(note["samples"] for note in notes)
        log.warning("%d of %d images were refused, such as %s", manifest.broken, images, named)
    if manifest.enlarged:
        side = manifest.resolutions[-1]
        log.warning(
            "%d images were smaller than %d pixels and were enlarged", manifest.enlarged, side
        )


def _told_copies(source: Source) -> str:
    """How many images are copies, and how many of them leak from training into tests."""
    copy, original = next(iter(source.copies.items()))
    said = f"copies of other images, it seems: {len(source.copies):,}, such as {copy} of {original}"
    train = source.splits.get("train", range(0))
    shown = {source.key(i) for i in train}
    if leaks := sum(a not in shown and b in shown for a, b in source.copies.items()):
        said += (
            f"; {leaks:,} for tests, of images to train on: figures of held-out images will be too "
            "good, remove them"
        )
    return said
