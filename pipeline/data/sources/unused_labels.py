"""Files of an input that may hold labels and are not read: each is told, by what it may be."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pipeline.data.sources.container import Container
from pipeline.data.sources.containers import FolderOfFiles
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.names import Names
from pipeline.data.sources.pictures import called_as_picture
from pipeline.data.sources.sidecars import ENDINGS
from pipeline.data.sources.source import Source
from pipeline.data.sources.tables import is_table, may_be_table
from stylealae.errors import DataError

__all__ = ["beside_images", "leave_rest", "maybe_tables", "named", "tables_nearby"]
__all__ += ["told_beside"]

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

    They may lie in another folder, as labels/a.txt of images/a.jpg does. Only those with endings
    by which they say something of an image.
    """
    likely = [name for name in names if suffix_of(name) in BESIDE and not is_table(name)]
    if not likely:
        return {}
    images = {form for key in keys for form in (_last(key), _cut(_last(key)))}
    found = ((name, next((b for b in _bases(_last(name)) if b in images), "")) for name in likely)
    return {name: _last(name).removeprefix(base) for name, base in sorted(found) if base}


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
    called = set(filter(_is_called_as_table, others))
    rest = (name for name in others if name not in called and suffix_of(name) in LISTS)
    rest = (name for name in rest if not hidden(name))
    likely = sorted(rest, key=lambda name: (name.count("/"), name))[:LOOKED_AT]
    return sorted({*called, *(name for name in likely if _names_images(files, name, names))})


def leave_rest(source: Source, folder: Path, used: Iterable[Path]) -> None:
    """Note all files of a folder but those that are used; nothing of what is no folder."""
    if not folder.is_dir():
        return
    files = FolderOfFiles(str(folder)).sizes
    rest = files.keys() - {path.relative_to(folder).as_posix() for path in used}
    tables = sorted(name for name in rest if not hidden(name) and _is_called_as_table(name))
    source.left_aside.add("tables not used", tables)
    source.left_aside.add_by_suffix(rest.difference(tables))
    if tables:
        source.notes.append(
            f"{folder}: {named(tables)} may hold labels and is not used: the images bring their own"
        )


def tables_nearby(input: Path) -> list[Path]:
    """What lies beside an input and may hold its labels: called as it is, or as tables are."""
    found, beside = [], []
    with suppress(OSError):  # a folder may be entered and not listed
        beside = sorted(input.parent.iterdir())
    for path in beside:
        own = path.stem == input.stem and (is_table(path.name) or _is_sheet(path.name))
        called = is_table(path.name) and may_be_table(f"{path.stem}.txt")
        if path != input and (own or called or (may_be_table(path.name) and path.suffix)):
            found.append(path)
    return [path for path in found if path.is_file()]


def named(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


def _is_called_as_table(name: str) -> bool:
    return is_table(name) or may_be_table(name) or _is_sheet(name)


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


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _cut(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _bases(name: str) -> Sequence[str]:
    """The name without its endings, one after the other."""
    found = [_cut(name)]
    while (shorter := _cut(found[-1])) != found[-1]:
        found.append(shorter)
    return found
