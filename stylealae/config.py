"""What may vary in the method: networks, losses, optimiser and schedule, as typed, frozen values.

The defaults are the paper's (ALAE, arXiv 2004.04467) in the authors' FFHQ-1024 configuration.
`ShapeConfig` and `TermsConfig` are what every model family has; `ModelConfig` and `LossConfig` are
StyleALAE's; those of the other families are in their folders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from stylealae.errors import ConfigError

__all__ = [
    "AlaeLossConfig",
    "AugmentConfig",
    "AugmentKind",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "ShapeConfig",
    "TermsConfig",
    "without_retired",
]


MAX_SIDE, MAX_WIDTH, MAX_LAYERS = 1 << 14, 1 << 16, 256
"""Far beyond any published model: a config that asks for more is damaged or hostile."""


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """What the networks of every family have: the images that they take, and z."""

    retired: ClassVar[frozenset[str]] = frozenset()
    """Keys that earlier versions took where nothing read them: saved configs may have them."""

    resolution: int = 1024
    """Side of the largest image in pixels: a power of two, at least 4."""
    channels: int = 3
    """Image channels: 3 for RGB, 1 for grey."""
    z_width: int = 512
    """Numbers in a prior sample z."""

    def __post_init__(self) -> None:
        if self.resolution < 4 or self.resolution & (self.resolution - 1):
            raise ConfigError(
                f"model.resolution is {self.resolution}: make it a power of two from 4 upwards "
                "(4, 8, 16, ..., 1024)"
            )
        if self.resolution > MAX_SIDE:
            raise ConfigError(f"model.resolution is {self.resolution}: the most is {MAX_SIDE}")
        self.require_positive("channels", "z_width")

    def require_positive(self, *names: str) -> None:
        """Refuses fields that are below 1, or beyond what networks can be built of."""
        for name in names:
            value, most = getattr(self, name), MAX_LAYERS if "layers" in name else MAX_WIDTH
            if value < 1:
                raise ConfigError(f"model.{name} is {value}: it must be at least 1")
            if value > most:
                raise ConfigError(f"model.{name} is {value}: the most is {most}")

    @property
    def last_stage(self) -> int:
        """The stage of the full resolution; 0 is 4x4."""
        return self.resolution.bit_length() - 3

    @property
    def first_stage(self) -> int:
        """The stage that training begins with: the last one, as these networks do not grow."""
        return self.last_stage

    @property
    def plain_layers(self) -> bool:
        """Whether an ALAE's E is of torch's own layers, which keep bare weights for R1."""
        return False

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return ""


@dataclass(frozen=True, kw_only=True)
class TermsConfig:
    """What the losses of every family have in common."""

    retired: ClassVar[frozenset[str]] = frozenset()
    """Keys that earlier versions took where nothing read them: saved configs may have them."""

    @property
    def wants_labels(self) -> bool:
        """Whether training needs `data.label`."""
        return False

    @property
    def wants_whole_weights(self) -> bool:
        """Whether second derivatives need weights that ZeRO 3 keeps on their rank in parts."""
        return False

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return ""

    @property
    def post_training(self) -> Mapping[str, int]:
        """Images on which networks are fitted once the last stage has ended, by their letters."""
        return {}


def without_retired(
    section: type[ShapeConfig] | type[TermsConfig], saved: Mapping[str, Any]
) -> dict[str, Any]:
    """A saved section without the keys that were retired and that its class does not have."""
    dropped = section.retired - {field.name for field in fields(section)}
    return {key: value for key, value in saved.items() if key not in dropped}


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ShapeConfig):
    """The shape of StyleALAE's networks F, G, E and D."""

    start_channels: int = 16
    """Feature channels at the largest resolution; they double with every halving of it."""
    max_channels: int = 512
    """Feature channels are never more than this."""
    w_width: int = 512
    """Numbers in a style w."""
    mapping_layers: int = 8
    """Layers of F, the mapping z -> w."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("start_channels", "max_channels", "w_width", "mapping_layers")
        if self.z_width != self.w_width:
            raise ConfigError(
                f"model.z_width is {self.z_width} and model.w_width {self.w_width}: the released "
                "mapping network keeps one width, make them equal"
            )

    @property
    def first_stage(self) -> int:
        """Growth begins with 4x4."""
        return 0

    @property
    def blocks(self) -> int:
        """Number of resolutions, 4x4 included; the last stage is `blocks - 1`."""
        return self.resolution.bit_length() - 2

    def width(self, stage: int) -> int:
        """Feature channels at the resolution of `stage` (0 is 4x4)."""
        return min(self.max_channels, self.start_channels << (self.blocks - 1 - stage))


LEAST_STYLES = 16
"""Fewer styles are no distribution that F could be fitted to."""


@dataclass(frozen=True, kw_only=True)
class AlaeLossConfig(TermsConfig):
    """The weights of Algorithm 1, for networks of whatever layers."""

    retired: ClassVar[frozenset[str]] = frozenset({"mixing_prob", "prior_img", "recover_img"})
    """StyleALAE's own, which ALAE of MLPs took too."""

    r1_gamma: float = 10.0
    """Weight of the R1 penalty: gamma / 2 times the squared gradient norm on real images."""
    reciprocity_trains_f: bool = False
    """Let F move in phase III as the released code does; the paper's equation (2) moves E and G."""
    reciprocity_weight: float = 1.0
    """Weight of phase III."""
    reciprocity_in: Literal["w", "z", "x"] = "w"
    """What must come back in phase III: the style, or in ablations the prior sample that it is of,
    or the image."""
    r1_every: int = 1
    """Iterations from one R1 penalty to the next, which weighs as many times more (lazy R1)."""
    merged: bool = False
    """Phases II and III on the same images in one step of F, E and G: cheaper; F moves in both.
    Not in fp16."""
    likeness_rate: float = 0.0
    """Learning rate, as a factor on `schedule.lr`, of a last phase by which G(E(x)) is to look like
    x: a weight would be lost in Adam's moments, which are its own.  0: there is no such phase."""
    likeness_structure: float = 0.0
    """Share of 1 - SSIM in likeness; the rest is the mean absolute difference of the pixels."""
    likeness_features: float = 0.0
    """Weight, in likeness, of the mean absolute difference of E's own features of x and G(E(x)):
    G and the w of x follow it, and E's features themselves do not (as in VAE/GAN).  Not in fp16."""
    likeness_prior: float = 0.0
    """Weight, in likeness, of the energy distance of E(x) from F(z), as a share of the mean
    distance of two F(z): the styles of images are to be distributed as those of prior
    samples (as in a WAE)."""

    def __post_init__(self) -> None:
        weights = "r1_gamma", "reciprocity_weight", "likeness_features", "likeness_prior"
        self.refuse_negative(*weights, "likeness_rate")
        if not 0.0 <= self.likeness_structure <= 1.0:
            raise ConfigError(
                f"loss.likeness_structure is {self.likeness_structure}: it is a share, 0 to 1"
            )
        for name in ("likeness_features", "likeness_prior"):
            if getattr(self, name) and not self.likeness_rate:
                raise ConfigError(
                    f"loss.{name} is {getattr(self, name)}, and there is no phase of likeness that "
                    "it could be a part of: give loss.likeness_rate=1, or leave it out"
                )
        if self.merged and self.reciprocity_in != "w":
            raise ConfigError(
                f"loss.merged takes reciprocity in w and loss.reciprocity_in is "
                f"{self.reciprocity_in}: set loss.merged=false, or loss.reciprocity_in=w"
            )
        if self.r1_every < 1:
            raise ConfigError(f"loss.r1_every is {self.r1_every}: 1 is every iteration")

    def refuse_negative(self, *names: str) -> None:
        """Refuses fields that are below 0."""
        for name in names:
            if getattr(self, name) < 0.0:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}: it cannot be negative")

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.likeness_prior" if self.likeness_prior else ""


