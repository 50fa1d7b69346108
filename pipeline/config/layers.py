"""Layers of a network by name: G, E.4 or G.4..16."""

import re
from dataclasses import dataclass

from stylealae.errors import ConfigError

__all__ = ["Layers"]

LAYERS = re.compile(r"(?P<network>[A-Z])(\.(?P<low>\d+)(\.\.(?P<high>\d+))?)?")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Some layers of a network, as `init.freeze` names them: G, E.4 or G.4..16."""

    network: str
    stages: range | None
    """Those of the resolutions from..to; None is the whole network."""

    @classmethod
    def parse(cls, text: str) -> "Layers":
        """The layers of an entry.

        Raises:
            ConfigError: it names none.
        """
        found = LAYERS.fullmatch(text)
        if found is None:
            raise ConfigError(f"init.freeze has {text!r}: name layers as G, E.4 or G.4..16")
        if found["low"] is None:
            return cls(network=found["network"], stages=None)
        low, high = int(found["low"]), int(found["high"] or found["low"])
        if not 4 <= low <= high or low & (low - 1) or high & (high - 1):
            raise ConfigError(
                f"init.freeze has {text!r}: resolutions are powers of two from 4 upwards, the "
                "smaller one first"
            )
        return cls(
            network=found["network"],
            stages=range(low.bit_length() - 3, high.bit_length() - 2),
        )
