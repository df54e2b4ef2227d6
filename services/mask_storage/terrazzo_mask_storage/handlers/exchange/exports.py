"""A dataset version as a zip archive in one of the formats, streamed: memory holds one sample at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from terrazzo_mask_storage.domain import layouts, versions
from terrazzo_mask_storage.handlers.datasets import described
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import labels_of, load
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Commit, Image, Project, Scope
from terrazzo_masks.formats import FORMATS
from terrazzo_masks.formats.exchange import (
    REPORT_FILE,
    ClassInfo,
    ClassTable,
    Dataset,
    FormatError,
    Member,
    Picture,
    Report,
    Sample,
    UnreadableFile,
)
from terrazzo_masks.tiles import read_region
from terrazzo_schema.errors import StorageDamaged, TooLarge, Unprocessable
from terrazzo_schema.ontology import Ontology
from terrazzo_schema.rest.mask_storage import Entry, ExportFormat
from terrazzo_schema.split import split_of

_PAGE = 200
# A fixed time (the first that zip knows), so that the same version gives the same archive.
_TIME = (1980, 1, 1, 0, 0, 0)
Chunks = Iterator[bytes]


def class_table(ontology: Ontology) -> ClassTable:
    """An ontology as the formats know it."""
    return ClassTable(
        tuple(ClassInfo(one.id, one.name, one.rgb, one.parent_id, one.value) for one in ontology),
        ontology.unlabelled,
    )


@dataclass(frozen=True)
class Export:
    """What one export needs: which version, of which project."""

    deps: Deps
    scope: Scope
    commit: Commit
    project: Project

    def dataset(self) -> Dataset:
        ontology = ontology_of(self.project.ontology_json)
        return Dataset(
            class_table(ontology), self.samples, self.project.name, self.commit.commit_id, ontology.to_dict()
        )

    def samples(self) -> Iterator[Sample]:
        """By sample id; the same stems each time it is asked. Nothing is decoded here."""
        stems = layouts.Stems()
        cursor = ""
        while True:
            with self.deps.uow.read() as store:
                read = reader(store, self.deps.packs, self.scope.organisation_id)
                rows = list(islice(versions.walk(self.commit.tree_id, read, cursor, read.prefetch), _PAGE))
                page = described(store, self.scope, rows)
                images = store.images_of(self.scope, [entry.sample_id for entry in page])
            for entry in page:
                stem = stems.stem_of(entry.name, entry.sample_id)
                yield self._sample(entry, images[entry.sample_id], stem)
            if len(page) < _PAGE:
                return
            cursor = page[-1].sample_id

    def _sample(self, entry: Entry, image: Image, stem: str) -> Sample:
        held_out = split_of(entry.sample_id, self.project.held_out_percent) == "held_out"
        return Sample(
            stem=stem,
            sample_id=entry.sample_id,
            height=entry.height,
            width=entry.width,
            labels=partial(self._labels, entry.mask_id),
            image=Picture(partial(self.deps.blobs.get, entry.image_hash), image.media_type),
            split="val" if held_out else "train",
            attributes=image.attributes,
            region=partial(self._region, entry.mask_id),
            counts=entry.counts,
        )

    def _labels(self, mask_id: str) -> NDArray[Any]:
        with _reported(), self.deps.uow.read() as store:
            return labels_of(self.deps, store, self.scope.organisation_id, mask_id)

    def _region(self, mask_id: str, y: int, x: int, height: int, width: int) -> NDArray[Any]:
        with _reported(), self.deps.uow.read() as store:
            manifest, read = load(self.deps, store, self.scope.organisation_id, mask_id)
            return read_region(manifest, read, y, x, height, width)


@contextmanager
def _reported() -> Iterator[None]:
    """A mask that is damaged, or too large for a format that wants it whole, is one that the report names."""
    try:
        yield
    except (StorageDamaged, TooLarge) as error:
        raise UnreadableFile(error.detail) from error


def export(deps: Deps, scope: Scope, ref: str, format: ExportFormat) -> tuple[Commit, Chunks]:
    """(the commit, the archive's bytes). Raises NotFound, Unprocessable before the first byte.

    The archive's last member, export-report.json, says of every sample that is not in it or not whole why.
    """
    with deps.uow.read() as store:
        commit = resolve(store, scope, ref)
        project = known_project(store, scope)
    dataset = Export(deps, scope, commit, project).dataset()
    try:
        FORMATS[format].check(dataset.classes)
    except FormatError as error:
        raise Unprocessable(
            f"{FORMATS[format].title} can't hold these classes: {error}",
            field="format",
            value=format,
            remedy="change the ontology, or choose another format",
        ) from error
    report = Report()
    return commit, _zipped(FORMATS[format].write(dataset, report), format, report)


class _Sink:
    """What the zip is written to: a stream that can't seek, emptied after each step."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data


def _zipped(members: Iterator[Member], format: ExportFormat, report: Report) -> Chunks:
    sink = _Sink()
    archive = zipfile.ZipFile(sink, "w", allowZip64=True)  # type: ignore[call-overload]
    for member in members:
        if isinstance(member.data, bytes):
            archive.writestr(_info(member.name), member.data)
            yield sink.take()
            continue
        with archive.open(_info(member.name), "w", force_zip64=True) as out:
            for chunk in member.data:
                out.write(chunk)
                yield sink.take()
        yield sink.take()
    document = {"format": format, **report.to_document()}
    archive.writestr(_info(REPORT_FILE), json.dumps(document, indent=1, ensure_ascii=False))
    archive.close()
    yield sink.take()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIME)
    info.compress_type = zipfile.ZIP_STORED if layouts.is_packed(name) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
