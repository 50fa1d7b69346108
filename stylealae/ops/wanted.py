"""Which gradients a backward pass asks for: what nobody asks for need not be computed.

A function's own `ctx.needs_input_grad` tells what some pass may ask for.  `torch.autograd.grad` of
an image asks for the image's alone, and a convolution's backward would compute the weight's too: a
third of its arithmetic, and R1 does so in every layer of E.
"""

from typing import Any

import torch

__all__ = ["wanted_of"]


def wanted_of(ctx: Any) -> tuple[bool, ...]:
    """Of each tensor among a function's inputs, whether the pass under way wants its gradient.

    Args:
        ctx: that of `torch.autograd.Function.backward`, while it runs.
    """
    return tuple(node is not None and _is_run(node) for node, _ in ctx.next_functions)


def _is_run(node: Any) -> bool:
    """Whether the pass under way goes on through a node, to a leaf that still wants a gradient."""
    leaf = getattr(node, "variable", None)
    if leaf is not None and not leaf.requires_grad:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))  # as torch's own multi-grad hooks
    except RuntimeError:  # of a leaf that is asked for itself torch does not tell
        return True
