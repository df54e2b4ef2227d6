"""The result hangs on what was submitted, never on the order in which the events come, or how often."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from terrazzo_masks.labels import LabelMap
from terrazzo_qa.handlers import submissions
from terrazzo_runtime.bus import Record
from terrazzo_schema.events import (
    AdjudicationRequested,
    ConsensusReached,
    Event,
    MaskAccepted,
    ProjectCreated,
    SubmissionReceived,
    topic_of,
    wrap,
)

from .conftest import ONTOLOGY, PROJECT, SAMPLE, World, blocks

AGREEING = (
    blocks("1111", "1221", "1221", "1111"),
    blocks("1111", "1221", "1222", "1111"),
    blocks("1111", "1321", "1221", "1110"),
)
# Three classes for the same pixels: ties, which only a rule that ignores order resolves alike.
DISPUTED = (
    blocks("1111", "1221", "1221", "1111"),
    blocks("1133", "1233", "1221", "1111"),
    blocks("1122", "1112", "1331", "1111"),
)


def events_of(world: World, votes: tuple[LabelMap, ...]) -> list[Event]:
    """One event per vote, the same ids in every world."""
    return [
        world.event_of(
            world.work(labels_HW, annotator_id=f"key_ann0000{name}", redundancy=len(votes), seconds_spent=seconds),
            project_id=PROJECT,
            key=SAMPLE,
            id=f"evt_vote0000{name}",
        )
        for name, labels_HW, seconds in zip("abcdefg", votes, (0.1, 0.2, 30.3), strict=False)
    ]


def repeated(events: list[Event]) -> list[Event]:
    """Each at once a second time, and all of them again when all is decided."""
    return [event for event in events for _ in range(2)] + events


def final(world: World, events: list[Event]) -> tuple[dict[str, Any], list[str]]:
    world.create_project()
    for event in events:
        world.handle(event)
    return world.state(), world.words()


@pytest.mark.parametrize("votes", [AGREEING, DISPUTED], ids=["agreeing", "disputed"])
def test_every_order_and_repetition_ends_the_same(
    world_of: Callable[..., World], votes: tuple[LabelMap, ...]
) -> None:
    first = world_of()
    expected = final(first, events_of(first, votes))
    assert len(first.said(ConsensusReached)) == 1
    assert len(first.said(AdjudicationRequested if votes is DISPUTED else MaskAccepted)) == 1
    for order in permutations(range(3)):
        for form in (list, repeated):
            world = world_of()
            events = events_of(world, votes)
            assert final(world, form([events[i] for i in order])) == expected, (form, order)


def test_this_would_be_seen_if_the_order_counted(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a service that takes the votes as they come is told apart."""
    monkeypatch.setattr(submissions, "one_per_annotator", tuple)
    first, second = world_of(), world_of()
    forwards = final(first, events_of(first, DISPUTED))
    backwards = final(second, events_of(second, DISPUTED)[::-1])
    assert forwards != backwards


def test_scorecards_are_the_same_sums_in_any_order(world_of: Callable[..., World]) -> None:
    cards = []
    for step in (1, -1):
        world = world_of()
        world.create_project()
        seconds = [0.1, 0.2, 0.3, 1e6, 1e-3, 7.7]
        for i, spent in list(enumerate(seconds))[::step]:
            world.submit(AGREEING[0], sample_id=f"smp_order00{i}", seconds_spent=spent)
        cards.append(world.state()["scorecards"])
    assert cards[0] == cards[1]
    assert cards[0][0]["worked_ms"] == 1_000_008_301


def test_a_reordering_repeating_bus_ends_the_same(world_of: Callable[..., World], clock: Any) -> None:
    """Through the bus: other keys' events overtake, a third of them come twice, the project comes last."""
    reference = world_of()
    expected = final(reference, events_of(reference, AGREEING))
    world = world_of(consumer_backoff_s=0.001, consumer_attempts=50)
    bus = world.ports.bus
    bus.duplicate_share = 0.34  # type: ignore[attr-defined]  # the in-process bus has it
    project = world.event_of(
        ProjectCreated(name="p", held_out_percent=20, ontology_version=1, ontology_json=ONTOLOGY.to_json()),
        project_id=PROJECT,
        key=PROJECT,
    )
    for event in [*events_of(world, AGREEING), project]:
        record = Record(event.id, topic_of("task"), f"{PROJECT}/{event.key}", wrap(event))
        bus.publish([record])
    quiet = 0
    while quiet < 5:
        quiet = 0 if world.service.consumer.run_once(timeout_s=0.02) else quiet + 1
    assert (world.state(), world.words()) == expected


def test_a_copy_is_seen_whichever_of_the_two_comes_first(world: World, http: Callable[..., Any]) -> None:
    for name in "ab":
        world.submit(AGREEING[0], annotator_id=f"key_ann0000{name}", redundancy=3)
    views = http().get(f"/v1/checks/{PROJECT}").json()["items"]
    codes = [[finding["code"] for finding in view["findings"]] for view in views]
    assert ["duplicate-bytes" in found for found in codes] == [False, True]
    assert all(view["passed"] for view in views)


def test_seven_noisy_voters_come_to_what_each_of_them_missed(world_of: Callable[..., World]) -> None:
    world = world_of()
    world.create_project('{"adjudicate_disputed_share": 0.5}')
    rng = np.random.default_rng(3)
    for i in range(7):
        noisy_HW = np.where(rng.random((8, 8)) < 0.1, 3, AGREEING[0]).astype(np.uint8)
        world.submit(noisy_HW, annotator_id=f"key_ann0000{i}", redundancy=7)
    [accepted] = world.said(MaskAccepted)
    assert np.mean(world.peers.masks.stored[accepted.mask_id] == AGREEING[0]) > 0.95


def test_a_kind_that_is_not_known_is_not_tried_for_ever(world: World) -> None:
    event = world.event_of(SubmissionReceived(kind="sing"), project_id=PROJECT)
    world.ports.bus.publish([Record(event.id, topic_of("task"), "k", wrap(event))])
    assert world.service.consumer.run_once(timeout_s=0.5) == 1
    assert world.service.consumer.run_once(timeout_s=0.1) == 0
    health = TestClient(world.service.app).get("/v1/ops/qa/health").json()
    assert health["dead_letters"] == 1
