"""StyleGAN's zip, or folder, of images with a dataset.json that holds their labels.

00000/img00000000.png ...
dataset.json      {"labels": [["00000/img00000000.png", 6], ...]}, or a list of numbers each
"""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.sources.files import Files
from pipeline.data.sources.labels import Labels, vectors_of
from stylealae.errors import DataError

__all__ = ["StyleganZip"]

LABELS = "dataset.json"


class StyleganZip(Files):
    """Image files with the labels of dataset.json: a class, or a vector of numbers."""

    name = "stylegan-zip"

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether there is a dataset.json at the top, or in one folder there."""
        below = [name for name in entries if name.endswith(f"/{LABELS}") and name.count("/") == 1]
        below += [str(found) for found in path.glob(f"*/{LABELS}")]
        return LABELS in entries or len(below) == 1

    def read_labels(self, others: Sequence[str]) -> Labels:
        """The labels in dataset.json; none if it holds null."""
        if self.options.labels is not None:
            return super().read_labels(others)
        found = [name for name in others if PurePosixPath(name).name == LABELS]
        if not found:
            raise DataError(f"{self.input} holds no {LABELS}: give --source folder, zip or tar")
        name = min(found, key=lambda name: (name.count("/"), name))
        base = name.removesuffix(LABELS).rstrip("/")
        try:
            pairs = json.loads(self.files.read(name))["labels"]
            known = self._known(pairs or ())
            vectors = np.array(list(known.values()), np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.input}: {name} cannot be read ({error!r}): wanted "
                '{"labels": [[name, class or vector], ...]}; mend it, or give --source folder or '
                "zip, which leaves it aside"
            ) from error
        self.used.add(name)
        if not known:
            return super().read_labels([other for other in others if other not in self.used])
        whole = vectors_of(list(known), vectors)
        rows = {key: row for n, row in whole.rows.items() if (key := self._names.find(n, base))}
        if not rows:
            raise DataError(f"{self.input}: {name} knows none of the {len(self)} images")
        return self.joined([(name, Labels(whole.names, rows, rest=len(known) - len(rows)))])

    def _known(self, pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
        """The labels of dataset.json by the names of images; those that are null are unknown."""
        known: dict[str, object] = {}
        for given, value in pairs:
            image = str(given).replace("\\", "/")
            if value is None:
                continue
            if image in known and known[image] != value:
                raise DataError(
                    f"{self.input}: {LABELS} has two labels of {image}, {known[image]} and "
                    f"{value}: keep one"
                )
            known[image] = value
        return known
