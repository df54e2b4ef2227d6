"""Consensus: right where it can be worked out by hand, invariant where it must be, sound where STAPLE fails."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo_masks.consensus import Consensus, Method, agreement, consensus, merge_region
from terrazzo_masks.errors import ShapeMismatch, UnsupportedMask
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.measures import confusion, iou, mean_iou

VOTES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=8).flatmap(
    lambda shape: st.one_of(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)),
        hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 5, 300, 65534])),
    )
)
METHOD_NAMES = ("auto", "majority", "weighted", "anchored_staple", "dawid_skene", "staple")
ANY_METHOD = st.sampled_from(METHOD_NAMES)
NOT_FULL_FRAME = st.sampled_from(METHOD_NAMES[:-1])
OF_CONTESTED_PIXELS = st.sampled_from(METHOD_NAMES[:-2])
MAPS = ("labels", "posterior", "disputed", "disagreement")


def votes_of(*rows: str) -> LabelMap:
    """Votes of one annotator per row, one digit per pixel, on an image one pixel high."""
    return np.array([[[int(c) for c in row]] for row in rows], dtype=np.uint8)


def same(a: Consensus, b: Consensus) -> None:
    for name in MAPS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert (a.method, a.iterations, a.reason) == (b.method, b.iterations, b.reason)


def miou(truth_HW: LabelMap, labels_HW: LabelMap) -> float:
    return mean_iou(confusion(truth_HW, labels_HW, [int(c) for c in np.unique(truth_HW)]))


def test_a_majority_is_counted_pixel_by_pixel() -> None:
    found = consensus(votes_of("111120", "112200", "122300"), method="majority")
    #                           pixel 3 is a three-way tie, pixel 4 has one vote, pixel 5 none
    np.testing.assert_array_equal(found.labels, [[1, 1, 2, 0, 2, 0]])
    np.testing.assert_array_equal(found.posterior, [[255, 170, 170, 85, 255, 0]])
    np.testing.assert_array_equal(found.disagreement, [[0, 85, 85, 170, 0, 0]])
    np.testing.assert_array_equal(found.disputed, [[False, False, False, True, False, False]])
    assert found.class_ids == (1, 2, 3)
    assert found.method == "majority"
    assert found.labels.dtype == np.uint8


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_tie_is_disputed_and_no_class_id_decides_it(method: Method) -> None:
    found = consensus(votes_of("12", "21"), method=method)
    np.testing.assert_array_equal(found.labels, [[0, 0]])
    # Full-frame STAPLE starts from the majority: without one it explains nothing.
    np.testing.assert_array_equal(found.posterior, [[0, 0] if method == "staple" else [128, 128]])
    np.testing.assert_array_equal(found.disagreement, [[128, 128]])
    assert found.disputed.all()
    assert consensus(votes_of("2", "1"), method="majority").labels[0, 0] == 0
    assert consensus(votes_of("2", "1", "0")).disputed[0, 0]
    assert not consensus(votes_of("2", "1", "2")).disputed[0, 0]


def test_the_threshold_decides_what_a_weak_majority_is() -> None:
    votes = votes_of("2", "1", "2")
    assert consensus(votes, disputed_below=0.7).disputed[0, 0]
    assert not consensus(votes, disputed_below=2 / 3).disputed[0, 0]


def test_weights_decide_against_the_number_of_heads() -> None:
    votes = votes_of("12", "11", "11")
    found = consensus(votes, weights=[5.0, 1.0, 1.0])
    np.testing.assert_array_equal(found.labels, [[1, 2]])
    assert found.posterior[0, 1] == round(255 * 5 / 7)
    assert found.disagreement[0, 1] == 170
    assert "weights" in found.reason


def test_one_annotator_is_the_consensus() -> None:
    votes = votes_of("1203")
    for method in METHOD_NAMES:
        found = consensus(votes, method=method)
        np.testing.assert_array_equal(found.labels, votes[0])
        assert not found.disputed.any()


def test_the_confusion_of_each_annotator_is_in_the_caller_s_order() -> None:
    found = consensus(votes_of("1111222200", "1111222233", "2111222200"), method="majority")
    np.testing.assert_allclose(found.confusion[0], [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.confusion[1], np.eye(3))
    np.testing.assert_allclose(found.confusion[2], [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])


@given(votes=VOTES, method=ANY_METHOD, data=st.data())
@settings(deadline=None, max_examples=120)
def test_the_order_of_the_annotators_never_matters(votes: LabelMap, method: Method, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(votes))))
    weights = data.draw(st.none() | st.lists(st.sampled_from([0.1, 0.2, 0.3, 1.0]), min_size=8, max_size=8))
    given_weights = None if weights is None or method == "staple" else weights[: len(votes)]
    moved_weights = None if given_weights is None else [given_weights[r] for r in order]
    found = consensus(votes, method=method, weights=given_weights)
    moved = consensus(votes[order], method=method, weights=moved_weights)
    same(found, moved)
    np.testing.assert_array_equal(moved.confusion, found.confusion[order])


def test_the_order_of_unequal_weights_never_matters() -> None:
    votes, weight_R = votes_of("1", "2", "2"), np.array([0.2, 0.1, 0.3])
    for method in ("weighted", "anchored_staple", "dawid_skene"):
        found = consensus(votes, method=method, weights=weight_R.tolist())  # type: ignore[arg-type]
        for order in permutations(range(3)):
            there = list(order)
            moved = consensus(votes[there], method=method, weights=weight_R[there].tolist())  # type: ignore[arg-type]
            same(found, moved)
            np.testing.assert_array_equal(moved.confusion, found.confusion[there])


@given(votes=VOTES, method=OF_CONTESTED_PIXELS, padding=st.integers(1, 30), fill=st.sampled_from([0, 1, 3, 200]))
@settings(deadline=None, max_examples=80)
def test_padding_that_all_agree_on_never_matters(votes: LabelMap, method: Method, padding: int, fill: int) -> None:
    padded = np.pad(votes, ((0, 0), (padding, 2), (1, padding)), constant_values=fill)
    found, framed = consensus(votes, method=method), consensus(padded, method=method)
    inside = np.s_[padding:-2, 1:-padding]
    for name in MAPS:
        np.testing.assert_array_equal(getattr(framed, name)[inside], getattr(found, name), err_msg=name)
    assert framed.method == found.method
    assert (framed.labels[:padding] == fill).all()


def test_order_and_padding_do_not_matter_on_a_scene_where_staple_is_chosen(scenes) -> None:
    truth_HW = scenes.discs(120, 160)
    votes = np.stack([scenes.traced(truth_HW, 1), scenes.spam(truth_HW), scenes.traced(truth_HW, 2)])
    found = consensus(votes)
    assert found.method == "anchored_staple"
    for order in ([2, 1, 0], [1, 2, 0], [0, 2, 1]):
        same(found, consensus(votes[order]))
    padded = np.pad(votes, ((0, 0), (500, 0), (0, 500)), constant_values=1)
    np.testing.assert_array_equal(consensus(padded).labels[500:, :-500], found.labels)
    np.testing.assert_array_equal(consensus(padded).posterior[500:, :-500], found.posterior)


@given(votes=VOTES, method=NOT_FULL_FRAME)
@settings(deadline=None, max_examples=80)
def test_a_consensus_is_a_class_that_someone_voted_for_or_a_dispute(votes: LabelMap, method: Method) -> None:
    found = consensus(votes, method=method)
    voted = (votes > 0).any(axis=0)
    np.testing.assert_array_equal((found.labels > 0) | found.disputed, voted)
    decided = found.labels > 0
    assert ((votes == found.labels) | ~decided).any(axis=0).all()
    assert (found.posterior[~voted] == 0).all()
    assert found.labels.dtype == votes.dtype
    agreed = decided & ((votes == found.labels) | (votes == 0)).all(axis=0)
    assert (found.posterior[agreed] == 255).all()
    assert not found.disputed[agreed].any()
    sums = found.confusion.sum(axis=2)
    assert (np.isclose(sums, 1) | (sums == 0)).all()


@pytest.mark.parametrize("num_spammers", [1, 2])
def test_spammers_are_found_out(scenes, num_spammers: int) -> None:
    truth_HW = scenes.discs(200, 240)
    honest = [scenes.traced(truth_HW, 1.5) for _ in range(3 if num_spammers == 2 else 2)]
    votes = np.stack([*honest, *(scenes.spam(truth_HW) for _ in range(num_spammers))])
    found = consensus(votes)
    assert found.method == "anchored_staple"
    assert "outlier" in found.reason
    assert miou(truth_HW, found.labels) > miou(truth_HW, consensus(votes, method="majority").labels)
    diagonal = np.array([np.diag(matrix).mean() for matrix in found.confusion])
    assert diagonal[len(honest) :].max() < diagonal[: len(honest)].min() - 0.1


def test_a_lazy_annotator_who_marks_nothing_does_not_erase_the_objects(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    votes = np.stack([scenes.traced(truth_HW, 1), np.ones_like(truth_HW), scenes.traced(truth_HW, 1)])
    found = consensus(votes)
    assert found.method == "anchored_staple"
    assert miou(truth_HW, found.labels) > 0.9


def test_equally_good_annotators_are_fused_by_majority(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    votes = np.stack([scenes.traced(truth_HW, 1.5) for _ in range(3)])
    found = consensus(votes)
    assert (found.method, found.iterations) == ("majority", 0)
    assert "no annotator is an outlier" in found.reason
    assert miou(truth_HW, found.labels) > np.mean([miou(truth_HW, v) for v in votes])


def test_copied_submissions_do_not_become_two_perfect_annotators(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    poor = scenes.traced(truth_HW, 5)
    votes = np.stack([poor, poor, *(scenes.traced(truth_HW, 1) for _ in range(3))])
    found = consensus(votes)
    assert "copies counted once" in found.reason
    assert miou(truth_HW, found.labels) > miou(truth_HW, poor) + 0.1
    for method in ("anchored_staple", "dawid_skene"):
        modelled = consensus(votes, method=method)  # type: ignore[arg-type]
        alone = consensus(votes[1:], method=method)  # type: ignore[arg-type]
        assert miou(truth_HW, modelled.labels) > miou(truth_HW, poor) + 0.1
        assert abs(miou(truth_HW, modelled.labels) - miou(truth_HW, alone.labels)) < 0.01


def test_few_annotators_or_few_pixels_are_not_judged() -> None:
    assert "2 annotator(s)" in consensus(votes_of("12", "21")).reason
    assert consensus(votes_of("11", "11", "11")).reason == "no pixel is contested"
    assert "too few" in consensus(votes_of("121", "112", "211")).reason


def test_partial_submissions_count_where_they_are() -> None:
    left, right = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    left[:, :25], right[:, 15:] = 1, 2
    found = consensus(np.stack([left, right]))
    assert (found.labels[:, :15] == 1).all()
    assert (found.labels[:, 15:25] == 0).all()
    assert (found.labels[:, 25:] == 2).all()
    disputed_cols = np.flatnonzero(found.disputed.all(axis=0))
    np.testing.assert_array_equal(disputed_cols, np.arange(15, 25))


def test_a_given_prior_moves_what_the_votes_leave_open() -> None:
    votes = np.stack([np.full((20, 20), 1, np.uint8), np.full((20, 20), 2, np.uint8)])
    votes[:, ::2] = 1
    assert (consensus(votes, method="anchored_staple", prior={1: 0.01, 2: 0.99}).labels[1::2] == 2).all()
    assert (consensus(votes, method="anchored_staple", prior={1: 0.99, 2: 0.01}).labels[1::2] == 1).all()


def test_many_annotators_and_classes_do_not_overflow_the_packing() -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 400, (30, 12, 12)).astype(np.uint16)
    found = consensus(votes, method="majority")
    for y, x in [(0, 0), (3, 7), (11, 11)]:
        counts = np.bincount(votes[:, y, x][votes[:, y, x] > 0])
        leaders = np.flatnonzero(counts == counts.max())
        assert found.labels[y, x] == (leaders[0] if leaders.size == 1 else 0)
        assert found.disputed[y, x]
    for method in METHOD_NAMES:
        assert consensus(votes, method=method).labels.shape == (12, 12)


def test_a_multi_class_staple_keeps_a_rare_class_that_good_annotators_see(scenes) -> None:
    truth_HW = scenes.discs(200, 240, num_classes=3)
    truth_HW[100:112, 100:112] = 9
    blind = scenes.traced(truth_HW, 1)
    blind[blind == 9] = 1
    votes = np.stack([scenes.traced(truth_HW, 1), scenes.traced(truth_HW, 1), blind])
    for method in ("anchored_staple", "dawid_skene", "staple"):
        found = consensus(votes, method=method)  # type: ignore[arg-type]
        assert iou(confusion(truth_HW, found.labels, [1, 2, 3, 9]))[3] > 0.7


@pytest.mark.parametrize(
    ("votes", "options", "error"),
    [
        (np.zeros((3, 4), np.uint8), {}, ShapeMismatch),
        (np.zeros((65, 4, 4), np.uint8), {}, ShapeMismatch),
        (np.zeros((0, 4, 4), np.uint8), {}, ShapeMismatch),
        (np.zeros((2, 4, 4), np.int64), {}, UnsupportedMask),
        (np.full((2, 4, 4), 65535, np.uint16), {}, UnsupportedMask),
        (np.ones((2, 4, 4), np.uint8), {"method": "mean"}, UnsupportedMask),
        (np.ones((2, 4, 4), np.uint8), {"weights": [1.0]}, ShapeMismatch),
        (np.ones((2, 4, 4), np.uint8), {"weights": [1.0, 0.0]}, UnsupportedMask),
        (np.ones((2, 4, 4), np.uint8), {"weights": [1.0, float("nan")]}, UnsupportedMask),
        (votes_of("1", "2"), {"method": "anchored_staple", "prior": {7: 1.0}}, UnsupportedMask),
        (votes_of("1", "2"), {"method": "staple", "weights": [1.0, 2.0]}, UnsupportedMask),
        (votes_of("1", "2"), {"max_iterations": 0}, UnsupportedMask),
        (votes_of("1", "2"), {"num_classes": "majority"}, UnsupportedMask),
        (votes_of("1", "2"), {"num_classes": 0}, UnsupportedMask),
        (votes_of("1", "2"), {"abstain": -1}, UnsupportedMask),
        (np.full((2, 4, 4), 65534, np.uint16), {"abstain": None}, UnsupportedMask),
        (np.arange(2 * 12_000, dtype=np.uint16).reshape(2, 1, -1), {}, UnsupportedMask),
    ],
)
def test_bad_votes_are_refused(votes: np.ndarray, options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        consensus(votes, **options)


def test_a_class_id_beyond_their_number_is_named() -> None:
    votes = votes_of("120", "127")
    with pytest.raises(UnsupportedMask, match=r"class id 7: with num_classes 6 ids are 0\.\.6"):
        consensus(votes, 6)
    # Classes 1..7 beside 0, and classes 0..7: both ways of counting pass.
    assert consensus(votes, 7).class_ids == (1, 2, 7)
    assert consensus(votes, 8, abstain=None).class_ids == (0, 1, 2, 7)


def test_another_id_may_abstain_or_none() -> None:
    votes = votes_of("019", "009", "099")
    found = consensus(votes, abstain=9)
    np.testing.assert_array_equal(found.labels, [[0, 9, 9]])
    np.testing.assert_array_equal(found.disputed, [[False, True, False]])
    found = consensus(votes, abstain=None)
    np.testing.assert_array_equal(found.labels, [[0, 10, 9]])  # a tie has an id of its own where 0 is a class
    assert found.class_ids == (0, 1, 9)
    wide = consensus(np.array([[[255, 1]], [[254, 1]]], np.uint8), abstain=None)
    assert wide.labels.tolist() == [[256, 1]]


@given(votes=VOTES, method=ANY_METHOD)
@settings(deadline=None, max_examples=60)
def test_class_ids_are_names_alone(votes: LabelMap, method: Method) -> None:
    renamed_of = np.zeros(65536, np.uint16)
    renamed_of[[1, 2, 3, 5, 300, 65534]] = [300, 7, 2, 9, 1, 4]
    found, renamed = consensus(votes, method=method), consensus(renamed_of[votes], method=method)
    np.testing.assert_array_equal(renamed.labels, renamed_of[found.labels])
    np.testing.assert_array_equal(renamed.disputed, found.disputed)


@given(votes=VOTES, data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_majority_by_tiles_is_the_majority_of_the_whole(votes: LabelMap, data: st.DataObject) -> None:
    whole = consensus(votes, method="majority")
    row = data.draw(st.integers(0, votes.shape[1]))
    for tile in (np.s_[:row], np.s_[row:]):
        if votes[:, tile].size:
            part = consensus(np.ascontiguousarray(votes[:, tile]), method="majority")
            for name in MAPS:
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[tile], err_msg=name)


@given(votes=VOTES)
@settings(deadline=None, max_examples=100)
def test_a_majority_is_that_of_counting_each_pixel(votes: LabelMap) -> None:
    found = consensus(votes, method="majority")
    for y, x in np.ndindex(votes.shape[1:]):
        ids, counts = np.unique(votes[:, y, x][votes[:, y, x] > 0], return_counts=True)
        leaders = ids[counts == counts.max()] if ids.size else ids
        assert found.labels[y, x] == (leaders[0] if leaders.size == 1 else 0)
        assert found.disputed[y, x] == (leaders.size > 1 or (ids.size > 0 and counts.max() / counts.sum() < 0.6))
        assert found.posterior[y, x] == (round(255 * counts.max() / counts.sum()) if ids.size else 0)


def test_weights_are_learned_where_none_are_given(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    votes = np.stack([*(scenes.traced(truth_HW, 1.5) for _ in range(3)), scenes.spam(truth_HW)])
    found = consensus(votes, method="weighted")
    assert miou(truth_HW, found.labels) > miou(truth_HW, consensus(votes, method="majority").labels) + 0.005
    assert consensus(votes, method="majority", weights=[1, 1, 1, 3]).method == "weighted"


def test_dawid_skene_finds_the_confusion_of_independent_annotators() -> None:
    rng = np.random.default_rng(5)
    truth_HW = rng.choice(np.array([1, 2, 3], np.uint8), (300, 300), p=[0.5, 0.3, 0.2])
    planted = np.array(
        [
            [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]],
            [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]],
            [[0.7, 0.2, 0.1], [0.1, 0.85, 0.05], [0.2, 0.1, 0.7]],
            [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.6, 0.1, 0.3]],
            [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]],
        ]
    )
    draws = rng.random((5, 300, 300))
    votes = np.stack(
        [
            1 + (draw > np.cumsum(planted[r], axis=1)[truth_HW - 1].transpose(2, 0, 1)[:2]).sum(0)
            for r, draw in enumerate(draws)
        ]
    ).astype(np.uint8)
    found = consensus(votes, 3, "dawid_skene")
    np.testing.assert_allclose(found.confusion, planted, atol=0.06)
    right = np.mean(found.labels == truth_HW)
    assert right > np.mean(consensus(votes, method="majority").labels == truth_HW) + 0.02


def test_a_model_takes_over_once_and_copies_do_not_stop_it(scenes) -> None:
    """Two who mark nothing at all are copies of each other; they are one outlier, not two good annotators."""
    truth_HW = scenes.discs(200, 240)
    honest = [scenes.traced(truth_HW, 1.5) for _ in range(2)]
    votes = np.stack([*honest, np.ones_like(truth_HW), np.ones_like(truth_HW)])
    found = consensus(votes)
    assert found.method == "anchored_staple"
    assert miou(truth_HW, found.labels) > 0.85 > 0.5 > miou(truth_HW, consensus(votes, method="majority").labels)


def test_agreement_is_the_mean_pairwise_miou() -> None:
    votes = votes_of("1122", "1122", "1222")
    lower = np.mean([1 / 2, 2 / 3])
    assert agreement(votes) == pytest.approx(np.mean([1.0, lower, lower]))
    assert agreement(votes[:1]) == 1.0
    assert agreement(votes_of("1100", "0110")) == 1.0
    assert np.isnan(agreement(votes_of("1100", "0011")))
    assert agreement(votes) == agreement(votes[[2, 0, 1]])


def test_a_patch_is_merged_where_it_is_labelled() -> None:
    base_HW = np.full((4, 5), 2, np.uint8)
    merged_HW = merge_region(base_HW, np.array([[0, 300], [9, 0]], np.uint16), 1, 3)
    expected_HW = np.full((4, 5), 2)
    expected_HW[1, 4], expected_HW[2, 3] = 300, 9
    np.testing.assert_array_equal(merged_HW, expected_HW)
    assert merged_HW.dtype == np.uint16
    assert (base_HW == 2).all()
    with pytest.raises(ShapeMismatch, match="leaves a map"):
        merge_region(base_HW, np.ones((2, 2), np.uint8), 3, 0)
    with pytest.raises(ShapeMismatch):
        merge_region(base_HW, np.ones((2, 2), np.uint8), 0, -1)
