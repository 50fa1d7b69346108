"""What the families of MLPs are judged by: their codes and classes of real images, their samples.

Measured on the test images; what is chosen (a window's width, a cluster's label) is chosen on the
last images of the training split, which the published runs never see.

Legend: N images, P numbers of an image, W width of a code, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.loader.batch import classes_of, on_device
from pipeline.evaluation.context import Part, Subject, Values
from stylealae.capabilities import Autoencodes, Classifies, Flattens, Unmaps
from stylealae.errors import ConfigError
from stylealae.metrics import codes
from stylealae.metrics.parzen import parzen
from stylealae.priors import normal, rng

__all__ = [
    "cluster_error",
    "cut",
    "error",
    "label_of",
    "labels_of",
    "log_likelihood",
    "neighbours",
    "neighbours_in_z_and_w",
    "neighbours_of_pixels",
    "prior_fit",
    "reciprocity",
]

VALIDATION_IMG = 10_000
PARZEN_SAMPLES = 10_000
FITTED_IMG = 5_000
"""Images whose codes are compared with the prior: all pairs of them."""
INVERTED_IMG = 5_000
"""Images whose z is looked for: an optimisation each."""


@dataclass(frozen=True)
class Cut:
    """Consecutive images of a split."""

    split: str
    first: int
    count: int

    @property
    def ids(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Their numbers."""
        return np.arange(self.first, self.first + self.count)


