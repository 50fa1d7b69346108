"""A run's progress stands on the Prometheus endpoint of a real Ray."""

import re
import time
import urllib.request
from contextlib import suppress

import pytest

pytest.importorskip("ray")

import ray

from pipeline.cluster.connection import connected
from pipeline.training.progress import ProgressUpdate

pytestmark = pytest.mark.ray
SAYS_WITHIN_S = 90
UPDATE = ProgressUpdate(
    resolution=8, alpha=1.0, seen=4096, stage_first=0, stage_end=8000, total=8000, img_per_s=12.5,
    losses={"critic": 0.75},
)  # fmt: skip


def test_gauges_are_on_the_endpoint_of_the_workers_node() -> None:
    @ray.remote
    class Worker:
        def show(self) -> None:
            from pipeline.cluster.gauges import Gauges

            self.gauges = Gauges("faces")
            self.gauges.show(UPDATE)

    with connected(1):
        worker = Worker.remote()
        ray.get(worker.show.remote())
        port, text = ray.nodes()[0]["MetricsExportPort"], ""
        end = time.monotonic() + SAYS_WITHIN_S
        while "stylealae_loss{" not in text and time.monotonic() < end:
            time.sleep(0.5)
            with suppress(OSError):  # it is not up yet
                asked = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
                text = asked.read().decode()
    found = {
        name: (re.findall(r'(run|phase)="(\w+)"', tags), float(value))
        for name, tags, value in re.findall(r"^ray_stylealae_(\w+){(.*)} (\S+)$", text, re.M)
    }
    run = ("run", "faces")
    assert found == {
        "images_seen": ([run], 4096), "images_total": ([run], 8000),
        "images_per_second": ([run], 12.5), "resolution_pixels": ([run], 8),
        "loss": ([("phase", "critic"), run], 0.75),
    }  # fmt: skip
