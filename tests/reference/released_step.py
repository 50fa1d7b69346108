"""The yardstick: a step of the released code, transcribed plainly, with every cost that it has.

Same maths as ours, in the released layout (weights stored already scaled; the names of its
checkpoints, so `interop` reads them).  What ours leaves out or fuses is spelt out here: resampling
and convolution apart below 128, blur as a depthwise convolution, statistics before `instance_norm`
that takes them again, two leaky ReLUs, Adam one tensor after the other, the mean w on each use.
Nothing but the benchmark and the test that compares the two imports it.

Legend: N batch, C channels, R resolution, W width of w.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae.config import ModelConfig

__all__ = ["Released", "ReleasedAdam"]

FUSED_FROM = 128
R1_GAMMA = 10.0
MIXING = 0.9


def weight(*shape: int, fan_in: int, gain: float = math.sqrt(2.0), lrmul: float = 1.0) -> Tensor:
    """A stored weight; its learning rate is scaled by the coefficient that it carries."""
    made = nn.Parameter(torch.randn(*shape) * gain / math.sqrt(fan_in))
    made.rate = gain / math.sqrt(fan_in) * lrmul
    return made


def bias(*shape: int, lrmul: float = 1.0) -> Tensor:
    """A stored bias."""
    made = nn.Parameter(torch.zeros(*shape))
    made.rate = lrmul
    return made


class Linear(nn.Module):
    """Fully connected."""

    def __init__(self, a: int, b: int, gain: float = math.sqrt(2.0), lrmul: float = 1.0) -> None:
        super().__init__()
        self.weight, self.bias = (
            weight(b, a, fan_in=a, gain=gain, lrmul=lrmul),
            bias(b, lrmul=lrmul),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, a] -> [N, b]"""
        return fn.linear(x, self.weight, self.bias)


class Conv(nn.Module):
    """3x3 or 1x1; `up` and `down` are the fused kernels of 128 and above."""

    def __init__(
        self,
        a: int,
        b: int,
        k: int,
        *,
        gain: float = math.sqrt(2.0),
        fused: str = "",
        rgb: bool = False,
    ) -> None:
        super().__init__()
        shape = (a, b) if fused == "up" else (b, a)
        self.weight, self.fused = weight(*shape, k, k, fan_in=a * k * k, gain=gain), fused
        self.bias = bias(b) if rgb else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, a, R, R] -> [N, b, R', R']"""
        if not self.fused:
            return fn.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        w = fn.pad(self.weight, (1, 1, 1, 1))
        w = w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]
        if self.fused == "up":
            return fn.conv_transpose2d(x, w, stride=2, padding=1)
        return fn.conv2d(x, w * 0.25, stride=2, padding=1)


def blur(x: Tensor) -> Tensor:
    """Depthwise [1 2 1] x [1 2 1] / 16."""
    tap = torch.tensor([1.0, 2.0, 1.0])
    kernel = (torch.outer(tap, tap) / 16).to(x).expand(x.shape[1], 1, 3, 3).contiguous()
    return fn.conv2d(x, kernel, padding=1, groups=x.shape[1])


def upscale(x: Tensor) -> Tensor:
    """Nearest 2x, by a view."""
    n, c, h, w = x.shape
    return (
        x.view(n, c, h, 1, w, 1).expand(-1, -1, -1, 2, -1, 2).contiguous().view(n, c, 2 * h, 2 * w)
    )


class Decode(nn.Module):
    """A block of G."""

    def __init__(self, a: int, b: int, w: int, k: int) -> None:
        super().__init__()
        self.first = k == 0
        self.fused = 4 << k >= FUSED_FROM
        if not self.first:
            self.conv_1 = Conv(a, b, 3, fused="up" if self.fused else "")
        self.conv_2 = Conv(b, b, 3)
        for j in (1, 2):
            setattr(self, f"noise_weight_{j}", bias(1, b, 1, 1))
            setattr(self, f"bias_{j}", bias(1, b, 1, 1))
            setattr(self, f"style_{j}", Linear(w, 2 * b, gain=1.0))

    def forward(self, x: Tensor, w_1: Tensor, w_2: Tensor) -> Tensor:
        """[N, a, R, R] -> [N, b, 2R, 2R]"""
        if not self.first:
            x = blur(self.conv_1(x if self.fused else upscale(x)))
        x = self._finish(x, w_1, self.noise_weight_1, self.bias_1, self.style_1)
        return self._finish(self.conv_2(x), w_2, self.noise_weight_2, self.bias_2, self.style_2)

    def _finish(self, x: Tensor, w: Tensor, noise: Tensor, b: Tensor, style: Linear) -> Tensor:
        grain = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)
        x = torch.addcmul(x, noise, grain)
        x = fn.instance_norm(fn.leaky_relu(x + b, 0.2), eps=1e-8)
        scale_shift = style(w).view(x.shape[0], 2, x.shape[1], 1, 1)
        return x * (scale_shift[:, 0] + 1) + scale_shift[:, 1]


class Encode(nn.Module):
    """A block of E."""

    def __init__(self, a: int, b: int, w: int, resolution: int) -> None:
        super().__init__()
        self.fused = resolution >= FUSED_FROM
        self.conv_1, self.conv_2 = Conv(a, a, 3), Conv(a, b, 3, fused="down" if self.fused else "")
        self.bias_1, self.bias_2 = bias(1, a, 1, 1), bias(1, b, 1, 1)
        self.style_1, self.style_2 = Linear(2 * a, w), Linear(2 * b, w)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, a, R, R] -> [N, b, R/2, R/2], [N, W]"""
        x, w_1 = self._exit(fn.leaky_relu(self.conv_1(x) + self.bias_1, 0.2), self.style_1)
        x = self.conv_2(blur(x))
        x = x if self.fused else fn.avg_pool2d(x, 2, 2)
        x, w_2 = self._exit(fn.leaky_relu(x + self.bias_2, 0.2), self.style_2)
        return x, w_1 + w_2

    @staticmethod
    def _exit(x: Tensor, style: Linear) -> tuple[Tensor, Tensor]:
        mean = x.mean((2, 3), keepdim=True)
        std = torch.sqrt((x - mean).square().mean((2, 3), keepdim=True))
        w = style(torch.cat((mean, std), 1).flatten(1))
        return fn.instance_norm(x, eps=1e-5), w


