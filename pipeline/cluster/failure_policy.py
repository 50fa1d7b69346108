"""Which failures are retried, and which end the run.

A lost worker (killed, its host gone) is no fault of the run, and is retried.  An exception that
is raised in the same place twice in a row, with no worker lost meanwhile, is the run's own: another
retry would hide it.  A broken connection does not count as such an exception, and what a person can
mend (a full disk, a wrong config) is not retried at all.
"""

from collections.abc import Iterator

from pipeline.storage.disk import is_full
from stylealae.errors import UserError

__all__ = ["FailurePolicy", "is_network", "reason_to_stop"]

NETWORK = ("DistBackendError", "DistNetworkError", "DistStoreError", "ConnectionError")
NETWORK_WORDS = ("gloo", "connection", "timed out", "socket", "broken pipe", "nccl")


def is_network(error: BaseException) -> bool:
    """Whether an error only means that another worker is out of reach."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if any(kind in NETWORK for kind in kinds):
        return True
    text = str(error).lower()
    return kinds[0] == "RuntimeError" and any(word in text for word in NETWORK_WORDS)


def reason_to_stop(error: BaseException) -> str:
    """What a person has to mend before a retry can succeed; empty if there is nothing."""
    for cause in _causes(error):
        if isinstance(cause, UserError):
            return str(cause)
        if is_full(cause):
            return f"no room on the disk of {cause.filename or 'the run'} ({cause}): free some"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it: closing a log on a full disk hides why it closes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class FailurePolicy:
    """Decides whether a failed group of workers is retried, from its error and the one before."""

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self._group = 0
        self._crash: tuple[str, str] | None = None
        self._before: tuple[str, str] | None = None
        self._decided = 0

    def began(self) -> int:
        """Another group begins; its number."""
        self._group += 1
        self._crash = None
        return self._group

    def is_current(self, group: int) -> bool:
        """Whether no other group has begun since."""
        return group == self._group

    def crashed(self, group: int, where: str, message: str) -> None:
        """A worker of a group raised an error: the first is the cause of the others."""
        if self.is_current(group):
            self._crash = self._crash or (where, message)

    def failed(self, *, lost: bool) -> str:
        """This group has failed; why it is not retried, empty if it is.

        Args:
            lost: whether a worker died without raising an error.
        """
        if self._decided == self._group:
            return ""
        self._decided = self._group
        crash, before = (None if lost else self._crash), self._before
        self._before = crash
        if crash and before and crash[0] == before[0]:
            return f"training failed twice in a row in the same place ({crash[0]}): {crash[1]}"
        return ""
