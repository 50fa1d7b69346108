"""What rank 0 does alone, or a rank late, is waited for on the side: not in a step's collective.

Two real processes, whose collectives are given up after less than rank 0 takes for each thing.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pipeline.config import parse
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training import logs
from pipeline.training.engine import Engine
from pipeline.training.observers import Observers
from pipeline.training.stage import open_stage
from pipeline.world import World
from stylealae.families import FAMILIES
from tests.ranks import run_ranks

GIVEN_UP_S, LATE_S = 2, 3
RUN = """
model:
  {resolution: 4, start_channels: 4, max_channels: 8, z_width: 8, w_width: 8, mapping_layers: 2}
schedule: {stage_img: [32], total_img: 0, batch: [8]}
engine: {precision: fp32, threads: 1}
log: {scalars_img: 8, grid_img: 8, grid_size: 2}
"""


def waited_for(world: World, run_dir: str, data: str) -> list[float]:
    """The sum of the ranks, in the group of the steps, after each thing that takes rank 0 long."""
    cfg = parse(RUN, [f"run_dir={run_dir}", f"data.path={data}"])
    short, at = timedelta(seconds=GIVEN_UP_S), cfg.progress(0)

    def late(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            time.sleep(LATE_S)
            return function(*given, **named)

        return called if world.rank == 0 else function

    def step() -> float:
        return float(world.sum(torch.ones(())))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dist.distributed_c10d, "default_pg_timeout", short)  # of DeepSpeed's group
        dist.distributed_c10d._set_pg_timeout(short)
        late(Engine)(FAMILIES[cfg.family].build(cfg.model, 1), at, cfg, world).close()
        sums = [step()]
        patched.setattr(logs, "_forget_after", late(logs._forget_after))
        patched.setattr(Observers, "scalars", late(Observers.scalars))
        patched.setattr(logs.Log, "_draw", late(logs.Log._draw))
        with open_stage(
            cfg, 0, world, open_storage(run_dir), report=lambda _: None, fence=None
        ) as stage:
            sums.append(step())
            stage.log.row(8, {"loss/critic": 0.0})
            sums.append(step())
            stage.log.grid_if_due(8, at, stage.state.model, stage.originals)
            sums.append(step())
            stage.log.grid_if_due(15, at, stage.state.model, stage.originals)  # nothing is due
        dist.distributed_c10d._set_pg_timeout(timedelta(minutes=5))
    return sums


def test_ranks_wait_for_what_rank_0_does_alone(tmp_path: Path) -> None:
    data = tmp_path / "faces"
    prepare(open_source("32", "rendered"), data, (4,), workers=1)
    given = [str(tmp_path / "run"), str(data)]
    assert run_ranks(2, waited_for, tmp_path, given=given) == [[2.0] * 4] * 2
