"""`refine`: better styles for images, and a generator tuned to a person."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OUT, OVERWRITE, PATH
from pipeline.cli.batches import TUNED, encode_images, open_for, pictures_of, write_codes
from pipeline.cli.errors import reports_errors
from pipeline.cli.output import print_numbers, write_picture
from pipeline.cli.progress import progress
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from stylealae import StyleALAE
    from stylealae.editing.refinement import Distance
    from stylealae.editing.tuning import Tuned, Tuning

__all__ = ["refine"]


@click.command()
@MODEL
@IMAGES
@OUT
@click.option("--steps", default=100, show_default=True, help="Steps of descent from E(x).")
@click.option("--features", metavar="vgg16.pt", type=PATH,
              help="Descend by LPIPS as well, and say how much was gained in it. docs/metrics.md "
                   "says where the file is from; nothing is downloaded here.")  # fmt: skip
@click.option("--styles", type=PATH,
              help="Also write the refined styles: .safetensors or .npy.")  # fmt: skip
@click.option("--tune", "tuning", metavar="FILE", type=PATH,
              help="Also tune G to these images, and write what is added to it: a small "
                   ".safetensors, which other commands take as tuned:FILE.")  # fmt: skip
@click.option("--tune-steps", default=200, show_default=True, type=click.IntRange(1),
              help="Steps of tuning.")  # fmt: skip
@OVERWRITE
@COUNT(8)
@DEVICE
@reports_errors
def refine(
    model: Path, images: Sequence[str], out: Path, steps: int, features: Path | None,
    styles: Path | None, tuning: Path | None, tune_steps: int, overwrite: bool, count: int,
    device: str,
) -> None:  # fmt: skip
    """Improve reconstructions: descend from E(x) to styles that keep who is seen.

    Nothing of the model changes. Written are originals, G(E(x)), the refined pictures, and what was
    gained: in dB of PSNR, and in perceptual distance (LPIPS with --features; without, that of the
    built-in extractor, lpips-random, which is no LPIPS and is not descended by).

    With --tune G is moved as well, a little, until it draws these images (pivotal tuning). The
    file holds the refined styles and what is added to G; faces far from these stay nearly as they
    were, by far_db: the PSNR of the model's samples after against before.

    \b
    stylealae refine runs/demo/0032/snapshot me.jpg --steps 200 --out me-refined.png
    stylealae refine snapshots/ffhq me.jpg --features vgg16.pt --out me-refined.png
    stylealae refine runs/demo me.jpg --tune me.safetensors --out me-tuned.png
    stylealae edit runs/demo tuned:me.safetensors --attribute smile=+2 --out smiling.png
    """  # noqa: D301
    from stylealae.image_grid import paired_grid
    from stylealae.metrics import lpips

    if styles is not None and styles.suffix not in (".safetensors", ".npy"):
        raise ConfigError(f"--styles is {styles}: end it in .safetensors or .npy")
    if tuning is not None:
        _require_own(images)
        _require_free(tuning, overwrite=overwrite)
    m = open_for(model, images, device)
    measure, distance = lpips.of_file(features, m.device)
    names, x, _ = encode_images(m, images, count)
    descended = distance if features else None
    with progress("steps", steps) as advance:
        found = m.refine(x, steps, distance=descended, report=lambda _: advance(1))
    rows = [
        ("originals", x),
        ("reconstructions G(E(x))", pictures_of(m, found.encoded)),
        (f"refined, {steps} steps", pictures_of(m, found.w)),
    ]
    db = [found.before_db, found.after_db]
    about: dict[str, object] = {}
    if tuning is not None:
        tuned = _tuned(m, x, found.w, names, tune_steps, descended)
        _save(tuned.tuning, tuning)
        rows.append((f"tuned, {tune_steps} steps", pictures_of(m.tuned(tuned.tuning), found.w)))
        db.append(tuned.after_db)
        about = {"tuned_psnr_db": float(tuned.after_db.mean()), "far_db": tuned.far_db,
                 "tuning": str(tuning), "tuning_kib": tuning.stat().st_size / 1024}  # fmt: skip
    seen = [distance(x, y.clamp(-1, 1)).tolist() for _, y in rows[1:]]
    found_db = zip(names, *(d.tolist() for d in db), strict=True)
    headings = [f"{name}\n{_to(values)} dB" for name, *values in found_db]
    if features:
        lines = zip(headings, *seen, strict=True)
        headings = [f"{line}\nLPIPS {_to(values, 3)}" for line, *values in lines]
    write_picture(paired_grid(rows, headings), out)
    if styles is not None:
        write_codes(found.w.cpu(), "w", names, styles)
        click.echo(styles)
    first, then = (float(d.mean()) for d in db[:2])
    near = dict(zip(("before", "after", "tuned"), map(fmean, seen), strict=False))
    print_numbers(
        command="refine",
        images=len(x),
        steps=steps,
        psnr_db=first,
        refined_psnr_db=then,
        gain_db=then - first,
        **{measure: near},
        **about,
    )


def _tuned(
    m: "StyleALAE", x: "Tensor", w: "Tensor", names: Sequence[str], steps: int,
    distance: "Distance | None",
) -> "Tuned":  # fmt: skip
    """G tuned to images, under a progress bar."""
    with progress("tuning steps", steps) as advance:
        return m.tune(x, w, steps, names=names, distance=distance, report=lambda _: advance(1))


def _to(values: Sequence[float], digits: int = 1) -> str:
    """19.5 to 24.0 to 30.2."""
    return " to ".join(f"{value:.{digits}f}" for value in values)


def _require_own(images: Sequence[str]) -> None:
    """Refuses faces that a tuned G draws: what is added to it is of no snapshot's G."""
    if tuned := next((face for face in images if face.startswith(TUNED)), None):
        raise ConfigError(
            f"--tune moves the model's own generator, and {tuned} is drawn by a tuned one: give "
            "the images themselves"
        )


def _require_free(tuning: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a file that no tuning can be written to."""
    if tuning.suffix != ".safetensors":
        raise ConfigError(f"--tune is {tuning}: end it in .safetensors")
    if tuning.exists() and not overwrite:
        raise ConfigError(f"{tuning} exists: name another file, or replace it with --overwrite")


def _save(tuning: "Tuning", file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tuning.save(file)
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error}") from error
    click.echo(file)
