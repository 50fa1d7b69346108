"""A dataset against its manifest: every byte of every file, every name, every count."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from pipeline.data.format.index import Index
from pipeline.data.format.manifest import MANIFEST, Manifest, tar_name
from pipeline.data.format.shard_list import list_name
from pipeline.data.loader.shard_reader import Span, Tars
from pipeline.storage.store import DamageError, Where, open_store
from stylealae.errors import DataError

__all__ = ["verify"]

REPORT = "report.json"  # of `stylealae prepare`, for people: nothing reads it


def verify(dataset: Where, *, threads: int = 0, console: Console | None = None) -> Iterator[str]:
    """What departs from the manifest, a sentence each; nothing for a whole dataset.

    Files are read by `threads` threads (0: one a core); a `console` gets a bar.
    """
    store = open_store(dataset)
    manifest = Manifest.read(store)
    sizes = store.files()
    known, opened = {MANIFEST, REPORT}, []
    for resolution in manifest.resolutions:
        known.add(list_name(resolution))
        try:
            tars = Tars(store, manifest, resolution)
        except DataError as error:
            yield str(error)
            continue
        opened.append(tars)
        known |= {tar_name(number, resolution) for number in range(len(tars.list.sha256))}
        if tars.list.samples.sum() != sum(split.samples for split in manifest.splits.values()):
            yield f"{store.url(list_name(resolution))} and {MANIFEST} count different images"
    if len(opened) == len(manifest.resolutions):
        for name in sorted(sizes.keys() - known):
            if not any(part.startswith(".") for part in name.split("/")):
                yield (
                    f"{store.url(name)} is not in the manifest: remove it, or find out which "
                    "dataset it belongs to"
                )
    columns = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    jobs = [(tars, n) for tars in opened for n in range(len(tars.list.sha256))]
    with (
        Progress(
            *Progress.get_default_columns()[:2], *columns, console=console, disable=console is None
        ) as bar,
        ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool,
    ):
        task = bar.add_task("bytes", total=sum(int(tars.list.bytes.sum()) for tars in opened))
        for (tars, number), found in zip(
            jobs, pool.map(lambda job: _faults(job[0], job[1], sizes), jobs), strict=True
        ):
            bar.advance(task, int(tars.list.bytes[number]))
            yield from found


def _faults(tars: Tars, number: int, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong with one tar."""
    name = tar_name(number, tars.list.resolution)
    url, want = tars.store.url(name), int(tars.list.bytes[number])
    if name not in sizes:
        return [f"{url} is missing"]
    if sizes[name] != want:
        return [f"{url} has {sizes[name]:,} bytes, the manifest says {want:,}"]
    try:
        index = tars.index(number)
    except DamageError as error:
        return [str(error)]
    found: list[str] = []
    whole = hashlib.sha256()
    for k in range(len(index.sha256)):
        try:
            data = tars.store.piece(index.piece(k))
            whole.update(data)
            found += _disagreements(tars, index, k, tars.parse(index, k, data))
        except DamageError as error:
            found.append(str(error))
    whole.update(tars.store.piece(tars.list.index_piece(number)))
    if not found and whole.hexdigest() != tars.list.sha256[number]:
        found.append(
            f"{url} has sha256 {whole.hexdigest()}, the manifest says {tars.list.sha256[number]}"
        )
    return found


def _disagreements(tars: Tars, index: Index, span: int, found: Span) -> Iterator[str]:
    """Where a span's JSON does not fit its data."""
    count = int(index.first[span + 1] - index.first[span])
    want = {
        "count": count,
        "shape": [count, *tars.shape],
        "sha256": hashlib.sha256(found.data).hexdigest(),
    }
    where = f"{tars.store.url(index.name)}: the JSON of {index.piece(span).what}"
    try:
        beside = found.beside
        columns = {"ids": beside["ids"], **beside["labels"]}
    except (ValueError, KeyError, TypeError) as error:
        yield f"{where} cannot be read ({error!r})"
        return
    for key, value in want.items():
        if beside.get(key) != value:
            yield f"{where} says {key} {beside.get(key)!r}, the data {value!r}"
    for name, column in columns.items():
        if len(column) != count:
            yield f"{where} holds {len(column)} {name} for {count} images"
