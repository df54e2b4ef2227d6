"""Audits: the draw, the bound, and what verdicts do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from starlette.testclient import TestClient

from terrazzo_qa.domain.audit import draw, error_rate_upper, size_of_share
from terrazzo_schema.errors import CorruptInput, NotKnownYet
from terrazzo_schema.events import AuditCompleted, AuditRequested, MaskAccepted, SubmissionChecked

from .conftest import PROJECT, World, blocks

GOOD = blocks("1122", "1122", "1122", "1122")
BETTER = blocks("1133", "1133", "1133", "1133")
URL = f"/v1/audits/{PROJECT}"


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    ("num_errors", "num_items"),
    [(0, 1), (1, 1), (0, 30), (1, 30), (3, 20), (19, 20), (50, 100), (7, 5_000), (400, 10**5), (99_999, 10**5)],
)
def test_the_bound_is_that_of_clopper_and_pearson(num_errors: int, num_items: int, confidence: float) -> None:
    from scipy.stats import beta

    reference = 1.0
    if num_errors < num_items:
        reference = float(beta.ppf(confidence, num_errors + 1, num_items - num_errors))
    assert error_rate_upper(num_errors, num_items, confidence) == pytest.approx(reference, rel=1e-9)


def test_the_bound_of_no_errors_is_the_rule_of_three_made_exact() -> None:
    assert error_rate_upper(0, 59, 0.95) == pytest.approx(1 - 0.05 ** (1 / 59), rel=1e-12)


@pytest.mark.parametrize(("num_errors", "num_items"), [(0, 10), (1, 10), (4, 10)])
def test_the_bound_covers_the_true_rate_as_often_as_it_says(num_errors: int, num_items: int) -> None:
    """At the bound itself, so few errors turn up with probability 1 - confidence: by the definition."""
    from scipy.stats import binom

    upper = error_rate_upper(num_errors, num_items, 0.9)
    assert float(binom.cdf(num_errors, num_items, upper)) == pytest.approx(0.1, rel=1e-9)


def test_more_errors_or_more_confidence_raise_the_bound() -> None:
    by_errors = [error_rate_upper(k, 40, 0.95) for k in range(41)]
    by_confidence = [error_rate_upper(2, 40, c) for c in (0.6, 0.8, 0.95, 0.999)]
    for bounds in (by_errors, by_confidence):
        assert all(low < high for low, high in pairwise(bounds))


@pytest.mark.parametrize(
    ("num_errors", "num_items", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 5, 1.0)]
)
def test_counts_that_make_no_sense_are_refused(num_errors: int, num_items: int, confidence: float) -> None:
    with pytest.raises(ValueError):
        error_rate_upper(num_errors, num_items, confidence)


def test_the_draw_hangs_on_ids_and_seed_alone() -> None:
    ids = [f"smp_{i:08d}" for i in range(200)]
    assert draw(ids, 20, 7) == draw(reversed(ids), 20, 7)
    assert draw(ids, 20, 7) != draw(ids, 20, 8)
    assert draw(ids, 500, 7) == ids


def test_the_draw_is_fair() -> None:
    ids = [f"smp_{i:08d}" for i in range(50)]
    hits = dict.fromkeys(ids, 0)
    for seed in range(2_000):
        for sample_id in draw(ids, 5, seed):
            hits[sample_id] += 1
    counts = np.array(list(hits.values()))
    # 200 expected each, standard deviation 13.4; chi-squared of 49 degrees of freedom, 99.99 % below 96.
    assert float(((counts - 200) ** 2 / 180).sum()) < 96


def test_a_share_is_rounded_up_and_never_to_nothing() -> None:
    assert size_of_share(0.1, 30) == 3  # and not 4: 0.1 x 30 is a little over 3 in binary
    assert size_of_share(0.1, 31) == 4
    assert size_of_share(0.0, 31) == 1


@pytest.fixture
def accepted(world: World) -> World:
    """A batch of four accepted masks."""
    for name in "abcd":
        world.submit(GOOD, sample_id=f"smp_audit00{name}", annotator_id="key_ann00001")
    return world


def audit(accepted: World, http: Callable[..., TestClient], **body: object) -> AuditRequested:
    answer = http().post(URL, json={"batch_id": "bat_test0001", **body})
    assert answer.status_code == 201, answer.text
    return accepted.said(AuditRequested)[-1]  # type: ignore[no-any-return]


def judge(world: World, item: object, verdict: str, labels_HW=None, **fields: object) -> None:  # type: ignore[no-untyped-def]
    world.submit(
        labels_HW,
        kind="audit",
        sample_id=item.sample.sample_id,  # type: ignore[attr-defined]
        submission_id=f"sub_au{item.sample.sample_id[4:]}",  # type: ignore[attr-defined]
        annotator_id="key_auditor1",
        subject_id=item.audit_item_id,  # type: ignore[attr-defined]
        verdict=verdict,
        **fields,
    )


def test_an_audit_draws_accepted_masks_and_says_who_made_them(
    accepted: World, http: Callable[..., TestClient]
) -> None:
    requested = audit(accepted, http, size=3, seed=5)
    assert len(requested.items) == 3
    sample_ids = [item.sample.sample_id for item in requested.items]
    assert sample_ids == sorted(sample_ids)
    assert all(list(item.annotator_ids) == ["key_ann00001"] for item in requested.items)
    assert [i.sample.sample_id for i in audit(accepted, http, size=3, seed=5).items] == sample_ids
    assert len(audit(accepted, http, share=0.5).items) == 2


def test_an_audit_completes_with_its_bound_when_all_is_judged(
    accepted: World, http: Callable[..., TestClient]
) -> None:
    requested = audit(accepted, http, size=4, confidence=0.9)
    for item, verdict in zip(requested.items, ("pass", "fail", "pass", "pass"), strict=True):
        assert accepted.said(AuditCompleted) == []
        judge(accepted, item, verdict)
    [completed] = accepted.said(AuditCompleted)
    assert (completed.num_items, completed.num_errors) == (4, 1)
    assert completed.error_rate_upper == pytest.approx(error_rate_upper(1, 4, 0.9))
    view = http().get(f"{URL}/{requested.audit_id}").json()
    assert view["state"] == "completed"
    assert view["error_rate"] == 0.25
    assert sorted(item["verdict"] for item in view["items"]) == ["fail", "pass", "pass", "pass"]
    cards = {card["annotator_id"]: card for card in http().get(f"/v1/scorecards/{PROJECT}").json()["items"]}
    card = cards["key_ann00001"]
    assert (card["num_audited"], card["num_audit_errors"]) == (4, 1)


def test_a_corrected_mask_replaces_the_accepted_one(accepted: World, http: Callable[..., TestClient]) -> None:
    requested = audit(accepted, http, size=1)
    judge(accepted, requested.items[0], "fail", BETTER)
    newest = accepted.said(MaskAccepted)[-1]
    assert (newest.decided_by, newest.revision) == ("audit", 2)
    assert np.array_equal(accepted.peers.masks.stored[newest.mask_id], BETTER)
    provenance = accepted.peers.masks.provenances[-1][1]
    assert (provenance.source, provenance.parent_mask_id) == ("audit", requested.items[0].mask_id)
    # The next audit judges the correction, and not by one of those who had a hand in it.
    [item] = [i for i in audit(accepted, http, size=4).items if i.sample == requested.items[0].sample]
    assert item.mask_id == newest.mask_id
    assert list(item.annotator_ids) == ["key_ann00001", "key_auditor1"]


def test_a_verdict_stands_though_its_correction_can_not_be_used(
    accepted: World, http: Callable[..., TestClient]
) -> None:
    requested = audit(accepted, http, size=1)
    judge(accepted, requested.items[0], "fail", np.ones((3, 3), dtype=np.uint8))
    assert accepted.said(AuditCompleted)[0].num_errors == 1
    assert accepted.said(MaskAccepted)[-1].decided_by == "single"
    checked = accepted.said(SubmissionChecked)[-1]
    assert checked.passed
    assert "wrong-size" in checked.codes


def test_a_second_or_late_verdict_on_an_item_changes_nothing(
    accepted: World, http: Callable[..., TestClient]
) -> None:
    requested = audit(accepted, http, size=2)
    judge(accepted, requested.items[0], "fail", late=True)
    view = http().get(f"{URL}/{requested.audit_id}").json()
    assert view["num_judged"] == 0
    subject_id = requested.items[0].audit_item_id
    accepted.submit(kind="audit", subject_id=subject_id, verdict="pass", submission_id="sub_audit0001")
    accepted.submit(kind="audit", subject_id=subject_id, verdict="fail", submission_id="sub_audit0002")
    view = http().get(f"{URL}/{requested.audit_id}").json()
    assert (view["state"], view["num_judged"], view["num_errors"]) == ("open", 1, 0)
    assert view["error_rate"] is None
    assert view["error_rate_upper"] is None


def test_a_verdict_that_is_none_is_parked_and_one_on_an_unknown_item_is_tried_again(world: World) -> None:
    with pytest.raises(CorruptInput):
        world.submit(kind="audit", subject_id="aui_unknown00", verdict="maybe")
    with pytest.raises(NotKnownYet):
        world.submit(kind="audit", subject_id="aui_unknown00", verdict="pass")


def test_a_batch_without_accepted_masks_can_not_be_audited(world: World, http: Callable[..., TestClient]) -> None:
    answer = http().post(URL, json={"batch_id": "bat_test0001", "size": 3})
    assert answer.status_code == 409
    assert answer.json()["field"] == "batch_id"


@pytest.mark.parametrize(
    "body", [{}, {"size": 2, "share": 0.5}, {"size": 0}, {"share": 1.5}, {"size": 1, "seed": -1}]
)
def test_an_audit_wants_a_size_or_a_share(
    accepted: World, http: Callable[..., TestClient], body: dict[str, object]
) -> None:
    assert http().post(URL, json={"batch_id": "bat_test0001", **body}).status_code == 422


def test_the_same_request_again_draws_no_second_audit(accepted: World, http: Callable[..., TestClient]) -> None:
    body = {"batch_id": "bat_test0001", "size": 2}
    first, second = (http().post(URL, json=body, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == second.json()
    assert len(accepted.said(AuditRequested)) == 1
