"""Runs side by side: what was asked of them differently, and what they came to."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.leaves import leaves
from pipeline.report.run import Run, Score

__all__ = ["ComparedRow", "compared"]


@dataclass(frozen=True)
class ComparedRow:
    """One thing of every run."""

    group: str
    """config, run, loss, metric or score."""
    name: str
    values: Sequence[object]
    """A run each; None where a run has none."""


def compared(runs: Sequence[Run]) -> list[ComparedRow]:
    """How far they are, config keys that differ, the last losses and metrics, evaluate's scores."""
    rows = [
        ComparedRow("run", "images seen", [run.seen for run in runs]),
        ComparedRow("run", "hours", [run.hours for run in runs]),
        ComparedRow("run", "images/s", [_last(run, "time/img_per_s") for run in runs]),
        ComparedRow("run", "stages done", [" ".join(map(str, run.done)) or None for run in runs]),
    ]
    configs = [dict(leaves(run.config)) for run in runs]
    for key in dict.fromkeys(key for config in configs for key in config):
        values = [config.get(key) for config in configs]
        if key not in ("run_dir",) and any(value != values[0] for value in values):
            rows.append(ComparedRow("config", key, values))
    for group in ("loss", "metric"):
        for tag in dict.fromkeys(tag for run in runs for tag in run.tags(group)):
            rows.append(
                ComparedRow(group, tag.partition("/")[2], [_last(run, tag) for run in runs])
            )
    scores = [{score.name: score for score in run.scores} for run in runs]
    for name in dict.fromkeys(name for found in scores for name in found):
        each = [found.get(name) for found in scores]
        rows.append(ComparedRow("score", name, [score and score.value for score in each]))
        if len({_basis(score) for score in each if score}) > 1 or any(map(_is_earlier, each, runs)):
            rows.append(ComparedRow("score", f"{name} measured on", [*map(_measured, each)]))
    return rows


def _basis(score: Score) -> tuple[str, ...]:
    """What two scores must have in common to be compared."""
    return score.protocol, score.images, score.digest


def _is_earlier(score: Score | None, run: Run) -> bool:
    """Whether the run has gone on since it was measured."""
    return score is not None and score.seen is not None and score.seen < run.seen


def _measured(score: Score | None) -> str | None:
    """What a score was measured on, and how."""
    if score is None:
        return None
    after = f"after {score.seen:,} images" if score.seen is not None else ""
    where = f"{score.dataset} {score.digest[:8]}".strip()
    return ", ".join(filter(None, (score.images, where, after, score.protocol)))


def _last(run: Run, tag: str) -> float | None:
    series = run.series(tag)
    return series[-1][1] if series else None
