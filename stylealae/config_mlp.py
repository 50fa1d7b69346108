"""What may vary in the families that are made of MLPs, and which sections each family's config has.

The papers: ALAE's permutation-invariant MNIST model, and Adversarial Autoencoders (1511.05644).
"""

from dataclasses import dataclass
from typing import Literal

from stylealae.config import LossConfig, ModelConfig, ShapeConfig, TermsConfig
from stylealae.errors import ConfigError

__all__ = [
    "SECTIONS",
    "AlaeModelConfig",
    "ClassLossConfig",
    "ClassModelConfig",
    "CodeLossConfig",
    "CodeModelConfig",
    "GanLossConfig",
    "GanModelConfig",
    "HeadsLossConfig",
    "InformedLossConfig",
    "MlpConfig",
    "VaeModelConfig",
]


@dataclass(frozen=True, kw_only=True)
class MlpConfig(ShapeConfig):
    """Networks that see an image as a row of numbers."""

    resolution: int = 32
    """Side of the data set's images in pixels."""
    channels: int = 1
    """Image channels: 1 for grey, 3 for RGB."""
    side: int = 28
    """The networks see the central side x side pixels; the border around them is black."""
    hidden: int = 1000
    """Units of a hidden layer."""
    hidden_layers: int = 2
    """Hidden layers of a network."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("side", "hidden", "hidden_layers")
        if self.side > self.resolution or (self.resolution - self.side) % 2:
            raise ConfigError(
                f"model.side is {self.side}: use model.resolution ({self.resolution}), or less by "
                "an even number, as the border is the same all around"
            )

    @property
    def pixels(self) -> int:
        """Numbers in the row."""
        return self.channels * self.side * self.side


@dataclass(frozen=True, kw_only=True)
class AlaeModelConfig(MlpConfig):
    """ALAE's F, G, E and D as plain MLPs."""

    z_width: int = 50
    """Numbers in a prior sample z."""
    w_width: int = 50
    """Numbers in a style w."""
    hidden: int = 1024
    """Units of a hidden layer of E and G."""
    hidden_layers: int = 3
    """Hidden layers of E and of G."""
    mapping_hidden: int = 512
    """Units of a hidden layer of F and D."""
    mapping_layers: int = 3
    """Layers of F and of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("w_width", "mapping_hidden", "mapping_layers")


@dataclass(frozen=True, kw_only=True)
class GanModelConfig(MlpConfig):
    """A decoder as G and a D on images."""

    z_width: int = 8
    """Numbers in a prior sample z."""
    prior: Literal["gaussian", "uniform", "mixture", "swiss_roll"] = "gaussian"
    """Distribution p(z)."""
    prior_scale: float = 1.0
    """What the prior's samples are multiplied by."""
    critic_hidden: int = 1000
    """Units of a hidden layer of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("critic_hidden")
        if self.prior in ("mixture", "swiss_roll") and self.z_width != 2:
            raise ConfigError(
                f"model.prior={self.prior} lies in a plane and model.z_width is {self.z_width}: "
                "set model.z_width=2"
            )
        if self.prior_scale <= 0.0:
            raise ConfigError(f"model.prior_scale is {self.prior_scale}: it must be above 0")


@dataclass(frozen=True, kw_only=True)
class CodeModelConfig(GanModelConfig):
    """An encoder E with a posterior over codes z, a decoder G, a discriminator D of codes."""

    posterior: Literal["deterministic", "fixed", "gaussian", "universal"] = "deterministic"
    """Form of q(z|x): a function of x, a Gaussian around it of a fixed or of its own width, or a
    function of x and of noise."""
    posterior_std: float = 0.2
    """That fixed width, its standard deviation."""
    eta_width: int = 16
    """Numbers of noise beside x (universal posterior)."""
    batch_norm: bool = False
    """Batch normalisation of the encoder's hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("eta_width")
        if self.posterior_std < 0.0:
            raise ConfigError(f"model.posterior_std is {self.posterior_std}: it cannot be negative")


