"""One tar of one resolution: images in, members as plain webdataset reads them, a hash at the end.

Up to 256x256 a member holds a block of raw pixels, `00000000.u8` ([n, C, R, R] uint8), from 512x512
one lossless `00000000.webp`; before each lies a `.json` with ids, labels, shape and the data's
hash. The last member is the index.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from pipeline.data.format.index import index_tail
from pipeline.data.format.manifest import ShardFile, tar_name
from pipeline.data.format.types import Label
from pipeline.data.pixels import Pixels
from pipeline.data.prepare.destination import Destination

__all__ = ["BLOCK_BYTES", "ShardWriter", "encoding_of"]

LARGEST_BLOCK = 256
BLOCK_BYTES = 2 << 20


def encoding_of(resolution: int) -> str:
    """`block` for the resolutions that are cheap to keep raw, `webp` for the others."""
    return "block" if resolution <= LARGEST_BLOCK else "webp"


class Hashing:
    """What is written to a file, hashed on its way: all of it, and the span that it is in."""

    def __init__(self, file: BinaryIO) -> None:
        """Begin with an empty file."""
        self._file = file
        self.whole, self.span = hashlib.sha256(), hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self.whole.update(data)
        self.span.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Where the next byte will lie."""
        return self._file.tell()


class ShardWriter:
    """Writes aside; `finish` puts the tar in its place, `abandon` removes what is unfinished."""

    def __init__(self, out: Destination, number: int, resolution: int) -> None:
        """Begin the tar of shard `number` for images of `resolution`."""
        self._out, self._name = out, tar_name(number, resolution)
        self._encoding = encoding_of(resolution)
        self._file = out.scratch(self._name)
        self._hashing = Hashing(self._file)
        self._tar = tarfile.TarFile(
            mode="w", fileobj=cast(BinaryIO, self._hashing), format=tarfile.USTAR_FORMAT
        )
        self._held: list[tuple[int, str, Mapping[str, Label], Pixels]] = []
        self._at: list[int] = []  # where each member's span begins
        self._samples: list[int] = []
        self._sha256: list[str] = []

    def add(self, index: int, key: str, labels: Mapping[str, Label], image: Pixels) -> None:
        """Append an image [C, R, R] that is number `index` of its source."""
        self._held.append((index, key, labels, image))
        if self._encoding == "webp" or (len(self._held) + 1) * image.nbytes > BLOCK_BYTES:
            self._flush()

    def finish(self) -> ShardFile:
        """Complete the tar under its final name; gives back its hash and length."""
        self._flush()
        index_at = self._tar.offset
        tail = index_tail([*self._at, index_at], self._samples, self._sha256)
        self._hashing.write(tail)  # with the end mark: tarfile's own is not wanted
        digest = self._hashing.whole.hexdigest()
        self._out.publish(self._file, self._name, digest)
        return ShardFile(
            sha256=digest,
            bytes=index_at + len(tail),
            index_at=index_at,
            index_sha256=hashlib.sha256(tail).hexdigest(),
        )

    def abandon(self) -> None:
        """Remove the unfinished tar; nothing happens to a finished one."""
        self._out.drop(self._file)

    def _flush(self) -> None:
        """Write the held images as one member and its JSON."""
        if not self._held:
            return
        images = [image for *_, image in self._held]
        data = (
            b"".join(image.data for image in images)
            if self._encoding == "block"
            else _webp(images[0])
        )
        beside = {
            "count": len(images),
            "shape": (len(images), *images[0].shape),
            "sha256": hashlib.sha256(data).hexdigest(),
            "ids": [key for _, key, _, _ in self._held],
            "labels": {
                name: [labels.get(name) for _, _, labels, _ in self._held]
                for name in self._held[0][2]
            },
        }
        self._at.append(self._tar.offset)
        self._samples.append(len(images))
        self._hashing.span = hashlib.sha256()
        key = f"{self._held[0][0]:08d}"
        described = json.dumps(beside, separators=(",", ":"), default=float).encode()
        self._member(f"{key}.json", described)
        self._member(f"{key}.{'u8' if self._encoding == 'block' else 'webp'}", data)
        self._sha256.append(self._hashing.span.hexdigest())
        self._held.clear()
        self._out.write_back(self._file)

    def _member(self, name: str, data: bytes) -> None:
        """Append a file with the owner and mode that webdataset's own writer gives it.

        That writer would load torch, seconds of every process that makes shards.
        """
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o444
        member.uname = member.gname = "bigdata"
        self._tar.addfile(member, io.BytesIO(data))


def _webp(image: Pixels) -> bytes:
    """[C, R, R] -> a lossless WebP; the setting gives small files in 40 % of the default's time."""
    file = io.BytesIO()
    pixels = image.transpose(1, 2, 0).squeeze(2) if len(image) == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    picture.save(file, "WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()
