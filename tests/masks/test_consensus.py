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
METHODS = st.sampled_from(["auto", "majority", "staple"])


def votes_of(*rows: str) -> LabelMap:
    """Votes of one annotator per row, one digit per pixel, on an image one pixel high."""
    return np.array([[[int(c) for c in row]] for row in rows], dtype=np.uint8)


def same(a: Consensus, b: Consensus) -> None:
    for name in ("labels_HW", "posterior_HW", "disputed_HW", "disagreement_HW"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert (a.method, a.iterations, a.reason) == (b.method, b.iterations, b.reason)


def miou(truth_HW: LabelMap, labels_HW: LabelMap) -> float:
    return mean_iou(confusion(truth_HW, labels_HW, [int(c) for c in np.unique(truth_HW)]))


def test_a_majority_is_counted_pixel_by_pixel() -> None:
    found = consensus(votes_of("111120", "112200", "122300"), "majority")
    #                           pixel 3 is a three-way tie, pixel 4 has one vote, pixel 5 none
    np.testing.assert_array_equal(found.labels_HW, [[1, 1, 2, 1, 2, 0]])
    np.testing.assert_array_equal(found.posterior_HW, [[255, 170, 170, 85, 255, 0]])
    np.testing.assert_array_equal(found.disagreement_HW, [[0, 85, 85, 170, 0, 0]])
    np.testing.assert_array_equal(found.disputed_HW, [[False, False, False, True, False, False]])
    assert found.class_ids == (1, 2, 3)
    assert found.method == "majority"
    assert found.labels_HW.dtype == np.uint8


def test_a_tie_goes_to_the_lowest_class_and_is_disputed() -> None:
    found = consensus(votes_of("2", "1"))
    assert found.labels_HW[0, 0] == 1
    assert found.disputed_HW[0, 0]
    assert consensus(votes_of("2", "1", "0")).disputed_HW[0, 0]
    assert not consensus(votes_of("2", "1", "2")).disputed_HW[0, 0]


def test_the_threshold_decides_what_a_weak_majority_is() -> None:
    votes = votes_of("2", "1", "2")
    assert consensus(votes, disputed_below=0.7).disputed_HW[0, 0]
    assert not consensus(votes, disputed_below=2 / 3).disputed_HW[0, 0]


def test_weights_decide_against_the_number_of_heads() -> None:
    votes = votes_of("12", "11", "11")
    found = consensus(votes, weights=[5.0, 1.0, 1.0])
    np.testing.assert_array_equal(found.labels_HW, [[1, 2]])
    assert found.posterior_HW[0, 1] == round(255 * 5 / 7)
    assert found.disagreement_HW[0, 1] == 170
    assert "weights" in found.reason


def test_one_annotator_is_the_consensus() -> None:
    votes = votes_of("1203")
    for method in ("auto", "majority", "staple"):
        found = consensus(votes, method)
        np.testing.assert_array_equal(found.labels_HW, votes[0])
        assert not found.disputed_HW.any()


def test_the_confusion_of_each_annotator_is_in_the_caller_s_order() -> None:
    found = consensus(votes_of("1111222200", "1111222233", "2111222200"), "majority")
    np.testing.assert_allclose(found.confusion_RKK[0], [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.confusion_RKK[1], np.eye(3))
    np.testing.assert_allclose(found.confusion_RKK[2], [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])


@given(votes=VOTES, method=METHODS, data=st.data())
@settings(deadline=None, max_examples=120)
def test_the_order_of_the_annotators_never_matters(votes: LabelMap, method: Method, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(votes))))
    weights = data.draw(st.none() | st.lists(st.sampled_from([0.1, 0.2, 0.3, 1.0]), min_size=8, max_size=8))
    given_weights = None if weights is None else weights[: len(votes)]
    moved_weights = None if given_weights is None else [given_weights[r] for r in order]
    found = consensus(votes, method, weights=given_weights)
    moved = consensus(votes[order], method, weights=moved_weights)
    same(found, moved)
    np.testing.assert_array_equal(moved.confusion_RKK, found.confusion_RKK[order])


def test_the_order_of_unequal_weights_never_matters() -> None:
    votes, weight_R = votes_of("1", "2", "2"), np.array([0.2, 0.1, 0.3])
    found = consensus(votes, "staple", weights=weight_R.tolist())
    for order in permutations(range(3)):
        moved = consensus(votes[list(order)], "staple", weights=weight_R[list(order)].tolist())
        same(found, moved)
        np.testing.assert_array_equal(moved.confusion_RKK, found.confusion_RKK[list(order)])


