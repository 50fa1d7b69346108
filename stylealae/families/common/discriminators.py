"""The discriminator of images, or of images and codes, that several families have.

Legend: N batch, P numbers of what is judged.
"""

from collections.abc import Callable

from torch import Tensor

from stylealae import losses
from stylealae.families.common.phases import discrimination
from stylealae.ops.precision import forward_of_r1, full_precision

__all__ = ["penalised"]


def penalised(
    judge: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, r1_gamma: float
) -> Tensor:
    """A discriminator's loss, kept smooth by R1 on what is real.  [N, P] and [M, P] -> []

    Its phase takes second derivatives.
    """
    with full_precision(real):  # a gradient of a gradient wants float32
        real = real.detach().requires_grad_(True)
        with forward_of_r1():
            logits = judge(real)
        penalty = losses.r1_penalty(logits, real).mean()
    return discrimination(logits, judge(generated)) + r1_gamma / 2 * penalty
