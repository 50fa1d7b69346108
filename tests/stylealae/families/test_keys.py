"""A family has the keys that it reads: building, training and sampling ask for each of them."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from typing import Any, get_args, get_type_hints

import pytest
import torch

from stylealae.config import LossConfig, without_retired
from stylealae.families import FAMILIES, NAMES, sections
from stylealae.schedule import Progress

SMALL: dict[str, Any] = {
    "resolution": 32, "channels": 1, "z_width": 8, "w_width": 8, "start_channels": 4,
    "max_channels": 8, "mapping_layers": 2, "hidden": 16, "critic_hidden": 16, "pseudo_inputs": 3,
}  # fmt: skip
TERMS: dict[str, Any] = {
    "likeness_rate": 1.0, "likeness_structure": 0.5, "likeness_features": 1.0,
    "likeness_prior": 1.0, "smoothness_weight": 1.0, "class_noise": 0.1,
}  # fmt: skip
"""What is off by default."""
AFTER_TRAINING = {"prior_img", "recover_img"}
"""Keys of LossConfig that the trainer reads when the last stage ends."""


def names(section: type) -> set[str]:
    """The keys of a section."""
    return {field.name for field in fields(section)}


def of(section: type, wanted: dict[str, Any]) -> Any:
    """A section with those of some values that it has keys for."""
    return section(**{key: value for key, value in wanted.items() if key in names(section)})


def variants(name: str) -> Iterator[tuple[Any, Any]]:
    """Both sections of a family: in every form of layers and posterior, merged and apart."""
    model, loss = sections(name)
    hints = get_type_hints(model)
    forms = [
        {"layers": layers, "posterior": posterior}
        for layers in get_args(hints.get("layers")) or ("",)
        for posterior in get_args(hints.get("posterior")) or ("",)
    ]
    merged = (False, True) if "merged" in names(loss) and "separate" not in name else (False,)
    for form, once in product(forms, merged):
        yield of(model, SMALL | form), of(loss, TERMS | {"merged": once})


def use(name: str, model: Any, loss: Any) -> None:
    """Builds a family's networks, computes the loss of every phase, and samples."""
    family, at = FAMILIES[name], Progress(stage=3, alpha=1.0, batch=4, lr=0.1)
    nets = family.build(model)
    x, labels = torch.rand(4, 1, 32, 32) * 2 - 1, torch.arange(4)
    sampler = family.sampler(
        model, loss, seed=0, mine=slice(0, 4), device=x.device,
        labelled=(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), labels),
    )  # fmt: skip
    for phase in family.phases(loss, 0):
        phase.loss(nets, x, sampler.draw(phase.name, 0, at, labels), at, loss)
    family.model(nets, nets.means(), model, stage=3, seen=10).sample(2, seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_reads_every_key_that_it_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, read = list(variants(name)), set()

    def noted(self: Any, key: str) -> Any:
        read.add((type(self), key))
        return object.__getattribute__(self, key)

    for section in sections(name):
        monkeypatch.setattr(section, "__getattribute__", noted, raising=False)
    for model, loss in cases:
        use(name, model, loss)
    monkeypatch.undo()
    for section in sections(name):
        idle = names(section) - {key for kind, key in read if kind is section}
        assert idle - (AFTER_TRAINING if issubclass(section, LossConfig) else set()) == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_key_of_a_family_is_taken_for_a_retired_one(name: str) -> None:
    for section in sections(name):
        saved = {**dict.fromkeys(names(section)), "posterior_std": 0.2, "newer": 1}
        kept = without_retired(section, saved)
        assert names(section) | {"newer"} <= {*kept}
        assert {*kept} <= names(section) | {"newer", *({"posterior_std"} - section.retired)}
