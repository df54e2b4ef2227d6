"""CVAT for images 1.1: one annotations.xml with polygons and masks (docs.cvat.ai, "CVAT for images").

    annotations.xml   images/<stem>.<ext>   classes.json

A connected region without holes is a `<polygon>` (`points="x,y;x,y"` in pixels from the corner), one with holes a
`<mask>`: CVAT's polygons know no holes. A mask's `rle` counts pixels row by row inside its box, first those
outside of the region. Classes are known by their names. An import reads the file as a stream, element by element;
shapes of other kinds (boxes, points, lines) are reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

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
    named,
)
from terrazzo_masks.formats.index import IMAGES, picture_member
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.formats.painting import Painting, Points
from terrazzo_masks.geometry import Polygon, polygons, rasterize
from terrazzo_masks.labels import BoolMap, LabelMap

ANNOTATIONS = "annotations.xml"
CHUNK_BYTES = 2**16
ABILITIES = Abilities(hierarchy=True)
SHAPES = frozenset({"polygon", "mask"})
OTHER_SHAPES = frozenset({"box", "polyline", "points", "cuboid", "ellipse", "skeleton", "tag"})


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """Pictures first, then annotations.xml bit by bit."""
    yield classes_member(dataset)
    for sample in dataset.samples():
        yield from picture_member(sample, IMAGES)
    yield Member(ANNOTATIONS, _document(dataset, report))


def _document(dataset: Dataset, report: Report) -> Iterator[bytes]:
    labels = "".join(
        f"<label><name>{escape(one.name)}</name><color>{one.hex_color}</color><attributes></attributes></label>"
        for one in dataset.classes
    )
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><name>{escape(dataset.name)}</name><labels>{labels}</labels></task></meta>\n"
    ).encode()
    names = dataset.classes.names()
    number = 0
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        yield _image(number, sample, labels_HW, names).encode()
        number += 1
        report.done()
    yield b"</annotations>\n"


def _image(number: int, sample: Sample, labels_HW: LabelMap, names: Mapping[int, str]) -> str:
    name = f"{sample.stem}.{sample.image.extension}" if sample.image else f"{sample.stem}.png"
    shapes = "".join(_shape(polygon, names[polygon.class_id]) for polygon in polygons(labels_HW))
    size = f'width="{sample.width}" height="{sample.height}"'
    return f'<image id="{number}" name={quoteattr(name)} subset="{sample.split}" {size}>\n{shapes}</image>\n'


def _shape(polygon: Polygon, name: str) -> str:
    head = f'label={quoteattr(name)} source="manual" occluded="0"'
    if not polygon.holes:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon.exterior)
        return f'<polygon {head} points="{points}" z_order="0"></polygon>\n'
    left, top = (int(v) for v in np.min(polygon.exterior, axis=0))
    right, bottom = (int(v) for v in np.max(polygon.exterior, axis=0))
    rings = [tuple((x - left, y - top) for x, y in ring) for ring in (polygon.exterior, *polygon.holes)]
    inside_HW = rasterize([Polygon(1, rings[0], tuple(rings[1:]))], bottom - top, right - left, np.uint8) == 1
    runs = ", ".join(str(run) for run in _runs(inside_HW))
    box = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    return f'<mask {head} rle="{runs}" {box} z_order="0"></mask>\n'


def _runs(inside_HW: BoolMap) -> list[int]:
    """Lengths of runs row by row, first of pixels outside."""
    flat_N = inside_HW.ravel()
    edges = np.concatenate([[0], np.flatnonzero(flat_N[1:] != flat_N[:-1]) + 1, [flat_N.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat_N[0] else runs


@dataclass
class _Image:
    """An `<image>` element: its attributes, and the attributes of its shapes, each with its line."""

    name: str
    line: int
    width: int
    height: int
    shapes: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    num_others: int = 0


class _Elements:
    """Feeds an XML file to expat and gives out one `_Image` at a time. Entities are refused (billion laughs)."""

    def __init__(self, where: str) -> None:
        from xml.parsers import expat

        self._where = where
        self._errors = expat.ExpatError
        self._parser: Any = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._entity
        self._open: _Image | None = None
        self._whole: list[_Image] = []
        self.root: str | None = None

    def feed(self, data: bytes, last: bool) -> list[_Image]:
        """The images that ended in this piece. Raises FormatError with the line."""
        try:
            self._parser.Parse(data, last)
        except self._errors as error:
            raise FormatError(f"{self._where}: {error}") from error
        whole, self._whole = self._whole, []
        return whole

    def _entity(self, name: str, *_: object) -> None:
        raise FormatError(f"{self._where}: it declares the entity {name[:40]!r}; files with entities are not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = int(self._parser.CurrentLineNumber)
        if self.root is None:
            self.root = tag
            if tag != "annotations":
                raise FormatError(f"{self._where}: its root is <{tag[:40]}>, not <annotations>")
        if tag == "image":
            place = f"{self._where} line {line}"
            self._open = _Image(
                attributes.get("name", ""),
                line,
                whole_number(attributes.get("width"), "width", place),
                whole_number(attributes.get("height"), "height", place),
            )
        elif self._open is not None and tag in SHAPES:
            self._open.shapes.append((tag, line, attributes))
        elif self._open is not None and tag in OTHER_SHAPES:
            self._open.num_others += 1

    def _end(self, tag: str) -> None:
        if tag == "image" and self._open is not None:
            self._whole.append(self._open)
            self._open = None


def whole_number(text: str | None, name: str, where: str) -> int:
    """A whole number 0..2**31 of an attribute. Raises FormatError."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > 2**31:
        raise FormatError(f"{where}: {name} is {str(text)[:40]!r}, not a whole number")
    return int(text)


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures in the file's order; one that the archive lacks is found by its name. Raises FormatError."""
    where = named(source, ANNOTATIONS)
    if where is None:
        raise FormatError(f"the archive has no {ANNOTATIONS}")
    to_id = by_name(classes)
    files = {name.rsplit("/", 1)[-1]: name for name in source.names()}
    elements = _Elements(where)
    with source.open(where) as stream:
        while True:
            data = stream.read(CHUNK_BYTES)
            for image in elements.feed(data, not data):
                yield _found(source, image, where, files, to_id, report, limits)
            if not data:
                break


