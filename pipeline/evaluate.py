"""Metrics by name, and what they find of a model: one result each, a line of JSON.

A metric is a function of a `Subject`; METRICS says besides what it needs and which models it takes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pipeline import attributes, code_measures, measures
from pipeline.subject import Subject, Values
from stylealae.api import StyleALAE
from stylealae.api_mlp import AlaeMlpModel, ClassModel, CodeModel, GanModel, MlpModel
from stylealae.errors import ConfigError
from stylealae.metrics.features import KNOWN
from stylealae.metrics.ppl import Sampling, Space

__all__ = ["METRICS", "Metric", "Result", "evaluate", "require", "require_extractors"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure, and what it asks for."""

    measure: Callable[[Subject[Any]], Values]
    """Collective; docs/metrics.md says what its values mean."""
    protocol: str
    """In a line, for the record beside every number: what is compared with what, and how."""
    extractor: str = ""
    """Role of the feature extractor that it needs; empty for none."""
    rows: bool = False
    """Whether it needs the features of each image, and not only their sums."""
    labels: bool = False
    """Whether it needs labels of the data set."""
    models: tuple[type, ...] = (StyleALAE,)
    """Classes of the models that it can look at."""


def _by(measure: Callable[..., Values], role: str, protocol: str, **needs: Any) -> Metric:
    """A metric over the features of one extractor."""
    return Metric(
        measure=partial(measure, by=role), protocol=f"{protocol}, {role}", extractor=role, **needs
    )


def _path(role: str, space: Space, sampling: Sampling) -> Metric:
    protocol = f"PPL in {space}, {sampling} paths, step 1e-4, no crop, at most 256x256, 1..99 %"
    return _by(partial(measures.ppl, space=space, sampling=sampling), role, protocol)


def _planes(role: str, space: Space) -> Metric:
    protocol = f"linear SVM in {space}, surest half, predictor fitted to labels of train"
    return _by(
        partial(attributes.separability, space=space), role, protocol, rows=True, labels=True
    )


FID = "FID: real train, generated untruncated with noise"
KID = "KID: 100 subsets of 1000, cubic kernel; real train, generated untruncated with noise"
PR = "precision and recall: k = 3; real train, generated untruncated with noise"
DC = "density and coverage: k = 5; real train, generated untruncated with noise"
RFID = "FID of G(E(x)) without noise from x, test"
LPIPS = "LPIPS of G(E(x)) without noise from x, test, at most 256x256"

