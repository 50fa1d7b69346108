"""StyleALAE's networks, and convolutions of the critic's own."""

from collections.abc import Iterator

from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.networks import Networks
from stylealae.networks.encoder import Encoder
from stylealae.ops.layers import NEVER
from stylealae.schedule import Growth

__all__ = ["SeparateNetworks"]


class SeparateNetworks(Networks):
    """F: z -> w, G: w -> x, E: x -> w; C of E's layers, and D of what C gives: x -> logit."""

    networks = "FGEDC"

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__(cfg)
        self.C = Encoder(cfg)

    def judge(self, x: Tensor, at: Growth) -> Tensor:
        """The logit of "this image is real": D(C(x)).  [N, C, R, R] -> [N]"""
        logit: Tensor = self.D(self.C(x, at))
        return logit

    def recompute_from(self, resolution: int) -> None:
        """From this resolution up, blocks keep no activations for the backward pass; 0: none do."""
        super().recompute_from(resolution)
        self.C.recompute_from = resolution or NEVER

    def grown(self, network: str, at: Growth) -> Iterator[nn.Parameter]:
        """The parameters of one network that are at work at this growth."""
        if network != "C":
            yield from super().grown(network, at)
            return
        for part in self.C.grown(at):
            yield from part.parameters()

    def at_resolution(self, network: str, stage: int) -> Iterator[nn.Parameter]:
        """The block of C, E or G at one resolution, and its way from or to RGB."""
        if network != "C":
            yield from super().at_resolution(network, stage)
        elif stage < len(self.C.blocks):
            yield from self.C.blocks[stage].parameters()
            yield from self.C.from_rgb[stage].parameters()
