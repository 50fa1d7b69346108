"""`watch`, `compare`: runs on the terminal."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.errors import reports_errors

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["compare", "watch"]


@click.command()
@click.argument("run")
@click.option("--every", "every_s", type=click.FloatRange(min=0.5), default=5.0, show_default=True,
              help="Seconds between two looks.")  # fmt: skip
@click.option("--once", is_flag=True, help="Look once; the default without a terminal.")
@reports_errors
def watch(run: str, every_s: float, once: bool) -> None:
    """Watch a run from any terminal: stages, time left, losses, speed, waiting.

    \b
    stylealae watch runs/demo
    stylealae watch s3://bucket/runs/ffhq --every 60

    RUN is a folder, or a URL, whose rows arrive with its checkpoints. Ctrl-C ends the watching, not
    the run.
    """  # noqa: D301
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(_look(run))
        return
    try:
        with Live(_look(run), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(_look(run), refresh=True)
    except KeyboardInterrupt:
        return


def _look(run: str) -> "RenderableType":
    from pipeline.report.dashboard import dashboard
    from pipeline.report.run import fetched_run

    found = fetched_run(run)
    rows = Path(run) / "metrics.jsonl"
    return dashboard(found, time.time() - rows.stat().st_mtime if rows.exists() else None)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="A page of the same, with curves over each other and images beside each other "
                   "(.html), or these images alone (.png).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON; the default without a terminal.")
@reports_errors
def compare(runs: Sequence[str], out: Path | None, as_json: bool) -> None:
    """Put runs side by side: config keys that differ, images, speed, losses, metrics, scores.

    \b
    stylealae compare runs/demo runs/faster
    stylealae compare runs/demo runs/faster --out compared.html
    stylealae compare runs/mnist/*/seed=0 --out images.png

    Losses and metrics are the last that were written; scores are those of `stylealae evaluate RUN`.
    """  # noqa: D301
    from rich.console import Console
    from rich.table import Table

    from pipeline.report.comparison import compared
    from pipeline.report.run import fetched_run
    from stylealae.errors import printable

    if out is not None:
        from pipeline.report.comparison_page import write_comparison

        click.echo(write_comparison(runs, out))
        return
    rows = compared([fetched_run(run) for run in runs])
    if as_json or not sys.stdout.isatty():
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            found.setdefault(row.group, {})[row.name] = list(row.values)
        click.echo(json.dumps({"command": "compare", "runs": list(runs), **found}))
        return
    table = Table("", *(printable(run) for run in runs))
    group = rows[0].group
    for row in rows:
        if row.group != group:
            table.add_section()
            group = row.group
        name = row.name if group in ("run", "config") else f"{group}/{row.name}"
        table.add_row(printable(name), *(_short(value) for value in row.values))
    Console(highlight=False).print(table)


def _short(value: object) -> str:
    from stylealae.errors import printable

    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else printable(value)
