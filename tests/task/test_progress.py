"""Live progress: cheap, exact, and streamed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from terrazzo_task.api import progress

from .recount import assert_counts_hold

if TYPE_CHECKING:
    from .conftest import Hand


def test_progress_tells_who_did_what_and_what_is_ahead(hand: Hand) -> None:
    hand.project()
    first, second, _third = hand.images(3)
    hand.model()
    hand.predicted(first, classes=((1, 0.75), (3, 0.25)))
    hand.predicted(second, classes=((1, 0.25), (3, 0.75)), model_id="mdl_older00001")
    before = hand.progress()
    assert before["samples"] == {
        "total": 3, "unlabelled": 3, "in_progress": 0, "labelled": 0, "train": 3, "held_out": 0, "scored": 1
    }  # fmt: skip
    assert {c["class_id"]: (c["pixel_share"], c["num_samples"]) for c in before["classes"]} == {
        1: (0.5, 2), 2: (0.0, 0), 3: (0.5, 2), 4: (0.0, 0)
    }  # fmt: skip
    batch = hand.batch(1, strategy="random", random_share=1.0)
    chosen = batch["sample_ids"][0]
    hand.predicted(chosen, batch_id=batch["batch_id"], classes=((4, 1.0),))
    lease = hand.lease(status=200)
    assert hand.progress()["leases_active"] == 1
    submission = hand.submit(lease, seconds_spent=1.25)
    hand.accepted(lease["task"], [submission])
    after = hand.progress()
    assert after["samples"]["labelled"] == 1
    assert after["seconds_spent"] == 1.25
    assert after["annotators"] == [{"name": "ann", "tasks": 1, "submissions": 1, "seconds": 1.25}]
    assert after["submissions"]["accepted"] == after["tasks"]["accepted"] == 1
    assert after["classes"][3]["num_samples"] == 0, "what is labelled is not ahead any more"
    assert_counts_hold(hand.service, hand.project_id)


def test_a_score_older_than_the_known_one_is_ignored(hand: Hand) -> None:
    from datetime import UTC, datetime

    from terrazzo_schema import events

    hand.project()
    (sample_id,) = hand.images(1)
    hand.predicted(sample_id, entropy=0.75, model_id="mdl_new000001")
    event = hand.event_of(
        events.PredictionReady(sample_id=sample_id, model_id="mdl_old000001", entropy_mean=0.25),
        project_id=hand.project_id,
    )
    older = type(event)(**{**event.__dict__, "time": datetime(2020, 1, 1, tzinfo=UTC)})
    hand.service.consumer.handle(events.wrap(older))
    found = hand.call("GET", f"/v1/projects/{hand.project_id}/samples/{sample_id}")
    assert (found["entropy_mean"], found["scored_by"]) == (0.75, "mdl_new000001")


def test_progress_costs_the_same_however_many_samples_there_are(hand: Hand) -> None:
    """No statement of it reads samples, tasks or submissions."""
    hand.project()
    hand.images(2)
    said: list[str] = []
    engine = hand.service.uow.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda c, cur, statement, *rest: said.append(statement))
    hand.progress()
    assert said
    for statement in said:
        for table in ("samples", "tasks", "submissions", "batches"):
            assert f"FROM {table}" not in statement


def test_the_stream_sends_the_progress_once_when_asked(hand: Hand) -> None:
    hand.project()
    headers = {"Authorization": f"Bearer {hand.key_of('viewer')}"}
    path = f"/v1/projects/{hand.project_id}/progress/stream"
    answer = hand.client.get(path, params={"once": True}, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    event, data, end = answer.text.split("\n", 2)
    assert (event, end) == ("event: progress", "\n")
    assert json.loads(data.removeprefix("data: ")) == hand.progress()


def test_the_stream_speaks_when_something_changed_and_keeps_the_line_alive(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.project()
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "HEARTBEAT_EVERY_LOOKS", 2)
    deps = hand.service.app.state.deps
    first = progress._read(deps, "org_test0001", hand.project_id)

    async def listen() -> list[str]:
        stream = progress._events(deps, "org_test0001", first, once=False)
        heard = [await anext(stream), await anext(stream)]
        await asyncio.to_thread(hand.images, 1)
        while "event" not in heard[-1] or len(heard) < 3:
            heard.append(await anext(stream))
        return heard

    heard = asyncio.run(asyncio.wait_for(listen(), 20))
    assert heard[0].startswith("event: progress")
    assert heard[1].startswith(":")
    assert json.loads(heard[-1].split("data: ")[1])["samples"]["total"] == 1
