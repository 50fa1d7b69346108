"""The loop: stages of a run, each from its newest checkpoint to the stage's end.

It knows nothing of Ray: it is given a config, a World, a stop flag and someone to report to.
"""

from collections.abc import Callable

from pipeline.config import RunConfig
from pipeline.data.loader.batch import on_device
from pipeline.storage import Storage
from pipeline.training import checkpoints
from pipeline.training.fencing import Fence
from pipeline.training.post_training import finished
from pipeline.training.progress import ProgressUpdate
from pipeline.training.resume import next_stage
from pipeline.training.stage import Stage, open_stage
from pipeline.world import World
from stylealae.errors import DivergenceError
from stylealae.schedule import due

__all__ = ["iterate", "train_stage", "train_stages"]

STOP_POLL_IMG = 256


def train_stages(
    cfg: RunConfig,
    stages: range,
    world: World,
    storage: Storage,
    *,
    fence_of: Callable[[int], Fence | None],
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[ProgressUpdate], None] = lambda _: None,
) -> bool:
    """Trains those of some stages that are not done; False if `stop` said so first.  Collective.

    Args:
        cfg: the run.
        stages: consecutive ones; where the run goes on with another, this is over.
        world: the ranks.
        storage: where the run lies.
        fence_of: the right to write a stage, asked for when it begins; None but on rank 0.
        stop: whether to save and leave.
        report: called with the progress, on rank 0.
    """
    while (stage := next_stage(cfg, storage, world)) is not None and stage in stages:
        fence = fence_of(stage)
        if not train_stage(cfg, stage, world, storage, stop=stop, report=report, fence=fence):
            return False
        world.free_memory()
    return True


def train_stage(
    cfg: RunConfig,
    stage: int,
    world: World,
    storage: Storage,
    *,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[ProgressUpdate], None] = lambda _: None,
    fence: Fence | None = None,
) -> bool:
    """Trains one stage; True when it is done, False if `stop` said so first.  Collective."""
    with open_stage(cfg, stage, world, storage, report=report, fence=fence) as s:
        try:
            iterate(s, world, stop)
            s.saver.finish()
        except Exception as error:
            error.add_note(f"after {s.state.seen:,} images")  # the same again is no accident
            if not isinstance(error, DivergenceError):
                raise
            good = checkpoints.latest(storage)
            raise DivergenceError(
                f"{error}. Last good checkpoint: {good and good.where}"
            ) from error
    done = s.state.seen >= s.end
    if done:
        s.saver.finish_stage(stage, lambda: finished(s), s.state.origin)
    return done


def iterate(s: Stage, world: World, stop: Callable[[], bool] = lambda: False) -> None:
    """Iterations until the stage's end, or until `stop` says so on any rank.  Collective."""
    state, log, stopped = s.state, s.log, False
    while state.seen < s.end and not stopped:
        at = s.at()
        batch = s.loader.next()
        log.batch(state.seen, batch.sample_ids)
        x = on_device(batch, at.alpha, world.device)  # [n, C, R, R] in [-1, 1]
        for phase in s.phases(state.seen, at.batch):
            r = s.draw(phase.name, at, batch.classes)  # z [n, Z], noise, labels
            loss = state.engine.step(phase, x, r, at)  # trains the phase's networks and no other
            log.scalar(f"loss/{phase.name}", loss)
        state.advance(s.inputs.z("w_mean", state.seen, at), at)  # averages; images seen
        s.critic.measure_if_due(state.seen, x, at)  # has it memorized the images?
        log.write_if_due(state.seen, at, s.loader.waited_s, s.loader.replaced)
        log.grid_if_due(state.seen, at, s.shown, s.originals)
        s.metrics.write_if_due(state.seen, at)
        stopped = due(state.seen, STOP_POLL_IMG, at.batch) and world.any(stop() or s.saver.failed)
        if stopped or state.seen >= s.end or due(state.seen, s.cfg.checkpoint.every_img, at.batch):
            s.save()
        s.profiler.step()
