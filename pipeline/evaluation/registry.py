"""The metric registry: what each measures, by which protocol, what it needs, of which models."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pipeline.evaluation import attribute_metrics, code_metrics, factor_metrics, image_metrics
from pipeline.evaluation.context import EvaluationContext, Values
from stylealae.api import StyleALAE
from stylealae.capabilities import (
    CAPABILITIES,
    Autoencodes,
    Classifies,
    Flattens,
    Generates,
    Reconstructs,
    Unmaps,
)
from stylealae.errors import ConfigError
from stylealae.metrics.features import KNOWN
from stylealae.metrics.ppl import Sampling, Space

__all__ = ["METRICS", "Metric", "needing_files", "require", "usual"]


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
    generates: bool = True
    """Whether it generates images of latents that it draws."""
    models: tuple[type, ...] = (StyleALAE,)
    """Capabilities or classes of models, one of which the measured one must have."""


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
    return _by(partial(image_metrics.ppl, space=space, sampling=sampling), role, protocol)


def _planes(role: str, space: Space) -> Metric:
    protocol = f"linear SVM in {space}, surest half, predictor fitted to labels of train"
    measure = partial(attribute_metrics.separability, space=space)
    return _by(measure, role, protocol, rows=True, labels=True, real="train")


def _set(measure: Callable[..., Values], role: str, protocol: str, rows: bool = True) -> Metric:
    """A comparison of generated images with real ones, as sets of features."""
    protocol = f"{protocol}; real train, generated untruncated with noise"
    return _by(measure, role, protocol, rows=rows, real="train", models=(Generates,))


def _again(measure: Callable[..., Values], role: str, protocol: str) -> Metric:
    """A comparison of reconstructions with their originals."""
    protocol = f"{protocol} of G(E(x)) without noise from x, test"
    if not role:
        return Metric(
            measure=measure,
            protocol=protocol,
            real="held out",
            generates=False,
            models=(Reconstructs,),
        )
    return _by(measure, role, protocol, real="held out", generates=False, models=(Reconstructs,))


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
        labels=True, real="train", generates=False, models=(Unmaps,),
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
    "reciprocity": Metric(
        measure=image_metrics.reciprocity,
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
        models=(Classifies,),
    ),
    "cluster-error": Metric(
        measure=code_metrics.clustering_error,
        protocol="the same, test, a cluster having the label of its surest validation image",
        models=(Classifies,),
    ),
    "parzen": Metric(
        measure=code_metrics.log_likelihood,
        protocol="Parzen window on 10,000 samples, test, sigma chosen on validation images, nats",
        models=(Flattens,),
    ),
    "knn-svm": Metric(
        measure=code_metrics.code_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in E(x), train to test",
        models=(Autoencodes, Unmaps),
    ),
    "knn-svm-pixels": Metric(
        measure=code_metrics.pixel_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in grey values, train to test",
        models=(Flattens,),
    ),
    "knn-svm-zw": Metric(
        measure=code_metrics.w_and_z_accuracies,
        protocol="1-NN and linear SVM (C = 1, standardised) in w = E(x), and in the z that F takes "
        "there (gradient descent; -few: 10,000 of train, 5,000 of test), train to test",
        models=(Unmaps,),
    ),
    "prior-fit": Metric(
        measure=code_metrics.prior_fit,
        protocol="codes of test, drawn from q(z|x), against as many samples of p(z): squared MMD "
        "(5 Gaussian kernels), held-out accuracy of a classifier",
        models=(Autoencodes,),
    ),
    "reciprocity-w": Metric(
        measure=code_metrics.reciprocity,
        protocol="mean squared E(G(w)) - w of w = F(z), over W; share: of w's variance",
        models=(Unmaps,),
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


def _require_extractors(names: Sequence[str], roles: Set[str], model: object) -> None:
    """Refuses names that do not exist, or need an extractor that is not there.

    Raises:
        ConfigError: it names the missing file, its origin, and what runs without it.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
    wanted = {METRICS[name].extractor for name in names} - {""} - roles
    if not wanted:
        return
    lines = []
    for role in sorted(wanted):
        needing = ", ".join(n for n in names if METRICS[n].extractor == role)
        lines.append(f"{needing}: {_origin_of(role)}")
    runs = ", ".join(
        n for n, m in METRICS.items() if m.extractor in ("", *roles) and isinstance(model, m.models)
    )
    missing = "\n  ".join(lines)
    raise ConfigError(
        f"nothing was computed, for a feature extractor is missing:\n  {missing}\n"
        f"Fetch it once (nothing is downloaded here) and add --features FILE, in a config "
        f"metrics.features=[FILE]. Without it run: {runs}"
    )


def require(names: Sequence[str], context: EvaluationContext[object]) -> None:
    """Refuses, before anything is computed, metrics that cannot be measured in this context.

    Raises:
        ConfigError: a name is unknown, a model is of a class that a metric does not take, or an
            extractor, a label or images are missing.
    """
    _require_extractors(names, context.extractors.keys(), context.model)
    model, there = context.model, context.dataset.manifest.labels
    for name in names:
        metric = METRICS[name]
        if not isinstance(model, metric.models):
            takes = " or ".join(CAPABILITIES.get(kind, kind.__name__) for kind in metric.models)
            fitting = ", ".join(n for n, m in METRICS.items() if isinstance(model, m.models))
            raise ConfigError(
                f"{name} measures a {takes} and this is a {type(model).__name__}, which takes "
                f"{fitting or 'none of the metrics'}: change the list of metrics"
            )
        if metric.labels and not context.labels:
            raise ConfigError(
                f"{name} needs labels, and none are named: add --labels, of "
                f"{', '.join(there) or 'which this data set has none'}"
            )
    unknown = [n for n in context.labels if n not in there and n.partition(":")[0] not in there]
    if unknown:
        raise ConfigError(
            f"the data set has no label {', '.join(unknown)}: its labels are "
            f"{', '.join(there) or 'none'}"
        )
    if context.samples < 2 or context.batch < 1:
        raise ConfigError(
            f"{context.samples} samples by {context.batch}: take at least 2, by 1 or more"
        )
    if any(METRICS[name].labels for name in names):
        for label in context.labels:
            attribute_metrics.attribute_masks(context, label)


def _origin_of(role: str) -> str:
    """Where the file of an extractor is from."""
    if role not in KNOWN:
        return "a TorchScript file of your own, with --sha256 of it"
    known = KNOWN[role]
    return f"{known.file} ({known.of}) from {known.url}, sha256 {known.sha256}"
