"""`sweep`: every combination of some keys' values."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.errors import resumable
from stylealae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipeline.report.sweep_runs import Job

    Runner = Callable[[Sequence[Job]], Iterator[tuple[Job, str]]]

__all__ = ["sweep"]


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="CONFIG... [key=value|key=[a,b]]...")
@click.option("--at-most", type=click.IntRange(0), default=0,
              help="Runs at once; default: one, on Ray as many as there is room for.")  # fmt: skip
@click.option("--ray", metavar="ADDRESS", default="", envvar="RAY_ADDRESS", show_envvar=True,
              help="Run on this Ray (auto: the one on this host); data and run folders must be "
                   "where all hosts see them.")  # fmt: skip
@click.option("--cpus", default=1.0, show_default=True, help="Cores of Ray's that a run takes.")
@click.option("--gpus", default=0.0, show_default=True, help="GPUs, or a fraction of one.")
@click.option("--metrics", default="", help="Metrics to measure of every run, commas between.")
@click.option("--data", default="", help="Data set to measure on.  [default: data.path]")
@click.option("--samples", default=10_000, show_default=True,
              help="Images to generate, and at most so many real ones.")  # fmt: skip
@click.option("--labels", default="", help="As `evaluate` has it.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="JSON file to add the runs to; beside it the table, and a page of this sweep's "
                   "images and curves.  [default: sweep.json in the first config's "
                   "run_dir]")  # fmt: skip
@resumable
def sweep(
    arguments: Sequence[str], at_most: int, ray: str, cpus: float, gpus: float, metrics: str,
    data: str, samples: int, labels: str, out: Path | None,
) -> None:  # fmt: skip
    """Train a run for every combination of values, and show a table of what they came to.

    \b
    stylealae sweep configs/mnist/beta_vae.yaml loss.beta=[1,4,16] seed=[0,1,2]
    stylealae sweep configs/mnist/vae_2d.yaml configs/mnist/wae.yaml seed=[0,1,2] \\
      --metrics psnr,knn-svm --out table.json
    stylealae sweep configs/mnist/wae.yaml seed=[0,1,2,3] --ray auto --at-most 4 --gpus 0.25

    A run lies in a folder named by its values, below run_dir. The same command again goes on: what
    is trained and measured is left alone. Runs that differ in their seed alone share a line: mean
    and deviation. A run that fails does not end the others; they are named at the end.
    """  # noqa: D301
    from pipeline.report.comparison_page import write_comparison
    from pipeline.report.published_results import command_of
    from pipeline.report.sweep import runs_of
    from pipeline.report.sweep_runs import SweepEvaluation, absolute, job_of
    from pipeline.report.sweep_table import entry_of, record, table_of

    configs = [Path(a) for a in arguments if "=" not in a]
    overrides = [a for a in arguments if "=" in a]
    if not configs:
        raise ConfigError("a sweep needs a config, as in `sweep configs/mnist/wae.yaml seed=[0,1]`")
    names = tuple(name.strip() for name in metrics.split(",") if name.strip())
    runs = runs_of(configs, overrides)
    jobs = []
    for run in runs:
        where = absolute(data or run.cfg.data.path)
        jobs.append(job_of(run, SweepEvaluation(where, names, samples, labels) if names else None))
    left = [job for job in jobs if job.commands]
    failed: dict[str, str] = {}
    with _interrupted_by_sigterm(), _runner(ray, at_most, cpus, gpus) as runner:
        for number, (job, error) in enumerate(runner(left), start=len(jobs) - len(left) + 1):
            click.echo(f"[{number}/{len(jobs)}] {job.name}: {error or 'done'}", err=True)
            failed |= {job.name: error} if error else {}
    command = command_of(sys.argv[1:])
    found = {run.name: entry_of(run, command) for run in runs if run.name not in failed}
    file = out or Path(runs[0].cfg.run_dir).parent / "sweep.json"
    record(file, found)
    click.echo(table_of(found))
    written = [file, file.with_suffix(".md")]
    if folders := [str(run.folder) for run in runs if run.name in found]:
        written.append(write_comparison(folders, file.with_suffix(".html")))
    click.echo(", ".join(map(str, written)))
    if failed:
        named = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise DataError(f"{len(failed)} of {len(runs)} runs failed ({named}): mend, run it again")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is: no run goes on without its sweep."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _runner(address: str, at_most: int, cpus: float, gpus: float) -> "Iterator[Runner]":
    """What does jobs: tasks of the Ray at `address`, or, without one, processes on this host."""
    from pipeline.report.sweep_runs import over_processes, work

    if not address:
        yield lambda jobs: over_processes(work, jobs, max(at_most, 1))
        return
    from pipeline.cluster.connection import connected, is_own
    from pipeline.cluster.sweep_tasks import Share, over_tasks

    share, grows = Share(cpus, gpus), not is_own(address)
    with connected(0, address):
        yield lambda jobs: over_tasks(work, jobs, at_most, share, grows=grows)
