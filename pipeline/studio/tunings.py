"""Generators that are tuned to people, for as long as somebody asks for their pictures.

The page holds a tuning's file and gives it again if it is wanted after it has gone, so the studio
may let go of any at any time.  A name is the hash of the file: nobody guesses another's.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from pipeline.studio.studio import Brush, Studio
from pipeline.studio.work import RefusedError
from stylealae.editing.tuning import Tuning
from stylealae.errors import ConfigError

__all__ = ["MAX_TUNING", "Tunings"]

KEPT_S = 120.0
"""A tuning that nobody has asked for so long is let go."""
MAX_TUNING = 8 << 20
HELD_BYTES = 64 << 20
"""Of all tunings."""
READY_BYTES = 256 << 20
"""Of the generators made of them, unless one alone has more."""


@dataclass
class _Held:
    tuning: Tuning
    size: int
    asked_s: float


class Tunings:
    """Tunings by name, and the last of their generators; from any thread."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._ready: OrderedDict[str, Brush] = OrderedDict()
        self._lock = threading.Lock()
        self._sweeping: threading.Timer | None = None

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, data: bytes) -> tuple[str, Tuning]:
        """The name that a tuning's file is kept by, and what is in it.

        Raises:
            CheckpointError: the file holds something else.
            ConfigError: it is of another model, or of several people.
        """
        tuning, name = Tuning.unpacked(data), hashlib.sha256(data).hexdigest()
        layers, width = self._studio.layers, self._studio.m.model.w_width
        if tuning.w.shape[1:] != (layers, width):
            raise ConfigError(
                f"the tuning's styles are {list(tuning.w.shape[1:])}, this model's {layers} layers "
                f"of {width}: open the model that was tuned"
            )
        if len(tuning.w) != 1:
            raise ConfigError(
                f"the tuning is of {len(tuning.w)} images, and the page shows one face: tune to one"
            )
        brush = self._studio.tuned(tuning)  # refuses another generator
        with self._lock:
            self._held[name] = _Held(tuning, len(data), time.monotonic())
            self._held.move_to_end(name)
            self._put_ready(name, brush)
            while sum(one.size for one in self._held.values()) > HELD_BYTES:
                self._drop(next(iter(self._held)))
        self._sweep_later()
        return name, tuning

    def brush(self, name: str) -> Brush:
        """What paints with a tuned generator.

        Raises:
            RefusedError: it has gone.
        """
        with self._lock:
            held = self._held.get(name)
            if held is None:
                raise RefusedError(410, "the tuned generator has been let go of: send it again")
            held.asked_s = time.monotonic()
            self._held.move_to_end(name)
            found = self._ready.get(name)
        if found is None:
            found = self._studio.tuned(held.tuning)
        with self._lock:
            if name in self._held:
                self._put_ready(name, found)
        return found

    def forget(self, name: str) -> None:
        """Lets go of a tuning, if it is there."""
        with self._lock:
            self._drop(name)

    def sweep(self) -> None:
        """Lets go of those that nobody has asked for of late."""
        with self._lock:
            until = time.monotonic() - KEPT_S
            for name in [name for name, one in self._held.items() if one.asked_s <= until]:
                self._drop(name)

    def _put_ready(self, name: str, brush: Brush) -> None:
        self._ready[name] = brush
        self._ready.move_to_end(name)
        while len(self._ready) > 1 and len(self._ready) * brush.size > READY_BYTES:
            self._ready.popitem(last=False)

    def _drop(self, name: str) -> None:
        self._held.pop(name, None)
        self._ready.pop(name, None)

    def _sweep_later(self) -> None:
        """Sweeps once in a while, as long as anything is held."""
        with self._lock:
            if self._sweeping is not None or not self._held:
                return
            self._sweeping = threading.Timer(KEPT_S / 4, self._sweep_and_go_on)
            self._sweeping.daemon = True
            self._sweeping.start()

    def _sweep_and_go_on(self) -> None:
        self.sweep()
        with self._lock:
            self._sweeping = None
        self._sweep_later()
