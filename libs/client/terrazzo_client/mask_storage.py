"""Resources of the mask storage service: images, masks, dataset versions.

Legend: labels_HW is a label map, uint8 or uint16, (height, width), class ids, 0 = unlabelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from terrazzo_client.connection import Connection, command, path_of
from terrazzo_client.folders import zipped
from terrazzo_client.merges import Merging
from terrazzo_schema.rest.base import Page
from terrazzo_schema.rest.mask_storage import (
    BlameView,
    BlankCreate,
    BranchView,
    CheckoutCreate,
    CommitCreate,
    CommitView,
    DiffView,
    Entry,
    ExportFormat,
    ImageView,
    ImportReport,
    LabelsReport,
    MaskTile,
    MaskView,
    Provenance,
    PyramidView,
    SampleDiff,
    StageCreate,
    StatusView,
    TagCreate,
    TagView,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    LabelMap = NDArray[np.uint8] | NDArray[np.uint16]

MaskFormat = Literal["png", "npy", "fast", "small", "manifest"]
_UPLOAD_CHUNK_BYTES = 1 << 20


class Images:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def upload(
        self,
        project_id: str,
        data: bytes,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ImageView:
        """Store an image file's bytes (PNG, JPEG, TIFF, WebP, BMP; the content decides, not the name).

        The same bytes again are linked, not stored twice (`duplicate`). Raises BadRequest for bytes that
        are no whole image, TooLarge for one over the limits.
        """
        answer = self._connection.send(
            "POST",
            path_of("images", project_id),
            params={"name": name, "attributes": json.dumps(dict(attributes)) if attributes else None},
            content=data,
            idempotency_key=idempotency_key,
        )
        return ImageView.model_validate_json(answer.content)

    def list(self, project_id: str) -> Iterator[ImageView]:
        return self._connection.pages(path_of("images", project_id), Page[ImageView])

    def get(self, project_id: str, image_hash: str) -> ImageView:
        return self._connection.read(path_of("images", project_id, image_hash), ImageView)

    def content(self, project_id: str, image_hash: str) -> bytes:
        """The bytes as they were uploaded."""
        return self._connection.content(path_of("images", project_id, image_hash, "content"))

    def thumbnail(self, project_id: str, image_hash: str, size: int | None = None) -> bytes:
        """A JPEG or PNG whose longer side has `size` pixels."""
        path = path_of("images", project_id, image_hash, "thumbnail")
        return self._connection.content(path, {"size": size})

    def pyramid(self, project_id: str, image_hash: str) -> PyramidView:
        return self._connection.read(path_of("images", project_id, image_hash, "pyramid"), PyramidView)

    def tile(self, project_id: str, image_hash: str, level: int, row: int, col: int) -> bytes:
        """A tile of the image's pyramid: PNG or JPEG."""
        return self._connection.content(path_of("images", project_id, image_hash, "tiles", level, row, col))


