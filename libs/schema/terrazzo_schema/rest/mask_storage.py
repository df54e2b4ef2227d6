"""REST models of the mask storage service: images, masks, dataset versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from terrazzo_schema.rest.base import Command, Hash, Text, View

RefName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]
MaskSource = Literal["submission", "consensus", "adjudication", "audit", "merge", "prediction", "import"]
ExportFormat = Literal[
    "index",
    "voc",
    "cityscapes",
    "camvid",
    "ade20k",
    "ade20k-full",
    "geotiff",
    "nifti",
    "webdataset",
    "coco",
    "coco-polygons",
    "coco-panoptic",
    "yolo",
    "datumaro",
    "cvat",
    "label-studio",
]


class ImageView(View):
    """One stored image. `duplicate` says that the same bytes were there already and were linked."""

    sample_id: str
    image_hash: str
    names: list[str]
    height: int
    width: int
    channels: int
    media_type: str
    size_bytes: int
    duplicate: bool
    created_at: datetime


class PyramidView(View):
    """Tiles of an image for viewers: level 0 is full size, each next level half of it."""

    tile_px: int
    levels: list[tuple[int, int]] = Field(description="(height, width) of each level")


class MaskView(View):
    """One stored mask. The id is the hash of its manifest: the same pixels have the same id."""

    mask_id: str
    height: int
    width: int
    dtype: Literal["uint8", "uint16"]
    counts: dict[int, int] = Field(description="class id -> pixels")
    size_bytes: int
    new_bytes: int = Field(description="bytes that this call added to the store")


class Provenance(Command):
    """Where a mask comes from; blame answers from it.

    `actor` is an annotator's key id, a model id, or the importer. `parent_mask_id` is the proposal
    that was corrected. `source_mask_ids` are what a consensus was made of.
    """

    source: MaskSource
    actor: Annotated[str, Field(max_length=200)]
    sample_id: Annotated[str, Field(max_length=100)]
    submission_id: Annotated[str, Field(max_length=100)] | None = None
    parent_mask_id: Hash | None = None
    source_mask_ids: Annotated[list[Hash], Field(max_length=64)] = Field(default_factory=list)


class BlankCreate(Command):
    """A mask of one class, of any size that the system takes; it is painted on by regions."""

    height: Annotated[int, Field(ge=1, le=2**31 - 1)]
    width: Annotated[int, Field(ge=1, le=2**31 - 1)]
    class_id: Annotated[int, Field(ge=0, le=65_535)] = 0
    provenance: Provenance | None = None


class MaskTile(View):
    """One tile of a stored mask: its place in pixels, and its pixels per class."""

    row: int
    col: int
    y: int
    x: int
    height: int
    width: int
    counts: dict[int, int] = Field(description="class id -> pixels")


class StageItem(Command):
    sample_id: Annotated[str, Field(max_length=100)]
    mask_id: Hash | None = Field(description="null removes the sample from the dataset")


class StageCreate(Command):
    """Put masks on a branch's working set by hand (accepted masks arrive there by themselves, on main)."""

    branch: RefName = "main"
    items: Annotated[list[StageItem], Field(min_length=1, max_length=10_000)]


class StatusView(View):
    """The working set of a branch: what the next commit would change."""

    branch: str
    head: str | None
    num_samples: int
    staged: int
    staged_masks: dict[str, str | None] = Field(
        description="the first 10,000 staged samples by id -> their masks; null: to be removed"
    )


class CommitCreate(Command):
    branch: RefName = "main"
    message: Text
    sample_ids: Annotated[list[str], Field(max_length=1_000_000)] | None = Field(
        default=None, description="commit only these staged samples; null: all of them"
    )


class CommitView(View):
    commit_id: str
    tree_id: str
    branch: str
    parent_ids: list[str]
    message: str
    author: str
    num_samples: int
    num_changed: int
    counts: dict[int, int] = Field(description="class id -> pixels, over the whole dataset version")
    created_at: datetime


class Entry(View):
    """A sample in a dataset version."""

    sample_id: str
    name: str
    image_hash: str
    mask_id: str
    height: int
    width: int
    counts: dict[int, int]


class Flow(View):
    from_class: int
    to_class: int
    pixels: int


class SampleDiff(View):
    sample_id: str
    name: str
    change: Literal["added", "removed", "changed"]
    old_mask_id: str | None
    new_mask_id: str | None
    changed_pixels: int | None = Field(description="null: pixels were not asked for")
    flow: list[Flow]


