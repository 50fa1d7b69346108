"""Linear separability: how well a plane in latent space parts images by a label of the data set.

Legend: n samples, Z and W widths, K features.
"""

import numpy as np
import torch

from pipeline.evaluation.context import EvaluationContext, SampleRange, Values
from pipeline.evaluation.feature_statistics import generated_statistics, real_statistics
from pipeline.evaluation.image_metrics import (
    StyleContext,
    generated,
    metric_name,
    prior_samples,
)
from stylealae.metrics import separability as planes
from stylealae.metrics.ppl import Space

__all__ = ["attribute_masks", "separability", "separability_of_codes"]


def separability(context: StyleContext, by: str, space: Space) -> Values:
    """StyleGAN's: of generated images, whose attributes are predicted.

    The predictor is fitted here: a logistic regression of the label over an extractor's features of
    real images.  Its own held-out accuracy is given, for nothing can be learnt from a bad one.
    """
    real = real_statistics(context, by).rows
    fake = generated_statistics(
        context, by, "generated images", context.samples, lambda part: generated(context, part)
    ).rows
    assert real is not None
    assert fake is not None
    latents, name = _latents(context, space), metric_name(f"separability-{space}", by)
    entropies, accuracies, predictors = [], {}, []
    for label in context.labels:
        known, has = attribute_masks(context, label)
        logits_of, accuracy = planes.predictor(real.numpy()[known], has[known])
        logits = logits_of(fake.numpy())
        sure = planes.most_certain(logits)
        predictors.append(accuracy)
        entropies.append(planes.separability(latents[sure], logits[sure] > 0))
        accuracies[label] = planes.held_out_accuracy(latents[sure], logits[sure] > 0)
    return {
        **_values(name, entropies, accuracies),
        f"{name}-predictor": float(np.mean(predictors)),
    }


def separability_of_codes(context: StyleContext) -> Values:
    """Of real images, by w = E(x) and the labels that they come with."""
    model = context.model
    codes = context.gathered(
        context.real_count("train"), model.model.w_width, "w of real images",
        lambda part: model.encode(context.real("train", part), alpha=context.alpha),
    ).numpy()  # fmt: skip
    entropies, accuracies = [], {}
    for label in context.labels:
        known, has = attribute_masks(context, label)
        entropies.append(planes.separability(codes[known], has[known]))
        accuracies[label] = planes.held_out_accuracy(codes[known], has[known])
    return _values("separability-codes", entropies, accuracies)


def attribute_masks(
    context: EvaluationContext[object], label: str
) -> tuple[planes.Bools, planes.Bools]:
    """Of which of the real images a label is known, and which have it.  -> [n] twice"""
    ids = context.ids("train", SampleRange(0, context.real_count("train")))
    return planes.binary(context.dataset.labels("train", label, ids), label)


def _latents(context: StyleContext, space: Space) -> planes.Floats:
    """Latents of the generated images.  -> [n, Z or W]"""
    model = context.model

    def latent(part: SampleRange) -> torch.Tensor:
        z = prior_samples(context, part)
        return z if space == "z" else model.map(z)

    width = model.model.z_width if space == "z" else model.model.w_width
    return context.gathered(context.samples, width, f"{space} of generated images", latent).numpy()


def _values(name: str, entropies: list[float], accuracies: dict[str, float]) -> Values:
    """StyleGAN's score, the mean accuracy, and that of each label."""
    return {
        name: float(2.0 ** np.sum(entropies)),
        f"{name}-accuracy": float(np.mean(list(accuracies.values()))),
        **{f"{name}-accuracy/{label}": accuracy for label, accuracy in accuracies.items()},
    }
