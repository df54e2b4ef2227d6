"""Folders of labels: many small files decoded, stored and staged at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from posixpath import splitext

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.domain.versions import TreeEntry
from terrazzo_mask_storage.handlers.datasets import stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.prepare import PreparedMask, add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.handlers.refs import base_of
from terrazzo_mask_storage.ports import Scope, Shown
from terrazzo_masks.errors import MaskError
from terrazzo_masks.formats.label_files import read_label_image
from terrazzo_masks.labels import LabelMap
from terrazzo_runtime.auth import Principal
from terrazzo_schema.errors import CorruptInput, Unprocessable
from terrazzo_schema.label_bundle import DamagedBundle, frames
from terrazzo_schema.rest.mask_storage import LabelFile, LabelsReport, SkippedFile

_SAMPLE_ID = re.compile(r"smp_[0-9a-f]{24}\Z")
_AMBIGUOUS = ""


def put_labels(deps: Deps, scope: Scope, branch: str, data: bytes, caller: Principal) -> LabelsReport:
    """Stage the index PNGs (or .npy, TIFF) of a bundle: each named by its sample id, or like its image.

    A file that can't be taken is reported, and the others are. Sent again, it changes nothing. Raises CorruptInput
    for what is no bundle, StorageFull.
    """
    try:
        files = {name: content for _, found in frames(data) for name, content, _ in found}
    except DamagedBundle as error:
        raise CorruptInput(f"the body is no bundle of labels: {error}", field="body") from error
    skipped: list[SkippedFile] = []
    with deps.uow.read() as store:
        ontology = ontology_of(known_project(store, scope).ontology_json)
    sample_of = _samples_of(deps, scope, files, skipped)
    with deps.uow.read() as store:
        base = base_of(store, scope, branch)
        read = reader(store, deps.packs, scope.organisation_id)
        shown = store.shown(scope, sample_of.values())
        known: dict[str, TreeEntry] = {}
        if base is not None:
            known = versions.find_many(base.tree_id, sample_of.values(), read.node, read.prefetch)
    bases = {name: known[s].mask_id if s in known else None for name, s in sample_of.items()}
    read_names: list[str] = []

    def maps() -> Iterator[tuple[LabelMap, str | None]]:
        for name, sample_id in sample_of.items():
            read_map = _label_map(files[name], shown.get(sample_id), deps.settings.max_image_pixels)
            if isinstance(read_map, str):
                skipped.append(SkippedFile(file=name, reason=read_map))
            else:
                read_names.append(name)
                yield read_map, bases[name]

    prepared = prepare_many(deps, scope, maps(), ontology)
    taken: list[LabelFile] = []
    rows: list[tuple[PreparedMask, str, Origin]] = []
    for name, made in zip(read_names, prepared, strict=True):
        if isinstance(made, Unprocessable):
            skipped.append(SkippedFile(file=name, reason=made.detail))
            continue
        taken.append(LabelFile(name=name, sample_id=sample_of[name], mask_id=made.mask.mask_id))
        if made.mask.mask_id != bases[name]:
            rows.append((made, sample_of[name], Origin("import", caller.key_id)))
    if taken:
        with deps.uow.begin() as tx:
            add_all(tx.store, scope, rows)
            stage_items(tx, deps, scope, branch, {file.sample_id: file.mask_id for file in taken})
    return LabelsReport(files=taken, skipped=skipped)


def _samples_of(deps: Deps, scope: Scope, names: Iterable[str], skipped: list[SkippedFile]) -> dict[str, str]:
    """File name -> sample id. Only a file that is named like its image makes us look through the images."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    by_stem: dict[str, str] | None = None
    for name in names:
        sample_id: str | None = _stem(name)
        if not _SAMPLE_ID.match(_stem(name)):
            by_stem = _by_stem(deps, scope) if by_stem is None else by_stem
            sample_id = by_stem.get(_stem(name))
        if sample_id is None or sample_id == _AMBIGUOUS:
            reason = "no image has this name" if sample_id is None else "several images have this name"
            skipped.append(SkippedFile(file=name, reason=f"{reason}; a file may also be named by its sample id"))
        elif sample_id in taken:
            skipped.append(SkippedFile(file=name, reason=f"the sample {sample_id} has another file here"))
        else:
            found[name] = sample_id
            taken.add(sample_id)
    return found


def _by_stem(deps: Deps, scope: Scope) -> dict[str, str]:
    """Sample ids of the project by the stem of an image's name."""
    found: dict[str, str] = {}
    with deps.uow.read() as store:
        for sample_id, names in store.image_names(scope):
            for name in names:
                stem = _stem(name)
                found[stem] = sample_id if found.get(stem, sample_id) == sample_id else _AMBIGUOUS
    return found


def _stem(name: str) -> str:
    """The name without folder and suffix. (PurePosixPath is slow enough to tell.)"""
    return splitext(name.rpartition("/")[2])[0]


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
