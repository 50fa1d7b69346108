"""Linear separability: how well a plane in latent space parts images by a label of the data set.

Legend: n samples, Z and W widths, K features.
"""

from typing import Any

import numpy as np
import torch

from pipeline.evaluation import feature_statistics
from pipeline.evaluation.context import Part, Subject, Values
from pipeline.evaluation.image_metrics import Style, generated, named, prior
from stylealae.metrics import separability as planes
from stylealae.metrics.ppl import Space

__all__ = ["known_of", "separability", "separability_of_codes"]


def separability(s: Style, by: str, space: Space) -> Values:
    """StyleGAN's: of generated images, whose attributes a predictor tells.

    The predictor is fitted here: a logistic regression of the label over an extractor's features of
    real images.  Its own held-out accuracy is given, for nothing can be learnt from a bad one.
    """
    real = feature_statistics.of_real(s, by).rows
    fake = feature_statistics.of_generated(
        s, by, "generated images", s.samples, lambda part: generated(s, part)
    ).rows
    assert real is not None
    assert fake is not None
    latents, name = _latents(s, space), named(f"separability-{space}", by)
    entropies, accuracies, predictors = [], {}, []
    for label in s.labels:
        known, has = known_of(s, label)
        logits_of, accuracy = planes.predictor(real.numpy()[known], has[known])
        logits = logits_of(fake.numpy())
        sure = planes.most_certain(logits)
        predictors.append(accuracy)
        entropies.append(planes.separability(latents[sure], logits[sure] > 0))
        accuracies[label] = planes.held_out_accuracy(latents[sure], logits[sure] > 0)
    return {
        **_told(name, entropies, accuracies),
        f"{name}-predictor": float(np.mean(predictors)),
    }


def separability_of_codes(s: Style) -> Values:
    """Of real images, by w = E(x) and the labels that they come with."""
    codes = s.gathered(
        s.real_count("train"), s.model.model.w_width, "w of real images",
        lambda part: s.model.encode(s.real("train", part), alpha=s.alpha),
    ).numpy()  # fmt: skip
    entropies, accuracies = [], {}
    for label in s.labels:
        known, has = known_of(s, label)
        entropies.append(planes.separability(codes[known], has[known]))
        accuracies[label] = planes.held_out_accuracy(codes[known], has[known])
    return _told("separability-codes", entropies, accuracies)


def known_of(s: Subject[Any], label: str) -> tuple[planes.Bools, planes.Bools]:
    """Of which of the real images a label is known, and which have it.  -> [n] twice"""
    ids = s.ids("train", Part(0, s.real_count("train")))
    return planes.binary(s.pictures.labels("train", label, ids), label)


def _latents(s: Style, space: Space) -> planes.Floats:
    """Latents of the generated images.  -> [n, Z or W]"""

    def latent(part: Part) -> torch.Tensor:
        z = prior(s, part)
        return z if space == "z" else s.model.map(z)

    width = s.model.model.z_width if space == "z" else s.model.model.w_width
    return s.gathered(s.samples, width, f"{space} of generated images", latent).numpy()


def _told(name: str, entropies: list[float], accuracies: dict[str, float]) -> Values:
    """StyleGAN's score, the mean accuracy, and that of each label."""
    return {
        name: float(2.0 ** np.sum(entropies)),
        f"{name}-accuracy": float(np.mean(list(accuracies.values()))),
        **{f"{name}-accuracy/{label}": accuracy for label, accuracy in accuracies.items()},
    }
