"""`evaluate`: metrics of a trained model."""

import json
import logging
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import DEVICE, FEATURES, LABELS, PATH, SHA256, words
from pipeline.cli.errors import WIDTH, reports_errors
from pipeline.cli.models import device_of
from pipeline.cli.output import JSON, print_table, wants_tables, write_picture
from pipeline.cli.progress import ANNOUNCED_S, bars, in_words
from pipeline.training.model_folder import snapshot_of, url_of
from pipeline.training.run_files import SNAPSHOT
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.evaluation.context import EvaluationContext
    from pipeline.evaluation.evaluate import Result
    from pipeline.world import World
    from stylealae.capabilities import Model

__all__ = ["evaluate"]

log = logging.getLogger(__name__)

QUICK, PUBLISHED = 5_000, 50_000
"""Samples: enough to compare models of one kind; what published FIDs are measured with."""


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Shows every metric with its protocol, and leaves."""
    if wanted:
        from pipeline.evaluation.registry import METRICS

        width = max(map(len, METRICS)) + 2
        for name, metric in METRICS.items():
            fold = textwrap.TextWrapper(WIDTH, f"{name:{width}}", " " * width)
            click.echo(fold.fill(metric.protocol))
        context.exit()


@click.command()
@click.argument("model", metavar="RUN_OR_SNAPSHOT", type=PATH)
@click.option("--data", required=True, metavar="DATASET",
              help="Folder or URL of a data set that has the model's resolution.")  # fmt: skip
@click.option("--metrics", "names",
              help="Names with commas between.  [default: the quick ones that need no file: for a "
                   "StyleALAE fid-random, kid-random, psnr, ssim, reciprocity]")  # fmt: skip
@click.option("--list", is_flag=True, expose_value=False, is_eager=True, callback=_list,
              help="Show all metrics, and leave.")  # fmt: skip
@FEATURES
@SHA256
@click.option("--samples", type=click.IntRange(2),
              help="Images to generate, and at most so many real ones.  [default: 5,000; for "
                   "metrics whose extractor is a file 50,000, as published]")  # fmt: skip
@LABELS
@click.option("--batch", default=32, show_default=True, help="Images at once.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws other samples.")
@click.option("--out", type=PATH, help="JSON lines are added to this file.")
@click.option("--cache", type=PATH, show_default=True,
              default=Path("~/.cache/stylealae/metrics"),
              help="Folder for statistics of real images.")  # fmt: skip
@click.option("--pictures", "folder", type=PATH,
              help="Folder for pictures of codes, classes, priors and losses; a run has them in "
                   "TensorBoard too.")  # fmt: skip
@click.option("--cpu", is_flag=True, hidden=True, help="As --device cpu.")
@JSON
@DEVICE
@reports_errors
def evaluate(
    model: Path, data: str, names: str | None, features: Sequence[Path], sha256: str,
    samples: int | None, labels: str, batch: int, seed: int, out: Path | None, cache: Path,
    folder: Path | None, cpu: bool, as_json: bool, device: str,
) -> None:  # fmt: skip
    """Measure a trained model, with the protocol and counts of each number.

    On a terminal the numbers are a table; piped, with --json and in --out a line of JSON a metric.

    RUN_OR_SNAPSHOT is a snapshot, a run, whose newest snapshot is then taken and which keeps the
    lines in scores.jsonl for `report` and `compare`, the URL of either, or a released .pth.

    \b
    stylealae evaluate runs/demo --data datasets/rendered --samples 2000
    stylealae evaluate runs/ffhq --data /shared/ffhq --metrics fid,kid,ppl-w-end,lpips \\
      --features inception-2015-12-05.pt --features vgg16.pt --out ffhq.jsonl
    torchrun --nproc-per-node 8 -m pipeline.cli evaluate runs/ffhq --data /shared/ffhq ...

    Without a file, the names that end in -random work: their extractor is built in, and their
    numbers compare with each other only. docs/metrics.md says what each metric shows.
    """  # noqa: D301
    from pipeline.config.sections import DataConfig
    from pipeline.data.loader.dataset import Dataset
    from pipeline.evaluation.context import Evaluation, EvaluationContext
    from pipeline.evaluation.evaluate import evaluate as results_of
    from pipeline.evaluation.figures import require_figures
    from pipeline.evaluation.registry import METRICS, needing_files, usual
    from pipeline.report.run import SCORES, own_scores
    from stylealae.metrics.features import extractors

    wanted = words(names or "")
    if names is not None and not wanted:
        raise ConfigError("--metrics names none: leave it out for the quick ones, or name some")
    snapshot = model if model.is_file() else snapshot_of(model)
    world = _world("cpu" if cpu else device)
    url = url_of(model)
    kept: Path | str | None = model / SCORES if model.is_dir() and snapshot != model else None
    if url and snapshot.name == SNAPSHOT != model.name:
        kept = f"{url}/{own_scores()}"
    found = extractors(features, world.device, sha256)
    m = _opened(snapshot, world)
    if folder is not None:
        require_figures(m, model)
    dataset = Dataset.open(DataConfig(path=data), m.resolution, m.model.channels)
    wanted = wanted or usual(m)
    held_out = any(name in METRICS and METRICS[name].held_out for name in wanted)
    if held_out and not dataset.count("test") and not world.rank:
        log.warning(
            "%s has no test split: what is measured on held-out images is measured on those of "
            "train, which the model may have been trained on", data,
        )  # fmt: skip
    results: list[Result] = []
    shown = wants_tables(as_json)
    with ExitStack() as stack:
        if shown and not world.rank:
            stack.callback(_print, results)  # after the bars, also of what Ctrl-C leaves
        on_progress = stack.enter_context(bars(shown=not world.rank, announced=False))
        context = EvaluationContext(
            model=m, dataset=dataset, world=world, extractors=found,
            labels=tuple(words(labels)),
            samples=samples or (PUBLISHED if needing_files() & set(wanted) else QUICK),
            batch=batch, seed=seed, cache=cache.expanduser(), on_progress=on_progress,
        )  # fmt: skip
        stack.enter_context(_interruptible(results, wanted, (out, kept)))
        for result in results_of(Evaluation(wanted, context), _announced(context)):
            results.append(result)
            about = {
                **asdict(result),
                "snapshot": url or str(snapshot),
                "seen": m.seen,
                "dataset": data,
            }
            values = {k: v if isfinite(v) else None for k, v in result.values.items()}
            if not world.rank:
                _write({**about, "values": values}, (out, kept), echo=not shown)
        if folder is not None:
            _draw(context, model, folder)


def _announced(context: "EvaluationContext[Model]") -> "Callable[[float], None]":
    """What says how long it will take, on the first rank."""

    def say(seconds: float) -> None:
        if seconds >= ANNOUNCED_S and not context.world.rank:
            side, n = context.dataset.resolution, context.samples
            click.echo(
                f"about {in_words(seconds)}: at most {n:,} images of {side}x{side}", err=True
            )

    return say


@contextmanager
def _interruptible(
    results: "Sequence[Result]", names: Sequence[str], files: Sequence[Path | str | None]
) -> Iterator[None]:
    """Has Ctrl-C say which metrics were measured before it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not results:
            raise KeyboardInterrupt("nothing was measured or written") from stop
        there = " and ".join(["above", *(str(file) for file in files if file)])
        raise KeyboardInterrupt(f"{len(results)} of {len(names)} metrics are {there}") from stop