@dataclass(frozen=True, kw_only=True)
class ClassModelConfig(CodeModelConfig):
    """Networks that know of classes beside z."""

    classes: int = 10
    """Categories of y: the labels' classes, or as many clusters as are wanted."""
    class_shares: tuple[float, ...] = ()
    """How often the categorical prior has each class, as any positive numbers; empty: all alike."""
    class_critic_hidden: int = 1000
    """Units of a hidden layer of C."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("class_critic_hidden")
        if self.classes < 2:
            raise ConfigError(f"model.classes is {self.classes}: there must be at least 2")
        if self.class_shares and len(self.class_shares) != self.classes:
            raise ConfigError(
                f"model.class_shares has {len(self.class_shares)} numbers and model.classes is "
                f"{self.classes}: give one a class, or none"
            )
        if any(share <= 0.0 for share in self.class_shares):
            raise ConfigError(f"model.class_shares is {self.class_shares}: all must be above 0")


@dataclass(frozen=True, kw_only=True)
class CodeLossConfig(TermsConfig):
    """The losses of an autoencoder whose codes follow a prior."""

    reconstruction: Literal["squared", "bernoulli"] = "squared"
    """Summed over the pixels: half the squared error, or the cross-entropy of grey values."""
    reconstruction_weight: float = 1.0
    """Weight of the reconstruction."""
    deceit_weight: float = 1.0
    """Weight of what E gains by codes that D takes for samples of the prior."""
    critic_rate: float = 1.0
    """Discriminators' learning rate, as a factor on `schedule.lr`."""
    input_noise: float = 0.0
    """Standard deviation of the noise on E's input while training, in grey values of 0 to 1."""
    input_dropout: float = 0.0
    """Share of E's input that is set to black while training."""
    merged: bool = False
    """All that trains E and G in one step, after the discriminators': cheaper; with optimiser
    moments in common.  Else every phase is a step of its own, with moments of its own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.input_dropout < 1.0:
            raise ConfigError(
                f"loss.input_dropout is {self.input_dropout}: it is a share, 0 to below 1"
            )
        for name, value in vars(self).items():
            if isinstance(value, float) and value < 0.0:
                raise ConfigError(f"loss.{name} is {value}: it cannot be negative")


@dataclass(frozen=True, kw_only=True)
class GanLossConfig(TermsConfig):
    """The losses of a plain GAN."""

    r1_gamma: float = 0.3
    """Weight of R1 on the real images: at 0 D wins at once, at 10 it tells nothing apart."""

    def __post_init__(self) -> None:
        if self.r1_gamma < 0.0:
            raise ConfigError(f"loss.r1_gamma is {self.r1_gamma}: it cannot be negative")


@dataclass(frozen=True, kw_only=True)
class InformedLossConfig(CodeLossConfig):
    """As `CodeLossConfig`, for a network that is told the labels."""

    @property
    def wants_labels(self) -> bool:
        """Without labels there is nothing to tell."""
        return True


@dataclass(frozen=True, kw_only=True)
class VaeModelConfig(CodeModelConfig):
    """As `CodeModelConfig`: a VAE's posterior has a density."""

    posterior: Literal["gaussian"] = "gaussian"
    """Form of q(z|x)."""
    prior: Literal["gaussian", "mixture"] = "gaussian"
    """Distribution p(z), which has a density too."""


@dataclass(frozen=True, kw_only=True)
class ClassLossConfig(CodeLossConfig):
    """As `CodeLossConfig`, with a class y that labels teach where there are any."""

    class_deceit_weight: float = 1.0
    """Weight of what E gains by classes that C takes for samples of the categorical prior."""
    class_noise: float = 0.0
    """Standard deviation of the noise on what C is shown: one-hot samples give themselves away."""
    classification_weight: float = 1.0
    """Weight of the cross-entropy of y on labelled images; 0 learns without labels."""
    labelled_batch: int = 100
    """Labelled images of an iteration, drawn from the `data.labelled_img` that are known."""
    smoothness_weight: float = 0.0
    """Weight of virtual adversarial smoothness: y is to stay the same all around an image."""
    smoothness_radius: float = 0.28
    """How far around, as a share of the images' mean distance from their mean."""

    @property
    def wants_labels(self) -> bool:
        """Classification does."""
        return self.classification_weight > 0.0


@dataclass(frozen=True, kw_only=True)
class HeadsLossConfig(ClassLossConfig):
    """As `ClassLossConfig`, with a place in the plane for every class."""

    heads_apart: float = 1.0
    """Cluster heads closer to each other than this are pushed apart."""
    heads_weight: float = 1.0
    """Weight of that push in the reconstruction loss."""


SECTIONS: dict[str, tuple[type[ShapeConfig], type[TermsConfig]]] = {
    "stylealae": (ModelConfig, LossConfig),
    "alae": (AlaeModelConfig, LossConfig),
    "autoencoder": (CodeModelConfig, CodeLossConfig),
    "aae": (CodeModelConfig, CodeLossConfig),
    "aae_informed": (ClassModelConfig, InformedLossConfig),
    "aae_supervised": (ClassModelConfig, InformedLossConfig),
    "aae_classes": (ClassModelConfig, ClassLossConfig),
    "aae_heads": (ClassModelConfig, HeadsLossConfig),
    "vae": (VaeModelConfig, CodeLossConfig),
    "gan": (GanModelConfig, GanLossConfig),
}
"""Each family's `model` and `loss` section; its networks and phases are in family.py."""
