"""What is counted on tensors without content is what autograd really keeps."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.config import RunConfig, load
from pipeline.config.sections import ClusterConfig, EngineConfig
from pipeline.planning.forecast import shared_among
from pipeline.planning.memory import WORKING, activation_bytes, fitted, need, state_bytes
from pipeline.planning.stage_plan import stage_plan, stage_plans
from stylealae.config import LossConfig, ModelConfig, ScheduleConfig
from stylealae.errors import ConfigError
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Growth, Progress

MNIST = Path(__file__).resolve().parents[3] / "configs/mnist"
MODEL = ModelConfig(
    resolution=64, start_channels=8, max_channels=32, z_width=16, w_width=16, mapping_layers=2
)
CFG = RunConfig(
    model=MODEL,
    schedule=ScheduleConfig(batch=(16,)),
    engine=EngineConfig(precision="fp32"),
    cluster=ClusterConfig(workers=(2,)),
)


def really_kept(stage: int, n: int) -> int:
    """Bytes that autograd holds after the critic's forward pass of n images."""
    nets, at = build(MODEL), Progress(stage=stage, alpha=0.5, batch=n, lr=0.0)
    phase = phases_of(LossConfig())[0]
    for network in Networks.networks:
        for p in nets.grown(network, at):
            p.requires_grad_(network in phase.trains)
    weights = {p.data_ptr() for p in nets.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    sampler = StyleInputSampler(
        seed=0, z_width=16, mixing_prob=0.9, mine=slice(0, n), device=torch.device("cpu")
    )
    x = torch.rand(n, 3, at.resolution, at.resolution)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        phase.loss(nets, x, sampler.draw("critic", 0, at), at, LossConfig())
    return sum(t.untyped_storage().nbytes() for p, t in kept.items() if p not in weights)


@pytest.mark.parametrize("stage", [2, 4])
def test_an_images_activations_are_counted(stage: int) -> None:
    image = really_kept(stage, 5) - really_kept(stage, 4) + worked_with(stage)
    assert activation_bytes(stage_plan(CFG, stage)) == pytest.approx(image, rel=0.05)


def worked_with(stage: int) -> int:
    """Bytes of the largest features of an image in float32, as often as they are worked with."""
    return WORKING * 4 * MODEL.width(stage) * (4 << stage) ** 2


def test_half_precision_halves_all_but_the_branch_with_second_derivatives() -> None:
    kept = {}
    for precision in ("fp32", "bf16"):
        for r1_gamma in (0.0, 10.0):
            engine = replace(CFG.engine, precision=precision)
            cfg = replace(CFG, loss=LossConfig(r1_gamma=r1_gamma), engine=engine)
            together = 1 if r1_gamma else 2  # without R1 an operation works on a pair of images
            worked = together * worked_with(4)
            kept[precision, r1_gamma] = activation_bytes(stage_plan(cfg, 4)) - worked
    assert kept["bf16", 0.0] == kept["fp32", 0.0] // 2
    generated = kept["fp32", 0.0] / 2  # of the critic's two branches, which are alike without R1
    halved = kept["fp32", 10.0] - kept["bf16", 10.0]
    assert halved == pytest.approx(generated / 2, rel=0.05)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(MNIST.glob("*.yaml")) if path.stem != "base"],
    ids=lambda path: path.stem,
)
def test_every_config_of_mnist_can_be_planned(path: Path) -> None:
    for plan in stage_plans(load(path)):
        assert need(plan) > state_bytes(plan) > 0


def test_a_network_that_does_not_grow_is_fitted() -> None:
    cfg = load(MNIST / "aae_2d.yaml")
    (plan,) = stage_plans(cfg)
    (micro,) = fitted(cfg, 2 * need(plan)).engine.micro_batch
    assert micro == plan.batch


def test_what_is_fitted_in_float16_leaves_adam_on_the_gpu() -> None:
    cfg = replace(CFG, engine=replace(CFG.engine, precision="fp16"))
    roomy = need(stage_plan(cfg, cfg.last_stage))
    assert fitted(cfg, 2 * roomy).engine.micro_batch[-1] == 8
    with pytest.raises(ConfigError, match="larger GPUs"):
        fitted(cfg, 1 << 20)


def test_lists_of_a_run_that_begins_later_begin_at_stage_0_all_the_same() -> None:
    init = replace(CFG.init, from_="weights", stage=2)
    cfg = replace(CFG, init=init, engine=replace(CFG.engine, micro_batch=(1,)))
    assert fitted(cfg, 1 << 40).engine.micro_batch == (1, 1, 8, 8, 8)
    shared, plain = shared_among(cfg, 2), shared_among(replace(cfg, init=CFG.init), 2)
    assert shared.cluster.workers == plain.cluster.workers


def test_recomputing_keeps_less() -> None:
    less = replace(CFG, engine=replace(CFG.engine, recompute_from=16))
    small, large = ([activation_bytes(stage_plan(cfg, k)) for k in (1, 4)] for cfg in (less, CFG))
    assert small[0] == large[0]
    assert small[1] < large[1]


def test_zero_shards_the_state() -> None:
    nets, at = build(MODEL), Growth(stage=CFG.last_stage, alpha=0.5)
    whole = 4 * sum(p.numel() for p in nets.parameters())
    trained = 4 * sum(p.numel() for network in Networks.networks for p in nets.grown(network, at))
    sizes = []
    for zero in range(4):
        engine = replace(CFG.engine, zero_stage=zero)
        sizes.append(state_bytes(stage_plan(replace(CFG, engine=engine), CFG.last_stage)))
    copies = sizes[0] - 2 * whole - 3 * trained  # weights, average; gradients, two moments
    assert 0 < copies < 3 * whole
    assert sizes[1] - copies == 2 * whole + trained + 2 * trained // 2
    assert sizes[2] - copies == 2 * whole + 4 * trained // 2
    assert sizes[3] - copies == whole + whole // 2 + 4 * trained // 2


def test_what_was_fitted_fits() -> None:
    roomy = need(stage_plan(CFG, CFG.last_stage))
    assert fitted(CFG, 2 * roomy).engine.micro_batch[-1] == 8
    tight = fitted(CFG, roomy // 2)
    assert 1 <= tight.engine.micro_batch[-1] < 8
    assert max(map(need, stage_plans(tight))) <= roomy // 2
    with pytest.raises(ConfigError, match="larger GPUs"):
        fitted(CFG, 1 << 20)
