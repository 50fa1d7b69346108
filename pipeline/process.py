"""How a process of ours uses its host: the memory that it keeps, the cores that it shares."""

import ctypes
import os
import sys

__all__ = ["keep_freed_memory", "share_cores"]

BUSY = 0.25
"""Share of the host's cores in use by others, from which they are shared."""
LOOK_S, LOOKS = 0.5, 4
"""How often it is looked, for so long each: what has just ended or begins passes meanwhile."""


def keep_freed_memory() -> None:
    """Has tensors take memory that others left, of any size, instead of asking for it anew.

    Fresh pages cost more than the arithmetic on them: an elementwise pass over 1 MB takes 10x, an
    iteration at 1024x1024 a fifth more.  Linux with glibc; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        m_trim_threshold, m_mmap_max = -1, -4
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
        libc.mallopt(m_mmap_max, 0)


def share_cores(*, training: bool) -> None:
    """Has threads sleep while they wait for each other, but for a training on an idle host.

    Threads that spin are quicker alone, and far slower where a core is taken from one of them: all
    others wait for it.  Called before torch is loaded, whose threads read OMP_WAIT_POLICY then; a
    policy that is set already stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ and not (training and _is_idle()):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _is_idle() -> bool:
    """Whether the others leave the host's cores alone, for a moment at least."""
    import psutil

    return any(float(psutil.cpu_percent(LOOK_S)) < 100 * BUSY for _ in range(LOOKS))
