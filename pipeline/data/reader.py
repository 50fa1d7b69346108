"""Random access to the images of one split at one resolution, each checked before it is used."""

import hashlib
import io
import json
import logging
import mmap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data import tars
from pipeline.data.manifest import Manifest, Shard, shard_path
from pipeline.data.pixels import Pixels
from stylealae.errors import DataError

__all__ = ["Images", "OpenShard"]

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

_MEND = "delete it and run the same `stylealae prepare` again, which makes only this shard anew"


class OpenShard:
    """One tar, memory-mapped; a member is checked against its hash when it is first used."""

    def __init__(self, path: Path, want: Shard, resolution: int, encoding: str) -> None:
        """Map the tar and index its members; DataError if it is not the one in the manifest."""
        self.path, self._encoding = path, encoding
        self._want = want.files[resolution]
        try:
            with path.open("rb") as file:
                size = file.seek(0, io.SEEK_END)
                if size != self._want.bytes:
                    raise DataError(
                        f"{path} has {size:,} bytes, the manifest says {self._want.bytes:,}; "
                        f"{_MEND}"
                    )
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataError(
                f"{path} cannot be opened ({error.strerror}), and the manifest lists it: run the "
                "same `stylealae prepare` again"
            ) from error
        self._index(resolution)
        if len(self.keys) != want.samples:
            raise self._damaged(
                f"holds {len(self.keys)} images and the manifest says {want.samples}"
            )

    def _index(self, resolution: int) -> None:
        """Find the data members; each has a JSON of the same name before it."""
        self.keys: list[str] = []
        self._beside: list[dict[str, Any]] = []
        self._data: list[tars.Member] = []
        starts = [0]
        try:
            for member in tars.members(self.path):
                if member.name.endswith(".json"):
                    self._beside.append(json.loads(self._bytes(member)))
                    continue
                beside = self._beside[len(self._data)]
                count, _, *sides = beside["shape"]
                if sides != [resolution, resolution] or len(beside["ids"]) != count:
                    raise ValueError(f"{member.name} has the shape {beside['shape']}")
                self._data.append(member)
                self.keys += beside["ids"]
                starts.append(starts[-1] + count)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._damaged(f"has an unreadable member ({error})") from error
        self._starts = np.asarray(starts)
        self._intact: dict[int, bool] = {}

    def whole(self) -> bool:
        """Whether the file's hash is the manifest's; then no member needs a check of its own."""
        same = hashlib.sha256(self._map).hexdigest() == self._want.sha256
        if same:
            self._intact = dict.fromkeys(range(len(self._data)), True)
        return same

    def image(self, offset: int) -> Pixels:
        """[C, R, R]: the shard's sample number `offset`."""
        member = int(np.searchsorted(self._starts, offset, side="right")) - 1
        self._check(member)
        at, (count, *shape) = self._data[member], self._beside[member]["shape"]
        if self._encoding == "webp":
            return self._decode(at, shape[0])
        block: Pixels = np.frombuffer(self._map, np.uint8, at.size, at.offset)
        image: Pixels = block.reshape(count, *shape)[offset - int(self._starts[member])]
        return image

    def labels(self, name: str) -> list[Any]:
        """The label `name` of every sample, in order."""
        return [value for beside in self._beside for value in beside["labels"][name]]

    def _check(self, member: int) -> None:
        at = self._data[member]
        if member not in self._intact:
            found = hashlib.sha256(self._bytes(at)).hexdigest()
            self._intact[member] = found == self._beside[member]["sha256"]
        if not self._intact[member]:
            raise self._damaged(f"holds {at.name}, whose content does not have the recorded sha256")

    def _decode(self, at: tars.Member, channels: int) -> Pixels:
        try:
            with Image.open(io.BytesIO(self._bytes(at)), formats=("WEBP",)) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError) as error:
            raise self._damaged(f"holds {at.name}, which cannot be decoded ({error})") from error
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[:channels])

    def _bytes(self, at: tars.Member) -> bytes:
        return self._map[at.offset : at.offset + at.size]

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.path} is damaged: it {what}; {_MEND}")


