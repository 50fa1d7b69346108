"""Networks on rows of pixels: what those of several families are made of.

Legend: N batch, C channels, R resolution, P numbers in a row, H features, Z width of z, K classes.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae.families.common.config import CriticModelConfig, EncoderModelConfig, MlpConfig
from stylealae.families.common.convolutional import Decoding, Encoding
from stylealae.families.common.posteriors import POSTERIORS, GaussianPosterior, code_layer
from stylealae.networks.group import NetworkGroup
from stylealae.priors import PRIORS, Prior

__all__ = [
    "SLOPE",
    "Autoencoder",
    "CentralCrop",
    "Code",
    "Encoder",
    "Rows",
    "Slope",
    "hidden",
    "image_critic",
    "image_decoder",
    "image_encoder",
    "mlp",
]

Slope = Callable[[Tensor], Tensor]
"""The gradient of a number with respect to an encoder's input.  [] -> [N, P]"""
SLOPE = 0.2
"""Of the discriminators' leaky ReLUs: a ReLU that is dead passes no gradient on to the codes."""


class Code(NamedTuple):
    """What E makes of an image."""

    z: Tensor
    """The code [N, Z]."""
    y: Tensor
    """Logits of its class [N, K]; K is 0 where E classifies nothing."""


class Rows(NetworkGroup):
    """Networks that take the middle of an image as a row of grey values."""

    def __init__(self, cfg: MlpConfig) -> None:
        super().__init__()
        self.crop = CentralCrop(cfg)

    def rows(self, x: Tensor) -> Tensor:
        """What the networks take of x.  [N, C, R, R] in [-1, 1] -> [N, P] in [0, 1]"""
        return self.crop.rows(x).add(1.0).mul(0.5)

    def images(self, rows: Tensor) -> Tensor:
        """[N, P] in [0, 1] -> [N, C, R, R] in [-1, 1], black around"""
        return self.crop.images(rows.mul(2.0).sub(1.0))


class CentralCrop:
    """The middle of an image; what lies around it is black."""

    def __init__(self, cfg: MlpConfig) -> None:
        self.channels, self.side = cfg.channels, cfg.side
        self.border = (cfg.resolution - cfg.side) // 2

    def rows(self, x: Tensor) -> Tensor:
        """[N, C, R, R] -> [N, P]"""
        middle = slice(self.border, self.border + self.side)
        return x[:, :, middle, middle].flatten(1)

    def images(self, rows: Tensor) -> Tensor:
        """[N, P] -> [N, C, R, R], -1 around"""
        x = rows.view(-1, self.channels, self.side, self.side)
        return fn.pad(x, [self.border] * 4, value=-1.0)


class Encoder(nn.Module):
    """E: a row to a code, and to the logits of K classes."""

    def __init__(self, cfg: EncoderModelConfig, classes: int = 0) -> None:
        super().__init__()
        self.posterior = POSTERIORS[cfg.posterior](cfg)
        self.trunk = image_encoder(cfg, self.posterior.eta_width)
        self.classes = code_layer(cfg.hidden, classes) if classes else None

    def features(self, rows: Tensor, noise: torch.Generator | None) -> Tensor:
        """The last hidden layer.  [N, P] -> [N, H]"""
        h: Tensor = self.trunk(self.posterior.enter(rows, noise))
        return h

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of a Gaussian posterior.  [N, P] -> [N, Z] each"""
        assert isinstance(self.posterior, GaussianPosterior)
        return self.posterior.moments(self.features(rows, None))

    @property
    def by_image(self) -> bool:
        """Whether the features are of an image alone: of no noise, of no other image."""
        norms = any(isinstance(module, nn.BatchNorm1d) for module in self.trunk.modules())
        return not self.posterior.eta_width and not norms

    def with_slope(self, rows: Tensor, noise: torch.Generator | None) -> tuple[Code, Slope]:
        """The code, and what gives a number's gradient with respect to the rows.

        It is taken at the first layer's output where that is linear: at the rows themselves the
        step's own backward pass would work out another one, which nobody asks for.
        """
        if not isinstance(self.trunk, nn.Sequential):
            rows = rows.requires_grad_(True)
            return self(rows, noise), lambda number: _gradient(number, rows)
        first, *rest = self.trunk
        assert isinstance(first, nn.Linear)
        h = entered = first(self.posterior.enter(rows, noise))
        if not h.requires_grad:  # E is not trained
            h.requires_grad_(True)
        for layer in rest:
            h = layer(h)

        def slope(number: Tensor) -> Tensor:
            whole = _gradient(number, entered) @ first.weight.detach()
            return whole[:, : rows.shape[1]].to(rows.dtype)

        return self.code(h, noise), slope

    def forward(self, rows: Tensor, noise: torch.Generator | None = None) -> Code:
        """The code; without noise the posterior's centre.  [N, P] -> [N, Z], [N, K]"""
        return self.code(self.features(rows, noise), noise)

    def code(self, h: Tensor, noise: torch.Generator | None) -> Code:
        """The code of features.  [N, H] -> [N, Z], [N, K]"""
        y = h.new_zeros(len(h), 0) if self.classes is None else self.classes(h)
        return Code(self.posterior(h, noise), y.float())


