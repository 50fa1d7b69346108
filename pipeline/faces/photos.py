"""Photos with their landmarks, from files, folders, zips and tars: what is to be aligned."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.decoding import decode, losses
from pipeline.data.pixels import Pixels
from pipeline.data.sources.containers import open_container
from pipeline.data.sources.left_aside import LeftAside, hidden, suffix_of
from pipeline.data.sources.names import Names
from pipeline.data.sources.pictures import SUFFIXES as PICTURES
from pipeline.faces.alignment import align, square_of
from pipeline.faces.dlib_models import EXTRA
from pipeline.faces.landmarks import SUFFIXES, Detector, Points, read_points
from stylealae.errors import DataError

__all__ = ["Aligned", "Photo", "aligned", "crop_name", "landmarks_of", "photos", "photos_of"]


@dataclass(frozen=True)
class Photo:
    """One photo, not read yet."""

    name: str
    """Its path in what holds it, or its file name."""
    read: Callable[[str], bytes | None]
    """Content of the photo's name with another ending, or with none (the photo itself)."""
    alone: bool = False
    """Whether it was named itself: then it is an error if it cannot be used."""
    file: Path | None = None
    """Where it lies; None inside an archive."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """A crop, and what it was made from."""

    crop: Pixels
    faces: int
    """How many faces a detector found; 1 where the landmarks were given."""
    photo_side: float
    """Side of the square in the photo, in its pixels."""
    losses: tuple[str, ...] = ()
    """What of the photo is not shown, by `decoding.losses`."""


def photos(path: Path, left_aside: LeftAside | None = None) -> Iterator[Photo]:
    """The photo that a path is, or those that it holds; what is none is noted in `left_aside`."""
    if path.is_file() and suffix_of(path.name) in PICTURES:

        def beside(suffix: str) -> bytes | None:
            forms = (path.with_suffix(form) for form in (suffix, suffix.upper()))
            file = next((form for form in forms if form.is_file()), path) if suffix else path
            if suffix and file == path:
                return None
            try:
                return file.read_bytes() if file.is_file() else None
            except OSError as error:
                raise DataError(f"it cannot be read ({error})") from error

        yield Photo(path.name, beside, alone=True, file=path)
        return
    if not path.exists():
        raise DataError(f"{path} does not exist: give a photo, or a folder, zip or tar of photos")
    container = open_container(str(path))
    shown = {n for n in container.sizes if suffix_of(n) in PICTURES and not hidden(n)}
    if left_aside is not None:
        stems = {str(PurePosixPath(name).with_suffix("")) for name in shown}
        left_aside.add_all(container.left_aside)
        left_aside.add_by_suffix(
            name
            for name in container.sizes.keys() - shown
            if suffix_of(name) not in SUFFIXES
            or str(PurePosixPath(name).with_suffix("")) not in stems
        )
    for name in sorted(shown):

        def inside(suffix: str, name: str = name) -> bytes | None:
            own = PurePosixPath(name).suffix
            forms = (suffix, suffix.upper()) if suffix else (own,)
            others = (name.removesuffix(own) + form for form in forms)  # ./a.png stays so
            other = next((other for other in others if other in container.sizes), None)
            return None if other is None else container.read(other)

        yield Photo(name, inside, file=path / name if path.is_dir() else None)


def photos_of(paths: Sequence[Path], left_aside: LeftAside) -> list[Photo]:
    """The photos of all paths, whose names make distinct names of crops.

    A photo is named by its path in what holds it. Where two of them would be one, all are named
    from the folder that holds all `paths`.

    Raises:
        DataError: two photos would be one crop all the same.
    """
    found = [(path, photo) for path in paths for photo in photos(path, left_aside)]
    named = [photo for _, photo in found]
    if _same(named):
        absolute = [Path(os.path.abspath(path)) for path in paths]
        top = os.path.commonpath([path.parent for path in absolute])
        named = [
            replace(photo, name=_from_top(Path(os.path.abspath(path)), photo.name, top))
            for path, photo in found
        ]
    if (same := _same(named)) is not None:
        one, other = same
        raise DataError(
            f"{one} and {other} would be one crop, {crop_name(one)}: name each photo once, and "
            "give photos of one name other names"
        )
    return named


def crop_name(name: str) -> str:
    """The name of a photo's crop: its own, as PNG; its folders too, unless they lead elsewhere."""
    path = PurePosixPath(name).with_suffix(".png")
    return path.name if path.is_absolute() or ".." in path.parts else str(path)


def landmarks_of(photos: Sequence[Photo], table: Mapping[str, Points]) -> dict[str, Points]:
    """The landmarks of photos by their names, from a table that may name them otherwise.

    Raises:
        DataError: it names none of them, or means several by one name.
    """
    paths = {str(photo.file or photo.name): photo.name for photo in photos}
    names = Names(paths, ".")
    found = {paths[path]: points for name, points in table.items() if (path := names.find(name))}
    if not found:
        raise DataError(
            f"the table of landmarks names none of the {len(photos):,} photos, such as "
            f"{photos[0].name}: it names {next(iter(table))} and others"
        )
    return found


def _same(photos: Sequence[Photo]) -> tuple[str, str] | None:
    """Two photos of one crop, if there are such."""
    met: dict[str, str] = {}
    for photo in photos:
        crop = crop_name(photo.name)
        if crop in met:
            return met[crop], photo.name
        met[crop] = photo.name
    return None


def _from_top(path: Path, name: str, top: str) -> str:
    """A photo's name from the folder `top`; `path` is the photo, or holds it as `name`."""
    whole = path if path.is_file() and path.name == name else path / name
    return whole.relative_to(top).as_posix()


def aligned(
    photo: Photo, side: int, table: Mapping[str, Points], detect: Detector | None
) -> Aligned:
    """The crop of a photo's face: landmarks by the table, else from beside it, else detected.

    Raises:
        DataError: it cannot be read, has no landmarks, or no face was found.
    """
    image, changes = decode(photo.read("") or b"", 3)
    faces = 1
    points = _known(photo, table)
    if points is None and detect is not None:
        found = detect(np.ascontiguousarray(image))
        if not found:
            raise DataError("no face was found in it")
        points, faces = found[0], len(found)
    if points is None:
        raise DataError(
            f"it has no landmarks: put a {', '.join(SUFFIXES)} of its name beside it, give "
            f"--landmarks or --detector, or have its face found ({EXTRA})"
        )
    side_px = square_of(points).side
    return Aligned(align(image, points, side), faces, side_px, losses(changes))


def _known(photo: Photo, table: Mapping[str, Points]) -> Points | None:
    """The landmarks of a photo; a JSON object beside it, as img2dataset leaves, holds none."""
    if photo.name in table:
        return table[photo.name]
    for suffix in () if table else SUFFIXES:
        data = photo.read(suffix)
        if data is not None and not (suffix == ".json" and data.lstrip()[:1] == b"{"):
            return read_points(f"{PurePosixPath(photo.name).stem}{suffix}", data)
    return None
