"""An undisturbed run of the bare trainer, without Ray, that others are compared with.

It goes on beside them: whoever asks for more than it has got to waits for it.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trials.faults.audit import Hashes, Steps, checkpoints
from trials.faults.hosts import wait_until
from trials.faults.job import BATCH, ROOT, settings

STOP_IMG = 256
"""A run that is asked to stop saves at a multiple of so many images (pipeline.training.trainer)."""
STEPS = 128
"""Of a stage, 50 ms of CPU time each; whole STOP_IMG, so that the reference has every run's end."""
LONGEST = 4
"""So many times as long is the longest run; the last of its two stages is the longer one."""
POLL_S, PATIENCE_S = 0.1, 1800


@dataclass
class Reference:
    """What an undisturbed run shows."""

    folder: Path
    stage_img: int
    settings: tuple[str, ...]
    process: "subprocess.Popen[bytes]"
    seconds: float = 0.0
    """What it took, once it is over."""
    _found: dict[int, Hashes] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._steps = Steps(self.folder / "batches")

    def checkpoints(self, seen: int) -> Mapping[int, Hashes]:
        """Those of its first `seen` images at least.

        Raises:
            RuntimeError: it has failed.
            TimeoutError: it does not get there.
        """
        wait_until(
            lambda: self._over.is_set() or max(self._found, default=0) >= seen, PATIENCE_S,
            f"the undisturbed run's image {seen:,}",
        )  # fmt: skip
        if self._over.is_set() and self.process.returncode:
            raise RuntimeError(f"the undisturbed run failed: {self.log.read_text()}")
        return dict(self._found)

    def batches(self, seen: int) -> Mapping[int, list[int]]:
        """Ids of every global batch of its first `seen` images at least; raises as the above."""
        self.checkpoints(seen)
        with self._reading:
            self._steps.update()
            batches, problems = self._steps.global_batches()
        assert not problems, problems
        return batches

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "log"

    def watch(self) -> None:
        """Collects what it publishes until it is over: of a stage that is done only one is kept."""
        since = time.monotonic()
        while self.process.poll() is None:
            time.sleep(POLL_S)
            self._found.update(checkpoints(self.folder / "run", self._found))
        self._found.update(checkpoints(self.folder / "run", self._found))
        self.seconds = time.monotonic() - since
        self._over.set()


@contextmanager
def reference(work: Path, data: Path, steps: int, overrides: Sequence[str]) -> Iterator[Reference]:
    """Trains two workers under torchrun, undisturbed, beside the block."""
    given, folder = settings(steps, overrides), work / "reference"
    folder.mkdir()
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
        "-m", "pipeline.cli", "train", "configs/demo.yaml", *given, "checkpoint.keep=100000",
        f"checkpoint.every_img={STOP_IMG}", f"schedule.total_img={LONGEST * steps * BATCH}",
        f"data.path={data}", f"run_dir={folder / 'run'}", f"log.batches={folder / 'batches'}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(), stdout=log, stderr=subprocess.STDOUT
        )
    made = Reference(folder, steps * BATCH, given, process)
    watcher = threading.Thread(target=made.watch, daemon=True)
    watcher.start()
    try:
        yield made
    finally:
        process.terminate()  # not killed: it has processes of its own to end
        watcher.join()


def prepared(work: Path) -> Path:
    """A few rendered faces."""
    command = [
        sys.executable, "-m", "pipeline.cli", "prepare", "64", "--source", "rendered",
        "--out", str(work / "data"), "--resolutions", "4..8",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stdout}")
    return work / "data"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
