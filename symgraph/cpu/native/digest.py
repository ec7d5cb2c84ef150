"""Fingerprints of texts and files: BLAKE2b, without the OpenSSL library that `hashlib` loads."""

from __future__ import annotations

try:  # CPython's own implementation; importing hashlib costs some 6 ms of every first result
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

DIGEST_BYTES = 32


def digest(data: bytes) -> bytes:
    """Return the fingerprint [32] of `data`; equal fingerprints mean equal data."""
    found: bytes = blake2b(data, digest_size=DIGEST_BYTES).digest()
    return found
