"""A user's identifier enters, a keyed digest leaves: the only form in which an identity exists in this service."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

_BLOCK: Final = sha256().block_size
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class Identity:
    """HMAC-SHA256 under the service's own key: without the key a digest can neither be reversed nor guessed.

    RFC 2104. The key's two blocks are hashed once, here: `hmac.digest` sets itself up anew at every call, which takes
    longer than the hash.

    Every worker, and whatever loads histories into Redis, must hold the same key.

    Parameters
    ----------
    key : bytes
        Secret, not empty.
    """

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("identity key: expected a secret, received nothing")
        block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def of(self, value: str) -> bytes:
        """The 32-byte digest of an identifier (an `ifa`, a `user.id`)."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()
