"""What Ray costs: its share of a step, a stage's switch, and the way back after a lost worker.

The same run under torchrun without checkpoints and as a Ray job with them, in turn, on this host
alone: with a core to spare for Ray's processes, as where GPUs train, and with a trainer on every
core.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from trials.faults.audit import Steps, Watch

ROOT = Path(__file__).resolve().parents[1]
BATCH = 32
CONFIG = (
    "model.resolution=16", "model.max_channels=64", f"schedule.batch=[{BATCH}]",
    "log.grid_img=100000000", "log.grid_size=1", "engine.threads=1", "log.scalars_img=320",
)  # fmt: skip
STEADY_IMG = (20 * BATCH, 20 * BATCH, 500 * BATCH)
WINDOW_IMG = (70 * BATCH, 270 * BATCH)
SHORT_IMG = (20 * BATCH, 20 * BATCH, 300 * BATCH)
EVERY_IMG = 50 * BATCH
TIMEOUT_S = 1800


def bench_cluster(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Ray's share of a step, the switch of a stage and a lost worker."""
    data = folder / "data"
    _module("pipeline.cli", ["prepare", "64", "--source", "rendered", "--out", str(data),
                             "--resolutions", "4..16"])  # fmt: skip
    switches, lost_s = switch_and_loss(folder, data)
    return [
        *overhead(folder, data, rounds, 1, "a core to spare"),
        *overhead(folder, data, rounds, 2, "trainers on all cores"),
        {"name": "stage switch (at most 15 s)", "took_s": round(statistics.median(switches), 2)},
        {"name": "lost worker to the next step (at most 20 s)", "took_s": round(lost_s, 2)},
    ]


def overhead(
    folder: Path, data: Path, rounds: int, workers: int, beside: str
) -> list[dict[str, Any]]:
    """Images/s and CPU time an image at the last stage, bare and as a Ray job, in turn.

    All of Ray's processes count. Wall-clock time tells of a machine that does nothing else; CPU
    time is less moved by what runs beside.
    """
    kinds = (("bare", partial(_bare, workers), 10**9), ("ray", _job, EVERY_IMG))
    took: dict[str, list[tuple[float, float]]] = {"bare": [], "ray": []}
    for i in range(rounds):
        for name, started, every in kinds:
            run_dir = folder / f"{name}-{workers}-{i}"
            steps = Steps(folder / f"batches-{run_dir.name}")
            line = _line(data, run_dir, STEADY_IMG, every, workers)
            with started([*line, f"log.batches={steps.folder}"]) as job:
                took[name].append(_rates(job, steps))
                job.send_signal(signal.SIGTERM)
    rate, cpu = (
        {name: statistics.median(pair[i] for pair in pairs) for name, pairs in took.items()}
        for i in (0, 1)
    )
    name = f"Ray job with checkpoints / bare trainer, {beside}"
    return [
        {
            "name": f"{name}, images/s",
            "ratio": round(rate["ray"] / rate["bare"], 3),
            "a_img_per_s": round(rate["ray"], 1),
            "b_img_per_s": round(rate["bare"], 1),
            "rounds": rounds,
        },
        {
            "name": f"{name}, CPU time an image",
            "ratio": round(cpu["ray"] / cpu["bare"], 3),
            "a_cpu_s": round(cpu["ray"], 5),
            "b_cpu_s": round(cpu["bare"], 5),
        },
    ]


def _rates(job: "subprocess.Popen[bytes]", steps: Steps) -> tuple[float, float]:
    """Images/s and CPU seconds an image, of all processes, while the steps of a window are made."""
    marks = []
    for goal in WINDOW_IMG:
        while steps.seen < goal:
            if job.poll() is not None:
                raise RuntimeError("the run ended before it could be measured")
            time.sleep(0.1)
            steps.update()
        marks.append((time.monotonic(), steps.seen, _cpu_s(job.pid)))
    (since, first, before), (until, last, after) = marks
    return (last - first) / (until - since), (after - before) / (last - first)


def _cpu_s(pid: int) -> float:
    """What a process and all below it have computed."""
    main, total = psutil.Process(pid), 0.0
    for process in (main, *main.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def switch_and_loss(folder: Path, data: Path) -> tuple[list[float], float]:
    """Seconds from a stage's last step to the next one's first; from a kill to the next step."""
    steps = Steps(folder / "batches")
    line = [*_line(data, folder / "switch", SHORT_IMG, EVERY_IMG), f"log.batches={steps.folder}"]
    ends, begins = {}, {}
    with _job(line) as job:
        while len(begins) < len(SHORT_IMG) or steps.seen < sum(SHORT_IMG[:2]) + 2 * EVERY_IMG:
            if job.poll() is not None:
                raise RuntimeError("the job ended before the worker could be killed")
            steps.update()
            now = time.monotonic()
            for i, attempt in enumerate(steps.begun):
                begins.setdefault(i, now)
                if ends.get(i, (0.0, -1))[1] < attempt.last:
                    ends[i] = (now, attempt.last)
            time.sleep(0.02)
        watch = Watch(steps, BATCH)
        trainers = [
            p
            for p in psutil.Process(job.pid).children(recursive=True)
            if "RayTrainWorker" in " ".join(p.cmdline())
        ]
        trainers[0].send_signal(signal.SIGKILL)
        while (found := watch.recovery()) is None:
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
    switches = [begins[i + 1] - ends[i][0] for i in range(len(SHORT_IMG) - 1)]
    return switches, found.next_step_s


def _line(
    data: Path, run_dir: Path, stage_img: Sequence[int], every: int, workers: int = 2
) -> list[str]:
    spans = ",".join(map(str, stage_img))
    return [*CONFIG, f"schedule.stage_img=[{spans}]", f"checkpoint.every_img={every}",
            f"cluster.workers=[{workers}]", f"data.path={data}", f"run_dir={run_dir}"]  # fmt: skip


def _job(line: Sequence[str]) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """A Ray of its own on this host, and a run on it."""
    return _running([sys.executable, "launch/demo.py", "faces=64", *line])


def _bare(workers: int, line: Sequence[str]) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """Trainers under torchrun."""
    return _running(
        [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={workers}",
         "--standalone", "-m", "pipeline.cli", "train", "configs/demo.yaml", *line]
    )  # fmt: skip


@contextmanager
def _running(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that ends by itself, or is made to."""
    job = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield job
    finally:
        _left(job)


def _left(job: "subprocess.Popen[bytes]") -> None:
    """The job ends by itself, or is made to."""
    try:
        job.wait(120)
    except subprocess.TimeoutExpired:
        below = psutil.Process(job.pid).children(recursive=True)
        for process in (psutil.Process(job.pid), *below):
            process.kill()


def _module(module: str, line: Sequence[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", module, *line], cwd=ROOT, check=True, timeout=TIMEOUT_S,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
    )  # fmt: skip
