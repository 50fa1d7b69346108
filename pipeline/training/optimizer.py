"""Optimizers that step some networks at a time, and keep phases' moments of a network apart.

A parameter group is a network.  Before a step the engine gives each group its owner: the name of
whose moments the step goes by, or None for a network that is not updated.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from stylealae.config import OptimizerConfig

__all__ = ["KINDS", "Adam", "ByNetwork", "Sgd"]


class ByNetwork(torch.optim.Optimizer):
    """What Adam and SGD have in common here: a network's moments, one set for each owner.

    Not a subclass of torch's own, whose `step` and `add_param_group` load torch's compiler, a
    second and more of every process's start; torch's functions for the arithmetic do not.
    """

    moments: tuple[str, ...] = ()
    """What torch calls the state that has a parameter's shape."""
    counts: tuple[str, ...] = ()
    """What it calls the numbers beside it."""
    grad_scale: Tensor | None = None
    """What the gradients are to be divided by; None is 1."""
    found_inf: Tensor | None = None
    """1 where the next step is to be skipped, for the gradients are not finite."""

    def __init__(self, held: Iterable[Sequence[Tensor]], cfg: OptimizerConfig) -> None:
        """A group for each sequence of tensors; none has an owner, so `step` leaves all alone."""
        super().__init__([{"params": list(p), "owner": None} for p in held], {"lr": 1.0})
        self.cfg = cfg

    def add_param_group(self, param_group: dict[str, object]) -> None:
        """As torch does, without its compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of the groups that have an owner; the others' moments and counts stay."""
        for group in self.param_groups:
            owner = group["owner"]
            params = [p for p in group["params"] if p.grad is not None]
            if owner is not None and params:
                names = (owned(owner, name) for name in self.moments + self.counts)
                state = [[self.state[p][name] for p in params] for name in names]
                self.update(params, [p.grad for p in params], *state, lr=group["lr"])

    def update(
        self, params: list[Tensor], grads: list[Tensor], *state: list[Tensor], lr: float
    ) -> None:
        """Moves the parameters; a list for each of `moments` and `counts` is what they go by."""
        raise NotImplementedError

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


class Adam(ByNetwork):
    """Adam, fused."""

    moments, counts = ("exp_avg", "exp_avg_sq"), ("step",)

    def update(
        self, params: list[Tensor], grads: list[Tensor], *state: list[Tensor], lr: float
    ) -> None:
        """One step of torch's Adam."""
        exp_avgs, exp_avg_sqs, steps = state
        adam(
            params, grads, exp_avgs, exp_avg_sqs, [], steps,
            fused=True, amsgrad=False, maximize=False, lr=lr, beta1=self.cfg.betas[0],
            beta2=self.cfg.betas[1], eps=self.cfg.eps, weight_decay=self.cfg.weight_decay,
            grad_scale=self.grad_scale, found_inf=self.found_inf,
        )  # fmt: skip


class Sgd(ByNetwork):
    """Stochastic gradient descent with momentum, fused."""

    moments = ("momentum_buffer",)

    def update(
        self, params: list[Tensor], grads: list[Tensor], *state: list[Tensor], lr: float
    ) -> None:
        """One step of torch's SGD."""
        (buffers,) = state
        sgd(
            params, grads, list(buffers),
            fused=True, maximize=False, nesterov=False, dampening=0.0, lr=lr,
            momentum=self.cfg.momentum, weight_decay=self.cfg.weight_decay,
            grad_scale=self.grad_scale, found_inf=self.found_inf,
        )  # fmt: skip


KINDS = {"adam": Adam, "sgd": Sgd}


def owned(owner: str, name: str) -> str:
    """What an owner's moment is called: the shared one goes by its own name."""
    return f"{owner}:{name}" if owner else name
