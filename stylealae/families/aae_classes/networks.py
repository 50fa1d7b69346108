"""The networks of the AAE with a class y beside the style z (Makhzani et al. 2015, section 5).

Legend: N batch, K classes.
"""

from torch import Tensor

from stylealae.families.aae.networks import Aae
from stylealae.families.aae_classes.config import ClassCriticModelConfig
from stylealae.families.common.networks import SLOPE, Code, hidden, mlp

__all__ = ["ClassAae"]


class ClassAae(Aae):
    """E gives a class y beside the style z; C discriminates y from samples of its prior."""

    networks = "EGDC"

    def __init__(self, cfg: ClassCriticModelConfig, *, class_inputs: int | None = None) -> None:
        inputs = cfg.classes if class_inputs is None else class_inputs
        super().__init__(cfg, class_inputs=inputs, classes=cfg.classes)
        self.C = mlp([cfg.classes, *hidden(cfg, cfg.class_critic_hidden), 1], slope=SLOPE)

    def conditioning(self, code: Code, labels: Tensor) -> Tensor:
        """The probability of every class.  code, [N] -> [N, K]"""
        return code.y.softmax(1)

    def judge_class(self, y: Tensor) -> Tensor:
        """The logit of "this is a sample of the categorical prior".  [N, K] -> [N]"""
        logit: Tensor = self.C(y).squeeze(1).float()
        return logit
