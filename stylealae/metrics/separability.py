"""Whether a plane in latent space separates the images with an attribute from those without.

Legend: n samples, W width of the latent space, K features.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylealae.errors import ConfigError

__all__ = [
    "binary",
    "conditional_entropy",
    "held_out_accuracy",
    "most_certain",
    "predictor",
    "separability",
]

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

HOLD_OUT_EVERY = 4
LEAST = 8  # samples of a class, below which nothing is fitted


def separability(latents: Floats, has: Bools) -> float:
    """H(Y | X) in bits: what is unknown of an attribute once the plane's side is known.

    [n, W], [n]; the plane is that of a linear SVM on these very samples (StyleGAN, section 4.2).
    The paper's score is 2 to the sum of these over its attributes: 1 is perfect.  NaN where almost
    all samples are of one class, which no plane separates.
    """
    if _few(has):
        return float("nan")
    return conditional_entropy(_svm().fit(latents, has).predict(latents), has)


def conditional_entropy(x: NDArray[np.generic], y: NDArray[np.generic]) -> float:
    """H(Y | X) in bits of two paired columns of classes.  [n] twice"""
    _, ix = np.unique(x, return_inverse=True)
    _, iy = np.unique(y, return_inverse=True)
    joint = np.zeros((ix.max() + 1, iy.max() + 1))
    np.add.at(joint, (ix, iy), 1.0 / len(ix))
    given = np.divide(joint, joint.sum(1, keepdims=True), out=np.ones_like(joint), where=joint > 0)
    return float(max(0.0, -(joint * np.log2(given)).sum()))


def held_out_accuracy(latents: Floats, has: Bools) -> float:
    """Share of samples that a plane fitted to others puts on the right side.  [n, W], [n]

    Every fourth sample is held out, whatever order they come in.
    """
    if _few(has):
        return float("nan")
    out = _held_out(len(has))
    return float(_svm().fit(latents[~out], has[~out]).score(latents[out], has[out]))


def predictor(features: Floats, has: Bools) -> tuple[Callable[[Floats], Floats], float]:
    """A logistic regression of an attribute, [m, K] -> logits [m], and its held-out accuracy.

    [n, K], [n]; it is fitted to all samples once its accuracy is known.
    """
    model = _regression()
    out = _held_out(len(has))
    accuracy = float(model.fit(features[~out], has[~out]).score(features[out], has[out]))
    return model.fit(features, has).decision_function, accuracy


def most_certain(logits: Floats) -> NDArray[np.intp]:
    """The half that a predictor is surest of, which StyleGAN keeps.  [n] -> [n / 2] indices"""
    order = np.argsort(-np.abs(logits), kind="stable")
    return np.sort(order[: max(1, len(order) // 2)])


def binary(values: Floats, name: str) -> tuple[Bools, Bools]:
    """A label as an attribute: of which samples it is known, and which have it.  [n] -> [n] twice

    The larger of two values has it; of more, those above the median.

    Raises:
        ConfigError: one class has too few samples to fit anything.
    """
    known: Bools = np.isfinite(values)
    distinct = np.unique(values[known])
    middle = (
        distinct.mean() if len(distinct) == 2 else np.median(values[known]) if any(known) else 0
    )
    has: Bools = known & (values > middle)
    fewest = min(int(has.sum()), int((known & ~has).sum()))
    if fewest < LEAST:
        raise ConfigError(
            f"only {fewest} of {len(values)} images have another {name!r} than the rest, and "
            f"{LEAST} are needed: name another label, or take more images"
        )
    return known, has


def _few(has: Bools) -> bool:
    return min(int(has.sum()), int((~has).sum())) < LEAST


def _held_out(n: int) -> Bools:
    out: Bools = np.arange(n) % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1
    return out


def _svm() -> Any:
    """A linear SVM with scikit-learn's defaults, which are StyleGAN's protocol."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise _missing() from error
    return LinearSVC(dual="auto", random_state=0)


def _regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise _missing() from error
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _missing() -> ConfigError:
    return ConfigError("separability needs scikit-learn: pip install 'stylealae[tools]'")
