"""Random audits: whom to look at, and what the result says about all the others.

The bound is the one-sided interval of Clopper and Pearson (Biometrika 26, 1934): exact for draws with
replacement, and on the safe side for a draw without, as here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

_STEPS = 200


def draw(sample_ids: Iterable[str], size: int, seed: int) -> list[str]:
    """`size` of the ids (all, when there are fewer) at random, in their own order.

    The ids are ranked by a hash of seed and id, so the draw needs no random source and no order of arrival.
    """
    ids = sorted(set(sample_ids))
    ranked = sorted(ids, key=lambda sample_id: _rank(sample_id, seed))
    return sorted(ranked[:size])


def _rank(sample_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{sample_id}".encode(), digest_size=16, person=b"tz-audit").digest()


def size_of_share(share: float, num_accepted: int) -> int:
    """ceil(share x num_accepted), at least 1 (rounded first: 0.1 x 30 is 3)."""
    return max(1, math.ceil(round(share * num_accepted, 9)))


def error_rate_upper(num_errors: int, num_items: int, confidence: float) -> float:
    """The largest error rate that `num_errors` of `num_items` do not refute at `confidence`, one-sided.

    It is the p with P(X <= num_errors | num_items, p) = 1 - confidence, 1.0 when every item is wrong.
    Raises ValueError for counts that make no sense, or a confidence outside (0, 1).
    """
    if not 0 <= num_errors <= num_items or num_items < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(f"{num_errors} errors of {num_items} items at confidence {confidence}")
    if num_errors == num_items:
        return 1.0
    low, high = num_errors / num_items, 1.0
    log_tail = math.log1p(-confidence)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if log_binomial_cdf(num_errors, num_items, middle) > log_tail:
            low = middle
        else:
            high = middle
    return high


def log_binomial_cdf(num_errors: int, num_items: int, rate: float) -> float:
    """log P(X <= num_errors) for X binomial(num_items, rate), 0 < rate < 1, by the sum itself.

    The terms run from the last downwards and stop where they no longer count.
    """
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    log_last = (
        math.lgamma(num_items + 1)
        - math.lgamma(num_errors + 1)
        - math.lgamma(num_items - num_errors + 1)
        + num_errors * log_rate
        + (num_items - num_errors) * log_rest
    )
    # Terms relative to the last one. The rate is above num_errors / num_items wherever the bound is
    # sought, so they fall from the last term on.
    odds = math.exp(log_rest - log_rate)
    term, total = 1.0, 1.0
    for count in range(num_errors, 0, -1):
        term *= count / (num_items - count + 1) * odds
        total += term
        if term < total * 1e-18:
            break
    return log_last + math.log(total)
