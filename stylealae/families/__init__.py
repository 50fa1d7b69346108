"""The model families by name; each is a folder here that exports one `Family`.

A new one is a folder and a name in NAMES.  Its `config.py` says which keys its config has, its
`family.py` holds the Family; both are imported when the name is first asked for, and the first
imports no torch: a config is read, checked and printed without.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stylealae.config import ShapeConfig, TermsConfig
from stylealae.errors import ConfigError
from stylealae.families.sections import Sections

if TYPE_CHECKING:
    import torch

    from stylealae.capabilities import Model
    from stylealae.families.family import AnyFamily

__all__ = ["FAMILIES", "NAMES", "load", "sections"]

NAMES = (
    "stylealae",
    "stylealae_separate",
    "alae",
    "autoencoder",
    "aae",
    "aae_informed",
    "aae_supervised",
    "aae_classes",
    "aae_heads",
    "vae",
    "factor_vae",
    "vamp_vae",
    "intro_vae",
    "soft_intro_vae",
    "wae",
    "vae_gan",
    "ali",
    "age",
    "gan",
)
"""Every family, by its folder."""


def sections(name: str) -> Sections[ShapeConfig, TermsConfig]:
    """The classes of a family's config sections `model` and `loss`.

    Raises:
        ConfigError: no family has that name.
    """
    if name not in NAMES:
        known = ", ".join(map(repr, NAMES))
        raise ConfigError(f"{name!r} is none of {known}: change family")
    module = import_module(f"{__name__}.{name}.config")
    return cast(Sections[ShapeConfig, TermsConfig], module.SECTIONS)


class _Families(Mapping[str, "AnyFamily"]):
    """Imports a family when it is looked up."""

    def __getitem__(self, name: str) -> "AnyFamily":
        if name not in NAMES:
            raise KeyError(name)
        return cast("AnyFamily", import_module(f"{__name__}.{name}.family").FAMILY)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


FAMILIES = _Families()
"""The families by name."""


def load(path: str | Path, device: "str | torch.device" = "cpu") -> "Model":
    """The model of a snapshot folder, of whatever family.

    Raises:
        CheckpointError: the folder is no snapshot, or one that is torn, of another format or not
            finite.
    """
    from stylealae.interop import snapshot

    found = snapshot.read(
        Path(path), lambda name: sections(name).model, lambda name, cfg: FAMILIES[name].build(cfg),
        device,
    )  # fmt: skip
    family, tensors = FAMILIES[found.family], dict(found.tensors)
    nets = family.build(found.model).to(device)
    means = {name: tensors.pop(name) for name in nets.means()}
    nets.load_state_dict(tensors)
    return family.model(
        nets, means, found.model, stage=found.stage, seen=found.seen, origin=found.origin
    )
