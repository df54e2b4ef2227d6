"""Cityscapes' layout (cordts/cityscapesScripts): pictures as PNG, label ids, and the same in colour.

    leftImg8bit/<split>/<group>/<stem>_leftImg8bit.png
    gtFine/<split>/<group>/<stem>_gtFine_labelIds.png   ..._gtFine_color.png          classes.json

An import also takes ..._gtFine_polygons.json where there are no label ids: objects in their order, later over
earlier, by the class's name.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from terrazzo_masks.errors import CorruptMask, UnsupportedMask
from terrazzo_masks.formats.exchange import (
    Abilities,
    ClassTable,
    Dataset,
    Format,
    FormatError,
    Found,
    Limits,
    Member,
    Report,
    Sample,
    Source,
    classes_member,
    expressible,
    pixel_values,
)
from terrazzo_masks.formats.index import index_labels, is_hidden
from terrazzo_masks.formats.label_files import rgb_png, to_png
from terrazzo_masks.formats.names import by_name
from terrazzo_masks.labels import LabelMap
from terrazzo_masks.render import colorize

LEFT, FINE, COLOR, POLYGONS = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_color", "_gtFine_polygons"
ABILITIES = Abilities(max_class_id=65535, hierarchy=True)
# What Cityscapes' own polygons say for pixels that no class claims.
VOIDS = frozenset({"unlabeled", "out of roi", "ego vehicle", "rectification border"})
POINTS_MAX = 1_000_000


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """The held-out samples are its `val`."""
    palette = dataset.classes.palette()
    group = re.sub(r"[^A-Za-z0-9.-]+", "-", dataset.name).strip("-.")[:60] or "dataset"
    yield classes_member(dataset)
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        place = f"{sample.split}/{group}/{sample.stem}"
        if sample.image is not None:
            yield Member(f"leftImg8bit/{place}{LEFT}.png", png_picture(sample, report))
        if labels_HW.max() > 255:
            report.lost(sample.stem, "ids above 255: its labelIds is a 16 bit PNG, Cityscapes' own have 8 bits")
        yield Member(f"gtFine/{place}{FINE}.png", to_png(labels_HW))
        yield Member(f"gtFine/{place}{COLOR}.png", rgb_png(colorize(labels_HW, palette)))
        report.done()


def png_picture(sample: Sample, report: Report) -> bytes:
    """The sample's picture as a PNG: its own bytes when it is one, else decoded, which the report says."""
    assert sample.image is not None
    data = sample.image.read()
    if sample.image.media_type == "image/png":
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        kept = image if image.mode in ("L", "RGB", "RGBA", "I;16") else image.convert("RGB")
        out = io.BytesIO()
        kept.save(out, "PNG", compress_level=1)
    report.lost(sample.stem, f"its picture was {sample.image.media_type}: same pixels, another file as PNG")
    return out.getvalue()


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pairs by split, group and stem. Raises FormatError when there is none of its files."""
    images, masks, polygons = _files(source)
    if not images and not masks and not polygons:
        raise FormatError(f"the archive has no files <split>/<group>/<name>{LEFT}.png or <name>{FINE}.png")
    to_id = pixel_values(source, classes)
    for key in sorted(images.keys() | masks.keys() | polygons.keys()):
        image, mask, outline = images.get(key), masks.get(key), polygons.get(key)
        labels = None
        if mask is not None:
            labels = partial(index_labels, source, mask, to_id, limits)
        elif outline is not None:
            labels = partial(_painted, source, outline, classes, limits, report)
        suffix = PurePosixPath(image).suffix if image else ".png"
        yield Found(
            name=PurePosixPath(key).name + suffix,
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=labels,
            labels_file=mask or outline or "",
        )


def _files(source: Source) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    polygons: dict[str, str] = {}
    for name in source.names():
        path = PurePosixPath(name)
        if is_hidden(path):
            continue
        for tail, suffix, found in ((LEFT, None, images), (FINE, ".png", masks), (POLYGONS, ".json", polygons)):
            if path.stem.endswith(tail) and suffix in (None, path.suffix.lower()):
                found["/".join((*path.parts[-3:-1], path.stem.removesuffix(tail)))] = name
    return images, masks, polygons


def _painted(
    source: Source, name: str, classes: ClassTable, limits: Limits, report: Report, height: int, width: int
) -> LabelMap:
    """The label map of a gtFine_polygons.json. Raises CorruptMask, UnsupportedMask that name the object."""
    try:
        document = json.loads(source.read(name, limits.max_bytes))
    except (ValueError, RecursionError) as error:
        raise CorruptMask(f"it is no JSON: {error}") from error
    if not isinstance(document, Mapping) or not isinstance(document.get("objects"), list):
        raise CorruptMask("it has no list 'objects'")
    if (document.get("imgHeight"), document.get("imgWidth")) != (height, width):
        raise CorruptMask(
            f"it is for {document.get('imgHeight')} x {document.get('imgWidth')}, its image is {height} x {width}"
        )
    ids = by_name(classes)
    from PIL import Image, ImageDraw

    canvas = Image.new("I;16", (width, height))
    draw = ImageDraw.Draw(canvas)
    for number, entry in enumerate(document["objects"]):
        label = entry.get("label") if isinstance(entry, Mapping) else None
        # Cityscapes: "cargroup" is a crowd of cars.
        own = ids.get(str(label), ids.get(str(label).removesuffix("group")))
        if own is None and label not in VOIDS:
            raise UnsupportedMask(f"object {number}: {label!r} is no class of the project")
        draw.polygon(_points(entry.get("polygon"), number), fill=own or 0)
    return np.asarray(canvas).astype(np.uint16)


def _points(polygon: Any, number: int) -> list[tuple[float, float]]:
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise CorruptMask(f"object {number}: its polygon is no list of points") from error
    if points.ndim != 2 or points.shape[1] != 2 or not 2 <= len(points) <= POINTS_MAX:
        raise CorruptMask(f"object {number}: its polygon is no list of two or more points [x, y]")
    if not np.isfinite(points).all() or np.abs(points).max() > 2**24:
        raise CorruptMask(f"object {number}: its polygon has points that are not finite")
    return [(x, y) for x, y in points.tolist()]


FORMAT = Format("cityscapes", "Cityscapes", ABILITIES, write, read)
