"""The command line.

Heavy homes (ray, deepspeed, torch) are imported by the subcommand that needs them.
"""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pipeline import launching
from pipeline.config import load
from pipeline.launching import sentence
from stylealae.errors import ConfigError, DataError

__all__ = ["main"]

OVERRIDES = click.argument("overrides", nargs=-1, metavar="[key=value]...")


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
@click.option("--out", required=True, metavar="FOLDER", help="Folder of the data set.")
@click.option("--source", default="auto", show_default=True,
              help="What INPUT is, where auto mistakes it: ffhq, celebahq, stylegan-zip, "
                   "tfrecord, lsun, parquet, idx, folder, zip, tar, or rendered (INPUT is then "
                   "the number of faces to draw).")  # fmt: skip
@click.option("--resolutions", default="4..64", show_default=True, help="Smallest..largest side.")
@click.option("--fit", type=click.Choice(["crop", "pad"]), default="crop", show_default=True,
              help="Images that are not square: cut out the middle, or add black.")  # fmt: skip
@click.option("--channels", type=int, help="1 for grey, 3 for colour; default: the source's own.")
@click.option("--labels", type=click.Path(path_type=Path),
              help="File of labels for INPUT: a CSV (first column: file name), "
                   "list_attr_celeba.txt, ffhq-dataset-v2.json, StyleGAN's .labels.")  # fmt: skip
@click.option("--test-fraction", type=float,
              help="Share of the images, from the end, kept for tests; default: as INPUT itself "
                   "splits them, else 0.02.")  # fmt: skip
@click.option("--licence", help="Licence of the images, for the manifest, where you know better.")
@click.option("--max-broken", type=click.IntRange(0),
              help="Stop when more images than this cannot be used; default: never.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used.")
@click.option("--shard-img", default=1024, show_default=True, help="Images in a shard.")
@click.option("--workers", default=0, help="Processes, or Ray tasks at a time; 0 takes every core.")
@click.option("--ray", metavar="ADDRESS", default="", envvar="RAY_ADDRESS", show_envvar=True,
              help="Make the shards as tasks of this Ray (auto: the one on this host), not in "
                   "processes; INPUT and --out must be where all hosts see them.")  # fmt: skip
@sentence
def prepare(
    input_: str, out: str, source: str, resolutions: str, fit: Any, channels: int | None,
    labels: Path | None, test_fraction: float | None, licence: str | None, max_broken: int | None,
    strict: bool, shard_img: int, workers: int, ray: str,
) -> None:  # fmt: skip
    """Turn images into verified, multi-resolution WebDataset tars, once.

    INPUT is recognised by what it holds: FFHQ, CelebA-HQ and CelebAMask-HQ, StyleGAN's zips and
    TFRecords, LSUN, Parquet from Hugging Face, MNIST files, or any folder, zip or tar of images.

    \b
    stylealae prepare photos.zip --out datasets/photos --resolutions 4..128
    stylealae prepare ffhq/ --out /shared/ffhq --resolutions 4..1024
    stylealae prepare faces/ --labels ages.csv --fit pad --out datasets/faces
    stylealae prepare 4000 --source rendered --out datasets/rendered --resolutions 4..32

    Every image is converted to upright 8-bit pixels, or refused by name with the reason;
    report.json in the data set counts both. Interrupted and given again, the same command skips
    the shards that are finished; the result is the same to the last byte. More: docs/data.md.
    """  # noqa: D301
    from rich.console import Console

    from pipeline.data import shards
    from pipeline.data.sources import open_source
    from pipeline.data.store import is_url

    if is_url(out):
        raise ConfigError(
            f"--out is {out}: prepare into a folder, then copy it there whole; training reads URLs"
        )
    folder = Path(out)
    if ray and Path(input_).exists():
        input_ = str(Path(input_).absolute())  # tasks run in folders of their own
    opened = open_source(
        input_, source, channels=channels, test_fraction=test_fraction, licence=licence,
        labels=str(labels.absolute()) if labels else None,
    )  # fmt: skip
    with launching.runner_on(ray) as runner:
        made = shards.prepare(
            opened, folder.absolute() if ray else folder, _resolutions(resolutions),
            fit=fit, shard_img=shard_img, max_broken=0 if strict else max_broken,
            workers=workers, runner=runner, console=Console(stderr=True),
        )  # fmt: skip
    counts = ", ".join(f"{made.samples(split):,} {split}" for split in made.splits)
    click.echo(f"{out}: {counts}; {made.broken:,} refused, see {folder / shards.REPORT}")


@main.command()
@click.argument("dataset")
@click.option("--threads", default=0, help="Files read at once; 0 takes every core.")
@sentence
def verify(dataset: str, threads: int) -> None:
    """Check every byte of a data set against its manifest; DATASET is a folder or a URL.

    \b
    stylealae verify datasets/photos
    stylealae verify s3://bucket/photos

    What is wrong is named, a line each, and the exit code is then 1.
    """  # noqa: D301
    from rich.console import Console

    from pipeline.data.verify import verify as faults_of

    faults = 0
    for fault in faults_of(dataset, threads=threads, console=Console(stderr=True)):
        faults += 1
        click.echo(fault)
    if faults:
        raise DataError(f"{dataset} has {faults} faults: mend the files named above")
    click.echo(f"{dataset} is whole")


@main.command()
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for a PNG a resolution.")
@click.option("--count", default=16, show_default=True, help="Images of each split in a PNG.")
@sentence
def inspect(dataset: str, out: Path | None, count: int) -> None:
    """Show what a data set holds; DATASET is a folder or a URL.

    \b
    stylealae inspect datasets/photos --out pictures
    """  # noqa: D301
    from rich.console import Console

    from pipeline.data.overview import overview, rows_to_draw
    from stylealae.sheets import contact_sheet

    Console(soft_wrap=True).print(overview(dataset))
    if out is not None:
        for resolution, rows in rows_to_draw(dataset, count):
            _write_picture(contact_sheet(rows), out / f"{resolution:04d}.png")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
@click.option("--gpu-gib", type=float, help="Make every stage fit workers of so much memory.")
@sentence
def plan(config: Path, overrides: Sequence[str], gpu_gib: float | None) -> None:
    """Show the stages of a run: images, batches, rates, memory, and how the workers share them.

    \b
    stylealae plan configs/ffhq_1024.yaml cluster.workers=[8]
    stylealae plan configs/ffhq_1024.yaml --gpu-gib 24

    With --gpu-gib it looks for the micro-batches, recomputation and offload that fit, and prints
    them as overrides.
    """  # noqa: D301
    launching.dry_run(load(config, overrides), gpu_gib)


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


@main.command("import")
@click.argument("released", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--raw", is_flag=True, help="The last step's weights, not their running average.")
@sentence
def import_(released: Path, out: Path, raw: bool) -> None:
    """Turn a checkpoint of the authors' code into a snapshot.

    \b
    stylealae import model_submitted.pth snapshots/ffhq

    RELEASED is read without running any code that it may hold; the network's shape is read off
    its tensors.
    """  # noqa: D301
    from pipeline.checkpoint import published
    from stylealae import StyleALAE

    if out.exists():
        raise ConfigError(f"{out} exists: name a folder that does not")
    m = StyleALAE.from_released(released, ema=not raw)
    which = "the weights of its last step" if raw else "its running average"
    with published(out) as folder:
        m.save(folder, origin=f"Imported from {released.name} of the authors' code: {which}.")
    click.echo(out)


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


if __name__ == "__main__":
    main()
