"""Events in. What is fetched, worked out or stored by content hash comes first; then one commit.

A process that is killed in between does the same again: masks and maps have the same hashes, and
nothing was said yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from google.protobuf.message import Message

from terrazzo_qa.domain import maps
from terrazzo_qa.domain.checking import check, check_usable, class_ids_of, has_errors, unreadable
from terrazzo_qa.domain.records import Adjudication, FindingDict, Project, Sample, Submission, Vote
from terrazzo_qa.domain.settings import QaSettings, parse_settings
from terrazzo_qa.domain.voting import decide, settle, settle_conflict
from terrazzo_qa.handlers import adjudications, audits, conflicts, projects, submissions
from terrazzo_qa.handlers.submissions import Plan
from terrazzo_qa.ports import Deps, MaskUnreadable
from terrazzo_runtime.consumer import Handler
from terrazzo_schema.errors import CorruptInput
from terrazzo_schema.events import (
    ConflictFound,
    ConflictWithdrawn,
    Event,
    OntologyPublished,
    ProjectCreated,
    SubmissionReceived,
)
from terrazzo_schema.rest.mask_storage import Provenance


def handlers_of(deps: Deps) -> Mapping[type[Message], Handler]:
    """The service's event handlers, by message type."""
    return {
        ProjectCreated: lambda event: _on_project_created(deps, event),
        OntologyPublished: lambda event: _on_ontology_published(deps, event),
        SubmissionReceived: lambda event: _on_submission(deps, event),
        ConflictFound: lambda event: _on_conflict_found(deps, event),
        ConflictWithdrawn: lambda event: _on_conflict_withdrawn(deps, event),
    }


def _on_project_created(deps: Deps, event: Event) -> None:
    assert isinstance(event.message, ProjectCreated)
    with deps.uow.begin(cause=event) as tx:
        projects.create_project(tx, event.organisation_id, event.project_id, event.message)


def _on_ontology_published(deps: Deps, event: Event) -> None:
    assert isinstance(event.message, OntologyPublished)
    with deps.uow.begin(cause=event) as tx:
        projects.publish_ontology(tx, event.organisation_id, event.project_id, event.message)


def _on_conflict_found(deps: Deps, event: Event) -> None:
    assert isinstance(event.message, ConflictFound)
    with deps.uow.begin(cause=event) as tx:
        conflicts.conflict_found(tx, event.organisation_id, event.project_id, event.message)


def _on_conflict_withdrawn(deps: Deps, event: Event) -> None:
    assert isinstance(event.message, ConflictWithdrawn)
    with deps.uow.begin(cause=event) as tx:
        conflicts.conflict_withdrawn(tx, event.organisation_id, event.project_id, event.message)


def _on_submission(deps: Deps, event: Event) -> None:
    assert isinstance(event.message, SubmissionReceived)
    handlers: Mapping[str, Callable[[Deps, Event, SubmissionReceived], None]] = {
        "annotate": _on_annotation,
        "adjudicate": _on_adjudication,
        "audit": _on_verdict,
    }
    handler = handlers.get(event.message.kind)
    if handler is None:
        raise CorruptInput(
            f"a submission of the unknown kind {event.message.kind!r}", field="kind", value=event.message.kind
        )
    handler(deps, event, event.message)


def _on_annotation(deps: Deps, event: Event, message: SubmissionReceived) -> None:
    with deps.uow.read() as store:
        project = projects.known_project(store, event.organisation_id, event.project_id)
        others = store.masks_of_others(
            event.organisation_id, event.project_id, message.task_id, message.annotator_id
        )
    settings = parse_settings(project.settings)
    findings = _check_annotation(deps, project, settings, message, tuple(others))
    submission = _submission_of(event, message, findings)
    plan = _plan(deps, submission, settings)
    with deps.uow.begin(cause=event) as tx:
        submissions.record_annotation(tx, submission, plan)


