"""A model family is networks, phases and a config; the trainer knows no more of it than this.

A new one needs its sections in config_mlp.py (or beside them), its networks, its phases, and a line
in FAMILIES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylealae.api import StyleALAE
from stylealae.api_mlp import AlaeMlpModel, ClassModel, CodeModel, GanModel, HeadsModel, MlpModel
from stylealae.errors import CheckpointError
from stylealae.interop import snapshot
from stylealae.networks import Networks
from stylealae.networks.alae_mlp import AlaeMlp
from stylealae.networks.group import Lettered
from stylealae.networks.mlp import (
    Aae,
    Autoencoder,
    ClassAae,
    Gan,
    HeadsAae,
    InformedAae,
    SupervisedAae,
)
from stylealae.phase_inputs import Chance, CodeChance, MlpChance
from stylealae.phases import Phase, phases_of
from stylealae.phases_aae import (
    aae_phases,
    autoencoder_phases,
    class_phases,
    gan_phases,
    heads_phases,
    vae_phases,
)
from stylealae.priors import PRIORS

__all__ = ["FAMILIES", "Family", "Model", "load"]

Model = StyleALAE | MlpModel
"""A trained model of any family."""
Means = dict[str, Tensor]
"""What is averaged beside the weights."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What makes a family; `Any` stands for its own config classes."""

    networks: Callable[[Any], Lettered]
    """Model config -> networks, at weights drawn from torch's generator."""
    phases: Callable[[Any, int], tuple[Phase, ...]]
    """Loss config, iteration -> the phases in their order."""
    chance: Callable[..., Chance]
    """Model config, loss config and what `Chance` is made of -> where draws come from."""
    model: Callable[..., Model]
    """Networks, `means`, model config, stage, seen -> the trained model."""

    def build(self, cfg: Any, seed: int = 0) -> Lettered:
        """Fresh networks, keyed by the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.networks(cfg)


def _styles(model: Any, loss: Any, *, labelled: Any, **common: Any) -> Chance:
    return Chance(z_width=model.z_width, mixing_prob=loss.mixing_prob, **common)


def _one_style(model: Any, loss: Any, *, labelled: Any, **common: Any) -> Chance:
    return MlpChance(z_width=model.z_width, **common)


def _codes(model: Any, loss: Any, **common: Any) -> Chance:
    prior = PRIORS[model.prior](model.z_width, model.prior_scale)
    return CodeChance(z_width=model.z_width, prior=prior, **common)


def _classes(model: Any, loss: Any, **common: Any) -> Chance:
    prior = PRIORS[model.prior](model.z_width, model.prior_scale)
    return CodeChance(
        z_width=model.z_width, prior=prior, classes=model.classes,
        class_shares=model.class_shares, labelled_batch=loss.labelled_batch, **common,
    )  # fmt: skip


def _style_alae(nets: Any, means: Means, model: Any, **about: Any) -> StyleALAE:
    return StyleALAE(nets, model, means["w_mean"], **about)


def _mlp(family: str, kind: type[MlpModel]) -> Callable[..., MlpModel]:
    def model(nets: Any, means: Means, model: Any, **about: Any) -> MlpModel:
        return kind(family, nets, model, **about)

    return model


def _aae(name: str, networks: Any, phases: Any) -> Family:
    return Family(networks=networks, phases=phases, chance=_codes, model=_mlp(name, CodeModel))


def _classed(name: str, networks: Any, phases: Any, kind: type[MlpModel]) -> Family:
    return Family(networks=networks, phases=phases, chance=_classes, model=_mlp(name, kind))


FAMILIES = {
    "stylealae": Family(networks=Networks, phases=phases_of, chance=_styles, model=_style_alae),
    "alae": Family(
        networks=AlaeMlp, phases=phases_of, chance=_one_style, model=_mlp("alae", AlaeMlpModel)
    ),
    "autoencoder": _aae("autoencoder", Autoencoder, autoencoder_phases),
    "aae": _aae("aae", Aae, aae_phases),
    "aae_informed": _aae("aae_informed", InformedAae, aae_phases),
    "aae_supervised": _aae("aae_supervised", SupervisedAae, aae_phases),
    "aae_classes": _classed("aae_classes", ClassAae, class_phases, ClassModel),
    "aae_heads": _classed("aae_heads", HeadsAae, heads_phases, HeadsModel),
    "vae": _aae("vae", Autoencoder, vae_phases),
    "gan": Family(networks=Gan, phases=gan_phases, chance=_codes, model=_mlp("gan", GanModel)),
}


def load(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """The model of a snapshot folder, of whatever family.

    Raises:
        CheckpointError: the folder is no snapshot, or one that is torn or of another format.
    """
    found = snapshot.read(Path(path), device)
    family, tensors = FAMILIES[found.family], dict(found.tensors)
    nets = family.build(found.model).to(device)
    try:
        means = {name: tensors.pop(name) for name in nets.means()}
        nets.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no whole snapshot: {error}") from error
    return family.model(nets, means, found.model, stage=found.stage, seen=found.seen)
