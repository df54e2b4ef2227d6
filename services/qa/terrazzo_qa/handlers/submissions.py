"""Annotations: recorded with their checks; the last vote of a task decides it in the same commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terrazzo_qa.domain.records import Adjudication, ConsensusRecord, Scorecard, Submission, Vote
from terrazzo_qa.domain.voting import Outcome
from terrazzo_qa.handlers.acceptance import accept, sample_ref
from terrazzo_qa.ports import Store
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import Conflict
from terrazzo_schema.events import AdjudicationRequested, ConsensusReached, SubmissionChecked
from terrazzo_schema.events import Region as RegionMessage
from terrazzo_schema.ids import new_id


@dataclass(frozen=True)
class Plan:
    """What was worked out before the transaction: these votes decide the task, with this result.

    `outcome`, the mask and the maps are None for a single vote, which is accepted as it is.
    """

    votes: tuple[Vote, ...]
    outcome: Outcome | None = None
    mask_id: str = ""
    posterior_hash: str = ""
    disagreement_hash: str = ""
    disputed_hash: str = ""


def votes_with(store: Store, submission: Submission) -> tuple[Vote, ...]:
    """The task's votes, one per annotator and by annotator, if `submission` is recorded too."""
    votes = store.votes(submission.organisation_id, submission.project_id, submission.task_id)
    if submission.passed and not submission.late:
        votes = [*votes, Vote(submission.submission_id, submission.annotator_id, submission.mask_id)]
    return one_per_annotator(votes)


def one_per_annotator(votes: Sequence[Vote]) -> tuple[Vote, ...]:
    """By annotator id; of two by one person the lower submission id (the earlier one) counts."""
    first: dict[str, Vote] = {}
    for vote in sorted(votes, key=lambda vote: (vote.annotator_id, vote.submission_id)):
        first.setdefault(vote.annotator_id, vote)
    return tuple(first.values())


def is_decided(store: Store, submission: Submission) -> bool:
    where = (submission.organisation_id, submission.project_id, submission.task_id)
    return store.is_accepted(*where) or store.consensus(*where) is not None


def record_annotation(tx: Tx[Store], submission: Submission, plan: Plan | None) -> None:
    """Record a checked annotation, and the decision that it completes.

    Raises Conflict (the event is tried again) when other votes came in since the plan was made.
    """
    if is_recorded(tx.store, submission):
        return
    votes = votes_with(tx.store, submission)
    completes = len(votes) >= submission.redundancy and not is_decided(tx.store, submission)
    if completes != (plan is not None) or (plan is not None and plan.votes != votes):
        raise Conflict(f"the votes of task {submission.task_id} changed while they were counted")
    record_check(tx, submission)
    tx.store.add_to_scorecard(
        submission.organisation_id,
        submission.project_id,
        Scorecard(
            submission.annotator_id,
            num_submissions=1,
            num_returned=int(not submission.passed),
            num_late=int(submission.late),
            worked_ms=round(submission.seconds_spent * 1_000),
        ),
    )
    if plan is None:
        return
    if plan.outcome is None:
        _accept_votes(tx, submission, plan, "single", plan.votes[0].mask_id)
        return
    _reach_consensus(tx, submission, plan, plan.outcome)


def is_recorded(store: Store, submission: Submission) -> bool:
    where = (submission.organisation_id, submission.project_id, submission.submission_id)
    return store.submission(*where) is not None


def record_check(tx: Tx[Store], submission: Submission) -> None:
    """Keep the submission with its findings, and say what the checks found."""
    tx.store.add_submission(submission)
    tx.publish(
        SubmissionChecked(
            submission_id=submission.submission_id,
            task_id=submission.task_id,
            passed=submission.passed,
            num_errors=submission.num_errors,
            num_warnings=submission.num_warnings,
            codes=submission.codes,
        ),
        key=submission.sample.sample_id,
        organisation_id=submission.organisation_id,
        project_id=submission.project_id,
    )


