"""The MNIST family: a folder with train and t10k files in IDX form, plain or gzipped."""

import gzip
import hashlib
import math
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixels import Pixels, recoloured
from pipeline.data.sources.source import Options, Sample, Source
from pipeline.data.sources.unused_labels import leave_rest
from stylealae.errors import DataError

__all__ = ["Idx"]

MAX_RATIO, MIB = 200, 1 << 20
"""Of what a gzipped file claims to its own bytes, MNIST's images have 5; any may claim a MiB."""


class Idx(Source):
    """Grey images with a class each; those of 28x28 get a border of two pixels on every side."""

    name = "idx"
    decodes = False
    channels = 1
    label_names = ("class",)

    def __init__(self, input: str, options: Options) -> None:
        """Read all files."""
        super().__init__(input, options)
        self._parts: dict[str, tuple[Pixels, Pixels]] = {}
        digest, used = hashlib.sha256(), []
        for split, prefix in (("train", "train"), ("test", "t10k")):
            if (path := _find(Path(input), f"{prefix}-images", 3)) is None:
                continue
            pixels = _read(path, 3)
            if path.name.startswith("emnist"):
                pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1))
                self.notes.append(f"{path}: EMNIST's images lie on their sides: turned upright")
            labels_path = _find(Path(input), f"{prefix}-labels", 1)
            if labels_path is None:
                raise DataError(
                    f"{path} has no labels beside it: add {prefix}-labels-idx1-ubyte[.gz]"
                )
            labels = _read(labels_path, 1)
            used += [path, labels_path]
            if len(labels) != len(pixels):
                raise DataError(
                    f"{path} has {len(pixels)} images, {labels_path} {len(labels)} labels"
                )
            digest.update(pixels.tobytes())
            digest.update(labels.tobytes())
            if pixels.shape[1:] == (28, 28):
                pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
            self._parts[split] = pixels, labels
        if not self._parts:
            raise DataError(f"{input} holds no IDX images: looked for train-images-idx3-ubyte[.gz]")
        self.fingerprint = digest.hexdigest()
        leave_rest(self, Path(input), used)

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether a folder holds a file of images for training or for tests."""
        return path.is_dir() and any(_find(path, f"{p}-images", 3) for p in ("train", "t10k"))

    def __len__(self) -> int:
        return sum(len(labels) for _, labels in self._parts.values())

    @property
    def tests(self) -> int | None:
        """The images of the t10k file; unsaid if there is one file only."""
        return len(self._parts["test"][1]) if len(self._parts) == 2 else None

    def key(self, i: int) -> str:
        """Split file and place in it, as `train-00012` or `test-00007`."""
        split, k = self._place(i)
        return f"{split}-{k:05d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        split, k = self._place(i)
        pixels, labels = self._parts[split]
        image, changes = recoloured(pixels[k][:, :, None], self.channels)
        return Sample(self.key(i), image, {"class": float(labels[k])}, changes)

    def _place(self, i: int) -> tuple[str, int]:
        for split, (_, labels) in self._parts.items():
            if i < len(labels):
                return split, i
            i -= len(labels)
        raise IndexError(i)


def _find(folder: Path, stem: str, axes: int) -> Path | None:
    """The file `train-images-idx3-ubyte`, also with a dot or a prefix, also gzipped."""
    found = sorted(folder.glob(f"*{stem}[-.]idx{axes}-ubyte*"))
    within = [path / path.name for path in found]  # as some programs unpack a file
    found = [p for p in found if p.is_file()] or [p for p in within if p.is_file()]
    if len({path.name.removesuffix(".gz") for path in found}) > 1:
        raise DataError(f"{folder} holds several {stem} files: {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _read(path: Path, axes: int) -> NDArray[np.uint8]:
    """An IDX file of bytes -> its array of `axes` axes; no more is read than it claims to have."""
    head = 4 + 4 * axes
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if gzipped else path.open("rb") as stream:
            start = stream.read(head)
            if start[:4] != bytes([0, 0, 8, axes]) or len(start) < head:
                raise DataError(
                    f"{path} begins with {start[:4].hex()}, not with 000008{axes:02x}: it is no "
                    "IDX file"
                )
            shape = tuple(int(n) for n in np.frombuffer(start, ">u4", axes, 4))
            needed = math.prod(shape)
            if needed > (MAX_RATIO * length + MIB if gzipped else length - head):
                raise DataError(
                    f"{path} has {length:,} bytes, an array of {shape} needs {head + needed:,}: "
                    "fetch it again"
                )
            data = stream.read(needed + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(data) != needed:
        more = f"{head + len(data):,}" if len(data) < needed else f"more than {head + needed:,}"
        raise DataError(
            f"{path} has {more} bytes, an array of {shape} needs {head + needed:,}: fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
