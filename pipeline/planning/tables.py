"""The plan of a run as tables for a terminal: its stages, and what they will take."""

from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from pipeline.planning.devices import ASSUMED_ERROR
from pipeline.planning.forecast import Outlook, forecast
from pipeline.planning.memory import GIB, need
from pipeline.planning.stage_plan import StagePlan
from stylealae.errors import printable

__all__ = ["forecast_table", "plan_rows", "plan_table"]


def plan_table(outlook: Outlook) -> Table:
    """The stages of a run: resolution, images, batches, how the workers share them, memory."""
    table = _table(f"stages of {outlook.cfg.run_dir}")
    for heading in (
        "stage", "size", "images", "fading", "batch", "rate",
        "workers", "micro x accum.", "GiB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for plan in outlook.plans:
        table.add_row(
            str(plan.stage), f"{plan.resolution}x{plan.resolution}", f"{plan.images:,}",
            f"{plan.fading_img:,}", str(plan.batch), f"{plan.lr:g}",
            "|".join(map(str, plan.worker_counts)), _accumulation(plan), f"{need(plan) / GIB:.1f}",
        )  # fmt: skip
    return table


def plan_rows(outlook: Outlook) -> list[dict[str, object]]:
    """The numbers of both tables, a stage each; those of the forecast with rates alone.

    Memory is in bytes, time in hours, cost in the currency of the price.
    """
    rates, paid, price = outlook.rates, outlook.paid, outlook.price
    return [
        {
            "stage": plan.stage, "resolution": plan.resolution, "images": plan.images,
            "fading_img": plan.fading_img, "batch": plan.batch, "lr": plan.lr,
            "workers": plan.worker_counts, "micro_batch": plan.micro_batch(plan.workers),
            "worker_bytes": need(plan),
            **(asdict(forecast(plan, rates, paid=paid, price=price)) if rates else {}),
        }
        for plan in outlook.plans
    ]  # fmt: skip


def forecast_table(outlook: Outlook) -> Table:
    """The stages of a run on its devices: how they share it, memory, speed, time and cost."""
    rates, paid, price = outlook.rates, outlook.paid, outlook.price
    assert rates is not None, "without rates there is no forecast"
    origin = (
        f"rates of {rates.device} measured, typical error {rates.error:.0%}"
        if rates.error
        else f"ESTIMATED: data sheet of {rates.device}, assumed efficiencies, counted operations; "
        f"nothing was measured, and it may be off by {ASSUMED_ERROR:.0%}"
    )
    table = _table(f"{outlook.cfg.run_dir} on {paid} x {rates.device}", origin)
    for heading in ("size", "images", "batch", "micro x\naccum. x\nworkers", "GiB", "images\n/s",
                    "s\n/1,000", "hours", "cost", "read\nGiB", "check-\npoint\nGiB"):  # fmt: skip
        table.add_column(heading, justify="right")
    hours = cost = read = 0.0
    for plan in track(outlook.plans, "counting", transient=True):
        f = forecast(plan, rates, paid=paid, price=price)
        hours, cost, read = hours + f.hours, cost + f.cost, read + f.read_bytes
        table.add_row(
            f"{plan.resolution}x{plan.resolution}", f"{plan.images:,}", str(plan.batch),
            f"{_accumulation(plan)} x {plan.workers}", f"{f.worker_bytes / GIB:.1f}",
            f"{f.img_per_s:,.{0 if f.img_per_s >= 10 else 2}f}", f"{1000 / f.img_per_s:,.2f}",
            f"{f.hours:.1f}",
            f"{f.cost:,.0f}", f"{f.read_bytes / GIB:,.1f}", f"{f.checkpoint_bytes / GIB:.2f}",
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "", "", "", "", "", "", "", f"{hours:.1f}", f"{cost:,.0f}", f"{read / GIB:,.0f}", ""
    )
    return table


def _accumulation(plan: StagePlan) -> str:
    """A worker's micro-batch, and how many of them make its share of the batch."""
    micro = plan.micro_batch(plan.workers)
    return f"{micro} x {plan.share(plan.workers) // micro}"


def _table(title: str, caption: str = "") -> Table:
    return Table(
        title=escape(printable(title)), title_justify="left",
        caption=caption, caption_justify="left",
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
