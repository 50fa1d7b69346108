"""The parameter groups of an engine: one a network, and apart what init.freeze keeps of it.

Layers that are not updated for a while have step counts of their own, and so a group: the optimizer
skips it whole, whichever part of it a rank holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import nn

from pipeline.config.layers import Layers
from stylealae.errors import ConfigError
from stylealae.networks.group import NetworkGroup
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress

__all__ = ["network_of", "parameter_groups", "trained_by"]

FROZEN = ".frozen"


def parameter_groups(
    nets: NetworkGroup, at: Progress, phases: Iterable[AnyPhase], kept: Mapping[str, Layers]
) -> dict[str, list[nn.Parameter]]:
    """What has grown of every network in this stage, by group; empty groups are left out.

    Args:
        nets: the networks.
        at: a moment of the stage.
        phases: what updates them.
        kept: layers that are not updated at first, by the entry of init.freeze that names them.

    Raises:
        ConfigError: init.freeze names layers that there are not, or all that a phase trains.
    """
    growth = replace(at, alpha=0.0) if at.stage else at  # the entrances that fade out included
    grown = {a: list(nets.grown(a, growth)) for a in nets.networks}
    if not kept:
        return grown
    frozen = {p for entry, layers in kept.items() for p in _parameters(nets, entry, layers)}
    groups: dict[str, list[nn.Parameter]] = {}
    for network, params in grown.items():
        groups[network] = [p for p in params if p not in frozen]
        groups[network + FROZEN] = [p for p in params if p in frozen]
    groups = {name: params for name, params in groups.items() if params}
    for phase in phases:
        if not trained_by(phase, groups, frozen=True):
            raise ConfigError(
                f"init.freeze is {list(kept)}, which leaves the phase {phase.name} "
                f"nothing to train: it updates {phase.trains}, leave some layers out"
            )
    return groups


def network_of(group: str) -> str:
    """The network that a group is of."""
    return group.removesuffix(FROZEN)


def trained_by(phase: AnyPhase, groups: Iterable[str], *, frozen: bool) -> list[str]:
    """The groups that a phase updates; `frozen` leaves out what init.freeze keeps."""
    return [
        group
        for group in groups
        if network_of(group) in phase.trains and not (frozen and group.endswith(FROZEN))
    ]


def _parameters(nets: NetworkGroup, entry: str, layers: Layers) -> list[nn.Parameter]:
    """The parameters of some layers, which an entry of init.freeze names."""
    if layers.network not in nets.networks:
        raise ConfigError(f"init.freeze has {entry}, and the networks are {nets.networks}")
    if layers.stages is None:
        return list(getattr(nets, layers.network).parameters())
    each = [list(nets.at_resolution(layers.network, stage)) for stage in layers.stages]
    if not all(each):
        raise ConfigError(
            f"init.freeze has {entry}, and {layers.network} has no layers of such a resolution: "
            f"name {layers.network} alone, or resolutions that G and E have"
        )
    return [p for params in each for p in params]
