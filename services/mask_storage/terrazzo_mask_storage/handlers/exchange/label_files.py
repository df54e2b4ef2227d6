"""Folders of labels: many small files decoded, stored and staged at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.datasets import NothingStaged, Told, commit, stage_fitting, stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.merging.gates import keeping_reports
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.prepare import PreparedMask, add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.handlers.refs import base_of
from terrazzo_mask_storage.ports import Scope, Shown, Store
from terrazzo_masks.errors import MaskError
from terrazzo_masks.formats.label_files import read_label_image
from terrazzo_masks.labels import LabelMap
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import AlreadyAnswered, Once, Tx
from terrazzo_schema.errors import CorruptInput, TerrazzoError, Unprocessable
from terrazzo_schema.label_bundle import DamagedBundle, frames
from terrazzo_schema.rest.mask_storage import CommitCreate, CommitView, LabelsReport, SkippedFile

_SAMPLE_ID = re.compile(r"smp_[0-9a-f]{24}\Z")
_AMBIGUOUS = ""


def put_labels(
    deps: Deps,
    scope: Scope,
    branch: str,
    data: bytes,
    caller: Principal,
    message: str | None = None,
    once: Once | None = None,
) -> LabelsReport:
    """Stage the index PNGs (or .npy, TIFF) of a bundle: each named by its sample id, or like its image.

    A file that can't be taken is reported, and the others are. Sent again, it changes nothing. With a `message`,
    all that is staged then is committed, if anything is; what is refused a commit stays staged. Raises
    CorruptInput for what is no bundle, CommitRefused, StorageFull.
    """
    try:
        files = [(name, content) for _, found in frames(data) for name, content, _ in found]
    except DamagedBundle as error:
        raise CorruptInput(f"the body is no bundle of labels: {error}", field="body") from error
    read = _read(deps, scope, branch, files, caller)
    items = {s: m for s, m in zip(read.sample_ids, read.mask_ids, strict=True) if s is not None and m is not None}

    def stage(tx: Tx[Store]) -> None:
        add_all(tx.store, scope, read.rows)
        if _head_of(tx.store, scope, branch) == read.head:
            stage_fitting(tx, scope, branch, items, read.known)
        else:
            stage_items(tx, deps, scope, branch, items)

    version = None
    if message is not None:
        command = CommitCreate(branch=branch, message=message)
        told = Told(read.images, {made.mask.mask_id: made.mask for made, _, _ in read.rows})
        version = _staged_and_committed(deps, scope, command, caller, once, stage if items else _nothing, told)
    elif items:
        with deps.uow.begin() as tx:
            stage(tx)
    return LabelsReport(sample_ids=read.sample_ids, mask_ids=read.mask_ids, skipped=read.skipped, commit=version)


@dataclass
class _Read:
    """What is in a bundle. Of each file its sample and its mask (None: skipped); masks that are new, as `rows`;
    what the branch's `head` said of the samples, as `known`; hashes of their images."""

    head: str | None
    known: dict[str, TreeEntry]
    images: dict[str, str]
    sample_ids: list[str | None]
    mask_ids: list[str | None]
    skipped: list[SkippedFile]
    rows: list[tuple[PreparedMask, str, Origin]]


def _read(deps: Deps, scope: Scope, branch: str, files: Sequence[tuple[str, bytes]], caller: Principal) -> _Read:
    """Decode the files and store their tiles. Raises StorageFull."""
    skipped: list[SkippedFile] = []
    with deps.uow.read() as store:
        ontology = ontology_of(known_project(store, scope).ontology_json)
        sample_ids = _samples_of(store, scope, [name for name, _ in files], skipped)
        wanted = [sample_id for sample_id in sample_ids if sample_id is not None]
        shown = store.shown(scope, wanted)
        known: dict[str, TreeEntry] = {}
        base = base_of(store, scope, branch)
        if base is not None:
            read = reader(store, deps.packs, scope.organisation_id)
            known = versions.find_many(base.tree_id, wanted, read.node, read.prefetch)
    head = None if base is None else base.commit_id
    images = {sample_id: image.image_hash for sample_id, image in shown.items()}
    found = _Read(head, known, images, list(sample_ids), [None] * len(files), skipped, [])
    places: list[int] = []

    def maps() -> Iterator[tuple[LabelMap, str | None]]:
        for place, ((name, content), sample_id) in enumerate(zip(files, sample_ids, strict=True)):
            if sample_id is None:
                continue
            read_map = _label_map(content, shown.get(sample_id), deps.settings.max_image_pixels)
            if isinstance(read_map, str):
                skipped.append(SkippedFile(file=name, reason=read_map))
                found.sample_ids[place] = None
            else:
                places.append(place)
                entry = known.get(sample_id)
                yield read_map, None if entry is None else entry.mask_id

    prepared = prepare_many(deps, scope, maps(), ontology)
    origin = Origin("import", caller.key_id)
    for place, made in zip(places, prepared, strict=True):
        if isinstance(made, Unprocessable):
            skipped.append(SkippedFile(file=files[place][0], reason=made.detail))
            found.sample_ids[place] = None
            continue
        sample_id, mask_id = sample_ids[place], made.mask.mask_id
        assert sample_id is not None, "only files of samples are read"
        found.mask_ids[place] = mask_id
        if sample_id not in known or known[sample_id].mask_id != mask_id:
            found.rows.append((made, sample_id, origin))
    return found


