"""The votes of several annotators as a short table of distinct vote tuples.

Of the pixels of an image a few per cent are contested, and their votes repeat: consensus is worked out once per
distinct tuple (v_1, ..., v_R) and spread over the pixels again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import CLASS_ID_MAX, UNLABELLED, LabelMap, require_labels

ANNOTATORS_MAX = 64
PIXELS_MAX = 2**31 - 2**17


@dataclass(frozen=True)
class VoteTable:
    """Votes of one image, as class indices: 0 abstains, k + 1 votes for `class_ids[k]`.

    tuple_TR: int32 (T, R), the distinct tuples: first those that every annotator agrees on, by rising id, then the
    others by the first pixel that shows them; pixels_T: int64 (T,), how many pixels each has; class_ids: the
    classes that got a vote, by rising id. place_HW: int32 (H, W), the agreed id of each pixel, or `base` + the
    number of its tuple among the others; `place_T` has the place of each tuple.

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

    @cached_property
    def contested_T(self) -> NDArray[np.bool_]:
        """bool (T,): two or more different classes were voted for (abstentions do not contest)."""
        from terrazzo_masks.kernels.vote_table import contested

        return contested(self.tuple_TR)

    @cached_property
    def voted_T(self) -> NDArray[np.bool_]:
        """bool (T,): somebody voted. All abstain in one tuple at most, and agree on it."""
        voted_T = np.ones(self.pixels_T.size, dtype=np.bool_)
        num_agreed = self.agreed_ids.size
        voted_T[:num_agreed] = self.tuple_TR[:num_agreed, 0] > 0
        return voted_T

    @cached_property
    def heads(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
        """By tuple the class index with the most votes (0: none, or a tie), its share of them, whether it ties."""
        from terrazzo_masks.kernels.vote_table import leaders

        equal_R = np.ones(self.num_annotators)
        return leaders(self.tuple_TR, np.arange(self.num_annotators), equal_R, len(self.class_ids))

    @property
    def num_places(self) -> int:
        """One more than the highest value of `place_HW` may be."""
        return self.base + int(self.pixels_T.size) - int(self.agreed_ids.size)

    @cached_property
    def place_T(self) -> NDArray[np.int64]:
        """int64 (T,): the value of `place_HW` that stands for each tuple."""
        return np.concatenate([self.agreed_ids, np.arange(self.base, self.num_places)])


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
    from terrazzo_masks.kernels.vote_tuples import count_codes, count_tuples, renumber, unpack

    require_votes(votes_RHW)
    num_annotators, height, width = votes_RHW.shape
    # As few bits a vote as the ids need: fewer words a tuple.
    bits = max(1, int(votes_RHW.max()).bit_length())
    base = 2**bits
    count = count_codes if bits * num_annotators <= 64 else count_tuples
    wide = votes_RHW.dtype if count is count_codes else np.dtype(np.uint16)
    votes_RP: LabelMap = np.ascontiguousarray(votes_RHW, dtype=wide).reshape(num_annotators, height * width)
    place_P, agreed_B, codes_TN, split_pixels_T = count(
        votes_RP, _words(votes_RP), 8 // votes_RP.itemsize, bits, base
    )
    agreed_ids = np.flatnonzero(agreed_B)
    tuple_TR = np.empty((agreed_ids.size + len(codes_TN), num_annotators), dtype=np.int32)
    tuple_TR[: agreed_ids.size] = agreed_ids[:, None]
    split_TR = tuple_TR[agreed_ids.size :]
    seen_B = agreed_B > 0
    unpack(codes_TN, bits, split_TR, seen_B)
    canonical_R = _canonical_order(split_TR)
    index_of, class_ids = _class_index(seen_B, abstain)
    renumber(tuple_TR, index_of)
    return VoteTable(
        class_ids=class_ids,
        tuple_TR=tuple_TR,
        pixels_T=np.concatenate([agreed_B[agreed_ids], split_pixels_T]),
        place_HW=place_P.reshape(height, width),
        base=base,
        agreed_ids=agreed_ids,
        canonical_R=canonical_R,
    )


def _words(votes_RP: LabelMap) -> NDArray[np.uint64]:
    """The whole 64-bit words of each annotator's votes; a copy where rows do not end on a word."""
    per_word = 8 // votes_RP.dtype.itemsize
    num_words = votes_RP.shape[1] // per_word
    if num_words == 0:
        return np.zeros((votes_RP.shape[0], 0), dtype=np.uint64)
    words_RW: NDArray[np.uint64] = np.ascontiguousarray(votes_RP[:, : num_words * per_word]).view(np.uint64)
    return words_RW


def _class_index(seen_B: NDArray[np.bool_], abstain: int | None) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Table class id -> index (0 for an abstention, k + 1 for the k-th class), and the ids of the classes."""
    if abstain is not None and 0 <= abstain < seen_B.size:
        seen_B[abstain] = False
    class_ids = np.flatnonzero(seen_B)
    if class_ids.size and class_ids[-1] > CLASS_ID_MAX:
        raise UnsupportedMask(f"votes hold class id {class_ids[-1]}: ids are 0..{CLASS_ID_MAX}")
    index_of = np.zeros(seen_B.size, dtype=np.int32)
    index_of[class_ids] = np.arange(1, class_ids.size + 1)
    return index_of, tuple(int(class_id) for class_id in class_ids)


def _canonical_order(split_TR: NDArray[np.int32]) -> NDArray[np.int64]:
    """Annotators by their votes where not all agree, compared tuple by tuple.

    Sums of floats depend on the order of their terms in the last bits; taking them in this order makes every
    result independent of the order in which the annotators came, and of unanimous padding around the image.
    """
    # Mostly the first tuples tell. Two annotators with the same column are interchangeable.
    for rows_TR in (split_TR[:256], split_TR):
        # Big-endian bytes compare as the numbers do.
        keys = [column_T.astype(">u2").tobytes() for column_T in rows_TR.T]
        if len(set(keys)) == len(keys):
            break
    return np.array(sorted(range(len(keys)), key=lambda r: keys[r]), dtype=np.int64)
