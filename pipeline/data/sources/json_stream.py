"""JSON read a piece at a time: what is held is one entry, however long the file."""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from stylealae.errors import DataError

__all__ = ["JsonStream"]

PIECE = 1 << 20
MAX_ENTRY = 16 << 20
"""Characters of one entry; more are held for none."""
SPACE = " \t\r\n"


class JsonStream:
    """The values of a file of JSON, in UTF-8."""

    def __init__(self, where: str, stream: BinaryIO) -> None:
        """`where` names the file, for people."""
        self.where, self._stream = where, stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False
        self._before = 0

    def elements(self) -> Iterator[object]:
        """The values of one list."""
        self._take("[")
        if self.peek() != "]":
            yield self._value()
            while self.peek() == ",":
                self._take(",")
                yield self._value()
        self._take("]")
        self._end()

    def members(self) -> Iterator[tuple[str, object]]:
        """The names and values of one object."""
        self._take("{")
        if self.peek() != "}":
            yield self._member()
            while self.peek() == ",":
                self._take(",")
                yield self._member()
        self._take("}")
        self._end()

    def values(self) -> Iterator[object]:
        """Values one after the other: lines of JSON."""
        while self.peek():
            yield self._value()

    def is_whole(self) -> bool:
        """Whether the value that comes next is short enough to be one entry."""
        self.peek()
        size = PIECE
        while True:
            try:
                _, end = self._json.raw_decode(self._text, self._at)
                return end - self._at <= MAX_ENTRY
            except (ValueError, RecursionError):
                if len(self._text) - self._at > MAX_ENTRY or not self._more(size):
                    return False
                size *= 2

    def peek(self) -> str:
        """The character that comes next and is no space; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more(PIECE):
                return ""

    def _member(self) -> tuple[str, object]:
        name = self._value()
        if not isinstance(name, str):
            raise self._fault("a name in quotation marks is wanted")
        self._take(":")
        return name, self._value()

    def _value(self) -> object:
        self.peek()
        size = PIECE
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._fault("it is nested too deeply") from error
            except ValueError as error:
                if self._ended or len(self._text) - self._at > MAX_ENTRY:
                    raise self._fault(str(error)) from error
            else:
                # Behind a number there must be more than `e+`: else 12 may be 123, or 12e+3.
                if len(self._text) - end > 2 or not self._more(PIECE):
                    self._at = end
                    return value
                continue
            self._more(size)
            size *= 2

    def _take(self, wanted: str) -> None:
        if (found := self.peek()) != wanted:
            raise self._fault(f"{wanted} is wanted, and there is {found or 'the end'}")
        self._at += 1

    def _end(self) -> None:
        if found := self.peek():
            raise self._fault(f"the end is wanted, and there is {found}")

    def _more(self, size: int) -> bool:
        """Reads on, and forgets what was read; False at the end."""
        if self._ended:
            return False
        data = self._stream.read(size)
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where} is not in UTF-8 ({error.reason}): save it so") from error
        if not data:
            self._ended = True
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :] + text, 0
        return True

    def _fault(self, why: str) -> DataError:
        place = self._before + self._at
        return DataError(
            f"{self.where} cannot be read as JSON at character {place:,} ({why}): mend it, or "
            "fetch it again"
        )
