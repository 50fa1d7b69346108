"""The driver's process: the only one of a run on this host, and stopped by signals."""

import fcntl
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.cluster.ray_job import in_job
from pipeline.storage import Storage
from stylealae.errors import ConfigError

__all__ = ["only_driver", "stop_on_signals"]

log = logging.getLogger(__name__)


@contextmanager
def only_driver(storage: Storage) -> Iterator[None]:
    """Refuses a second driver on this host by a lock, which goes with its process.

    Not in a Ray job: the driver before may be the orphan of a head that was killed, which holds
    the lock for a minute and more.  There, and between hosts, the fence has the last comer win.

    Raises:
        ConfigError: another process holds the lock.
    """
    storage.working.mkdir(parents=True, exist_ok=True)
    if in_job():
        yield
        return
    with (storage.working / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{storage.where} is being trained by another process: wait for it or stop it, or "
                "give this run a folder of its own (run_dir=runs/another)"
            ) from error
        except OSError as error:  # a file system without locks: the fence has to do
            log.info("no lock on %s (%s)", storage.working, error)
        yield


@contextmanager
def stop_on_signals(stop: Callable[[], object]) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, after a call of `stop`; the second insists.

    In a Ray job SIGTERM is `ray job stop`.
    """
    stopping = threading.Event()

    def handle(number: int, frame: object) -> None:
        log.warning("stopping: saving a checkpoint first (once more to leave at once)")
        stopping.set()
        stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        restore()
