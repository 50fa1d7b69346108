"""Folders that images lie in: classes, where people sort images so (as torchvision's ImageFolder).

They become a label when that is asked for, and are told where nothing else is known: folders may as
well be dates, or parts of one set.
"""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from pipeline.data.sources.labels import Labels
from stylealae.errors import DataError

__all__ = ["CLASS", "classes_told", "labels_by_folder", "split_folders"]

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
    found = sorted(set(_folders(keys).values()))
    numbered = all(name.isdecimal() for name in found)
    parted = sum(name.lower() in SPLITS for name in found) > 1
    if not 2 <= len(found) <= FEW or numbered or parted:
        return None
    some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return (
        f"{where}: images lie in {len(found)} folders ({some}), which are no labels: "
        f"--folder-labels makes them the label {CLASS!r}"
    )


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