class Images:
    """The images of one split at one resolution, by sample id; held in memory where they fit."""

    OPEN = 128  # shards kept mapped at once; each holds a file descriptor

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        split: str,
        resolution: int,
        *,
        ram_bytes: float = 0,
        max_broken: int = 0,
    ) -> None:
        """Look up the split; nothing is read yet."""
        if resolution not in manifest.resolutions:
            raise DataError(
                f"{folder} has no images of {resolution}x{resolution}, only of "
                f"{_words(manifest.resolutions)}: prepare it with that resolution, into a new "
                "folder, or change model.resolution"
            )
        if not manifest.samples(split):
            raise DataError(
                f"{folder} has no images in the split {split!r}; its splits are "
                f"{_words(manifest.splits)}: change data.split"
            )
        self._folder, self._resolution = Path(folder), resolution
        self._encoding = manifest.encoding[resolution]
        self._shards = manifest.shards_of(split)
        counts = np.asarray([shard.samples for shard in self._shards])
        self._first = np.cumsum(counts) - counts  # id of each shard's first sample
        self.shape = (manifest.channels, resolution, resolution)
        self.samples = int(counts.sum())
        self.max_broken = max_broken
        self.broken: set[int] = set()
        """Ids of the samples that could not be used; another image of their shard stands in."""
        self._open = lru_cache(maxsize=self.OPEN)(self._open_shard)
        self._held: Pixels | None = None
        if self.samples * np.prod(self.shape) <= ram_bytes:
            self._held = np.empty((self.samples, *self.shape), np.uint8)
            self._loaded = np.zeros(self.samples, np.bool_)

    def take(self, ids: Ints) -> Pixels:
        """[n] sample ids -> [n, C, R, R] uint8, freshly allocated."""
        if self._held is None:
            found = np.empty((len(ids), *self.shape), np.uint8)
            for row, sample in enumerate(ids):
                found[row] = self._image(int(sample))
            return found
        missing = ids[~self._loaded[ids]]
        if len(missing):
            self._load(missing, self._held)
        return self._held[ids]

    def keys(self, ids: Ints) -> list[str]:
        """[n] sample ids -> the images' names in the source."""
        return [shard.keys[offset] for shard, offset in map(self._find, ids)]

    def _load(self, ids: Ints, held: Pixels) -> None:
        """Bring images into memory: raw ones a whole shard at a time, encoded ones singly."""
        if self._encoding == "webp":
            for sample in np.unique(ids):
                held[sample] = self._image(int(sample))
                self._loaded[sample] = True
            return
        for number in np.unique(np.searchsorted(self._first, ids, side="right") - 1):
            shard, first = self._open_shard(int(number)), int(self._first[number])
            if not shard.whole() and not self.max_broken:
                raise shard._damaged("does not have the manifest's sha256")
            for sample in range(first, first + self._shards[number].samples):
                held[sample] = self._image(sample, shard)
                self._loaded[sample] = True

    def _image(self, sample: int, shard: OpenShard | None = None) -> Pixels:
        """[C, R, R]: the sample, or within `max_broken` the next intact one of its shard."""
        found, offset = self._find(sample)
        shard = shard or found
        try:
            return shard.image(offset)
        except DataError as error:
            self._count_broken(sample, error)
        for other in range(offset + 1, offset + len(shard.keys)):
            try:
                return shard.image(other % len(shard.keys))
            except DataError:
                continue
        raise DataError(f"{shard.path} holds no intact image: {_MEND}")

    def _count_broken(self, sample: int, error: DataError) -> None:
        if sample not in self.broken:
            self.broken.add(sample)
            if len(self.broken) > self.max_broken:
                raise error
            log.warning("another image stands in for sample %d: %s", sample, error)

    def _find(self, sample: int | np.int64) -> tuple[OpenShard, int]:
        number = int(np.searchsorted(self._first, sample, side="right")) - 1
        return self._open(number), int(sample - self._first[number])

    def _open_shard(self, number: int) -> OpenShard:
        shard = self._shards[number]
        path = shard_path(self._folder, shard.number, self._resolution)
        return OpenShard(path, shard, self._resolution, self._encoding)


def _words(values: Mapping[Any, Any] | tuple[Any, ...]) -> str:
    return ", ".join(str(value) for value in values)
