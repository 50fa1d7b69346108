"""Datasets written by hand from docs/format.md alone, and hashes made to fit what was changed.

pixels = write_dataset(folder, [[10, 4], [6]], side=8)     two shards, blocks of 10, 4 and 6
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.sections import DataConfig
from pipeline.data.format.index import index_tail
from pipeline.data.format.manifest import (
    Manifest,
    Shard,
    ShardFile,
    tar_name,
)
from pipeline.data.format.shard_list import ShardList, splits_of
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.data.prepare.destination import open_destination
from pipeline.storage import data_storage
from pipeline.storage.pieces import open_pieces

Pixels = NDArray[np.uint8]
Member = tuple[str, bytes]


def _pillow(kind: str, **options: object) -> Callable[[Pixels], bytes]:
    def encode(image: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, kind, **options)
        return file.getvalue()

    return encode


ENCODERS: dict[str, tuple[str, Callable[[Pixels], bytes]]] = {
    "webp": ("webp", _pillow("WEBP", lossless=True)),
    "png": ("png", _pillow("PNG")),
    "jpeg": (
        "jpg",
        lambda image: simplejpeg.encode_jpeg(
            np.ascontiguousarray(image.transpose(1, 2, 0)), 95, colorsubsampling="444"
        ),
    ),
}


def write_dataset(
    folder: Path, shards: Sequence[Sequence[int]], *, side: int = 8, encoding: str = "block"
) -> Pixels:
    """Shards of spans of so many random images, one resolution; gives back [N, 3, side, side]."""
    total = sum(map(sum, shards))
    pixels = np.random.default_rng(total).integers(0, 256, (total, 3, side, side), np.uint8)
    made, at = [], 0
    for number, counts in enumerate(shards):
        spans = []
        for count in counts:
            spans.append(span_of(pixels[at : at + count], at, encoding))
            at += count
        file = write_tar(shard_path(folder, number, side), spans, counts)
        made.append(Shard(number=number, split="train", samples=sum(counts), files={side: file}))
    lists = {side: ShardList.of(made, side)}
    manifest = Manifest(
        source="hand", licence="none", channels=3, resolutions=(side,), encoding={side: encoding},
        downscale="mean2x2", labels=("number",), broken=0, refused=(), enlarged=0, recipe={},
        splits=splits_of(made), shards={side: lists[side].digest},
    )  # fmt: skip
    open_destination(folder).complete(manifest, lists)
    return pixels


def span_of(images: Pixels, first: int, encoding: str) -> list[Member]:
    """The JSON and the data member of these images, the first of which is number `first`."""
    suffix, data = "u8", images.tobytes()
    if encoding != "block":
        suffix, encode = ENCODERS[encoding]
        data = encode(images[0])
    beside = {
        "count": len(images),
        "shape": images.shape,
        "sha256": hashlib.sha256(data).hexdigest(),
        "ids": [f"image {first + i}" for i in range(len(images))],
        "labels": {"number": [first + i for i in range(len(images))]},
    }
    return [
        (f"{first:08d}.json", json.dumps(beside).encode()),
        (f"{first:08d}.{suffix}", data),
    ]


def write_tar(path: Path, spans: Sequence[Sequence[Member]], samples: Sequence[int]) -> ShardFile:
    """A tar of these members with an index that fits them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        at, hashes = [0], []
        for span in spans:
            whole = b""
            for name, data in span:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                whole += info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
            file.write(whole)
            at.append(file.tell())
            hashes.append(hashlib.sha256(whole).hexdigest())
        tail = index_tail(at, samples, hashes)
        file.write(tail)
    data = path.read_bytes()
    return ShardFile(
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        index_at=at[-1],
        index_sha256=hashlib.sha256(tail).hexdigest(),
    )


def shard_path(folder: Path, number: int, side: int) -> Path:
    """Where the tar of a shard lies in a folder."""
    return folder / tar_name(number, side)


def shard_list(where: str | Path, side: int) -> ShardList:
    """The list of shards of one resolution."""
    return ShardList.read(open_pieces(data_storage(where)), Manifest.read(where), side)


def loader_of(
    where: str | Path, cfg: DataConfig, *, seed: int, resolution: int, **given: Any
) -> Loader:
    """The loader of a data set that is opened for it alone."""
    return Loader(Dataset.open(replace(cfg, path=str(where)), resolution), seed=seed, **given)


def relist(folder: Path, side: int, number: int, file: ShardFile) -> None:
    """Make the list and the manifest say that shard `number` is this file."""
    manifest = Manifest.read(folder)
    found = shard_list(folder, side)
    found.bytes[number], found.index_at[number] = file.bytes, file.index_at
    hashes, index_hashes = list(found.sha256), list(found.index_sha256)
    hashes[number], index_hashes[number] = file.sha256, file.index_sha256
    found = replace(found, sha256=hashes, index_sha256=index_hashes)
    manifest = replace(manifest, shards={**manifest.shards, side: found.digest})
    open_destination(folder).complete(manifest, {side: found})


def flip_bit(path: Path, at: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
