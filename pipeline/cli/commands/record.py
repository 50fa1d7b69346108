"""`record`: published figures."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli.arguments import DEVICE, PATH
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import device_of, snapshot_of
from stylealae.errors import ConfigError

__all__ = ["record"]


@click.command()
@click.argument("name")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--data", required=True, metavar="DATASET", help="Data set to measure on.")
@click.option("--metric", required=True, help="Name of a metric (`evaluate --list`).")
@click.option("--figures", default="", metavar="NAME=VALUE,...",
              help="Which of the metric's values to record, and as what; default: the first."
)  # fmt: skip
@click.option("--file", type=PATH, default=Path("docs/results.json"),
              show_default=True, help="JSON file; the table beside it ends in .md.")  # fmt: skip
@DEVICE
@reports_errors
def record(
    name: str, runs: Sequence[Path], data: str, metric: str, figures: str, file: Path, device: str
) -> None:
    """Measure RUNS, of several seeds, and put mean and deviation under NAME into a file.

    \b
    stylealae record mnist/aae-semi/100 runs/semi-0 runs/semi-1 runs/semi-2 \\
      --data datasets/mnist --metric error
    stylealae record mnist/alae-mlp/w runs/mnist/alae_mlp --data datasets/mnist \\
      --metric knn-svm-zw --figures knn=knn-w,svm=svm-w
    """  # noqa: D301
    import torch

    from pipeline.config.sections import DataConfig
    from pipeline.data.loader.dataset import Dataset
    from pipeline.evaluation.context import Evaluation, EvaluationContext
    from pipeline.evaluation.evaluate import evaluate
    from pipeline.report import published_results
    from pipeline.world import World
    from stylealae.families import load

    found, world = [], World(0, 1, torch.device(device_of(device)))
    for run in runs:
        m = load(snapshot_of(run), world.device)
        dataset = Dataset.open(DataConfig(path=data), m.resolution)
        context = EvaluationContext(model=m, dataset=dataset, world=world, batch=1000)
        (result,) = evaluate(Evaluation([metric], context))
        found.append(_chosen(result.values, figures))
    entry = published_results.entry_of(
        found,
        seeds=[published_results.seed_of(run) for run in runs],
        seconds=[published_results.seconds_of(run) for run in runs],
        command=published_results.command_of(sys.argv[1:]),
    )
    published_results.record(file, name, entry)
    click.echo(f"{name}: {entry}")


def _chosen(values: dict[str, float], figures: str) -> dict[str, float]:
    """The values that were asked for, by the names that they are recorded under."""
    if not figures:
        return dict([next(iter(values.items()))])
    pairs = [pair.split("=") for pair in figures.split(",")]
    unknown = [pair[-1] for pair in pairs if pair[-1] not in values]
    if unknown:
        raise ConfigError(
            f"--figures names {', '.join(unknown)}; this metric gives {', '.join(values)}"
        )
    return {pair[0]: values[pair[-1]] for pair in pairs}
