"""Weights that a run begins with, in the place of drawn ones."""

from dataclasses import dataclass

from pipeline.config.layers import Layers
from stylealae.errors import ConfigError

__all__ = ["InitConfig"]


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Weights that a run begins with; the optimizer begins afresh."""

    from_: str = ""
    """Written `init.from`: a snapshot, a run, whose newest one is then taken, a checkpoint of
    another run, or a .pth file of the authors, on storage that all hosts share; a URL of the first
    three, hf://owner/name, or rendered_64, which comes with the package.  Empty: weights are
    drawn."""
    networks: str = ""
    """Networks that take them, as in "EG"; the others are drawn.  Empty: all."""
    stage: int = -1
    """Stage that the run begins with, at its first image: at most one above the weights' own.
    -1 is the weights' own, or the run's last one if that is lower."""
    alpha: float = -1.0
    """Weight of that stage's newest block at the first image, from where it rises to 1.  -1 is the
    weights' own: 1 unless they were fading in, 0 for a block that they do not have."""
    warmup_img: int = 4_000
    """Images over which the learning rate rises from 0 to the schedule's."""
    freeze: tuple[str, ...] = ()
    """Layers that are not updated for the first `freeze_img` images: G and E whole, or at some
    resolutions, as in [E.4..8, G.4]; F and D whole."""
    freeze_img: int = 0
    """Images for which they are not."""

    def __post_init__(self) -> None:
        if not self.from_ and (self.networks or self.stage >= 0 or self.alpha >= 0 or self.freeze):
            raise ConfigError(
                "init.networks, init.stage, init.alpha and init.freeze say what becomes of the "
                "weights of init.from, and that is empty: give init.from=runs/demo/0032/snapshot, "
                "say"
            )
        if self.stage < -1 or not (self.alpha == -1.0 or 0.0 <= self.alpha <= 1.0):
            raise ConfigError(
                f"init.stage is {self.stage} and init.alpha {self.alpha:g}: give a stage from 0 "
                "upwards and a share, 0 to 1, or -1 for the weights' own"
            )
        if min(self.warmup_img, self.freeze_img) < 0 or bool(self.freeze) != bool(self.freeze_img):
            raise ConfigError(
                f"init.warmup_img is {self.warmup_img}, init.freeze {list(self.freeze)} and "
                f"init.freeze_img {self.freeze_img}: none can be negative, and layers that are not "
                "updated need both keys"
            )
        _ = self.frozen_layers  # an entry that names none is refused

    @property
    def frozen_layers(self) -> dict[str, Layers]:
        """The layers that are not updated for a while, by the entry of `freeze` that names them."""
        return {entry: Layers.parse(entry) for entry in self.freeze}

    def require_stage(self, first: int, last: int) -> None:
        """Refuses a stage that the networks of the run do not have, or that cannot fade in."""
        if self.stage >= 0 and not first <= self.stage <= last:
            raise ConfigError(
                f"init.stage is {self.stage}, and the networks of this run have the stages {first} "
                f"to {last} ({4 << last}x{4 << last})"
            )
        if self.stage == first and 0.0 <= self.alpha < 1.0:
            raise ConfigError(
                f"init.alpha is {self.alpha:g}, and stage {first} has no block that could fade in: "
                "leave it out"
            )

    def warmth(self, seen: int) -> float:
        """The share of the learning rate that an iteration up to `seen` images goes by, 0 to 1."""
        if not self.from_ or seen >= self.warmup_img:
            return 1.0
        return seen / self.warmup_img
