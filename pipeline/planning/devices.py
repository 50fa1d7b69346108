"""The rates of a device at what an iteration is made of: measured, or from a GPU's data sheet.

`Rates` are fitted to this machine by `stylealae plan --calibrate`, or estimated from a data sheet
and the efficiencies assumed here; an estimate is marked as one wherever it is shown.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from stylealae.errors import ConfigError

__all__ = ["GPUS", "Gpu", "Rates"]

ARITHMETIC, PLAIN, TRAFFIC, LINK = 0.45, 0.6, 0.7, 0.7
"""Assumed shares of a data sheet's peaks that an operation reaches: on tensor cores, in true
float32, of the memory's bandwidth, of the links'."""
ASSUMED_ERROR = 0.35
"""How far an estimate may be off, by the ranges that these shares have elsewhere."""
LAUNCH_S = 8e-6
"""Assumed time of the smallest operation on a GPU: the host's time to launch it."""


@dataclass(frozen=True)
class Gpu:
    """A data sheet: dense peaks, without sparsity."""

    memory_gib: float
    fp32_tflops: float
    tf32_tflops: float
    """0: the GPU has none."""
    half_tflops: float
    memory_gb_s: float
    inside_gb_s: float
    """To another GPU of the host, one direction."""
    outside_gb_s: float
    """To a GPU of another host: its share of a usual host's network."""

    @property
    def bf16(self) -> bool:
        """Whether it has instructions for bf16, which came with those for TF32."""
        return self.tf32_tflops > 0


GPUS = {
    "titan-rtx": Gpu(24, 16.3, 0, 65, 672, 12, 1.5),
    "rtx4090": Gpu(24, 82.6, 82.6, 165, 1008, 25, 1.5),
    "v100": Gpu(32, 15.7, 0, 125, 900, 150, 1.5),
    "l4": Gpu(24, 30.3, 60, 121, 300, 25, 1.5),
    "a10g": Gpu(24, 31.2, 35, 70, 600, 25, 1.5),
    "l40s": Gpu(48, 91.6, 183, 362, 864, 25, 6),
    "a100-40": Gpu(40, 19.5, 156, 312, 1555, 300, 6),
    "a100": Gpu(80, 19.5, 156, 312, 2039, 300, 12),
    "h100": Gpu(80, 67, 494, 989, 3350, 450, 50),
    "h200": Gpu(141, 67, 494, 989, 4800, 450, 50),
    "b200": Gpu(180, 75, 1100, 2250, 8000, 900, 50),
}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast a device is at what an iteration is made of."""

    device: str
    fp32_flop_s: float
    """Of true float32; where `tf32_flop_s` is 0, of whatever float32 is computed in."""
    half_flop_s: float
    byte_s: float
    launch_s: float
    inside_byte_s: float = 10e9
    outside_byte_s: float = 1.5e9
    tf32_flop_s: float = 0.0
    fuses: bool = False
    """Whether steps between convolutions are fused by a compiler there."""
    error: float = 0.0
    """Typical relative error of a prediction: of points left out of the fit; 0 is unknown."""

    @classmethod
    def estimated(cls, name: str) -> "Rates":
        """Those of a GPU by its data sheet and the efficiencies assumed here; never measured."""
        if name not in GPUS:
            raise ConfigError(
                f"no data sheet of a GPU named {name!r}: use {', '.join(GPUS)}, or measure one "
                "with --calibrate and give --rates"
            )
        gpu = GPUS[name]
        return cls(
            device=name,
            fp32_flop_s=gpu.fp32_tflops * 1e12 * PLAIN,
            tf32_flop_s=gpu.tf32_tflops * 1e12 * ARITHMETIC,
            fuses=True,
            half_flop_s=gpu.half_tflops * 1e12 * ARITHMETIC,
            byte_s=gpu.memory_gb_s * 1e9 * TRAFFIC,
            launch_s=LAUNCH_S,
            inside_byte_s=gpu.inside_gb_s * 1e9 * LINK,
            outside_byte_s=gpu.outside_gb_s * 1e9 * LINK,
        )

    @classmethod
    def read(cls, path: Path) -> "Rates":
        """Those that `--calibrate` wrote."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"cannot read the rates {path} ({error}): make them with "
                f"`stylealae plan CONFIG --calibrate {path}`"
            ) from error

    def write(self, path: Path) -> None:
        """As `read` wants them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2))
