"""Files of an input that may hold labels and are not read: each is told, by what it may be."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from pipeline.data.sources.container import Container
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.names import Names
from pipeline.data.sources.pictures import called_as_picture
from pipeline.data.sources.sidecars import ENDINGS
from pipeline.data.sources.tables import is_table, may_be_table
from stylealae.errors import DataError

__all__ = ["beside_images", "maybe_tables", "told_beside"]

BESIDE = frozenset(
    (
        *(*(f".{ending}" for ending in ENDINGS), ".caption", ".id", ".label", ".labels"),
        *(".tags", ".xml", ".yaml", ".yml"),
    )
)
"""Endings of files that say something of the image whose name they bear."""
LISTS = (".dat", ".json", ".list", ".lst", ".txt")
"""Endings of what may be a list of images, which its first bytes tell."""
LOOKED_AT, BYTES = 16, 4096
SHEETS = (".numbers", ".ods", ".xls", ".xlsm", ".xlsx")
_PACKED = re.compile(r"\.(csv|tsv|jsonl|ndjson)\.\w+$")
_BETWEEN = re.compile(r"[\s,;|\"'{}\[\]()]+")


def beside_images(names: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """The files that bear an image's name, and what stands behind it: .txt or .json of a.jpg.json.

    Only those with endings by which they say something of the image.
    """
    likely = [name for name in names if suffix_of(name) in BESIDE and not is_table(name)]
    if not likely:
        return {}
    images = {form for key in keys for form in (key, _cut(key))}
    found = ((name, next((b for b in _bases(name) if b in images), "")) for name in sorted(likely))
    return {name: name.removeprefix(base) for name, base in found if base}


def told_beside(input: str, beside: Mapping[str, str]) -> str:
    """A sentence on what `beside_images` found."""
    kinds = Counter(beside.values()).most_common()
    read = [f".{ending}" for ending in ENDINGS]
    files = ", ".join(f"{count:,} {kind} files" for kind, count in kinds)
    return (
        f"{input}: {files} bear the names of images and are not used: {', '.join(read[:-1])} and "
        f"{read[-1]} beside the images of a tar are labels; else write a table"
    )


def maybe_tables(files: Container, others: Collection[str], names: Names) -> list[str]:
    """The files of `others` that may be tables: by their names, or because they name images."""
    named = {name for name in others if is_table(name) or may_be_table(name) or _is_sheet(name)}
    rest = (name for name in others if name not in named and suffix_of(name) in LISTS)
    rest = (name for name in rest if not hidden(name))
    likely = sorted(rest, key=lambda name: (name.count("/"), name))[:LOOKED_AT]
    return sorted({*named, *(name for name in likely if _names_images(files, name, names))})


def _is_sheet(name: str) -> bool:
    return suffix_of(name) in SHEETS or _PACKED.search(name.lower()) is not None


def _names_images(files: Container, name: str, names: Names) -> bool:
    start = b""
    with suppress(DataError), files.opened(name) as stream:
        start = stream.read(BYTES)
    words = _BETWEEN.split(start.decode("utf-8", "replace"))
    return any(called_as_picture(word) and _is_image(word, names) for word in words)


def _is_image(word: str, names: Names) -> bool:
    try:
        return names.find(word) is not None
    except DataError:  # of several
        return True


def _cut(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _bases(name: str) -> Sequence[str]:
    """The name without its endings, one after the other."""
    found = [_cut(name)]
    while (shorter := _cut(found[-1])) != found[-1]:
        found.append(shorter)
    return found
