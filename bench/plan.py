"""How well a plan forecasts this machine: rates from three stages, images/s of the others."""

from dataclasses import replace
from typing import Any

from pipeline.config import RunConfig
from pipeline.planning.calibration import calibrated, measured, predicted_s

GIVEN = (0, 2, 4)
ASKED = (1, 3, 5, 6)


def bench_plan(cfg: RunConfig, quick: bool) -> list[dict[str, Any]]:
    """Predicted / measured images/s of stages that the fit has not seen, float32 and bf16."""
    rates = calibrated(cfg, GIVEN)
    cells = [{"name": "plan, error by leaving a stage out", "ratio": rates.error}]
    for stage in ASKED[: 2 if quick else None]:
        for precision in ("fp32", "bf16"):
            for point in measured(
                replace(cfg, engine=replace(cfg.engine, precision=precision)), stage
            ):
                images, predicted = point.plan.batch, predicted_s(point, rates)
                what = f"{4 << stage}x{4 << stage}, batch {images}, {precision}"
                cells.append(
                    {
                        "name": f"plan, {what}: predicted / measured",
                        "ratio": round(point.seconds / predicted, 3),
                        "a_img_per_s": round(images / predicted, 2),
                        "b_img_per_s": round(images / point.seconds, 2),
                    }
                )
    return cells
