"""Folders that images lie in: classes, where people sort images so (as torchvision's ImageFolder).

They become a label when that is asked for, and are told where nothing else is known: folders may as
well be dates, or parts of one set.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from pipeline.data.sources.labels import Labels
from stylealae.errors import DataError

__all__ = ["CLASS", "classes_told", "labels_by_folder", "split_folders", "tests_told"]

CLASS = "folder"
"""The label."""
FEW = 100
"""Folders, up to which they may be classes."""
SPLITS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation"))


def split_folders(keys: Sequence[str]) -> list[str]:
    """The folders, two or more, that are called as the splits of a data set are."""
    parts = {part for key in keys for part in PurePosixPath(key).parts[:-1]}
    found = sorted(part for part in parts if part.lower() in SPLITS)
    return found if len(found) > 1 else []


def labels_by_folder(where: str, keys: Sequence[str]) -> Labels:
    """The folder that parts images, as the label `folder`; images beside these folders have none.

    Raises:
        DataError: all images lie in one folder.
    """
    folders = _folders(keys)
    if len(set(folders.values())) < 2:
        raise DataError(
            f"{where} has its images in one folder, which tells nothing about them: sort them into "
            "two folders and more, or leave --folder-labels out"
        )
    return Labels((CLASS,), {key: (folder,) for key, folder in folders.items()})


def classes_told(where: str, keys: Sequence[str]) -> str | None:
    """A sentence where images lie in a few folders with names; None elsewhere."""
    found = _classes(_folders(keys))
    if not found:
        return None
    return (
        f"{where}: images lie in {len(found)} folders ({_some(found)}), which are no labels: "
        f"--folder-labels makes them the label {CLASS!r}"
    )


def tests_told(where: str, keys: Sequence[str], tests: range) -> str | None:
    """A sentence where the images for tests, the last by name, are of some classes alone."""
    folders = _folders(keys)
    found = _classes(folders)
    shown = {folder for i in tests if (folder := folders.get(keys[i])) is not None}
    if not tests or not found or len(shown) == len(found):
        return None
    return (
        f"{where}: the {len(tests):,} images for tests are the last by name, and of "
        f"{_some(sorted(shown))} alone: what is measured on them says nothing of "
        f"{_some([name for name in found if name not in shown])}. Keep images of every folder "
        "apart, prepare the others with --test-fraction 0, and measure on those"
    )


def _classes(folders: Mapping[str, str]) -> list[str]:
    """The folders that may be classes: few, with names, and not those of splits."""
    found = sorted(set(folders.values()))
    numbered = all(name.isdecimal() for name in found)
    parted = sum(name.lower() in SPLITS for name in found) > 1
    return found if 2 <= len(found) <= FEW and not numbered and not parted else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _folders(keys: Sequence[str]) -> dict[str, str]:
    """Of each image that lies below the folder of all, the next one on its way.

    Where these are the splits of a set, it is the one after: of train/cat/0.jpg the cat.
    """
    parents = [PurePosixPath(key).parent.parts for key in keys]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*parents, strict=False))
    above = sum(1 for _ in shared)
    next_ones = {parts[above].lower() for parts in parents if parts[above:]}
    above += bool(next_ones) and next_ones <= SPLITS
    return {key: parts[above] for key, parts in zip(keys, parents, strict=True) if parts[above:]}
