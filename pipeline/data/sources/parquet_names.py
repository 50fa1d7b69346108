"""What the names of Parquet files say: the split that one is of, and the config.

data/train-00000-of-00002.parquet       as `Dataset.push_to_hub` writes a set
config/test-00000-of-00001.parquet      or one of its configs, each a data set of its own
config/partial-train/0000.parquet       the hub's converted branch: as much of it as there is
"""

import re
from collections.abc import Iterable
from pathlib import PurePath

__all__ = ["PLACES", "configs_of", "is_partial", "is_test"]

PLACES = ("", "data/", *(f"{top}{split}/" for top in ("", "*/")
          for split in ("train", "test", "validation", "partial-*")))  # fmt: skip
"""Where in its folder a set lies, as patterns."""

_TRAIN = "train|training"
_TEST = "test|testing|val|valid|validation|dev|eval"
_FILE = r"(?:(?:{0})(?:[-_]?\d+(?:-of-\d+(?:[-_][0-9a-f]+)?)?)?|.+[-_](?:{0})-\d+-of-\d+)"
_FILES = {False: re.compile(_FILE.format(_TRAIN)), True: re.compile(_FILE.format(_TEST))}
_PARTIAL = "partial-"
_NUMBERED = re.compile(r"\d{4}\.parquet")


def is_test(name: PurePath) -> bool:
    """Whether a file is of a split for tests, by its name in the set, or else by its folders'.

    A name that only begins so, as test-drives.parquet, says nothing.
    """
    said = [_is_test(word) for word in (_stem(name), *reversed(name.parts[:-1]))]
    return next((test for test in said if test is not None), False)


def is_partial(name: PurePath) -> bool:
    """Whether a file is of a split that the hub has converted the beginning of, not all."""
    return any(part.startswith(_PARTIAL) and _is_test(part) is not None for part in name.parts)


def configs_of(names: Iterable[PurePath]) -> list[str]:
    """The folders that hold splits: configs, where there are several; "." is the set's own.

    Folders of files that say no split are parts of one set.
    """
    found = {config for name in names if (config := _config_of(name)) is not None}
    return sorted("/".join(config) or "." for config in found)


def _config_of(name: PurePath) -> tuple[str, ...] | None:
    folders = name.parts[:-1]
    for depth in range(len(folders), 0, -1):
        if _is_test(folders[depth - 1]) is not None:
            return folders[: depth - 1]
    if _is_test(_stem(name)) is not None:
        return folders
    if len(folders) > 1 and _NUMBERED.fullmatch(name.name):  # of a split with a name of its own
        return folders[:-1]
    return None


def _is_test(word: str) -> bool | None:
    """Whether a word is a split for tests; None if it is none."""
    word = word.removeprefix(_PARTIAL)
    return next((test for test, words in _FILES.items() if words.fullmatch(word)), None)


def _stem(name: PurePath) -> str:
    return name.name.partition(".")[0]
