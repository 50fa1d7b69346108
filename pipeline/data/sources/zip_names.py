"""The names of a zip's members, in the alphabet of whoever packed it."""

import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from zipfile import ZipInfo

__all__ = ["ZipNames", "forms"]

UNICODE_PATH = 0x7075
"""The extra field of Info-ZIP, 7-Zip and WinRAR with a member's name in UTF-8."""
PAGES = {
    "cp932": "Japanese (Shift-JIS)", "gb18030": "simplified Chinese (GBK)",
    "cp950": "traditional Chinese (Big5)", "cp949": "Korean", "cp866": "Cyrillic (DOS)",
    "cp1251": "Cyrillic (Windows)", "koi8_u": "Cyrillic (KOI8)", "cp852": "Central European (DOS)",
    "cp1250": "Central European (Windows)", "cp737": "Greek (DOS)", "cp1253": "Greek (Windows)",
    "cp857": "Turkish (DOS)", "cp1254": "Turkish (Windows)", "cp862": "Hebrew (DOS)",
    "cp1255": "Hebrew (Windows)", "cp720": "Arabic (DOS)", "cp1256": "Arabic (Windows)",
    "cp874": "Thai", "cp1252": "Western (Windows)", "cp850": "Western (DOS)",
}  # fmt: skip
"""Code pages that Windows of these languages packs zips in."""


class ZipNames:
    """The names of some members, with slashes; those that do not say their alphabet are guessed.

    A name says it by the flag of UTF-8 or by a Unicode path beside it.  The others are UTF-8 where
    they can be, as macOS writes it; the rest are all of one code page.
    """

    def __init__(self, files: Sequence[ZipInfo]) -> None:
        """Guesses without a table: Windows-1252, or the code page 850 of Windows' own zips.

        The latter where any name has a byte that is no letter in the former.
        """
        self._known = [_known(info) for info in files]
        self._raw = [_raw(info) for info in files]
        high = {byte for raw in self._guessed() for byte in raw if byte > 127}
        latin = min(high, default=0) >= 0xC0 and high != {0xE1}  # 0xe1 is ß in the other
        self.page = "cp1252" if latin else "cp850"

    def __iter__(self) -> Iterator[str]:
        """The names in the members' order."""
        for known, raw in zip(self._known, self._raw, strict=True):
            name = raw.decode(self.page, "replace") if known is None else known
            yield name.replace("\\", "/")  # not before: it may be half of a letter

    @property
    def guessed(self) -> int:
        """Names that are in a code page which nothing states."""
        return sum(1 for _ in self._guessed())

    def match(self, said: Collection[str]) -> bool:
        """Takes the code page under which most guessed names are among those `said`.

        False, and nothing changes, where none is.  `said` are `forms` of the names in tables.
        """
        found: Counter[str] = Counter()
        for page in dict.fromkeys((self.page, *PAGES)):
            try:
                names = [raw.decode(page) for raw in self._guessed()]
            except UnicodeDecodeError:
                continue
            found[page] = sum(any(form in said for form in forms(name)) for name in names)
        if not any(found.values()):
            return False
        ((self.page, _),) = found.most_common(1)
        return True

    def report(self, matched: bool) -> str:
        """How the guessed names were read, for people."""
        pairs = zip(self._known, self, strict=True)
        example = next((name for known, name in pairs if known is None), "")
        why = (
            "as a table of labels names them"
            if matched
            else "a guess: if it is wrong, pack the zip anew with names in UTF-8, or give a table "
            "of labels that names its files with --labels"
        )
        return (
            f"{self.guessed:,} names do not say their alphabet and are read as {PAGES[self.page]}, "
            f"{self.page}, such as {example}: {why}"
        )

    def _guessed(self) -> Iterator[bytes]:
        pairs = zip(self._known, self._raw, strict=True)
        return (raw for known, raw in pairs if known is None)


def forms(name: str) -> Iterator[str]:
    """The ends of a path by which tables name it, with its ending and without; none in ASCII.

    Letters are composed, and capitals as others.
    """
    if name.isascii():
        return
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).casefold().split("/")
    for k in range(len(parts)):
        end = "/".join(parts[k:])
        for form in (end, end.removesuffix(PurePosixPath(end).suffix)):
            if not form.isascii():
                yield form


def _raw(info: ZipInfo) -> bytes:
    """A name's bytes, where no flag says that they are UTF-8."""
    if info.flag_bits & 0x800:
        return b""
    return info.orig_filename.partition("\0")[0].encode("cp437")  # as zipfile has decoded it


def _known(info: ZipInfo) -> str | None:
    """The name where it says its alphabet or can have but one; None for the others."""
    if info.flag_bits & 0x800:
        return info.filename
    raw = _raw(info)
    try:
        return _unicode_path(info.extra, info.orig_filename.encode("cp437")) or raw.decode()
    except UnicodeDecodeError:
        return None


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The name in the extra field, if there is one, of this very name; else nothing."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and len(field) > 5:
            version, checksum = struct.unpack_from("<BL", field)
            if version == 1 and checksum == zlib.crc32(raw):
                return field[5:].decode("utf-8", "ignore").partition("\0")[0]
    return ""
