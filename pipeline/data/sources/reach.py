"""Files that are listed and out of reach, which are told from those that are bad."""

import errno

from stylealae.errors import UnreachableError

__all__ = ["is_out_of_reach", "unreachable"]

_OUT_OF_REACH = frozenset(
    (
        *(errno.ENOENT, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EIO),  # a folder, a disk
        *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),  # a drive in a network
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),  # the machine's own
    )
)


def is_out_of_reach(error: OSError) -> bool:
    """Whether a file that was listed may be sound, for its disk, drive or machine fails."""
    return error.errno in _OUT_OF_REACH


def unreachable(name: str, error: OSError) -> UnreachableError:
    """The error that says so, and what to do."""
    return UnreachableError(
        f"{name} was listed and can no longer be read ({error.strerror or error}): see to the disk "
        "or the drive that it lies on, then run the same command again"
    )
