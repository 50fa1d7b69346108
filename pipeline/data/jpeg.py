"""The segments of a JPEG file, as its decoders go from one to the next."""

import re
from collections.abc import Iterator

__all__ = ["SOS", "segments_of"]

SOS, _EOI = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""What begins a segment: marks without content, stuffing and fill are passed over."""


def segments_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment, those between its scans too, up to the end mark.

    What lies between two of them is passed over, be it a scan's bits or bytes without a meaning;
    what follows the end mark is of no decoder's concern.
    """
    found = _MARKER.search(data, 2)
    while found and found[0][1] != _EOI:
        at = found.start()
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        yield found[0][1], data[at + 4 : end]
        found = _MARKER.search(data, end)