class Masks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(
        self,
        project_id: str,
        labels: LabelMap | bytes,
        *,
        provenance: Provenance | None = None,
        expected: tuple[int, int] | None = None,
        base: str | None = None,
        idempotency_key: str | None = None,
    ) -> MaskView:
        """Store a label map: an array (H, W) of class ids, uint8 or uint16, or the bytes of an index
        PNG, TIFF or .npy file. The same pixels again have the same mask id.

        `expected` (height, width) is the image's size; `base` is the mask that this is a new version of (else the
        provenance's parent): what changed may be stored as a patch on it. Raises Unprocessable for another size
        or for a class id that is not in the ontology.
        """
        height, width = expected if expected is not None else (None, None)
        answer = self._connection.send(
            "PUT",
            path_of("masks", project_id),
            params={
                "height": height,
                "width": width,
                "base": base,
                "provenance": provenance.model_dump_json() if provenance is not None else None,
            },
            content=labels if isinstance(labels, bytes) else _to_npy(labels),
            idempotency_key=idempotency_key,
        )
        return MaskView.model_validate_json(answer.content)

    def blank(
        self,
        project_id: str,
        height: int,
        width: int,
        *,
        class_id: int = 0,
        provenance: Provenance | None = None,
        idempotency_key: str | None = None,
    ) -> MaskView:
        """Make a mask of one class, of any size, to be painted on by regions."""
        body = command(BlankCreate, height=height, width=width, class_id=class_id, provenance=provenance)
        path = path_of("masks", project_id, "blank")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return MaskView.model_validate_json(answer.content)

    def paint(
        self,
        project_id: str,
        mask_id: str,
        labels: LabelMap | bytes,
        *,
        y: int,
        x: int,
        keep: int | None = None,
        provenance: Provenance | None = None,
        idempotency_key: str | None = None,
    ) -> MaskView:
        """A new mask: `mask_id` with `labels` laid on it, first pixel at (y, x); where they are `keep`, nothing
        changes. Only the tiles that the patch meets are read and stored, whatever the size of the mask.
        """
        answer = self._connection.send(
            "POST",
            path_of("masks", project_id, mask_id, "region"),
            params={
                "y": y,
                "x": x,
                "keep": keep,
                "provenance": provenance.model_dump_json() if provenance is not None else None,
            },
            content=labels if isinstance(labels, bytes) else _to_npy(labels),
            idempotency_key=idempotency_key,
        )
        return MaskView.model_validate_json(answer.content)

    def tiles(self, project_id: str, mask_id: str, *, class_id: int | None = None) -> Iterator[MaskTile]:
        """The mask's tiles (those that hold `class_id`) with their pixels per class; no pixel is read for it."""
        path = path_of("masks", project_id, mask_id, "tiles")
        return self._connection.pages(path, Page[MaskTile], {"class_id": class_id})

    def get(self, project_id: str, mask_id: str) -> MaskView:
        return self._connection.read(path_of("masks", project_id, mask_id), MaskView)

    def content(self, project_id: str, mask_id: str, format: MaskFormat = "png") -> bytes:
        """The whole mask as an index PNG, a .npy file, the codec's bytes (fast or small), or its manifest."""
        return self._connection.content(path_of("masks", project_id, mask_id, "content"), {"format": format})

    def labels(self, project_id: str, mask_id: str) -> LabelMap:
        """labels_HW: uint8 or uint16, (H, W), class ids, 0 = unlabelled."""
        return _from_npy(self.content(project_id, mask_id, "npy"))

    def region(self, project_id: str, mask_id: str, *, y: int, x: int, height: int, width: int) -> LabelMap:
        """labels_HW of rows y..y+height, columns x..x+width; only its tiles are read."""
        params = {"y": y, "x": x, "height": height, "width": width, "format": "npy"}
        return _from_npy(self._connection.content(path_of("masks", project_id, mask_id, "region"), params))

    def tile(
        self,
        project_id: str,
        mask_id: str,
        row: int,
        col: int,
        *,
        level: int = 0,
        format: Literal["color", "png", "npy"] = "color",
    ) -> bytes:
        """A tile of 256 px for viewers; each level halves the scale. "color" is a PNG in the classes' colours."""
        path = path_of("masks", project_id, mask_id, "tiles", row, col)
        return self._connection.content(path, {"level": level, "format": format})

    def provenance(self, project_id: str, mask_id: str) -> Sequence[Provenance]:
        """Everything that these pixels were: proposals, submissions, consensus."""
        content = self._connection.content(path_of("masks", project_id, mask_id, "provenance"))
        return TypeAdapter(list[Provenance]).validate_json(content)


