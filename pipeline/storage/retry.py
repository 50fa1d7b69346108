"""Calls to an object store, retried with exponential backoff and jitter.

An answer of 5xx, a reset and a stall are retried for as long as is allowed; the first
failure and the recovery are logged.
"""

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from pipeline.storage.disk import is_full
from pipeline.storage.storage import Sleep
from stylealae.errors import UserError

__all__ = ["Retry"]

log = logging.getLogger(__name__)

T = TypeVar("T")
DENIED = 401, 403
"""Answers of HTTP to credentials that are missing, wrong or not enough."""
ABSENT = "CredentialRetrievalError"
"""What botocore raises when credentials are due anew and whoever gives them is silent."""
BEYOND = "InvalidRange", "416"
"""Codes of S3 for a range that begins beyond a file's end."""


@dataclass(kw_only=True)
class Retry:
    """Retries calls to one store, and remembers whether it is failing."""

    where: str
    """The store's URL, for messages."""
    setting: str
    """The config key of `patience_s`, for messages, as in `data.patience_s`."""
    error: type[UserError]
    """What is raised when retrying has no more use."""
    patience_s: float
    """How long a call is retried before it fails."""
    sleep: Sleep = time.sleep
    """Waits between two attempts."""
    now: Callable[[], float] = time.monotonic
    """The clock, in seconds."""
    failing: bool = False

    def __call__(self, name: str, call: Callable[[], T], *, does: str = "read") -> T:
        """What `call` returns, which concerns the file `name`.

        Raises:
            FileNotFoundError: there is no such file.
            FileExistsError: it exists, and was to be created.
            OSError: a disk of this host is full.
            UserError: of the kind `error`: the store failed for too long, or for good.
        """
        began = self.now()

        def waited() -> float:
            return self.now() - began

        def refuse(state: RetryCallState) -> NoReturn:
            error = _error_of(state)
            raise self.error(
                f"{self.where}/{name} cannot be {does} ({_described(error)}), tried for "
                f"{waited():.0f} s: look after the store, the network and the credentials, "
                f"or raise {self.setting}; the same command goes on from here"
            ) from error

        found = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.25, max=10.0),  # ranks do not march in step
            stop=lambda state: _hopeless(_error_of(state)) or waited() > self.patience_s,
            sleep=self.sleep,
            before_sleep=self._note_failure,
            retry_error_callback=refuse,
        )(call)
        if self.failing:
            self.failing = False
            log.warning("%s answers again", self.where)
        return found

    def _note_failure(self, state: RetryCallState) -> None:
        if not self.failing:
            self.failing = True
            log.warning(
                "%s does not answer (%s): trying again for up to %.0f s",
                *(self.where, _described(_error_of(state)), self.patience_s),
            )


def _error_of(state: RetryCallState) -> BaseException:
    """What the last attempt raised."""
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    return error


def _may_pass(error: BaseException) -> bool:
    """Whether an error says something about the store: not of the file, the call or this host."""
    about_the_file = FileNotFoundError, FileExistsError, UserError
    return (
        isinstance(error, Exception)  # whatever the libraries below raise
        and not isinstance(error, about_the_file)
        and not is_full(error)
        and not _is_of_a_range(error)
    )


def _is_of_a_range(error: BaseException) -> bool:
    """Whether a file ends before the range that was asked for: EINVAL, as s3fs has it.

    It has the same for answers that pass, such as 400 and an upload cut short, and keeps the code.
    """
    if getattr(error, "errno", 0) != errno.EINVAL:
        return False
    answer = getattr(error.__cause__, "response", None) or {}
    return answer.get("Error", {}).get("Code", BEYOND[0]) in BEYOND


def _hopeless(error: BaseException) -> bool:
    """Whether trying again cannot help: no or wrong credentials, or a library that is too old."""
    never = PermissionError, TypeError, NotImplementedError
    denied = getattr(error, "status_code", 0) in DENIED  # as adlfs passes Azure's errors on
    kind = type(error).__name__
    return isinstance(error, never) or denied or ("redential" in kind and kind != ABSENT)


def _described(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says; Azure's go on with the answer."""
    text = str(error).strip().partition("\n")[0].rstrip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
