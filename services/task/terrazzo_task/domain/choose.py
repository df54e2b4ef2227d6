"""What is worth a person's time next: a pure, deterministic choice among unlabelled samples.

The candidates are first put into groups of like embeddings, and each group gets places in proportion to
its size: a batch looks like the pool that it is drawn from. Choosing by value alone takes the odd and
the cheap first and leaves later rounds what nobody wanted; with few labels what is typical also teaches
more than what is odd (Hacohen, Dekel & Weinshall, Active Learning on a Budget, ICML 2022). Within its
group a sample is worth, per second that it will cost:

    value = uncertainty x rarity x diversity / cost

- uncertainty: mean predictive entropy (0..1). Not its sum: training draws as many crops from a small
  image as from a large one, so that area is a cost and no value.
- rarity: the mean over the sample's predicted pixels of 1 / sqrt(frequency of the class), over all
  scored samples (the square root as in word2vec's subsampling: rare classes weigh more, common ones still count).
- diversity: half the cosine distance (0..1) to the nearest sample that is labelled, being labelled, or
  already chosen, as in the greedy k-center step of Sener & Savarese, Active Learning for Convolutional
  Neural Networks: A Core-Set Approach, ICLR 2018; but half of the pool's mean distance counts as far
  enough: copies are held back, outliers are not sought.
- cost: predicted seconds. A base for opening the task, looking the image over, and correcting: what the
  model is unsure of (mean entropy times area) is what a person will have to touch.

Random draws are orders by a keyed hash of the sample id (BLAKE2b), so they depend on the seed and the
ids alone, never on the order or number of the candidates given, nor on a library's generator. Ties go
by sample id.

N candidates, D embedding dimensions, C covered samples, G groups.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrazzo_task.domain import group
from terrazzo_task.domain.projects import ClassShare

COST_BASE_S = 10.0
COST_PER_MEGAPIXEL_S = 20.0
COST_PER_UNSURE_PX_S = 0.01
SAMPLES_PER_GROUP = 2
GROUPS_MAX = 64
FAR_SHARE = 0.5
MAX_PAIRS = 20_000_000
"""Distances computed at most for one choice: about a second of one core at 128 dimensions."""


@dataclass(frozen=True)
class Candidate:
    """An unlabelled sample of the train split. `entropy_mean` is None before its first prediction."""

    sample_id: str
    height: int
    width: int
    entropy_mean: float | None = None
    classes: tuple[ClassShare, ...] = ()
    embedding: tuple[float, ...] | NDArray[np.float32] = ()


@dataclass(frozen=True)
class Chosen:
    """`arm` is "active" or "random": the random arm is what honest measurement is made on."""

    sample_id: str
    arm: str


def choose(
    candidates: Sequence[Candidate],
    covered_embeddings: Sequence[NDArray[np.float32]],
    pixels_of_class: Mapping[int, int],
    *,
    size: int,
    strategy: str,
    random_share: float,
    seed: int,
) -> list[Chosen]:
    """At most `size` candidates, in the order in which they should be worked on.

    `covered_embeddings` are of samples that are labelled or being labelled. `pixels_of_class` are the predicted
    pixels of each class over all scored samples. Strategy "random" draws at random; so does "active" while there
    are no scores, but evenly over the sizes of the images.
    """
    by_id = sorted(candidates, key=lambda c: c.sample_id)
    drawn = draw([c.sample_id for c in by_id], seed, "random")
    if strategy == "random":
        return [Chosen(sample_id, "random") for sample_id in drawn[:size]]
    if all(c.entropy_mean is None for c in by_id):
        return [Chosen(sample_id, "random") for sample_id in draw_over_sizes(by_id, size, seed)]
    size = min(size, len(by_id))
    random_ids = drawn[: math.floor(random_share * size + 0.5)]
    taken = set(random_ids)
    rest = [c for c in by_id if c.sample_id not in taken]
    active = _greedy(rest, covered_embeddings, pixels_of_class, size - len(random_ids))
    return [Chosen(i, "active") for i in active] + [Chosen(i, "random") for i in random_ids]


def draw(sample_ids: Sequence[str], seed: int, purpose: str) -> list[str]:
    """All ids, in an order that looks random and is a pure function of (seed, purpose, id)."""
    key = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=32).digest()

    def rank(sample_id: str) -> tuple[bytes, str]:
        return hashlib.blake2b(sample_id.encode(), digest_size=16, key=key).digest(), sample_id

    return sorted(sample_ids, key=rank)


def draw_over_sizes(candidates: Sequence[Candidate], size: int, seed: int) -> list[str]:
    """`size` ids by systematic sampling along the images' areas: each is as likely, and sizes are in proportion.

    Before there is a model the size of an image is all that is known of what it will cost and show.
    """
    order = {sample_id: n for n, sample_id in enumerate(draw([c.sample_id for c in candidates], seed, "sizes"))}
    by_area = sorted(candidates, key=lambda c: (c.height * c.width, order[c.sample_id]))
    size = min(size, len(by_area))
    if size == 0:
        return []
    start = int.from_bytes(hashlib.blake2b(f"{seed}/start".encode(), digest_size=6).digest(), "big") % len(by_area)
    # Every len / size-th of the circle, from a random start.
    picked = [by_area[(start + n * len(by_area) // size) % len(by_area)].sample_id for n in range(size)]
    return sorted(picked, key=lambda sample_id: order[sample_id])


def with_several_annotators(sample_ids: Sequence[str], share: float, seed: int) -> set[str]:
    """Which of the chosen samples get several annotators: `share` of them, rounded up, so one if share > 0."""
    # A product like 0.07 * 100 is a hair over 7: that is no eighth sample.
    count = max(math.ceil(round(share * len(sample_ids), 9)), 1 if share > 0.0 else 0)
    return set(draw(sample_ids, seed, "several")[:count])


def cost_s(candidate: Candidate, entropy_mean: float) -> float:
    """Predicted human seconds: opening, looking the image over, correcting what the model is unsure of."""
    area_px = candidate.height * candidate.width
    unsure_px = entropy_mean * area_px
    return COST_BASE_S + COST_PER_MEGAPIXEL_S * area_px / 1e6 + COST_PER_UNSURE_PX_S * unsure_px


def values(candidates: Sequence[Candidate], pixels_of_class: Mapping[int, int]) -> NDArray[np.float64]:
    """uncertainty x rarity / cost of each candidate, (N,). One without a score counts as an average one."""
    total = sum(pixels_of_class.values())
    weight = {c: math.sqrt(total / pixels) for c, pixels in pixels_of_class.items() if pixels > 0}
    never_seen = math.sqrt(total) if total else 1.0

    def rarity(candidate: Candidate) -> float:
        share = sum(c.share for c in candidate.classes)
        if share <= 0.0:
            return 1.0
        return sum(c.share * weight.get(c.class_id, never_seen) for c in candidate.classes) / share

    scored = [c for c in candidates if c.entropy_mean is not None]
    entropy_typical = sum(c.entropy_mean or 0.0 for c in scored) / max(1, len(scored))
    rarity_typical = sum(map(rarity, scored)) / max(1, len(scored))
    out = np.empty(len(candidates), np.float64)
    for index, candidate in enumerate(candidates):
        is_scored = candidate.entropy_mean is not None
        entropy = candidate.entropy_mean if candidate.entropy_mean is not None else entropy_typical
        # A sample that the model is wholly sure of still has some value: models are overconfident.
        uncertainty = 0.01 + entropy
        out[index] = (
            uncertainty * (rarity(candidate) if is_scored else rarity_typical) / cost_s(candidate, entropy)
        )
    return out


def _greedy(
    candidates: Sequence[Candidate],
    covered_embeddings: Sequence[NDArray[np.float32]],
    pixels_of_class: Mapping[int, int],
    size: int,
) -> list[str]:
    """Take the best, then the best given what was taken, ... `candidates` come sorted by sample id.

    A group whose places are taken is out.
    """
    value_N = values(candidates, pixels_of_class)
    num_groups = max(1, min(GROUPS_MAX, size // SAMPLES_PER_GROUP))
    # Only as many of the most valuable compete as the budget of distances allows.
    num_pairs_each = size + num_groups * (group.ROUNDS_MAX + 1)
    num_kept = min(len(candidates), max(size, MAX_PAIRS // max(1, num_pairs_each)))
    kept = np.sort(np.argsort(-value_N, kind="stable")[:num_kept])
    value_N = value_N[kept]
    embeddings_ND, covered_CD = _embeddings([candidates[i] for i in kept], covered_embeddings)
    group_N = group.alike(embeddings_ND, num_groups)
    places_G = group.places(group_N, size)
    distance_N = _distance_to_nearest(embeddings_ND, covered_CD)
    far = FAR_SHARE * float(distance_N.mean()) if len(kept) else 0.0
    open_N = places_G[group_N] > 0
    chosen: list[str] = []
    for _ in range(min(size, len(kept))):
        score_N = np.where(open_N, value_N * np.minimum(distance_N, far), -1.0)
        best = int(np.argmax(score_N))
        if score_N[best] <= 0.0:
            best = int(np.argmax(np.where(open_N, value_N, -1.0)))  # only copies of what is covered are left
        chosen.append(candidates[kept[best]].sample_id)
        distance_N = np.minimum(distance_N, _half_cosine_distance(embeddings_ND, embeddings_ND[best]))
        value_N[best] = -1.0
        open_N[best] = False
        places_G[group_N[best]] -= 1
        if places_G[group_N[best]] == 0:
            open_N &= group_N != group_N[best]
    return chosen


def _embeddings(
    candidates: Sequence[Candidate], covered: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit rows (N, D) and (C, D). Where models differ in D the most common one counts; others get zero rows."""
    lengths = Counter(len(c.embedding) for c in candidates if len(c.embedding))
    dim = max(lengths, key=lambda d: (lengths[d], d)) if lengths else 1
    rows_ND = np.zeros((len(candidates), dim), np.float64)
    for index, candidate in enumerate(candidates):
        if len(candidate.embedding) == dim:
            rows_ND[index] = candidate.embedding
    usable = [row for row in covered if len(row) == dim]
    step = max(1, math.ceil(len(usable) * len(candidates) / MAX_PAIRS))
    covered_CD = np.asarray(usable[::step], np.float64).reshape(-1, dim)
    return _unit(rows_ND), _unit(covered_CD)


def _unit(rows_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    length_N1 = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND))[:, None]
    unit_ND: NDArray[np.float64] = np.divide(rows_ND, length_N1, out=np.zeros_like(rows_ND), where=length_N1 > 0.0)
    return unit_ND


def _distance_to_nearest(rows_ND: NDArray[np.float64], covered_CD: NDArray[np.float64]) -> NDArray[np.float64]:
    nearest_N = np.ones(len(rows_ND), np.float64)
    for covered_D in covered_CD:
        nearest_N = np.minimum(nearest_N, _half_cosine_distance(rows_ND, covered_D))
    return nearest_N


def _half_cosine_distance(rows_ND: NDArray[np.float64], one_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 - cosine) / 2, in 0..1. Without an embedding (a zero row) nothing is known to be near: 1."""
    if not one_D.any():
        return np.ones(len(rows_ND), np.float64)
    # einsum, not BLAS: its sum does not depend on the number of threads.
    distance_N = np.clip((1.0 - np.einsum("nd,d->n", rows_ND, one_D)) / 2.0, 0.0, 1.0)
    distance_N[~rows_ND.any(axis=1)] = 1.0
    return np.where(distance_N < 1e-9, 0.0, distance_N)
