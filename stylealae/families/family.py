"""What makes a family, as the trainer knows it: config, networks, phases, inputs, trained model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from stylealae.capabilities import Model
from stylealae.config import ShapeConfig, TermsConfig
from stylealae.families.sections import Sections
from stylealae.networks.group import NetworkGroup
from stylealae.phase_inputs import InputSampler, Labelled, PhaseInputs
from stylealae.phases import Phase

__all__ = ["AnyFamily", "Family", "MakesModel", "MakesSampler", "Means"]

Means = dict[str, Tensor]
"""What is averaged beside the weights, by name."""

N = TypeVar("N", bound=NetworkGroup)
R = TypeVar("R", bound=PhaseInputs)
M = TypeVar("M", bound=ShapeConfig)
L = TypeVar("L", bound=TermsConfig)
N_in = TypeVar("N_in", bound=NetworkGroup, contravariant=True)
R_out = TypeVar("R_out", bound=PhaseInputs, covariant=True)
M_in = TypeVar("M_in", bound=ShapeConfig, contravariant=True)
L_in = TypeVar("L_in", bound=TermsConfig, contravariant=True)


class MakesSampler(Protocol[M_in, L_in, R_out]):
    """Makes the sampler of one rank's phase inputs."""

    def __call__(
        self,
        model: M_in,
        loss: L_in,
        /,
        *,
        seed: int,
        mine: slice,
        device: torch.device,
        labelled: Labelled,
    ) -> InputSampler[R_out]:
        """From both configs, the run's seed, the rank's part of a batch, and labelled images."""
        ...


class MakesModel(Protocol[N_in, M_in]):
    """Makes a trained model of averaged networks."""

    def __call__(
        self, nets: N_in, means: Means, model: M_in, /, *, stage: int, seen: int, origin: str = ""
    ) -> Model:
        """From networks, what was averaged beside them, their config and where the run stands.

        `origin` is the sentence of a snapshot on where its weights are from.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Family(Generic[N, R, M, L]):
    """A model family: its networks N, phase inputs R, model config M and loss config L."""

    sections: Sections[M, L]
    """The classes of its config sections."""
    networks: Callable[[M], N]
    """Model config -> networks, at weights drawn from torch's generator."""
    phases: Callable[[L, int], tuple[Phase[N, R, L], ...]]
    """Loss config, iteration -> the phases in their order."""
    sampler: MakesSampler[M, L, R]
    """Both configs and the rank's place -> the sampler of its phase inputs."""
    model: MakesModel[N, M]
    """Networks and means -> the trained model."""

    def build(self, cfg: M, seed: int = 0) -> N:
        """Fresh networks, keyed by the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.networks(cfg)


AnyFamily: TypeAlias = Family[Any, Any, Any, Any]
"""A family that is known by name only; its config classes go together, whatever they are."""
