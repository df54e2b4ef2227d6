"""Where STAPLE fails, each trap with its negative control; and that `staple` is what ITK computes.

The controls run `method="staple"`, the full-frame definition: a trap that it did not fall into would test nothing.
"""

from __future__ import annotations

import hashlib
from typing import get_args

import numpy as np
import pytest

from terrazzo_masks.consensus import Consensus, Method, consensus
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import confusion, iou, mean_iou


def miou(truth_HW: LabelMap, labels_HW: LabelMap) -> float:
    return mean_iou(confusion(truth_HW, labels_HW, [int(c) for c in np.unique(truth_HW)]))


def five_who_err_on_a_small_object() -> tuple[LabelMap, LabelMap]:
    """A small object in a large frame; around it a fifth of each annotator's pixels are wrong."""
    rng = np.random.default_rng(3)
    truth_HW = np.ones((400, 400), np.uint8)
    truth_HW[190:210, 190:210] = 2
    votes = np.repeat(truth_HW[None], 5, axis=0)
    near = np.zeros_like(truth_HW, dtype=np.bool_)
    near[185:215, 185:215] = True
    for r in range(5):
        wrong = near & (rng.random(truth_HW.shape) < 0.2)
        votes[r][wrong] = 3 - votes[r][wrong]
    return truth_HW, votes


def on_contested_pixels_alone(votes: LabelMap) -> LabelMap:
    """Full-frame STAPLE of the contested pixels as if they were the image; the others are agreed upon."""
    contested = (votes != votes[0]).any(axis=0)
    fused_HW = votes[0].copy()
    fused_HW[contested] = consensus(np.ascontiguousarray(votes[:, contested][:, None]), method="staple").labels[0]
    return fused_HW


def test_a_large_background_does_not_turn_the_consensus_into_a_union() -> None:
    truth_HW, votes = five_who_err_on_a_small_object()
    num_true = np.count_nonzero(truth_HW == 2)
    labels = {method: consensus(votes, 2, method).labels for method in get_args(Method)}
    of_object = {name: iou(confusion(truth_HW, labels_HW, [1, 2]))[1] for name, labels_HW in labels.items()}
    # The trap is real: on the full frame STAPLE adds a quarter to the object.
    assert of_object["staple"] < of_object["majority"] - 0.1
    assert np.count_nonzero(labels["staple"] == 2) > 1.25 * num_true
    for method in ("auto", "anchored_staple"):
        assert of_object[method] > of_object["majority"] - 0.01
        assert np.count_nonzero(labels[method] == 2) < 1.05 * num_true
    assert of_object["dawid_skene"] > of_object["staple"] + 0.02


def test_padding_changes_the_full_frame_form_and_not_the_consensus() -> None:
    _, votes = five_who_err_on_a_small_object()
    tight = np.s_[185:215, 185:215]
    crop = np.ascontiguousarray(votes[:, 185:215, 185:215])
    assert (consensus(crop, method="staple").labels != consensus(votes, method="staple").labels[tight]).any()
    for method in ("auto", "majority", "weighted", "anchored_staple", "dawid_skene"):
        # Dawid and Skene's estimate wants as many agreed pixels of the background as are contested.
        inside = np.s_[170:230, 170:230] if method == "dawid_skene" else tight
        crop = np.ascontiguousarray(votes[:, *inside])
        here, there = consensus(crop, method=method), consensus(votes, method=method)  # type: ignore[arg-type]
        np.testing.assert_array_equal(here.labels, there.labels[inside])
        np.testing.assert_array_equal(here.posterior, there.posterior[inside])


