"""The four networks of StyleALAE, and how to build them from a config."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.networks.encoder import Encoder
from stylealae.networks.generator import Generator
from stylealae.networks.group import AlaeNetworks
from stylealae.networks.mapping import LatentDiscriminator, Mapping
from stylealae.ops.layers import NEVER
from stylealae.schedule import Growth

__all__ = ["Networks", "build"]


class Networks(AlaeNetworks):
    """F: z -> w, G: w -> x, E: x -> w, D: w -> logit; G and E grow."""

    F: Mapping
    G: Generator
    E: Encoder
    D: LatentDiscriminator

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.F = Mapping(cfg)
        self.G = Generator(cfg)
        self.E = Encoder(cfg)
        self.D = LatentDiscriminator(cfg)

    def recompute_from(self, resolution: int) -> None:
        """From this resolution up, blocks keep no activations for the backward pass; 0: none do."""
        self.G.recompute_from = self.E.recompute_from = resolution or NEVER

    def grown(self, network: str, at: Growth) -> Iterator[nn.Parameter]:
        """The parameters of one network that are at work at this growth."""
        net = getattr(self, network)
        parts = net.grown(at) if network in "GE" else [net]
        for part in parts:
            yield from part.parameters()

    def at_resolution(self, network: str, stage: int) -> Iterator[nn.Parameter]:
        """The block of E or G at one resolution, and its way from or to RGB."""
        if network in "GE" and stage < len(self.G.blocks):
            rgb = self.G.to_rgb if network == "G" else self.E.from_rgb
            yield from getattr(self, network).blocks[stage].parameters()
            yield from rgb[stage].parameters()

    def with_features(self, x: Tensor, at: Growth) -> tuple[Tensor, list[Tensor]]:
        """E(x), and the normalised features that leave each of E's blocks.

        [N, C, R, R] -> [N, W], stage + 1 of [N, C', R', R']
        """
        return self.E.with_features(x, at)

    def means(self) -> dict[str, Tensor]:
        """The mean style, which truncation wants: zeros [L, W]."""
        return {"w_mean": torch.zeros(self.G.layers, self.D.w_width)}

    def observed(self, z: Tensor) -> dict[str, Tensor]:
        """The mean style of z.  [N, Z] -> [W]"""
        return {"w_mean": self.F(z).float().mean(0)}


def build(cfg: ModelConfig, seed: int = 0) -> Networks:
    """Fresh networks: every weight N(0, 1) / lrmul, biases 0, keyed by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(cfg)
