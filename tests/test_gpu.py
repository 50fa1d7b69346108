"""What only a GPU can show; all of it is skipped where there is none."""

from dataclasses import replace

import pytest
import torch

from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.training.engine import Engine, joined
from stylealae.config import LossConfig, ModelConfig, ScheduleConfig
from stylealae.networks import build
from stylealae.ops import fused
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here"),
]

MODEL = ModelConfig(
    resolution=64, start_channels=16, max_channels=64, z_width=64, w_width=64, mapping_layers=4
)
AT = Progress(stage=4, alpha=0.5, batch=8, lr=0.001)


def test_one_pass_steps_give_on_the_gpu_what_they_give_on_the_cpu() -> None:
    x, bias = torch.randn(2, 5, 16, 16, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    for here, there in zip(
        fused.normalised(x.clone(), bias, eps=1e-5),
        fused.normalised(x.cuda(), bias.cuda(), eps=1e-5),
        strict=True,
    ):
        torch.testing.assert_close(here, there.cpu())
    torch.testing.assert_close(fused.blur(x), fused.blur(x.cuda()).cpu())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_an_iteration_is_finite_and_near_float32s(precision: str, zero: int) -> None:
    loss = LossConfig()
    engine_cfg = EngineConfig(precision="fp32", zero_stage=zero)
    cfg = RunConfig(model=MODEL, loss=loss, schedule=ScheduleConfig(batch=(8,)), engine=engine_cfg)
    world = joined(engine_cfg, gpu=True)
    x = torch.rand(8, 3, 64, 64, device="cuda") * 2 - 1
    sampler = StyleInputSampler(
        seed=0, z_width=64, mixing_prob=0.9, mine=slice(0, 8), device=torch.device("cuda")
    )
    found = {}
    for kind in ("fp32", precision):
        tried = replace(cfg, engine=replace(engine_cfg, precision=kind))
        engine = Engine(build(MODEL).cuda(), AT, tried, world)
        found[kind] = [
            float(engine.step(phase, x, sampler.draw(phase.name, 0, AT), AT))
            for phase in phases_of(loss)
        ]
        engine.close()
    assert found[precision] == pytest.approx(found["fp32"], rel=0.05, abs=0.05)
