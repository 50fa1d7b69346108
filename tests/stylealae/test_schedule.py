"""Growth is a pure function of images seen."""

import math

import pytest

from stylealae.config import ScheduleConfig
from stylealae.errors import ConfigError
from stylealae.schedule import progress_at, stage_span

CFG = ScheduleConfig(stage_img=(100, 200, 400), total_img=1000, batch=(8, 4), lr=(0.1, 0.2, 0.3))


def test_stages_follow_each_other_and_the_last_runs_on():
    assert [stage_span(s, 2, CFG) for s in range(3)] == [(0, 100), (100, 300), (300, 1000)]
    assert [progress_at(seen, 2, CFG).stage for seen in (0, 99, 100, 299, 300, 5000)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_alpha_is_a_half_sine_over_the_first_half_of_a_stage():
    assert progress_at(50, 2, CFG).alpha == 1.0  # stage 0 has no fade
    for into in (0, 25, 50, 75):
        expected = (1 - math.cos(math.pi * into / 100)) / 2
        assert progress_at(100 + into, 2, CFG).alpha == pytest.approx(expected, abs=1e-12)
    assert progress_at(200, 2, CFG).alpha == 1.0
    assert progress_at(250, 2, CFG).alpha == 1.0


def test_short_tuples_go_on_with_their_last_entry():
    assert [progress_at(seen, 2, CFG).batch for seen in (0, 150, 900)] == [8, 4, 4]
    assert progress_at(900, 2, CFG).lr == 0.3


def test_the_defaults_are_the_published_ffhq_recipe():
    cfg = ScheduleConfig()
    stages = [progress_at(stage_span(s, 8, cfg)[0], 8, cfg) for s in range(9)]
    assert [p.batch for p in stages] == [512, 256, 128, 64, 32, 32, 32, 32, 32]
    assert [p.lr for p in stages] == [0.0015] * 6 + [0.002, 0.003, 0.003]
    assert [stage_span(s, 8, cfg)[0] for s in range(9)] == [960_000 * s for s in range(9)]
    assert stage_span(8, 8, cfg)[1] == 18_000_000
    assert progress_at(960_000 + 480_000, 8, cfg).alpha == 1.0


@pytest.mark.parametrize("bad", [{"batch": ()}, {"stage_img": (0,)}, {"fade_fraction": 2.0}])
def test_an_impossible_schedule_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ScheduleConfig(**bad)


def test_networks_that_do_not_grow_have_one_stage_and_no_fade():
    cfg = ScheduleConfig(stage_img=(1000,), total_img=0, batch=(8,), lr=(0.1,))
    assert stage_span(3, 3, cfg, 3) == (0, 1000)
    at = progress_at(10, 3, cfg, 3)
    assert (at.stage, at.alpha, at.resolution) == (3, 1.0, 32)


def test_the_rate_falls_along_half_a_cosine():
    cfg = ScheduleConfig(
        stage_img=(100, 400), total_img=0, lr=(0.2, 0.1), lr_final=0.5, lr_falls_from=0.5
    )
    rates = [progress_at(seen, 1, cfg).lr for seen in (0, 99, 100, 300, 400, 500, 9999)]
    assert rates == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.075, 0.05, 0.05])
