"""Disentanglement: how far codes keep the known factors of a data set's images apart.

Factors are labels that are numbers, named with `--labels`; codes are E(x), z of an autoencoder and
w of an ALAE, or the z that F takes there.

Legend: n samples, J numbers of a code, K factors.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation.codes import INVERTED_IMG, Encodes, encoded
from pipeline.evaluation.context import EvaluationContext, SampleRange, Values
from stylealae.capabilities import Unmaps
from stylealae.errors import ConfigError
from stylealae.metrics import disentanglement

__all__ = ["dci", "factor_vae", "mig", "sap"]

Floats = NDArray[np.floating[Any]]
Space = Literal["", "-z"]
"""What is measured: E(x), or a z that is found for it; the end of the values' names."""


Measured = EvaluationContext[Encodes]


def mig(context: Measured, space: Space = "") -> Values:
    """Mutual information gap."""
    return _score(context, space, "mig", disentanglement.mig)


def sap(context: Measured, space: Space = "") -> Values:
    """Separated attribute predictability."""
    return _score(context, space, "sap", disentanglement.sap)


def factor_vae(context: Measured, space: Space = "") -> Values:
    """FactorVAE score."""
    return _score(
        context, space, "factorvae",
        lambda codes, factors: disentanglement.factor_vae_score(codes, factors, context.seed),
    )  # fmt: skip


def dci(context: Measured, space: Space = "") -> Values:
    """Disentanglement, completeness and informativeness."""
    found = disentanglement.dci(*_pairs(context, space))
    return {f"dci-{name}{space}": value for name, value in found._asdict().items()}


def _score(
    context: Measured, space: Space, name: str, score: Callable[[Floats, Floats], float]
) -> Values:
    return {f"{name}{space}": score(*_pairs(context, space))}


def _pairs(context: Measured, space: Space) -> tuple[Floats, Floats]:
    """Codes and factors of the images whose factors are all known.  -> [n, J], [n, K]"""
    key = ("codes and factors", space)
    if key not in context.memo:
        context.memo[key] = _measured(context, space)
    return cast(tuple[Floats, Floats], context.memo[key])


def _measured(context: Measured, space: Space) -> tuple[Floats, Floats]:
    if space == "-z":  # as many numbers, spread over the split as ever
        context = replace(context, samples=min(context.samples, INVERTED_IMG))
    count = context.real_count("train")
    ids = context.ids("train", SampleRange(0, count))
    columns = [context.dataset.labels("train", label, ids) for label in context.labels]
    factors = np.stack(columns, 1).astype(np.float64)
    known = np.isfinite(factors).all(1)
    fixed = [n for n, f in zip(context.labels, factors[known].T, strict=True) if len({*f}) < 2]
    if fixed or not known.any():
        raise ConfigError(
            f"of {', '.join(fixed or context.labels)} fewer than two values are known among "
            f"{count} images of train: name labels that vary, or take more images"
        )
    return _codes(context, space, count)[known], factors[known]


def _codes(context: Measured, space: Space, count: int) -> Floats:
    """Codes of the images.  -> [count, J]"""
    model = context.model

    def row(part: SampleRange) -> torch.Tensor:
        code = encoded(context, context.real("train", part))
        if space == "-z":
            assert isinstance(model, Unmaps)
            with torch.enable_grad():
                return model.unmap(code)
        return code

    width = row(SampleRange(0, 1)).shape[1]
    found = context.gathered(count, width, f"codes of real images{space}", row)
    return found.numpy().astype(np.float64)
