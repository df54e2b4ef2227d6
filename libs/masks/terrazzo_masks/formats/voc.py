"""Pascal VOC's segmentation layout (Everingham et al., 2010).

    JPEGImages/<stem>.<ext>   SegmentationClass/<stem>.png   ImageSets/Segmentation/<train|val|trainval>.txt
    labelmap.txt ("name:r,g,b::", as CVAT and datumaro write it)   classes.json

SegmentationClass is a palette PNG in the classes' colours. 255 is void: pixels without a label. 0 is VOC's
background, which is a class of its own there: it means a class named "background" if the ontology has one, and an
export writes no 0. Other ids are kept where they are 1..254; with higher ones the classes are numbered by
labelmap.txt, and with more than 254 classes those behind are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from terrazzo_masks.formats.colors import ColorTable, read_rgb
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
    Rgb,
    Sample,
    Source,
    UnreadableFile,
    classes_member,
    lost_layers,
    named,
    pixel_values,
    readable,
)
from terrazzo_masks.formats.index import IMAGE_SUFFIXES, index_labels, is_hidden, picture_member
from terrazzo_masks.formats.label_files import to_png
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.labels import LabelMap

IMAGES, MASKS, SETS, LABELMAP = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "labelmap.txt"
VOID, INDEX_MAX = 255, 254
# datumaro's name for void in a labelmap.txt.
BACKGROUND, IGNORED = "background", "ignored"
# As VOC's own readers paint void.
VOID_COLOR: Rgb = (224, 224, 192)
BLACK: Rgb = (0, 0, 0)
TABLE_BYTES_MAX = 2**20
ABILITIES = Abilities(max_class_id=INDEX_MAX)
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_LINE = re.compile(r"^\s*([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::.*)?$")


def check(classes: ClassTable) -> None:
    """Raises FormatError when colours do not tell the classes apart (readers of VOC go by colour), or for a name
    that labelmap.txt can't hold."""
    for one in classes:
        if one.name != BACKGROUND and one.rgb in (BLACK, VOID_COLOR):
            raise FormatError(f"the class {one.name!r} is {one.hex_color}: VOC has that for background and void")
        if ":" in one.name or one.name.startswith("#"):
            raise FormatError(f"the class {one.name!r}: labelmap.txt divides by ':', and '#' starts a comment")
    classes.by_color()
    require_distinct_names(classes)


def indices_of(classes: ClassTable) -> dict[int, int]:
    """Class id -> VOC's index; a class named "background" is 0."""
    named_ones = [one for one in classes if one.name != BACKGROUND]
    keeps = all(one.id <= INDEX_MAX for one in named_ones)
    found = {one.id: 0 for one in classes if one.name == BACKGROUND}
    for number, one in enumerate(named_ones, start=1):
        index = one.id if keeps else number
        if index <= INDEX_MAX:
            found[one.id] = index
    return found


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    check(dataset.classes)
    indices = indices_of(dataset.classes)
    palette = dataset.classes.palette()
    colors = {index: palette[class_id] for class_id, index in indices.items() if index}
    colors[VOID] = VOID_COLOR
    yield classes_member(dataset)
    yield Member(LABELMAP, _labelmap(dataset.classes, indices))
    sets: dict[str, list[str]] = {"train": [], "val": []}
    for sample in dataset.samples():
        values_HW = _values(sample, indices, report)
        if values_HW is None:
            continue
        yield from picture_member(sample, IMAGES)
        yield Member(f"{MASKS}/{sample.stem}.png", to_png(values_HW, colors))
        sets[sample.split].append(sample.stem)
        report.done()
    for name, stems in (*sets.items(), ("trainval", sorted(sets["train"] + sets["val"]))):
        yield Member(f"{SETS}/{name}.txt", "".join(f"{stem}\n" for stem in stems).encode())


