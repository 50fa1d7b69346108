"""Labels -> directions in w: where to move for more of an attribute, and how it is read off w.

A label is a number (its scale does not matter), one of two values, or one of several classes, each
of which becomes an attribute of its own, `age:20-29`.

Legend: N styles, K attributes, W width of w.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stylealae.editing.directions import Directions, placed
from stylealae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

__all__ = ["METHODS", "Label", "Method", "Separate", "fit"]

log = logging.getLogger(__name__)

Label = float | str | None
"""A number, a class, or None where nothing is known."""
Method = Literal["effect", "svm", "logistic"]
Separate = Literal["no", "conditioned", "orthogonal"]
Array = NDArray[np.float64]

FEWEST = 8
"""Styles that an attribute must at least be known of, on either side."""
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of regularisation that a classifier chooses from."""


def fit(
    w: Tensor,
    labels: Mapping[str, Sequence[Label]],
    *,
    method: Method = "effect",
    separate: Separate = "no",
    held_out: float = 0.2,
    seed: int = 0,
) -> Directions:
    """A direction for each label of styles.  [N, W], N values each -> K directions

    Args:
        w: styles of labelled images.
        labels: for each label a value for every style; None or NaN is unknown.
        method: `effect` is how w changes, on average, with one attribute while all others given
            stay (least squares of w on the labels); `svm` and `logistic` are the normal of the
            plane that best separates more from less (InterFaceGAN, Shen et al. 2020).
        separate: `conditioned` takes out of each direction what changes the scores of the others;
            `orthogonal` gives the nearest directions at right angles to each other.
        held_out: share of the styles that judge the scores and are not fitted.
        seed: of the choice of those.

    Raises:
        DataError: no label has two sides of enough styles.
        ConfigError: the directions cannot be separated.
    """
    columns = _columns(labels, len(w))
    points = w.detach().double().cpu().numpy()
    centre, scale = points.mean(0), float(points.std()) or 1.0
    points = (points - centre) / scale
    order = np.random.default_rng(seed).permutation(len(points))
    tests = max(round(held_out * len(points)), 1)
    train, test = order[tests:], order[:tests]
    read = {name: METHODS[method](points[train], y[train]) for name, y in columns.items()}
    report = {
        name: _judged(points[test] @ normal + bias, columns[name][test], _middle(columns[name]))
        for name, (normal, bias) in read.items()
    }
    scorers = np.stack([normal for normal, _ in read.values()])
    vectors = _effects(points, columns) if method == "effect" else scorers
    vectors = SEPARATE[separate](vectors, scorers, tuple(columns))
    about = {"method": method, "separate": separate, "held_out": tests, "attributes": report}
    found = [torch.from_numpy(part).to(w.device, w.dtype) for part in (vectors, scorers)]
    return placed(tuple(columns), found[0], w, scorers=found[1], about=about)


def _columns(labels: Mapping[str, Sequence[Label]], count: int) -> dict[str, Array]:
    """Numbers [N] by attribute, NaN where unknown; every class is an attribute of its own."""
    found: dict[str, Array] = {}
    for name, values in labels.items():
        if len(values) != count:
            raise DataError(f"{name} has {len(values)} values for {count} styles: give one each")
        if any(isinstance(value, str) for value in values):
            classes = sorted({str(value) for value in values if value is not None})
            for one in classes[1:] if len(classes) == 2 else classes:
                found[f"{name}:{one}"] = np.array(
                    [np.nan if value is None else float(str(value) == one) for value in values]
                )
        else:
            found[name] = np.array([np.nan if v is None else float(v) for v in values])
    for name, y in list(found.items()):
        known = y[np.isfinite(y)]
        more = known > _middle(known)
        if min(more.sum(), (~more).sum()) < FEWEST:
            log.warning("%s separates too few styles and is left out: %s", name, _counts(known))
            del found[name]
    if not found:
        raise DataError(
            f"no label separates at least {FEWEST} styles from {FEWEST} others: there are "
            f"{', '.join(labels) or 'none'}; give more images, or other labels"
        )
    return found


def _middle(y: Array) -> float:
    """Above it a value counts as having the attribute."""
    known = y[np.isfinite(y)]
    if not len(known):
        return 0.0
    two = len(np.unique(known)) == 2
    return float((known.min() + known.max()) / 2 if two else np.median(known))


