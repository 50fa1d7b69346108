"""What a finished run has left, printed: where it lies, its pictures, its report."""

import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipeline.cli.beginning import RequestedRun
    from pipeline.config.sections import DataConfig
    from pipeline.storage import Storage

__all__ = ["print_summary", "run_location", "tensorboard_command"]

IMAGES = 32
"""Images of the data set that are drawn beside their reconstructions."""


def print_summary(headline: str, run: "RequestedRun", snapshot: Path) -> None:
    """Draws pictures of a run's snapshot, unless they are newer; prints where all lies, what next.

    Commands are printed as they must be typed here: with the .venv's path where it is not active.
    """
    from pipeline.report.page import write_report

    cfg, storage = run.cfg, run.storage
    folder = storage.working
    if _written(folder / "samples.png") <= _written(snapshot / "model.safetensors"):
        _draw(snapshot, cfg.data, folder)
    drawn = [folder / f"{name}.png" for name in ("samples", "reconstructions")]
    pictures = "".join(f"  {p.stem:16}  {_shown(p)}\n" for p in drawn if p.exists())
    report = write_report(folder)
    click.echo(
        f"\n{headline}\n"
        f"  run folder        {run_location(storage)}\n"
        f"  curves, pictures  {tensorboard_command(storage)}\n"
        f"{pictures}"
        f"  snapshot          {_shown(snapshot)}\n"
        f"  report            {_shown(report)}\n"
    )
    if cfg.family == "stylealae":
        stylealae, model = _typed("stylealae"), quote(_shown(snapshot))
        click.echo(
            "what next\n"
            f"  a web page to edit and mix faces   {stylealae} studio {model}\n"
            f"  new faces                          {stylealae} sample {model} --out new.png\n"
            f"  how good it is                     {stylealae} evaluate {model} "
            f"--data {quote(_shown(Path(cfg.data.path)))}\n"
        )


def run_location(storage: "Storage") -> str:
    """The URL of a run, or its folder as seen from the current one."""
    return storage.where if storage.remote else _shown(storage.working)


def tensorboard_command(storage: "Storage") -> str:
    """The command that shows a run's curves, also where the .venv is not on the PATH."""
    return f"{_typed('tensorboard')} --logdir {quote(f'{run_location(storage)}/tensorboard')}"


def _typed(command: str) -> str:
    """How a command of the environment is typed here."""
    beside = Path(sys.executable).parent / command
    if shutil.which(command) or not beside.exists():
        return command
    return quote(_shown(beside))


def _draw(snapshot: Path, data: "DataConfig", folder: Path) -> None:
    """The image grids of a finished run: samples, and held-out images reconstructed."""
    from pipeline.data.loader.batch import on_device
    from pipeline.data.loader.dataset import Dataset
    from stylealae import family
    from stylealae.image_grid import image_grid

    m = family.load(snapshot)
    images = Dataset.open(data, m.resolution, m.model.channels).first(IMAGES)
    grids = m.grids(on_device(images, 1.0, m.device))
    for name, rows in reversed(grids.items()):  # samples come last: the mark that all are drawn
        image_grid(rows).save(folder / f"{name}.png")


def _written(file: Path) -> float:
    """When a file was written, in seconds; 0 if it is not there."""
    return file.stat().st_mtime if file.exists() else 0.0


def _shown(path: Path) -> str:
    """A path relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
