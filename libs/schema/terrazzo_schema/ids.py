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
_SHIFTS = tuple(range(120, -10, -10))


def new_id(prefix: str) -> str:
    """`prefix` + `_` + a ULID (48 bits of milliseconds, 80 random bits), lower case."""
    return new_ids(prefix, 1)[0]


def new_ids(prefix: str, num: int) -> list[str]:
    """As many new ids of one millisecond; the random bits of all are drawn at once."""
    moment, noise = (time.time_ns() // 1_000_000) << 80, os.urandom(10 * num)
    values = [moment | int.from_bytes(noise[at : at + 10], "big") for at in range(0, 10 * num, 10)]
    return [f"{prefix}_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS]) for value in values]


def is_id(text: str) -> bool:
    return _ID.match(text) is not None


def content_hash(data: bytes) -> str:
    """BLAKE2b-256 of `data`, 64 hex characters: the address of every stored blob."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()
