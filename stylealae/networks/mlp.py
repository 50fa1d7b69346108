"""The networks of the AAE family as plain MLPs on rows of pixels.

Legend: N batch, C channels, R resolution, P numbers in a row, H features, Z width of z, K classes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae.config_mlp import ClassModelConfig, CodeModelConfig, GanModelConfig, MlpConfig
from stylealae.networks.group import Lettered
from stylealae.networks.posteriors import POSTERIORS, GaussianPosterior, code_layer
from stylealae.priors import PRIORS

__all__ = [
    "Aae",
    "Autoencoder",
    "ClassAae",
    "Code",
    "Gan",
    "HeadsAae",
    "InformedAae",
    "SupervisedAae",
    "Window",
    "hidden",
]

SLOPE = 0.2
"""Of the discriminators' leaky ReLUs: a ReLU that is dead passes no gradient on to the codes."""


class Code(NamedTuple):
    """What E makes of an image."""

    z: Tensor
    """The code [N, Z]."""
    y: Tensor
    """Logits of its class [N, K]; K is 0 where E knows of no classes."""


class Rows(Lettered):
    """Networks that see the middle of an image as a row of grey values."""

    def __init__(self, cfg: MlpConfig) -> None:
        super().__init__()
        self.window = Window(cfg)

    def rows(self, x: Tensor) -> Tensor:
        """What the networks see of x.  [N, C, R, R] in [-1, 1] -> [N, P] in [0, 1]"""
        return self.window.rows(x).add(1.0).mul(0.5)

    def images(self, rows: Tensor) -> Tensor:
        """[N, P] in [0, 1] -> [N, C, R, R] in [-1, 1], black around"""
        return self.window.images(rows.mul(2.0).sub(1.0))


class Window:
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

    def __init__(self, cfg: CodeModelConfig, classes: int = 0) -> None:
        super().__init__()
        self.posterior = POSTERIORS[cfg.posterior](cfg)
        entrance = cfg.pixels + self.posterior.eta_width
        self.trunk = mlp([entrance, *hidden(cfg)], batch_norm=cfg.batch_norm, ends=False)
        self.classes = code_layer(cfg.hidden, classes) if classes else None

    def features(self, rows: Tensor, noise: torch.Generator | None) -> Tensor:
        """The last hidden layer.  [N, P] -> [N, H]"""
        h: Tensor = self.trunk(self.posterior.enter(rows, noise))
        return h

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of a Gaussian posterior.  [N, P] -> [N, Z] each"""
        assert isinstance(self.posterior, GaussianPosterior)
        return self.posterior.moments(self.features(rows, None))

    def forward(self, rows: Tensor, noise: torch.Generator | None = None) -> Code:
        """The code; without noise its middle.  [N, P] -> [N, Z], [N, K]"""
        h = self.features(rows, noise)
        y = h.new_zeros(len(h), 0) if self.classes is None else self.classes(h)
        return Code(self.posterior(h, noise), y.float())


class Autoencoder(Rows):
    """E: x -> z and G: z -> x."""

    letters = "EG"
    G: nn.Module

    def __init__(self, cfg: CodeModelConfig, *, told: int = 0, classes: int = 0) -> None:
        super().__init__(cfg)
        self.told, self.classes = told, classes
        """Classes that `decode` is told beside z, and that E sorts images into."""
        self.prior = PRIORS[cfg.prior](cfg.z_width, cfg.prior_scale)
        self.E = Encoder(cfg, classes)
        self.G = decoder([cfg.z_width + told, *hidden(cfg), cfg.pixels])

    def beside(self, code: Code, labels: Tensor) -> Tensor:
        """What G is told beside z.  code, [N] -> [N, K], of no classes here"""
        return code.y

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z], [N, K] -> [N, P]"""
        logits: Tensor = self.G(torch.cat((z, y), 1)).float()
        return logits


class Aae(Autoencoder):
    """The plain form: D tells codes from samples of the prior."""

    letters = "EGD"

    def __init__(
        self, cfg: CodeModelConfig, *, told: int = 0, classes: int = 0, informed: int = 0
    ) -> None:
        super().__init__(cfg, told=told, classes=classes)
        self.D = mlp([cfg.z_width + informed, *hidden(cfg, cfg.critic_hidden), 1], slope=SLOPE)

    def judge(self, z: Tensor, labels: Tensor) -> Tensor:
        """The logit of "this is a sample of the prior".  [N, Z], [N] -> [N]"""
        logit: Tensor = self.D(z).squeeze(1).float()
        return logit


