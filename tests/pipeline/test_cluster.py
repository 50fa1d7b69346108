"""How many workers a round gets, and which failures are worth another try; no Ray is started.

The cluster is a number that changes over simulated time.
"""

import errno
from collections.abc import Callable

import pytest

from pipeline.config import RunConfig, parse
from pipeline.config.world_sizes import allowed
from stylealae.errors import CheckpointError, ConfigError

pytest.importorskip("ray")

from pipeline.cluster import placement
from pipeline.cluster.coordinator import Link
from pipeline.cluster.failure_policy import Verdicts, is_network, mendable
from pipeline.cluster.placement import choose


class Cluster:
    """Room for workers as a function of simulated seconds."""

    def __init__(self, room_at: Callable[[float], int]) -> None:
        self.now, self.room_at, self.told = 0.0, room_at, 0

    def room(self, count: int, within_s: float) -> bool:
        """As Ray: true as soon as there is room, false when the time is over."""
        until = self.now + within_s
        while self.room_at(self.now) < count:
            if self.now >= until:
                return False
            self.now += 0.5
        return True

    def choose(self, *counts: int, settle_s: float = 10, patience_s: float = 600) -> int | None:
        """What a round would get."""

        def waiting() -> None:
            self.told += 1

        def sleep(seconds: float) -> None:
            self.now += seconds

        return choose(
            counts, self.room, settle_s=settle_s, patience_s=patience_s, waiting=waiting,
            stopped=lambda: self.now > 10_000, clock=lambda: self.now, sleep=sleep,
        )  # fmt: skip


def test_all_the_workers_if_there_is_room() -> None:
    c = Cluster(lambda now: 8)
    assert c.choose(2, 4, 8) == 8
    assert c.now == 0


def test_a_replacement_that_comes_in_time_is_waited_for() -> None:
    c = Cluster(lambda now: 8 if now > 7 else 4)
    assert c.choose(2, 4, 8) == 8
    assert 7 <= c.now <= 8


def test_the_most_that_is_there_if_none_comes() -> None:
    c = Cluster(lambda now: 7)
    assert c.choose(2, 4, 8) == 4
    assert c.now < 13


def test_waiting_for_the_fewest_is_told_once_and_goes_on() -> None:
    c = Cluster(lambda now: 1 if now < 120 else 2)
    assert c.choose(2, 4, 8) == 2
    assert 120 <= c.now < 130
    assert c.told == 1


def test_patience_ends_with_what_to_change() -> None:
    c = Cluster(lambda now: 0)
    with pytest.raises(ConfigError, match=r"no room for 2 workers in 600 s.*cluster\.workers"):
        c.choose(2, 4)
    assert c.now < 620


def test_only_numbers_that_share_the_batch_are_used() -> None:
    assert allowed("2..8", batch=32, micro_batch=0) == (2, 4, 8)
    assert allowed("1..6", batch=12, micro_batch=0) == (1, 2, 3, 4, 6)
    assert allowed("1..6", batch=12, micro_batch=4) == (1, 3, 4, 6)  # six each is no multiple of 4
    assert allowed(3, batch=32, micro_batch=0) == ()


def test_a_stage_has_its_own_range() -> None:
    cfg = parse("", ["model.resolution=16", "schedule.batch=[32,24]", "cluster.workers=[2..8,3]"])
    assert [cfg.worker_counts(stage) for stage in range(3)] == [(2, 4, 8), (3,), (3,)]
    assert RunConfig().worker_counts(0) == (1,)


@pytest.mark.parametrize("entry", ["8..2", "2..", "..4", "a", "2..4..8", "0..2", "-1", "2.5"])
def test_what_is_no_range_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.workers"):
        parse("", [f"cluster.workers=['{entry}']"])


def test_a_range_without_a_divisor_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stage 0 has a batch of 32.*7 ranks"):
        parse("", ["schedule.batch=[32]", "cluster.workers=['5..7']"])


