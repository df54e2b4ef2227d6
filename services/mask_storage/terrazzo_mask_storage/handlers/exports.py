"""A dataset version as a zip archive, streamed: memory holds one sample at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_mask_storage.domain import coco, layouts, pictures, versions
from terrazzo_mask_storage.handlers.datasets import described
from terrazzo_mask_storage.handlers.deps import Deps
from terrazzo_mask_storage.handlers.masks import labels_of
from terrazzo_mask_storage.handlers.parts import reader
from terrazzo_mask_storage.handlers.projects import known_project, ontology_of
from terrazzo_mask_storage.handlers.refs import resolve
from terrazzo_mask_storage.ports import Commit, Project, Scope
from terrazzo_masks.formats import to_png
from terrazzo_schema.ontology import Ontology
from terrazzo_schema.rest.mask_storage import Entry, ExportFormat
from terrazzo_schema.split import split_of

CLASSES_FORMAT = "terrazzo-classes"
_PAGE = 200
# A fixed time (the first that zip knows), so that the same version gives the same archive.
_TIME = (1980, 1, 1, 0, 0, 0)
Chunks = Iterator[bytes]


@dataclass(frozen=True)
class Export:
    """What one export needs: which version, of which project, in whose colours."""

    deps: Deps
    scope: Scope
    commit: Commit
    project: Project

    @property
    def ontology(self) -> Ontology:
        return ontology_of(self.project.ontology_json)

    def entries(self) -> Iterator[tuple[Entry, str]]:
        """(entry, its stem) by sample id; the same stems each time it is asked."""
        stems = layouts.Stems()
        cursor = ""
        while True:
            with self.deps.uow.read() as store:
                read = reader(store, self.deps.packs, self.scope.organisation_id)
                rows = []
                for row in versions.walk(self.commit.tree_id, read, cursor):
                    rows.append(row)
                    if len(rows) == _PAGE:
                        break
                page = described(store, self.scope, rows)
            for entry in page:
                yield entry, stems.stem_of(entry.name, entry.sample_id)
            if len(page) < _PAGE:
                return
            cursor = page[-1].sample_id

    def labels(self, entry: Entry) -> NDArray[Any]:
        with self.deps.uow.read() as store:
            return labels_of(self.deps, store, self.scope.organisation_id, entry.mask_id)

    def image(self, entry: Entry) -> tuple[bytes, str]:
        """(file bytes, media type)."""
        with self.deps.uow.read() as store:
            image = store.image(self.scope, entry.image_hash)
        assert image is not None
        return self.deps.blobs.get(entry.image_hash), image.media_type


def export(deps: Deps, scope: Scope, ref: str, format: ExportFormat) -> tuple[Commit, Chunks]:
    """(the commit, the archive's bytes). Raises NotFound before the first byte."""
    with deps.uow.read() as store:
        commit = resolve(store, scope, ref)
        project = known_project(store, scope)
    job = Export(deps, scope, commit, project)
    write: dict[str, Callable[[Export, _Zip], Chunks]] = {
        "index": _index,
        "coco": _coco,
        "cityscapes": _cityscapes,
    }
    return commit, _zipped(partial(write[format], job))


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


class _Zip:
    def __init__(self) -> None:
        self.sink = _Sink()
        self.archive = zipfile.ZipFile(self.sink, "w", allowZip64=True)  # type: ignore[call-overload]

    def add(self, name: str, data: bytes, *, packed: bool = False) -> bytes:
        """Add a member; returns the bytes to send. `packed` data is stored as it is."""
        self.archive.writestr(self.info(name, packed=packed), data)
        return self.sink.take()

    @staticmethod
    def info(name: str, *, packed: bool = False) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        return info


def _zipped(write: Callable[[_Zip], Chunks]) -> Chunks:
    out = _Zip()
    yield from write(out)
    out.archive.close()
    yield out.sink.take()


def _index(job: Export, out: _Zip) -> Chunks:
    palette = job.ontology.palette()
    yield out.add(layouts.CLASSES, _classes(job))
    for entry, stem in job.entries():
        yield _image_member(job, out, entry, stem)[1]
        yield out.add(f"{layouts.MASKS}/{stem}.png", to_png(job.labels(entry), palette), packed=True)


def _image_member(job: Export, out: _Zip, entry: Entry, stem: str) -> tuple[str, bytes]:
    data, media_type = job.image(entry)
    name = f"{stem}.{pictures.EXTENSIONS[media_type]}"
    return name, out.add(f"{layouts.IMAGES}/{name}", data, packed=True)


def _classes(job: Export) -> bytes:
    document = {
        "format": CLASSES_FORMAT,
        "version": 1,
        "project": job.project.name,
        "commit_id": job.commit.commit_id,
        "pixels": "class ids; 0 is unlabelled",
        "classes": [
            {"id": c.id, "name": c.name, "color": c.color, "parent_id": c.parent_id} for c in job.ontology
        ],
        "ontology": job.ontology.to_dict(),
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _coco(job: Export, out: _Zip) -> Chunks:
    """Images first, then annotations.json written bit by bit: one annotation per class of an image, as RLE.

    RLE, not polygons: COCO's polygons know no holes. Image ids count from 1 by sample id.
    """
    yield out.add(layouts.CLASSES, _classes(job))
    images = []
    for number, (entry, stem) in enumerate(job.entries(), start=1):
        name, chunk = _image_member(job, out, entry, stem)
        size = {"height": entry.height, "width": entry.width}
        images.append({"id": number, "file_name": name, **size, "sample_id": entry.sample_id})
        yield chunk
    names = {c.id: c.name for c in job.ontology}
    categories = [
        {"id": c.id, "name": c.name, "supercategory": names.get(c.parent_id or 0, c.name), "color": list(c.rgb)}
        for c in job.ontology
    ]
    head = {"info": {"description": job.project.name, "version": job.commit.commit_id}, "licenses": []}
    with out.archive.open(out.info(layouts.ANNOTATIONS), "w", force_zip64=True) as member:
        start = json.dumps({**head, "categories": categories, "images": images}, ensure_ascii=False)
        member.write(start[:-1].encode() + b', "annotations": [')
        num_annotations = 0
        for number, (entry, _) in enumerate(job.entries(), start=1):
            for annotation in _annotations(job.labels(entry), number):
                num_annotations += 1
                comma = b",\n" if num_annotations > 1 else b"\n"
                member.write(comma + json.dumps({"id": num_annotations, **annotation}).encode())
            yield out.sink.take()
        member.write(b"]}")
    yield out.sink.take()


def _annotations(labels_HW: NDArray[Any], image_id: int) -> Iterator[dict[str, Any]]:
    height, width = labels_HW.shape
    for class_id in np.flatnonzero(np.bincount(labels_HW.ravel())).tolist():
        if class_id == 0:
            continue
        mask_HW = labels_HW == class_id
        rows, cols = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        y, x = int(rows[0]), int(cols[0])
        yield {
            "image_id": image_id,
            "category_id": class_id,
            "iscrowd": 0,
            "area": int(mask_HW.sum()),
            "bbox": [x, y, int(cols[-1]) - x + 1, int(rows[-1]) - y + 1],
            "segmentation": {"size": [height, width], "counts": coco.to_text(coco.runs_of(mask_HW))},
        }


def _cityscapes(job: Export, out: _Zip) -> Chunks:
    """The held-out samples are its `val`. Images are PNG, as its readers expect; a JPEG is decoded for that."""
    yield out.add(layouts.CLASSES, _classes(job))
    group = layouts.Stems().stem_of(job.project.name, "smp_project")
    for entry, stem in job.entries():
        held_out = split_of(entry.sample_id, job.project.held_out_percent) == "held_out"
        place = f"{'val' if held_out else 'train'}/{group}/{stem}"
        data, media_type = job.image(entry)
        if media_type != "image/png":
            data = pictures.png_of(pictures.display(data, job.deps.settings.max_image_pixels))
        yield out.add(f"leftImg8bit/{place}{layouts.LEFT}.png", data, packed=True)
        yield out.add(f"gtFine/{place}{layouts.FINE}.png", to_png(job.labels(entry)), packed=True)
