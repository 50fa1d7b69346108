"""Code metrics of the families of MLPs: their codes and classes of real images, their samples.

Measured on the test images; what is chosen (a window's width, a cluster's label) is chosen on the
last images of the training split, which the published runs never see.

Legend: N images, P numbers of an image, Z and W widths of codes, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.data.format.types import Ints
from pipeline.data.loader.batch import on_device
from pipeline.evaluation.codes import INVERTED_IMG, Encodes, encoded
from pipeline.evaluation.context import EvaluationContext, SampleRange, Values
from pipeline.evaluation.true_classes import true_classes
from stylealae.capabilities import Autoencodes, Classifies, Flattens, Unmaps
from stylealae.metrics import codes, reconstruction
from stylealae.metrics.parzen import parzen
from stylealae.priors import normal, rng

__all__ = [
    "classification_error",
    "clustering_error",
    "code_accuracies",
    "log_likelihood",
    "pixel_accuracies",
    "prior_fit",
    "reciprocity",
    "reciprocity_in_z",
    "split_range",
    "w_and_z_accuracies",
]

VALIDATION_IMG = 10_000
PARZEN_SAMPLES = 10_000
RECIPROCITY_IMG = 10_000
"""Images that are generated and encoded again, at most."""
FITTED_IMG = 5_000
"""Images whose codes are compared with the prior: all pairs of them."""


class HasCodes(Encodes, Protocol):
    """A model that has codes of a known width of images."""

    @property
    def code_width(self) -> int:
        """Numbers of a code."""


class Decodes(HasCodes, Protocol):
    """A model that makes images of codes, and of what else they are made of."""

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """Codes of the prior, and what else images are made of.  -> [n, W + any]"""

    def images(self, latents: Tensor) -> Tensor:
        """The images of latents.  [N, W + any] -> [N, C, R, R]"""


@dataclass(frozen=True)
class SplitRange:
    """Consecutive images of a split."""

    split: str
    first: int
    count: int

    @property
    def ids(self) -> Ints:
        """Their numbers."""
        return np.arange(self.first, self.first + self.count)

    def at_most(self, count: int) -> "SplitRange":
        """The first of them."""
        return SplitRange(self.split, self.first, min(self.count, count))


Which = Literal["train", "validation", "test"]


def split_range(context: EvaluationContext[object], which: Which) -> SplitRange:
    """The images to learn from (`train`), to choose by (`validation`) or to measure on (`test`)."""
    there = context.dataset.count("train")
    kept = min(VALIDATION_IMG, there // 6)
    if which == "train":
        return SplitRange("train", 0, there - kept)
    if which == "validation":
        return SplitRange("train", there - kept, kept)
    return SplitRange(context.held_out, 0, context.dataset.count(context.held_out))


def classification_error(context: EvaluationContext[Classifies]) -> Values:
    """Share of images whose likeliest class is not theirs."""
    test, validation = split_range(context, "test"), split_range(context, "validation")
    return {
        name: codes.classification_error(_classes(context, here), _true_classes(context, here))
        for name, here in (("error", test), ("error-validation", validation))
    }


def clustering_error(context: EvaluationContext[Classifies]) -> Values:
    """The same where a cluster has the label of the validation image that is surest in it."""
    chosen, here = split_range(context, "validation"), split_range(context, "test")
    of_cluster = codes.cluster_labels(_classes(context, chosen), _true_classes(context, chosen))
    found = codes.clustering_error(
        _classes(context, here), _true_classes(context, here), of_cluster
    )
    return {
        "cluster-error": found.error,
        "cluster-error-majority": found.majority_error,
        "clusters-used": float(found.used),
    }


def log_likelihood(context: EvaluationContext[Flattens]) -> Values:
    """Parzen log-likelihood of the test images in nats, under 10,000 samples."""
    samples = context.model.sample(PARZEN_SAMPLES, seed=context.seed)
    validation = _pixels(context, split_range(context, "validation"))
    tests = _pixels(context, split_range(context, "test"))
    found = parzen(context.model.grey(samples).cpu(), validation, tests)
    return {
        "parzen": found.nats,
        "parzen-error": found.error,
        "parzen-sigma": found.sigma,
        "parzen-validation": found.validation,
    }


def code_accuracies(context: EvaluationContext[HasCodes]) -> Values:
    """Accuracy of 1-NN and of a linear SVM on codes."""
    return _accuracies(context, "", lambda here: _codes(context, here))


def pixel_accuracies(context: EvaluationContext[Flattens]) -> Values:
    """The same on the images themselves: what codes are to be compared with."""
    return _accuracies(context, "-pixels", lambda here: _pixels(context, here))


def w_and_z_accuracies(context: EvaluationContext[Unmaps]) -> Values:
    """The same in w = E(x), and in the z that F takes to it, of fewer images."""
    few = {"train": 2 * INVERTED_IMG, "test": INVERTED_IMG}

    def in_z(here: SplitRange) -> Tensor:
        w = _codes(context, here)
        with torch.enable_grad():
            return torch.cat([context.model.unmap(part).cpu() for part in torch.split(w, 1000)])

    return {
        **_accuracies(context, "-w", lambda here: _codes(context, here)),
        **_accuracies(context, "-w-few", lambda here: _codes(context, here), few),
        **_accuracies(context, "-z-few", in_z, few),
    }


def prior_fit(context: EvaluationContext[Autoencodes]) -> Values:
    """Distance of test images' codes from the prior, beside that of two samples of the prior."""
    here = split_range(context, "test").at_most(FITTED_IMG)
    found, prior = _sampled_codes(context, here), context.model.prior

    def sampled(name: str) -> Tensor:
        part = SampleRange(0, here.count)
        return context.draws(name, part, lambda n, source: prior.sample(n, source)).cpu()

    drawn, again = sampled("prior/0"), sampled("prior/1")
    return {
        "mmd": codes.mmd(found, drawn),
        "mmd-of-prior": codes.mmd(again, drawn),
        "two-sample": codes.two_sample_accuracy(found, drawn),
        "two-sample-of-prior": codes.two_sample_accuracy(again, drawn),
    }


