"""What a snapshot's files are called."""

__all__ = ["CARD", "CONFIG", "WEIGHTS"]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
