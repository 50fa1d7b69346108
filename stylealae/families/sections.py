"""What a family's `config.py` exports: the classes of its config sections."""

from typing import Generic, NamedTuple, TypeVar

from stylealae.config import ShapeConfig, TermsConfig

__all__ = ["Sections"]

M = TypeVar("M", bound=ShapeConfig, covariant=True)
L = TypeVar("L", bound=TermsConfig, covariant=True)


class Sections(NamedTuple, Generic[M, L]):
    """The classes of a family's config sections."""

    model: type[M]
    """Of `model`: the shape of the networks."""
    loss: type[L]
    """Of `loss`: the weights of the losses."""