def reciprocity(context: EvaluationContext[Unmaps]) -> Values:
    """Mean squared E(G(w)) - w of mapped samples, and its share of the variance of w."""
    model, part = context.model, SampleRange(0, min(context.samples, RECIPROCITY_IMG))
    width = model.model.z_width
    w = model.map(context.draws("reciprocity", part, lambda n, source: normal(n, width, source)))
    return _gap(model.encode(model.generate(w)), w)


def reciprocity_in_z(context: EvaluationContext[Decodes]) -> Values:
    """Mean squared E(G(z)) - z of the prior's samples, and its share of the variance of z."""
    model, part = context.model, SampleRange(0, min(context.samples, RECIPROCITY_IMG))
    latents = context.draws("reciprocity", part, model.latents)
    again = torch.cat([model.encode(model.images(chunk)) for chunk in torch.split(latents, 1000)])
    return _gap(again, latents[:, : model.code_width].to(again))


def _gap(again: Tensor, code: Tensor) -> Values:
    """How far codes are from those that come back.  [N, W] twice"""
    error, share = reconstruction.reciprocity(code, again)
    return {"reciprocity": error, "reciprocity-share": share}


def _true_classes(context: EvaluationContext[object], here: SplitRange) -> Tensor:
    """Those that real images come with.  -> [N] int64"""
    return true_classes(context, here.split, here.ids)


def _images(context: EvaluationContext[object], here: SplitRange, part: SampleRange) -> Tensor:
    """[N, C, R, R] in [-1, 1]"""
    pixels = context.dataset.take(here.split, here.ids[part.rows])
    return on_device(pixels, 1.0, context.world.device)


def _pixels(context: EvaluationContext[Flattens], here: SplitRange) -> Tensor:
    """Real images in gray values.  -> [N, P]"""
    model = context.model
    return context.gathered(
        here.count, model.pixels, f"images of {here.split}",
        lambda part: model.grey(_images(context, here, part)),
    )  # fmt: skip


def _classes(context: EvaluationContext[Classifies], here: SplitRange) -> Tensor:
    """E's classes of real images.  -> [N, K]"""
    model = context.model
    return context.gathered(
        here.count, model.classes, f"classes of {here.split}",
        lambda part: model.classify(_images(context, here, part)),
    )  # fmt: skip


def _codes(context: EvaluationContext[HasCodes], here: SplitRange) -> Tensor:
    """Codes of real images.  -> [N, W]"""
    return context.gathered(
        here.count, context.model.code_width, f"codes of {here.split}",
        lambda part: encoded(context, _images(context, here, part)),
    )  # fmt: skip


def _sampled_codes(context: EvaluationContext[Autoencodes], here: SplitRange) -> Tensor:
    """Draws from q(z|x) of real images.  -> [N, Z]"""
    model = context.model

    def sampled(part: SampleRange) -> Tensor:
        x = _images(context, here, part)
        return model.encode(
            x, rng(context.seed, f"metric/codes/{here.split}", part.first, x.device)
        )

    return context.gathered(here.count, model.code_width, f"codes of {here.split}", sampled)


def _accuracies(
    context: EvaluationContext[object],
    name: str,
    coded: Callable[[SplitRange], Tensor],
    at_most: Mapping[str, int] | None = None,
) -> Values:
    """Accuracy of 1-NN and of a linear SVM on what `coded` makes of images, train to test."""
    train, test = split_range(context, "train"), split_range(context, "test")
    if at_most is not None:
        train, test = train.at_most(at_most["train"]), test.at_most(at_most["test"])
    x, y = coded(train), _true_classes(context, train)
    x_test, y_test = coded(test), _true_classes(context, test)
    return {
        f"knn{name}": codes.nearest_neighbour_accuracy(x, y, x_test, y_test),
        f"svm{name}": codes.plane_accuracy(x, y, x_test, y_test),
    }
