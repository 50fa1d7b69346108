"""Running averages: of the networks, with a half-life in images, and of w.

Legend: L layers of G, W width of w.
"""

import copy

import torch
from torch import Tensor

from stylealae.config import ScheduleConfig
from stylealae.networks import LETTERS, Networks
from stylealae.schedule import Progress

__all__ = ["Ema"]


class Ema:
    """The networks to use: 0.5 ** (batch / half-life) of themselves, the rest of those in training.

    Departure: starts as a copy of the networks (as released, from another random one), and
    follows the mean w too, once an iteration.
    """

    def __init__(self, nets: Networks, cfg: ScheduleConfig) -> None:
        self.cfg = cfg
        self.nets = copy.deepcopy(nets).requires_grad_(False)
        self.w_mean = torch.zeros(nets.G.layers, nets.D.w_width)  # [L, W]

    @torch.no_grad()
    def update(self, nets: Networks, z: Tensor, at: Progress) -> None:
        """One iteration on: `nets` have just been trained on `at.batch` images; z is [N, Z]."""
        keep = 0.5 ** (at.batch / self.cfg.ema_half_life_img)
        for letter in LETTERS:
            ours = [p.detach() for p in self.nets.grown(letter, at)]
            theirs = [p.detach() for p in nets.grown(letter, at)]
            torch._foreach_lerp_(ours, theirs, 1.0 - keep)
        self.w_mean.lerp_(nets.F(z).float().mean(0), 1.0 - self.cfg.w_mean_beta)

    def to(self, device: torch.device) -> "Ema":
        """The same averages, kept on `device`."""
        self.nets.to(device)
        self.w_mean = self.w_mean.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Every averaged tensor by name."""
        return {**self.nets.state_dict(), "w_mean": self.w_mean}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state_dict` gave, all of it or nothing."""
        networks = dict(state)
        w_mean = networks.pop("w_mean")
        self.nets.load_state_dict(networks)
        self.w_mean.copy_(w_mean)