def _found(
    source: Source,
    image: _Image,
    where: str,
    files: Mapping[str, str],
    to_id: Mapping[str, int],
    report: Report,
    limits: Limits,
) -> Found:
    place = f"{where} line {image.line}"
    if image.num_others:
        report.lost(place, f"{image.num_others} shapes are neither polygons nor masks: they hold no pixels")
    name = image.name.replace("\\", "/").rsplit("/", 1)[-1]
    file = files.get(name)
    return Found(
        name=name,
        image=None if file is None else partial(source.read, file, limits.max_bytes),
        image_file=file or "",
        labels=partial(_painted, image, where, to_id, report) if image.shapes else None,
        labels_file=place,
    )


def _painted(
    image: _Image, where: str, to_id: Mapping[str, int], report: Report, height: int, width: int
) -> LabelMap:
    """The label map (H, W) of one image. Raises MaskError that names the line."""
    if (image.height, image.width) != (height, width):
        raise CorruptMask(
            f"line {image.line}: its size is {image.height} x {image.width}, the picture's {height} x {width}"
        )
    painting = Painting(height, width, f"{where} line {image.line}", report)
    # CVAT stacks by z_order; shapes of one z_order keep the file's order.
    for tag, line, attributes in sorted(image.shapes, key=lambda shape: _z_order(shape[2], shape[1])):
        label = attributes.get("label", "")
        if label not in to_id:
            raise UnsupportedMask(f"line {line}: the label {label[:80]!r} is no class of the project")
        if tag == "polygon":
            painting.polygon([_points(attributes.get("points", ""), line)], to_id[label], f"line {line}")
        else:
            inside_HW, y, x = _mask(attributes, line, height * width)
            painting.mask(inside_HW, y, x, to_id[label], f"line {line}")
    return painting.labels_HW


def _z_order(attributes: Mapping[str, str], line: int) -> int:
    text = attributes.get("z_order", "0")
    try:
        return int(text)
    except ValueError as error:
        raise CorruptMask(f"line {line}: z_order is {text[:40]!r}, not a whole number") from error


def _points(text: str, line: int) -> Points:
    try:
        pairs = [[float(value) for value in pair.split(",")] for pair in text.split(";") if pair]
    except ValueError as error:
        raise CorruptMask(f"line {line}: points {text[:60]!r}: {error}") from error
    if any(len(pair) != 2 or not all(math.isfinite(value) for value in pair) for pair in pairs):
        raise CorruptMask(f"line {line}: points are 'x,y;x,y;...', not {text[:60]!r}")
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _mask(attributes: Mapping[str, str], line: int, pixels_max: int) -> tuple[BoolMap, int, int]:
    """(bool (h, w), top row, left column) of a `<mask>`."""
    where = f"line {line}"
    left, top, width, height = (
        whole_number(attributes.get(name), name, where) for name in ("left", "top", "width", "height")
    )
    if not 0 < width * height <= pixels_max:
        raise CorruptMask(f"{where}: a mask of {height} x {width} pixels in a picture of {pixels_max}")
    return _filled(_numbers(attributes.get("rle", ""), where), height, width, where), top, left


def _numbers(text: str, where: str) -> Sequence[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
        raise CorruptMask(f"{where}: rle is whole numbers with commas, not {text[:60]!r}")
    return [int(word) for word in words]


def _filled(runs: Sequence[int], height: int, width: int, where: str) -> BoolMap:
    if sum(runs) != height * width:
        raise CorruptMask(f"{where}: its runs sum to {sum(runs)}, its box has {height} x {width} pixels")
    values: NDArray[np.bool_] = np.arange(len(runs)) % 2 == 1
    filled_HW: BoolMap = np.repeat(values, runs).reshape(height, width)
    return filled_HW


FORMAT = Format("cvat", "CVAT for images 1.1", ABILITIES, write, read, require_distinct_names)