def _opened(path: Path, world: "World") -> "Model":
    """The model of a snapshot of any family, or of a released .pth."""
    from stylealae import StyleALAE
    from stylealae.families import load

    if path.is_file():
        return StyleALAE.from_released(path, device=world.device)
    return load(path, world.device)


def _world(device: str) -> "World":
    """This process alone, or the ranks that torchrun started."""
    import torch

    from pipeline.process import place_of_torchrun
    from pipeline.world import World

    where = torch.device(device_of(device))
    if place_of_torchrun().size > 1:
        from pipeline.config.sections import EngineConfig
        from pipeline.world import joined

        return joined(EngineConfig(), gpu=where.type == "cuda")
    return World(0, 1, where)


def _print(results: "Sequence[Result]") -> None:
    """A table of what was measured."""
    if not results:
        return
    rows = [
        (r.metric if not k else "", name, f"{value:.4g}", f"{r.samples or ''}",
         " ".join(f"{n:,} {split}" for split, n in r.real.items()))
        for r in results
        for k, (name, value) in enumerate(r.values.items())
    ]  # fmt: skip
    print_table(
        f"{results[0].resolution}x{results[0].resolution} on {results[0].device}",
        ("metric", "value", "", "generated", "real"), rows, words=2,
    )  # fmt: skip


def _draw(context: "EvaluationContext[Model]", run: Path, folder: Path) -> None:
    """Writes figures of a model and its run into a folder and the run's TensorBoard."""
    from pipeline.evaluation.figures import figures_of, loss_curves
    from pipeline.training.observers import show

    for name, picture in (*figures_of(context), *loss_curves(run)):
        write_picture(picture, folder / f"{name}.png")
        if (run / "tensorboard").exists():
            show(run, f"image/{name}", picture, context.model.seen)


def _write(about: dict[str, object], files: Sequence[Path | str | None], *, echo: bool) -> None:
    """A line of JSON on stdout, and in files."""
    line = json.dumps(about)
    if echo:
        click.echo(line)
    for out in files:
        if isinstance(out, str):
            _add_at_url(line, out)
        if not isinstance(out, Path):
            continue
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write {out}: {error.strerror}") from error


def _add_at_url(line: str, url: str) -> None:
    """Adds a line to a file in an object store that no other process writes.

    There no file grows: it is written anew.
    """
    from pipeline.storage import open_storage

    folder, _, name = url.rpartition("/")
    storage, before = open_storage(folder), b""
    with suppress(FileNotFoundError):
        before = storage.read(name)
    storage.write(name, before + line.encode() + b"\n")