class DiffView(View):
    base: str
    head: str
    num_added: int
    num_removed: int
    num_changed: int
    changed_pixels: int | None = Field(description="null: pixels were not asked for")
    flow: list[Flow] = Field(description="from class, to class, pixels; over changed samples")
    samples: list[SampleDiff]
    next_cursor: str | None = None


class TagCreate(Command):
    name: RefName
    ref: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="commit id, branch or tag")


class TagView(View):
    name: str
    commit_id: str
    created_at: datetime


class BranchView(View):
    name: str
    commit_id: str


class BlameView(View):
    """Who set this pixel: class, the one who decided it, and the commit in which it came."""

    sample_id: str
    y: int
    x: int
    class_id: int
    commit_id: str
    committed_at: datetime
    mask_id: str
    source: MaskSource
    set_by: str = Field(description="annotator or model whose value it is")
    set_by_kind: Literal["annotator", "model", "import", "consensus"]
    submission_id: str | None
    accepted_by: list[str] = Field(description="annotators whose submissions agree with it")
    decided_by: str | None = Field(description="single, consensus, adjudication or audit")


class SkippedFile(View):
    file: str
    reason: str


# Characters of a message that stands in an address.
MESSAGE_MAX = 500


class LabelsReport(View):
    """What became of a bundle of label files, told in the order in which they stand in it.

    A file that is staged, or committed so already, has its sample and its mask; one that was skipped has null.
    """

    sample_ids: list[str | None] = Field(description="of each file of the bundle; null: it was skipped")
    mask_ids: list[str | None] = Field(description="of each file of the bundle; null: it was skipped")
    skipped: list[SkippedFile]
    commit: CommitView | None = Field(
        default=None, description="the new version, if a message was given and anything was staged"
    )


class CheckoutCreate(Command):
    """From what a folder holds to a version: the files of the commit `base`, but for `masks`, lead to `ref`."""

    ref: str = Field(default="main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")
    base: Hash | None = Field(default=None, description="commit id; None: the folder is empty")
    masks: dict[str, str | None] = Field(
        default_factory=dict,
        max_length=1_000_000,
        description="sample id -> mask id of files that are not as in `base`; None: there is no file",
    )


class ImportReport(View):
    """What an import did; a file that can't be read is reported and skipped. 10,000 notes of a kind are kept."""

    num_imported: int
    num_skipped: int
    skipped: list[dict[str, str]] = Field(description="file, reason")
    num_losses: int = Field(default=0, description="samples that came in less what a label map can't hold")
    losses: list[dict[str, str]] = Field(default_factory=list, description="file, reason")


class GcReport(View):
    """What garbage collection did, or (`dry_run`) would do."""

    dry_run: bool
    grace_hours: int = Field(description="packs younger than this were left alone")
    num_removed: int = Field(description="packs that nothing refers to")
    bytes_removed: int
    num_rewritten: int = Field(description="packs of which little was in use, or that were small")
    bytes_saved: int


class PartTotal(View):
    kind: str
    encoding: str
    num_parts: int
    size_bytes: int


class StorageStats(View):
    """What an organisation has stored, and how."""

    num_images: int
    image_bytes: int
    num_masks: int
    num_commits: int
    num_packs: int
    pack_bytes: int
    live_bytes: int = Field(description="bytes of the packs that are in use")
    num_unsettled: int = Field(description="packs that wait to be packed small")
    parts: list[PartTotal]


class Damage(View):
    """One thing that is not as it was stored, and the samples that it touches."""

    kind: Literal["tile", "node", "tree", "data", "image", "pack"]
    digest: str
    pack: str | None
    reason: str
    project_id: str | None
    sample_ids: list[str]
    mask_id: str | None
    box: tuple[int, int, int, int] | None = Field(description="(y, x, height, width) in the mask that is affected")
    commit_ids: list[str] = Field(description="versions that can't be read whole for it")


class VerifyReport(View):
    num_packs: int
    num_parts: int
    num_masks: int
    num_commits: int
    num_images: int
    num_damages: int


class VerifyLine(View):
    """One line of a verification: how far it is, one damage, or at the end the report."""

    done: int = Field(description="packs, masks, commits and images looked at")
    total: int
    damage: Damage | None = None
    report: VerifyReport | None = None
