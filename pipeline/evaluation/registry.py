"""The metric registry: what each measures, by which protocol, what it needs, of which models."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pipeline.evaluation import attribute_metrics, code_metrics, factor_metrics, image_metrics
from pipeline.evaluation.codes import INVERTED_IMG
from pipeline.evaluation.context import EvaluationContext, Values
from pipeline.evaluation.identity_metrics import identity, identity_rendered
from stylealae.api import StyleALAE
from stylealae.capabilities import (
    Autoencodes,
    Classifies,
    Flattens,
    Generates,
    Reconstructs,
    Unmaps,
)
from stylealae.families.alae.model import AlaeMlpModel
from stylealae.metrics.ppl import Sampling, Space

__all__ = ["METRICS", "Metric", "needing_files", "usual"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric, and what it needs."""

    measure: Callable[[EvaluationContext[Any]], Values]
    """Its values; Any, for each takes the models of `models`.  Collective."""
    protocol: str
    """In a line, for the record beside every number: what is compared with what, and how."""
    extractor: str = ""
    """Role of the feature extractor that it needs; empty for none."""
    rows: bool = False
    """Whether it needs the features of each image, and not only their sums."""
    labels: bool = False
    """Whether it needs labels of the data set."""
    real: Literal["", "train", "held out"] = ""
    """Which real images it measures: those of train, or of the test split where there is one."""
    tests: Literal["", "held out", "learnt"] = ""
    """Whether it measures codes of all of the test split; `learnt`, by what train has taught."""
    generates: bool = True
    """Whether it generates images of latents that it draws."""
    draws: int = 0
    """How many, whatever is asked for; 0: as many as are."""
    draws_at_most: int = 0
    """Of those that are asked for, no more; 0 is no bound of its own."""
    at_most: int = 0
    """Real images of which it measures no more; 0 is no bound of its own."""
    recognises: bool = False
    """Whether it needs the extra `faces`."""
    source: str = ""
    """Kind of source that the data set must be of; empty for any."""
    by_passes: bool = False
    """Whether it takes its time in passes over images, batch by batch."""
    models: tuple[type, ...] = (StyleALAE,)
    """Capabilities or classes of models, one of which the measured one must have."""

    @property
    def held_out(self) -> bool:
        """Whether it measures on the test split, where there is one."""
        return bool(self.tests) or self.real == "held out"


def _by(measure: Callable[..., Values], role: str, protocol: str, **needs: Any) -> Metric:
    """A metric over the features of one extractor."""
    return Metric(
        measure=partial(measure, by=role),
        protocol=f"{protocol}; features: {role}",
        extractor=role,
        **needs,
    )


def _path(role: str, space: Space, sampling: Sampling) -> Metric:
    protocol = f"path length in {space}, {sampling}, step 1e-4, no crop, at most 256x256, 1..99 %"
    measure = partial(image_metrics.ppl, space=space, sampling=sampling)
    return _by(measure, role, protocol, by_passes=True)


def _planes(role: str, space: Space) -> Metric:
    protocol = f"linear SVM in {space}, surest half, predictor fitted to labels of train"
    measure = partial(attribute_metrics.separability, space=space)
    return _by(measure, role, protocol, rows=True, labels=True, real="train")


def _set(measure: Callable[..., Values], role: str, protocol: str, rows: bool = True) -> Metric:
    """A comparison of generated images with real ones, as sets of features."""
    protocol = f"{protocol}; real train, generated untruncated with noise"
    return _by(
        measure, role, protocol, rows=rows, real="train", by_passes=True, models=(Generates,)
    )


def _again(measure: Callable[..., Values], role: str, protocol: str) -> Metric:
    """A comparison of reconstructions with their originals."""
    protocol = f"{protocol} of G(E(x)) without noise from x, test"
    if not role:
        return Metric(
            measure=measure,
            protocol=protocol,
            real="held out",
            generates=False,
            by_passes=True,
            models=(Reconstructs,),
        )
    return _by(
        measure, role, protocol, real="held out", generates=False, by_passes=True,
        models=(Reconstructs,),
    )  # fmt: skip


