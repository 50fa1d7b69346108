"""The command line, and what the launch scripts share with it.

Heavy homes (ray, deepspeed, torch) are imported by the subcommand that needs them.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from pipeline.config import RunConfig, as_yaml, load
from stylealae.errors import ConfigError, UserError

__all__ = ["launch", "main"]

OVERRIDES = click.argument("overrides", nargs=-1, metavar="[key=value]...")


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Train StyleALAE on your own images, and use what was trained.

    \b
    stylealae prepare photos/ --out datasets/mine --resolutions 4..64
    stylealae plan configs/demo.yaml data.path=datasets/mine
    stylealae train configs/demo.yaml data.path=datasets/mine run_dir=runs/mine
    stylealae sample runs/mine/0032/snapshot --out samples.png
    """  # noqa: D301


@main.command()
@click.argument("input_", metavar="INPUT")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the data set."
)
@click.option("--source", default="auto", show_default=True,
              help="What INPUT is: auto, folder, zip, tar, idx (MNIST files), or rendered, where "
                   "INPUT is the number of faces to draw.")  # fmt: skip
@click.option("--resolutions", default="4..64", show_default=True, help="Smallest..largest side.")
@click.option("--workers", default=0, help="Processes; 0 takes every core.")
@sentence
def prepare(input_: str, out: Path, source: str, resolutions: str, workers: int) -> None:
    """Turn images into verified, multi-resolution WebDataset tars, once.

    \b
    stylealae prepare photos.zip --out datasets/photos --resolutions 4..128
    stylealae prepare 4000 --source rendered --out datasets/rendered --resolutions 4..32

    Interrupted and given again, it skips the shards that are finished.
    """  # noqa: D301
    _prepare(input_, out, source=source, resolutions=_resolutions(resolutions), workers=workers)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
@sentence
def plan(config: Path, overrides: Sequence[str]) -> None:
    """Show the stages of a run: images, batches, rates, and how the workers share them."""
    _dry_run(load(config, overrides))


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
@sentence
def train(config: Path, overrides: Sequence[str]) -> None:
    """Train in this process, without Ray (under torchrun: in all of its processes).

    \b
    stylealae train configs/demo.yaml data.path=datasets/mine run_dir=runs/mine
    torchrun --nproc-per-node 2 -m pipeline.cli train configs/demo.yaml

    The same command again goes on from the newest whole checkpoint.
    """  # noqa: D301
    cfg = load(config, overrides)
    from pipeline.checkpoint import is_done
    from pipeline.console import Console
    from pipeline.engine import joined
    from pipeline.trainer import train_stage

    world = joined(
        cfg.engine,
        gpu=cfg.cluster.gpus_per_worker > 0,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )
    asked = threading.Event()

    def ask(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, signal.SIG_DFL)  # once more leaves at once

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    done = True
    with Console() as console:
        for stage in range(cfg.last_stage + 1):
            if done and not is_done(Path(cfg.run_dir), stage):
                done = train_stage(cfg, stage, world, stop=asked.is_set, report=console.show)
    if not done:
        raise KeyboardInterrupt


@main.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="PNG to write.")
@click.option("--count", default=16, show_default=True, help="At most this many images.")
@sentence
def reconstruct(snapshot: Path, images: Sequence[Path], out: Path, count: int) -> None:
    """Draw originals beside their reconstructions.

    IMAGES are image files, or folders, zips or tars of images.

    \b
    stylealae reconstruct runs/demo/0032/snapshot me.jpg you.png --out faces.png
    """  # noqa: D301
    from pipeline.data.images import load_images
    from stylealae import StyleALAE
    from stylealae.sheets import contact_sheet

    m = StyleALAE.load(snapshot)
    x = load_images(images, m.resolution, channels=m.model.channels, count=count)
    side = f"{m.resolution}x{m.resolution}"
    rows = [(f"originals at {side}", x), ("reconstructions G(E(x))", m.reconstruct(x))]
    _write_picture(contact_sheet(rows), out)


@main.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="PNG to write.")
@click.option("--count", default=32, show_default=True, help="How many images.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws other images.")
@click.option("--truncation", default=1.0, show_default=True,
              help="Below 1 pulls styles towards the mean: less variety, fewer flaws.")  # fmt: skip
@click.option("--noise", is_flag=True, help="Add G's grain.")
@sentence
def sample(
    snapshot: Path, out: Path, count: int, seed: int, truncation: float, noise: bool
) -> None:
    """Draw new images.

    \b
    stylealae sample runs/demo/0032/snapshot --out samples.png --seed 3 --truncation 0.7
    """  # noqa: D301
    from stylealae import StyleALAE
    from stylealae.sheets import contact_sheet

    m = StyleALAE.load(snapshot)
    x = m.sample(count, seed=seed, truncation=truncation, noise=noise)
    caption = f"samples G(F(z)), seed {seed}, truncation {truncation:g}"
    _write_picture(contact_sheet([(caption, x)]), out)


