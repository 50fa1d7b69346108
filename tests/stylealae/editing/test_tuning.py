"""Tuning G to a person: pictures come nearer, the file says all, other generators refuse it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.refinement import psnr
from stylealae.editing.tuning import Tuned, Tuning
from stylealae.errors import CheckpointError, ConfigError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


def model(seed: int = 1, stage: int = 2) -> StyleALAE:
    return StyleALAE(build(SMALL, seed), SMALL, torch.zeros(6, 8), stage=stage)


@pytest.fixture(scope="module")
def person() -> tuple[Tensor, Tensor]:
    """Images that another G drew, and this one's refined styles for them."""
    x = model(2).sample(2, seed=3)
    return x, model().refine(x, 20).w


@pytest.fixture(scope="module")
def tuned(person: tuple[Tensor, Tensor]) -> Tuned:
    return model().tune(*person, 30, names=["me", "you"])


def test_pictures_come_nearer_and_the_model_stays(person: tuple[Tensor, Tensor], tuned: Tuned):
    x, w = person
    m, steps = model(), []
    weights = {k: v.clone() for k, v in m.nets.state_dict().items()}
    again = m.tune(x, w, 30, names=["me", "you"], report=steps.append)
    assert steps == list(range(1, 31))
    assert all(torch.equal(v, weights[k]) for k, v in m.nets.state_dict().items())
    for name, factor in tuned.tuning.difference.items():
        assert torch.equal(again.tuning.difference[name], factor)
    assert torch.allclose(tuned.before_db, psnr(x, m.generate(w, noise=False)), atol=1e-3)
    mine = m.tuned(tuned.tuning)
    assert torch.allclose(tuned.after_db, psnr(x, mine.generate(w, noise=False)), atol=1e-3)
    assert (tuned.after_db - tuned.before_db).min() > 1
    assert torch.equal(mine.encode(x), m.encode(x))


def test_what_is_added_is_of_low_rank_and_the_file_is_small(tuned: Tuned, tmp_path: Path):
    before, after = model().nets.G, model().tuned(tuned.tuning).nets.G
    moved = dict(after.named_parameters())
    for name, p in before.named_parameters():
        if p.ndim == 4 and min(len(p), p[0].numel()) > 4:
            assert torch.linalg.matrix_rank((moved[name] - p).flatten(1), atol=1e-5) <= 4
        if "noise" in name:
            assert torch.equal(moved[name], p)
    tuned.tuning.save(tmp_path / "me.safetensors")
    whole = sum(p.numel() for p in before.parameters()) * 4
    assert sum(t.numel() for t in tuned.tuning.difference.values()) * 2 < whole / 2


def test_samples_far_from_the_person_change_less_the_heavier_locality_weighs(
    person: tuple[Tensor, Tensor], tuned: Tuned
):
    m = model()
    free, held = (m.tune(*person, 30, locality=weight) for weight in (0.0, 10.0))
    assert free.far_db < tuned.far_db < held.far_db
    z = m.latents(64, torch.Generator().manual_seed(5))
    samples = psnr(m.images(z), m.tuned(held.tuning).images(z)).mean()
    assert float(samples) == pytest.approx(held.far_db, abs=2)  # of other samples than these


def test_a_file_is_what_was_saved(tuned: Tuned, person: tuple[Tensor, Tensor], tmp_path: Path):
    tuned.tuning.save(tmp_path / "me.safetensors")
    found = Tuning.load(tmp_path / "me.safetensors")
    assert found.names == ("me", "you")
    assert torch.equal(found.w, person[1])
    here, there = (model().tuned(t) for t in (tuned.tuning, str(tmp_path / "me.safetensors")))
    assert torch.equal(here.generate(found.w, noise=False), there.generate(found.w, noise=False))


def test_another_generator_and_another_file_are_refused(tuned: Tuned, tmp_path: Path):
    with pytest.raises(ConfigError, match="use the snapshot that was tuned"):
        model(2).tuned(tuned.tuning)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is no tuning of a person"):
        model().tuned(tmp_path / "torn.safetensors")
    replace(tuned.tuning, w=tuned.tuning.w * float("nan")).save(tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        model().tuned(tmp_path / "nan.safetensors")
    with pytest.raises(ConfigError, match="steps is -1"):
        model().tune(model().sample(1), tuned.tuning.w[:1], -1)


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        ("[" * 100_000, {}),
        ("7", {}),
        ("[]", {"blocks.9.bias": torch.zeros(3)}),
        ("[]", {"blocks.0.const": torch.zeros(3)}),
        ("[]", {"blocks.1.conv_1.weight.left": torch.zeros(8, 4)}),
        ("[]", {  # a product of 40 GB, from a file of 400 KB
            "blocks.1.conv_1.weight.left": torch.zeros(100_000, 1).half(),
            "blocks.1.conv_1.weight.right": torch.zeros(1, 100_000).half(),
        }),
        ("[]", {
            "blocks.1.conv_1.weight.left": torch.tensor(0.0),
            "blocks.1.conv_1.weight.right": torch.tensor(0.0),
        }),
        ("[]", {
            "blocks.1.conv_1.weight.left": torch.zeros(1, 8, 4),
            "blocks.1.conv_1.weight.right": torch.zeros(1, 4, 72),
        }),
    ],
    ids=["deep", "no list", "no such tensor", "another shape", "half", "large", "number", "cube"],
)  # fmt: skip
def test_a_file_of_a_stranger_is_refused(names: str, difference: dict[str, Tensor], tuned: Tuned):
    about = {"tuning": "1", "generator": tuned.tuning.generator, "names": names}
    tensors = {"w": torch.zeros(1, 6, 8)} | {f"G.{name}": t for name, t in difference.items()}
    with pytest.raises((CheckpointError, ConfigError)):
        model().tuned(Tuning.unpacked(save(tensors, about)))


@pytest.mark.parametrize(
    "w",
    [torch.zeros(0, 6, 8), torch.zeros(6, 8), torch.zeros(1, 6, 8).long(),
     torch.zeros(1, 6, 8).to(torch.complex64),
     torch.full((1, 6, 8), torch.nan).to(torch.float8_e4m3fn)],
    ids=["of nobody", "flat", "whole", "complex", "eight bits"],
)  # fmt: skip
def test_styles_that_are_none_are_refused(w: Tensor, tuned: Tuned):
    about = {"tuning": "1", "generator": tuned.tuning.generator, "names": "[]"}
    with pytest.raises(CheckpointError, match="no tuning of a person"):
        Tuning.unpacked(save({"w": w}, about))


def test_a_tuned_model_shares_all_but_its_generator(tuned: Tuned):
    m = model()
    mine = m.tuned(tuned.tuning)
    assert (mine.nets.F, mine.nets.E, mine.nets.D) == (m.nets.F, m.nets.E, m.nets.D)
    theirs = {p.data_ptr() for p in m.nets.G.parameters()}
    assert not theirs & {p.data_ptr() for p in mine.nets.G.parameters()}


def test_a_model_that_has_not_grown_up_is_tuned_at_its_stage():
    young = model(stage=1)
    x = model(2, stage=1).sample(1, seed=3)
    found = young.tune(x, young.refine(x, 5).w, 20)
    assert not any(name.startswith(("blocks.2", "to_rgb.2")) for name in found.tuning.difference)
    assert young.tuned(found.tuning).generate(found.tuning.w, noise=False).shape == x.shape
