"""FFHQ as NVIDIA hands it out: numbered PNGs, and a JSON with hashes, licences and categories.

    images1024x1024/00000/00000.png ... images1024x1024/69000/69999.png
    thumbnails128x128/00000/00000.png ...
    ffhq-dataset-v2.json

The input is the folder of these, one of its folders, or a zip of one; the JSON lies inside it,
beside it, or is given as the file of labels. The first 60,000 images are for training.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self, cast

from pipeline.data.decoding import decode
from pipeline.data.pixels import Pixels
from pipeline.data.sources.files import Files
from pipeline.data.sources.json_stream import JsonStream
from pipeline.data.sources.labels import Labels
from stylealae.errors import DataError

__all__ = ["Ffhq"]

FOLDERS = ("images1024x1024", "thumbnails128x128")
METADATA = "ffhq-dataset-v2.json"
TRAINING = 60_000
Opened = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the JSON says of one image."""

    labels: tuple[str, str, str, str]
    """Category, licence, author and address of the photo."""
    file_md5: tuple[str, ...]
    """Of the PNG, at 1024 and at 128 pixels."""
    pixel_md5: tuple[str, ...]
    """Of the pixels, at 1024 and at 128 pixels."""


class Ffhq(Files):
    """Numbered images in the order of their numbers, checked against the JSON if it is there."""

    name = "ffhq"
    licence = "CC BY-NC-SA 4.0 (NVIDIA); each photo under its photographer's, see the label licence"

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether the folder or zip, or something in it, has one of FFHQ's names."""
        tops = {parts[0] for name in entries if (parts := PurePosixPath(name).parts)}
        return not tops.isdisjoint({*FOLDERS, METADATA}) or path.stem in FOLDERS

    def chosen(self, images: list[str]) -> list[str]:
        """The largest size that is there, by number."""
        for folder in FOLDERS:
            inside = [name for name in images if folder in PurePosixPath(name).parts]
            if inside:
                images = inside
                break
        numbered = [name for name in images if PurePosixPath(name).stem.isdecimal()]
        return sorted(numbered, key=lambda name: (_number(name), name))

    def read_labels(self, others: Sequence[str]) -> Labels:
        """Category, licence, author and photo of each image; without the JSON as of any folder."""
        found = self._metadata(others)
        self._entries = _entries(*found) if found else {}
        self._checked = bool(self._entries)
        if not self._entries:
            self.notes.append(
                f"{self.input}: no {METADATA} inside or beside it: hashes are not checked, and "
                "licences not carried"
            )
        if not self._entries or self._table_given():
            return super().read_labels(others)
        rows = {key: e.labels for key in self._keys if (e := self._entries.get(_number(key)))}
        return Labels(("category", "licence", "author", "photo_url"), rows)

    def _metadata(self, names: Sequence[str]) -> tuple[str, Opened] | None:
        """The JSON: its name, and what opens it."""
        inside = [name for name in names if PurePosixPath(name).name == METADATA]
        beside = Path(self.input).absolute().parent / METADATA
        if (given := self.options.labels) is not None and not self._table_given():
            return given, lambda: Path(given).open("rb")
        if inside:
            self.used.add(inside[0])
            return inside[0], lambda: self.files.opened(inside[0])
        return (str(beside), lambda: beside.open("rb")) if beside.is_file() else None

    def _table_given(self) -> bool:
        """Whether a table of other labels is given by hand."""
        return self.options.labels is not None and not self.options.labels.endswith(".json")

    @property
    def tests(self) -> int | None:
        """Images from number 60,000 on; unsaid if there are none, or no others."""
        tests = sum(_number(key) >= TRAINING for key in self._keys)
        return tests if 0 < tests < len(self) else None

    def part(self, start: int, stop: int) -> Self:
        """Some images with their entries."""
        part = super().part(start, stop)
        numbers = map(_number, part._keys)
        part._entries = {n: entry for n in numbers if (entry := self._entries.get(n))}
        return part

    def examine(self, key: str, data: bytes, image: Pixels) -> tuple[str, ...]:
        """Compare hashes: other pixels are refused, the same pixels in another file are noted."""
        if not self._checked:
            return ()
        entry = self._entries.get(_number(key))
        if entry is None:
            raise DataError(f"{METADATA} does not list this number: it is no image of FFHQ")
        if self.channels == 1:
            image, _ = decode(data, 3)
        found = hashlib.md5(image.tobytes()).hexdigest()
        same_file = hashlib.md5(data).hexdigest() in entry.file_md5
        if found not in entry.pixel_md5:
            raise DataError(
                f"its pixels have md5 {found}, {METADATA} says {' or '.join(entry.pixel_md5)}"
                f"{'' if same_file else ', and the file differs too'}: fetch it again"
            )
        return () if same_file else ("the published pixels in another file",)


def _number(name: str) -> int:
    return int(PurePosixPath(name).stem)


def _entries(where: str, opened: Opened) -> dict[int, Entry]:
    """Number and entry of each image, one parsed at a time: all at once would take 2 GB."""
    found: dict[int, Entry] = {}
    with opened() as stream:
        for name, about in JsonStream(where, stream).members():
            try:
                found[int(name)] = _entry(cast(dict[str, Any], about))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{where} cannot be read as {METADATA} ({error!r})") from error
    if not found:
        raise DataError(f"{where} lists no image and is not {METADATA}: fetch it again")
    return found


def _entry(found: dict[str, Any]) -> Entry:
    about = found["metadata"]
    sizes = (found["image"], found["thumbnail"])
    return Entry(
        (found["category"], about["license"], about["author"], about["photo_url"]),
        tuple(size["file_md5"] for size in sizes),
        tuple(size["pixel_md5"] for size in sizes),
    )
