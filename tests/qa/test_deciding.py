"""From submissions to accepted masks, by events."""

from __future__ import annotations

import numpy as np
import pytest

from terrazzo_schema.errors import NotKnownYet
from terrazzo_schema.events import (
    AdjudicationRequested,
    ConsensusReached,
    MaskAccepted,
    OntologyPublished,
    SubmissionChecked,
)
from terrazzo_schema.ontology import parse_ontology

from .conftest import SAMPLE, World, blocks

GROUND_AND_CAR = blocks("1111", "1221", "1221", "1111")


def test_a_single_clean_submission_is_accepted_as_it_is(world: World) -> None:
    event = world.submit(GROUND_AND_CAR)
    [checked] = world.said(SubmissionChecked)
    assert checked.passed
    [accepted] = world.said(MaskAccepted)
    assert accepted.mask_id == event.message.mask_id  # type: ignore[attr-defined]
    assert (accepted.decided_by, accepted.revision, accepted.sample_id) == ("single", 1, SAMPLE)
    assert list(accepted.submission_ids) == [checked.submission_id]
    assert {said.key for said in world.outbox()} == {SAMPLE}
    assert {said.causation_id for said in world.outbox()} == {event.id}


def test_an_event_that_comes_twice_is_handled_once(world: World) -> None:
    event = world.submit(GROUND_AND_CAR)
    world.handle(event)
    assert len(world.outbox()) == 2


def test_a_submission_under_a_second_event_id_is_still_one_submission(world: World) -> None:
    world.submit(GROUND_AND_CAR)
    world.submit(GROUND_AND_CAR)
    assert len(world.said(MaskAccepted)) == 1


def test_a_submission_before_its_project_is_tried_again_later(world_of) -> None:  # type: ignore[no-untyped-def]
    world = world_of()
    with pytest.raises(NotKnownYet):
        world.submit(GROUND_AND_CAR)
    world.create_project()
    world.submit(GROUND_AND_CAR)
    assert len(world.said(MaskAccepted)) == 1


@pytest.mark.parametrize(
    ("labels_HW", "code"),
    [
        (np.ones((8, 6), dtype=np.uint8), "wrong-size"),
        (np.full((8, 8), 9, dtype=np.uint8), "unknown-class"),
        (np.zeros((8, 8), dtype=np.uint8), "empty"),
        (None, "unreadable-mask"),
    ],
)
def test_a_mask_that_can_not_be_used_goes_back(world: World, labels_HW, code: str) -> None:  # type: ignore[no-untyped-def]
    world.submit(labels_HW, mask_id="f" * 64)
    [checked] = world.said(SubmissionChecked)
    assert not checked.passed
    assert checked.num_errors == 1
    assert code in checked.codes
    assert world.said(MaskAccepted) == []


def test_a_submission_without_a_mask_goes_back(world: World) -> None:
    world.submit(None, mask_id="")
    assert not world.said(SubmissionChecked)[0].passed


def test_three_votes_are_fused_and_accepted(world: World) -> None:
    odd = blocks("1111", "1221", "1222", "1111")
    for name, labels_HW in zip("abc", (GROUND_AND_CAR, GROUND_AND_CAR, odd), strict=True):
        world.submit(labels_HW, annotator_id=f"key_ann0000{name}", redundancy=3)
    [reached] = world.said(ConsensusReached)
    [accepted] = world.said(MaskAccepted)
    assert reached.num_votes == 3
    assert accepted.decided_by == "consensus"
    assert accepted.mask_id == reached.mask_id
    assert np.array_equal(world.peers.masks.stored[accepted.mask_id], GROUND_AND_CAR)
    assert len(accepted.submission_ids) == 3
    [(_, provenance)] = world.peers.masks.provenances
    assert provenance.source == "consensus"
    assert len(provenance.source_mask_ids) == 3


def test_votes_of_different_width_are_fused(world: World) -> None:
    wide = GROUND_AND_CAR.astype(np.uint16)
    for name, labels_HW in zip("abc", (GROUND_AND_CAR, wide, GROUND_AND_CAR), strict=True):
        world.submit(labels_HW, annotator_id=f"key_ann0000{name}", redundancy=3)
    assert len(world.said(MaskAccepted)) == 1


def test_nothing_is_decided_while_a_vote_is_missing(world: World) -> None:
    for name in "ab":
        world.submit(GROUND_AND_CAR, annotator_id=f"key_ann0000{name}", redundancy=3)
    assert world.said(MaskAccepted) == []
    # A second vote of the same person is none.
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000b", submission_id="sub_second000", redundancy=3)
    assert world.said(MaskAccepted) == []


def test_a_returned_submission_is_no_vote(world: World) -> None:
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000a", redundancy=2)
    world.submit(np.zeros((8, 8), dtype=np.uint8), annotator_id="key_ann0000b", redundancy=2)
    assert world.said(MaskAccepted) == []
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000b", submission_id="sub_second000", redundancy=2)
    [accepted] = world.said(MaskAccepted)
    assert "sub_second000" in accepted.submission_ids


