"""Arithmetic on styles."""

import torch

from stylealae import latents


def test_bands_share_out_the_layers():
    assert latents.bands(18) == {"coarse": (0, 3), "middle": (4, 7), "fine": (8, 17)}
    for layers in range(2, 20, 2):
        covered = [k for a, b in latents.bands(layers).values() for k in range(a, b + 1)]
        assert covered == list(range(layers))
    w, other = torch.zeros(1, 6, 2), torch.ones(1, 6, 2)
    assert latents.swap(w, other, 2, 3)[0, :, 0].tolist() == [0, 0, 1, 1, 0, 0]
