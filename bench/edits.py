"""Do edits move their attribute and not the others?  Measured on rendered faces, by pixels alone.

    python -m bench.edits runs/demo/0032/snapshot datasets/rendered

Every rendered face comes with the numbers it was drawn from. A ridge regression learns to read them
from pixels, knowing nothing of the model; faces that neither it nor the directions were fitted on
are then edited, and the regression says what has changed: a table of attributes asked for (rows)
against attributes changed (columns), in standard deviations of each. Its diagonal should be large
and the rest small.

On a model of configs/demo.yaml, stopped after 58,880 images of 3,000 faces, the directions of
`effect` moved their own attribute by 0.34 to 0.83 standard deviations a unit, and no other by more
than 0.26; orthogonal ones by 0.30 to 0.78 and 0.16. The normals of `svm` and `logistic`, which say
how to tell an attribute and not how faces change with it, moved hair by 0.07 at most.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from pipeline.data.images import batches, read_images
from stylealae import StyleALAE
from stylealae.editing.attributes import METHODS, SEPARATE, fit

ATTRIBUTES = ("skin_tone", "yaw", "hair_length", "hair_tone", "light_x", "backdrop_lightness")


def read(dataset: str, side: int, count: int) -> tuple[Tensor, dict[str, list[float]]]:
    """Images [N, C, R, R] and their parameters."""
    parts: list[Tensor] = []
    labels: dict[str, list[float]] = {}
    for batch, x in batches(read_images([dataset], side, count=count), 256):
        parts.append(x)
        for image in batch:
            for name, value in image.labels.items():
                labels.setdefault(name, []).append(float(value or 0))
    return torch.cat(parts), labels


class Reader:
    """Parameters read off pixels, in standard deviations."""

    def __init__(self, x: Tensor, y: np.ndarray) -> None:
        self.mean, self.sd = y.mean(0), y.std(0)
        self.model = RidgeCV(alphas=(10, 100, 1000, 10000)).fit(
            x.flatten(1).numpy(), (y - self.mean) / self.sd
        )

    def __call__(self, x: Tensor) -> np.ndarray:
        """[N, C, R, R] -> [N, K]"""
        return np.asarray(self.model.predict(x.clamp(-1, 1).flatten(1).cpu().numpy()))

    def r2(self, x: Tensor, y: np.ndarray) -> np.ndarray:
        """Share of each parameter's variance that is told.  -> [K]"""
        error = np.square(self(x) - (y - self.mean) / self.sd).mean(0)
        return np.asarray(1 - error / ((y - self.mean) / self.sd).var(0))


def changes(
    m: StyleALAE, w: Tensor, labels: dict[str, list[float]], test: Tensor, reader: Reader,
    *, method: str, separate: str, amount: float,
) -> np.ndarray:  # fmt: skip
    """What edits by `amount` either way change, per unit of amount.  -> [K, K]"""
    directions = fit(w, labels, method=method, separate=separate)  # type: ignore[arg-type]
    rows = []
    for name in directions.names:
        up, down = (reader(m.generate(m.edit(test, {name: sign * amount}, directions), noise=False))
                    for sign in (1, -1))  # fmt: skip
        rows.append((up - down).mean(0) / (2 * amount))
    return np.stack(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table for each way to fit directions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snapshot")
    parser.add_argument("dataset")
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--amount", type=float, default=1.5)
    parser.add_argument("--attributes", default=",".join(ATTRIBUTES))
    given = parser.parse_args(argv)
    names = given.attributes.split(",")
    m = StyleALAE.load(given.snapshot)
    x, labels = read(given.dataset, m.resolution, given.count)
    y = np.array([labels[name] for name in names]).T
    w = torch.cat([m.encode(part) for part in torch.split(x, 64)])
    half, last = len(x) // 2, len(x) - len(x) // 10
    reader = Reader(x[:half], y[:half])
    told = reader.r2(x[last:], y[last:]).round(3).tolist()
    print("read off pixels, R2 on unseen faces:", dict(zip(names, told, strict=True)))
    known = {name: labels[name][half:last] for name in names}
    for method in METHODS:
        for separate in SEPARATE:
            table = changes(m, w[half:last], known, w[last:][:64], reader,
                            method=method, separate=separate, amount=given.amount)  # fmt: skip
            own = np.diag(table)
            others = np.abs(table - np.diag(own)).max(1)
            print(f"\n{method}, {separate}: change per unit along each row's direction")
            for name, row in zip(names, table, strict=True):
                print(f"  {name:20}" + "".join(f"{value:+8.2f}" for value in row))
            ratio = (own / others).astype(float).round(1).tolist()
            print("  own over largest other:", dict(zip(names, ratio, strict=True)))


if __name__ == "__main__":
    main()
