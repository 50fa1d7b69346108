"""What the parts share: where they run, the iteration that they measure, and a clock."""

import importlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig, load, parse
from pipeline.data.loader.batch import on_device
from pipeline.training.engine import Engine
from pipeline.world import World, joined
from stylealae.ema import Ema
from stylealae.networks import Networks, build
from stylealae.ops.compiler import Fuse, fuse, fuses
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress

__all__ = [
    "FFHQ",
    "Iteration",
    "Setting",
    "ffhq",
    "kinds_of",
    "medians",
    "row",
    "rows_of",
    "small",
    "trained",
]

Row = dict[str, Any]
FFHQ = Path(__file__).resolve().parents[2] / "configs" / "ffhq_1024.yaml"
ALONE = ("cluster.workers=[1]", "engine.micro_batch=[0]")
KERNELS = Path(__file__).resolve().parents[2] / "build" / "gpu_kernels"
"""The compiler's cache: what one part has compiled, the next finds."""
# Every side and width has kernels of its own: this one takes few.
SMALL = """
model: {resolution: 16, start_channels: 32, max_channels: 64, z_width: 64, w_width: 64,
        mapping_layers: 4}
"""
TINY = """
model: {resolution: 8, start_channels: 4, max_channels: 8, z_width: 8, w_width: 8,
        mapping_layers: 2}
"""


@dataclass(frozen=True)
class Setting:
    """Where a part runs."""

    device: torch.device
    quick: bool
    """Small, to see that all of it runs."""
    folder: Path
    """Of its own, and empty."""

    @property
    def on_gpu(self) -> bool:
        """Whether times and sizes are a GPU's."""
        return self.device.type == "cuda"

    def world(self, fused: Fuse = "off") -> World:
        """This process alone, on the device."""
        self.fuse(fused)  # first of all, for the cache's place
        made = joined(parse("").engine, gpu=self.on_gpu)
        self.fuse(fused)
        return made

    def fuse(self, mode: Fuse) -> None:
        """From here on; "auto" fuses nothing on a CPU."""
        fuse(mode, KERNELS)

    def fused(self) -> bool:
        """Whether steps are fused still: a compiler that fails once is not asked again."""
        return fuses(torch.empty(1, device=self.device))

    def wait(self) -> None:
        """Until the device has nothing to do."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def peak_gib(self) -> float:
        """The most memory that tensors took since this was last asked; 0 on a CPU."""
        if not self.on_gpu:
            return 0.0
        peak = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return peak


def rows_of(name: str, on: str, folder: Path, *, quick: bool, fake: bool = False) -> Iterator[Row]:
    """What a part finds, as it finds it."""
    faked = fake and on == "cpu"
    setting = Setting(torch.device("cuda", 0) if on == "cuda" or faked else torch.device("cpu"),
                      quick, folder)  # fmt: skip
    with _without_content() if faked else nullcontext():
        yield from importlib.import_module(f"tests.gpu.{name}").rows(setting)


def _without_content() -> AbstractContextManager[Any]:
    from tests.fakegpu.contents import without_content

    return without_content()


def row(what: str, wrong: str = "", **numbers: Any) -> Row:
    """Something that was found; `wrong` says what is not as it should be."""
    return {"what": what, "numbers": numbers, "wrong": f"{what}: {wrong}" if wrong else ""}


def ffhq(*overrides: str) -> RunConfig:
    """The published network and recipe, on one GPU."""
    return load(FFHQ, (*ALONE, *overrides))


def small(s: Setting, *overrides: str) -> RunConfig:
    """A network of a few seconds."""
    return parse(TINY if s.quick else SMALL, (*ALONE, *overrides))


class Iteration:
    """The trainer's iteration on made-up images, without its services."""

    def __init__(self, cfg: RunConfig, stage: int, alpha: float, batch: int, world: World) -> None:
        self.at = Progress(stage=stage, alpha=alpha, batch=batch, lr=0.001)
        self.cfg, self.device = cfg, world.device
        side = 4 << stage
        source = torch.Generator().manual_seed(0)
        images = torch.randint(
            0, 256, (batch, cfg.model.channels, side, side), dtype=torch.uint8, generator=source
        )
        self.images = images.pin_memory() if self.device.type == "cuda" else images
        self.nets: Networks = build(cfg.model, 0).to(self.device)
        self.ema = Ema(self.nets, cfg.schedule).to(self.device)
        self.engine = Engine(self.nets, self.at, cfg, world)
        self.sampler = StyleInputSampler(
            seed=0, z_width=cfg.model.z_width, mixing_prob=cfg.loss.mixing_prob,
            mine=world.share(batch), device=self.device,
        )  # fmt: skip

    def __call__(self, i: int = 0) -> dict[str, Tensor]:
        """One iteration; its losses by phase."""
        x = on_device(self.images, self.at.alpha, self.device)[self.sampler.mine]
        losses = {
            phase.name: self.engine.step(
                phase, x, self.sampler.draw(phase.name, i, self.at), self.at
            )
            for phase in phases_of(self.cfg.loss, i)
        }
        self.ema.update(self.engine.nets, self.sampler.z("w_mean", i, self.at), self.at)
        return losses


@contextmanager
def trained(
    cfg: RunConfig, stage: int, alpha: float, batch: int, world: World
) -> Iterator[Iteration]:
    """An iteration whose engine is closed in the end."""
    made = Iteration(cfg, stage, alpha, batch, world)
    try:
        yield made
    finally:
        made.engine.close()


def medians(s: Setting, step: Callable[[int], Any], rounds: int) -> tuple[float, float]:
    """Seconds of a step, and until the host has asked for all of it; medians, one to warm up."""
    whole, host = [], []
    for i in range(1 + (1 if s.quick else rounds)):
        s.wait()
        began = time.perf_counter()
        step(i)
        asked = time.perf_counter() - began
        s.wait()
        if i:
            whole.append(time.perf_counter() - began)
            host.append(asked)
    return statistics.median(whole), statistics.median(host)


def kinds_of(s: Setting, every: Sequence[Any]) -> Sequence[Any]:
    """All of them, or the first alone where it is to be quick."""
    return every[:1] if s.quick else every