def _factors(measure: Callable[..., Values], protocol: str) -> Metric:
    """A score of how far the codes E(x) keep factors apart."""
    return Metric(
        measure=measure, protocol=f"{protocol}; codes E(x) of train, factors: labels",
        labels=True, real="train", generates=False, models=(StyleALAE, Autoencodes, Unmaps),
    )  # fmt: skip


def _factors_in_z(measure: Callable[..., Values], protocol: str) -> Metric:
    """The same of the z that F takes to E(x)."""
    return Metric(
        measure=partial(measure, space="-z"),
        protocol=f"{protocol}; z that F takes to E(x) (gradient descent), 5,000 of train",
        labels=True, real="train", generates=False, at_most=INVERTED_IMG,
        models=(Unmaps,),
    )  # fmt: skip


MIG = "mutual information gap, codes in 20 bins, factors in 10 levels"
SAP = "gap of squared correlations with a factor"
DCI = "importance of codes by random forests of 10 trees, R2 held out"
VOTE = "majority vote of 10,000 batches of 64 images of a factor's level, 5,000 to test"
FRECHET = "Frechet distance"
KID = "kernel distance, 100 subsets of 1000 or half, cubic kernel"
BALLS = "improved precision and recall, k = 3"
DENSITY = "density and coverage, k = 5"
LPIPS = "mean LPIPS, at most 256x256,"

