"""`directions`, `traverse`, `edit`: find directions in w, look along them, move faces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import COUNT, DEVICE, IMAGES, MODEL, OUT
from pipeline.cli.batches import encode_images, read_batches
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import open_model, snapshot_of
from pipeline.cli.output import print_numbers, progress, write_picture
from stylealae.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from stylealae import StyleALAE
    from stylealae.editing.attributes import Label, Method, Separate
    from stylealae.editing.directions import Directions

__all__ = ["directions", "edit", "traverse"]

FOLDER = click.option("--directions", "folder", type=click.Path(path_type=Path),
                      help="Folder of the directions; default: MODEL's own.")  # fmt: skip


@click.command()
@MODEL
@click.argument("data", nargs=-1)
@click.option("--labels", type=click.Path(path_type=Path),
              help="Labels of DATA, where it brings none: a CSV (first column: file name), or "
                   "list_attr_celeba.txt.")  # fmt: skip
@click.option("--attributes", metavar="A,B,...",
              help="Which labels; default: all. What they share is told apart, so name those that "
                   "go together. Of a label of classes each is an attribute; gender:Male names "
                   "one.")  # fmt: skip
@click.option("--method", type=click.Choice(["effect", "svm", "logistic"]), default="effect",
              show_default=True,
              help="effect: how w changes with one attribute while the others stay; svm, logistic: "
                   "across the plane that tells less from more.")  # fmt: skip
@click.option("--separate", type=click.Choice(["no", "conditioned", "orthogonal"]), default="no",
              show_default=True,
              help="conditioned: leave the scores of the other attributes as they are; orthogonal: "
                   "at right angles to each other.")  # fmt: skip
@click.option("--principal", type=click.IntRange(1), metavar="K",
              help="Without DATA: the K ways in which w varies most (GANSpace).")  # fmt: skip
@click.option("--sefa", type=click.IntRange(1), metavar="K",
              help="Without DATA: the K ways that G's affines answer to most (SeFa).")  # fmt: skip
@click.option("--layers", metavar="FIRST-LAST", help="With --sefa: only these layers, 0-3 say.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: MODEL's own.")
@COUNT(None)
@DEVICE
@reports_errors
def directions(
    model: Path, data: Sequence[str], labels: Path | None, attributes: str | None,
    method: "Method", separate: "Separate", principal: int | None, sefa: int | None,
    layers: str | None, out: Path | None, count: int | None, device: str,
) -> None:  # fmt: skip
    """Find directions in w, for `edit`, `traverse` and the studio.

    From labelled images (DATA: a prepared data set, or a folder, zip or tar with labels.csv), or
    without any. Shown are the accuracy on styles that were not fitted, what guessing would reach,
    and which other attribute moves most when a direction is followed.

    \b
    stylealae directions runs/demo/0032/snapshot datasets/rendered --attributes smile,age,glasses
    stylealae directions runs/faces faces.zip --labels attributes.csv --method svm
    stylealae directions runs/demo/0032/snapshot --sefa 10 --layers 0-3 --out directions/sefa
    """  # noqa: D301
    if bool(data) + bool(principal) + bool(sefa) != 1:
        raise ConfigError("give labelled DATA, or --principal K, or --sefa K: one of them")
    home = out or snapshot_of(model)
    m = open_model(model, device)
    if principal:
        found = m.principal(principal)
    elif sefa:
        found = m.sefa(sefa, layers=_layers(layers) if layers else None)
    else:
        w, columns = _labelled(m, data, labels, count)
        found = m.directions(
            w, _wanted(columns, attributes, data), method=method, separate=separate
        )
    found.save(home)
    _show(found)
    click.echo(home / "directions.safetensors")
    report = found.about.get("attributes", {})
    print_numbers(
        command="directions",
        directions=len(found),
        styles=found.about["styles"],
        method=found.about["method"],
        separate=found.about.get("separate", "no"),
        attributes=report,
    )


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

    m = open_model(model, device)
    found = Directions.load(folder or snapshot_of(model))
    if images:
        names, _, w = encode_images(m, images, count)
    else:
        names = [f"seed {k}" for k in range(count)]
        w = torch.cat([m.styles(1, seed=k) for k in range(count)])
    amounts = torch.linspace(-reach, reach, steps).tolist()
    rows: list[Row] = []
    change: dict[str, float] = {}
    for name in along or found.names[:4]:
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
    m = open_model(model, device)
    found = Directions.load(folder or snapshot_of(model))
    found.step(amounts)  # refuses a wrong name before anything takes long
    names, x, w = encode_images(m, images, count)
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


def _labelled(
    m: "StyleALAE", data: Sequence[str], labels: Path | None, count: int | None
) -> "tuple[Tensor, dict[str, list[Label]]]":
    """Styles [N, W] of labelled images, and N values for each label."""
    import torch

    styles: list[Tensor] = []
    columns: dict[str, list[Label]] = {}
    for batch, x in read_batches(m, data, count=count, labels=labels, what="styles"):
        styles.append(m.encode(x))
        for image in batch:
            for name, value in image.labels.items():
                columns.setdefault(name, []).append(value)
    return torch.cat(styles), columns


def _wanted(
    columns: "Mapping[str, Sequence[Label]]", attributes: str | None, data: Sequence[str]
) -> "dict[str, Sequence[Label]]":
    if not columns:
        raise DataError(
            f"{', '.join(data)} has no labels: give a CSV of them with --labels, or prepare the "
            "data set with labels"
        )
    wanted = [name.strip() for name in attributes.split(",")] if attributes else list(columns)
    return {name: columns[name] if name in columns else _one_class(columns, name)
            for name in wanted}  # fmt: skip


def _one_class(columns: "Mapping[str, Sequence[Label]]", name: str) -> "list[Label]":
    """`gender:Male` -> 1 where the label is that class, 0 where it is another."""
    label, _, one = name.partition(":")
    if label not in columns:
        raise DataError(f"there is no label {name}: the labels are {', '.join(columns)}")
    texts = [None if value is None else value if isinstance(value, str) else f"{value:g}"
             for value in columns[label]]  # fmt: skip
    if one not in texts:
        there = sorted({text for text in texts if text is not None})
        shown = ", ".join([*there[:10], *(["..."] if len(there) > 10 else [])])
        raise DataError(f"no image has {one!r} for {label}: it is {shown}")
    return [None if text is None else float(text == one) for text in texts]


def _show(found: "Directions") -> None:
    """A table for people, on stderr: the JSON has the same numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    report = found.about.get("attributes")
    if not report:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("direction", "accuracy", "chance", "correlation", "own score", "moves most"):
        table.add_column(heading, justify="left" if heading[0] in "dm" else "right")
    entangled = found.entanglement()
    for k, name in enumerate(found.names):
        measured = report[name]
        others = entangled[k].clone()
        others[k] = 0
        worst = int(others.abs().argmax())
        numbers = [f"{measured[n]:.2f}" if n in measured else "?"
                   for n in ("accuracy", "chance", "correlation")]  # fmt: skip
        moved = float(others[worst])
        other = f"{found.names[worst]} {moved:+.2f}" if abs(moved) >= 0.005 else ""
        name, other = escape(printable(name)), escape(printable(other))
        table.add_row(name, *numbers, f"{float(entangled[k, k]):+.2f}", other)
    Console(stderr=True, width=110).print(table)


def _layers(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise ConfigError(f"--layers is {text!r}: write two numbers such as 0-3")
    return int(first), int(last or first)


def _amounts(attributes: Sequence[str]) -> dict[str, float]:
    """`smile=+2` -> {"smile": 2.0}."""
    found: dict[str, float] = {}
    for text in attributes:
        name, _, amount = text.rpartition("=")
        try:
            found[name] = float(amount)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--attribute is {text!r}: write a name and an amount, smile=+2 say")
    return found
