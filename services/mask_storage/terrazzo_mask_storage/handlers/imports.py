"""Import: an archive of images and masks becomes samples and staged masks. What can't be read is reported.

Each pair is stored by content, so an import that was broken off is simply sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import IO, TypeVar

from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers import images, masks
from terrazzo_mask_storage.handlers.archives import Archive
from terrazzo_mask_storage.handlers.datasets import stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.exports import class_table
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.ports import Image, Scope
from terrazzo_masks.errors import UnsupportedMask
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import FormatError, Found, Limits, Note, Report
from terrazzo_runtime.auth import Principal
from terrazzo_runtime.unit_of_work import AlreadyAnswered, Once
from terrazzo_schema.errors import CorruptInput, StorageFull, TerrazzoError
from terrazzo_schema.ontology import Ontology
from terrazzo_schema.rest.mask_storage import ExportFormat, ImportReport

T = TypeVar("T")
_BATCH = 16
_AMBIGUOUS = ""


@dataclass
class _Job:
    """One import: where it goes, and what was skipped so far."""

    deps: Deps
    scope: Scope
    ontology: Ontology
    report: Report = field(default_factory=Report)

    @cached_property
    def known(self) -> dict[str, str]:
        """Image hash of the project's samples by stem; only an archive with masks alone asks for it."""
        found: dict[str, str] = {}
        for image in images.iterate(self.deps, self.scope):
            for stem in {_stem(name) for name in image.names}:
                found[stem] = image.image_hash if stem not in found else _AMBIGUOUS
        return found


@dataclass(frozen=True)
class _Pair:
    """A sample and its mask; `is_known` when the image was in the project before."""

    image: Image
    mask: masks.PreparedMask | None
    is_known: bool


def import_archive(
    deps: Deps,
    scope: Scope,
    file: IO[bytes],
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
    job = _Job(deps, scope, ontology_of(project.ontology_json))
    origin = Origin("import", caller.key_id)
    batch: list[_Pair] = []
    for pair in _pairs(job, Archive(file), format):
        batch.append(pair)
        if len(batch) == _BATCH:
            _add(job, branch, batch, origin)
            batch = []
    _add(job, branch, batch, origin)
    view = _view(job.report)
    return deps.uow.once(once, ImportReport, lambda _tx: view)


def _view(report: Report) -> ImportReport:
    def lines(notes: list[Note]) -> list[dict[str, str]]:
        return [{"file": note.file, "reason": note.reason} for note in notes]

    return ImportReport(
        num_imported=report.num_done,
        num_skipped=report.num_refused,
        skipped=lines(report.refusals),
        num_losses=report.num_lost,
        losses=lines(report.losses),
    )


def _add(job: _Job, branch: str, batch: list[_Pair], origin: Origin) -> None:
    """The rows of some pairs, in one commit."""
    if not batch:
        return
    with job.deps.uow.begin() as tx:
        staged: dict[str, str | None] = {}
        for pair in batch:
            if not pair.is_known:
                images.add(tx, job.scope, pair.image)
            if pair.mask is not None:
                pair.mask.add(tx.store, job.scope, pair.image.sample_id, origin)
                staged[pair.image.sample_id] = pair.mask.mask.mask_id
        if staged:
            stage_items(tx, job.deps, job.scope, branch, staged)
    job.report.num_done += len(batch)


def _pairs(job: _Job, archive: Archive, format: ExportFormat) -> Iterator[_Pair]:
    """Samples of the archive, one at a time. Raises CorruptInput when it is not in the format at all."""
    settings = job.deps.settings
    limits = Limits(settings.max_image_pixels, settings.max_image_bytes)
    try:
        for found in FORMATS[format].read(archive, class_table(job.ontology), job.report, limits):
            image = _known_image(job, found) if found.image is None else _new_image(job, found, found.image)
            if image is None:
                continue
            mask = None
            if found.labels is not None:
                mask = _guarded(job, found.labels_file, partial(_mask, job, found, image))
            if mask is not None or found.image is not None:
                yield _Pair(image, mask, is_known=found.image is None)
    except FormatError as error:
        raise CorruptInput(
            f"the archive can't be read as {FORMATS[format].title}: {error}",
            field="body",
            remedy="see 'Where things lie' in the service's README",
        ) from error


def _new_image(job: _Job, found: Found, read: Callable[[], bytes]) -> Image | None:
    return _guarded(
        job, found.image_file, lambda: images.prepare(job.deps, read(), found.name[-200:], dict(found.attributes))
    )


def _known_image(job: _Job, found: Found) -> Image | None:
    """The project's image of this name, for a mask that comes alone."""
    image_hash = job.known.get(_stem(found.name))
    if not image_hash:
        several = "several samples have this name, and the archive has no image of it"
        job.report.refused(found.labels_file, "there is no image of this name" if image_hash is None else several)
        return None
    with job.deps.uow.read() as store:
        return store.image(job.scope, image_hash)


def _mask(job: _Job, found: Found, image: Image) -> masks.PreparedMask:
    assert found.labels is not None
    labels_HW = found.labels(image.height, image.width)
    if labels_HW.shape != (image.height, image.width):
        height, width = labels_HW.shape
        raise UnsupportedMask(f"the mask is {height} x {width}, its image is {image.height} x {image.width}")
    return masks.prepare(job.deps, job.scope, labels_HW, job.ontology)


def _guarded(job: _Job, name: str, action: Callable[[], T]) -> T | None:
    """`action`, or None and a line in the report when this file is bad. A full disk ends the import."""
    try:
        return action()
    except StorageFull:
        raise
    except (TerrazzoError, ValueError) as error:
        job.report.refused(name, str(error))
        return None


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem
