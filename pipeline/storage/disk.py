"""A full disk of this host, which says nothing about the store that its files come from."""

import errno
import socket
from pathlib import Path
from typing import TypeGuard

__all__ = ["full_disk_advice", "is_full"]

FULL = errno.ENOSPC, errno.EDQUOT


def is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a disk is full, or what its user may have of it."""
    return isinstance(error, OSError) and error.errno in FULL


def full_disk_advice(folder: Path) -> str:
    """What to do about it: no library names the folder."""
    return f"free some space in {folder} on host {socket.gethostname()}"
