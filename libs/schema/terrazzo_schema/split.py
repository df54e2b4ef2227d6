"""The held-out split: a pure function of the sample id, so no sample ever changes sides."""

from __future__ import annotations

import hashlib


def is_held_out(sample_id: str, percent: int) -> bool:
    """True for about `percent` of 100 ids. The same id always gets the same answer.

    Raises ValueError for a percentage outside 0..90 (something must be left to train on).
    """
    if not 0 <= percent <= 90:
        raise ValueError(f"held-out percentage {percent} is not in 0..90")
    digest = hashlib.blake2b(sample_id.encode(), digest_size=8, person=b"tz-split").digest()
    return int.from_bytes(digest, "big") % 10_000 < percent * 100


def split_of(sample_id: str, percent: int) -> str:
    """`"held_out"` or `"train"`."""
    return "held_out" if is_held_out(sample_id, percent) else "train"
