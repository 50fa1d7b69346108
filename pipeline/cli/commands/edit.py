"""`traverse`, `edit`: faces moved along directions in w."""

import logging
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OUT, PATH
from pipeline.cli.batches import open_for, styles_of
from pipeline.cli.errors import reports_errors
from pipeline.cli.output import print_numbers, write_picture
from pipeline.cli.progress import progress
from pipeline.training.model_folder import snapshot_of
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from stylealae.editing.directions import Directions

__all__ = ["edit", "traverse"]

log = logging.getLogger(__name__)

FOLDER = click.option("--directions", "folder", type=PATH,
                      help="Folder of the directions; default: MODEL's own.")  # fmt: skip


@click.command()
@MODEL
@click.argument("images", nargs=-1)
@click.option("--along", multiple=True, help="A direction; may be given several times; "
              "default: the first four.")  # fmt: skip
@OUT
@FOLDER
@click.option("--reach", default=3.0, show_default=True,
              help="How far to go either way, in standard deviations of w.")  # fmt: skip
@click.option("--steps", default=7, show_default=True, type=click.IntRange(2))
@COUNT(2)
@DEVICE
@reports_errors
def traverse(
    model: Path, images: Sequence[str], along: Sequence[str], out: Path, folder: Path | None,
    reach: float, steps: int, count: int, device: str,
) -> None:  # fmt: skip
    """Draw faces moved along directions, a row for each face and direction.

    IMAGES are image files, folders, zips, tars; without any, faces of the model itself.

    \b
    stylealae traverse runs/demo/0032/snapshot me.jpg --along smile --along age --out along.png
    """  # noqa: D301
    import torch

    from stylealae.editing.directions import Directions
    from stylealae.image_grid import Row, image_grid

    m = open_for(model, images, device)
    found = Directions.load(folder or snapshot_of(model))
    if images:
        names, _, w = styles_of(m, images, count)
    else:
        names = [f"seed {k}" for k in range(count)]
        w = torch.cat([m.styles(1, seed=k) for k in range(count)])
    amounts = torch.linspace(-reach, reach, steps).tolist()
    rows: list[Row] = []
    change: dict[str, float] = {}
    chosen = along or found.names[:4]
    _warn_of_weak(found, chosen)
    for name in chosen:
        moved = [m.generate(m.edit(w, {name: a}, found), noise=False) for a in amounts]
        x = torch.stack(moved, 1)  # [N, steps, C, R, R]
        rows += [(f"{name}\n{who}", x[k]) for k, who in enumerate(names)]
        change[name] = float((x[:, 0] - x[:, -1]).square().mean())
    headings = [f"{a:+.1f}" if abs(a) > 1e-6 else "0" for a in amounts]
    write_picture(image_grid(rows, headings=headings, columns=steps, tile=96), out)
    print_numbers(command="traverse", faces=len(w), reach=reach, mean_squared_change=change)


@click.command()
@MODEL
@IMAGES
@click.option("--attribute", "-a", "attributes", multiple=True, required=True,
              metavar="NAME=AMOUNT",
              help="Such as smile=+2: standard deviations of w along the direction; may be given "
                   "several times.")  # fmt: skip
@OUT
@FOLDER
@click.option("--refine", "steps", default=0, show_default=True,
              help="First refine styles in so many steps: keeps more of the person.")  # fmt: skip
@COUNT(8)
@DEVICE
@reports_errors
def edit(
    model: Path, images: Sequence[str], attributes: Sequence[str], out: Path, folder: Path | None,
    steps: int, count: int, device: str,
) -> None:  # fmt: skip
    """Change attributes of faces: originals, reconstructions and edits, one below the other.

    Amounts are standard deviations of w along the direction, as `stylealae directions` found it: 1
    is a usual difference between two faces, 3 a strong one. The numbers tell each attribute's score
    (in standard deviations) before and after, as E reads it from the pictures.

    \b
    stylealae edit runs/demo/0032/snapshot me.jpg --attribute smile=+2 --out smiling.png
    stylealae edit runs/demo photos/ -a age=-1.5 -a glasses=2 --refine 100 --out edited.png
    """  # noqa: D301
    from stylealae.editing.directions import Directions
    from stylealae.image_grid import paired_grid

    amounts = _amounts(attributes)
    m = open_for(model, images, device)
    found = Directions.load(folder or snapshot_of(model))
    found.step(amounts)  # refuses a wrong name before anything takes long
    _warn_of_weak(found, amounts)
    names, x, w = styles_of(m, images, count)
    if steps:
        with progress("steps", steps) as advance:
            w = m.refine(x, steps, report=lambda _: advance(1)).w
    before = m.generate(w, noise=False)
    after = m.generate(m.edit(w, amounts, found), noise=False)
    edits = ", ".join(f"{name} {amount:+g}" for name, amount in amounts.items())
    refined = f", refined in {steps} steps" if steps else ""
    rows = [("originals", x), (f"reconstructions{refined}", before), (edits, after)]
    write_picture(paired_grid(rows, names), out)
    read, then = (found.scores(m.encode(y.clamp(-1, 1))).mean(0).tolist() for y in (before, after))
    scores = {name: {"before": a, "after": b}
              for name, a, b in zip(found.names, read, then, strict=True)}  # fmt: skip
    edited = {name: scores[name] for name in amounts}
    others = {name: v for name, v in scores.items() if name not in amounts}
    moved = max(others, key=lambda n: abs(others[n]["after"] - others[n]["before"]), default=None)
    print_numbers(
        command="edit",
        images=len(x),
        amounts=amounts,
        scores=edited,
        most_moved_other={moved: others[moved]} if moved else {},
    )


def _warn_of_weak(found: "Directions", names: Iterable[str]) -> None:
    if weak := found.weak(names):
        log.warning(
            "%s: this direction told its attribute no better than guessing would: expect little",
            ", ".join(weak),
        )


def _amounts(attributes: Sequence[str]) -> dict[str, float]:
    """`smile=+2` -> {"smile": 2.0}."""
    found: dict[str, float] = {}
    for text in attributes:
        name, _, amount = text.rpartition("=")
        value = math.nan
        with suppress(ValueError):
            value = float(amount)
        if not name or not math.isfinite(value):
            raise ConfigError(f"--attribute is {text!r}: write a name and an amount, smile=+2 say")
        if name in found:
            raise ConfigError(f"--attribute {name} is given twice: write it once, with its amount")
        found[name] = value
    return found