def cut(s: Subject[Any], which: str) -> Cut:
    """The images to learn from (`train`), to choose by (`validation`) or to measure on (`test`)."""
    there = s.pictures.count("train")
    kept = min(VALIDATION_IMG, there // 6)
    if which == "train":
        return Cut("train", 0, there - kept)
    if which == "validation":
        return Cut("train", there - kept, kept)
    return Cut(s.held_out, 0, s.pictures.count(s.held_out))


def error(s: Subject[Classifies]) -> Values:
    """Share of images that are put into another class than theirs."""
    found = {}
    for which, name in (("test", "error"), ("validation", "error-validation")):
        here = cut(s, which)
        found[name] = codes.classification_error(_classes(s, here), labels_of(s, here))
    return found


def cluster_error(s: Subject[Classifies]) -> Values:
    """The same where a cluster has the label of the validation image that is surest in it."""
    chosen, here = cut(s, "validation"), cut(s, "test")
    of_cluster = codes.cluster_labels(_classes(s, chosen), labels_of(s, chosen))
    found = codes.clustering_error(_classes(s, here), labels_of(s, here), of_cluster)
    return {
        "cluster-error": found.error,
        "cluster-error-majority": found.majority_error,
        "clusters-used": float(found.used),
    }


def log_likelihood(s: Subject[Flattens]) -> Values:
    """Parzen log-likelihood of the test images in nats, under 10,000 samples."""
    samples = s.model.sample(PARZEN_SAMPLES, seed=s.seed)
    validation, tests = (_grey(s, cut(s, which)) for which in ("validation", "test"))
    found = parzen(s.model.grey(samples).cpu(), validation, tests)
    return {
        "parzen": found.nats,
        "parzen-error": found.error,
        "parzen-sigma": found.sigma,
        "parzen-validation": found.validation,
    }


def neighbours(s: Subject[Autoencodes]) -> Values:
    """How well 1-NN and a linear SVM name images by their codes."""
    return _accuracies(s, "", lambda here: _codes(s, here))


def neighbours_of_pixels(s: Subject[Flattens]) -> Values:
    """The same by the images themselves: what codes are to be compared with."""
    return _accuracies(s, "-pixels", lambda here: _grey(s, here))


def neighbours_in_z_and_w(s: Subject[Unmaps]) -> Values:
    """The same in w = E(x), and in the z that F takes to it, of fewer images."""
    few = {"train": 2 * INVERTED_IMG, "test": INVERTED_IMG}

    def in_z(here: Cut) -> Tensor:
        w = _codes(s, here)
        with torch.enable_grad():
            return torch.cat([s.model.unmap(part).cpu() for part in torch.split(w, 1000)])

    return {
        **_accuracies(s, "-w", lambda here: _codes(s, here)),
        **_accuracies(s, "-w-few", lambda here: _codes(s, here), few),
        **_accuracies(s, "-z-few", in_z, few),
    }


def prior_fit(s: Subject[Autoencodes]) -> Values:
    """How far the codes of test images are from the prior, and as far as two samples of it are."""
    here = cut(s, "test")
    here = Cut(here.split, here.first, min(here.count, FITTED_IMG))
    found = _codes(s, here, noisy=True)
    prior = s.model.prior
    drawn, again = (
        s.draws(f"prior/{i}", Part(0, here.count), lambda n, source: prior.sample(n, source)).cpu()
        for i in range(2)
    )
    return {
        "mmd": codes.mmd(found, drawn),
        "mmd-of-prior": codes.mmd(again, drawn),
        "two-sample": codes.two_sample_accuracy(found, drawn),
        "two-sample-of-prior": codes.two_sample_accuracy(again, drawn),
    }


def reciprocity(s: Subject[Unmaps]) -> Values:
    """Mean squared E(G(w)) - w of mapped samples, and its share of the variance of w."""
    width = s.model.model.z_width
    part = Part(0, min(s.samples, 10_000))
    w = s.model.map(s.draws("reciprocity", part, lambda n, source: normal(n, width, source)))
    gap = (s.model.encode(s.model.generate(w)) - w).double()
    spread = w.double().var(0).mean()
    return {"reciprocity": float(gap.square().mean()),
            "reciprocity-share": float(gap.square().mean() / spread)}  # fmt: skip


def label_of(s: Subject[Any]) -> str:
    """The label that classes are read from: the one that is named, or the only one."""
    there = s.labels or s.pictures.manifest.labels
    if len(there) != 1:
        raise ConfigError(
            f"classes are read from one label and the data set has {', '.join(there) or 'none'}: "
            "name it with --labels"
        )
    return there[0]


def labels_of(s: Subject[Any], here: Cut) -> Tensor:
    """Classes of real images.  -> [N] int64"""
    values = torch.from_numpy(s.pictures.labels(here.split, label_of(s), here.ids))
    classes = classes_of(len(values), values)
    if bool((classes < 0).any()):
        raise ConfigError(f"some images of {here.split!r} have no label {label_of(s)!r}")
    return classes


def _images(s: Subject[Any], here: Cut, part: Part) -> Tensor:
    pixels = s.pictures.take(here.split, here.ids[part.rows])
    return on_device(pixels, 1.0, s.world.device)


def _grey(s: Subject[Flattens], here: Cut) -> Tensor:
    return s.gathered(
        here.count, s.model.pixels, f"images of {here.split}",
        lambda part: s.model.grey(_images(s, here, part)),
    )  # fmt: skip


def _classes(s: Subject[Classifies], here: Cut) -> Tensor:
    return s.gathered(
        here.count, s.model.classes, f"classes of {here.split}",
        lambda part: s.model.classify(_images(s, here, part)),
    )  # fmt: skip


def _codes(s: Subject[Any], here: Cut, *, noisy: bool = False) -> Tensor:
    """Codes of real images; `noisy` ones are draws from q(z|x).  -> [N, W]"""

    def coded(part: Part) -> Tensor:
        x = _images(s, here, part)
        keyed = rng(s.seed, f"metric/codes/{here.split}", part.first, x.device)
        z: Tensor = s.model.encode(x, keyed) if noisy else s.model.encode(x)
        return z

    return s.gathered(here.count, s.model.code_width, f"codes of {here.split}", coded)


def _accuracies(
    s: Subject[Any],
    name: str,
    coded: Callable[[Cut], Tensor],
    few: dict[str, int] | None = None,
) -> Values:
    """Codes and classes of train and test -> how well 1-NN and planes do."""
    pair = []
    for which in ("train", "test"):
        here = cut(s, which)
        here = Cut(here.split, here.first, min(here.count, (few or {}).get(which, here.count)))
        pair += [coded(here), labels_of(s, here)]
    x, y, x_test, y_test = pair
    return {
        f"knn{name}": codes.nearest_neighbour_accuracy(x, y, x_test, y_test),
        f"svm{name}": codes.plane_accuracy(x, y, x_test, y_test),
    }