def _values(sample: Sample, indices: Mapping[int, int], report: Report) -> LabelMap | None:
    labels_HW = readable(sample, report)
    if labels_HW is None:
        return None
    table = np.full(int(labels_HW.max()) + 1, -1, np.int16)
    table[0] = VOID
    for class_id, index in indices.items():
        if class_id < table.size:
            table[class_id] = index
    values_HW = table[labels_HW]
    if values_HW.min() < 0:
        refused = int(labels_HW[values_HW < 0].min())
        report.refused(sample.stem, f"class id {refused} does not fit: VOC has {INDEX_MAX} classes in 8 bits")
        return None
    lost_layers(sample, report, ABILITIES)
    return values_HW.astype(np.uint8)


def _labelmap(classes: ClassTable, indices: Mapping[int, int]) -> bytes:
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    ordered = sorted((one for one in classes if indices.get(one.id)), key=lambda one: indices[one.id])
    lines += [f"{one.name}:{','.join(map(str, one.rgb))}::" for one in ordered]
    lines.append(f"{IGNORED}:{','.join(map(str, VOID_COLOR))}::")
    return ("\n".join(lines) + "\n").encode()


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pairs by stem. Raises FormatError when there is no SegmentationClass, or labelmap.txt is not as above."""
    images, masks = _under(source, IMAGES), _under(source, MASKS)
    if not masks:
        raise FormatError(f"the archive has no files {MASKS}/<name>.png")
    labels_of = _labels_of(source, classes, limits)
    for stem in sorted(images.keys() | masks.keys()):
        image, mask = images.get(stem), masks.get(stem)
        yield Found(
            name=PurePosixPath(image).name if image else f"{stem}.png",
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=None if mask is None else labels_of(mask),
            labels_file=mask or "",
        )


_Labels = Callable[[int, int], LabelMap]


def _labels_of(source: Source, classes: ClassTable, limits: Limits) -> Callable[[str], _Labels]:
    """How the masks are read: by labelmap.txt's colours where there is one (CVAT and datumaro write RGB), else by
    index: VOC's own classes by name where the ontology has them, other indices by the ontology's values."""
    file = named(source, LABELMAP)
    if file is not None:
        table = ColorTable(_colors_to_ids(source, file, classes))
        return lambda mask: partial(_by_color, source, mask, table, limits)
    known = classes.matched(enumerate(VOC_CLASSES))
    to_id = {**known, 0: known.get(0, 0), VOID: 0} if len(known) > 1 else pixel_values(source, classes)
    return lambda mask: partial(index_labels, source, mask, {**to_id, VOID: 0}, limits)


def _by_color(source: Source, name: str, table: ColorTable, limits: Limits, height: int, width: int) -> LabelMap:
    return table.labels_of(read_rgb(source.read(name, limits.max_bytes), max_pixels=limits.max_pixels))


def _colors_to_ids(source: Source, file: str, classes: ClassTable) -> dict[Rgb, int]:
    try:
        text = source.read(file, TABLE_BYTES_MAX).decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: {error}") from error
    ids = by_name(classes)
    found: dict[Rgb, int] = {VOID_COLOR: 0}
    names: dict[Rgb, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None or max(int(match[part]) for part in (2, 3, 4)) > 255:
            raise FormatError(f"{file}, line {number}: {line[:80]!r} is not 'name:red,green,blue::'")
        rgb = (int(match[2]), int(match[3]), int(match[4]))
        if rgb in names:
            raise FormatError(f"{file}, line {number}: {match[1]!r} has the colour of {names[rgb]!r}, {rgb}")
        names[rgb] = match[1]
        if match[1] in ids:
            found[rgb] = ids[match[1]]
        elif match[1] in (BACKGROUND, IGNORED):
            found[rgb] = 0
    return found


def _under(source: Source, folder: str) -> dict[str, str]:
    found = {}
    for name in source.names():
        path = PurePosixPath(name)
        if not is_hidden(path) and folder in path.parts[:-1] and path.suffix.lower() in IMAGE_SUFFIXES:
            found[path.stem] = name
    return found


FORMAT = Format("voc", "Pascal VOC", ABILITIES, write, read, check)
