"""The authors' published .pth checkpoints -> our networks, number for number.

The released layout counts encoder blocks from the highest resolution down, stores weights that
already hold the equalised scale, and from 128x128 on keeps G's upsampling kernels transposed and
flipped (their `conv_transpose2d`).
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from stylealae.config import MAX_SIDE, ModelConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.interop.integrity import require_file, require_finite
from stylealae.networks import Networks, build, encoder, generator
from stylealae.ops.layers import EqualConv2d, EqualLinear

__all__ = ["Counterpart", "counterparts", "model_of", "read_released", "released_to_ours"]

FUSED_FROM = 128
MAX_BLOCKS = MAX_SIDE.bit_length() - 2
SHARED = 2
"""Tensors that are stored together may claim so many times the bytes that are there."""
UNREADABLE = (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, AssertionError, IndexError)
"""What torch.load and zipfile raise beside RuntimeError at a damaged file."""
F, D, E, G, MEAN = "mapping_fl", "mapping_tl", "discriminator", "generator", "dlatent_avg"


@dataclass(frozen=True)
class Counterpart:
    """The parameter of ours that one released tensor is."""

    parameter: nn.Parameter
    scale: float = 1.0
    """released = ours * scale."""
    transposed: bool = False
    """A fused upsampling kernel, stored [in, out, 3, 3] and flipped."""

    def ours(self, released: Tensor) -> Tensor:
        """A released weight in our layout and scale."""
        return self._turned(released).reshape(self.parameter.shape) / self.scale

    def gradient(self, ours: Tensor) -> Tensor:
        """Our gradient in the released layout: with respect to the released weight."""
        return self._turned(ours) / self.scale

    def _turned(self, kernel: Tensor) -> Tensor:
        return kernel.transpose(0, 1).flip(2, 3) if self.transposed else kernel


def read_released(path: Path, *, ema: bool = True) -> dict[str, Tensor]:
    """The tensors of a released checkpoint as `module/parameter`; its running averages if `ema`.

    Raises:
        CheckpointError: the file is missing, truncated, something else, or would run code.
    """
    try:
        _require_stored(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        models: Mapping[str, Mapping[str, Tensor]] = content["models"]
        suffix = "_s" if ema else ""
        named = {module: models[module + suffix] for module in (F, D, E, G)}
        named[MEAN] = models.get(MEAN + suffix, models[MEAN])  # the released EMA leaves it out
        tensors = {f"{m}/{name}": t for m, part in named.items() for name, t in part.items()}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is a torch file, but not one of the released code: it has no entry {error}"
        ) from error
    except (*UNREADABLE, RuntimeError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch's advice is to run its code
        raise CheckpointError(
            f"{path} is no whole checkpoint of the released code ({reason}): give a .pth file such "
            "as model_submitted.pth"
        ) from error
    _require_backed(path, tensors)
    require_finite(path, tensors)
    return tensors


def _require_stored(path: Path) -> None:
    """Refuses a pointer, and an archive that claims more than the file: torch.save packs none."""
    size = path.stat().st_size
    require_file(path, advice="give a .pth file such as model_submitted.pth")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > size:
            raise ValueError(f"it claims {claimed:,} bytes and has {size:,}")


def _require_backed(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuses what is no tensor, or repeats a few stored numbers to a large one."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path} is not of the released code: {name} is no tensor")
    stored = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors.values()
    }
    claimed = sum(t.numel() * t.element_size() for t in tensors.values())
    if claimed > SHARED * sum(stored.values()):
        raise CheckpointError(
            f"{path} is no whole checkpoint: its tensors claim {claimed:,} bytes, and "
            f"{sum(stored.values()):,} are stored"
        )


def model_of(tensors: Mapping[str, Tensor]) -> ModelConfig:
    """The shape of the networks, read off the tensors.

    Raises:
        CheckpointError: the tensors are of another architecture, an ablation of the paper, say.
    """
    try:
        blocks = 1 + max(_numbers(tensors, f"{E}/encode_block."))
        if blocks > MAX_BLOCKS:
            raise ValueError(f"they name {blocks:,} blocks, {MAX_BLOCKS} are the most")
        rgb = tensors[f"{E}/from_rgb.0.from_rgb.weight"]  # [C, channels, 1, 1], full resolution
        first = tensors[f"{F}/map_blocks.0.fc.weight"]  # [W, Z]
        return ModelConfig(
            resolution=4 << (blocks - 1),
            channels=rgb.shape[1],
            start_channels=rgb.shape[0],
            max_channels=tensors[f"{G}/const"].shape[1],
            z_width=first.shape[1],
            w_width=first.shape[0],
            mapping_layers=1 + max(_numbers(tensors, f"{F}/map_blocks.")),
        )
    except (KeyError, IndexError, ValueError, ConfigError) as error:
        raise CheckpointError(f"these weights are not of a StyleALAE: {error}") from error


def released_to_ours(tensors: Mapping[str, Tensor]) -> tuple[Networks, ModelConfig, Tensor]:
    """Networks, their shape and the mean styles [L, W] of released tensors.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape.
    """
    model = model_of(tensors)
    found = {k: v for k, v in tensors.items() if not k.endswith("blur.weight")}
    w_mean = found.pop(f"{MEAN}/buff", None)
    with torch.device("meta"):
        _require_counterparts(found, counterparts(build(model)))
    if w_mean is None or w_mean.numel() != 2 * model.blocks * model.w_width:
        raise CheckpointError(f"these weights are not of a StyleALAE: {MEAN} does not fit them")
    nets = build(model)
    with torch.no_grad():
        for name, counterpart in counterparts(nets).items():
            counterpart.parameter.copy_(counterpart.ours(found[name]))
    return nets, model, w_mean.reshape(nets.G.layers, model.w_width)


def _require_counterparts(found: Mapping[str, Tensor], wanted: Mapping[str, Counterpart]) -> None:
    """Refuses released tensors that are not, one for one, of the size of ours."""
    if wanted.keys() != found.keys():
        missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        raise CheckpointError(
            f"these weights are of another architecture than StyleALAE: missing {missing[:3]}, "
            f"unknown {extra[:3]}"
        )
    for name, counterpart in wanted.items():
        if found[name].numel() != counterpart.parameter.numel():
            raise CheckpointError(
                f"{name} has shape {list(found[name].shape)}, "
                f"a StyleALAE like this wants {list(counterpart.parameter.shape)}"
            )


def counterparts(nets: Networks) -> dict[str, Counterpart]:
    """The parameter that every released tensor is, by its `module/parameter` name."""
    return {**dict(_mappings(nets)), **dict(_encoder(nets)), **dict(_generator(nets))}


def _mappings(nets: Networks) -> Iterator[tuple[str, Counterpart]]:
    for i, layer in enumerate(nets.F.layers):
        yield from _affine(f"{F}/map_blocks.{i}.fc", cast(EqualLinear, layer))
    for i, layer in enumerate(nets.D.layers):
        yield from _affine(f"{D}/map_blocks.{i}", cast(EqualLinear, layer))


def _encoder(nets: Networks) -> Iterator[tuple[str, Counterpart]]:
    last = len(nets.E.blocks) - 1
    for k, module in enumerate(nets.E.blocks):
        block, name = cast(encoder.Block, module), f"{E}/encode_block.{last - k}"
        steps = ((block.conv_1, block.style_1), (block.conv_2, block.style_2))
        for j, (conv, exit) in enumerate(steps, 1):
            yield f"{name}.conv_{j}.weight", Counterpart(conv.weight, conv.scale)
            yield f"{name}.bias_{j}", Counterpart(exit.bias)
            yield from _affine(f"{name}.style_{j}", exit.linear)
        rgb = cast(EqualConv2d, nets.E.from_rgb[k])
        yield from _affine(f"{E}/from_rgb.{last - k}.from_rgb", rgb)


def _generator(nets: Networks) -> Iterator[tuple[str, Counterpart]]:
    for k, module in enumerate(nets.G.blocks):
        name = f"{G}/decode_block.{k}"
        block = cast(generator.FirstBlock | generator.Block, module)
        if isinstance(block, generator.FirstBlock):
            yield f"{G}/const", Counterpart(block.const)
        else:
            conv, fused = block.conv_1, 4 << k >= FUSED_FROM
            yield f"{name}.conv_1.weight", Counterpart(conv.weight, conv.scale, transposed=fused)
        yield f"{name}.conv_2.weight", Counterpart(block.conv_2.weight, block.conv_2.scale)
        for j, layer in enumerate((block.layer_1, block.layer_2), 1):
            yield f"{name}.bias_{j}", Counterpart(layer.bias)
            yield f"{name}.noise_weight_{j}", Counterpart(layer.noise_weight)
            yield from _affine(f"{name}.style_{j}", layer.affine)
        yield from _affine(f"{G}/to_rgb.{k}.to_rgb", cast(EqualConv2d, nets.G.to_rgb[k]))


def _affine(name: str, layer: EqualLinear | EqualConv2d) -> Iterator[tuple[str, Counterpart]]:
    assert layer.bias is not None
    yield f"{name}.weight", Counterpart(layer.weight, layer.scale)
    rate = layer.lrmul if isinstance(layer, EqualLinear) else 1.0
    yield f"{name}.bias", Counterpart(layer.bias, rate)


def _numbers(tensors: Mapping[str, Tensor], prefix: str) -> set[int]:
    """The block numbers that follow a prefix."""
    found = {int(k[len(prefix) :].split(".")[0]) for k in tensors if k.startswith(prefix)}
    if not found:
        raise ValueError(f"nothing is called {prefix}*")
    return found
