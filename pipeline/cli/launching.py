"""What every launch script does: prepare the images if asked, train on Ray, print what is there.

Heavy libraries (ray, deepspeed, torch) are imported by the function that needs them.
"""

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.beginning import RequestedRun, is_complete
from pipeline.cli.dry_run import PlanRequest, dry_run, parse_request
from pipeline.cli.errors import resumable
from pipeline.cli.progress import bars
from pipeline.cli.summary import print_summary, run_location, tensorboard_command
from pipeline.cluster.ray_job import in_job
from pipeline.config import RunConfig, load
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.storage import Storage

__all__ = ["launch"]


@resumable
def launch(
    config: Path, argv: Sequence[str], *, source: str = "", faces: str = "", about: str = ""
) -> None:
    """Runs a config on Ray: what every launch script does.

    Args:
        config: the run's YAML.
        argv: `--dry-run` (with `--gpus 32 --gpu h100 --price 2.5`), `--help`, and `key=value`
            overrides; `input=PATH` prepares PATH first.
        source: kind of the images that are prepared when no `input=` is given.
        faces: how many images to render when source is `rendered`.
        about: what `--help` prints.
    """
    if {"-h", "--help"} & set(argv):
        click.echo(about)
        return
    request, words = parse_request(argv)
    inputs = [word.removeprefix("input=") for word in words if word.startswith("input=")]
    overrides = [w for w in words if w != "--dry-run" and not w.startswith("input=")]
    cfg = _anchored(load(config, overrides))
    if "--dry-run" in words:
        dry_run(_resolved(cfg), request)
        return
    if request != PlanRequest():
        raise ConfigError(
            "--gpus, --gpu, --price, --gpu-gib and --rates belong to --dry-run, and that is not "
            "given: add it, or set the workers by cluster.workers=[8], say"
        )
    from pipeline.storage import local_path, open_storage
    from pipeline.training.snapshots import snapshot

    if inputs or source:
        stages = range(cfg.model.first_stage, cfg.last_stage + 1)  # whichever it begins with
        input_, kind = (local_path(inputs[-1]), "auto") if inputs else (faces, source)
        _prepare(input_, kind, cfg.data.path, [4 << stage for stage in stages])
    cfg = _with_data(cfg)
    storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
    run = RequestedRun(_resolved(cfg, storage), storage)
    complete = is_complete(run)
    if not complete:
        _train(run)
    headline = "this run is complete" if complete else "done"
    print_summary(headline, run, snapshot(run.storage, run.cfg.last_stage))


def _prepare(input_: str, source: str, out: str, resolutions: Sequence[int]) -> None:
    """Makes the data set `out` of what `input_` holds, with a progress bar."""
    from pipeline.data.prepare.shards import prepare
    from pipeline.data.sources.registry import open_source

    with bars() as update:
        report = partial(update, "images")
        prepare(open_source(input_, source), out, resolutions, report=report)


def _with_data(cfg: RunConfig) -> RunConfig:
    """The config with a data set of the hub prepared, if it names one."""
    from pipeline.data.prepare.from_hub import with_hub_data

    with bars() as update:
        return with_hub_data(cfg, partial(update, "images"))


def _train(run: RequestedRun) -> None:
    """Trains every stage that is not done; leaves with 130 if the run was stopped before."""
    from pipeline.cli.console import Console
    from pipeline.cluster import driver
    from pipeline.cluster.connection import connected

    cfg, storage = run.cfg, run.storage
    most = max(cfg.worker_counts(stage)[-1] for stage in cfg.stages)
    cores = max(1, math.ceil(most * cfg.cluster.cpus_per_worker))
    with Console() as console, connected(cores):
        console.say(
            f"training {run_location(storage)}; watch it with: {tensorboard_command(storage)}"
        )
        if not driver.run(cfg, storage, console.show, console.say):
            console.say("stopped with a checkpoint: the same command goes on from there")
            sys.exit(130)


def _anchored(cfg: RunConfig) -> RunConfig:
    """Relative files and folders made absolute, below the current folder or a job's ~/stylealae.

    A job's current folder is a copy of the code that Ray throws away.  A URL stays.
    """
    from pipeline.training.places import anchored_config

    return anchored_config(cfg, Path.home() / "stylealae" if in_job() else Path.cwd())


def _resolved(cfg: RunConfig, storage: "Storage | None" = None) -> RunConfig:
    """The config with what the weights of init.from decide, if there are any."""
    if not cfg.init.from_:
        return cfg
    from pipeline.training.initialization import resolved

    return resolved(cfg, storage)
