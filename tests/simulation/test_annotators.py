from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from terrazzo.simulation import annotators, scenes
from terrazzo.simulation.annotators import AnnotatorProfile, annotate, crew, draw, rng_for
from terrazzo.simulation.label_regions import fill_from_nearest, find_regions, unexplained_errors
from terrazzo_masks.consensus import consensus
from terrazzo_schema.ontology import Ontology

PERFECT = AnnotatorProfile("Perfect", 0, 10, 0, 50, 0, 1, 1, 0, 0, 1)


def flat(count: int) -> list[Any]:
    return [SimpleNamespace(id=class_id, parent_id=None) for class_id in range(1, count + 1)]


def mean_iou(truth_HW: NDArray[Any], mask_HW: NDArray[Any]) -> float:
    known_HW = truth_HW != 0
    shares = []
    for class_id in np.unique(truth_HW[known_HW]):
        a_HW, b_HW = (truth_HW == class_id) & known_HW, (mask_HW == class_id) & known_HW
        shares.append((a_HW & b_HW).sum() / (a_HW | b_HW).sum())
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def truths() -> list[NDArray[np.uint8]]:
    return [scenes.generate_scene(seed, 160, 224).labels_HW for seed in range(8)]


def test_a_crew_has_exactly_one_careless_annotator_from_three_on() -> None:
    for num in (1, 2, 3, 4, 9, 20):
        people = crew(num, seed=4)
        assert len({person.name for person in people}) == num
        assert sum(person.careless for person in people) == (1 if num >= 3 else 0)
        assert all(person.note for person in people)
    assert crew(5, 1) == crew(5, 1)
    assert crew(5, 1) != crew(5, 2)
    with pytest.raises(ValueError, match="0"):
        crew(0, 1)


