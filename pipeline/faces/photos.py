"""Photos with their landmarks, from files, folders, zips and tars: what is to be aligned."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.decoding import decode
from pipeline.data.pixels import Pixels
from pipeline.data.sources.containers import open_container
from pipeline.data.sources.files import SUFFIXES as PICTURES
from pipeline.faces.alignment import align, square_of
from pipeline.faces.landmarks import SUFFIXES, Detector, Points, read_points
from stylealae.errors import DataError

__all__ = ["Aligned", "Photo", "aligned", "photos"]


@dataclass(frozen=True)
class Photo:
    """One photo, not read yet."""

    name: str
    """Its path in what holds it, or its file name."""
    read: Callable[[str], bytes | None]
    """Content of the photo's name with another ending, or with none (the photo itself)."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """A crop, and what it was made from."""

    crop: Pixels
    faces: int
    """How many faces a detector found; 1 where the landmarks were given."""
    photo_side: float
    """Side of the square in the photo, in its pixels."""


def photos(path: Path) -> Iterator[Photo]:
    """The photo that a path is, or those that it holds."""
    if path.is_file() and path.suffix.lower() in PICTURES:

        def beside(suffix: str) -> bytes | None:
            file = path.with_suffix(suffix) if suffix else path
            return file.read_bytes() if file.is_file() else None

        yield Photo(path.name, beside)
        return
    if not path.exists():
        raise DataError(f"{path} does not exist: give a photo, or a folder, zip or tar of photos")
    container = open_container(str(path))
    for name in sorted(container.sizes):
        pure = PurePosixPath(name)
        if pure.suffix.lower() not in PICTURES or pure.name.startswith("."):
            continue

        def inside(suffix: str, pure: PurePosixPath = pure) -> bytes | None:
            other = str(pure.with_suffix(suffix)) if suffix else str(pure)
            return container.read(other) if other in container.sizes else None

        yield Photo(name, inside)


def aligned(
    photo: Photo, side: int, table: Mapping[str, Points], detect: Detector | None
) -> Aligned:
    """The crop of a photo's face: landmarks by the table, else from beside it, else detected.

    Raises:
        DataError: it cannot be read, has no landmarks, or no face was found.
    """
    image, _ = decode(photo.read("") or b"", 3)
    faces = 1
    points = _known(photo, table)
    if points is None and detect is not None:
        found = detect(np.ascontiguousarray(image))
        if not found:
            raise DataError("no face was found in it")
        points, faces = found[0], len(found)
    if points is None:
        raise DataError(
            f"it has no landmarks: put a {', '.join(SUFFIXES)} of its name beside it, or give "
            "--landmarks or --detector"
        )
    return Aligned(align(image, points, side), faces, square_of(points).side)


def _known(photo: Photo, table: Mapping[str, Points]) -> Points | None:
    name = PurePosixPath(photo.name).name
    if name in table:
        return table[name]
    for suffix in () if table else SUFFIXES:
        data = photo.read(suffix)
        if data is not None:
            return read_points(f"{PurePosixPath(name).stem}{suffix}", data)
    return None
