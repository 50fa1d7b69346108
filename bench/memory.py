"""Peak memory of one FFHQ image at every stage, beside what `stylealae plan` says of it."""

import gc
from typing import Any

import torch

from bench.peak import MIB, forget_peak, peak_mib
from bench.step import EXACT, FFHQ, iteration
from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.planning.memory import need
from pipeline.planning.stage_plan import stage_plan
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.api import StyleALAE
from stylealae.config import ScheduleConfig
from stylealae.ema import Ema
from stylealae.networks import build
from stylealae.schedule import Progress


def bench_memory(world: World) -> list[dict[str, Any]]:
    """Three phases, the average, and encode -> generate of one image, in float32."""
    return [measure(world, stage) for stage in range(0, FFHQ.blocks, 2)]


def measure(world: World, stage: int) -> dict[str, Any]:
    """One stage; the process as it stands before the networks are built is not counted."""
    gc.collect()
    forget_peak()
    before = peak_mib()
    cfg = RunConfig(
        model=FFHQ, loss=EXACT, schedule=ScheduleConfig(batch=(1,)),
        engine=EngineConfig(precision="fp32", threads=torch.get_num_threads()),
    )  # fmt: skip
    at = Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=1, lr=1e-4)
    x = torch.rand(1, 3, at.resolution, at.resolution) * 2 - 1
    nets = build(FFHQ)
    ema = Ema(nets, cfg.schedule)
    engine = Engine(nets, at, cfg, world)
    iteration(engine, ema, cfg, at, x, r1=True)(0)
    m = StyleALAE(ema.nets, FFHQ, ema.means["w_mean"], stage=stage)
    assert m.generate(m.encode(x), noise=False).isfinite().all()
    peak = peak_mib() - before
    engine.close()
    planned = need(stage_plan(cfg, stage)) / MIB
    return {
        "name": f"memory, {at.resolution}x{at.resolution}, batch 1, fp32: planned / measured",
        "ratio": round(planned / peak, 3),
        "peak_mib": round(peak),
        "planned_mib": round(planned),
    }
