"""An object store through fsspec, met with patience.

An answer of 5xx, a reset or a stall is met by the same call again, after growing pauses, for as
long as the run allows; the first failure and the recovery are logged.
"""

import errno
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import sync

from stylealae.errors import DataError, UserError

__all__ = ["STALL_S", "Objects", "told"]

log = logging.getLogger(__name__)

T = TypeVar("T")

STALL_S = 30.0  # without an answer for so long, and a second more a MiB, a call is given up
OPTIONS: dict[str, dict[str, Any]] = {
    # Retries are ours, so that they are told and bounded: botocore's are turned off.
    "s3": {
        "use_listings_cache": False,
        "max_concurrency": 4,  # parts of 50 MiB of one upload, all in memory
        "config_kwargs": {
            "max_pool_connections": 32,
            "connect_timeout": 10,
            "read_timeout": 20,
            "retries": {"total_max_attempts": 1},
        },
    }
}


class Objects:
    """What lies below a URL; a call that fails is made again for `patience_s` seconds."""

    def __init__(self, where: str, patience_s: float, key: str, wrong: type[UserError]) -> None:
        """Opens the URL; nothing is read yet.

        Args:
            where: the URL.
            patience_s: how long a call is tried before it fails.
            key: the setting that says so, for messages, as in `data.patience_s`.
            wrong: what is raised then.
        """
        self.where, self._patience_s, self._key, self._wrong = where, patience_s, key, wrong
        self.fs, self.root = _filesystem(where)
        self.leaving = threading.Event()
        """Set when waiting for a store that is out of order has no more use."""
        self.still: Callable[[], None] = lambda: None
        """Called between attempts; it raises to give up."""
        self._failing = False

    def call(self, method: str, *args: Any, timeout: float = STALL_S, **options: Any) -> Any:
        """A method of the file system, given up after `timeout` seconds where that can be done."""
        if not self.fs.async_impl:
            return getattr(self.fs, method)(*args, **options)
        work = getattr(self.fs, f"_{method}")
        return sync(self.fs.loop, work, *args, timeout=timeout, **options)

    def patiently(self, name: str, call: Callable[[], T], *, does: str = "read") -> T:
        """What `call` gives back, tried again with growing pauses while the store is failing."""
        since, pause = time.monotonic(), 0.25
        while True:
            try:
                found = call()
            except (FileNotFoundError, FileExistsError, UserError):
                raise
            except Exception as error:  # whatever the libraries below raise
                if getattr(error, "errno", 0) == errno.EINVAL:  # as for a range beyond the end
                    raise
                waited = time.monotonic() - since
                if _hopeless(error) or waited > self._patience_s or self.leaving.is_set():
                    raise self._wrong(
                        f"{self.where}/{name} cannot be {does} ({told(error)}), tried for "
                        f"{waited:.0f} s: look after the store, the network and the credentials, "
                        f"or raise {self._key}; the same command goes on from here"
                    ) from error
                if not self._failing:
                    self._failing = True
                    log.warning(
                        "%s does not answer (%s): trying again for up to %.0f s",
                        *(self.where, told(error), self._patience_s),
                    )
                self.still()
                # ranks should not march in step
                self.leaving.wait(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, 10.0)
                continue
            if self._failing:
                self._failing = False
                log.warning("%s answers again", self.where)
            return found


def _filesystem(where: str) -> tuple[Any, str]:
    """Fsspec's file system for a URL, and the path in it."""
    protocol = where.partition("://")[0]
    try:
        fs, path = fsspec.core.url_to_fs(where, **OPTIONS.get(protocol, {}))
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{where} cannot be opened ({error}): install what reads {protocol}:// "
            "(s3fs, gcsfs or adlfs), or correct the URL"
        ) from error
    if hasattr(fs, "retries"):
        fs.retries = 1
    return fs, path.rstrip("/")


def _hopeless(error: Exception) -> bool:
    """Whether trying again cannot help: no or wrong credentials, or a library that is too old."""
    never = PermissionError, TypeError, NotImplementedError
    return isinstance(error, never) or "redential" in type(error).__name__


def told(error: Exception) -> str:
    """The kind of an error, and what it says."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
