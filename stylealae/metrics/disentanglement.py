"""How far codes keep known factors apart: MIG, SAP, DCI and the FactorVAE score.

Codes are columns of numbers, factors columns of numbers whose order means something; the scores
follow the definitions of disentanglement_lib (Locatello et al. 2019), which the functions' notes
name where there are several.  All lie between 0 and 1, and 1 is best.

Legend: n samples, J numbers of a code, K factors.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stylealae.errors import ConfigError

__all__ = ["Dci", "dci", "dci_of", "factor_vae_score", "levels", "mig", "sap"]

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]

CODE_BINS = 20
"""Of a code's number between its least and its largest."""
FACTOR_LEVELS = 10
"""Of a factor that has more values than these."""
VOTES, TEST_VOTES, VOTE_BATCH = 10_000, 5_000, 64
DEAD_STD = 0.05
"""A number of a code whose deviation is below this share of the largest one takes no votes."""
TREES, LEAF = 10, 5


def mig(codes: Floats, factors: Floats) -> float:
    """Mutual information gap (Chen et al. 2018).  [n, J], [n, K]

    Of every factor, by how much the number that tells most of it tells more than the next one, as a
    share of the factor's entropy; the mean over factors.
    """
    binned = np.stack([_histogram(column) for column in codes.T], 1)
    known = np.stack([levels(column) for column in factors.T], 1)
    gaps = []
    for factor in known.T:
        shared = [_information(column, factor) for column in binned.T]
        gaps.append(_gap(np.array(shared)) / _information(factor, factor))
    return float(np.mean(gaps))


def sap(codes: Floats, factors: Floats) -> float:
    """Separated attribute predictability (Kumar et al. 2018) of numbers.  [n, J], [n, K]

    As `mig`, of the squared correlation of one number with one factor: its R^2 by a line.
    """
    x, y = (_standardised(columns) for columns in (codes, factors))
    r2 = (x.T @ y / len(x)) ** 2  # [J, K]
    return float(np.mean([_gap(column) for column in r2.T]))


class Dci(NamedTuple):
    """Eastwood and Williams 2018."""

    disentanglement: float
    """1 where every number of the code serves one factor only."""
    completeness: float
    """1 where every factor is served by one number only."""
    informativeness: float
    """R^2 of factors predicted from codes, held out; the mean, at least 0."""


def dci(codes: Floats, factors: Floats) -> Dci:
    """By random forests, a factor each, on codes; a quarter of the samples is held out.

    [n, J], [n, K]; forests are the paper's second regressor, R^2 stands for its NRMSE.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    out = np.random.default_rng(0).permutation(len(codes)) * 4 < len(codes)
    importance, accuracy = [], []
    for factor in _standardised(factors).T:
        forest = _forest().fit(codes[~out], factor[~out])
        importance.append(forest.feature_importances_)
        accuracy.append(max(0.0, float(forest.score(codes[out], factor[out]))))
    apart, whole = dci_of(np.stack(importance, 1))
    return Dci(apart, whole, float(np.mean(accuracy)))


def dci_of(importance: Floats) -> tuple[float, float]:
    """Disentanglement and completeness of the importance of each number for each factor.  [J, K]

    1 minus the entropy of a row, or a column, in units of its largest; the mean is weighted by what
    the row or column sums to.
    """
    return _concentration(importance), _concentration(importance.T)


def factor_vae_score(codes: Floats, factors: Floats, seed: int = 0) -> float:
    """Accuracy of a majority vote (Kim and Mnih 2018): which factor did these samples share?

    [n, J], [n, K]; a vote is the number that varies least among 64 samples of one level of a
    factor.  Chance is 1 / K.  The samples are those that there are, where the paper draws new ones:
    of factors with levels, they share the level and not the very value.
    """
    deviation = codes.std(0)
    alive = deviation > DEAD_STD * deviation.max()
    if not alive.any():
        return 0.0
    scaled = codes[:, alive] / deviation[alive]
    factor, rows = _batches(factors, np.random.default_rng(seed))
    least = np.concatenate([scaled[part].var(1).argmin(1) for part in np.array_split(rows, 50)])
    count = np.zeros((2, scaled.shape[1], factors.shape[1]))
    np.add.at(count, (np.arange(len(factor)) // VOTES, least, factor), 1.0)
    learnt, test = count
    right = test[np.arange(len(test)), learnt.argmax(1)].sum()
    return float(right / TEST_VOTES)


def _batches(factors: Floats, source: np.random.Generator) -> tuple[Ints, Ints]:
    """The factor that each vote is about, and samples that share a level of it.  -> [V], [V, 64]"""
    members: list[Ints] = []
    first, many = [], []  # of each factor: its first level in `members`, how many it has
    for column in factors.T:
        level = levels(column)
        first.append(len(members))
        many.append(level.max() + 1)
        members += [np.flatnonzero(level == i) for i in range(level.max() + 1)]
    size = np.array([len(m) for m in members])
    begin = np.cumsum(size) - size
    factor = source.integers(len(first), size=VOTES + TEST_VOTES)
    chosen = np.array(first)[factor] + source.integers(np.array(many)[factor])
    within = source.integers(size[chosen][:, None], size=(len(factor), VOTE_BATCH))
    return factor, np.concatenate(members)[begin[chosen][:, None] + within]


def levels(factor: Floats) -> Ints:
    """A factor as a number of its level: its values, or if they are many ranges of equal count.

    [n] -> [n], from 0
    """
    values, found = np.unique(factor, return_inverse=True)
    if len(values) <= FACTOR_LEVELS:
        return found
    borders = np.unique(np.quantile(factor, np.arange(1, FACTOR_LEVELS) / FACTOR_LEVELS))
    return np.unique(np.searchsorted(borders, factor), return_inverse=True)[1]


def _histogram(column: Floats) -> Ints:
    """Bins of equal width.  [n] -> [n]"""
    return np.digitize(column, np.histogram(column, CODE_BINS)[1][:-1])


def _information(a: Ints, b: Ints) -> float:
    """Mutual information of two columns of classes in nats; of one with itself its entropy."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1.0 / len(a))
    alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / alone[there])).sum())


def _gap(scores: Floats) -> float:
    """By how much the largest exceeds the next; of one, the score.  [J]"""
    first, second = np.sort(np.append(scores, 0.0))[:-3:-1]
    return float(first - second)


def _concentration(importance: Floats) -> float:
    """1 minus the normalised entropy of rows, weighted by their sums.  [J, K]"""
    sums = importance.sum(1)
    if importance.shape[1] == 1 or not sums.any():
        return float(sums.any())
    p = importance[sums > 0] / sums[sums > 0, None]
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1) / np.log(importance.shape[1])
    return float(np.average(1.0 - entropy, weights=sums[sums > 0]))


def _standardised(columns: Floats) -> Floats:
    """Mean 0 and variance 1; a column of one value is 0.  [n, any] -> [same]"""
    centred = columns.astype(np.float64) - columns.mean(0)
    deviation = centred.std(0)
    scaled: Floats = np.divide(
        centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12
    )
    return scaled


def _forest() -> Any:
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise ConfigError("dci needs scikit-learn: pip install 'stylealae[tools]'") from error
    return RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
