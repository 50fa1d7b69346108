"""F, G and E for other programs: in ordinary operations only, as torch.export files or ONNX.

The networks proper work in place, tile by tile, with derivatives of their own, which no exporter
can follow. These say the same in plain convolutions, for any batch; weights are the final ones,
scaled and fused. Noise is off.

Legend: N batch, C channels, R resolution, L layers, W width of w.
"""

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from stylealae.errors import ConfigError
from stylealae.networks import Networks
from stylealae.networks import encoder as released_encoder
from stylealae.networks import generator as released_generator
from stylealae.ops.formulas import STD_EPS
from stylealae.ops.fused import SLOPE
from stylealae.schedule import Growth

__all__ = ["FORMATS", "PlainEncoder", "PlainGenerator", "export", "plain"]

TOLERANCE = 1e-3
"""A larger error is no rounding."""


class PlainGenerator(nn.Module):
    """G at one stage.  [N, L, W] -> [N, C, R, R]"""

    def __init__(self, nets: Networks, stage: int) -> None:
        super().__init__()
        G: Any = nets.G
        self.const = nn.Parameter(G.blocks[0].const.detach().clone())
        self.styles, self.convs, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.biases = nn.ParameterList()
        for k in range(stage + 1):
            block = G.blocks[k]
            if k:
                kernel = _shifted(block.conv_1).transpose(0, 1)
                self.ups.append(_conv(kernel, None, nn.ConvTranspose2d, stride=2, padding=1))
            self.convs.append(_conv(block.conv_2.weight * block.conv_2.scale, None, padding=1))
            for layer in (block.layer_1, block.layer_2):
                self.styles.append(_linear(layer.affine))
                self.biases.append(layer.bias.detach().clone())
        rgb = G.to_rgb[stage]
        self.to_rgb = _conv(rgb.weight * rgb.scale, rgb.bias)
        self.blur: nn.Module = Blur()

    def forward(self, w: Tensor) -> Tensor:
        """The image of w."""
        x = self.const.repeat(w.shape[0], 1, 1, 1)
        for k, conv in enumerate(self.convs):
            if k:
                x = self.blur(self.ups[k - 1](x))
            x = self._styled(x, w, 2 * k)
            x = self._styled(conv(x), w, 2 * k + 1)
        rgb: Tensor = self.to_rgb(x)
        return rgb

    def _styled(self, x: Tensor, w: Tensor, layer: int) -> Tensor:
        x = fn.leaky_relu(x + self.biases[layer][:, None, None], SLOPE)
        x, _, _ = _normalised(x, released_generator.NORM_EPS)
        style, half = self.styles[layer](w[:, layer])[:, :, None, None], x.shape[1]
        out: Tensor = x * (1 + style[:, :half]) + style[:, half:]
        return out


class PlainEncoder(nn.Module):
    """E at one stage.  [N, C, R, R] -> [N, W]"""

    def __init__(self, nets: Networks, stage: int) -> None:
        super().__init__()
        E: Any = nets.E
        rgb = E.from_rgb[stage]
        self.channels = int(rgb.weight.shape[1])
        self.from_rgb = _conv(rgb.weight * rgb.scale, rgb.bias)
        self.convs, self.exits, self.biases = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for k in range(stage, -1, -1):
            block = E.blocks[k]
            first = block.conv_1
            self.convs.append(_conv(first.weight * first.scale, None, padding=1))
            self.convs.append(_conv(_shifted(block.conv_2), None, stride=2, padding=1))
            for exit in (block.style_1, block.style_2):
                self.exits.append(_linear(exit.linear))
                self.biases.append(exit.bias.detach().clone())
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        """The style of x."""
        x = fn.leaky_relu(self.from_rgb(x), SLOPE * SLOPE)
        styles = []
        for k, (conv, exit) in enumerate(zip(self.convs, self.exits, strict=True)):
            x = conv(self.blur(x) if k % 2 else x)
            x = fn.leaky_relu(x + self.biases[k][:, None, None], SLOPE)
            x, mean, var = _normalised(x, released_encoder.NORM_EPS)
            styles.append(exit(torch.cat((mean, torch.sqrt(var + STD_EPS)), dim=1)))
        return torch.stack(styles).sum(0)


class Blur(nn.Module):
    """Depthwise [1 2 1] x [1 2 1] / 16 with zero padding."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        tap = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (torch.outer(tap, tap) / 16)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, R, R] -> same"""
        channels = x.shape[1]
        return fn.conv2d(x, self.kernel.repeat(channels, 1, 1, 1), padding=1, groups=channels)


