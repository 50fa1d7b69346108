"""Which part of the weights and moments a rank updates: all of it, or what DeepSpeed's ZeRO says.

`sharding.py` has the third: ZeRO 1, the default.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as fn
from torch import Tensor, nn

from pipeline.config.sections import EngineConfig
from pipeline.training.optimizer import ByNetwork
from pipeline.world import World

__all__ = ["ByDeepSpeed", "Partition"]

NetworkParams = Mapping[str, list[nn.Parameter]]
"""The parameters of every network, as far as it has grown, by group (groups.py)."""


class Partition:
    """Every rank updates everything: ZeRO 0, and what the other stages have in common."""

    def __init__(self, params: NetworkParams) -> None:
        self.params = params
        self.optimizer: ByNetwork

    def held(self, network: str) -> list[Tensor]:
        """The tensors that this rank updates for a network: its parameters, or pieces of them."""
        return list(self.params[network])

    def attach(self, optimizer: ByNetwork, engine: Any) -> None:
        """Takes the optimizer of what is held, and DeepSpeed's engine."""
        self.optimizer = optimizer

    def link(self) -> None:
        """Called once the optimizer has created its moments."""

    def begin(self, trained: Sequence[str]) -> None:
        """Called before a phase that trains these networks."""

    def reduce_from_here(self) -> None:
        """Called before the last backward pass of a phase: finished gradients may be averaged."""

    def reduced(self) -> None:
        """Waits until the gradients of the held tensors are averaged over the ranks."""

    def gradients(self) -> list[Tensor]:
        """The averaged gradients of the held tensors."""
        held = (h for network in self.params for h in self.held(network))
        return [h.grad for h in held if h.grad is not None]

    def stepped(self) -> None:
        """Called after the optimizer's step: distributes the new weights to all ranks."""

    def moments(self, network: str, name: str) -> dict[nn.Parameter, Tensor]:
        """One moment of a network, whole, by parameter.  Collective."""
        return {p: self.optimizer.state[p][name] for p in self.params[network]}

    def set_moments(self, network: str, name: str, values: dict[nn.Parameter, Tensor]) -> None:
        """Takes over what `moments` gave, each rank its part.  Collective."""
        for p, value in values.items():
            self.optimizer.state[p][name].copy_(value)

    def close(self) -> None:
        """Leaves the parameters alone."""


class ByDeepSpeed(Partition):
    """DeepSpeed's ZeRO 2 and 3, and 1 with offload: a flat piece of every network, or several."""

    def __init__(self, params: NetworkParams, utils: Any, cfg: EngineConfig, world: World) -> None:
        super().__init__(params)
        self._utils, self._world = utils, world  # utils: deepspeed.utils
        self._stage, self._offload = cfg.zero_stage, cfg.offload
        self._zero: Any = None

    def held(self, network: str) -> list[Tensor]:
        """Its parameters until DeepSpeed has made its pieces, then these."""
        if self._zero is None:
            return super().held(network)
        number = list(self.params).index(network)
        if self._stage < 3:
            return list(self.optimizer.param_groups[number]["params"])
        pieces = enumerate(self._zero.fp32_partitioned_groups_flat)
        return [flat for i, flat in pieces if self._zero.sub_group_to_group_id[i] == number]

    def attach(self, optimizer: ByNetwork, engine: Any) -> None:
        """Takes the optimizer, whose groups hold DeepSpeed's pieces by now."""
        super().attach(optimizer, engine)
        self._zero = engine.optimizer

    def link(self) -> None:
        """Tells DeepSpeed of the moments, once the optimizer has them."""
        if self._stage < 3:
            self._zero._lazy_init_hp_params_optimizer_state()

    def begin(self, trained: Sequence[str]) -> None:
        """Offload keeps the last gradient, and would apply it again to what gets none."""
        if self._offload:
            for grad in self.gradients():
                grad.zero_()

    def gradients(self) -> list[Tensor]:
        """The averaged gradients: DeepSpeed puts them into its pieces only at the step."""
        if self._offload:
            return super().gradients()
        groups = self._zero.averaged_gradients.values()
        return [grad for group in groups if group is not None for grad in group]

    def moments(self, network: str, name: str) -> dict[nn.Parameter, Tensor]:
        """One moment of a network, whole, by parameter.  Collective."""
        return {p: self._utils.safe_get_full_optimizer_state(p, name) for p in self.params[network]}

    def set_moments(self, network: str, name: str, values: dict[nn.Parameter, Tensor]) -> None:
        """Takes over what `moments` gave, each rank its part.  Collective."""
        for p, value in values.items():
            if self._stage < 3:
                self._utils.safe_set_full_optimizer_state(p, value.to(p.device), name)
            else:  # the full form fails for a slice that is nothing but padding
                slices: Any = p
                n, rank = slices.ds_tensor.numel(), self._world.rank
                padded = fn.pad(value.flatten(), (0, n * self._world.size - value.numel()))
                mine = padded[rank * n : (rank + 1) * n].to(p.device)
                self._utils.safe_set_local_optimizer_state(p, mine, name)
