"""A run's progress as gauges of Ray, which its Prometheus endpoint shows beside the cluster's."""

from ray.util.metrics import Gauge

from pipeline.training.progress import ProgressUpdate

__all__ = ["Gauges"]


class Gauges:
    """Of one run, by its name."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._seen = _gauge("images_seen", "real images shown so far")
        self._total = _gauge("images_total", "real images of the whole run")
        self._speed = _gauge("images_per_second", "real images a second, over the last interval")
        self._resolution = _gauge("resolution_pixels", "side of the images of this stage")
        self._loss = _gauge("loss", "mean loss of a phase over the last interval", "phase")

    def show(self, update: ProgressUpdate) -> None:
        """Sets every gauge to what a line of progress says."""
        run = {"run": self._run}
        self._seen.set(update.seen, run)
        self._total.set(update.total, run)
        self._speed.set(update.img_per_s, run)
        self._resolution.set(update.resolution, run)
        for phase, loss in update.losses.items():
            self._loss.set(loss, {**run, "phase": phase})


def _gauge(name: str, description: str, *tags: str) -> Gauge:
    return Gauge(f"stylealae_{name}", description=description, tag_keys=("run", *tags))