class Datasets(Merging):
    """Dataset versions. A `ref` is a commit id (or its first 8 or more characters), a branch or a tag."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stage(
        self,
        project_id: str,
        masks: Mapping[str, str | None],
        *,
        branch: str = "main",
        idempotency_key: str | None = None,
    ) -> StatusView:
        """Put masks (sample id -> mask id; None removes the sample) on a branch's working set."""
        items = [{"sample_id": sample_id, "mask_id": mask_id} for sample_id, mask_id in masks.items()]
        body = command(StageCreate, branch=branch, items=items)
        path = path_of("datasets", project_id, "stage")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return StatusView.model_validate_json(answer.content)

    def status(self, project_id: str, *, branch: str = "main") -> StatusView:
        path = path_of("datasets", project_id, "status")
        return self._connection.read(path, StatusView, {"branch": branch})

    def commit(
        self,
        project_id: str,
        message: str,
        *,
        branch: str = "main",
        sample_ids: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> CommitView:
        """Commit what is staged (None: all of it). Raises Conflict when nothing is."""
        ids = None if sample_ids is None else list(sample_ids)
        body = command(CommitCreate, branch=branch, message=message, sample_ids=ids)
        path = path_of("datasets", project_id, "commits")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return CommitView.model_validate_json(answer.content)

    def put_labels(
        self, project_id: str, data: bytes, *, branch: str = "main", message: str | None = None
    ) -> LabelsReport:
        """Stage many label files at once, a bundle of them (`terrazzo_schema.label_bundle`); see `LabelFolder`.

        `message` (up to MESSAGE_MAX characters): all that is staged then is committed too.
        """
        path, params = path_of("datasets", project_id, "labels"), {"branch": branch, "message": message}
        answer = self._connection.send("POST", path, params=params, content=data, is_long=True)
        return LabelsReport.model_validate_json(answer.content)

    def checkout(
        self,
        project_id: str,
        ref: str = "main",
        *,
        base: str | None = None,
        masks: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """The label files that lead from the commit `base` (None: from nothing) to `ref`, as a bundle.

        `masks` are those that are held otherwise than in `base`; see `LabelFolder`.
        """
        body = command(CheckoutCreate, ref=ref, base=base, masks=dict(masks or {}))
        return self._connection.write("POST", path_of("datasets", project_id, "labels", "checkout"), body).content

    def log(self, project_id: str, ref: str = "main") -> Iterator[CommitView]:
        """The commits that lead to `ref`, newest first."""
        path = path_of("datasets", project_id, "commits")
        return self._connection.pages(path, Page[CommitView], {"ref": ref})

    def show(self, project_id: str, ref: str = "main") -> CommitView:
        return self._connection.read(path_of("datasets", project_id, "commits", ref), CommitView)

    def entries(self, project_id: str, ref: str = "main", *, page_size: int | None = None) -> Iterator[Entry]:
        """The samples of a version, by sample id."""
        params = {"ref": ref, "limit": page_size}
        return self._connection.pages(path_of("datasets", project_id, "entries"), Page[Entry], params)

    def entry(self, project_id: str, sample_id: str, ref: str = "main") -> Entry:
        return self._connection.read(path_of("datasets", project_id, "entries", sample_id), Entry, {"ref": ref})

    def diff(
        self,
        project_id: str,
        base: str,
        head: str,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        pixels: bool = True,
    ) -> DiffView:
        """What changed from `base` to `head`, pixel by pixel: totals over all, and one page of samples.

        Without `pixels`: which samples differ, and nothing of their pixels. That is quick at any size.
        """
        params = {"base": base, "head": head, "cursor": cursor, "limit": page_size, "pixels": pixels}
        return self._connection.read(path_of("datasets", project_id, "diff"), DiffView, params)

    def diff_samples(self, project_id: str, base: str, head: str) -> Iterator[SampleDiff]:
        """Every sample that changed, fetched page by page."""
        cursor: str | None = None
        while True:
            page = self.diff(project_id, base, head, cursor=cursor)
            yield from page.samples
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def tag(self, project_id: str, name: str, ref: str, *, idempotency_key: str | None = None) -> TagView:
        """Name a version for good. Raises Conflict when the name is taken by another."""
        body = command(TagCreate, name=name, ref=ref)
        path = path_of("datasets", project_id, "tags")
        answer = self._connection.write("POST", path, body, idempotency_key=idempotency_key)
        return TagView.model_validate_json(answer.content)

    def tags(self, project_id: str) -> Iterator[TagView]:
        return self._connection.pages(path_of("datasets", project_id, "tags"), Page[TagView])

    def branches(self, project_id: str) -> Iterator[BranchView]:
        return self._connection.pages(path_of("datasets", project_id, "branches"), Page[BranchView])

    def blame(self, project_id: str, sample_id: str, *, y: int, x: int, ref: str = "main") -> BlameView:
        """Who set the pixel at row y, column x, in which submission, and the commit in which it came."""
        path = path_of("datasets", project_id, "blame", sample_id)
        return self._connection.read(path, BlameView, {"y": y, "x": x, "ref": ref})

    def export(
        self,
        project_id: str,
        ref: str,
        format: ExportFormat,
        to: Path,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """Stream a version as a zip file to `to`, which appears when it is complete, or not at all.

        `progress` is told the bytes that came so far. The archive's export-report.json says what did not fit.
        """
        params = {"ref": ref, "format": format}
        path = path_of("datasets", project_id, "export")
        return self._connection.download(path, Path(to), params, progress)

    def import_(
        self,
        project_id: str,
        path: Path,
        *,
        branch: str = "main",
        format: ExportFormat = "index",
        idempotency_key: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport:
        """Import a zip file, or a folder, of images and masks and stage them; what can't be read is reported.

        `progress` is told the bytes that were sent so far. Raises ValueError for a folder without files.
        """
        answer = self._connection.send(
            "POST",
            path_of("datasets", project_id, "import"),
            params={"branch": branch, "format": format},
            content=lambda: _told(zipped(Path(path)) if Path(path).is_dir() else _chunks(Path(path)), progress),
            content_type="application/zip",
            idempotency_key=idempotency_key,
            is_long=True,
        )
        return ImportReport.model_validate_json(answer.content)


def _told(chunks: Iterator[bytes], progress: Callable[[int], None] | None) -> Iterator[bytes]:
    num_sent = 0
    for chunk in chunks:
        yield chunk
        num_sent += len(chunk)
        if progress is not None:
            progress(num_sent)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_UPLOAD_CHUNK_BYTES):
            yield chunk


def _to_npy(labels_HW: LabelMap) -> bytes:
    import numpy as np

    if labels_HW.ndim != 2 or labels_HW.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"a label map is an array (H, W) of uint8 or uint16; got shape {labels_HW.shape}, {labels_HW.dtype}"
        )
    buffer = BytesIO()
    np.save(buffer, labels_HW, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(data: bytes) -> LabelMap:
    import numpy as np

    labels_HW: LabelMap = np.load(BytesIO(data), allow_pickle=False)
    return labels_HW
