"""Optimisers that step some letters at a time, and keep phases' moments of one letter apart.

A parameter group is a letter.  Before a step the engine gives each group its owner: the name of
whose moments the step goes by, or None for a letter that rests.

torch has its optimisers load its compiler: a second and more of every process's start.  Nothing is
compiled here, so what they wrap in that is called without.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from stylealae.config import OptimizerConfig

__all__ = ["KINDS", "Adam", "ByLetter", "Sgd"]


class ByLetter(torch.optim.Optimizer):
    """What Adam and SGD have in common here: a letter's moments, one set for each owner."""

    moments: tuple[str, ...] = ()
    """What torch calls the state that has a parameter's shape."""
    counts: tuple[str, ...] = ()
    """What it calls the numbers beside it."""
    torchs: type[torch.optim.Optimizer]
    """torch's own of this kind."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch does."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of the groups that have an owner; the others' moments and counts rest."""
        every, state = self.param_groups, self.state
        self.param_groups = [group for group in every if group["owner"] is not None]
        self.state = defaultdict(dict)
        for group in self.param_groups:
            for p in group["params"]:
                for name in self.moments + self.counts:
                    self.state[p][name] = state[p][owned(group["owner"], name)]
        try:
            return inspect.unwrap(self.torchs.step)(self, closure)
        finally:
            self.param_groups, self.state = every, state

    def create_state(self, held: Iterable[Tensor], owners: Iterable[str]) -> None:
        """Zero moments of what is updated, now: a masked first step would leave some without."""
        for p in held:
            for moment in self.moments_of(owners):
                self.state[p][moment] = torch.zeros_like(p)
            for count in self.counts_of(owners):
                self.state[p][count] = torch.zeros((), dtype=torch.float32, device=p.device)

    def moments_of(self, owners: Iterable[str]) -> Iterator[str]:
        """The names of all moments of these owners."""
        return (owned(owner, name) for owner in sorted(owners) for name in self.moments)

    def counts_of(self, owners: Iterable[str]) -> Iterator[str]:
        """The names of all step counts of these owners."""
        return (owned(owner, name) for owner in sorted(owners) for name in self.counts)


class Adam(ByLetter, torch.optim.Adam):
    """Adam, fused."""

    moments, counts = ("exp_avg", "exp_avg_sq"), ("step",)
    torchs = torch.optim.Adam

    def __init__(self, groups: Any, cfg: OptimizerConfig) -> None:
        super().__init__(
            groups, betas=cfg.betas, eps=cfg.eps, weight_decay=cfg.weight_decay, fused=True
        )


class Sgd(ByLetter, torch.optim.SGD):
    """Stochastic gradient descent with momentum, fused."""

    moments = ("momentum_buffer",)
    torchs = torch.optim.SGD

    def __init__(self, groups: Any, cfg: OptimizerConfig) -> None:
        super().__init__(
            groups, lr=1.0, momentum=cfg.momentum, weight_decay=cfg.weight_decay, fused=True
        )


KINDS = {"adam": Adam, "sgd": Sgd}


def owned(owner: str, name: str) -> str:
    """What an owner's moment is called: the shared one goes by its own name."""
    return f"{owner}:{name}" if owner else name
