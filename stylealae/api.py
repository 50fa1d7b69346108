"""StyleALAE as others call it: load a snapshot, then map, generate, encode, reconstruct, sample.

Legend: N batch, C channels, R resolution, Z and W widths, L layers (two a stage).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from stylealae import latents
from stylealae.config import ModelConfig
from stylealae.editing import attributes
from stylealae.editing.directions import Directions, principal, sefa
from stylealae.editing.inversion import unmapped
from stylealae.editing.prior import FittedPrior, fit_prior
from stylealae.editing.recovery import Recovery, recover
from stylealae.editing.refinement import Distance, Refined, refine
from stylealae.editing.tuning import Tuned, Tuning, tune
from stylealae.errors import CheckpointError, ConfigError
from stylealae.image_grid import Row
from stylealae.interop import snapshot
from stylealae.interop.card import style_card
from stylealae.interop.hub import OnHub
from stylealae.interop.released import read_released, released_to_ours
from stylealae.networks import Networks, build
from stylealae.priors import global_generator, normal, rng
from stylealae.schedule import Growth

__all__ = ["StyleALAE"]


class StyleALAE(OnHub):
    """A trained model.  z, w [N, W]; x [N, C, R, R] in [-1, 1]; stage 0 is 4x4."""

    family = "stylealae"

    def __init__(
        self, nets: Networks, model: ModelConfig, w_mean: Tensor, *, stage: int, seen: int = 0,
        origin: str = "",
    ) -> None:  # fmt: skip
        self.nets = nets.eval().requires_grad_(False)
        self.model = model
        self.w_mean = w_mean
        self.stage = stage
        self.seen = seen
        self.origin = origin

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "StyleALAE":
        """The model of a snapshot folder.

        Raises:
            CheckpointError: the folder is no snapshot, or one that is torn, of another format or
                not finite.
        """

        def section(family: str) -> type[ModelConfig]:
            if family != cls.family:
                raise CheckpointError(
                    f"{path} is a snapshot of the family {family!r}, not of StyleALAE: open it "
                    "with stylealae.families.load"
                )
            return ModelConfig

        found = snapshot.read(Path(path), section, lambda _, model: cls._networks(model), device)
        tensors = dict(found.tensors)
        w_mean, nets = tensors.pop("w_mean"), cls._networks(found.model)
        nets.load_state_dict(tensors)
        return cls(
            nets.to(device), found.model, w_mean, stage=found.stage, seen=found.seen,
            origin=found.origin,
        )  # fmt: skip

    @classmethod
    def _networks(cls, model: ModelConfig) -> Networks:
        return build(model)

    @classmethod
    def from_released(
        cls, path: str | Path, ema: bool = True, device: str | torch.device = "cpu"
    ) -> "StyleALAE":
        """The model of a checkpoint of the authors' code, its running average unless `ema` is off.

        Raises:
            CheckpointError: the file is truncated, not finite, or something else.
        """
        nets, model, w_mean = released_to_ours(read_released(Path(path), ema=ema))
        which = "its running average" if ema else "the weights of its last step"
        return cls(
            nets.to(device), model, w_mean.to(device), stage=model.blocks - 1,
            origin=f"Imported from {Path(path).name} of the authors' code: {which}.",
        )  # fmt: skip

    def save(self, folder: Path, *, origin: str = "", half: bool = False) -> None:
        """Writes weights, in half precision if `half`, config and card into an existing folder.

        `origin` is a sentence for the card on where the weights are from, if not from training;
        by default the one that the model was loaded with.
        """
        origin = origin or self.origin
        whole = snapshot.Snapshot(
            family=self.family, model=self.model, stage=self.stage, seen=self.seen, origin=origin,
            tensors={**self.nets.state_dict(), "w_mean": self.w_mean},
        )  # fmt: skip
        card = style_card(self.model, self.resolution, self.seen, origin)
        snapshot.write(folder, whole, card, half=half)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.w_mean.device

    @property
    def resolution(self) -> int:
        """Side of the images of the last trained stage, in pixels."""
        return 4 << self.stage

    @property
    def code_width(self) -> int:
        """Numbers in w."""
        return self.model.w_width

    @torch.no_grad()
    def map(self, z: Tensor) -> Tensor:
        """F: the style of a prior sample.  [N, Z] -> [N, W]"""
        w: Tensor = self.nets.F(z.to(self.device))
        return w

    @torch.no_grad()
    def generate(
        self, w: Tensor, stage: int | None = None, alpha: float = 1.0,
        noise: bool | torch.Generator = True,
    ) -> Tensor:  # fmt: skip
        """G: the image of a style.  [N, W] or [N, L, W] -> [N, C, R, R]

        `noise` draws G's noise from torch's global generator, from a given one, or not at all.
        """
        source = global_generator(self.device) if noise is True else (noise or None)
        x: Tensor = self.nets.G(w.to(self.device), self._at(stage, alpha), source)
        return x

    @torch.no_grad()
    def encode(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """E: the style of an image.  [N, C, R, R] in [-1, 1] -> [N, W]"""
        at = self._at(stage, alpha)
        wanted = (self.model.channels, at.resolution, at.resolution)
        if tuple(x.shape[1:]) != wanted:
            raise ConfigError(
                f"encode was given images of shape {list(x.shape[1:])}, stage {at.stage} takes "
                f"{list(wanted)}: resize them, or name another stage"
            )
        w: Tensor = self.nets.E(x.to(self.device), at)
        return w

    def unmap(self, w: Tensor, steps: int = 300) -> Tensor:
        """A z that F takes near to w, by gradient descent.  [N, W] -> [N, Z] of unit mean square"""
        return unmapped(self.nets.F, w.to(self.device), self.model.z_width, steps)

    @torch.no_grad()
    def score(self, w: Tensor) -> Tensor:
        """D: the logit of "this style came from a real image".  [N, W] -> [N]"""
        logit: Tensor = self.nets.D(w.to(self.device))
        return logit

    def reconstruct(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """G(E(x)), without noise.  [N, C, R, R] -> [N, C, R, R]"""
        return self.generate(self.encode(x, stage, alpha), stage, alpha, noise=False)

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """Prior samples z.  -> [n, Z]"""
        return normal(n, self.model.z_width, source)

    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """G(F(z)), without truncation.  [N, Z] -> [N, C, R, R]"""
        return self.generate(self.map(latents), alpha=alpha, noise=noise or False)

    def refine(
        self, x: Tensor, steps: int = 100, *, rate: float = 0.05, stay: float = 0.02,
        distance: Distance | None = None, report: Callable[[int], None] | None = None,
    ) -> Refined:  # fmt: skip
        """Styles that reconstruct x better than E(x), by descent from it: see refinement.refine."""
        self.encode(x[:1])  # refuses another shape
        return refine(
            self.nets, x.to(self.device), self._at(None),
            steps=steps, rate=rate, stay=stay, distance=distance, report=report,
        )  # fmt: skip

    def tune(
        self, x: Tensor, w: Tensor, steps: int = 200, *, locality: float = 0.2,
        names: Sequence[str] = (), distance: Distance | None = None,
        report: Callable[[int], None] | None = None,
    ) -> Tuned:  # fmt: skip
        """What to add to G for it to draw x from w, the styles of `refine`: see tuning.tune."""
        self.encode(x[:1])  # refuses another shape
        return tune(
            self.nets, x.to(self.device), w.to(self.device), self._at(None),
            steps=steps, locality=locality, names=names, distance=distance, report=report,
        )  # fmt: skip

    def tuned(self, tuning: Tuning | str | Path) -> Self:
        """The model with what `tune` has found, or a file of it, added to a copy of its G alone.

        Raises:
            CheckpointError: the file holds something else.
            ConfigError: it was found for another G.
        """
        found, n = tuning if isinstance(tuning, Tuning) else Tuning.load(Path(tuning)), self.nets
        nets = copy.deepcopy(n, {id(shared): shared for shared in (n.F, n.E, n.D)})
        nets.G.load_state_dict(found.added_to(n.G))
        return self._with(nets)

    def fit_prior(
        self, w: Tensor, steps: int = 3000, *, seed: int = 0,
        report: Callable[[int], None] | None = None,
    ) -> FittedPrior:  # fmt: skip
        """An F whose styles are distributed as w, E's of images: see prior.fit_prior."""
        return fit_prior(
            self.nets.F, w.to(self.device), self.model.z_width, steps, seed=seed, report=report
        )

    @torch.no_grad()
    def with_prior(self, prior: FittedPrior) -> Self:
        """The model with what `fit_prior` has found in the place of F, and the mean style of it."""
        n = self.nets
        nets = copy.deepcopy(n, {id(shared): shared for shared in (n.G, n.E, n.D)})
        nets.F.load_state_dict(prior.F.state_dict())
        found = self._with(nets)
        found.w_mean = found.styles(10_000).mean(0).expand_as(self.w_mean).clone()
        return found

    def recover(
        self, take: Callable[[Tensor], Tensor], there: int, count: int, *, seed: int = 0,
        report: Callable[[int], None] | None = None,
    ) -> Recovery:  # fmt: skip
        """An E and a G that find the styles of F again: see recovery.recover."""
        return recover(
            self.nets, take, there, count, self.stage, self.model.z_width, seed=seed, report=report
        )

    def with_recovery(self, recovery: Recovery) -> Self:
        """The model with what `recover` has found in the place of E and G."""
        n = self.nets
        nets = copy.deepcopy(n, {id(shared): shared for shared in (n.F, n.D)})
        nets.E.load_state_dict(recovery.E.state_dict())
        nets.G.load_state_dict(recovery.G.state_dict())
        return self._with(nets)

    def sample(
        self, n: int, *, seed: int = 0, truncation: float = 1.0, stage: int | None = None,
        alpha: float = 1.0, noise: bool = False,
    ) -> Tensor:  # fmt: skip
        """New images; truncation below 1 trades variety for typicality.  -> [n, C, R, R]

        `noise` is on or off: a model that has been trained for long uses it for fine detail.
        """
        w = latents.per_layer(self.styles(n, seed), 2 * (self._at(stage).stage + 1))
        w = latents.truncate(w, self.w_mean, truncation)  # [n, L, W]
        source = rng(seed, "sample/noise", 0, self.device) if noise else False
        return self.generate(w, stage, alpha, noise=source)

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid: these images, their reconstructions, samples."""
        return [
            (f"originals, {self.resolution}x{self.resolution}", x),
            ("reconstructions G(E(x))", self.reconstruct(x, alpha=alpha)),
            (
                f"samples G(F(z)) after {self.seen:,} images, alpha {alpha:.2f}",
                self.sample(2 * len(x), seed=1, alpha=alpha),
            ),
        ]

    def grids(self, x: Tensor) -> dict[str, list[Row]]:
        """The image grids of a finished run, by name: samples, and these images reconstructed."""
        pairs: list[Row] = []
        for part in torch.split(x, 16):
            pairs += ("originals", part), ("reconstructions G(E(x))", self.reconstruct(part))
        samples = [
            ("samples G(F(z)), truncation 0.7", self.sample(32, seed=1, truncation=0.7)),
            ("samples G(F(z))", self.sample(64, seed=2)),
        ]
        return {"samples": samples, "reconstructions": pairs}

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        """The coarse and middle styles pulled towards the mean by psi.  [N, W] -> [N, L, W]"""
        layers = latents.per_layer(w.to(self.device), self.nets.G.layers)
        return latents.truncate(layers, self.w_mean, psi)

    def mix(self, w: Tensor, w_other: Tensor, crossover: int) -> Tensor:
        """Below layer `crossover` (1 to L - 1) w, from it on w_other.  [N, W] twice -> [N, L, W]

        Two layers a resolution: 4 takes pose and shape (4x4, 8x8) from w, the rest from w_other.
        """
        layers = self.nets.G.layers
        if not 1 <= crossover < layers:
            raise ConfigError(
                f"crossover is {crossover}: this model's layers are 1 to {layers - 1}"
            )
        ours, theirs = (latents.per_layer(a.to(self.device), layers) for a in (w, w_other))
        return latents.mix(ours, theirs, torch.full((len(w),), crossover, device=self.device))

    def interpolate(self, w: Tensor, w_other: Tensor, steps: int) -> Tensor:
        """Styles on the way from w to w_other, both included.  [N, W] twice -> [steps, N, W]"""
        return latents.interpolate(w.to(self.device), w_other.to(self.device), steps)

    def edit(self, w: Tensor, amounts: Mapping[str, float], directions: Directions) -> Tensor:
        """Styles moved along named directions, in their standard deviations.  -> [N, L, W]

        `m.generate(m.edit(m.encode(x), {"smile": 2.0, "age": -1.0}, directions))`
        """
        layers = w.shape[1] if w.ndim == 3 else self.nets.G.layers
        return directions.move(w.to(self.device), amounts, layers)

    def directions(
        self,
        w: Tensor,
        labels: Mapping[str, Sequence[attributes.Label]],
        *,
        method: attributes.Method = "effect",
        separate: attributes.Separate = "no",
    ) -> Directions:
        """A direction for each label of styles, E's of labelled images: see attributes.fit."""
        return attributes.fit(w, labels, method=method, separate=separate)

    def principal(self, count: int = 10, *, n: int = 10_000, seed: int = 0) -> Directions:
        """The directions in which n styles of F vary most (GANSpace): pc1, pc2, ..."""
        return principal(self.styles(n, seed), count)

    def sefa(
        self, count: int = 10, *, layers: tuple[int, int] | None = None, seed: int = 0
    ) -> Directions:
        """The directions to which G's layers, first to last, answer most (SeFa): sefa1, ..."""
        return sefa(self.nets.G, self.styles(10_000, seed), count, layers)

    def styles(self, n: int, seed: int = 0) -> Tensor:
        """Styles of F, those that `sample` draws with this seed.  -> [n, W]"""
        return self.map(normal(n, self.model.z_width, rng(seed, "sample", 0)))

    def _with(self, nets: Networks) -> Self:
        """The model with other networks."""
        return type(self)(
            nets, self.model, self.w_mean, stage=self.stage, seen=self.seen, origin=self.origin
        )

    def _at(self, stage: int | None, alpha: float = 1.0) -> Growth:
        stage = self.stage if stage is None else stage
        if not 0 <= stage < self.model.blocks:
            raise ConfigError(
                f"stage {stage} does not exist: this model has 0 to {self.model.blocks - 1}"
            )
        return Growth(stage=stage, alpha=alpha if stage else 1.0)
