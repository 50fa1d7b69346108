"""`mix`, `interpolate`: styles of several faces in one picture, or one video."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pipeline.cli.arguments import DEVICE, MODEL, OUT, PATH, FiniteRange, require_picture
from pipeline.cli.batches import open_for, styles_of
from pipeline.cli.errors import reports_errors
from pipeline.cli.output import print_numbers, write_picture
from pipeline.cli.progress import progress
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from stylealae import StyleALAE
    from stylealae.image_grid import Row

__all__ = ["interpolate", "mix"]


@click.command()
@MODEL
@click.argument("faces", nargs=-1, required=True)
@click.option("--with", "others", multiple=True, required=True,
              help="Whose styles are mixed in; may be given several times.")  # fmt: skip
@OUT
@click.option("--count", default=6, show_default=True, type=click.IntRange(1),
              help="At most so many of either set.")  # fmt: skip
@DEVICE
@reports_errors
def mix(
    model: Path, faces: Sequence[str], others: Sequence[str], out: Path, count: int, device: str
) -> None:
    """Draw FACES with the coarse, middle and fine styles of others.

    Coarse styles hold pose and shape, middle ones features and hair, fine ones colour and light.
    FACES and --with are image files, folders, zips, tars, or seed:N for faces of the model itself.

    \b
    stylealae mix runs/demo/0032/snapshot me.jpg you.jpg --with photos/ --out mixed.png
    stylealae mix runs/demo seed:1 seed:2 seed:3 --with seed:7 --with seed:8 --out mixed.png
    """  # noqa: D301
    import torch

    from stylealae import latents
    from stylealae.image_grid import image_grid

    m = open_for(model, (*faces, *others), device)
    (names, _, w), (other_names, _, w_other) = (styles_of(m, f, count) for f in (faces, others))
    layers = 2 * (m.stage + 1)
    ours, theirs = (latents.per_layer(a, layers) for a in (w, w_other))
    shown, shown_other = (m.generate(a, noise=False) for a in (ours, theirs))
    rows: list[Row] = [("", torch.cat([torch.ones_like(shown[:1]), shown_other]))]
    changed: dict[str, float] = {}
    for band, (first, last) in latents.bands(layers).items():
        sides = f"{4 << first // 2}x{4 << first // 2} to {4 << last // 2}x{4 << last // 2}"
        sides = sides if first // 2 != last // 2 else sides.partition(" ")[0]
        total = 0.0
        for k, name in enumerate(names):
            mixed = latents.swap(ours[k : k + 1].expand_as(theirs), theirs, first, last)
            x = m.generate(mixed, noise=False)
            total += float((x - shown[k]).square().mean())
            rows.append((f"{name}\nwith {band} styles\n{sides}", torch.cat([shown[k : k + 1], x])))
        changed[band] = total / len(names)
    grid = image_grid(rows, headings=["", *other_names], columns=len(other_names) + 1, tile=96)
    write_picture(grid, out)
    print_numbers(
        command="mix", faces=len(names), others=len(other_names), mean_squared_change=changed
    )


@click.command()
@MODEL
@click.argument("faces", nargs=-1, required=True)
@click.option("--out", required=True, type=PATH,
              help="A sheet (.png), or a video (.gif, .webp, .mp4, .webm).")  # fmt: skip
@click.option("--steps", default=9, show_default=True, type=click.IntRange(2),
              help="Pictures from one face to the next, in a sheet.")  # fmt: skip
@click.option("--seconds", default=2.0, show_default=True, type=FiniteRange(0.1),
              help="From one face to the next, in a video.")  # fmt: skip
@click.option("--fps", default=24.0, show_default=True, type=FiniteRange(1, 60),
              help="Pictures a second, in a video.")  # fmt: skip
@click.option("--loop", is_flag=True, help="Return to the first face.")
@DEVICE
@reports_errors
def interpolate(
    model: Path, faces: Sequence[str], out: Path, steps: int, seconds: float, fps: float,
    loop: bool, device: str,
) -> None:  # fmt: skip
    """Draw the way from face to face, straight in w.

    FACES are image files, folders, zips, tars, or seed:N for a face of the model itself.

    \b
    stylealae interpolate runs/demo/0032/snapshot me.jpg you.jpg --out way.png
    stylealae interpolate runs/demo seed:1 seed:2 seed:3 --loop --out faces.mp4
    """  # noqa: D301
    from pipeline.export.video import SUFFIXES
    from stylealae.image_grid import Row, image_grid

    is_video = out.suffix.lower() in SUFFIXES
    if not is_video:
        require_picture("--out", out, *SUFFIXES)
    _require_of(out, {"steps"} if is_video else {"seconds", "fps"}, is_video=is_video)
    m = open_for(model, faces, device)
    names, _, w = styles_of(m, faces, None)
    if len(w) < 2:
        raise ConfigError(f"there is one face, {names[0]}: name two or more to go between")
    order = [*range(len(w)), *([0] if loop else [])]
    pairs = list(pairwise(order))
    if not is_video:
        rows: list[Row] = [
            (f"{names[a]}\nto {names[b]}", _pictures(m, w[a], w[b], steps)) for a, b in pairs
        ]
        headings = [f"{k / (steps - 1):.2f}" for k in range(steps)]
        write_picture(image_grid(rows, headings=headings, columns=steps, tile=96), out)
        print_numbers(command="interpolate", faces=len(w), pictures=steps * len(pairs))
        return
    each = max(1, round(seconds * fps))
    ways = [(w[a], w[b]) for a, b in pairs]
    frames, kind = _write_frames(m, ways, out, each, fps, closed=loop)
    print_numbers(command="interpolate", faces=len(w), pictures=frames, fps=fps, kind=kind)


def _require_of(out: Path, others: set[str], *, is_video: bool) -> None:
    """Refuses options that were given and are of what is not written."""
    given = click.get_current_context().get_parameter_source
    if found := [f"--{name}" for name in sorted(others) if given(name) != ParameterSource.DEFAULT]:
        kind, want = ("a video", "--seconds and --fps") if is_video else ("a sheet", "--steps")
        raise ConfigError(
            f"--out is {out}, {kind}, and {' and '.join(found)} would change nothing: {kind} has "
            f"{want}"
        )


def _write_frames(
    m: "StyleALAE",
    ways: "Sequence[tuple[Tensor, Tensor]]",
    out: Path,
    steps: int,
    fps: float,
    *,
    closed: bool,
) -> tuple[int, str]:
    """Writes a video; the number of its frames, and its format.

    Of a `closed` way the last picture is the first, which a player shows next.
    """
    from pipeline.export.video import write_video
    from stylealae.image_grid import to_uint8

    frames = []
    with progress("pictures", steps * len(ways)) as advance:
        for w, w_other in ways:
            # The last one is the next way's first.
            frames += [*to_uint8(_pictures(m, w, w_other, steps + 1)[:-1])]
            advance(steps)
    if not closed:
        frames += [*to_uint8(_pictures(m, ways[-1][1], ways[-1][1], 1))]
    kind = write_video(frames, out, fps)
    click.echo(out)
    return len(frames), kind


def _pictures(m: "StyleALAE", w: "Tensor", w_other: "Tensor", steps: int) -> "Tensor":
    """[W], [W] -> [steps, C, R, R]"""
    import torch

    between = m.interpolate(w[None], w_other[None], steps)[:, 0]  # [steps, W]
    return torch.cat([m.generate(part, noise=False) for part in torch.split(between, 16)])
