"""What can be done where files lie, be it a folder or an object store."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from pipeline.storage.publish import FORMAT, MANIFEST, Gate, nothing

__all__ = ["Sleep", "Storage"]

Sleep = Callable[[float], None]
"""Waits so many seconds before a call is retried; it may raise, and the call is given up."""


class Storage(ABC):
    """The files at one location; names are relative to it, with slashes."""

    remote: bool
    """Whether other hosts see what this one has written only through an upload."""

    def __init__(self, where: str, working: Path) -> None:
        """Remembers the location; nothing is read yet."""
        self.where = where
        self.working = working
        """A folder on this host: the location itself, or where its files pass through."""

    def at(self, name: str) -> str:
        """The path or URL of a file, for messages."""
        return f"{self.where}/{name}"

    def with_sleep(self, sleep: Sleep) -> Self:
        """The same files for one caller, with a sleep of its own between retries."""
        return self  # a folder is not retried

    @abstractmethod
    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder, files and folders, sorted; none if it is not there."""

    @abstractmethod
    def sizes(self, below: str = "") -> Mapping[str, int]:
        """Name and length of every file in a folder and below it."""

    @abstractmethod
    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or `start` to `stop` of it; FileNotFoundError if there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """A small file, in place of the one of this name: a reader finds one or the other."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there; False if it was, also when others try at the same time."""

    @abstractmethod
    def put(self, file: Path, name: str, sha256: str) -> None:
        """A file of this host, in place of the one of this name; the original may be gone then.

        What was uploaded is read back, and sent again if it does not have the hash.
        """

    @abstractmethod
    def send(self, file: Path, name: str) -> None:
        """What a file of this host holds now, streamed, in place of the one of this name.

        It may grow meanwhile; nothing is read back.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds, if it is there."""

    @abstractmethod
    def publish(
        self, name: str, *, mark: str = "", gate: Gate = nothing
    ) -> AbstractContextManager[Path]:
        """A scratch folder that becomes `name`, with a manifest, only if the block succeeds.

        Args:
            name: the folder's name.
            mark: who writes, in the scratch folder's name; else this host and process.
            gate: called when all but the last move is done; if it raises, that is not made.
        """

    @abstractmethod
    def scraps(self, below: str) -> list[Path]:
        """Scratch folders on this host of what was being published below a folder."""

    @abstractmethod
    def verified(self, name: str, *, replacing: str = "") -> Path:
        """A folder on this host that holds the files of `name`, each with the manifest's hash.

        Args:
            name: the folder.
            replacing: pattern of names beside it, whose copies on this host are dropped.

        Raises:
            OSError: a file is not there or cannot be read.
            ValueError: a file has another hash, or the manifest is none.
        """

    def is_whole(self, name: str) -> bool:
        """Whether a folder was published, whatever became of its files since."""
        return MANIFEST in self.names(name)

    def hashes(self, name: str) -> Mapping[str, str]:
        """What the manifest of a published folder says; ValueError if it is torn."""
        try:
            manifest = json.loads(self.read(f"{name}/{MANIFEST}"))
            if manifest["format"] == FORMAT:
                hashes: Mapping[str, str] = manifest["sha256"]
                return hashes
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{MANIFEST} is torn ({type(error).__name__}: {error})") from error
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
