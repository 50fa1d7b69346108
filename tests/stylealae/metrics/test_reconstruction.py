"""PSNR and SSIM against torchmetrics; the reciprocity error against what it means."""

import pytest
import torch

from stylealae.metrics.reconstruction import as_stored, psnr, reciprocity, ssim

A, B = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
B = 0.7 * A + 0.3 * B


def test_psnr_is_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.functional.image")
    for a, b, found in zip(A, B, psnr(A, B), strict=True):
        expected = image.peak_signal_noise_ratio(b, a, data_range=1.0)
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_ssim_is_torchmetrics_where_the_window_lies_inside() -> None:
    image = pytest.importorskip("torchmetrics.functional.image")
    _, everywhere = image.structural_similarity_index_measure(
        B, A, data_range=1.0, reduction="none", return_full_image=True
    )
    inside = everywhere[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(A, B), inside, rtol=1e-6, atol=1e-9)


def test_equal_images_are_equal_at_every_size() -> None:
    for side in (4, 8, 16):
        x = A[..., :side, :side]
        torch.testing.assert_close(ssim(x, x), torch.ones(4).double())
        assert psnr(x, x).tolist() == [100.0] * 4


def test_what_was_read_from_8_bits_is_stored_as_it_was() -> None:
    pixels = torch.arange(256)
    torch.testing.assert_close(as_stored(pixels / 127.5 - 1) * 255, pixels.double())
    assert as_stored(torch.tensor([-3.0, 3.0])).tolist() == [0.0, 1.0]


def test_a_perfect_encoder_loses_nothing_and_a_constant_one_the_variance() -> None:
    w = torch.randn(500, 8, generator=torch.Generator().manual_seed(1))
    assert reciprocity(w, w) == (0.0, 0.0)
    error, share = reciprocity(w, w.mean(0).expand(500, 8))
    assert share == pytest.approx(1.0, rel=1e-5)
    assert error == pytest.approx(float(w.var(0, correction=0).mean()), rel=1e-5)
