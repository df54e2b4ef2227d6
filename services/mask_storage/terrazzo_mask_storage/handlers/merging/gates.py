"""A project's gates: keep them, look at them, and ask them about a proposed version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from terrazzo_mask_storage.domain.gate_file import GateFileError, Mistake, parse_gates, read_gates
from terrazzo_mask_storage.domain.gates import Gates, Outcome, evaluate
from terrazzo_mask_storage.domain.merge_records import GatesFile, MeasuredAgreement, Report
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.proposals import VersionProposal
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.ports import Commit, Project, Scope, Store
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import Tx
from terrazzo_schema.errors import GatesRefused, InvalidGates, NotFound
from terrazzo_schema.ids import new_id
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.merges import GateOutcome, GateReportView, GatesUpdate, GatesView

TRIED = 0
"""The version of rules that are tried and not kept."""


@dataclass(frozen=True)
class Checks:
    """Gates in force: their version, and the rules."""

    version: int
    gates: Gates
    mistakes: tuple[Mistake, ...] = ()


def put_gates(tx: Tx[Store], deps: Deps, scope: Scope, command: GatesUpdate, caller: Principal) -> GatesView:
    """A new version of the project's gates; the same text again is the version that it already has.

    Raises InvalidGates that names every mistake by line and field.
    """
    project = known_project(tx.store, scope)
    parsed = _parsed(command.text, project, deps) if command.text.strip() else None
    known = tx.store.gates(scope)
    if known is not None and known.text == command.text:
        return gates_view(known)
    made = GatesFile(
        known.version + 1 if known is not None else 1,
        command.text,
        len(parsed.rules) if parsed is not None else 0,
        caller.name or caller.key_id,
        tx.clock.now(),
    )
    tx.store.add_gates(scope, made)
    return gates_view(made)


def gates_of(store: Store, scope: Scope, version: int | None) -> GatesView:
    """The newest gates, or those of a version. Raises NotFound."""
    known_project(store, scope)
    found = store.gates(scope, version)
    if found is None and version:
        raise NotFound(f"the project has no gates of version {version}", field="version", value=version)
    return gates_view(found)


def gates_view(found: GatesFile | None) -> GatesView:
    if found is None:
        return GatesView(version=0, text="", num_rules=0, author=None, created_at=None)
    return GatesView(**asdict(found))


def checks_for(
    store: Store,
    deps: Deps,
    scope: Scope,
    kind: Literal["merge", "commit"],
    branch: str,
    tried: str | None = None,
) -> Checks | None:
    """The gates that guard this step; None when there are none. `tried` is a text to use instead of the project's.

    Raises InvalidGates for mistakes in `tried`.
    """
    project = known_project(store, scope)
    if tried is not None:
        return Checks(TRIED, _parsed(tried, project, deps)) if tried.strip() else None
    kept = store.gates(scope)
    if kept is None or not kept.num_rules:
        return None
    # They were sound when they were kept; a class or a custom gate may have gone since: then they refuse.
    gates, mistakes = read_gates(kept.text, _classes(project), deps.gates)
    return Checks(kept.version, gates, tuple(mistakes)) if gates.guard(kind, branch) else None


def run_checks(
    checks: Checks, proposal: VersionProposal, deps: Deps, kind: Literal["merge", "commit", "check"]
) -> Report:
    """What the gates say. Never raises for a proposal that they refuse."""
    outcomes = [Outcome("gates file", mistake.line, (str(mistake),)) for mistake in checks.mistakes]
    outcomes += evaluate(checks.gates.rules, proposal, deps.gates)
    return Report(
        new_id("rep"),
        kind,
        proposal.branch,
        proposal.tree_id,
        checks.version,
        all(outcome.passed for outcome in outcomes),
        tuple(
            {
                "rule": outcome.rule,
                "line": outcome.line,
                "passed": outcome.passed,
                "reasons": list(outcome.reasons),
                "measured": dict(outcome.measured),
            }
            for outcome in outcomes
        ),
        deps.clock.now(),
    )


def refusal(report: GateReportView, what: str) -> GatesRefused:
    """The problem that says why; each reason with its rule and line."""
    reasons = [
        {"field": f"{outcome.rule} (line {outcome.line})", "message": reason}
        for outcome in report.outcomes
        for reason in outcome.reasons
    ]
    shown = "; ".join(reason["message"] for reason in reasons[:3])
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return GatesRefused(
        f"the gates refuse {what}: {shown}{more}",
        field="gates",
        value=report.report_id,
        remedy="put right what they name, or change the gates",
        errors=reasons,
    )


class CommitRefused(GatesRefused):
    """Carries the report, which has to be kept beside the transaction that is rolled back."""

    def __init__(self, report: Report, branch: str) -> None:
        said = refusal(report_view(report), f"the commit on {branch!r}")
        super().__init__(said.detail, field=said.field, value=said.value, remedy=said.remedy, errors=said.errors)
        self.report = report


def guard_commit(tx: Tx[Store], deps: Deps, scope: Scope, made: Commit, base: Commit | None) -> None:
    """Ask the gates for commits on this branch, if there are any. The tree's nodes are stored in `tx` already.

    Raises CommitRefused.
    """
    checks = checks_for(tx.store, deps, scope, "commit", made.branch)
    if checks is None:
        return
    proposal = VersionProposal(
        tx.store,
        scope,
        made.branch,
        made.tree_id,
        base.tree_id if base is not None else None,
        made.num_samples,
        made.counts,
        reader(tx.store, deps.packs, scope.organisation_id),
        lambda mask_ids: {m: dict(pairs) for m, pairs in tx.store.mask_counts(scope, mask_ids).items()},
    )
    report = run_checks(checks, proposal, deps, "commit")
    if not report.passed:
        raise CommitRefused(report, proposal.branch)
    tx.store.add_report(scope, report)


@contextmanager
def keeping_reports(deps: Deps, scope: Scope) -> Iterator[None]:
    """Around a transaction with `guard_commit` in it: the report of a refused commit is kept all the same."""
    try:
        yield
    except CommitRefused as refused:
        with deps.uow.begin() as tx:
            tx.store.add_report(scope, refused.report)
        raise


def report_view(report: Report) -> GateReportView:
    return GateReportView(
        report_id=report.report_id,
        kind=report.kind,
        branch=report.branch,
        tree_id=report.tree_id,
        version=report.version,
        passed=report.passed,
        outcomes=[GateOutcome.model_validate(outcome) for outcome in report.outcomes],
        created_at=report.created_at,
    )


def reports(store: Store, scope: Scope, cursor: str | None, limit: int) -> Page[GateReportView]:
    """What the gates said, newest first."""
    known_project(store, scope)
    found = store.reports(scope, cursor, limit + 1)
    items = [report_view(report) for report in found[:limit]]
    return Page(items=items, next_cursor=items[-1].report_id if len(found) > limit else None)


def hear_agreement(tx: Tx[Store], scope: Scope, said: MeasuredAgreement) -> None:
    """A consensus was reached: how far its annotators agreed, for the gates."""
    tx.store.put_agreement(scope, said)


def _parsed(text: str, project: Project, deps: Deps) -> Gates:
    try:
        return parse_gates(text, _classes(project), deps.gates)
    except GateFileError as error:
        raise InvalidGates(
            f"the gates file has mistakes: {error}",
            field="text",
            value=f"line {error.mistakes[0].line}",
            remedy="see docs/versions.md",
            errors=[_mistake(asdict(mistake)) for mistake in error.mistakes[:50]],
        ) from error


def _classes(project: Project) -> dict[int, str]:
    return {c.id: c.name for c in ontology_of(project.ontology_json)}


def _mistake(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "field": found["field"] or "text",
        "message": found["message"],
        "line": found["line"],
        "column": found["column"],
    }
