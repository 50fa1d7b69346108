"""What may vary in the families beside StyleALAE: the sections that several of them have.

The papers: ALAE's permutation-invariant MNIST model, and Adversarial Autoencoders (1511.05644).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stylealae.config import ShapeConfig, TermsConfig
from stylealae.errors import ConfigError

__all__ = [
    "AaeModelConfig",
    "ClassModelConfig",
    "CodeLossConfig",
    "CodeModelConfig",
    "CriticModelConfig",
    "EncoderModelConfig",
    "InformedLossConfig",
    "JudgedModelConfig",
    "LabelModelConfig",
    "MlpConfig",
    "NoisyLossConfig",
    "PriorModelConfig",
    "ReconstructionLossConfig",
]


@dataclass(frozen=True, kw_only=True)
class MlpConfig(ShapeConfig):
    """Networks that take an image as a row of numbers."""

    retired: ClassVar[frozenset[str]] = frozenset(
        {
            "class_critic_hidden", "class_shares", "critic_hidden", "eta_width", "posterior_std",
            "prior", "prior_scale",
        }
    )  # fmt: skip
    """Keys of some of these families that all of them took, or many."""

    layers: Literal["linear", "convolutional"] = "linear"
    """What takes images and what makes them: MLPs, or small stacks of convolutions."""
    start_channels: int = 32
    """Feature channels at half of `side`; they double with every halving (convolutional)."""

    resolution: int = 32
    """Side of the data set's images in pixels."""
    channels: int = 1
    """Image channels: 1 for grey, 3 for RGB."""
    z_width: int = 8
    """Numbers in a prior sample z."""
    side: int = 28
    """The networks take the central side x side pixels; the border around them is black."""
    hidden: int = 1000
    """Units of a hidden layer; features at the end of convolutions."""
    hidden_layers: int = 2
    """Hidden layers of a network; convolutions are as many as halve `side` to 4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("side", "hidden", "hidden_layers", "start_channels")
        if self.side > self.resolution or (self.resolution - self.side) % 2:
            raise ConfigError(
                f"model.side is {self.side}: use model.resolution ({self.resolution}), or less by "
                "an even number, as the border is the same all around"
            )

        if self.layers == "convolutional" and (self.side <= 4 or self.side % 2):
            raise ConfigError(
                f"model.side is {self.side}, which convolutions cannot halve: make it even and "
                "above 4, or take model.layers=linear"
            )

    @property
    def plain_layers(self) -> bool:
        """Convolutions are torch's own."""
        return self.layers == "convolutional"

    @property
    def pixels(self) -> int:
        """Numbers in the row."""
        return self.channels * self.side * self.side


@dataclass(frozen=True, kw_only=True)
class PriorModelConfig(MlpConfig):
    """A decoder G of codes z from a prior p(z)."""

    prior: Literal["gaussian", "uniform", "sphere", "mixture", "swiss_roll"] = "gaussian"
    """Distribution p(z)."""
    prior_scale: float = 1.0
    """What the prior's samples are multiplied by."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior in ("mixture", "swiss_roll") and self.z_width != 2:
            raise ConfigError(
                f"model.prior={self.prior} lies in a plane and model.z_width is {self.z_width}: "
                "set model.z_width=2"
            )
        if self.prior_scale <= 0.0:
            raise ConfigError(f"model.prior_scale is {self.prior_scale}: it must be above 0")


@dataclass(frozen=True, kw_only=True)
class CriticModelConfig(MlpConfig):
    """A discriminator D, of images or of codes."""

    critic_hidden: int = 1000
    """Units of a hidden layer of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("critic_hidden")


