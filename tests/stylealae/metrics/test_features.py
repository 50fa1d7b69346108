"""Extractors: the built-in one is the same everywhere, and a file is what its hash says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylealae.errors import ConfigError
from stylealae.file_hash import sha256_of
from stylealae.metrics import features

CPU = torch.device("cpu")


class Inception(nn.Module):
    """The signature of NVIDIA's file, over mean colours."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        """Features, or what they are classified as.  [N, 3, R, R] -> [N, 3]"""
        found = img.float().mean((2, 3))
        return found if return_features else found.softmax(1)


class Vgg(nn.Module):
    """The signature of NVIDIA's file."""

    def forward(
        self,
        img: Tensor,
        resize_images: bool = True,
        return_features: bool = False,
        return_lpips: bool = False,
    ) -> Tensor:
        """Features, or a perceptual space.  [N, 3, R, R] -> [N, any]"""
        if return_lpips:
            assert not resize_images
            return img.flatten(1) / 255
        return img.float().mean((2, 3))


def saved(module: nn.Module, path: Path) -> Path:
    """The module as TorchScript."""
    torch.jit.script(module).save(str(path))
    return path


def known_as(role: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins a role to this file."""
    pinned = replace(features.KNOWN[role], sha256=sha256_of(path))
    monkeypatch.setattr(features, "KNOWN", {**features.KNOWN, role: pinned})


def test_the_random_extractor_is_pinned_to_the_last_bit_of_its_weights() -> None:
    extractor = features.random(CPU)
    assert extractor.role == "random"
    assert extractor.sha256 == "c3ee33ffbe761e30a4f41c828e8565ff600d7b9f8436dfaba6e127d6e125ed5e"
    assert extractor.width == 704


@pytest.mark.parametrize("side", [4, 32, 128])
def test_the_random_extractor_sees_images_of_any_size(side: int) -> None:
    extractor = features.random(CPU)
    x = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = extractor.features(features.to_pixels(x))
    assert seen.shape == (3, 704)
    assert seen.std(0).max() > 0
    assert extractor.perceptual is not None
    assert extractor.perceptual(x).shape[0] == 3


def test_pixels_come_back_as_they_were_stored() -> None:
    stored = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(features.to_pixels(stored.float() / 127.5 - 1), stored.expand(1, 3, 16, 16))


def test_a_known_file_plays_its_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [saved(Inception(), tmp_path / "i.pt"), saved(Vgg(), tmp_path / "v.pt")]
    for role, path in zip(("inception", "vgg16"), files, strict=True):
        known_as(role, path, monkeypatch)
    found = features.extractors(files, CPU)
    assert set(found) == {"random", "inception", "vgg16"}
    x = torch.full((2, 3, 64, 64), 255, dtype=torch.uint8)
    assert found["inception"].features(x).tolist() == [[255.0] * 3] * 2
    assert found["inception"].perceptual is None
    see = found["vgg16"].perceptual
    assert see is not None
    torch.testing.assert_close(see(torch.ones(1, 3, 32, 32)), torch.ones(1, 3 * 32 * 32))


def test_a_file_of_ones_own_needs_its_hash_stated(tmp_path: Path) -> None:
    path = saved(nn.Sequential(Mean()), tmp_path / "own.pt")
    digest = sha256_of(path)
    with pytest.raises(ConfigError, match=f"has sha256 {digest}, which is none of"):
        features.load(path, CPU)
    with pytest.raises(ConfigError, match="is wanted: fetch it again"):
        features.load(path, CPU, "0" * 64)
    assert features.load(path, CPU, digest.upper()).width == 3


class Mean(nn.Module):
    """Mean colours."""

    def forward(self, x: Tensor) -> Tensor:
        """The means.  [N, 3, R, R] -> [N, 3]"""
        return x.float().mean((2, 3))


def test_what_is_no_extractor_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the feature extractor"):
        features.load(tmp_path / "none.pt", CPU)
    (tmp_path / "text.pt").write_text("not TorchScript")
    digest = sha256_of(tmp_path / "text.pt")
    with pytest.raises(ConfigError, match="is no TorchScript file"):
        features.load(tmp_path / "text.pt", CPU, digest)
    with pytest.raises(ConfigError, match="turned 2 images into"):
        features.custom(nn.Identity(), "", CPU)
    with pytest.raises(ConfigError, match="does not take uint8 images"):
        features.custom(nn.Conv2d(3, 4, 3), "", CPU)
