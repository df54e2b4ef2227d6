"""Label Studio: tasks.json with brush masks (labelstud.io, "BrushLabels", format "rle").

    tasks.json   label_config.xml   images/<stem>.<ext>   classes.json

A task is a picture; its annotation has one result for each class that occurs, a brush mask as a list of bytes (see
`kernels.brush_rle`). Classes are known by their names. An import takes brush masks and polygons (`polygonlabels`,
in per cent of the picture), of the first annotation that was not cancelled; other results are reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from xml.sax.saxutils import quoteattr

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
    read_json,
)
from terrazzo_masks.formats.index import IMAGES, picture_member
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.formats.painting import Painting
from terrazzo_masks.labels import BoolMap, LabelMap, count_classes, require_mask

TASKS, CONFIG = "tasks.json", "label_config.xml"
ABILITIES = Abilities(hierarchy=True)
# The code counts a picture's RGBA bytes in 32 bits.
PIXELS_MAX = (2**32 - 1) // 4


def encode_brush(inside_HW: BoolMap) -> list[int]:
    """The brush code of a bool mask (H, W) as Label Studio keeps it: a list of bytes."""
    from terrazzo_masks.kernels import brush_rle as kernels

    inside_N = np.ascontiguousarray(require_mask(inside_HW)).ravel()
    num_bits = kernels.HEAD_BITS + kernels.RUN_BITS_MAX * kernels.count_runs(inside_N)
    out_B = np.zeros(num_bits // 8 + 1, np.uint8)
    coded: list[int] = out_B[: kernels.encode(inside_N, out_B)].tolist()
    return coded


def decode_brush(data: bytes, height: int, width: int) -> BoolMap:
    """The mask (H, W) of a brush code: pixels whose alpha is not 0. Raises CorruptMask."""
    from terrazzo_masks.kernels import brush_rle as kernels

    alpha_N: NDArray[np.uint8] = np.zeros(height * width, np.uint8)
    problem = kernels.decode(np.frombuffer(data, np.uint8), alpha_N)
    if problem == kernels.WRONG_COUNT:
        raise CorruptMask(f"the brush code is not of a picture of {height} x {width} pixels")
    if problem == kernels.CUT_SHORT:
        raise CorruptMask("the brush code is cut short")
    if problem == kernels.TOO_LONG:
        raise CorruptMask("a run of the brush code leaves the picture")
    inside_HW: BoolMap = alpha_N.reshape(height, width) != 0
    return inside_HW


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    """Pictures first, then tasks.json bit by bit."""
    yield classes_member(dataset)
    yield Member(CONFIG, _config(dataset.classes))
    for sample in dataset.samples():
        yield from picture_member(sample, IMAGES)
    yield Member(TASKS, _document(dataset, report))


def _config(classes: ClassTable) -> bytes:
    labels = "".join(
        f"    <Label value={quoteattr(one.name)} background={quoteattr(one.hex_color)}/>\n" for one in classes
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="tag" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    ).encode()


def _document(dataset: Dataset, report: Report) -> Iterator[bytes]:
    names = dataset.classes.names()
    number = 0
    yield b"["
    for sample in dataset.samples():
        if sample.height * sample.width > PIXELS_MAX:
            report.refused(
                sample.stem,
                f"{sample.height} x {sample.width} pixels: a brush code counts up to {PIXELS_MAX}",
            )
            continue
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        number += 1
        comma = b",\n" if number > 1 else b"\n"
        yield comma + json.dumps(_task(number, sample, labels_HW, names), ensure_ascii=False).encode()
        report.done()
    yield b"\n]"


def _task(number: int, sample: Sample, labels_HW: LabelMap, names: Mapping[int, str]) -> dict[str, Any]:
    name = f"{sample.stem}.{sample.image.extension}" if sample.image else f"{sample.stem}.png"
    results = [
        {
            "id": f"{number}-{class_id}",
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": sample.width,
            "original_height": sample.height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encode_brush(labels_HW == class_id),
                "brushlabels": [names[class_id]],
            },
        }
        for class_id in count_classes(labels_HW)
        if class_id != 0
    ]
    meta = {"sample_id": sample.sample_id, "split": sample.split}
    annotation = {"id": number, "was_cancelled": False, "result": results}
    return {"id": number, "data": {"image": f"{IMAGES}/{name}"}, "meta": meta, "annotations": [annotation]}


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pictures that the tasks name; one that the archive lacks is found by its name. Raises FormatError.

    tasks.json may have any name when it is the only .json beside classes.json.
    """
    where = named(source, TASKS) or _only_json(source)
    document = read_json(source, where)
    if not isinstance(document, list):
        raise FormatError(f"{where}: it is no list of tasks")
    to_id = by_name(classes)
    files = {name.rsplit("/", 1)[-1]: name for name in source.names()}
    for number, task in enumerate(document):
        name = _image_name(task)
        if name is None:
            report.refused(f"{where} task {number}", "it names no image under 'data'")
            continue
        file = files.get(name)
        place = f"{where} task {task.get('id', number)!r}"
        results = _results(task)
        yield Found(
            name=name,
            image=None if file is None else partial(source.read, file, limits.max_bytes),
            image_file=file or "",
            labels=partial(_painted, results, place, to_id, report) if results else None,
            labels_file=place,
        )


