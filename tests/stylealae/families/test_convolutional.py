"""The convolutional pair: shapes, beginnings, and that every family trains every weight of it."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as fn

from stylealae.errors import ConfigError
from stylealae.families import FAMILIES, NAMES, sections
from stylealae.families.common.config import CodeModelConfig, MlpConfig
from stylealae.families.common.convolutional import Decoding, Encoding
from stylealae.schedule import Progress

SHAPE = {
    "resolution": 16, "side": 16, "channels": 3, "z_width": 3, "w_width": 3, "hidden": 8,
    "critic_hidden": 8, "start_channels": 4, "layers": "convolutional", "mapping_hidden": 8,
}  # fmt: skip
"""Of these the keys that a family has."""
TAKING = [name for name in NAMES if "layers" in {f.name for f in fields(sections(name).model)}]


def test_all_families_take_convolutions_but_those_that_have_their_own() -> None:
    assert {*NAMES} - {*TAKING} == {"stylealae", "stylealae_separate"}


@pytest.mark.parametrize(("side", "smallest"), [(32, 4), (28, 7), (8, 4)])
def test_a_side_is_halved_down_to_4_and_up_again(side: int, smallest: int) -> None:
    cfg = MlpConfig(side=side, channels=3, start_channels=2)
    down, up = Encoding(cfg, 5, beside=2), Decoding(cfg, 4)
    assert down(torch.rand(2, cfg.pixels + 2)).shape == (2, 5)
    assert up(torch.rand(2, 4)).shape == (2, cfg.pixels)
    assert up.shape[1:] == (smallest, smallest)


def test_it_is_the_composition_of_plain_convolutions() -> None:
    """Against torch.nn.functional in float64, the numbers beside the image joining at the end."""
    torch.manual_seed(0)
    cfg = MlpConfig(side=8, resolution=8, channels=2, start_channels=3)
    down, up = Encoding(cfg, 5, beside=1).double(), Decoding(cfg, 4).double()
    x, beside, z = torch.rand(2, 2, 8, 8).double(), torch.rand(2, 1).double(), torch.rand(2, 4)
    conv, back = down.convolutions[0], up.convolutions[0]
    h = fn.leaky_relu(fn.conv2d(x, conv.weight, conv.bias, stride=2, padding=1), 0.2)  # type: ignore[arg-type]
    h = torch.cat((h.flatten(1), beside), 1) @ down.end.weight.T + down.end.bias
    rows = torch.cat((x.flatten(1), beside), 1)
    torch.testing.assert_close(down(rows), fn.leaky_relu(h, 0.2))
    g = (z.double() @ up.begin.weight.T + up.begin.bias).view(2, 3, 4, 4)
    wanted = fn.conv_transpose2d(fn.leaky_relu(g, 0.2), back.weight, back.bias, stride=2, padding=1)  # type: ignore[arg-type]
    torch.testing.assert_close(up(z.double()), wanted.flatten(1))


@torch.no_grad()
def test_features_begin_of_the_size_of_their_input_and_images_almost_grey() -> None:
    torch.manual_seed(0)
    cfg = MlpConfig(resolution=32, side=32, channels=3)
    features = Encoding(cfg, 128)(torch.randn(64, cfg.pixels))
    assert 0.5 < float(features.square().mean().sqrt()) < 2.0
    assert float(Decoding(cfg, 16)(torch.randn(64, 16)).square().mean().sqrt()) < 0.5


@pytest.mark.parametrize("name", TAKING)
def test_phases_reach_every_weight_that_they_train(name: str) -> None:
    family = FAMILIES[name]
    model, cfg = family.sections.model, family.sections.loss()
    shape = model(**{f.name: SHAPE[f.name] for f in fields(model) if f.name in SHAPE})
    nets: Any = family.build(shape)
    x, labels = torch.rand(4, 3, 16, 16) * 2 - 1, torch.arange(4)
    sampler = family.sampler(
        shape, cfg, seed=0, mine=slice(0, 4), device=x.device,
        labelled=(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), labels),
    )  # fmt: skip
    at, reached = Progress(stage=2, alpha=1.0, batch=4, lr=0.1), set()
    for phase in family.phases(cfg, 0):
        nets.zero_grad()
        phase.loss(nets, x, sampler.draw(phase.name, 0, at, labels), at, cfg).backward()
        trained = [(n, w) for n, w in nets.named_parameters() if n[0] in phase.trains]
        reached |= {n for n, w in trained if w.grad is not None and bool(w.grad.any())}
    biases_of_outputs = {n for n, w in nets.named_parameters() if w.shape == (1,)}
    assert {n for n, _ in nets.named_parameters()} - biases_of_outputs <= reached


def test_what_convolutions_cannot_do_is_refused() -> None:
    shape = CodeModelConfig(layers="convolutional")
    with pytest.raises(ConfigError, match=r"model\.side is 4, which convolutions cannot halve"):
        replace(shape, side=4)
    with pytest.raises(
        ConfigError, match=r"model\.batch_norm is of linear layers: set it to false"
    ):
        replace(shape, batch_norm=True)
