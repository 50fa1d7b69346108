"""report.html: a run on one page."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from pipeline.config import RunConfig, as_dict
from pipeline.config.leaves import leaves
from pipeline.planning.forecast import Outlook
from pipeline.planning.tables import plan_table
from pipeline.report.charts import Curve, Mark, chart, short
from pipeline.report.document import document, link, picture, plain, table, write
from pipeline.report.faces_by_stage import faces_table
from pipeline.report.run import FINISHED, Run, as_mapping, read_run, run_folder
from pipeline.storage import open_storage
from pipeline.training.progress import READINGS, memorization_warning

__all__ = ["REPORT", "write_report", "write_report_of"]

REPORT = "report.html"
TIMES = "×"  # noqa: RUF001


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the report of a run, into its folder unless `out` says otherwise; returns its path.

    Raises:
        CheckpointError: the folder holds no run.
        ConfigError: the page cannot be written.
    """
    run = read_run(folder)
    out = out or folder / REPORT
    write(page(run, out.parent), out)
    return out


def write_report_of(url: str, out: Path | None = None) -> str:
    """Writes the report of a run in an object store, there or, without links, to the file `out`.

    -> its URL or path

    Raises:
        CheckpointError: there is no run.
        ConfigError: the page cannot be written.
    """
    with run_folder(url, pictures=True) as folder:
        text = page(read_run(folder), None if out else folder)
    if out:
        write(text, out)
        return str(out)
    storage = open_storage(url)
    storage.write(REPORT, text.encode())
    return storage.at(REPORT)


def page(run: Run, beside: Path | None) -> str:
    """The whole page; links are relative to the folder `beside`, and left out without one."""
    cfg, name = run.parsed(), run.folder.resolve().name
    sections = {
        "Growth": faces_table(run),
        "Pictures": "".join(_pictures(run, beside)),
        "Curves": "".join(_curves(run, _marks(run, cfg))),
        "Scores": _scores(run),
        "Metrics": _metrics(run),
        "Plan": _plan(cfg) if cfg else "",
        "Config": _config(run, cfg),
        "Environment": _environment(run),
    }
    facts = f"<dl class='facts'>{_facts(run)}</dl>"
    return document(name, _headline(run, cfg), sections, command="report", above=facts)


def _headline(run: Run, cfg: RunConfig | None) -> str:
    model, family = run.config.get("model"), str(run.config.get("family", "stylealae"))
    side = model.get("resolution") if isinstance(model, Mapping) else None
    what = escape("StyleALAE" if family == "stylealae" else family)
    what += f", {escape(str(side))}{TIMES}{escape(str(side))}" if side else ""
    if cfg is None:
        return f"{what}; {run.seen:,} images seen."
    total = cfg.span(cfg.last_stage)[1]
    if cfg.model.resolution in run.done:
        return f"{what}, complete after {total:,} images."
    return f"{what}, at {run.seen:,} of {total:,} images ({run.seen / total:.0%})."


def _facts(run: Run) -> str:
    """The numbers that one looks for first."""
    speeds = [value for _, value in run.series("time/img_per_s")]
    waits = [value for _, value in run.series("time/data_wait")]
    replaced = [value for _, value in run.series("system/replaced")]
    hours = run.hours
    found: dict[str, str] = {"Images seen": f"{run.seen:,}"}
    if hours:
        found["Training time"] = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    if speeds:
        found["Speed at the end"] = f"{speeds[-1]:.3g} images/s"
    if waits:
        found["Waiting for data"] = f"{sum(waits) / len(waits):.1%} of the time"
    if replaced and replaced[-1]:
        found["Images replaced"] = f"{replaced[-1]:,.0f}"
    if sentence := memorization_warning(_sign_gap(run)):
        found["Few images"] = sentence
    for tag in run.tags("loss"):
        found[f"Loss, {tag.partition('/')[2]}"] = f"{run.series(tag)[-1][1]:.3f}"
    if run.done:
        found["Stages done"] = ", ".join(f"{r}{TIMES}{r}" for r in run.done)
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in found.items())


def _sign_gap(run: Run) -> float:
    """How much higher the critic's mean sign was on training images than on others, at last."""
    signs = (run.series(f"critic/{x}")[-READINGS:] for x in ("real_sign", "held_out_sign"))
    real, held_out = ([value for _, value in series] for series in signs)
    return (sum(real) - sum(held_out)) / READINGS if held_out else 0.0


def _marks(run: Run, cfg: RunConfig | None) -> list[Mark]:
    """Where the stages begin."""
    if cfg is None:
        return []
    firsts = [(stage, cfg.span(stage)[0]) for stage in cfg.stages]
    return [Mark(first, str(4 << stage)) for stage, first in firsts if first < run.seen]