@given(votes=VOTES, method=METHODS, padding=st.integers(1, 30), fill=st.sampled_from([0, 1, 3, 200]))
@settings(deadline=None, max_examples=80)
def test_padding_that_all_agree_on_never_matters(votes: LabelMap, method: Method, padding: int, fill: int) -> None:
    padded = np.pad(votes, ((0, 0), (padding, 2), (1, padding)), constant_values=fill)
    found, framed = consensus(votes, method), consensus(padded, method)
    inside = np.s_[padding:-2, 1:-padding]
    for name in ("labels_HW", "posterior_HW", "disputed_HW", "disagreement_HW"):
        np.testing.assert_array_equal(getattr(framed, name)[inside], getattr(found, name), err_msg=name)
    assert framed.method == found.method
    assert (framed.labels_HW[:padding] == fill).all()


def test_order_and_padding_do_not_matter_on_a_scene_where_staple_is_chosen(scenes) -> None:
    truth_HW = scenes.discs(120, 160)
    votes = np.stack([scenes.traced(truth_HW, 1), scenes.spam(truth_HW), scenes.traced(truth_HW, 2)])
    found = consensus(votes)
    assert found.method == "staple"
    for order in ([2, 1, 0], [1, 2, 0], [0, 2, 1]):
        same(found, consensus(votes[order]))
    padded = np.pad(votes, ((0, 0), (500, 0), (0, 500)), constant_values=1)
    np.testing.assert_array_equal(consensus(padded).labels_HW[500:, :-500], found.labels_HW)
    np.testing.assert_array_equal(consensus(padded).posterior_HW[500:, :-500], found.posterior_HW)


@given(votes=VOTES, method=METHODS)
@settings(deadline=None, max_examples=80)
def test_a_consensus_is_a_class_that_someone_voted_for(votes: LabelMap, method: Method) -> None:
    found = consensus(votes, method)
    voted = (votes > 0).any(axis=0)
    np.testing.assert_array_equal(found.labels_HW > 0, voted)
    assert ((votes == found.labels_HW) | ~voted).any(axis=0).all()
    assert (found.posterior_HW[~voted] == 0).all()
    assert found.labels_HW.dtype == votes.dtype
    agreed = voted & ((votes == found.labels_HW) | (votes == 0)).all(axis=0)
    assert (found.posterior_HW[agreed] == 255).all()
    assert not found.disputed_HW[agreed].any()
    sums = found.confusion_RKK.sum(axis=2)
    assert (np.isclose(sums, 1) | (sums == 0)).all()


def plain_staple(votes_RP: np.ndarray, iterations: int = 60) -> np.ndarray:
    """Two-class STAPLE as published, on all pixels that it is given, with the prior from all votes: bool (P,)."""
    prior = votes_RP.mean()
    sensitivity = np.full(len(votes_RP), 0.9)
    specificity = np.full(len(votes_RP), 0.9)
    for _ in range(iterations):
        seen, unseen = votes_RP, ~votes_RP
        if_object = prior * np.prod(np.where(seen, sensitivity[:, None], 1 - sensitivity[:, None]), axis=0)
        if_not = (1 - prior) * np.prod(np.where(unseen, specificity[:, None], 1 - specificity[:, None]), axis=0)
        w = if_object / np.maximum(if_object + if_not, 1e-300)
        sensitivity = (seen * w).sum(axis=1) / w.sum()
        specificity = (unseen * (1 - w)).sum(axis=1) / (1 - w).sum()
    return w > 0.5


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


def test_a_large_background_does_not_turn_the_consensus_into_a_union() -> None:
    truth_HW, votes = five_who_err_on_a_small_object()
    found = consensus(votes, "staple")
    judged = iou(confusion(truth_HW, found.labels_HW, [1, 2]))[1]
    majority = iou(confusion(truth_HW, consensus(votes, "majority").labels_HW, [1, 2]))[1]
    plain_HW = np.where(plain_staple(votes.reshape(5, -1) == 2), 2, 1).reshape(truth_HW.shape).astype(np.uint8)
    collapsed = iou(confusion(truth_HW, plain_HW, [1, 2]))[1]
    # The trap is real: a plain STAPLE on the full frame adds a quarter to the object.
    assert collapsed < majority - 0.1
    assert np.count_nonzero(plain_HW == 2) > 1.25 * np.count_nonzero(truth_HW == 2)
    assert judged > majority - 0.01
    assert np.count_nonzero(found.labels_HW == 2) < 1.05 * np.count_nonzero(truth_HW == 2)


def test_the_plain_full_frame_form_depends_on_padding_and_this_one_does_not() -> None:
    _, votes = five_who_err_on_a_small_object()
    crop = votes[:, 185:215, 185:215]
    plain_crop = plain_staple(crop.reshape(5, -1) == 2).reshape(crop.shape[1:])
    plain_full = plain_staple(votes.reshape(5, -1) == 2).reshape(votes.shape[1:])[185:215, 185:215]
    assert (plain_crop != plain_full).any()
    here_crop, here_full = consensus(crop, "staple"), consensus(votes, "staple")
    np.testing.assert_array_equal(here_crop.labels_HW, here_full.labels_HW[185:215, 185:215])


