"""The votes of several annotators as a short table of distinct vote tuples.

Of the pixels of an image a few per cent are contested, and their votes repeat: consensus is worked out once per
distinct tuple (v_1, ..., v_R) and spread over the pixels again.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import CLASS_ID_MAX, UNLABELLED, LabelMap, require_labels

Scalar = TypeVar("Scalar", bound=np.generic)

ANNOTATORS_MAX = 64
PIXELS_MAX = 2**31 - 2**17


@dataclass(frozen=True)
class VoteTable:
    """Votes of one image, as class indices: 0 abstains, k + 1 votes for `class_ids[k]`.

    tuple_TR: int32 (T, R), the distinct tuples: first those that every annotator agrees on, by rising id, then the
    others by the first pixel that shows them; pixels_T: int64 (T,), how many pixels each has; class_ids: the
    classes that got a vote, by rising id. place_HW: int32 (H, W), the agreed id of each pixel, or `base` + the
    number of its tuple among the others; `by_place` turns values by tuple into values by place.

    The order of the tuples does not depend on that of the annotators; `canonical_R` permutes these, who are in the
    caller's order, into one that depends on their votes where not all agree, alone.
    """

    class_ids: tuple[int, ...]
    tuple_TR: NDArray[np.int32]
    pixels_T: NDArray[np.int64]
    place_HW: NDArray[np.int32]
    base: int
    agreed_ids: NDArray[np.int64]
    canonical_R: NDArray[np.int64]

    @property
    def num_annotators(self) -> int:
        """R."""
        return int(self.tuple_TR.shape[1])

    def contested_T(self) -> NDArray[np.bool_]:
        """bool (T,): two or more different classes were voted for (abstentions do not contest)."""
        highest_T = self.tuple_TR.max(axis=1)
        lowest_T = np.where(self.tuple_TR == 0, np.iinfo(np.int32).max, self.tuple_TR).min(axis=1)
        contested: NDArray[np.bool_] = lowest_T < highest_T
        return contested

    def by_place(self, value_T: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values by tuple (T,) as a table that `place_HW` indexes."""
        num_agreed = self.agreed_ids.size
        value_L = np.zeros(self.base + value_T.size - num_agreed, dtype=value_T.dtype)
        value_L[self.agreed_ids] = value_T[:num_agreed]
        value_L[self.base :] = value_T[num_agreed:]
        return value_L


def require_votes(votes_RHW: LabelMap) -> LabelMap:
    """Return `votes_RHW` if it is a stack of 1 to 64 label maps (R, H, W).

    Raises ShapeMismatch for another number of axes or annotators, UnsupportedMask for another dtype.
    """
    if votes_RHW.ndim != 3 or not 1 <= votes_RHW.shape[0] <= ANNOTATORS_MAX:
        raise ShapeMismatch(f"votes have shape {votes_RHW.shape}: (R, H, W) with R 1..{ANNOTATORS_MAX} is wanted")
    require_labels(votes_RHW[0], "votes of the first annotator")
    if votes_RHW[0].size > PIXELS_MAX:
        raise UnsupportedMask(
            f"votes have shape {votes_RHW.shape}: at most {PIXELS_MAX} pixels can be fused at once"
        )
    return votes_RHW


def tabulate(votes_RHW: LabelMap, abstain: int | None = UNLABELLED) -> VoteTable:
    """Count the distinct vote tuples of a stack of label maps (R, H, W) in one pass.

    A vote of `abstain` is no vote; None: every id is a class. Raises as `require_votes` does, and UnsupportedMask
    for a class id of 65535.
    """
    from terrazzo_masks.kernels.vote_tuples import count_codes, count_tuples, unpack

    require_votes(votes_RHW)
    num_annotators, height, width = votes_RHW.shape
    # As few bits a vote as the ids need: fewer words a tuple.
    bits = max(1, int(votes_RHW.max()).bit_length())
    base = 2**bits
    votes_RP = np.ascontiguousarray(votes_RHW).reshape(num_annotators, height * width)
    per_word = 8 // votes_RP.dtype.itemsize
    count = count_codes if bits * num_annotators <= 64 else count_tuples
    place_P, agreed_B, codes_TN, split_pixels_T = count(votes_RP, _words(votes_RP), per_word, bits, base)
    split_TR = unpack(codes_TN, num_annotators, bits)
    agreed_ids = np.flatnonzero(agreed_B)
    index_of, class_ids = _class_index(agreed_ids, split_TR, abstain, base)
    agreed_TR = np.repeat(index_of[agreed_ids][:, None], num_annotators, axis=1)
    return VoteTable(
        class_ids=class_ids,
        tuple_TR=np.concatenate([agreed_TR, index_of[split_TR]]),
        pixels_T=np.concatenate([agreed_B[agreed_ids], split_pixels_T]),
        place_HW=place_P.reshape(height, width),
        base=base,
        agreed_ids=agreed_ids,
        canonical_R=_canonical_order(split_TR),
    )


def _words(votes_RP: LabelMap) -> NDArray[np.uint64]:
    """The whole 64-bit words of each annotator's votes; a copy where rows do not end on a word."""
    per_word = 8 // votes_RP.dtype.itemsize
    num_words = votes_RP.shape[1] // per_word
    if num_words == 0:
        return np.zeros((votes_RP.shape[0], 0), dtype=np.uint64)
    words_RW: NDArray[np.uint64] = np.ascontiguousarray(votes_RP[:, : num_words * per_word]).view(np.uint64)
    return words_RW


def _class_index(
    agreed_ids: NDArray[np.int64], split_TR: NDArray[np.int32], abstain: int | None, base: int
) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Table class id -> index (0 for an abstention, k + 1 for the k-th class), and the ids of the classes."""
    seen = np.zeros(base, dtype=np.bool_)
    seen[agreed_ids] = True
    seen[split_TR] = True
    if abstain is not None and 0 <= abstain < base:
        seen[abstain] = False
    class_ids = np.flatnonzero(seen)
    if class_ids.size and class_ids[-1] > CLASS_ID_MAX:
        raise UnsupportedMask(f"votes hold class id {class_ids[-1]}: ids are 0..{CLASS_ID_MAX}")
    index_of = np.zeros(base, dtype=np.int32)
    index_of[class_ids] = np.arange(1, class_ids.size + 1)
    return index_of, tuple(int(class_id) for class_id in class_ids)


def _canonical_order(split_TR: NDArray[np.int32]) -> NDArray[np.int64]:
    """Annotators by their votes where not all agree, compared tuple by tuple.

    Sums of floats depend on the order of their terms in the last bits; taking them in this order makes every
    result independent of the order in which the annotators came, and of unanimous padding around the image.
    """
    # Big-endian bytes compare as the numbers do. Two annotators with the same column are interchangeable.
    keys = [column_T.astype(">u2").tobytes() for column_T in split_TR.T]
    return np.array(sorted(range(len(keys)), key=lambda r: keys[r]), dtype=np.int64)
