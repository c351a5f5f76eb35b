"""A user's identifier enters, a keyed digest leaves: the only form in which an identity exists in this service."""

from __future__ import annotations

import hmac


class Identity:
    """HMAC-SHA256 under the service's own key: without the key a digest can neither be reversed nor guessed.

    Every worker, and whatever loads histories into Redis, must hold the same key.

    Parameters
    ----------
    key : bytes
        Secret, not empty.
    """

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("identity key: expected a secret, received nothing")
        self._key = key

    def of(self, value: str) -> bytes:
        """The 32-byte digest of an identifier (an `ifa`, a `user.id`)."""
        return hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256")
