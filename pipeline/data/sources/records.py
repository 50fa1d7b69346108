"""StyleGAN's TFRecord files without TensorFlow: the records, and the Example in each.

A record is its length (uint64), the masked CRC-32C of that, the data, and the masked CRC-32C of it,
all little-endian. The data is a `tf.train.Example`, of which `features` reads bytes and integers.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.sources.source import needed
from stylealae.errors import DataError

__all__ = ["RecordFile", "features"]

_HEAD, _CRC = struct.Struct("<QI"), struct.Struct("<I")


class RecordFile:
    """Records of one length, since all images of a file have one shape: they need no index."""

    def __init__(self, path: Path) -> None:
        """Tell their length from the first; each is checked when it is read."""
        self.path = path
        self._crc32c = needed("google_crc32c", "TFRecords").value
        self._file = open(path, "rb")  # noqa: SIM115 - open as long as the source is
        head = os.pread(self._file.fileno(), _HEAD.size, 0)
        if len(head) < _HEAD.size or self._masked(head[:8]) != _HEAD.unpack(head)[1]:
            raise DataError(f"{path} begins with no record: it is compressed, or no TFRecord file")
        self._length = int(_HEAD.unpack(head)[0])
        self._stride = _HEAD.size + self._length + _CRC.size
        self._count, rest = divmod(path.stat().st_size, self._stride)
        if rest:
            raise DataError(
                f"{path} ends {rest:,} bytes after {self._count:,} records of {self._stride:,}: "
                "it is cut short, or its images differ in shape; fetch it again"
            )

    def __len__(self) -> int:
        return self._count

    def read(self, i: int) -> bytes:
        """The data of record i; DataError if it is not what was written."""
        record = os.pread(self._file.fileno(), self._stride, i * self._stride)
        if len(record) == self._stride:
            length, head_crc = _HEAD.unpack_from(record)
            (crc,) = _CRC.unpack_from(record, _HEAD.size + self._length)
            data = record[_HEAD.size : -_CRC.size]
            if (length, head_crc) == (self._length, self._masked(record[:8])):
                if self._masked(data) == crc:
                    return data
                raise DataError("its data does not have the recorded CRC: the file is damaged")
        raise DataError("there is no record where it should begin: the file is damaged")

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
                        found[key] = [n for _, value in inside for n in _integers(value)]
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
