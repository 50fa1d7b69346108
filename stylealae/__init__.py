"""StyleALAE (Adversarial Latent Autoencoders, CVPR 2020): the method, in the paper's letters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylealae.api import StyleALAE

    __version__: str

__all__ = ["StyleALAE", "__version__"]


def __getattr__(name: str) -> "type[StyleALAE] | str":
    """StyleALAE on first use: a config or an error can then be had without importing torch."""
    if name == "StyleALAE":
        from stylealae.api import StyleALAE

        return StyleALAE
    if name == "__version__":
        from importlib.metadata import version

        return version("stylealae")
    raise AttributeError(f"module 'stylealae' has no attribute {name!r}")
