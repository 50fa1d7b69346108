"""What is asked of a model, a data set and this machine before metrics are computed."""

from collections.abc import Sequence, Set
from difflib import get_close_matches

from pipeline.data.loader.dataset import Dataset
from pipeline.evaluation import attribute_metrics
from pipeline.evaluation.context import Evaluation
from pipeline.evaluation.registry import METRICS, Metric, usual
from pipeline.evaluation.true_classes import class_label
from pipeline.faces.dlib_models import EXTRA, installed
from stylealae.capabilities import CAPABILITIES, Reconstructs, TakesClasses
from stylealae.errors import ConfigError
from stylealae.metrics.features import KNOWN

__all__ = ["require", "require_known"]


def require_known(names: Sequence[str], model: object = None) -> None:
    """Refuses names that do not exist; those that are usual for the model are told.

    Raises:
        ConfigError: there is no such metric.
    """
    for name in names:
        if name not in METRICS:
            near = get_close_matches(name, METRICS, 3) or usual(model) or list(METRICS)
            raise ConfigError(
                f"there is no metric {name!r}: did you mean {' or '.join(near)}? "
                "`stylealae evaluate --list` names all"
            )


def _require_extractors(names: Sequence[str], roles: Set[str], model: object) -> None:
    """Refuses names that need an extractor that is not there.

    Raises:
        ConfigError: it names the missing file, its origin, and what runs without it.
    """
    wanted = {METRICS[name].extractor for name in names} - {""} - roles
    if not wanted:
        return
    lines = []
    for role in sorted(wanted):
        needing = ", ".join(n for n in names if METRICS[n].extractor == role)
        lines.append(f"{needing}: {_origin_of(role)}")
    runs = ", ".join(
        n
        for n, m in METRICS.items()
        if m.extractor in ("", *roles)
        and isinstance(model, m.models)
        and (installed() or not m.recognises)
    )
    missing = "\n  ".join(lines)
    raise ConfigError(
        f"nothing was computed, for a feature extractor is missing:\n  {missing}\n"
        f"Fetch it once (nothing is downloaded here) and add --features FILE, in a config "
        f"metrics.features=[FILE]. Without it run: {runs}"
    )


def require(evaluation: Evaluation) -> None:
    """Refuses, before anything is computed, metrics that cannot be measured in this context.

    Raises:
        ConfigError: a name is unknown, a model is of a class that a metric does not take, or an
            extractor, a label or images are missing.
    """
    names, context = evaluation.names, evaluation.context
    require_known(names, context.model)
    _require_extractors(names, context.extractors.keys(), context.model)
    model, there = context.model, context.dataset.manifest.labels
    for name in names:
        metric = METRICS[name]
        if not isinstance(model, metric.models):
            takes = " or ".join(CAPABILITIES.get(kind, kind.__name__) for kind in metric.models)
            fitting = ", ".join(n for n, m in METRICS.items() if isinstance(model, m.models))
            raise ConfigError(
                f"{name} measures a {takes}, and this is a {type(model).__name__}: choose from "
                f"{fitting or 'none, no metric takes it'}"
            )
        if Reconstructs in metric.models and isinstance(model, TakesClasses):
            class_label(context)
        _require_surroundings(name, metric, context.dataset)
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


def _require_surroundings(name: str, metric: Metric, dataset: Dataset) -> None:
    """Refuses a metric whose extra is not installed, or that is of another kind of images."""
    if metric.recognises and not installed():
        raise ConfigError(f"{name} recognises faces with an extra: {EXTRA}")
    source = dataset.manifest.source
    if metric.tests == "learnt" and not dataset.count("test"):
        raise ConfigError(
            f"{name} learns from training images and is measured on test images, which this data "
            "set has none of: take it off the list, or prepare one with --test-fraction 0.1"
        )
    if metric.source and source != metric.source:
        raise ConfigError(
            f"{name} measures {metric.source} faces, whose parameters are known, and this data set "
            f"is of the source {source}: take it off the list, or give --data datasets/rendered"
        )


def _origin_of(role: str) -> str:
    """Where the file of an extractor is from."""
    if role not in KNOWN:
        return "a TorchScript file of your own, with --sha256 of it"
    known = KNOWN[role]
    return f"{known.file} ({known.of}) from {known.url}, sha256 {known.sha256}"
