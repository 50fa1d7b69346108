"""The forms of q(z|x) (Makhzani et al. 2015, section 2): what E's last layers make of x.

Legend: N batch, P numbers of x, H features, Z width of z.
"""

import torch
from torch import Tensor, nn

from stylealae.families.common.config import CodeModelConfig, EncoderModelConfig
from stylealae.ops.layers import pixel_norm

__all__ = [
    "POSTERIORS",
    "Deterministic",
    "FixedGaussian",
    "GaussianPosterior",
    "Spherical",
    "UniversalApproximator",
    "code_layer",
]


class Deterministic(nn.Module):
    """A code z that is a function of x: codes deviate as the data do."""

    eta_width = 0
    """Numbers of noise that enter beside x."""

    def __init__(self, cfg: EncoderModelConfig) -> None:
        super().__init__()
        self.mean = code_layer(cfg.hidden, cfg.z_width)

    def enter(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """The encoder's input.  [N, P] -> [N, P + eta]"""
        return x

    def forward(self, h: Tensor, noise: torch.Generator | None) -> Tensor:
        """The code.  [N, H] -> [N, Z]"""
        z: Tensor = self.mean(h).float()
        return z


class Spherical(Deterministic):
    """A code z that is a function of x, on the sphere of mean square 1."""

    def forward(self, h: Tensor, noise: torch.Generator | None) -> Tensor:
        """The code.  [N, H] -> [N, Z]"""
        return pixel_norm(super().forward(h, noise))


class FixedGaussian(Deterministic):
    """A code z that is drawn around a function of x, with one variance for all x."""

    def __init__(self, cfg: EncoderModelConfig) -> None:
        super().__init__(cfg)
        assert isinstance(cfg, CodeModelConfig)
        self.std = cfg.posterior_std

    def forward(self, h: Tensor, noise: torch.Generator | None) -> Tensor:
        """A draw, or the mean without noise.  [N, H] -> [N, Z]"""
        mean = super().forward(h, noise)
        if noise is None:
            return mean
        return mean + self.std * torch.randn(mean.shape, generator=noise, device=mean.device)


class GaussianPosterior(Deterministic):
    """A reparameterised draw z from a Gaussian whose mean and variance are functions of x."""

    def __init__(self, cfg: EncoderModelConfig) -> None:
        super().__init__(cfg)
        self.log_var = code_layer(cfg.hidden, cfg.z_width)
        with torch.no_grad():  # narrow and much the same for all images, until it learns otherwise
            self.log_var.weight.mul_(0.1)
            self.log_var.bias.fill_(-4.0)

    def moments(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance.  [N, H] -> [N, Z] each"""
        return self.mean(h).float(), self.log_var(h).float()

    def forward(self, h: Tensor, noise: torch.Generator | None) -> Tensor:
        """A draw, or the mean without noise.  [N, H] -> [N, Z]"""
        mean, log_var = self.moments(h)
        if noise is None:
            return mean
        eps = torch.randn(mean.shape, generator=noise, device=mean.device)
        return mean + (0.5 * log_var).exp() * eps


class UniversalApproximator(Deterministic):
    """A code z = f(x, eta), a function of x and of noise eta: any distribution, no density."""

    def __init__(self, cfg: EncoderModelConfig) -> None:
        super().__init__(cfg)
        assert isinstance(cfg, CodeModelConfig)
        self.eta_width = cfg.eta_width

    def enter(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """Input: x beside a draw of eta, or beside zeros without noise.  [N, P] -> [N, P + eta]"""
        shape = (len(x), self.eta_width)
        if noise is None:
            return torch.cat((x, x.new_zeros(shape)), 1)
        return torch.cat((x, torch.randn(shape, generator=noise, device=x.device)), 1)


POSTERIORS = {
    "deterministic": Deterministic,
    "sphere": Spherical,
    "fixed": FixedGaussian,
    "gaussian": GaussianPosterior,
    "universal": UniversalApproximator,
}


def code_layer(fan_in: int, fan_out: int) -> nn.Linear:
    """A linear layer that ends in codes."""
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
