"""One tar of one resolution: images in, members as plain webdataset reads them, a hash at the end.

Up to 256x256 a member holds a block of raw pixels, `00000000.u8` ([n, C, R, R] uint8), from 512x512
one lossless `00000000.webp`; before each lies a `.json` with ids, labels, shape and the data's
hash. The last member is the index.
"""

import hashlib
import io
import json
from collections.abc import Mapping

import numpy as np
from PIL import Image
from webdataset.writer import TarWriter

from pipeline.data.index import append_index
from pipeline.data.labels import Label
from pipeline.data.ledger import Place
from pipeline.data.manifest import ShardFile, tar_name
from pipeline.data.pixels import Pixels

__all__ = ["BLOCK_BYTES", "ShardWriter", "encoding_of"]

LARGEST_BLOCK = 256
BLOCK_BYTES = 2 << 20


def encoding_of(resolution: int) -> str:
    """`block` for the resolutions that are cheap to keep raw, `webp` for the others."""
    return "block" if resolution <= LARGEST_BLOCK else "webp"


class ShardWriter:
    """Writes aside; `finish` puts the tar in its place, `abandon` removes what is unfinished."""

    def __init__(self, out: Place, number: int, resolution: int) -> None:
        """Begin the tar of shard `number` for images of `resolution`."""
        self._out, self._name = out, tar_name(number, resolution)
        self._encoding = encoding_of(resolution)
        self._file = out.scratch(self._name)
        self._tar = TarWriter(self._file, encoder=False, mtime=0)
        self._held: list[tuple[int, str, Mapping[str, Label], Pixels]] = []
        self._at: list[int] = []  # where each member's span begins
        self._samples: list[int] = []

    def add(self, index: int, key: str, labels: Mapping[str, Label], image: Pixels) -> None:
        """Append an image [C, R, R] that is number `index` of its source."""
        self._held.append((index, key, labels, image))
        if self._encoding == "webp" or (len(self._held) + 1) * image.nbytes > BLOCK_BYTES:
            self._flush()

    def finish(self) -> ShardFile:
        """Complete the tar under its final name; gives back its hash and length."""
        self._flush()
        at = [*self._at, self._tar.tarstream.offset]
        self._tar.close()
        index_at, index_sha256 = append_index(self._file, at, self._samples)
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        size = self._file.tell()
        self._out.publish(self._file, self._name, digest)
        return ShardFile(sha256=digest, bytes=size, index_at=index_at, index_sha256=index_sha256)

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
        self._at.append(self._tar.tarstream.offset)
        self._samples.append(len(images))
        self._tar.write(
            {
                "__key__": f"{self._held[0][0]:08d}",
                "u8" if self._encoding == "block" else "webp": data,
                "json": json.dumps(beside, separators=(",", ":"), default=float).encode(),
            }
        )
        self._held.clear()


def _webp(image: Pixels) -> bytes:
    """[C, R, R] -> a lossless WebP; the setting gives small files in 40 % of the default's time."""
    file = io.BytesIO()
    pixels = image.transpose(1, 2, 0).squeeze(2) if len(image) == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    picture.save(file, "WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()
