"""When a model of the annotators takes over from the majority vote (docs/decisions/0006).

The majority decides unless all of these hold, which make the model worth its assumptions:

- at least 3 annotators, copies counted once, and no weights that already say whom to trust;
- at least 100 contested pixels in which some class leads (fewer tell little about anybody);
- one annotator's agreement with the leading class of the contested pixels is below 0.6 of the median of the
  others'.

Annotators who agree in every one of 100 or more contested pixels are copies. To a model a copied submission would
be a second witness, and two of them perfect ones: copies share one annotator's weight.
"""

import numpy as np
from numpy.typing import NDArray

from terrazzo_masks.consensus.votes import VoteTable

OUTLIER_RATIO = 0.6
OUTLIER_PIXELS_MIN = 100


def shared_weights(table: VoteTable) -> NDArray[np.float64]:
    """float64 (R,): 1 / the number of copies of an annotator's votes, 1 for most."""
    contested_T = table.contested_T
    if int(table.pixels_T[contested_T].sum()) < OUTLIER_PIXELS_MIN:
        return np.ones(table.num_annotators)
    first_R = _first_alike(table)
    return 1.0 / np.bincount(first_R)[first_R]


def outlier(table: VoteTable, winner_T: NDArray[np.int32], weight_R: NDArray[np.float64]) -> tuple[bool, str]:
    """Whether the model takes over, and why or why not, in a sentence.

    `winner_T`: the class index that leads each tuple, 0 where none does, by `weight_R` from `shared_weights`.
    """
    num_distinct = round(float(np.sort(weight_R).sum()))
    copies = "" if num_distinct == table.num_annotators else ", copies counted once"
    if num_distinct < 3:
        return False, f"{num_distinct} annotator(s){copies}: an outlier shows only among 3 or more"
    contested_T = table.contested_T
    if not contested_T.any():
        return False, "no pixel is contested"
    led_T = contested_T & (winner_T > 0)
    num_pixels = int(table.pixels_T[led_T].sum())
    if num_pixels < OUTLIER_PIXELS_MIN:
        return False, f"{num_pixels} contested pixels: too few to judge annotators by"
    judged_R = agreement_with_lead(table, winner_T, led_T)
    if copies:
        judged_R = judged_R[np.unique(_first_alike(table))]
    if np.count_nonzero(~np.isnan(judged_R)) < 3:
        return False, "fewer than 3 annotators have enough contested pixels to be judged by"
    worst = int(np.nanargmin(judged_R))
    others = float(np.nanmedian(np.delete(judged_R, worst)))
    figures = (
        f"lowest agreement on contested pixels {judged_R[worst]:.2f}, median of the others {others:.2f}{copies}"
    )
    if judged_R[worst] < OUTLIER_RATIO * others:
        return True, f"one annotator is an outlier: {figures}"
    return False, f"no annotator is an outlier: {figures}"


def agreement_with_lead(
    table: VoteTable, winner_T: NDArray[np.int32], led_T: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """float64 (R,): share of the led pixels in which r votes for the lead; nan where r voted in too few."""
    from terrazzo_masks.kernels.vote_table import with_lead

    voted_R, agreed_R = with_lead(table.tuple_TR, table.pixels_T, winner_T, led_T)
    share_R: NDArray[np.float64] = np.where(
        voted_R >= OUTLIER_PIXELS_MIN, agreed_R / np.maximum(voted_R, 1), np.nan
    )
    return share_R


def _first_alike(table: VoteTable) -> NDArray[np.int64]:
    """int64 (R,): the first annotator with the same votes as r in all contested pixels."""
    rows = np.flatnonzero(table.contested_T)
    # Mostly the first tuples tell annotators apart.
    for some in (rows[:256], rows):
        columns = [column_T.tobytes() for column_T in table.tuple_TR[some].T]
        if len(set(columns)) == len(columns):
            break
    return np.array([columns.index(column) for column in columns])
