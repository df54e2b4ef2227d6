"""Import: a zip of images and masks becomes samples and staged masks. What can't be read is reported and skipped.

Each pair is stored by content, so an import that was broken off is simply sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from numpy.typing import NDArray

from terrazzo_mask_storage.domain import coco_labels, labels, layouts
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers import images, masks
from terrazzo_mask_storage.handlers.archives import Archive, UnreadableMember
from terrazzo_mask_storage.handlers.datasets import stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.exports import CLASSES_FORMAT
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.ports import Image, Scope
from terrazzo_masks.labels import count_classes
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import AlreadyAnswered, Once
from terrazzo_schema.errors import CorruptInput, StorageFull, TerrazzoError
from terrazzo_schema.ontology import Ontology
from terrazzo_schema.rest.mask_storage import ExportFormat, ImportReport

T = TypeVar("T")
JSON_BYTES_MAX = 128 * 2**20
SKIPPED_MAX = 10_000
_BATCH = 16


@dataclass
class _Job:
    """One import: where it goes, and what was skipped so far."""

    deps: Deps
    scope: Scope
    archive: Archive
    ontology: Ontology
    skipped: list[dict[str, str]] = field(default_factory=list)
    num_skipped: int = 0

    def skip(self, name: str, reason: str) -> None:
        self.num_skipped += 1
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append({"file": name, "reason": reason})


_Pair = tuple[Image, masks.PreparedMask | None]


def import_archive(
    deps: Deps,
    scope: Scope,
    data: bytes,
    *,
    branch: str,
    format: ExportFormat,
    caller: Principal,
    once: Once | None,
) -> ImportReport:
    """Store an archive's images and masks, and stage the masks. Raises CorruptInput, TooLarge, StorageFull."""
    try:
        with deps.uow.begin(once=once) as tx:
            project = known_project(tx.store, scope)
    except AlreadyAnswered as done:
        return ImportReport.model_validate_json(done.answer)
    job = _Job(deps, scope, Archive(data), ontology_of(project.ontology_json))
    pairs = _coco(job) if format == "coco" else _files(job, format)
    origin = Origin("import", caller.key_id)
    num_imported = 0
    batch: list[_Pair] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            num_imported += _add(job, branch, batch, origin)
            batch = []
    num_imported += _add(job, branch, batch, origin)
    report = ImportReport(num_imported=num_imported, num_skipped=job.num_skipped, skipped=job.skipped)
    return deps.uow.once(once, ImportReport, lambda _tx: report)


def _add(job: _Job, branch: str, batch: list[_Pair], origin: Origin) -> int:
    """The rows of some pairs, in one commit."""
    if not batch:
        return 0
    with job.deps.uow.begin() as tx:
        staged: dict[str, str | None] = {}
        for image, mask in batch:
            images.add(tx, job.scope, image)
            if mask is not None:
                mask.add(tx.store, job.scope, image.sample_id, origin)
                staged[image.sample_id] = mask.mask.mask_id
        if staged:
            stage_items(tx, job.deps, job.scope, branch, staged)
    return len(batch)


def _files(job: _Job, format: ExportFormat) -> Iterator[_Pair]:
    """Pairs of files, in the order of their names."""
    pair_up = layouts.cityscapes_pairs if format == "cityscapes" else layouts.index_pairs
    pairs, alone = pair_up(job.archive.names)
    if not pairs:
        raise CorruptInput(
            f"the archive has no images in the layout {format!r}",
            field="body",
            remedy="see 'Where things lie' in the service's README",
        )
    for name in alone:
        job.skip(name, "there is no image of this name")
    to_id = _value_map(job)
    for pair in pairs:
        image = _image(job, pair.image, pair.name)
        if image is None:
            continue
        mask = None
        if pair.mask is not None:
            mask = _guarded(job, pair.mask, partial(_mask_file, job, pair.mask, image, to_id))
        yield image, mask


def _image(job: _Job, member: str, name: str) -> Image | None:
    settings = job.deps.settings
    return _guarded(
        job,
        member,
        lambda: images.prepare(job.deps, job.archive.read(member, settings.max_image_bytes), name[-200:], {}),
    )


def _guarded(job: _Job, name: str, action: Callable[[], T]) -> T | None:
    """`action`, or None and a line in the report when this file is bad. A full disk ends the import."""
    try:
        return action()
    except StorageFull:
        raise
    except (TerrazzoError, UnreadableMember, ValueError) as error:
        job.skip(name, str(error))
        return None


