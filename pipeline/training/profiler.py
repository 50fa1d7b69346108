"""A torch trace of a few iterations of every stage: `engine.profile` says of how many."""

from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule

from pipeline.world import World

__all__ = ["Profiler"]

WAIT, WARM_UP = 2, 1
"""Iterations before those that are traced: compiling and allocating is not what they are about."""


class Profiler:
    """Traces `iterations` of a stage; none if it is 0."""

    def __init__(self, iterations: int, folder: Path, stage: int, world: World) -> None:
        """`folder` holds a file a stage and rank, for Perfetto or chrome://tracing."""
        self._profile: profile | None = None
        if not iterations:
            return
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{4 << stage:04d}-rank-{world.rank:03d}.json.gz"
        kinds = [ProfilerActivity.CPU]
        if world.device.type == "cuda":
            kinds.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=kinds,
            schedule=schedule(wait=WAIT, warmup=WARM_UP, active=iterations, repeat=1),
            on_trace_ready=lambda found: found.export_chrome_trace(str(file)),
            record_shapes=True,
        )
        self._profile.start()

    def step(self) -> None:
        """An iteration has ended."""
        if self._profile is not None:
            self._profile.step()

    def close(self) -> None:
        """Ends the trace."""
        if self._profile is not None:
            self._profile.stop()
