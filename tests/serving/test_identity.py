"""Tests of app/serving/identity.py."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from app.serving.identity import Identity


def test_is_hmac_sha256() -> None:
    """The digest is RFC 2104 over SHA-256, computed here from the definition."""
    key, value = b"k" * 20, "6D92078A-8246-4BA4-AE5B-76104861E7DC"
    inner, outer = (bytes(b ^ pad for b in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    expected = hashlib.sha256(outer + hashlib.sha256(inner + value.encode()).digest()).digest()
    assert Identity(key).of(value) == expected


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 128, 1000])
def test_keys_of_any_length(length: int) -> None:
    """Shorter than a block, a block, and longer; one call leaves nothing behind for the next."""
    key = bytes(i % 251 for i in range(length))
    identity = Identity(key)
    for value in ("", "é", "ifa:6d92078a-8246-4ba4-ae5b-76104861e7dc", "x" * 300):
        assert identity.of(value) == hmac.digest(key, value.encode(), "sha256")


def test_depends_on_key_and_value() -> None:
    """Other keys and other values have other digests."""
    assert len({Identity(k).of(v) for k in (b"a", b"b") for v in ("x", "y")}) == 4


def test_any_text_has_a_digest() -> None:
    """A lone surrogate, which JSON can carry, is no error."""
    assert len(Identity(b"a").of("\ud800")) == 32


def test_needs_a_key() -> None:
    """Without a key digests could be guessed."""
    with pytest.raises(ValueError, match="identity key"):
        Identity(b"")
