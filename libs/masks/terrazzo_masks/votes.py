"""The votes of several annotators as a short table of distinct vote tuples.

Of the pixels of an image a few per cent are contested, and their votes repeat: consensus is worked out once per
distinct tuple (v_1, ..., v_R) and spread over the pixels again. A vote of 0 is an abstention.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import UNLABELLED, LabelMap, require_labels

ANNOTATORS_MAX = 64


@dataclass(frozen=True)
class VoteTable:
    """Votes of one image, as class indices: 0 abstains, k + 1 votes for `class_ids[k]`.

    tuple_TR: int64 (T, R), the distinct tuples; pixels_T: int64 (T,), how many pixels each has; tuple_of_HW: int32
    (H, W), the tuple of each pixel; class_ids: the classes that got a vote, by rising id. Annotators are in the
    caller's order; `canonical_R` permutes them into an order that depends on their contested votes alone.
    """

    class_ids: tuple[int, ...]
    tuple_TR: NDArray[np.int64]
    pixels_T: NDArray[np.int64]
    tuple_of_HW: NDArray[np.int32]
    canonical_R: NDArray[np.int64]

    @property
    def num_annotators(self) -> int:
        """R."""
        return int(self.tuple_TR.shape[1])

    def contested_T(self) -> NDArray[np.bool_]:
        """bool (T,): two or more different classes were voted for (abstentions do not contest)."""
        highest_T = self.tuple_TR.max(axis=1)
        lowest_T = np.where(self.tuple_TR == 0, np.iinfo(np.int64).max, self.tuple_TR).min(axis=1)
        contested: NDArray[np.bool_] = lowest_T < highest_T
        return contested


def require_votes(votes_RHW: LabelMap) -> LabelMap:
    """Return `votes_RHW` if it is a stack of 1 to 64 label maps (R, H, W).

    Raises ShapeMismatch for another number of axes or annotators, UnsupportedMask for another dtype.
    """
    if votes_RHW.ndim != 3 or not 1 <= votes_RHW.shape[0] <= ANNOTATORS_MAX:
        raise ShapeMismatch(f"votes have shape {votes_RHW.shape}: (R, H, W) with R 1..{ANNOTATORS_MAX} is wanted")
    require_labels(votes_RHW[0], "votes of the first annotator")
    return votes_RHW


def tabulate(votes_RHW: LabelMap) -> VoteTable:
    """Count the distinct vote tuples of a stack of label maps (R, H, W). Raises as `require_votes` does."""
    require_votes(votes_RHW)
    num_annotators, height, width = votes_RHW.shape
    votes_RP = votes_RHW.reshape(num_annotators, height * width)
    split_P = np.zeros(votes_RP.shape[1], dtype=np.bool_)
    for votes_P in votes_RP[1:]:
        split_P |= votes_P != votes_RP[0]
    index_of, class_ids = _class_index(votes_RP, split_P)

    split = np.flatnonzero(split_P)
    split_votes_RS = votes_RP[:, split]
    split_TR, tuple_of_S = _distinct(index_of[split_votes_RS], len(class_ids) + 1)

    # Unanimous pixels, most of the image, need no sorting: one tuple per class that they show.
    unanimous_counts = np.bincount(votes_RP[0][~split_P], minlength=1)
    unanimous_ids = np.flatnonzero(unanimous_counts)
    tuple_of_id = np.zeros(65536, dtype=np.int32)
    tuple_of_id[unanimous_ids] = np.arange(unanimous_ids.size)
    tuple_of_P = tuple_of_id[votes_RP[0]]
    tuple_of_P[split] = tuple_of_S + unanimous_ids.size

    unanimous_TR = np.repeat(index_of[unanimous_ids][:, None], num_annotators, axis=1)
    pixels_T = np.concatenate([unanimous_counts[unanimous_ids], np.bincount(tuple_of_S, minlength=len(split_TR))])
    return VoteTable(
        class_ids=class_ids,
        tuple_TR=np.concatenate([unanimous_TR, split_TR]),
        pixels_T=pixels_T.astype(np.int64),
        tuple_of_HW=tuple_of_P.reshape(height, width),
        canonical_R=_canonical_order(split_votes_RS),
    )


def _class_index(votes_RP: LabelMap, split_P: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Table class id -> index (0 for unlabelled, k + 1 for the k-th class), and the ids of the classes."""
    if votes_RP.max() == np.iinfo(np.uint16).max:
        raise UnsupportedMask("votes hold class id 65535: ids are 0..65534")
    seen = np.zeros(65536, dtype=np.bool_)
    seen[votes_RP[0]] = True
    for votes_P in votes_RP[1:]:
        seen[votes_P[split_P]] = True
    seen[UNLABELLED] = False
    class_ids = np.flatnonzero(seen)
    index_of = np.zeros(65536, dtype=np.int64)
    index_of[class_ids] = np.arange(1, class_ids.size + 1)
    return index_of, tuple(int(class_id) for class_id in class_ids)


def _distinct(index_RS: NDArray[np.int64], base: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct columns of (R, S) as rows (T, R), and the row of each column (S,)."""
    num_annotators, num_pixels = index_RS.shape
    if num_pixels == 0:
        return np.zeros((0, num_annotators), dtype=np.int64), np.zeros(0, dtype=np.int64)
    code_S = np.zeros(num_pixels, dtype=np.int64)
    span = 1
    for index_S in index_RS:
        if span > 2**62 // base:
            # The packed code would overflow: renumber what was packed so far.
            _, code_S = np.unique(code_S, return_inverse=True)
            span = num_pixels
        code_S = code_S * base + index_S
        span *= base
    _, first_T, tuple_of_S = np.unique(code_S, return_index=True, return_inverse=True)
    return np.ascontiguousarray(index_RS[:, first_T].T), tuple_of_S


def _canonical_order(split_votes_RS: LabelMap) -> NDArray[np.int64]:
    """Annotators by a hash of their votes where not all agree.

    Sums of floats depend on the order of their terms in the last bits; taking them in this order makes every
    result independent of the order in which the annotators came, and of unanimous padding around the image.
    """
    keys = [hashlib.blake2b(np.ascontiguousarray(v, dtype="<u2").data).digest() for v in split_votes_RS]
    return np.array(sorted(range(len(keys)), key=lambda r: keys[r]), dtype=np.int64)
