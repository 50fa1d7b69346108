"""A dataset against its manifest: every byte of every file, every name, every count."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor

from pipeline.data.format.index import Index
from pipeline.data.format.manifest import MANIFEST, Manifest, tar_name
from pipeline.data.format.shard_list import list_name
from pipeline.data.loader.shard_reader import ShardReader, Span
from pipeline.data.prepare.destination import REPORT
from pipeline.storage import Where, data_storage
from pipeline.storage.pieces import DamageError, open_pieces
from stylealae.errors import DataError

__all__ = ["verify"]


def verify(
    dataset: Where,
    *,
    threads: int = 0,
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> Iterator[str]:
    """What departs from the manifest, a sentence each; nothing for a whole dataset.

    Files are read by `threads` threads (0: one a core); `report` is called with the bytes that were
    read, and with all.
    """
    storage = data_storage(dataset)
    manifest = Manifest.read(storage)
    pieces, sizes = open_pieces(storage), storage.sizes()
    known, opened = {MANIFEST, REPORT}, []
    for resolution in manifest.resolutions:
        known.add(list_name(resolution))
        try:
            reader = ShardReader(pieces, manifest, resolution)
        except DataError as error:
            yield str(error)
            continue
        opened.append(reader)
        known |= {tar_name(number, resolution) for number in range(len(reader.shards.sha256))}
        if reader.shards.samples.sum() != sum(split.samples for split in manifest.splits.values()):
            yield f"{storage.at(list_name(resolution))} and {MANIFEST} count different images"
    if len(opened) == len(manifest.resolutions):
        for name in sorted(sizes.keys() - known):
            if not any(part.startswith(".") for part in name.split("/")):
                yield (
                    f"{storage.at(name)} is not in the manifest: remove it, or find out which "
                    "dataset it belongs to"
                )
    jobs = [(reader, n) for reader in opened for n in range(len(reader.shards.sha256))]
    done, total = 0, sum(int(reader.shards.bytes.sum()) for reader in opened)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for (reader, number), found in zip(
            jobs, pool.map(lambda job: _faults(job[0], job[1], sizes), jobs), strict=True
        ):
            done += int(reader.shards.bytes[number])
            report(done, total)
            yield from found


def _faults(reader: ShardReader, number: int, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong with one tar."""
    name = tar_name(number, reader.shards.resolution)
    url, want = reader.pieces.storage.at(name), int(reader.shards.bytes[number])
    if name not in sizes:
        return [f"{url} is missing"]
    if sizes[name] != want:
        return [f"{url} has {sizes[name]:,} bytes, the manifest says {want:,}"]
    try:
        index = reader.index(number)
    except DamageError as error:
        return [str(error)]
    found: list[str] = []
    whole = hashlib.sha256()
    for k in range(len(index.sha256)):
        try:
            data = reader.pieces.get(index.piece(k))
            whole.update(data)
            found += _disagreements(reader, index, k, reader.parse(index, k, data))
        except DamageError as error:
            found.append(str(error))
    whole.update(reader.pieces.get(reader.shards.index_piece(number)))
    digest, wanted = whole.hexdigest(), reader.shards.sha256[number]
    if not found and digest != wanted:
        found.append(f"{url} has sha256 {digest}, the manifest says {wanted}")
    return found


def _disagreements(reader: ShardReader, index: Index, span: int, found: Span) -> Iterator[str]:
    """Where a span's JSON does not fit its data."""
    count = int(index.first[span + 1] - index.first[span])
    want = {
        "count": count,
        "shape": [count, *reader.shape],
        "sha256": hashlib.sha256(found.data).hexdigest(),
    }
    where = f"{reader.pieces.storage.at(index.name)}: the JSON of {index.piece(span).what}"
    try:
        said = found.description
        columns: dict[str, Sized] = {"ids": said["ids"], **said["labels"]}
    except (ValueError, KeyError, TypeError) as error:
        yield f"{where} cannot be read ({error!r})"
        return
    for key, value in want.items():
        if said.get(key) != value:
            yield f"{where} says {key} {said.get(key)!r}, the data {value!r}"
    for name, column in columns.items():
        if len(column) != count:
            yield f"{where} holds {len(column)} {name} for {count} images"
