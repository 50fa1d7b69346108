"""The driver's memory over a thousand steps that each report: it must not grow.

A real run on Ray, 4x4 images, one worker; the driver is asked for its resident memory as it goes.
"""

import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
STEPS, BATCH = 1000, 8
SETTINGS = [
    "faces=64", "model.resolution=8", "model.max_channels=8", f"schedule.batch=[{BATCH}]",
    f"schedule.stage_img=[{STEPS * BATCH},{BATCH}]", "cluster.workers=[1]", "log.grid_img=1000000",
    f"log.scalars_img={BATCH}", "checkpoint.every_img=1000000",
]  # fmt: skip


def bench_driver() -> list[dict[str, Any]]:
    """Resident memory in the last tenth of a stage against that after its first tenth."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"run_dir={folder}/run", f"data.path={folder}/faces"]
        job = subprocess.Popen(
            [sys.executable, "launch/demo.py", *SETTINGS, *places],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        driver, rss, heard = psutil.Process(job.pid), {}, []
        assert job.stdout is not None
        for line in job.stdout:
            heard.append(line)
            if shown := re.search(r"([\d,]+) of [\d,]+ images", line):
                step = int(shown[1].replace(",", "")) // BATCH
                rss[step] = driver.memory_info().rss / (1 << 20)
        assert job.wait() == 0, "".join(heard[-20:])
    tenth = STEPS // 10
    before = statistics.median(v for step, v in rss.items() if tenth <= step < 2 * tenth)
    after = statistics.median(v for step, v in rss.items() if step >= STEPS - tenth)
    name = f"driver's memory, {STEPS} steps"
    return [{"name": name, "ratio": round(after / before, 4), "mib": round(after)}]