def _reach_consensus(tx: Tx[Store], last: Submission, plan: Plan, outcome: Outcome) -> None:
    consensus = ConsensusRecord(
        organisation_id=last.organisation_id,
        project_id=last.project_id,
        task_id=last.task_id,
        batch_id=last.batch_id,
        sample=last.sample,
        mask_id=plan.mask_id,
        posterior_hash=plan.posterior_hash,
        disagreement_hash=plan.disagreement_hash,
        disputed_hash=plan.disputed_hash,
        method=outcome.method,
        reason=outcome.reason,
        agreement=outcome.agreement,
        disputed_pixels=outcome.disputed_pixels,
        region=outcome.region,
        state="accepted" if outcome.region is None else "adjudicating",
        submission_ids=[vote.submission_id for vote in plan.votes],
        annotator_ids=[vote.annotator_id for vote in plan.votes],
        created_at=tx.clock.now(),
    )
    tx.store.add_consensus(consensus)
    tx.publish(
        ConsensusReached(
            task_id=consensus.task_id,
            sample_id=consensus.sample.sample_id,
            mask_id=consensus.mask_id,
            method=consensus.method,
            num_votes=len(plan.votes),
            agreement=consensus.agreement,
            disputed_pixels=consensus.disputed_pixels,
        ),
        key=consensus.sample.sample_id,
        organisation_id=consensus.organisation_id,
        project_id=consensus.project_id,
    )
    _score_voters(tx, consensus, outcome)
    if consensus.region is None:
        _accept_votes(tx, last, plan, "consensus", plan.mask_id)
    else:
        _request_adjudication(tx, consensus, [vote.mask_id for vote in plan.votes])


def _accept_votes(tx: Tx[Store], last: Submission, plan: Plan, decided_by: str, mask_id: str) -> None:
    accept(
        tx,
        last.organisation_id,
        last.project_id,
        last.sample,
        task_id=last.task_id,
        batch_id=last.batch_id,
        mask_id=mask_id,
        decided_by="single" if decided_by == "single" else "consensus",
        submission_ids=[vote.submission_id for vote in plan.votes],
        annotator_ids=[vote.annotator_id for vote in plan.votes],
    )


def _score_voters(tx: Tx[Store], consensus: ConsensusRecord, outcome: Outcome) -> None:
    for annotator_id in consensus.annotator_ids:
        score = outcome.agreement_of.get(annotator_id)
        tx.store.add_to_scorecard(
            consensus.organisation_id,
            consensus.project_id,
            Scorecard(
                annotator_id,
                num_multi=1,
                num_agreement=int(score is not None),
                agreement_ppb=0 if score is None else round(score * 1e9),
                num_adjudicated=int(consensus.region is not None),
            ),
        )


def _request_adjudication(tx: Tx[Store], consensus: ConsensusRecord, candidate_mask_ids: list[str]) -> None:
    assert consensus.region is not None
    adjudication = Adjudication(
        organisation_id=consensus.organisation_id,
        project_id=consensus.project_id,
        adjudication_id=new_id("adj"),
        task_id=consensus.task_id,
        batch_id=consensus.batch_id,
        sample=consensus.sample,
        consensus_mask_id=consensus.mask_id,
        region=consensus.region,
        disputed_pixels=consensus.disputed_pixels,
        candidate_mask_ids=candidate_mask_ids,
        annotator_ids=consensus.annotator_ids,
        created_at=tx.clock.now(),
    )
    tx.store.add_adjudication(adjudication)
    region = consensus.region
    tx.publish(
        AdjudicationRequested(
            adjudication_id=adjudication.adjudication_id,
            task_id=adjudication.task_id,
            batch_id=adjudication.batch_id,
            sample=sample_ref(adjudication.sample),
            mask_id=adjudication.consensus_mask_id,
            region=RegionMessage(y=region.y, x=region.x, height=region.height, width=region.width),
            candidate_mask_ids=candidate_mask_ids,
            annotator_ids=adjudication.annotator_ids,
        ),
        key=adjudication.sample.sample_id,
        organisation_id=adjudication.organisation_id,
        project_id=adjudication.project_id,
    )
