"""Blame for a pixel: the commit in which its class came, and who set it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin, Pixel, introduced, set_by
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import load
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.refs import ancestry, resolve
from terrazzo_mask_storage.ports import Acceptance, Scope, Store
from terrazzo_masks.tiles import read_region
from terrazzo_schema.errors import NotFound, Unprocessable
from terrazzo_schema.rest.mask_storage import BlameView


def blame(deps: Deps, scope: Scope, sample_id: str, y: int, x: int, ref: str) -> BlameView:
    """Walk the history back to where the pixel got its class. Raises NotFound, Unprocessable."""
    with deps.uow.read() as store:
        start = resolve(store, scope, ref)
        read = reader(store, deps.packs, scope.organisation_id)
        entry = versions.find(start.tree_id, sample_id, read)
        if entry is None:
            raise NotFound(f"sample {sample_id} is not in {ref!r}", field="sample_id", value=sample_id)
        mask = store.masks(scope, [entry.mask_id])[entry.mask_id]
        for field, value, size in (("y", y, mask.height), ("x", x, mask.width)):
            if value >= size:
                raise Unprocessable(
                    f"{field} is {value}, the mask is {mask.height} x {mask.width}",
                    field=field,
                    value=value,
                    remedy=f"0 to {size - 1}",
                )
        pixel = _pixel(deps, store, scope, sample_id, y, x)

        def history() -> Iterator[tuple[str, str | None]]:
            for commit in ancestry(store, scope, start):
                earlier = versions.find(commit.tree_id, sample_id, read)
                yield commit.commit_id, earlier.mask_id if earlier else None

        commit_id, mask_id = introduced(history(), pixel.class_at)
        acceptance = _acceptance_of(store, scope, sample_id, mask_id)
        verdict = set_by(mask_id, pixel, acceptance.decided_by if acceptance else None)
        commit = store.commit(scope, commit_id)
        assert commit is not None
        class_id = pixel.class_at(mask_id)
        assert class_id is not None
    return BlameView(
        sample_id=sample_id,
        y=y,
        x=x,
        class_id=class_id,
        commit_id=commit_id,
        committed_at=commit.created_at,
        mask_id=mask_id,
        source=verdict.source,
        set_by=verdict.set_by,
        set_by_kind=verdict.kind,
        submission_id=verdict.submission_id,
        accepted_by=list(verdict.accepted_by),
        decided_by=acceptance.decided_by if acceptance else None,
    )


def _pixel(deps: Deps, store: Store, scope: Scope, sample_id: str, y: int, x: int) -> Pixel:
    @lru_cache(maxsize=4_096)
    def class_at(mask_id: str) -> int | None:
        mask = store.mask(scope, mask_id)
        if mask is None or y >= mask.height or x >= mask.width:
            return None
        manifest, read = load(deps, store, scope.organisation_id, mask_id)
        return int(read_region(manifest, read, y, x, 1, 1)[0, 0])

    def origins_of(mask_id: str) -> list[Origin]:
        rows = store.origins(scope, mask_id)
        # The same pixels may be the mask of other samples too; a row without a sample speaks for any.
        of_sample = [origin for its_sample, origin in rows if its_sample == sample_id]
        return of_sample or [origin for its_sample, origin in rows if not its_sample]

    return Pixel(class_at, origins_of)


def _acceptance_of(store: Store, scope: Scope, sample_id: str, mask_id: str) -> Acceptance | None:
    found = [a for a in store.acceptances(scope, sample_id) if a.mask_id == mask_id]
    return max(found, key=lambda a: (a.revision, a.task_id), default=None)
