"""Pivotal tuning: G itself is moved a little, until it draws a person (Roich et al. 2021).

The pivot is a refined style w.  What is learnt is added to G's weights in factors of low rank, so
that it is a small file beside a snapshot; around the pivot G is held to draw what it drew before.

Legend: N images, C channels, R resolution, L layers (two a stage), W width of w, K rank.
"""

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.func import functional_call

from stylealae.editing.refinement import Distance, error_at_sizes, psnr
from stylealae.errors import CheckpointError, ConfigError
from stylealae.networks import Networks
from stylealae.networks.generator import Generator
from stylealae.priors import normal, rng
from stylealae.schedule import Growth

__all__ = ["Tuned", "Tuning", "tune"]

FORMAT = "1"
LEFT, RIGHT = ".left", ".right"
FAR = 64
"""Samples by which it is measured how much of G has changed elsewhere."""
PIXELS_AT_ONCE = 1 << 20
"""Of these samples, drawn together."""
TORN = (KeyError, ValueError, TypeError, OSError, RecursionError, struct.error, SafetensorError)
"""What a file that holds something else ends in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """What is added to G for some images, and the styles that they are then drawn with."""

    w: Tensor
    """[N, L, W]: the pivots."""
    difference: Mapping[str, Tensor]
    """By G's names, float16: a whole tensor, or two factors, `name.left` [out, K] and `name.right`
    [K, rest]."""
    generator: str
    """SHA-256 of the weights of the G that it belongs to."""
    names: tuple[str, ...] = ()
    """Of the images."""

    def added_to(self, G: Generator) -> dict[str, Tensor]:
        """The parameters of G, moved.

        Raises:
            ConfigError: it belongs to another G.
        """
        found = _digest_of(G)
        if found != self.generator:
            raise ConfigError(
                f"the tuning is of the generator {self.generator[:12]} and this model's is "
                f"{found[:12]}: use the snapshot that was tuned, or tune this one with `refine "
                "--tune`"
            )
        before = dict(G.named_parameters())
        try:
            return before | _moved(before, self.difference)
        except (KeyError, RuntimeError) as error:
            raise ConfigError(f"the tuning fits no generator ({error}): write it again") from error

    def packed(self) -> bytes:
        """A .safetensors: the difference, the styles and whose generator it is."""
        tensors = {"w": self.w.detach().float().cpu()}
        tensors |= {f"G.{name}": t.detach().cpu() for name, t in self.difference.items()}
        names = json.dumps(list(self.names))
        about = {"tuning": FORMAT, "generator": self.generator, "names": names}
        return bytes(save({name: t.contiguous() for name, t in tensors.items()}, about))

    @classmethod
    def unpacked(cls, data: bytes) -> "Tuning":
        """What `packed` has made.

        Raises:
            CheckpointError: it is something else.
        """
        try:
            tensors = load(data)
            (length,) = struct.unpack("<Q", data[:8])
            about = json.loads(data[8 : 8 + length]).get("__metadata__", {})
            if about["tuning"] != FORMAT:
                raise ValueError(f"its format is {about['tuning']}, this version reads {FORMAT}")
            w, names = tensors.pop("w"), json.loads(about["names"])
            if w.ndim != 3 or not len(w) or not all(map(_is_finite, (w, *tensors.values()))):
                raise ValueError("its numbers are no styles, or not finite")
            difference = {name.removeprefix("G."): t for name, t in tensors.items()}
            return cls(
                w=w, difference=difference, generator=about["generator"],
                names=tuple(map(str, names)),
            )  # fmt: skip
        except TORN as error:
            raise CheckpointError(
                f"this is no tuning of a person ({error}): give the file that `stylealae refine "
                "--tune FILE` wrote, or the studio's page"
            ) from error

    def save(self, file: Path) -> None:
        """Writes `packed` to a file."""
        file.write_bytes(self.packed())

    @classmethod
    def load(cls, file: Path) -> "Tuning":
        """What `save` has written.

        Raises:
            CheckpointError: the file holds something else.
        """
        try:
            return cls.unpacked(file.read_bytes())
        except (OSError, CheckpointError) as error:
            raise CheckpointError(f"{file}: {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A tuning, and what came of it."""

    tuning: Tuning
    before_db: Tensor
    """[N]: PSNR of G(w) before."""
    after_db: Tensor
    """[N]: PSNR of G(w) after."""
    far_db: float
    """Mean PSNR of samples G(F(z)) after from the same before: the higher, the less has changed."""


