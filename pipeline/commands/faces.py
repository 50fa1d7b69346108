"""`reconstruct`, `sample`: pictures of a trained model."""

from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.commands.output import write_picture
from pipeline.launching import sentence

__all__ = ["reconstruct", "sample"]


@click.command()
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
    write_picture(contact_sheet(rows), out)


@click.command()
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
    write_picture(contact_sheet([(caption, x)]), out)
