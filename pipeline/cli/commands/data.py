"""`prepare`, `verify`, `inspect`: data sets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import PATH
from pipeline.cli.errors import folded, reporting, resumable
from pipeline.cli.output import JSON, print_numbers, write_picture
from pipeline.cli.progress import bars
from stylealae.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    from pipeline.data.pixels import Fit
    from pipeline.data.prepare.processes import Runner

__all__ = ["inspect", "prepare", "verify"]


@click.command()
@click.argument("input_", metavar="INPUT")
@click.option("--out", required=True, metavar="PLACE",
              help="Folder of the data set, or a URL such as s3://bucket/name.")  # fmt: skip
@click.option("--source", default="auto", show_default=True,
              help="What INPUT is, where auto mistakes it: ffhq, celebahq, stylegan-zip, "
                   "tfrecord, lsun, parquet, idx, folder, zip, tar, or rendered (INPUT is then "
                   "the number of faces to draw).")  # fmt: skip
@click.option("--resolutions", default="4..64", show_default=True, help="Smallest..largest side.")
@click.option("--fit", type=click.Choice(["crop", "pad"]), default="crop", show_default=True,
              help="Images that are not square: cut out the middle, or add black.")  # fmt: skip
@click.option("--channels", type=int, help="1 for grey, 3 for colour; default: the source's own.")
@click.option("--labels", type=PATH,
              help="File of labels for INPUT: a CSV (first column: file name), "
                   "list_attr_celeba.txt, ffhq-dataset-v2.json, StyleGAN's .labels.")  # fmt: skip
@click.option("--folder-labels", is_flag=True,
              help="Make the folder that an image lies in a label too, called folder.")  # fmt: skip
@click.option("--test-fraction", type=float,
              help="Share of the images, from the end, kept for tests; default: as INPUT itself "
                   "splits them, else 0.02, and 16 at least of 64 and more.")  # fmt: skip
@click.option("--licence", help="Licence of the images, for the manifest, where you know better.")
@click.option("--max-broken", type=click.IntRange(0),
              help="Stop when more images than this cannot be used; default: never.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used.")
@click.option(
    "--shard-img",
    default=1024,
    type=click.IntRange(1),
    show_default=True,
    help="Images in a shard.",
)
@click.option(
    "--workers",
    default=0,
    type=click.IntRange(0),
    help="Processes, or Ray tasks at a time; 0 takes every core.",
)
@click.option("--ray", metavar="ADDRESS", default="", envvar="RAY_ADDRESS", show_envvar=True,
              help="Make the shards as tasks of this Ray (auto: the one on this host), not in "
                   "processes; INPUT and --out must be where all hosts see them.")  # fmt: skip
@resumable
def prepare(
    input_: str, out: str, source: str, resolutions: str, fit: "Fit", channels: int | None,
    labels: Path | None, folder_labels: bool, test_fraction: float | None, licence: str | None,
    max_broken: int | None, strict: bool, shard_img: int, workers: int, ray: str,
) -> None:  # fmt: skip
    """Turn images into verified, multi-resolution WebDataset tars, once.

    INPUT is recognised by what it holds: FFHQ, CelebA-HQ and CelebAMask-HQ, StyleGAN's zips and
    TFRecords, LSUN, Parquet from Hugging Face, MNIST files, or any folder, zip or tar of images.

    \b
    stylealae prepare photos.zip --out datasets/photos --resolutions 4..128
    stylealae prepare ffhq/ --out /shared/ffhq --resolutions 4..1024
    stylealae prepare faces/ --labels ages.csv --fit pad --out datasets/faces
    stylealae prepare faces/ --out s3://bucket/faces --resolutions 4..256
    stylealae prepare 4000 --source rendered --out datasets/rendered --resolutions 4..32

    Every image is converted to upright 8-bit sRGB pixels, or refused by name with the reason;
    report.json in the data set, and the last line, count both and every file that was not used.
    Interrupted and given again, the same command skips the shards that are finished; the result is
    the same to the last byte. More: docs/data.md.
    """  # noqa: D301
    from pipeline.data.prepare.destination import REPORT
    from pipeline.data.prepare.report import read_report
    from pipeline.data.prepare.shards import prepare as prepared
    from pipeline.data.sources.registry import open_source
    from pipeline.storage import is_url, local_path

    if not out:
        raise ConfigError("--out is empty: name a folder, or a URL such as s3://bucket/name")
    place = local_path(out)
    if ray and not is_url(place):
        place = str(Path(place).absolute())
    if ray and Path(input_).exists():
        input_ = str(Path(input_).absolute())  # tasks run in folders of their own
    opened = open_source(
        input_, source, channels=channels, test_fraction=test_fraction, licence=licence,
        labels=str(labels.absolute()) if labels else None, folder_labels=folder_labels,
    )  # fmt: skip
    with _runner(ray) as runner, bars() as update:
        made = prepared(
            opened, place, _resolutions(resolutions),
            fit=fit, shard_img=shard_img, max_broken=0 if strict else max_broken,
            workers=workers, runner=runner, report=partial(update, "images"),
        )  # fmt: skip
    counts = ", ".join(f"{made.samples(split):,} {split}" for split in made.splits)
    facts = [f"{made.broken:,} refused", f"{len(opened.left_aside):,} left aside"]
    if opened.left_aside:
        facts[-1] += f" ({opened.left_aside})"
    if converted := read_report(place)["converted"]:
        facts.append("converted: " + ", ".join(f"{n:,} {how}" for how, n in converted.items()))
    if made.labels:
        facts.append(f"labels: {', '.join(made.labels)}")
    line = printable(f"{out}: {counts}; {'; '.join(facts)}; see {place}/{REPORT}")
    click.echo(folded(line, sys.stdout))


@click.command()
@click.argument("dataset")
@click.option(
    "--threads", default=0, type=click.IntRange(0), help="Files read at once; 0 takes every core."
)
@reporting("nothing was changed; the faults found so far are above")
def verify(dataset: str, threads: int) -> None:
    """Check every byte of a data set against its manifest; DATASET is a folder or a URL.

    \b
    stylealae verify datasets/photos
    stylealae verify s3://bucket/photos

    What is wrong is named, a line each, and the exit code is then 1.
    """  # noqa: D301
    from pipeline.data.prepare.verify import verify as faults_of

    faults = 0
    with bars() as update:

        def report(done: int, total: int) -> None:
            update("MiB", done >> 20, total >> 20)

        for fault in faults_of(dataset, threads=threads, report=report):
            faults += 1
            click.echo(printable(fault))
    if faults:
        raise DataError(f"{dataset} has {faults} faults: mend the files named above")
    click.echo(f"{dataset} is whole")


@click.command()
@click.argument("dataset")
@click.option("--out", type=PATH, help="Folder for a PNG a resolution.")
@click.option(
    "--count",
    default=16,
    type=click.IntRange(1),
    show_default=True,
    help="Images of each split in a PNG.",
)
@JSON
@reporting("what was drawn is there")
def inspect(dataset: str, out: Path | None, count: int, as_json: bool) -> None:
    """Show what a data set holds; DATASET is a folder or a URL.

    \b
    stylealae inspect datasets/photos --out pictures
    """  # noqa: D301
    from pipeline.data.prepare.overview import overview, rows_to_draw
    from stylealae.image_grid import image_grid

    about = overview(dataset)
    if as_json:
        refused = [value for name, value in about if not name]
        print_numbers(**{name: value for name, value in about if name}, refused=refused)
    else:
        width = max(len(name) for name, _ in about)
        click.echo("\n".join(printable(f"{name:{width}}  {value}") for name, value in about))
    if out is not None:
        for resolution, rows in rows_to_draw(dataset, count):
            write_picture(image_grid(rows), out / f"{resolution:04d}.png")


@contextmanager
def _runner(address: str) -> "Iterator[Runner]":
    """What makes shards: tasks of the Ray at `address`, or, without one, processes on this host."""
    if not address:
        from pipeline.data.prepare.processes import over_processes

        yield over_processes
        return
    from pipeline.cluster.connection import connected
    from pipeline.cluster.shard_tasks import over_tasks

    with connected(0, address):
        yield over_tasks


def _resolutions(text: str) -> list[int]:
    """`4..64` -> [4, 8, 16, 32, 64]."""
    low, _, high = text.partition("..")
    try:
        first, last = int(low), int(high or low)
    except ValueError:
        first = last = 0
    if first > last and last in (sides := [4 << k for k in range(16)]) and first in sides:
        raise ConfigError(f"--resolutions is {text!r}, the largest first: write {last}..{first}")
    sides = [4 << k for k in range(16) if first <= 4 << k <= last]
    if not sides or sides[0] != first or sides[-1] != last:
        raise ConfigError(f"--resolutions is {text!r}: write powers of two such as 4..64")
    return sides
