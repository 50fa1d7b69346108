"""What holds files, as all kinds of it are read."""

import io
import lzma
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import BinaryIO, Self

from pipeline.data.sources.left_aside import LeftAside
from pipeline.data.sources.reach import is_out_of_reach, unreachable
from stylealae.errors import DataError

__all__ = ["Container"]

MAX_BYTES = 300 << 20
"""A larger file is no picture, and in a zip it may be a few kilobytes that unpack to it."""


class Container(ABC):
    """Files by name, in any order."""

    sizes: Mapping[str, int]
    """Length of every file."""

    def __init__(self) -> None:
        """Begin with nothing left aside."""
        self.left_aside = LeftAside()  # what is there and cannot be read

    def part(self, names: Collection[str]) -> Self:
        """Some of the files, to be pickled: where it is read, nothing is listed again."""
        part = copy(self)
        part.left_aside = LeftAside()
        part.sizes = {name: self.sizes[name] for name in names}
        return part

    def read(self, name: str) -> bytes:
        """The file's content; DataError says why it is bad, UnreachableError that it is gone."""
        if self.sizes[name] > MAX_BYTES:
            raise DataError(f"it has {self.sizes[name]:,} bytes, more than {MAX_BYTES:,}")
        with _explained(name):
            return self._bytes(name)

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """The file's content as a stream, however long it is; errors as of `read`."""
        with _explained(name, f"{name}: "), self._stream(name) as stream:
            yield stream

    def _stream(self, name: str) -> BinaryIO:
        return io.BytesIO(self.read(name))

    @abstractmethod
    def _bytes(self, name: str) -> bytes:
        """The file's content."""

    @abstractmethod
    def digest(self, name: str) -> bytes:
        """Equal for equal contents, and quickly had; of a file that cannot be read, a constant."""


@contextmanager
def _explained(name: str, before: str = "") -> Iterator[None]:
    """Says of what goes wrong in reading a file that it cannot be read, after `before`."""
    try:
        yield
    except NotImplementedError as error:
        raise DataError(f"{before}it cannot be read ({error}): pack the zip anew") from error
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and is_out_of_reach(error):
            raise unreachable(name, error) from error
        raise DataError(f"{before}it cannot be read ({error})") from error
    except (zlib.error, lzma.LZMAError, struct.error) as error:
        raise DataError(f"{before}it cannot be unpacked ({error})") from error