METRICS: dict[str, Metric] = {
    "fid": _by(measures.fid, "inception", FID),
    "fid-random": _by(measures.fid, "random", FID),
    "fid-custom": _by(measures.fid, "custom", FID),
    "kid": _by(measures.kid, "inception", KID, rows=True),
    "kid-random": _by(measures.kid, "random", KID, rows=True),
    "kid-custom": _by(measures.kid, "custom", KID, rows=True),
    "precision-recall": _by(measures.precision_recall, "vgg16", PR, rows=True),
    "precision-recall-random": _by(measures.precision_recall, "random", PR, rows=True),
    "precision-recall-custom": _by(measures.precision_recall, "custom", PR, rows=True),
    "density-coverage": _by(measures.density_coverage, "vgg16", DC, rows=True),
    "density-coverage-random": _by(measures.density_coverage, "random", DC, rows=True),
    "density-coverage-custom": _by(measures.density_coverage, "custom", DC, rows=True),
    "rfid": _by(measures.fid_of_reconstructions, "inception", RFID),
    "rfid-random": _by(measures.fid_of_reconstructions, "random", RFID),
    "lpips": _by(measures.lpips, "vgg16", LPIPS),
    "lpips-random": _by(measures.lpips, "random", LPIPS),
    "psnr": Metric(
        measure=measures.psnr,
        protocol="PSNR of G(E(x)) without noise from x in 8 bits, test, mean over images",
    ),
    "ssim": Metric(
        measure=measures.ssim,
        protocol="SSIM of G(E(x)) without noise from x in 8 bits, test, 11x11 Gaussian of 1.5",
    ),
    "reciprocity": Metric(
        measure=measures.reciprocity,
        protocol="mean squared E(G(F(z))) - F(z) without noise, over W; share: of w's variance",
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
        measure=attributes.separability_of_codes,
        protocol="linear SVM in w = E(x), train, labels of the data set; accuracy held out",
        labels=True,
    ),
    "error": Metric(
        measure=code_measures.error,
        protocol="share of images, test, whose likeliest class y is not their label",
        models=(ClassModel,),
    ),
    "cluster-error": Metric(
        measure=code_measures.cluster_error,
        protocol="the same, test, a cluster having the label of its surest validation image",
        models=(ClassModel,),
    ),
    "parzen": Metric(
        measure=code_measures.log_likelihood,
        protocol="Parzen window on 10,000 samples, test, sigma chosen on validation images, nats",
        models=(CodeModel, GanModel, AlaeMlpModel),
    ),
    "knn-svm": Metric(
        measure=code_measures.neighbours,
        protocol="1-NN and linear SVM (C = 1, standardised) in z = E(x), train to test",
        models=(CodeModel,),
    ),
    "knn-svm-pixels": Metric(
        measure=code_measures.neighbours_of_pixels,
        protocol="1-NN and linear SVM (C = 1, standardised) in grey values, train to test",
        models=(MlpModel,),
    ),
    "knn-svm-zw": Metric(
        measure=code_measures.neighbours_in_z_and_w,
        protocol="1-NN and linear SVM (C = 1, standardised) in w = E(x), and in the z that F takes "
        "there (gradient descent; -few: 10,000 of train, 5,000 of test), train to test",
        models=(AlaeMlpModel,),
    ),
    "prior-fit": Metric(
        measure=code_measures.prior_fit,
        protocol="codes of test, drawn from q(z|x), against as many samples of p(z): squared MMD "
        "(5 Gaussian kernels), held-out accuracy of a classifier",
        models=(CodeModel,),
    ),
    "reciprocity-w": Metric(
        measure=code_measures.reciprocity,
        protocol="mean squared E(G(w)) - w of w = F(z), over W; share: of w's variance",
        models=(AlaeMlpModel,),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a metric found, and all that is needed to know what it means."""

    metric: str
    """Its name in METRICS."""
    values: Values
    """Numbers by name."""
    protocol: str
    """What was compared with what."""
    samples: int
    """Images, or pairs of them, that were generated."""
    real: Mapping[str, int]
    """Real images that were looked at, by split."""
    extractor: Mapping[str, str]
    """Role and sha256 of the feature extractor; empty if none was asked."""
    labels: tuple[str, ...]
    """Labels that were looked at."""
    data: str
    """Digest of the data set's manifest."""
    resolution: int
    """Side of the images."""
    alpha: float
    """Weight of the newest block."""
    seed: int
    """Of every draw."""
    batch: int
    """Images at once: it keys G's noise."""
    device: str
    """What it was computed on."""
    ranks: int
    """Processes that it was shared among."""
    torch: str
    """Version of torch."""
    seconds: float
    """Time that this metric took after those before it."""


def require_extractors(names: Sequence[str], roles: Set[str]) -> None:
    """Refuses names that do not exist, or need an extractor that is not there.

    Raises:
        ConfigError: it says which file is wanted, from where, and what runs without it.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
    wanted = {METRICS[name].extractor for name in names} - {""} - roles
    if not wanted:
        return
    lines = []
    for role in sorted(wanted):
        asking = ", ".join(n for n in names if METRICS[n].extractor == role)
        lines.append(f"{asking}: {_wanted(role)}")
    runs = ", ".join(n for n, m in METRICS.items() if m.extractor in ("", *roles))
    told = "\n  ".join(lines)
    raise ConfigError(
        f"nothing was computed, for a feature extractor is missing:\n  {told}\n"
        f"Fetch it once (nothing is downloaded here) and add --features FILE, in a config "
        f"metrics.features=[FILE]. Without it run: {runs}"
    )


def require(names: Sequence[str], subject: Subject[Any]) -> None:
    """Refuses, before anything is computed, metrics that this subject cannot be measured by.

    Raises:
        ConfigError: a name is unknown, a model is of a class that a metric does not take, or an
            extractor, a label or images are missing.
    """
    require_extractors(names, subject.extractors.keys())
    kind, there = type(subject.model), subject.pictures.manifest.labels
    for name in names:
        metric = METRICS[name]
        if not issubclass(kind, metric.models):
            takes = " or ".join(m.__name__ for m in metric.models)
            fitting = ", ".join(n for n, m in METRICS.items() if issubclass(kind, m.models))
            raise ConfigError(
                f"{name} measures a {takes} and this is a {kind.__name__}, which takes "
                f"{fitting or 'none of the metrics'}: change the list of metrics"
            )
        if metric.labels and not subject.labels:
            raise ConfigError(
                f"{name} needs labels, and none are named: add --labels, of "
                f"{', '.join(there) or 'which this data set has none'}"
            )
    unknown = sorted(set(subject.labels) - set(there))
    if unknown:
        raise ConfigError(
            f"the data set has no label {', '.join(unknown)}: its labels are "
            f"{', '.join(there) or 'none'}"
        )
    if subject.samples < 2 or subject.batch < 1:
        raise ConfigError(
            f"{subject.samples} samples by {subject.batch}: take at least 2, by 1 or more"
        )


def evaluate(names: Sequence[str], subject: Subject[Any]) -> Iterator[Result]:
    """What each metric finds, as it is found.  Collective."""
    require(names, subject)
    keep = frozenset(METRICS[name].extractor for name in names if METRICS[name].rows)
    subject = replace(subject, keep=keep, memo={})
    for name in names:
        began = time.monotonic()
        with torch.no_grad(), _exact():
            values = METRICS[name].measure(subject)
        yield _result(name, values, subject, time.monotonic() - began)


def _result(name: str, values: Values, s: Subject[Any], seconds: float) -> Result:
    metric, device = METRICS[name], s.world.device
    extractor = s.extractors.get(metric.extractor)
    on_gpu = device.type == "cuda"
    return Result(
        metric=name,
        values=values,
        protocol=metric.protocol,
        samples=s.samples,
        real={split: s.real_count(split) for split in dict.fromkeys(("train", s.held_out))},
        extractor={} if extractor is None else {extractor.role: extractor.sha256},
        labels=s.labels if metric.labels else (),
        data=s.pictures.manifest.digest,
        resolution=s.pictures.resolution,
        alpha=s.alpha,
        seed=s.seed,
        batch=s.batch,
        device=torch.cuda.get_device_name(device) if on_gpu else "cpu",
        ranks=s.world.size,
        torch=str(torch.__version__),
        seconds=seconds,
    )


def _wanted(role: str) -> str:
    if role not in KNOWN:
        return "a TorchScript file of your own, with --sha256 of it"
    known = KNOWN[role]
    return f"{known.file} ({known.of}) from {known.url}, sha256 {known.sha256}"


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions and products in whole float32: TF32 moves FID, and PPL by its squared step."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
