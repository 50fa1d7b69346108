"""The names of a zip's members, in the alphabet of whoever packed it."""

from collections.abc import Sequence
from zipfile import ZipInfo

__all__ = ["zip_names"]


def zip_names(files: Sequence[ZipInfo]) -> list[str]:
    """The members' names with slashes, in the alphabet that those not said to be UTF-8 are in.

    That is UTF-8, as macOS writes it, else Windows-1252 or, where any name has a byte that is no
    letter there, the code page 850 of Windows' own zips.
    """
    names = [info.filename.replace("\\", "/") for info in files]
    undeclared = {
        name: name.encode("cp437")  # as zipfile has decoded it
        for name, info in zip(names, files, strict=True)
        if not (name.isascii() or info.flag_bits & 0x800)
    }
    found = {name: _utf8(raw) for name, raw in undeclared.items()}
    high = {
        byte for name, raw in undeclared.items() if not found[name] for byte in raw if byte > 127
    }
    single = "cp1252" if min(high, default=0) >= 0xC0 and high != {0xE1} else "cp850"  # 0xe1: ß
    found |= {name: raw.decode(single) for name, raw in undeclared.items() if not found[name]}
    return [found.get(name) or name for name in names]


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
