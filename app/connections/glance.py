"""A plain call told from its bytes, ahead of the parser: parsing it would be most of what its refusal costs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_BEGIN: Final = b"POST /predict HTTP/1.1\r\n"
_END: Final = b"\r\n\r\n"
_MOST: Final = 4096
"""Bytes of a head that are looked at."""
_DIGITS: Final = 6
_HEADS: Final = 1024
"""Heads that are remembered: a client's differ in their lengths only."""
_UNUSUAL: Final = frozenset((b"connection", b"expect", b"transfer-encoding", b"upgrade"))
_PRINTED: Final = bytes({9, *range(32, 127), *range(128, 256)})
"""Bytes of a value that the parser takes."""


def is_plain_call(data: bytes) -> bool:
    """Whether bytes are one whole `POST /predict` and nothing else, whose answer leaves the connection open.

    What it takes for such a call the parser would take for the same one; about all else it says nothing.

    Parameters
    ----------
    data : bytes
        From where a message begins.
    """
    end = data.find(_END, 0, _MOST)
    return end > 0 and len(data) == end + len(_END) + _length(data[:end])


@lru_cache(_HEADS)
def _length(head: bytes) -> int:
    """The body's length, where a head is that of a plain call and tells it once; else what no length equals."""
    length = none = -(_MOST + len(_END))
    if not head.startswith(_BEGIN):
        return none
    for line in head[len(_BEGIN) :].lower().split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or not name.replace(b"-", b"").isalnum() or name in _UNUSUAL or value.translate(None, _PRINTED):
            return none
        if name == b"content-length":
            value = value.strip(b" \t")
            if length >= 0 or not value.isdigit() or len(value) > _DIGITS:
                return none
            length = int(value)
    return length
