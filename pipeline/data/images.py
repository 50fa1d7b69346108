"""Images for the tools, whatever holds them: files, folders, zips, tars, or prepared data sets.

n images, C channels, R resolution
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data import pixels
from pipeline.data.decoding import decode, losses
from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.format.tar import is_tar
from pipeline.data.format.types import Label
from pipeline.data.loader.shard_reader import ShardReader
from pipeline.data.pixels import Pixels
from pipeline.data.sources.containers import is_zip
from pipeline.data.sources.left_aside import suffix_of
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Sample, Source
from pipeline.storage import data_storage, is_url, local_path
from pipeline.storage.pieces import open_pieces
from stylealae.errors import DataError

__all__ = ["Image", "Images", "batches", "load_images", "open_images", "read_images"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Image:
    """One image at the resolution asked for."""

    name: str
    """Its path in what holds it; of several inputs, with the input before it."""
    planes: Pixels
    """[C, R, R] uint8."""
    labels: Mapping[str, Label]


@dataclass(frozen=True)
class Images:
    """Images of one or several inputs, one after the other."""

    count: int
    """How many there are, those that cannot be used among them."""
    images: Iterator[Image]
    """Read as they are asked for."""


def open_images(
    paths: Sequence[str | Path],
    resolution: int,
    *,
    channels: int = 3,
    labels: Path | None = None,
    split: str | None = None,
) -> Images:
    """The images of files, folders, zips, tars and prepared data sets.

    They are cropped and shrunk exactly as `stylealae prepare` does it. A file that is named and
    cannot be used is an error; inside a folder or archive it is reported and passed over.
    `labels` is a table for those that bring none.  Of prepared data sets all splits, or one.

    Raises:
        DataError: there is no usable image, or a file that was named is none.
    """
    paths = [path if is_url(path) else local_path(path) for path in paths]
    last = [Path(path).name for path in paths]
    names = last if len(set(last)) == len(paths) else [str(path) for path in paths]
    opened = [_images(path, resolution, channels, labels, split) for path in paths]
    found = chain.from_iterable(
        _renamed(part.images, path, name if len(paths) > 1 else "")
        for part, name, path in zip(opened, names, paths, strict=True)
    )
    first = next(found, None)
    if first is None:
        raise DataError(f"no usable image in {', '.join(map(str, paths))}: name some image files")
    return Images(sum(part.count for part in opened), chain([first], found))


def read_images(
    paths: Sequence[str | Path],
    resolution: int,
    *,
    channels: int = 3,
    count: int | None = None,
    labels: Path | None = None,
) -> Iterator[Image]:
    """The images that `open_images` opens, `count` of them at most."""
    return islice(open_images(paths, resolution, channels=channels, labels=labels).images, count)


def batches(images: Iterator[Image], size: int) -> Iterator[tuple[list[Image], Tensor]]:
    """The images `size` at a time, with their pixels: float32 [n, C, R, R] in [-1, 1]."""
    while batch := list(islice(images, size)):
        x = torch.from_numpy(np.stack([image.planes for image in batch]))
        yield batch, x.to(torch.float32) / 127.5 - 1.0


def load_images(
    paths: Sequence[str | Path], resolution: int, *, channels: int = 3, count: int | None = None
) -> Tensor:
    """[n, C, R, R] float32 in [-1, 1]: all that `read_images` finds, at once."""
    found = read_images(paths, resolution, channels=channels, count=count)
    return torch.cat([x for _, x in batches(found, 256)])


def _images(
    path: str | Path, resolution: int, channels: int, labels: Path | None, split: str | None
) -> Images:
    if is_url(str(path)) and suffix_of(str(path).partition("?")[0]) in SUFFIXES:
        raise DataError(f"{path} is the address of one image: download it, and name the file")
    if is_url(str(path)) or (Path(path) / MANIFEST).is_file():
        return _prepared(str(path), resolution, channels, split)
    return _plain(Path(path), resolution, channels, labels)


def _renamed(images: Iterator[Image], path: str | Path, name: str) -> Iterator[Image]:
    """The images of `path` with its `name` before their own, if it is to have one."""
    alone = _is_photo(Path(path))
    for image in images:
        whole = f"{name}/{image.name}" if name and not alone else name or image.name
        yield replace(image, name=whole)


def _is_photo(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() in (".tar", ".zip", ".parquet"):
        return False
    return not (is_zip(path) or is_tar(path))


def _plain(path: Path, resolution: int, channels: int, labels: Path | None) -> Images:
    """The image that a path is, or those that it contains."""
    if _is_photo(path):
        return Images(1, _squared(path, resolution, _photo(path, channels)))
    source = open_source(
        str(path), channels=channels, labels=str(labels.absolute()) if labels else None
    )
    return Images(len(source), _squared(path, resolution, _samples(path, resolution, source)))


def _squared(path: Path, resolution: int, samples: Iterator[Sample]) -> Iterator[Image]:
    enlarged, lost = 0, Counter[str]()
    for sample in samples:
        lost.update(losses(sample.changes))
        planes, changes = pixels.square(sample.image, resolution)
        enlarged += "enlarged" in changes
        made = pixels.pyramid(planes, (resolution,))[resolution]  # [C, R, R]
        yield Image(sample.key, made, sample.labels)
    for loss, count in lost.items():
        log.warning("%s: of %d images: %s", path, count, loss)
    if enlarged:
        log.warning(
            "%s: %d images were smaller than the model's %dx%d and were enlarged: expect blur",
            *(path, enlarged, resolution, resolution),
        )


def _photo(path: Path, channels: int) -> Iterator[Sample]:
    try:
        image, changes = decode(path.read_bytes(), channels)
    except (DataError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    yield Sample(path.name, image, {}, changes)


def _samples(path: Path, side: int, source: Source) -> Iterator[Sample]:
    for i in range(len(source)):
        try:
            yield source.read(i, max(side, 32))
        except DataError as error:
            log.warning("passed over: %s: %s", path, error)


def _prepared(path: str, resolution: int, channels: int, split: str | None) -> Images:
    """All splits of a prepared data set or one of them, in its order."""
    storage = data_storage(path)
    manifest = Manifest.read(storage)
    manifest.require_channels(channels, path)
    reader = ShardReader(open_pieces(storage), manifest, resolution)
    parts = [split] if split else [*manifest.splits]
    shards = [shard for part in parts for shard in manifest.shards_of(part)]
    return Images(sum(map(manifest.samples, parts)), _read(reader, shards))


def _read(reader: ShardReader, shards: Collection[int]) -> Iterator[Image]:
    for shard, span in reader.spans(shards):
        first = reader.index(shard).first
        every = np.arange(int(first[span + 1] - first[span]))
        x = np.empty((len(every), *reader.shape), np.uint8)
        reader.copy(shard, span, every, every, x)
        description = reader.span(shard, span).description
        for i, name in enumerate(description["ids"]):
            known = {label: values[i] for label, values in description["labels"].items()}
            yield Image(name, x[i], known)