@dataclass(frozen=True, kw_only=True)
class EncoderModelConfig(PriorModelConfig):
    """An encoder E with a posterior over codes z, and a decoder G; a family says which forms."""

    posterior: Literal["deterministic", "sphere", "fixed", "gaussian", "universal"] = (
        "deterministic"
    )
    """Form of q(z|x): a function of x, the same brought to a mean square of 1, a Gaussian around it
    of a fixed or of its own width, or a function of x and of noise."""
    batch_norm: bool = False
    """Batch normalisation of the encoder's hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_norm and self.layers == "convolutional":
            raise ConfigError(
                "model.batch_norm is of linear layers: set it to false, or model.layers=linear"
            )

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "model.batch_norm" if self.batch_norm else ""


@dataclass(frozen=True, kw_only=True)
class JudgedModelConfig(EncoderModelConfig, CriticModelConfig):
    """An autoencoder, and a discriminator D of what it makes."""


@dataclass(frozen=True, kw_only=True)
class CodeModelConfig(EncoderModelConfig):
    """As `EncoderModelConfig`, of every form of posterior."""

    posterior_std: float = 0.2
    """Standard deviation of a fixed posterior."""
    eta_width: int = 16
    """Numbers of noise beside x (universal posterior)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("eta_width")
        if self.posterior_std < 0.0:
            raise ConfigError(f"model.posterior_std is {self.posterior_std}: it cannot be negative")


@dataclass(frozen=True, kw_only=True)
class AaeModelConfig(CodeModelConfig, JudgedModelConfig):
    """An autoencoder, and a discriminator D of its codes."""


@dataclass(frozen=True, kw_only=True)
class LabelModelConfig(AaeModelConfig):
    """As `AaeModelConfig`, with classes y."""

    classes: int = 10
    """Categories of y: the labels' classes, or as many clusters as are wanted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("classes")
        if self.classes < 2:
            raise ConfigError(f"model.classes is {self.classes}: there must be at least 2")


@dataclass(frozen=True, kw_only=True)
class ClassModelConfig(LabelModelConfig):
    """As `LabelModelConfig`, of which a categorical prior draws some."""

    class_shares: tuple[float, ...] = ()
    """How often the categorical prior has each class, as any positive numbers; empty: all alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_shares and len(self.class_shares) != self.classes:
            raise ConfigError(
                f"model.class_shares has {len(self.class_shares)} numbers and model.classes is "
                f"{self.classes}: give one a class, or none"
            )
        if any(share <= 0.0 for share in self.class_shares):
            raise ConfigError(f"model.class_shares is {self.class_shares}: all must be above 0")


@dataclass(frozen=True, kw_only=True)
class ReconstructionLossConfig(TermsConfig):
    """The loss of every autoencoder; no weight of a family's losses is negative."""

    reconstruction: Literal["squared", "bernoulli"] = "squared"
    """Summed over the pixels: half the squared error, or the cross-entropy of grey values."""
    reconstruction_weight: float = 1.0
    """Weight of the reconstruction."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and value < 0.0:
                raise ConfigError(f"loss.{name} is {value}: it cannot be negative")


@dataclass(frozen=True, kw_only=True)
class NoisyLossConfig(ReconstructionLossConfig):
    """As `ReconstructionLossConfig`, E being shown images with noise on them."""

    input_noise: float = 0.0
    """Standard deviation of the noise on E's input while training, in grey values of 0 to 1."""
    input_dropout: float = 0.0
    """Share of E's input that is set to black while training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_dropout >= 1.0:
            raise ConfigError(
                f"loss.input_dropout is {self.input_dropout}: it is a share, 0 to below 1"
            )


@dataclass(frozen=True, kw_only=True)
class CodeLossConfig(NoisyLossConfig):
    """The losses of an autoencoder whose codes follow a prior by a discriminator."""

    deceit_weight: float = 1.0
    """Weight of what E gains by codes that D takes for samples of the prior."""
    critic_rate: float = 1.0
    """Discriminators' learning rate, as a factor on `schedule.lr`."""
    merged: bool = False
    """All that trains E and G in one step, after the discriminators': cheaper; with optimiser
    moments in common.  Else every phase is a step of its own, with moments of its own."""


@dataclass(frozen=True, kw_only=True)
class InformedLossConfig(CodeLossConfig):
    """As `CodeLossConfig`, for networks that are given the labels."""

    @property
    def wants_labels(self) -> bool:
        """Without labels there is nothing to give."""
        return True