def _value_map(job: _Job) -> dict[int, int]:
    """Pixel value -> class id: those of our own classes.json are class ids, others are the ontology's `value`s."""
    found = next((n for n in job.archive.names if n.rsplit("/", 1)[-1] == layouts.CLASSES), None)
    if found is not None:
        document = _json(job, found)
        if isinstance(document, Mapping) and document.get("format") == CLASSES_FORMAT:
            return {0: 0, **_classes_by_name(job.ontology, document.get("classes"))}
    return {**dict.fromkeys(job.ontology.unlabelled, 0), **job.ontology.value_to_id()}


def _classes_by_name(ontology: Ontology, classes: object) -> dict[int, int]:
    """Foreign class id -> ours: the same id and name, else the one class of that name; others are left out."""
    mapping: dict[int, int] = {}
    by_name: dict[str, list[int]] = {}
    for known in ontology:
        by_name.setdefault(known.name, []).append(known.id)
    for entry in classes if isinstance(classes, list) else []:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), int):
            continue
        same_name = by_name.get(str(entry.get("name")), [])
        if entry["id"] in same_name:
            mapping[entry["id"]] = entry["id"]
        elif len(same_name) == 1:
            mapping[entry["id"]] = same_name[0]
    return {foreign: own for foreign, own in mapping.items() if 0 < foreign <= labels.VALUE_MAX}


def _mask_file(job: _Job, name: str, image: Image, to_id: Mapping[int, int]) -> masks.PreparedMask:
    settings = job.deps.settings
    values_HW = masks.read_label_map(job.archive.read(name, settings.max_image_bytes), settings.max_image_pixels)
    stray = labels.first_stray(values_HW, to_id, count_classes(values_HW))
    if stray is not None:
        raise ValueError(
            f"value {stray.value} (first at row {stray.y}, column {stray.x}; {stray.num_pixels} pixels) "
            "is claimed by no class"
        )
    return _prepared(job, labels.translate(values_HW, to_id), image)


def _prepared(job: _Job, labels_HW: NDArray[Any], image: Image) -> masks.PreparedMask:
    if labels_HW.shape != (image.height, image.width):
        height, width = labels_HW.shape
        raise ValueError(f"the mask is {height} x {width}, its image is {image.height} x {image.width}")
    return masks.prepare(job.deps, job.scope, labels_HW, job.ontology)


def _coco(job: _Job) -> Iterator[_Pair]:
    """Images named by annotations.json, in its order."""
    where = next((n for n in job.archive.names if n.rsplit("/", 1)[-1] == layouts.ANNOTATIONS), None)
    document = _json(job, where) if where is not None else None
    if not isinstance(document, Mapping) or not isinstance(document.get("images"), list):
        raise CorruptInput(
            f"the archive has no {layouts.ANNOTATIONS} with a list 'images'", field="body", value=where
        )
    to_id = _classes_by_name(job.ontology, document.get("categories"))
    of_image: dict[object, list[Mapping[str, Any]]] = {}
    for annotation in document.get("annotations") or []:
        if isinstance(annotation, Mapping) and isinstance(annotation.get("image_id"), int | str):
            of_image.setdefault(annotation["image_id"], []).append(annotation)
    members = {name.rsplit("/", 1)[-1]: name for name in job.archive.names}
    for entry in document["images"]:
        name = entry.get("file_name") if isinstance(entry, Mapping) else None
        member = members.get(name.rsplit("/", 1)[-1]) if isinstance(name, str) else None
        if member is None or not isinstance(entry.get("id"), int | str):
            job.skip(str(name), "annotations.json names it; the archive does not have it")
            continue
        image = _image(job, member, str(name).rsplit("/", 1)[-1])
        if image is None:
            continue
        mine = of_image.get(entry["id"])
        mask = None
        if mine:
            mask = _guarded(job, f"{member} (annotations)", partial(_painted, job, mine, image, to_id))
        yield image, mask


def _painted(
    job: _Job, annotations: Sequence[Mapping[str, Any]], image: Image, to_id: Mapping[int, int]
) -> masks.PreparedMask:
    labels_HW = coco_labels.paint(annotations, image.height, image.width, to_id)
    return _prepared(job, labels_HW, image)


def _json(job: _Job, name: str) -> object:
    """Raises CorruptInput."""
    try:
        return json.loads(job.archive.read(name, JSON_BYTES_MAX))
    except (UnreadableMember, ValueError, RecursionError) as error:
        raise CorruptInput(f"{name}: {error}", field="body", value=name, remedy="send valid JSON") from error
