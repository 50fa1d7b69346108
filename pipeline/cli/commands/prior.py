"""`fit-prior`: F fitted to images, so that samples are more like them."""

from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OVERWRITE, PATH, require_free
from pipeline.cli.batches import read_batches
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import copy_directions, open_model
from pipeline.cli.output import print_numbers
from pipeline.cli.progress import progress
from pipeline.cli.systematic_sample import SystematicSample
from stylealae.interop.card import origin_of

__all__ = ["fit_prior"]

MOST = 5000
KEPT = 1 << 28
"""Bytes of images that are kept to be shown again: a systematic sample of them all."""


@click.command()
@MODEL
@IMAGES
@click.option("--out", required=True, type=PATH, help="New folder, for the snapshot.")
@click.option("--steps", type=click.IntRange(1), default=3000, show_default=True,
              help="Of gradient descent, of 256 styles each.")  # fmt: skip
@click.option("--recover", type=click.IntRange(0), default=0, show_default=True,
              help="Images beside which E and G then learn to recover F's styles.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of what is drawn meanwhile.")
@COUNT(MOST)
@DEVICE
@OVERWRITE
@reports_errors
def fit_prior(
    model: Path, images: Sequence[str], out: Path, steps: int, recover: int, seed: int, count: int,
    device: str, overwrite: bool,
) -> None:  # fmt: skip
    """Fit F to the styles that E finds in IMAGES: samples are then more like them.

    For runs of minutes and of few images, whose samples are far behind their reconstructions. G, E
    and D stay as they are, and so do reconstructions; directions kept with MODEL come along. A
    person's style stays, the z of it does not. Of a prepared data set the images for tests are left
    out. Printed is how far F's styles are from the images' (squared MMD, half of the images not
    fitted), before and after. Takes seconds.

    With --recover E and G then move too, a little: what G draws of a new F's styles E finds again,
    and the images come back as before. Printed is the share of the styles' variance that is lost,
    before and after. Directions come along too, for E and G move too little to turn them. The
    images are drawn from IMAGES, of more than 256 MiB from some that are spread over them. For
    3,200 of 32x32 it takes half a minute of a processor.

    \b
    stylealae fit-prior runs/demo datasets/rendered --out runs/demo-fitted
    stylealae fit-prior runs/demo datasets/rendered --recover 3200 --out runs/demo-recovered
    stylealae sample runs/demo-fitted --out samples.png
    """  # noqa: D301
    import torch

    from pipeline.data.loader.batch import on_device
    from pipeline.storage import published

    require_free(out, overwrite=overwrite)
    m = open_model(model, device)
    styles, kept = [], SystematicSample(max(1, KEPT // (m.model.channels * m.resolution**2)))
    for _, x in read_batches(m, images, count=count, split="train", what="styles"):
        styles.append(m.encode(x))
        if recover:
            kept.add(x.add(1).mul(127.5).round().byte())
    w = torch.cat(styles)  # [N, W]
    with progress("steps", steps) as advance:
        prior = m.fit_prior(w, steps, seed=seed, report=lambda _: advance(1))
    m, numbers = m.with_prior(prior), dict[str, float]()
    done = f"F was fitted to {len(w):,} images afterwards"
    if recover:
        shown = torch.stack(kept.images)
        with progress("images", recover) as advance:
            found = m.recover(
                lambda ids: on_device(shown[ids], 1.0, m.device),
                len(shown),
                recover,
                seed=seed,
                report=advance,
            )
        m, numbers = m.with_recovery(found), {"lost_before": found.before, "lost": found.after}
        done += f", E and G by {recover:,} to its styles"
    with published(out) as folder:
        m.save(folder, origin=f"{origin_of(m.seen, m.origin)} {done} (stylealae fit-prior).")
        copy_directions(model, folder)
    click.echo(out)
    print_numbers(
        command="fit-prior", images=len(w), steps=steps, mmd_before=prior.before,
        mmd_after=prior.after, **numbers,
    )  # fmt: skip
