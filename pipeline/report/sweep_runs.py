"""Does the runs of a sweep: each trains and is measured in a process of its own."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.format.manifest import Manifest
from pipeline.report.sweep import SweepRun
from pipeline.report.sweep_table import EVALUATION
from pipeline.storage import is_url, open_storage
from pipeline.storage.json_lines import json_lines
from pipeline.training import checkpoints
from pipeline.training.places import anchored_places
from pipeline.training.same_run import require_same_request
from stylealae.errors import UserError

__all__ = ["Job", "SweepEvaluation", "absolute", "job_of", "over_processes", "work"]

LOG = "sweep.log"
"""In a run's folder: what its commands printed."""
COMMAND = (sys.executable, "-m", "pipeline.cli")
LINES = 3
POLL_S = 0.5
_running: set[subprocess.Popen[bytes]] = set()
_leaving = threading.Event()


@dataclass(frozen=True)
class SweepEvaluation:
    """What is measured of a finished run."""

    data: str
    """The data set, absolute."""
    metrics: tuple[str, ...]
    """Names of metrics."""
    samples: int
    """Images to generate, and at most so many real ones."""
    labels: str = ""
    """Labels of the data set, commas between."""


@dataclass(frozen=True)
class Job:
    """A run as commands, of text alone: it travels to other hosts."""

    name: str
    folder: str
    commands: tuple[tuple[str, ...], ...]


def job_of(run: SweepRun, evaluation: SweepEvaluation | None) -> Job:
    """What is left to do of a run: nothing where it is trained and measured."""
    commands: list[tuple[str, ...]] = []
    config = str(run.config.absolute() if run.config.exists() else run.config)
    folder = str(run.folder.absolute())  # another host begins in another folder
    trained = _trained(run)
    if not _is_same(run, complete=trained) or not trained:  # train says what differs
        here, there = (anchored_places(run.cfg, base) for base in (Path(), Path.cwd()))
        places = {
            key: f"[{','.join(where)}]" if isinstance(where, tuple) else where
            for key, where in there.items()
            if where != here[key]
        }
        places |= {"data.path": absolute(run.cfg.data.path), "run_dir": folder}
        commands.append(("train", config, *run.overrides, *(f"{k}={v}" for k, v in places.items())))
    if evaluation is not None:
        done = set() if commands else _measured(run, evaluation)
        left = [name for name in evaluation.metrics if name not in done]
        if left:
            commands.append((
                "evaluate", folder, "--data", evaluation.data, "--metrics", ",".join(left),
                "--samples", str(evaluation.samples), "--labels", evaluation.labels,
                "--batch", "500", "--out", f"{folder}/{EVALUATION}",
            ))  # fmt: skip
    return Job(run.name, folder, tuple(commands))


def absolute(place: str) -> str:
    """A folder wherever one stands; a URL as it is."""
    return place if is_url(place) else str(Path(place).absolute())


def work(job: Job) -> str:
    """Does a job; its error in a line, or "".  Interrupted, it lets the run save and end."""
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for command in job.commands:
        before = (folder / LOG).stat().st_size if (folder / LOG).exists() else 0
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen((*COMMAND, *command), stdout=log, stderr=log)
            _running.add(process)
            if _leaving.is_set():  # it began while the others were being told
                process.send_signal(signal.SIGTERM)
            try:
                code = _ended(process)
            except BaseException:
                process.send_signal(signal.SIGTERM)
                process.wait()
                raise
            finally:
                _running.remove(process)
        if code:
            said = (folder / LOG).read_bytes()[before:].decode(errors="replace").splitlines()
            said = said[-LINES:]
            return f"{command[0]} ended with {code}: {' '.join(said)}"
    return ""


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a process; waited for in turns, as Ray's KeyboardInterrupt ends none."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_S)


def over_processes(
    work: Callable[[Job], str], jobs: Sequence[Job], at_most: int
) -> Iterator[tuple[Job, str]]:
    """Every job with what `work` says of it, in the order that they end; `at_most` at once.

    Interrupted, it tells the runs to save and end, and waits until they have.
    """
    _leaving.clear()
    with ThreadPoolExecutor(at_most) as pool:
        pending = {pool.submit(work, job): job for job in jobs}
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        except BaseException:
            _leaving.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in [*_running]:
                process.send_signal(signal.SIGTERM)
            raise


def _trained(run: SweepRun) -> bool:
    """Whether a run has seen its last image and left its snapshot."""
    stage = run.folder / f"{4 << run.cfg.last_stage:04d}"
    if not (stage / "snapshot/config.json").exists():
        return False
    rows = json_lines(run.folder / "metrics.jsonl")
    return bool(rows) and rows[-1]["seen"] >= run.cfg.span(run.cfg.last_stage)[1]


def _is_same(run: SweepRun, *, complete: bool) -> bool:
    """Whether what there is of a run was asked for what is asked for now.

    Settings that an unfinished one goes on with are logged here: what `train` says of them lies in
    the run's folder.
    """
    storage = open_storage(run.folder)
    if checkpoints.newest(storage) is None:
        return True
    try:
        digest = Manifest.read(run.cfg.data.path).digest
        require_same_request(run.cfg, storage, digest, complete=complete)
    except UserError:
        return False
    return True


def _measured(run: SweepRun, evaluation: SweepEvaluation) -> set[str]:
    """The metrics that an earlier sweep has measured, of these images, of as many samples."""
    digest = _digest(evaluation.data)
    labels = [label for part in evaluation.labels.split(",") if (label := part.strip())]
    return {
        line["metric"]
        for line in json_lines(run.folder / EVALUATION)
        if line["dataset"] == evaluation.data
        and line.get("data", digest) == digest
        and line["samples"] in (0, evaluation.samples)
        and line["labels"] in ([], labels)
    }


def _digest(data: str) -> str:
    """Of a data set's manifest; empty where there is none to be read: `evaluate` says so."""
    try:
        return Manifest.read(data).digest
    except UserError:
        return ""
