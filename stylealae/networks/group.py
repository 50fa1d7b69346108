"""What the trainer asks of the networks of any family: their names, what has grown of each."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from stylealae.schedule import Growth

__all__ = ["AlaeNetworks", "NetworkGroup"]


class NetworkGroup(nn.Module):
    """Networks that are trained together; `networks = "EGD"` has the attributes E, G and D.

    By default nothing grows and nothing is recomputed; a family that does so says how.
    """

    networks: ClassVar[str]

    def grown(self, network: str, at: Growth) -> Iterator[nn.Parameter]:
        """The parameters of one network that are at work at this growth."""
        net: nn.Module = getattr(self, network)
        yield from net.parameters()

    def at_resolution(self, network: str, stage: int) -> Iterator[nn.Parameter]:
        """The parameters of one network that belong to one resolution; none if it does not grow."""
        return iter(())

    def recompute_from(self, resolution: int) -> None:
        """From this resolution up, blocks keep no activations for the backward pass; 0: none do."""

    def means(self) -> dict[str, Tensor]:
        """What is averaged beside the weights, before the first iteration."""
        return {}

    def observed(self, z: Tensor) -> dict[str, Tensor]:
        """The same, estimated from prior samples z.  [N, Z] -> by name"""
        return {}

    def running(self) -> list[Tensor]:
        """Buffers that training moves and that are saved: the statistics of batch norms."""
        saved, trained = self.state_dict(keep_vars=True), set(self.parameters())
        return [t for t in saved.values() if t not in trained and t.is_floating_point()]


class AlaeNetworks(NetworkGroup):
    """ALAE's four, of whatever layers.  F: z -> w, G: w -> x, E: x -> w, D: w -> logit.

    Legend: N batch, C channels, R resolution.
    """

    networks = "FGED"
    F: nn.Module
    G: nn.Module
    E: nn.Module
    D: nn.Module

    def judge(self, x: Tensor, at: Growth) -> Tensor:
        """The critic's logit of "this image is real": D(E(x)).  [N, C, R, R] -> [N]"""
        logit: Tensor = self.D(self.E(x, at))
        return logit

    def with_features(self, x: Tensor, at: Growth) -> tuple[Tensor, list[Tensor]]:
        """E(x), and what E sees in x: tensors that are alike where images are.  Here w itself.

        [N, C, R, R] -> [N, W], some of [N, ...]
        """
        w: Tensor = self.E(x, at)
        return w, [w]
