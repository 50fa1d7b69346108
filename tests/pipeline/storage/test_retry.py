"""Retries: what may pass is tried again for so long, what cannot is raised at once."""

import errno
import logging
from collections.abc import Callable, Iterator

import pytest

from pipeline.storage.retry import Retry
from stylealae.errors import CheckpointError, DataError
from tests.pipeline.storage.clock import Clock


def retry(clock: Clock, patience_s: float = 60.0) -> Retry:
    return Retry(
        where="s3://a/b", setting="data.patience_s", error=DataError, patience_s=patience_s,
        sleep=clock.sleep, now=clock,
    )  # fmt: skip


def failing(times: int, error: BaseException) -> Callable[[], str]:
    """A call that raises so many times and then succeeds."""
    left: Iterator[int] = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return call


def test_pauses_grow_and_the_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.WARNING):
        assert retry(clock)("x", failing(9, OSError("reset"))) == "done"
    assert len(clock.slept) == 9
    for k, seconds in enumerate(clock.slept):
        assert 0 <= seconds <= min(0.25 * 2**k, 10.0)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "s3://a/b does not answer (OSError: reset): trying again for up to 60 s",
        "s3://a/b answers again",
    ]


def test_patience_ends_with_what_to_do() -> None:
    clock = Clock()
    with pytest.raises(DataError, match=r"b/x cannot be written \(TimeoutError\).*raise data"):
        retry(clock)("x", failing(10_000, TimeoutError()), does="written")
    assert 60 < clock() < 71


@pytest.mark.parametrize(
    "error",
    [
        *(FileNotFoundError(), FileExistsError(), CheckpointError("fenced"), KeyboardInterrupt()),
        OSError(errno.EINVAL, "a range beyond the end"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_what_says_nothing_of_the_store_is_raised_as_it_is(error: BaseException) -> None:
    clock = Clock()
    with pytest.raises(type(error)) as caught:
        retry(clock)("x", failing(1, error))
    assert caught.value is error
    assert not clock.slept


class AnsweredError(Exception):
    """As botocore passes an answer on."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


def test_a_bad_request_may_pass_although_it_has_the_number_of_a_range_beyond_the_end() -> None:
    clock, error = Clock(), OSError(errno.EINVAL, "Bad Request")
    error.__cause__ = AnsweredError("400")
    assert retry(clock)("x", failing(3, error)) == "done"
    error.__cause__ = AnsweredError("InvalidRange")
    with pytest.raises(OSError, match="Bad Request"):
        retry(clock)("x", failing(1, error))


def test_what_cannot_pass_is_refused_at_once() -> None:
    clock = Clock()
    with pytest.raises(DataError, match=r"PermissionError: no.*tried for 0 s.*credentials"):
        retry(clock)("x", failing(1, PermissionError("no")))
    assert not clock.slept


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_that_denies_is_refused_at_once_by_its_first_line(status: int) -> None:
    class Answer(Exception):  # noqa: N818
        status_code = status

    clock = Clock()
    with pytest.raises(DataError, match=r"\(Answer: no\), tried for 0 s.*credentials"):
        retry(clock)("x", failing(1, Answer("no\nRequestId: 7\nContent: <Error/>")))
    assert not clock.slept


def test_credentials_that_are_due_anew_are_waited_for_and_none_at_all_are_not() -> None:
    """The metadata service of a host has missed a question, or there never was one."""
    botocore = pytest.importorskip("botocore.exceptions")
    clock = Clock()
    missed = botocore.CredentialRetrievalError(provider="iam-role", error_msg="no answer")
    assert retry(clock)("x", failing(3, missed)) == "done"
    assert len(clock.slept) == 3
    with pytest.raises(DataError, match=r"NoCredentialsError.*tried for 0 s"):
        retry(Clock())("x", failing(1, botocore.NoCredentialsError()))


def test_whoever_sleeps_can_give_up() -> None:
    class StopError(Exception):
        pass

    def stop(seconds: float) -> None:
        raise StopError

    given_up = Retry(where="", setting="", error=DataError, patience_s=60.0, sleep=stop)
    with pytest.raises(StopError):
        given_up("x", failing(1, OSError()))
