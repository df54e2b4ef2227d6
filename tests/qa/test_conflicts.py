"""Conflicts of merges: asked about once, ruled on once, withdrawn when nobody needs the ruling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo_masks.merge import merge_labels
from terrazzo_qa.domain.records import Region as RegionRecord
from terrazzo_qa.domain.voting import settle_conflict
from terrazzo_schema.errors import CorruptInput, NotKnownYet
from terrazzo_schema.events import (
    AdjudicationRequested,
    AdjudicationWithdrawn,
    ConflictDecided,
    ConflictFound,
    ConflictWithdrawn,
    MaskAccepted,
    Region,
    SampleRef,
    SubmissionChecked,
)

from .conftest import SAMPLE, World, blocks

BASE = blocks("1111", "1111")
OURS = blocks("2221", "1111")
THEIRS = blocks("1332", "1113")
# What could be merged: ours in the two blocks in conflict, theirs where they alone painted.
MERGED = blocks("2222", "1113")
WITHDRAWN = ConflictWithdrawn(conflict_id="cfl_00000001", merge_id="mrg_00000001", sample_id=SAMPLE)


def found(world: World, base: bool = True) -> ConflictFound:
    masks = world.peers.masks
    return ConflictFound(
        conflict_id="cfl_00000001",
        merge_id="mrg_00000001",
        sample=SampleRef(sample_id=SAMPLE, image_hash="a" * 64, height=4, width=8),
        region=Region(y=0, x=2, height=2, width=4),
        base_mask_id=masks.add(BASE) if base else "",
        ours_mask_id=masks.add(OURS),
        theirs_mask_id=masks.add(THEIRS),
        merged_mask_id=masks.add(MERGED),
        num_pixels=8,
    )


def removed(world: World, side: str) -> ConflictFound:
    """One side removed the sample; the other painted it."""
    masks = world.peers.masks
    left = masks.add(THEIRS if side == "ours" else OURS)
    return ConflictFound(
        conflict_id="cfl_00000001",
        merge_id="mrg_00000001",
        sample=SampleRef(sample_id=SAMPLE, image_hash="a" * 64, height=4, width=8),
        region=Region(height=4, width=8),
        base_mask_id=masks.add(BASE),
        ours_mask_id="" if side == "ours" else left,
        theirs_mask_id=left if side == "ours" else "",
        merged_mask_id=left,
    )


def rule(world: World, labels: np.ndarray | None, who: str = "key_judge0001", **more: Any) -> None:
    world.submit(
        labels,
        **more,
        kind="adjudicate",
        task_id="tsk_adj00001",
        batch_id="bat_00000001",
        subject_id="adj_00000001",
        annotator_id=who,
        shape=(4, 8),
    )


def test_a_conflict_is_asked_about_once_with_both_sides(world: World) -> None:
    for _ in range(2):
        world.say(found(world), key=SAMPLE)
    [asked] = world.said(AdjudicationRequested)
    masks = world.peers.masks
    assert (asked.adjudication_id, asked.merge_id, asked.task_id, asked.batch_id) == (
        "adj_00000001", "mrg_00000001", "", "",
    )  # fmt: skip
    assert asked.candidate_mask_ids == [masks.add(OURS), masks.add(THEIRS)]
    assert (asked.mask_id, asked.base_mask_id) == (masks.add(MERGED), masks.add(BASE))
    assert (asked.region.x, asked.region.width) == (2, 4)


def test_whose_work_is_on_a_side_may_not_judge_it(world: World) -> None:
    world.submit(OURS, annotator_id="key_ours0001", shape=(4, 8))
    world.submit(BASE, annotator_id="key_other001", shape=(4, 8), task_id="tsk_2", submission_id="sub_2")
    world.say(found(world), key=SAMPLE)
    assert world.said(AdjudicationRequested)[0].annotator_ids == ["key_ours0001"]


def test_the_ruling_counts_in_the_conflict_alone_and_is_no_acceptance(world: World) -> None:
    world.say(found(world), key=SAMPLE)
    rule(world, blocks("3323", "3333"))
    [decided] = world.said(ConflictDecided)
    assert (decided.conflict_id, decided.decided_by) == ("cfl_00000001", "key_judge0001")
    assert (world.peers.masks.stored[decided.mask_id] == blocks("2322", "1113")).all()
    assert world.said(MaskAccepted) == []
    mask_id, provenance = world.peers.masks.provenances[-1]
    assert (mask_id, provenance.source, provenance.actor) == (decided.mask_id, "adjudication", "key_judge0001")
    assert provenance.source_mask_ids == [world.peers.masks.add(OURS), world.peers.masks.add(THEIRS)]


def test_the_first_ruling_stands_and_later_work_is_checked_all_the_same(world: World) -> None:
    world.say(found(world), key=SAMPLE)
    rule(world, blocks("2222", "1111"))
    rule(world, blocks("3333", "3333"), who="key_judge0002")
    assert len(world.said(ConflictDecided)) == 1
    assert len(world.said(SubmissionChecked)) == 2


def test_work_that_can_not_be_used_goes_back_and_the_conflict_stays_open(world: World) -> None:
    world.say(found(world), key=SAMPLE)
    rule(world, blocks("9999", "9999"))
    assert not world.said(SubmissionChecked)[0].passed
    assert world.said(ConflictDecided) == []
    rule(world, blocks("3333", "3333"), who="key_judge0002")
    assert len(world.said(ConflictDecided)) == 1


def test_both_sides_may_have_added_the_sample(world: World) -> None:
    world.say(found(world, base=False), key=SAMPLE)
    rule(world, blocks("3333", "3333"))
    # From nothing, every pixel on which they differ is in conflict; the region is all that was asked about.
    settled = world.peers.masks.stored[world.said(ConflictDecided)[0].mask_id]
    assert (settled == blocks("2332", "1113")).all()


def test_a_conflict_that_was_withdrawn_is_not_ruled_on(world: World) -> None:
    with pytest.raises(NotKnownYet):
        world.say(WITHDRAWN, key=SAMPLE)
    world.say(found(world), key=SAMPLE)
    for _ in range(2):
        world.say(WITHDRAWN, key=SAMPLE)
    assert len(world.said(AdjudicationWithdrawn)) == 1
    rule(world, blocks("3333", "3333"))
    assert world.said(ConflictDecided) == []
    assert len(world.said(SubmissionChecked)) == 1


def test_a_ruling_that_came_first_is_not_withdrawn(world: World) -> None:
    world.say(found(world), key=SAMPLE)
    rule(world, blocks("3333", "3333"))
    world.say(WITHDRAWN, key=SAMPLE)
    assert world.said(AdjudicationWithdrawn) == []


def test_the_api_shows_whose_merge_waits(world: World, http) -> None:
    world.say(found(world), key=SAMPLE)
    [row] = http().get("/v1/adjudications/prj_test0001").json()["items"]
    assert (row["merge_id"], row["task_id"], row["state"]) == ("mrg_00000001", "cfl_00000001", "open")
    world.say(WITHDRAWN, key=SAMPLE)
    assert http().get("/v1/adjudications/prj_test0001/adj_00000001").json()["state"] == "withdrawn"


@pytest.mark.parametrize(("side", "left"), [("ours", THEIRS), ("theirs", OURS)])
def test_of_a_sample_that_one_side_removed_the_other_is_shown(world: World, side: str, left: np.ndarray) -> None:
    for _ in range(2):
        world.say(removed(world, side), key=SAMPLE)
    [asked] = world.said(AdjudicationRequested)
    masks = world.peers.masks
    assert (asked.removed_by, asked.candidate_mask_ids, asked.mask_id) == (
        side,
        [masks.add(left)],
        masks.add(left),
    )
    assert asked.base_mask_id == masks.add(BASE)
    assert (asked.region.height, asked.region.width) == (4, 8)


def test_whose_work_is_on_the_side_that_is_left_may_not_judge_it(world: World) -> None:
    world.submit(OURS, annotator_id="key_ours0001", shape=(4, 8))
    world.say(removed(world, "theirs"), key=SAMPLE)
    assert world.said(AdjudicationRequested)[0].annotator_ids == ["key_ours0001"]


def test_removing_the_sample_is_a_ruling_and_the_first_one_stands(world: World, http: Any) -> None:
    world.say(removed(world, "ours"), key=SAMPLE)
    work = world.work(
        None, kind="adjudicate", task_id="tsk_adj00001", subject_id="adj_00000001", verdict="remove", shape=(4, 8)
    )
    event = world.say(work, key=SAMPLE)
    world.handle(event)  # delivered again
    world.say(work, key=SAMPLE)  # and said again
    rule(world, THEIRS, who="key_judge0002")
    [decided] = world.said(ConflictDecided)
    assert (decided.removed, decided.mask_id, decided.conflict_id) == (True, "", "cfl_00000001")
    assert (decided.decided_by, decided.submission_id) == (work.annotator_id, work.submission_id)
    assert [checked.passed for checked in world.said(SubmissionChecked)] == [True, True]
    assert world.said(MaskAccepted) == []
    row = http().get("/v1/adjudications/prj_test0001/adj_00000001").json()
    assert (row["state"], row["mask_id"], row["removed_by"]) == ("decided", None, "ours")
    assert row["base_mask_id"] == world.peers.masks.add(BASE)


def test_keeping_the_sample_as_it_is_makes_no_new_mask(world: World) -> None:
    world.say(removed(world, "theirs"), key=SAMPLE)
    rule(world, OURS)
    [decided] = world.said(ConflictDecided)
    assert (decided.removed, decided.mask_id) == (False, world.peers.masks.add(OURS))
    assert world.peers.masks.provenances == [], "whose work it was, it is"


def test_keeping_the_sample_corrected_takes_the_whole_mask(world: World) -> None:
    world.say(removed(world, "theirs"), key=SAMPLE)
    corrected = blocks("0223", "1111")
    rule(world, corrected)
    [decided] = world.said(ConflictDecided)
    assert (world.peers.masks.stored[decided.mask_id] == corrected).all()
    [(mask_id, provenance)] = world.peers.masks.provenances
    assert (mask_id, provenance.source, provenance.actor) == (decided.mask_id, "adjudication", "key_judge0001")
    assert provenance.parent_mask_id == world.peers.masks.add(OURS)


def test_a_mask_that_can_not_be_used_keeps_nothing(world: World) -> None:
    world.say(removed(world, "theirs"), key=SAMPLE)
    rule(world, blocks("9999", "9999"))
    assert not world.said(SubmissionChecked)[0].passed
    assert world.said(ConflictDecided) == []
    rule(world, None, who="key_judge0002", verdict="remove")
    assert [decided.removed for decided in world.said(ConflictDecided)] == [True]


def test_removing_comes_too_late_when_the_conflict_is_withdrawn_or_the_lease_is_over(world: World) -> None:
    world.say(removed(world, "ours"), key=SAMPLE)
    rule(world, None, verdict="remove", late=True)
    assert world.said(ConflictDecided) == []
    world.say(WITHDRAWN, key=SAMPLE)
    rule(world, None, who="key_judge0002", verdict="remove")
    assert world.said(ConflictDecided) == []
    assert len(world.said(SubmissionChecked)) == 2


def test_a_sample_that_both_sides_have_is_not_removed(world: World) -> None:
    world.say(found(world), key=SAMPLE)
    with pytest.raises(CorruptInput, match="nobody removed"):
        rule(world, None, verdict="remove")
    assert world.said(ConflictDecided) == []


MAPS = st.lists(st.integers(0, 3), min_size=12, max_size=12).map(lambda row: np.array(row, np.uint8).reshape(3, 4))


@given(MAPS, MAPS, MAPS, MAPS)
def test_settling_changes_conflicting_pixels_of_the_region_and_nothing_else(
    base: np.ndarray, ours: np.ndarray, theirs: np.ndarray, decision: np.ndarray
) -> None:
    merged, conflict = merge_labels(base, ours, theirs)
    settled = settle_conflict((base, ours, theirs), merged, RegionRecord(0, 0, 3, 3), decision)
    decides = conflict & (decision != 0)
    decides[:, 3] = False
    assert (settled == np.where(decides, decision, merged)).all()