def test_two_who_flood_the_image_invert_full_frame_staple_and_not_the_consensus(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    honest = [scenes.traced(truth_HW, 1.5) for _ in range(2)]
    votes = np.stack([*honest, np.full_like(truth_HW, 2), np.full_like(truth_HW, 2)])
    full, found = consensus(votes, method="staple"), consensus(votes)
    # It trusts the flood: hardly a pixel of the background is left, and the honest come out as the ones who err.
    assert np.mean(full.labels[truth_HW == 1] == 1) < 0.1
    assert np.diag(full.confusion[0]).mean() < 0.5
    assert np.mean(found.labels[truth_HW == 1] == 1) > 0.95
    assert miou(truth_HW, found.labels) > np.mean([miou(truth_HW, vote) for vote in honest]) - 0.02


@pytest.mark.parametrize("spam", ["nothing", "flood"])
def test_the_contested_region_alone_fails_with_a_spammer_and_the_consensus_does_not(scenes, spam: str) -> None:
    truth_HW = scenes.discs(200, 240)
    honest = [scenes.traced(truth_HW, 1.5) for _ in range(3)]
    votes = np.stack([*honest, np.full_like(truth_HW, 1 if spam == "nothing" else 2)])
    single = np.mean([miou(truth_HW, vote) for vote in honest])
    assert miou(truth_HW, on_contested_pixels_alone(votes)) < single
    found = consensus(votes)
    assert found.method == "anchored_staple"
    assert miou(truth_HW, found.labels) > single + 0.02


def seeded_votes(seed: int, num_annotators: int, num_classes: int) -> LabelMap:
    """Blocks of `num_classes` classes, 0 one of them; each annotator errs more than the one before."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, num_classes, (8, 12)).astype(np.uint8)
    truth_HW = np.repeat(np.repeat(coarse, 8, 0), 8, 1)
    votes = []
    for r in range(num_annotators):
        vote_HW = truth_HW.copy()
        wrong = rng.random(vote_HW.shape) < 0.05 + 0.08 * r
        vote_HW[wrong] = rng.integers(0, num_classes, int(wrong.sum()))
        votes.append(vote_HW)
    return np.stack(votes)


@pytest.mark.parametrize(
    ("seed", "num_annotators", "num_classes", "digest"),
    [
        (1, 3, 4, "2a521a892bace55d"),
        (2, 4, 3, "9e510c7a3348ce13"),
        (3, 5, 6, "f767360428876e54"),
        (4, 9, 12, "a162addda527e41e"),
    ],
)
def test_staple_gives_the_labels_of_itk(seed: int, num_annotators: int, num_classes: int, digest: str) -> None:
    """The digests are of what SimpleITK 2.5.7 (ITK 5.4) made of the same votes; ties among four included."""
    votes = seeded_votes(seed, num_annotators, num_classes)
    found = consensus(votes, num_classes, "staple", abstain=None)
    assert hashlib.sha256(found.labels.tobytes()).hexdigest()[:16] == digest


def of_every_pixel(votes: LabelMap, iterations: int) -> LabelMap:
    """The same definition written out pixel by pixel, without a table: labels (H, W), 0 for undecided."""
    votes_RP = votes.reshape(len(votes), -1).astype(np.int64) - 1
    num_classes = int(votes.max())
    heads_KP = (votes_RP[None] == np.arange(num_classes)[:, None, None]).sum(axis=1)
    decided_P = (heads_KP == heads_KP.max(axis=0)).sum(axis=0) == 1
    truth_KP = (heads_KP.argmax(axis=0) == np.arange(num_classes)[:, None]) & decided_P
    hot_RKP = (votes_RP[:, None] == np.arange(num_classes)[:, None]).astype(np.float64)
    given = hot_RKP @ truth_KP.T.astype(np.float64)
    given /= np.maximum(given.sum(axis=2, keepdims=True), 1)
    prior_K = np.bincount(votes_RP.ravel(), minlength=num_classes) / votes_RP.size
    for _ in range(iterations + 1):
        joint_KP = prior_K[:, None] * np.prod([given[r][v].T for r, v in enumerate(votes_RP)], axis=0)
        posterior_KP = joint_KP / joint_KP.sum(axis=0)
        given = hot_RKP @ posterior_KP.T
        given /= given.sum(axis=1, keepdims=True)
    best_P = np.where(np.isclose(posterior_KP, posterior_KP.max(axis=0), rtol=1e-9).sum(axis=0) == 1, 1, 0)
    return (best_P * (posterior_KP.argmax(axis=0) + 1)).reshape(votes.shape[1:])  # type: ignore[no-any-return]


@pytest.mark.parametrize(("seed", "num_annotators", "num_classes"), [(5, 3, 3), (6, 5, 4), (7, 9, 5), (10, 6, 3)])
def test_staple_on_the_table_is_staple_pixel_by_pixel(seed: int, num_annotators: int, num_classes: int) -> None:
    votes = seeded_votes(seed, num_annotators, num_classes) + np.uint8(1)
    found = consensus(votes, num_classes, "staple")
    assert found.iterations > 3
    np.testing.assert_array_equal(found.labels, of_every_pixel(votes, found.iterations))


def test_staple_leaves_out_who_abstains() -> None:
    votes = seeded_votes(8, 5, 4) + np.uint8(1)
    partial = np.concatenate([votes, np.zeros_like(votes[:2])])
    same: list[Consensus] = [consensus(v, 4, "staple") for v in (votes, partial)]
    np.testing.assert_array_equal(same[0].labels, same[1].labels)
    votes[0, :, :40] = 0
    found = consensus(votes, 4, "staple")
    assert (found.labels > 0).all()
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1)


@pytest.mark.parametrize("num_classes", [29, 3])  # alone, and multiplied out in pairs
def test_staple_counts_hundreds_of_unlikely_votes_without_running_out_of_numbers(num_classes: int) -> None:
    rng = np.random.default_rng(9)
    truth_HW = rng.integers(1, num_classes + 1, (40, 50)).astype(np.uint8)
    votes = np.repeat(truth_HW[None], 64, axis=0)
    wrong = rng.random(votes.shape) < 0.7
    votes[wrong] = rng.integers(1, num_classes + 1, int(wrong.sum()))
    found = consensus(votes, num_classes, "staple")
    assert np.mean(found.labels == truth_HW) > 0.99
