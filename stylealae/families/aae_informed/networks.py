"""The networks of the label-informed AAE (Makhzani et al. 2015, section 2.3).

Legend: N batch, Z width of z.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.errors import ConfigError
from stylealae.families.aae.networks import Aae
from stylealae.families.common.config import LabelModelConfig
from stylealae.priors import PRIORS

__all__ = ["InformedAae"]


class InformedAae(Aae):
    """D takes the label too, or that there is none: each class has its component of the prior.

    Raises:
        ConfigError: there are more classes than components.
    """

    def __init__(self, cfg: LabelModelConfig) -> None:
        components = PRIORS[cfg.prior].components
        if 0 < components < cfg.classes:
            raise ConfigError(
                f"model.classes is {cfg.classes} and model.prior={cfg.prior} has {components} "
                f"components, one for a class: give model.classes={components} at most"
            )
        super().__init__(cfg, critic_inputs=cfg.classes + 1)
        self.labels = cfg.classes

    def judge(self, z: Tensor, labels: Tensor) -> Tensor:
        """The logit of "a sample of this label's component".  [N, Z], [N] -> [N]"""
        known = torch.where(labels < 0, self.labels, labels)
        return super().judge(torch.cat((z, fn.one_hot(known, self.labels + 1)), 1), labels)
