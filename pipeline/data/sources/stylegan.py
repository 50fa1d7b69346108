"""StyleGAN's zip, or folder, of images with a dataset.json that holds their labels.

00000/img00000000.png ...
dataset.json      {"labels": [["00000/img00000000.png", 6], ...]}, or a list of numbers each
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

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
        """Whether there is a dataset.json at the top."""
        return LABELS in entries

    def read_labels(self, others: Sequence[str]) -> Labels:
        """The labels in dataset.json; none if it holds null."""
        if self.options.labels is not None:
            return super().read_labels(others)
        if LABELS not in self.files.sizes:
            raise DataError(f"{self.input} holds no {LABELS}: give --source folder, zip or tar")
        try:
            pairs = json.loads(self.files.read(LABELS))["labels"]
            known = {str(name).replace("\\", "/"): v for name, v in pairs or () if v is not None}
            vectors = np.array(list(known.values()), np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.input}: {LABELS} cannot be read ({error!r}): wanted "
                '{"labels": [[name, class or vector], ...]}; mend it, or give --source folder or '
                "zip, which leaves it aside"
            ) from error
        self.used.add(LABELS)
        if not known:
            return Labels()
        found = vectors_of(list(known), vectors)
        rows = {key: row for name, row in found.rows.items() if (key := self._names.find(name))}
        if not rows:
            raise DataError(f"{self.input}: {LABELS} knows none of the {len(self)} images")
        return self.joined([(LABELS, Labels(found.names, rows, rest=len(known) - len(rows)))])
