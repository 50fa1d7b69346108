"""The sources by name: image files in a folder, zip or tar, IDX files, and drawn faces."""

import gzip
import hashlib
import importlib
import math
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.files import Files, Folder, Tar, Zip
from pipeline.data.pixels import Pixels
from pipeline.data.source import Label, Options, Sample, Source
from stylealae.errors import DataError

__all__ = ["SOURCES", "Label", "Sample", "Source", "open_source"]


class Rendered(Source):
    """`rendered:6000`: that many drawn faces, the same everywhere, their parameters as labels."""

    name = "rendered"
    licence = "CC0-1.0 (drawn by this program)"

    def __init__(self, input: str, options: Options) -> None:
        """Read the count from `rendered:6000` or `6000`."""
        super().__init__(input, options)
        count = input.removeprefix("rendered").removeprefix(":") or "6000"
        if not count.isdecimal() or int(count) == 0:
            raise DataError(
                f"{input!r} states no number of images: write for example rendered:6000"
            )
        self._count = int(count)
        self._render = importlib.import_module("pipeline.data.rendered").render
        pixels, labels = self._render(0, 32)
        self.label_names = tuple(sorted(labels))
        self.fingerprint = hashlib.sha256(pixels.tobytes()).hexdigest()  # of the drawing program

    def __len__(self) -> int:
        return self._count

    def key(self, i: int) -> str:
        """Name of image i."""
        return f"rendered-{i:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, drawn `side` pixels wide."""
        pixels, labels = self._render(i, side)
        if self.channels == 1:
            pixels = np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8)
        return Sample(self.key(i), pixels, labels)


class Idx(Source):
    """The MNIST family: a folder with train and t10k files in IDX form, plain or gzipped."""

    name = "idx"
    channels = 1
    label_names = ("class",)

    def __init__(self, input: str, options: Options) -> None:
        """Read all files; 28x28 images get a border of two pixels on every side."""
        super().__init__(input, options)
        self._parts: dict[str, tuple[Pixels, Pixels]] = {}
        digest = hashlib.sha256()
        for split, prefix in (("train", "train"), ("test", "t10k")):
            if (path := _idx_file(Path(input), f"{prefix}-images", 3)) is None:
                continue
            pixels = _read_idx(path, 3)
            labels_path = _idx_file(Path(input), f"{prefix}-labels", 1)
            if labels_path is None:
                raise DataError(
                    f"{path} has no labels beside it: add {prefix}-labels-idx1-ubyte[.gz]"
                )
            labels = _read_idx(labels_path, 1)
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

    def __len__(self) -> int:
        return sum(len(labels) for _, labels in self._parts.values())

    @property
    def splits(self) -> dict[str, range]:
        """The split of the files; the last part of the training images if there is no test file."""
        if len(self._parts) == 1:
            return super().splits
        train = len(self._parts["train"][1])
        return {"train": range(train), "test": range(train, len(self))}

    def key(self, i: int) -> str:
        """Split file and place in it, as `train-00012` or `test-00007`."""
        split, k = self._place(i)
        return f"{split}-{k:05d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        split, k = self._place(i)
        pixels, labels = self._parts[split]
        image = np.repeat(pixels[k][:, :, None], self.channels, axis=2)
        return Sample(self.key(i), image, {"class": float(labels[k])})

    def _place(self, i: int) -> tuple[str, int]:
        for split, (_, labels) in self._parts.items():
            if i < len(labels):
                return split, i
            i -= len(labels)
        raise IndexError(i)


SOURCES: dict[str, type[Source]] = {s.name: s for s in (Rendered, Folder, Zip, Tar, Idx)}


def open_source(
    input: str,
    name: str = "auto",
    *,
    channels: int | None = None,
    test_fraction: float = 1 / 50,
    licence: str | None = None,
) -> Source:
    """The images of `input`: a path, or `rendered:6000`; `auto` finds out what the path holds.

    `channels` 1 or 3 overrides the source's own; the last `test_fraction` of the images (1/50, but
    at least 16 of 64 and more) become the test split where the input names none.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels is {channels}: images are grey (1) or RGB (3)")
    if not 0 <= test_fraction < 1:
        raise DataError(f"test_fraction is {test_fraction}: it is a share, from 0 to below 1")
    kind = _kind_of(input) if name == "auto" else name
    if kind not in SOURCES:
        raise DataError(f"there is no source {kind!r}: choose {', '.join(SOURCES)} or auto")
    if kind != "rendered" and not Path(input).exists():
        raise DataError(f"{input} does not exist: give a folder, zip or tar of images")
    options = Options(channels=channels, test_fraction=test_fraction, licence=licence)
    source = SOURCES[kind](input, options)
    if isinstance(source, Files):
        source.report()
    return source


def _kind_of(input: str) -> str:
    path = Path(input)
    if input == "rendered" or input.startswith("rendered:"):
        return "rendered"
    if path.is_dir():
        return (
            "idx"
            if _idx_file(path, "train-images", 3) or _idx_file(path, "t10k-images", 3)
            else "folder"
        )
    if not path.is_file():
        raise DataError(
            f"{input} does not exist: give a folder, zip or tar of images, or rendered:6000"
        )
    if zipfile.is_zipfile(path):
        return "zip"
    if path.suffix == ".tar":
        return "tar"
    if tarfile.is_tarfile(path):
        raise DataError(
            f"{input} is a compressed tar, which cannot be read in place: unpack it first"
        )
    raise DataError(
        f"{input} is neither a folder nor a zip nor a tar: pack the images as one of them"
    )


def _idx_file(folder: Path, stem: str, axes: int) -> Path | None:
    """The file `train-images-idx3-ubyte`, also with a dot or a prefix, also gzipped."""
    found = sorted(folder.glob(f"*{stem}[-.]idx{axes}-ubyte*"))
    if len({path.name.removesuffix(".gz") for path in found}) > 1:
        raise DataError(f"{folder} holds several {stem} files: {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """An IDX file of bytes -> its array of `axes` axes."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < 4 + 4 * axes:
        raise DataError(
            f"{path} begins with {data[:4].hex()}, not with 000008{axes:02x}: it is no IDX file"
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    if len(data) != 4 + 4 * axes + math.prod(shape):
        raise DataError(
            f"{path} has {len(data):,} bytes, an array of {shape} needs "
            f"{4 + 4 * axes + math.prod(shape):,}: fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