@pytest.mark.parametrize("num_spammers", [1, 2])
def test_spammers_are_found_out(scenes, num_spammers: int) -> None:
    truth_HW = scenes.discs(200, 240)
    honest = [scenes.traced(truth_HW, 1.5) for _ in range(3 if num_spammers == 2 else 2)]
    votes = np.stack([*honest, *(scenes.spam(truth_HW) for _ in range(num_spammers))])
    found = consensus(votes)
    assert found.method == "staple"
    assert "outlier" in found.reason
    assert miou(truth_HW, found.labels_HW) > miou(truth_HW, consensus(votes, "majority").labels_HW)
    diagonal = np.array([np.diag(matrix).mean() for matrix in found.confusion_RKK])
    assert diagonal[len(honest) :].max() < diagonal[: len(honest)].min() - 0.1


def test_a_lazy_annotator_who_marks_nothing_does_not_erase_the_objects(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    votes = np.stack([scenes.traced(truth_HW, 1), np.ones_like(truth_HW), scenes.traced(truth_HW, 1)])
    found = consensus(votes)
    assert found.method == "staple"
    assert miou(truth_HW, found.labels_HW) > 0.9


def test_equally_good_annotators_are_fused_by_majority(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    votes = np.stack([scenes.traced(truth_HW, 1.5) for _ in range(3)])
    found = consensus(votes)
    assert (found.method, found.iterations) == ("majority", 0)
    assert "no annotator is an outlier" in found.reason
    assert miou(truth_HW, found.labels_HW) > np.mean([miou(truth_HW, v) for v in votes])


def test_copied_submissions_do_not_become_two_perfect_annotators(scenes) -> None:
    truth_HW = scenes.discs(200, 240)
    poor = scenes.traced(truth_HW, 5)
    votes = np.stack([poor, poor, *(scenes.traced(truth_HW, 1) for _ in range(3))])
    found = consensus(votes)
    assert found.method == "majority"
    assert "copies" in found.reason
    assert miou(truth_HW, found.labels_HW) > miou(truth_HW, poor)


def test_few_annotators_or_few_pixels_are_not_judged() -> None:
    assert "2 annotator(s)" in consensus(votes_of("12", "21")).reason
    assert "copies" in consensus(votes_of("123", "123", "231")).reason
    assert consensus(votes_of("11", "11", "11")).reason == "no pixel is contested"
    assert "too few" in consensus(votes_of("121", "112", "211")).reason


def test_partial_submissions_count_where_they_are() -> None:
    left, right = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    left[:, :25], right[:, 15:] = 1, 2
    found = consensus(np.stack([left, right]))
    assert (found.labels_HW[:, :25] == 1).all()
    assert (found.labels_HW[:, 25:] == 2).all()
    disputed_cols = np.flatnonzero(found.disputed_HW.all(axis=0))
    np.testing.assert_array_equal(disputed_cols, np.arange(15, 25))


def test_a_given_prior_moves_what_the_votes_leave_open() -> None:
    votes = np.stack([np.full((20, 20), 1, np.uint8), np.full((20, 20), 2, np.uint8)])
    votes[:, ::2] = 1
    assert (consensus(votes, "staple", prior={1: 0.01, 2: 0.99}).labels_HW[1::2] == 2).all()
    assert (consensus(votes, "staple", prior={1: 0.99, 2: 0.01}).labels_HW[1::2] == 1).all()


def test_many_annotators_and_classes_do_not_overflow_the_packing() -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 400, (30, 12, 12)).astype(np.uint16)
    found = consensus(votes, "majority")
    for y, x in [(0, 0), (3, 7), (11, 11)]:
        counts = np.bincount(votes[:, y, x][votes[:, y, x] > 0])
        assert found.labels_HW[y, x] == counts.argmax()
    assert consensus(votes, "staple").labels_HW.shape == (12, 12)


def test_a_multi_class_staple_keeps_a_rare_class_that_good_annotators_see(scenes) -> None:
    truth_HW = scenes.discs(200, 240, num_classes=3)
    truth_HW[100:112, 100:112] = 9
    blind = scenes.traced(truth_HW, 1)
    blind[blind == 9] = 1
    votes = np.stack([scenes.traced(truth_HW, 1), scenes.traced(truth_HW, 1), blind])
    found = consensus(votes, "staple")
    assert iou(confusion(truth_HW, found.labels_HW, [1, 2, 3, 9]))[3] > 0.7


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
        (votes_of("1", "2"), {"method": "staple", "prior": {7: 1.0}}, UnsupportedMask),
    ],
)
def test_bad_votes_are_refused(votes: np.ndarray, options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        consensus(votes, **options)


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
