"""Fills the tables of a page from the JSON files that `stylealae sweep --out` leaves beside it.

    python -m bench.table docs/table.md

A table stands between `<!-- FILE.json: figure, figure as head, ... -->` and `<!-- end -->`: a line
for the runs that differ in their seed alone, mean and deviation; a run that has none of these
figures is left out.
"""

import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.report.sweep_table import Entry, cell

TABLE = re.compile(r"(<!-- (\S+\.json): ([^>]*) -->\n).*?(<!-- end -->)", re.DOTALL)
COSTS = {"images", "seconds", "parameters"}
"""Columns that every run has."""


def filled(page: Path) -> str:
    """The page's text, its tables as the files say."""

    def table(found: re.Match[str]) -> str:
        begin, file, columns, end = found.groups()
        entries = json.loads((page.parent / file).read_text())
        heads = dict(column.strip().partition(" as ")[::2] for column in columns.split(","))
        return begin + "\n".join(lines(entries, heads)) + "\n" + end

    return TABLE.sub(table, page.read_text())


def lines(entries: Mapping[str, Entry], heads: Mapping[str, str]) -> list[str]:
    """A table of these figures, under their heads."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries.values():
        groups.setdefault(entry["config"], []).append(entry)
    table = [f"| | {' | '.join(head or name for name, head in heads.items())} |"]
    table.append("|---" * (len(heads) + 1) + "|")
    for config, runs in groups.items():
        cells = {name: _cost(runs, name) if name in COSTS else cell(runs, name) for name in heads}
        if any(text != "-" for name, text in cells.items() if name not in COSTS):
            table.append(f"| {config} | {' | '.join(cells.values())} |")
    return table


def _cost(runs: Sequence[Entry], name: str) -> str:
    mean = statistics.mean(run[name] for run in runs)
    return f"{mean / 1e6:.2f} M" if name == "parameters" else f"{mean:,.0f}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    place = Path(sys.argv[1])
    place.write_text(filled(place))
