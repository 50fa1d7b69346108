"""A run on Ray: every stage that is not done yet, as Ray Train runs, until it is done.

A stage is trained in rounds.  A round is one `fit()` with a number of workers that Ray has room
for: inside it Ray Train puts a new group of workers in the place of one that was lost.  A round
ends when the stage is done, when the driver asks for it (to stop, because a host is being drained,
because there is room for more workers), or when the lost are not replaced in time.  Each round goes
on from the newest whole checkpoint, found by looking, whatever Ray's own snapshot says.
"""

import fcntl
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer

from pipeline.cluster.connection import connected, in_job, is_ours
from pipeline.cluster.controller import Tell
from pipeline.cluster.coordinator import linked
from pipeline.cluster.placement import Growth, choose, draining, has_room
from pipeline.cluster.rendezvous import meeting
from pipeline.cluster.worker import work
from pipeline.config import RunConfig, as_yaml
from pipeline.storage import Storage
from pipeline.training.checkpoints import furthest, is_done
from pipeline.training.fencing import Fence
from pipeline.training.progress import Report
from stylealae.errors import ConfigError, UserError

__all__ = ["connected", "run"]

log = logging.getLogger(__name__)
POLL_S = 0.5
ANSWER_S = 60.0
WATCH_S = 2.0
FENCE_S = 10.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Driver:
    """What the rounds of a run share."""

    cfg: RunConfig
    storage: Storage
    fence: Fence
    link: Any
    asked: threading.Event
    """Set by Ctrl-C, SIGTERM and `ray job stop`."""
    report: Callable[[Report], None]
    say: Say


def run(
    cfg: RunConfig,
    storage: Storage,
    report: Callable[[Report], None],
    say: Say = log.warning,
) -> bool:
    """Trains all stages that are not done; False if it was stopped before the end.

    Raises:
        UserError: what a worker found wrong with the config, the data or a checkpoint, or a
            failure that trying again would not mend.
    """
    with _only_driver(storage), tempfile.TemporaryDirectory(prefix="stylealae-") as scratch:
        link = linked()
        with _stop_on_signals(link) as asked:
            fence = Fence.claim(storage)
            driver = Driver(cfg, storage, fence, link, asked, report, say)
            for stage in cfg.stages:
                if not _train(driver, stage, scratch):
                    return False
    return True


def _train(driver: Driver, stage: int, scratch: str) -> bool:
    """Rounds of one stage until it is done; False if it was stopped."""
    cfg, barren = driver.cfg, 0
    counts, settle_s = cfg.worker_counts(stage), driver.cfg.cluster.settle_s
    while not is_done(driver.storage, stage):
        workers = choose(
            counts,
            lambda count, within_s: has_room(_bundle(cfg), count, within_s),
            settle_s=settle_s,
            patience_s=cfg.cluster.patience_s,
            waiting=lambda: driver.say(_shortage(cfg, counts)),
            stopped=driver.asked.is_set,
        )
        if workers is None:
            return False  # it was stopped
        if len(counts) > 1:
            driver.say(f"stage {stage} goes on with {workers} of {counts[-1]} workers")
        before = furthest(driver.storage)
        error = _round(driver, stage, workers, scratch)
        # A round that lost workers has waited for others itself; of one that was asked to end, Ray
        # is still taking the room back.
        settle_s = 0.0 if error else cfg.cluster.settle_s
        driver.fence.require()
        reason = _answer(driver.link.failure.remote())
        if reason:
            raise UserError(reason) from error
        barren = 0 if error is None or furthest(driver.storage) > before else barren + 1
        if barren > cfg.cluster.max_failures or (
            barren and isinstance(error, ray.train.WorkerGroupError)
        ):
            assert error is not None
            raise UserError(_innermost(error)) from error
    return True


