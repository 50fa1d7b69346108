"""How much of its time a trainer waits for images: the real loop, its own `time/data_wait`.

The networks are as small as they can be, so that a step is short and waiting weighs most: what a
user trains takes longer a step and waits for the same images. The first rows of a stage, with the
start of the stream and of DeepSpeed in them, do not count.
"""

import json
import statistics
import tempfile
from pathlib import Path

from pipeline.config import load
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.trainer import train_stage
from pipeline.world import World

__all__ = ["bench_wait"]

LAST = 4
ROWS, STEPS = 6, 10
TINY = (
    *("model.resolution=64", "model.start_channels=2", "model.max_channels=4"),
    *("model.z_width=8", "model.w_width=8", "model.mapping_layers=1"),
)


def bench_wait(config: Path, world: World) -> list[dict[str, object]]:
    """A cell for each of the stages 0 to 4: the median share over rows of ten steps."""
    batch = [128, 128, 128, 64, 32]
    stage_img = [b * STEPS * ROWS for b in batch]
    cells: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(open_source("600", "rendered"), folder / "set", [4 << k for k in range(LAST + 1)])
        for stage in range(LAST + 1):
            cfg = load(config, [
                *TINY, f"run_dir={folder}/run", f"data.path={folder}/set",
                f"schedule.stage_img={stage_img}", f"schedule.batch={batch}",
                f"log.scalars_img={batch[stage] * STEPS}", "log.grid_img=1000000000",
                "checkpoint.every_img=1000000000", "cluster.workers=[1]",
            ])  # fmt: skip
            train_stage(cfg, stage, world, open_storage(cfg.run_dir))
            rows = _rows(folder / "run/metrics.jsonl", stage)[1:]
            cells.append(
                {
                    "name": f"waiting for data, stage {stage}, {batch[stage]} images a step",
                    "waited": round(statistics.median(r["time/data_wait"] for r in rows), 5),
                    "waited_most": round(max(r["time/data_wait"] for r in rows), 5),
                    "step_s": round(statistics.median(r["time/step_s"] for r in rows), 4),
                }
            )
    return cells


def _rows(path: Path, stage: int) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if row["time/stage"] == stage]
