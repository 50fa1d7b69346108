"""A run on a terminal: how far it is, how fast, and where its losses go."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.report.run import Run
from stylealae.errors import printable

__all__ = ["dashboard", "sparkline"]

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 40


def dashboard(run: Run, silent_s: float | None = None) -> RenderableType:
    """The whole of it; `silent_s` is how long ago its last row was written, if that is known."""
    cfg = run.parsed()
    total = cfg.span(cfg.last_stage)[1] if cfg else 0
    speed = _last(run, "time/img_per_s")
    head = Text(printable(run.config.get("run_dir", run.folder)), style="bold")
    said = [f"{run.seen:,} of {total:,} images" if total else f"{run.seen:,} images"]
    if total and run.seen >= total:
        said.append("complete")
    elif speed:
        said.append(f"{speed:.3g} images/s")
        if total:
            said.append(f"{_duration((total - run.seen) / speed)} left at this speed")
    if silent_s is not None:
        said.append(f"last row {_duration(silent_s)} ago")
    parts: list[RenderableType] = [head, Text(", ".join(said)), Text()]
    if cfg:
        parts += [_stages(run, [(4 << s, *cfg.span(s)) for s in cfg.stages]), Text()]
    parts.append(_curves(run))
    return Group(*parts)


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The last values as a line of blocks, the lowest to the highest."""
    shown = list(values)[-width:]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    step = (high - low) / (len(LEVELS) - 1) or 1.0
    return "".join(LEVELS[round((value - low) / step)] for value in shown)


def _stages(run: Run, spans: Sequence[tuple[int, int, int]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for side, first, end in spans:
        seen = min(max(run.seen - first, 0), end - first)
        table.add_row(
            f"{side}x{side}", ProgressBar(end - first, seen, width=WIDTH),
            f"{seen:,} of {end - first:,}",
        )  # fmt: skip
    return table


def _curves(run: Run) -> Table:
    table = Table.grid(padding=(0, 2))
    tags = [*run.tags("loss"), *run.tags("metric")]
    tags += [f"time/{name}" for name in ("alpha", "lr", "img_per_s", "data_wait")]
    tags.append("system/memory_gib")
    for tag in tags:
        values = [value for _, value in run.series(tag)]
        if values:
            table.add_row(printable(tag), sparkline(values), f"{values[-1]:.4g}")
    return table


def _last(run: Run, tag: str) -> float:
    series = run.series(tag)
    return series[-1][1] if series else 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
