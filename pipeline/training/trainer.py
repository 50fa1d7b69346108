"""The loop: one stage of a run, from its newest checkpoint to the stage's end.

It knows nothing of Ray: it is given a config, a World, a stop flag and someone to report to.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pipeline.config import RunConfig, check_shares
from pipeline.data.format.manifest import Manifest
from pipeline.data.loader.batch import on_device
from pipeline.data.loader.loader import Stream
from pipeline.storage import Storage, open_storage
from pipeline.training import checkpoints
from pipeline.training.async_checkpoint import Saver
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.engine import Engine
from pipeline.training.fencing import Fence
from pipeline.training.logs import Log, due
from pipeline.training.metrics import Metrics
from pipeline.training.progress import Report
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.config import ShapeConfig
from stylealae.ema import Ema
from stylealae.errors import CheckpointError, ConfigError, DivergenceError
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import at_stage

__all__ = ["train_stage"]

STOP_POLL_IMG = 256


def train_stage(
    cfg: RunConfig,
    stage: int,
    world: World,
    *,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[Report], None] = lambda _: None,
    fence: Fence | None = None,
) -> bool:
    """Trains one stage; True when it is done, False if `stop` said so first.  Collective."""
    storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
    span, family = cfg.span(stage), FAMILIES[cfg.family]
    manifest = readable_by(cfg)
    nets, seen, found = begin(cfg, storage, manifest, world)
    # A stage that was killed between its last checkpoint and its snapshot is still this stage.
    at = cfg.progress(min(seen, span[1] - 1))
    micro = at_stage(cfg.engine.micro_batch, stage)
    check_shares(stage, batch=at.batch, ranks=world.size, micro_batch=micro)
    nets.to(world.device)
    ema = Ema(nets, cfg.schedule).to(world.device)
    engine = Engine(nets, at, cfg, world)
    if found is not None:
        ema.load_state_dict(found.tensors("ema"))
        if found.state["stage"] == stage:  # another stage starts fresh optimisers
            engine.load_state_dict(found.tensors("adam"))
    stream = Stream(
        cfg.data.path, cfg.data, seed=cfg.seed, resolution=4 << stage,
        rank=world.rank, world=world.size, device=world.device,
    )  # fmt: skip
    sampler = family.sampler(
        cfg.model, cfg.loss, seed=cfg.seed, mine=world.share(at.batch), device=world.device,
        labelled=stream.labelled,
    )  # fmt: skip
    originals = on_device(stream.fixed(cfg.log.grid_size), 1.0, world.device)
    total = cfg.span(cfg.last_stage)[1]
    log = Log(
        storage, cfg.log, world, seen=seen, span=span, total=total, report=report, fence=fence
    )
    saver = Saver(storage, cfg.checkpoint, world, fence, log.note)

    def model() -> Model:
        return family.model(ema.nets, ema.means, cfg.model, stage=stage, seen=seen)

    def save() -> None:
        log.require_finite(seen)
        about = checkpoints.describe(cfg, stage, seen, manifest.digest)
        adam = engine.state_dict()
        with engine.gathered():
            parts = {"networks": nets.state_dict(), "ema": ema.state_dict(), "adam": adam}
            saver.save(parts, about)  # copies; a thread publishes

    metrics = Metrics(cfg, world, log, model)
    stopped = False
    stream.start(seen, at.batch, span[1])
    try:
        while seen < span[1] and not stopped:
            at = cfg.progress(seen)
            batch = stream.next()
            log.batch(seen, batch.sample_ids)
            x = on_device(batch, at.alpha, world.device)  # [n, C, R, R] in [-1, 1]
            for phase in family.phases(cfg.loss, seen // at.batch):
                r = sampler.draw(phase.name, seen, at, batch.classes)  # z [n, Z], noise, labels
                loss = engine.step(phase, x, r, at)  # trains the phase's letters and no other
                log.scalar(f"loss/{phase.name}", loss)
            with engine.gathered():
                ema.update(nets, sampler.z("w_mean", seen, at), at)
            seen += at.batch
            log.write_if_due(seen, at, stream.waited_s, stream.replaced)
            log.grid_if_due(seen, at, model, originals)
            metrics.write_if_due(seen, at)
            stopped = due(seen, STOP_POLL_IMG, at.batch) and world.any(stop() or saver.failed)
            if stopped or seen >= span[1] or due(seen, cfg.checkpoint.every_img, at.batch):
                save()
        saver.finish()
    except Exception as error:
        error.add_note(f"after {seen:,} images")  # the same again is no accident
        if not isinstance(error, DivergenceError):
            raise
        good = checkpoints.latest(storage)
        raise DivergenceError(f"{error}. Last good checkpoint: {good and good.where}") from error
    finally:
        saver.close()
        stream.close()
        log.close()
        engine.close()
    if seen >= span[1]:
        saver.finish_stage(stage, model())
    return seen >= span[1]


def begin(
    cfg: RunConfig, storage: Storage, manifest: Manifest, world: World
) -> tuple[NetworkGroup, int, Checkpoint | None]:
    """The networks, images seen and checkpoint that the run goes on from.  Collective.

    Raises:
        CheckpointError: the newest checkpoint is of another model, seed or data set.
    """
    nets = FAMILIES[cfg.family].build(cfg.model, cfg.seed)
    found = checkpoints.latest(storage, world)
    if found is None:
        return nets, 0, None
    was = found.state
    mine = {
        "family": cfg.family,
        **_as_saved(cfg.model),
        "seed": cfg.seed,
        "data set": manifest.digest,
    }
    theirs = {
        "family": "stylealae",
        **_as_saved(type(cfg.model)()),  # of keys that came after the checkpoint
        **was["config"],
        **was["config"]["model"],
        "data set": was["data"],
    }
    other = [
        f"{k} ({theirs.get(k)} there, {v} here)" for k, v in mine.items() if theirs.get(k) != v
    ]
    if other:
        raise CheckpointError(
            f"the checkpoint {found.where} is of another run: {', '.join(other)}. Give this one a "
            f"run_dir of its own (run_dir=runs/another), or remove {storage.where}"
        )
    nets.load_state_dict(found.tensors("networks"))
    return nets, int(was["seen"]), found


def _as_saved(model: ShapeConfig) -> dict[str, Any]:
    """The section `model` as a checkpoint's JSON gives it back."""
    saved: dict[str, Any] = json.loads(json.dumps(asdict(model)))
    return saved


def readable_by(cfg: RunConfig) -> Manifest:
    """The manifest of the run's data set, if the networks can take its images."""
    manifest = Manifest.read(cfg.data.path)
    if manifest.channels != cfg.model.channels:
        raise ConfigError(
            f"model.channels is {cfg.model.channels} and the images of {cfg.data.path} have "
            f"{manifest.channels}: set model.channels={manifest.channels}"
        )
    return manifest
