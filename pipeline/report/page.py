"""report.html: one file that opens from the disk, without a network.

Pictures are embedded, large ones smaller than they are and linked to their files; curves are SVG.
"""

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from pipeline.config import RunConfig, as_dict
from pipeline.config.leaves import leaves
from pipeline.planning.forecast import Outlook
from pipeline.planning.tables import plan_table
from pipeline.report.charts import Curve, Mark, chart, short
from pipeline.report.faces_by_stage import faces_table
from pipeline.report.run import FINISHED, Run, as_mapping, read_run, run_folder
from pipeline.storage import open_storage
from pipeline.training.progress import READINGS, memorization_warning
from stylealae.errors import ConfigError

__all__ = ["REPORT", "write_report", "write_report_of"]

REPORT = "report.html"
STYLE = Path(__file__).parent / "report.css"
WIDEST = 1100
AS_IS_BYTES = 400_000
TIMES = "×"  # noqa: RUF001


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the report of a run, into its folder unless `out` says otherwise; returns its path.

    Raises:
        CheckpointError: the folder holds no run.
        ConfigError: the page cannot be written.
    """
    run = read_run(folder)
    out = out or folder / REPORT
    _write(page(run, out.parent), out)
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
        _write(text, out)
        return str(out)
    storage = open_storage(url)
    storage.write(REPORT, text.encode())
    return storage.at(REPORT)


def _write(text: str, out: Path) -> None:
    scratch = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error


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
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{t.lower()}">{t}</a>' for t in sections)
    bodies = "".join(
        f'<section id="{t.lower()}"><h2>{t}</h2>{body}</section>' for t, body in sections.items()
    )
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(name)}: report</title><style>{style}</style></head><body>"
        f"<header><h1>{escape(name)}</h1><p>{_headline(run, cfg)}</p><nav>{links}</nav></header>"
        f"<main><dl class='facts'>{_facts(run)}</dl>{bodies}</main>"
        f"<footer>Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by <code>stylealae report</code>."
        "</footer></body></html>\n"
    )


def _policy(style: str) -> str:
    """What the page may load and run: its own style sheet, the pictures in it, and no script."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


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
            yield _picture(run.folder / name, caption, beside)
    last = {grid.resolution: grid for grid in run.grids}
    for grid in reversed(last.values()):
        size = f"{grid.resolution}{TIMES}{grid.resolution}"
        yield _picture(grid.path, f"At {size}, after {grid.seen:,} images", beside)
    earlier = [grid for grid in run.grids if last[grid.resolution] is not grid]
    if earlier and beside:
        links = ", ".join(
            f'<a href="{escape(_link(g.path, beside))}">{g.resolution} at {short(g.seen)}</a>'
            for g in earlier
        )
        yield f"<p>Earlier sheets, by resolution and images seen: {links}.</p>"


def _picture(path: Path, caption: str, beside: Path | None) -> str:
    caption = escape(caption)
    try:
        source = f'<img src="{_embedded(path)}" alt="{caption}" loading="lazy">'
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        source = f"<em>it cannot be shown here: {escape(str(error))}</em>"
    if beside:
        source = f'<a href="{escape(_link(path, beside))}" title="the file itself">{source}</a>'
    return f'<figure class="sheet"><figcaption>{caption}</figcaption>{source}</figure>'


def _embedded(path: Path) -> str:
    """The picture as a data URI: the file itself if it is small, else at most WIDEST wide."""
    with Image.open(path, formats=["PNG"]) as image:
        if image.width <= WIDEST and path.stat().st_size <= AS_IS_BYTES:
            return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        small = image.convert("RGB")
    if small.width > WIDEST:
        height = max(1, round(small.height * WIDEST / small.width))
        small = small.resize((WIDEST, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _link(path: Path, beside: Path) -> str:
    return quote(Path(os.path.relpath(path, beside)).as_posix())


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
    return _table(headings, rows) if rows else ""


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
    return _table(headings, rows) if rows else ""


def _plan(cfg: RunConfig) -> str:
    table = plan_table(Outlook(cfg=cfg))
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return _table([str(c.header) for c in table.columns], [[str(v) for v in row] for row in rows])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(v)}</td>" for v in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    return f'<div class="wide" tabindex="0"><table>{top}<tbody>{body}</tbody></table></div>'


def _config(run: Run, cfg: RunConfig | None) -> str:
    """What differs from the defaults, and all of it folded away."""
    if not run.config:
        return ""
    differs = []
    if cfg is not None:
        usual = dict(leaves(as_dict(RunConfig())))
        differs = [(k, v) for k, v in leaves(as_dict(cfg)) if usual.get(k) != v]
    shown = _table(("key", "value"), [(k, _plain(v)) for k, v in differs]) if differs else ""
    every = escape("\n".join(f"{k}: {_plain(v)}" for k, v in leaves(run.config)))
    heading = "<p>What differs from the defaults:</p>" if differs else ""
    folded = f'<summary>The whole config</summary><pre tabindex="0">{every}</pre>'
    return f"{heading}{shown}<details>{folded}</details>"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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
    return _table(("", ""), rows)