def _round(driver: Driver, stage: int, workers: int, scratch: str) -> Exception | None:
    """One `fit()`; how it failed, if it did."""
    cfg, link = driver.cfg, driver.link
    _answer(link.round.remote(driver.asked.is_set()))
    # How long Ray Train waits for a replacement; then the round ends, and the next one has a look.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(max(cfg.cluster.settle_s, 1.0))
    failures = cfg.cluster.max_failures
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "config": as_yaml(cfg), "stage": stage, "link": link, "token": driver.fence.token,
        },
        torch_config=meeting(
            "nccl" if cfg.cluster.gpus_per_worker else "gloo", folder=scratch if is_ours() else ""
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=cfg.cluster.gpus_per_worker > 0,
            resources_per_worker=_bundle(cfg),
        ),
        run_config=ray.train.RunConfig(
            name=f"{4 << stage:04d}-{driver.fence.token}-{time.time_ns()}",
            storage_path=scratch,  # Ray's own notes, which nothing is read back from
            failure_config=ray.train.FailureConfig(
                max_failures=failures,
                max_preemption_failures=failures,
                controller_failure_limit=0,
            ),
            callbacks=[Tell(link)],
        ),
    )  # fmt: skip
    counts = cfg.worker_counts(stage)
    larger = [count for count in counts if count > workers]
    growth = Growth(_bundle(cfg), larger[0] - workers if larger else 0, cfg.cluster.settle_s)
    try:
        return _finished(trainer.fit, _watch(driver, growth, workers))
    finally:
        with suppress(ray.exceptions.RayError):
            growth.close()
        _pass_on(driver)


def _watch(driver: Driver, growth: Growth, workers: int) -> Callable[[], None]:
    """What the driver does twice a second while a round is under way."""
    looked = fenced = time.monotonic()
    leaving = False

    def ask(why: str) -> None:
        nonlocal leaving
        leaving = True
        driver.say(f"{why}: saving a checkpoint, then going on from it")
        driver.link.stop.remote()

    def look() -> None:
        nonlocal looked, fenced
        hosts = _pass_on(driver)
        if time.monotonic() > fenced + FENCE_S:
            fenced = time.monotonic()
            driver.fence.require()  # an orphan of a head that is gone: its workers go with it
        growth.stand(while_complete=len(hosts) >= workers)
        if leaving or time.monotonic() < looked + WATCH_S:
            return
        looked = time.monotonic()
        if draining() & set(hosts):
            ask("a host is about to be taken away")
        elif growth.due():
            ask("there is room for more workers")

    return look


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


def _pass_on(driver: Driver) -> list[str]:
    """Shows what workers report; the host of each."""
    reports, hosts = _answer(driver.link.news.remote())
    for line in reports:
        driver.report(line)
    found: list[str] = hosts
    return found


def _answer(asked: Any) -> Any:
    """What the link answers.

    Raises:
        UserError: it does not; Ray is out of order.
    """
    try:
        return ray.get(asked, timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray does not answer ({type(error).__name__}): when it is up again, the same command "
            "goes on from the newest checkpoint"
        ) from error


def _bundle(cfg: RunConfig) -> dict[str, float]:
    """What one worker takes."""
    gpu = {"GPU": 1.0} if cfg.cluster.gpus_per_worker else {}
    return {"CPU": cfg.cluster.cpus_per_worker, **gpu}


def _shortage(cfg: RunConfig, counts: tuple[int, ...]) -> str:
    has, wants = ray.cluster_resources(), _bundle(cfg)
    each = " and ".join(f"{amount:g} {kind}" for kind, amount in wants.items())
    there = " and ".join(f"{has.get(kind, 0):g} {kind}" for kind in wants)
    return (
        f"waiting for room for {counts[0]} workers of {each} each; this Ray has {there} in all. "
        f"Gives up after {cfg.cluster.patience_s:g} s (cluster.patience_s)"
    )


@contextmanager
def _stop_on_signals(link: Any) -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM asks the workers to save and leave, the second one insists."""
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        log.warning("stopping: saving a checkpoint first (once more to leave at once)")
        asked.set()
        link.stop.remote()
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _only_driver(storage: Storage) -> Iterator[None]:
    """Refuses a second driver on this host by a lock, which goes with its process.

    Not in a Ray job: the driver before may be the orphan of a head that was killed, which holds
    the lock for a minute and more.  There, and between hosts, the fence has the last comer win.
    """
    storage.working.mkdir(parents=True, exist_ok=True)
    if in_job():
        yield
        return
    with (storage.working / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{storage.where} is being trained by another process: wait for it or stop it, or "
                "give this run a folder of its own (run_dir=runs/another)"
            ) from error
        except OSError as error:  # a file system without locks: the fence has to do
            log.info("no lock on %s (%s)", storage.working, error)
        yield


def _innermost(error: BaseException) -> str:
    """The last line of what went wrong in a worker."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"training failed: {lines[-1].strip() if lines else type(error).__name__}"
