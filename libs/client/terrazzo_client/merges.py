"""Merges, reverts, picks, branches, gates and the blame of regions: a part of `Datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import BranchView, CommitView
from terrazzo_schema.rest.merges import (
    BlameRegionView,
    BranchCreate,
    CherryPickCreate,
    ConflictView,
    GateReportView,
    GatesUpdate,
    GatesView,
    MergeComplete,
    MergeCreate,
    MergeStrategy,
    MergeView,
    PickStrategy,
    Resolution,
    RevertCreate,
)


class Merging:
    """What `Datasets` does with branches."""

    _connection: Connection

    def merge(
        self,
        project_id: str,
        source: str,
        *,
        target: str = "main",
        message: str | None = None,
        on_conflict: MergeStrategy = "adjudicate",
        dry_run: bool = False,
        gates: str | None = None,
        idempotency_key: str | None = None,
    ) -> MergeView:
        """Merge the version `source` into the branch `target`, by sample, tile and pixel.

        `on_conflict`: "adjudicate" makes tasks (the merge is "open" until they are done), "ours" and "theirs"
        decide, "fail" raises Conflict. A `dry_run` stores nothing, and may try other `gates` (YAML). Raises
        Unprocessable (slug "gates-refused", reasons in `problem.errors`) when the gates refuse it.
        """
        body = command(
            MergeCreate,
            source=source,
            target=target,
            message=message,
            strategy=on_conflict,
            dry_run=dry_run,
            gates=gates,
        )
        path = path_of("datasets", project_id, "merges")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return MergeView.model_validate_json(answer.content)

    def merges(self, project_id: str) -> Iterator[MergeView]:
        """The newest first."""
        return self._connection.pages(path_of("datasets", project_id, "merges"), Page[MergeView])

    def get_merge(self, project_id: str, merge_id: str) -> MergeView:
        return self._connection.read(path_of("datasets", project_id, "merges", merge_id), MergeView)

    def conflicts(self, project_id: str, merge_id: str) -> Iterator[ConflictView]:
        """By sample id: where, how many pixels, and the masks of both sides."""
        path = path_of("datasets", project_id, "merges", merge_id, "conflicts")
        return self._connection.pages(path, Page[ConflictView])

    def resolve_conflict(
        self,
        project_id: str,
        merge_id: str,
        sample_id: str,
        *,
        choose: Literal["ours", "theirs"] | None = None,
        mask_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> MergeView:
        """Decide one sample by hand: one side's mask, or any mask of the image's size."""
        body = command(Resolution, sample_id=sample_id, choose=choose, mask_id=mask_id)
        path = path_of("datasets", project_id, "merges", merge_id, "resolutions")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return MergeView.model_validate_json(answer.content)

    def complete_merge(
        self,
        project_id: str,
        merge_id: str,
        *,
        choose: Literal["ours", "theirs"] | None = None,
        idempotency_key: str | None = None,
    ) -> MergeView:
        """Try an open or refused merge again; `choose` decides the conflicts that are still open."""
        body = command(MergeComplete, strategy=choose)
        path = path_of("datasets", project_id, "merges", merge_id, "complete")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return MergeView.model_validate_json(answer.content)

    def abandon_merge(self, project_id: str, merge_id: str, *, idempotency_key: str | None = None) -> MergeView:
        """Give a merge up and call its tasks off."""
        path = path_of("datasets", project_id, "merges", merge_id, "abandon")
        answer = self._connection.send("POST", path, idempotency_key=idempotency_key)
        return MergeView.model_validate_json(answer.content)

    def revert(
        self,
        project_id: str,
        ref: str,
        *,
        branch: str = "main",
        message: str | None = None,
        parent: int = 1,
        on_conflict: PickStrategy = "fail",
        idempotency_key: str | None = None,
    ) -> CommitView:
        """Undo what a commit changed and keep later work. Raises Conflict when later work is in the way."""
        body = command(RevertCreate, ref=ref, branch=branch, message=message, parent=parent, strategy=on_conflict)
        path = path_of("datasets", project_id, "reverts")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return CommitView.model_validate_json(answer.content)

    def cherry_pick(
        self,
        project_id: str,
        source: str,
        sample_ids: Sequence[str],
        *,
        branch: str = "main",
        message: str | None = None,
        on_conflict: PickStrategy = "fail",
        idempotency_key: str | None = None,
    ) -> CommitView:
        """Bring what `source` changed in these samples onto a branch."""
        body = command(
            CherryPickCreate,
            source=source,
            sample_ids=list(sample_ids),
            branch=branch,
            message=message,
            strategy=on_conflict,
        )
        path = path_of("datasets", project_id, "cherry-picks")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return CommitView.model_validate_json(answer.content)

    def create_branch(
        self, project_id: str, name: str, ref: str = "main", *, idempotency_key: str | None = None
    ) -> BranchView:
        body = command(BranchCreate, name=name, ref=ref)
        path = path_of("datasets", project_id, "branches")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return BranchView.model_validate_json(answer.content)

    def delete_branch(
        self, project_id: str, name: str, *, force: bool = False, idempotency_key: str | None = None
    ) -> BranchView:
        """Take the name away; commits stay. `force`: with what is staged on it."""
        answer = self._connection.send(
            "DELETE",
            path_of("datasets", project_id, "branches", name),
            params={"force": str(force).lower()},
            idempotency_key=idempotency_key,
        )
        return BranchView.model_validate_json(answer.content)

    def blame_region(
        self, project_id: str, sample_id: str, *, y: int, x: int, height: int, width: int, ref: str = "main"
    ) -> BlameRegionView:
        """Who set the pixels of rows y..y+height, columns x..x+width, and in which commits."""
        params = {"y": y, "x": x, "height": height, "width": width, "ref": ref}
        path = path_of("datasets", project_id, "blame", sample_id, "region")
        return self._connection.read(path, BlameRegionView, params)

    def put_gates(self, project_id: str, text: str, *, idempotency_key: str | None = None) -> GatesView:
        """Set the project's gates (YAML; empty: none). Raises Unprocessable that names each mistake by line."""
        body = command(GatesUpdate, text=text)
        path = path_of("datasets", project_id, "gates")
        answer = self._connection.write("PUT", path, body, idempotency_key=idempotency_key)
        return GatesView.model_validate_json(answer.content)

    def get_gates(self, project_id: str, *, version: int | None = None) -> GatesView:
        return self._connection.read(path_of("datasets", project_id, "gates"), GatesView, {"version": version})

    def gate_reports(self, project_id: str) -> Iterator[GateReportView]:
        """What the gates said of proposed versions, the newest first."""
        return self._connection.pages(path_of("datasets", project_id, "gate-reports"), Page[GateReportView])