@sentence
def launch(
    config: Path, argv: Sequence[str], *, source: str = "", faces: str = "", about: str = ""
) -> None:
    """Runs a config on Ray: what every launch script does.

    Args:
        config: the run's YAML.
        argv: `--dry-run`, `--help`, and `key=value` overrides; `input=PATH` prepares PATH first.
        source: kind of the images that are prepared when no `input=` is given.
        faces: how many images to render when source is `rendered`.
        about: what `--help` prints.
    """
    if {"-h", "--help"} & set(argv):
        click.echo(about)
        return
    given = [a for a in argv if a != "--dry-run"]
    inputs = [a.removeprefix("input=") for a in given if a.startswith("input=")]
    cfg = _anchored(load(config, [a for a in given if not a.startswith("input=")]))
    if "--dry-run" in argv:
        _dry_run(cfg)
        return
    from pipeline.checkpoint import is_done
    from pipeline.console import Console

    run_dir = Path(cfg.run_dir)
    if all(is_done(run_dir, stage) for stage in range(cfg.last_stage + 1)):
        _show_results(cfg, "this run is complete")
        return
    if inputs or source:
        _prepare(
            inputs[0] if inputs else faces,
            Path(cfg.data.path),
            source="auto" if inputs else source,
            resolutions=[4 << stage for stage in range(cfg.model.blocks)],
        )
    from pipeline import orchestrate

    cores = max(1, int(max(cfg.cluster.workers) * cfg.cluster.cpus_per_worker))
    with Console() as console, orchestrate.connected(cores):
        console.say(
            f"training {run_dir}; watch it with: tensorboard --logdir {run_dir}/tensorboard"
        )
        if not orchestrate.run(cfg, console.show):
            console.say("stopped with a checkpoint: the same command goes on from there")
            sys.exit(130)
    _show_results(cfg, "done")


def _prepare(
    input_: str, out: Path, *, source: str, resolutions: Sequence[int], workers: int = 0
) -> None:
    from rich.console import Console

    from pipeline.data import shards
    from pipeline.data.sources import open_source

    shards.prepare(
        open_source(input_, source), out, resolutions, workers=workers, console=Console(stderr=True)
    )


def _show_results(cfg: RunConfig, headline: str) -> None:
    """Draws the two pictures of a finished run and says where everything lies."""
    from pipeline.checkpoint import SNAPSHOT, stage_folder
    from pipeline.data.stream import Stream, on_device
    from stylealae import StyleALAE
    from stylealae.sheets import contact_sheet

    run_dir = Path(cfg.run_dir)
    snapshot = stage_folder(run_dir, cfg.last_stage) / SNAPSHOT
    samples, faces = run_dir / "samples.png", run_dir / "reconstructions.png"
    if not (samples.exists() and faces.exists()):
        m = StyleALAE.load(snapshot)
        stream = Stream(Path(cfg.data.path), cfg.data, seed=cfg.seed, resolution=m.resolution)
        x = on_device(stream.fixed(32), 1.0, m.device)
        rows = []
        for part in (x[:16], x[16:]):
            rows += [("originals", part), ("reconstructions G(E(x))", m.reconstruct(part))]
        contact_sheet(rows).save(faces)
        caption = "samples G(F(z))"
        contact_sheet(
            [
                (f"{caption}, truncation 0.7", m.sample(32, seed=1, truncation=0.7)),
                (caption, m.sample(64, seed=2)),
            ]
        ).save(samples)
    click.echo(
        f"\n{headline}\n"
        f"  run folder        {run_dir}\n"
        f"  curves, pictures  tensorboard --logdir {run_dir}/tensorboard\n"
        f"  samples           {samples}\n"
        f"  reconstructions   {faces}\n"
        f"  snapshot          {snapshot}\n"
    )


def _dry_run(cfg: RunConfig) -> None:
    from rich.console import Console

    from pipeline.console import plan_table

    click.echo(as_yaml(cfg))
    Console(soft_wrap=True).print(plan_table(cfg))


def _anchored(cfg: RunConfig) -> RunConfig:
    """Relative folders made absolute: below the current one, or, in a Ray job, below ~/stylealae.

    A job's current folder is a copy of the code that Ray throws away.
    """
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    base = Path.home() / "stylealae" if in_job else Path.cwd()
    return replace(
        cfg, run_dir=str(base / cfg.run_dir), data=replace(cfg.data, path=str(base / cfg.data.path))
    )


def _resolutions(text: str) -> list[int]:
    """`4..64` -> [4, 8, 16, 32, 64]."""
    low, _, high = text.partition("..")
    try:
        first, last = int(low), int(high or low)
    except ValueError:
        first = last = 0
    sides = [4 << k for k in range(16) if first <= 4 << k <= last]
    if not sides or sides[0] != first or sides[-1] != last:
        raise ConfigError(f"--resolutions is {text!r}: write powers of two such as 4..64")
    return sides


def _write_picture(picture: Any, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {out}: {error}") from error
    click.echo(out)


def _quiet() -> None:
    """Our own warnings are shown; the libraries' chatter is not."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


if __name__ == "__main__":
    main()
