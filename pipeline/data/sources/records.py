"""TFRecord files without TensorFlow: the records, and the Example in each.

A record is its length (uint64), the masked CRC-32C of that, the data, and the masked CRC-32C of it,
all little-endian. The data is a `tf.train.Example`, of which `features` reads bytes and integers.
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from pipeline.data.signatures import stand_in
from pipeline.data.sources.source import needed
from stylealae.errors import DataError

__all__ = ["RecordFile", "RecordFiles", "features"]

_HEAD, _CRC = struct.Struct("<QI"), struct.Struct("<I")


class RecordFiles:
    """The records of several files, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open all files."""
        self.files = [RecordFile(path) for path in paths]
        self.name = f"{paths[0].name}{' and its parts' if len(paths) > 1 else ''}"
        self._ends = list(accumulate(map(len, self.files)))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, i: int) -> bytes:
        """The data of record i of all; DataError if it is not what was written."""
        file, k = self._place(i)
        return file.read(k)

    def checksum(self, i: int) -> bytes:
        """The checksum of record i of all, as it is recorded."""
        file, k = self._place(i)
        return file.checksum(k)

    def _place(self, i: int) -> tuple["RecordFile", int]:
        number = bisect_right(self._ends, i)
        file = self.files[number]
        return file, i - self._ends[number] + len(file)


class RecordFile:
    """The records of one file.

    All images of a file have one shape, and so their records one length: these need no index. If
    a label makes them differ, the file is gone through once, from head to head.
    """

    def __init__(self, path: Path) -> None:
        """Tell where the records are; each is checked when it is read."""
        self.path = path
        self._crc32c = needed("google_crc32c", "TFRecords").value
        self._file = open(path, "rb")  # noqa: SIM115 - open as long as the source is
        head = os.pread(self._file.fileno(), _HEAD.size, 0)
        if len(head) < _HEAD.size or self._masked(head[:8]) != _HEAD.unpack(head)[1]:
            said = stand_in(os.pread(self._file.fileno(), 4096, 0))
            raise DataError(
                f"{path} begins with no record: {said or 'it is compressed, or no TFRecord file'}"
            )
        stride = _HEAD.size + int(_HEAD.unpack(head)[0]) + _CRC.size
        size = path.stat().st_size
        count, rest = divmod(size, stride)
        self._at: Sequence[int] = range(0, size + 1, stride) if not rest else self._scanned(size)
        if not self._at:
            raise DataError(
                f"{path} ends {rest:,} bytes after {count:,} records of {stride:,}: "
                "it is cut short, or damaged; fetch it again"
            )

    def _scanned(self, size: int) -> Sequence[int]:
        """Where each record begins, and where the last one ends; empty if they do not fit."""
        at = [0]
        while at[-1] < size:
            head = os.pread(self._file.fileno(), _HEAD.size, at[-1])
            if len(head) < _HEAD.size or self._masked(head[:8]) != _HEAD.unpack(head)[1]:
                return ()
            at.append(at[-1] + _HEAD.size + int(_HEAD.unpack(head)[0]) + _CRC.size)
        return at if at[-1] == size else ()

    def __len__(self) -> int:
        return len(self._at) - 1

    def read(self, i: int) -> bytes:
        """The data of record i; DataError if it is not what was written."""
        whole = self._at[i + 1] - self._at[i]
        record = os.pread(self._file.fileno(), whole, self._at[i])
        if len(record) == whole:
            length, head_crc = _HEAD.unpack_from(record)
            (crc,) = _CRC.unpack_from(record, whole - _CRC.size)
            data = record[_HEAD.size : -_CRC.size]
            if (length, head_crc) == (len(data), self._masked(record[:8])):
                if self._masked(data) == crc:
                    return data
                raise DataError("its data does not have the recorded CRC: the file is damaged")
        raise DataError("there is no record where it should begin: the file is damaged")

    def checksum(self, i: int) -> bytes:
        """The checksum of record i, as it is recorded."""
        return os.pread(self._file.fileno(), _CRC.size, self._at[i + 1] - _CRC.size)

    def _masked(self, data: bytes) -> int:
        crc = int(self._crc32c(data))
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def features(example: bytes) -> dict[str, bytes | list[int]]:
    """The features of a `tf.train.Example` that hold bytes, the first, or integers, all."""
    found: dict[str, bytes | list[int]] = {}
    try:
        for _, group in _fields(memoryview(example)):
            for _, entry in _fields(_message(group)):
                name, feature = (value for _, value in sorted(_fields(_message(entry))))
                for kind, values in _fields(_message(feature)):
                    key = bytes(_message(name)).decode()
                    inside = _fields(_message(values))
                    if kind == 1:  # BytesList
                        found[key] = bytes(_message(next(inside)[1]))
                    elif kind == 3:  # Int64List, packed or one by one
                        found[key] = [
                            n - (1 << 64) * (n >> 63)
                            for _, value in inside
                            for n in _integers(value)
                        ]
    except (IndexError, ValueError, StopIteration, TypeError) as error:
        raise DataError(f"it holds no tf.train.Example ({error!r})") from error
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field of a protobuf message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)  # of a message, text or bytes, this is the length
        if tag & 7 == 0:
            yield tag >> 3, value
        elif tag & 7 == 2 and at + value <= len(message):
            yield tag >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError(f"a field of wire type {tag & 7} and length {value}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The integer at `at`, and where the next byte is."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number instead of a message")
    return value


def _integers(value: memoryview | int) -> Iterator[int]:
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number
