"""Part 6: the gradients of each phase and network, against float64 on the CPU."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.arithmetic import half_of, tf32_of
from pipeline.config import RunConfig
from stylealae.networks import build
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import phases_of
from stylealae.schedule import Progress
from tests.gpu.setting import Row, Setting, row, small

__all__ = ["gradients", "rows"]

IMAGES = 4
WAYS = (
    ("fp32, tf32=off", "off"), ("fp32, tf32=derivatives", "derivatives"),
    ("fp32, tf32=3xtf32", "3xtf32"), ("fp32", "on"), ("bf16", "derivatives"),
)  # fmt: skip
CLOSE = {
    "fp32, tf32=off": 0.02, "fp32, tf32=derivatives": 0.02, "fp32, tf32=3xtf32": 0.05,
    "fp32": 0.3, "bf16": 0.6,
}  # fmt: skip
"""Kinks of the leaky ReLU that fall otherwise make a few percent of R1's gradient."""


def rows(s: Setting) -> Iterator[Row]:
    """Relative errors, eager and fused."""
    s.world()
    exact = gradients(small(s), torch.device("cpu"), "fp32", torch.float64)
    for fused in ("off", "auto"):
        s.fuse(fused)  # type: ignore[arg-type]
        for name, where in WAYS:
            cfg = small(s, f"engine.tf32={where}")
            found = gradients(cfg, s.device, name[:4], torch.float32)
            errors = {k: float((found[k].cpu().double() - g).norm() / g.norm())
                      for k, g in exact.items() if g.norm() > 0}  # fmt: skip
            wrong = [f"{k} is off by {e:.1e}" for k, e in errors.items() if not e <= CLOSE[name]]
            yield row(f"{name}, fuse={fused}", "; ".join(wrong), **errors)


def gradients(
    cfg: RunConfig, device: torch.device, precision: str, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Each phase's gradient of each network that it trains, in one vector, by "phase/network".

    Plain torch, in a fade, without noise, which every kind of device draws for itself.
    """
    nets = build(cfg.model, 0).to(device=device, dtype=dtype)
    at = Progress(stage=cfg.last_stage, alpha=0.5, batch=IMAGES, lr=0.0)
    source = torch.Generator().manual_seed(1)
    z = torch.randn(2, IMAGES, cfg.model.z_width, generator=source).to(device, dtype)
    side = at.resolution
    x = (torch.rand(IMAGES, 3, side, side, generator=source) * 2 - 1).to(device, dtype)
    crossover = torch.tensor([1, 2, 2 * (at.stage + 1), 1]).to(device)
    r = StyleInputs(z=z[0], z_other=z[1], crossover=crossover, noise=None)
    found = {}
    half = half_of(precision, device)
    for phase in phases_of(cfg.loss):
        params = {network: list(nets.grown(network, at)) for network in nets.networks}
        for network, held in params.items():
            for p in held:
                p.requires_grad_(network in phase.trains)
        with tf32_of(cfg.engine.tf32, phase):
            with torch.autocast(device.type, half, enabled=half is not None):
                loss = phase.loss(nets, x, r, at, cfg.loss)
            moved = [p for network in phase.trains for p in params[network]]
            grads = iter(torch.autograd.grad(loss, moved, allow_unused=True))
        for network in phase.trains:
            own = [next(grads) for _ in params[network]]
            found[f"{phase.name}/{network}"] = torch.cat(
                [g.detach().float().flatten() if dtype != torch.float64 else g.flatten()
                 for g in own if g is not None]
            )  # fmt: skip
    return found
