"""Networks on tensors without content ("meta"): sizes are known, and nothing is computed."""

from collections.abc import Iterable

import torch
from torch import nn

from stylealae.config import ShapeConfig
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.schedule import Growth, Progress

__all__ = ["at_work", "freeze_all_but", "networks_of", "numbers", "progress_of"]


def networks_of(family: str, model: ShapeConfig) -> NetworkGroup:
    """Fresh networks of a family's shape."""
    with torch.device("meta"):
        nets: NetworkGroup = FAMILIES[family].build(model)
    return nets


def progress_of(stage: int, n: int) -> Progress:
    """A stage whose newest block is half faded in, at n images a batch."""
    return Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=n, lr=0.0)


def at_work(nets: NetworkGroup, networks: Iterable[str], at: Growth) -> list[nn.Parameter]:
    """The parameters of some of the networks that are at work at a growth."""
    return [p for network in networks for p in nets.grown(network, at)]


def freeze_all_but(nets: NetworkGroup, trained: str, at: Growth) -> None:
    """Has the parameters of the trained networks alone take gradients."""
    for network in nets.networks:
        for p in nets.grown(network, at):
            p.requires_grad_(network in trained)


def numbers(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers parameters hold."""
    return sum(p.numel() for p in parameters)