class Released(nn.Module):
    """All networks under the names of the released checkpoints, and the three losses."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        blocks, w = cfg.blocks, cfg.w_width
        widths = [cfg.width(s) for s in range(blocks)]
        self.generator = nn.Module()
        self.generator.const = nn.Parameter(torch.ones(1, widths[0], 4, 4))
        self.generator.decode_block = nn.ModuleList(
            Decode(widths[max(k - 1, 0)], widths[k], w, k) for k in range(blocks)
        )
        self.generator.to_rgb = nn.ModuleList(_rgb("to_rgb", c, cfg.channels) for c in widths)
        down = widths[::-1]
        self.discriminator = nn.Module()
        self.discriminator.encode_block = nn.ModuleList(
            Encode(a, b, w, cfg.resolution >> i)
            for i, (a, b) in enumerate(zip(down, [*down[1:], down[-1]], strict=True))
        )
        self.discriminator.from_rgb = nn.ModuleList(_rgb("from_rgb", cfg.channels, c) for c in down)
        self.mapping_fl, self.mapping_tl = nn.Module(), nn.Module()
        self.mapping_fl.map_blocks = nn.ModuleList()
        for _ in range(cfg.mapping_layers):
            self.mapping_fl.map_blocks.append(nn.Module())
            self.mapping_fl.map_blocks[-1].fc = Linear(w, w, lrmul=0.1)
        self.mapping_tl.map_blocks = nn.ModuleList(
            Linear(a, b, lrmul=0.1) for a, b in ((w, w), (w, w), (w, 2 * w))
        )
        self.dlatent_avg = nn.Module()
        self.dlatent_avg.register_buffer("buff", torch.zeros(2 * blocks, w))
        self.w_width = w

    def checkpoint(self) -> dict[str, dict[str, dict[str, Tensor]]]:
        """What the released code saves."""
        parts = {name: part.state_dict() for name, part in self.named_children()}
        averaged = {f"{name}_s": part for name, part in parts.items() if name != "dlatent_avg"}
        return {"models": {**parts, **averaged}}

    def style(self, z: Tensor) -> Tensor:
        """F.  [N, W] -> [N, W]"""
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for block in self.mapping_fl.map_blocks:
            z = fn.leaky_relu(block.fc(z), 0.2)
        return z

    def image(self, w: Tensor, stage: int, alpha: float) -> Tensor:
        """G.  [N, L, W] -> [N, C, R, R]"""
        x = self.generator.const.expand(w.shape[0], -1, -1, -1)
        before = x
        for k in range(stage + 1):
            before, x = x, self.generator.decode_block[k](x, w[:, 2 * k], w[:, 2 * k + 1])
        rgb = self.generator.to_rgb[stage].to_rgb(x)
        if alpha == 1.0:
            return rgb
        return torch.lerp(upscale(self.generator.to_rgb[stage - 1].to_rgb(before)), rgb, alpha)

    def encode(self, x: Tensor, stage: int, alpha: float) -> tuple[Tensor, Tensor]:
        """E and D.  [N, C, R, R] -> [N, W], [N]"""
        top = len(self.discriminator.encode_block) - 1 - stage
        y, w = self.discriminator.encode_block[top](self._enter(x, top))
        if alpha < 1.0:
            y = torch.lerp(self._enter(fn.avg_pool2d(x, 2, 2), top + 1), y, alpha)
            w = w * alpha
        for block in self.discriminator.encode_block[top + 1 :]:
            y, styles = block(y)
            w = w + styles
        logit = w
        for layer in self.mapping_tl.map_blocks:
            logit = layer(logit)
        return w, logit[:, self.w_width]

    def _enter(self, x: Tensor, k: int) -> Tensor:
        x = fn.leaky_relu(self.discriminator.from_rgb[k].from_rgb(x), 0.2)
        return fn.leaky_relu(x, 0.2)

    def fake(self, n: int, stage: int, alpha: float) -> Tensor:
        """Images of fresh z, mixed with the released probability; the mean w follows."""
        layers = self.dlatent_avg.buff.shape[0]
        styles = self.style(torch.randn(n, self.w_width))[:, None].repeat(1, layers, 1)
        with torch.no_grad():
            self.dlatent_avg.buff.lerp_(styles.detach().mean(0).to(self.dlatent_avg.buff), 0.005)
            other = self.style(torch.randn(n, self.w_width))[:, None].repeat(1, layers, 1)
        if torch.rand(()) < MIXING:
            cut = torch.arange(layers)[:, None] < torch.randint(1, 2 * stage + 2, ())
            styles = torch.where(cut, styles, other)
        return self.image(styles, stage, alpha)

    def critic(self, x: Tensor, stage: int, alpha: float) -> Tensor:
        """Phase I."""
        with torch.no_grad():
            fake = self.fake(len(x), stage, alpha)
        x = x.detach().requires_grad_(True)
        real = self.encode(x, stage, alpha)[1]
        loss = fn.softplus(self.encode(fake, stage, alpha)[1]) + fn.softplus(-real)
        (grad,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        return (loss + R1_GAMMA / 2 * grad.square().sum((1, 2, 3))).mean()

    def adversary(self, x: Tensor, stage: int, alpha: float) -> Tensor:
        """Phase II."""
        return fn.softplus(-self.encode(self.fake(len(x), stage, alpha), stage, alpha)[1]).mean()

    def reciprocity(self, x: Tensor, stage: int, alpha: float) -> Tensor:
        """Phase III."""
        w = self.style(torch.randn(len(x), self.w_width))
        styles = w[:, None].repeat(1, self.dlatent_avg.buff.shape[0], 1)
        again = self.encode(self.image(styles, stage, alpha), stage, alpha)[0]
        return (again - w.detach()).square().mean()

    def step(self, x: Tensor, stage: int, alpha: float, adams: "tuple[ReleasedAdam, ReleasedAdam]",
             average: "Released", *, bf16: bool = False) -> None:  # fmt: skip
        """One iteration: three phases, the updates of E with D and of G with F, the average."""
        encoder, decoder = adams
        for loss, turn in (
            (self.critic, (encoder,)),
            (self.adversary, (decoder,)),
            (self.reciprocity, (encoder, decoder)),
        ):
            held = loss == self.adversary
            self.discriminator.requires_grad_(not held)
            self.mapping_tl.requires_grad_(not held)
            for adam in turn:
                adam.zero_grad()
            with torch.autocast("cpu", enabled=bf16):
                value = loss(x, stage, alpha)
            value.backward()
            for adam in turn:
                adam.step()
        with torch.no_grad():
            keep = 0.5 ** (len(x) / 10_000)
            for ours, theirs in zip(average.parameters(), self.parameters(), strict=True):
                ours.lerp_(theirs, 1 - keep)

    def adams(self, lr: float = 0.0015) -> "tuple[ReleasedAdam, ReleasedAdam]":
        """The two optimisers: of E and D, and of G and F."""
        return (
            ReleasedAdam([*self.discriminator.parameters(), *self.mapping_tl.parameters()], lr),
            ReleasedAdam([*self.generator.parameters(), *self.mapping_fl.parameters()], lr),
        )


class ReleasedAdam:
    """Adam with beta1 = 0 whose rate is scaled tensor by tensor, as released."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        self.params, self.lr, self.squares, self.count = params, lr, {}, 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update of every tensor that has a gradient."""
        self.count += 1
        for p in self._with_gradient():
            rate = getattr(p, "rate", 1.0)
            grad = p.grad * rate
            square = self.squares.setdefault(p, torch.zeros_like(p))
            square.mul_(0.99).addcmul_(grad, grad, value=0.01)
            denominator = square.sqrt().add_(1e-8)
            size = self.lr * math.sqrt(1 - 0.99**self.count) * rate
            p.addcdiv_(grad, denominator, value=-size)

    def _with_gradient(self) -> Iterator[nn.Parameter]:
        return (p for p in self.params if p.grad is not None)


def _rgb(name: str, a: int, b: int) -> nn.Module:
    made = nn.Module()
    gain = 0.03 if name == "to_rgb" else math.sqrt(2.0)
    setattr(made, name, Conv(a, b, 1, gain=gain, rgb=True))
    return made
