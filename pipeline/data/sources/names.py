"""Which image a table means: people write names in other folders, alphabets and systems."""

import posixpath
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import PurePosixPath

from stylealae.errors import DataError

__all__ = ["Names"]

PathParts = tuple[str, ...]
FEW = 8
"""Images of one name, up to which their paths are compared one by one."""


class Names:
    """The images of an input, by the names that a table may give them.

    A name is a path from the table's folder or from the input, or the end of one; of an absolute
    path, or one that begins above the input, the end must be an image's whole path and the part
    before it end with the input's own name. Backslashes are slashes; composed and decomposed
    letters, and capitals, are equal where no other image differs in them.
    """

    def __init__(self, keys: Iterable[str], input: str) -> None:
        """Remember the paths of the images of `input`."""
        self._keys = frozenset(keys)
        path = PurePosixPath(input)
        self._tops = {_folded(path.name), _folded(path.stem)}
        self._by_last: defaultdict[str, list[tuple[PathParts, str]]] = defaultdict(list)
        for key in sorted(self._keys):
            parts = _parts(key)
            self._by_last[parts[-1]].append((parts, key))
        self._alike: dict[tuple[str, bool], _Alike] = {}

    @cached_property
    def _by_stem(self) -> Mapping[str, Sequence[tuple[PathParts, str]]]:
        found: defaultdict[str, list[tuple[PathParts, str]]] = defaultdict(list)
        for last, images in self._by_last.items():
            found[_stem(last)].extend(images)
        return found

    def find(self, name: str, base: str = "") -> str | None:
        """The image that `name` means in a table of the folder `base`; None for none.

        Raises:
            DataError: it means several.
        """
        below = f"{base}/{name}" if base else name
        for whole in (posixpath.normpath(below) if ".." in name else below, name):
            if whole in self._keys:
                return whole
        parts = _parts(name)
        return self._only(name, base, parts, self._by_last.get(parts[-1], ())) if parts else None

    def find_by_stem(self, name: str, base: str = "") -> str | None:
        """The image that `name` means without its ending, or with another one; None for none.

        Raises:
            DataError: it means several.
        """
        if not (parts := _parts(name)):
            return None
        for stem in (parts[-1], _stem(parts[-1])):
            if found := self._by_stem.get(stem):
                return self._only(name, base, (*parts[:-1], stem), found, stems=True)
        return None

    def _only(
        self,
        name: str,
        base: str,
        parts: PathParts,
        images: Sequence[tuple[PathParts, str]],
        stems: bool = False,
    ) -> str | None:
        """The one of `images` that has the same path as `parts`, as far as both reach."""
        alike = self._alike.get((parts[-1], stems)) or _Alike(images)
        if len(images) > FEW:
            self._alike[parts[-1], stems] = alike
        found = alike.find(parts[:-1], self._tops)
        if len(found) > 1:  # the one below the table, or the one written just so
            inside = _below(base, found) if base else []
            same = [key for key in inside or found if PurePosixPath(key).name == _last(name)]
            found = same if len(same) == 1 else inside or found
        if len(found) > 1:
            raise DataError(
                f"{name} is the name of {len(found)} images, such as {found[0]} and {found[1]}: "
                "write their paths"
            )
        return found[0] if found else None


class _Alike:
    """Images that are called alike, by the folders that they lie in and by all ends of these."""

    def __init__(self, images: Iterable[tuple[PathParts, str]]) -> None:
        self._whole: defaultdict[PathParts, list[str]] = defaultdict(list)
        self._ends: defaultdict[PathParts, list[str]] = defaultdict(list)
        for (*path, _), key in sorted(images, key=itemgetter(1)):
            folders = tuple(path)
            self._whole[folders].append(key)
            for begin in range(len(folders) + 1):
                self._ends[folders[begin:]].append(key)

    def find(self, folders: PathParts, tops: Container[str]) -> Sequence[str]:
        """Those, sorted, whose folders are the same as far as both reach.

        What lies above all of an image's must be one of `tops`.
        """
        found = self._ends.get(folders, [])
        for begin in range(1, len(folders) + 1):
            if folders[begin - 1] in tops and (more := self._whole.get(folders[begin:])):
                found = sorted([*found, *more])
        return found


def _below(folder: str, names: Sequence[str]) -> Sequence[str]:
    """Of sorted names those below a folder."""
    return names[bisect_left(names, f"{folder}/") : bisect_left(names, f"{folder}0")]


def _folded(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes of another alphabet
        text = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _parts(name: str) -> PathParts:
    """The folders and the name, folded: `./Photos/A.JPG` -> photos, a.jpg."""
    plain = _folded(name.strip().replace("\\", "/"))
    return tuple(part for part in plain.split("/") if part not in ("", "."))


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _stem(last: str) -> str:
    """The name without what may be an ending, as .0 of 1.0; of 1.5 and `0.png 30` that is none."""
    path = PurePosixPath(last)
    ending = path.suffix[1:]
    return path.stem if ending.isalnum() and (ending == "0" or not ending.isdecimal()) else last
