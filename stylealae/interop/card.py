"""Model cards: the README of a snapshot."""

from stylealae.config import ModelConfig

__all__ = ["mlp_card", "style_card"]


def style_card(m: ModelConfig, resolution: int, seen: int, origin: str) -> str:
    """Of a StyleALAE; `origin` is a sentence on where the weights are from, if not training."""
    origin = origin or f"Trained on {seen:,} real images; a running average of the weights."
    return (
        f"# StyleALAE, {resolution}x{resolution}\n\n"
        f"{origin}\n\n"
        f"Networks F, G, E, D: {m.channels} image channels, {m.start_channels} to "
        f"{m.width(0)} feature channels, z and w of {m.w_width} numbers, {m.mapping_layers} "
        "mapping layers.\n\n"
        "```python\nfrom stylealae import StyleALAE\n\n"
        'm = StyleALAE.load("path/to/this/folder")\n'
        "x = m.sample(4, seed=1, truncation=0.7)  # [4, C, R, R] in [-1, 1]\n```\n"
    )


def mlp_card(family: str, resolution: int, seen: int, origin: str) -> str:
    """Of a family of MLPs."""
    origin = origin or f"Trained on {seen:,} images; a running average of the weights."
    return (
        f"# {family}, {resolution}x{resolution}\n\n{origin}\n\n```python\n"
        "from stylealae.families import load\n\n"
        'm = load("path/to/this/folder")\n'
        "x = m.sample(4, seed=1)  # [4, C, R, R] in [-1, 1]\n```\n"
    )
