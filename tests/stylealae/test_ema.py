"""The running average follows 0.5 ** (batch / 10,000)."""

import torch

from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.ema import Ema
from stylealae.networks import build
from stylealae.schedule import Progress

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=1
)


def test_half_life_is_counted_in_images():
    nets = build(SMALL)
    for batch in (10_000, 500, 32):
        ema = Ema(nets, ScheduleConfig())
        with torch.no_grad():
            for p in ema.nets.parameters():
                p.zero_()
        ema.update(nets, torch.randn(batch, 8), Progress(stage=1, alpha=1.0, batch=batch, lr=0.1))
        weight = nets.G.blocks[0].conv_2.weight
        share = (ema.nets.G.blocks[0].conv_2.weight / weight).mean().item()
        assert abs(share - (1 - 0.5 ** (batch / 10_000))) < 1e-6


def test_what_has_not_grown_rests_and_w_mean_follows():
    nets, at = build(SMALL), Progress(stage=0, alpha=1.0, batch=64, lr=0.1)
    ema = Ema(nets, ScheduleConfig())
    with torch.no_grad():
        for p in nets.parameters():
            p.add_(1.0)
    z = torch.randn(64, 8)
    ema.update(nets, z, at)
    fresh = dict(build(SMALL).named_parameters())
    moved = {n for n, p in ema.nets.named_parameters() if not torch.equal(p, fresh[n])}
    assert not any(".1." in n and n[0] in "GE" for n in moved)
    assert "F.layers.0.weight" in moved
    torch.testing.assert_close(ema.means["w_mean"], (0.005 * nets.F(z).mean(0)).expand(4, -1))


def test_state_round_trip_is_exact():
    one, two = Ema(build(SMALL, 1), ScheduleConfig()), Ema(build(SMALL, 2), ScheduleConfig())
    one.means["w_mean"].normal_()
    two.load_state_dict(one.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name