class Autoencoder(Rows):
    """E: x -> z and G: z -> x."""

    networks = "EG"
    E: Encoder
    G: nn.Module

    def __init__(self, cfg: EncoderModelConfig, *, class_inputs: int = 0, classes: int = 0) -> None:
        super().__init__(cfg)
        self.class_inputs, self.classes = class_inputs, classes
        """Classes that `decode` takes beside z, and that E sorts images into."""
        self._prior = PRIORS[cfg.prior](cfg.z_width, cfg.prior_scale)
        self.E = Encoder(cfg, classes)
        self.G = image_decoder(cfg, cfg.z_width + class_inputs)

    @property
    def prior(self) -> Prior:
        """The distribution p(z)."""
        return self._prior

    def conditioning(self, code: Code, labels: Tensor) -> Tensor:
        """What G takes beside z.  code, [N] -> [N, K], of no classes here"""
        return code.y

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z], [N, K] -> [N, P]"""
        logits: Tensor = self.G(torch.cat((z, y), 1)).float()
        return logits


def _gradient(number: Tensor, x: Tensor) -> Tensor:
    """Of a number with respect to x, its graph kept."""
    (gradient,) = torch.autograd.grad(number, x, retain_graph=True)
    return gradient


def mlp(
    widths: Sequence[int], *, batch_norm: bool = False, ends: bool = True, slope: float = 0.0
) -> nn.Sequential:
    """Linear layers with ReLUs between; without `ends` the last one too is a hidden layer.

    Hidden weights are drawn with He's variance of 2 / fan_in, those of the end with half of it.
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2 if ends else len(widths)
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.normal_(layer.weight, std=((1.0 if i == last else 2.0) / fan_in) ** 0.5)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
        if i != last:
            layers += [nn.BatchNorm1d(fan_out)] if batch_norm else []
            layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    return nn.Sequential(*layers)


def image_encoder(cfg: EncoderModelConfig, beside: int = 0) -> nn.Module:
    """Rows with numbers beside them to features.  [N, P + beside] -> [N, hidden]"""
    if cfg.layers == "convolutional":
        return Encoding(cfg, cfg.hidden, beside)
    return mlp([cfg.pixels + beside, *hidden(cfg)], batch_norm=cfg.batch_norm, ends=False)


def image_decoder(cfg: MlpConfig, width: int) -> nn.Module:
    """Logits of grey values, at the beginning of images that are almost even grey.

    [N, width] -> [N, P]
    """
    if cfg.layers == "convolutional":
        return Decoding(cfg, width)
    net = mlp([width, *hidden(cfg), cfg.pixels])
    assert isinstance(net[-1], nn.Linear)
    nn.init.normal_(net[-1].weight, std=0.02)
    return net


def image_critic(cfg: CriticModelConfig, beside: int = 0) -> nn.Sequential:
    """A discriminator of rows; but for the last layer, its features.  [N, P + beside] -> [N, 1]"""
    if cfg.layers == "convolutional":
        features = Encoding(cfg, cfg.critic_hidden, beside)
        return nn.Sequential(features, code_layer(cfg.critic_hidden, 1))
    return mlp([cfg.pixels + beside, *hidden(cfg, cfg.critic_hidden), 1], slope=SLOPE)


def hidden(cfg: MlpConfig, width: int = 0) -> list[int]:
    """Widths of the hidden layers, of `model.hidden` units unless another width is given."""
    return [width or cfg.hidden] * cfg.hidden_layers
