"""What a person at the console sees: progress bars, or plain lines without a terminal."""

import time
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from pipeline.config import RunConfig
from pipeline.progress import Report
from stylealae.schedule import at_stage

if TYPE_CHECKING:
    from pipeline.rates import Rates

__all__ = ["Console", "forecast_table", "plan_table"]


class Console:
    """Shows reports as they come; one bar a stage."""

    def __init__(self) -> None:
        self.terminal = Terminal(highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._bar: dict[int, TaskID] = {}
        self._began: dict[int, tuple[float, int]] = {}

    def __enter__(self) -> "Console":
        """Takes over the terminal, if there is one."""
        if self.terminal.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[line]}"),
                TimeRemainingColumn(compact=True),
                console=self.terminal,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the terminal back."""
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A sentence between the bars."""
        self.terminal.print(text)

    def show(self, r: Report) -> None:
        """One line of progress: stage, images, rate, time left, losses; at its end a summary."""
        self._progress(r)
        now, images = time.monotonic(), r.seen - r.stage_first
        then, before = self._began.setdefault(r.resolution, (now, images))
        if r.seen >= r.stage_end and now > then:
            rate = (images - before) / (now - then)
            self.say(
                f"{r.resolution}x{r.resolution} is trained: {images:,} images, the last "
                f"{images - before:,} in {_duration(now - then)}, {rate:.0f} img/s all in all"
            )

    def _progress(self, r: Report) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in r.losses.items())
        rate = f"{r.img_per_s:.0f} img/s"
        fade = f"alpha {r.alpha:.2f}"
        if self._bars is None:
            left = _duration((r.stage_end - r.seen) / max(r.img_per_s, 1e-9))
            self.say(
                f"{r.resolution:>4}x{r.resolution:<4} {fade}  {r.seen:>9,} of {r.total:,} images  "
                f"{rate}  stage done in {left}  {losses}"
            )
            return
        name = f"{r.resolution}x{r.resolution}"
        if r.resolution not in self._bar:
            self._bar[r.resolution] = self._bars.add_task(
                name, total=r.stage_end - r.stage_first, completed=r.seen - r.stage_first, line=""
            )
        line = f"{r.seen:,}/{r.total:,} images  {rate}  {fade}  {losses}"
        self._bars.update(self._bar[r.resolution], completed=r.seen - r.stage_first, line=line)


def plan_table(cfg: RunConfig) -> Table:
    """The stages of a run: resolution, images, batches, how the workers share them, memory."""
    from pipeline.memory import GIB, need

    table = _table(f"stages of {cfg.run_dir}")
    for heading in (
        "stage", "size", "images", "fading", "batch", "rate",
        "workers", "micro x accum.", "GiB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for stage in cfg.stages:
        first, end = cfg.span(stage)
        fades = cfg.schedule.fade_fraction if stage > cfg.stages[0] else 0.0
        fading = int(fades * at_stage(cfg.schedule.stage_img, stage))
        batch, counts = at_stage(cfg.schedule.batch, stage), cfg.worker_counts(stage)
        workers = counts[-1]
        micro = min(at_stage(cfg.engine.micro_batch, stage) or batch, batch // workers)
        table.add_row(
            str(stage), f"{4 << stage}x{4 << stage}", f"{end - first:,}",
            f"{fading:,}", str(batch), f"{at_stage(cfg.schedule.lr, stage):g}",
            "|".join(map(str, counts)), f"{micro} x {batch // workers // micro}",
            f"{need(cfg, stage) / GIB:.1f}",
        )  # fmt: skip
    return table


def forecast_table(cfg: RunConfig, rates: "Rates", paid: int, price: float) -> Table:
    """The stages of a run on `paid` devices: how they share it, memory, speed, time and cost."""
    from pipeline.forecast import forecast
    from pipeline.memory import GIB

    origin = (
        f"rates of {rates.device} measured, typical error {rates.error:.0%}"
        if rates.error
        else f"ESTIMATED: data sheet of {rates.device}, assumed efficiencies; nothing was measured"
    )
    table = _table(f"{cfg.run_dir} on {paid} x {rates.device}", origin)
    for heading in ("size", "images", "batch", "micro x accum. x workers", "GiB", "images/s",
                    "hours", "cost", "read GiB", "checkpoint GiB"):  # fmt: skip
        table.add_column(heading, justify="right")
    hours = cost = read = 0.0
    for stage in track(range(cfg.last_stage + 1), "counting", transient=True):
        f = forecast(cfg, stage, rates, paid=paid, price=price)
        hours, cost, read = hours + f.hours, cost + f.cost, read + f.read_bytes
        side, accumulated = 4 << stage, f.batch // f.workers // f.micro
        table.add_row(
            f"{side}x{side}", f"{f.images:,}", str(f.batch),
            f"{f.micro} x {accumulated} x {f.workers}", f"{f.worker_bytes / GIB:.1f}",
            f"{f.img_per_s:,.{0 if f.img_per_s >= 10 else 2}f}", f"{f.hours:.1f}",
            f"{f.cost:,.0f}", f"{f.read_bytes / GIB:,.1f}", f"{f.checkpoint_bytes / GIB:.2f}",
        )  # fmt: skip
    table.add_section()
    table.add_row("", "", "", "", "", "", f"{hours:.1f}", f"{cost:,.0f}", f"{read / GIB:,.0f}", "")
    return table


def _table(title: str, caption: str = "") -> Table:
    return Table(
        title=title, title_justify="left", caption=caption, caption_justify="left",
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
