"""How simulated people behave as clients of the task service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from terrazzo.simulation.annotators import AnnotatorProfile
from terrazzo.simulation.people import Person
from terrazzo.simulation.reference_world import World
from terrazzo.simulation.timing import DEFAULT_TIME_MODEL
from terrazzo_client import TerrazzoClient
from terrazzo_schema.rest.task import LeaseView

HASTY = AnnotatorProfile("Hasty", 0.0, 10, 0.0, 50, 0.0, 1.0, 1, 1, 1.0, 0.5)
TRUTH_HW = np.ones((40, 40), np.uint16)
TRUTH_HW[10:30, 10:30] = 2


class FakeServices:
    """The two endpoints that a person uses, and what came in."""

    def __init__(self, proposal_HW: np.ndarray) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.stored: list[bytes] = []
        self.masks = SimpleNamespace(labels=lambda project_id, mask_id: proposal_HW, put=self._put)
        self.tasks = SimpleNamespace(submit=self._submit)

    def _put(self, project_id: str, data: bytes, **_: Any) -> Any:
        self.stored.append(data)
        return SimpleNamespace(mask_id=f"{len(self.stored):064x}")

    def _submit(self, task_id: str, **fields: Any) -> Any:
        self.submitted.append(fields)
        return SimpleNamespace(submission_id=f"sub-{len(self.submitted)}", **fields)


@pytest.fixture
def proposal_HW() -> np.ndarray:
    wrong_HW = TRUTH_HW.copy()
    wrong_HW[10:30, 25:38] = 2
    return wrong_HW


def person(services: FakeServices) -> Person:
    ontology = SimpleNamespace(
        classes=[SimpleNamespace(id=1, parent_id=None), SimpleNamespace(id=2, parent_id=None)]
    )
    world = cast(World, SimpleNamespace(truth=lambda name: TRUTH_HW, ontology=ontology))
    return Person(HASTY, "key", cast(TerrazzoClient, services), world, 0, {"smp_1": "name"})


def lease(returned_reason: str | None) -> LeaseView:
    task = SimpleNamespace(
        task_id="tsk", project_id="prj", sample_id="smp_1", kind="annotate", height=40, width=40, mask_id=None,
        proposal=SimpleNamespace(mask_id="a" * 64), returned_reason=returned_reason,
    )  # fmt: skip
    return cast(LeaseView, SimpleNamespace(task=task, lease_id="lse"))


def test_what_came_back_from_the_checks_is_read_and_repaired(proposal_HW: np.ndarray) -> None:
    hasty = person(FakeServices(proposal_HW))
    first = hasty.work(lease(None))
    assert first.labels_HW is not None
    assert np.array_equal(first.labels_HW, proposal_HW), "handed in unread"
    again = hasty.work(lease("identical-to-proposal"))
    assert again.labels_HW is not None
    assert np.array_equal(again.labels_HW, TRUTH_HW)
    assert again.submission.seconds_spent > first.submission.seconds_spent


def test_a_good_proposal_that_came_back_is_looked_over_at_leisure() -> None:
    """Else a quick person would accept it too fast for the checks for ever."""
    hasty = person(FakeServices(TRUTH_HW))
    done = hasty.work(lease("identical-to-proposal"))
    assert done.submission.seconds_spent >= round(DEFAULT_TIME_MODEL.seconds_to_accept(TRUTH_HW), 3) > 5.0
