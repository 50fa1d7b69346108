"""The sections of the semi-supervised and clustering AAE."""

from dataclasses import dataclass

from stylealae.errors import ConfigError
from stylealae.families.common.config import ClassModelConfig, CodeLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "ClassCriticModelConfig", "ClassLossConfig"]


@dataclass(frozen=True, kw_only=True)
class ClassCriticModelConfig(ClassModelConfig):
    """As `ClassModelConfig`, with a discriminator C of classes."""

    class_critic_hidden: int = 1000
    """Units of a hidden layer of C."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("class_critic_hidden")


@dataclass(frozen=True, kw_only=True)
class ClassLossConfig(CodeLossConfig):
    """As `CodeLossConfig`, with a class y, supervised where there are labels."""

    class_deceit_weight: float = 1.0
    """Weight of what E gains by classes that C takes for samples of the categorical prior."""
    class_noise: float = 0.0
    """Standard deviation of the noise on C's input: one-hot samples give themselves away."""
    classification_weight: float = 1.0
    """Weight of the cross-entropy of y on labelled images; 0 learns without labels."""
    labelled_batch: int = 100
    """Labelled images of an iteration, drawn from the `data.labelled_img` that are known."""
    smoothness_weight: float = 0.0
    """Weight of virtual adversarial smoothness: y is to stay the same all around an image."""
    smoothness_radius: float = 0.28
    """How far around, as a share of the images' mean distance from their mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labelled_batch < 1:
            raise ConfigError(
                f"loss.labelled_batch is {self.labelled_batch}: give at least 1, or learn without "
                "labels by loss.classification_weight=0"
            )

    @property
    def wants_labels(self) -> bool:
        """Classification does."""
        return self.classification_weight > 0.0

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.smoothness_weight" if self.smoothness_weight else ""


SECTIONS = Sections(ClassCriticModelConfig, ClassLossConfig)
