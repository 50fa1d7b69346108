"""`plan`, `train`, `import`: runs and what they leave."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from pipeline.cli.arguments import CONFIG, OVERRIDES, OVERWRITE, PATH, require_free
from pipeline.cli.beginning import RequestedRun, is_complete
from pipeline.cli.dry_run import PlanRequest, dry_run
from pipeline.cli.errors import reports_errors, resumable
from pipeline.cli.output import JSON
from pipeline.cli.progress import bars
from pipeline.cli.summary import print_summary
from pipeline.config import load
from stylealae.errors import ConfigError

__all__ = ["import_", "plan", "train"]


USUAL = (0, 2, 4)  # stages to calibrate with


@click.command()
@CONFIG
@OVERRIDES
@click.option("--gpu-gib", type=float, default=0.0, help="Make every stage fit so much memory.")
@click.option("--gpus", type=int, default=0, help="Share the run among so many GPUs.")
@click.option("--gpu", default="", help="Forecast from this GPU's data sheet: h100, a100, l4, ...")
@click.option("--price", type=float, default=0.0, help="Of one GPU and hour, in any currency.")
@click.option("--rates", type=PATH, help="Forecast with measured rates.")
@click.option("--calibrate", type=PATH, help="Measure this machine's rates, write them.")
@click.option("--stages", default="", help="Stages to calibrate with; default: 0,2,4, or those of "
                                              "them that the run has.")  # fmt: skip
@JSON
@reports_errors
def plan(
    config: Path, overrides: Sequence[str], gpu_gib: float, gpus: int, gpu: str, price: float,
    rates: Path | None, calibrate: Path | None, stages: str, as_json: bool,
) -> None:  # fmt: skip
    """Show the stages of a run: images, batches, rates, memory, and how the workers share them.

    \b
    stylealae plan configs/ffhq_1024.yaml cluster.workers=[8]
    stylealae plan configs/ffhq_1024.yaml --gpu-gib 24
    stylealae plan configs/ffhq_1024.yaml --gpus 32 --gpu h100 --price 2.5
    stylealae plan configs/ffhq_1024.yaml --calibrate rates.json
    stylealae plan configs/ffhq_1024.yaml --gpus 32 --rates rates.json --price 2.5

    With --gpu-gib or --gpu it looks for the micro-batches, recomputation and offload that fit, and
    prints them as overrides. With --gpu the speed is an ESTIMATE from the data sheet; with
    --calibrate it is fitted to iterations measured here, and its error is told. On a cluster:

    \b
    ray job submit --entrypoint-num-gpus 1 --working-dir . -- \
        python -m pipeline.cli plan configs/ffhq_1024.yaml --calibrate /shared/rates.json
    """  # noqa: D301
    cfg = load(config, overrides)
    if cfg.init.from_:
        from pipeline.training.initialization import resolved

        cfg = resolved(cfg)
    if calibrate is not None:
        from pipeline.planning.calibration import calibrated

        calibrated(cfg, _numbers(stages, cfg.stages), click.echo).write(calibrate)
        rates = calibrate
    request = PlanRequest(
        gpu_gib=gpu_gib, gpus=gpus, gpu=gpu, price=price, rates=rates, as_json=as_json
    )
    dry_run(cfg, request)


def _numbers(stages: str, there: range) -> list[int]:
    """`0,2,4` -> [0, 2, 4], each a stage of the run; the usual ones if none are named."""
    if not stages:
        usual = [stage for stage in USUAL if stage in there]
        return usual if len(usual) > 1 else [*there[-2:]]
    parts = [part.strip() for part in stages.split(",")]
    if not all(part.isdecimal() and int(part) in there for part in parts):
        raise ConfigError(
            f"--stages is {stages!r}: give stages from {there[0]} to {there[-1]}, as in "
            f"{','.join(map(str, there[-2:]))}"
        )
    return [int(part) for part in parts]


@click.command()
@CONFIG
@OVERRIDES
@resumable
def train(config: Path, overrides: Sequence[str]) -> None:
    """Train in this process, without Ray (under torchrun: in all of its processes).

    \b
    stylealae train configs/demo.yaml data.path=datasets/mine run_dir=runs/mine
    torchrun --nproc-per-node 2 -m pipeline.cli train configs/demo.yaml

    The same command again goes on from the newest whole checkpoint. At its end it draws samples
    and reconstructions into the run, and writes report.html beside them.
    """  # noqa: D301
    cfg = load(config, overrides)
    from pipeline.cli.console import Console
    from pipeline.data.prepare.from_hub import with_hub_data
    from pipeline.storage import open_storage
    from pipeline.training.fencing import Fence
    from pipeline.training.initialization import resolved
    from pipeline.training.snapshots import snapshot
    from pipeline.training.trainer import train_stages
    from pipeline.world import joined, leave

    with bars() as update:
        cfg = with_hub_data(cfg, partial(update, "images"))
    storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
    cfg = resolved(cfg, storage)
    world = joined(cfg.engine, gpu=cfg.cluster.gpus_per_worker > 0)
    run = RequestedRun(cfg, storage)
    complete = is_complete(run, world)
    claimed = None if complete else Fence.claimed_by(world, storage)
    with Console() as console, _stopped_by_signals() as stopping:
        if not train_stages(
            cfg, cfg.stages, world, storage,
            fence_of=lambda stage: claimed and claimed.group(stage + 1, stage),
            stop=stopping.is_set, report=console.show,
        ):  # fmt: skip
            raise KeyboardInterrupt
    leave(world)
    if world.rank == 0:
        headline = "this run is complete" if complete else "done"
        print_summary(headline, run, snapshot(storage, cfg.last_stage))


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Sets an event by Ctrl-C or SIGTERM in the block; once more leaves at once."""
    stopping = threading.Event()

    def stop(number: int, _: object) -> None:
        stopping.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command("import")
@click.argument("released", type=PATH)
@click.argument("out", type=PATH)
@click.option("--raw", is_flag=True, help="The last step's weights, not their running average.")
@OVERWRITE
@reports_errors
def import_(released: Path, out: Path, raw: bool, overwrite: bool) -> None:
    """Turn a checkpoint of the authors' code into a snapshot.

    \b
    stylealae import model_submitted.pth snapshots/ffhq

    RELEASED is read without running any code that it may hold; the network's shape is read off
    its tensors.
    """  # noqa: D301
    from pipeline.storage import published
    from stylealae import StyleALAE

    require_free(out, overwrite=overwrite)
    m = StyleALAE.from_released(released, ema=not raw)
    with published(out) as folder:
        m.save(folder)
    click.echo(out)
