"""Feature extractors: a file on this machine with a pinned hash, or the built-in random one.

Nothing is ever downloaded.  A file is TorchScript, which torch runs without importing any of our
code; it is identified by its sha256.

Legend: N batch, R resolution, K features, S side of the random network's input.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae.errors import ConfigError
from stylealae.file_hash import sha256_of

__all__ = [
    "KNOWN",
    "Extractor",
    "Known",
    "custom",
    "extractors",
    "load",
    "random",
    "to_pixels",
]

NVIDIA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics"
LPIPS_SIDE = 256, 32
"""Larger images are averaged down to the first for a perceptual distance (StyleGAN, appendix C);
smaller ones than the second are enlarged to it, or VGG's poolings leave nothing of them."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A file that metrics of the literature are defined by."""

    file: str
    """Its usual name."""
    sha256: str
    """What it must hash to."""
    of: str
    """Whose it is, and what it holds."""

    @property
    def url(self) -> str:
        """Where its authors publish it."""
        return f"{NVIDIA}/{self.file}"


KNOWN: Mapping[str, Known] = {
    "inception": Known(
        file="inception-2015-12-05.pt",
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        of="NVIDIA's TorchScript of the Inception network that FID is defined by",
    ),
    "vgg16": Known(
        file="vgg16.pt",
        sha256="b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3",
        of="NVIDIA's TorchScript of VGG16 with the weights of LPIPS",
    ),
}
"""The files by the role that they play."""


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """What is seen in an image, as numbers."""

    role: str
    """`random`, `custom`, or a key of KNOWN."""
    sha256: str
    """Hash of the file, or of the built-in weights."""
    features: Callable[[Tensor], Tensor]
    """Of the whole image.  uint8 [N, 3, R, R] -> [N, K]"""
    width: int
    """K of `features`."""
    perceptual: Callable[[Tensor], Tensor] | None = None
    """Where squared distance is perceptual.  [N, 3, R, R] in [-1, 1] -> [N, any]; None: it has no
    such space."""


def to_pixels(x: Tensor) -> Tensor:
    """Images as they would be stored, grey as colour.  [N, C, R, R] in [-1, 1] -> uint8 [N, 3, ...]

    What was read from 8 bits comes back unchanged.
    """
    pixels = x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1)


def extractors(
    files: Sequence[str | Path], device: torch.device, sha256: str = ""
) -> dict[str, Extractor]:
    """The built-in extractor and those in files, by role; `sha256` is of a file of one's own."""
    found = [random(device), *(load(Path(f).expanduser(), device, sha256) for f in files)]
    return {extractor.role: extractor for extractor in found}


def load(path: Path, device: torch.device, sha256: str = "") -> Extractor:
    """The extractor in a file: one of KNOWN, or any TorchScript whose hash is stated.

    A file with a stated hash maps uint8 [N, 3, R, R] to [N, K].

    Raises:
        ConfigError: there is no such file, or its hash is neither known nor the stated one.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ConfigError(f"cannot read the feature extractor {path}: {error.strerror}") from error
    role = next((role for role, known in KNOWN.items() if known.sha256 == found), "custom")
    if role == "custom" and sha256 and found != sha256.lower():
        raise ConfigError(f"{path} has sha256 {found}, and {sha256} is wanted: fetch it again")
    if role == "custom" and not sha256:
        expected = "\n".join(f"  {k.file}  {k.sha256}" for k in KNOWN.values())
        raise ConfigError(
            f"{path} has sha256 {found}, which is none of\n{expected}\nFetch it again; or, if you "
            "trust this file and want it as your own extractor, state its hash: --sha256"
        )
    try:
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{path} is no TorchScript file: {str(error).splitlines()[0]}") from error
    module = module.eval()
    if role == "inception":
        return _probed(role, found, device, lambda x: module(x, return_features=True))
    if role == "vgg16":
        return _probed(
            role, found, device, lambda x: module(x, return_features=True),
            lambda x: module((x + 1) * 127.5, resize_images=False, return_lpips=True),
        )  # fmt: skip
    return custom(module, found, device)


def custom(module: nn.Module, sha256: str, device: torch.device) -> Extractor:
    """A module of one's own as an extractor: uint8 [N, 3, R, R] -> [N, K]."""
    return _probed("custom", sha256, device, module.to(device).eval())


