"""Connections that cost little: heads come within seconds, and no address has them all."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MAX_CONNECTIONS", "BoundedProtocol"]

HEAD_S = 10.0
"""The head of a request must be there so long after the connection, or the answer before."""
MAX_CONNECTIONS = 256
PER_ADDRESS = 120
"""A proxy's visitors share one."""


class BoundedProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, to clients that do not keep it waiting."""

    open_of: ClassVar[Counter[str]] = Counter()
    """Connections by address."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection, and closes it if its address has too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_of[self._address] += 1
        if self.open_of[self._address] > PER_ADDRESS:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts it out."""
        super().connection_lost(exc)
        self._stop_waiting()
        self.open_of[self._address] -= 1
        if not self.open_of[self._address]:
            del self.open_of[self._address]

    def data_received(self, data: bytes) -> None:
        """Takes what came; a whole head ends the waiting for it."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Waits for the next head."""
        super().on_response_complete()
        self._await_head()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
