"""What every launch script does, and the command line shares: prepare, train on Ray, show results.

Heavy homes (ray, deepspeed, torch) are imported by the function that needs them.
"""

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.config import RunConfig, as_yaml, load
from stylealae.errors import ConfigError, UserError

if TYPE_CHECKING:
    from pipeline.data.prepare.processes import Runner
    from pipeline.storage import Storage

__all__ = ["Asked", "dry_run", "launch", "prepare", "runner_on", "sentence"]


def sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turns a UserError into one sentence and exit code 1."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _quiet()
        try:
            return command(*args, **kwargs)
        except UserError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.secho("interrupted: the same command goes on where it was", err=True)
            sys.exit(130)

    return wrapped


@sentence
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
    asked, rest = asked_of(argv)
    given = [a for a in rest if a != "--dry-run"]
    inputs = [a.removeprefix("input=") for a in given if a.startswith("input=")]
    cfg = _anchored(load(config, [a for a in given if not a.startswith("input=")]))
    if "--dry-run" in argv:
        dry_run(cfg, asked)
        return
    from pipeline.cli.console import Console
    from pipeline.storage import open_storage
    from pipeline.training.checkpoints import is_done

    storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
    if all(is_done(storage, stage) for stage in cfg.stages):
        _show_results(cfg, "this run is complete")
        return
    if inputs or source:
        prepare(
            inputs[0] if inputs else faces,
            cfg.data.path,
            source="auto" if inputs else source,
            resolutions=[4 << stage for stage in cfg.stages],
        )
    from pipeline.cluster import driver

    most = max(cfg.worker_counts(stage)[-1] for stage in cfg.stages)
    cores = max(1, int(most * cfg.cluster.cpus_per_worker))
    with Console() as console, driver.connected(cores):
        console.say(f"training {_near(storage)}; watch it with: {_tensorboard(storage)}")
        if not driver.run(cfg, console.show, console.say):
            console.say("stopped with a checkpoint: the same command goes on from there")
            sys.exit(130)
    _show_results(cfg, "done")


def prepare(
    input_: str, out: str, *, source: str, resolutions: Sequence[int], workers: int = 0
) -> None:
    """Makes the shard set `out` of what `input_` holds, with a progress bar."""
    from rich.console import Console

    from pipeline.data.prepare import shards
    from pipeline.data.sources.registry import open_source

    shards.prepare(
        open_source(input_, source), out, resolutions, workers=workers, console=Console(stderr=True)
    )


@contextmanager
def runner_on(address: str) -> Iterator["Runner"]:
    """What makes shards: tasks of the Ray at `address`, or, without one, processes on this host."""
    if not address:
        from pipeline.data.prepare.processes import over_processes

        yield over_processes
        return
    from pipeline.cluster.connection import connected
    from pipeline.cluster.shard_tasks import over_tasks

    with connected(0, address):
        yield over_tasks


def _show_results(cfg: RunConfig, headline: str) -> None:
    """Draws the two pictures of a finished run and says where everything lies."""
    from pipeline.data.loader.batch import on_device
    from pipeline.data.loader.loader import Stream
    from pipeline.report.page import write_report
    from pipeline.storage import open_storage
    from pipeline.training.checkpoints import snapshot
    from stylealae.families import load
    from stylealae.image_grid import image_grid

    storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
    model, here = snapshot(storage, cfg.last_stage), storage.working
    if not (here / "samples.png").exists():
        m = load(model)
        stream = Stream(cfg.data.path, cfg.data, seed=cfg.seed, resolution=m.resolution)
        x = on_device(stream.fixed(32), 1.0, m.device)
        for name, rows in reversed(m.grids(x).items()):  # samples come last
            image_grid(rows).save(here / f"{name}.png")
    drawn = [here / f"{name}.png" for name in ("samples", "reconstructions")]
    pictures = "".join(f"  {p.stem:16}  {_near(p)}\n" for p in drawn if p.exists())
    report = write_report(here)
    click.echo(
        f"\n{headline}\n"
        f"  run folder        {_near(storage)}\n"
        f"  curves, pictures  {_tensorboard(storage)}\n"
        f"{pictures}"
        f"  snapshot          {_near(model)}\n"
        f"  report            {_near(report)}\n"
    )


