"""The plan of a run as tables for a terminal: its stages, and what they will take."""

from rich.box import SIMPLE_HEAD
from rich.progress import track
from rich.table import Table

from pipeline.config import RunConfig
from pipeline.planning.devices import Rates
from pipeline.planning.forecast import forecast
from pipeline.planning.memory import GIB, need
from stylealae.schedule import at_stage

__all__ = ["forecast_table", "plan_table"]


def plan_table(cfg: RunConfig) -> Table:
    """The stages of a run: resolution, images, batches, how the workers share them, memory."""
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


def forecast_table(cfg: RunConfig, rates: Rates, paid: int, price: float) -> Table:
    """The stages of a run on `paid` devices: how they share it, memory, speed, time and cost."""
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