def _counts(known: Array) -> str:
    values, counts = np.unique(known, return_counts=True)
    listed = ", ".join(f"{v:g} x{n}" for v, n in zip(values[:4], counts[:4], strict=True))
    return listed or "all unknown"


def _regressed(points: Array, y: Array) -> tuple[Array, float]:
    """Normal and bias of the linear prediction of a label, above 0 for more of it."""
    from sklearn.linear_model import RidgeCV

    known = np.isfinite(y)
    x, y = points[known], y[known]
    standard = (y - y.mean()) / y.std()
    found = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(x, standard)
    predicted = x @ found.coef_
    more = y > _middle(y)
    middle = (predicted[more].mean() + predicted[~more].mean()) / 2
    return found.coef_, -float(middle)


def _classified(
    points: Array, y: Array, model: "Callable[[], LinearSVC | LogisticRegression]"
) -> tuple[Array, float]:
    """Normal and bias of the plane between less and more; of numbers, the clear cases alone."""
    from sklearn.model_selection import GridSearchCV

    known = np.isfinite(y)
    x, y = points[known], y[known]
    low, high = np.quantile(y, (1 / 3, 2 / 3))
    if len(np.unique(y)) > 2 and high > y.min():
        clear = (y <= low) | (y >= high)
        x, more = x[clear], y[clear] >= high
    else:  # two values, or the least of them in two thirds of the styles
        more = y > _middle(y)
    search = GridSearchCV(model(), {"C": STRENGTHS}, cv=3).fit(x, more)
    best = search.best_estimator_
    return best.coef_[0], float(best.intercept_[0])


def _svm() -> "LinearSVC":
    from sklearn.svm import LinearSVC

    return LinearSVC(dual="auto", max_iter=5000)


def _logistic() -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


METHODS: dict[str, Callable[[Array, Array], tuple[Array, float]]] = {
    "effect": _regressed,
    "svm": partial(_classified, model=_svm),
    "logistic": partial(_classified, model=_logistic),
}
"""How an attribute is read off styles, by the name of the method."""


def _effects(points: Array, columns: Mapping[str, Array]) -> Array:
    """What each attribute alone changes in w: least squares on all of them.  -> [K, W]"""
    y = np.stack(list(columns.values()), axis=1)  # [N, K]
    y = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    found, *_ = np.linalg.lstsq(np.nan_to_num(y), points, rcond=1e-6)  # unknown: as the average
    return np.asarray(found)


def _judged(scores: Array, y: Array, middle: float) -> dict[str, float]:
    """How well scores predict the attribute of styles they were not fitted on.  [N], [N]"""
    known = np.isfinite(y)
    scores, y = scores[known], y[known]
    if len(y) < 2 or len(np.unique(y)) < 2:
        return {"held_out": len(y)}
    more = y > middle
    share = float(more.mean())
    return {
        "held_out": len(y),
        "accuracy": round(float(((scores > 0) == more).mean()), 4),
        "chance": round(max(share, 1 - share), 4),
        "correlation": round(float(np.corrcoef(scores, y)[0, 1]), 4),
    }


def _as_they_are(vectors: Array, scorers: Array, names: Sequence[str]) -> Array:
    return vectors


def _conditioned(vectors: Array, scorers: Array, names: Sequence[str]) -> Array:
    """Each vector without its part in the span of the other scorers: their scores stay."""
    found = []
    for k, vector in enumerate(vectors):
        others = np.delete(scorers, k, axis=0).T  # [W, K - 1]
        weights, *_ = np.linalg.lstsq(others, vector, rcond=None)
        rest = vector - others @ weights
        if np.linalg.norm(rest) < 1e-3 * np.linalg.norm(vector):
            raise ConfigError(
                f"nothing of {names[k]} is left beside the other {len(names) - 1} attributes: "
                "leave some of them out"
            )
        found.append(rest)
    return np.stack(found)


def _orthogonal(vectors: Array, scorers: Array, names: Sequence[str]) -> Array:
    """The nearest orthonormal vectors, which favour none (Löwdin 1950)."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, sizes, right = np.linalg.svd(unit, full_matrices=False)
    if len(unit) > unit.shape[1] or sizes[-1] < 1e-6 * sizes[0]:
        raise ConfigError(
            f"{len(names)} directions cannot be made orthogonal, some are combinations of others: "
            "leave some out"
        )
    return np.asarray(left @ right)


SEPARATE = {"no": _as_they_are, "conditioned": _conditioned, "orthogonal": _orthogonal}
"""How directions are kept from changing each other's attributes."""
