"""A dataset in the making: the door its files enter by, its lock, its recipe and its notes.

`.prepare/` holds the recipe (the input's fingerprint and the options) and a note for each finished
shard; both stay, so that the same command goes on, and another one is refused.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from stylealae.errors import DataError

__all__ = ["NOTES", "claimed", "publish", "publish_json", "read_json", "scratch_of", "size_of"]

NOTES = ".prepare"


def scratch_of(final: Path) -> Path:
    """A new name beside `final` to write under: no other process, here or elsewhere, has it."""
    return final.with_name(f".{final.name}.{uuid4().hex[:12]}.partial")


def publish(finished: Path, final: Path) -> None:
    """Put a finished file in its place, whole or not at all: every file enters a dataset here."""
    os.replace(finished, final)


def size_of(final: Path) -> int:
    """Length of a file in its place; OSError if it is not there."""
    return final.stat().st_size


def read_json(final: Path) -> Any:
    """The value in a file in its place; OSError or ValueError if there is none."""
    return json.loads(final.read_text())


def publish_json(value: object, final: Path) -> None:
    """Write `value` in its place, unless it is there already."""
    text = f"{json.dumps(value, indent=1)}\n"
    if final.is_file() and final.read_text() == text:
        return
    scratch = scratch_of(final)
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    publish(scratch, final)


@contextmanager
def claimed(out: Path, recipe: Mapping[str, str]) -> Iterator[None]:
    """Hold `out` for this process alone and for this recipe alone; scraps are swept out."""
    notes = out / NOTES
    if out.is_dir() and any(out.iterdir()) and not notes.is_dir():
        raise DataError(
            f"{out} is not empty and holds no unfinished dataset: choose an empty folder"
        )
    notes.mkdir(parents=True, exist_ok=True)
    with (notes / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another process is preparing {out}: let it finish first") from None
        _compare(out, notes / "recipe.json", recipe)
        for scrap in out.rglob(".*.partial"):
            scrap.unlink(missing_ok=True)
        yield


def _compare(out: Path, known: Path, recipe: Mapping[str, str]) -> None:
    """Refuse another recipe than the one `out` was begun with."""
    before = read_json(known) if known.exists() else recipe
    changed = [
        f"{name} was {before.get(name, 'unset')!r} and is now {value!r}"
        for name, value in recipe.items()
        if before.get(name) != value
    ]
    if changed:
        raise DataError(
            f"{out} holds a dataset from another input or other options "
            f"({'; '.join(changed)}): choose another folder, or remove this one"
        )
    publish_json(dict(before), known)
