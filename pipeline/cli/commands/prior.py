"""`fit-prior`: F fitted to images, so that samples are more like them."""

from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OVERWRITE, PATH, require_free
from pipeline.cli.batches import read_batches
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import open_model
from pipeline.cli.output import print_numbers
from pipeline.cli.progress import progress

__all__ = ["fit_prior"]

MOST = 5000


@click.command()
@MODEL
@IMAGES
@click.option("--out", required=True, type=PATH, help="New folder, for the snapshot.")
@click.option("--steps", type=click.IntRange(1), default=3000, show_default=True,
              help="Of gradient descent, of 64 styles each.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of what is drawn meanwhile.")
@COUNT(MOST)
@DEVICE
@OVERWRITE
@reports_errors
def fit_prior(
    model: Path, images: Sequence[str], out: Path, steps: int, seed: int, count: int, device: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Fit F to the styles that E finds in IMAGES: samples are then more like them.

    For runs of minutes and of few images, whose samples are far behind their reconstructions. G, E
    and D stay as they are, and so do reconstructions and directions; a person's style stays, the
    z of it does not. Of a prepared data set the images for tests are left out. Printed is how far
    F's styles are from the images' (squared MMD, half of the images not fitted), before and after.
    Takes seconds.

    \b
    stylealae fit-prior runs/demo datasets/rendered --out runs/demo-fitted
    stylealae sample runs/demo-fitted --out samples.png
    """  # noqa: D301
    import torch

    from pipeline.storage import published

    require_free(out, overwrite=overwrite)
    m = open_model(model, device)
    found = read_batches(m, images, count=count, split="train", what="styles")
    w = torch.cat([m.encode(x) for _, x in found])  # [N, W]
    with progress("steps", steps) as advance:
        prior = m.fit_prior(w, steps, seed=seed, report=lambda _: advance(1))
    with published(out) as folder:
        m.with_prior(prior).save(
            folder,
            origin=f"Trained on {m.seen:,} real images; a running average of the weights, F fitted "
            f"to {len(w):,} images afterwards (stylealae fit-prior).",
        )
    click.echo(out)
    print_numbers(
        command="fit-prior", images=len(w), steps=steps, mmd_before=prior.before,
        mmd_after=prior.after,
    )  # fmt: skip
