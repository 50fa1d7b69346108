"""How many workers a round gets; no Ray is started.

The cluster is a number that changes over simulated time.
"""

from collections.abc import Callable

import pytest

from pipeline.config import parse
from stylealae.errors import ConfigError

pytest.importorskip("ray")

from pipeline.cluster import placement
from pipeline.cluster.coordinator import Coordinator
from pipeline.cluster.placement import choose_workers, stages_together


class Cluster:
    """Capacity for workers as a function of simulated seconds."""

    def __init__(self, fits_at: Callable[[float], int]) -> None:
        self.now, self.fits_at, self.said = 0.0, fits_at, 0
        self.asked: list[tuple[int, float, float]] = []

    def fits(self, count: int, over: Callable[[], bool]) -> bool:
        """As Ray: true as soon as there is capacity, false when the time is over."""
        began = self.now
        while not (placed := self.fits_at(self.now) >= count) and not over():
            self.now += 0.5
        self.asked.append((count, began, self.now))
        return placed

    def choose(self, *counts: int, settle_s: float = 10, patience_s: float = 600) -> int | None:
        """What a round would get."""

        def waiting() -> None:
            self.said += 1

        return choose_workers(
            counts, self.fits, settle_s=settle_s, patience_s=patience_s, waiting=waiting,
            stopped=lambda: self.now > 10_000, clock=lambda: self.now,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "batch", "zero_stage", "groups"),
    [
        ("[2]", "[32]", 2, ["0-3"]),
        ("[2]", "[32]", 3, ["0-0", "1-1", "2-2", "3-3"]),
        ("[1,1,2,2]", "[32]", 1, ["0-1", "2-3"]),
        ("[1,2,1]", "[32]", 1, ["0-0", "1-1", "2-3"]),
        ("['2..8']", "[32,16]", 1, ["0-3"]),
        ("['2..8']", "[32,32,4]", 1, ["0-1", "2-3"]),  # 8 cannot share 4 images
        ("['2..4',4]", "[32]", 1, ["0-0", "1-3"]),
    ],
)
def test_stages_that_may_have_the_same_numbers_of_workers_share_a_group(
    workers: str, batch: str, zero_stage: int, groups: list[str]
) -> None:
    cfg = parse(
        f"model: {{resolution: 32}}\ncluster: {{workers: {workers}}}\n"
        f"loss: {{r1_gamma: 0}}\nengine: {{zero_stage: {zero_stage}}}\n"
        f"schedule: {{batch: {batch}, stage_img: [960], lr: [0.001]}}"
    )
    found, stage = [], 0
    while stage <= cfg.last_stage:
        together = stages_together(cfg, stage)
        found.append(f"{together[0]}-{together[-1]}")
        stage = together.stop
    assert found == groups


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


def test_waiting_for_the_fewest_is_reported_each_minute_and_goes_on() -> None:
    c = Cluster(lambda now: 1 if now < 120 else 2)
    assert c.choose(2, 4, 8) == 2
    assert 120 <= c.now < 130
    assert c.said == 2


def test_one_request_stands_while_a_host_is_waited_for() -> None:
    """An autoscaler takes idle hosts away from whoever asks for them now and then."""
    c = Cluster(lambda now: 1 if now < 120 else 2)
    assert c.choose(2) == 2
    stood = [(count, end - begin) for count, begin, end in c.asked]
    assert max(stood) > (2, 100)
    assert sum(seconds for _, seconds in stood) == c.now, "there was no moment without a request"
    assert len(c.asked) == 4


def test_whoever_stops_is_heard_while_a_request_stands() -> None:
    c = Cluster(lambda now: 0)
    assert c.choose(2, settle_s=20_000) is None
    assert 10_000 < c.now < 10_010


def test_the_request_stands_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    removed: list[object] = []
    left = iter([False, False, False, True])

    class Group:
        def wait(self, seconds: float) -> bool:
            return False

    monkeypatch.setattr(
        placement, "placement_group", lambda bundles: made.append(bundles) or Group()
    )
    monkeypatch.setattr(placement, "remove_placement_group", removed.append)
    assert not placement.can_place({"CPU": 1.0}, 2, lambda: next(left))
    assert next(left, None) is None
    assert (made, len(removed)) == ([[{"CPU": 1.0}] * 2], 1)


def test_patience_ends_with_what_to_change() -> None:
    c = Cluster(lambda now: 0)
    with pytest.raises(ConfigError, match=r"no room for 2 workers in 600 s.*cluster\.workers"):
        c.choose(2, 4)
    assert c.now < 620


def test_room_for_more_is_asked_for_only_while_the_group_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a cluster with room for one, the request for the second took the first one's."""
    standing: list[object] = []
    monkeypatch.setattr(
        placement, "placement_group", lambda bundles: standing.append(bundles) or "it"
    )
    monkeypatch.setattr(placement, "remove_placement_group", lambda group: standing.clear())
    scale_up = placement.ScaleUp({"CPU": 1.0}, lacking=1, settle_s=0)
    coordinator = Coordinator()

    def look() -> list[object]:
        scale_up.update(complete=len(coordinator.poll()[1]) >= 2)
        return standing

    coordinator.register_host("a")
    assert look() == []
    coordinator.register_host("a")  # two workers on one host
    assert look() == [[{"CPU": 1.0}]]
    assert look() == [[{"CPU": 1.0}]]
    coordinator.group_failed(lost=True)
    assert look() == []