METRICS: dict[str, Metric] = {
    "fid": _set(image_metrics.fid, "inception", FRECHET, rows=False),
    "fid-random": _set(image_metrics.fid, "random", FRECHET, rows=False),
    "fid-custom": _set(image_metrics.fid, "custom", FRECHET, rows=False),
    "kid": _set(image_metrics.kid, "inception", KID),
    "kid-random": _set(image_metrics.kid, "random", KID),
    "kid-custom": _set(image_metrics.kid, "custom", KID),
    "precision-recall": _set(image_metrics.precision_recall, "vgg16", BALLS),
    "precision-recall-random": _set(image_metrics.precision_recall, "random", BALLS),
    "precision-recall-custom": _set(image_metrics.precision_recall, "custom", BALLS),
    "density-coverage": _set(image_metrics.density_coverage, "vgg16", DENSITY),
    "density-coverage-random": _set(image_metrics.density_coverage, "random", DENSITY),
    "density-coverage-custom": _set(image_metrics.density_coverage, "custom", DENSITY),
    "rfid": _again(image_metrics.fid_of_reconstructions, "inception", FRECHET),
    "rfid-random": _again(image_metrics.fid_of_reconstructions, "random", FRECHET),
    "lpips": _again(image_metrics.lpips, "vgg16", LPIPS),
    "lpips-random": _again(image_metrics.lpips, "random", LPIPS),
    "psnr": _again(image_metrics.psnr, "", "mean PSNR in 8 bits"),
    "ssim": _again(image_metrics.ssim, "", "mean SSIM in 8 bits, 11x11 Gaussian of 1.5,"),
    "identity": replace(_again(identity, "", "cosine of dlib's face descriptors"), recognises=True),
    "identity-rendered": replace(
        _again(identity_rendered, "", "correlation of a face's parameters with what is read"),
        source="rendered",
    ),
    "reciprocity": Metric(
        measure=image_metrics.reciprocity,
        by_passes=True,
        protocol="mean squared E(G(F(z))) - F(z) without noise; share: of the variance of w",
    ),
    "ppl-z-full": _path("vgg16", "z", "full"),
    "ppl-z-end": _path("vgg16", "z", "end"),
    "ppl-w-full": _path("vgg16", "w", "full"),
    "ppl-w-end": _path("vgg16", "w", "end"),
    "ppl-z-full-random": _path("random", "z", "full"),
    "ppl-z-end-random": _path("random", "z", "end"),
    "ppl-w-full-random": _path("random", "w", "full"),
    "ppl-w-end-random": _path("random", "w", "end"),
    "separability-z": _planes("inception", "z"),
    "separability-w": _planes("inception", "w"),
    "separability-z-random": _planes("random", "z"),
    "separability-w-random": _planes("random", "w"),
    "separability-codes": Metric(
        measure=attribute_metrics.separability_of_codes,
        protocol="linear SVM in w = E(x), train, labels of the data set; accuracy held out",
        labels=True,
        real="train",
        generates=False,
    ),
    "mig": _factors(factor_metrics.mig, MIG),
    "sap": _factors(factor_metrics.sap, SAP),
    "dci": _factors(factor_metrics.dci, DCI),
    "factorvae": _factors(factor_metrics.factor_vae, VOTE),
    "mig-z": _factors_in_z(factor_metrics.mig, MIG),
    "sap-z": _factors_in_z(factor_metrics.sap, SAP),
    "dci-z": _factors_in_z(factor_metrics.dci, DCI),
    "factorvae-z": _factors_in_z(factor_metrics.factor_vae, VOTE),
    "error": Metric(
        measure=code_metrics.classification_error,
        protocol="share of images, test, whose likeliest class y is not their label",
        tests="held out",
        generates=False,
        models=(Classifies,),
    ),
    "cluster-error": Metric(
        measure=code_metrics.clustering_error,
        protocol="the same, test, a cluster having the label of its surest validation image",
        tests="held out",
        generates=False,
        models=(Classifies,),
    ),
    "parzen": Metric(
        measure=code_metrics.log_likelihood,
        protocol="Parzen window on 10,000 samples, test, sigma chosen on validation images, nats",
        draws=code_metrics.PARZEN_SAMPLES,
        tests="held out",
        models=(Flattens,),
    ),
    "knn-svm": Metric(
        measure=code_metrics.code_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in E(x), train to test",
        tests="learnt",
        generates=False,
        models=(Autoencodes, Unmaps),
    ),
    "knn-svm-pixels": Metric(
        measure=code_metrics.pixel_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in grey values, train to test",
        tests="learnt",
        generates=False,
        models=(Flattens,),
    ),
    "knn-svm-zw": Metric(
        measure=code_metrics.w_and_z_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in w = E(x), and in the z that F takes "
        "there (gradient descent; -few: 10,000 of train, 5,000 of test), train to test",
        tests="learnt",
        generates=False,
        models=(Unmaps,),
    ),
    "prior-fit": Metric(
        measure=code_metrics.prior_fit,
        protocol="codes of test, drawn from q(z|x), against as many samples of p(z): squared MMD "
        "(5 Gaussian kernels), held-out accuracy of a classifier",
        tests="held out",
        generates=False,
        at_most=code_metrics.FITTED_IMG,
        models=(Autoencodes,),
    ),
    "reciprocity-w": Metric(
        measure=code_metrics.reciprocity,
        protocol="mean squared E(G(w)) - w of w = F(z), over W; share: of w's variance",
        draws_at_most=code_metrics.RECIPROCITY_IMG,
        models=(AlaeMlpModel,),
    ),
    "reciprocity-z": Metric(
        measure=code_metrics.reciprocity_in_z,
        protocol="mean squared E(G(z)) - z of samples z of p(z), over Z; share: of z's variance",
        draws_at_most=code_metrics.RECIPROCITY_IMG,
        models=(Autoencodes,),
    ),
}


USUAL = (
    "fid-random", "kid-random", "psnr", "ssim", "reciprocity", "reciprocity-w", "prior-fit",
    "cluster-error", "parzen",
)  # fmt: skip
"""Metrics that are quick, and need neither a file nor named labels."""


def usual(model: object) -> list[str]:
    """Those metrics to measure a model by when none are named."""
    return [name for name in USUAL if isinstance(model, METRICS[name].models)]


def needing_files() -> frozenset[str]:
    """Metrics whose extractor is a file of one's own: those with published numbers."""
    return frozenset(n for n, m in METRICS.items() if m.extractor not in ("", "random"))
