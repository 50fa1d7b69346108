"""The classes that real images come with."""

import torch
from torch import Tensor

from pipeline.data.format.types import Ints
from pipeline.data.loader.batch import classes_of
from pipeline.evaluation.context import EvaluationContext
from stylealae.errors import ConfigError

__all__ = ["class_label", "true_classes"]


def class_label(context: EvaluationContext[object]) -> str:
    """The label that classes are read from: the one of training, the one named, or the only one.

    Raises:
        ConfigError: there is more than one, or none.
    """
    if context.dataset.cfg.label:
        return context.dataset.cfg.label
    there = context.labels or context.dataset.manifest.labels
    if len(there) != 1:
        raise ConfigError(
            f"classes are read from one label and the data set has {', '.join(there) or 'none'}: "
            "name it with --labels"
        )
    return there[0]


def true_classes(context: EvaluationContext[object], split: str, ids: Ints) -> Tensor:
    """The classes of some images of a split.  [N] -> [N] int64

    Raises:
        ConfigError: one has none.
    """
    label = class_label(context)
    values = torch.from_numpy(context.dataset.labels(split, label, ids))
    classes = classes_of(len(values), values)
    if bool((classes < 0).any()):
        raise ConfigError(f"some images of {split!r} have no label {label!r}")
    return classes
