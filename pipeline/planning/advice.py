"""What a plan leaves idle, and what would use it: sentences, each with its numbers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.config import RunConfig
from pipeline.planning.cost_model import iteration_s, split_s
from pipeline.planning.devices import Rates
from pipeline.planning.forecast import HOUR_S, Outlook, shared_among
from pipeline.planning.stage_plan import StagePlan, stage_plans
from stylealae.schedule import at_stage

__all__ = ["advice"]

WORTHWHILE = 0.01
"""Shares of an iteration below this are not mentioned."""


def advice(outlook: Outlook) -> Iterator[str]:
    """What to know of a run that is shared among its devices."""
    plans, gpus, rates = outlook.plans, outlook.paid, outlook.rates
    assert rates is not None, "without rates nothing is known of what a change would bring"
    if idle := [plan for plan in plans if plan.workers < gpus]:
        yield _idle(idle, gpus)
        yield _larger_batch(outlook.cfg, plans, gpus, rates)
        yield _split(idle[-1], rates)
    if faster := [plan for plan in plans if _replicated(plan, rates) > WORTHWHILE]:
        most = max(_replicated(plan, rates) for plan in faster)
        yield (
            f"engine.zero_stage=0 takes up to {most:.0%} less of an iteration ({_named(faster)}): "
            "sharding the optimiser costs more there than it spares"
        )


def _idle(idle: Sequence[StagePlan], gpus: int) -> str:
    most = max(gpus - plan.workers for plan in idle)
    return (
        f"up to {most} of {gpus} GPUs are idle ({_named(idle)}): a batch is shared evenly, and the "
        f"{idle[-1].batch} images of {idle[-1].resolution}x{idle[-1].resolution} among "
        f"{idle[-1].workers} at most"
    )


def _larger_batch(cfg: RunConfig, plans: Sequence[StagePlan], gpus: int, rates: Rates) -> str:
    """A batch that all GPUs share, with the rate rule, and what it takes."""
    batch = tuple(math.ceil(plan.batch / gpus) * gpus for plan in plans)
    rate = tuple(
        float(f"{plan.lr * math.sqrt(b / plan.batch):.3g}")
        for plan, b in zip(plans, batch, strict=True)
    )
    first = [at_stage(cfg.schedule.batch, s) for s in range(plans[0].stage)]
    rates_before = [at_stage(cfg.schedule.lr, s) for s in range(plans[0].stage)]
    schedule = replace(cfg.schedule, batch=(*first, *batch), lr=(*rates_before, *rate))
    wide = replace(cfg.cluster, workers=(1,))
    larger = shared_among(replace(cfg, schedule=schedule, cluster=wide), gpus)
    now, then = (_hours(stage_plans(c), rates) for c in (cfg, larger))
    return (
        f"a departure that uses them: 'schedule.batch=[{_listed(schedule.batch)}]' "
        f"'schedule.lr=[{_listed(schedule.lr)}]', the rate times the square root of how much "
        f"larger a batch is (the rule for Adam; not tried here): {then:.1f} hours instead of "
        f"{now:.1f}, by the same model"
    )


def _split(plan: StagePlan, rates: Rates) -> str:
    """Why phase I is not split over pairs of GPUs."""
    whole, spared = iteration_s(plan, plan.workers, rates), split_s(plan, plan.workers, rates)
    return (
        "phase I split over pairs of GPUs, real images on one and generated ones on the other, "
        f"would spare {spared / whole:.0%} of an iteration at {plan.resolution}x{plan.resolution} "
        "for twice the GPUs, which idle in the other phases: it is not offered"
    )


def _replicated(plan: StagePlan, rates: Rates) -> float:
    """Share of an iteration that ZeRO 0 would spare, of a plan that shards Adam alone."""
    if plan.engine.zero_stage != 1 or plan.engine.offload or plan.workers == 1:
        return 0.0
    plain = replace(plan, engine=replace(plan.engine, zero_stage=0))
    return 1 - iteration_s(plain, plan.workers, rates) / iteration_s(plan, plan.workers, rates)


def _hours(plans: Sequence[StagePlan], rates: Rates) -> float:
    return sum(
        plan.images / plan.batch * iteration_s(plan, plan.workers, rates) / HOUR_S for plan in plans
    )


def _named(plans: Sequence[StagePlan]) -> str:
    sides = [f"{plan.resolution}x{plan.resolution}" for plan in plans]
    return sides[0] if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{n:g}" for n in numbers)