def test_the_same_error_in_the_same_place_twice_in_a_row_is_no_accident() -> None:
    v = Verdicts()
    group = v.began()
    v.crashed(group, "ValueError after 640 images", "ValueError: bad")
    v.crashed(group, "ValueError after 640 images", "ValueError: its echo")
    assert v.ended(lost=False) == ""
    group = v.began()
    v.crashed(group, "ValueError after 640 images", "ValueError: bad")
    assert "after 640 images): ValueError: bad" in v.ended(lost=False)


@pytest.mark.parametrize(
    ("second", "lost"), [("ValueError after 672 images", False), ("same", True), ("", False)]
)
def test_anything_else_is_tried_again(second: str, lost: bool) -> None:
    v = Verdicts()
    same = "ValueError after 640 images"
    group = v.began()
    v.crashed(group, same, "bad")
    assert v.ended(lost=False) == ""
    group = v.began()
    if second:
        v.crashed(group, same if second == "same" else second, "bad")
    assert v.ended(lost=lost) == ""
    group = v.began()
    v.crashed(group, same, "bad")
    assert v.ended(lost=False) == ""  # not in a row


def test_what_a_group_of_before_says_is_not_heard() -> None:
    """A host that was cut off comes back, and its workers find that all is lost."""
    v = Verdicts()
    cut_off = v.began()
    v.began()
    assert not v.is_current(cut_off)
    for _ in range(2):
        v.crashed(cut_off, "ValueError", "bad")
        assert v.ended(lost=False) == ""
        v.began()


def test_a_group_is_judged_once() -> None:
    v = Verdicts()
    group = v.began()
    v.crashed(group, "ValueError", "bad")
    assert [v.ended(lost=False) for _ in range(3)] == ["", "", ""]


def test_a_connection_that_breaks_is_nobodys_own_error() -> None:
    assert is_network(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"))
    assert is_network(ConnectionResetError("Connection reset by peer"))
    assert not is_network(RuntimeError("shape [3] does not match [4]"))
    assert not is_network(ValueError("a connection of layers"))


def test_a_full_disk_is_a_persons_to_mend_wherever_it_is_met() -> None:
    assert "no room on the disk of /runs/metrics.jsonl" in mendable(
        OSError(errno.ENOSPC, "No space left on device", "/runs/metrics.jsonl")
    )
    assert mendable(OSError(errno.EIO, "Input/output error")) == ""


def test_a_log_that_cannot_be_closed_hides_no_reason() -> None:
    """What `finally` raises while a failure is on its way out takes its place."""

    def train() -> None:
        try:
            raise CheckpointError("free some space")
        finally:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output") as raised:
        train()
    assert mendable(raised.value) == "free some space"


def test_the_rank_that_writes_knows_the_reason_best() -> None:
    link = Link()
    group = link.begin()
    link.fail(group, 1, "saving failed: see rank 0")
    link.fail(group, 0, "no space left")
    assert link.failure() == "no space left"
    link.begin()
    link.fail(group, 0, "of a group before")
    assert link.failure() == "no space left"


def test_room_for_more_is_asked_for_only_while_the_group_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a cluster with room for one, the request for the second took the first one's."""
    standing: list[object] = []
    monkeypatch.setattr(
        placement, "placement_group", lambda bundles: standing.append(bundles) or "it"
    )
    monkeypatch.setattr(placement, "remove_placement_group", lambda group: standing.clear())
    growth, link = placement.Growth({"CPU": 1.0}, lacking=1, settle_s=0), Link()

    def look() -> list[object]:
        growth.stand(while_complete=len(link.news()[1]) >= 2)
        return standing

    link.here("a")
    assert look() == []
    link.here("a")  # two workers on one host
    assert look() == [[{"CPU": 1.0}]]
    assert look() == [[{"CPU": 1.0}]]
    link.ended(lost=True)
    assert look() == []