def _nothing(_tx: Tx[Store]) -> None:
    """No file of the bundle was taken."""


def _staged_and_committed(
    deps: Deps,
    scope: Scope,
    command: CommitCreate,
    caller: Principal,
    once: Once | None,
    stage: Callable[[Tx[Store]], None],
    told: Told,
) -> CommitView | None:
    """One transaction for both; None if nothing is staged. What is staged stays so when the commit is refused."""
    refused: TerrazzoError | None = None
    made: CommitView | None = None
    with keeping_reports(deps, scope):
        try:
            with deps.uow.begin(once=once) as tx:
                # Before any row of the working set, as a commit does: else the two could wait for each other.
                tx.store.head_for_change(scope, command.branch)
                stage(tx)
                try:
                    with tx.part():
                        made = commit(tx, deps, scope, command, caller, told)
                        tx.remember(made)
                except NothingStaged:
                    pass
                except TerrazzoError as error:
                    refused = error
        except AlreadyAnswered as done:
            # Staged then too, and not again: others may have gone on from there.
            made = CommitView.model_validate_json(done.answer)
        if refused is not None:
            raise refused
    return made


def _head_of(store: Store, scope: Scope, branch: str) -> str | None:
    base = base_of(store, scope, branch)
    return None if base is None else base.commit_id


def _samples_of(store: Store, scope: Scope, names: Sequence[str], skipped: list[SkippedFile]) -> list[str | None]:
    """The sample of each file. Only a file that is named like its image makes us look through the images."""
    found: list[str | None] = []
    taken: set[str] = set()
    by_stem: dict[str, str] | None = None
    for name in names:
        stem = _stem(name)
        sample_id: str | None = stem
        if not _SAMPLE_ID.match(stem):
            by_stem = _by_stem(store, scope) if by_stem is None else by_stem
            sample_id = by_stem.get(stem)
        if sample_id is None or sample_id == _AMBIGUOUS:
            reason = "no image has this name" if sample_id is None else "several images have this name"
            skipped.append(SkippedFile(file=name, reason=f"{reason}; a file may also be named by its sample id"))
            sample_id = None
        elif sample_id in taken:
            skipped.append(SkippedFile(file=name, reason=f"the sample {sample_id} has another file here"))
            sample_id = None
        else:
            taken.add(sample_id)
        found.append(sample_id)
    return found


def _by_stem(store: Store, scope: Scope) -> dict[str, str]:
    """Sample ids of the project by the stem of an image's name."""
    found: dict[str, str] = {}
    for sample_id, names in store.image_names(scope):
        for name in names:
            stem = _stem(name)
            found[stem] = sample_id if found.get(stem, sample_id) == sample_id else _AMBIGUOUS
    return found


def _stem(name: str) -> str:
    """The name without folder and suffix, as posixpath.splitext has it; that is slow enough to tell."""
    name = name.rpartition("/")[2]
    stem = name.rpartition(".")[0]
    return stem if stem.strip(".") else name


def _label_map(data: bytes, shown: Shown | None, max_pixels: int) -> LabelMap | str:
    """The label map of a sample's file, or why it can't be its label."""
    if shown is None:
        return "no sample of this project"
    try:
        labels_HW = read_label_image(data, max_pixels=max_pixels)
    except MaskError as error:
        return str(error)
    if labels_HW.shape != (shown.height, shown.width):
        height, width = labels_HW.shape
        return f"the mask is {height} x {width}, its image is {shown.height} x {shown.width}"
    return labels_HW
