"""Identifiers: a prefix that says what it is, then 26 characters that sort by creation time.

Ids that clients must be able to foresee (samples, masks, images, commits) are derived from
content instead, so the same input has the same id everywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
ID_PATTERN = r"^[a-z]{2,4}_[0-9a-z]{8,64}$"
HASH_PATTERN = r"^[0-9a-f]{64}$"
_ID = re.compile(ID_PATTERN)


def new_id(prefix: str) -> str:
    """`prefix` + `_` + a ULID (48 bits of milliseconds, 80 random bits), lower case."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -10, -10)])


def is_id(text: str) -> bool:
    return _ID.match(text) is not None


def content_hash(data: bytes) -> str:
    """BLAKE2b-256 of `data`, 64 hex characters: the address of every stored blob."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()
