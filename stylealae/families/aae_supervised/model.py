"""The supervised AAE, trained.  Legend: N batch, C channels, R resolution."""

import copy
from typing import Self

from torch import Tensor

from stylealae.errors import ConfigError
from stylealae.families.aae_supervised.networks import SupervisedAae
from stylealae.families.common.config import ClassModelConfig
from stylealae.families.common.model import CodeModel, MlpModel
from stylealae.image_grid import Row

__all__ = ["SupervisedModel"]


class SupervisedModel(CodeModel[SupervisedAae, ClassModelConfig]):
    """An autoencoder whose G takes an image's class, which its E does not give."""

    given: Tensor | None = None
    """Classes of the images that are reconstructed, [N] int64."""

    def of_classes(self, classes: Tensor) -> Self:
        """The model for images of these classes, in their order.  [N] int64, -1 where unknown

        Raises:
            ConfigError: one of them is beyond the classes of G.
        """
        if len(classes) and int(classes.max()) >= self.class_inputs:
            raise ConfigError(
                f"an image is of class {int(classes.max())}, and G takes the classes 0 to "
                f"{self.class_inputs - 1}: name the label that the model was trained with"
            )
        found = copy.copy(self)
        found.given = classes
        return found

    def reconstruct(self, x: Tensor, labels: Tensor | None = None, *, alpha: float = 1.0) -> Tensor:
        """G(E(x)) of classes, those that are given or `labels` [N].  [N, C, R, R] -> same

        Raises:
            ConfigError: the classes are not known.
        """
        labels = self.given if labels is None else labels
        if labels is None or len(labels) != len(x):
            raise ConfigError(
                f"{len(x)} images are to be reconstructed and the classes of "
                f"{0 if labels is None else len(labels)} are known, which G takes and E does not "
                "give: give one each, as in m.reconstruct(x, labels)"
            )
        return super().reconstruct(x, labels, alpha=alpha)

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid; reconstructions where the classes are given."""
        return MlpModel.rows(self, x, alpha) if self.given is None else super().rows(x, alpha)
