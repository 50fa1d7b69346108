"""The run under test: one command, given to Ray Jobs again and again until it is done."""

import json
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
from trials.faults.hosts import GONE, RAY, UNREACHABLE, Hosts

ROOT = Path(__file__).resolve().parents[2]
BATCH = 32
EVERY_IMG = 16 * BATCH
STOP_IMG = 256
"""A run that is asked to stop saves at a multiple of so many images (pipeline.training.trainer)."""
STEPS = 152
"""Of a stage, 50 ms of CPU time each; whole STOP_IMG, so that the reference has every run's end."""
LONGEST = 4
"""So many times as long is the longest run; the last of its two stages is the longer one."""


def settings(steps: int, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """A run so small that a step takes milliseconds, and what the command line wants changed."""
    return (
        "model.resolution=8", "model.max_channels=16", "model.w_width=16", "model.z_width=16",
        "model.mapping_layers=2", f"schedule.stage_img=[{steps * BATCH}]",
        f"schedule.batch=[{BATCH}]", f"checkpoint.every_img={EVERY_IMG}",
        f"log.scalars_img={EVERY_IMG}", "log.grid_img=100000000", "log.grid_size=1",
        "schedule.lr_final=1",  # a rate that falls to a run's end is another where it is shorter
        "engine.threads=1", "engine.precision=fp32", *overrides,
    )  # fmt: skip


ENDED = ("SUCCEEDED", "FAILED", "STOPPED", GONE)
ASK_S, WATCH_S = 1.0, 0.1


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of the bare trainer, without Ray."""

    checkpoints: Mapping[int, Hashes]
    batches: Mapping[int, list[int]]
    stage_img: int
    settings: tuple[str, ...]
    seconds: float


def prepared(work: Path) -> Path:
    """A few rendered faces."""
    _call("pipeline.cli", "prepare", "64", "--source", "rendered", "--out", str(work / "data"),
          "--resolutions", "4..8")  # fmt: skip
    return work / "data"


def reference(work: Path, data: Path, steps: int, overrides: Sequence[str]) -> Reference:
    """Trains two workers under torchrun, undisturbed."""
    given, folder = settings(steps, overrides), work / "reference"
    since = time.monotonic()
    with _collected(folder / "run") as found:
        _call(
            "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "pipeline.cli",
            "train", "configs/demo.yaml", *given, "checkpoint.keep=100000",
            f"checkpoint.every_img={STOP_IMG}", f"schedule.total_img={LONGEST * steps * BATCH}",
            f"data.path={data}", f"run_dir={folder / 'run'}", f"log.batches={folder / 'batches'}",
        )  # fmt: skip
    shown = Steps(folder / "batches")
    shown.update()
    batches, problems = shown.global_batches()
    assert not problems, problems
    return Reference(found, batches, steps * BATCH, given, time.monotonic() - since)


@contextmanager
def _collected(run_dir: Path) -> Iterator[dict[int, Hashes]]:
    """All checkpoints that are published meanwhile; of a stage that is over only one is kept."""
    found: dict[int, Hashes] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            found.update(checkpoints(run_dir, found))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.update(checkpoints(run_dir, found))


@dataclass
class Job:
    """A run folder, and the command that trains it."""

    hosts: Hosts
    data: Path
    run_dir: str
    folder: Path
    settings: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    submitted: int = 0
    _answered: tuple[float, str] = (0.0, "")

    def __post_init__(self) -> None:
        self.steps = Steps(self.folder / "batches")

    def submit(self) -> None:
        """Gives the command; the same one every time."""
        self.submitted += 1
        self.id = f"{self.folder.name}-{self.submitted}-{time.time_ns()}"
        self._answered = (0.0, "")
        env = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60", **self.env}}
        _ray(
            self.hosts, "job", "submit", f"--submission-id={self.id}", "--no-wait",
            f"--working-dir={ROOT}", f"--runtime-env-json={json.dumps(env)}", "--",
            sys.executable, "launch/demo.py", "faces=64", *self.settings, "checkpoint.keep=3",
            "cluster.cpus_per_worker=1", f"data.path={self.data}", f"run_dir={self.run_dir}",
            f"log.batches={self.steps.folder}",
        )  # fmt: skip

    def stop(self) -> None:
        """`ray job stop`."""
        _ray(self.hosts, "job", "stop", self.id, "--no-wait")

    def status(self) -> str:
        """What Ray says of the newest submission; asked once a second at most."""
        asked, known = self._answered
        if time.monotonic() < asked + ASK_S:
            return known
        answer = self.hosts.ask(f"/api/jobs/{self.id}")
        told = answer if answer in (UNREACHABLE, GONE) else str(json.loads(answer)["status"])
        self._answered = (time.monotonic(), told)
        return told

    def ended(self) -> bool:
        """Whether the newest submission is over, however it ended."""
        return self.status() in ENDED

    def reason(self) -> str:
        """The last lines of the driver's log."""
        answer = self.hosts.ask(f"/api/jobs/{self.id}/logs")
        logs = answer if answer in (UNREACHABLE, GONE) else str(json.loads(answer)["logs"])
        return " / ".join(logs.strip().splitlines()[-3:])


def _ray(hosts: Hosts, *line: str) -> str:
    command = [str(RAY), *line[:2], f"--address={hosts.dashboard}", *line[2:]]
    env = {**hosts.environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stdout}")
    return done.stdout


def _call(module: str, *line: str) -> None:
    command = [sys.executable, "-m", module, *line]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=1800)
        except BaseException:
            process.terminate()  # not killed: it has processes of its own to end
            raise
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {told}")