def _pictures(run: Run, beside: Path | None) -> Iterator[str]:
    """The finished run's two pictures, then the last grid of every stage, the newest first."""
    for name in FINISHED:
        caption = f"{Path(name).stem.capitalize()} of the finished model"
        if (run.folder / name).exists():
            yield picture(run.folder / name, caption, beside)
    last = {grid.resolution: grid for grid in run.grids}
    for grid in reversed(last.values()):
        size = f"{grid.resolution}{TIMES}{grid.resolution}"
        yield picture(grid.path, f"At {size}, after {grid.seen:,} images", beside)
    earlier = [grid for grid in run.grids if last[grid.resolution] is not grid]
    if earlier and beside:
        links = ", ".join(
            f'<a href="{escape(link(g.path, beside))}">{g.resolution} at {short(g.seen)}</a>'
            for g in earlier
        )
        yield f"<p>Earlier sheets, by resolution and images seen: {links}.</p>"


def _curves(run: Run, marks: Sequence[Mark]) -> Iterator[str]:
    """Losses, metrics, speed, waiting, memory and rate."""

    def curves(tags: Sequence[str], scale: float = 1.0) -> list[Curve]:
        return [
            Curve(tag.partition("/")[2].replace("_", " "), [(x, scale * y) for x, y in found])
            for tag in tags
            if (found := run.series(tag))
        ]

    yield chart("Losses", "mean over the interval", curves(run.tags("loss")), marks)
    for tag in run.tags("metric"):
        yield chart(f"Metric: {tag.partition('/')[2]}", "", curves([tag]), marks)
    yield chart("Speed", "images/s", curves(["time/img_per_s"]), marks)
    yield chart("Waiting for data", "% of the time", curves(["time/data_wait"], 100.0), marks)
    memory = [tag for tag in run.tags("system") if tag.endswith("_gib")]
    yield chart("Memory of a process", "GiB", curves(memory), marks)
    yield chart("Learning rate", "of Adam", curves(["time/lr"]), marks)
    yield chart("Weight of the newest block", "alpha", curves(["time/alpha"]), marks)


def _scores(run: Run) -> str:
    rows = [
        (score.name, f"{score.value:.4g}", score.protocol,
         ", ".join(filter(None, (score.images, score.dataset))),
         "" if score.seen is None else f"{score.seen:,}")
        for score in run.scores
    ]  # fmt: skip
    headings = ("score", "value", "measured as", "on", "after images")
    return table(headings, rows) if rows else ""


def _metrics(run: Run) -> str:
    rows = []
    for tag in run.tags("metric"):
        series = run.series(tag)
        low, high = min(series, key=lambda p: p[1]), max(series, key=lambda p: p[1])
        rows.append((
            tag.partition("/")[2], f"{series[-1][1]:.4g}", f"{series[-1][0]:,.0f}",
            f"{low[1]:.4g} at {low[0]:,.0f}", f"{high[1]:.4g} at {high[0]:,.0f}",
        ))  # fmt: skip
    headings = ("metric", "last", "images seen", "lowest", "highest")
    return table(headings, rows) if rows else ""


def _plan(cfg: RunConfig) -> str:
    columns = plan_table(Outlook(cfg=cfg)).columns
    rows = zip(*(column.cells for column in columns), strict=True)
    return table([str(c.header) for c in columns], [[str(v) for v in row] for row in rows])


def _config(run: Run, cfg: RunConfig | None) -> str:
    """What differs from the defaults, and all of it folded away."""
    if not run.config:
        return ""
    differs = []
    if cfg is not None:
        usual = dict(leaves(as_dict(RunConfig())))
        differs = [(k, v) for k, v in leaves(as_dict(cfg)) if usual.get(k) != v]
    shown = table(("key", "value"), [(k, plain(v)) for k, v in differs]) if differs else ""
    every = escape("\n".join(f"{k}: {plain(v)}" for k, v in leaves(run.config)))
    heading = "<p>What differs from the defaults:</p>" if differs else ""
    folded = f'<summary>The whole config</summary><pre tabindex="0">{every}</pre>'
    return f"{heading}{shown}<details>{folded}</details>"


def _environment(run: Run) -> str:
    """The newest start's machine and versions, and how often the run was started."""
    last = run.environments[-1] if run.environments else {}
    versions = {**run.versions, **as_mapping(last.get("versions"))}
    names = ("host", "processor", "cores", "gpu", "cuda", "ranks", "system", "python")
    rows = [(n, str(last[n])) for n in names if last.get(n) is not None]
    rows += sorted((k, str(v)) for k, v in versions.items())
    if run.environments:
        starts = "; ".join(
            f"{e.get('time')} at {e['seen']:,} images" for e in run.environments[-9:]
        )
        rows.append(("stages started", starts))
    return table(("", ""), rows)