def random(device: torch.device) -> Extractor:
    """The built-in network of fixed random weights: cheap, always there, and not FID's.

    Its distances separate images that are alike from images that are not; their size compares
    with no number of the literature.
    """
    network = _Random().to(device).eval().requires_grad_(False)
    return _probed("random", network.sha256, device, network.features, network.perceptual)


def lpips_size(x: Tensor) -> Tensor:
    """Images as a perceptual distance is taken of them.  [N, C, R, R] -> [N, 3, R', R']"""
    largest, smallest = LPIPS_SIDE
    if x.shape[-1] > largest:
        x = fn.interpolate(x, size=(largest, largest), mode="area")
    elif x.shape[-1] < smallest:
        x = fn.interpolate(x, size=(smallest, smallest), mode="nearest")
    return x.expand(-1, 3, -1, -1)


class _Random(nn.Module):
    """Four convolutions, S / 1 to S / 8, whose weights are the same on any machine."""

    SIDE, SEED, WIDTHS = 32, 20_200_404, (3, 32, 64, 128, 128)

    def __init__(self) -> None:
        super().__init__()
        # A RandomState's stream is frozen for good, and uniform numbers need no libm.
        source, digest = np.random.RandomState(self.SEED), hashlib.sha256()
        for k, (narrow, wide) in enumerate(zip(self.WIDTHS, self.WIDTHS[1:], strict=False)):
            bound = (6.0 / (9 * narrow)) ** 0.5  # keeps the variance through a leaky ReLU
            weight = source.uniform(-bound, bound, (wide, narrow, 3, 3)).astype(np.float32)
            digest.update(weight.tobytes())
            self.register_buffer(f"weight{k}", torch.from_numpy(weight))
        self.sha256 = digest.hexdigest()

    def features(self, pixels: Tensor) -> Tensor:
        """Mean and deviation of each layer's channels.  uint8 [N, 3, R, R] -> [N, 704]"""
        layers = self._layers(pixels.float() / 127.5 - 1.0)
        parts = [p for y in layers for p in (y.mean((2, 3)), y.std((2, 3), correction=0))]
        return torch.cat(parts, dim=1)

    def perceptual(self, x: Tensor) -> Tensor:
        """As LPIPS with weights of one: unit vectors at each point of each layer.  -> [N, any]"""
        parts = []
        for y in self._layers(x):
            unit = y / (y.square().sum(1, keepdim=True) + 1e-10).sqrt()
            parts.append((unit / y[0, 0].numel() ** 0.5).flatten(1))  # a mean over the points
        return torch.cat(parts, dim=1)

    def _layers(self, x: Tensor) -> list[Tensor]:
        side = (self.SIDE, self.SIDE)
        x = fn.interpolate(x, size=side, mode="area" if x.shape[-1] > self.SIDE else "nearest")
        found: list[Tensor] = []
        for k in range(len(self.WIDTHS) - 1):
            x = fn.conv2d(x, self.get_buffer(f"weight{k}"), stride=1 if k == 0 else 2, padding=1)
            x = fn.leaky_relu(x, 0.2)  # [N, WIDTHS[k + 1], S / 2^k, S / 2^k]
            found.append(x)
        return found


def _probed(
    role: str,
    sha256: str,
    device: torch.device,
    features: Callable[[Tensor], Tensor],
    perceptual: Callable[[Tensor], Tensor] | None = None,
) -> Extractor:
    """An extractor whose width is found by asking it once."""
    with torch.no_grad():
        try:
            shape = features(torch.zeros(2, 3, 64, 64, dtype=torch.uint8, device=device)).shape
        except RuntimeError as error:
            raise ConfigError(
                f"the {role} extractor does not take uint8 images [N, 3, R, R]: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
    if len(shape) != 2 or shape[0] != 2:
        raise ConfigError(
            f"the {role} extractor turned 2 images into {list(shape)}: it must give [2, K]"
        )
    return Extractor(
        role=role, sha256=sha256, features=features, width=shape[1], perceptual=perceptual
    )
