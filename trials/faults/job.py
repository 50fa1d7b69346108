"""The run under test: one command, given to Ray Jobs again and again until it is done."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trials.faults.audit import Steps
from trials.faults.hosts import GONE, UNREACHABLE, Hosts

ROOT = Path(__file__).resolve().parents[2]
BATCH = 32
EVERY_IMG = 16 * BATCH


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
ASK_S = 1.0


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
        """Gives the command, as `ray job submit` does; the same one every time."""
        self.submitted += 1
        self.id = f"{self.folder.name}-{self.submitted}-{time.time_ns()}"
        self._answered = (0.0, "")
        command = (
            sys.executable, "launch/demo.py", "faces=64", *self.settings, "checkpoint.keep=3",
            "cluster.cpus_per_worker=1", f"data.path={self.data}", f"run_dir={self.run_dir}",
            f"log.batches={self.steps.folder}",
        )  # fmt: skip
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": "60", **self.env}
        self.hosts.jobs().submit_job(
            entrypoint=shlex.join(command), submission_id=self.id,
            runtime_env={"working_dir": str(ROOT), "env_vars": variables},
        )  # fmt: skip

    def stop(self) -> None:
        """As `ray job stop` does."""
        self.hosts.jobs().stop_job(self.id)

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
