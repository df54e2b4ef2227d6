"""GeoTIFF label maps that keep their georeference (OGC GeoTIFF 1.1; nodata as GDAL writes it).

    images/<stem>.<ext>   masks/<stem>.tif   classes.json

The tags of the georeference are carried as they are, so any coordinate system survives, known or not: an import
keeps those of the mask (or of the picture) as the sample's attribute "geotiff", an export writes them into the
mask; a picture that is a GeoTIFF has its own. The mask's nodata value means unlabelled, in both directions. A mask
is written window by window: memory is bounded by a tile, not by the raster.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from terrazzo_masks.errors import CorruptMask, MaskError
from terrazzo_masks.formats import tiff
from terrazzo_masks.formats.exchange import (
    Abilities,
    ClassTable,
    Dataset,
    Format,
    Found,
    Limits,
    Member,
    Report,
    Sample,
    Source,
    classes_member,
    lost_layers,
    pixel_values,
    translated,
)
from terrazzo_masks.formats.index import IMAGES, MASKS, pairs
from terrazzo_masks.formats.label_files import TIFF_MAGICS, read_label_image
from terrazzo_masks.formats.tiff import ASCII, DOUBLE, SHORT, Tag
from terrazzo_masks.labels import LabelMap, count_classes, dtype_for
from terrazzo_masks.render import Palette, palette_table

ATTRIBUTE = "geotiff"
NODATA = 42113
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams.
KINDS = {33550: DOUBLE, 33922: DOUBLE, 34264: DOUBLE, 34735: SHORT, 34736: DOUBLE, 34737: ASCII, NODATA: ASCII}
GEO_TAGS = frozenset(KINDS)
PLACE = GEO_TAGS - {NODATA}
ABILITIES = Abilities(max_class_id=65535, hierarchy=True, georeference=True)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    palette = dataset.classes.palette()
    yield classes_member(dataset)
    for sample in dataset.samples():
        data = sample.image.read() if sample.image is not None else b""
        try:
            tags = georeference_of(sample, data)
        except MaskError as error:
            report.refused(sample.stem, f"its georeference can't be read: {error}")
            continue
        try:
            mask = _mask(sample, tags, palette, report)
        except MaskError as error:
            report.refused(sample.stem, f"its mask can't be read: {error}")
            continue
        if sample.image is not None:
            yield Member(f"{IMAGES}/{sample.stem}.{sample.image.extension}", data)
        yield Member(f"{MASKS}/{sample.stem}.tif", mask)
        if not tags.keys() & PLACE:
            report.lost(sample.stem, "it has no georeference: its mask is a TIFF without one")
        lost_layers(sample, report, ABILITIES)
        report.done()


def _mask(sample: Sample, tags: Mapping[int, Tag], palette: Palette, report: Report) -> Iterator[bytes]:
    """The mask's TIFF. Raises what reading the sample does, before the first byte."""
    ids = _ids(sample)
    nodata = _nodata(sample, tags, ids, report)
    written = {**tags, NODATA: Tag(NODATA, ASCII, str(nodata))}
    dtype = dtype_for(max(*ids, nodata, 0))
    if dtype == np.uint8:
        written.update(tiff.palette_tags(palette_table(palette, 256)))
    window = partial(_window, sample, nodata, dtype)
    return tiff.write(sample.height, sample.width, dtype, window, written)


def _ids(sample: Sample) -> set[int]:
    """Class ids that occur: as they were counted, else by a look at each window."""
    if sample.counts is not None:
        return {0, *sample.counts}
    ids = {0}
    for y in range(0, sample.height, tiff.TILE_PX):
        for x in range(0, sample.width, tiff.TILE_PX):
            size = min(tiff.TILE_PX, sample.height - y), min(tiff.TILE_PX, sample.width - x)
            ids.update(count_classes(sample.window(y, x, *size)))
    return ids


