"""StyleGAN's TFRecords: one file a resolution, ffhq-r02.tfrecords (4x4) to ffhq-r10.tfrecords.

Every record holds `shape`, [C, R, R], and `data`, the raw uint8 pixels; -rxx.labels, a NumPy array,
holds the labels. The smaller files are 2x2 means of the largest, as ours are, so only the file of
the size that is wanted is read; below that size a pixel may differ by 1 from a mean of the largest.
"""

import hashlib
import math
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from pipeline.data.pixels import Pixels, recoloured
from pipeline.data.sources.labels import Table, table_of
from pipeline.data.sources.records import RecordFile, features
from pipeline.data.sources.source import Options, Sample, Source
from stylealae.errors import DataError

__all__ = ["TfRecord"]


class TfRecord(Source):
    """The records of a folder of *-rNN.tfrecords, or of one such file."""

    name = "tfrecord"
    takes_labels = True

    def __init__(self, input: str, options: Options) -> None:
        """Find the records of all files, and read the labels."""
        path = Path(input)
        files = [path] if path.is_file() else sorted(path.glob("*.tfrecords"))
        named = {1 << int(m[1]): f for f in files if (m := re.search(r"-r(\d+)$", f.stem))}
        if not files or len(named) != len(files):
            raise DataError(
                f"{input} holds {len(files)} TFRecords, of which {len(named)} are one resolution's "
                "each: put *-r02.tfrecords, *-r03.tfrecords ... of one dataset into a folder"
            )
        self._files = {side: RecordFile(file) for side, file in sorted(named.items())}
        counts = {len(file) for file in self._files.values()}
        if len(counts) > 1 or not max(counts):
            listed = ", ".join(f"{len(f):,} in {f.path.name}" for f in self._files.values())
            raise DataError(
                f"the files of {input} hold different numbers of records ({listed}), or none: "
                "they are not of one dataset, or some are cut short; fetch them again"
            )
        (self._count,) = counts
        smallest = self._files[min(self._files)]
        self.channels = len(_image(smallest.read(0)))
        super().__init__(input, options)
        self._table, self.label_names = self._read_labels(path)
        digest = hashlib.sha256(repr((list(self._files), self._count, self._table)).encode())
        for i in range(0, self._count, max(self._count // 64, 1)):
            digest.update(smallest.read(i))
        self.fingerprint = digest.hexdigest()

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a TFRecord file, or a folder with some."""
        return path.suffix == ".tfrecords" or (
            path.is_dir() and any(name.endswith(".tfrecords") for name in entries)
        )

    def __len__(self) -> int:
        return self._count

    def key(self, i: int) -> str:
        """Number of the record."""
        return f"{i:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i from the smallest file that is not smaller than `side`."""
        enough = [s for s in self._files if s >= side] or [max(self._files)]
        try:
            planes = _image(self._files[enough[0]].read(i))
        except DataError as error:
            raise DataError(f"{self.key(i)}: {error}") from error
        image, changes = recoloured(planes.transpose(1, 2, 0), self.channels)
        return Sample(self.key(i), image, self._table.labels(self._table.rows.get(str(i))), changes)

    def _read_labels(self, path: Path) -> tuple[Table, tuple[str, ...]]:
        """The array beside the records, or the one given: [N, K], of which one row an image."""
        folder = path if path.is_dir() else path.parent
        files = [self.options.labels] if self.options.labels else sorted(folder.glob("*.labels"))
        if not files:
            return Table(), ()
        try:
            vectors = np.load(files[0], allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{files[0]} cannot be read as a NumPy array ({error})") from error
        if vectors.ndim not in (1, 2) or len(vectors) != self._count:
            raise DataError(
                f"{files[0]} is an array of {vectors.shape}, the records are {self._count:,}: "
                "give the labels of this dataset"
            )
        table = table_of([str(i) for i in range(self._count)], vectors)
        return table, table.names


def _image(record: bytes) -> Pixels:
    """A record -> [C, R, R] uint8."""
    found = features(record)
    shape, data = found.get("shape"), found.get("data")
    if not isinstance(shape, list) or not isinstance(data, bytes):
        raise DataError(f"it holds {', '.join(found) or 'nothing'}, not a shape and data")
    if len(shape) != 3 or shape[0] not in (1, 3) or math.prod(shape) != len(data):
        raise DataError(f"its shape is {shape}, for {len(data):,} bytes of pixels")
    return np.frombuffer(data, np.uint8).reshape(shape)
