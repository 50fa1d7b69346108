"""Model cards: the README of a snapshot."""

from stylealae.config import ModelConfig

__all__ = ["mlp_card", "origin_of", "style_card"]


def origin_of(seen: int, origin: str, images: str = "real images") -> str:
    """The sentence on where weights are from: the one that is recorded, else of their training."""
    if origin or not seen:
        return origin or "Where the weights are from is not recorded."
    return f"Trained on {seen:,} {images}; a running average of the weights."


def style_card(m: ModelConfig, resolution: int, seen: int, origin: str) -> str:
    """Of a StyleALAE; `origin` is a sentence on where the weights are from, if not training."""
    return (
        f"# StyleALAE, {resolution}x{resolution}\n\n"
        f"{origin_of(seen, origin)}\n\n"
        f"Networks F, G, E, D: {m.channels} image channels, {m.start_channels} to "
        f"{m.width(0)} feature channels, z and w of {m.w_width} numbers, {m.mapping_layers} "
        "mapping layers.\n\n"
        "```python\nfrom stylealae import StyleALAE\n\n"
        'm = StyleALAE.load("path/to/this/folder")\n'
        "x = m.sample(4, seed=1, truncation=0.7)  # [4, C, R, R] in [-1, 1]\n```\n"
    )


def mlp_card(family: str, resolution: int, seen: int, origin: str) -> str:
    """Of a family of MLPs."""
    return (
        f"# {family}, {resolution}x{resolution}\n\n{origin_of(seen, origin, 'images')}\n\n"
        "```python\n"
        "from stylealae.families import load\n\n"
        'm = load("path/to/this/folder")\n'
        "x = m.sample(4, seed=1)  # [4, C, R, R] in [-1, 1]\n```\n"
    )