def test_an_annotator_is_the_same_for_seed_annotator_and_sample_in_any_order(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    person, classes = crew(3, 0)[0], street_ontology.classes
    first = [annotate(t, None, person, rng_for(0, person.name, str(k)), classes) for k, t in enumerate(truths[:3])]
    last = annotate(truths[2], None, person, rng_for(0, person.name, "2"), classes)
    assert np.array_equal(first[2].labels_HW, last.labels_HW)
    assert first[2].seconds == last.seconds
    other = annotate(truths[2], None, person, rng_for(0, "someone else", "2"), classes)
    assert not np.array_equal(last.labels_HW, other.labels_HW)


def test_a_perfect_annotator_draws_the_truth_and_repairs_everything(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    truth_HW, rng = truths[0], np.random.default_rng(0)
    traced = annotate(truth_HW, None, PERFECT, rng, street_ontology.classes)
    assert traced.action == "traced"
    assert np.array_equal(traced.labels_HW, truth_HW)
    proposal_HW = truth_HW.copy()
    proposal_HW[30:60, 40:90] = 9
    corrected = annotate(truth_HW, proposal_HW, PERFECT, rng, street_ontology.classes)
    assert corrected.action == "corrected"
    assert np.array_equal(corrected.labels_HW, truth_HW)


def test_a_better_profile_is_nearer_to_the_truth(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    by_name = {p.name: p for p in crew(4, 0)}
    ladder = [annotators.reviewer_profile(), by_name["Ada"], by_name["Bruno"], by_name["Egon"]]
    scores = []
    for person in ladder:
        masks = [
            draw(t, person, rng_for(0, person.name, str(k)), street_ontology.classes)[0]
            for k, t in enumerate(truths)
        ]
        scores.append(float(np.mean([mean_iou(t, mask) for t, mask in zip(truths, masks, strict=True)])))
    assert scores == sorted(scores, reverse=True)
    assert scores[1] > 0.85
    assert 0.35 < scores[-1] < 0.75


def test_large_objects_are_drawn_at_the_overlap_that_people_reach(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    person = next(p for p in crew(4, 0) if p.name == "Bruno")
    shares = []
    for k, truth_HW in enumerate(truths):
        mask_HW, _ = draw(
            truth_HW, replace(person, confusion_prob=0.0), rng_for(0, "b", str(k)), street_ontology.classes
        )
        truly_HW, drawn_HW = truth_HW == 12, mask_HW == 12
        if truly_HW.sum() > 800:
            shares.append((truly_HW & drawn_HW).sum() / (truly_HW | drawn_HW).sum())
    assert 0.75 <= float(np.mean(shares)) <= 0.95


def test_the_majority_of_three_beats_the_mean_single_annotator(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    people = crew(3, 0)
    single, together = [], []
    for k, truth_HW in enumerate(truths):
        votes = [
            annotate(truth_HW, None, p, rng_for(0, p.name, str(k)), street_ontology.classes).labels_HW
            for p in people
        ]
        single += [mean_iou(truth_HW, vote_HW) for vote_HW in votes]
        together.append(mean_iou(truth_HW, consensus(np.stack(votes), method="majority").labels))
    assert np.mean(together) > np.mean(single) + 0.03


def test_correcting_a_proposal_brings_it_nearer_and_costs_less_than_tracing(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    person = crew(2, 0)[0]
    rough = replace(person, boundary_sigma_px=1.5, miss_small_prob=0.4, confusion_prob=0.05)
    for k, truth_HW in enumerate(truths[:5]):
        proposal_HW, _ = draw(truth_HW, rough, rng_for(7, "model", str(k)), street_ontology.classes)
        done = annotate(truth_HW, proposal_HW, person, rng_for(0, person.name, str(k)), street_ontology.classes)
        assert done.action == "corrected"
        assert mean_iou(truth_HW, done.labels_HW) > mean_iou(truth_HW, proposal_HW)
        assert done.seconds < done.from_nothing_seconds
        assert done.stats.errors_noticed > 0


def test_a_right_proposal_is_accepted_and_costs_far_less_than_tracing(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    for person in crew(4, 0):
        done = annotate(truths[1], truths[1].copy(), person, rng_for(0, person.name, "s"), street_ontology.classes)
        assert done.action == "accepted"
        assert np.array_equal(done.labels_HW, truths[1])
        assert done.seconds < 0.2 * done.from_nothing_seconds


def test_a_worthless_proposal_is_thrown_away(street_ontology: Ontology) -> None:
    truth_HW = scenes.generate_scene(3, 160, 224).labels_HW
    worthless_HW = scenes.generate_scene(99, 160, 224).labels_HW[::-1]
    person = crew(1, 0)[0]
    done = annotate(truth_HW, worthless_HW, person, rng_for(0, person.name, "s"), street_ontology.classes)
    assert done.action == "traced"
    # Starting over costs no more than a glance at the proposal.
    assert done.from_nothing_seconds < done.seconds < done.from_nothing_seconds + 5


def test_the_careless_annotator_leaves_more_errors_and_accepts_unread(
    truths: list[NDArray[np.uint8]], street_ontology: Ontology
) -> None:
    people = crew(4, 0)
    careless, careful = next(p for p in people if p.careless), next(p for p in people if p.name == "Ada")
    rough = replace(careful, boundary_sigma_px=2.5, miss_small_prob=0.5)
    wrong_px, accepted = {careless.name: 0, careful.name: 0}, {careless.name: 0, careful.name: 0}
    for k, truth_HW in enumerate(truths):
        proposal_HW, _ = draw(truth_HW, rough, rng_for(7, "model", str(k)), street_ontology.classes)
        for person in (careless, careful):
            done = annotate(
                truth_HW, proposal_HW, person, rng_for(0, person.name, str(k)), street_ontology.classes
            )
            wrong_px[person.name] += int((done.labels_HW != truth_HW).sum())
            accepted[person.name] += done.action == "accepted"
    assert wrong_px[careless.name] > 1.5 * wrong_px[careful.name]
    assert accepted[careless.name] > accepted[careful.name] == 0


def test_a_line_one_pixel_wide_is_missed_when_absent_and_left_when_one_pixel_off() -> None:
    truth_HW = np.ones((60, 60), np.uint8)
    truth_HW[:, 30] = 2
    shifted_HW, absent_HW = np.roll(truth_HW, 1, axis=1), np.ones_like(truth_HW)
    assert not unexplained_errors(truth_HW, shifted_HW, 1).any()
    assert np.array_equal(unexplained_errors(truth_HW, absent_HW, 1), truth_HW == 2)
    person = replace(PERFECT, tolerance_px=1)
    kept = annotate(truth_HW, shifted_HW, person, np.random.default_rng(0), flat(2))
    assert kept.action == "accepted"
    drawn = annotate(truth_HW, absent_HW, person, np.random.default_rng(0), flat(2))
    assert (drawn.labels_HW[:, 30] == 2).all()


def test_a_tolerant_person_is_strict_about_lines_and_about_nothing_else() -> None:
    truth_HW = np.ones((60, 60), np.uint8)
    truth_HW[:, 30] = 2
    truth_HW[20:40, 5:20] = 3
    person = replace(PERFECT, tolerance_px=3)
    proposal_HW = np.ones_like(truth_HW)
    proposal_HW[:, 33] = 2
    proposal_HW[22:42, 5:20] = 3
    done = annotate(truth_HW, proposal_HW, person, np.random.default_rng(0), flat(3))
    assert (done.labels_HW[:, 30] == 2).all(), "a line three pixels off is drawn anew"
    assert not (done.labels_HW[:, 33] == 2).any()
    assert (done.labels_HW[40:42, 5:20] == 3).all(), "an area two pixels off is left"


def test_lines_are_drawn_more_precisely_than_wide_regions_yet_worse_in_overlap() -> None:
    truth_HW = np.ones((200, 200), np.uint8)
    truth_HW[40:160, 40:160] = 2
    truth_HW[20, :] = 3
    person = replace(PERFECT, boundary_sigma_px=1.5, boundary_smoothness_px=14.0)
    masks = [draw(truth_HW, person, np.random.default_rng(k), flat(3))[0] for k in range(6)]
    line = [((m == 3) & (truth_HW == 3)).sum() / ((m == 3) | (truth_HW == 3)).sum() for m in masks]
    square = [((m == 2) & (truth_HW == 2)).sum() / ((m == 2) | (truth_HW == 2)).sum() for m in masks]
    assert 0.3 < np.mean(line) < np.mean(square)
    # The line stays a line: none of it strays further than three pixels.
    assert all(abs(np.argwhere(m == 3)[:, 0] - 20).max() <= 3 for m in masks)


def test_unlabelled_truth_stays_unlabelled_when_tracing_and_as_proposed_when_correcting() -> None:
    truth_HW = np.ones((80, 80), np.uint8)
    truth_HW[:, 40:] = 2
    truth_HW[20:60, 20:60] = 0
    assert (
        annotate(truth_HW, None, PERFECT, np.random.default_rng(0), flat(2)).labels_HW[20:60, 20:60] == 0
    ).all()
    proposal_HW = np.full((80, 80), 2, np.uint8)
    done = annotate(truth_HW, proposal_HW, PERFECT, np.random.default_rng(0), flat(2))
    assert (done.labels_HW[20:60, 20:60] == 2).all()
    assert (done.labels_HW[:, :20] == 1).all()


def test_whoever_misses_a_thing_misses_the_line_around_it() -> None:
    truth_HW = np.ones((60, 60), np.uint8)
    truth_HW[20:28, 20:28] = 3
    truth_HW[21:27, 21:27] = 2
    blind = replace(PERFECT, miss_small_prob=1.0, small_area_px=100)
    drawn_HW, stats = draw(truth_HW, blind, np.random.default_rng(0), flat(3))
    assert (drawn_HW == 1).all()
    assert stats.regions_missed == 2


def test_classes_are_confused_with_siblings_only_and_never_the_background(street_ontology: Ontology) -> None:
    truth_HW = np.full((90, 90), 2, np.uint8)
    truth_HW[10:30, 10:30], truth_HW[50:70, 50:70], truth_HW[10:30, 60:80] = 12, 9, 15
    confused = replace(PERFECT, confusion_prob=1.0)
    drawn_HW, stats = draw(truth_HW, confused, np.random.default_rng(0), street_ontology.classes)
    assert set(np.unique(drawn_HW[10:30, 10:30])) == {13}
    assert set(np.unique(drawn_HW[10:30, 60:80])) == {16}
    assert set(np.unique(drawn_HW[50:70, 50:70])) == {10}
    assert drawn_HW[0, 0] == 2
    assert stats.regions_confused == 3


@settings(deadline=None, max_examples=40)
@given(
    num_classes=st.integers(2, 150),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 2**16),
    blocks=st.booleans(),
    wide=st.booleans(),
)
def test_any_label_map_can_be_annotated(
    num_classes: int, height: int, width: int, seed: int, blocks: bool, wide: bool
) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.uint16 if wide else np.uint8
    cell = 7 if blocks else 1
    small_HW = rng.integers(0, num_classes + 1, (height // cell + 1, width // cell + 1))
    truth_HW: NDArray[Any] = np.kron(small_HW, np.ones((cell, cell), int))[:height, :width].astype(dtype)
    other_HW: NDArray[Any] = rng.integers(1, num_classes + 1, (height, width)).astype(dtype)
    for person in crew(3, seed):
        for proposal_HW in (None, other_HW):
            done = annotate(truth_HW, proposal_HW, person, rng_for(seed, person.name, "x"), flat(num_classes))
            assert done.labels_HW.shape == truth_HW.shape
            assert done.labels_HW.dtype == dtype
            assert int(done.labels_HW.max()) <= num_classes
            assert np.isfinite(done.seconds)
            assert done.seconds > 0


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        annotate(np.ones((4, 4), np.uint8), np.ones((4, 5), np.uint8), PERFECT, np.random.default_rng(0), flat(2))


def test_regions_know_their_class_area_and_thickness() -> None:
    labels_HW = np.zeros((20, 30), np.uint16)
    labels_HW[2:12, 2:12], labels_HW[15, :], labels_HW[5, 20] = 500, 7, 500
    regions = find_regions(labels_HW)
    assert len(regions) == 3
    assert regions.class_of[1:].tolist() == [7, 500, 500]
    assert regions.area_px[1:].tolist() == [30, 100, 1]
    assert regions.half_width_px[1] < 1 < 4 < regions.half_width_px[2] < 6
    assert np.array_equal(regions.index_HW != 0, labels_HW != 0)


def test_holes_are_filled_by_labelled_neighbours_only() -> None:
    labels_HW = np.array([[0, 1, 5, 2, 2]], np.uint8)
    assert fill_from_nearest(labels_HW, labels_HW == 1).tolist() == [[0, 5, 5, 2, 2]]
    assert fill_from_nearest(labels_HW, labels_HW > 0).tolist() == labels_HW.tolist()


def test_consensus_beats_single_annotators_on_real_nuclei(shared_data: Path | None) -> None:
    if shared_data is None or not (shared_data / "nuclei" / "class_masks").is_dir():
        pytest.skip("the nuclei masks are not on this machine")
    classes = [SimpleNamespace(id=1, parent_id=None)]
    classes += [SimpleNamespace(id=class_id, parent_id=9) for class_id in (2, 3)]
    people, single, together = crew(3, 0), [], []
    for path in sorted((shared_data / "nuclei" / "class_masks").glob("*.png"))[:6]:
        with Image.open(path) as image:
            truth_HW = np.asarray(image, np.uint8)[:360, :360] + np.uint8(1)
        votes = [annotate(truth_HW, None, p, rng_for(0, p.name, path.stem), classes).labels_HW for p in people]
        single += [mean_iou(truth_HW, vote_HW) for vote_HW in votes]
        together.append(mean_iou(truth_HW, consensus(np.stack(votes), method="majority").labels))
    assert np.mean(together) > np.mean(single)
