"""How a process of ours uses its host: the memory that it keeps, the cores that it shares."""

import ctypes
import os
import sys
from typing import NamedTuple

from stylealae.errors import ConfigError

__all__ = ["ALONE", "Place", "keep_freed_memory", "place_of_torchrun", "share_cores"]

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


class Place(NamedTuple):
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Its number on its host."""


ALONE = (
    "start it with torchrun, or, to have this process train alone: unset RANK WORLD_SIZE LOCAL_RANK"
)


def place_of_torchrun() -> Place:
    """What torchrun says in the environment; alone, where it does not.

    Raises:
        ConfigError: the environment says only a part of it, or what cannot be.
    """
    names = "RANK", "WORLD_SIZE", "LOCAL_RANK"
    given = {name: value for name in names if (value := os.environ.get(name, "").strip())}
    for name, value in given.items():
        if not value.isdecimal():
            raise ConfigError(
                f"{name} is {value!r} in the environment, and a number is wanted: {ALONE}"
            )
    place = Place(
        int(given.get("RANK", "0")), int(given.get("WORLD_SIZE", "1")),
        int(given.get("LOCAL_RANK", "0")),
    )  # fmt: skip
    if place.rank >= place.size:
        raise ConfigError(
            f"RANK is {place.rank} and WORLD_SIZE {place.size} in the environment, and ranks are "
            f"counted from 0: {ALONE}"
        )
    wanted = ("RANK", "MASTER_ADDR", "MASTER_PORT") if place.size > 1 else ()
    if missing := [name for name in wanted if not os.environ.get(name, "").strip()]:
        raise ConfigError(
            f"WORLD_SIZE is {place.size} in the environment, where {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing: {ALONE}"
        )
    return place


def _is_idle() -> bool:
    """Whether the others leave the host's cores alone, for a moment at least."""
    import psutil

    return any(float(psutil.cpu_percent(LOOK_S)) < 100 * BUSY for _ in range(LOOKS))
