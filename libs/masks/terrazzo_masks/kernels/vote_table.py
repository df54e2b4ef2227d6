"""What a table of vote tuples says: leaders, agreement, and maps per pixel from values per tuple.

Axes: R annotators, P pixels, T distinct tuples, L places (see `vote_tuples`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.labels import LabelMap
from terrazzo_masks.native import kernel

# Two scores closer than this are a tie: they differ by rounding alone.
TIE_MARGIN = 1e-9
_BLOCK = 2048
_LABEL_AT = 17  # bits of a record: posterior 0..7, disagreement 8..15, disputed 16, label above


@kernel
def contested(tuple_TR: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether two or more different classes were voted for, bool (T,)."""
    num_tuples, num_annotators = tuple_TR.shape
    contested_T = np.zeros(num_tuples, np.bool_)
    for t in range(num_tuples):
        seen = np.int32(0)
        for r in range(num_annotators):
            index = tuple_TR[t, r]
            if index > 0 and seen > 0 and index != seen:
                contested_T[t] = True
                break
            seen = max(seen, index)
    return contested_T


@kernel
def records(
    tuple_TR: NDArray[np.int32],
    winner_T: NDArray[np.int32],
    posterior_T: NDArray[np.float64],
    tied_T: NDArray[np.bool_],
    disputed_below: float,
    id_of_index: LabelMap,
    place_T: NDArray[np.int64],
    record_L: NDArray[Any],
) -> None:
    """Set the record of each tuple's place, uint32 or uint64 (uint16 labels): what `spread` writes to its pixels.

    Disagreement is the share of the votes against the winner, or without one against the most frequent class.
    """
    num_tuples, num_annotators = tuple_TR.shape
    for t in range(num_tuples):
        winner = winner_T[t]
        num_votes, num_for = 0, 0
        for r in range(num_annotators):
            num_votes += tuple_TR[t, r] > 0
            num_for += tuple_TR[t, r] == winner
        if winner == 0:
            num_for = _most_alike(tuple_TR, t)
        against = 1.0 - num_for / num_votes if num_votes > 0 else 0.0
        disputed = tied_T[t] or 0.0 < posterior_T[t] < disputed_below
        record = np.uint64(id_of_index[winner]) << np.uint64(_LABEL_AT) | np.uint64(disputed) << np.uint64(16)
        record_L[place_T[t]] = record | _byte(against) << np.uint64(8) | _byte(posterior_T[t])


@kernel
def _most_alike(tuple_TR: NDArray[np.int32], t: int) -> int:
    """Votes of the most frequent class of a tuple."""
    most = 0
    for r in range(tuple_TR.shape[1]):
        if tuple_TR[t, r] > 0:
            alike = 0
            for s in range(tuple_TR.shape[1]):
                alike += tuple_TR[t, s] == tuple_TR[t, r]
            most = max(most, alike)
    return most


@kernel
def _byte(share: float) -> np.uint64:
    # Rounding to 9 digits first: a value half way between two bytes must not hang on the last bit of a sum.
    return np.uint64(np.rint(np.rint(min(max(share, 0.0), 1.0) * 255.0 * 1e9) / 1e9))


