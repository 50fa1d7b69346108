"""The folder of a Ray of our own: nobody else's to enter, and gone when we go.

Ray makes its session folders for all users to write, sockets and logs in them: whoever can move a
socket can answer in its place.  Inside a folder of mode 0700 nobody can.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["session_folder"]

PREFIX, LOCK = "stylealae-ray-", "lock"
TRIES = 30


@contextmanager
def session_folder() -> Iterator[Path]:
    """A new folder that only this user can enter; those of processes that were killed go too.

    It is short, as the path of a socket may have 107 characters: below RAY_TMPDIR, else /tmp.
    """
    parent = Path(os.environ.get("RAY_TMPDIR", "/tmp"))
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # 0700
    with (folder / LOCK).open("w") as lock:  # held as long as this process lives
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Removes a folder in which processes that are ending may still write."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _sweep(parent: Path) -> None:
    """Removes the folders of this user whose process is gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or one that is just being made or removed
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
