"""The module that an engine wraps: networks whose forward pass is the loss of a phase."""

import torch
from torch import Tensor, nn

from pipeline.arithmetic import half_of
from stylealae.config import TermsConfig
from stylealae.networks.group import NetworkGroup
from stylealae.phase_inputs import PhaseInputs
from stylealae.phases import AnyPhase, AnySharing
from stylealae.schedule import Growth

__all__ = ["PhaseLoss"]


class PhaseLoss(nn.Module):
    """What DeepSpeed wraps: the networks, whose forward is a phase's loss.

    The autocast is ours: DeepSpeed's own (0.19.8) is a state of the process, so that an engine in
    float32 after one in float16 scales its losses too, and its scaler never recovers from the first
    overflow at ZeRO 1 to 3.
    """

    def __init__(
        self, nets: NetworkGroup, cfg: TermsConfig, precision: str, device: torch.device
    ) -> None:
        super().__init__()
        self.nets = nets
        self.cfg = cfg
        self.dtype = half_of(precision, device)

    def forward(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Growth) -> Tensor:
        """The loss of one phase on one micro-batch.  -> []"""
        with self.autocast(x):
            return phase.loss(self.nets, x, r, at, self.cfg)

    def shared(self, sharing: AnySharing, x: Tensor) -> Tensor | None:
        """What phases in a row have in common.  -> [N, ...], None if that is nothing"""
        with self.autocast(x):
            return sharing.of(self.nets, x, self.cfg)

    def autocast(self, x: Tensor) -> torch.autocast:
        """Half precision where the config and the device have it."""
        return torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not None)