def tune(
    n: Networks,
    x: Tensor,
    w: Tensor,
    at: Growth,
    *,
    steps: int = 200,
    rate: float = 0.03,
    rank: int = 4,
    locality: float = 0.2,
    reach: float = 0.5,
    seed: int = 0,
    names: Sequence[str] = (),
    distance: Distance | None = None,
    report: Callable[[int], None] | None = None,
) -> Tuned:
    """What to add to G for it to draw x from w.  [N, C, R, R] in [-1, 1], [N, L, W]

    Args:
        n: the networks; nothing of them changes.
        x: images of the stage's resolution, of one person or of several.
        w: the pivots: refined styles of x.
        at: which stage of the networks.
        steps: of Adam.
        rate: first step length; it falls to 0 as a half cosine.
        rank: of what is added to a weight.
        locality: weight of the change in pictures of styles near the pivots, which is kept small.
        reach: how far such styles lie from a pivot, as a share of the way to F's styles.
        seed: of these styles.
        names: of the images, for the file.
        distance: a perceptual distance to add to the squared error, LPIPS for example.
        report: called with the number of each finished step.
    """
    if steps < 0 or rank < 1:
        raise ConfigError(f"steps is {steps} and rank {rank}: 200 and 4 are usual numbers")
    weights = {name: p.detach() for name, p in n.G.named_parameters() if _at_work(name, at)}
    factors = _factors(weights, rank, rng(seed, "tune/factors", 0))
    adam = torch.optim.Adam(factors.values(), lr=rate, betas=(0.9, 0.99))

    def drawn(w: Tensor, difference: Mapping[str, Tensor]) -> Tensor:
        y: Tensor = functional_call(n.G, _moved(weights, difference), (w, at))
        return y

    def apart(y: Tensor, wanted: Tensor) -> Tensor:
        error = error_at_sizes(wanted, y)
        return (error if distance is None else error + distance(wanted, y).to(error)).mean()

    for step in range(steps):
        near = _near(n, w, reach, seed, step)
        with torch.no_grad():
            as_before = n.G(near, at)
        loss = apart(drawn(w, factors), x) + locality * apart(drawn(near, factors), as_before)
        grads = torch.autograd.grad(loss, list(factors.values()))
        for factor, grad in zip(factors.values(), grads, strict=True):
            factor.grad = grad
        adam.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        adam.step()
        if report is not None:
            report(step + 1)
    difference = {name: factor.detach().half() for name, factor in factors.items()}
    with torch.no_grad():
        far = n.F(normal(FAR, n.D.w_width, rng(seed, "tune/far", 0)).to(w))
        together = far.split(max(1, PIXELS_AT_ONCE // x.shape[-1] ** 2))
        far_db = [psnr(n.G(part, at), drawn(part, difference)) for part in together]
        return Tuned(
            tuning=Tuning(
                w=w, difference=difference, generator=_digest_of(n.G), names=tuple(names)
            ),
            before_db=psnr(x, n.G(w, at)), after_db=psnr(x, drawn(w, difference)),
            far_db=float(torch.cat(far_db).mean()),
        )  # fmt: skip


def _digest_of(G: Generator) -> str:
    """SHA-256 of G's weights, whatever file they are in."""
    found = hashlib.sha256()
    for name, p in sorted(G.state_dict().items()):
        found.update(name.encode())
        found.update(p.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _is_finite(t: Tensor) -> bool:
    """Whether it holds floating-point numbers, and all of them are finite."""
    return t.is_floating_point() and bool(t.float().isfinite().all())


def _at_work(name: str, at: Growth) -> bool:
    """Whether G draws with this parameter at this stage; its noise is off."""
    part, number, *rest = name.split(".")
    if "noise_weight" in rest:
        return False
    return int(number) <= at.stage if part == "blocks" else int(number) == at.stage


def _factors(
    weights: Mapping[str, Tensor], rank: int, source: torch.Generator
) -> dict[str, Tensor]:
    """What adds nothing yet: a random right factor, and zeros for the rest."""
    found: dict[str, Tensor] = {}
    for name, p in weights.items():
        rows, columns = len(p), p[0].numel()
        if p.ndim < 2 or rank * (rows + columns) >= p.numel():
            found[name] = torch.zeros_like(p)
            continue
        right = torch.randn(rank, columns, generator=source) / math.sqrt(rank)
        found[name + LEFT] = p.new_zeros(rows, rank)
        found[name + RIGHT] = right.to(p)
    return {name: factor.requires_grad_(True) for name, factor in found.items()}


def _moved(weights: Mapping[str, Tensor], difference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the difference added, by those names that it has."""
    found: dict[str, Tensor] = {}
    for key, added in difference.items():
        name = key.removesuffix(LEFT)
        if key.endswith(RIGHT):
            continue
        p = weights[name]
        if key.endswith(LEFT):
            right = difference[name + RIGHT]
            if added.ndim != 2 or right.ndim != 2:
                raise RuntimeError(f"the factors of {name} are no matrices")
            if (len(added), right.shape[-1]) != (len(p), p[0].numel()):  # a file may say anything
                raise RuntimeError(f"{name} is {list(p.shape)}, its factors make another shape")
            added = added.to(p) @ right.to(p)
        found[name] = p + added.to(p).view_as(p)
    return found


def _near(n: Networks, w: Tensor, reach: float, seed: int, step: int) -> Tensor:
    """Styles on the way from the pivots to others of F, equally far from them.  -> [N, L, W]"""
    z = normal(len(w), w.shape[-1], rng(seed, "tune/near", step)).to(w)
    with torch.no_grad():
        away: Tensor = n.F(z)[:, None] - w  # [N, L, W]
    length: Tensor = away.flatten(1).norm(dim=1)
    return w + away * (reach * length.mean() / length.clamp_min(1e-8))[:, None, None]
