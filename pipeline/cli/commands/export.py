"""`export`: a trained model as a folder that others can use, and the Hugging Face hub can show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import MODEL, OVERWRITE, PATH, require_free
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import copy_directions, open_model
from pipeline.cli.output import print_numbers
from pipeline.cli.progress import progress
from stylealae.interop.card import origin_of

if TYPE_CHECKING:
    from stylealae import StyleALAE

__all__ = ["export"]

FACES = 8


@click.command()
@MODEL
@click.option("--out", required=True, type=PATH, help="New folder.")
@click.option("--name", help="Heading of the card; default: the folder's name.")
@click.option("--data", help="The prepared data set: its licence goes onto the card, and faces of "
              "it, reconstructed.")  # fmt: skip
@click.option("--half", is_flag=True, help="Weights in half precision: half the size. They are "
              "read in float32 again.")  # fmt: skip
@click.option("--metrics", type=PATH,
              help="What `stylealae evaluate --out` wrote, for the card.")  # fmt: skip
@click.option("--format", "formats", multiple=True, type=click.Choice(["onnx", "torch"]),
              help="Also F, G and E for other programs: onnx; torch: torch.export.")  # fmt: skip
@click.option("--push", metavar="OWNER/NAME", default="",
              help="Also upload the folder to the Hugging Face hub.")  # fmt: skip
@click.option("--private", is_flag=True, help="With --push: only you see it there.")
@OVERWRITE
@reports_errors
def export(
    model: Path, out: Path, name: str | None, data: str | None, half: bool,
    metrics: Path | None, formats: Sequence[str], push: str, private: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Write a folder ready for the Hugging Face hub: weights, config, pictures, a model card.

    The weights are safetensors; directions kept with MODEL come along. Each network of --format is
    checked against this program, and the largest error stated.

    \b
    stylealae export runs/demo/0032/snapshot --data datasets/rendered --out exported/demo
    stylealae export model_submitted.pth --format onnx --out exported/ffhq
    stylealae export runs/demo --data datasets/rendered --out exported/demo --push me/my-faces
    """  # noqa: D301
    from pipeline.export.model_card import Card, read_metrics
    from pipeline.storage import published
    from stylealae.interop import hub, portable

    require_free(out, overwrite=overwrite)
    m = open_model(model, "cpu")
    figures = read_metrics(metrics) if metrics else []
    licence, about = _data(data) if data else ("", "")
    with published(out) as folder, progress("parts", 1 + len(formats)) as advance:
        m.save(folder, half=half)
        pictures = _pictures(m, data, folder)
        copy_directions(model, folder)
        advance(1)
        errors = {}
        for kind in formats:
            errors[kind] = portable.export(m.nets, m.stage, folder, kind)
            advance(1)
        card = Card(
            name=name or out.name,
            origin=_origin(m), licence=licence, data=about,
            metrics=figures,
            pictures=pictures,
            errors=errors,
        )  # fmt: skip
        (folder / "README.md").write_text(card.text(m))
    click.echo(out)
    print_numbers(
        command="export",
        files=sorted(file.name for file in out.iterdir()),
        largest_error=errors,
        licence=licence or "not stated",
        **({"pushed": hub.push(out, push, private=private)} if push else {}),
    )


def _origin(m: "StyleALAE") -> str:
    """The sentence that is recorded, else of the training."""
    if m.origin or not m.seen:
        return origin_of(m.seen, m.origin)
    return (
        f"{m.seen:,} images were shown in training, an image as often as it came. The weights are "
        "a running average."
    )


def _data(data: str) -> tuple[str, str]:
    """Licence of a prepared data set, and what it is."""
    from pipeline.data.format.manifest import Manifest

    manifest = Manifest.read(data)
    count = sum(split.samples for split in manifest.splits.values())
    return manifest.licence, f"{count:,} images of the kind `{manifest.source}`"


def _pictures(m: "StyleALAE", data: str | None, folder: Path) -> list[tuple[str, str]]:
    """Draws samples, and reconstructions if there are images; their names and captions."""
    from stylealae.image_grid import image_grid

    rows = [(f"truncation {psi:g}", m.sample(FACES, seed=1, truncation=psi)) for psi in (0.7, 1.0)]
    image_grid(rows, title="samples").save(folder / "samples.png")
    pictures = [("samples.png", "Samples at two truncations")]
    if data:
        from pipeline.data.images import load_images

        x = load_images([data], m.resolution, channels=m.model.channels, count=FACES)
        rows = [("originals", x), ("reconstructions", m.reconstruct(x))]
        image_grid(rows, title="images of the data set").save(folder / "reconstructions.png")
        pictures.append(("reconstructions.png", "Images of the data set, reconstructed"))
    return pictures