def _window(
    sample: Sample,
    nodata: int,
    dtype: np.dtype[np.uint8 | np.uint16],
    y: int,
    x: int,
    height: int,
    width: int,
) -> LabelMap:
    labels_HW = sample.window(y, x, height, width)
    if nodata == 0:
        return labels_HW
    filled_HW: LabelMap = labels_HW.astype(dtype)
    filled_HW[filled_HW == 0] = nodata
    return filled_HW


def _nodata(sample: Sample, tags: Mapping[int, Tag], ids: set[int], report: Report) -> int:
    """The nodata value that the mask came with, where no class has it; else 0."""
    text = str(tags[NODATA].value).strip() if NODATA in tags else "0"
    value = int(text) if text.isdigit() else -1
    if 0 <= value <= 65535 and (value == 0 or value not in ids):
        return value
    report.lost(sample.stem, f"its nodata value {text!r} can't be kept: 0 is written for pixels without a label")
    return 0


def georeference_of(sample: Sample, image: bytes) -> dict[int, Tag]:
    """The tags kept by an import, else those of the picture if it is a GeoTIFF. Raises MaskError."""
    if ATTRIBUTE in sample.attributes:
        return tags_of(sample.attributes[ATTRIBUTE])
    if image.startswith(TIFF_MAGICS):
        # The picture's nodata is a colour, not a class.
        return dict(tiff.read_tags(io.BytesIO(image), GEO_TAGS - {NODATA}))
    return {}


def to_attribute(tags: Mapping[int, Tag]) -> str:
    """Georeference tags as text: exact, doubles included. Empty text when there are none."""
    known = {str(number): tag.value for number, tag in sorted(tags.items()) if tag.kind == KINDS.get(number)}
    return json.dumps(known, separators=(",", ":")) if known else ""


def tags_of(attribute: str) -> dict[int, Tag]:
    """The tags in a text of `to_attribute`. Raises CorruptMask."""
    try:
        document = json.loads(attribute)
        found = {}
        for name, value in document.items():
            kind = KINDS[int(name)]
            typed = str(value) if kind == ASCII else tuple((float if kind == DOUBLE else int)(v) for v in value)
            found[int(name)] = Tag(int(name), kind, typed)
            found[int(name)].data()
    except (
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
        OverflowError,
        struct.error,
    ) as error:
        raise CorruptMask(f"the attribute {ATTRIBUTE!r} is damaged: {error}") from error
    return found


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pairs as in `index`; the georeference of each mask, or else of its picture, goes into the attributes."""
    found_pairs = pairs(source, ".tif and .png")
    to_id = pixel_values(source, classes)
    for image, mask in found_pairs:
        name = PurePosixPath(image or mask or "").name
        file = mask or image or ""
        attributes = {}
        try:
            tags = _tags_in(source, mask) or _tags_in(source, image)
            if text := to_attribute(tags):
                attributes[ATTRIBUTE] = text
        except MaskError as error:
            report.refused(file, str(error))
            continue
        values = dict(to_id)
        nodata = str(tags[NODATA].value).strip() if mask is not None and NODATA in tags else ""
        if nodata.isdigit() and int(nodata) <= 65535:
            values[int(nodata)] = 0
        yield Found(
            name=name,
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=None if mask is None else partial(_labels, source, mask, values, limits),
            labels_file=mask or "",
            attributes=attributes,
        )


def _tags_in(source: Source, name: str | None) -> dict[int, Tag]:
    if name is None or not name.lower().endswith((".tif", ".tiff")):
        return {}
    with source.open(name) as file:
        if not file.read(4).startswith(TIFF_MAGICS):
            return {}
        return tiff.read_tags(file, GEO_TAGS)


def _labels(
    source: Source, name: str, to_id: Mapping[int, int], limits: Limits, height: int, width: int
) -> LabelMap:
    return translated(read_label_image(source.read(name, limits.max_bytes), max_pixels=limits.max_pixels), to_id)


FORMAT = Format("geotiff", "GeoTIFF", ABILITIES, write, read)
