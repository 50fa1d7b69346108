"""The golden numbers of the released networks, and their checkpoints.

The 32x32 model lies in tests/fixtures; the one of 256x256 and the checkpoints' own files, which are
larger, beside the repository in ../shared/fixtures.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.shared_data import FIXTURES, needs

__all__ = ["MODELS", "checkpoint", "golden"]

HERE = Path(__file__).parent / "fixtures"
SMALL, LARGE = "style_rgb_32", "style_rgb_256"
MODELS = (
    SMALL,
    pytest.param(LARGE, marks=needs(FIXTURES / f"{LARGE}.safetensors")),  # 11 MB
)


def golden(name: str) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """All tensors of a model's file, its weights among them, and what its cases are."""
    folder = HERE if name == SMALL else FIXTURES
    with safe_open(folder / f"{name}.safetensors", "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["meta"])["cases"]


def checkpoint(name: str, folder: Path) -> Path:
    """The model as a .pth of the released code; written into `folder` where its own is not here.

    Its averaged weights are those in use times 0.9, so that the two can be told apart.
    """
    path = FIXTURES / f"{name}.pth"
    if path.exists():
        return path
    models: dict[str, dict[str, Tensor]] = {}
    for key, tensor in golden(name)[0].items():
        top, _, rest = key.partition("/")
        if top == "models":
            module, _, parameter = rest.partition("/")
            models.setdefault(module, {})[parameter] = tensor
            if module != "dlatent_avg":  # the released code does not average the mean style
                mean = tensor if parameter.endswith("blur.weight") else tensor * 0.9
                models.setdefault(f"{module}_s", {})[parameter] = mean
    auxiliary = {"scheduler": {"last_epoch": 3}, "encoder_optimizer": {"state": {}}}
    torch.save({"models": models, "auxiliary": auxiliary}, folder / path.name)
    return folder / path.name
