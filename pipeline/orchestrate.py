"""A run on Ray: every stage that is not done yet as one Ray Train run, with retries.

The driver's side and the workers' side of it, and the `Link` actor between them: workers send
progress and the reason of a failure, the driver sends the wish to stop.
"""

import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from pipeline.checkpoint import is_done
from pipeline.config import RunConfig, as_yaml, parse
from pipeline.logs import Report
from stylealae.errors import ConfigError, UserError

__all__ = ["connected", "run"]

log = logging.getLogger(__name__)
POLL_S = 0.5
CONNECT_S = 10
OBJECT_STORE_BYTES = 150 << 20
CODE = Path(__file__).resolve().parents[1]


@ray.remote(num_cpus=0)
class Link:
    """What driver and workers tell each other."""

    def __init__(self) -> None:
        self._reports: list[Report] = []
        self._failure = ""
        self._stop = False

    def report(self, report: Report) -> None:
        """From rank zero: one line of progress."""
        self._reports.append(report)

    def fail(self, reason: str) -> None:
        """From a worker: a failure that trying again would not mend."""
        self._failure = self._failure or reason

    def stop(self) -> None:
        """From the driver: save and leave."""
        self._stop = True

    def stopping(self) -> bool:
        """Whether to save and leave."""
        return self._stop

    def failure(self) -> str:
        """Why the run cannot go on; empty if it can."""
        return self._failure

    def take_reports(self) -> list[Report]:
        """The reports since the last call."""
        taken, self._reports = self._reports, []
        return taken


def run(cfg: RunConfig, report: Callable[[Report], None]) -> bool:
    """Trains all stages that are not done; False if it was stopped before the end.

    Raises:
        UserError: what a worker found wrong with the config, the data or a checkpoint.
    """
    run_dir = Path(cfg.run_dir)
    with _only_writer(run_dir):
        for stage in range(cfg.last_stage + 1):
            if not is_done(run_dir, stage) and not _fit(cfg, stage, report):
                return False
    return True


@contextmanager
def connected(cores: int, address: str | None = None) -> Iterator[None]:
    """A Ray to run on: that at `address` or RAY_ADDRESS, else one of our own for the while."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
    if address := address or os.environ.get("RAY_ADDRESS"):
        # A job's working directory carries the code; a driver that joins by hand brings it along.
        in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        code = {} if in_job else {"py_modules": [str(CODE / "stylealae"), str(CODE / "pipeline")]}
        _require_answer(address)
        ray.init(address, runtime_env=code, **quiet)
    else:
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15 would yield to every other process
        os.environ["PYTHONPATH"] = os.pathsep.join(
            p for p in (str(CODE), os.environ.get("PYTHONPATH")) if p
        )
        ray.init(
            "local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Fails at once where Ray would ask for minutes an address at which nothing listens."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        if port.isdecimal():
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray answers at {address} ({error}): start one with `ray start --head`, correct "
            "the address, or unset RAY_ADDRESS"
        ) from error


def _fit(cfg: RunConfig, stage: int, report: Callable[[Report], None]) -> bool:
    workers = cfg.worker_counts(stage)[-1]
    _require_resources(cfg, workers)
    link = Link.remote()  # type: ignore[attr-defined]
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"config": as_yaml(cfg), "stage": stage, "link": link},
        torch_config=TorchConfig(backend="nccl" if cfg.cluster.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=cfg.cluster.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": cfg.cluster.cpus_per_worker,
                **({"GPU": 1} if cfg.cluster.gpus_per_worker else {}),
            },
        ),
        run_config=ray.train.RunConfig(
            name=f"{4 << stage:04d}-{time.strftime('%Y%m%d-%H%M%S')}",
            storage_path=str(Path(cfg.run_dir).absolute() / "ray"),
            failure_config=ray.train.FailureConfig(
                max_failures=cfg.cluster.max_failures,
                controller_failure_limit=cfg.cluster.max_failures,
            ),
        ),
    )
    with _stop_on_signals(link):
        error = _finished(trainer.fit, lambda: _pass_on(link, report))
    _pass_on(link, report)
    reason = ray.get(link.failure.remote()) or (error and _innermost(error))
    if reason:
        raise UserError(reason) from error
    return is_done(Path(cfg.run_dir), stage)


def _finished(fit: Callable[[], Any], meanwhile: Callable[[], None]) -> Exception | None:
    """Runs `fit` to its end and gives back how it failed, if it did.

    In a thread of its own: in the main one Ray Train would take Ctrl-C for itself and abort.
    """
    errors: list[Exception] = []

    def run_fit() -> None:
        try:
            fit()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run_fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        meanwhile()
    return errors[0] if errors else None


def _pass_on(link: Any, report: Callable[[Report], None]) -> None:
    for line in ray.get(link.take_reports.remote()):
        report(line)


def _worker(job: dict[str, Any]) -> None:
    """One trainer process: what Ray Train starts on every worker."""
    import torch

    from pipeline.engine import joined
    from pipeline.trainer import train_stage

    cfg, link = parse(job["config"]), job["link"]
    if ray.get(link.failure.remote()):
        return  # a retry of something that trying again does not mend
    context = ray.train.get_context()
    share = max(1, int(cfg.cluster.cpus_per_worker))  # Ray sets OMP_NUM_THREADS=1
    torch.set_num_threads(cfg.engine.threads or share)
    world = joined(
        cfg.engine, gpu=cfg.cluster.gpus_per_worker > 0, local_rank=context.get_local_rank()
    )
    try:
        train_stage(
            cfg,
            job["stage"],
            world,
            stop=lambda: bool(ray.get(link.stopping.remote())),
            report=lambda line: link.report.remote(line) and None,
        )
    except UserError as error:
        ray.get(link.fail.remote(str(error)))
        raise


@contextmanager
def _stop_on_signals(link: Any) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the workers to save and leave, the second one insists."""

    def ask(number: int, frame: Any) -> None:
        log.warning("stopping: saving a checkpoint first (once more to leave at once)")
        link.stop.remote()
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _only_writer(run_dir: Path) -> Iterator[None]:
    """Refuses a second driver of the same run; the lock goes with its process, however it dies."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{run_dir} is being trained by another process: wait for it or stop it, or give "
                "this run a folder of its own (run_dir=runs/another)"
            ) from error
        yield


def _require_resources(cfg: RunConfig, workers: int) -> None:
    """Fails at once where Ray would wait for ever for cores or GPUs that no node has."""
    has = ray.cluster_resources()
    cores, gpus = workers * cfg.cluster.cpus_per_worker, workers * cfg.cluster.gpus_per_worker
    if has.get("CPU", 0) < cores or has.get("GPU", 0) < gpus:
        raise ConfigError(
            f"{workers} workers want {cores:g} CPUs and {gpus} GPUs, this Ray has "
            f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g}: change cluster.workers, "
            "cluster.cpus_per_worker or cluster.gpus_per_worker, or add nodes"
        )


def _innermost(error: BaseException) -> str:
    """The last line of what went wrong in a worker."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"training failed: {lines[-1].strip() if lines else type(error).__name__}"
