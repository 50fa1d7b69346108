"""Where faults happen: hosts, a disk that can fill, a store that can fail, and a run on them."""

import os
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import psutil

from tests.pipeline.storage.bucket import Bucket
from trials.faults.audit import Attempt, Hashes, Steps, Watch, checkpoints, hashes_of
from trials.faults.hosts import SPARES, WORKERS, Hosts, run, wait_until
from trials.faults.job import BATCH, EVERY_IMG, Job
from trials.faults.reference import LONGEST, Reference

DISK = "256m"


@dataclass(frozen=True)
class Setting:
    """A kind of run that faults are done to."""

    length: int
    """Images, in stages of the reference."""
    every_img: int
    overrides: tuple[str, ...]


SETTINGS = {
    "folder": Setting(3, EVERY_IMG, ("cluster.workers=[2]",)),
    "store": Setting(3, 2 * EVERY_IMG, ("cluster.workers=[2]",)),  # to upload takes longer
    "elastic": Setting(LONGEST, EVERY_IMG, ("cluster.workers=[1..2]", "cluster.settle_s=5")),
}
PATIENCE_S = 400
ORPHANS_S = 150
"""Ray lets what a dead head leaves behind live for a minute and more."""


@dataclass
class Scene:
    """All that a fault can touch."""

    hosts: Hosts
    bucket: Bucket
    reference: Reference
    chance: random.Random = field(default_factory=random.Random)
    """Of the fault that is being done."""
    members: list[str] = field(default_factory=lambda: list(WORKERS))
    spares: deque[str] = field(default_factory=lambda: deque(SPARES))
    setting: str = ""
    """Of the run that is going on; empty if none is."""
    runs: int = 0
    job: Job = field(init=False)
    watch: Watch = field(init=False)

    @property
    def work(self) -> Path:
        """The folder of these hosts."""
        return self.hosts.work

    @property
    def disk(self) -> Path:
        """The small disk that run folders lie on."""
        return self.work / "disk"

    @property
    def steps(self) -> Steps:
        """The run's steps so far."""
        self.job.steps.update()
        return self.job.steps

    def begin(self, setting: str) -> None:
        """Submits a new run."""
        self.runs, self.setting = self.runs + 1, setting
        name, remote = f"{self.work.name}-run{self.runs}", setting == "store"
        run_dir = f"s3://faults/{name}" if remote else str(self.disk / name)
        given = (
            *self.reference.settings, *SETTINGS[setting].overrides,
            f"checkpoint.every_img={self.every_img}", f"schedule.total_img={self.total_img}",
        )  # fmt: skip
        self.job = Job(
            self.hosts, self.work / "data", run_dir, self.work / name, given, self._env(remote)
        )
        self.job.submit()

    def _env(self, remote: bool) -> dict[str, str]:
        """What the workers need to reach the store."""
        if not remote:
            return {}
        kept = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        return {"AWS_ENDPOINT_URL": self.bucket.url, **{name: os.environ[name] for name in kept}}

    @property
    def every_img(self) -> int:
        """Images between two checkpoints of the run that is going on."""
        return SETTINGS[self.setting].every_img

    @property
    def total_img(self) -> int:
        """Images of the run that is going on."""
        return SETTINGS[self.setting].length * self.reference.stage_img

    def expect(self, *, passes: bool) -> None:
        """From here on, `watch` tells what a fault costs."""
        self.watch = Watch(self.job.steps, BATCH, passes=passes)

    def lifted(self) -> None:
        """The fault is over: the time to the next step runs from now."""
        self.watch.restart()

    def advance(self, steps: int) -> None:
        """Waits until the run, which nothing disturbs, has got so many steps further.

        Raises:
            TimeoutError: it has not.
            AssertionError: it has ended instead.
        """
        goal = self.steps.seen + steps * BATCH
        wait_until(lambda: self._went_on_to(goal), PATIENCE_S, f"{steps} steps")

    def _went_on_to(self, goal: int) -> bool:
        if self.steps.seen < goal and self.job.status() in ("FAILED", "STOPPED"):
            raise AssertionError(f"the job ended although nothing was done: {self.job.reason()}")
        return self.job.steps.seen >= goal

    def await_end(self, timeout_s: float = PATIENCE_S) -> str:
        """Waits until Ray says that the job has ended, and gives back how."""
        wait_until(self.job.ended, timeout_s, "the end of the job")
        return self.job.status()

    def published(self) -> dict[int, Hashes]:
        """The run's checkpoints."""
        if self.setting != "store":
            return checkpoints(Path(self.job.run_dir))
        place, found = self.job.run_dir.removeprefix("s3://"), {}
        for path in self._store.glob(f"{place}/[0-9]*/seen-*/manifest.json"):
            with suppress(OSError, ValueError):
                seen = int(Path(path).parent.name.removeprefix("seen-"))
                found[seen] = hashes_of(self._store.cat_file(path))
        return found

    @cached_property
    def _store(self) -> Any:
        """The object store itself, not by way of what can fail."""
        host, port = self.bucket.backend
        return fsspec.filesystem(
            "s3", use_listings_cache=False, skip_instance_cache=True,
            client_kwargs={"endpoint_url": f"http://{host}:{port}"},
        )  # fmt: skip

    def newest_attempt(self) -> Attempt:
        """Rank zero's newest one."""
        return self.steps.begun[-1]

    def rank_zero(self) -> psutil.Process:
        """The process that makes the newest steps and writes the checkpoints."""
        return psutil.Process(int(self.newest_attempt().file.name.split("-")[3]))

    def a_member(self) -> str:
        """One of the hosts that train."""
        return self.chance.choice(self.members)

    def replace(self, gone: str) -> None:
        """A spare host joins in the place of another, which is spare once it is clear."""
        comes = self.spares.popleft()
        self.hosts.kill(comes)
        self.hosts.link(comes, up=True)
        self.hosts.start(comes)
        self.members[self.members.index(gone)] = comes
        self.spares.append(gone)

    def fill_disk(self) -> None:
        """Leaves no room on the disk."""
        left = os.statvfs(self.disk)
        used = (left.f_blocks - left.f_bfree) * left.f_frsize
        run("mount", "-o", f"remount,size={used + 8192}", str(self.disk))

    def free_disk(self) -> None:
        """Makes room again."""
        run("mount", "-o", f"remount,size={DISK}", str(self.disk))

    def no_orphans(self) -> None:
        """Waits for what the dead left behind to die.  The job has ended.

        Raises:
            TimeoutError: something lives on.
        """
        wait_until(lambda: not any(self.hosts.trainers().values()), ORPHANS_S,
                   "the end of all trainers and drivers")  # fmt: skip

    def power_on(self) -> None:
        """Starts Ray on a head and on the hosts that train."""
        self.hosts.power_on(self.members)

    def power_off(self) -> None:
        """Everything off, every cable in, the disk and the store well."""
        for name in self.hosts.all:
            self.hosts.kill(name)
            self.hosts.link(name, up=True)
        self.free_disk()
        self.bucket.misbehave, self.bucket.delay_s = lambda method, path: None, 0.0
        self.members, self.spares, self.setting = list(WORKERS), deque(SPARES), ""
        time.sleep(1)