def _check_annotation(
    deps: Deps, project: Project, settings: QaSettings, message: SubmissionReceived, others: tuple[str, ...]
) -> list[FindingDict]:
    try:
        labels_HW = deps.masks.labels(project.organisation_id, project.project_id, message.mask_id)
    except MaskUnreadable as error:
        return unreadable(str(error))
    return check(
        labels_HW,
        _sample_of(message),
        class_ids_of(project.ontology_json),
        settings.for_checks(),
        mask_id=message.mask_id,
        proposal_mask_id=message.proposal_mask_id,
        seconds_spent=message.seconds_spent,
        other_mask_ids=others,
    )


def _plan(deps: Deps, submission: Submission, settings: QaSettings) -> Plan | None:
    """The decision that this submission completes, with its mask and maps stored; None while votes are missing."""
    with deps.uow.read() as store:
        votes = submissions.votes_with(store, submission)
        if len(votes) < submission.redundancy or submissions.is_decided(store, submission):
            return None
    if submission.redundancy == 1:
        return Plan(votes)
    return _store_consensus(deps, submission, votes, settings)


def _store_consensus(deps: Deps, last: Submission, votes: tuple[Vote, ...], settings: QaSettings) -> Plan:
    where = (last.organisation_id, last.project_id)
    outcome = decide({vote.annotator_id: deps.masks.labels(*where, vote.mask_id) for vote in votes}, settings)
    provenance = Provenance(
        source="consensus",
        actor=outcome.method,
        sample_id=last.sample.sample_id,
        source_mask_ids=[vote.mask_id for vote in votes],
    )
    return Plan(
        votes,
        outcome,
        mask_id=deps.masks.put(*where, outcome.labels_HW, provenance),
        posterior_hash=deps.blobs.put(maps.to_png(outcome.posterior_HW)),
        disagreement_hash=deps.blobs.put(maps.to_png(outcome.disagreement_HW)),
        disputed_hash=deps.blobs.put(maps.flags_to_png(outcome.disputed_HW)),
    )


def _on_adjudication(deps: Deps, event: Event, message: SubmissionReceived) -> None:
    where = (event.organisation_id, event.project_id)
    with deps.uow.read() as store:
        project = projects.known_project(store, *where)
        adjudication = adjudications.any_adjudication(store, *where, message.subject_id)
    if adjudication.merge_id is not None:
        _on_ruling(deps, event, message, project, adjudication)
        return
    with deps.uow.read() as store:
        adjudication, consensus = adjudications.known_adjudication(store, *where, message.subject_id)
    findings = _check_usable(deps, project, message)
    final_mask_id = None
    if not has_errors(findings) and adjudication.state == "open" and not message.late:
        settled_HW = settle(
            deps.masks.labels(*where, consensus.mask_id),
            maps.flags_from_png(deps.blobs.get(consensus.disputed_hash)),
            adjudication.region,
            deps.masks.labels(*where, message.mask_id),
        )
        provenance = Provenance(
            source="adjudication",
            actor=message.annotator_id,
            sample_id=adjudication.sample.sample_id,
            submission_id=message.submission_id,
            parent_mask_id=consensus.mask_id,
            source_mask_ids=adjudication.candidate_mask_ids,
        )
        final_mask_id = deps.masks.put(*where, settled_HW, provenance)
    submission = _submission_of(event, message, findings)
    with deps.uow.begin(cause=event) as tx:
        adjudications.record_adjudication(tx, submission, message.subject_id, final_mask_id)


def _on_ruling(
    deps: Deps, event: Event, message: SubmissionReceived, project: Project, adjudication: Adjudication
) -> None:
    """An adjudicator's work on a merge's conflict; "remove" takes a sample that one side removed."""
    removes = message.verdict == "remove"
    if removes and adjudication.removed_by is None:
        raise CorruptInput(
            f"nobody removed the sample of {adjudication.adjudication_id}", field="verdict", value="remove"
        )
    findings = [] if removes else _check_usable(deps, project, message)
    decision = None
    if not has_errors(findings) and adjudication.state == "open" and not message.late:
        decision = conflicts.Decision(None if removes else _store_ruling(deps, event, message, adjudication))
    submission = _submission_of(event, message, findings)
    with deps.uow.begin(cause=event) as tx:
        conflicts.record_ruling(tx, submission, message.subject_id, decision)