@kernel
def spread(
    place_P: NDArray[np.int32], record_L: NDArray[Any], labels_P: LabelMap
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Records by place to four maps by pixel: fills `labels_P`; returns posterior, disagreement, disputed."""
    posterior_P = np.empty(place_P.size, np.uint8)
    against_P = np.empty(place_P.size, np.uint8)
    disputed_P = np.empty(place_P.size, np.bool_)
    record_B = np.empty(_BLOCK, record_L.dtype)
    # One look-up a pixel; then each map in its own loop, which runs many pixels at a time.
    for start in range(0, place_P.size, _BLOCK):
        end = min(start + _BLOCK, place_P.size)
        place_B, labels_B, posterior_B = place_P[start:end], labels_P[start:end], posterior_P[start:end]
        against_B, disputed_B = against_P[start:end], disputed_P[start:end]
        for i in range(end - start):
            record_B[i] = record_L[np.uint32(place_B[i])]
        for i in range(end - start):
            labels_B[i] = record_B[i] >> _LABEL_AT
        for i in range(end - start):
            posterior_B[i] = record_B[i]
        for i in range(end - start):
            against_B[i] = record_B[i] >> 8
        for i in range(end - start):
            disputed_B[i] = (record_B[i] >> 16) & 1
    return posterior_P, against_P, disputed_P


@kernel
def leaders(
    tuple_TR: NDArray[np.int32], order_R: NDArray[np.int64], weight_R: NDArray[np.float64], num_classes: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """As `lead` of the shares of the votes' weight, which are added up in the order given."""
    num_tuples, num_annotators = tuple_TR.shape
    winner_T = np.zeros(num_tuples, np.int32)
    share_T = np.zeros(num_tuples)
    tied_T = np.zeros(num_tuples, np.bool_)
    weight_K = np.zeros(num_classes + 1)
    # No branch by vote: which of them differ is not to be foretold.
    for t in range(num_tuples):
        total, best = 0.0, 0.0
        for r in order_R:
            index = np.uint32(tuple_TR[t, r])
            weight = weight_R[r] if index > 0 else 0.0
            total += weight
            weight += weight_K[index]
            weight_K[index] = weight
            best = max(best, weight)
        if total == 0.0:
            continue
        share_T[t] = best / total
        enough = best - TIE_MARGIN * total
        winner = np.uint32(0)
        for r in range(num_annotators):
            index = np.uint32(tuple_TR[t, r])
            winner = max(winner, index if weight_K[index] >= enough else np.uint32(0))
        tied = False
        for r in range(num_annotators):
            index = np.uint32(tuple_TR[t, r])
            tied |= (weight_K[index] >= enough) & (index != winner)
        for r in range(num_annotators):
            weight_K[np.uint32(tuple_TR[t, r])] = 0.0
        tied_T[t] = tied
        winner_T[t] = 0 if tied else winner
    return winner_T, share_T, tied_T


@kernel
def with_lead(
    tuple_TR: NDArray[np.int32],
    pixels_T: NDArray[np.int64],
    winner_T: NDArray[np.int32],
    led_T: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of the led tuples in which r votes, and in which r votes for the winner, int64 (R,) each."""
    num_tuples, num_annotators = tuple_TR.shape
    voted_R, agreed_R = np.zeros(num_annotators, np.int64), np.zeros(num_annotators, np.int64)
    for t in range(num_tuples):
        if led_T[t]:
            for r in range(num_annotators):
                voted_R[r] += pixels_T[t] * (tuple_TR[t, r] > 0)
                agreed_R[r] += pixels_T[t] * (tuple_TR[t, r] == winner_T[t])
    return voted_R, agreed_R


@kernel
def support(tuple_TR: NDArray[np.int32], weight_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the weight that votes as annotator r does, float64 (T, R), 0 where r abstains."""
    num_tuples, num_annotators = tuple_TR.shape
    support_TR = np.zeros((num_tuples, num_annotators))
    for t in range(num_tuples):
        total = 0.0
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                total += weight_R[r]
        for r in range(num_annotators):
            index = tuple_TR[t, r]
            # Filled already when an earlier annotator voted alike.
            if index > 0 and support_TR[t, r] == 0.0:
                weight = 0.0
                for s in range(r, num_annotators):
                    if tuple_TR[t, s] == index:
                        weight += weight_R[s]
                for s in range(r, num_annotators):
                    if tuple_TR[t, s] == index:
                        support_TR[t, s] = weight / total
    return support_TR


@kernel
def lead(
    tuple_TR: NDArray[np.int32], score_TR: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """The class with the best score, by tuple: (winner_T int32: 0 for a tie or no vote, best_T, tied_T).

    Scores closer than `TIE_MARGIN` tie.
    """
    num_tuples, num_annotators = tuple_TR.shape
    winner_T = np.zeros(num_tuples, np.int32)
    best_T = np.zeros(num_tuples)
    tied_T = np.zeros(num_tuples, np.bool_)
    for t in range(num_tuples):
        best = -1.0
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0:
                best = max(best, score_TR[t, r])
        if best < 0.0:
            continue
        best_T[t] = best
        for r in range(num_annotators):
            if tuple_TR[t, r] > 0 and score_TR[t, r] >= best - TIE_MARGIN:
                if winner_T[t] == 0:
                    winner_T[t] = tuple_TR[t, r]
                elif winner_T[t] != tuple_TR[t, r]:
                    tied_T[t] = True
        if tied_T[t]:
            winner_T[t] = 0
    return winner_T, best_T, tied_T


@kernel
def pair_scores(tuple_TR: NDArray[np.int32], pixels_T: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Mean IoU of each pair of annotators where both voted, float64 (R (R - 1) / 2,); nan where they never did."""
    num_tuples, num_annotators = tuple_TR.shape
    scores = np.full(num_annotators * (num_annotators - 1) // 2, np.nan)
    both_K = np.zeros(num_classes + 1, np.int64)
    sizes_K = np.zeros(num_classes + 1, np.int64)
    pair = 0
    for r in range(num_annotators):
        for s in range(r + 1, num_annotators):
            both_K[:] = 0
            sizes_K[:] = 0
            for t in range(num_tuples):
                first, second = tuple_TR[t, r], tuple_TR[t, s]
                if first > 0 and second > 0:
                    sizes_K[first] += pixels_T[t]
                    sizes_K[second] += pixels_T[t]
                    if first == second:
                        both_K[first] += pixels_T[t]
            total, num_used = 0.0, 0
            for k in range(1, num_classes + 1):
                if sizes_K[k] > 0:
                    total += both_K[k] / (sizes_K[k] - both_K[k])
                    num_used += 1
            if num_used > 0:
                scores[pair] = total / num_used
            pair += 1
    return scores


def warm() -> None:
    """Compile for uint8 and uint16 label maps."""
    tuple_TR, pixels_T = np.ones((1, 2), np.int32), np.ones(1, np.int64)
    winner_T, share_T, tied_T = leaders(tuple_TR, np.arange(2), np.ones(2), 1)
    lead(tuple_TR, support(tuple_TR, np.ones(2)))
    with_lead(tuple_TR, pixels_T, winner_T, contested(tuple_TR))
    for dtype in (np.uint8, np.uint16):
        ids: LabelMap = np.zeros(4, dtype=dtype)
        record_L = np.zeros(4, dtype=np.uint32 if ids.itemsize == 1 else np.uint64)
        records(tuple_TR, winner_T, share_T, tied_T, 0.6, ids, np.zeros(1, np.int64), record_L)
        spread(np.zeros(1, np.int32), record_L, ids[:1])
    pair_scores(tuple_TR, pixels_T, 1)
