"""Runs on one page: their images beside each other, their curves over each other, their numbers."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from pipeline.report.charts import Curve, chart
from pipeline.report.comparison import ComparedRow, compared
from pipeline.report.comparison_sheet import comparison_sheet
from pipeline.report.document import document, plain, png_uri, table, write
from pipeline.report.run import Run, read_run, run_folder
from pipeline.storage import is_url
from stylealae.errors import ConfigError

__all__ = ["names_of", "write_comparison"]

KINDS = (".html", ".png")
SLASH = re.compile(r"(?<![:/])/")
"""Between the folders of a path or URL, not after its scheme."""


def write_comparison(places: Sequence[str], out: Path) -> Path:
    """Writes runs at folders or URLs as a page (.html), or their images alone (.png); the path.

    Raises:
        CheckpointError: there is no run at one of them.
        ConfigError: the file has another ending, cannot be written, or there are no images to show.
    """
    if out.suffix not in KINDS:
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}, not in .html or .png")
    names = names_of(places)
    with ExitStack() as held:
        folders = [
            held.enter_context(run_folder(place, pictures=True))
            if is_url(place)
            else Path(place).expanduser()
            for place in places
        ]
        runs = [read_run(folder) for folder in folders]
        if out.suffix == ".html":
            write(_page(names, runs), out)
            return out
        sheet = comparison_sheet(names, runs)
    if sheet is None:
        raise ConfigError(
            "none of these runs has drawn images yet: wait until log.grid_img images were seen, or "
            "give runs that have ended"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error
    return out


def names_of(places: Sequence[str]) -> list[str]:
    """What tells runs apart: their places without what all begin and all end with.

    runs/faces/vae/seed=0, runs/faces/wae/seed=0 -> vae, wae
    """
    parts = [[part for part in SLASH.split(place) if part] for place in places]
    shortest = min(map(len, parts), default=0)
    first = next((k for k in range(shortest) if len({p[k] for p in parts}) > 1), shortest)
    last = next((k for k in range(shortest) if len({p[-1 - k] for p in parts}) > 1), shortest)
    names = ["/".join(p[first : max(len(p) - last, first)]) for p in parts]
    return [name or place for name, place in zip(names, places, strict=True)]


def _page(names: Sequence[str], runs: Sequence[Run]) -> str:
    rows = compared(runs)
    groups = [
        ("Runs", ("run",)),
        ("Config", ("config",)),
        ("Figures", ("loss", "metric")),
        ("Scores", ("score",)),
    ]
    tables = {title: _numbers(names, rows, which) for title, which in groups}
    sections = {
        "Runs": tables.pop("Runs"),
        "Pictures": _pictures(names, runs),
        "Curves": "".join(_curves(names, runs)),
        **tables,
    }
    headline = escape(", ".join(names)) if len(names) <= 6 else f"{len(names)} runs"
    return document("Runs compared", headline, sections, command="compare")


def _numbers(names: Sequence[str], rows: Sequence[ComparedRow], groups: Sequence[str]) -> str:
    """A table of some groups of rows, a column a run."""
    found = [(row.name, *(_text(value) for value in row.values)) for row in rows
             if row.group in groups]  # fmt: skip
    return table(("", *names), found) if found else ""


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else plain(value)


def _pictures(names: Sequence[str], runs: Sequence[Run]) -> str:
    sheet = comparison_sheet(names, runs)
    if sheet is None:
        return ""
    source = f'<img src="{png_uri(sheet)}" alt="Reconstructions and samples, a row a run">'
    return f'<figure class="sheet"><figcaption>The last images</figcaption>{source}</figure>'


def _curves(names: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    """A chart for every loss and metric, and for the speed: a curve a run."""
    tags = dict.fromkeys(
        tag for group in ("loss", "metric") for run in runs for tag in run.tags(group)
    )
    for tag in (*tags, "time/img_per_s"):
        curves = [Curve(name, run.series(tag)) for name, run in zip(names, runs, strict=True)]
        group, _, name = tag.partition("/")
        speed = tag == "time/img_per_s"
        title = "Speed" if speed else f"{group.capitalize()}: {name.replace('_', ' ')}"
        yield chart(title, "images/s" if speed else "", curves)
