"""What an input holds and nobody uses: every file by the reason, so that nothing is silent."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["LeftAside", "hidden", "suffix_of"]

NAMED = 1000  # files of one reason that a report names; all are counted
KINDS = 8  # reasons that a line names
DESKTOP = frozenset(
    (
        *("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"),
        *("lost+found", "@Recycle", "@Recently-Snapshot"),
    )
)
"""Folders of systems and of the drives in a network, some with thumbnails of every photo."""
PREVIEWS = re.compile(r"(^|/)resources/derivatives/|\.lrdata/", re.IGNORECASE)
"""Folders in which Apple's Photos and Lightroom keep smaller copies of every photo."""
ICONS = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))


class LeftAside:
    """Names of files by the reason why they are not used."""

    def __init__(self) -> None:
        """Begin with none."""
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, names: Iterable[str]) -> None:
        """Note files; `reason` says in the plural what they are."""
        if found := sorted(names):
            self._names.setdefault(reason, []).extend(found)

    def add_by_suffix(self, names: Iterable[str]) -> None:
        """Note files that are not known, hidden ones among them, by their endings."""
        for name in sorted(names):
            suffix = suffix_of(name)
            kind = f"{suffix} files" if suffix else "files without a suffix"
            self.add("hidden files" if hidden(name) else kind, [name])

    def add_all(self, others: "LeftAside") -> None:
        """Note all that is noted elsewhere."""
        for reason, names in others._names.items():
            self.add(reason, names)

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def __str__(self) -> str:
        """`9 .txt files, 4 hidden files`; empty without any."""
        kinds = sorted(self._names.items(), key=lambda item: (-len(item[1]), item[0]))
        listed = [f"{len(names):,} {reason}" for reason, names in kinds[:KINDS]]
        if len(kinds) > KINDS:
            listed.append(f"{sum(len(names) for _, names in kinds[KINDS:]):,} others")
        return ", ".join(listed)

    def json(self) -> dict[str, object]:
        """Count and first names for each reason."""
        return {
            reason: {"files": len(names), "names": names[:NAMED]}
            for reason, names in sorted(self._names.items())
        }


def suffix_of(name: str) -> str:
    """The ending of a file's name, in lower case and with its dot."""
    return PurePosixPath(name).suffix.lower()


def hidden(name: str) -> bool:
    """Whether a file is the system's and not the user's: .DS_Store, ._x.jpg, Thumbs.db, @eaDir."""
    parts = PurePosixPath(name).parts or ("",)
    ours = DESKTOP.isdisjoint(parts) and PREVIEWS.search(name) is None
    ours = ours and parts[-1].lower() not in ICONS
    ours = ours and not parts[-1].startswith("~$")  # a file that an office program has open
    return not ours or any(part.startswith(".") and part not in (".", "..") for part in parts)