def plain(nets: Networks, stage: int) -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """The networks by name, each with the shape of one of its inputs."""
    G, E = PlainGenerator(nets, stage), PlainEncoder(nets, stage)
    width, channels = nets.D.w_width, E.channels
    return {
        "mapping": (nets.F, (width,)),
        "generator": (G, (2 * (stage + 1), width)),
        "encoder": (E, (channels, 4 << stage, 4 << stage)),
    }


def export(nets: Networks, stage: int, folder: Path, kind: str) -> dict[str, float]:
    """Writes mapping, generator and encoder as `kind`; the largest error of each against torch's.

    An error is the largest difference on three random inputs, over the largest output.

    Raises:
        ConfigError: what ONNX needs is not installed, or a file computes something else.
    """
    nets = nets.cpu()
    errors: dict[str, float] = {}
    for name, (module, shape) in plain(nets, stage).items():
        source = torch.Generator().manual_seed(0)
        x = torch.randn(3, *shape, generator=source)
        with torch.no_grad():
            want = _own(nets, stage)[name](x.clone())
            got = FORMATS[kind](module.eval().requires_grad_(False), x[:2], folder / name)(x)
        errors[name] = float((got - want).abs().max() / want.abs().max())
        if not errors[name] < TOLERANCE:  # NaN too
            raise ConfigError(
                f"{name} as {kind} is off by {errors[name]:.1e} of its largest output, more than "
                f"{TOLERANCE:g}: other versions of torch or onnxruntime may be at fault; leave out "
                f"--format {kind}"
            )
    return errors


def _own(nets: Networks, stage: int) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """What is to be met: the networks themselves."""
    at = Growth(stage=stage)
    return {
        "mapping": nets.F,
        "generator": lambda w: nets.G(w, at),
        "encoder": lambda x: nets.E(x, at),
    }


def _program(module: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))


def _as_torch(module: nn.Module, x: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    """A .pt2 file; gives back what it computes."""
    file = path.with_suffix(".pt2")
    torch.export.save(_program(module, x), file)
    return torch.export.load(file).module()


def _as_onnx(module: nn.Module, x: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    """An .onnx file; gives back what onnxruntime computes from it."""
    try:
        runtime = importlib.import_module("onnxruntime")
        importlib.import_module("onnxscript")
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs {error.name}, which is not installed: pip install 'stylealae[onnx]'"
        ) from error
    file = path.with_suffix(".onnx")
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Unoptimised: onnxscript's optimiser takes the norm's epsilon of 1e-8 for 0, and a constant
        # plane then gives NaN. onnxruntime optimises on its own, exactly.
        torch.onnx.export(
            _program(module, x), (x,), str(file), dynamo=True, external_data=False, optimize=False,
            verbose=False, input_names=[{2: "z", 3: "w", 4: "x"}[x.ndim]],
        )  # fmt: skip
    chatty.setLevel(level)
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


FORMATS: dict[str, Callable[[nn.Module, Tensor, Path], Callable[[Tensor], Tensor]]] = {
    "torch": _as_torch,
    "onnx": _as_onnx,
}
"""How networks are written, by name."""


def _normalised(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features of mean 0 and variance 1 in each plane, and their mean and variance [N, C]."""
    mean = x.mean((2, 3), keepdim=True)
    x = x - mean
    var = x.square().mean((2, 3), keepdim=True)
    return x * torch.rsqrt(var + eps), mean.flatten(1), var.flatten(1)


def _shifted(conv: Any) -> Tensor:
    """The 4x4 kernel of a resampling convolution.  -> [O, I, 4, 4]"""
    kernel: Tensor = conv.weight.detach().reshape(-1, 9) @ conv.shifts
    return kernel.view(*conv.weight.shape[:2], 4, 4)


def _conv(kernel: Tensor, bias: Tensor | None, kind: Any = nn.Conv2d, **how: int) -> nn.Module:
    a, b, side, _ = kernel.shape
    into, out = (b, a) if kind is nn.Conv2d else (a, b)
    conv: nn.Module = kind(into, out, side, bias=bias is not None, **how)
    conv.weight = nn.Parameter(kernel.detach().clone().contiguous())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv


def _linear(layer: Any) -> nn.Linear:
    linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
    linear.weight = nn.Parameter((layer.weight * layer.scale).detach().clone())
    linear.bias = nn.Parameter((layer.bias * layer.lrmul).detach().clone())
    return linear
