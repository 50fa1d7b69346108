"""The Slurm script on a real Slurm of one host: does a run end with the right weights?

    sudo python -m trials.slurm
    sudo python -m trials.slurm --keep       logs kept

`launch/cluster/slurm.sh` trains two workers on CPUs, and is played

* the time limit: Slurm's signal, a checkpoint, the job back in the queue by itself, going on;
* `scancel`, which ends all at once: what was whole is whole, and the job stays out of the queue;
* `scancel --batch --signal=TERM`, which saves first;
* the same `sbatch` again after each, until the run is done.

Every checkpoint has to equal, bit for bit, that of an undisturbed run without Ray and Slurm, every
batch likewise, and no process may be left.  Waiting is cut short, nothing else: the limit is
brought near once there are checkpoints, and a requeued job does not wait its two minutes.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from trials.faults.audit import Steps, checkpoints, differences
from trials.faults.hosts import SetUpError, wait_until
from trials.faults.job import BATCH, ROOT
from trials.faults.reference import LONGEST, STOP_IMG, Reference, prepared, reference
from trials.slurm.cluster import GPUS, Slurm, slurm

PATIENCE_S = 600
STEPS = 500
"""Of the reference's stage: the run must outlast the half minute in which Slurm looks at limits."""
WARNING_S = 60
ENDS = ("FAILED", "NODE_FAIL", "TIMEOUT", "CANCELLED")
TOO_BUSY = "Ray's head did not start"
"""Ray gives its own processes half a minute; then a person gives the command again."""
console = Console(highlight=False, soft_wrap=True, width=120)


