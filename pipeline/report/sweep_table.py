"""What the runs of a sweep came to: JSON, and a table of means and deviations over seeds."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from pipeline.report.published_results import device, rewrite, seconds_of, with_deviation
from pipeline.report.sweep import SweepRun, folder_name
from pipeline.storage.json_lines import json_lines
from stylealae.errors import CheckpointError, ConfigError

__all__ = ["EVALUATION", "Entry", "cell", "entry_of", "record", "seeds_of", "table_of"]

EVALUATION = "evaluation.jsonl"
"""In a run's folder: a line a metric, as `stylealae evaluate --out` writes them."""
HEAD = "# Sweep\n\nWritten by `stylealae sweep`: mean ± deviation over seeds.\n\n"
Entry = Mapping[str, Any]
"""A run: config, swept, seed, images, seconds, parameters, figures by name, device, command."""


def entry_of(run: SweepRun, command: str) -> Entry:
    """A finished run's losses and metrics, what it cost, and the sweep's command.

    Raises:
        CheckpointError: the run has no log, or no snapshot.
    """
    seconds = seconds_of(run.folder)
    last = json_lines(run.folder / "metrics.jsonl")[-1]
    losses = {key: value for key, value in last.items() if key.startswith("loss/")}
    return {
        "config": run.config.stem,
        "family": run.cfg.family,
        "swept": {key: value for key, value in run.swept.items() if key != "seed"},
        "seed": run.cfg.seed,
        "images": last["seen"],
        "seconds": round(seconds, 1),
        "parameters": _parameters(run),
        "figures": {**losses, **_measured(run.folder / EVALUATION)},
        "device": device(),
        "command": command,
    }


def record(file: Path, found: Mapping[str, Entry]) -> str:
    """Adds runs to the JSON file, and writes the table of all of them beside it; the table.

    Raises:
        ConfigError: the files cannot be read or written.
    """
    return rewrite(file, found, table_of, head=HEAD)


def seeds_of(file: Path) -> list[Entry]:
    """The runs of a sweep's JSON file, which are to differ in their seed alone.

    Raises:
        ConfigError: the file cannot be read, or has runs of several settings.
    """
    try:
        runs = list(json.loads(file.read_text()).values())
        settings = {folder_name({"config": run["config"], **run["swept"]}) for run in runs}
        complete = all({"seed", "seconds"} <= run.keys() and run["figures"].items() for run in runs)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{file} is no file of a sweep's ({error}): give the sweep.json that `stylealae sweep` "
            "has written"
        ) from error
    if not runs or not complete:
        raise ConfigError(f"{file} has no runs with seed, seconds and figures: run the sweep first")
    if len(settings) > 1:
        raise ConfigError(
            f"{file} has runs of {len(settings)} settings ({'; '.join(sorted(settings))}), and a "
            "line is of one: sweep seeds alone, with --out a file of its own"
        )
    return runs


def table_of(entries: Mapping[str, Entry]) -> str:
    """A line for the runs that differ in their seed alone, as Markdown; losses if that is all."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries.values():
        label = " ".join(part for part in (entry["config"], folder_name(entry["swept"])) if part)
        groups.setdefault(label, []).append(entry)
    named = list(dict.fromkeys(name for entry in entries.values() for name in entry["figures"]))
    columns = [n for n in named if not n.startswith("loss/")] or named
    heads = ["run", *columns, "seeds", "images", "weights", "s a run"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for label, runs in groups.items():
        cells = [label, *(cell(runs, column) for column in columns)]
        cells.append(", ".join(str(seed) for seed in sorted(run["seed"] for run in runs)))
        cells += [f"{runs[0]['images']:,}", f"{runs[0]['parameters'] / 1e6:.2f} M"]
        cells.append(f"{statistics.mean(run['seconds'] for run in runs):,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(runs: Sequence[Entry], column: str) -> str:
    """Mean and, of several runs, deviation; a dash where none has the figure."""
    values = [run["figures"][column] for run in runs if run["figures"].get(column) is not None]
    if not values:
        return "-"
    return with_deviation(
        statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None
    )


def _measured(file: Path) -> dict[str, float]:
    """The values of a file of metrics, the last line of a metric counting."""
    values: dict[str, float] = {}
    for line in json_lines(file):
        values |= line["values"]
    return values


def _parameters(run: SweepRun) -> int:
    """Numbers in the weights of a snapshot."""
    snapshots = sorted(run.folder.glob("[0-9]*/snapshot/model.safetensors"))
    if not snapshots:
        raise CheckpointError(f"{run.folder} has no snapshot: let the run finish")
    count = 0
    with safe_open(snapshots[-1], framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - it is no mapping
            size = 1
            for side in tensors.get_slice(name).get_shape():
                size *= side
            count += size
    return count
