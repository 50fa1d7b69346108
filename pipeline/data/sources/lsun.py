"""LSUN's databases: folders such as bedroom_train_lmdb, whose values are encoded images.

The input is one of them, or a folder of several; what is named _val or _test is set aside for
tests, and the category in the name becomes a label.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Collection
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from pipeline.data.decoding import decode
from pipeline.data.sources.digest import digest_of
from pipeline.data.sources.source import Options, Sample, Source, needed
from pipeline.data.sources.unused_labels import leave_rest
from stylealae.errors import DataError

__all__ = ["Lsun"]

DATABASE = "data.mdb"
SPLITS = ("train", "val", "test")
SIZED = re.compile(rb"(\d{1,5})-(\d+)")
"""A size in pixels and the number of an image, as PyTorch's editions of StyleGAN have them."""


class Lsun(Source):
    """The values of all databases, in the order of their keys."""

    name = "lsun"
    label_names = ("category",)

    def __init__(self, input: str, options: Options) -> None:
        """Open the databases and list their keys."""
        super().__init__(input, options)
        self._error: type[Exception] = needed("lmdb", "LSUN").Error
        path = Path(input).absolute()
        found = [path] if (path / DATABASE).is_file() else [f.parent for f in _databases(path)]
        if not found:
            raise DataError(f"{input} holds no LMDB database: looked for {DATABASE} in its folders")
        self._folders = sorted(found, key=lambda folder: (_is_test(folder), folder.name))
        self._keys: list[list[bytes]] = []
        self._values: list[Any] = []
        for folder in self._folders:
            try:
                database = _opened(folder)
                _require_whole(folder / DATABASE, database)
                values = database.begin()
                keys = self._of_one_size(folder, list(values.cursor().iternext(values=False)))
            except self._error as error:
                raise DataError(f"{folder} cannot be read as LMDB ({error})") from error
            self._keys.append(keys)
            self._values.append(values)
        self._ends = list(accumulate(map(len, self._keys)))
        if not self._ends[-1]:
            raise DataError(f"{input} holds an LMDB database without images: fetch it again")
        leave_rest(self, path, (f for d in self._folders for f in d.iterdir()))

    def _of_one_size(self, folder: Path, keys: list[bytes]) -> list[bytes]:
        """The keys; of images in several sizes, as 256-00000, those of the largest."""
        sizes: dict[int, list[bytes]] = {}
        for key in keys:
            if found := SIZED.fullmatch(key):
                sizes.setdefault(int(found[1]), []).append(key)
        kept = sizes.get(max(sizes, default=0), [])
        if len(sizes) < 2 or sum(map(len, sizes.values())) != len(kept) * len(sizes):
            return keys
        rest = (key.decode("ascii", "backslashreplace") for key in set(keys).difference(kept))
        self.left_aside.add("entries of other sizes", (f"{folder.name}/{key}" for key in rest))
        self.notes.append(
            f"{folder}: every image is there in sizes {', '.join(map(str, sorted(sizes)))}, of "
            "which the largest is taken"
        )
        return kept

    @cached_property
    def fingerprint(self) -> str:
        """Of the databases' names and keys, and of parts of their contents."""
        found = hashlib.sha256()
        for folder, keys in zip(self._folders, self._keys, strict=True):
            found.update(f"{folder.name}\0{len(keys)}\0".encode())
            found.update(b"\0".join(keys))
            with (folder / DATABASE).open("rb") as file:
                found.update(digest_of(file.fileno(), 0, (folder / DATABASE).stat().st_size))
        return found.hexdigest()

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a database, or a folder with folders named as LSUN's."""
        return DATABASE in entries or (path.is_dir() and any(_databases(path)))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def tests(self) -> int | None:
        """The images of databases for validation and tests; unsaid if all are, or none."""
        pairs = zip(self._folders, self._keys, strict=True)
        tests = sum(len(keys) for folder, keys in pairs if _is_test(folder))
        return tests if 0 < tests < len(self) else None

    def key(self, i: int) -> str:
        """Name of the database and key of the image in it."""
        database, k = self._place(i)
        key = self._keys[database][k].decode("ascii", "backslashreplace")
        return f"{self._folders[database].name}/{key}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        database, k = self._place(i)
        try:
            data = self._values[database].get(self._keys[database][k])
            image, changes = decode(data, self.channels)
        except (DataError, self._error) as error:
            raise DataError(f"{self.key(i)}: {error}") from error
        category, _ = _category_and_split(self._folders[database])
        return Sample(self.key(i), image, {"category": category}, changes)

    def _place(self, i: int) -> tuple[int, int]:
        """The database that holds image i, and its place there."""
        database = bisect_right(self._ends, i)
        return database, i - self._ends[database] + len(self._keys[database])


def _databases(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*_lmdb/{DATABASE}"))


@cache
def _opened(folder: Path) -> Any:
    """The database; LMDB opens one once a process."""
    lmdb = needed("lmdb", "LSUN")
    return lmdb.open(str(folder), readonly=True, lock=False, readahead=False)


def _require_whole(path: Path, database: Any) -> None:
    """A page that is missing would end the process, not raise an error."""
    wanted = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if (size := path.stat().st_size) < wanted:
        raise DataError(f"{path} has {size:,} of {wanted:,} bytes: it is cut short, fetch it again")


def _category_and_split(folder: Path) -> tuple[str | None, str]:
    """`bedroom_train_lmdb` -> bedroom, train; a folder that names no split is for training."""
    name = folder.name.removesuffix("_lmdb")
    category, _, split = name.rpartition("_")
    return (category or None, split) if split in SPLITS else (name, "train")


def _is_test(folder: Path) -> bool:
    return _category_and_split(folder)[1] != "train"
