"""What a plan says of idle GPUs and of ZeRO, and what it takes fused steps to cost."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import RunConfig, load
from pipeline.planning import fusion
from pipeline.planning.advice import advice
from pipeline.planning.cost_model import iteration_s, operations, sections, split_s
from pipeline.planning.devices import Rates
from pipeline.planning.forecast import Outlook, shared_among
from pipeline.planning.stage_plan import stage_plan
from stylealae.config import ModelConfig

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "tests/fakegpu/fused.json"
SLOW_LINKS = Rates(
    device="known", fp32_flop_s=2e11, half_flop_s=5e11, byte_s=2e10, launch_s=2e-5,
    tf32_flop_s=4e11, inside_byte_s=1e9, outside_byte_s=1e9,
)  # fmt: skip


@pytest.fixture(scope="module")
def cfg() -> RunConfig:
    """Batches of 128 images, and of 64 at 8x8."""
    return load(
        ROOT / "configs/demo.yaml",
        ["model.resolution=8", "model.max_channels=8", "schedule.stage_img=[3200]",
         "schedule.batch=[128,64]", "schedule.lr=[0.001,0.002]", "cluster.workers=[1]"],
    )  # fmt: skip


def test_idle_gpus_are_named_with_what_would_use_them(cfg: RunConfig) -> None:
    idle, larger, split, *_ = advice(
        Outlook(cfg=shared_among(cfg, 128), gpus=128, rates=SLOW_LINKS)
    )
    assert idle.startswith("up to 64 of 128 GPUs are idle (8x8)")
    assert "schedule.batch=[128,128]" in larger
    assert f"schedule.lr=[0.001,{0.002 * math.sqrt(2):.3g}]" in larger
    then, now = re.findall(r"([\d.]+) hours instead of ([\d.]+)", larger)[0]
    assert float(then) <= float(now)
    assert "would spare" in split


def test_a_run_that_uses_all_of_its_gpus_is_told_nothing_of_that(cfg: RunConfig) -> None:
    assert not [
        said
        for said in advice(Outlook(cfg=shared_among(cfg, 64), gpus=64, rates=SLOW_LINKS))
        if "idle" in said
    ]


def test_zero_0_is_named_where_many_small_collectives_cost_more(cfg: RunConfig) -> None:
    shared = shared_among(cfg, 2)
    pieces = replace(shared, engine=replace(shared.engine, bucket_mib=1))
    plan = stage_plan(pieces, 1)
    fast = replace(SLOW_LINKS, inside_byte_s=1e15)
    plain = replace(plan, engine=replace(plan.engine, zero_stage=0))
    assert iteration_s(plain, 2, SLOW_LINKS) > iteration_s(plan, 2, SLOW_LINKS)
    named = [
        said
        for said in advice(Outlook(cfg=pieces, gpus=2, rates=fast))
        if said.startswith("engine.zero_stage=0")
    ]
    assert bool(named) == (iteration_s(plain, 2, fast) < 0.99 * iteration_s(plan, 2, fast))


def test_phase_i_split_spares_less_than_half_of_an_iteration(cfg: RunConfig) -> None:
    plan = stage_plan(cfg, 1)
    assert 0 < split_s(plan, 1, SLOW_LINKS) < 0.5 * iteration_s(plan, 1, SLOW_LINKS)


def test_where_tf32_may_be_taken_decides_how_long_float32_takes(cfg: RunConfig) -> None:
    taken = []
    for where in ("off", "outside_r1", "on"):
        engine = replace(cfg.engine, precision="fp32", tf32=where)
        plan = stage_plan(replace(cfg, engine=engine), 1)
        taken.append(iteration_s(plan, 1, replace(SLOW_LINKS, launch_s=0.0, byte_s=1e15)))
    assert taken[0] > taken[1] > taken[2]


def test_fused_steps_are_fewer_kernels_of_fewer_bytes(cfg: RunConfig) -> None:
    eager, fused = (operations(*sections(stage_plan(cfg, 1)), 1, due=True, fused=f)
                    for f in (False, True))  # fmt: skip
    for one, other in zip(eager, fused, strict=True):
        assert len(other.flop[0]) < 0.7 * len(one.flop[0])
        assert other.bytes[0].sum() < 0.7 * one.bytes[0].sum()
        blurs = one.flop[0].sum() - other.flop[0].sum()  # convolutions, unless they are fused
        assert 0 <= blurs < 0.2 * one.flop[0].sum()


def test_what_a_fused_step_is_taken_to_cost_is_what_its_code_does() -> None:
    compared = set()
    for recorded, sides in json.loads(RECORD.read_text()).items():
        name, precision, *flags = recorded.split()
        without = " ".join(flags)
        again = "no g_x" not in without
        told_otherwise = name in ("from_image", "of_features", "of_weight")  # by what goes in
        if without.startswith("no g ") or told_otherwise:  # 2x2's
            continue
        kind = fusion.kind_of(name, blurred="blurred" in flags, again=again)
        for side, (kernels, moved) in sides.items():
            if 4 <= int(side) <= 1024 and (name, precision) != ("styled", "fp32"):
                stage, cost = (
                    int(side).bit_length() - 3,
                    fusion.COSTS[kind][int(side) > fusion.SMALL],
                )
                rel = 0.06 if int(side) >= 64 else 0.12 if int(side) > fusion.SMALL else 0.25
                assert moved * (2 if precision == "bf16" else 1) == pytest.approx(
                    cost.of(int(side), 3 / ModelConfig().width(stage)), rel=rel
                ), (recorded, side)
                assert kernels <= 2 * cost.kernels
                compared.add(kind)
    assert compared == set(fusion.COSTS) - {"blur", "from_image", "of_features", "of_weight"}
