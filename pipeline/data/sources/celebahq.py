"""CelebA-HQ as people have it: numbered images, with CelebA's 40 attributes where they are there.

    CelebA-HQ-img/0.jpg ... CelebA-HQ-img/29999.jpg      CelebAMask-HQ: images,
    CelebAMask-HQ-attribute-anno.txt                     and their attributes by file name

    00000.png ...                                        any folder of CelebA-HQ:
    image_list.txt                                       its numbers -> files of CelebA
    list_attr_celeba.txt                                 attributes by file of CelebA

    Img/img_align_celeba/000001.jpg ...                  CelebA itself, or its zip,
    Anno/list_attr_celeba.txt                            also without these two folders

The lists lie inside the input, beside it, or beside the file of labels. CelebA itself, whose files
bear the names in list_attr_celeba.txt, reads the same way.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.data.sources.containers import open_container
from pipeline.data.sources.files import Files
from pipeline.data.sources.labels import Labels
from pipeline.data.sources.sheet import Sheet
from pipeline.data.sources.tables import read_sheet
from stylealae.errors import DataError

__all__ = ["CelebaHQ"]

IMAGES = "CelebA-HQ-img"
OWN = "CelebAMask-HQ-attribute-anno.txt"
CELEBA = "list_attr_celeba.txt"
ALIGNED = "img_align_celeba"
LIST = "image_list.txt"  # a name that other lists have, too
NUMBER, FILE = "idx", "orig_file"  # its columns
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"


class CelebaHQ(Files):
    """Images in the order of their numbers, the last 1,000 of 30,000 set aside for tests."""

    name = "celebahq"
    licence = "non-commercial research (CelebA agreement)"
    test_fraction = 1 / 30

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether one of the lists, or CelebAMask-HQ's folder of images, is inside."""
        names = {PurePosixPath(name).name for name in entries}
        inside = any(IMAGES in PurePosixPath(name).parts for name in entries)
        below = any(any(path.glob(f"*/{name}")) for name in (OWN, CELEBA))
        beside = path.stem.startswith(ALIGNED) and _beside(path)
        named = not names.isdisjoint({OWN, CELEBA, MAPPING})
        known = inside or path.name == IMAGES or named or below or beside
        return known or any(map(_maps, _lists_in(path, entries)))

    def chosen(self, images: list[str]) -> list[str]:
        """CelebAMask-HQ's photos without its masks; by number, then by name."""
        photos = [name for name in images if IMAGES in PurePosixPath(name).parts]
        return sorted(photos or images, key=lambda name: (_number(name), name))

    def read_labels(self, others: Sequence[str]) -> Labels:
        """The attributes, found by the image's own name or by its number in CelebA's list."""
        listed = self._list(others, (OWN, CELEBA))
        if self.options.labels is not None:
            listed = self.options.labels, Path(self.options.labels).read_bytes()
        if listed is None:
            self.notes.append(
                f"{self.input}: neither {OWN} nor {CELEBA} inside or beside it: attributes are "
                "not carried"
            )
            return super().read_labels(others)
        sheet = read_sheet(*listed)
        if mapping := self._list(others, (LIST, MAPPING)):
            sheet = self._renamed(sheet, _read_mapping(*mapping))
        names = (self.input, *self._keys)
        aligned = any(f"{ALIGNED}_png" in name for name in names)  # called .jpg in the list
        return self.matched(sheet, stems=aligned)

    def _renamed(self, sheet: Sheet, celeba: Mapping[int, str]) -> Sheet:
        """The list with the images' names in place of CelebA's, if it has CelebA's."""
        mine = {celeba.get(_number(key)): key for key in self._keys}
        rows = [[mine[row[0]], *row[1:]] for row in sheet.rows if row[0] in mine]
        return replace(sheet, rows=rows) if rows else sheet

    def _list(self, inside: Sequence[str], wanted: tuple[str, ...]) -> tuple[str, bytes] | None:
        """The first list of these names inside the input, beside it or beside the labels."""
        beside = _places(Path(self.input))
        if self.options.labels is not None:
            beside.append(Path(self.options.labels).absolute().parent)
        for name in wanted:
            for found in inside:
                if PurePosixPath(found).name == name:
                    self.used.add(found)
                    return f"{self.input}: {found}", self.files.read(found)
            for folder in beside:
                if (folder / name).is_file():
                    return str(folder / name), (folder / name).read_bytes()
        return None


def _places(path: Path) -> list[Path]:
    """Where CelebA's lists lie that are not in an input: beside it, or in Anno beside Img."""
    folder = path.absolute().parent
    return [folder, folder / "Anno", folder.parent / "Anno"]


def _beside(path: Path) -> bool:
    return any((place / CELEBA).is_file() for place in _places(path))


def _lists_in(path: Path, entries: Collection[str]) -> Iterator[bytes]:
    """What the files of a folder or zip hold that are called as CelebA-HQ's list."""
    found = [name for name in entries if PurePosixPath(name).name == LIST]
    if found:
        files = open_container(str(path))
        yield from (files.read(name) for name in found if name in files.sizes)


def _maps(data: bytes) -> bool:
    """Whether a list has the columns of CelebA-HQ's."""
    return {NUMBER, FILE}.issubset(data.partition(b"\n")[0].decode("utf-8", "replace").split())


def _number(name: str) -> int:
    """The number at the end of a file's stem, as in 17.jpg, 00017.png and imgHQ00017.png."""
    digits = re.search(r"\d+$", PurePosixPath(name).stem)
    return int(digits[0]) if digits else -1


def _read_mapping(where: str, data: bytes) -> dict[int, str]:
    """Number in CelebA-HQ -> file in CelebA, by the columns of these."""
    lines = [line.split() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    try:
        number, file = lines[0].index(NUMBER), lines[0].index(FILE)
        return {int(words[number]): words[file] for words in lines[1:]}
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{where} does not list CelebA-HQ ({error}): its first line is to name the columns, "
            f"{NUMBER} and {FILE} among them"
        ) from error
