"""What the mask storage's handlers need of the world beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.merge_records import Conflict, GatesFile, MeasuredAgreement, Merge, Report
from terrazzo_mask_storage.domain.packs import Pack, PackLoad, Part

Flow = Mapping[tuple[int, int], int]
"""Pixels that changed class: (from, to) -> how many."""


@dataclass(frozen=True)
class Scope:
    """Whose things: every query is inside one organisation and one project."""

    organisation_id: str
    project_id: str


@dataclass(frozen=True)
class Project:
    name: str
    held_out_percent: int
    ontology_version: int
    ontology_json: str


@dataclass(frozen=True)
class Image:
    image_hash: str
    sample_id: str
    names: tuple[str, ...]
    attributes: Mapping[str, str]
    height: int
    width: int
    channels: int
    media_type: str
    size_bytes: int
    created_at: datetime

    @property
    def name(self) -> str:
        return self.names[0]


class Shown(NamedTuple):
    """What a sample shows: of its image, what a label must fit."""

    image_hash: str
    height: int
    width: int


class Mask(NamedTuple):
    """`counts` is class id -> pixels; `size_bytes` all that the mask needs, shared tiles included.

    `base_mask_id` is the mask of this project that it was made from, and `flow` what differs between the two:
    (class there, class here) -> pixels, for masks of one shape; {} if there is nothing, None if it is not known.
    """

    mask_id: str
    height: int
    width: int
    dtype: str
    counts: Mapping[int, int]
    size_bytes: int
    base_mask_id: str | None = None
    flow: Flow | None = None


@dataclass(frozen=True)
class Acceptance:
    """A MaskAccepted that was heard: the sample's label from then on."""

    sample_id: str
    task_id: str
    revision: int
    mask_id: str
    decided_by: str
    submission_ids: tuple[str, ...]


@dataclass(frozen=True)
class Commit:
    commit_id: str
    tree_id: str
    branch: str
    parent_ids: tuple[str, ...]
    message: str
    author: str
    num_samples: int
    num_changed: int
    counts: Mapping[int, int]
    created_at: datetime


@dataclass(frozen=True)
class Tag:
    name: str
    commit_id: str
    created_at: datetime


