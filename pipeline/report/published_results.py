"""Published results: measured on several runs, kept in a JSON file, shown as a table beside it."""

import fcntl
import json
import os
import platform
import shlex
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.storage.json_lines import json_lines
from pipeline.storage.local import LocalStorage
from stylealae.errors import CheckpointError, ConfigError

__all__ = [
    "device",
    "entry_of",
    "record",
    "require_names",
    "rewrite",
    "seconds_of",
    "seed_of",
    "table_of",
    "with_deviation",
]

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
HEAD = "# Results\n\nWritten by `stylealae record`; docs/family.md says how a line is made.\n\n"
ABOUT = ("seeds", "seconds", "device", "command")
"""What stands in an entry beside its figures and their deviations."""
Figures = Mapping[str, float]
Entry = Mapping[str, Any]  # figures by names of their own, beside seeds, seconds, device, command


def entry_of(
    found: Sequence[Figures], *, seeds: Sequence[int], seconds: Sequence[float], command: str
) -> Entry:
    """Mean and, of several runs, standard deviation of every figure; one dict of figures a run.

    The only figure's deviation is `sd`, of several figures each has its own.
    """
    entry: dict[str, Any] = {}
    for name in found[0]:
        values = [figures[name] for figures in found]
        sd = statistics.stdev(values) if len(values) > 1 else None
        entry |= {name: statistics.mean(values), "sd" if len(found[0]) == 1 else f"{name}-sd": sd}
    return {
        **entry,
        "seeds": list(seeds),
        "seconds": round(statistics.mean(seconds), 1),
        "device": device(),
        "command": command,
    }


def require_names(names: Sequence[str]) -> None:
    """Refuses figures that an entry would mistake for something else, or for one another.

    Raises:
        ConfigError: a name is what a deviation over seeds is called, is in ABOUT, or comes twice.
    """
    for name in names:
        if name in (*ABOUT, "sd") or name.endswith("-sd"):
            raise ConfigError(
                f"--figures records {name}, and a line has something else of that name: give it "
                f"another, as in spread={name}"
            )
        if names.count(name) > 1:
            raise ConfigError(f"--figures records two values as {name}: name one otherwise")


def record(file: Path, name: str, entry: Entry) -> None:
    """Puts an entry into the JSON file, and the table beside it in order.

    Raises:
        ConfigError: the files cannot be read or written.
    """
    rewrite(file, {name: dict(entry)}, table_of, head=HEAD)


def rewrite(
    file: Path,
    entries: Mapping[str, Entry],
    table: Callable[[Mapping[str, Entry]], str],
    *,
    head: str,
) -> str:
    """Adds entries to a JSON file, writes the table of all into the page beside it; the table.

    What stands in the page around the table stays; a new page begins with `head`.  Of several
    processes each adds to what the others have written, and each file is replaced whole.

    Raises:
        ConfigError: the files cannot be read or written.
    """
    page, folder = file.with_suffix(".md"), LocalStorage(str(file.parent))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(file.parent):
            known = json.loads(file.read_text()) if file.exists() else {}
            known = dict(sorted({**known, **entries}.items()))
            lines = table(known)
            text = page.read_text() if page.exists() else f"{head}{BEGIN}\n{END}\n"
            before, _, rest = text.partition(BEGIN)
            text = f"{before}{BEGIN}\n{lines}{END}{rest.partition(END)[2]}"
            folder.write(file.name, (json.dumps(known, indent=1) + "\n").encode())
            folder.write(page.name, text.encode())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot record in {file}: {error}: mend or remove it") from error
    return lines


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Has other processes wait that write the same: the folder is the lock, and no file is left."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # NFS locks no folder: of two at the same time the last counts
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def table_of(entries: Mapping[str, Entry]) -> str:
    """The entries as Markdown."""
    lines = ["| line | figures | seeds | s a run | device | command |", "|---|---|---|---|---|---|"]
    for name, entry in entries.items():
        figures = ", ".join(
            f"{key} {with_deviation(value, entry.get(f'{key}-sd', entry.get('sd')))}"
            for key, value in entry.items()
            if key not in ABOUT and key != "sd" and not key.endswith("-sd")
        )
        seeds = ", ".join(map(str, entry["seeds"]))
        lines.append(
            f"| {name} | {figures} | {seeds} | {entry['seconds']:,.0f} | {entry['device']} | "
            f"`{entry['command']}` |"
        )
    return "\n".join(lines) + "\n"


def seconds_of(run_dir: Path) -> float:
    """Seconds that a run has spent in its loop, by its own log."""
    rows = json_lines(run_dir / "metrics.jsonl")
    if not rows:
        raise CheckpointError(f"{run_dir} has no log to be read, metrics.jsonl with a row at least")
    shown = [row for row in rows if "time/img_per_s" in row]
    steps = zip([0, *(row["seen"] for row in shown)], shown, strict=False)
    return float(sum((row["seen"] - before) / row["time/img_per_s"] for before, row in steps))


def seed_of(run_dir: Path) -> int:
    """The seed of a run, by its newest checkpoint."""
    states = sorted(run_dir.glob("[0-9]*/seen-*/state.json"), key=lambda path: path.parent.name)
    if not states:
        raise CheckpointError(f"{run_dir} has no checkpoint: give the folder of a finished run")
    return int(json.loads(states[-1].read_text())["config"]["seed"])


def device() -> str:
    """The name of what computes here: the GPU, or the processor and its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def command_of(argv: Sequence[str]) -> str:
    """The command line as one would type it."""
    return shlex.join(["stylealae", *argv])


def with_deviation(value: float, sd: float | None) -> str:
    """Four digits of a value, and two of its deviation if it has one."""
    return f"{value:.4g}" if sd is None else f"{value:.4g} ± {sd:.2g}"
