"""Which failures are retried; no Ray is started."""

import errno

import pytest

from pipeline.cluster.failure_policy import FailurePolicy, is_network, reason_to_stop
from stylealae.errors import CheckpointError


def test_the_same_error_in_the_same_place_twice_in_a_row_is_no_accident() -> None:
    policy = FailurePolicy()
    group = policy.began()
    policy.crashed(group, "ValueError after 640 images", "ValueError: bad")
    policy.crashed(group, "ValueError after 640 images", "ValueError: its echo")
    assert policy.failed(lost=False) == ""
    group = policy.began()
    policy.crashed(group, "ValueError after 640 images", "ValueError: bad")
    assert "after 640 images): ValueError: bad" in policy.failed(lost=False)


@pytest.mark.parametrize(
    ("second", "lost"), [("ValueError after 672 images", False), ("same", True), ("", False)]
)
def test_anything_else_is_retried(second: str, lost: bool) -> None:
    policy = FailurePolicy()
    same = "ValueError after 640 images"
    group = policy.began()
    policy.crashed(group, same, "bad")
    assert policy.failed(lost=False) == ""
    group = policy.began()
    if second:
        policy.crashed(group, same if second == "same" else second, "bad")
    assert policy.failed(lost=lost) == ""
    group = policy.began()
    policy.crashed(group, same, "bad")
    assert policy.failed(lost=False) == ""  # not in a row


def test_reports_of_an_earlier_group_are_ignored() -> None:
    """A host that was cut off comes back, and its workers find that all is lost."""
    policy = FailurePolicy()
    cut_off = policy.began()
    policy.began()
    assert not policy.is_current(cut_off)
    for _ in range(2):
        policy.crashed(cut_off, "ValueError", "bad")
        assert policy.failed(lost=False) == ""
        policy.began()


def test_a_group_is_decided_once() -> None:
    policy = FailurePolicy()
    group = policy.began()
    policy.crashed(group, "ValueError", "bad")
    assert [policy.failed(lost=False) for _ in range(3)] == ["", "", ""]


def test_a_connection_that_breaks_is_nobodys_own_error() -> None:
    assert is_network(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"))
    assert is_network(ConnectionResetError("Connection reset by peer"))
    assert not is_network(RuntimeError("shape [3] does not match [4]"))
    assert not is_network(ValueError("a connection of layers"))


def test_a_full_disk_is_a_persons_to_mend_wherever_it_is_met() -> None:
    assert "no room on the disk of /runs/metrics.jsonl" in reason_to_stop(
        OSError(errno.ENOSPC, "No space left on device", "/runs/metrics.jsonl")
    )
    assert reason_to_stop(OSError(errno.EIO, "Input/output error")) == ""


def test_a_log_that_cannot_be_closed_hides_no_reason() -> None:
    """What `finally` raises while a failure is on its way out takes its place."""

    def train() -> None:
        try:
            raise CheckpointError("free some space")
        finally:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output") as raised:
        train()
    assert reason_to_stop(raised.value) == "free some space"