class InformedAae(Aae):
    """D is told the label, or that there is none: each class takes its part of the prior."""

    def __init__(self, cfg: ClassModelConfig) -> None:
        super().__init__(cfg, informed=cfg.classes + 1)
        self.labels = cfg.classes

    def judge(self, z: Tensor, labels: Tensor) -> Tensor:
        """The logit of "a sample of this label's part".  [N, Z], [N] -> [N]"""
        known = torch.where(labels < 0, self.labels, labels)
        return super().judge(torch.cat((z, fn.one_hot(known, self.labels + 1)), 1), labels)


class SupervisedAae(Aae):
    """G is told the label, so that z is left with the style."""

    def __init__(self, cfg: ClassModelConfig) -> None:
        super().__init__(cfg, told=cfg.classes)
        self.labels = cfg.classes

    def beside(self, code: Code, labels: Tensor) -> Tensor:
        """The label as a one-hot row, zeros where it is unknown.  code, [N] -> [N, K]"""
        known = fn.one_hot(labels.clamp(min=0), self.labels)
        return known.to(code.z.dtype) * (labels >= 0)[:, None]


class ClassAae(Aae):
    """E gives a class y beside the style z; C tells y from samples of the categorical prior."""

    letters = "EGDC"

    def __init__(self, cfg: ClassModelConfig, *, told: int | None = None) -> None:
        super().__init__(cfg, told=cfg.classes if told is None else told, classes=cfg.classes)
        self.C = mlp([cfg.classes, *hidden(cfg, cfg.class_critic_hidden), 1], slope=SLOPE)

    def beside(self, code: Code, labels: Tensor) -> Tensor:
        """How E spreads the image over the classes.  code, [N] -> [N, K]"""
        return code.y.softmax(1)

    def judge_class(self, y: Tensor) -> Tensor:
        """The logit of "this is a sample of the categorical prior".  [N, K] -> [N]"""
        logit: Tensor = self.C(y).squeeze(1).float()
        return logit


class HeadsAae(ClassAae):
    """G sees the sum of z and of the class's head, a place in the plane (section 7)."""

    def __init__(self, cfg: ClassModelConfig) -> None:
        super().__init__(cfg, told=0)
        self.told, self.G = cfg.classes, Headed(cfg, self.G)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z], [N, K] -> [N, P]"""
        logits: Tensor = self.G(self.place(z, y)).float()
        return logits

    def place(self, z: Tensor, y: Tensor) -> Tensor:
        """The representation: style and head, added.  [N, Z], [N, K] -> [N, Z]"""
        return z + y @ self.heads

    @property
    def heads(self) -> Tensor:
        """The places of the classes [K, Z]."""
        assert isinstance(self.G, Headed)
        return self.G.heads


class Headed(nn.Module):
    """G with the heads that belong to it."""

    def __init__(self, cfg: ClassModelConfig, net: nn.Module) -> None:
        super().__init__()
        self.heads = nn.Parameter(torch.randn(cfg.classes, cfg.z_width))
        self.net = net

    def forward(self, place: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z] -> [N, P]"""
        logits: Tensor = self.net(place)
        return logits


class Gan(Rows):
    """G: z -> x and a D that tells its images from real ones: the comparison of the papers."""

    letters = "GD"

    def __init__(self, cfg: GanModelConfig) -> None:
        super().__init__(cfg)
        self.prior = PRIORS[cfg.prior](cfg.z_width, cfg.prior_scale)
        self.G = decoder([cfg.z_width, *hidden(cfg), cfg.pixels])
        self.D = mlp([cfg.pixels, *hidden(cfg, cfg.critic_hidden), 1], slope=SLOPE)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z] -> [N, P]"""
        logits: Tensor = self.G(z).float()
        return logits

    def judge(self, rows: Tensor) -> Tensor:
        """The logit of "this image is real".  [N, P] -> [N]"""
        logit: Tensor = self.D(rows).squeeze(1).float()
        return logit


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


def decoder(widths: Sequence[int]) -> nn.Sequential:
    """As `mlp`, for logits of grey values: it begins with images that are almost even grey."""
    net = mlp(widths)
    assert isinstance(net[-1], nn.Linear)
    nn.init.normal_(net[-1].weight, std=0.02)
    return net


def hidden(cfg: MlpConfig, width: int = 0) -> list[int]:
    """Widths of the hidden layers, of `model.hidden` units unless another width is given."""
    return [width or cfg.hidden] * cfg.hidden_layers
