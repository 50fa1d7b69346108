"""`record`: published figures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import DEVICE, FEATURES, LABELS, PATH, SHA256, words
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import device_of
from pipeline.training.model_folder import snapshot_of
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.report.published_results import Entry, Figures

__all__ = ["record"]


@click.command()
@click.argument("name")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--data", default="", metavar="DATASET", help="Data set to measure runs on.")
@click.option("--metric", default="", help="Name of a metric (`evaluate --list`) to measure.")
@click.option("--figures", default="", metavar="NAME=VALUE,...",
              help="Which of the values to record, and as what; default: the first."
)  # fmt: skip
@FEATURES
@SHA256
@LABELS
@click.option("--file", type=PATH, default=Path("docs/results.json"),
              show_default=True, help="JSON file; the table beside it ends in .md.")  # fmt: skip
@DEVICE
@reports_errors
def record(
    name: str, runs: Sequence[Path], data: str, metric: str, figures: str,
    features: Sequence[Path], sha256: str, labels: str, file: Path, device: str,
) -> None:  # fmt: skip
    """Put mean and deviation over seeds under NAME into a file, of a sweep or of RUNS.

    \b
    stylealae sweep configs/mnist/aae_semi_100.yaml seed=[0,1,2] --metrics error
    stylealae record mnist/aae-semi/100 runs/mnist/aae_semi_100/sweep.json --figures error

    \b
    stylealae record mnist/alae-mlp/w runs/mnist/alae_mlp --data datasets/mnist \\
      --metric knn-svm-zw --figures knn=knn-w,svm=svm-w

    A sweep's file has been measured; runs are measured now, by one metric.
    """  # noqa: D301
    from pipeline.report import published_results

    published_results.require_names([pair.split("=")[0] for pair in figures.split(",")])
    if len(runs) == 1 and runs[0].suffix == ".json":
        if data or metric or features or labels:
            raise ConfigError(
                f"{runs[0]} has been measured by its sweep: leave out --data, --metric, "
                "--features and --labels, and name its values with --figures"
            )
        entry = _of_sweep(runs[0], figures)
    elif data and metric:
        entry = _of_runs(
            runs, data, metric, figures, device,
            features=features, sha256=sha256, labels=words(labels),
        )  # fmt: skip
    else:
        raise ConfigError(
            "runs are measured on --data DATASET by --metric NAME, and both must be given; a "
            "sweep's file, sweep.json, needs neither"
        )
    published_results.record(file, name, entry)
    click.echo(f"{name}: {entry}")


def _of_sweep(file: Path, figures: str) -> "Entry":
    """The line of runs that a sweep has trained and measured."""
    from pipeline.report.published_results import command_of, entry_of
    from pipeline.report.sweep_table import seeds_of

    runs = sorted(seeds_of(file), key=lambda run: int(run["seed"]))
    measured = [_metrics_first(run["figures"]) for run in runs]
    figures = figures or next(iter(measured[0]), "")
    return entry_of(
        [_chosen(values, figures) for values in measured],
        seeds=[run["seed"] for run in runs],
        seconds=[run["seconds"] for run in runs],
        command=runs[0].get("command") or command_of(sys.argv[1:]),
    )


def _of_runs(
    runs: Sequence[Path], data: str, metric: str, figures: str, device: str,
    *, features: Sequence[Path], sha256: str, labels: Sequence[str],
) -> "Entry":  # fmt: skip
    """The line of runs that are measured now."""
    import torch

    from pipeline.config.sections import DataConfig
    from pipeline.data.loader.dataset import Dataset
    from pipeline.evaluation.context import Evaluation, EvaluationContext
    from pipeline.evaluation.evaluate import evaluate
    from pipeline.evaluation.requirements import require_known
    from pipeline.report import published_results
    from pipeline.world import World
    from stylealae.families import load
    from stylealae.metrics.features import extractors

    require_known([metric])
    seeds = [published_results.seed_of(run) for run in runs]  # refused before the work
    seconds = [published_results.seconds_of(run) for run in runs]
    found, world = [], World(0, 1, torch.device(device_of(device)))
    by = extractors(features, world.device, sha256)
    for run in runs:
        m = load(snapshot_of(run), world.device)
        dataset = Dataset.open(DataConfig(path=data), m.resolution, m.model.channels)
        context = EvaluationContext(
            model=m, dataset=dataset, world=world, batch=1000, extractors=by, labels=tuple(labels)
        )
        (result,) = evaluate(Evaluation([metric], context))
        found.append(_chosen(result.values, figures))
    return published_results.entry_of(
        found,
        seeds=seeds,
        seconds=seconds,
        command=published_results.command_of(sys.argv[1:]),
    )


def _metrics_first(figures: "Figures") -> dict[str, float]:
    """What was measured, losses last: they are what is recorded only where they are named."""
    there = [(name, value) for name, value in figures.items() if value is not None]
    return dict(sorted(there, key=lambda item: item[0].startswith("loss/")))


def _chosen(values: "Figures", figures: str) -> dict[str, float]:
    """The values that were asked for, by the names that they are recorded under."""
    if not figures:
        return dict([next(iter(values.items()))])
    pairs = [pair.split("=") for pair in figures.split(",")]
    unknown = [pair[-1] for pair in pairs if pair[-1] not in values]
    if unknown:
        raise ConfigError(f"--figures names {', '.join(unknown)}; there are {', '.join(values)}")
    return {pair[0]: values[pair[-1]] for pair in pairs}
