"""`directions`: find directions in w."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import COUNT, DEVICE, MODEL, PATH
from pipeline.cli.batches import read_batches
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import open_model
from pipeline.cli.output import JSON, print_numbers, print_table, wants_tables
from pipeline.training.model_folder import snapshot_of, url_of
from stylealae.errors import ConfigError, DataError
from stylealae.interop.pretrained import pretrained

if TYPE_CHECKING:
    from torch import Tensor

    from stylealae import StyleALAE
    from stylealae.editing.attributes import Label, Method, Separate
    from stylealae.editing.directions import Directions

__all__ = ["directions"]

log = logging.getLogger(__name__)


@click.command()
@MODEL
@click.argument("data", nargs=-1)
@click.option("--labels", type=PATH,
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
@click.option("--out", type=PATH, help="Folder; default: MODEL's own, of a model on this machine.")
@click.option("--overwrite", is_flag=True,
              help="Replace all directions that are there. Without it new ones are added, and "
                   "one of a name that is there is refused.")  # fmt: skip
@JSON
@COUNT(None)
@DEVICE
@reports_errors
def directions(
    model: Path, data: Sequence[str], labels: Path | None, attributes: str | None,
    method: "Method", separate: "Separate", principal: int | None, sefa: int | None,
    layers: str | None, out: Path | None, overwrite: bool, as_json: bool,
    count: int | None, device: str,
) -> None:  # fmt: skip
    """Find directions in w, for `edit`, `traverse` and the studio.

    From labelled images (DATA: a prepared data set, or a folder, zip or tar with labels.csv), or
    without any. Shown are the accuracy on styles that were not fitted, what guessing would reach,
    and which other attribute moves most when a direction is followed.

    Directions that are there stay: new ones are added to them. One that is told no better than by
    guessing is named as such.

    \b
    stylealae directions runs/demo/0032/snapshot datasets/rendered --attributes smile,age,glasses
    stylealae directions runs/faces faces.zip --labels attributes.csv --method svm
    stylealae directions runs/demo/0032/snapshot --sefa 10 --layers 0-3 --out directions/sefa
    """  # noqa: D301
    from stylealae.editing.directions import Directions

    if bool(data) + bool(principal) + bool(sefa) != 1:
        raise ConfigError("give one of these: labelled DATA, --principal K or --sefa K")
    if layers and not sefa:
        raise ConfigError(
            f"--layers {layers} is of --sefa alone: leave it out, or ask for --sefa K"
        )
    home = out or _home_of(model)
    there = None
    if (home / "directions.json").exists() and not overwrite:
        there = Directions.load(home)
    wanted = [name.strip() for name in attributes.split(",")] if attributes else []
    names = wanted or [f"pc{k + 1}" for k in range(principal or 0)]
    names = names or [f"sefa{k + 1}" for k in range(sefa or 0)]
    span = _layers(layers) if layers else None
    _require_new_names(home, there, names, span)
    m = open_model(model, device)
    if principal:
        found = m.principal(principal)
    elif sefa:
        found = m.sefa(sefa, layers=span)
    else:
        w, columns = _labelled(
            m, data, labels, count,
            lambda names: _require_new_names(home, there, names if not wanted else (), span),
        )  # fmt: skip
        found = m.directions(w, _wanted(columns, wanted, data), method=method, separate=separate)
        _require_new_names(home, there, found.names, span)
    (there.joined(found) if there else found).save(home)
    click.echo(home / "directions.safetensors")
    _tell(found, there.names if there else (), table=wants_tables(as_json))


def _home_of(model: Path) -> Path:
    """The folder of a model, where its directions lie.

    Raises:
        ConfigError: it is the package's own, the hub's or a store's, which stay as they are.
    """
    if url := url_of(model):
        raise ConfigError(f"{url} is not on this machine: name a folder of your own with --out")
    home = snapshot_of(model)
    if home == pretrained(str(model)):
        raise ConfigError(f"{model} comes with the package: name a folder of your own with --out")
    return home


def _tell(found: "Directions", beside: Sequence[str], *, table: bool) -> None:
    """What was found, and which of it is of little use."""
    weak = found.weak(found.names)
    if weak:
        log.warning("%s: no better than guessing on faces that were not fitted", ", ".join(weak))
    if table:
        _show(found)
        if beside:
            click.echo(f"beside those that were there: {', '.join(beside)}")
        return
    print_numbers(
        command="directions",
        directions=len(found),
        styles=found.about["styles"],
        method=found.about["method"],
        separate=found.about.get("separate", "no"),
        attributes=found.about.get("attributes", {}),
        no_better_than_guessing=weak,
        beside=list(beside),
    )


def _require_new_names(
    home: Path, there: "Directions | None", names: Iterable[str], layers: tuple[int, int] | None
) -> None:
    """Refuses directions whose names or layers clash with those that are there.

    Raises:
        ConfigError: a name is there already, or those that are there move other layers.
    """
    if there is None:
        return
    others = f"replace the {len(there)} directions there with --overwrite, or give --out FOLDER"
    if both := [name for name in names if name in there.names]:
        raise ConfigError(f"{home} holds {', '.join(both)} already: {others}")
    if there.layers != layers:
        moved = "all layers" if there.layers is None else "layers {}-{}".format(*there.layers)
        raise ConfigError(f"the directions in {home} move {moved}, these do not: {others}")


def _labelled(
    m: "StyleALAE", data: Sequence[str], labels: Path | None, count: int | None,
    check: Callable[[Iterable[str]], None],
) -> "tuple[Tensor, dict[str, list[Label]]]":  # fmt: skip
    """Styles [N, W] of labelled images, and N values for each label; `check` sees their names."""
    import torch

    styles: list[Tensor] = []
    columns: dict[str, list[Label]] = {}
    for batch, x in read_batches(m, data, count=count, labels=labels, what="styles"):
        if not styles:
            check(batch[0].labels)  # before the work, not after
        styles.append(m.encode(x))
        for image in batch:
            for name, value in image.labels.items():
                columns.setdefault(name, []).append(value)
    return torch.cat(styles), columns


def _wanted(
    columns: "Mapping[str, Sequence[Label]]", wanted: Sequence[str], data: Sequence[str]
) -> "dict[str, Sequence[Label]]":
    if not columns:
        raise DataError(
            f"{', '.join(data)} has no labels: give a CSV of them with --labels, or prepare the "
            "data set with labels"
        )
    return {name: columns[name] if name in columns else _one_class(columns, name)
            for name in wanted or columns}  # fmt: skip


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
    """A table for people: the JSON has the same numbers."""
    report = found.about.get("attributes", {})
    rows, entangled = [], found.entanglement()
    for k, name in enumerate(found.names):
        measured = report.get(name, {})
        others = entangled[k].clone()
        others[k] = 0
        worst = int(others.abs().argmax())
        numbers = [f"{measured[n]:.2f}" if n in measured else "?"
                   for n in ("accuracy", "chance", "correlation")]  # fmt: skip
        moved = float(others[worst])
        other = f"{found.names[worst]} {moved:+.2f}" if abs(moved) >= 0.005 else ""
        rows.append((name, other, *numbers, f"{float(entangled[k, k]):+.2f}"))
    headings = ("direction", "moves most", "accuracy", "chance", "correlation", "own score")
    print_table(
        f"{found.about['method']} on {found.about['styles']} styles", headings, rows, words=2
    )


def _layers(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise ConfigError(f"--layers is {text!r}: write two numbers such as 0-3")
    return int(first), int(last or first)
