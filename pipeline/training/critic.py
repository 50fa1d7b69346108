"""Measurements of the critic D∘E: has it memorized the training images?

    critic/real_sign        r_t, the mean sign of D(E(x)) on training images: 1 when sure of all
    critic/held_out_sign    the same of images that are not trained on
    critic/gap              the mean logit of the former less that of the latter
    augment/p               the probability of each kind of transform that it is shown
    augment/real_sign       r_t of transformed training images, which an adaptive p follows

The two signs diverge when the critic memorizes the training images.  The measurements have draws of
their own, so a run trains as it would without them.
"""

from collections import deque
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pipeline.data.loader.batch import on_device
from pipeline.data.loader.dataset import Dataset
from pipeline.training.logs import Log
from pipeline.training.progress import READINGS
from pipeline.training.state import TrainState
from pipeline.world import World
from stylealae.augment import transformed
from stylealae.config import MAX_P, AugmentConfig
from stylealae.networks.group import AlaeNetworks
from stylealae.phase_inputs import InputSampler, PhaseInputs, StyleInputs
from stylealae.schedule import Progress, due

__all__ = ["CriticWatch"]

HELD_OUT = "test"


class CriticWatch:
    """The measurements of one stage of a run.  `measure_if_due` is collective."""

    def __init__(
        self,
        cfg: AugmentConfig,
        state: TrainState,
        world: World,
        dataset: Dataset,
        inputs: InputSampler[PhaseInputs],
        log: Log,
        *,
        every_img: int,
    ) -> None:
        """`every_img`: images between two measurements that are logged."""
        self._cfg, self._every_img, self._state, self._world = cfg, every_img, state, world
        self._dataset, self._inputs, self._log = dataset, inputs, log
        self._nets = state.nets if isinstance(state.nets, AlaeNetworks) else None
        self._held_out = dataset.count(HELD_OUT)
        self._sign_gaps: deque[float] = deque(maxlen=READINGS)

    def with_transforms(self, r: PhaseInputs, phase: str, seen: int, at: Progress) -> PhaseInputs:
        """The inputs of a phase, and the transforms of the images that D∘E is shown."""
        cfg, p = self._cfg, self._state.augment_p
        if cfg.mode == "none" or not isinstance(r, StyleInputs):
            return r
        t = (self._inputs.transforms(f"{phase}/{x}", seen, at, cfg, p) for x in ("real", "fake"))
        return replace(r, t=next(t), t_fake=next(t), warped=bool(cfg.warps))

    def measure_if_due(self, seen: int, x: Tensor, at: Progress) -> None:
        """Adapts p and logs the mean sign and logit of D∘E, each if its interval has passed.

        x is this rank's share of the images just trained on [n, C, R, R].
        """
        if self._nets is None:
            return
        cfg = self._cfg
        if cfg.mode == "adaptive" and due(seen, cfg.every_img, at.batch):
            t = self._inputs.transforms("watch", seen, at, cfg, self._state.augment_p)
            sign, _ = self._read(self._nets, transformed(x, t, warped=bool(cfg.warps)), at)
            self._log.note("augment/real_sign", sign)
            step = max(cfg.every_img, at.batch) / cfg.rise_img
            p = self._state.augment_p + step * ((sign > cfg.target) - (sign < cfg.target))
            self._state.augment_p = min(max(p, 0.0), MAX_P)
        if due(seen, self._every_img, at.batch) or seen >= self._log.span[1]:
            self._note(self._nets, seen, x, at)

    def _note(self, nets: AlaeNetworks, seen: int, x: Tensor, at: Progress) -> None:
        sign, logit = self._read(nets, x, at)
        self._log.note("critic/real_sign", sign)
        self._log.note("augment/p", self._state.augment_p)
        if not self._held_out:
            return
        ids = (seen + np.arange(at.batch)[self._inputs.mine]) % self._held_out
        held_out = on_device(self._dataset.take(HELD_OUT, ids), at.alpha, self._world.device)
        other_sign, other_logit = self._read(nets, held_out, at)
        self._sign_gaps.append(sign - other_sign)
        self._log.note("critic/held_out_sign", other_sign)
        self._log.note("critic/gap", logit - other_logit)
        self._log.sign_gap = sum(self._sign_gaps) / READINGS

    @torch.no_grad()
    def _read(self, nets: AlaeNetworks, x: Tensor, at: Progress) -> tuple[float, float]:
        """The mean sign and the mean of D(E(x)) over the ranks.  Collective."""
        parts = torch.split(x, self._state.engine.micro)
        logits = torch.cat([nets.judge(part, at) for part in parts])
        sums = self._world.mean([float(logits.sign().sum()), float(logits.sum())])
        sign, logit = (s / len(x) for s in sums)
        return sign, logit
