"""Import: an archive of images and masks becomes samples and staged masks. What can't be read is reported.

Each pair is stored by content, so an import that was broken off is simply sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar

from numpy.typing import NDArray

from terrazzo_mask_storage.domain import versions
from terrazzo_mask_storage.domain.blame import Origin
from terrazzo_mask_storage.handlers import images, masks
from terrazzo_mask_storage.handlers.datasets import stage_items
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.exchange.archives import Archive
from terrazzo_mask_storage.handlers.exchange.exports import class_table
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.prepare import add_all, prepare_many
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.handlers.refs import base_of
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
# Label maps wait until there are this many, or this many pixels of them.
_BATCH_MAX, _BATCH_PIXELS = 256, 2**24
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
    """A sample and its label map; `is_known` when the image was in the project before."""

    image: Image
    labels_HW: NDArray[Any] | None
    labels_file: str
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
    num_pixels = 0
    for pair in _pairs(job, Archive(file), format):
        batch.append(pair)
        num_pixels += pair.image.height * pair.image.width
        if len(batch) == _BATCH_MAX or num_pixels >= _BATCH_PIXELS:
            _add(job, branch, batch, origin)
            batch, num_pixels = [], 0
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
    """The masks of some pairs, then their rows in one commit."""
    if not batch:
        return
    prepared = _prepared(job, branch, batch)
    with job.deps.uow.begin() as tx:
        for pair in batch:
            if not pair.is_known:
                images.add(tx, job.scope, pair.image)
        if prepared:
            add_all(tx.store, job.scope, [(mask, sample_id, origin) for sample_id, mask in prepared.items()])
            staged: dict[str, str | None] = {sample_id: m.mask.mask_id for sample_id, m in prepared.items()}
            stage_items(tx, job.deps, job.scope, branch, staged)
    job.report.num_done += sum(1 for pair in batch if not pair.is_known or pair.image.sample_id in prepared)


def _prepared(job: _Job, branch: str, batch: list[_Pair]) -> dict[str, masks.PreparedMask]:
    """Sample id -> its stored mask; one with an id that is no class is reported and left out.

    A mask is stored as a new version of the one that the branch's head has of the sample.
    """
    labelled = [pair for pair in batch if pair.labels_HW is not None]
    with job.deps.uow.read() as store:
        base = base_of(store, job.scope, branch)
        read = reader(store, job.deps.packs, job.scope.organisation_id)
        ids = [pair.image.sample_id for pair in labelled]
        old = versions.find_many(base.tree_id, ids, read, read.prefetch) if base else {}
    maps = []
    for pair in labelled:
        before = old.get(pair.image.sample_id)
        if pair.labels_HW is not None:
            maps.append((pair.labels_HW, before.mask_id if before else None))
    found: dict[str, masks.PreparedMask] = {}
    for pair, mask in zip(labelled, prepare_many(job.deps, job.scope, maps, job.ontology), strict=True):
        if isinstance(mask, TerrazzoError):
            job.report.refused(pair.labels_file, str(mask))
            continue
        if pair.image.sample_id in found:
            reason = "the archive has this image and a mask of it before: the later mask counts"
            job.report.lost(pair.labels_file, reason)
        found[pair.image.sample_id] = mask
    return found


def _pairs(job: _Job, archive: Archive, format: ExportFormat) -> Iterator[_Pair]:
    """Samples of the archive, one at a time. Raises CorruptInput when it is not in the format at all."""
    settings = job.deps.settings
    limits = Limits(settings.max_image_pixels, settings.max_image_bytes)
    try:
        for found in FORMATS[format].read(archive, class_table(job.ontology), job.report, limits):
            image = _known_image(job, found) if found.image is None else _new_image(job, found, found.image)
            if image is None:
                continue
            labels_HW = None
            if found.labels is not None:
                labels_HW = _guarded(job, found.labels_file, partial(_labels, found.labels, image))
            if labels_HW is not None or found.image is not None:
                yield _Pair(image, labels_HW, found.labels_file, is_known=found.image is None)
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
        image = store.image(job.scope, image_hash)
    if image is not None and not found.attributes.items() <= image.attributes.items():
        lost = ", ".join(sorted(found.attributes))
        job.report.lost(found.labels_file, f"its {lost} is not kept: the image was in the project before")
    return image


def _labels(read: Callable[[int, int], NDArray[Any]], image: Image) -> NDArray[Any]:
    labels_HW = read(image.height, image.width)
    if labels_HW.shape != (image.height, image.width):
        height, width = labels_HW.shape
        raise UnsupportedMask(f"the mask is {height} x {width}, its image is {image.height} x {image.width}")
    return labels_HW


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
