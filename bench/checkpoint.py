"""What a checkpoint of the full FFHQ network costs: the wait of the step, and the whole of it.

Weights, running average and both of Adam's moments of every parameter, gathered from a ZeRO 1
engine as the trainer does; to a folder on a local disk, fsynced, read back, hashed and published.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.config.sections import CheckpointConfig, EngineConfig
from pipeline.storage import open_storage
from pipeline.training import checkpoints
from pipeline.training.async_checkpoint import Saver
from pipeline.training.checkpoint_state import describe
from pipeline.training.engine import Engine
from pipeline.training.fencing import Fence
from pipeline.world import World
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.ema import Ema
from stylealae.networks import build
from stylealae.schedule import Progress

TICK_S = 0.002


def bench_checkpoint(world: World, model: ModelConfig, rounds: int) -> list[dict[str, Any]]:
    """Saving `rounds` times, each to its end; the first one allocates what the others use again."""
    stage = model.blocks - 1
    at = Progress(stage=stage, alpha=1.0, batch=1, lr=1e-4)
    cfg = RunConfig(
        model=model, schedule=ScheduleConfig(batch=(1,)), engine=EngineConfig(precision="fp32")
    )
    nets = build(model)
    ema, engine = Ema(nets, cfg.schedule), Engine(nets, at, cfg, world)
    took: dict[str, list[float]] = {"blocked": [], "whole": [], "stall": [], "load": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        storage = open_storage(folder)
        fence = Fence.claim(storage).group(1, stage)
        saver = Saver(storage, CheckpointConfig(keep=1), world, fence)
        for number in range(1, rounds + 1):
            since = time.monotonic()
            adam = engine.state_dict()
            with engine.gathered():
                parts = {"networks": nets.state_dict(), "ema": ema.state_dict(), "adam": adam}
                saver.save(parts, describe(cfg, stage, number, "none"))
            took["blocked"].append(time.monotonic() - since)
            took["stall"].append(_longest_stall(saver))
            saver.finish()
            took["whole"].append(time.monotonic() - since)
            since = time.monotonic()
            found = checkpoints.latest(storage)
            assert found is not None
            assert found.state["seen"] == number
            took["load"].append(time.monotonic() - since)
        size = sum(file.stat().st_size for file in found.folder.iterdir())
    engine.close()
    last = {name: statistics.median(seconds[1:] or seconds) for name, seconds in took.items()}
    mib = round(size / (1 << 20))
    return [
        _cell("checkpoint, the step waits", last["blocked"], mib, first=took["blocked"][0]),
        _cell("checkpoint, copied to published", last["whole"], mib, first=took["whole"][0]),
        _cell("checkpoint, longest stall meanwhile", last["stall"], mib),
        _cell("checkpoint, verified when found", last["load"], mib),
    ]


def _longest_stall(saver: Saver) -> float:
    """How long a thread that wants to run now and then had to wait, until the save is done."""
    longest = 0.0
    while saver.busy:
        since = time.monotonic()
        time.sleep(TICK_S)
        longest = max(longest, time.monotonic() - since - TICK_S)
    return longest


def _cell(name: str, seconds: float, mib: int, **further: float) -> dict[str, Any]:
    row = {"name": name, "took_s": round(seconds, 3), "mib": mib}
    return {**row, **{f"{key}_s": round(value, 3) for key, value in further.items()}}
