"""Directions in w: named ways to move a style, found without labels here, from labels elsewhere.

Amounts are standard deviations: 1 moves w as far along a direction as the styles that the direction
was found on spread along it.

Legend: N styles, K directions, L layers (two a stage), W width of w.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stylealae.errors import CheckpointError, ConfigError, did_you_mean
from stylealae.latents import per_layer
from stylealae.networks.generator import Generator
from stylealae.tensor_file import write_tensors

__all__ = ["Directions", "placed", "principal", "sefa"]

WEIGHTS, ABOUT = "directions.safetensors", "directions.json"
FORMAT = 1
TENSORS = ("vectors", "spreads", "scorers", "zeros")
UNIT = "1 is one standard deviation of w along the direction"


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """K named directions, how far one goes along each, and how each attribute is read off w."""

    names: tuple[str, ...]
    vectors: Tensor
    """[K, W], of unit length: where to move."""
    spreads: Tensor
    """[K]: standard deviation of w along each vector, the unit of amounts."""
    scorers: Tensor
    """[K, W]: a style's score is w @ scorers.T - zeros: mean 0, standard deviation 1."""
    zeros: Tensor
    """[K]: see scorers."""
    layers: tuple[int, int] | None = None
    """First and last layer of G that a move changes, both included; None: all of them."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How they were found and how good they are: what directions.json reports."""

    def __len__(self) -> int:
        return len(self.names)

    def step(self, amounts: Mapping[str, float]) -> Tensor:
        """What to add to w.  {"smile": 2.0, "age": -1.0} -> [W]

        Raises:
            ConfigError: no direction has that name.
        """
        weights = torch.zeros(len(self))
        for name, amount in amounts.items():
            if name not in self.names:
                near = get_close_matches(name, self.names, 1, 0.5)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"there is no direction {name!r}: choose from {', '.join(self.names)}.{hint}"
                )
            weights[self.names.index(name)] += amount
        return (weights.to(self.spreads.device) * self.spreads) @ self.vectors

    def move(self, w: Tensor, amounts: Mapping[str, float], layers: int) -> Tensor:
        """Styles moved; `layers` is how many G has.  [N, W] or [N, L, W] -> [N, L, W]"""
        if w.shape[-1] != self.vectors.shape[1]:
            raise ConfigError(
                f"these directions are for styles of {self.vectors.shape[1]} numbers, this model's "
                f"have {w.shape[-1]}: fit directions for this model"
            )
        first, last = self.layers or (0, layers - 1)
        layer = torch.arange(layers, device=w.device)
        moved = ((first <= layer) & (layer <= last)).to(w.dtype)  # [L]
        return per_layer(w, layers) + moved[:, None] * self.step(amounts).to(w)

    def scores(self, w: Tensor) -> Tensor:
        """How much of each attribute styles have, in standard deviations.  [N, W] -> [N, K]"""
        return w @ self.scorers.to(w).T - self.zeros.to(w)

    def chosen(self, names: Iterable[str]) -> "Directions":
        """Only these of the directions, in this order."""
        rows = [self.names.index(name) for name in names]
        return Directions(
            names=tuple(self.names[row] for row in rows),
            vectors=self.vectors[rows],
            spreads=self.spreads[rows],
            scorers=self.scorers[rows],
            zeros=self.zeros[rows],
            layers=self.layers,
            about=self.about,
        )

    def joined(self, more: "Directions") -> "Directions":
        """These directions and, after them, those of another set.

        Raises:
            ConfigError: a name is in both sets, or they move other layers or other styles.
        """
        if both := [name for name in more.names if name in self.names]:
            raise ConfigError(f"{', '.join(both)} are in both sets of directions: rename them")
        if self.layers != more.layers or self.vectors.shape[1] != more.vectors.shape[1]:
            raise ConfigError(
                f"directions that move {_span(more.layers)} cannot join those that move "
                f"{_span(self.layers)}: keep them in a folder of their own"
            )
        method = dict.fromkeys(str(d.about.get("method", "unknown")) for d in (self, more))
        attributes = {k: v for d in (self, more) for k, v in d.about.get("attributes", {}).items()}
        about = {**self.about, **more.about, "method": ", ".join(method), "attributes": attributes}
        return Directions(
            names=(*self.names, *more.names),
            layers=self.layers,
            about=about,
            **{
                name: torch.cat([getattr(self, name), getattr(more, name).to(self.vectors)])
                for name in TENSORS
            },
        )

    def weak(self, names: Iterable[str]) -> list[str]:
        """Those whose attribute is told no better than by guessing on styles not fitted."""
        report = self.about.get("attributes", {})
        judged = {name: report[name] for name in names if "accuracy" in report.get(name, {})}
        return [name for name, said in judged.items() if said["accuracy"] <= said["chance"]]

    def cosines(self) -> Tensor:
        """Between all pairs of directions.  -> [K, K]"""
        return self.vectors @ self.vectors.T

    def entanglement(self) -> Tensor:
        """How the score of j changes, in its standard deviations, by amount 1 along i.  -> [K, K]

        Measured in w alone; how much a picture changes, only pictures show.
        """
        return self.spreads[:, None] * (self.vectors @ self.scorers.T)

    def save(self, folder: Path) -> None:
        """Writes directions.safetensors, and directions.json for people, into a folder."""
        tensors = {name: getattr(self, name).detach().float().cpu() for name in TENSORS}
        about = {
            "format": FORMAT,
            "names": list(self.names),
            "unit": UNIT,
            "layers": self.layers,
            "about": dict(self.about),
            "cosines": _rounded(self.cosines()),
            "entanglement": _rounded(self.entanglement()),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(folder / WEIGHTS, tensors)
            (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write directions into {folder}: {error}") from error

    @classmethod
    def load(cls, folder: str | Path) -> "Directions":
        """The directions that `save` left in a folder, that of a snapshot for example.

        A file names the folder that it lies in.

        Raises:
            CheckpointError: there are none, or they are torn or of another format.
        """
        folder = Path(folder)
        if folder.is_file():
            folder = folder.parent
        try:
            found = json.loads((folder / ABOUT).read_text())
            if found["format"] != FORMAT:
                raise CheckpointError(
                    f"{folder / ABOUT} is of format {found['format']}, this version reads "
                    f"{FORMAT}: fit the directions again"
                )
            tensors = load_file(folder / WEIGHTS)
            names, layers = tuple(found["names"]), found["layers"]
            if not all(len(tensor) == len(names) for tensor in tensors.values()):
                raise ValueError(f"{len(names)} names, and other numbers of vectors")
            return cls(
                names=names,
                layers=tuple(layers) if layers else None,
                about=found["about"],
                **tensors,
            )
        except FileNotFoundError as error:
            if not folder.exists():
                mend = did_you_mean(folder) or ": find some with `stylealae directions`"
                raise CheckpointError(f"{folder} does not exist{mend}") from error
            missing = Path(error.filename or WEIGHTS).name  # safetensors names none
            raise CheckpointError(
                f"{folder} holds no directions ({missing} is missing): find some with `stylealae "
                "directions`"
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"{folder} cannot be read ({error.strerror}): name a folder that `stylealae "
                "directions` wrote"
            ) from error
        except (KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
            raise CheckpointError(f"{folder} holds no whole directions: {error}") from error


def placed(
    names: Sequence[str],
    vectors: Tensor,
    w: Tensor,
    *,
    scorers: Tensor | None = None,
    layers: tuple[int, int] | None = None,
    about: Mapping[str, object] | None = None,
) -> Directions:
    """Directions with their units taken from styles; without scorers a direction scores itself.

    [K, W] vectors of any length but 0, [N, W] styles, [K, W] scorers of any scale.
    """
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    scorers = vectors if scorers is None else scorers
    read = w @ scorers.T  # [N, K]
    deviation = read.std(0).clamp_min(1e-12)
    return Directions(
        names=tuple(names),
        vectors=vectors,
        spreads=(w @ vectors.T).std(0),
        scorers=scorers / deviation[:, None],
        zeros=read.mean(0) / deviation,
        layers=layers,
        about={"styles": len(w), **(about or {})},
    )


def principal(w: Tensor, count: int) -> Directions:
    """The directions along which styles vary most (GANSpace, Härkönen et al. 2020).  [N, W]"""
    _require(1 <= count <= min(w.shape), f"count is {count}: {len(w)} styles of {w.shape[1]} "
             f"numbers have 1 to {min(w.shape)} principal directions")  # fmt: skip
    centred = (w - w.mean(0)).double()
    _, sizes, rows = torch.linalg.svd(centred, full_matrices=False)
    share = (sizes.square() / sizes.square().sum())[:count]
    about = {"method": "principal", "share_of_variance": [round(v, 5) for v in share.tolist()]}
    names = [f"pc{k}" for k in range(1, count + 1)]
    return placed(names, _signed(rows[:count]).to(w), w, about=about)


def sefa(G: Generator, w: Tensor, count: int, layers: tuple[int, int] | None = None) -> Directions:
    """The directions to which G's affines answer most: the eigenvectors of A^T A (SeFa).

    A stacks the affines of the chosen layers, each row scaled to length 1 (Shen and Zhou 2021);
    styles [N, W] give the unit alone.
    """
    first, last = layers or (0, G.layers - 1)
    _require(0 <= first <= last < G.layers, f"layers are {first} to {last}: this model's are 0 to "
             f"{G.layers - 1}")  # fmt: skip
    _require(1 <= count <= w.shape[1], f"count is {count}: there are 1 to {w.shape[1]} directions")
    blocks: Any = G.blocks
    styled = [layer.affine.weight for b in blocks for layer in (b.layer_1, b.layer_2)]
    rows = torch.cat(styled[first : last + 1]).detach()  # [all of 2C, W]
    A = torch.nn.functional.normalize(rows.double().cpu(), dim=1)
    values, vectors = torch.linalg.eigh(A.T @ A)  # ascending
    best = values.flip(0)[:count]
    about = {"method": "sefa", "eigenvalues": [round(v, 3) for v in best.tolist()]}
    names = [f"sefa{k}" for k in range(1, count + 1)]
    found = _signed(vectors.T.flip(0)[:count]).to(w)
    return placed(names, found, w, layers=layers, about=about)


def _signed(vectors: Tensor) -> Tensor:
    """The same lines, each pointing to where its largest entry is positive.  [K, W]"""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def _span(layers: tuple[int, int] | None) -> str:
    return f"layers {layers[0]} to {layers[1]}" if layers else "all layers"


def _rounded(table: Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in table.tolist()]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
