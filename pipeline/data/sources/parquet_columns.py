"""The columns of a Parquet file: which one holds images, and which files are of one set."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from pipeline.data.sources.left_aside import suffix_of
from pipeline.data.sources.pictures import SUFFIXES
from stylealae.errors import DataError

__all__ = ["ONLY_A_PATH", "beyond", "holds_bytes", "image_column", "require_columns"]

ONLY_A_PATH = "has 0 bytes of an image and only its path, {}: export it with embedded images"


def holds_bytes(types: Any, kind: Any) -> bool:
    """Whether values of a type may be images: bytes, or what has a part named `bytes`."""
    return _is_binary(types, kind) or (types.is_struct(kind) and "bytes" in _parts(kind))


def require_columns(path: PurePath, file: Any, names: Sequence[str]) -> None:
    """Refuses a file that is not of the same data set as the first."""
    if missing := sorted(set(names).difference(file.schema_arrow.names)):
        raise DataError(
            f"{path} has no column {', '.join(missing)}, and the files before it have: they are "
            "not of one data set; give its files alone"
        )


def image_column(input: str, file: Any, types: Any) -> str:
    """The first column whose values have a part named `bytes`, else the first of bytes."""
    schema = file.schema_arrow
    structs = [f.name for f in schema if types.is_struct(f.type) and "bytes" in _parts(f.type)]
    binaries = [f.name for f in schema if _is_binary(types, f.type)]
    for name in (*structs, *binaries):
        if file.num_row_groups == 0:
            return str(name)
        known = [value for value in _first_values(file, name) if value is not None]
        paths = [value.get("path") for value in known if name in structs]
        if paths and all(paths) and all(value["bytes"] is None for value in known):
            raise DataError(f"{input}: {name} {ONLY_A_PATH.format(paths[0])}")
        return str(name)
    for field in schema:
        first = next((v for v in _first_values(file, field.name) if isinstance(v, str)), "")
        if suffix_of(first) in SUFFIXES:
            raise DataError(f"{input}: {field.name} {ONLY_A_PATH.format(first)}")
    raise DataError(
        f"{input} has the columns {', '.join(schema.names)}, and none of them holds images as "
        "{bytes, path}: export the dataset with embedded images, or, if images lie beside it, give "
        "--source folder"
    )


def beyond(column: Any, names: list[str] | None) -> bool:
    """Whether a column of numbers of classes has some without a name; -1 is unlabelled."""
    if names is None:
        return False
    return any(isinstance(v, int) and v >= len(names) for v in column.unique().to_pylist())


def _first_values(file: Any, column: str) -> list[Any]:
    """The first values of a column, of the first group of rows alone: all are read ahead."""
    groups = range(min(1, file.num_row_groups))
    batch = next(file.iter_batches(batch_size=8, columns=[column], row_groups=groups), None)
    return [] if batch is None else list(batch.column(0).to_pylist())


def _parts(kind: Any) -> set[str]:
    return {part.name for part in kind}


def _is_binary(types: Any, kind: Any) -> bool:
    checks = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    views = getattr(types, "is_binary_view", None)  # younger than the oldest pyarrow
    return any(check(kind) for check in checks) or (views is not None and views(kind))
