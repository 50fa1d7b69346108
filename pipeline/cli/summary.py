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
    from pipeline.report.page import REPORT, write_report, write_report_of
    from pipeline.report.run import FINISHED
    from pipeline.storage import is_url
    from pipeline.training.run_files import SNAPSHOT, stage_name

    cfg, storage = run.cfg, run.storage
    folder = storage.working

    def place(name: str) -> str:
        return storage.at(name) if storage.remote else _shown(folder / name)

    if _written(folder / "samples.png") <= _written(snapshot / "model.safetensors"):
        _draw(snapshot, cfg.data, folder)
    drawn = [name for name in reversed(FINISHED) if (folder / name).exists()]
    if storage.remote:
        for name in drawn:
            storage.write(name, (folder / name).read_bytes())
        write_report_of(storage.where)
    else:
        write_report(folder)
    pictures = "".join(f"  {Path(name).stem:16}  {place(name)}\n" for name in drawn)
    model = place(f"{stage_name(cfg.last_stage)}/{SNAPSHOT}")
    click.echo(
        f"\n{headline}\n"
        f"  run folder        {run_location(storage)}\n"
        f"  curves, pictures  {tensorboard_command(storage)}\n"
        f"{pictures}"
        f"  snapshot          {model}\n"
        f"  report            {place(REPORT)}\n"
    )
    stylealae, model = _typed("stylealae"), quote(model)
    data = cfg.data.path if is_url(cfg.data.path) else _shown(Path(cfg.data.path))
    click.echo("what next")
    if cfg.family == "stylealae":
        click.echo(f"  a web page to edit and mix faces   {stylealae} studio {model}")
    click.echo(
        f"  new images                         {stylealae} sample {model} --out new.png\n"
        f"  how good it is                     {stylealae} evaluate {quote(run_location(storage))} "
        f"--data {quote(data)}\n"
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
    from stylealae.capabilities import of_classes
    from stylealae.image_grid import image_grid

    m = family.load(snapshot)
    dataset = Dataset.open(data, m.resolution, m.model.channels)
    m = of_classes(m, lambda: dataset.first_classes(IMAGES, data.label))
    grids = m.grids(on_device(dataset.first(IMAGES), 1.0, m.device))
    for name, rows in reversed(grids.items()):  # samples come last: the mark that all are drawn
        image_grid(rows).save(folder / f"{name}.png")


def _written(file: Path) -> float:
    """When a file was written, in seconds; 0 if it is not there."""
    return file.stat().st_mtime if file.exists() else 0.0


def _shown(path: Path) -> str:
    """A path relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