def _store_ruling(deps: Deps, event: Event, message: SubmissionReceived, adjudication: Adjudication) -> str:
    """The mask that the work comes to: what it says where both sides differ, and nothing else.

    Of a sample that one side removed it counts as a whole, for the person was shown the whole mask.
    """
    where = (event.organisation_id, event.project_id)
    if message.mask_id == adjudication.consensus_mask_id:
        return message.mask_id  # kept as it is: whose work it was, it is
    settled_HW = deps.masks.labels(*where, message.mask_id)
    if adjudication.removed_by is None:
        base_id, (ours_id, theirs_id) = adjudication.base_mask_id, adjudication.candidate_mask_ids
        base_HW = deps.masks.labels(*where, base_id) if base_id is not None else None
        settled_HW = settle_conflict(
            (base_HW, deps.masks.labels(*where, ours_id), deps.masks.labels(*where, theirs_id)),
            deps.masks.labels(*where, adjudication.consensus_mask_id),
            adjudication.region,
            settled_HW,
        )
    provenance = Provenance(
        source="adjudication",
        actor=message.annotator_id,
        sample_id=adjudication.sample.sample_id,
        submission_id=message.submission_id,
        parent_mask_id=adjudication.consensus_mask_id,
        source_mask_ids=adjudication.candidate_mask_ids,
    )
    return deps.masks.put(*where, settled_HW, provenance)


def _on_verdict(deps: Deps, event: Event, message: SubmissionReceived) -> None:
    where = (event.organisation_id, event.project_id)
    if message.verdict not in ("pass", "fail"):
        raise CorruptInput(
            f"an audit without a verdict: {message.verdict!r}", field="verdict", value=message.verdict
        )
    with deps.uow.read() as store:
        project = projects.known_project(store, *where)
        item = audits.known_item(store, *where, message.subject_id)
    findings: list[FindingDict] = []
    corrected_mask_id = None
    if message.verdict == "fail" and message.mask_id:
        findings = _check_usable(deps, project, message)
        if not has_errors(findings):
            provenance = Provenance(
                source="audit",
                actor=message.annotator_id,
                sample_id=item.sample.sample_id,
                submission_id=message.submission_id,
                parent_mask_id=item.mask_id,
            )
            labels_HW = deps.masks.labels(*where, message.mask_id)
            corrected_mask_id = deps.masks.put(*where, labels_HW, provenance)
    # The verdict stands whatever the correction is worth, so an audit's work never goes back.
    submission = replace(_submission_of(event, message, findings), passed=True)
    with deps.uow.begin(cause=event) as tx:
        audits.record_verdict(tx, submission, message.subject_id, message.verdict, corrected_mask_id)


def _check_usable(deps: Deps, project: Project, message: SubmissionReceived) -> list[FindingDict]:
    try:
        labels_HW = deps.masks.labels(project.organisation_id, project.project_id, message.mask_id)
    except MaskUnreadable as error:
        return unreadable(str(error))
    settings = parse_settings(project.settings).for_checks()
    class_ids = class_ids_of(project.ontology_json)
    return check_usable(labels_HW, _sample_of(message), class_ids, settings, message.mask_id)


def _sample_of(message: SubmissionReceived) -> Sample:
    sample = message.sample
    return Sample(sample.sample_id, sample.image_hash, sample.height, sample.width)


def _submission_of(event: Event, message: SubmissionReceived, findings: list[FindingDict]) -> Submission:
    return Submission(
        organisation_id=event.organisation_id,
        project_id=event.project_id,
        submission_id=message.submission_id,
        task_id=message.task_id,
        batch_id=message.batch_id,
        kind=message.kind,
        sample=_sample_of(message),
        mask_id=message.mask_id,
        annotator_id=message.annotator_id,
        seconds_spent=message.seconds_spent,
        redundancy=max(1, message.redundancy),
        late=message.late,
        passed=not has_errors(findings),
        findings=findings,
        created_at=event.time,
    )
