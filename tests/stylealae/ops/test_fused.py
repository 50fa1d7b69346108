"""The one-pass steps between convolutions against the same steps written out, in float64."""

import pytest
import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stylealae.ops import blur, fused

N, C, R = 3, 4, 6


@pytest.fixture(params=[1, 50, 1 << 20], ids=["a plane a tile", "odd tiles", "one tile"])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of several sizes: the result may not depend on them."""
    for module in (blur, fused):
        monkeypatch.setattr(module, "TILE", request.param)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def norm(y: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean, var = y.mean((2, 3)), y.var((2, 3), correction=0)
    return (y - mean[:, :, None, None]) / (var + eps).sqrt()[:, :, None, None], mean, var


def styled_plainly(
    x: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, noise: Tensor | None
) -> Tensor:
    if noise is not None:
        x = x + weight[:, None, None] * noise
    y, _, _ = norm(fn.leaky_relu(x + bias[:, None, None], 0.2), 1e-8)
    return y * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def normalised_plainly(x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return norm(fn.leaky_relu(x + bias[:, None, None], 0.2), 1e-5)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("noisy", [True, False])
def test_styled_is_noise_bias_activation_norm_and_style(noisy):
    x, bias, weight = draw(N, C, R, R), draw(C), draw(C)
    scale, shift = draw(N, C), draw(N, C)
    noise = draw(N, 1, R, R).detach() if noisy else None
    inputs = (x, bias, scale, shift, *((weight,) if noisy else ()))
    ours = fused.styled(x.clone(), bias, scale, shift, noise=noise, noise_weight=weight, eps=1e-8)
    plain = styled_plainly(x, bias, scale, shift, weight, noise)
    torch.testing.assert_close(ours, plain)
    g = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, g), torch.autograd.grad(plain, inputs, g), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("tile")
def test_normalised_is_bias_activation_and_norm_with_its_statistics():
    x, bias = draw(N, C, R, R), draw(C)
    ours = fused.normalised(x.clone(), bias, eps=1e-5)
    plain = normalised_plainly(x, bias)
    weights = [torch.randn_like(a) for a in plain]
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(
        torch.autograd.grad(ours, (x, bias), weights),
        torch.autograd.grad(plain, (x, bias), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_normalised_and_blur_are_twice_differentiable():
    x, bias = draw(2, 2, 4, 4), draw(2)

    def all_outputs(x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return fused.normalised(x.clone(), bias, eps=1e-5)

    assert torch.autograd.gradcheck(all_outputs, (x, bias))
    assert torch.autograd.gradgradcheck(all_outputs, (x, bias))
    assert torch.autograd.gradgradcheck(fused.blur, draw(2, 2, 4, 5))


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("size", [(4, 4), (1, 7), (16, 16)])
def test_blur_is_the_binomial_kernel_with_zero_padding(size):
    x = draw(2, 3, *size)
    tap = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    kernel = (torch.outer(tap, tap) / 16).expand(3, 1, 3, 3)
    plain = fn.conv2d(x, kernel, padding=1, groups=3)
    ours = fused.blur(x)
    torch.testing.assert_close(ours, plain)
    g = torch.randn_like(plain)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in (ours, plain)))


@pytest.mark.parametrize("side", [4, 32, 33])
def test_blur_is_the_same_in_float32_whichever_way_it_is_computed(side):
    x = torch.randn(2, 16, side, side)
    torch.testing.assert_close(fused.blur(x), fused.blur(x.double()).float())


def test_half_precision_is_rounded_once():
    x, bias = torch.randn(2, 3, 8, 8).bfloat16(), torch.randn(3)
    exact, mean, var = normalised_plainly(x.double(), bias.double())
    out, our_mean, our_var = fused.normalised(x.clone(), bias, eps=1e-5)
    assert out.dtype == torch.bfloat16
    assert our_mean.dtype == our_var.dtype == torch.float32
    torch.testing.assert_close(out, exact.bfloat16(), rtol=2**-7, atol=1e-6)
    torch.testing.assert_close(our_mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(our_var.double(), var, rtol=1e-5, atol=1e-5)
    assert fused.blur(x).dtype == torch.bfloat16


def test_no_images_are_no_error():
    x = torch.zeros(0, 3, 8, 8)
    assert fused.blur(x).shape == x.shape
    assert fused.normalised(x.clone(), torch.zeros(3), eps=1e-5)[0].shape == x.shape


class ReadsOfNothing(TorchDispatchMode):
    """Counts the casts of tensors that hold nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.blank: dict[int, Tensor] = {}
        self.found = 0

    def __torch_dispatch__(self, op, types, given=(), named=None):
        out = op(*given, **(named or {}))
        name = op._overloadpacket.__name__
        if name.startswith("empty"):
            self.blank[out.untyped_storage().data_ptr()] = out
        elif name == "_to_copy":
            self.found += given[0].untyped_storage().data_ptr() in self.blank
        elif name.endswith("_"):
            self.blank.pop(given[0].untyped_storage().data_ptr(), None)
        return out


def test_what_is_only_written_is_not_read():
    x, bias = torch.randn(2, 3, 8, 8).bfloat16().requires_grad_(True), draw(3).float()
    style = torch.randn(2, 3), torch.randn(2, 3)
    with ReadsOfNothing() as reads:
        a = fused.normalised(x.clone(), bias, eps=1e-5)[0]
        b = fused.styled(x.clone(), bias, *style, noise=None, noise_weight=bias, eps=1e-8)
        (a + b).sum().backward()
    assert reads.found == 0
