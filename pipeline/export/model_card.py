"""The model card of an exported model: what the Hugging Face hub shows, and machines read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylealae.api import StyleALAE
from stylealae.errors import DataError

__all__ = ["Card", "Figure", "read_metrics"]

LICENCES = {
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC0": "cc0-1.0",
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
}
"""The hub's names of licences, by how ours begin; the longer ones first."""


@dataclass(frozen=True)
class Figure:
    """A number of a model's quality."""

    name: str
    value: float
    how: str = ""
    """What was compared with what, and how many of each."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card states of a model."""

    name: str
    origin: str
    """A sentence: where the weights are from."""
    licence: str = ""
    """Of the images that it was trained on, in the words of their manifest."""
    data: str = ""
    """What they are."""
    metrics: Sequence[Figure] = ()
    pictures: Sequence[tuple[str, str]] = ()
    """File name and caption of each."""
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Format -> network -> largest relative error of the exported file."""

    def text(self, m: StyleALAE) -> str:
        """README.md: YAML front matter, then Markdown."""
        parts = [self._front(m), f"# {self.name}\n\n{self.origin}\n"]
        parts += [f"![{caption}]({file})\n" for file, caption in self.pictures]
        parts.append(self._shape(m))
        parts.append(USE)
        if self.errors:
            parts.append(self._files())
        if self.metrics:
            rows = "\n".join(f"| {f.name} | {f.value:.5g} | {f.how} |" for f in self.metrics)
            parts.append(f"## Metrics\n\n| Metric | Value | Measured as |\n|---|---|---|\n{rows}\n")
        parts.append(self._licence())
        return "\n".join(parts)

    def _front(self, m: StyleALAE) -> str:
        known = next((hub for ours, hub in LICENCES.items() if self.licence.startswith(ours)), "")
        front: dict[str, Any] = {"license": known or "other"}
        if not known:
            front["license_name"] = "of-the-training-images"
        front |= {
            "library_name": "stylealae",
            "pipeline_tag": "unconditional-image-generation",
            "tags": ["stylealae", "alae", "autoencoder", "gan", f"{m.resolution}x{m.resolution}"],
        }
        if self.metrics:
            front["model-index"] = [{"name": self.name, "results": [self._scores()]}]
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()]
        return "\n".join(["---", *lines, "---", ""])

    def _scores(self) -> dict[str, Any]:
        """What was measured, in the words of the hub's model-index."""
        data = self.data or "not stated"
        return {
            "task": {"type": "unconditional-image-generation"},
            "dataset": {"name": data, "type": "image-folder"},
            "metrics": [
                {"type": f.name, "name": f.how or f.name, "value": f.value} for f in self.metrics
            ],
        }

    def _shape(self, m: StyleALAE) -> str:
        s = m.model
        numbers = sum(p.numel() for p in m.nets.parameters())
        return (
            f"A StyleALAE ([Adversarial Latent Autoencoders](https://arxiv.org/abs/2004.04467), "
            f"CVPR 2020) of {m.resolution}x{m.resolution} images: {numbers / 1e6:.1f} M "
            f"parameters, z and w of {s.w_width} numbers, {s.mapping_layers} mapping layers, "
            f"{s.width(m.stage)} to {s.width(0)} feature channels.\n"
        )

    def _files(self) -> str:
        lines = []
        for kind, errors in self.errors.items():
            suffix = {"onnx": ".onnx", "torch": ".pt2"}[kind]
            for name, error in errors.items():
                lines.append(f"| `{name}{suffix}` | {TAKES[name]} | {error:.1e} |")
        return (
            "## For other programs\n\nImages are [N, C, R, R] in [-1, 1]; N is free; noise is off. "
            "The error is the largest difference from PyTorch over the largest output.\n\n"
            "| File | What it computes | Error |\n|---|---|---|\n" + "\n".join(lines) + "\n"
        )

    def _licence(self) -> str:
        licence = self.licence or "not stated"
        return (
            f"## Data and licence\n\nTrained on: {self.data or 'not stated'}. Licence of these "
            f"images: {licence}. A model holds traces of its images: keep to their licence, and "
            "do not use it to mislead people about others.\n"
        )


TAKES = {
    "mapping": "F: z [N, Z] -> w [N, W]",
    "generator": "G: w [N, L, W], a style for every layer -> x",
    "encoder": "E: x -> w [N, W]",
}

USE = """## Use

```python
from stylealae import StyleALAE

m = StyleALAE.load("path/to/this/folder")
x = m.sample(4, seed=1, truncation=0.7)  # [4, C, R, R] in [-1, 1]
w = m.encode(x)
again = m.generate(w)
```
"""


def read_metrics(path: Path) -> list[Figure]:
    """What `stylealae evaluate` found, line by line; of another JSON, the numbers of its last line.

    Of a metric that was measured twice the later is taken.
    """
    try:
        text = path.read_text().strip()
        try:
            lines = [json.loads(text)]
        except ValueError:
            lines = [json.loads(line) for line in text.splitlines()]
            if not lines:
                raise ValueError("it is empty") from None
        if all("values" in line for line in lines):
            figures = [figure for line in lines for figure in _figures(line)]
            return list({figure.name: figure for figure in figures}.values())
        return [Figure(name, value) for name, value in _flat(lines[-1])]
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{path} holds no metrics as JSON ({error})") from error


def _figures(line: Mapping[str, Any]) -> list[Figure]:
    """The numbers of one metric, with its protocol and counts."""
    real = [f"{count:,} real of {split}" for split, count in line["real"].items()]
    generated = [f"{line['samples']:,} generated"] if line["samples"] else []
    how = ", ".join([line["protocol"].replace("|", "/"), *generated, *real])
    return [Figure(name, v, how) for name, v in line["values"].items() if v is not None]


def _flat(found: Mapping[str, Any], before: str = "") -> Sequence[tuple[str, float]]:
    rows: list[tuple[str, float]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            rows.append((f"{before}{name}", float(value)))
    return rows