def test_a_late_submission_is_checked_and_kept_but_does_not_vote(world: World) -> None:
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000a", redundancy=2)
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000b", redundancy=2, late=True)
    assert len(world.said(SubmissionChecked)) == 2
    assert world.said(MaskAccepted) == []
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000c", redundancy=2)
    [accepted] = world.said(MaskAccepted)
    assert len(accepted.submission_ids) == 2
    assert not any("ann0000b" in submission_id for submission_id in accepted.submission_ids)


def test_work_after_the_decision_is_kept_and_changes_nothing(world: World) -> None:
    world.submit(GROUND_AND_CAR, annotator_id="key_ann0000a")
    world.submit(blocks("1111", "1111", "1111", "1112"), annotator_id="key_ann0000b")
    assert len(world.said(SubmissionChecked)) == 2
    assert len(world.said(MaskAccepted)) == 1


def test_a_second_task_of_a_sample_raises_the_revision(world: World) -> None:
    world.submit(GROUND_AND_CAR)
    world.submit(GROUND_AND_CAR, task_id="tsk_other0001", submission_id="sub_other0001")
    assert [accepted.revision for accepted in world.said(MaskAccepted)] == [1, 2]


def test_a_new_ontology_holds_for_what_comes_after_it(world: World) -> None:
    pole = blocks("1111", "1771", "1771", "1111")
    world.submit(pole)
    wider = parse_ontology({"name": "w", "classes": [{"id": i, "name": f"c{i}"} for i in (1, 2, 3, 7)]})
    world.say(OntologyPublished(version=2, ontology_json=wider.to_json()))
    world.say(OntologyPublished(version=1, ontology_json="{}"))  # late, and ignored
    world.submit(pole, submission_id="sub_second000")
    assert [checked.passed for checked in world.said(SubmissionChecked)] == [False, True]


LEFT = blocks("1122", "1122", "1122", "1122")
RIGHT = blocks("1112", "1112", "1112", "1112")


def disputed(world: World) -> AdjudicationRequested:
    """Two voters who differ in the third column of blocks."""
    world.submit(LEFT, annotator_id="key_ann0000a", redundancy=2)
    world.submit(RIGHT, annotator_id="key_ann0000b", redundancy=2)
    [requested] = world.said(AdjudicationRequested)
    return requested  # type: ignore[no-any-return]


def test_a_disputed_vote_asks_for_one_more_person_and_the_disputed_region_alone(world_of) -> None:  # type: ignore[no-untyped-def]
    world = world_of()
    world.create_project('{"adjudicate_margin_px": 1}')
    requested = disputed(world)
    region = requested.region
    assert (region.y, region.x, region.height, region.width) == (0, 3, 8, 4)
    assert list(requested.annotator_ids) == ["key_ann0000a", "key_ann0000b"]
    assert len(requested.candidate_mask_ids) == 2
    assert world.said(MaskAccepted) == []


def test_the_adjudicator_decides_disputed_pixels_and_no_others(world: World) -> None:
    requested = disputed(world)
    decision = blocks("3322", "3322", "3312", "3302")
    event = world.submit(
        decision,
        kind="adjudicate",
        task_id="tsk_adjud0001",
        submission_id="sub_adjud0001",
        annotator_id="key_reviewer1",
        subject_id=requested.adjudication_id,
    )
    [accepted] = world.said(MaskAccepted)
    assert accepted.decided_by == "adjudication"
    assert accepted.task_id == requested.task_id
    assert list(accepted.submission_ids)[-1] == "sub_adjud0001"
    # The undisputed columns stay; a tie that the adjudicator leaves open too is unlabelled, by no class id.
    assert np.array_equal(world.peers.masks.stored[accepted.mask_id], blocks("1122", "1122", "1112", "1102"))
    assert world.peers.masks.provenances[-1][1].parent_mask_id == requested.mask_id
    world.handle(event)
    world.submit(LEFT, kind="adjudicate", submission_id="sub_adjud0002", subject_id=requested.adjudication_id)
    assert len(world.said(MaskAccepted)) == 1


def test_an_adjudication_of_the_wrong_size_goes_back_and_stays_open(world: World) -> None:
    requested = disputed(world)
    small = np.ones((2, 2), dtype=np.uint8)
    world.submit(small, kind="adjudicate", submission_id="sub_adjud0001", subject_id=requested.adjudication_id)
    assert not world.said(SubmissionChecked)[-1].passed
    assert world.said(MaskAccepted) == []
    world.submit(RIGHT, kind="adjudicate", submission_id="sub_adjud0002", subject_id=requested.adjudication_id)
    assert len(world.said(MaskAccepted)) == 1


def test_few_disputed_pixels_are_not_worth_a_person(world_of) -> None:  # type: ignore[no-untyped-def]
    world = world_of()
    world.create_project('{"adjudicate_disputed_share": 0.5}')
    world.submit(LEFT, annotator_id="key_ann0000a", redundancy=2)
    world.submit(RIGHT, annotator_id="key_ann0000b", redundancy=2)
    assert world.said(AdjudicationRequested) == []
    assert len(world.said(MaskAccepted)) == 1


def test_a_large_disputed_region_is_adjudicated_however_small_its_share(world_of) -> None:  # type: ignore[no-untyped-def]
    world = world_of()
    world.create_project('{"adjudicate_disputed_share": 0.5, "adjudicate_component_px": 16}')
    disputed(world)
