"""CamVid's layout (Brostow et al., 2009): label maps painted in the classes' colours.

    images/<stem>.<ext>   labels/<stem>_L.png   label_colors.txt ("64 128 64<tab>Animal")   classes.json

Colours are exact: two classes of one colour are refused, and so is a class that is black, the colour of Void (no
label). An import also takes a class_dict.csv ("name,r,g,b"), and files in any folder: <stem>_L.png is the label
map of <stem>.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

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
    Source,
    UnreadableFile,
    classes_member,
    expressible,
    named,
)
from terrazzo_masks.formats.index import IMAGE_SUFFIXES, IMAGES, is_hidden, picture_member
from terrazzo_masks.formats.label_files import rgb_png
from terrazzo_masks.formats.names import by_name, require_distinct_names
from terrazzo_masks.labels import LabelMap, count_classes
from terrazzo_masks.render import colorize

LABELS, TAIL = "labels", "_L"
COLORS_FILE, DICT_FILE = "label_colors.txt", "class_dict.csv"
VOID: Rgb = (0, 0, 0)
VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled"})
TABLE_BYTES_MAX = 2**20
ABILITIES = Abilities(hierarchy=False)
_LINE = re.compile(r"^\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*?)\s*$")


def check(classes: ClassTable) -> None:
    """Raises FormatError when colours do not tell the classes apart."""
    for one in classes:
        if one.rgb == VOID:
            raise FormatError(f"the class {one.name!r} is black, the colour of pixels without a label")
    classes.by_color()
    require_distinct_names(classes)


def write(dataset: Dataset, report: Report) -> Iterator[Member]:
    check(dataset.classes)
    palette = {**dataset.classes.palette(), 0: VOID}
    yield classes_member(dataset)
    lines = [f"{r} {g} {b}\t{name}" for (r, g, b), name in _written_colors(dataset.classes)]
    yield Member(COLORS_FILE, ("\n".join(lines) + "\n").encode())
    known = {0, *dataset.classes.ids}
    for sample in dataset.samples():
        labels_HW = expressible(sample, report, ABILITIES)
        if labels_HW is None:
            continue
        stray = count_classes(labels_HW).keys() - known
        if stray:
            report.refused(sample.stem, f"class id {min(stray)} has no colour: it is no class of the ontology")
            continue
        yield from picture_member(sample, IMAGES)
        yield Member(f"{LABELS}/{sample.stem}{TAIL}.png", rgb_png(colorize(labels_HW, palette)))
        report.done()


def _written_colors(classes: ClassTable) -> list[tuple[Rgb, str]]:
    return [(VOID, "Void"), *((one.rgb, one.name) for one in classes)]


def read(source: Source, classes: ClassTable, report: Report, limits: Limits) -> Iterator[Found]:
    """Pairs by stem. Raises FormatError without a table of colours, or for one that is not unique."""
    images, masks = _files(source)
    if not masks:
        raise FormatError(f"the archive has no files <name>{TAIL}.png")
    table = ColorTable(_colors_to_ids(source, classes))
    for stem in sorted(images.keys() | masks.keys()):
        image, mask = images.get(stem), masks.get(stem)
        yield Found(
            name=PurePosixPath(image).name if image else f"{stem}.png",
            image=None if image is None else partial(source.read, image, limits.max_bytes),
            image_file=image or "",
            labels=None if mask is None else partial(_labels, source, mask, table, limits),
            labels_file=mask or "",
        )


def _labels(source: Source, name: str, table: ColorTable, limits: Limits, height: int, width: int) -> LabelMap:
    return table.labels_of(read_rgb(source.read(name, limits.max_bytes), max_pixels=limits.max_pixels))


def _files(source: Source) -> tuple[dict[str, str], dict[str, str]]:
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for name in source.names():
        path = PurePosixPath(name)
        if is_hidden(path) or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        found, stem = (masks, path.stem.removesuffix(TAIL)) if path.stem.endswith(TAIL) else (images, path.stem)
        if stem in found:
            raise FormatError(f"{name} and {found[stem]} have one name")
        found[stem] = name
    return images, masks


def _colors_to_ids(source: Source, classes: ClassTable) -> dict[Rgb, int]:
    """Colour -> class id: by name where the archive has a table of colours, else by the classes' own colours."""
    table_file = named(source, COLORS_FILE) or named(source, DICT_FILE)
    if table_file is None:
        return {VOID: 0, **classes.by_color()}
    try:
        text = source.read(table_file, TABLE_BYTES_MAX).decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError) as error:
        raise FormatError(f"{table_file}: {error}") from error
    rows = _csv_rows(table_file, text) if table_file.endswith(".csv") else _text_rows(table_file, text)
    ids = {name.lower(): class_id for name, class_id in by_name(classes).items()}
    found: dict[Rgb, int] = {}
    names: dict[Rgb, str] = {}
    for line, rgb, name in rows:
        if max(rgb) > 255:
            raise FormatError(f"{table_file}, line {line}: the colour {rgb} is not in 0..255")
        if rgb in names:
            raise FormatError(f"{table_file}, line {line}: {name!r} has the colour of {names[rgb]!r}, {rgb}")
        names[rgb] = name
        if name.lower() in ids:
            found[rgb] = ids[name.lower()]
        elif name.lower() in VOID_NAMES:
            found[rgb] = 0
    return found


def _text_rows(file: str, text: str) -> Iterator[tuple[int, Rgb, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.match(line)
        if match is None:
            raise FormatError(f"{file}, line {number}: {line[:80]!r} is not 'red green blue name'")
        yield number, (int(match[1]), int(match[2]), int(match[3])), match[4]


def _csv_rows(file: str, text: str) -> Iterator[tuple[int, Rgb, str]]:
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and cells[1:] == ["r", "g", "b"]):
            continue
        if len(cells) != 4 or not all(cell.isdigit() and len(cell) <= 3 for cell in cells[1:]):
            raise FormatError(f"{file}, line {number}: {row!r} is not 'name,r,g,b'")
        yield number, (int(cells[1]), int(cells[2]), int(cells[3])), cells[0]


FORMAT = Format("camvid", "CamVid colours", ABILITIES, write, read, check)