def _only_json(source: Source) -> str:
    found = [n for n in source.names() if n.endswith(".json") and not n.endswith("classes.json")]
    if len(found) != 1:
        raise FormatError(f"the archive has no {TASKS} (and {len(found)} other .json files)")
    return found[0]


def _image_name(task: object) -> str | None:
    """The file name of a task's picture: of the one entry of 'data' that is a text with a dot, or 'image'."""
    data = task.get("data") if isinstance(task, Mapping) else None
    if not isinstance(data, Mapping):
        return None
    image = data.get("image") or next((v for v in data.values() if isinstance(v, str) and "." in v), None)
    return str(image).split("?")[0].rsplit("/", 1)[-1] or None if image else None


def _results(task: Mapping[str, Any]) -> list[Any]:
    """The results of the first annotation that was not cancelled (also as Label Studio before 1.0 called it)."""
    annotations = task.get("annotations") or task.get("completions") or []
    for annotation in annotations if isinstance(annotations, list) else []:
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled"):
            result = annotation.get("result")
            return result if isinstance(result, list) else []
    return []


def _painted(
    results: list[Any], place: str, to_id: Mapping[str, int], report: Report, height: int, width: int
) -> LabelMap:
    """The label map (H, W) of one task. Raises MaskError that names the result."""
    painting = Painting(height, width, place, report)
    for number, result in enumerate(results):
        kind = result.get("type") if isinstance(result, Mapping) else None
        where = f"result {number}"
        if kind not in ("brushlabels", "polygonlabels"):
            report.lost(place, f"{where} is of type {str(kind)[:40]!r}: brushlabels and polygonlabels are taken")
            continue
        value = result.get("value")
        if not isinstance(value, Mapping):
            raise CorruptMask(f"{where}: it has no 'value'")
        class_id = _class_of(value.get(kind), to_id, where)
        if kind == "polygonlabels":
            painting.polygon([_points(value.get("points"), height, width, where)], class_id, where)
            continue
        size = (result.get("original_height"), result.get("original_width"))
        if size != (height, width):
            raise CorruptMask(f"{where}: its size is {size[0]} x {size[1]}, the picture's {height} x {width}")
        painting.mask(_brush(value, height, width, where), 0, 0, class_id, where)
    return painting.labels_HW


def _class_of(labels: object, to_id: Mapping[str, int], where: str) -> int:
    if not isinstance(labels, list) or len(labels) != 1:
        raise UnsupportedMask(f"{where}: labels are {str(labels)[:60]}: a pixel has one class")
    if labels[0] not in to_id:
        raise UnsupportedMask(f"{where}: the label {str(labels[0])[:80]!r} is no class of the project")
    return to_id[labels[0]]


def _brush(value: Mapping[str, Any], height: int, width: int, where: str) -> BoolMap:
    coded = value.get("rle")
    if value.get("format") != "rle" or not isinstance(coded, list):
        raise UnsupportedMask(f"{where}: a brush of format {str(value.get('format'))[:40]!r}: 'rle' is taken")
    try:
        data = bytes(coded)
    except (TypeError, ValueError) as error:
        raise CorruptMask(f"{where}: rle is a list of bytes 0..255: {error}") from error
    try:
        return decode_brush(data, height, width)
    except CorruptMask as error:
        raise CorruptMask(f"{where}: {error}") from error


def _points(points: object, height: int, width: int, where: str) -> NDArray[np.float64]:
    """Per cent of the picture -> pixels, float64 (V, 2)."""
    try:
        shares_V2 = np.array(points, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise CorruptMask(f"{where}: points are [[x, y], ...] in per cent: {error}") from error
    return shares_V2 * (width / 100, height / 100)


FORMAT = Format("label-studio", "Label Studio JSON (brush)", ABILITIES, write, read, require_distinct_names)
