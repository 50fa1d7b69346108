"""A round: one Ray Train `fit()` of stages with a number of workers that Ray can place.

A group of workers trains stage after stage, as its processes take long to start.  Inside the round
Ray Train puts a new group in the place of one that has lost a worker.  It ends when its stages are
done, when the driver requests it (to stop, because a host is being drained, because there is
capacity for more workers), or when lost workers are not replaced in time.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import remove_placement_group

from pipeline.cluster.connection import is_own
from pipeline.cluster.controller import FailureReporter, FixedScaling, GroupReporter
from pipeline.cluster.coordinator import CoordinatorHandle
from pipeline.cluster.placement import Bundle, ScaleUp, draining_hosts
from pipeline.cluster.rendezvous import Rendezvous
from pipeline.cluster.worker import WorkerArguments, train_worker
from pipeline.config.sections import ClusterConfig
from pipeline.training.fencing import Fence
from pipeline.training.progress import ProgressUpdate
from stylealae.errors import UserError

__all__ = ["FENCE_S", "Rounds", "answer", "bundle_of", "every", "run_round"]

POLL_S = 0.5
ANSWER_S = 60.0
WATCH_S = 2.0
FENCE_S = 10.0
UNUSED = (DatasetsCallback, PlacementGroupCleanerCallback)


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What the rounds of a run share."""

    config: str
    """The run's config as YAML, for the workers."""
    cluster: ClusterConfig
    coordinator: CoordinatorHandle
    fence: Fence
    stopping: threading.Event
    """Set by Ctrl-C, SIGTERM and `ray job stop`."""
    report: Callable[[ProgressUpdate], None]
    say: Callable[[str], None]
    scratch: str
    """Folder for Ray's own notes, which nothing is read back from."""


class _Trainer(DataParallelTrainer):  # type: ignore[misc]
    """Without processes beside the workers that a run has no use for, and what they load.

    Ray Data has nothing to do here; the driver itself asks for capacity, and gives back what is
    reserved for a group whose controller has died.
    """

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [callback for callback in made if not isinstance(callback, UNUSED)]

    def _initialize_and_run_controller(self, **given: Any) -> Any:
        given["scaling_policy"] = FixedScaling(self.scaling_config)
        return super()._initialize_and_run_controller(**given)


def run_round(run: Rounds, stages: range, workers: int, lacking: int) -> Exception | None:
    """One `fit()`; how it failed, if it did.

    Args:
        run: what its rounds share.
        stages: the stages that are trained.
        workers: how many train them.
        lacking: how many more it should have: capacity for them ends the round.
    """
    cluster, token = run.cluster, run.fence.token
    answer(run.coordinator.begin_round.remote())
    # How long Ray Train waits for a replacement; then the round ends, and the next one counts anew.
    # Its controller takes this from the driver's environment, there is no argument for it.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(max(cluster.settle_s, 1.0))
    arguments: WorkerArguments = {
        "config": run.config, "stages": stages, "coordinator": run.coordinator, "token": token,
    }  # fmt: skip
    trainer = _Trainer(
        train_worker,
        train_loop_config=arguments,
        backend_config=Rendezvous(
            backend="nccl" if cluster.gpus_per_worker else "gloo",
            folder=run.scratch if is_own() else "",
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker=bundle_of(cluster),
        ),
        run_config=ray.train.RunConfig(
            name=f"{4 << stages.start:04d}-{token}-{time.time_ns()}",
            storage_path=run.scratch,
            failure_config=ray.train.FailureConfig(
                max_failures=cluster.max_failures,
                max_preemption_failures=cluster.max_failures,
                controller_failure_limit=0,
            ),
            callbacks=[FailureReporter(run.coordinator), GroupReporter(run.coordinator)],
        ),
    )
    scale_up = ScaleUp(bundle_of(cluster), lacking, cluster.settle_s)
    try:
        error = _finished(trainer.fit, _watch(run, scale_up, workers))
        if error and (reservation := answer(run.coordinator.reservation.remote())):
            remove_placement_group(reservation)  # again, unless the controller died before it could
        return error
    finally:
        with suppress(ray.exceptions.RayError):
            scale_up.close()
        _pass_on(run)


def answer(call: ray.ObjectRef) -> Any:
    """What the coordinator's method returns; Any, as each returns its own.

    Raises:
        UserError: it does not; Ray is out of order.
    """
    try:
        return ray.get(call, timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray does not answer ({type(error).__name__}): when it is up again, the same command "
            "goes on from the newest checkpoint"
        ) from error


def bundle_of(cluster: ClusterConfig) -> Bundle:
    """The resources of one worker."""
    gpu = {"GPU": 1.0} if cluster.gpus_per_worker else {}
    return {"CPU": cluster.cpus_per_worker, **gpu}


def every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """The same call, made at most once in so many seconds."""
    made = time.monotonic()

    def call_if_due() -> None:
        nonlocal made
        if time.monotonic() > made + seconds:
            made = time.monotonic()
            call()

    return call_if_due


def _watch(run: Rounds, scale_up: ScaleUp, workers: int) -> Callable[[], None]:
    """What the driver does twice a second while a round is under way."""
    looked, ending = time.monotonic(), False
    require = every(FENCE_S, run.fence.require)

    def end(why: str) -> None:
        nonlocal ending
        ending = True
        run.say(f"{why}: saving a checkpoint, then going on from it")
        run.coordinator.end_round.remote()

    def look() -> None:
        nonlocal looked
        hosts = _pass_on(run)
        require()  # an orphan of a head that is gone: its workers go with it
        scale_up.update(complete=len(hosts) >= workers)
        if ending or time.monotonic() < looked + WATCH_S:
            return
        looked = time.monotonic()
        if draining_hosts() & set(hosts):
            end("a host is about to be taken away")
        elif scale_up.due():
            end("there is room for more workers")

    return look


def _finished(fit: Callable[[], object], meanwhile: Callable[[], None]) -> Exception | None:
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


def _pass_on(run: Rounds) -> list[str]:
    """Passes the workers' progress on; the host of each."""
    updates: list[ProgressUpdate]
    hosts: list[str]
    updates, hosts = answer(run.coordinator.poll.remote())
    for update in updates:
        run.report(update)
    return hosts
