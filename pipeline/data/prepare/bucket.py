"""A dataset made straight in an object store: a shard at a time on the local disk, then uploaded.

A store knows no lock that a killed process lets go of, and none is needed. The recipe is created
there only where there is none, which the store itself decides: so a place has one recipe, and two
processes that work on the same one write the same bytes under the same names.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pipeline.data.prepare.output import RECIPE, SCRATCH_BYTES, Place, Scratch, as_json
from pipeline.storage.remote import Remote
from pipeline.storage.store import PATIENCE_S
from stylealae.errors import DataError

__all__ = ["Bucket"]


class Bucket(Place):
    """A prefix in an object store."""

    def __init__(self, where: str) -> None:
        """Find what speaks the URL's protocol; nothing is sent yet."""
        super().__init__(where)
        self._store = Remote(where, None, PATIENCE_S)

    @property
    def room(self) -> str:
        """The folder of scratch files, which TMPDIR names."""
        return tempfile.gettempdir()

    def scratch(self, name: str) -> Scratch:
        """A file without a name, which is gone with its process, however that ends."""
        file = tempfile.TemporaryFile(buffering=SCRATCH_BYTES)  # noqa: SIM115 - closed by its user
        assert isinstance(file, io.BufferedRandom)
        return file

    def publish(self, file: Scratch, name: str, sha256: str) -> None:
        """Upload it, and read it back."""
        file.flush()
        length = os.fstat(file.fileno()).st_size
        self._store.put(name, f"/proc/self/fd/{file.fileno()}", length, sha256)
        file.close()

    def drop(self, file: Scratch) -> None:
        """Close it: it has no name."""
        file.close()

    def read(self, name: str) -> bytes:
        """The file's content."""
        return self._store.read(name)

    def files(self) -> Mapping[str, int]:
        """What lies under the prefix."""
        try:
            return self._store.files()
        except FileNotFoundError as error:
            raise DataError(
                f"{self.where} cannot be listed ({error}): make the bucket first, or "
                "correct the URL"
            ) from error

    def heed(self, still: Callable[[], None]) -> None:
        """Call this between attempts."""
        self._store.objects.still = still

    @contextmanager
    def claimed(self, recipe: Mapping[str, str]) -> Iterator[None]:
        """Begin with this recipe, or go on where another process with the same one stopped."""
        files = self.files()
        if files and RECIPE not in files:
            raise self.foreign()
        if RECIPE not in files:
            self._store.create(RECIPE, as_json(recipe).encode())
        self.refuse_other(json.loads(self.read(RECIPE)), recipe)
        yield
