"""A run on Ray: every stage that is not done yet, in rounds, until it is done.

A round (round.py) trains consecutive stages that may have the same numbers of workers, with as many
as Ray can place.  Each goes on from the newest whole checkpoint, found in storage, whatever
Ray's own snapshot holds.
"""

import logging
import tempfile
from collections.abc import Callable
from functools import partial

import ray
import ray.train

from pipeline.cluster.connection import is_own
from pipeline.cluster.coordinator import start_coordinator
from pipeline.cluster.placement import can_place, choose_workers, lacking, stages_together
from pipeline.cluster.process import only_driver, stop_on_signals
from pipeline.cluster.round import FENCE_S, Rounds, answer, bundle_of, every, run_round
from pipeline.config import RunConfig, as_yaml
from pipeline.config.sections import ClusterConfig
from pipeline.storage import Storage
from pipeline.training.checkpoints import furthest
from pipeline.training.fencing import Fence
from pipeline.training.progress import ProgressUpdate
from pipeline.training.resume import next_stage
from stylealae.errors import ConfigError, UserError

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(
    cfg: RunConfig,
    storage: Storage,
    report: Callable[[ProgressUpdate], None],
    say: Callable[[str], None] = log.warning,
) -> bool:
    """Trains all stages that are not done; False if it was stopped before the end.

    Args:
        cfg: the run.
        storage: where it lies.
        report: called with the progress of the workers.
        say: called with what a person should know.

    Raises:
        UserError: what a worker found wrong with the config, the data or a checkpoint, or a
            failure that another try would not mend.
    """
    fewest = max(cfg.worker_counts(stage)[0] for stage in cfg.stages)
    if is_own() and (lack := lacking(bundle_of(cfg.cluster), fewest)):
        raise ConfigError(
            f"{lack}, and no other host joins it: change cluster.workers, cluster.cpus_per_worker "
            "or cluster.gpus_per_worker (0 trains on CPUs), or set RAY_ADDRESS to a cluster's"
        )
    with only_driver(storage), tempfile.TemporaryDirectory(prefix="stylealae-") as scratch:
        coordinator = start_coordinator()
        with stop_on_signals(coordinator.stop.remote) as stopping:
            rounds = Rounds(
                config=as_yaml(cfg), cluster=cfg.cluster, coordinator=coordinator,
                fence=Fence.claim(storage), stopping=stopping, report=report, say=say,
                scratch=scratch,
            )  # fmt: skip
            while (stage := next_stage(cfg, storage)) is not None:
                if not _train(rounds, cfg, storage, stages_together(cfg, stage)):
                    return False
    return True


def _train(run: Rounds, cfg: RunConfig, storage: Storage, stages: range) -> bool:
    """Rounds of stages that may have the same numbers of workers; False if it was stopped."""
    counts = cfg.worker_counts(stages.start)
    cluster, without_progress, settle_s = run.cluster, 0, run.cluster.settle_s
    require = every(FENCE_S, run.fence.require)

    def stopped() -> bool:
        require()  # a driver that waits for capacity may be an orphan as well
        return run.stopping.is_set()

    while (stage := next_stage(cfg, storage)) is not None and stage in stages:
        workers = choose_workers(
            counts,
            partial(can_place, bundle_of(cluster)),
            settle_s=settle_s,
            patience_s=cluster.patience_s,
            waiting=lambda: run.say(_shortage(cluster, counts[0])),
            stopped=stopped,
        )
        if workers is None:
            return False  # it was stopped
        if len(counts) > 1:
            run.say(f"stage {stage} goes on with {workers} of {counts[-1]} workers")
        before, more = furthest(storage), [count for count in counts if count > workers]
        error = run_round(
            run, range(stage, stages.stop), workers, lacking=more[0] - workers if more else 0
        )
        # A round that lost workers has waited for others itself; of one that was ended, Ray
        # is still taking the capacity back.
        settle_s = 0.0 if error else cluster.settle_s
        run.fence.require()
        reason: str = answer(run.coordinator.failure.remote())
        if reason:
            raise UserError(reason) from error
        without_progress = (
            0 if error is None or furthest(storage) > before else without_progress + 1
        )
        if without_progress > cluster.max_failures or (
            without_progress and isinstance(error, ray.train.WorkerGroupError)
        ):
            assert error is not None
            raise UserError(_innermost(error)) from error
    return True


def _shortage(cluster: ClusterConfig, workers: int) -> str:
    wants = bundle_of(cluster)
    each = " and ".join(f"{amount:g} {kind}" for kind, amount in wants.items())
    there, free = (
        " and ".join(f"{has.get(kind, 0):g} {kind}" for kind in wants)
        for has in (ray.cluster_resources(), ray.available_resources())
    )
    return (
        f"waiting for room for {workers} workers of {each} each; this Ray has {there} in all, "
        f"{free} of it free. Gives up after {cluster.patience_s:g} s (cluster.patience_s)"
    )


def _innermost(error: BaseException) -> str:
    """The last line of what went wrong in a worker."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"training failed: {lines[-1].strip() if lines else type(error).__name__}"
