"""Everything that an organisation has stored, read and hashed again: what is damaged, and for which samples.

Packs first (each by its own hash, then each part by its digest), then what names parts: masks, dataset versions,
images. A damage is reported by mask and sample, with its place in the mask; memory holds the damages and a page of
masks, not what is sound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.packs import DamagedPack, Pack, Part, read_pack
from terrazzo_mask_storage.handlers.caches import PackCache
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import PartsReader
from terrazzo_mask_storage.ports import Scope, Store
from terrazzo_masks import tiles
from terrazzo_masks.boxes import Box
from terrazzo_masks.children import read_child
from terrazzo_masks.errors import MaskError
from terrazzo_masks.manifest import MIXED, Node
from terrazzo_masks.parts import tile_digest
from terrazzo_runtime.blobs import BlobNotFound
from terrazzo_schema.errors import StorageDamaged
from terrazzo_schema.ids import content_hash
from terrazzo_schema.rest.mask_storage import Damage, VerifyLine, VerifyReport

Kind = Literal["tile", "node", "tree", "data", "image", "pack"]


class _Bad(NamedTuple):
    """A part that is not what its digest says."""

    kind: Kind
    pack: str | None
    reason: str


@dataclass
class _Hit:
    """A part that a mask needs and that is damaged or missing."""

    scope: Scope
    mask_id: str
    digest: str
    bad: _Bad
    box: Box | None
    samples: set[str] = field(default_factory=set)


def _named_by(node: Node) -> list[str]:
    return [node.digest_of_child(child) for child in np.flatnonzero(node.uniform_N == MIXED).tolist()]


def verify(deps: Deps, organisation_id: str) -> Iterator[VerifyLine]:
    """Check everything of an organisation. The last line has the report."""
    with deps.uow.read() as store:
        yield from _Verification(deps, store, organisation_id).run()


class _Verification:
    def __init__(self, deps: Deps, store: Store, organisation_id: str) -> None:
        self._deps, self._store, self._organisation_id = deps, store, organisation_id
        # Caches of its own: what the service holds in memory must not hide what is on the disk.
        self._cache = PackCache(deps.blobs)
        self._bad: dict[str, _Bad] = {}
        self._hits: list[_Hit] = []
        self._sound_nodes: set[str] = set()
        self._bad_trees: dict[tuple[str, str], set[str]] = {}
        self._num = dict.fromkeys(("packs", "parts", "masks", "commits", "images", "damages"), 0)
        self._total = sum(store.count(organisation_id, what) for what in ("packs", "masks", "commits", "images"))
        self._named: set[str] = set()

    def run(self) -> Iterator[VerifyLine]:
        yield self._line()
        for phase in (self._packs, self._masks, self._commits, self._damages, self._images):
            for damage in phase():
                self._num["damages"] += damage is not None
                yield self._line(damage)
        report = VerifyReport(**{f"num_{what}": num for what, num in self._num.items()})
        yield VerifyLine(done=self._done, total=self._total, report=report)

    @property
    def _done(self) -> int:
        return sum(self._num[what] for what in ("packs", "masks", "commits", "images"))

    def _line(self, damage: Damage | None = None) -> VerifyLine:
        return VerifyLine(done=self._done, total=max(self._total, self._done), damage=damage)

    def _reader(self) -> PartsReader:
        return PartsReader(self._store, self._cache, self._organisation_id)

    # packs and the parts in them

    def _packs(self) -> Iterator[Damage | None]:
        for pack in self._store.packs(self._organisation_id):
            yield from self._pack(pack)
            self._num["packs"] += 1
            yield None

    def _pack(self, pack: Pack) -> Iterator[Damage]:
        read = self._reader()
        reason = None
        try:
            data = self._cache.read(pack.digest)
            if content_hash(data) != pack.digest:
                reason = f"its bytes have the hash {content_hash(data)}"
            listed = [part.digest for part in read_pack(data)]
        except BlobNotFound:
            reason, listed = "it is not there", []
        except DamagedPack as error:
            reason, listed = str(error), []
        if reason is None:
            found = [p for p in read.parts(listed).values() if p.pack == pack.digest]
        else:
            # Its own list can't be trusted: the database says what should lie there.
            found = self._store.parts_in(self._organisation_id, pack.digest)
            read.prefetch(part.digest for part in found)
            yield self._damage("pack", pack.digest, pack.digest, reason)
        for part in found:
            self._num["parts"] += 1
            why = self._wrong(read, part)
            if why is not None:
                self._bad[part.digest] = _Bad(part.kind, part.pack, why)

    @staticmethod
    def _wrong(read: PartsReader, part: Part) -> str | None:
        """What is wrong with a part; None when it is what its digest says."""
        try:
            if part.kind != "tile":
                read.node(part.digest)
            elif (found := tile_digest(read.tile(part.digest))) != part.digest:
                return f"its pixels have the digest {found}"
        except StorageDamaged as error:
            return error.detail
        return None

    # masks

    def _masks(self) -> Iterator[Damage | None]:
        for page in self._store.all_masks(self._organisation_id):
            read = self._reader()
            read.prefetch(mask_id for _, mask_id in page)
            roots = [
                (Scope(self._organisation_id, project), mask, self._root(read, project, mask))
                for project, mask in page
            ]
            # What the roots of a page name is located in one query.
            read.prefetch(digest for _, _, root in roots if root is not None for digest in _named_by(root))
            for scope, mask_id, root in roots:
                if root is not None:
                    self._visit(read, scope, mask_id, root)
                self._num["masks"] += 1
            yield None

    def _root(self, read: PartsReader, project_id: str, mask_id: str) -> Node | None:
        """A mask's root; None, and noted, when it can't be read."""
        bad = self._bad_of(read, mask_id, "node")
        if bad is None:
            try:
                return tiles.load(mask_id, read).root
            except (MaskError, StorageDamaged) as error:
                bad = _Bad("node", None, str(error))
        self._hits.append(_Hit(Scope(self._organisation_id, project_id), mask_id, mask_id, bad, None))
        return None

    def _bad_of(self, read: PartsReader, digest: str, kind: Kind) -> _Bad | None:
        if digest in self._bad:
            return self._bad[digest]
        if digest not in read.parts([digest]):
            return _Bad(kind, None, "it is named, but not stored")
        return None

    def _visit(self, read: PartsReader, scope: Scope, mask_id: str, node: Node) -> None:
        """Find what is wrong below a node; a node below which all is well is not looked at again."""
        read.prefetch(_named_by(node))
        for child in np.flatnonzero(node.uniform_N == MIXED).tolist():
            digest, box = node.digest_of_child(child), node.box_of(child)
            bad = self._bad_of(read, digest, "tile" if node.level == 0 else "node")
            if bad is None and node.level > 0 and digest not in self._sound_nodes:
                num_before = len(self._hits)
                try:
                    self._visit(read, scope, mask_id, read_child(read, node, child))
                except (MaskError, StorageDamaged) as error:
                    bad = _Bad("node", None, str(error))
                if bad is None and len(self._hits) == num_before:
                    self._sound_nodes.add(digest)
            if bad is not None:
                self._hits.append(_Hit(scope, mask_id, digest, bad, box))

    # dataset versions

    def _commits(self) -> Iterator[Damage | None]:
        """Each version's tree, as far as it differs from its parent's; notes the samples of damaged masks."""
        hit_masks = {(hit.scope.project_id, hit.mask_id): hit for hit in self._hits}
        tree_of: dict[str, str] = {}
        for project_id, commit_id, tree_id, parent_ids in self._store.all_commits(self._organisation_id):
            tree_of[commit_id] = tree_id
            base = next((tree_of[parent] for parent in parent_ids if parent in tree_of), None)
            read = self._reader()
            try:
                self._note_samples(project_id, hit_masks, base, tree_id, read)
            except (StorageDamaged, versions.CorruptNode):
                # Is it this version, or only the one before it?
                try:
                    self._note_samples(project_id, hit_masks, None, tree_id, read)
                except StorageDamaged as error:
                    self._bad_trees.setdefault((project_id, str(error.value)), set()).add(commit_id)
                except versions.CorruptNode as error:
                    self._bad.setdefault(tree_id, _Bad("tree", None, str(error)))
                    self._bad_trees.setdefault((project_id, tree_id), set()).add(commit_id)
            self._num["commits"] += 1
            yield None

    @staticmethod
    def _note_samples(
        project_id: str, hits: dict[tuple[str, str], _Hit], base: str | None, tree_id: str, read: PartsReader
    ) -> None:
        for _, entry in versions.compare(base, tree_id, read, read.prefetch):
            if entry is not None and (hit := hits.get((project_id, entry.mask_id))) is not None:
                hit.samples.add(entry.sample_id)

    # reports

    def _damages(self) -> Iterator[Damage]:
        samples: dict[tuple[str, str], set[str]] = {}
        for hit in self._hits:
            samples.setdefault((hit.scope.project_id, hit.mask_id), set()).update(hit.samples)
        for hit in self._hits:
            mine = samples[hit.scope.project_id, hit.mask_id]
            mine |= self._store.samples_of_masks(hit.scope, [hit.mask_id]).get(hit.mask_id, set())
            yield self._damage(
                hit.bad.kind,
                hit.digest,
                hit.bad.pack,
                hit.bad.reason,
                project_id=hit.scope.project_id,
                sample_ids=sorted(mine),
                mask_id=hit.mask_id,
                box=hit.box,
            )
        for (project_id, digest), commit_ids in sorted(self._bad_trees.items()):
            bad = self._bad.get(digest) or _Bad("tree", None, "it is named, but not stored")
            yield self._damage(
                "tree", digest, bad.pack, bad.reason, project_id=project_id, commit_ids=sorted(commit_ids)
            )
        yield from self._pyramids()
        for digest, bad in sorted(self._bad.items()):
            if digest not in self._named:
                yield self._damage(bad.kind, digest, bad.pack, bad.reason)

    def _pyramids(self) -> Iterator[Damage]:
        """Damaged tiles for viewers, by the image that they show."""
        if not any(bad.kind == "data" for bad in self._bad.values()):
            return
        for project_id, image_hash, digest in self._store.all_pyramids(self._organisation_id):
            needed = {digest}
            if digest not in self._bad:
                needed |= {tile for level in json.loads(self._reader()(digest)) for tile in level}
            images = self._store.image(Scope(self._organisation_id, project_id), image_hash)
            for damaged in sorted(needed & self._bad.keys()):
                bad = self._bad[damaged]
                yield self._damage(
                    "data",
                    damaged,
                    bad.pack,
                    f"a picture of image {image_hash} for viewers: {bad.reason}",
                    project_id=project_id,
                    sample_ids=[images.sample_id] if images is not None else [],
                )

    def _images(self) -> Iterator[Damage | None]:
        for page in self._store.all_images(self._organisation_id):
            for project_id, image_hash in page:
                reason = self._wrong_blob(image_hash)
                self._num["images"] += 1
                if reason is not None:
                    image = self._store.image(Scope(self._organisation_id, project_id), image_hash)
                    sample_ids = [image.sample_id] if image is not None else []
                    yield self._damage(
                        "image", image_hash, None, reason, project_id=project_id, sample_ids=sample_ids
                    )
                else:
                    yield None

    def _wrong_blob(self, digest: str) -> str | None:
        try:
            found = content_hash(self._deps.blobs.get(digest))
        except BlobNotFound:
            return "it is not there"
        return None if found == digest else f"its bytes have the hash {found}"

    def _damage(
        self,
        kind: Kind,
        digest: str,
        pack: str | None,
        reason: str,
        *,
        project_id: str | None = None,
        sample_ids: list[str] | None = None,
        mask_id: str | None = None,
        box: Box | None = None,
        commit_ids: list[str] | None = None,
    ) -> Damage:
        self._named.add(digest)
        return Damage(
            kind=kind,
            digest=digest,
            pack=pack,
            reason=reason,
            project_id=project_id,
            sample_ids=sample_ids or [],
            mask_id=mask_id,
            box=None if box is None else (box.y, box.x, box.height, box.width),
            commit_ids=commit_ids or [],
        )
