"""Linear separability: how well a plane in latent space parts images by a label of the data set.

Legend: n samples, Z and W widths, K features.
"""

import numpy as np
import torch

from pipeline import statistics
from pipeline.measures import Style, generated, named, prior
from pipeline.subject import Part, Values
from stylealae.metrics import separability as planes
from stylealae.metrics.ppl import Space

__all__ = ["separability", "separability_of_codes"]


def separability(s: Style, by: str, space: Space) -> Values:
    """StyleGAN's: of generated images, whose attributes a predictor tells.

    The predictor is fitted here: a logistic regression of the label over an extractor's features of
    real images.  Its own held-out accuracy is given, for nothing can be learnt from a bad one.
    """
    count = s.real_count("train")
    ids = s.ids("train", Part(0, count))
    real = statistics.of_real(s, by).rows
    fake = statistics.of_generated(
        s, by, "generated images", s.samples, lambda part: generated(s, part)
    ).rows
    assert real is not None
    assert fake is not None

    def latent(part: Part) -> torch.Tensor:
        z = prior(s, part)
        return z if space == "z" else s.model.map(z)

    model = s.model.model
    width = model.z_width if space == "z" else model.w_width
    latents = s.gathered(s.samples, width, f"{space} of generated images", latent).numpy()
    found: dict[str, tuple[float, float, float]] = {}
    for label in s.labels:
        known, has = planes.binary(s.pictures.labels("train", label, ids), label)
        logits_of, accuracy = planes.predictor(real.numpy()[known], has[known])
        logits = logits_of(fake.numpy())
        sure = planes.most_certain(logits)
        shows = logits[sure] > 0
        planes.require_both(shows, label)
        found[label] = (
            planes.separability(latents[sure], shows),
            planes.held_out_accuracy(latents[sure], shows),
            accuracy,
        )
    name = named(f"separability-{space}", by)
    entropies, accuracies, predictors = np.array(list(found.values())).T
    return {
        name: float(2.0 ** entropies.sum()),
        f"{name}-accuracy": float(accuracies.mean()),
        f"{name}-predictor": float(predictors.mean()),
        **{f"{name}-accuracy/{label}": values[1] for label, values in found.items()},
    }


def separability_of_codes(s: Style) -> Values:
    """Of real images, by w = E(x) and the labels that they come with."""
    n = s.real_count("train")
    ids = s.ids("train", Part(0, n))
    codes = s.gathered(
        n, s.model.model.w_width, "w of real images",
        lambda part: s.model.encode(s.real("train", part), alpha=s.alpha),
    ).numpy()  # fmt: skip
    entropies, accuracies = [], {}
    for label in s.labels:
        known, has = planes.binary(s.pictures.labels("train", label, ids), label)
        entropies.append(planes.separability(codes[known], has[known]))
        accuracies[label] = planes.held_out_accuracy(codes[known], has[known])
    return {
        "separability-codes": float(2.0 ** np.sum(entropies)),
        "separability-codes-accuracy": float(np.mean(list(accuracies.values()))),
        **{f"separability-codes-accuracy/{label}": v for label, v in accuracies.items()},
    }
