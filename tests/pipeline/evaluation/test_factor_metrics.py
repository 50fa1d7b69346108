"""Disentanglement of codes that are known: where the square of a made-up digit lies."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.evaluation import factor_metrics
from pipeline.evaluation.context import EvaluationContext
from pipeline.evaluation.factor_metrics import Encodes
from pipeline.world import World
from stylealae.errors import ConfigError

WORLD = World(0, 1, torch.device("cpu"))


class Places:
    """Codes are the row and the column of the square; the class is 5 * row + column."""

    def encode(self, x: Tensor) -> Tensor:
        """[N, 1, 32, 32] -> [N, 2]"""
        rows = torch.stack([x[:, 0, 6 + 14 * i : 14 + 14 * i].mean((1, 2)) for i in (0, 1)], 1)
        columns = [x[:, 0, 6:30, 3 + 5 * i : 8 + 5 * i].mean((1, 2)) for i in range(5)]
        return torch.stack((rows.argmax(1), torch.stack(columns, 1).argmax(1)), 1).float()


def context_of(digits: Path, *labels: str) -> EvaluationContext[Encodes]:
    dataset = Dataset.open(DataConfig(path=str(digits)), 32)
    return EvaluationContext(
        model=Places(), dataset=dataset, world=WORLD, labels=labels or ("class",), batch=64
    )


def test_scores_of_codes_that_share_a_factor(digits: Path) -> None:
    context = context_of(digits)
    # The column tells log 5 of log 10 nats, the row log 2.
    gap = (math.log(5) - math.log(2)) / math.log(10)
    assert factor_metrics.mig(context)["mig"] == pytest.approx(gap, abs=0.05)
    # 5 * row + column of variances 25 / 4 and 2.
    gap = (25 / 4 - 2) / (25 / 4 + 2)
    assert factor_metrics.sap(context)["sap"] == pytest.approx(gap, abs=0.1)
    found = factor_metrics.dci(context)
    assert found["dci-informativeness"] > 0.95
    assert found["dci-disentanglement"] == 1.0  # there is one factor
    assert 0.1 < found["dci-completeness"] < 0.7  # which two numbers serve, the row more
    assert factor_metrics.factor_vae(context)["factorvae"] == 1.0


def test_images_of_unknown_factors_are_left_out(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(digits)
    labels = Dataset.labels
    whole = factor_metrics.sap(context)["sap"]

    def odd_unknown(self: Dataset, split: str, label: str, ids: np.ndarray) -> np.ndarray:
        found = labels(self, split, label, ids).astype(np.float64)
        found[1::2] = np.nan
        return found

    monkeypatch.setattr(Dataset, "labels", odd_unknown)
    half = factor_metrics.sap(context_of(digits))["sap"]
    assert half != whole
    assert half == pytest.approx(whole, abs=0.15)


def test_a_factor_of_one_value_is_refused(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset, "labels", lambda self, split, label, ids: np.ones(len(ids)))
    with pytest.raises(ConfigError, match="of class fewer than two values are known"):
        factor_metrics.mig(context_of(digits))
