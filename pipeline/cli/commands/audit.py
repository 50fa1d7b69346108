"""`audit`: whether a run is what its config and data set make of it."""

import sys
from pathlib import Path

import click

from pipeline.cli.arguments import PATH
from pipeline.cli.errors import reports_errors

__all__ = ["audit"]


@click.command()
@click.argument("run")
@click.option(
    "--upto",
    type=click.IntRange(1),
    metavar="IMAGES",
    help="End at the checkpoint of so many images seen; default: the newest.",
)
@click.option("--data", default="", help="The data set, where it is not where it was.")
@click.option(
    "--tolerance",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0),
    help="Relative distance that other kernels may cause.",
)
@click.option("--out", default="certificate.json", show_default=True,
              type=PATH, help="Certificate to write.")  # fmt: skip
@reports_errors
def audit(run: str, upto: int | None, data: str, tolerance: float, out: Path) -> None:
    """Train a stretch of RUN again, from one checkpoint to the next, and compare everything.

    \b
    stylealae audit runs/demo
    stylealae audit /mnt/theirs --data datasets/rendered --upto 28800
    torchrun --nproc-per-node 2 -m pipeline.cli audit runs/pair      a run of two ranks

    Losses, weights, averages and moments must be the run's: bit for bit where processor, torch,
    threads and ranks are those that it was trained with, else within the tolerance. The
    certificate says what was replayed, where, and how far it is from the run. Exit code 1 if it
    differs. Nothing of the run is written.
    """  # noqa: D301
    import torch

    from pipeline.storage import open_storage
    from pipeline.training.audit import audit as replay
    from pipeline.training.audit import stretch_of
    from pipeline.world import joined, leave

    stretch = stretch_of(open_storage(run), upto, data)
    world = joined(
        stretch.cfg.engine,
        gpu=stretch.cfg.cluster.gpus_per_worker > 0 and torch.cuda.is_available(),
    )
    found = replay(stretch, world, tolerance)
    leave(world)
    if found is None:  # another rank tells
        return
    found.write(out)
    click.echo(
        f"{found.run}: {found.iterations:,} iterations replayed, from {found.first:,} to "
        f"{found.last:,} images, with {found.ranks} {'ranks' if found.ranks > 1 else 'rank'}"
    )
    for name, distance in found.distances.items():
        click.echo(f"  {name:9} {f'{distance:.2g} apart' if distance else 'equal'}")
    click.echo("\n".join([f"{found.verdict}: {out}", *(f"  {d}" for d in found.differences)]))
    sys.exit(not found.holds)
