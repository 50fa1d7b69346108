"""The registry: a family is a folder and a name, complete, and its config imports no torch."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from stylealae import capabilities, families
from stylealae.capabilities import (
    Autoencodes,
    Classifies,
    Flattens,
    Generates,
    Model,
    Reconstructs,
    Reduces,
    TakesClasses,
    Unmaps,
)
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES, NAMES, sections
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "resolution": 32, "channels": 1, "z_width": 8, "w_width": 8, "start_channels": 4,
    "max_channels": 8, "mapping_layers": 2, "hidden": 16, "critic_hidden": 16,
}  # fmt: skip
"""Of these the keys that a family has."""
CODES = {Flattens, Generates, Reconstructs, Autoencodes}
CAPABILITIES: dict[str, set[type]] = {
    "stylealae": {Generates, Reconstructs, Unmaps},
    "stylealae_separate": {Generates, Reconstructs, Unmaps},
    "alae": {Flattens, Generates, Reconstructs, Unmaps},
    "aae_supervised": {*CODES, TakesClasses},
    "aae_classes": {*CODES, Classifies},
    "aae_heads": {*CODES, Classifies, Reduces},
    "gan": {Flattens, Generates},
}
"""Of families that are no autoencoders of CODES alone."""


def small(name: str) -> Any:
    """A family's model config, of few and small layers."""
    section = sections(name).model
    return section(**{f.name: SMALL[f.name] for f in fields(section) if f.name in SMALL})


def model(name: str) -> Model:
    """A model of fresh networks."""
    family, shape = FAMILIES[name], small(name)
    nets = family.build(shape)
    return family.model(nets, nets.means(), shape, stage=3, seen=10)


def test_every_folder_is_a_family_but_what_they_have_in_common() -> None:
    folders = {path.parent.name for path in Path(families.__path__[0]).glob("*/__init__.py")}
    assert folders == {*NAMES, "common"}


@pytest.mark.parametrize("name", NAMES)
def test_a_familys_config_is_the_one_that_is_read_without_torch(name: str) -> None:
    assert FAMILIES[name].sections is sections(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_families_has_it(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "docs" / "family.md").read_text()


def test_configs_of_all_families_are_read_without_torch() -> None:
    code = (
        "import sys\nfrom stylealae.families import NAMES, sections\n"
        "for name in NAMES: sections(name).model(), sections(name).loss()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'aee' is none of 'stylealae', .*'gan': change family"):
        sections("aee")
    with pytest.raises(KeyError):
        FAMILIES["common"]


def test_the_old_module_still_loads() -> None:
    from stylealae import family

    assert family.load is families.load
    assert family.FAMILIES is FAMILIES


@pytest.mark.parametrize("name", ["alae", "vae", "gan", "stylealae_separate"])
def test_where_the_weights_are_from_stays_with_them(name: str, tmp_path: Path) -> None:
    family, shape = FAMILIES[name], small(name)
    nets = family.build(shape)
    m = family.model(nets, nets.means(), shape, stage=3, seen=0)
    m.save(tmp_path)
    assert "Trained on" not in (tmp_path / "README.md").read_text()
    m.save(tmp_path, origin="Found in a drawer.")
    families.load(tmp_path).save(tmp_path)
    assert "Found in a drawer." in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_the_capabilities_of_its_family(name: str) -> None:
    m = model(name)
    has = {kind for kind in capabilities.CAPABILITIES if isinstance(m, kind)}
    assert has == CAPABILITIES.get(name, CODES)
    assert m.family == name
    assert m.sample(2, seed=1).shape == (2, 1, 32, 32)


def phases_and_losses(name: str) -> Iterator[tuple[AnyPhase, Any]]:
    """Every phase of a family, with a call that computes its loss."""
    family = FAMILIES[name]
    shape, cfg = small(name), family.sections.loss()
    nets, at = family.build(shape), Progress(stage=3, alpha=1.0, batch=4, lr=0.1)
    x, labels = torch.rand(4, 1, 32, 32) * 2 - 1, torch.arange(4)
    sampler = family.sampler(
        shape, cfg, seed=0, mine=slice(0, 4), device=x.device,
        labelled=(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), labels),
    )  # fmt: skip
    for phase in family.phases(cfg, 0):
        r = sampler.draw(phase.name, 0, at, labels)
        yield phase, lambda phase=phase, r=r: phase.loss(nets, x, r, at, cfg)


@pytest.mark.parametrize("name", NAMES)
def test_a_phase_says_whether_it_takes_second_derivatives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[bool] = []
    grad = torch.autograd.grad

    def noted(*given: Any, create_graph: bool = False, **more: Any) -> Any:
        created.append(create_graph)
        return grad(*given, create_graph=create_graph, **more)

    monkeypatch.setattr(torch.autograd, "grad", noted)
    for phase, loss in phases_and_losses(name):
        created.clear()
        loss()
        assert phase.double_backward == any(created), phase.name
