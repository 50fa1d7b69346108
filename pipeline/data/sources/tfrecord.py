"""StyleGAN's TFRecords: one file a resolution, ffhq-r02.tfrecords (4x4) to ffhq-r10.tfrecords.

ALAE's authors cut each into parts: ffhq-r02.tfrecords.000, .001 and so on.

Every record holds `shape`, [C, R, R], and `data`, the raw uint8 pixels; -rxx.labels, a NumPy array,
holds the labels, or every record one as `label`. The smaller files are 2x2 means of the largest, as
ours are, so only the file of the size that is wanted is read; below that size a pixel may differ by
1 from a mean of the largest.
"""

import hashlib
import math
import re
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.data.format.types import Label
from pipeline.data.pixels import Pixels, recoloured
from pipeline.data.sources.labels import Labels, vectors_of
from pipeline.data.sources.records import RecordFiles, features
from pipeline.data.sources.source import Options, Sample, Source
from pipeline.data.sources.unused_labels import leave_rest
from stylealae.errors import DataError

__all__ = ["TfRecord"]

_NAME = re.compile(r"^(?:.*-r(?P<level>\d{1,2})|.*)\.tfrecords?(?:\.(?P<part>\d+))?$")


class TfRecord(Source):
    """The records of a folder of *-rNN.tfrecords, whole or in parts, or of one such file."""

    name = "tfrecord"
    takes_labels = True

    def __init__(self, input: str, options: Options) -> None:
        """Find the records of all files, and read the labels."""
        path = Path(input)
        parts = _parts(path)
        if not parts or any(side == 0 or len(files) != 1 for side, files in parts.items()):
            count = sum(map(len, parts.values()))
            sound = sum(side > 0 for side in parts)
            raise DataError(
                f"{input} holds {count} TFRecords, of which {sound} are one resolution's "
                "each: put *-r02.tfrecords, *-r03.tfrecords ... of one dataset into a folder"
            )
        self._files = {side: RecordFiles(*parts[side]) for side in sorted(parts)}
        counts = {len(file) for file in self._files.values()}
        if len(counts) > 1 or not max(counts):
            listed = ", ".join(f"{len(f):,} in {f.name}" for f in self._files.values())
            raise DataError(
                f"the files of {input} hold different numbers of records ({listed}), or none: "
                "they are not of one dataset, or some are cut short; fetch them again"
            )
        (self._count,) = counts
        smallest = self._files[min(self._files)]
        first = smallest.read(0)
        self.channels = len(_image(first))
        super().__init__(input, options)
        self._labels, used = self._read_labels(path)
        self._has_class = not self._labels.names and "label" in features(first)
        self.label_names = ("class",) if self._has_class else self._labels.names
        unread = set(features(first)) - {"shape", "data", *(("label",) if self._has_class else ())}
        if unread:
            self.notes.append(f"{input}: {', '.join(sorted(unread))} of the records is not used")
        records = (file.path for found in self._files.values() for file in found.files)
        leave_rest(self, path, [*records, *used])

    @cached_property
    def fingerprint(self) -> str:
        """Of the labels, and of the checksums of all records of the smallest file."""
        found = hashlib.sha256(repr((list(self._files), self._count, self._labels.rows)).encode())
        smallest = self._files[min(self._files)]
        for i in range(self._count):
            found.update(smallest.checksum(i))
        return found.hexdigest()

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a TFRecord file, or a folder with some."""
        return bool(_NAME.search(path.name)) or (path.is_dir() and any(map(_NAME.search, entries)))

    def __len__(self) -> int:
        return self._count

    def key(self, i: int) -> str:
        """Number of the record."""
        return f"{i:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i from the smallest file that is not smaller than `side`."""
        enough = [s for s in self._files if s >= side] or [max(self._files)]
        try:
            record = self._files[enough[0]].read(i)
            planes = _image(record)
            labels = _class(record) if self._has_class else self._labels.of(str(i))
        except DataError as error:
            raise DataError(f"{self.key(i)}: {error}") from error
        image, changes = recoloured(planes.transpose(1, 2, 0), self.channels)
        return Sample(self.key(i), image, labels, changes)

    def _read_labels(self, path: Path) -> tuple[Labels, list[Path]]:
        """The array beside the records, or the one given: [N, K], of which one row an image."""
        folder = path if path.is_dir() else path.parent
        given = self.options.labels
        files = [Path(given)] if given else sorted(folder.glob("*.labels"))[:1]
        if not files:
            return Labels(), []
        try:
            vectors = np.load(files[0], allow_pickle=False)
            if not isinstance(vectors, np.ndarray) or vectors.dtype.kind not in "biuf":
                raise ValueError("it holds no array of numbers")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{files[0]} cannot be read as a NumPy array ({error})") from error
        if vectors.ndim not in (1, 2) or len(vectors) != self._count:
            raise DataError(
                f"{files[0]} is an array of {vectors.shape}, the records are {self._count:,}: "
                "give the labels of this dataset"
            )
        return vectors_of([str(i) for i in range(self._count)], vectors), [] if given else files


def _parts(path: Path) -> dict[int, list[list[Path]]]:
    """For each resolution the files of its records, in order, a list a data set; 0 if unnamed."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    sets: dict[tuple[int, str], list[tuple[int, Path]]] = {}
    for file in files:
        if match := _NAME.search(file.name):
            side = 1 << int(match["level"]) if match["level"] else 0
            whole = file.name.removesuffix(f".{match['part']}")
            sets.setdefault((side, whole), []).append((int(match["part"] or 0), file))
    found: dict[int, list[list[Path]]] = {}
    for (side, whole), parts in sets.items():
        numbers = sorted(number for number, _ in parts)
        if path.is_dir() and numbers != list(range(len(numbers))):
            raise DataError(f"{path}: of {whole} there are the parts {numbers}: fetch all of them")
        found.setdefault(side, []).append([file for _, file in sorted(parts)])
    return found


def _class(record: bytes) -> dict[str, Label]:
    """The class in a record; unknown if there is none."""
    label = features(record).get("label")
    return {"class": float(label[0]) if isinstance(label, list) and label else None}


def _image(record: bytes) -> Pixels:
    """A record -> [C, R, R] uint8."""
    found = features(record)
    shape, data = found.get("shape"), found.get("data")
    if not isinstance(shape, list) or not isinstance(data, bytes):
        raise DataError(f"it holds {', '.join(found) or 'nothing'}, not a shape and data")
    if len(shape) != 3 or shape[0] not in (1, 3) or math.prod(shape) != len(data):
        raise DataError(f"its shape is {shape}, for {len(data):,} bytes of pixels")
    return np.frombuffer(data, np.uint8).reshape(shape)
