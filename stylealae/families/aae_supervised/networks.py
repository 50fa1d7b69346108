"""The networks of the supervised AAE (Makhzani et al. 2015, section 4).

Legend: N batch, K classes.
"""

import torch.nn.functional as fn
from torch import Tensor

from stylealae.families.aae.networks import Aae
from stylealae.families.common.config import ClassModelConfig
from stylealae.families.common.networks import Code

__all__ = ["SupervisedAae"]


class SupervisedAae(Aae):
    """G takes the label, so that z is left with the style."""

    def __init__(self, cfg: ClassModelConfig) -> None:
        super().__init__(cfg, class_inputs=cfg.classes)
        self.labels = cfg.classes

    def conditioning(self, code: Code, labels: Tensor) -> Tensor:
        """The label as a one-hot row, zeros where it is unknown.  code, [N] -> [N, K]"""
        known = fn.one_hot(labels.clamp(min=0), self.labels)
        return known.to(code.z.dtype) * (labels >= 0)[:, None]