def _near(place: "Path | Storage") -> Path | str:
    """A path as seen from here, if it lies below; a run in an object store as its URL."""
    if not isinstance(place, Path):
        return place.where if place.remote else _near(place.working)
    path = place
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _tensorboard(run_dir: "Storage") -> str:
    """The command that shows a run's curves, also where the .venv is not on the PATH."""
    beside = Path(sys.executable).parent / "tensorboard"
    command = "tensorboard" if shutil.which("tensorboard") else _near(beside)
    return f"{command} --logdir {_near(run_dir)}/tensorboard"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a plan is asked about."""

    gpu_gib: float = 0.0
    """Change what must be changed for every stage to fit workers of so much memory."""
    gpus: int = 0
    """Share the run among so many; 0 takes the config's own numbers of workers."""
    gpu: str = ""
    """Forecast the run on GPUs of this name, by their data sheet."""
    price: float = 0.0
    """Of one GPU and hour, in any currency."""
    rates: Path | None = None
    """Forecast the run with rates that were measured."""


def dry_run(cfg: RunConfig, asked: Asked) -> None:
    """Prints the resolved config and the stage plan, and starts nothing."""
    from rich.console import Console

    from pipeline.planning.devices import GPUS, Rates
    from pipeline.planning.forecast import shared_among
    from pipeline.planning.memory import GIB, fitted
    from pipeline.planning.tables import forecast_table, plan_table

    if asked.gpus:
        cfg = shared_among(cfg, asked.gpus)
    rates = Rates.read(asked.rates) if asked.rates else None
    if asked.gpu and rates is None:
        rates = Rates.estimated(asked.gpu)
    gib = asked.gpu_gib or (GPUS[asked.gpu].memory_gib if asked.gpu in GPUS else 0.0)
    if gib:
        cfg = fitted(cfg, int(gib * GIB))
    click.echo(as_yaml(cfg))
    terminal = Console(soft_wrap=True)
    terminal.print(plan_table(cfg))
    if rates is not None:
        most = max(cfg.worker_counts(stage)[-1] for stage in range(cfg.last_stage + 1))
        terminal.print(forecast_table(cfg, rates, asked.gpus or most, asked.price))
    if gib:
        micro = ",".join(map(str, cfg.engine.micro_batch))
        click.echo(
            f"to fit {gib:g} GiB a worker, give: 'engine.micro_batch=[{micro}]' "
            f"engine.recompute_from={cfg.engine.recompute_from} "
            f"engine.offload={str(cfg.engine.offload).lower()}"
        )
    if asked.gpus:
        counts = ",".join(map(str, cfg.cluster.workers))
        click.echo(f"to share it among {asked.gpus}, give: 'cluster.workers=[{counts}]'")


def asked_of(argv: Sequence[str]) -> tuple[Asked, list[str]]:
    """The questions in a launch script's arguments, and the other arguments."""
    questions: dict[str, Any] = {}
    kinds = {"--gpus": int, "--gpu": str, "--price": float, "--gpu-gib": float, "--rates": Path}
    rest, given = [], iter(argv)
    for word in given:
        if word not in kinds:
            rest.append(word)
            continue
        value = next(given, "")
        try:
            questions[word[2:].replace("-", "_")] = kinds[word](value)
        except ValueError as error:
            raise ConfigError(f"{word} is {value!r}: give a number") from error
    return Asked(**questions), rest


def _anchored(cfg: RunConfig) -> RunConfig:
    """Relative folders made absolute: below the current one, or, in a Ray job, below ~/stylealae.

    A job's current folder is a copy of the code that Ray throws away.  A URL stays.
    """
    from pipeline.storage.store import is_url

    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    base = Path.home() / "stylealae" if in_job else Path.cwd()
    data = cfg.data.path if is_url(cfg.data.path) else str(base / cfg.data.path)
    run_dir = cfg.run_dir if is_url(cfg.run_dir) else str(base / cfg.run_dir)
    return replace(cfg, run_dir=run_dir, data=replace(cfg.data, path=data))


def _quiet() -> None:
    """Our own warnings are shown; the libraries' chatter is not."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