@dataclass(frozen=True, kw_only=True)
class LossConfig(AlaeLossConfig):
    """The weights of Algorithm 1, of a G that takes a style a layer, and what follows training."""

    mixing_prob: float = 0.9
    """Probability that a generated image mixes two styles at a random layer (phases I and II)."""
    prior_img: int = 0
    """Images, at most, to whose styles F is fitted when the last stage ends, in its snapshot alone:
    samples of a short run are then more like them (`stylealae fit-prior`).  0: F is as trained."""
    recover_img: int = 0
    """Images for which E and G then, in that snapshot alone, learn to recover the styles of F, and
    to draw these images as before: less of w is lost on the way back.  One worker does it, and
    draws them from 256 MiB of images of all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_negative("prior_img", "recover_img")
        if not 0.0 <= self.mixing_prob <= 1.0:
            raise ConfigError(
                f"loss.mixing_prob is {self.mixing_prob}: it is a probability, 0 to 1"
            )
        if self.prior_img and self.prior_img < LEAST_STYLES:
            raise ConfigError(
                f"loss.prior_img is {self.prior_img}: F is fitted to at least {LEAST_STYLES} images"
            )

    @property
    def post_training(self) -> Mapping[str, int]:
        """Images on which networks are fitted once the last stage has ended, by their letters."""
        work = {"F": self.prior_img, "EG": self.recover_img}
        return {networks: count for networks, count in work.items() if count}


AugmentKind = Literal["flip", "turn", "shift", "scale", "rotate", "colour", "cutout"]
WARPS: tuple[AugmentKind, ...] = ("scale", "rotate")
"""Kinds whose pixels lie between those of the image: the others copy pixels or recolour them."""
MAX_P = 0.8
"""An adaptive p stays at or below: nearer to 1, G draws transformed images."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What D∘E is shown in the place of images in phases I and II, for runs on few images."""

    mode: Literal["none", "fixed", "adaptive"] = "none"
    """None as in the paper; with a fixed p; or with one that follows how sure D is of images."""
    kinds: tuple[AugmentKind, ...] = ("flip", "turn", "shift", "scale", "rotate", "colour")
    """Kinds of transforms."""
    p: float = 0.0
    """Probability of each kind, an image: the fixed one, or what an adaptive one begins with."""
    target: float = 0.6
    """The mean sign of D(E(x)) on real images that an adaptive p keeps to; above it p rises."""
    rise_img: int = 500_000
    """Images over which an adaptive p would rise by 1."""
    every_img: int = 256
    """Images between two looks at the signs."""

    @property
    def warps(self) -> tuple[AugmentKind, ...]:
        """Those of the kinds that interpolate, if images are transformed at all."""
        return tuple(k for k in self.kinds if k in WARPS) if self.mode != "none" else ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0 or not -1.0 <= self.target <= 1.0:
            raise ConfigError(
                f"augment.p is {self.p} and augment.target {self.target}: a probability, 0 to 1, "
                "and a mean sign, -1 to 1"
            )
        if (self.p > 0.0 and self.mode == "none") or (self.p == 0.0 and self.mode == "fixed"):
            raise ConfigError(
                f"augment.mode is {self.mode} and augment.p {self.p:g}, so that nothing would be "
                "transformed: give both, as in augment.mode=fixed augment.p=0.2, or none of them"
            )
        if (self.mode != "none" and not self.kinds) or len({*self.kinds}) < len(self.kinds):
            raise ConfigError(
                f"augment.kinds is {list(self.kinds)}: name at least one kind, and each once"
            )
        if min(self.rise_img, self.every_img) < 1:
            raise ConfigError("augment.rise_img and augment.every_img must be at least 1")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes a step; the defaults are the LREQAdam of the released code."""

    kind: Literal["adam", "sgd"] = "adam"
    """Adam, or stochastic gradient descent with momentum."""
    betas: tuple[float, float] = (0.0, 0.99)
    """Adam's decay of the mean gradient and of the mean squared one, a step."""
    eps: float = 1e-8
    """Adam's floor under the root of the mean squared gradient."""
    momentum: float = 0.9
    """SGD's share of the step before that is kept."""
    weight_decay: float = 0.0
    """Weight of the squared length of all weights in every loss."""

    def __post_init__(self) -> None:
        for name, value in (("betas", max(self.betas)), ("momentum", self.momentum)):
            if not 0.0 <= value < 1.0:
                raise ConfigError(f"optimizer.{name}: found {value}, use 0 to below 1")
        if min(self.betas) < 0.0 or self.eps <= 0.0 or self.weight_decay < 0.0:
            raise ConfigError(
                "optimizer.betas and optimizer.weight_decay cannot be negative, optimizer.eps must "
                "be above 0"
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Growth in images seen: how long a stage lasts, and its batch and learning rate.

    The tuples hold one entry a stage; a shorter tuple goes on with its last entry.
    """

    stage_img: tuple[int, ...] = (960_000,)
    """Images shown in each stage before the next begins."""
    fade_fraction: float = 0.5
    """Share of a stage's images over which its new block fades in; stage 0 has no fade."""
    total_img: int = 18_000_000
    """Images shown in all; what is left after the last stage's entry prolongs the last stage."""
    batch: tuple[int, ...] = (512, 256, 128, 64, 32)
    """Global batch, whatever the number of GPUs."""
    lr: tuple[float, ...] = (0.0015, 0.0015, 0.0015, 0.0015, 0.0015, 0.0015, 0.002, 0.003, 0.003)
    """Learning rate; it does not scale with the number of GPUs."""
    lr_final: float = 1.0
    """Share of the learning rate that is left at the end of the run."""
    lr_falls_from: float = 0.0
    """Share of the last stage after which the rate falls to `lr_final`, along half a cosine."""
    ema_half_life_img: int = 10_000
    """Images after which a weight's share in the running average has halved."""
    w_mean_beta: float = 0.995
    """Decay of the running mean of w, once an iteration."""

    def __post_init__(self) -> None:
        for name in ("stage_img", "batch", "lr"):
            values = getattr(self, name)
            if not values or any(v <= 0 for v in values):
                raise ConfigError(
                    f"schedule.{name} is {list(values)}: it needs one positive entry a stage "
                    "(a shorter list goes on with its last entry)"
                )
        if not 0.0 <= self.lr_final <= 1.0 or not 0.0 <= self.lr_falls_from < 1.0:
            raise ConfigError(
                f"schedule.lr_final is {self.lr_final} and schedule.lr_falls_from "
                f"{self.lr_falls_from}: both are shares, the second below 1"
            )
        if not 0.0 <= self.w_mean_beta < 1.0:
            raise ConfigError(
                f"schedule.w_mean_beta is {self.w_mean_beta}: it is a share, 0 to below 1"
            )
        if self.total_img < 0:
            raise ConfigError(
                f"schedule.total_img is {self.total_img}: 0 trains what schedule.stage_img says"
            )
        if self.ema_half_life_img < 1:
            raise ConfigError(
                f"schedule.ema_half_life_img is {self.ema_half_life_img}: it must be at least 1"
            )
        if not 0.0 <= self.fade_fraction <= 1.0:
            raise ConfigError(
                f"schedule.fade_fraction is {self.fade_fraction}: it is a share, 0 to 1"
            )
