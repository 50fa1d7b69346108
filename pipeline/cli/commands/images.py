"""`encode`, `reconstruct`, `sample`: images in, styles and pictures out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OUT, PATH
from pipeline.cli.batches import (
    encode_images,
    made_of_images,
    open_any_for,
    pictures_of,
    read_batches,
    write_codes,
)
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import open_any, open_model
from pipeline.cli.output import print_numbers, write_picture
from pipeline.cli.progress import progress
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from stylealae import StyleALAE
    from stylealae.capabilities import Model
    from stylealae.image_grid import Row

__all__ = ["encode", "reconstruct", "sample"]

SHEET_PX = 2048
"""Sheets of samples are about so wide, but at least four images."""
MOST_PSI = 4.0
"""Styles of a larger truncation lie where there are none: a decimal comma, say."""
MOST_PX = 1 << 28
"""Pixels of an image grid, which are held as floats: 3 GiB."""
AT_ONCE = 16
"""Images that G draws together."""


@click.command()
@MODEL
@IMAGES
@click.option("--out", required=True, type=PATH,
              help="A .safetensors, or a .npy with the names in a .json beside.")  # fmt: skip
@COUNT(None)
@DEVICE
@reports_errors
def encode(model: Path, images: Sequence[str], out: Path, count: int | None, device: str) -> None:
    """Write the styles w = E(x) of images, or of a model without styles the codes z = E(x).

    MODEL is a snapshot, a run's folder or a released .pth; IMAGES are files, folders, zips, tars or
    prepared data sets.

    \b
    stylealae encode runs/demo/0032/snapshot photos/ --out styles.safetensors
    stylealae encode runs/demo datasets/rendered --out styles.npy
    """  # noqa: D301
    import torch

    from stylealae import StyleALAE
    from stylealae.capabilities import Autoencodes, Unmaps

    if out.suffix not in (".safetensors", ".npy"):
        raise ConfigError(f"--out is {out}: name a file that ends in .safetensors or .npy")
    m = open_any_for(model, images, device)
    if not isinstance(m, (StyleALAE, Unmaps, Autoencodes)):
        raise ConfigError(f"{model} is of the family {m.family!r}, which has no encoder E")
    letter = "z" if isinstance(m, Autoencodes) else "w"
    names: list[str] = []
    parts: list[Tensor] = []
    for batch, x in read_batches(m, images, count=count):
        names += [image.name for image in batch]
        parts.append(m.encode(x).cpu())
    codes = torch.cat(parts)
    write_codes(codes, letter, names, out)
    click.echo(out)
    about = {
        f"{letter}_width": codes.shape[1],
        f"{letter}_spread": float(codes.std(0).mean()) if len(codes) > 1 else 0.0,
    }
    print_numbers(command="encode", images=len(codes), **about)


@click.command()
@MODEL
@IMAGES
@OUT
@click.option("--stages", is_flag=True,
              help="Rows for every resolution that the model grew by: of a run, by the snapshot "
                   "of each stage; of one snapshot, by its smaller exits, untrained "
                   "since.")  # fmt: skip
@COUNT(16)
@DEVICE
@reports_errors
def reconstruct(
    model: Path, images: Sequence[str], out: Path, stages: bool, count: int, device: str
) -> None:
    """Draw originals above their reconstructions G(E(x)), with their PSNR.

    IMAGES are image files, folders, zips, tars or prepared data sets.

    \b
    stylealae reconstruct runs/demo/0032/snapshot me.jpg you.png --out faces.png
    stylealae reconstruct runs/demo photos.zip --stages --count 8 --out growth.png
    """  # noqa: D301
    from stylealae import StyleALAE
    from stylealae.editing.refinement import psnr
    from stylealae.image_grid import paired_grid

    m = open_any_for(model, images, device)
    if stages and isinstance(m, StyleALAE):
        _draw_by_stage(m, _grown(model, m), images, count, out)
        return
    names, x, y = made_of_images(m, images, count, _reconstruction(m, stages))
    side = f"{m.resolution}x{m.resolution}"
    db = psnr(x, y)
    pairs = zip(names, db.tolist(), strict=True)
    headings = [f"{name}\n{value:.1f} dB" for name, value in pairs]
    rows = [(f"originals at {side}", x), ("reconstructions G(E(x))", y)]
    write_picture(paired_grid(rows, headings), out)
    of = dict(zip(_numbered(names), db.tolist(), strict=True))
    print_numbers(
        command="reconstruct", images=len(x), resolution=m.resolution,
        psnr_db=float(db.mean()), of=of,
    )  # fmt: skip


@click.command()
@MODEL
@OUT
@click.option("--count", default=32, show_default=True, type=click.IntRange(1),
              help="How many images of the one seed.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Another seed draws other images.")
@click.option("--seeds", help="An image for each of these instead, such as 0-15 or 3,7,20-23.")
@click.option("--truncation", default="1.0", show_default=True,
              help="Below 1 pulls styles towards the mean: less variety, fewer flaws; 0.5,0.7,1 "
                   "draws a row each.")  # fmt: skip
@click.option("--noise", is_flag=True, help="Add G's noise.")
@DEVICE
@reports_errors
def sample(
    model: Path, out: Path, count: int, seed: int, seeds: str | None, truncation: str, noise: bool,
    device: str,
) -> None:  # fmt: skip
    """Draw new images, of a model of any family.

    \b
    stylealae sample runs/demo/0032/snapshot --out samples.png --seed 3 --truncation 0.7
    stylealae sample runs/demo --seeds 0-15 --truncation 0,0.5,0.7,1 --out truncation.png
    """  # noqa: D301
    import torch

    from stylealae import StyleALAE
    from stylealae.image_grid import image_grid, paired_grid

    numbers = [] if seeds is None else _seeds(seeds)
    amounts = _truncations(truncation)
    m = open_any(model, device)
    styled = isinstance(m, StyleALAE)
    if not styled and (noise or amounts != [1.0]):
        raise ConfigError(
            f"--truncation and --noise are of a StyleALAE, and {model} is of the family "
            f"{m.family!r}: leave them out"
        )
    _require_memory(m.resolution, len(amounts) * (len(numbers) or count))
    wanted = [(k, 1) for k in numbers] or [(seed, count)]
    caption = "" if numbers else f"samples G(F(z))\nseed {seed}, " if styled else f"seed {seed}"
    rows: list[Row] = []
    with progress("samples", len(amounts) * (len(numbers) or count)) as advance:
        for psi in amounts:
            drawn = list(_samples(m, wanted, psi, noise, advance))
            rows.append((f"{caption}truncation {psi:g}" if styled else caption, torch.cat(drawn)))
    columns = max(4, min(16, SHEET_PX // m.resolution))
    if numbers:
        grid = paired_grid(rows, [f"seed {k}" for k in numbers], tile=64, columns=columns)
    else:
        grid = image_grid(rows, columns=columns)
    write_picture(grid, out)
    deviations = {
        f"{psi:g}": float(x.std(0, correction=0).mean())
        for psi, (_, x) in zip(amounts, rows, strict=True)
    }
    print_numbers(
        command="sample", images=sum(len(x) for _, x in rows), spread_of_pixels=deviations
    )


def _numbered(names: Sequence[str]) -> Iterator[str]:
    """Names that differ: of images of one name the later ones are numbered."""
    taken = Counter[str]()
    for name in names:
        taken[name] += 1
        yield name if taken[name] == 1 else f"{name} ({taken[name]})"


def _require_memory(resolution: int, images: int) -> None:
    """Refuses an image grid that is too large to be held in memory."""
    most = MOST_PX // resolution**2
    if images > most:
        raise ConfigError(
            f"{images:,} images of {resolution}x{resolution} are more than a sheet holds: ask for "
            f"{most:,} at most, and for others with another --seed"
        )


def _draw_by_stage(
    m: "StyleALAE", grown: "Mapping[int, StyleALAE]", images: Sequence[str], count: int, out: Path
) -> None:
    """Draws originals and reconstructions at every resolution that a model grew by."""
    from stylealae.editing.refinement import psnr
    from stylealae.image_grid import image_grid

    names, x, _ = encode_images(m, images, count)
    rows = _by_stage(m, grown, x)
    write_picture(image_grid(rows, headings=names, columns=len(x), tile=96), out)
    errors = {r[0]: psnr(o[1], r[1]) for o, r in zip(rows[::2], rows[1::2], strict=True)}
    means = {what.split()[0]: float(db.mean()) for what, db in errors.items()}
    print_numbers(command="reconstruct", images=len(x), psnr_db=means)


def _reconstruction(m: "Model", stages: bool) -> "Callable[[Tensor], Tensor]":
    """What makes G(E(x)) of images.

    Raises:
        ConfigError: the model reconstructs nothing, or only images of which it knows more, or does
            not grow by stages.
    """
    from stylealae import StyleALAE
    from stylealae.capabilities import Reconstructs, TakesClasses

    if isinstance(m, StyleALAE):
        return lambda x: pictures_of(m, m.encode(x))

    if not isinstance(m, Reconstructs):
        raise ConfigError(f"the family {m.family!r} has no encoder E: it reconstructs nothing")
    if isinstance(m, TakesClasses):
        raise ConfigError(
            f"G of the family {m.family!r} takes an image's class beside E's code, and images do "
            "not say theirs: `evaluate` reconstructs those of a data set with labels"
        )
    if stages:
        raise ConfigError(f"--stages is of a StyleALAE; the family {m.family!r} does not grow")
    return m.reconstruct


def _samples(
    m: "Model", wanted: Sequence[tuple[int, int]], psi: float, noise: bool,
    advance: Callable[[int], None],
) -> "Iterator[Tensor]":  # fmt: skip
    """So many samples of each seed, as `m.sample` draws them, some at a time.  -> [n, C, R, R]"""
    import torch

    from stylealae import StyleALAE, latents

    if noise or not isinstance(m, StyleALAE):  # noise is drawn for all samples of a seed together
        how = {"truncation": psi, "noise": noise} if isinstance(m, StyleALAE) else {}
        for seed, n in wanted:
            yield m.sample(n, seed=seed, **how)
            advance(n)
        return
    w = torch.cat([m.styles(n, seed) for seed, n in wanted])
    for part in torch.split(latents.per_layer(w, 2 * (m.stage + 1)), AT_ONCE):
        yield m.generate(latents.truncate(part, m.w_mean, psi), noise=False)
        advance(len(part))


def _grown(model: Path, m: "StyleALAE") -> "dict[int, StyleALAE]":
    """The model of each stage: as a run left it there, else, and of its last, as it is now."""
    found = sorted(model.glob("[0-9]*/snapshot"))
    left = [open_model(path, str(m.device)) for path in found]
    now = {stage: m for stage in range(m.stage + 1)}
    return now | {then.stage: then for then in left} | {m.stage: m}  # which may be tuned


def _by_stage(m: "StyleALAE", grown: "Mapping[int, StyleALAE]", x: "Tensor") -> "list[Row]":
    """Originals and reconstructions at every resolution, smallest first."""
    import torch.nn.functional as fn

    rows: list[Row] = []
    for stage, then in grown.items():
        small = fn.avg_pool2d(x, m.resolution // (4 << stage))
        side = f"{4 << stage}x{4 << stage}"
        rows += [(f"{side} originals", small), (f"{side} G(E(x))", then.reconstruct(small, stage))]
    return rows


def _seeds(text: str) -> list[int]:
    """`0-3,9` -> [0, 1, 2, 3, 9]."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise ConfigError(f"--seeds is {text!r}: write numbers and ranges such as 0-15,20")
        if int(last or first) < int(first):
            raise ConfigError(
                f"--seeds has {part}, which ends before it begins: write {last}-{first}"
            )
        if int(last or first) - int(first) >= MOST_PX // 16:
            raise ConfigError(f"--seeds has {part}, more than a sheet holds: write a shorter range")
        found += range(int(first), int(last or first) + 1)
    return found


def _truncations(text: str) -> list[float]:
    """`0.5,1` -> [0.5, 1.0]."""
    with suppress(ValueError):
        found = [float(part) for part in text.split(",")]
        if all(abs(psi) <= MOST_PSI for psi in found):
            return found
    raise ConfigError(
        f"--truncation is {text!r}: write numbers from -{MOST_PSI:g} to {MOST_PSI:g}, as in 0.7 or "
        "0.5,0.7,1"
    )
