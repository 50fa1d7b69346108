"""Running averages: of the networks, with a half-life in images, and of what they observe.

Legend: Z width of z.
"""

import copy

import torch
from torch import Tensor

from stylealae.config import ScheduleConfig
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import Progress

__all__ = ["Ema"]


class Ema:
    """The networks to use: 0.5 ** (batch / half-life) of themselves, the rest of those in training.

    Departure: starts as a copy of the networks (as released, from another random one), and
    follows the mean w too, once an iteration.
    """

    def __init__(self, nets: NetworkGroup, cfg: ScheduleConfig) -> None:
        self.cfg = cfg
        self.nets = copy.deepcopy(nets).requires_grad_(False)
        self.means = nets.means()
        """What is averaged beside the weights: StyleALAE's `w_mean`."""
        self._running = self.nets.running()

    @torch.no_grad()
    def update(self, nets: NetworkGroup, z: Tensor, at: Progress) -> None:
        """One iteration on: `nets` have just been trained on `at.batch` images; z is [N, Z]."""
        keep = 0.5 ** (at.batch / self.cfg.ema_half_life_img)
        for network in nets.networks:
            ours = [p.detach() for p in self.nets.grown(network, at)]
            theirs = [p.detach() for p in nets.grown(network, at)]
            torch._foreach_lerp_(ours, theirs, 1.0 - keep)
        if self._running:
            torch._foreach_lerp_(self._running, nets.running(), 1.0 - keep)
        for name, value in nets.observed(z).items():
            self.means[name].lerp_(value, 1.0 - self.cfg.w_mean_beta)

    def to(self, device: torch.device) -> "Ema":
        """The same averages, kept on `device`."""
        self.nets.to(device)
        self.means = {name: mean.to(device) for name, mean in self.means.items()}
        self._running = self.nets.running()
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Every averaged tensor by name."""
        return {**self.nets.state_dict(), **self.means}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state_dict` gave, all of it or nothing."""
        self.nets.load_state_dict({k: v for k, v in state.items() if k not in self.means})
        for name, mean in self.means.items():
            mean.copy_(state[name])
