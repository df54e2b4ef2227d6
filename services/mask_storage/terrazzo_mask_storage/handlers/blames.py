"""Blame for a pixel or a region: the commits in which its classes came, and who set them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.region_blame import Share, introduced, shares
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import load
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Acceptance, Commit, Scope, Store
from terrazzo_masks.tiles import read_region
from terrazzo_schema.errors import NotFound, Unprocessable
from terrazzo_schema.rest.base import Box
from terrazzo_schema.rest.mask_storage import BlameView
from terrazzo_schema.rest.merges import BlameGroup, BlameRegionView

REGION_PIXELS_MAX = 2**24
_CACHE_BYTES = 256 * 2**20
BoxTuple = tuple[int, int, int, int]


def blame(deps: Deps, scope: Scope, sample_id: str, y: int, x: int, ref: str) -> BlameView:
    """Who set one pixel. Raises NotFound, Unprocessable."""
    [group] = blame_region(deps, scope, sample_id, (y, x, 1, 1), ref).groups
    return BlameView(
        sample_id=sample_id,
        y=y,
        x=x,
        class_id=group.class_id,
        commit_id=group.commit_id,
        committed_at=group.committed_at,
        mask_id=group.mask_id,
        source=group.source,
        set_by=group.set_by,
        set_by_kind=group.set_by_kind,
        submission_id=group.submission_id,
        accepted_by=group.accepted_by,
        decided_by=group.decided_by,
    )


def blame_region(deps: Deps, scope: Scope, sample_id: str, box: BoxTuple, ref: str) -> BlameRegionView:
    """Who set the pixels of `box` (y, x, height, width), and in which commits; the largest share first.

    Raises NotFound, Unprocessable for a region that leaves the mask or is too large.
    """
    with deps.uow.read() as store:
        start = resolve(store, scope, ref)
        walk = _Walk(deps, store, scope, sample_id, box)
        mask_id = walk.mask_of_commit(start)
        if mask_id is None:
            raise NotFound(f"sample {sample_id} is not in {ref!r}", field="sample_id", value=sample_id)
        _refuse_outside(store, scope, mask_id, box)
        walk.commits[start.commit_id] = start
        groups: list[BlameGroup] = []
        everywhere_HW = np.ones(box[2:], dtype=np.bool_)
        for commit_id, its_mask, where_HW in introduced(start.commit_id, walk, walk.labels_of, everywhere_HW):
            acceptance = _acceptance_of(store, scope, sample_id, its_mask)
            decided_by = acceptance.decided_by if acceptance else None
            for share in shares(its_mask, where_HW, walk.labels_of, walk.origins_of, decided_by):
                groups.append(_group(share, walk.commits[commit_id], its_mask, decided_by, box))
    groups.sort(key=lambda group: (-group.pixels, group.class_id, group.commit_id, group.box.y, group.box.x))
    return BlameRegionView(sample_id=sample_id, ref_commit_id=start.commit_id, box=_box_view(box), groups=groups)


class _Walk:
    """The history of one sample, as `region_blame` walks it."""

    def __init__(self, deps: Deps, store: Store, scope: Scope, sample_id: str, box: BoxTuple) -> None:
        self._deps, self._store, self._scope = deps, store, scope
        self._sample_id, self._box = sample_id, box
        self._read = reader(store, deps.packs, scope.organisation_id)
        self.commits: dict[str, Commit] = {}
        area = box[2] * box[3]
        self.labels_of = lru_cache(maxsize=max(4, min(4_096, _CACHE_BYTES // (2 * area))))(self._labels_of)
        self.origins_of = lru_cache(maxsize=4_096)(self._origins_of)
        self.mask_of = lru_cache(maxsize=65_536)(self._mask_of)

    def parents(self, commit_id: str) -> Sequence[str]:
        return self._commit(commit_id).parent_ids

    def age(self, commit_id: str) -> float:
        return -self._commit(commit_id).created_at.timestamp()

    def mask_of_commit(self, commit: Commit) -> str | None:
        entry = versions.find(commit.tree_id, self._sample_id, self._read)
        return entry.mask_id if entry is not None else None

    def _mask_of(self, commit_id: str) -> str | None:
        return self.mask_of_commit(self._commit(commit_id))

    def _commit(self, commit_id: str) -> Commit:
        if commit_id not in self.commits:
            found = self._store.commit(self._scope, commit_id)
            assert found is not None, "a commit's parents are stored before it"
            self.commits[commit_id] = found
        return self.commits[commit_id]

    def _labels_of(self, mask_id: str) -> NDArray[Any] | None:
        y, x, height, width = self._box
        mask = self._store.mask(self._scope, mask_id)
        if mask is None or y + height > mask.height or x + width > mask.width:
            return None
        manifest, read = load(self._deps, self._store, self._scope.organisation_id, mask_id)
        return read_region(manifest, read, *self._box)

    def _origins_of(self, mask_id: str) -> list[Origin]:
        rows = self._store.origins(self._scope, mask_id)
        # The same pixels may be the mask of other samples too; a row without a sample speaks for any.
        of_sample = [origin for its_sample, origin in rows if its_sample == self._sample_id]
        return of_sample or [origin for its_sample, origin in rows if not its_sample]


def _refuse_outside(store: Store, scope: Scope, mask_id: str, box: BoxTuple) -> None:
    mask = store.masks(scope, [mask_id])[mask_id]
    for field, value, length, size in (("y", box[0], box[2], mask.height), ("x", box[1], box[3], mask.width)):
        if value + length > size:
            raise Unprocessable(
                f"{field} is {value}{f' to {value + length - 1}' if length > 1 else ''}, "
                f"the mask is {mask.height} x {mask.width}",
                field=field,
                value=value,
                remedy=f"0 to {size - 1}",
            )
    if box[2] * box[3] > REGION_PIXELS_MAX:
        raise Unprocessable(
            f"the region has {box[2] * box[3]} pixels",
            field="height",
            value=box[2],
            remedy=f"ask for {REGION_PIXELS_MAX} pixels at most",
        )


def _group(share: Share, commit: Commit, mask_id: str, decided_by: str | None, region: BoxTuple) -> BlameGroup:
    y, x, height, width = share.box
    verdict = share.verdict
    return BlameGroup(
        class_id=share.class_id,
        pixels=share.pixels,
        box=_box_view((region[0] + y, region[1] + x, height, width)),
        commit_id=commit.commit_id,
        committed_at=commit.created_at,
        mask_id=mask_id,
        source=verdict.source,
        set_by=verdict.set_by,
        set_by_kind=verdict.kind,
        submission_id=verdict.submission_id,
        accepted_by=list(verdict.accepted_by),
        decided_by=decided_by,
    )


def _box_view(box: BoxTuple) -> Box:
    return Box(y=box[0], x=box[1], height=box[2], width=box[3])


def _acceptance_of(store: Store, scope: Scope, sample_id: str, mask_id: str) -> Acceptance | None:
    found = [a for a in store.acceptances(scope, sample_id) if a.mask_id == mask_id]
    return max(found, key=lambda a: (a.revision, a.task_id), default=None)