class Store(Protocol):
    """The service's tables. `add_*` of a thing that is there already changes nothing unless said otherwise."""

    # projects
    def project(self, scope: Scope) -> Project | None: ...
    def put_project(self, scope: Scope, project: Project) -> None:
        """Add or replace."""
        ...

    # images
    def image(self, scope: Scope, image_hash: str) -> Image | None: ...
    def images_of(self, scope: Scope, sample_ids: Sequence[str]) -> dict[str, Image]:
        """By sample id; those that are not known are left out."""
        ...

    def shown(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, Shown]:
        """As `images_of`, the little that is asked of very many."""
        ...

    def names_of(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, str]:
        """The first name of each sample's image."""
        ...

    def image_names(self, scope: Scope) -> Iterator[tuple[str, list[str]]]:
        """(sample id, its image's names) of all samples."""
        ...

    def images(self, scope: Scope, after: str, limit: int) -> list[Image]:
        """By image hash."""
        ...

    def add_image(self, scope: Scope, image: Image) -> None: ...
    def rename_image(
        self, scope: Scope, image_hash: str, names: Sequence[str], attributes: Mapping[str, str]
    ) -> None: ...

    # parts
    def parts(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]: ...
    def part_chains(self, organisation_id: str, digests: Iterable[str]) -> dict[str, Part]:
        """Parts, and all that their patches lie on."""
        ...

    def add_parts(self, organisation_id: str, packs: Sequence[Pack], parts: Sequence[Part]) -> None:
        """Parts, and the packs in which they lie."""
        ...

    def parts_in(self, organisation_id: str, pack: str) -> list[Part]:
        """What lies in a pack; reads the whole table."""
        ...

    def move_parts(self, organisation_id: str, packs: Sequence[Pack], moves: Sequence[tuple[Part, Part]]) -> None:
        """Parts to where they lie now (old, new); one that was moved by another meanwhile stays there."""
        ...

    def packs_to_settle(self, before: datetime, limit: int) -> list[tuple[str, Pack]]:
        """(organisation, pack) of unsettled ones stored before that, the oldest first."""
        ...

    def settle_packs(self, organisation_id: str, digests: Iterable[str]) -> None: ...
    def drop_empty_packs(self, organisation_id: str, listed: Mapping[str, Sequence[str]]) -> None:
        """Forget packs (digest -> digests of the parts that it holds) in which no part lies any more."""
        ...

    def packs(self, organisation_id: str) -> list[Pack]: ...
    def pack_digests(self) -> set[str]:
        """The packs of every organisation."""
        ...

    def pack_loads(self, organisation_id: str | None = None) -> Iterator[PackLoad]:
        """How much of each pack is in use; reads the whole table of parts."""
        ...

    def part_totals(self, organisation_id: str) -> list[tuple[str, str, int, int]]:
        """(kind, encoding, number of parts, bytes)."""
        ...

    # everything of an organisation, to be checked or counted
    def count(self, organisation_id: str, what: str) -> int:
        """How many rows of the table `what` are the organisation's."""
        ...

    def image_bytes(self, organisation_id: str) -> int: ...
    def all_masks(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, mask id), a page at a time."""
        ...

    def all_images(self, organisation_id: str) -> Iterator[list[tuple[str, str]]]:
        """(project, image hash), a page at a time."""
        ...

    def all_commits(self, organisation_id: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
        """(project, commit id, tree id, parents), the oldest first."""
        ...

    def all_pyramids(self, organisation_id: str) -> list[tuple[str, str, str]]:
        """(project, image hash, digest of the part that lists its tiles)."""
        ...

    def samples_of_masks(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, set[str]]:
        """Mask id -> samples that it was put, is staged or was accepted for."""
        ...

    # pyramids
    def pyramid(self, scope: Scope, image_hash: str) -> str | None:
        """Digest of the part that lists an image's tiles."""
        ...

    def add_pyramid(self, scope: Scope, image_hash: str, digest: str) -> None: ...

    # masks
    def mask(self, scope: Scope, mask_id: str) -> Mask | None: ...
    def masks(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, Mask]: ...
    def mask_bytes(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, int]:
        """`size_bytes` of those that are known."""
        ...

    def mask_sizes(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """(height, width) of those that are known."""
        ...

    def total_counts(self, scope: Scope, weights: Mapping[str, int]) -> dict[int, int]:
        """Class id -> pixels over masks (id -> weight), each as often as its weight says; 0 pixels are left out.

        Raises KeyError for a mask that is not known.
        """
        ...

    def mask_counts(self, scope: Scope, mask_ids: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
        """(class id, pixels) of those that are known."""
        ...

    def mask_flows(
        self, scope: Scope, mask_ids: Iterable[str]
    ) -> dict[str, tuple[str, dict[tuple[int, int], int]]]:
        """Mask id -> (its base, the flow from there), of those that were stored with both."""
        ...

    def add_masks(self, scope: Scope, masks: Iterable[Mask]) -> None:
        """Masks whose parts are stored. Of a mask that is there already everything stays as it was."""
        ...

    def origins(self, scope: Scope, mask_id: str) -> list[tuple[str, Origin]]:
        """(sample id, origin), in the order in which they were told."""
        ...

    def add_origins(self, scope: Scope, rows: Iterable[tuple[str, str, Origin]]) -> None:
        """(mask id, sample id, origin): where masks come from."""
        ...

    # accepted masks and working sets
    def acceptances(self, scope: Scope, sample_id: str) -> list[Acceptance]: ...
    def put_acceptance(self, scope: Scope, acceptance: Acceptance) -> None: ...
    def staged(self, scope: Scope, branch: str) -> dict[str, str | None]:
        """Sample id -> mask id (None: it is to be removed), by sample id."""
        ...

    def stage(self, scope: Scope, branch: str, items: Mapping[str, str | None]) -> None:
        """Add or replace."""
        ...

    def unstage(self, scope: Scope, branch: str, sample_ids: Iterable[str]) -> None: ...

    # history
    def head(self, scope: Scope, branch: str) -> str | None: ...
    def set_head(self, scope: Scope, branch: str, commit_id: str) -> None: ...
    def branches(self, scope: Scope) -> list[tuple[str, str]]: ...
    def commit(self, scope: Scope, commit_id: str) -> Commit | None: ...
    def commits(self, scope: Scope, commit_ids: Iterable[str]) -> dict[str, Commit]: ...
    def commits_until(self, scope: Scope, moment: datetime, limit: int) -> list[Commit]:
        """The newest of those made by then, newest first; commits of one moment in any order."""
        ...

    def commits_like(self, scope: Scope, prefix: str) -> list[str]:
        """At most two ids that start so: one means that the prefix is clear."""
        ...

    def add_commit(self, scope: Scope, commit: Commit) -> None: ...
    def tag(self, scope: Scope, name: str) -> Tag | None: ...
    def tags(self, scope: Scope, after: str, limit: int) -> list[Tag]: ...
    def add_tag(self, scope: Scope, tag: Tag) -> None: ...
    def graph(self, scope: Scope) -> dict[str, tuple[str, ...]]:
        """Every commit's parents."""
        ...

    def head_for_change(self, scope: Scope, branch: str) -> str | None:
        """The head, which nobody else moves before this transaction ends."""
        ...

    def remove_branch(self, scope: Scope, branch: str) -> None:
        """The branch with its working set; its commits stay."""
        ...

    # merges
    def add_merge(self, scope: Scope, merge: Merge) -> None: ...
    def merge(self, scope: Scope, merge_id: str, *, for_change: bool = False) -> Merge | None: ...
    def change_merge(self, scope: Scope, merge: Merge) -> None: ...
    def merges(self, scope: Scope, before: str | None, limit: int) -> list[Merge]:
        """Newest first."""
        ...

    def open_merges_into(self, scope: Scope, branch: str) -> list[Merge]: ...
    def decided_merges(self, limit: int) -> list[tuple[Scope, str]]:
        """Open merges of any organisation in which no conflict is open: (scope, merge id)."""
        ...

    def add_conflicts(self, scope: Scope, conflicts: Iterable[Conflict]) -> None: ...
    def conflict(self, scope: Scope, conflict_id: str, *, for_change: bool = False) -> Conflict | None: ...
    def conflicts(
        self, scope: Scope, merge_id: str, after: str = "", limit: int | None = None, *, withdrawn: bool = False
    ) -> list[Conflict]:
        """By sample id, those after `after`."""
        ...

    def change_conflict(self, scope: Scope, conflict: Conflict) -> None:
        """Its state and its ruling."""
        ...

    # gates
    def gates(self, scope: Scope, version: int | None = None) -> GatesFile | None:
        """The newest, or the one of that version."""
        ...

    def add_gates(self, scope: Scope, gates: GatesFile) -> None: ...
    def add_report(self, scope: Scope, report: Report) -> None: ...
    def report(self, scope: Scope, report_id: str) -> Report | None: ...
    def reports(self, scope: Scope, before: str | None, limit: int) -> list[Report]:
        """Newest first."""
        ...

    def put_agreement(self, scope: Scope, said: MeasuredAgreement) -> None:
        """Add or replace, unless what is known was said later."""
        ...

    def agreements(self, scope: Scope, sample_ids: Iterable[str]) -> dict[str, float]:
        """Of those that are known."""
        ...


ReadPart = Callable[[str], bytes]
"""The bytes of a part, by digest."""
