"""A proposed version as its gates see it (domain/gates.py's Proposal), read inside of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.gates import Of, SampleFacts
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.diff import diff_manifests
from terrazzo_masks.errors import ShapeMismatch
from terrazzo_masks.parts import Parts
from terrazzo_schema.errors import NotFound, Unprocessable

_CHUNK = 1_000
CountsOf = Callable[[Sequence[str]], Mapping[str, Mapping[int, int]]]


@dataclass(frozen=True)
class VersionProposal:
    """Implements `gates.Proposal`. `parts` and `counts_of` know what is stored, and what the proposal brings."""

    store: Store
    scope: Scope
    branch: str
    tree_id: str
    base_tree_id: str | None
    num_samples: int
    counts: Mapping[int, int]
    parts: Parts
    counts_of: CountsOf

    def samples(self, of: Of = "all") -> Iterator[SampleFacts]:
        if of == "all":
            yield from self._described(versions.walk(self.tree_id, self.parts.node, prefetch=self.parts.prefetch))
            return
        differing = versions.compare(self.base_tree_id, self.tree_id, self.parts.node, self.parts.prefetch)
        yield from self._described(new for _, new in differing if new is not None)

    def agreement(self, sample_ids: Sequence[str]) -> Mapping[str, float]:
        return self.store.agreements(self.scope, sample_ids)

    def golden(self, ref: str) -> Iterator[tuple[SampleFacts, SampleFacts | None]]:
        try:
            commit = resolve(self.store, self.scope, ref)
        except (NotFound, Unprocessable) as error:
            raise LookupError(error.detail) from error
        # Both lists are by sample id: one walk beside the other, whatever their sizes.
        here = self._described(versions.walk(self.tree_id, self.parts.node, prefetch=self.parts.prefetch))
        current = next(here, None)
        for old in self._described(versions.walk(commit.tree_id, self.parts.node, prefetch=self.parts.prefetch)):
            while current is not None and current.sample_id < old.sample_id:
                current = next(here, None)
            yield old, current if current is not None and current.sample_id == old.sample_id else None

    def flow(self, old_mask_id: str, new_mask_id: str) -> Mapping[tuple[int, int], int]:
        old, new = (tiles.load(mask_id, self.parts) for mask_id in (old_mask_id, new_mask_id))
        try:
            return diff_manifests(old, new, self.parts).flow
        except ShapeMismatch as error:
            raise ValueError(str(error)) from error

    def labels(self, mask_id: str) -> NDArray[Any]:
        return tiles.read(tiles.load(mask_id, self.parts), self.parts)

    def _described(self, found: Iterable[TreeEntry]) -> Iterator[SampleFacts]:
        entries = iter(found)
        while chunk := list(islice(entries, _CHUNK)):
            counts = self.counts_of([entry.mask_id for entry in chunk])
            name_of = self._names([entry.sample_id for entry in chunk])
            for entry in chunk:
                yield SampleFacts(entry.sample_id, entry.mask_id, counts[entry.mask_id], name_of)

    def _names(self, sample_ids: list[str]) -> Callable[[str], str]:
        """Names of a chunk of samples: all in one query, when the first is asked for."""

        @cache
        def names() -> dict[str, str]:
            images = self.store.images_of(self.scope, sample_ids)
            return {sample_id: image.name for sample_id, image in images.items()}

        return lambda sample_id: names()[sample_id]