class Play:
    """A run, the command that trains it, and what it has shown so far."""

    def __init__(self, cluster: Slurm, work: Path, data: Path, wanted: Reference) -> None:
        """Submits nothing yet."""
        self.slurm, self.work, self.wanted = cluster, work, wanted
        self.total_img = LONGEST * wanted.stage_img
        self.every_img = self.total_img // 16 // STOP_IMG * STOP_IMG
        self.run_dir, self.job = work / "run", ""
        self.steps = Steps(work / "batches")
        self.line = (
            "--nodes=1", f"--gpus-per-node={len(GPUS)}", f"--cpus-per-task={os.cpu_count()}",
            f"--signal=B:USR1@{WARNING_S}", "--time=600", f"--output={work}/job-%j.log",
            "launch/cluster/slurm.sh", "faces=64", *wanted.settings, "checkpoint.keep=3",
            f"checkpoint.every_img={self.every_img}", f"schedule.total_img={self.total_img}",
            "cluster.cpus_per_worker=1", f"data.path={data}", f"run_dir={self.run_dir}",
            f"log.batches={self.steps.folder}",
        )  # fmt: skip

    def submit(self) -> None:
        """Gives the command; the same one every time."""
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LAUNCH": "launch/demo.py",
            "RAY_TMPDIR": str(self.work / "ray"),
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
        }
        self.job = self.slurm.submit(self.line, env, ROOT)

    @property
    def newest(self) -> int:
        """Images seen of the newest whole checkpoint."""
        return max(checkpoints(self.run_dir), default=0)

    def saved(self) -> int:
        """Images seen of the newest checkpoint, which is where the attempt has stopped."""
        self.steps.update()
        stopped, newest = self.steps.seen + BATCH, self.newest
        demand(newest == stopped, f"it stopped at {stopped:,}, the checkpoint is at {newest:,}")
        return newest

    def about(self, key: str) -> str:
        """What Slurm says of the job."""
        return self.slurm.about(self.job).get(key, "")

    def state(self) -> str:
        """What Slurm says of it in a word."""
        return self.about("JobState")

    def train(self, saves: int) -> None:
        """Waits for an attempt to publish so many checkpoints; it went on from the newest."""
        before, attempts = self.newest, self._attempts()
        self.until(lambda: self._attempts() > attempts, "a step of a new attempt")
        began = self.steps.begun[-1].first
        demand(began == before, f"it began at {began:,}, the newest checkpoint is at {before:,}")
        goal = before + (saves - 0.5) * self.every_img
        self.until(lambda: self.newest > goal, f"{saves} checkpoints")

    def _attempts(self) -> int:
        self.steps.update()
        return len(self.steps.begun)

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Waits; the job must not fail meanwhile."""

        def so() -> bool:
            state = self.state()
            if state == "FAILED" and self.log().endswith(TOO_BUSY):
                self.submit()
            else:
                demand(state not in ENDS, f"the job is {state}, before {what}: {self.log()}")
            return true()

        wait_until(so, PATIENCE_S, what)

    def log(self) -> str:
        """The last line of what the job has printed."""
        log = self.work / f"job-{self.job}.log"
        lines = log.read_text().strip().splitlines() if log.exists() else []
        return lines[-1] if lines else ""

    def away(self) -> None:
        """Waits until nothing of the job is left on the host."""
        wait_until(lambda: not self.slurm.left(), PATIENCE_S, "the end of all the job's processes")


def demand(true: bool, otherwise: str) -> None:
    """Raises an AssertionError where something is not so."""
    if not true:
        raise AssertionError(otherwise)


def time_limit(play: Play) -> str:
    """The limit comes near; the job saves, queues itself again and goes on."""
    play.submit()
    play.train(2)
    before = play.newest
    elapsed = sum(
        int(t) * s for t, s in zip(play.about("RunTime").split(":"), (3600, 60, 1), strict=True)
    )
    play.slurm.update(play.job, TimeLimit=(elapsed + WARNING_S + 30) // 60 + 1)
    since = time.monotonic()
    play.until(lambda: play.state() == "PENDING", "the job in the queue again")
    took, saved = time.monotonic() - since, play.saved()
    demand(saved > before, "no checkpoint was saved after the signal")
    demand(play.about("Restarts") == "1", "Slurm does not say that it was requeued")
    play.away()
    play.slurm.update(play.job, StartTime="now")
    play.train(1)
    return f"requeued {took:.0f} s after the limit was set, saved and went on at {saved:,} images"


def cancelled(play: Play) -> str:
    """`scancel` ends all at once: what was whole is whole, and the job stays out."""
    whole = play.newest
    play.slurm.cancel(play.job)
    wait_until(lambda: play.state() == "CANCELLED", PATIENCE_S, "a cancelled job")
    play.away()
    demand(play.newest >= whole, "a checkpoint that was whole is gone")
    demand(play.state() == "CANCELLED", f"the job is {play.state()} again")
    at = play.newest
    play.submit()
    play.train(1)
    return f"went on at {at:,} images"


def cancelled_gently(play: Play) -> str:
    """TERM to the script alone saves first."""
    play.slurm.cancel(play.job, "--batch", "--signal=TERM")
    wait_until(lambda: play.state() not in ("RUNNING", "COMPLETING"), PATIENCE_S, "the job's end")
    play.away()
    demand(play.state() != "PENDING", "the job is queued again")
    at = play.saved()
    play.submit()
    play.until(lambda: play.state() == "COMPLETED", "the end of the run")
    play.away()
    return f"saved and went on at {at:,} images"


def equal(play: Play) -> str:
    """All of it is the undisturbed run's."""
    play.steps.update()
    batches, problems = play.steps.global_batches()
    found = checkpoints(play.run_dir)
    demand(not problems, str(problems[:1]))
    wanted = play.wanted.batches(play.total_img)
    demand(batches == {k: v for k, v in wanted.items() if k < play.total_img},
           "other batches than the undisturbed run's")  # fmt: skip
    demand(play.total_img in found, "the last checkpoint is missing")
    other = differences(found, play.wanted.checkpoints(play.total_img))
    demand(not other, f"other weights: {other[:1]}")
    scraps = [*play.run_dir.rglob("*.partial"), *ROOT.glob(".ray-*")]
    demand(not scraps, f"left behind: {scraps[:1]}")
    return (
        f"{len(batches):,} batches, weights, average and Adam are the undisturbed run's to the bit"
    )


ACTS = {
    "time limit": time_limit,
    "scancel": cancelled,
    "scancel --batch --signal=TERM": cancelled_gently,
    "the same command to the end": equal,
}


def main() -> None:
    """Plays it; exits with 1 if something is lost, with 2 if this machine cannot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="of a stage; fewer: faster")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without clearing up
    work = Path(tempfile.mkdtemp(prefix="sl-", dir="/var/tmp"))  # short: sockets lie below
    since = time.monotonic()
    try:
        with slurm(work / "slurm") as cluster:
            console.print("a Slurm, and an undisturbed run of the bare trainer to compare with")
            data = prepared(work)
            with reference(work, data, given.steps, ()) as wanted:
                play = Play(cluster, work, data, wanted)
                wanted.checkpoints(play.total_img)  # Slurm's limits are no place for company
                for name, act in ACTS.items():
                    console.print(f"survived  {name}: {act(play)}")
    except SetUpError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(2)
    except (AssertionError, TimeoutError) as error:
        console.print(f"LOST      {error}", style="red")
        sys.exit(1)
    finally:
        if given.keep:
            console.print(f"kept {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    console.print(f"{(time.monotonic() - since) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
