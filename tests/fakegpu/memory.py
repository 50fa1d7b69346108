"""What an image takes of a GPU's memory, counted tensor by tensor, beside what a plan says."""

from pathlib import Path

from pipeline.config import load
from pipeline.planning.memory import activation_bytes
from pipeline.planning.stage_plan import stage_plan
from tests.fakegpu.iterations import iterated

__all__ = ["HELD", "planned_well"]

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "ffhq_1024.yaml"
STAGE = 6
HELD = {
    "fp32": ("engine.precision=fp32",),
    "bf16": ("engine.precision=bf16",),
    "bf16 without R1": ("engine.precision=bf16", "loss.r1_gamma=0"),
}
TOO_MUCH = 1.2
"""Of what is counted, at most so much is planned for; and never less."""


def planned_well(overrides: tuple[str, ...], folder: Path) -> str:
    """What is wrong with the plan; empty if nothing is.  A third image more than two is counted."""
    peaks, alone = [], ("cluster.workers=[1]", "engine.micro_batch=[0]", *overrides)
    for n in (2, 3):
        cfg = load(CONFIG, (*alone, f"schedule.batch=[{n}]"))
        peaks.append(iterated(cfg, STAGE, folder / str(n), fading=True, memory=True).peak)
    image, planned = peaks[1] - peaks[0], activation_bytes(stage_plan(cfg, STAGE))
    if 0.99 * image <= planned <= TOO_MUCH * image:
        return ""
    return f"an image takes {image / 2**20:.0f} MiB, planned are {planned / 2**20:.0f}"
