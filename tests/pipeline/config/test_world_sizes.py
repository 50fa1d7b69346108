"""How many workers a stage may have: what divides its batch."""

import pytest

from pipeline.config import RunConfig, parse
from pipeline.config.world_sizes import allowed
from stylealae.errors import ConfigError


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
